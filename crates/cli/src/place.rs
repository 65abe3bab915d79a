//! Where things come from and go to, as the command line writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use airlift_spec::reference::{is_host, is_repository};

/// A `SOURCE` argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A folder of volumes. Always a bundle, whatever lies in it: only signed ones are read.
    Volumes(PathBuf),
    Store(PathBuf),
    Registry(RegistryPlace),
}

/// Where `load` puts things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Store(PathBuf),
    Registry(RegistryPlace),
}

/// A registry, and the prefix under which airlift keeps its repositories there (may be empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryPlace {
    pub(crate) host: String,
    pub(crate) prefix: String,
}

/// Why a text is neither a source nor a destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParsePlaceError {
    #[error("`{0}` is not a registry (expected `HOST[:PORT][/PREFIX]`)")]
    Registry(String),
    #[error("`{0}` names no folder")]
    NoFolder(String),
    #[error(
        "`{0}` is not understood (expected a folder of volumes, `store:DIR` or `registry://HOST[/PREFIX]`)"
    )]
    Scheme(String),
}

impl FromStr for Source {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, ParsePlaceError> {
        if let Some(folder) = text.strip_prefix("store:") {
            return store(text, folder).map(Self::Store);
        }
        if let Some(registry) = text.strip_prefix("registry://") {
            return registry.parse().map(Self::Registry);
        }
        if text.contains("://") {
            return Err(ParsePlaceError::Scheme(text.to_owned()));
        }
        store(text, text).map(Self::Volumes)
    }
}

impl FromStr for Destination {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, ParsePlaceError> {
        if let Some(folder) = text.strip_prefix("store:") {
            return store(text, folder).map(Self::Store);
        }
        text.strip_prefix("registry://").unwrap_or(text).parse().map(Self::Registry)
    }
}

fn store(text: &str, folder: &str) -> Result<PathBuf, ParsePlaceError> {
    if folder.is_empty() {
        Err(ParsePlaceError::NoFolder(text.to_owned()))
    } else {
        Ok(folder.into())
    }
}

impl FromStr for RegistryPlace {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, ParsePlaceError> {
        let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
        let prefix = prefix.trim_end_matches('/');
        if is_host(host) && (prefix.is_empty() || is_repository(prefix)) {
            Ok(Self { host: host.to_owned(), prefix: prefix.to_owned() })
        } else {
            Err(ParsePlaceError::Registry(text.to_owned()))
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(folder) => write!(f, "store:{}", folder.display()),
            Self::Registry(RegistryPlace { host, prefix }) if prefix.is_empty() => {
                f.write_str(host)
            }
            Self::Registry(RegistryPlace { host, prefix }) => write!(f, "{host}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(host: &str, prefix: &str) -> RegistryPlace {
        RegistryPlace { host: host.into(), prefix: prefix.into() }
    }

    #[test]
    fn a_source_is_a_folder_a_store_or_a_registry() {
        let table = [
            ("/media/disk1", Source::Volumes("/media/disk1".into())),
            ("disk1", Source::Volumes("disk1".into())),
            ("registry", Source::Volumes("registry".into())),
            ("store:/var/lib/airlift", Source::Store("/var/lib/airlift".into())),
            ("registry://r.lab:5000", Source::Registry(registry("r.lab:5000", ""))),
            ("registry://r.lab/team/a/", Source::Registry(registry("r.lab", "team/a"))),
        ];
        for (text, source) in table {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn a_destination_is_a_registry_unless_it_says_store() {
        let table = [
            ("r.lab", Destination::Registry(registry("r.lab", ""))),
            ("localhost:5000/team", Destination::Registry(registry("localhost:5000", "team"))),
            ("registry://r.lab/x", Destination::Registry(registry("r.lab", "x"))),
            ("store:far", Destination::Store("far".into())),
        ];
        for (text, destination) in table {
            assert_eq!(text.parse(), Ok(destination), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "store:", "https://r.lab/x", "registry://", "registry://r.lab/Team"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
        for text in ["", "store:", "https://r.lab", "./folder", "/media/disk1"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
