//! Why a text could not be read as objects.

use airlift_spec::{Class, Explain};

/// Why a text could not be read. Lines count from 1; the caller knows the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    #[error("it is not text: byte {offset} is not UTF-8")]
    Encoding { offset: usize },
    #[error("it is packed with gzip, and not text")]
    Packed,
    #[error("it has {bytes} bytes, more than the {limit} that are read of one file")]
    TooLarge { bytes: usize, limit: usize },
    #[error("line {line} is indented by a tab")]
    Tab { line: u64 },
    #[error("line {line} is not YAML: {reason}")]
    Yaml { line: u64, reason: String },
    #[error("line {line} is part of a template, which its engine must render first")]
    Template { line: u64 },
    #[error("line {line} is not JSON: {reason}")]
    Json { line: u64, reason: String },
    #[error("the document at line {line} is not an object")]
    NotAnObject { line: u64 },
}

impl Explain for ScanError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Tab { .. } => Some("write spaces in place of the tab".to_owned()),
            Self::Encoding { .. } => Some("save the file as UTF-8".to_owned()),
            Self::Packed => Some("give it as it is when unpacked".to_owned()),
            Self::TooLarge { .. } => Some("split it into several files".to_owned()),
            Self::Template { .. } => {
                Some("give the chart it belongs to, or what the engine makes of it".to_owned())
            }
            Self::Yaml { .. } | Self::Json { .. } | Self::NotAnObject { .. } => None,
        }
    }
}
