//! A client that sends exactly what it is told, so that tests can ask what no library would.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    reason = "a test's client fails by panicking, wherever the server breaks a promise"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { address, method, target, headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub fn user(self, user: &str, password: &str) -> Self {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.header("Authorization", format!("Basic {text}"))
    }

    /// The head as it goes over the wire, without a length.
    pub fn head(&self) -> String {
        let Self { method, target, address, .. } = self;
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head
    }

    /// Sends the request and reads the whole answer.
    pub async fn send(self) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head(), self.body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&self.body).await.unwrap();
        let is_head = self.method == "HEAD";
        read_answer(&mut stream, is_head).await
    }

    /// Sends the request in one stream of chunks, without saying how long it will be.
    pub async fn send_streamed(self) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", self.head());
        stream.write_all(head.as_bytes()).await.unwrap();
        for chunk in self.body.chunks(700) {
            let size = format!("{:x}\r\n", chunk.len());
            stream.write_all(&[size.as_bytes(), chunk, b"\r\n"].concat()).await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        read_answer(&mut stream, false).await
    }

    /// Announces `announced` bytes, sends the body, and leaves the connection to the caller.
    pub async fn send_part(self, announced: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{}Content-Length: {announced}\r\n\r\n", self.head());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&self.body).await.unwrap();
        stream
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands there twice: {self:?}");
        value
    }

    #[track_caller]
    pub fn location(&self) -> &str {
        self.header("Location").expect("the answer has no Location")
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is not JSON")
    }

    /// The answer, after checking its status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]).into_owned();
        assert_eq!(self.status, status, "{:?} {body}", self.headers);
        self
    }

    /// Checks that this is an error as the specification writes it, with `status` and `code`.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.json()["errors"][0]["code"], code);
        assert!(answer.json()["errors"][0]["message"].is_string());
        answer
    }
}

/// Reads one answer until the connection ends. Panics where the server breaks its own promises.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin), is_head: bool) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    parse(&bytes, is_head)
}

fn parse(bytes: &[u8], is_head: bool) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("no head came");
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").expect("no header"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    if status == 100 {
        return parse(&answer.body, is_head);
    }
    if answer.header("Transfer-Encoding").is_some() {
        answer.body = unchunk(&answer.body);
    } else if is_head {
        assert!(answer.body.is_empty(), "a body came with HEAD: {answer:?}");
    } else if let Some(length) = answer.header("Content-Length") {
        assert_eq!(answer.body.len(), length.parse::<usize>().unwrap(), "cut: {status}");
    }
    answer
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n").expect("cut in a chunk");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}
