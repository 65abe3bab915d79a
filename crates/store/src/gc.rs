//! Removes what no root reaches. Takes the store alone.
//!
//! **Kept:** what a root reaches; what was pushed; what a kept bundle names; staged bytes of any of these; staged
//! bytes that somebody holds.
//! **Refuses** to go by what it cannot read: a damaged root, bundle table or manifest might have kept anything.

use std::collections::HashSet;
use std::io::{self, BufRead as _, Read as _};
use std::path::Path;

use airlift_spec::{Algorithm, Ctx, Digest};
use fs_err as fs;
use serde::Deserialize;

use crate::layout::BLOBS;
use crate::{Store, StoreError, disk};

/// What `gc` removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    pub removed_blobs: u64,
    pub removed_bytes: u64,
    pub kept_blobs: u64,
    pub kept_bytes: u64,
    /// Files in `staging/` that nothing will ever go on with, and their bytes.
    pub removed_staged: u64,
    pub removed_staged_bytes: u64,
}

impl Store {
    /// Removes what nothing keeps; with `dry_run`, says what it would remove.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] while another process or another [`Store::open`] uses the store.
    pub fn gc(&self, dry_run: bool, ctx: &Ctx) -> Result<GcReport, StoreError> {
        let Ok(_gate) = self.inner.gate.try_write() else { return Err(self.in_use()) };
        let _alone = Alone::take(self)?;
        let keep = self.kept()?;
        let mut report = GcReport::default();
        for algorithm in Algorithm::ALL {
            self.sweep_blobs(algorithm, &keep, dry_run, ctx, &mut report)?;
        }
        self.sweep_staging(&keep, dry_run, &mut report)?;
        Ok(report)
    }

    /// Forgets the bundles of this name, or with this root digest; `gc` frees what only they named.
    pub fn forget_bundle(&self, name: &str) -> Result<bool, StoreError> {
        let _gate = self.enter();
        let failed = |err| self.write_error(0, err);
        let mut is_found = false;
        for folder in folders(&self.bundles_dir()).map_err(StoreError::read)? {
            let is_named = folder.file_name().is_some_and(|it| it == name) || holds(&folder, name)?;
            if is_named {
                fs::remove_dir_all(&folder).map_err(failed)?;
                is_found = true;
            }
        }
        disk::sync_folder(&self.bundles_dir()).map_err(failed)?;
        Ok(is_found)
    }

    fn in_use(&self) -> StoreError {
        StoreError::InUse { path: self.root().to_owned() }
    }

    fn kept(&self) -> Result<HashSet<Digest>, StoreError> {
        let mut keep = HashSet::new();
        for root in self.roots()? {
            keep.extend(root.blobs);
        }
        for repository in self.pushed_repositories()? {
            if let Some(pushed) = self.pushed(&repository)? {
                keep.extend(pushed.blobs);
                keep.extend(pushed.manifests.into_keys());
                keep.extend(pushed.tags.into_values());
            }
        }
        for anchor in self.anchors()? {
            keep.extend(self.reach(&anchor)?.all().map(|blob| blob.digest));
        }
        for folder in folders(&self.bundles_dir()).map_err(StoreError::read)? {
            keep_bundle(&folder, &mut keep)?;
        }
        Ok(keep)
    }

    fn sweep_blobs(
        &self,
        algorithm: Algorithm,
        keep: &HashSet<Digest>,
        dry_run: bool,
        ctx: &Ctx,
        report: &mut GcReport,
    ) -> Result<(), StoreError> {
        let folder = self.root().join(BLOBS).join(algorithm.name());
        let Some(entries) = disk::present(fs::read_dir(&folder)).map_err(StoreError::read)? else {
            return Ok(());
        };
        for entry in entries {
            if ctx.is_cancelled() {
                return Err(StoreError::Cancelled);
            }
            let entry = entry.map_err(StoreError::read)?;
            // What has no digest for a name is not ours to remove; `fsck` reports it.
            let Some(digest) = digest_of(algorithm, &entry.file_name()) else { continue };
            let Some(metadata) = disk::present(entry.metadata()).map_err(StoreError::read)? else {
                continue;
            };
            if !metadata.is_file() {
                continue;
            }
            if keep.contains(&digest) {
                report.kept_blobs += 1;
                report.kept_bytes += metadata.len();
                continue;
            }
            if !dry_run {
                fs::remove_file(entry.path()).map_err(|err| self.write_error(0, err))?;
            }
            report.removed_blobs += 1;
            report.removed_bytes += metadata.len();
        }
        Ok(())
    }

    fn sweep_staging(
        &self,
        keep: &HashSet<Digest>,
        dry_run: bool,
        report: &mut GcReport,
    ) -> Result<(), StoreError> {
        let staging = self.staging_dir();
        let Some(entries) = disk::present(fs::read_dir(&staging)).map_err(StoreError::read)? else {
            return Ok(());
        };
        for entry in entries {
            let entry = entry.map_err(StoreError::read)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let main = name.strip_suffix(".pieces").unwrap_or(&name);
            if staged_digest(main).is_some_and(|digest| keep.contains(&digest))
                || is_held(&staging.join(main))?
            {
                continue;
            }
            let Some(metadata) = disk::present(entry.metadata()).map_err(StoreError::read)? else {
                continue;
            };
            if metadata.is_dir() {
                continue;
            }
            if !dry_run {
                disk::remove_if_present(&entry.path()).map_err(|err| self.write_error(0, err))?;
            }
            report.removed_staged += 1;
            report.removed_staged_bytes += metadata.len();
        }
        Ok(())
    }
}

/// The store's lock, taken alone; shared again when dropped.
struct Alone<'a>(&'a Store);

impl<'a> Alone<'a> {
    fn take(store: &'a Store) -> Result<Self, StoreError> {
        let alone = Self(store);
        let Some(lock) = &store.inner.lock else { return Ok(alone) };
        // Where this fails the shared lock is lost as well; dropping `alone` takes it again.
        match lock.try_lock() {
            Ok(()) => Ok(alone),
            Err(std::fs::TryLockError::WouldBlock) => Err(store.in_use()),
            Err(std::fs::TryLockError::Error(err)) => Err(store.write_error(0, err)),
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        if let Some(lock) = &self.0.inner.lock {
            // It worked when the store was opened; if not, the next `gc` elsewhere is refused by nothing worse
            // than our staging locks.
            let _ = lock.lock_shared();
        }
    }
}

/// Whether the file at `path` is locked by somebody, this process included.
fn is_held(path: &Path) -> Result<bool, StoreError> {
    let Some(file) = disk::open_regular(path).map_err(StoreError::read)? else { return Ok(false) };
    Ok(matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

fn staged_digest(name: &str) -> Option<Digest> {
    name.replacen('-', ":", 1).parse().ok()
}

pub(crate) fn digest_of(algorithm: Algorithm, name: &std::ffi::OsStr) -> Option<Digest> {
    format!("{algorithm}:{}", name.to_str()?).parse().ok()
}

fn folders(parent: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let Some(entries) = disk::present(fs::read_dir(parent))? else { return Ok(Vec::new()) };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

fn holds(folder: &Path, name: &str) -> Result<bool, StoreError> {
    let wanted = format!("{name}.blobs");
    for entry in fs::read_dir(folder).map_err(StoreError::read)? {
        if entry.map_err(StoreError::read)?.file_name() == *wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

fn keep_bundle(folder: &Path, keep: &mut HashSet<Digest>) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(StoreError::read)? {
        let path = entry.map_err(StoreError::read)?.path();
        if path.extension().is_some_and(|extension| extension == "blobs")
            && let Some(table) = disk::open_regular(&path).map_err(StoreError::read)?
        {
            keep_table(&path, table, keep)?;
        }
    }
    Ok(())
}

/// Reads a bundle's table line by line: it may be larger than memory.
fn keep_table(path: &Path, table: fs::File, keep: &mut HashSet<Digest>) -> Result<(), StoreError> {
    /// A blob of a terabyte on FAT32 sticks has some 250 pieces in its line.
    const MAX_LINE_BYTES: u64 = 1 << 20;
    #[derive(Deserialize)]
    struct Line {
        digest: Digest,
    }
    let mut lines = io::BufReader::with_capacity(1 << 18, table);
    let mut line = Vec::new();
    loop {
        line.clear();
        lines
            .by_ref()
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut line)
            .map_err(StoreError::read)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() as u64 > MAX_LINE_BYTES {
            return Err(StoreError::Oversized {
                path: path.to_owned(),
                limit_bytes: MAX_LINE_BYTES,
            });
        }
        let parsed: Line = serde_json::from_slice(&line)
            .map_err(|source| StoreError::Damaged { path: path.to_owned(), source })?;
        keep.insert(parsed.digest);
    }
}
