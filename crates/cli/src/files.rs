//! Files that are written whole or not at all, some for their owner alone.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

const OWNER_ONLY: u32 = 0o600;
/// As far as the umask allows.
const EVERYBODY: u32 = 0o666;

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

fn replace_with_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    temporary(path, bytes, mode)?.persist(path)?;
    Ok(())
}

/// A complete, durable file beside `path` that only needs its name.
fn temporary(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let permissions = Permissions::from_mode(mode);
    // A kill may leave it behind, under a name that says whose it is.
    let mut builder = tempfile::Builder::new();
    let mut file = builder.prefix(".airlift-").permissions(permissions).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
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
}
