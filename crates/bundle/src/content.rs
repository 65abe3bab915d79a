//! One source of artifacts, whatever holds them: volumes, a store, or a registry; and several joined by digest.
//!
//! **Invariant.** From volumes, no byte goes out before the sums of its chunk, or the digest of its blob, vouched
//! for it (see [`TrustedBundle::read`]). If a source fails in the middle of a blob, the next one that has the blob
//! goes on at the same byte; if there is none, the stream ends in an error, and so does every later one that needs
//! the damaged chunk.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use airlift_registry::client::BlobSource;
use airlift_spec::{Ctx, Digest, Lock};
use airlift_store::Store;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use crate::{BundleError, TrustedBundle};

mod locks;
mod registry;
mod store;
mod volumes;

pub use locks::Origin;
pub use registry::RegistryContent;

/// What goes into one frame of a stream at most.
const FRAME_BYTES: usize = 1 << 20;

/// Frames of a blob.
pub type Frames = BoxStream<'static, Result<Bytes, BundleError>>;

/// Where content comes from.
#[derive(Debug, Clone)]
pub enum Content {
    Volumes(Arc<TrustedBundle>),
    Store(Arc<Store>),
    Registry(RegistryContent),
}

/// Several sources, joined by digest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sources(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    contents: Vec<Content>,
    locks: Vec<Lock>,
    ctx: Ctx,
}

/// Whether a blob can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    Here {
        size: u64,
    },
    /// It belongs to a source, but lies on volumes that are absent.
    Absent {
        volumes: Vec<String>,
    },
    /// A delta left it out: it must be on the far side already.
    LeftOut {
        repository: String,
    },
    Unknown,
}

impl Sources {
    /// Joins `contents`, and reads the locks that they hold.
    pub async fn open(contents: Vec<Content>, ctx: &Ctx) -> Result<Self, BundleError> {
        let mut found = Vec::new();
        for content in &contents {
            found.extend(content.locks().await?);
        }
        let locks = locks::that_count(found);
        Ok(Self(Arc::new(Inner { contents, locks, ctx: ctx.clone() })))
    }

    /// The locks that count: of two locks of one stack, the delta's, else the last source's. Sorted by stack.
    pub fn locks(&self) -> &[Lock] {
        &self.0.locks
    }

    pub fn contents(&self) -> &[Content] {
        &self.0.contents
    }

    /// The best that any source says about a blob.
    pub async fn availability(&self, digest: &Digest) -> Result<Availability, BundleError> {
        let mut best = Availability::Unknown;
        for content in &self.0.contents {
            let found = content.availability(digest, &self.0.ctx).await?;
            best = match (best, found) {
                (_, here @ Availability::Here { .. }) => return Ok(here),
                (Availability::Unknown, found)
                | (Availability::LeftOut { .. }, found @ Availability::Absent { .. }) => found,
                (best, _) => best,
            };
        }
        Ok(best)
    }

    /// A small blob whole (manifests), checked against its digest.
    pub async fn read_small(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, BundleError> {
        let mut last = None;
        for content in &self.0.contents {
            match content.read_small(digest, limit, &self.0.ctx).await {
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => {}
                Err(err) => last = Some(err),
            }
        }
        // An absent volume is no error here: `availability` says which.
        match last {
            None | Some(BundleError::Absent { .. }) => Ok(None),
            Some(err) => Err(err),
        }
    }

    /// A piece of a blob in frames of at most 1 MiB. From volumes, no byte of a chunk comes before the chunk is
    /// checked. The first frame is read before this returns, so that what cannot be had is an error here.
    pub async fn read(&self, digest: &Digest, range: Range<u64>) -> Result<Frames, BundleError> {
        let mut reader = Reader {
            sources: self.clone(),
            digest: *digest,
            position: range.start,
            end: range.end,
            ahead: (0..self.0.contents.len()).collect(),
            current: None,
            last: None,
        };
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let Some(first) = reader.next().await? else {
            return Err(BundleError::Unknown { digest: *digest });
        };
        let rest = stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|frame| (frame, reader)))
        });
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }

    /// For pushing.
    pub fn blob_source(&self, digest: Digest, size: u64) -> Box<dyn BlobSource> {
        Box::new(Blob { sources: self.clone(), digest, size })
    }

    /// Chunks that turned out damaged while they were read, by volume: for `/metrics`.
    pub fn damage(&self) -> BTreeMap<String, Vec<u64>> {
        let mut damage = BTreeMap::new();
        for content in &self.0.contents {
            if let Content::Volumes(bundle) = content {
                damage.extend(bundle.damage());
            }
        }
        damage
    }
}

impl Content {
    async fn locks(&self) -> Result<Vec<locks::Found>, BundleError> {
        match self {
            Self::Volumes(bundle) => volumes::locks(bundle).await,
            Self::Store(store) => store::locks(store).await,
            Self::Registry(registry) => Ok(registry.locks()),
        }
    }

    /// What this source alone says about a blob.
    pub async fn availability(
        &self,
        digest: &Digest,
        ctx: &Ctx,
    ) -> Result<Availability, BundleError> {
        match self {
            Self::Volumes(bundle) => Ok(volumes::availability(bundle, digest)),
            Self::Store(store) => Ok(store::availability(store, digest)),
            Self::Registry(registry) => registry.availability(digest, ctx).await,
        }
    }

    async fn read_small(
        &self,
        digest: &Digest,
        limit: u64,
        ctx: &Ctx,
    ) -> Result<Option<Bytes>, BundleError> {
        match self {
            Self::Volumes(bundle) => volumes::read_small(bundle, *digest, limit).await,
            Self::Store(store) => store::read_small(store, *digest, limit).await,
            Self::Registry(registry) => registry.read_small(digest, limit, ctx).await,
        }
    }

    /// Bytes of the blob; none where this source does not know it.
    async fn frames(
        &self,
        digest: Digest,
        range: Range<u64>,
        ctx: &Ctx,
    ) -> Result<Option<Frames>, BundleError> {
        match self {
            Self::Volumes(bundle) => volumes::frames(bundle, digest, range),
            Self::Store(store) => store::frames(store, digest, range),
            Self::Registry(registry) => registry.frames(&digest, range, ctx).await,
        }
    }
}

/// A blob on its way out, from one source after the other.
struct Reader {
    sources: Sources,
    digest: Digest,
    position: u64,
    end: u64,
    /// Sources not yet tried, by position.
    ahead: VecDeque<usize>,
    current: Option<Frames>,
    /// Why the last source failed.
    last: Option<BundleError>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, BundleError> {
        while self.position < self.end {
            let Some(current) = &mut self.current else {
                if self.open_next().await {
                    continue;
                }
                return match self.last.take() {
                    Some(err) => Err(err),
                    None => Err(BundleError::Unknown { digest: self.digest }),
                };
            };
            match current.next().await {
                Some(Ok(frame)) if !frame.is_empty() => {
                    self.position += frame.len() as u64;
                    return Ok(Some(frame));
                }
                Some(Ok(_)) => {}
                Some(Err(err)) => self.give_up(err),
                None => self.give_up(BundleError::Mismatch { digest: self.digest }),
            }
        }
        Ok(None)
    }

    fn give_up(&mut self, err: BundleError) {
        tracing::warn!(err = %airlift_spec::error::chain(&err), digest = %self.digest, "a source failed");
        self.current = None;
        self.last = Some(err);
    }

    /// Turns to the next source; false when there is none left.
    async fn open_next(&mut self) -> bool {
        let Some(at) = self.ahead.pop_front() else { return false };
        let inner = Arc::clone(&self.sources.0);
        match inner.contents[at].frames(self.digest, self.position..self.end, &inner.ctx).await {
            Ok(frames) => self.current = frames,
            Err(err) => self.give_up(err),
        }
        true
    }
}

/// Cuts what a chunk gave into frames; no byte is copied.
fn split(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let frame = bytes.split_to(bytes.len().min(FRAME_BYTES));
        (!frame.is_empty()).then_some(frame)
    })
}

/// Runs `read` where it may wait for a disk.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, BundleError> + Send + 'static,
) -> Result<T, BundleError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(err) if err.is_panic() => std::panic::resume_unwind(err.into_panic()),
        Err(_) => Err(BundleError::Cancelled),
    }
}

struct Blob {
    sources: Sources,
    digest: Digest,
    size: u64,
}

impl BlobSource for Blob {
    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        let end = self.size.min(offset.saturating_add(length as u64));
        Box::pin(async move {
            let frames = self.sources.read(&self.digest, offset..end.max(offset)).await;
            let frames = frames.map_err(io::Error::other)?.map_err(io::Error::other);
            let mut frames = frames.try_collect::<Vec<_>>().await?;
            // Mostly one frame is all: then nothing is copied.
            if frames.len() == 1 {
                return Ok(frames.remove(0));
            }
            let mut joined = BytesMut::with_capacity(length);
            for frame in &frames {
                joined.extend_from_slice(frame);
            }
            Ok(joined.freeze())
        })
    }
}
