//! The registry server (API sketch; being built).

use std::ops::Range;

use airlift_spec::{Descriptor, Digest};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// What the server reads from. Implemented by the writable store here and by `airlift-bundle`'s `Content`.
pub trait Backend: Send + Sync + 'static {
    /// The repository's manifest under a tag or digest.
    fn manifest<'a>(
        &'a self,
        repository: &'a str,
        wanted: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredManifest>, BackendError>>;
    /// Size of a blob that the repository has.
    fn blob_size<'a>(
        &'a self,
        repository: &'a str,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Option<u64>, BackendError>>;
    /// The bytes of `range`, in frames of 256 KiB to 1 MiB.
    fn read_blob<'a>(
        &'a self,
        repository: &'a str,
        digest: &'a Digest,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, BackendError>>, BackendError>>;
    /// Tags of the repository, sorted; none where there is no such repository.
    fn tags<'a>(
        &'a self,
        repository: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<String>>, BackendError>>;
    fn referrers<'a>(
        &'a self,
        repository: &'a str,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, BackendError>>;
    fn repositories(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>>;
}

#[derive(Debug, Clone)]
pub struct StoredManifest {
    pub bytes: Bytes,
    pub media_type: String,
    pub digest: Digest,
}

/// Why a backend could not answer. The server turns it into OCI codes in one place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// It belongs here, but lies on volumes that are absent.
    #[error("it lies on volumes that are not here: {}", volumes.join(", "))]
    Absent { volumes: Vec<String> },
    #[error("the bytes on {medium} are damaged")]
    Damaged { medium: String },
    #[error("failed to read")]
    Read(#[source] std::io::Error),
}
