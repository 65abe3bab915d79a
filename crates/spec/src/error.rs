//! What every error owes its reader: a class, and help where there is honest help.

use std::fmt;

use crate::password::redacted;

/// An error that knows its class. Implemented beside each error enum, so that a new variant cannot be
/// left unclassified.
pub trait Explain: std::error::Error + Send + Sync + 'static {
    /// What kind of trouble this is: decides the exit code, and whether a retry can help.
    fn class(&self) -> Class;

    /// One imperative sentence that would work if obeyed.
    fn help(&self) -> Option<String> {
        None
    }
}

/// The class of an error. Exit codes are documented and never change.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// Our own mistake.
    Bug,
    /// Something a person wrote or asked for does not work out.
    Input,
    /// Credentials or permissions.
    Access,
    /// The line or the server; the one class that is worth a retry.
    Network,
    /// Bytes that are not what was promised, or a signature nobody trusts.
    Integrity,
    /// The disk: full, read-only, broken.
    Storage,
    /// The cluster refused or never became ready.
    Cluster,
    /// A check found errors.
    Findings,
    /// The user stopped it.
    Cancelled,
}

impl Class {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Input => 2,
            Self::Access => 3,
            Self::Network => 4,
            Self::Integrity => 5,
            Self::Storage => 6,
            Self::Cluster => 7,
            Self::Findings => 8,
            Self::Cancelled => 130,
        }
    }

    /// Whether the same request may succeed when it is simply made again.
    pub fn is_worth_a_retry(self) -> bool {
        self == Self::Network
    }

    /// The class that decides the exit code when several things went wrong.
    pub fn gravest(classes: impl IntoIterator<Item = Self>) -> Option<Self> {
        const ORDER: [Class; 9] = [
            Class::Cancelled,
            Class::Bug,
            Class::Storage,
            Class::Integrity,
            Class::Access,
            Class::Network,
            Class::Cluster,
            Class::Input,
            Class::Findings,
        ];
        let rank = |class: &Self| ORDER.iter().position(|known| known == class);
        classes.into_iter().min_by_key(rank)
    }
}

/// Any error that can end a verb.
pub type Failure = Box<dyn Explain>;

impl<E: Explain> From<E> for Failure {
    fn from(err: E) -> Self {
        Box::new(err)
    }
}

/// The whole chain of an error on one line, without passwords, for tables, logs and findings.
pub fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        let part = err.to_string();
        // Libraries often repeat their source in their own message.
        if !text.ends_with(&part) {
            fmt::Write::write_fmt(&mut text, format_args!(": {part}"))
                .expect("a String takes any text");
        }
        source = err.source();
    }
    redacted(&text)
}

/// Whether `c` is one of Unicode's marks that let a text read in another order than it is written.
pub fn turns_letters(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_class_follows_the_documented_order() {
        let codes =
            |classes: &[Class]| Class::gravest(classes.iter().copied()).map(Class::exit_code);
        assert_eq!(codes(&[]), None);
        assert_eq!(codes(&[Class::Findings, Class::Input]), Some(2));
        assert_eq!(codes(&[Class::Input, Class::Network, Class::Access]), Some(3));
        assert_eq!(codes(&[Class::Integrity, Class::Storage, Class::Network]), Some(6));
        assert_eq!(codes(&[Class::Storage, Class::Bug]), Some(1));
        assert_eq!(codes(&[Class::Bug, Class::Cancelled]), Some(130));
    }
}
