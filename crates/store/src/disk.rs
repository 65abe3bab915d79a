//! What the modules of the store ask of the file system.

use std::fs::Permissions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use rustix::fs::OFlags;

/// Everybody may read a store, whatever the umask of who made it.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// Opens a regular file for reading; none where there is nothing, or something that is no regular file.
///
/// A link is not followed, and a pipe does not make us wait: a store may have been tampered with.
pub(crate) fn open_regular(path: &Path) -> io::Result<Option<fs::File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    if opened.is_err() && fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Ok(None);
    }
    let Some(file) = present(opened)? else { return Ok(None) };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Nothing there, or a file where a folder should be: all the same to who looks for something.
pub(crate) fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(err) if matches!(err.kind(), NotFound | NotADirectory) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Opens a file of ours to write in, and makes it where it is absent.
pub(crate) fn open_writable(path: &Path) -> io::Result<fs::File> {
    // Creating first tells a new file from an old one: only a new one is ours to set the mode of.
    match writable().create_new(true).open(path) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            Ok(file)
        }
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
            regular(writable().create(true).truncate(false).open(path)?)
        }
        Err(err) => Err(err),
    }
}

/// Opens a file of ours to write in; none where it is absent.
pub(crate) fn open_existing(path: &Path) -> io::Result<Option<fs::File>> {
    present(writable().open(path))?.map(regular).transpose()
}

fn writable() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    options.read(true).write(true).mode(FILE_MODE).custom_flags(flags);
    options
}

fn regular(file: fs::File) -> io::Result<fs::File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let reason = format!("{} is not a regular file", file.path().display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// Makes a folder; one that is there is left as it is.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)),
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(err) => Err(err),
    }
}

/// Replaces `path` durably and as a whole: readers see the old bytes or the new ones. `staging` must be on
/// the same file system.
pub(crate) fn replace(staging: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = staging.join(format!("write-{}", random_id()?));
    let written = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(err) = written {
        // The first error is the one worth telling; `gc` removes what stays here.
        let _ = fs::remove_file(&temporary);
        return Err(err);
    }
    sync_folder(path.parent().expect("a file lies in a folder"))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_writable(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    // Some file systems cannot sync a folder; they have nothing better to offer.
    match fs::File::open(path)?.sync_all() {
        Err(err)
            if matches!(err.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        result => result,
    }
}

pub(crate) fn remove_if_present(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

/// A small file whole; none where it is absent; an error of kind `FileTooLarge` above `limit_bytes`.
pub(crate) fn read_small(path: &Path, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open_regular(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(bytes))
}

/// Whether `path` still leads to `file`: somebody may have removed or renamed it since it was opened.
pub(crate) fn leads_to(path: &Path, file: &fs::File) -> io::Result<bool> {
    let held = file.metadata()?;
    Ok(present(fs::symlink_metadata(path))?
        .is_some_and(|named| named.dev() == held.dev() && named.ino() == held.ino()))
}

/// Hands the bytes of `file` from `start` to `end` to `take`, a buffer at a time.
pub(crate) fn read_range(
    file: &fs::File,
    range: std::ops::Range<u64>,
    buffer_bytes: usize,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let length = range.end - range.start;
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(buffer_bytes)];
    let mut offset = range.start;
    while offset < range.end {
        let wanted = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..wanted];
        file.read_exact_at(part, offset)?;
        take(part);
        offset += wanted as u64;
    }
    Ok(())
}

/// Reserves room for a file without changing its length. Not every file system can.
pub(crate) fn reserve(file: &fs::File, bytes: u64) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        match rustix::fs::fallocate(file.file(), rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes) {
            Err(Errno::INTR) => {}
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Bytes that an ordinary user may still write where `path` is; 0 if nobody knows.
pub(crate) fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |answer| answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// 128 bits that nobody can guess.
pub(crate) fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|err| io::Error::other(err.to_string()))?;
    Ok(hex::encode(bytes))
}

/// The name of the file system that `path`, or the nearest folder above it that exists, is on, if no store
/// can live there.
pub(crate) fn unfit_file_system(path: &Path) -> Option<&'static str> {
    let mut folder = PathBuf::from(path);
    loop {
        if let Ok(answer) =
            rustix::fs::statfs(if folder.as_os_str().is_empty() { Path::new(".") } else { &folder })
        {
            // The type is signed or not, and wide or not, by architecture.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "magic numbers have 32 bits"
            )]
            return unfit_magic(answer.f_type as u32);
        }
        if !folder.pop() {
            return None;
        }
    }
}

/// File systems without the names, modes and renames that a store relies on.
fn unfit_magic(magic: u32) -> Option<&'static str> {
    match magic {
        0x4d44 => Some("vfat"),
        0x2011_bab0 => Some("exfat"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vfat_and_exfat_are_unfit_and_ext4_is_not() {
        assert_eq!(unfit_magic(0x4d44), Some("vfat"));
        assert_eq!(unfit_magic(0x2011_bab0), Some("exfat"));
        assert_eq!(unfit_magic(0xef53), None);
    }

    #[test]
    fn ids_do_not_repeat() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|_| random_id().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
