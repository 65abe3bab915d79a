//! Where an image comes from, and its manifests: from the store where they are, else from there.

use std::sync::Arc;
use std::time::Duration;

use airlift_registry::client::{Client, Fetched as Transfer, Repository};
use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Ctx, Descriptor, Digest, Manifest};
use airlift_store::Store;

use crate::local::LocalImage;
use crate::{UpstreamError, blocking};

mod local_blob;

/// How long to do nothing when all that is left is being brought by another process.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// Where the bytes of an image are.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Registry { client: Client, repository: Repository },
    Local(Arc<LocalImage>),
}

impl Origin {
    /// Whether a blob asked for here and there would be asked of the same place.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registry { repository, .. }, Self::Registry { repository: other, .. }) => {
                repository == other
            }
            (Self::Local(image), Self::Local(other)) => Arc::ptr_eq(image, other),
            _ => false,
        }
    }
}

impl Origin {
    /// Brings a blob into the store, or waits until another process has brought it.
    pub(crate) async fn bring(
        &self,
        blob: &Descriptor,
        reference: &str,
        store: &Store,
        ctx: &Ctx,
    ) -> Result<Transfer, UpstreamError> {
        loop {
            let transfer = match self {
                Self::Registry { client, repository } => {
                    let transfer = client.fetch_into(repository, blob, store, ctx).await;
                    transfer.map_err(|source| UpstreamError::Client {
                        reference: reference.to_owned(),
                        source,
                    })?
                }
                Self::Local(image) => {
                    let copy = local_blob::Copy {
                        image: Arc::clone(image),
                        blob: blob.clone(),
                        reference: reference.to_owned(),
                    };
                    let (store, ctx) = (store.clone(), ctx.clone());
                    blocking(move || copy.run(&store, &ctx)).await?
                }
            };
            if transfer != Transfer::Busy {
                return Ok(transfer);
            }
            let pause = ctx.cancel.run_until_cancelled(tokio::time::sleep(BUSY_PAUSE));
            pause.await.ok_or(UpstreamError::Cancelled)?;
        }
    }
}

/// A manifest with the bytes it was read from.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) descriptor: Descriptor,
    pub(crate) manifest: Manifest,
}

/// Reads the manifests of one artifact and keeps what it read in the store.
#[derive(Debug)]
pub(crate) struct Manifests<'a> {
    pub(crate) reference: &'a str,
    pub(crate) origin: &'a Origin,
    pub(crate) store: &'a Store,
    pub(crate) ctx: &'a Ctx,
}

impl Manifests<'_> {
    /// The manifest that a tag or digest leads to; none where there is none. A tag is always asked for upstream.
    pub(crate) async fn look_up(&self, wanted: &str) -> Result<Option<Read>, UpstreamError> {
        let pinned: Option<Digest> = wanted.parse().ok();
        if let Some(digest) = pinned
            && let Some(bytes) = self.stored(digest).await?
        {
            return self.understood(&bytes, digest, None).map(Some);
        }
        let (bytes, media_type, digest) = match self.origin {
            Origin::Registry { client, repository } => {
                let found = client.manifest(repository, wanted, self.ctx).await;
                match found.map_err(|source| self.client_error(source))? {
                    Some(found) => (found.bytes, Some(found.media_type), found.digest),
                    None => return Ok(None),
                }
            }
            Origin::Local(image) => {
                let Some(digest) = pinned.or_else(|| image.tagged(wanted)) else { return Ok(None) };
                match image.read_manifest(digest).await? {
                    Some(bytes) => (bytes, None, digest),
                    None => return Ok(None),
                }
            }
        };
        let read = self.understood(&bytes, digest, media_type.as_deref())?;
        self.keep(digest, bytes).await?;
        Ok(Some(read))
    }

    /// The manifest that `link` names; it must exist and be as long as promised.
    pub(crate) async fn follow(&self, link: &Descriptor) -> Result<Read, UpstreamError> {
        let found = self.look_up(&link.digest.to_string()).await?;
        let read = found.ok_or_else(|| UpstreamError::Missing {
            reference: self.reference.to_owned(),
            what: "the manifest",
            digest: link.digest,
        })?;
        if read.descriptor.size == link.size {
            return Ok(read);
        }
        let (expected, actual) = (link.size, read.descriptor.size);
        Err(UpstreamError::Size {
            reference: self.reference.to_owned(),
            digest: link.digest,
            expected,
            actual,
        })
    }

    fn understood(
        &self,
        bytes: &[u8],
        digest: Digest,
        outside: Option<&str>,
    ) -> Result<Read, UpstreamError> {
        let manifest = Manifest::parse(bytes, outside).map_err(|source| {
            UpstreamError::Manifest { reference: self.reference.to_owned(), digest, source }
        })?;
        let descriptor = Descriptor::new(&manifest.media_type, digest, bytes.len() as u64);
        Ok(Read { descriptor, manifest })
    }

    async fn stored(&self, digest: Digest) -> Result<Option<Vec<u8>>, UpstreamError> {
        let store = self.store.clone();
        let read = blocking(move || store.read(&digest, MAX_MANIFEST_BYTES)).await;
        read.map_err(|source| self.store_error(source))
    }

    async fn keep(&self, digest: Digest, bytes: Vec<u8>) -> Result<(), UpstreamError> {
        let store = self.store.clone();
        let put = blocking(move || store.put(digest, &bytes)).await;
        put.map_err(|source| self.store_error(source))
    }

    pub(crate) fn client_error(
        &self,
        source: airlift_registry::client::ClientError,
    ) -> UpstreamError {
        UpstreamError::Client { reference: self.reference.to_owned(), source }
    }

    fn store_error(&self, source: airlift_store::StoreError) -> UpstreamError {
        UpstreamError::Store { reference: self.reference.to_owned(), source }
    }
}
