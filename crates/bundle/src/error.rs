use airlift_spec::{Class, Explain};

/// Why a bundle could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    #[error("no trusted key has signed {file}")]
    Untrusted { file: String },
}

impl Explain for BundleError {
    fn class(&self) -> Class {
        match self {
            Self::Untrusted { .. } => Class::Integrity,
        }
    }
}
