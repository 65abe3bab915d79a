//! What a long-lived process holds: file descriptors and memory, by `/proc`.

use std::fmt;

use crate::Result;
use crate::measure;

/// File descriptors that may be more at the end: what a library opens once, late, is no leak.
const SPARE_FDS: usize = 4;
/// Memory that may be more at the end. An allocator's free lists settle late under many threads, and do not grow for
/// ever: of a thousand bytes lost with each request, a minute of load makes more than this.
const SPARE_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) fds: usize,
    pub(crate) bytes: u64,
}

impl Held {
    /// What the process holds now.
    pub(crate) fn by(process: u32) -> Result<Self> {
        let fds = fs_err::read_dir(format!("/proc/{process}/fd"))?.count();
        let bytes = measure::memory_bytes(process, "VmRSS").ok_or("no VmRSS")?;
        Ok(Self { fds, bytes })
    }

    /// Why `self`, at the end, is more than `before`, after the warm-up, may have become.
    pub(crate) fn growth_since(&self, before: &Self) -> Option<String> {
        let is_more = self.fds > before.fds + SPARE_FDS
            || self.bytes > before.bytes + before.bytes / 4 + SPARE_BYTES;
        is_more.then(|| format!("it held {before} after the warm-up, and {self} at the end"))
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files and {} MiB", self.fds, self.bytes >> 20)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    /// What a shell holds before and after it did `work`.
    fn shell(work: &str) -> (Held, Held) {
        let mut shell = Command::new("sh");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut said = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mut ask = |line: &str| {
            writeln!(shell.stdin.as_ref().unwrap(), "{line}; echo done").unwrap();
            assert_eq!(said.next().unwrap().unwrap(), "done");
            Held::by(shell.id()).unwrap()
        };
        let held = (ask(":"), ask(work));
        shell.kill().unwrap();
        shell.wait().unwrap();
        held
    }

    #[test]
    fn a_process_that_leaks_files_is_noticed() {
        let (before, after) = shell("exec 3</dev/null 4<&3 5<&3 6<&3 7<&3 8<&3");
        assert_eq!(after.fds, before.fds + 6);
        assert!(after.growth_since(&before).unwrap().contains("files"));
    }

    #[test]
    fn a_process_that_leaks_memory_is_noticed() {
        let (before, after) = shell("kept=$(head -c 40000000 /dev/zero | tr '\\0' x)");
        assert!(after.growth_since(&before).unwrap().contains("MiB"), "{before} {after}");
    }

    #[test]
    fn one_that_does_not_is_not() {
        let (before, after) = shell(":");
        assert_eq!(after.growth_since(&before), None);
    }
}
