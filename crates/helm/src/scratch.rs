//! Folders that programs are given what they need in. Each is locked as long as it is in use, so that the next one tells
//! what a kill left behind, and removes it. Where a file system cannot lock, it stays.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;
use tempfile::TempDir;

const PREFIX: &str = "airlift-scratch-";

/// A new folder that is removed in the end.
#[derive(Debug)]
pub struct Scratch {
    whole: PathBuf,
    /// Removed before the lock goes.
    _folder: TempDir,
    _held: File,
}

impl Scratch {
    /// A folder in the one for temporary files.
    pub fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(place: &Path) -> io::Result<Self> {
        sweep(place);
        loop {
            let folder = TempDir::with_prefix_in(PREFIX, place)?;
            // One who sweeps may have found it before it was locked.
            let held = match open(folder.path()) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            // Waits for nobody else. Where the file system cannot lock, nobody sweeps.
            let _ = held.lock();
            if is_still(folder.path(), &held) {
                let whole = fs_err::canonicalize(folder.path())?;
                return Ok(Self { whole, _folder: folder, _held: held });
            }
        }
    }

    /// Where it is, without links.
    pub fn path(&self) -> &Path {
        &self.whole
    }
}

/// Removes what killed runs left in `place`. Whatever prevents that is no reason not to work.
fn sweep(place: &Path) {
    let Ok(entries) = fs_err::read_dir(place) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // The lock goes when the folder is gone: one who waits for it makes another.
        if let Ok(folder) = open(&entry.path())
            && folder.try_lock().is_ok()
        {
            let _ = fs_err::remove_dir_all(entry.path());
        }
    }
}

/// Opens a folder, and nothing else that may lie there.
fn open(folder: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
    let opened = fs_err::OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    Ok(opened.into_file())
}

/// Whether `path` is what was opened.
fn is_still(path: &Path, opened: &File) -> bool {
    match (fs_err::symlink_metadata(path), opened.metadata()) {
        (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_and_what_is_in_use_stays() {
        let place = tempfile::tempdir().unwrap();
        let left = place.path().join("airlift-scratch-dead00");
        fs_err::create_dir_all(left.join("here/a")).unwrap();
        fs_err::write(left.join("here/a/chart.tgz"), "half").unwrap();
        let others = ["airlift-scratch-file", "airlift-other", "else"];
        fs_err::write(place.path().join(others[0]), "a file").unwrap();
        fs_err::create_dir(place.path().join(others[1])).unwrap();
        fs_err::create_dir(place.path().join(others[2])).unwrap();
        let link = place.path().join("airlift-scratch-link");
        fs_err::os::unix::fs::symlink(place.path().join(others[2]), &link).unwrap();
        let used = Scratch::new_in(place.path()).unwrap();
        assert!(!left.exists());
        let other = Scratch::new_in(place.path()).unwrap();
        assert!(used.path().is_dir() && other.path().is_dir() && link.is_symlink());
        assert!(others.iter().all(|name| place.path().join(name).exists()));
        let gone = used.path().to_owned();
        drop(used);
        assert!(!gone.exists() && other.path().is_dir());
    }

    #[test]
    fn many_at_once_keep_each_what_is_theirs() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let scratch = Scratch::new_in(place.path()).unwrap();
                        fs_err::write(scratch.path().join("mine"), "").unwrap();
                        assert!(scratch.path().join("mine").exists());
                    }
                });
            }
        });
        assert_eq!(fs_err::read_dir(place.path()).unwrap().count(), 0);
    }
}
