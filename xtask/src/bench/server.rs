//! Servers that are measured, or that peers and airlift alike ask.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// A running server, which ends with its handle.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    /// What it prints: of a registry, one line a request.
    log: PathBuf,
}

const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Server {
    /// Debian's registry over `storage`.
    pub(super) fn registry(storage: &Path, scratch: &Path) -> Result<Self> {
        let address = free_address()?;
        let config = scratch.join(format!("registry-{}.yml", address.port()));
        fs_err::create_dir_all(storage)?;
        let settings = format!(
            "version: 0.1\n\
             log: {{level: error, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: {storage}}}}}\n\
             http: {{addr: \"{address}\", secret: bench}}\n",
            storage = storage.display()
        );
        fs_err::write(&config, settings)?;
        let mut command = Command::new("docker-registry");
        Self::start(command.arg("serve").arg(config), address, scratch)
    }

    /// `airlift serve`, straight from a folder of volumes.
    pub(super) fn airlift(
        airlift: &Path,
        source: &Path,
        key: &Path,
        scratch: &Path,
    ) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(airlift);
        command.arg("serve").arg(source).arg("--trust").arg(key);
        command.args(["--listen", &address.to_string(), "--progress", "none"]);
        Self::start(&mut command, address, scratch)
    }

    fn start(command: &mut Command, address: SocketAddr, scratch: &Path) -> Result<Self> {
        let log = scratch.join(format!("log-{}", address.port()));
        let (out, err) =
            (fs_err::File::create(&log)?, fs_err::File::create(log.with_extension("err"))?);
        let child =
            command.stdin(Stdio::null()).stdout(out.into_file()).stderr(err.into_file()).spawn()?;
        let mut server = Self { child, address, log };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if server.child.try_wait()?.is_some() || begin.elapsed() > START_TIMEOUT {
                let said = fs_err::read_to_string(server.log.with_extension("err"))?;
                return Err(format!("{command:?} does not answer:\n{said}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// User and system time so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        cpu_ticks(&stat).map(|ticks| ticks / 100.0).ok_or_else(|| "/proc is not Linux's".into())
    }

    /// The most memory that it ever had.
    pub(super) fn peak_mib(&self) -> Result<f64> {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        peak_kib(&status).map(|kib| kib / 1024.0).ok_or_else(|| "/proc is not Linux's".into())
    }

    /// The requests so far, as `GET /v2/…`.
    pub(super) fn requests(&self) -> Result<Vec<String>> {
        Ok(requests(&fs_err::read_to_string(&self.log)?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Taken and given back: another process may get it in between, and then the start fails by name.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Fields 14 and 15 of `/proc/PID/stat`. The name before them may hold anything, so they are counted from its end.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse::<f64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn peak_kib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn requests(log: &str) -> Vec<String> {
    let request = |line: &str| {
        let quoted = line.split('"').nth(1)?;
        let (request, _protocol) = quoted.rsplit_once(' ')?;
        Some(request.to_owned())
    };
    log.lines().filter_map(request).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_has_cost_is_read() {
        let stat = "42 (a) b) S 1 1 1 0 -1 4 0 0 0 0 150 25 0 0 20 0 1 0 9 9 9";
        assert_eq!(cpu_ticks(stat), Some(175.0));
        assert_eq!(peak_kib("Name:\tx\nVmHWM:\t   2048 kB\n"), Some(2048.0));
    }

    #[test]
    fn requests_are_read_from_an_access_log() {
        let log = "127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] \"GET /v2/a/manifests/v1 HTTP/1.1\" 200 9 \"\" \"x\"\n";
        assert_eq!(requests(log), ["GET /v2/a/manifests/v1"]);
    }
}
