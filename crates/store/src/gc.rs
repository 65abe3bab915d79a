//! Removes what no root reaches. Takes the store alone.
//!
//! **Kept:** what a root reaches; what was pushed; what a kept bundle names; staged bytes of any of these; staged
//! bytes that somebody holds.
//! **Refuses** to go by what it cannot read: a damaged root, bundle table or manifest might have kept anything.

use std::collections::HashMap;
use std::io::{self, BufRead as _, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use airlift_spec::{Ctx, Digest};
use fs_err as fs;
use serde::Deserialize;

use crate::reach::Anchor;
use crate::{Listing, Store, StoreError, cores, disk};

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
        let keep = Keep::nothing_of(self.list()?, self.staged()?);
        self.mark(&keep, ctx)?;
        let sweep = |share| self.sweep_blobs(share, &keep, dry_run, ctx);
        let shares = cores::share(keep.listing.len(), self.tuning().threads, sweep);
        let mut report = GcReport::default();
        for share in shares {
            report.add(&share?);
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

    /// Marks all that is kept.
    fn mark(&self, keep: &Keep, ctx: &Ctx) -> Result<(), StoreError> {
        let kept = self.kept(|_, err| Err(err))?;
        kept.blobs.iter().chain(&kept.pushed_blobs).for_each(|digest| keep.note(digest));
        let mut anchors = kept.anchors;
        // Many tags may lead to one manifest.
        let key = |it: &Anchor| (it.manifest.digest, it.left_out.clone());
        anchors.sort_by_cached_key(key);
        anchors.dedup_by(|a, b| a.manifest.digest == b.manifest.digest && a.left_out == b.left_out);
        let walk = |share: Range<usize>| {
            anchors[share].iter().try_for_each(|anchor| self.mark_anchor(anchor, keep, ctx))
        };
        cores::share(anchors.len(), self.tuning().threads, walk)
            .into_iter()
            .collect::<Result<(), _>>()?;
        for folder in folders(&self.bundles_dir()).map_err(StoreError::read)? {
            keep_bundle(&folder, keep)?;
        }
        Ok(())
    }

    /// Marks what an anchor reaches. Manifests that another one has walked to the end are not read again.
    fn mark_anchor(&self, anchor: &Anchor, keep: &Keep, ctx: &Ctx) -> Result<(), StoreError> {
        if ctx.is_cancelled() {
            return Err(StoreError::Cancelled);
        }
        let closure = self.reach_anew(anchor, |digest| !keep.is_walked(digest))?;
        closure.all().for_each(|blob| keep.note(&blob.digest));
        // Below a manifest that was met here, nothing was left out or given up.
        if anchor.left_out.is_empty() && closure.unreadable.is_empty() {
            closure.manifests.iter().for_each(|manifest| keep.note_walked(&manifest.digest));
        }
        Ok(())
    }

    fn sweep_blobs(
        &self,
        share: Range<usize>,
        keep: &Keep,
        dry_run: bool,
        ctx: &Ctx,
    ) -> Result<GcReport, StoreError> {
        let mut report = GcReport::default();
        for at in share {
            if ctx.is_cancelled() {
                return Err(StoreError::Cancelled);
            }
            let digest = keep.listing.at(at);
            let Some(size) = self.size(&digest) else { continue };
            if keep.blobs[at].load(Relaxed) {
                report.kept_blobs += 1;
                report.kept_bytes += size;
                continue;
            }
            if !dry_run {
                fs::remove_file(self.blob_path(&digest)).map_err(|err| self.write_error(0, err))?;
            }
            report.removed_blobs += 1;
            report.removed_bytes += size;
        }
        Ok(report)
    }

    /// The digests that files in `staging/` are named by.
    fn staged(&self) -> Result<Vec<Digest>, StoreError> {
        let entries = disk::present(fs::read_dir(self.staging_dir())).map_err(StoreError::read)?;
        let mut staged = Vec::new();
        for entry in entries.into_iter().flatten() {
            let name = entry.map_err(StoreError::read)?.file_name();
            staged.extend(staged_digest(blob_name(&name.to_string_lossy())));
        }
        Ok(staged)
    }

    fn sweep_staging(
        &self,
        keep: &Keep,
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
            let main = blob_name(&name);
            if staged_digest(main).is_some_and(|digest| keep.has_staged(&digest))
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

/// What is kept, as far as it is here: of blobs and of staged bytes, nothing else can be removed.
#[derive(Debug)]
struct Keep {
    listing: Listing,
    /// For each blob of the listing.
    blobs: Vec<AtomicBool>,
    /// Manifests below which all has been marked.
    walked: Vec<AtomicBool>,
    staged: HashMap<Digest, AtomicBool>,
}

impl Keep {
    fn nothing_of(listing: Listing, staged: Vec<Digest>) -> Self {
        let none = |count| std::iter::repeat_with(AtomicBool::default).take(count).collect();
        Self {
            blobs: none(listing.len()),
            walked: none(listing.len()),
            staged: staged.into_iter().map(|digest| (digest, AtomicBool::default())).collect(),
            listing,
        }
    }

    fn note(&self, digest: &Digest) {
        let blob = self.listing.position(digest).map(|at| &self.blobs[at]);
        for mark in blob.into_iter().chain(self.staged.get(digest)) {
            mark.store(true, Relaxed);
        }
    }

    fn has_staged(&self, digest: &Digest) -> bool {
        self.staged.get(digest).is_some_and(|mark| mark.load(Relaxed))
    }

    fn note_walked(&self, manifest: &Digest) {
        if let Some(at) = self.listing.position(manifest) {
            self.walked[at].store(true, Relaxed);
        }
    }

    fn is_walked(&self, manifest: &Digest) -> bool {
        self.listing.position(manifest).is_some_and(|at| self.walked[at].load(Relaxed))
    }
}

impl GcReport {
    fn add(&mut self, other: &Self) {
        self.removed_blobs += other.removed_blobs;
        self.removed_bytes += other.removed_bytes;
        self.kept_blobs += other.kept_blobs;
        self.kept_bytes += other.kept_bytes;
        self.removed_staged += other.removed_staged;
        self.removed_staged_bytes += other.removed_staged_bytes;
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

/// The name of the staged blob that a file in `staging/` is, or is about.
fn blob_name(name: &str) -> &str {
    name.strip_suffix(".pieces").unwrap_or(name)
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

fn keep_bundle(folder: &Path, keep: &Keep) -> Result<(), StoreError> {
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
fn keep_table(path: &Path, table: fs::File, keep: &Keep) -> Result<(), StoreError> {
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
        keep.note(&parsed.digest);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use airlift_spec::Descriptor;
    use airlift_spec::oci::media_type::{OCI_INDEX, OCI_LAYER, OCI_MANIFEST};

    use super::*;

    fn put(store: &Store, media_type: &str, text: &str) -> Descriptor {
        let digest = Digest::of(text.as_bytes());
        store.put(digest, text.as_bytes()).unwrap();
        Descriptor::new(media_type, digest, text.len() as u64)
    }

    fn lists(store: &Store, media_type: &str, field: &str, entry: &Descriptor) -> Descriptor {
        let entry = serde_json::to_string(entry).unwrap();
        put(store, media_type, &format!(r#"{{"schemaVersion":2,"{field}":[{entry}]}}"#))
    }

    fn anchor(manifest: &Descriptor, left_out: &[&Descriptor]) -> Anchor {
        let left_out: BTreeSet<Digest> = left_out.iter().map(|child| child.digest).collect();
        Anchor { name: None, manifest: manifest.clone(), left_out, untagged_in: None }
    }

    #[test]
    fn a_manifest_that_many_share_is_read_once_and_what_was_left_out_of_one_is_walked_for_another()
    {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let layer = put(&store, OCI_LAYER, "layer");
        let image = lists(&store, OCI_MANIFEST, "layers", &layer);
        let index = lists(&store, OCI_INDEX, "manifests", &image);
        let keep = Keep::nothing_of(store.list().unwrap(), Vec::new());
        let mark = |anchor: Anchor| store.mark_anchor(&anchor, &keep, &Ctx::default());
        let is_kept = |blob: &Descriptor| {
            keep.blobs[keep.listing.position(&blob.digest).unwrap()].load(Relaxed)
        };

        mark(anchor(&index, &[&image])).unwrap();
        assert!(is_kept(&index) && !is_kept(&image) && !is_kept(&layer));
        mark(anchor(&index, &[])).unwrap();
        assert!(is_kept(&image) && is_kept(&layer));

        // Whoever reads one of them again stumbles over it.
        for manifest in [&index, &image] {
            fs::write(store.blob_path(&manifest.digest), "damaged").unwrap();
        }
        for shared in [anchor(&index, &[]), anchor(&image, &[]), anchor(&index, &[&image])] {
            mark(shared).unwrap();
        }
    }
}
