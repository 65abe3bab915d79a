//! Platforms: which machine a child of an index is for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and an architecture, as `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// Which platforms are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Platforms {
    #[default]
    All,
    Only(BTreeSet<Platform>),
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a platform (expected `os/architecture` or `os/architecture/variant`, like `linux/amd64`)"
)]
pub struct ParsePlatformError(String);

impl Platform {
    /// Whether a manifest for `offered` runs where this platform is wanted.
    ///
    /// A platform without a variant takes every variant. `arm64` and `arm64/v8` are the same machine.
    pub fn accepts(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.architecture == offered.architecture
            && (self.variant.is_none() || self.plain_variant() == offered.plain_variant())
    }

    fn plain_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", None) => Some("v8"),
            (_, variant) => variant,
        }
    }
}

impl Platforms {
    pub fn wants(&self, offered: &Platform) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => wanted.iter().any(|platform| platform.accepts(offered)),
        }
    }

    /// What both want together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(mut wanted), Self::Only(more)) => {
                wanted.extend(more.iter().cloned());
                Self::Only(wanted)
            }
            _ => Self::All,
        }
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;
    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let is_word = |word: &&str| {
            !word.is_empty()
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let words: Vec<&str> = text.split('/').filter(is_word).collect();
        let parsed = match words[..] {
            [os, architecture] => {
                Self { os: os.into(), architecture: architecture.into(), variant: None }
            }
            [os, architecture, variant] => Self {
                os: os.into(),
                architecture: architecture.into(),
                variant: Some(variant.into()),
            },
            _ => return Err(ParsePlatformError(text.to_owned())),
        };
        // A dropped empty word would make `linux//amd64` pass.
        if parsed.to_string() == text {
            Ok(parsed)
        } else {
            Err(ParsePlatformError(text.to_owned()))
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl fmt::Display for Platforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Only(wanted) => {
                let words: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(", "))
            }
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = ParsePlatformError;
    fn try_from(text: String) -> Result<Self, ParsePlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(wanted: &str, offered: &str) -> bool {
        wanted.parse::<Platform>().unwrap().accepts(&offered.parse().unwrap())
    }

    #[test]
    fn a_platform_without_a_variant_takes_every_variant() {
        assert!(accepts("linux/arm", "linux/arm/v7"));
        assert!(accepts("linux/arm64", "linux/arm64/v8"));
        assert!(accepts("linux/arm64/v8", "linux/arm64"));
        assert!(accepts("linux/amd64/v2", "linux/amd64/v2"));
        assert!(!accepts("linux/amd64/v2", "linux/amd64"));
        assert!(!accepts("linux/arm/v6", "linux/arm/v7"));
        assert!(!accepts("linux/amd64", "windows/amd64"));
    }

    #[test]
    fn malformed_platforms_are_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux//amd64", "a/b/c/d", "linux/amd 64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
