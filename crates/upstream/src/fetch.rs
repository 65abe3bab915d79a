//! `fetch`: what a lock names comes into the store.
//!
//! The lock pins digests, so the work is a set: manifests first, which say what all the blobs are, then every
//! blob once, wherever it is wanted. What is in the store is not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use airlift_registry::client::{Fetched as Transfer, Repository};
use airlift_spec::closure::{Closure, Unreadable, closure};
use airlift_spec::lock::Artifact;
use airlift_spec::oci::{MAX_MANIFEST_BYTES, total_bytes};
use airlift_spec::stack;
use airlift_spec::{Class, Ctx, Descriptor, Digest, Event, Explain as _, Finding, Lock, error};
use airlift_store::{Listing, Root, RootArtifact, Store, StoreError};
use futures::StreamExt as _;

use crate::local::LocalImage;
use crate::made;
use crate::origin::{Manifests, Origin};
use crate::resolve::Upstream;
use crate::{ArtifactFailure, UpstreamError, blocking};

/// From this size on a blob's time is its bytes; below, it is the way there and back, and the sync at the end.
const LARGE_BYTES: u64 = 1 << 20;

/// Small blobs under way for each large one. Most of them wait for a sync that they share: the more there are, the
/// fewer syncs it takes. How many may ask the registry at once is the client's business.
const SMALL_FOR_A_LARGE: usize = 8;

/// How [`fetch`] goes about it. The default suits an unattended run.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Large blobs in flight at once. Each costs one connection and at most 3 MiB of memory.
    pub max_in_flight: NonZeroUsize,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { max_in_flight: NonZeroUsize::new(8).expect("8 is not 0") }
    }
}

/// What a fetch brought, and what it could not.
#[derive(Debug, Default)]
pub struct Fetched {
    pub artifacts: u64,
    pub blobs: u64,
    pub bytes: u64,
    /// Blobs that were in the store before.
    pub present_blobs: u64,
    pub present_bytes: u64,
    /// Layers that upstream does not give to anybody.
    pub findings: Vec<Finding>,
    pub failures: Vec<ArtifactFailure>,
}

/// What a fetch would bring, as far as the manifests in the store can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPlan {
    pub missing: Vec<Descriptor>,
    pub present: Vec<Descriptor>,
    /// Manifests that are not in the store, so that what they lead to is not known.
    pub unread: Vec<Descriptor>,
}

/// Says what [`fetch`] would bring. Asks nobody. Blocks on the disk.
pub fn plan(lock: &Lock, store: &Store) -> Result<FetchPlan, UpstreamError> {
    let (mut blobs, mut unread) = (BTreeMap::new(), BTreeMap::new());
    for artifact in &lock.artifacts {
        if artifact.digest.is_none() {
            return Err(UpstreamError::Unpinned { reference: artifact.reference.to_string() });
        }
        for part in parts(artifact) {
            let found = walk(&part, store)?;
            let known = found.manifests.into_iter().chain(found.blobs);
            blobs.extend(known.map(|blob| (blob.digest, blob)));
            unread.extend(found.missing.into_iter().map(|blob| (blob.digest, blob)));
        }
    }
    blobs.retain(|digest, _| !unread.contains_key(digest));
    let listing = store.list().map_err(UpstreamError::StoreItself)?;
    let (present, missing) = blobs.into_values().partition(|blob| listing.contains(&blob.digest));
    Ok(FetchPlan { missing, present, unread: unread.into_values().collect() })
}

/// Brings everything that `lock` names into the store.
///
/// Blobs that are there are skipped, half-finished ones continued, so a repeated run picks up where the last
/// one stopped. Once done, the store's `index.json` lists the artifacts that are complete.
///
/// # Cancel safety
///
/// Cancelling keeps what is durable of the blobs in flight for the next run.
///
/// # Errors
///
/// Only what stops everything: a lock with open pins, a broken or full store, a cancellation.
pub async fn fetch(
    lock: &Lock,
    upstream: &Upstream,
    options: &FetchOptions,
    ctx: &Ctx,
) -> Result<Fetched, UpstreamError> {
    if let Some(open) = lock.artifacts.iter().find(|artifact| artifact.digest.is_none()) {
        return Err(UpstreamError::Unpinned { reference: open.reference.to_string() });
    }
    let text = lock.to_text();
    let digest = Digest::of(text.as_bytes());
    let mut root = root_with(lock, digest);
    let read: Vec<Digest> = lock.remotes.values().map(|pin| pin.digest).collect();
    let keep = move |store: &Store| {
        // What `resolve` read to know what to carry; it is elsewhere, if it ran elsewhere.
        root.blobs.extend(read.into_iter().filter(|digest| store.contains(digest)));
        store.write_root(&root)?;
        store.put(digest, text.as_bytes())
    };
    let store = &upstream.store;
    let ((), listing) =
        futures::try_join!(with_store(store, keep), with_store(store, Store::list))?;
    let listing = Arc::new(listing);
    let run = Run { upstream, options, ctx };
    let mut fetched = Fetched { artifacts: lock.artifacts.len() as u64, ..Fetched::default() };
    let Found { missing, whole, .. } = run.manifests(lock, &listing, &mut fetched).await?;
    run.blobs(missing.into_values().collect(), &mut fetched).await?;
    with_store(&upstream.store, move |store| store.write_index(&whole)).await?;
    fetched.failures.sort_by(|a, b| a.reference.cmp(&b.reference));
    Ok(fetched)
}

async fn with_store<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, UpstreamError> {
    let store = store.clone();
    blocking(move || work(&store)).await.map_err(UpstreamError::StoreItself)
}

/// What the store must keep for this lock, from before its first blob arrives.
pub fn root(lock: &Lock) -> Root {
    root_with(lock, lock.digest())
}

fn root_with(lock: &Lock, digest: Digest) -> Root {
    Root {
        stack: lock.stack.clone(),
        artifacts: lock.artifacts.iter().flat_map(parts).collect(),
        // The lock itself, so that the store alone is enough to serve or load from.
        blobs: vec![digest],
    }
}

/// The manifests to walk from: an artifact's own, where it is pinned, and those of what is said about it.
fn parts(artifact: &Artifact) -> Vec<RootArtifact> {
    let own = artifact.descriptor().map(|manifest| RootArtifact {
        reference: Some(artifact.reference.to_string()),
        manifest,
        left_out: artifact.left_out_digests(),
    });
    let said = artifact.referrers.iter().map(|referrer| RootArtifact {
        reference: None,
        manifest: referrer.descriptor(),
        left_out: BTreeSet::new(),
    });
    own.into_iter().chain(said).collect()
}

fn walk(part: &RootArtifact, store: &Store) -> Result<Closure, UpstreamError> {
    let read = |link: &Descriptor| store.read(&link.digest, MAX_MANIFEST_BYTES);
    closure(&part.manifest, &part.left_out, read).map_err(UpstreamError::StoreItself)
}

/// What one walk from a manifest came to.
struct Step {
    /// Those that are not in the store.
    manifests: Vec<Descriptor>,
    unreadable: Vec<Unreadable>,
    missing: Vec<Descriptor>,
    present: Vec<(usize, u64)>,
}

impl Step {
    fn walk(from: &RootArtifact, store: &Store, listing: &Listing) -> Result<Self, UpstreamError> {
        let found = walk(from, store)?;
        let (mut missing, mut present) = (Vec::new(), Vec::new());
        for blob in found.blobs {
            match listing.position(&blob.digest) {
                Some(at) => present.push((at, blob.size)),
                None => missing.push(blob),
            }
        }
        Ok(Self { manifests: found.missing, unreadable: found.unreadable, missing, present })
    }
}

/// What the manifests of all artifacts say.
struct Found {
    /// Blobs that are not in the store, each once.
    missing: BTreeMap<Digest, Work>,
    /// What was in the store with all it leads to.
    whole: Vec<RootArtifact>,
    /// Which blobs of the listing have been counted.
    counted: Vec<bool>,
}

impl Found {
    fn add(&mut self, reached: Reached, fetched: &mut Fetched) {
        self.whole.extend(reached.whole);
        for (at, size) in reached.present {
            if !std::mem::replace(&mut self.counted[at], true) {
                fetched.present_blobs += 1;
                // Manifests may claim anything, and the sum is for people.
                fetched.present_bytes = fetched.present_bytes.saturating_add(size);
            }
        }
        for blob in reached.missing {
            let none = || Work { blob: blob.clone(), wanted_by: Vec::new() };
            let work = self.missing.entry(blob.digest).or_insert_with(none);
            work.wanted_by.push(reached.wanting.clone());
        }
    }
}

/// What the manifests of one artifact say.
struct Reached {
    wanting: Wanting,
    missing: Vec<Descriptor>,
    /// Which blobs of the listing, and what they are said to measure: a million descriptors would fill the memory.
    present: Vec<(usize, u64)>,
    whole: Vec<RootArtifact>,
}

/// A blob to bring, and who wants it from where.
struct Work {
    blob: Descriptor,
    wanted_by: Vec<Wanting>,
}

/// One artifact that wants a blob.
#[derive(Clone)]
struct Wanting {
    reference: Arc<str>,
    origin: Origin,
}

/// What came of one blob.
enum Brought {
    Now(u64),
    ByAnother,
    NotGiven(Finding),
    Failed(Vec<Wanting>, UpstreamError),
}

struct Run<'a> {
    upstream: &'a Upstream,
    options: &'a FetchOptions,
    ctx: &'a Ctx,
}

impl Run<'_> {
    /// Brings the manifests that are missing; then all blobs are known.
    async fn manifests(
        &self,
        lock: &Lock,
        listing: &Arc<Listing>,
        fetched: &mut Fetched,
    ) -> Result<Found, UpstreamError> {
        let items = lock.artifacts.len() as u64;
        self.ctx.events.emit(Event::PhaseStarted { phase: "manifests", items, total_bytes: 0 });
        let counted = vec![false; listing.len()];
        let mut found = Found { missing: BTreeMap::new(), whole: Vec::new(), counted };
        // In the lock's order, which is the order in which a blob's places are tried.
        let mut answers = futures::stream::iter(&lock.artifacts)
            .map(|artifact| async move { (artifact, self.artifact(artifact, listing).await) })
            .buffered(self.options.max_in_flight.get());
        while let Some((artifact, answer)) = self
            .ctx
            .cancel
            .run_until_cancelled(answers.next())
            .await
            .ok_or(UpstreamError::Cancelled)?
        {
            match answer {
                Ok(reached) => {
                    found.add(reached, fetched);
                    let item = artifact.reference.to_string();
                    self.ctx.events.emit(Event::ItemFinished { item });
                }
                Err(error) if error.stops_everything() => return Err(error),
                Err(error) => {
                    let reference = artifact.reference.to_string();
                    let reason = error::chain(&error);
                    self.ctx.events.emit(Event::ItemFailed { item: reference.clone(), reason });
                    fetched.failures.push(ArtifactFailure { reference, error });
                }
            }
        }
        self.ctx.events.emit(Event::PhaseFinished { phase: "manifests" });
        Ok(found)
    }

    /// The blobs of one artifact, after its manifests have been brought.
    async fn artifact(
        &self,
        artifact: &Artifact,
        listing: &Arc<Listing>,
    ) -> Result<Reached, UpstreamError> {
        let reference: Arc<str> = artifact.reference.to_string().into();
        if made::is_made(artifact) && !self.is_whole(artifact).await? {
            made::again(artifact, self.upstream, self.ctx).await?;
        }
        let origin = self.origin(artifact).await?;
        let manifests = Manifests {
            reference: &reference,
            origin: &origin,
            store: &self.upstream.store,
            ctx: self.ctx,
        };
        let mut reached = Reached {
            wanting: Wanting { reference: Arc::clone(&reference), origin: origin.clone() },
            missing: Vec::new(),
            present: Vec::new(),
            whole: Vec::new(),
        };
        for part in parts(artifact) {
            self.complete(Arc::new(part), &manifests, listing, &mut reached).await?;
        }
        // What two parts lead to is asked for once.
        reached.missing.sort_by_key(|blob| blob.digest);
        reached.missing.dedup_by_key(|blob| blob.digest);
        Ok(reached)
    }

    /// Whether the store has all of an artifact.
    async fn is_whole(&self, artifact: &Artifact) -> Result<bool, UpstreamError> {
        let (store, parts) = (self.upstream.store.clone(), parts(artifact));
        let is_whole = move |part: &RootArtifact| {
            let found = walk(part, &store)?;
            Ok(found.missing.is_empty() && found.blobs.iter().all(|it| store.contains(&it.digest)))
        };
        blocking(move || parts.iter().try_fold(true, |all, part| Ok(all && is_whole(part)?))).await
    }

    /// Walks from a manifest until none that it leads to is missing.
    async fn complete(
        &self,
        part: Arc<RootArtifact>,
        manifests: &Manifests<'_>,
        listing: &Arc<Listing>,
        reached: &mut Reached,
    ) -> Result<(), UpstreamError> {
        loop {
            let (store, listing) = (self.upstream.store.clone(), Arc::clone(listing));
            let here = Arc::clone(&part);
            let step = blocking(move || Step::walk(&here, &store, &listing)).await?;
            if let Some(odd) = step.unreadable.first() {
                return Err(UpstreamError::Unreadable {
                    reference: manifests.reference.to_owned(),
                    digest: odd.manifest.digest,
                    reason: odd.reason.clone(),
                });
            }
            if step.manifests.is_empty() {
                if step.missing.is_empty() {
                    reached.whole.push(RootArtifact::clone(&part));
                }
                reached.missing.extend(step.missing);
                reached.present.extend(step.present);
                return Ok(());
            }
            for link in &step.manifests {
                manifests.follow(link).await?;
            }
        }
    }

    async fn origin(&self, artifact: &Artifact) -> Result<Origin, UpstreamError> {
        // What is made here is in the store by now.
        let Some(from) = artifact.from.clone().filter(|_| !made::is_made(artifact)) else {
            let repository = Repository::from(&artifact.reference);
            return Ok(Origin::Registry { client: self.upstream.client.clone(), repository });
        };
        let (base, reference) = (self.upstream.base.clone(), artifact.reference.clone());
        let opened =
            blocking(move || LocalImage::open(&stack::origin(&from), &reference, &base)).await?;
        opened.map(|image| Origin::Local(Arc::new(image))).ok_or_else(|| UpstreamError::Local {
            path: artifact.reference.to_string(),
            problem: "has an origin in the lock that is none".to_owned(),
            help: Some("make the lock anew with `airlift resolve`".to_owned()),
        })
    }

    async fn blobs(
        &self,
        mut missing: Vec<Work>,
        fetched: &mut Fetched,
    ) -> Result<(), UpstreamError> {
        // Large ones first: a long transfer begun last is time in which nothing else is left to do.
        missing.sort_by_key(|work| (std::cmp::Reverse(work.blob.size), work.blob.digest));
        let total_bytes = total_bytes(missing.iter().map(|work| work.blob.size));
        let items = missing.len() as u64;
        self.ctx.events.emit(Event::PhaseStarted { phase: "fetch", items, total_bytes });
        let mut failed: BTreeMap<Arc<str>, UpstreamError> = BTreeMap::new();
        let small = missing.split_off(missing.partition_point(|it| it.blob.size >= LARGE_BYTES));
        let at_once = self.options.max_in_flight.get();
        let transfer = |work| self.blob(work);
        let mut transfers = futures::stream::select(
            futures::stream::iter(missing).map(transfer).buffer_unordered(at_once),
            futures::stream::iter(small)
                .map(transfer)
                .buffer_unordered(at_once.saturating_mul(SMALL_FOR_A_LARGE)),
        );
        while let Some(answer) = transfers.next().await {
            match answer? {
                Brought::Now(bytes) => {
                    fetched.blobs += 1;
                    fetched.bytes += bytes;
                }
                Brought::ByAnother => fetched.present_blobs += 1,
                Brought::NotGiven(finding) => fetched.findings.push(finding),
                Brought::Failed(wanted_by, error) => sink(&mut failed, wanted_by, error),
            }
        }
        let failures = failed.into_iter();
        fetched.failures.extend(
            failures.map(|(reference, error)| ArtifactFailure {
                reference: reference.to_string(),
                error,
            }),
        );
        self.ctx.events.emit(Event::PhaseFinished { phase: "fetch" });
        Ok(())
    }

    /// Brings one blob. An error is one that stops everything.
    async fn blob(&self, work: Work) -> Result<Brought, UpstreamError> {
        let brought = self.bring(&work).await;
        if brought.is_ok() {
            let item = work.blob.digest.to_string();
            self.ctx.events.emit(Event::ItemFinished { item });
        }
        let error = match brought {
            Ok(Transfer::Brought) => return Ok(Brought::Now(work.blob.size)),
            Ok(Transfer::Present | Transfer::Busy) => return Ok(Brought::ByAnother),
            Err(error) if error.stops_everything() => return Err(error),
            Err(error) => error,
        };
        if !work.blob.is_non_distributable() || error.class() == Class::Network {
            return Ok(Brought::Failed(work.wanted_by, error));
        }
        let reason = error::chain(&error);
        let message = format!("upstream does not give this non-distributable layer: {reason}");
        let reference = &work.wanted_by[0].reference;
        let finding = Finding::warning("non-distributable", work.blob.digest, message);
        Ok(Brought::NotGiven(finding.of(reference)))
    }

    /// Tries each place that should have the blob, until one gives the right bytes.
    async fn bring(&self, work: &Work) -> Result<Transfer, UpstreamError> {
        let mut places: Vec<&Wanting> = Vec::new();
        for wanting in &work.wanted_by {
            if !places.iter().any(|known| known.origin.is_same_place(&wanting.origin)) {
                places.push(wanting);
            }
        }
        let mut first_error = None;
        for place in places {
            let store = &self.upstream.store;
            match place.origin.bring(&work.blob, &place.reference, store, self.ctx).await {
                Ok(transfer) => return Ok(transfer),
                Err(error) if error.stops_everything() => return Err(error),
                // The first place is the one that the lock's order prefers, so its reason is the one to tell.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.expect("every blob is wanted from at least one place"))
    }
}

/// One blob that failed sinks every artifact that wants it, and no other.
fn sink(
    failed: &mut BTreeMap<Arc<str>, UpstreamError>,
    wanted_by: Vec<Wanting>,
    error: UpstreamError,
) {
    let mut names = wanted_by.into_iter().map(|wanting| wanting.reference);
    let Some(first) = names.next() else { return };
    for name in names {
        let shared = UpstreamError::Shared {
            with: first.to_string(),
            class: error.class(),
            reason: error::chain(&error),
        };
        failed.entry(name).or_insert(shared);
    }
    failed.entry(first).or_insert(error);
}

#[cfg(test)]
mod tests {
    use airlift_registry::client::{Client, ClientOptions};

    use super::*;

    #[test]
    fn sizes_beyond_all_numbers_do_not_stop_the_count() {
        let client = Client::new(ClientOptions::default()).unwrap();
        let repository = Repository { host: "quay.io".to_owned(), path: "org/app".to_owned() };
        let origin = Origin::Registry { client, repository };
        let mut found =
            Found { missing: BTreeMap::new(), whole: Vec::new(), counted: vec![false; 2] };
        let mut fetched = Fetched::default();
        let present = vec![(0, u64::MAX), (1, u64::MAX), (0, 1)];
        let wanting = Wanting { reference: "quay.io/org/app:1".into(), origin };
        let reached = Reached { wanting, missing: Vec::new(), present, whole: Vec::new() };
        found.add(reached, &mut fetched);
        assert_eq!((fetched.present_blobs, fetched.present_bytes), (2, u64::MAX));
    }
}
