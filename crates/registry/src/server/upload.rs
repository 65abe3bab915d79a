//! Uploads under way.
//!
//! The bytes and their number are the store's and survive a restart; here are only the open ones, so that the
//! running hash of a blob that comes in many chunks is kept between them.
//!
//! **Concurrency.** One request at a time writes to an upload. A newer request takes it over: its client has
//! given up the older one, whose connection may take minutes to be noticed as dead.
//! **Bounds.** At most [`MAX_OPEN`] are kept open; one that is closed for another goes on from the disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlift_spec::{Algorithm, Digest};
use airlift_store::{Store, StoreError, Upload};
use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::blocking::blocking;
use super::error::{Code, Refusal};

/// Each holds a file descriptor and a hash state.
const MAX_OPEN: usize = 256;

#[derive(Debug)]
pub(super) struct Uploads {
    store: Arc<Store>,
    open: Mutex<BTreeMap<String, Arc<Slot>>>,
    /// Held while an upload is opened from the disk: the store lets only one have it.
    opening: tokio::sync::Mutex<()>,
    clock: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// None once it is finished or cancelled.
    upload: Arc<tokio::sync::Mutex<Option<Upload>>>,
    held_bytes: AtomicU64,
    /// Cancelled when a newer request wants the upload.
    holder: Mutex<CancellationToken>,
    used: AtomicU64,
}

/// An upload that one request writes to. Dropping it leaves the upload as it is.
#[derive(Debug)]
pub(super) struct Claim {
    id: String,
    slot: Arc<Slot>,
    upload: OwnedMutexGuard<Option<Upload>>,
    /// Cancelled when a newer request wants the upload.
    pub(super) taken_over: CancellationToken,
}

impl Uploads {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            clock: AtomicU64::new(0),
        }
    }

    pub(super) async fn start(&self, algorithm: Algorithm) -> Result<Claim, Refusal> {
        let store = self.store.clone();
        let upload = run(move || store.start_upload(algorithm)).await?;
        let id = upload.id().to_owned();
        let slot = self.keep(&id, upload);
        self.claim_slot(&id, slot).await
    }

    /// The upload `id` for one request to write to.
    pub(super) async fn claim(&self, id: &str) -> Result<Claim, Refusal> {
        let slot = self.slot(id).await?;
        self.claim_slot(id, slot).await
    }

    /// How many bytes are held. Does not disturb a request that is writing.
    pub(super) async fn held_bytes(&self, id: &str) -> Result<u64, Refusal> {
        Ok(self.slot(id).await?.held_bytes.load(Ordering::Acquire))
    }

    async fn slot(&self, id: &str) -> Result<Arc<Slot>, Refusal> {
        if let Some(slot) = lock(&self.open).get(id) {
            return Ok(slot.clone());
        }
        // The identifier becomes part of a file's name.
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.is_empty() || id.len() > 64 || !id.bytes().all(is_word) {
            return Err(unknown());
        }
        let _opening = self.opening.lock().await;
        if let Some(slot) = lock(&self.open).get(id) {
            return Ok(slot.clone());
        }
        let (store, owned) = (self.store.clone(), id.to_owned());
        let upload = run(move || store.resume_upload(&owned)).await?.ok_or_else(unknown)?;
        Ok(self.keep(id, upload))
    }

    fn keep(&self, id: &str, upload: Upload) -> Arc<Slot> {
        let slot = Arc::new(Slot {
            held_bytes: AtomicU64::new(upload.len()),
            upload: Arc::new(tokio::sync::Mutex::new(Some(upload))),
            holder: Mutex::default(),
            used: AtomicU64::new(0),
        });
        let mut open = lock(&self.open);
        if open.len() >= MAX_OPEN {
            let idle = open.iter().filter(|(_, slot)| Arc::strong_count(slot) == 1);
            let oldest = idle.min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                open.remove(&id);
            }
        }
        open.insert(id.to_owned(), slot.clone());
        slot
    }

    async fn claim_slot(&self, id: &str, slot: Arc<Slot>) -> Result<Claim, Refusal> {
        slot.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let taken_over = CancellationToken::new();
        std::mem::replace(&mut *lock(&slot.holder), taken_over.clone()).cancel();
        let upload = slot.upload.clone().lock_owned().await;
        if upload.is_none() {
            return Err(unknown());
        }
        Ok(Claim { id: id.to_owned(), slot, upload, taken_over })
    }

    /// Publishes what was uploaded as `digest`; on a mismatch nothing is stored, and the upload is gone.
    pub(super) async fn commit(&self, mut claim: Claim, digest: Digest) -> Result<(), Refusal> {
        let upload = claim.upload.take().ok_or_else(unknown)?;
        lock(&self.open).remove(&claim.id);
        run(move || upload.commit(digest)).await
    }

    pub(super) async fn cancel(&self, mut claim: Claim) -> Result<(), Refusal> {
        let upload = claim.upload.take().ok_or_else(unknown)?;
        lock(&self.open).remove(&claim.id);
        run(move || upload.cancel()).await
    }
}

impl Claim {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.slot.held_bytes.load(Ordering::Acquire)
    }

    /// Adds `frames` to what is held.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the frames are written, and only then is the upload free for another
    /// request.
    pub(super) async fn append(mut self, frames: Vec<Bytes>) -> Result<Self, Refusal> {
        let write = move || {
            let Some(upload) = self.upload.as_mut() else {
                return Ok(self);
            };
            let result = frames.iter().try_for_each(|frame| upload.append(frame));
            self.slot.held_bytes.store(upload.len(), Ordering::Release);
            result.map(|()| self)
        };
        run(write).await
    }
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    let done = blocking(work).await.map_err(|err| Refusal::internal(&err))?;
    Ok(done?)
}

fn unknown() -> Refusal {
    Refusal::not_found(Code::BlobUploadUnknown, "there is no such upload")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
