//! What the server reads from.

use std::ops::Range;

use airlift_spec::{Class, Descriptor, Digest, Explain};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// The repository that a client asked for, in the client's own words. Which content that means is the
/// backend's to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The name in the path, valid by the distribution specification's grammar: `org/app`, or the host form
    /// `quay.io/org/app`.
    pub repository: String,
    /// The host that the name belongs to, where the client says so (containerd's `?ns=quay.io`).
    pub ns: Option<String>,
}

impl From<&str> for Asked {
    fn from(repository: &str) -> Self {
        Self { repository: repository.to_owned(), ns: None }
    }
}

/// What the server reads from. Implemented by [`StoreBackend`](super::StoreBackend), which takes pushes too,
/// and by `airlift-bundle`'s `Content`.
pub trait Backend: Send + Sync + 'static {
    /// The repository's manifest under a tag or digest; none where it has none.
    fn manifest<'a>(
        &'a self,
        asked: &'a Asked,
        wanted: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredManifest>, BackendError>>;

    /// Size of a blob, if the repository has it.
    fn blob_size<'a>(
        &'a self,
        asked: &'a Asked,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Option<u64>, BackendError>>;

    /// The bytes of `range` of a blob that [`blob_size`](Self::blob_size) knows, in frames of 256 KiB to 1 MiB.
    ///
    /// The server asks for the next frame when the client has taken the last one, so a slow client holds no
    /// more than two.
    fn read_blob<'a>(
        &'a self,
        asked: &'a Asked,
        digest: &'a Digest,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, BackendError>>, BackendError>>;

    /// Tags of the repository; none where there is no such repository.
    fn tags<'a>(
        &'a self,
        asked: &'a Asked,
    ) -> BoxFuture<'a, Result<Option<Vec<String>>, BackendError>>;

    /// The manifests whose subject is `subject`, each with its artifact type and annotations.
    fn referrers<'a>(
        &'a self,
        asked: &'a Asked,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, BackendError>>;

    /// Every repository, by the name that it answers to.
    fn repositories(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>>;
}

/// A manifest as it is sent: the very bytes it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    pub bytes: Bytes,
    pub media_type: String,
    /// The digest that was asked for, else the one that the tag points to.
    pub digest: Digest,
}

/// Why a backend could not answer. The server turns it into OCI codes in one place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// It belongs here, but lies on volumes that are absent.
    #[error("it lies on volumes that are not here: {}", volumes.join(", "))]
    Absent { volumes: Vec<String> },
    /// It belongs here, but a delta counts on the far side to have it.
    #[error("it was left out of the bundle, as what `{repository}` has already")]
    LeftOut { repository: String },
    /// The list of what belongs here lies on volumes that are absent or damaged: nobody knows whether it does.
    #[error("no name is known here: the list of what the bundle has is on {}, which is not here or damaged", volumes.join(", "))]
    Unlisted { volumes: Vec<String> },
    #[error("the bytes on {medium} are damaged")]
    Damaged { medium: String },
    #[error("failed to read")]
    Read(#[source] std::io::Error),
}

impl Explain for BackendError {
    fn class(&self) -> Class {
        match self {
            Self::Absent { .. } | Self::LeftOut { .. } | Self::Unlisted { .. } => Class::Input,
            Self::Damaged { .. } => Class::Integrity,
            Self::Read(_) => Class::Storage,
        }
    }
}
