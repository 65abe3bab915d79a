//! A Git server: the real `git http-backend` behind as much of HTTP as it takes.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Serves the repositories below a folder; it ends when this is dropped.
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GitServer {
    pub fn start(git: &Path, folder: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let (git, folder) = (git.to_owned(), folder.to_owned());
        let thread = std::thread::spawn({
            let ends = Arc::clone(&ends);
            move || {
                for stream in listener.incoming() {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let (git, folder) = (git.clone(), folder.clone());
                    // Whoever hangs up early has no answer to miss.
                    std::thread::spawn(move || {
                        drop(stream.and_then(|it| answer(it, &git, folder)));
                    });
                }
            }
        });
        Ok(Self { address, ends, thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // The listener waits for somebody to come.
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Answers one request, as a web server answers by a CGI program.
fn answer(stream: TcpStream, git: &Path, folder: PathBuf) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut command = Command::new(git);
    command.arg("http-backend").env("GIT_PROJECT_ROOT", folder).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => body_bytes = value.parse().map_err(io::Error::other)?,
            "content-type" => drop(command.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(command.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(command.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    let mut body = Vec::new();
    reader.take(body_bytes).read_to_end(&mut body)?;
    command.env("CONTENT_LENGTH", body_bytes.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().expect("it is piped").write_all(&body)?;
    send(stream, &child.wait_with_output()?.stdout)
}

/// What the program wrote begins with headers, one of which may be the status.
fn send(mut stream: TcpStream, written: &[u8]) -> io::Result<()> {
    let end = written.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or(written.len() - 4);
    let (head, body) = (String::from_utf8_lossy(&written[..end]), &written[end + 4..]);
    let status = head.lines().find_map(|it| it.strip_prefix("Status: ")).unwrap_or("200 OK");
    let length = body.len();
    let more = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("HTTP/1.1 {status}\r\n{head}\r\n{more}").as_bytes())?;
    stream.write_all(body)
}
