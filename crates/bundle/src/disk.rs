//! Files on media: whatever file system they have, durable where it can be, and never believed on their length.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::TryLockError;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::BundleError;

/// What a file is called until it is complete.
pub(crate) const PARTIAL: &str = ".partial";

/// The files in `folder`, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let doing = || BundleError::disk(format!("failed to list {}", folder.display()));
    let entries = fs::read_dir(folder).map_err(|err| match err.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            BundleError::NoBundle { folder: folder.to_owned() }
        }
        _ => doing()(err),
    })?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(doing())?;
    paths.sort();
    Ok(paths)
}

/// Opens a file that somebody else put there.
///
/// A pipe laid in the way must not hang us: opening never waits, and only regular files are read.
pub(crate) fn open(path: &Path) -> io::Result<Option<fs::File>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// The whole file, if it is there and no longer than `limit`.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, BundleError> {
    let doing = || BundleError::disk(format!("failed to read {}", path.display()));
    let Some(file) = open(path).map_err(doing())? else { return Ok(None) };
    let mut bytes = Vec::new();
    // One byte more tells a file that is too long; a file may also grow while it is read.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(doing())?;
    if bytes.len() as u64 > limit {
        let source = crate::error::FormatError::TooLarge { found: bytes.len() as u64, most: limit };
        return Err(BundleError::Format { file: path.into(), source });
    }
    Ok(Some(bytes))
}

/// Reads until `buffer` is full or the file ends; says how much there was.
pub(crate) fn read_full_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.file().read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}

/// Writes a small file so that it is either not there or complete, whatever happens.
///
/// A file that holds these very bytes is left alone.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    if matches!(read_at_most(path, bytes.len() as u64), Ok(Some(found)) if found == bytes) {
        return Ok(());
    }
    let doing = || BundleError::disk(format!("failed to write {}", path.display()));
    let partial = partial_path(path);
    let mut file = fs::File::create(&partial).map_err(doing())?;
    file.write_all(bytes).map_err(doing())?;
    file.sync_all().map_err(doing())?;
    drop(file);
    publish(&partial, path)
}

/// `path` while it is not complete.
pub(crate) fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PARTIAL);
    name.into()
}

/// Gives a complete, synced file its name.
pub(crate) fn publish(partial: &Path, path: &Path) -> Result<(), BundleError> {
    let doing = || BundleError::disk(format!("failed to rename {}", partial.display()));
    if let Err(err) = fs::rename(partial, path) {
        // Some file systems cannot rename over a file. A kill in between costs that file, which the next run writes.
        if !path.exists() {
            return Err(doing()(err));
        }
        fs::remove_file(path).map_err(doing())?;
        fs::rename(partial, path).map_err(doing())?;
    }
    sync_folder(path.parent().unwrap_or(Path::new(".")));
    Ok(())
}

/// Makes names durable where the file system can: FAT and network mounts may refuse, and lose at most a name.
pub(crate) fn sync_folder(folder: &Path) {
    if let Err(err) = fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::debug!(%err, "the folder cannot be synced");
    }
}

/// Makes `folders` where they are absent, and keeps other writers of bundles out of them until the answer is dropped:
/// two would write to the same `.partial`, and the one who names it first would name what the other has just begun.
pub(crate) fn hold<'a>(
    folders: impl IntoIterator<Item = &'a Path>,
) -> Result<Vec<fs::File>, BundleError> {
    let mut held = BTreeMap::new();
    for folder in folders {
        let doing = || BundleError::disk(format!("failed to make {}", folder.display()));
        fs::create_dir_all(folder).map_err(doing())?;
        let opened = fs::File::open(folder).map_err(doing())?;
        let metadata = opened.metadata().map_err(doing())?;
        // One folder may be named twice.
        let Entry::Vacant(place) = held.entry((metadata.dev(), metadata.ino())) else { continue };
        match opened.file().try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(BundleError::Busy { folder: folder.to_owned() });
            }
            Err(TryLockError::Error(err)) => {
                tracing::debug!(%err, "the file system cannot lock a folder");
            }
            Ok(()) => {}
        }
        place.insert(opened);
    }
    Ok(held.into_values().collect())
}

/// Reserves room, so that a full medium shows before the work and not after it. Not every file system can.
pub(crate) fn preallocate(file: &fs::File, size: u64) -> io::Result<()> {
    let flags = rustix::fs::FallocateFlags::empty();
    match rustix::fs::fallocate(file.file(), flags, 0, size) {
        Err(rustix::io::Errno::NOSPC) => Err(rustix::io::Errno::NOSPC.into()),
        Ok(()) => Ok(()),
        Err(err) => {
            tracing::debug!(%err, "the file system cannot preallocate");
            Ok(())
        }
    }
}

/// Bytes that may still be written under `folder`.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64, BundleError> {
    let found = rustix::fs::statvfs(folder).map_err(|err| {
        BundleError::disk(format!("failed to ask for the room on {}", folder.display()))(err.into())
    })?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The length of the regular file at `path`, if there is one.
pub(crate) fn file_len(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|found| found.len())
}
