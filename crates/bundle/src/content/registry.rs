//! Content out of a registry that airlift has loaded, found by the locks that say what is in it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use airlift_registry::client::{Client, Repository};
use airlift_spec::error::chain;
use airlift_spec::lock::Artifact;
use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{
    Class, Closure, Ctx, Descriptor, Digest, Explain as _, Finding, Hasher, Layout, Lock, closure,
};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use super::locks::{Found, Origin};
use super::{Availability, Frames};
use crate::BundleError;

/// Manifests asked for at once while looking where blobs are.
const IN_FLIGHT: usize = 8;

/// A registry with the artifacts of some locks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RegistryContent {
    client: Client,
    host: String,
    prefix: String,
    layout: Layout,
    locks: Arc<Vec<Lock>>,
    /// Where each blob is. Made when first asked for: it costs one request a manifest.
    places: Arc<OnceCell<HashMap<Digest, Place>>>,
}

#[derive(Debug, Clone)]
struct Place {
    repository: Repository,
    size: u64,
    is_manifest: bool,
}

impl RegistryContent {
    pub fn new(
        client: Client,
        host: String,
        prefix: String,
        layout: Layout,
        locks: Vec<Lock>,
    ) -> Self {
        let (locks, places) = (Arc::new(locks), Arc::default());
        Self { client, host, prefix, layout, locks, places }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Reads every blob that the locks reach, and says which are not there or not what their digests say.
    ///
    /// # Errors
    ///
    /// Where the registry cannot be asked.
    pub async fn read_all(&self, ctx: &Ctx) -> Result<Vec<Finding>, BundleError> {
        let places = self.places.get_or_try_init(|| self.look(ctx)).await?;
        let blobs = places.iter().filter(|(_, place)| !place.is_manifest);
        let read = blobs.map(|(digest, place)| self.read_one(digest, place, ctx).boxed());
        let read: Vec<_> = read.collect();
        let found: Vec<Option<Finding>> =
            stream::iter(read).buffer_unordered(IN_FLIGHT).try_collect().await?;
        let mut findings: Vec<Finding> = found.into_iter().flatten().collect();
        findings.sort();
        Ok(findings)
    }

    async fn read_one(
        &self,
        digest: &Digest,
        place: &Place,
        ctx: &Ctx,
    ) -> Result<Option<Finding>, BundleError> {
        let Some(mut frames) = self.frames(digest, 0..place.size, ctx).await? else {
            let message = format!("{} does not have it", self.host);
            return Ok(Some(Finding::error("absent", digest, message).of(&place.repository.path)));
        };
        loop {
            match frames.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(err) if err.class() == Class::Integrity => {
                    let finding = Finding::error("blob-damaged", digest, chain(&err));
                    return Ok(Some(finding.of(&place.repository.path)));
                }
                Err(err) => return Err(err),
            }
        }
    }

    pub(super) fn locks(&self) -> Vec<Found> {
        let found = |lock: &Lock| Found {
            digest: lock.digest(),
            lock: lock.clone(),
            origin: Origin::default(),
        };
        self.locks.iter().map(found).collect()
    }

    pub(super) async fn availability(
        &self,
        digest: &Digest,
        ctx: &Ctx,
    ) -> Result<Availability, BundleError> {
        let place = self.place(digest, ctx).await?;
        Ok(place.map_or(Availability::Unknown, |place| Availability::Here { size: place.size }))
    }

    pub(super) async fn read_small(
        &self,
        digest: &Digest,
        limit: u64,
        ctx: &Ctx,
    ) -> Result<Option<Bytes>, BundleError> {
        let Some(place) = self.place(digest, ctx).await? else { return Ok(None) };
        if place.size > limit {
            return Err(BundleError::TooLarge { digest: *digest, size: place.size, limit });
        }
        if place.is_manifest {
            let found = self.client.manifest(&place.repository, &digest.to_string(), ctx).await?;
            return Ok(found.map(|found| found.bytes.into()));
        }
        let size = place.size;
        let Some(frames) = self.frames(digest, 0..size, ctx).await? else { return Ok(None) };
        let frames: Vec<Bytes> = frames.try_collect().await?;
        Ok(Some(frames.concat().into()))
    }

    pub(super) async fn frames(
        &self,
        digest: &Digest,
        range: Range<u64>,
        ctx: &Ctx,
    ) -> Result<Option<Frames>, BundleError> {
        let Some(place) = self.place(digest, ctx).await? else { return Ok(None) };
        let is_whole = range == (0..place.size);
        let asked = (!is_whole).then_some(range);
        let frames = self.client.read_blob(&place.repository, digest, asked, ctx).await?;
        let Some(frames) = frames else { return Ok(None) };
        let frames = frames.map_err(BundleError::from);
        Ok(Some(if is_whole { checked(*digest, frames.boxed()) } else { frames.boxed() }))
    }

    async fn place(&self, digest: &Digest, ctx: &Ctx) -> Result<Option<&Place>, BundleError> {
        let places = self.places.get_or_try_init(|| self.look(ctx)).await?;
        Ok(places.get(digest))
    }

    async fn look(&self, ctx: &Ctx) -> Result<HashMap<Digest, Place>, BundleError> {
        let mut walks: Vec<BoxFuture<'_, Result<Option<_>, BundleError>>> = Vec::new();
        for lock in self.locks.iter() {
            walks.extend(lock.artifacts.iter().map(|artifact| self.walk(artifact, ctx).boxed()));
        }
        let mut walks = stream::iter(walks).buffered(IN_FLIGHT);
        let mut places = HashMap::new();
        while let Some(found) = walks.try_next().await? {
            let Some((repository, closures)) = found else { continue };
            for closure in &closures {
                let manifests = closure.manifests.iter().map(|blob| (blob, true));
                let blobs = closure.blobs.iter().map(|blob| (blob, false));
                for (blob, is_manifest) in manifests.chain(blobs) {
                    // What the registry lacks is not here, whatever the lock says.
                    if closure.missing.iter().any(|missing| missing.digest == blob.digest) {
                        continue;
                    }
                    let (repository, size) = (repository.clone(), blob.size);
                    places.entry(blob.digest).or_insert(Place { repository, size, is_manifest });
                }
            }
        }
        Ok(places)
    }

    async fn walk(
        &self,
        artifact: &Artifact,
        ctx: &Ctx,
    ) -> Result<Option<(Repository, Vec<Closure>)>, BundleError> {
        let Some(manifest) = artifact.descriptor() else { return Ok(None) };
        // Wherever it lies, it lies whole.
        let placed = artifact.placed_as(self.layout).next();
        let path = placed.and_then(|name| self.layout.place(&self.prefix, name).ok());
        let Some(path) = path else { return Ok(None) };
        let repository = Repository { host: self.host.clone(), path };
        let mut closures =
            vec![self.closure(&repository, &manifest, &artifact.left_out_digests(), ctx).await?];
        for referrer in &artifact.referrers {
            let descriptor = referrer.descriptor();
            closures.push(self.closure(&repository, &descriptor, &BTreeSet::new(), ctx).await?);
        }
        Ok(Some((repository, closures)))
    }

    /// The walk itself is pure, so it is repeated with what was fetched until it asks for nothing more: once for
    /// each level of nesting.
    async fn closure(
        &self,
        repository: &Repository,
        from: &Descriptor,
        left_out: &BTreeSet<Digest>,
        ctx: &Ctx,
    ) -> Result<Closure, BundleError> {
        let mut fetched: HashMap<Digest, Option<Vec<u8>>> = HashMap::new();
        loop {
            let read = |manifest: &Descriptor| {
                Ok::<_, BundleError>(fetched.get(&manifest.digest).cloned().flatten())
            };
            let known = closure(from, left_out, read)?;
            let ahead: Vec<Digest> = known
                .missing
                .iter()
                .filter(|blob| blob.size <= MAX_MANIFEST_BYTES)
                .map(|blob| blob.digest)
                .filter(|digest| !fetched.contains_key(digest))
                .collect();
            if ahead.is_empty() {
                return Ok(known);
            }
            for digest in ahead {
                let found = self.client.manifest(repository, &digest.to_string(), ctx).await?;
                fetched.insert(digest, found.map(|found| found.bytes));
            }
        }
    }
}

/// The same frames; the last one comes only if all of them together are `digest`.
fn checked(digest: Digest, frames: Frames) -> Frames {
    struct State {
        frames: Frames,
        hasher: Hasher,
        held: Option<Bytes>,
    }
    let hasher = Hasher::new(digest.algorithm());
    let state = State { frames, hasher, held: None };
    let checked = stream::try_unfold(state, move |mut state| async move {
        loop {
            match state.frames.try_next().await? {
                Some(frame) => {
                    state.hasher.update(&frame);
                    if let Some(before) = state.held.replace(frame) {
                        return Ok(Some((before, state)));
                    }
                }
                None => match state.held.take() {
                    Some(_) if state.hasher.clone().finish() != digest => {
                        return Err(BundleError::Mismatch { digest });
                    }
                    Some(last) => return Ok(Some((last, state))),
                    None => return Ok(None),
                },
            }
        }
    });
    checked.boxed()
}
