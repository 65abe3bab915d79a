//! Why a filter cannot be applied.

use airlift_spec::{Class, Explain, Finding};

use crate::near::listed;

/// Why a filter cannot be applied. Every variant names the package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    #[error("the filter of package `{package}` contradicts itself: {message}")]
    Contradiction { package: String, message: String },
    #[error("the catalog has no package `{package}`{}", has_it(elsewhere.as_ref()))]
    NoPackage {
        package: String,
        near: Vec<String>,
        /// The catalog that has it, for whoever knows of others.
        elsewhere: Option<String>,
    },
    #[error("package `{package}` has no channel `{channel}`")]
    NoChannel { package: String, channel: String, near: Vec<String> },
    #[error("package `{package}` has no bundle `{bundle}`")]
    NoBundle { package: String, bundle: String, near: Vec<String> },
    #[error(
        "`{channel}` cannot be the default channel of package `{package}`: the filter does not keep it"
    )]
    NoDefault { package: String, channel: String, kept: Vec<String>, field: &'static str },
    #[error("the filter takes out `{channel}`, the default channel of package `{package}`")]
    DefaultGone { package: String, channel: String, kept: Vec<String>, field: &'static str },
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
    #[error("{}", .0.iter().map(with_help).collect::<Vec<_>>().join("; "))]
    Several(Vec<FilterError>),
}

fn has_it(elsewhere: Option<&String>) -> String {
    elsewhere.map(|whose| format!(", and {whose} has it")).unwrap_or_default()
}

fn with_help(err: &FilterError) -> String {
    err.help().map_or_else(|| err.to_string(), |help| format!("{err} ({help})"))
}

impl FilterError {
    pub(super) fn all(mut errors: Vec<Self>) -> Option<Self> {
        if errors.len() > 1 { Some(Self::Several(errors)) } else { errors.pop() }
    }

    /// Each of several.
    pub fn each_mut(&mut self) -> &mut [Self] {
        match self {
            Self::Several(errors) => errors,
            one => std::slice::from_mut(one),
        }
    }

    /// Whether another catalog has what this one was asked for.
    pub fn is_elsewhere(&self) -> bool {
        match self {
            Self::Several(errors) => errors.iter().any(Self::is_elsewhere),
            _ => matches!(self, Self::NoPackage { elsewhere: Some(_), .. }),
        }
    }

    /// What oc-mirror passes over in silence.
    pub(super) fn warning(&self) -> Option<Finding> {
        Some(match self {
            Self::NoPackage { package, near, .. } => {
                let message = format!("the catalog has no such package; {}", meant(near));
                Finding::warning("catalog-package-absent", package, message)
            }
            Self::NoChannel { package, channel, near } => {
                let message = format!("package `{package}` has no such channel; {}", meant(near));
                Finding::warning("catalog-channel-absent", channel, message)
            }
            Self::NoBundle { package, bundle, near } => {
                let message = format!("package `{package}` has no such bundle; {}", meant(near));
                Finding::warning("catalog-bundle-absent", bundle, message)
            }
            _ => return None,
        })
    }
}

fn meant(near: &[String]) -> String {
    if near.is_empty() {
        return "nothing has a name like it".to_owned();
    }
    format!("it has {}", listed(near))
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
            Self::NoDefault { kept, field, .. } | Self::DefaultGone { kept, field, .. } => {
                Some(format!("set the package's `{field}` to one that is kept: {}", listed(kept)))
            }
            Self::NoPackage { package, elsewhere: Some(_), .. } => {
                Some(format!("list `{package}` under the `packages:` of that catalog"))
            }
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
            Self::Several(_)
            | Self::Contradiction { .. }
            | Self::Unversioned { .. }
            | Self::Graph { .. } => None,
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
