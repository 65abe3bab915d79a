//! What can go wrong with a chart, or with the index of a chart repository.

use std::io;

use airlift_spec::{Class, Explain};

/// Why a chart or an index cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChartError {
    #[error("failed to read the chart `{chart}`")]
    Read { chart: String, source: io::Error },
    #[error("`{chart}` is no chart: {problem}")]
    NotAChart { chart: String, problem: String, help: Option<String> },
    #[error("the archive `{chart}` is refused: {problem}")]
    Refused { chart: String, problem: String },
    #[error("`{file}` cannot be read: {problem}")]
    Yaml { file: String, problem: String },
    #[error("failed to read the values file `{file}`")]
    Values { file: String, source: io::Error },
    #[error("`{text}` is not a version, nor a range of versions")]
    Constraint { text: String },
    #[error("{index} has no chart `{name}`")]
    NoChart { index: String, name: String, similar: Vec<String> },
    #[error("{index} has no version of `{name}` that is {wanted}")]
    NoVersion { index: String, name: String, wanted: String, similar: Vec<String> },
}

impl Explain for ChartError {
    fn class(&self) -> Class {
        match self {
            Self::Read { .. }
            | Self::NotAChart { .. }
            | Self::Yaml { .. }
            | Self::Values { .. }
            | Self::Constraint { .. }
            | Self::NoChart { .. }
            | Self::NoVersion { .. } => Class::Input,
            Self::Refused { .. } => Class::Integrity,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Read { .. } | Self::Yaml { .. } | Self::Values { .. } => None,
            Self::NotAChart { help, .. } => help.clone(),
            Self::Refused { .. } => Some("pack it anew with `helm package`".to_owned()),
            Self::Constraint { .. } => {
                Some("write it like `1.2.3`, `~1.2`, `^1` or `>=1.2, <2`".to_owned())
            }
            Self::NoChart { similar, .. } if similar.is_empty() => None,
            Self::NoChart { similar, .. } => Some(format!("it has {}", similar.join(", "))),
            Self::NoVersion { similar, .. } if similar.is_empty() => None,
            Self::NoVersion { similar, .. } => {
                Some(format!("choose one that it has, like {}", similar.join(", ")))
            }
        }
    }
}
