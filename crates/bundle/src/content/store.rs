//! Content out of a store, whose own gate has hashed every blob.

use std::ops::Range;
use std::sync::Arc;

use airlift_spec::{Digest, Lock};
use airlift_store::Store;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};

use super::locks::{Found, Origin};
use super::{Availability, FRAME_BYTES, Frames, blocking};
use crate::{BundleError, disk};

/// What is larger than this among the blobs that a root keeps is no lock.
const MAX_LOCK_BYTES: u64 = 256 << 20;

/// The locks among the blobs that the store's roots keep.
pub(super) async fn locks(store: &Arc<Store>) -> Result<Vec<Found>, BundleError> {
    let store = Arc::clone(store);
    let read = move || {
        let mut found = Vec::new();
        for root in store.roots()? {
            for digest in &root.blobs {
                if store.size(digest).is_none_or(|size| size > MAX_LOCK_BYTES) {
                    continue;
                }
                let bytes = store.read(digest, MAX_LOCK_BYTES)?.unwrap_or_default();
                // Findings and blueprints lie beside the lock, and are no locks.
                if let Ok(lock) = Lock::parse(&bytes)
                    && lock.stack == root.stack
                {
                    found.push(Found { lock, digest: *digest, origin: Origin::default() });
                    // A root keeps one lock, and may keep thousands of blobs behind it.
                    break;
                }
            }
        }
        Ok(found)
    };
    blocking(read).await
}

pub(super) fn availability(store: &Store, digest: &Digest) -> Availability {
    match store.size(digest) {
        Some(size) => Availability::Here { size },
        None => Availability::Unknown,
    }
}

pub(super) async fn read_small(
    store: &Arc<Store>,
    digest: Digest,
    limit: u64,
) -> Result<Option<Bytes>, BundleError> {
    let store = Arc::clone(store);
    blocking(move || Ok(store.read(&digest, limit)?.map(Bytes::from))).await
}

pub(super) fn frames(
    store: &Arc<Store>,
    digest: Digest,
    range: Range<u64>,
) -> Result<Option<Frames>, BundleError> {
    let Some(size) = store.size(&digest) else { return Ok(None) };
    let Some(file) = store.open_blob(&digest)? else { return Ok(None) };
    if range.end > size {
        let Range { start, end } = range;
        return Err(BundleError::Range { digest, start, end, size });
    }
    let file = Arc::new(file);
    let frames = stream::try_unfold(range.start, move |position| {
        let file = Arc::clone(&file);
        let end = range.end;
        async move {
            if position >= end {
                return Ok(None);
            }
            let length = usize::try_from(end - position).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
            let read = move || {
                let doing = BundleError::disk(format!("failed to read {digest} from the store"));
                let mut frame = vec![0; length];
                let count = disk::read_full_at(&file, &mut frame, position).map_err(doing)?;
                frame.truncate(count);
                if frame.is_empty() { Err(BundleError::Mismatch { digest }) } else { Ok(frame) }
            };
            let frame = Bytes::from(blocking(read).await?);
            let next = position + frame.len() as u64;
            Ok(Some((frame, next)))
        }
    });
    Ok(Some(frames.boxed()))
}
