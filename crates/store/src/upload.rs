//! Clients' uploads: size and digest are known at the end only.
//!
//! The size of `staging/upload-<id>` is the truth about how far an upload is, also after a kill; the algorithm it is
//! hashed with is part of the id. The id cannot be guessed: who has it may write.

use std::io;
use std::path::PathBuf;

use airlift_spec::{Algorithm, Digest, Hasher};
use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;

use crate::commit::Publication;
use crate::{Store, StoreError, disk};

/// A client's upload. Survives a restart; dropping it leaves it to be resumed.
///
/// All of its methods may wait for the disk: call them off the async threads.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    id: String,
    algorithm: Algorithm,
    file: fs::File,
    path: PathBuf,
    length: u64,
    unsynced_bytes: u64,
    /// None once bytes are there that this handle did not write: hashed at the end then, by reading once.
    hasher: Option<Hasher>,
}

pub(crate) fn start(store: &Store, algorithm: Algorithm) -> Result<Upload, StoreError> {
    let _gate = store.enter();
    let make = || -> io::Result<Upload> {
        let id = format!("{algorithm}-{}", disk::random_id()?);
        let path = upload_path(store, &id);
        let file = disk::open_writable(&path)?;
        file.lock()?;
        let hasher = Some(Hasher::new(algorithm));
        Ok(Upload {
            store: store.clone(),
            id,
            algorithm,
            file,
            path,
            length: 0,
            unsynced_bytes: 0,
            hasher,
        })
    };
    make().map_err(|err| store.write_error(0, err))
}

pub(crate) fn resume(store: &Store, id: &str) -> Result<Option<Upload>, StoreError> {
    let Some(algorithm) = algorithm_of(id) else { return Ok(None) };
    let _gate = store.enter();
    let path = upload_path(store, id);
    let failed = |err| store.write_error(0, err);
    let Some(file) = disk::open_existing(&path).map_err(failed)? else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(StoreError::Busy { name: format!("upload {id}") });
        }
        Err(std::fs::TryLockError::Error(err)) => return Err(failed(err)),
    }
    if !disk::leads_to(&path, &file).map_err(failed)? {
        return Ok(None);
    }
    let length = file.metadata().map_err(StoreError::read)?.len();
    // Nothing is hashed yet: an upload in a thousand chunks must not be read a thousand times.
    let hasher = (length == 0).then(|| Hasher::new(algorithm));
    let (store, id) = (store.clone(), id.to_owned());
    Ok(Some(Upload { store, id, algorithm, file, path, length, unsynced_bytes: length, hasher }))
}

/// Publishes bytes whose digest the caller has checked.
pub(crate) fn put(store: &Store, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
    let mut upload = start(store, digest.algorithm())?;
    // Hashed already.
    upload.hasher = None;
    match upload.append(bytes) {
        Ok(()) => upload.publish(digest),
        Err(err) => {
            upload.cancel()?;
            Err(err)
        }
    }
}

fn upload_path(store: &Store, id: &str) -> PathBuf {
    store.staging_dir().join(format!("upload-{id}"))
}

/// The algorithm of a well-formed id; an id comes from a client and becomes part of a path.
pub(crate) fn algorithm_of(id: &str) -> Option<Algorithm> {
    let (algorithm, random) = id.split_once('-')?;
    let is_hex =
        random.len() == 32 && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { algorithm.parse().ok() } else { None }
}

impl Upload {
    /// 128 random bits and the algorithm, as it stands in the upload's URL.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Bytes received so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let length = bytes.len() as u64;
        if let Err(err) = self.file.write_all_at(bytes, self.length) {
            // Part of it may be there. The client asks how much, and the size on disk is the truth.
            self.length = self.file.metadata().map_or(self.length, |metadata| metadata.len());
            self.hasher = None;
            return Err(self.store.write_error(length, err));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.length += length;
        self.unsynced_bytes += length;
        if self.unsynced_bytes >= self.store.tuning().checkpoint_bytes {
            self.sync()
        } else {
            Ok(())
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|err| self.store.write_error(0, err))?;
        self.unsynced_bytes = 0;
        Ok(())
    }

    /// Publishes the upload as `expected`; on a mismatch nothing is stored and the upload is gone.
    pub fn commit(mut self, expected: Digest) -> Result<(), StoreError> {
        let hasher = self.hasher.take().filter(|_| expected.algorithm() == self.algorithm);
        let actual = match hasher {
            Some(hasher) => hasher.finish(),
            None => self.hash_again(expected.algorithm())?,
        };
        if actual != expected {
            self.cancel()?;
            return Err(StoreError::Mismatch { expected, actual });
        }
        self.publish(expected)
    }

    fn hash_again(&self, algorithm: Algorithm) -> Result<Digest, StoreError> {
        let mut hasher = Hasher::new(algorithm);
        let buffer_bytes = self.store.tuning().buffer_bytes;
        disk::read_range(&self.file, 0..self.length, buffer_bytes, |part| hasher.update(part))
            .map_err(StoreError::read)?;
        Ok(hasher.finish())
    }

    fn publish(mut self, digest: Digest) -> Result<(), StoreError> {
        let store = self.store.clone();
        let _gate = store.enter();
        if store.contains(&digest) {
            return self.cancel();
        }
        if self.unsynced_bytes > store.tuning().grouped_bytes {
            self.sync()?;
        }
        let is_dirty = self.unsynced_bytes > 0;
        let publication = Publication {
            file: self.file,
            from: self.path,
            to: store.blob_path(&digest),
            is_dirty,
        };
        let published = store.inner.committer.publish(publication, store.tuning());
        published.map_err(|err| store.write_error(self.length, err))
    }

    /// Throws the upload away.
    pub fn cancel(self) -> Result<(), StoreError> {
        disk::remove_if_present(&self.path)
            .map(|_| ())
            .map_err(|err| self.store.write_error(0, err))
    }
}
