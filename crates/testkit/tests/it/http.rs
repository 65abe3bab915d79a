//! A client that shows what really came over the wire: one connection a request, nothing retried or checked.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Why no more came: silence, or a reset. None where the connection ended.
    pub(crate) broken: Option<io::ErrorKind>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(crate) fn get(to: SocketAddr, path: &str) -> Got {
    send(to, "GET", path, &[], b"")
}

/// Sends one request and reads until the other side ends, resets, or is silent for half a second.
pub(crate) fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Got {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    request.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
    request.push_str("Content-Length: ");
    request.push_str(&body.len().to_string());
    request.push_str("\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    // The other side may hang up in the middle: what it said before is what counts.
    let written = stream.write_all(body);
    let mut answer = Vec::new();
    let mut broken = stream.read_to_end(&mut answer).err().map(|err| err.kind());
    broken = broken.or(written.err().map(|err| err.kind()));
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) =
        split.map_or((&answer[..], &[][..]), |at| (&answer[..at], &answer[at + 4..]));
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Got { status, head, body: body.to_vec(), broken }
}
