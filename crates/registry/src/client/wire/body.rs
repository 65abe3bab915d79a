//! An answer, and its body on its way to us.

use std::future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::FutureExt as _;
use http::header::CONNECTION;
use http::{HeaderMap, StatusCode, Version, response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::io::AsyncReadExt as _;

use super::diagnosis::WireError;
use super::dial::Stream;
use super::{Conversation, Home, Outgoing, Spoken};

/// What came back; the body is still on its way.
pub(crate) struct Response {
    head: response::Parts,
    body: Body,
}

enum Body {
    Direct(DirectBody),
    Framed(Box<FramedBody>),
}

/// A body whose length is known, read by ourselves.
struct DirectBody {
    /// What came with the head.
    begun: Bytes,
    /// All that is still to be given out, `begun` included.
    left: u64,
    line: Option<Line>,
}

/// A connection with nothing on it but the body.
struct Line {
    stream: Stream,
    /// None where no other answer can follow.
    home: Option<Home>,
}

/// A body in chunks or up to the end of the connection, or one that may be answered before all is sent: read by hyper.
struct FramedBody {
    piece: Bytes,
    incoming: Incoming,
    driver: Option<Driver>,
}

struct Driver {
    connection: Spoken,
    sender: SendRequest<Outgoing>,
    /// None where no other answer can follow.
    home: Option<Home>,
}

impl Response {
    /// `has_body`: whether the request had one, which may not be sent to its end yet.
    pub(super) fn new(conversation: Conversation, home: Home, has_body: bool) -> Self {
        let Conversation { head, body, connection, sender, is_over } = conversation;
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let home = (is_kept(&head) && !is_over).then_some(home);
        let body = match length {
            Some(length) if !has_body => {
                Body::Direct(DirectBody::new(length, body, connection, home))
            }
            _ => {
                let driver = (!is_over).then(|| Driver { connection, sender, home });
                let mut framed = FramedBody { piece: Bytes::new(), incoming: body, driver };
                if length == Some(0) {
                    // Most answers to what is sent are no more than a head, and nobody reads on.
                    framed.release();
                }
                Body::Framed(Box::new(framed))
            }
        };
        Self { head, body }
    }

    /// The same answer, with a body that was read already.
    pub(crate) fn with_body(self, begun: Bytes) -> Self {
        let left = begun.len() as u64;
        Self { head: self.head, body: Body::Direct(DirectBody { begun, left, line: None }) }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Bytes of the body into `room`, as many as are there; none at the end.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, it has read nothing.
    pub(crate) async fn read(&mut self, room: &mut [u8]) -> Result<usize, WireError> {
        match &mut self.body {
            Body::Direct(body) => body.read(room).await,
            Body::Framed(body) => body.read(room).await,
        }
    }
}

/// Whether the connection outlives the answer.
fn is_kept(head: &response::Parts) -> bool {
    let closes = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|token| token.trim().eq_ignore_ascii_case("close"))
        })
    };
    head.version == Version::HTTP_11 && !head.headers.get_all(CONNECTION).iter().any(closes)
}

impl DirectBody {
    fn new(
        length: u64,
        mut incoming: Incoming,
        connection: Spoken,
        mut home: Option<Home>,
    ) -> Self {
        let mut begun = BytesMut::new();
        // hyper has read the body as far as it came with the head, and holds it in two places.
        while let Some(Some(Ok(frame))) = incoming.frame().now_or_never() {
            begun.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        let parts = connection.into_parts();
        begun.extend_from_slice(&parts.read_buf);
        if begun.len() as u64 > length {
            // More than was announced: whatever it is, it is no answer to a next question.
            begun.truncate(usize::try_from(length).expect("less than a length in memory"));
            home = None;
        }
        let line = Some(Line { stream: parts.io.into_inner(), home });
        let mut body = Self { begun: begun.freeze(), left: length, line };
        body.release_if_read();
        body
    }

    async fn read(&mut self, room: &mut [u8]) -> Result<usize, WireError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(room.len());
        if most == 0 {
            return Ok(0);
        }
        let count = if self.begun.is_empty() {
            let line = self.line.as_mut().expect("it is kept until all is read");
            line.stream.read(&mut room[..most]).await.map_err(WireError::Io)?
        } else {
            take(&mut self.begun, &mut room[..most])
        };
        if count == 0 {
            let text = format!("it was closed {} bytes before the end", self.left);
            return Err(WireError::Io(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
        }
        self.left -= count as u64;
        self.release_if_read();
        Ok(count)
    }

    /// Once nothing of the body is on the line any more, others may have it.
    fn release_if_read(&mut self) {
        if self.left == self.begun.len() as u64
            && let Some(Line { stream, home: Some(home) }) = self.line.take()
        {
            home.keep(stream);
        }
    }
}

impl FramedBody {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, WireError> {
        while self.piece.is_empty() {
            let Some(frame) = future::poll_fn(|cx| self.poll_frame(cx)).await else {
                self.release();
                return Ok(0);
            };
            self.piece = frame.map_err(WireError::Http)?.into_data().unwrap_or_default();
        }
        Ok(take(&mut self.piece, room))
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, hyper::Error>>> {
        let waiting = Pin::new(&mut self.incoming).poll_frame(cx);
        if waiting.is_ready() {
            return waiting;
        }
        if let Some(driver) = &mut self.driver
            && driver.connection.poll_without_shutdown(cx).is_ready()
        {
            // What went wrong with it, if anything, the body says.
            self.driver = None;
        }
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    /// The end of the body is there. Where hyper would take another request, the connection is kept for it.
    fn release(&mut self) {
        let Some(mut driver) = self.driver.take() else { return };
        let is_over = (&mut driver.connection).now_or_never().is_some();
        if !is_over && driver.sender.is_ready() {
            let parts = driver.connection.into_parts();
            if let Some(home) = driver.home.filter(|_| parts.read_buf.is_empty()) {
                home.keep(parts.io.into_inner());
            }
        }
    }
}

fn take(from: &mut Bytes, room: &mut [u8]) -> usize {
    let count = from.len().min(room.len());
    from.copy_to_slice(&mut room[..count]);
    count
}
