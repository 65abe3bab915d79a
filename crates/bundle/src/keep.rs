//! What a store keeps of each bundle that was made from it, so that volumes can be cut again without lock and key.
//!
//! ```text
//! STORE/bundles/<root digest>/
//! ├── NAME.bundle.json (+ .minisig)
//! ├── NAME.blobs
//! └── NAME.NNNNN.sums (+ .minisig)   written before the volume gets its name
//! ```
//!
//! **Invariant.** Sums lie here only for a volume that was complete and synced when they were written.

use std::path::{Path, PathBuf};

use airlift_spec::Digest;
use airlift_store::Store;
use fs_err as fs;

use crate::root::{MAX_ROOT_BYTES, Root, Sums, Table, max_sums_bytes};
use crate::{BundleError, disk};

/// Where `store` keeps the bundle `root`.
pub(crate) fn folder(store: &Store, root: &Digest) -> PathBuf {
    store.bundles_dir().join(root.to_string())
}

/// A bundle that a store keeps.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) folder: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) root: Root,
    pub(crate) table: Table,
}

impl Kept {
    pub(crate) fn open(store: &Store, digest: &Digest) -> Result<Self, BundleError> {
        let not_kept = || BundleError::NotKept { root: digest.to_string() };
        let folder = folder(store, digest);
        let files = if folder.is_dir() { disk::list(&folder)? } else { Vec::new() };
        let is_root = |path: &&PathBuf| path.to_string_lossy().ends_with(".bundle.json");
        let file = files.iter().find(is_root).ok_or_else(not_kept)?;
        let root_bytes = disk::read_at_most(file, MAX_ROOT_BYTES)?.ok_or_else(not_kept)?;
        // The store's own disk may be damaged too.
        if Digest::of(&root_bytes) != *digest {
            return Err(not_kept());
        }
        let format = |source| BundleError::Format { file: file.clone(), source };
        let root = Root::parse(&root_bytes).map_err(format)?;
        let file = folder.join(root.table_file());
        let table_bytes = disk::read_at_most(&file, root.blobs.size)?.ok_or_else(not_kept)?;
        if !root.blobs.digest.matches(&table_bytes) {
            return Err(BundleError::TableMismatch { file });
        }
        let format = |source| BundleError::Format { file: file.clone(), source };
        let table = Table::parse(&table_bytes, &root).map_err(format)?;
        Ok(Self { folder, digest: *digest, root, table })
    }

    /// Files in the folder that begin with `name`: itself and its signatures.
    pub(crate) fn with_signatures(&self, name: &str) -> Result<Vec<PathBuf>, BundleError> {
        let is_one = |path: &PathBuf| {
            let found = path.file_name().unwrap_or_default().to_string_lossy();
            found == name || (found.starts_with(&format!("{name}.")) && found.ends_with(".minisig"))
        };
        Ok(disk::list(&self.folder)?.into_iter().filter(is_one).collect())
    }
}

/// The sums kept in `folder`, if the volume was ever completed.
pub(crate) fn sums(
    folder: &Path,
    root: &Root,
    digest: &Digest,
    ordinal: u32,
) -> Result<Option<Sums>, BundleError> {
    let file = folder.join(root.sums_file(ordinal));
    let size = root.volumes[ordinal as usize];
    let Some(bytes) = disk::read_at_most(&file, max_sums_bytes(size))? else { return Ok(None) };
    Ok(Sums::parse(&bytes, digest, ordinal, size).ok())
}

/// Forgets that a volume was ever completed.
pub(crate) fn forget_sums(folder: &Path, root: &Root, ordinal: u32) -> Result<(), BundleError> {
    let file = folder.join(root.sums_file(ordinal));
    match fs::remove_file(&file) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
            Err(BundleError::disk(format!("failed to remove {}", file.display()))(err))
        }
        _ => Ok(()),
    }
}
