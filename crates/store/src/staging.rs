//! Blobs on their way in, whose digest and size are known beforehand.
//!
//! **Locking.** The staging file is held by flock while it is written. Whoever gets the lock looks again: the name
//! must still lead to the file it holds, and the blob must not be there, else it starts over.
//! **Crash.** What a checkpoint noted in `.pieces` is durable and is gone on from; the rest is written again.
//! **Hashing.** Every byte is hashed once: while it is written if it comes in order, else by reading it back as soon as the
//! bytes before it are there, at commit at the latest.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use airlift_spec::{Digest, Hasher};
use fs_err as fs;

use crate::commit::Publication;
use crate::direct::{DirectFile, write_all_at};
use crate::pieces::{self, Pieces};
use crate::{Store, StoreError, disk};

/// What came of asking to write a blob.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and never stored")]
#[derive(Debug)]
pub enum Staging {
    /// It is here already: nothing to do.
    Present,
    /// Another process or another handle holds it: do other work meanwhile, ask again later.
    Busy,
    /// Ours to fill.
    Writer(BlobWriter),
}

/// A blob on its way in. Readers see nothing until [`commit`](Self::commit).
///
/// Dropping it keeps what was written, as far as that can be made durable, for the next run. All of its methods
/// may wait for the disk: call them off the async threads.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    digest: Digest,
    size: u64,
    file: fs::File,
    /// The same file, for large blobs where the file system has direct writes.
    direct: Option<DirectFile>,
    path: PathBuf,
    written: Pieces,
    /// Bytes written since `.pieces` was.
    unnoted_bytes: u64,
    has_notes: bool,
    hasher: Hasher,
    /// Everything before it is in `hasher`.
    hashed_bytes: u64,
    is_settled: bool,
}

pub(crate) fn stage(store: &Store, digest: Digest, size: u64) -> Result<Staging, StoreError> {
    /// Each round somebody else finished or removed the very blob; nobody does so for ever.
    const ROUNDS: usize = 64;
    let _gate = store.enter();
    let path = staging_path(store, &digest);
    let failed = |err| store.write_error(size, err);
    for _ in 0..ROUNDS {
        if store.contains(&digest) {
            return Ok(Staging::Present);
        }
        let file = disk::open_writable(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(Staging::Busy),
            Err(std::fs::TryLockError::Error(err)) => return Err(failed(err)),
        }
        if !disk::leads_to(&path, &file).map_err(failed)? {
            continue;
        }
        if store.contains(&digest) {
            // We came after its rename and made a new, empty file.
            remove(&path).map_err(failed)?;
            return Ok(Staging::Present);
        }
        return BlobWriter::take_up(store, digest, size, file, path).map(Staging::Writer);
    }
    Ok(Staging::Busy)
}

fn staging_path(store: &Store, digest: &Digest) -> PathBuf {
    store.staging_dir().join(format!("{}-{}", digest.algorithm(), digest.hex()))
}

pub(crate) fn notes_path(path: &Path) -> PathBuf {
    path.with_added_extension("pieces")
}

/// The notes go last: without the bytes they would lie.
fn remove(path: &Path) -> io::Result<()> {
    disk::remove_if_present(&notes_path(path))?;
    disk::remove_if_present(path)?;
    Ok(())
}

impl BlobWriter {
    fn take_up(
        store: &Store,
        digest: Digest,
        size: u64,
        file: fs::File,
        path: PathBuf,
    ) -> Result<Self, StoreError> {
        let is_large = size >= store.tuning().large_from_bytes;
        let mut writer = Self {
            store: store.clone(),
            digest,
            size,
            file,
            direct: is_large.then(|| DirectFile::open(&path)).flatten(),
            path,
            written: Pieces::default(),
            unnoted_bytes: 0,
            has_notes: false,
            hasher: Hasher::new(digest.algorithm()),
            hashed_bytes: 0,
            is_settled: false,
        };
        writer.recover().map_err(|err| store.write_error(size, err))?;
        if is_large {
            let reserved = disk::reserve(&writer.file, size);
            reserved.map_err(|err| store.write_error(size, err))?;
        }
        Ok(writer)
    }

    /// Reads what an earlier run noted; believes nothing that the file itself belies.
    fn recover(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if (1..=self.size).contains(&length)
            && let Some(bytes) = disk::read_small(&notes_path(&self.path), pieces::MAX_FILE_BYTES)
                .or_else(too_large_is_none)?
        {
            let noted = Pieces::from_file(&bytes, self.size);
            if !noted.is_empty() && noted.end() <= length {
                self.written = noted;
                self.has_notes = true;
                return Ok(());
            }
        }
        self.clear()
    }

    /// Makes the file empty. Notes of a file that is gone must not speak for the new one, not even after a power cut.
    fn clear(&mut self) -> io::Result<()> {
        if disk::remove_if_present(&notes_path(&self.path))? {
            disk::sync_folder(&self.store.staging_dir())?;
        }
        self.file.set_len(0)?;
        self.written = Pieces::default();
        self.unnoted_bytes = 0;
        self.has_notes = false;
        self.hasher = Hasher::new(self.digest.algorithm());
        self.hashed_bytes = 0;
        Ok(())
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn size_bytes(&self) -> u64 {
        self.size
    }

    /// Ranges still missing, in order. A fresh writer has one: `0..size`; that of an empty blob has none.
    pub fn gaps(&self) -> Vec<Range<u64>> {
        self.written.gaps(self.size)
    }

    /// Writes `bytes` at `offset`, and makes a checkpoint every so often.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLong`] past the declared size; nothing is written then.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let length = bytes.len() as u64;
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        let Some(end) = end else {
            return Err(StoreError::TooLong { digest: self.digest, size_bytes: self.size });
        };
        self.catch_up(offset)?;
        if offset < self.hashed_bytes && length > 0 {
            // What was hashed is written over: the hash starts again.
            self.hasher = Hasher::new(self.digest.algorithm());
            self.hashed_bytes = 0;
        }
        write_all_at(&self.file, self.direct.as_ref(), bytes, offset)
            .map_err(|err| self.failed(err))?;
        if offset == self.hashed_bytes {
            self.hasher.update(bytes);
            self.hashed_bytes = end;
        }
        self.written.insert(offset..end);
        self.unnoted_bytes += length;
        if self.unnoted_bytes >= self.store.tuning().checkpoint_bytes {
            self.checkpoint()
        } else {
            Ok(())
        }
    }

    /// Makes what was written durable and notes it in `.pieces`, so that neither a kill nor a power cut loses
    /// what came before.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        if self.unnoted_bytes == 0 {
            return Ok(());
        }
        self.note().map_err(|err| self.failed(err))
    }

    fn note(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let staging = self.store.staging_dir();
        disk::replace(&staging, &notes_path(&self.path), &self.written.to_file(self.size))?;
        self.unnoted_bytes = 0;
        self.has_notes = true;
        Ok(())
    }

    /// Forgets every byte: after bytes turned out wrong.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.clear().map_err(|err| self.failed(err))
    }

    /// The gate: hashes what is not yet hashed, makes it durable, publishes it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Incomplete`] while there are gaps; what is there is kept. [`StoreError::Mismatch`] if the bytes
    /// are not what the digest names; all of them are thrown away, since nobody knows which are wrong.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let missing_bytes = self.gaps().iter().map(|gap| gap.end - gap.start).sum();
        if missing_bytes > 0 {
            return Err(StoreError::Incomplete { digest: self.digest, missing_bytes });
        }
        self.catch_up(self.size)?;
        let actual = self.hasher.clone().finish();
        if actual != self.digest {
            self.throw_away()?;
            return Err(StoreError::Mismatch { expected: self.digest, actual });
        }
        self.publish().map_err(|err| self.failed(err))?;
        self.is_settled = true;
        Ok(())
    }

    fn publish(&mut self) -> io::Result<()> {
        let store = self.store.clone();
        let _gate = store.enter();
        let is_large = self.unnoted_bytes > store.tuning().grouped_bytes;
        if is_large {
            self.file.sync_data()?;
        }
        let publication = Publication {
            file: self.file.try_clone()?,
            from: self.path.clone(),
            to: store.blob_path(&self.digest),
            is_dirty: !is_large && self.unnoted_bytes > 0,
        };
        store.inner.committer.publish(publication, store.tuning())?;
        if self.has_notes {
            disk::remove_if_present(&notes_path(&self.path))?;
        }
        Ok(())
    }

    /// Hashes up to `offset` by reading back, if all of that is there.
    fn catch_up(&mut self, offset: u64) -> Result<(), StoreError> {
        let behind = self.hashed_bytes..offset;
        if behind.start >= behind.end || !self.written.covers(&behind) {
            return Ok(());
        }
        let hasher = &mut self.hasher;
        let buffer_bytes = self.store.tuning().buffer_bytes;
        disk::read_range(&self.file, behind, buffer_bytes, |part| hasher.update(part))
            .map_err(StoreError::read)?;
        self.hashed_bytes = offset;
        Ok(())
    }

    fn throw_away(&mut self) -> Result<(), StoreError> {
        self.is_settled = true;
        remove(&self.path).map_err(|err| self.failed(err))
    }

    fn failed(&self, err: io::Error) -> StoreError {
        let missing_bytes = self.gaps().iter().map(|gap| gap.end - gap.start).sum();
        self.store.write_error(missing_bytes, err)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        /// Less is sooner fetched again than synced.
        const WORTH_KEEPING_BYTES: u64 = 1 << 20;
        if self.is_settled {
            return;
        }
        if self.unnoted_bytes >= WORTH_KEEPING_BYTES {
            // Nobody is left to tell. What could not be noted is fetched again.
            let _ = self.note();
        }
        if !self.has_notes {
            let _ = remove(&self.path);
        }
    }
}

fn too_large_is_none(err: io::Error) -> io::Result<Option<Vec<u8>>> {
    if err.kind() == io::ErrorKind::FileTooLarge { Ok(None) } else { Err(err) }
}
