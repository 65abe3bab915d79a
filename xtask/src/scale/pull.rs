//! A server and its clients. The clients speak HTTP on bare sockets, hash what they get, and count what went wrong.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::measure::{self, Cost};

/// A client that waits longer for a byte counts as failed.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running `airlift serve`. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    address: String,
    begin: Instant,
}

impl Server {
    /// Starts it; what that cost runs to the first answer.
    pub(crate) fn start(command: &mut Command) -> Result<(Self, Cost)> {
        let begin = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("it has no stdout")?).read_line(&mut line)?;
        let address = line.trim().rsplit_once("//").map_or("", |(_, address)| address).to_owned();
        let server = Self { child, address, begin };
        Connection::open(&server.address)?.get("/v2/")?;
        let cost = server.cost()?;
        Ok((server, cost))
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it has cost since it was started.
    pub(crate) fn cost(&self) -> Result<Cost> {
        let cost = measure::of(self.child.id()).ok_or("the server is gone")?;
        Ok(Cost { wall: self.begin.elapsed(), ..cost })
    }

    /// What `work` costs it. Its peak is that of its whole life.
    pub(crate) fn during(&self, work: impl FnOnce() -> Result) -> Result<Cost> {
        let before = self.cost()?;
        work()?;
        let after = self.cost()?;
        let wall = after.wall.saturating_sub(before.wall);
        let cpu = after.cpu.saturating_sub(before.cpu);
        Ok(Cost { wall, cpu, ..after })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pulls `path:1.0` as a container runtime does: manifest, config, then layers over `lanes` connections.
pub(crate) fn pull(address: &str, path: &str, lanes: usize) -> Result {
    let mut connection = Connection::open(address)?;
    let manifest = connection.get(&format!("/v2/{path}/manifests/1.0"))?;
    let manifest: Value = serde_json::from_slice(&manifest)?;
    let layers = manifest["layers"].as_array().ok_or("the manifest lists no layers")?;
    let blobs: Vec<&str> = std::iter::once(&manifest["config"])
        .chain(layers)
        .map(|blob| blob["digest"].as_str().unwrap_or_default())
        .collect();
    let next = AtomicUsize::new(0);
    let work = |mut connection: Connection| -> std::result::Result<(), String> {
        while let Some(digest) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let target = format!("/v2/{path}/blobs/{digest}");
            connection.check(&target, digest).map_err(|err| format!("{digest}: {err}"))?;
        }
        Ok(())
    };
    let more = (1..lanes).map(|_| Connection::open(address)).collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let lanes = std::iter::once(connection).chain(more);
        let lanes: Vec<_> = lanes.map(|lane| scope.spawn(|| work(lane))).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or(Err("it panicked".into())))
    })?;
    Ok(())
}

/// So many clients pull one image at once, a connection each. Fails if one of them does.
pub(crate) fn pull_at_once(address: &str, path: &str, clients: usize) -> Result {
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                if let Err(err) = pull(address, path, 1) {
                    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.push(err.to_string());
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failures.first() {
        Some(first) => Err(format!("{} of {clients} failed, one: {first}", failures.len()).into()),
        None => Ok(()),
    }
}

/// A kept-alive connection.
struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream) })
    }

    /// The body of an answer.
    fn get(&mut self, target: &str) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let length = self.ask(target)?;
        self.stream.by_ref().take(length).read_to_end(&mut body)?;
        if body.len() as u64 == length { Ok(body) } else { Err("the answer was cut".into()) }
    }

    /// Reads an answer and compares it with its digest.
    fn check(&mut self, target: &str, digest: &str) -> Result {
        let mut rest = self.ask(target)?;
        let mut hasher = Sha256::new();
        while rest > 0 {
            let bytes = self.stream.fill_buf()?;
            let count = bytes.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            if count == 0 {
                return Err("the answer was cut".into());
            }
            hasher.update(&bytes[..count]);
            self.stream.consume(count);
            rest -= count as u64;
        }
        let found = format!("sha256:{}", hex::encode(hasher.finalize()));
        if found == digest { Ok(()) } else { Err(format!("got {found}").into()) }
    }

    /// Sends a request; returns the length of the body, which is still to be read.
    fn ask(&mut self, target: &str) -> Result<u64> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: scale\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            match line.trim().split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse()?;
                }
                Some(_) => {}
            }
        }
        if status.starts_with("HTTP/1.1 200") {
            return Ok(length);
        }
        Err(format!("{target}: answered `{}`", status.trim()).into())
    }
}
