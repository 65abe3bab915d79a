//! Two networks with no way between them: an air gap on one machine.
//!
//! Each [`Namespace`] has only its own loopback, so that nothing gets out of it, to the other one, or to the
//! machine's network. An audit counts every packet that tries.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tools::{skip, tool};

static MADE: AtomicU32 = AtomicU32::new(0);

/// A network namespace; it is deleted when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    nsenter: PathBuf,
    nft: PathBuf,
    ip: PathBuf,
}

impl Namespace {
    /// Makes a namespace with loopback alone, and the audit of what tries to leave it.
    ///
    /// `label` is for people who look at `ip netns`; names are unique on the machine.
    /// None, after saying so loudly, where this machine does not permit namespaces or lacks `ip`, `nft`, `nsenter`.
    pub fn new(label: &str) -> io::Result<Option<Self>> {
        let (Some(ip), Some(nft), Some(nsenter)) = (tool("ip"), tool("nft"), tool("nsenter"))
        else {
            skip("needs ip, nft and nsenter");
            return Ok(None);
        };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("airlift-{}-{number}-{label}", std::process::id());
        let made = Command::new(&ip).args(["netns", "add", &name]).output()?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr);
            skip(&format!("needs to make network namespaces: {}", why.trim()));
            return Ok(None);
        }
        // From here on, dropping it takes it away again.
        let namespace = Self { name, nsenter, nft, ip };
        namespace.check(&namespace.ip, &["link", "set", "lo", "up"])?;
        namespace.audit()?;
        Ok(Some(namespace))
    }

    /// The namespace's name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `program` inside. It sees this machine's files, and no network but the namespace's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        // Not `ip netns exec`: that remounts /sys, which hides cgroups from container runtimes.
        let mut command = Command::new(&self.nsenter);
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }

    /// Runs `work` on a thread inside: what it binds, connects to or starts, a child process too, lives in the
    /// namespace. A server that `work` returns stays in it.
    ///
    /// # Panics
    ///
    /// If `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let namespace = fs_err::File::open(Path::new("/run/netns").join(&self.name))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // Of this thread alone; it ends with `work`.
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// How many packets tried to leave the namespace other than by loopback, and were dropped.
    pub fn leaked_packets(&self) -> io::Result<u64> {
        let output = self.run(&self.nft, &["list", "counter", "inet", "audit", "leaks"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        let count = words.nth(1).and_then(|word| word.parse().ok());
        count.ok_or_else(|| io::Error::other(format!("`{text}` has no count of packets")))
    }

    fn audit(&self) -> io::Result<()> {
        let rules = "add table inet audit; \
            add counter inet audit leaks; \
            add chain inet audit out { type filter hook output priority 0; policy accept; }; \
            add rule inet audit out oifname != \"lo\" counter name leaks drop";
        self.check(&self.nft, &[rules])
    }

    fn check(&self, program: &Path, args: &[&str]) -> io::Result<()> {
        self.run(program, args).map(drop)
    }

    fn run(&self, program: &Path, args: &[&str]) -> io::Result<Output> {
        let output = self.command(program).args(args).output()?;
        if output.status.success() {
            return Ok(output);
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{} in {}: {}", program.display(), self.name, why.trim())))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new(&self.ip).args(["netns", "delete", &self.name]).status();
    }
}
