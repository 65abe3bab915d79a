//! The registry client (API sketch; being built).
#![expect(unused_variables, clippy::unused_async, reason = "sketch")]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use airlift_spec::{Class, Ctx, Descriptor, Digest, Explain, Reference};
use airlift_store::BlobWriter;

/// A registry and everything airlift knows about reaching registries. Cheap to clone; clones share
/// connections, tokens, limits and counters.
#[derive(Debug, Clone)]
pub struct Client {}

/// Where a repository is: canonical host and path. Substitution happens at connect time, inside the client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    pub host: String,
    pub path: String,
}

impl From<&Reference> for Repository {
    fn from(reference: &Reference) -> Self {
        Self { host: reference.host().to_owned(), path: reference.path().to_owned() }
    }
}

#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub max_in_flight: NonZeroUsize,
    pub attempts: NonZeroUsize,
    pub stall_timeout: Duration,
    /// Bytes a second over all connections together.
    pub limit_rate: Option<u64>,
    pub plain_http: BTreeSet<String>,
    /// Where `Location`s of unfinished uploads are kept.
    pub state: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    pub bytes: Vec<u8>,
    pub media_type: String,
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Referrers {
    /// The referrers API answered.
    Api(Vec<Descriptor>),
    /// The registry has no referrers API; this is what its fallback tag says.
    FallbackTag(Vec<Descriptor>),
}

/// What a push of one blob came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobPush {
    Present,
    Mounted,
    Sent,
}

/// Requests and bytes so far, for every report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub requests: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    #[error("{registry} refused access to `{repository}`")]
    Denied { registry: String, repository: String },
}

impl Explain for ClientError {
    fn class(&self) -> Class {
        match self {
            Self::Denied { .. } => Class::Access,
        }
    }
}

impl Client {
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        unimplemented!()
    }
    pub fn counters(&self) -> Counters {
        unimplemented!()
    }
    /// The manifest under a tag or digest; none where the registry has none. Checked against the digest asked for.
    pub async fn manifest(
        &self,
        repository: &Repository,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<Option<FetchedManifest>, ClientError> {
        unimplemented!()
    }
    /// HEAD: digest, size and media type, without the bytes.
    pub async fn describe(
        &self,
        repository: &Repository,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<Option<Descriptor>, ClientError> {
        unimplemented!()
    }
    /// Fills the writer's gaps, resuming and retrying; the caller commits.
    pub async fn fetch_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        writer: BlobWriter,
        ctx: &Ctx,
    ) -> Result<BlobWriter, ClientError> {
        unimplemented!()
    }
    /// A piece of a blob, as it comes; for serving out of a registry and for small reads.
    pub async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Option<std::ops::Range<u64>>,
        ctx: &Ctx,
    ) -> Result<
        Option<futures::stream::BoxStream<'static, Result<bytes::Bytes, ClientError>>>,
        ClientError,
    > {
        unimplemented!()
    }
    pub async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
        ctx: &Ctx,
    ) -> Result<Option<u64>, ClientError> {
        unimplemented!()
    }
    /// Asks the registry to take the blob from another of its repositories; false where it does not.
    pub async fn mount_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &str,
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        unimplemented!()
    }
    /// Sends a blob that is not there. `source` gives bytes by offset, so that a chunk can be sent again.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        source: &dyn BlobSource,
        ctx: &Ctx,
    ) -> Result<BlobPush, ClientError> {
        unimplemented!()
    }
    /// Puts a manifest under a tag or digest; true where the registry says it knows the subject (`OCI-Subject`).
    pub async fn push_manifest(
        &self,
        repository: &Repository,
        wanted: &str,
        media_type: &str,
        bytes: &[u8],
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        unimplemented!()
    }
    pub async fn tags(
        &self,
        repository: &Repository,
        ctx: &Ctx,
    ) -> Result<Option<Vec<String>>, ClientError> {
        unimplemented!()
    }
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        ctx: &Ctx,
    ) -> Result<Referrers, ClientError> {
        unimplemented!()
    }
    pub async fn delete_manifest(
        &self,
        repository: &Repository,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        unimplemented!()
    }
    /// Whether the registry answers and takes our credentials.
    pub async fn ping(&self, host: &str, ctx: &Ctx) -> Result<(), ClientError> {
        unimplemented!()
    }
}

/// Where the bytes of a blob to push come from: the store, volumes, or another registry.
pub trait BlobSource: Send + Sync {
    /// `length` bytes (fewer only at the end) from `offset`.
    fn read_at<'a>(
        &'a self,
        offset: u64,
        length: usize,
    ) -> futures::future::BoxFuture<'a, std::io::Result<bytes::Bytes>>;
}
