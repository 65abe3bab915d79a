//! Why a load cannot be planned or has to stop.

use airlift_registry::client::ClientError;
use airlift_spec::placement::PlacementError;
use airlift_spec::{Class, Explain};
use airlift_store::StoreError;

use crate::BundleError;
use crate::receipt::ReceiptError;

/// What keeps a whole load from going on. What sinks one artifact only is in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    #[error("failed to ask {registry} about `{what}`")]
    Ask { registry: String, what: String, source: ClientError },
    #[error("failed to write `{what}` in {registry}")]
    Write { registry: String, what: String, source: ClientError },
    #[error("failed to read `{what}`")]
    Read { what: String, source: BundleError },
    #[error("`{what}` in {registry} is not what it says")]
    Manifest { registry: String, what: String, source: airlift_spec::oci::ManifestError },
    #[error("the state of stack `{stack}` in {registry} cannot be used")]
    State { registry: String, stack: String, source: ReceiptError },
    #[error("`{what}` in {registry} is not what was written there a moment ago")]
    Contended { registry: String, what: String },
    #[error("the artifacts cannot be placed in the registry")]
    Placement(#[source] PlacementError),
    #[error("failed to write to the store")]
    Store(#[source] StoreError),
    #[error("a thread of the load failed")]
    Thread(#[source] tokio::task::JoinError),
    #[error("the load was cancelled")]
    Cancelled,
}

impl Explain for LoadError {
    fn class(&self) -> Class {
        match self {
            Self::Ask { source, .. } | Self::Write { source, .. } => source.class(),
            Self::Read { source, .. } => source.class(),
            Self::Manifest { source, .. } => source.class(),
            Self::State { source, .. } => source.class(),
            Self::Placement(source) => source.class(),
            Self::Store(source) => source.class(),
            Self::Contended { .. } => Class::Network,
            Self::Thread(_) => Class::Bug,
            Self::Cancelled => Class::Cancelled,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Ask { source, .. } | Self::Write { source, .. } => source.help(),
            Self::Read { source, .. } => source.help(),
            Self::Manifest { source, .. } => source.help(),
            Self::State { source, .. } => source.help(),
            Self::Placement(source) => source.help(),
            Self::Store(source) => source.help(),
            Self::Contended { registry, .. } => Some(format!(
                "run it again when no other load is running; if none is, {registry} does not keep what it takes"
            )),
            Self::Thread(_) | Self::Cancelled => None,
        }
    }
}
