//! Proving that a bundle arrived: every byte against what was signed, and the one line that says what to cut again.
//!
//! A volume with signed sums is checked chunk by chunk on all cores: even one blob of 140 GB keeps them busy. Without
//! them, and with [`Depth::Digests`], its members' digests are followed while it is read, each volume on a core. Every
//! byte is read once; only a blob that is split over volumes is read again for its digest.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use airlift_spec::{Ctx, Digest, Event, Finding};
use serde::Serialize;

use crate::root::{CHUNK_BYTES, Member, in_volume_order};
use crate::{BundleError, TrustedBundle, Volume};

mod damage;
mod files;

pub(crate) use files::wrong_file;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Signed sums; digests only where there are none.
    Sums,
    /// The digest of every blob as well.
    Digests,
}

#[derive(Debug, Clone, Copy)]
pub struct VerifyOptions {
    pub depth: Depth,
    /// Each reads a chunk of 8 MiB at a time.
    pub threads: NonZeroUsize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { depth: Depth::Sums, threads }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    pub name: String,
    pub root: Digest,
    pub findings: Vec<Finding>,
    /// Ordinals of volumes that are missing or damaged.
    pub broken: Vec<u32>,
    /// The command that makes them anew on the near side; none if nothing is broken.
    pub cut_again: Option<String>,
    pub volumes: u64,
    pub bytes: u64,
}

/// Reads everything that is here of `bundle`, and says what is not.
///
/// Blocks on disks and hashes: call it off the async threads.
///
/// # Errors
///
/// Only a cancellation. What cannot be read is damaged, which is a finding.
pub fn verify(
    bundle: &TrustedBundle,
    options: &VerifyOptions,
    ctx: &Ctx,
) -> Result<Verified, BundleError> {
    let mut hurt = files::look(bundle);
    let jobs = jobs(bundle, options.depth, &hurt);
    ctx.events.emit(Event::PhaseStarted {
        phase: "verify",
        items: jobs.len() as u64,
        total_bytes: here(bundle, &hurt).map(Volume::size_bytes).sum(),
    });
    let found = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..options.threads.get().min(jobs.len()) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if ctx.is_cancelled() {
                        return;
                    }
                    let broken = job.run(bundle, ctx);
                    found.lock().unwrap_or_else(PoisonError::into_inner).extend(broken);
                }
            });
        }
    });
    if ctx.is_cancelled() {
        return Err(BundleError::Cancelled);
    }
    ctx.events.emit(Event::PhaseFinished { phase: "verify" });
    hurt.damage.extend(found.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(report(bundle, hurt))
}

/// The volumes that can be read, under whatever name.
fn here<'a>(bundle: &'a TrustedBundle, hurt: &'a Hurt) -> impl Iterator<Item = &'a Volume> {
    let is_read = |volume: &&Volume| volume.is_here() && !hurt.lost.contains(&volume.ordinal());
    bundle.volumes().iter().filter(is_read).chain(&hurt.misnamed)
}

/// What is wrong with the volumes.
#[derive(Debug, Default)]
struct Hurt {
    findings: Vec<Finding>,
    /// Volumes that are not here under their name, or are not themselves.
    lost: BTreeSet<u32>,
    /// Those among them that lie under another name: they are checked there.
    misnamed: Vec<Volume>,
    damage: Vec<Damage>,
}

/// Bytes that are not what was signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Chunk { volume: u32, chunk: u64, reason: String },
    Member { volume: u32, digest: Digest, name: String, reason: String },
}

impl Damage {
    fn volume(&self) -> u32 {
        match self {
            Self::Chunk { volume, .. } | Self::Member { volume, .. } => *volume,
        }
    }
}

/// A piece of the work that one core does on its own.
enum Job<'a> {
    /// Compares one chunk with its sum.
    Chunk { volume: &'a Volume, chunk: u64 },
    /// Reads a whole volume: its sums, if there are any, and the digests of the members that lie on it alone.
    Volume { volume: &'a Volume, members: Vec<&'a Member> },
    /// Follows a blob over its volumes.
    Split { member: &'a Member },
}

/// The jobs in the order of the volumes, so that a disk is read from front to back.
fn jobs<'a>(bundle: &'a TrustedBundle, depth: Depth, hurt: &'a Hurt) -> Vec<Job<'a>> {
    let mut by_volume: BTreeMap<u32, Vec<&Member>> = BTreeMap::new();
    let mut split = Vec::new();
    for (piece, member, part) in in_volume_order(bundle.table().members()) {
        match (member.pieces.len(), part) {
            (1, _) => by_volume.entry(piece.volume).or_default().push(member),
            (_, 0) => split.push(member),
            _ => {}
        }
    }
    let is_summed = |volume: &Volume| volume.sums().is_some();
    let mut jobs = Vec::new();
    for volume in here(bundle, hurt) {
        if depth == Depth::Sums && is_summed(volume) {
            jobs.extend((0..volume.chunk_count()).map(|chunk| Job::Chunk { volume, chunk }));
        } else {
            let members = by_volume.remove(&volume.ordinal()).unwrap_or_default();
            jobs.push(Job::Volume { volume, members });
        }
    }
    let volumes_of = |member: &Member| {
        let ordinals = member.pieces.iter().map(|piece| piece.volume as usize);
        ordinals.map(|at| &bundle.volumes()[at]).collect::<Vec<_>>()
    };
    for member in split {
        let volumes = volumes_of(member);
        let is_wanted = depth == Depth::Digests || volumes.iter().any(|volume| !is_summed(volume));
        // What is misnamed counts as here once it is renamed; the parts are checked by their sums until then.
        let is_here = |volume: &&Volume| volume.is_here() && !hurt.lost.contains(&volume.ordinal());
        if is_wanted && volumes.iter().all(is_here) {
            jobs.push(Job::Split { member });
        }
    }
    jobs
}

impl Job<'_> {
    fn run(&self, bundle: &TrustedBundle, ctx: &Ctx) -> Vec<Damage> {
        match self {
            Self::Chunk { volume, chunk } => {
                check_chunk(volume, *chunk, Keep::Nothing, ctx).err().into_iter().collect()
            }
            Self::Volume { volume, members } => damage::of_volume(volume, members, ctx),
            Self::Split { member } => damage::of_split(bundle, member, ctx),
        }
    }
}

/// What to return of a chunk that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    Everything,
}

/// Reads one chunk and compares it, if there are sums to compare it with.
fn check_chunk(volume: &Volume, chunk: u64, keep: Keep, ctx: &Ctx) -> Result<bytes::Bytes, Damage> {
    let start = chunk * CHUNK_BYTES;
    let end = (start + CHUNK_BYTES).min(volume.size_bytes());
    let wanted = if keep == Keep::Everything { start..end } else { start..start };
    let read = match volume.sums() {
        Some(_) => volume.check_chunk(chunk, wanted),
        None => volume.read_unchecked(start, end),
    };
    let name = volume.name().to_owned();
    ctx.events.emit(Event::VolumeAdvanced { volume: name, bytes: end - start });
    read.map_err(|err| {
        let reason = match err {
            BundleError::Damaged { .. } => "its bytes are not the signed ones".to_owned(),
            err => airlift_spec::error::chain(&err),
        };
        Damage::Chunk { volume: volume.ordinal(), chunk, reason }
    })
}

fn report(bundle: &TrustedBundle, mut hurt: Hurt) -> Verified {
    hurt.damage.sort();
    hurt.damage.dedup();
    damage::blame_chunks_first(bundle, &mut hurt.damage);
    let bytes = here(bundle, &hurt).map(Volume::size_bytes).sum();
    let misnamed: BTreeSet<u32> = hurt.misnamed.iter().map(Volume::ordinal).collect();
    let gone = &hurt.lost - &misnamed;
    let mut broken = gone.clone();
    broken.extend(hurt.damage.iter().map(Damage::volume));
    let mut findings = hurt.findings;
    findings.extend(damage::findings(bundle, &gone, &hurt.damage));
    findings.extend(bundle.volumes().iter().filter_map(damage::mended));
    Verified {
        name: bundle.root().name.clone(),
        root: bundle.digest(),
        findings,
        cut_again: cut_again_line(&broken, &bundle.digest()),
        broken: broken.into_iter().collect(),
        volumes: bundle.volumes().len() as u64,
        bytes,
    }
}

/// The line to carry back.
fn cut_again_line(broken: &BTreeSet<u32>, root: &Digest) -> Option<String> {
    if broken.is_empty() {
        return None;
    }
    let ordinals: Vec<String> = broken.iter().map(u32::to_string).collect();
    Some(format!("airlift bundle create --volumes {} --root {root}", ordinals.join(",")))
}
