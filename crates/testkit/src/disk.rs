//! Disks that are full, and files that may not grow: a small tmpfs, and `prlimit --fsize`.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system of a fixed size; unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// A tmpfs that holds `size_bytes`, rounded up to whole pages.
    ///
    /// None, after saying so loudly, where this machine does not permit mounts.
    pub fn mount(size_bytes: u64) -> io::Result<Option<Self>> {
        let dir = TempDir::with_prefix("airlift-disk-")?;
        let size = format!("size={size_bytes},mode=0700");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "airlift-test"])
            .arg(dir.path())
            .output()?;
        if output.status.success() {
            return Ok(Some(Self { dir }));
        }
        let why = String::from_utf8_lossy(&output.stderr);
        crate::tools::skip(&format!("needs to mount a tmpfs: {}", why.trim()));
        Ok(None)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a file that a failed test still holds open must not leave the mount behind.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

/// `program` such that no file it writes may grow beyond `bytes`: it gets `EFBIG`, and SIGXFSZ where it
/// does not ignore that.
pub fn with_file_limit(program: impl AsRef<OsStr>, bytes: u64) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--fsize={bytes}")).arg(program);
    command
}
