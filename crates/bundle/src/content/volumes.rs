//! Content straight from volumes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use airlift_spec::{Digest, Finding, Lock};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};

use super::locks::{Found, Origin};
use super::{Availability, FRAME_BYTES, Frames, blocking};
use crate::gather::LOCKS_FOLDER;
use crate::root::Member;
use crate::verify::wrong_file;
use crate::{BundleError, TrustedBundle};

/// A lock of 100,000 artifacts stays below this.
const MAX_LOCK_BYTES: u64 = 256 << 20;

pub(super) async fn locks(bundle: &Arc<TrustedBundle>) -> Result<Vec<Found>, BundleError> {
    let bundle = Arc::clone(bundle);
    blocking(move || read_locks(&bundle)).await
}

fn read_locks(bundle: &TrustedBundle) -> Result<Vec<Found>, BundleError> {
    // Volume 00000 is on every medium; a bundle without it serves by digest.
    if !bundle.volumes()[0].is_here() {
        tracing::warn!(volume = bundle.volumes()[0].name(), "absent: its locks are not known");
        return Ok(Vec::new());
    }
    let is_lock = |(name, _): &(&str, &Member)| name.starts_with(LOCKS_FOLDER);
    let origin = Origin::of(bundle.root());
    let read = |(_, member): (&str, &Member)| {
        let bytes = match bundle.read_whole(member, MAX_LOCK_BYTES) {
            // As good as absent: one bad sector must not keep `verify` from saying what to cut again.
            Err(err) if err.is_damage() => return Ok(None),
            bytes => bytes?,
        };
        let place = || bundle.volumes()[0].name().to_owned();
        let lock =
            Lock::parse(&bytes).map_err(|source| BundleError::Lock { place: place(), source })?;
        Ok(Some(Found { lock, digest: Digest::of(&bytes), origin: origin.clone() }))
    };
    bundle.named_members().filter(is_lock).filter_map(|member| read(member).transpose()).collect()
}

pub(super) fn without_lock(bundle: &TrustedBundle, known: &BTreeSet<Digest>) -> Vec<Finding> {
    let volume = &bundle.volumes()[0];
    let unknown = bundle.root().stacks.iter().filter(|stack| !known.contains(&stack.lock));
    let damaged = || Finding::error("chunk-damaged", volume.name(), "it is damaged");
    let say = |name: &str| {
        let finding = wrong_file(bundle, volume).unwrap_or_else(damaged);
        let message = format!(
            "{}; the lock of stack `{name}` is on it, without which nothing of that stack is known by name: copy it \
             again, or run `airlift verify`, which says how to have it cut again",
            finding.message
        );
        Finding { message, ..finding }
    };
    unknown.map(|stack| say(&stack.name)).collect()
}

pub(super) fn availability(bundle: &TrustedBundle, digest: &Digest) -> Availability {
    if let Some(member) = bundle.table().find(digest) {
        let volumes = bundle.absent_volumes(member);
        if volumes.is_empty() {
            return Availability::Here { size: member.size };
        }
        return Availability::Absent { volumes };
    }
    match bundle.root().left_out(digest) {
        Some(blob) => Availability::LeftOut { repository: blob.repository.clone() },
        None => Availability::Unknown,
    }
}

pub(super) async fn read_small(
    bundle: &Arc<TrustedBundle>,
    digest: Digest,
    limit: u64,
) -> Result<Option<Bytes>, BundleError> {
    let bundle = Arc::clone(bundle);
    let read = move || match bundle.table().find(&digest) {
        Some(member) => bundle.read_whole(member, limit).map(Some),
        None => Ok(None),
    };
    blocking(read).await
}

pub(super) fn frames(
    bundle: &Arc<TrustedBundle>,
    digest: Digest,
    range: Range<u64>,
) -> Result<Option<Frames>, BundleError> {
    let Some(member) = bundle.table().find(&digest).cloned() else { return Ok(None) };
    if range.end > member.size {
        let Range { start, end } = range;
        return Err(BundleError::Range { digest, start, end, size: member.size });
    }
    let member = Arc::new(member);
    let bundle = Arc::clone(bundle);
    let frames = stream::try_unfold(range.start, move |position| {
        let (bundle, member) = (Arc::clone(&bundle), Arc::clone(&member));
        let end = range.end;
        async move {
            if position >= end {
                return Ok::<_, BundleError>(None);
            }
            // Of the rest of a chunk that is checked now, bytes are read again when it is their turn: slow clients
            // must not hold chunks, and mostly it is still in the system's cache.
            let end = end.min(position + FRAME_BYTES as u64);
            let _leave = bundle.admit().await;
            let reader = Arc::clone(&bundle);
            let frame = blocking(move || reader.read(&member, position, end)).await?;
            let next = position + frame.len() as u64;
            Ok(Some((frame, next)))
        }
    });
    Ok(Some(frames.boxed()))
}
