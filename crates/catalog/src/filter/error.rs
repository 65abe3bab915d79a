//! Why a filter cannot be applied.

use airlift_spec::{Class, Explain};

use crate::near::listed;

/// Why a filter cannot be applied. Every variant names the package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    #[error("the filter of package `{package}` contradicts itself: {message}")]
    Contradiction { package: String, message: String },
    #[error("the catalog has no package `{package}`")]
    NoPackage { package: String, near: Vec<String> },
    #[error("package `{package}` has no channel `{channel}`")]
    NoChannel { package: String, channel: String, near: Vec<String> },
    #[error("package `{package}` has no bundle `{bundle}`")]
    NoBundle { package: String, bundle: String, near: Vec<String> },
    #[error(
        "`{channel}` cannot be the default channel of package `{package}`: the filter does not keep it"
    )]
    NoDefault { package: String, channel: String, kept: Vec<String> },
    #[error("the filter takes out `{channel}`, the default channel of package `{package}`")]
    DefaultGone { package: String, channel: String, kept: Vec<String> },
    #[error("nothing in channel `{channel}` of package `{package}` is in the range `{range}`")]
    Empty {
        package: String,
        channel: String,
        range: String,
        near: Vec<String>,
        /// In the range, were they no prereleases.
        prereleases: Vec<String>,
        /// Channels that have something in the range.
        others: Vec<String>,
    },
    #[error("package `{package}` has no bundle of version {version}")]
    NoVersion { package: String, version: String, near: Vec<String> },
    #[error(
        "bundle `{bundle}` of package `{package}` has no version that can be compared: `{version}`"
    )]
    Unversioned { package: String, bundle: String, version: String },
    #[error("channel `{channel}` of package `{package}` is no update graph: {message}")]
    Graph { package: String, channel: String, message: String },
}

impl Explain for FilterError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NoDefault { kept, .. } | Self::DefaultGone { kept, .. } if kept.is_empty() => {
                None
            }
            Self::NoDefault { kept, .. } | Self::DefaultGone { kept, .. } => Some(format!(
                "set the package's `defaultChannel` to one that is kept: {}",
                listed(kept)
            )),
            Self::Empty { prereleases, range, .. } if !prereleases.is_empty() => {
                Some(prerelease_help(range, prereleases))
            }
            Self::Empty { others, .. } if !others.is_empty() => {
                Some(format!("the range has bundles in {}", listed(others)))
            }
            Self::NoPackage { near, .. }
            | Self::NoChannel { near, .. }
            | Self::NoBundle { near, .. }
            | Self::NoVersion { near, .. }
            | Self::Empty { near, .. } => is_there(near),
            Self::Contradiction { .. } | Self::Unversioned { .. } | Self::Graph { .. } => None,
        }
    }
}

fn is_there(near: &[String]) -> Option<String> {
    (!near.is_empty()).then(|| format!("there is {}", listed(near)))
}

/// The trap, and the way out of it.
pub(super) fn prerelease_help<S: AsRef<str>>(range: &str, left_out: &[S]) -> String {
    format!(
        "`{range}` takes no prereleases ({}), since none of its bounds is one; end a bound in `-0`, as in `1.2.0-0`, to take them",
        listed(left_out)
    )
}
