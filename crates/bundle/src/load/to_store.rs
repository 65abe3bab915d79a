//! Loading into a store: every blob and every piece that is there, disk by disk.
//!
//! A registry takes whole artifacts only. A store takes what comes: who cannot mount all media at once loads one
//! after the other, and pushes from the store when it is complete.
//!
//! **Order.** The root comes first and names every blob of the bundle, so that nothing which is here before its
//! manifest, or before its lock, is collected as garbage. `index.json` comes last.
//! **Checks.** A piece is checked against the signed sums of its volume before it is written, and the finished blob
//! against its digest before it is published; both are done by whoever reads and writes, not here.
//! **Crash.** Pieces that were written stay, and the next run fills the gaps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use airlift_spec::lock::{Artifact, Lock};
use airlift_spec::oci::{MAX_MANIFEST_BYTES, Manifest};
use airlift_spec::{Class, Ctx, Descriptor, Digest, Event, Explain as _, Finding};
use airlift_store::{BlobWriter, Root, RootArtifact, Staging, Store, StoreError};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::plan::{FORMAT, Failure, Lack, Missing, lacking};
use super::report::{Fate, LoadReport, Outcome, Tally};
use super::{LoadError, LoadOptions};
use crate::root::Member;
use crate::{Availability, BundleError, Content, Sources, TrustedBundle};

/// Written between two checkpoints: what a kill loses at most of one blob.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// Brings everything that `sources` hold into `store`, whether the artifacts are complete or not.
///
/// What is there already is not read. Artifacts that are still incomplete are in the report, with what they need.
///
/// # Errors
///
/// A full or broken store, or a cancellation. A blob that is damaged sinks the artifacts that need it.
pub async fn load_to_store(
    sources: &Sources,
    store: &Store,
    options: &LoadOptions,
    ctx: &Ctx,
) -> Result<LoadReport, LoadError> {
    let tally = Tally::default();
    let load = ToStore { sources, store, options, ctx, tally: &tally };
    let bundles = load.bundles();
    load.write_roots(&bundles, Keeps::Everything).await?;
    load.keep_without_lock(&bundles).await?;
    let mut took = load.take_members(&bundles).await?;
    let mut artifacts = Vec::new();
    let mut findings = sources.without_lock().to_vec();
    for lock in sources.locks() {
        for artifact in &lock.artifacts {
            artifacts.extend(load.complete(lock, artifact, &mut took, &mut findings).await?);
        }
    }
    let is_whole = |outcome: &Outcome| matches!(outcome.result, Fate::Present | Fate::Pushed);
    if artifacts.iter().all(is_whole) {
        load.write_roots(&bundles, Keeps::Artifacts).await?;
    }
    load.blocking(|store| store.write_index(&[])).await?;
    findings.sort();
    findings.dedup();
    let totals = tally.totals(0);
    Ok(LoadReport { format: FORMAT, artifacts, findings, totals, request: None })
}

/// What a root names besides the artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// Every blob of the bundles: manifests may come after what they lead to.
    Everything,
    Artifacts,
}

struct ToStore<'a> {
    sources: &'a Sources,
    store: &'a Store,
    options: &'a LoadOptions,
    ctx: &'a Ctx,
    tally: &'a Tally,
}

/// What came of the members of volumes.
#[derive(Default)]
struct Took {
    /// Blobs of which something was written.
    touched: BTreeSet<Digest>,
    /// Blobs that could not be taken, and why.
    failed: BTreeMap<Digest, Failure>,
}

impl ToStore<'_> {
    fn bundles(&self) -> Vec<Arc<TrustedBundle>> {
        let volumes = self.sources.contents().iter().filter_map(|content| match content {
            Content::Volumes(bundle) => Some(Arc::clone(bundle)),
            Content::Store(_) | Content::Registry(_) => None,
        });
        volumes.collect()
    }

    /// Runs what waits for the disk on a thread that may wait.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(LoadError::Thread)?.map_err(LoadError::Store)
    }

    async fn write_roots(
        &self,
        bundles: &[Arc<TrustedBundle>],
        keeps: Keeps,
    ) -> Result<(), LoadError> {
        for lock in self.sources.locks() {
            let text = lock.to_text();
            let digest = Digest::of(text.as_bytes());
            let mut blobs = BTreeSet::from([digest]);
            let mut small = Vec::new();
            for bundle in bundles.iter().filter(|bundle| carries(bundle, lock)) {
                let extras = bundle.named_members().filter(|(name, _)| is_kept(name));
                for (_, member) in extras {
                    blobs.insert(member.digest);
                    small.push((Arc::clone(bundle), member.clone()));
                }
                if keeps == Keeps::Everything {
                    let members = bundle.table().members().iter();
                    let ordinary = members.filter(|member| member.name.is_none());
                    blobs.extend(ordinary.map(|member| member.digest));
                }
            }
            // Whoever looks for the lock among what a root keeps finds it first.
            let others = blobs.into_iter().filter(|blob| *blob != digest);
            let blobs = std::iter::once(digest).chain(others).collect();
            let root = Root { stack: lock.stack.clone(), artifacts: anchors(lock), blobs };
            self.blocking(move |store| store.write_root(&root)).await?;
            if keeps == Keeps::Everything {
                self.blocking(move |store| store.put(digest, text.as_bytes())).await?;
                self.put_small(small).await?;
            }
        }
        Ok(())
    }

    /// A bundle whose volume 00000 is not here gives blobs and no lock: its stacks keep all that it names, beside
    /// what they kept before, until a load has the lock.
    async fn keep_without_lock(&self, bundles: &[Arc<TrustedBundle>]) -> Result<(), LoadError> {
        for bundle in bundles {
            let members = bundle.table().members().iter().filter(|member| member.name.is_none());
            let blobs: BTreeSet<Digest> = members.map(|member| member.digest).collect();
            let is_known = |stack: &str| self.sources.locks().iter().any(|it| it.stack == stack);
            for stack in bundle.root().stacks.iter().filter(|stack| !is_known(&stack.name)) {
                let (stack, blobs) = (stack.name.clone(), blobs.clone());
                self.blocking(move |store| keep_also(store, stack, &blobs)).await?;
            }
        }
        Ok(())
    }

    /// Findings and blueprints travel in volume 00000, and lie in the store as blobs.
    async fn put_small(&self, members: Vec<(Arc<TrustedBundle>, Member)>) -> Result<(), LoadError> {
        self.blocking(move |store| {
            for (bundle, member) in members {
                // Volume 00000 may be on another disk; what travels in it then comes with that one.
                if let Ok(bytes) = bundle.read_whole(&member, MAX_MANIFEST_BYTES) {
                    store.put(member.digest, &bytes)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Takes every piece of every volume that is here, in the order in which they lie on it.
    async fn take_members(&self, bundles: &[Arc<TrustedBundle>]) -> Result<Took, LoadError> {
        let mut members = Vec::new();
        for bundle in bundles {
            let here = bundle.table().members().iter().filter(|member| member.name.is_none());
            let here = here.filter(|member| !self.store.contains(&member.digest));
            let mut here: Vec<(Member, Vec<Range<u64>>)> =
                here.map(|member| (member.clone(), pieces_here(bundle, member))).collect();
            here.retain(|(member, pieces)| !pieces.is_empty() || member.size == 0);
            // A disk is fastest when it is read from one end to the other.
            here.sort_by_key(|(member, _)| {
                member.pieces.first().map(|piece| (piece.volume, piece.offset))
            });
            members.extend(here.into_iter().map(|found| (Arc::clone(bundle), found)));
        }
        let lengths = members.iter().flat_map(|(_, (_, pieces))| pieces);
        let total_bytes = lengths.map(|piece| piece.end - piece.start).sum();
        let (phase, items) = ("load", members.len() as u64);
        self.ctx.events.emit(Event::PhaseStarted { phase, items, total_bytes });
        let stop = self.ctx.cancel.child_token();
        let takes = members.into_iter().map(|(bundle, (member, pieces))| {
            (bundle, member, pieces, Ctx { events: self.ctx.events.clone(), cancel: stop.clone() })
        });
        let takes = takes.map(|(bundle, member, pieces, ctx)| async move {
            let (digest, store) = (member.digest, self.store.clone());
            let work = move || take(&store, &bundle, &member, &pieces, &ctx);
            match tokio::task::spawn_blocking(work).await.map_err(LoadError::Thread)? {
                Ok(Taken { bytes, is_whole: true }) => self.tally.sent(bytes),
                Ok(Taken { bytes, is_whole: false }) => self.tally.sent_part(bytes),
                Err(err) => return Ok((digest, Some(self.spare_the_rest(err)?))),
            }
            Ok::<_, LoadError>((digest, None))
        });
        let mut took = Took::default();
        let mut takes = stream::iter(takes).buffer_unordered(self.options.parallel.get());
        let mut stopped = None;
        // Every thread that was started is waited for: it holds a blob that the next load will want.
        while let Some(taken) = takes.next().await {
            match taken {
                Ok((digest, None)) => {
                    took.touched.insert(digest);
                }
                Ok((digest, Some(failure))) => {
                    took.failed.insert(digest, failure);
                }
                Err(err) => {
                    stop.cancel();
                    stopped.get_or_insert(err);
                }
            }
        }
        self.ctx.events.emit(Event::PhaseFinished { phase });
        stopped.map_or(Ok(took), Err)
    }

    /// A broken store and a cancellation end the load; anything else concerns one blob.
    fn spare_the_rest(&self, err: TakeError) -> Result<Failure, LoadError> {
        match err {
            TakeError::Store(err) if err.class() != Class::Integrity => Err(LoadError::Store(err)),
            TakeError::Store(err) => Ok(Failure::of(&err)),
            TakeError::Source(_) if self.ctx.is_cancelled() => Err(LoadError::Cancelled),
            TakeError::Source(err) => Ok(Failure::of(&err)),
            TakeError::Busy => {
                let reason = "another process is writing it".to_owned();
                let help = Some("run it again when that one is done".to_owned());
                Ok(Failure { class: Class::Storage, reason, help })
            }
            TakeError::Cancelled => Err(LoadError::Cancelled),
        }
    }

    /// Walks one artifact, brings what other sources than volumes have of it, and says what is missing.
    async fn complete(
        &self,
        lock: &Lock,
        artifact: &Artifact,
        pass: &mut Took,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Outcome>, LoadError> {
        let Some(digest) = artifact.digest else { return Ok(None) };
        let left_out = artifact.left_out_digests();
        let mut ahead: VecDeque<Descriptor> = artifact.descriptor().into_iter().collect();
        ahead.extend(artifact.referrers.iter().map(airlift_spec::lock::Referrer::descriptor));
        let mut seen = BTreeSet::new();
        let mut missing = BTreeSet::new();
        let mut failure = None;
        let mut has_moved = false;
        while let Some(next) = ahead.pop_front() {
            if !seen.insert(next.digest) || left_out.contains(&next.digest) {
                continue;
            }
            match self.bring(&next, pass).await? {
                Brought::Present => {}
                Brought::Copied => has_moved = true,
                Brought::Lacking(why) => {
                    missing.insert(Missing { digest: next.digest, lack: why });
                    continue;
                }
                Brought::Failed(why) => {
                    failure = Some(why);
                    continue;
                }
            }
            if next.is_manifest() {
                let wanted = next.digest;
                let read = self.blocking(move |store| store.read(&wanted, MAX_MANIFEST_BYTES));
                let bytes = read.await?.unwrap_or_default();
                match Manifest::parse(&bytes, Some(&next.media_type)) {
                    Ok(manifest) => ahead.extend(manifest.links().cloned()),
                    Err(err) => failure = Some(Failure::of(&err)),
                }
            }
        }
        let result = match (failure, missing.is_empty()) {
            (Some(failure), _) => Fate::Failed(failure),
            (None, true) if has_moved => Fate::Pushed,
            (None, true) => Fate::Present,
            (None, false) => {
                let missing: Vec<Missing> = missing.into_iter().collect();
                let said = lacking(&missing);
                findings.push(Finding::error("incomplete", &artifact.reference, said));
                Fate::Incomplete { missing }
            }
        };
        Ok(Some(Outcome {
            stack: lock.stack.clone(),
            reference: artifact.reference.clone(),
            repository: artifact.reference.repository(),
            digest,
            result,
        }))
    }

    async fn bring(&self, blob: &Descriptor, took: &mut Took) -> Result<Brought, LoadError> {
        if self.ctx.is_cancelled() {
            return Err(LoadError::Cancelled);
        }
        if self.store.contains(&blob.digest) {
            let is_new = took.touched.contains(&blob.digest);
            return Ok(if is_new { Brought::Copied } else { Brought::Present });
        }
        if let Some(failure) = took.failed.get(&blob.digest) {
            return Ok(Brought::Failed(failure.clone()));
        }
        let found = self.sources.availability(&blob.digest).await;
        match found.map_err(|source| LoadError::Read { what: blob.digest.to_string(), source })? {
            Availability::Here { size } => match self.copy(blob.digest, size).await {
                Ok(()) => {
                    took.touched.insert(blob.digest);
                    Ok(Brought::Copied)
                }
                Err(err) => {
                    let failure = self.spare_the_rest(err)?;
                    took.failed.insert(blob.digest, failure.clone());
                    Ok(Brought::Failed(failure))
                }
            },
            Availability::Absent { volumes } => Ok(Brought::Lacking(Lack::Volumes { volumes })),
            Availability::LeftOut { repository } => {
                Ok(Brought::Lacking(Lack::LeftOut { repository }))
            }
            // Whoever may not have such a layer goes without.
            Availability::Unknown if blob.is_non_distributable() => Ok(Brought::Present),
            Availability::Unknown => Ok(Brought::Lacking(Lack::Unknown)),
        }
    }

    /// Copies a blob from whatever source has it.
    async fn copy(&self, digest: Digest, size: u64) -> Result<(), TakeError> {
        let store = self.store.clone();
        let staged = run_blocking(move || store.stage(digest, size)).await?;
        let mut writer = match staged {
            Staging::Present => return Ok(()),
            Staging::Busy => return Err(TakeError::Busy),
            Staging::Writer(writer) => writer,
        };
        for gap in writer.gaps() {
            let mut at = gap.start;
            let mut frames = self.sources.read(&digest, gap).await.map_err(TakeError::Source)?;
            while let Some(frame) = frames.try_next().await.map_err(TakeError::Source)? {
                let length = frame.len() as u64;
                writer = run_blocking(move || write(writer, at, &frame)).await?;
                at += length;
                self.ctx.events.emit(Event::TransferAdvanced { blob: digest, bytes: length });
            }
        }
        run_blocking(move || writer.commit()).await?;
        self.tally.sent(size);
        Ok(())
    }
}

enum Brought {
    Present,
    Copied,
    Lacking(Lack),
    Failed(Failure),
}

enum TakeError {
    Store(StoreError),
    Source(BundleError),
    Busy,
    Cancelled,
}

/// What was taken of a blob.
struct Taken {
    bytes: u64,
    is_whole: bool,
}

fn write(mut writer: BlobWriter, at: u64, frame: &Bytes) -> Result<BlobWriter, StoreError> {
    writer.write_at(at, frame)?;
    Ok(writer)
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, TakeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(TakeError::Store),
        // The runtime is going down.
        Err(_) => Err(TakeError::Cancelled),
    }
}

/// Adds `blobs` to what the stack's root keeps, behind the lock that stands first there.
fn keep_also(store: &Store, stack: String, blobs: &BTreeSet<Digest>) -> Result<(), StoreError> {
    let standing = store.read_root(&stack)?;
    let empty = || Root { stack, artifacts: Vec::new(), blobs: Vec::new() };
    let mut root = standing.unwrap_or_else(empty);
    let new = blobs - &root.blobs.iter().copied().collect();
    if new.is_empty() {
        return Ok(());
    }
    root.blobs.extend(new);
    store.write_root(&root)
}

/// Whether the bundle was made from this lock.
fn carries(bundle: &TrustedBundle, lock: &Lock) -> bool {
    bundle.root().stacks.iter().any(|stack| stack.name == lock.stack)
}

/// Members of volume 00000 that are kept: not the layout's own two, which a store writes itself.
fn is_kept(name: &str) -> bool {
    !matches!(name, "oci-layout" | "index.json")
}

/// What the lock keeps in the store.
fn anchors(lock: &Lock) -> Vec<RootArtifact> {
    let mut anchors = Vec::new();
    for artifact in &lock.artifacts {
        let Some(manifest) = artifact.descriptor() else { continue };
        let (reference, left_out) =
            (Some(artifact.reference.to_string()), artifact.left_out_digests());
        anchors.push(RootArtifact { reference, manifest, left_out });
        anchors.extend(artifact.referrers.iter().map(|referrer| RootArtifact {
            reference: None,
            manifest: referrer.descriptor(),
            left_out: BTreeSet::new(),
        }));
    }
    anchors
}

/// The ranges of a member that lie on volumes which are here.
fn pieces_here(bundle: &TrustedBundle, member: &Member) -> Vec<Range<u64>> {
    let mut start = 0;
    let mut here = Vec::new();
    for piece in &member.pieces {
        let end = start + piece.length;
        if bundle.volumes()[piece.volume as usize].is_here() {
            here.push(start..end);
        }
        start = end;
    }
    here
}

/// Takes what is here of one blob into the store. Blocks on both disks.
fn take(
    store: &Store,
    bundle: &TrustedBundle,
    member: &Member,
    pieces: &[Range<u64>],
    ctx: &Ctx,
) -> Result<Taken, TakeError> {
    let blob = member.digest;
    if ctx.is_cancelled() {
        return Err(TakeError::Cancelled);
    }
    let staged = store.stage(blob, member.size).map_err(TakeError::Store)?;
    let mut writer = match staged {
        Staging::Present => return Ok(Taken { bytes: 0, is_whole: false }),
        Staging::Busy => return Err(TakeError::Busy),
        Staging::Writer(writer) => writer,
    };
    let (total_bytes, gaps) = (member.size, writer.gaps());
    let open_bytes: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
    let resumed_bytes = total_bytes - open_bytes;
    ctx.events.emit(Event::TransferStarted { blob, total_bytes, resumed_bytes });
    let mut taken = 0;
    let mut unsaved = 0;
    for range in gaps.iter().flat_map(|gap| overlaps(gap, pieces)) {
        let mut at = range.start;
        while at < range.end {
            if ctx.is_cancelled() {
                writer.checkpoint().map_err(TakeError::Store)?;
                return Err(TakeError::Cancelled);
            }
            let bytes = bundle.read(member, at, range.end).map_err(TakeError::Source)?;
            writer.write_at(at, &bytes).map_err(TakeError::Store)?;
            let length = bytes.len() as u64;
            (at, taken, unsaved) = (at + length, taken + length, unsaved + length);
            ctx.events.emit(Event::TransferAdvanced { blob, bytes: length });
            if unsaved >= CHECKPOINT_BYTES {
                writer.checkpoint().map_err(TakeError::Store)?;
                unsaved = 0;
            }
        }
    }
    let is_whole = writer.gaps().is_empty();
    if is_whole {
        writer.commit().map_err(TakeError::Store)?;
    } else {
        writer.checkpoint().map_err(TakeError::Store)?;
    }
    ctx.events.emit(Event::TransferFinished { blob });
    Ok(Taken { bytes: taken, is_whole })
}

/// The parts of `gap` that `pieces` can fill.
fn overlaps<'a>(
    gap: &'a Range<u64>,
    pieces: &'a [Range<u64>],
) -> impl Iterator<Item = Range<u64>> + 'a {
    let cut = |piece: &Range<u64>| piece.start.max(gap.start)..piece.end.min(gap.end);
    pieces.iter().map(cut).filter(|range| range.start < range.end)
}
