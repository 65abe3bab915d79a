//! One source of artifacts, whatever holds them: volumes, a store, or a registry; and several joined by digest.
//!
//! **Invariant.** From volumes, no byte goes out before the sums of its chunk, or the digest of its blob, vouched
//! for it (see [`TrustedBundle::read`]). If a source fails in the middle of a blob, the next one that has the blob
//! goes on at the same byte; if there is none, the stream ends in an error, and so does every later one that needs
//! the damaged chunk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use airlift_registry::client::BlobSource;
use airlift_spec::{Ctx, Digest, Finding, Lock};
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

/// What goes into one frame of a stream at most. A slow client holds two, and there may be a thousand of them.
const FRAME_BYTES: usize = 512 << 10;

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
    without_lock: Vec<Finding>,
    ctx: Ctx,
    /// Damage that somebody was told of.
    told: Mutex<BTreeSet<String>>,
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
        let known: BTreeSet<Digest> = found.iter().map(|found| found.digest).collect();
        let without_lock = contents.iter().flat_map(|content| content.without_lock(&known));
        let without_lock: BTreeSet<Finding> = without_lock.collect();
        let without_lock = without_lock.into_iter().collect();
        let locks = locks::that_count(found);
        let told = Mutex::default();
        Ok(Self(Arc::new(Inner { contents, locks, without_lock, ctx: ctx.clone(), told })))
    }

    /// The same sources, of which no more than these locks counts.
    #[must_use]
    pub fn with_locks(&self, locks: Vec<Lock>) -> Self {
        let Inner { contents, without_lock, ctx, .. } = &*self.0;
        let (contents, without_lock, ctx) = (contents.clone(), without_lock.clone(), ctx.clone());
        Self(Arc::new(Inner { contents, locks, without_lock, ctx, told: Mutex::default() }))
    }

    /// Stacks that a bundle carries although no source gives their lock: none of their artifacts is known by name,
    /// so whoever goes by the locks must not take them for delivered.
    pub fn without_lock(&self) -> &[Finding] {
        &self.0.without_lock
    }

    /// The locks that count: of two locks of one stack, the delta's, else the last source's. Sorted by stack.
    pub fn locks(&self) -> &[Lock] {
        &self.0.locks
    }

    pub fn contents(&self) -> &[Content] {
        &self.0.contents
    }

    /// The best that any source says about a blob. That one cannot be asked matters only if no other has it.
    pub async fn availability(&self, digest: &Digest) -> Result<Availability, BundleError> {
        let mut best = Availability::Unknown;
        let mut failed = None;
        for content in &self.0.contents {
            let found = match content.availability(digest, &self.0.ctx).await {
                Ok(found) => found,
                Err(err) => {
                    self.0.tell(&err);
                    failed = Some(err);
                    continue;
                }
            };
            best = match (best, found) {
                (_, here @ Availability::Here { .. }) => return Ok(here),
                (Availability::Unknown, found)
                | (Availability::LeftOut { .. }, found @ Availability::Absent { .. }) => found,
                (best, _) => best,
            };
        }
        failed.map_or(Ok(best), Err)
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
                Err(err) => {
                    self.0.tell(&err);
                    keep_worse(&mut last, err);
                }
            }
        }
        // An absent volume is no error here: `availability` says which.
        match last {
            None | Some(BundleError::Absent { .. }) => Ok(None),
            Some(err) => Err(err),
        }
    }

    /// A piece of a blob in frames of at most 1 MiB. From volumes, no byte of a chunk comes before the chunk is
    /// checked. The first frame is read before this returns, so that what cannot be had is an error here, and so is
    /// whatever turned out damaged before in all of the range.
    pub async fn read(&self, digest: &Digest, range: Range<u64>) -> Result<Frames, BundleError> {
        let mut reader = Reader {
            sources: self.clone(),
            digest: *digest,
            position: range.start,
            end: range.end,
            ahead: (0..self.0.contents.len()).collect(),
            failed: Vec::new(),
            current: None,
            last: None,
        };
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        if let Some(err) = self.known_loss(digest, &range).await {
            return Err(err);
        }
        let Some(first) = reader.next().await? else {
            return Err(BundleError::Unknown { digest: *digest });
        };
        let rest = stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|frame| (frame, reader)))
        });
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }

    /// Why no source can give all of `range`, as far as that is known: better said before the first byte than by
    /// cutting a connection in the middle.
    async fn known_loss(&self, digest: &Digest, range: &Range<u64>) -> Option<BundleError> {
        let mut losses = Vec::new();
        for bundle in self.bundles() {
            let Some(member) = bundle.table().find(digest) else { continue };
            if !bundle.absent_volumes(member).is_empty() {
                continue;
            }
            let damage = bundle.known_damage(member, range);
            if damage.is_empty() {
                return None;
            }
            losses.push(damage);
        }
        let at = common_start(&losses)?;
        for content in &self.0.contents {
            let is_bundle = matches!(content, Content::Volumes(_));
            let here = |found| matches!(found, Availability::Here { .. });
            if !is_bundle && content.availability(digest, &self.0.ctx).await.is_ok_and(here) {
                return None;
            }
        }
        let all = losses.into_iter().flatten();
        all.filter(|(part, _)| part.contains(&at)).map(|(_, err)| err).next()
    }

    fn bundles(&self) -> impl Iterator<Item = &Arc<TrustedBundle>> {
        self.0.contents.iter().filter_map(|content| match content {
            Content::Volumes(bundle) => Some(bundle),
            Content::Store(_) | Content::Registry(_) => None,
        })
    }

    /// For pushing.
    pub fn blob_source(&self, digest: Digest, size: u64) -> Box<dyn BlobSource> {
        Box::new(Blob { sources: self.clone(), digest, size })
    }

    /// Chunks that turned out damaged while they were read, by volume: for `/metrics`.
    pub fn damage(&self) -> BTreeMap<String, BTreeSet<u64>> {
        let mut damage: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for (volume, chunks) in self.bundles().flat_map(|bundle| bundle.damage()) {
            damage.entry(volume).or_default().extend(chunks);
        }
        damage
    }

    /// Blobs whose digest turned out wrong where no signed sums vouch for chunks, with their first volume.
    pub fn damaged_blobs(&self) -> BTreeSet<(String, Digest)> {
        self.bundles().flat_map(|bundle| bundle.damaged_blobs()).collect()
    }
}

impl Inner {
    /// Says that a source failed, and of the same damage only once.
    fn tell(&self, err: &BundleError) {
        let text = airlift_spec::error::chain(err);
        let is_news = match err {
            // That volumes are absent is no failure: it was known when the source was opened.
            BundleError::Absent { .. } => false,
            BundleError::Damaged { .. } | BundleError::MemberDamaged { .. } => {
                self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone())
            }
            _ => true,
        };
        if is_news {
            tracing::warn!("{text}");
            self.ctx.events.note(text);
        }
    }
}

/// Of several reasons, damage is the one that somebody must mend.
fn keep_worse(last: &mut Option<BundleError>, err: BundleError) {
    let is_damage = |err: &BundleError| {
        matches!(err, BundleError::Damaged { .. } | BundleError::MemberDamaged { .. })
    };
    let is_absent = matches!(err, BundleError::Absent { .. });
    if last.as_ref().is_none_or(|last| !is_damage(last) && !is_absent) {
        *last = Some(err);
    }
}

/// A place that is lost in every one of `losses`. Where several stretches overlap, they do so from the start of one.
fn common_start(losses: &[Vec<(Range<u64>, BundleError)>]) -> Option<u64> {
    let mut starts = losses.iter().flatten().map(|(part, _)| part.start);
    starts.find(|at| losses.iter().all(|loss| loss.iter().any(|(part, _)| part.contains(at))))
}

impl Content {
    async fn locks(&self) -> Result<Vec<locks::Found>, BundleError> {
        match self {
            Self::Volumes(bundle) => volumes::locks(bundle).await,
            Self::Store(store) => store::locks(store).await,
            Self::Registry(registry) => Ok(registry.locks()),
        }
    }

    /// The stacks of volumes whose volume 00000 is absent or damaged, and whose lock is not `known` from elsewhere.
    fn without_lock(&self, known: &BTreeSet<Digest>) -> Vec<Finding> {
        match self {
            Self::Volumes(bundle) => volumes::without_lock(bundle, known),
            Self::Store(_) | Self::Registry(_) => Vec::new(),
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
    /// Those that failed, and how far the blob had come: behind that they may be good again.
    failed: Vec<(usize, u64)>,
    current: Option<(usize, Frames)>,
    /// Why the last source failed.
    last: Option<BundleError>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, BundleError> {
        while self.position < self.end {
            let Some((at, current)) = &mut self.current else {
                if self.open_next().await {
                    continue;
                }
                return match self.last.take() {
                    Some(err) => Err(err),
                    None => Err(BundleError::Unknown { digest: self.digest }),
                };
            };
            let at = *at;
            match current.next().await {
                Some(Ok(frame)) if !frame.is_empty() => {
                    self.position += frame.len() as u64;
                    return Ok(Some(frame));
                }
                Some(Ok(_)) => {}
                Some(Err(err)) => self.give_up(at, err),
                None => self.give_up(at, BundleError::Mismatch { digest: self.digest }),
            }
        }
        Ok(None)
    }

    fn give_up(&mut self, at: usize, err: BundleError) {
        self.sources.0.tell(&err);
        self.current = None;
        self.failed.push((at, self.position));
        keep_worse(&mut self.last, err);
    }

    /// Turns to the next source; false when there is none left.
    async fn open_next(&mut self) -> bool {
        if self.ahead.is_empty() {
            let position = self.position;
            let again = self.failed.extract_if(.., |(_, failed_at)| *failed_at < position);
            self.ahead.extend(again.map(|(at, _)| at));
        }
        let Some(at) = self.ahead.pop_front() else { return false };
        let inner = Arc::clone(&self.sources.0);
        match inner.contents[at].frames(self.digest, self.position..self.end, &inner.ctx).await {
            Ok(frames) => self.current = frames.map(|frames| (at, frames)),
            Err(err) => self.give_up(at, err),
        }
        true
    }
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
            // Of one frame, nothing is copied.
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
