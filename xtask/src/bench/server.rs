//! Servers that are measured, or that peers and airlift alike ask.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::measure::{self, Cost};

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

    /// What it has cost so far.
    pub(super) fn cost(&self) -> Result<Cost> {
        measure::of(self.child.id()).ok_or_else(|| "the server is gone".into())
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
    fn requests_are_read_from_an_access_log() {
        let log = "127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] \"GET /v2/a/manifests/v1 HTTP/1.1\" 200 9 \"\" \"x\"\n";
        assert_eq!(requests(log), ["GET /v2/a/manifests/v1"]);
    }
}
