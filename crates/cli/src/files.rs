//! Files that are written whole or not at all, some for their owner alone.
//!
//! A file is written under a name of its own beside the one that it is for, and locked as long as its writer lives. So
//! the next who writes there tells what a kill left behind, and removes it. Where a file system cannot lock, it stays.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;
use tempfile::NamedTempFile;

const OWNER_ONLY: u32 = 0o600;
/// As far as the umask allows.
const EVERYBODY: u32 = 0o666;

/// How the name of a file begins and ends that is not complete.
const TEMPORARY: (&str, &str) = (".airlift-", ".tmp");

/// Writes a file that must not be there yet, whole or not at all; only its owner may read it.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes, OWNER_ONLY)?.persist_noclobber(path)?;
    Ok(())
}

/// Replaces a file that only its owner may read, in one step.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with_mode(path, bytes, OWNER_ONLY)
}

/// Replaces a file in one step: readers see the old one or the new one, also after a power cut.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with_mode(path, bytes, EVERYBODY)
}

/// Finds out whether files can be written into a folder, which is made where it is absent.
pub(crate) fn check_writable(folder: &Path) -> io::Result<()> {
    temporary(&folder.join("probe"), b"\n", EVERYBODY)?.close()
}

fn replace_with_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    temporary(path, bytes, mode)?.persist(path)?;
    Ok(())
}

/// A complete, durable file beside `path` that only needs its name.
fn temporary(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    sweep(folder);
    let mut file = locked(folder, mode)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// A new, empty file in `folder` that nobody takes for one of a dead writer.
fn locked(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let ((prefix, suffix), permissions) = (TEMPORARY, Permissions::from_mode(mode));
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(suffix).permissions(permissions);
    loop {
        let file = builder.tempfile_in(folder)?;
        // Waits for nobody but one who sweeps, and who may have found the file before it was locked. Where the file
        // system cannot lock, nobody sweeps.
        let _ = file.as_file().lock();
        if file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Removes what killed writers left in `folder`. Whatever prevents that is no reason not to write.
fn sweep(folder: &Path) {
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name())) {
        let path = entry.path();
        // The lock goes when the file is closed: a writer who waits for it finds its file gone, and makes another.
        if let Ok(_held) = abandoned(&path) {
            let _ = fs_err::remove_file(&path);
        }
    }
}

fn is_temporary(name: &OsStr) -> bool {
    let ((prefix, suffix), name) = (TEMPORARY, name.to_string_lossy());
    name.starts_with(prefix) && name.ends_with(suffix)
}

/// Locks a file whose writer does not live any more.
fn abandoned(path: &Path) -> io::Result<File> {
    // NFS locks only what is open for writing. In a folder of others a link or a pipe may have been laid in the way.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = fs_err::OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    let file = file.into_file();
    file.try_lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_read_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/key");
        write_new(&path, b"one").unwrap();
        assert_eq!(mode(&path), 0o600);
        let again = write_new(&path, b"two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs_err::read(&path).unwrap(), b"one");
        replace_private(&path, b"three").unwrap();
        assert_eq!((fs_err::read(&path).unwrap(), mode(&path)), (b"three".to_vec(), 0o600));
        replace(&path, b"four").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"four");
        assert_ne!(mode(&path) & 0o400, 0);
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_a_dead_writer_left_goes_and_what_a_live_one_writes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs_err::write(folder.path().join(".airlift-dead00.tmp"), b"ha").unwrap();
        fs_err::write(folder.path().join(".airlift-mine"), b"not ours to remove").unwrap();
        let alive = temporary(&path, b"alive", EVERYBODY).unwrap();
        replace(&path, b"quick").unwrap();
        assert!(alive.path().exists());
        alive.persist(&path).unwrap();
        let mut left = names(folder.path());
        left.sort();
        assert_eq!(left, [".airlift-mine", "lock"]);
        assert_eq!(fs_err::read(&path).unwrap(), b"alive");
    }

    #[test]
    fn many_at_once_write_one_file_and_none_loses_what_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        replace(path, &[writer; 4096]).unwrap();
                    }
                });
            }
        });
        let written = fs_err::read(&path).unwrap();
        assert!(written.len() == 4096 && written.iter().all(|byte| *byte == written[0]));
        assert_eq!(names(folder.path()), ["lock"]);
    }

    #[test]
    fn a_link_with_the_name_of_such_a_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (precious, link) = (folder.path().join("key"), folder.path().join(".airlift-x.tmp"));
        fs_err::write(&precious, b"key").unwrap();
        fs_err::os::unix::fs::symlink(&precious, &link).unwrap();
        replace(&folder.path().join("lock"), b"new").unwrap();
        assert!(link.is_symlink() && precious.exists());
    }
}
