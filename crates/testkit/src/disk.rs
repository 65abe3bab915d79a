//! Disks that are full, and files that may not grow: a small tmpfs, and `prlimit --fsize`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
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

    /// Takes all room but `left_bytes`, until [`free`](Self::free).
    pub fn fill(&self, left_bytes: u64) -> io::Result<()> {
        let found = rustix::fs::statvfs(self.path())?;
        let taken = (found.f_bavail * found.f_frsize).saturating_sub(left_bytes);
        let ballast = fs_err::File::create(self.ballast())?;
        rustix::fs::fallocate(ballast, rustix::fs::FallocateFlags::empty(), 0, taken)?;
        Ok(())
    }

    /// Gives the room back that [`fill`](Self::fill) took.
    pub fn free(&self) -> io::Result<()> {
        fs_err::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// From now on nobody writes here, root neither.
    pub fn make_read_only(&self) -> io::Result<()> {
        let mut mount = Command::new("mount");
        let output = mount.args(["-o", "remount,ro"]).arg(self.path()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
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
