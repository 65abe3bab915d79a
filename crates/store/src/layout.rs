//! Making and opening the folder, and the lock on the whole of it.

use std::io;
use std::path::Path;

use airlift_spec::Algorithm;
use fs_err as fs;
use serde::Deserialize;

use crate::disk;
use crate::error::StoreError;

pub(crate) const BLOBS: &str = "blobs";
pub(crate) const STAGING: &str = "staging";
pub(crate) const ROOTS: &str = "roots";
pub(crate) const PUSHED: &str = "pushed";
pub(crate) const BUNDLES: &str = "bundles";
pub(crate) const INDEX: &str = "index.json";
const OCI_LAYOUT: &str = "oci-layout";
const LOCK: &str = "lock";

const LAYOUT_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const MAX_LAYOUT_BYTES: u64 = 64 << 10;

/// Makes a store at `root` unless there is one. Any number of processes may do so at once.
pub(crate) fn create(root: &Path) -> Result<(), StoreError> {
    refuse_unfit(root)?;
    if fs::symlink_metadata(root.join(OCI_LAYOUT)).is_ok() {
        return Ok(());
    }
    refuse_foreign(root)?;
    make(root).map_err(|err| StoreError::write(root, 1 << 20, err))
}

/// Checks that `root` is a store, and takes its lock shared.
pub(crate) fn open(root: &Path) -> Result<Option<fs::File>, StoreError> {
    if !root.is_dir() {
        return Err(StoreError::Absent { path: root.to_owned() });
    }
    refuse_unfit(root)?;
    let not_a_store = |reason| StoreError::NotAStore { path: root.to_owned(), reason };
    let text =
        disk::read_small(&root.join(OCI_LAYOUT), MAX_LAYOUT_BYTES).map_err(StoreError::read)?;
    let Some(text) = text else { return Err(not_a_store("it has no file `oci-layout`")) };
    let version = serde_json::from_slice::<LayoutWire>(&text).map(|wire| wire.image_layout_version);
    if !version.is_ok_and(|version| version.starts_with("1.")) {
        return Err(not_a_store("its `oci-layout` is not of version 1"));
    }
    // Without this, `gc` would empty a layout that some other tool made and that has no roots.
    if !root.join(ROOTS).is_dir() {
        return Err(not_a_store("it is an OCI layout that another tool made"));
    }
    take_shared(&root.join(LOCK)).map_err(StoreError::read)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutWire {
    image_layout_version: String,
}

fn refuse_unfit(root: &Path) -> Result<(), StoreError> {
    match disk::unfit_file_system(root) {
        Some(name) => Err(StoreError::FileSystem { path: root.to_owned(), name }),
        None => Ok(()),
    }
}

/// An empty folder will do, or one in which making a store was cut short.
fn refuse_foreign(root: &Path) -> Result<(), StoreError> {
    let ours = [BLOBS, STAGING, ROOTS, BUNDLES, INDEX, LOCK];
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(StoreError::read(err)),
    };
    for entry in entries {
        let name = entry.map_err(StoreError::read)?.file_name();
        if !ours.iter().any(|known| name == *known) {
            let reason = "it holds other files";
            return Err(StoreError::NotAStore { path: root.to_owned(), reason });
        }
    }
    Ok(())
}

fn make(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let lock = disk::open_writable(&root.join(LOCK))?;
    // Whoever comes second finds the work done.
    lock.lock()?;
    if fs::symlink_metadata(root.join(OCI_LAYOUT)).is_ok() {
        return Ok(());
    }
    for folder in [BLOBS, STAGING, ROOTS, BUNDLES] {
        disk::make_folder(&root.join(folder))?;
    }
    disk::make_folder(&root.join(ROOTS).join(PUSHED))?;
    for algorithm in Algorithm::ALL {
        disk::make_folder(&root.join(BLOBS).join(algorithm.name()))?;
    }
    for folder in [BLOBS, ROOTS] {
        disk::sync_folder(&root.join(folder))?;
    }
    let staging = root.join(STAGING);
    disk::replace(&staging, &root.join(INDEX), &crate::index::empty())?;
    disk::replace(&staging, &root.join(OCI_LAYOUT), LAYOUT_TEXT.as_bytes())?;
    match root.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => disk::sync_folder(parent),
        _ => Ok(()),
    }
}

fn take_shared(path: &Path) -> io::Result<Option<fs::File>> {
    let lock = match disk::open_writable(path) {
        Ok(lock) => lock,
        // A medium that nobody can write needs no lock; a store of another user's may be locked for reading.
        Err(_) => match disk::open_regular(path)? {
            Some(lock) => lock,
            None => return Ok(None),
        },
    };
    match lock.lock_shared() {
        Err(err) if err.kind() == io::ErrorKind::Unsupported => Ok(None),
        result => result.map(|()| Some(lock)),
    }
}
