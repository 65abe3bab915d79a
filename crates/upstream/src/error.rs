//! What can go wrong on the connected side.

use std::io;

use airlift_catalog::{FilterError, ReadError};
use airlift_helm::{ChartError, KustomizeError, RenderError};
use airlift_oc_mirror::{ReleaseError, SignatureError};
use airlift_registry::client::ClientError;
use airlift_scan::ScanError;
use airlift_scan::knowledge::KnowledgeError;
use airlift_spec::oci::ManifestError;
use airlift_spec::{Class, Digest, Explain, Platforms};
use airlift_store::StoreError;

use crate::remotes::GitError;

/// Why something could not be resolved or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    #[error("`{reference}` does not exist")]
    Absent { reference: String },
    #[error("`{reference}` names {what} {digest}, which its registry does not have")]
    Missing { reference: String, what: &'static str, digest: Digest },
    #[error("`{reference}` is not for {wanted}; it offers {offered}")]
    Platform { reference: String, wanted: Platforms, offered: String },
    #[error("failed to read the manifest {digest} of `{reference}`")]
    Manifest { reference: String, digest: Digest, source: ManifestError },
    #[error("the manifest {digest} of `{reference}` cannot be followed: {reason}")]
    Unreadable { reference: String, digest: Digest, reason: String },
    #[error("{digest} of `{reference}` has {actual} bytes; {expected} were promised")]
    Size { reference: String, digest: Digest, expected: u64, actual: u64 },
    #[error("`{reference}` nests indexes more than {limit} deep")]
    Depth { reference: String, limit: usize },
    #[error("`{reference}` has indexes that name more than {limit} manifests")]
    Width { reference: String, limit: usize },
    #[error("failed to ask for `{reference}`")]
    Client { reference: String, source: ClientError },
    #[error("failed to keep `{reference}` in the store")]
    Store { reference: String, source: StoreError },
    #[error("failed to use the store")]
    StoreItself(#[source] StoreError),
    #[error("failed to read `{path}`")]
    Read { path: String, source: io::Error },
    /// What is wrong with a file or folder that the stack names, and where it does.
    #[error("line {line}: `{written}` cannot be carried")]
    Source { line: u64, written: String, source: Box<UpstreamError> },
    /// What is wrong with a pack that the stack names, and where it does.
    #[error("line {line}: the knowledge in `{path}` cannot be used")]
    Knowledge { line: u64, path: String, source: KnowledgeError },
    #[error("`{path}` {problem}")]
    Local { path: String, problem: String, help: Option<String> },
    /// What lies elsewhere cannot be looked into.
    #[error("it lies elsewhere, and nobody was asked")]
    Offline,
    #[error("`{address}` is not in the store, and nobody was asked")]
    RemoteOffline { address: String },
    #[error(
        "`{address}` is {actual} by now, and the lock pins {expected}, which the store does not have"
    )]
    RemoteMoved { address: String, expected: Digest, actual: Digest },
    #[error("failed to read the repository of `{address}`")]
    Git { address: String, source: GitError },
    #[error("`{kind}:` sources are not supported by this version of airlift")]
    Kind { kind: &'static str },
    #[error("the package at `{address}` is {actual}, and its index says {expected}")]
    Package { address: String, expected: Digest, actual: Digest },
    #[error("the package at `{address}` is the chart `{given}`, and its index says `{listed}`")]
    OtherChart { address: String, given: String, listed: String },
    #[error("failed to read the catalog `{place}`")]
    Catalog { place: String, source: ReadError },
    #[error(transparent)]
    Filter(FilterError),
    #[error("`{reference}` made from `{from}` is not what the lock pins any more")]
    Remade { reference: String, from: String },
    #[error(transparent)]
    Kustomize(KustomizeError),
    #[error(transparent)]
    Chart(ChartError),
    #[error(transparent)]
    Render(RenderError),
    #[error(transparent)]
    Release(ReleaseError),
    #[error("failed to understand `{place}`")]
    Answer { place: String, source: ReleaseError },
    #[error("release `{reference}` is not signed as it should be")]
    Signature { reference: String, source: SignatureError },
    #[error("failed to read the keys of releases in `{path}`")]
    Keys { path: String, source: SignatureError },
    #[error("failed to keep what the update service said in `{path}`")]
    Keep { path: String, source: io::Error },
    #[error("release `{reference}` has no signature at `{place}`")]
    Unsigned { reference: String, place: String },
    #[error("failed to read the objects in `{path}`")]
    Scan { path: String, source: ScanError },
    /// A blob that another artifact wants too could not be brought.
    #[error("a blob it shares with `{with}` could not be brought: {reason}")]
    Shared { with: String, class: Class, reason: String },
    #[error("the lock does not pin `{reference}`")]
    Unpinned { reference: String },
    #[error("cancelled")]
    Cancelled,
}

impl Explain for UpstreamError {
    fn class(&self) -> Class {
        match self {
            Self::Absent { .. }
            | Self::Platform { .. }
            | Self::Read { .. }
            | Self::Local { .. }
            | Self::Depth { .. }
            | Self::Width { .. }
            | Self::Offline
            | Self::RemoteOffline { .. }
            | Self::Kind { .. } => Class::Input,
            Self::Scan { source, .. } => source.class(),
            Self::Knowledge { source, .. } => source.class(),
            Self::Release(source) | Self::Answer { source, .. } => source.class(),
            Self::Signature { source, .. } | Self::Keys { source, .. } => source.class(),
            Self::Keep { .. } => Class::Storage,
            Self::Chart(source) => source.class(),
            Self::Kustomize(source) => source.class(),
            Self::Catalog { source, .. } => source.class(),
            Self::Filter(source) => source.class(),
            Self::Git { source, .. } => source.class(),
            Self::Render(source) => source.class(),
            // What a manifest names and its registry lacks is no name that somebody mistyped.
            Self::Missing { .. }
            | Self::Package { .. }
            | Self::OtherChart { .. }
            | Self::Remade { .. }
            | Self::RemoteMoved { .. }
            | Self::Unsigned { .. }
            | Self::Client { source: ClientError::Missing { .. }, .. }
            | Self::Unreadable { .. }
            | Self::Size { .. } => Class::Integrity,
            Self::Manifest { source, .. } => source.class(),
            Self::Client { source, .. } => source.class(),
            Self::Store { source, .. } | Self::StoreItself(source) => source.class(),
            Self::Source { source, .. } => source.class(),
            Self::Shared { class, .. } => *class,
            Self::Unpinned { .. } => Class::Findings,
            Self::Cancelled => Class::Cancelled,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Manifest { source, .. } => source.help(),
            Self::Client { source, .. } => source.help(),
            Self::Store { source, .. } | Self::StoreItself(source) => source.help(),
            Self::Source { source, .. } => source.help(),
            Self::Local { help, .. } => help.clone(),
            Self::Scan { source, .. } => source.help(),
            Self::Knowledge { source, .. } => source.help(),
            Self::Release(source) | Self::Answer { source, .. } => source.help(),
            Self::Signature { source, .. } | Self::Keys { source, .. } => {
                source.help().or_else(|| {
                    Some("name another place that has signatures in OCP_SIGNATURE_URL".to_owned())
                })
            }
            Self::Unsigned { .. } => {
                Some("name the place that has it in OCP_SIGNATURE_URL".to_owned())
            }
            Self::Chart(source) => source.help(),
            Self::Kustomize(source) => source.help(),
            Self::Catalog { source, .. } => source.help(),
            Self::Filter(source) => source.help(),
            Self::Git { source, .. } => source.help(),
            Self::Render(source) => source.help(),
            Self::Remade { .. } | Self::RemoteMoved { .. } => {
                Some("run `airlift resolve --update`".to_owned())
            }
            Self::Offline | Self::RemoteOffline { .. } => {
                Some("run `airlift resolve` without `--offline` once".to_owned())
            }
            Self::Unpinned { .. } => {
                Some("run `airlift resolve` where the registry can be reached".to_owned())
            }
            Self::Platform { .. } => Some(
                "list a platform it offers under `platforms:`, of the stack or of this source"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl UpstreamError {
    /// The line of the stack that led to it.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Source { line, .. } | Self::Knowledge { line, .. } => Some(*line),
            _ => None,
        }
    }

    /// This error with the place in the stack that led to it.
    #[must_use]
    pub fn at(self, line: u64, written: &str) -> Self {
        Self::Source { line, written: written.to_owned(), source: Box::new(self) }
    }

    /// Whether a catalog was asked for what another has.
    pub(crate) fn is_elsewhere(&self) -> bool {
        match self {
            Self::Source { source, .. } => source.is_elsewhere(),
            Self::Filter(source) => source.is_elsewhere(),
            _ => false,
        }
    }

    /// Whether nothing else can go on either: the store is broken, the user said stop, or we made a mistake.
    pub fn stops_everything(&self) -> bool {
        matches!(self.class(), Class::Storage | Class::Cancelled | Class::Bug)
            && !self.is_of_one_file()
    }

    /// Whether one file alone is too large for where it should lie: a manifest may claim any size for a blob.
    fn is_of_one_file(&self) -> bool {
        matches!(
            self,
            Self::Client {
                source: ClientError::Store { source: StoreError::FileLimit { .. }, .. },
                ..
            } | Self::Store { source: StoreError::FileLimit { .. }, .. }
        )
    }
}

/// An artifact that could not be resolved or fetched; the others went on.
#[derive(Debug)]
pub struct ArtifactFailure {
    pub reference: String,
    pub error: UpstreamError,
}
