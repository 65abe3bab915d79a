//! Following digests through volumes, and saying whom damage hurts.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Ctx, Digest, Finding, Hasher, Lock, closure};

use super::{Damage, Keep, check_chunk};
use crate::gather::LOCKS_FOLDER;
use crate::root::{CHUNK_BYTES, Member, Piece};
use crate::{BundleError, TrustedBundle, Volume};

/// Most artifacts that one message spells out.
const MAX_NAMED: usize = 8;

/// Reads a volume once: every chunk against its sum, every member that lies on it alone against its digest.
pub(super) fn of_volume(volume: &Volume, members: &[&Member], ctx: &Ctx) -> Vec<Damage> {
    let mut damage = Vec::new();
    let mut members = members.iter().copied().peekable();
    let mut open: Option<(&Member, Hasher)> = None;
    for chunk in 0..volume.chunk_count() {
        if ctx.is_cancelled() {
            return damage;
        }
        let bytes = match check_chunk(volume, chunk, Keep::Everything, ctx) {
            Ok(bytes) => bytes,
            Err(broken) => {
                damage.push(broken);
                // Members in it are hurt by the chunk; what begins after it is followed again.
                let end = (chunk + 1) * CHUNK_BYTES;
                open = None;
                while members.next_if(|member| member.pieces[0].offset < end).is_some() {}
                continue;
            }
        };
        let start = chunk * CHUNK_BYTES;
        let end = start + bytes.len() as u64;
        loop {
            let (member, mut hasher) = match open.take() {
                Some(open) => open,
                None => match members.next_if(|member| member.pieces[0].offset < end) {
                    Some(member) => (member, Hasher::new(member.digest.algorithm())),
                    None => break,
                },
            };
            let Piece { offset, .. } = member.pieces[0];
            let at = |position: u64| usize::try_from(position - start).unwrap_or(usize::MAX);
            let until = member.pieces[0].end();
            hasher.update(&bytes[at(offset.max(start))..at(until.min(end))]);
            if until > end {
                open = Some((member, hasher));
                break;
            }
            if hasher.finish() != member.digest {
                damage.push(broken_member(member, "its bytes are not what its digest says"));
            }
        }
    }
    damage
}

/// Reads a blob that is split over volumes from its first part to its last.
pub(super) fn of_split(bundle: &TrustedBundle, member: &Member, ctx: &Ctx) -> Vec<Damage> {
    let mut hasher = Hasher::new(member.digest.algorithm());
    for piece in &member.pieces {
        let volume = &bundle.volumes()[piece.volume as usize];
        let mut start = piece.offset;
        while start < piece.end() {
            if ctx.is_cancelled() {
                return Vec::new();
            }
            let end = piece.end().min(start + (1 << 20));
            // Its chunks may not have been looked at yet, and only then is it known which copy is whole.
            let read = match volume.sums() {
                Some(_) => volume.read_checked(start, end),
                None => volume.read_unchecked(start, end),
            };
            match read {
                Ok(bytes) => {
                    hasher.update(&bytes);
                    start += bytes.len() as u64;
                }
                Err(err) => {
                    let reason = airlift_spec::error::chain(&err);
                    return vec![broken_member(member, &reason)];
                }
            }
        }
    }
    if hasher.finish() == member.digest {
        return Vec::new();
    }
    // Which part it is cannot be told from the digest: all of them are suspect.
    let reason = "its parts do not make up what its digest says";
    let part = |piece: &Piece| match broken_member(member, reason) {
        Damage::Member { digest, name, reason, .. } => {
            Damage::Member { volume: piece.volume, digest, name, reason }
        }
        chunk @ Damage::Chunk { .. } => chunk,
    };
    // A volume whose sums hold is not to blame.
    let is_suspect = |piece: &&Piece| bundle.volumes()[piece.volume as usize].sums().is_none();
    let suspects: Vec<Damage> = member.pieces.iter().filter(is_suspect).map(part).collect();
    if suspects.is_empty() { member.pieces.iter().map(part).collect() } else { suspects }
}

/// Drops what a damaged chunk explains: the digest of a blob in it is wrong as well, but its other parts are not.
pub(super) fn blame_chunks_first(bundle: &TrustedBundle, damage: &mut Vec<Damage>) {
    let in_chunks: BTreeSet<Digest> = damage
        .iter()
        .filter_map(|one| match one {
            Damage::Chunk { volume, chunk, .. } => Some(in_chunk(bundle, *volume, *chunk)),
            Damage::Member { .. } => None,
        })
        .flatten()
        .collect();
    damage.retain(|one| match one {
        Damage::Chunk { .. } => true,
        Damage::Member { digest, .. } => !in_chunks.contains(digest),
    });
}

fn broken_member(member: &Member, reason: &str) -> Damage {
    let name = member.name.as_deref().map_or_else(|| member.digest.to_string(), str::to_owned);
    let reason = reason.to_owned();
    Damage::Member { volume: member.pieces[0].volume, digest: member.digest, name, reason }
}

/// Damage as findings: one for each chunk or member, then one for each artifact that is not whole.
pub(super) fn findings(
    bundle: &TrustedBundle,
    lost: &BTreeSet<u32>,
    damage: &[Damage],
) -> Vec<Finding> {
    if lost.is_empty() && damage.is_empty() {
        return Vec::new();
    }
    let reach = Reach::of(bundle);
    let mut findings = Vec::new();
    let mut hurt: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
    for one in damage {
        let artifacts = reach.hurt_by(bundle, one);
        for artifact in &artifacts {
            hurt.entry(*artifact).or_default().insert(one.volume());
        }
        let whom = names(bundle, &artifacts);
        let object = bundle.root().volume_file(one.volume());
        findings.push(match one {
            Damage::Chunk { chunk, reason, .. } => {
                let start = chunk * CHUNK_BYTES;
                let message =
                    format!("chunk {chunk} (at byte {start}) is damaged: {reason}; {whom}");
                Finding::error("chunk-damaged", object, message)
            }
            Damage::Member { name, reason, .. } => {
                Finding::error("blob-damaged", object, format!("{name}: {reason}; {whom}"))
            }
        });
    }
    for (at, artifact) in bundle.root().artifacts.iter().enumerate() {
        let needs = artifact.volumes.iter().filter(|ordinal| lost.contains(ordinal));
        let mut volumes: BTreeSet<u32> = needs.copied().collect();
        volumes.extend(hurt.get(&at).into_iter().flatten());
        if volumes.is_empty() {
            continue;
        }
        let files: Vec<String> =
            volumes.iter().map(|ordinal| bundle.root().volume_file(*ordinal)).collect();
        let message = format!("it is not whole without {}", files.join(", "));
        let reference = &artifact.reference;
        findings.push(Finding::error("artifact-incomplete", reference, message).of(reference));
    }
    findings
}

/// A copy that another one stood in for: nothing is lost, and the disk should not be trusted with more.
pub(super) fn mended(volume: &Volume) -> Option<Finding> {
    let chunks: Vec<String> = volume.mended().iter().map(u64::to_string).collect();
    let message = format!(
        "its first copy is damaged in chunk {}; another folder has it whole",
        chunks.join(", ")
    );
    (!chunks.is_empty()).then(|| Finding::warning("copy-damaged", volume.name(), message))
}

fn names(bundle: &TrustedBundle, artifacts: &BTreeSet<usize>) -> String {
    if artifacts.is_empty() {
        return "no artifact is hurt".to_owned();
    }
    let references = artifacts.iter().map(|at| bundle.root().artifacts[*at].reference.to_string());
    let mut named: Vec<String> = references.take(MAX_NAMED).collect();
    if artifacts.len() > MAX_NAMED {
        named.push(format!("{} more", artifacts.len() - MAX_NAMED));
    }
    format!("it hurts {}", named.join(", "))
}

/// Which artifacts each blob belongs to, shared ones to several.
struct Reach {
    artifacts_of: BTreeMap<Digest, BTreeSet<usize>>,
    /// Artifacts whose manifests cannot be read: any damage on their volumes may hurt them.
    unknown: BTreeSet<usize>,
}

impl Reach {
    /// Walks the manifests in the volumes. Made only once something is damaged.
    fn of(bundle: &TrustedBundle) -> Self {
        let mut reach = Self { artifacts_of: BTreeMap::new(), unknown: BTreeSet::new() };
        let locks = locks(bundle);
        for (at, artifact) in bundle.root().artifacts.iter().enumerate() {
            let locked = locks.iter().flat_map(|lock| &lock.artifacts).find(|locked| {
                locked.reference == artifact.reference && locked.digest == Some(artifact.digest)
            });
            let Some((locked, manifest)) = locked.and_then(|one| Some((one, one.descriptor()?)))
            else {
                reach.unknown.insert(at);
                continue;
            };
            let referrers = locked.referrers.iter().map(airlift_spec::lock::Referrer::descriptor);
            for from in std::iter::once(manifest).chain(referrers) {
                let read = |manifest: &airlift_spec::Descriptor| {
                    let member = bundle.table().find(&manifest.digest);
                    let read = member.map(|it| bundle.read_whole(it, MAX_MANIFEST_BYTES));
                    Ok::<_, BundleError>(read.and_then(Result::ok).map(|bytes| bytes.to_vec()))
                };
                let walked = closure(&from, &locked.left_out_digests(), read);
                let walked = walked.expect("nothing that `read` meets is an error to it");
                if !walked.is_known() {
                    reach.unknown.insert(at);
                }
                for blob in walked.all() {
                    reach.artifacts_of.entry(blob.digest).or_default().insert(at);
                }
            }
        }
        reach
    }

    fn hurt_by(&self, bundle: &TrustedBundle, damage: &Damage) -> BTreeSet<usize> {
        let digests: Vec<Digest> = match damage {
            Damage::Member { digest, .. } => vec![*digest],
            Damage::Chunk { volume, chunk, .. } => in_chunk(bundle, *volume, *chunk),
        };
        let known = digests.iter().filter_map(|digest| self.artifacts_of.get(digest)).flatten();
        let volume = damage.volume();
        let unknown = self
            .unknown
            .iter()
            .filter(|at| bundle.root().artifacts[**at].volumes.contains(&volume));
        known.chain(unknown).copied().collect()
    }
}

fn in_chunk(bundle: &TrustedBundle, volume: u32, chunk: u64) -> Vec<Digest> {
    let (start, end) = (chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
    let touches =
        |piece: &Piece| piece.volume == volume && piece.offset < end && piece.end() > start;
    let members = bundle.table().members().iter();
    members.filter(|it| it.pieces.iter().any(touches)).map(|it| it.digest).collect()
}

/// The locks in volume 00000, as far as they can be read.
fn locks(bundle: &TrustedBundle) -> Vec<Lock> {
    let members = bundle.named_members().filter(|(name, _)| name.starts_with(LOCKS_FOLDER));
    let read = |(_, member): (&str, &Member)| {
        let bytes = bundle.read_whole(member, member.size).ok()?;
        Lock::parse(&bytes).ok()
    };
    members.filter_map(read).collect()
}
