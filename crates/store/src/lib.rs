//! The content-addressed store: where artifacts rest on either side of the gap. It is an OCI image layout.
//!
//! ```text
//! <root>/
//! ├── oci-layout                       version; written last when a store is made
//! ├── lock                             held shared by whoever uses the store, alone by `gc`
//! ├── roots/<stack>.json               what a stack's lock keeps
//! ├── roots/pushed/<repository>.json   what clients pushed; see `pushed` for how a name becomes a path
//! ├── roots/pushed/.lock               held while one of those changes
//! ├── bundles/<root digest>/           what bundles made from here need to be cut again
//! ├── index.json                       derived from the roots, for other tools
//! ├── blobs/<algorithm>/<hex>          complete, durable, never changed
//! └── staging/                         on its way in; never served
//!     ├── <algorithm>-<hex>            a blob in the making, held by flock
//!     ├── <algorithm>-<hex>.pieces     which of its bytes are there and durable
//!     ├── upload-<id>                  a client's upload, whose digest is known at the end only
//!     └── write-<id>                   a file of ours before it is renamed into place
//! ```
//!
//! **Invariant.** A file under `blobs/` was hashed by us before it got its name, and its bytes were on the disk
//! before its name was. [`BlobWriter::commit`] and [`Upload::commit`] are the only ways in, both through `commit`.
//! **Concurrency.** Any number of processes under a shared lock; `gc` takes the store alone. Whoever writes a
//! blob holds the lock of its staging file, and looks again after getting it.
//! **Crash.** Leaves at most files in `staging/`, which the next run continues or `gc` removes.
//!
//! **Attacks.** The folder is the user's own, but may come from a medium or a careless hand:
//! - a link, folder, pipe or device where a blob should be: counts as absent, is never followed or waited for;
//! - wrong bytes under a digest: found by whoever reads them ([`Store::read`], `fsck`, every copy out);
//! - a `.pieces` file that claims too much: the whole blob is hashed before it is published;
//! - huge, deep or broken JSON: sizes are bounded, nesting by the parser; `gc` refuses to go by what it cannot read;
//! - names that lead elsewhere: every path is made of a parsed digest, a checked stack name, or a checked
//!   repository.

mod commit;
mod cores;
mod direct;
mod disk;
mod error;
mod fsck;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod index;
mod layout;
mod listing;
mod pieces;
mod pushed;
mod reach;
mod roots;
mod staging;
mod tuning;
mod upload;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use airlift_spec::{Algorithm, Digest};
use fs_err as fs;

pub use airlift_spec::closure::{Closure, closure};
pub use direct::{DirectFile, PAGE_BYTES, PageBuffer, write_all_at};
pub use error::StoreError;
pub use fsck::Fsck;
pub use gc::GcReport;
pub use listing::Listing;
pub use pushed::{Pushed, PushedManifest};
pub use roots::{Root, RootArtifact};
pub use staging::{BlobWriter, Staging};
pub use tuning::Tuning;
pub use upload::Upload;

/// A store on disk. Cheap to clone; all clones are one user of the store.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    tuning: Tuning,
    /// Held shared; none on a read-only file system that has no lock file.
    lock: Option<fs::File>,
    /// Whoever changes the store reads it, `gc` writes it: flock does not part the threads of one process.
    gate: RwLock<()>,
    committer: commit::Committer,
}

impl Store {
    /// Opens a store; makes it where the folder is absent or empty. Refuses vfat and exfat by name.
    ///
    /// Waits while another process collects garbage in it.
    pub fn create(root: &Path) -> Result<Self, StoreError> {
        layout::create(root)?;
        Self::open(root)
    }

    /// Opens a store that must exist. Works on a read-only file system.
    ///
    /// Waits while another process collects garbage in it.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let lock = layout::open(root)?;
        Ok(Self::assemble(root.to_owned(), lock, Tuning::default()))
    }

    /// The same store with other decisions about buffers and syncs.
    #[must_use]
    pub fn tuned(self, tuning: Tuning) -> Self {
        let lock = self.inner.lock.as_ref().and_then(|lock| lock.try_clone().ok());
        Self::assemble(self.inner.root.clone(), lock, tuning)
    }

    fn assemble(root: PathBuf, lock: Option<fs::File>, tuning: Tuning) -> Self {
        let committer = commit::Committer::default();
        Self { inner: Arc::new(Inner { root, tuning, lock, gate: RwLock::new(()), committer }) }
    }

    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Whether we may write here: neither the file system nor the folder's owner forbids it.
    pub fn is_writable(&self) -> bool {
        rustix::fs::access(self.root(), rustix::fs::Access::WRITE_OK).is_ok()
    }

    /// Whether the blob is here. One `stat`.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    pub fn size(&self, digest: &Digest) -> Option<u64> {
        let found = fs::symlink_metadata(self.blob_path(digest)).ok()?;
        found.is_file().then_some(found.len())
    }

    /// Opens a blob for reading; none where it is absent. Its bytes are not checked here.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<fs::File>, StoreError> {
        disk::open_regular(&self.blob_path(digest)).map_err(StoreError::read)
    }

    /// A small blob whole, checked against its digest; `limit` bytes at most.
    ///
    /// # Errors
    ///
    /// [`StoreError::DamagedBlob`] where the stored bytes are damaged, [`StoreError::TooLarge`] above `limit`.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match disk::read_small(&self.blob_path(digest), limit) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => {
                let actual = Digest::with(digest.algorithm(), &bytes);
                let expected = *digest;
                if actual == expected {
                    Ok(Some(bytes))
                } else {
                    Err(StoreError::DamagedBlob { expected, actual })
                }
            }
            Err(err) if err.kind() == io::ErrorKind::FileTooLarge => Err(StoreError::TooLarge {
                digest: *digest,
                size_bytes: self.size(digest).unwrap_or_default(),
                limit_bytes: limit,
            }),
            Err(err) => Err(StoreError::read(err)),
        }
    }

    /// Asks to write the blob; see [`Staging`]. Goes on where an earlier run stopped.
    pub fn stage(&self, digest: Digest, size: u64) -> Result<Staging, StoreError> {
        staging::stage(self, digest, size)
    }

    /// Puts bytes that are in memory; returns after they are durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::Mismatch`] if the bytes are not what `digest` names.
    pub fn put(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let actual = Digest::with(digest.algorithm(), bytes);
        if actual != digest {
            return Err(StoreError::Mismatch { expected: digest, actual });
        }
        if self.contains(&digest) {
            return Ok(());
        }
        // Not through `stage`: whoever has all the bytes need not wait for one who is still fetching them.
        upload::put(self, digest, bytes)
    }

    /// Takes a blob that turned out damaged out of `blobs/`, so that the next fetch brings it again.
    pub fn discard(&self, digest: &Digest) -> Result<(), StoreError> {
        let _gate = self.enter();
        let path = self.blob_path(digest);
        disk::remove_if_present(&path)
            .and_then(|_| disk::sync_folder(path.parent().expect("a blob lies in a folder")))
            .map_err(|err| self.write_error(0, err))
    }

    /// Starts a client's upload; `algorithm` is the one it is hashed with on the way.
    pub fn start_upload(&self, algorithm: Algorithm) -> Result<Upload, StoreError> {
        upload::start(self, algorithm)
    }

    /// Goes on with an upload, also one of an earlier process; none where there is no such upload.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] while another handle holds it.
    pub fn resume_upload(&self, id: &str) -> Result<Option<Upload>, StoreError> {
        upload::resume(self, id)
    }

    /// Where bundles made from this store keep what is needed to cut their volumes again.
    pub fn bundles_dir(&self) -> PathBuf {
        self.root().join(layout::BUNDLES)
    }

    fn tuning(&self) -> &Tuning {
        &self.inner.tuning
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join(layout::BLOBS).join(digest.path())
    }

    fn staging_dir(&self) -> PathBuf {
        self.root().join(layout::STAGING)
    }

    /// Holds `gc` of this process off while the store changes.
    fn enter(&self) -> RwLockReadGuard<'_, ()> {
        // Nothing is guarded but time itself: a panic elsewhere leaves nothing half done.
        self.inner.gate.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write_error(&self, needed_bytes: u64, source: io::Error) -> StoreError {
        StoreError::write(self.root(), needed_bytes, source)
    }
}
