//! The wire: connections, request bodies, and answers that break off where a fault says so.

use std::future::{pending, poll_fn};
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use url::form_urlencoded;

use super::answer::{self, Answer, Call, Target};
use super::{Fault, Recorded, Server, Shared, access, fault};

/// Bytes of a body that go to the connection at once.
const FRAME_BYTES: usize = 256 << 10;

/// The two listeners of a registry.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) registry: TcpListener,
    pub(super) elsewhere: TcpListener,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// The connection ends here, on purpose.
#[derive(Debug, thiserror::Error)]
#[error("cut by a fault")]
struct Cut;

type Body = UnsyncBoxBody<Bytes, Cut>;

/// Serves both addresses until dropped.
pub(super) async fn serve(servers: Servers, shared: Arc<Shared>) {
    let tls = servers.tls.map(TlsAcceptor::from);
    tokio::join!(
        accept(servers.registry, Server::Registry, tls.clone(), Arc::clone(&shared)),
        accept(servers.elsewhere, Server::Elsewhere, tls, shared),
    );
}

async fn accept(
    listener: TcpListener,
    server: Server,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is non-blocking");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, _)) = accepted else { continue };
                connections.spawn(connection(tcp, server, tls.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(tcp: TcpStream, server: Server, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let number = {
        let mut state = shared.state();
        state.connections += 1;
        state.connections - 1
    };
    // Small answers must not wait for an acknowledgement of the headers before them.
    let _ = tcp.set_nodelay(true);
    let stream = match tls {
        None => Stream::Plain(tcp),
        // A client that does not trust us hangs up here: its error, not ours.
        Some(acceptor) => match acceptor.accept(tcp).await {
            Ok(stream) => Stream::Tls(Box::new(stream)),
            Err(_) => return,
        },
    };
    let (flushes, watcher) = watch::channel(0);
    let reset = AtomicBool::new(false);
    let service = service_fn(|request| {
        Box::pin(respond(&shared, request, Origin { server, number }, watcher.clone(), &reset))
    });
    let io = TokioIo::new(Flushing { stream, flushes });
    let mut connection = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
    let result = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut stream = connection.into_parts().io.into_inner().stream;
    if reset.load(Ordering::Relaxed) {
        let _ = stream.tcp().set_zero_linger();
    } else if result.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
struct Origin {
    server: Server,
    number: u64,
}

async fn respond(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    origin: Origin,
    flushed: watch::Receiver<u64>,
    reset: &AtomicBool,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
    let query = parts.uri.query().unwrap_or_default();
    let call = Call {
        target: Target::parse(parts.uri.path()),
        announced_bytes: http_body::Body::size_hint(&body).exact(),
        pairs: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        method: parts.method,
        headers: parts.headers,
        server: origin.server,
        path,
    };
    let flight = Flight::begin(shared, &call, origin);
    let (refused, fault) = {
        let mut state = shared.state();
        let refused = admit(shared, &mut state, &call);
        let fault = match refused {
            Some(_) => None,
            None => fault::take_before(&mut state.rules, &call),
        };
        (refused, fault)
    };
    match fault {
        Some(Fault::Hang) => pending().await,
        Some(Fault::SlowStart(delay)) => tokio::time::sleep(delay).await,
        _ => {}
    }
    let reset_after = match fault {
        Some(Fault::ResetOnUpload(bytes)) => Some(bytes),
        _ => None,
    };
    let Some(body) = receive(body, &flight, reset_after).await else {
        reset.store(reset_after.is_some(), Ordering::Relaxed);
        return Err(Cut);
    };
    let (answer, spoiled) = {
        let mut state = shared.state();
        let answer = refused
            .unwrap_or_else(|| answer::answer(shared, &mut state, &call, &body, fault.as_ref()));
        let spoiled = fault::take_after(&mut state.rules, &call, &answer);
        if let Some(record) = state.record(flight.id) {
            record.status = Some(answer.status.as_u16());
        }
        (answer, spoiled)
    };
    Ok(send(&call, answer, spoiled.as_ref(), flushed, flight))
}

/// Refuses a request before any fault is spent on it.
fn admit(shared: &Shared, state: &mut super::State, call: &Call) -> Option<Answer> {
    match call.server {
        Server::Registry => access::check(shared, state, call).err().map(|answer| *answer),
        // Object stores refuse a request with two kinds of credentials: its own are in the URL.
        Server::Elsewhere if call.headers.contains_key("authorization") => {
            Some(Answer::error(StatusCode::BAD_REQUEST, "DENIED"))
        }
        Server::Elsewhere => None,
    }
}

/// Reads the request's body whole; none if the connection ended, or had to, before its end.
async fn receive(mut body: Incoming, flight: &Flight, reset_after: Option<u64>) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        bytes.extend_from_slice(&data);
        flight.update(|record| record.received_bytes += data.len() as u64);
        if reset_after.is_some_and(|limit| bytes.len() as u64 > limit) {
            return None;
        }
    }
    Some(bytes.freeze())
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Well,
    Cut,
    Stall,
    Never,
}

fn send(
    call: &Call,
    mut answer: Answer,
    fault: Option<&Fault>,
    flushed: watch::Receiver<u64>,
    flight: Flight,
) -> Response<Body> {
    let (mut promised, end) = spoil(&mut answer, fault);
    if call.method == Method::HEAD {
        answer.body.clear();
    }
    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    if answer.status == StatusCode::NO_CONTENT {
        promised = None;
    }
    if let Some(promised) = promised {
        response.headers_mut().insert("content-length", HeaderValue::from(promised));
    }
    response.map(|()| body(answer.body, end, flushed, flight))
}

/// Changes `answer` as `fault` says. Returns the `Content-Length` to promise, and how the body ends.
fn spoil(answer: &mut Answer, fault: Option<&Fault>) -> (Option<u64>, End) {
    let index = |at: u64| usize::try_from(at).expect("the fault was taken for a longer body");
    let whole = answer.body.len() as u64;
    let header = |text: String| HeaderValue::try_from(text).expect("ASCII");
    match fault {
        Some(Fault::CutAfter(at)) => {
            answer.body.truncate(index(*at));
            (Some(whole), End::Cut)
        }
        Some(Fault::StallAfter(at)) => {
            answer.body.truncate(index(*at));
            (Some(whole), End::Stall)
        }
        Some(Fault::WrongContentLength(more)) => (Some(whole + more), End::Cut),
        Some(Fault::FlipByte(at)) => {
            let mut bytes = answer.body.to_vec();
            bytes[index(*at)] ^= 0x01;
            answer.body = bytes.into();
            (Some(whole), End::Well)
        }
        Some(Fault::TooLong(more)) => {
            let mut bytes = answer.body.to_vec();
            bytes.resize(bytes.len() + index(*more), b'!');
            answer.body = bytes.into();
            (Some(whole + more), End::Well)
        }
        Some(Fault::TooShort(less)) => {
            answer.body.truncate(index(whole - less));
            (Some(whole - less), End::Well)
        }
        Some(Fault::Instead(bytes)) => {
            answer.body = bytes.clone().into();
            (Some(bytes.len() as u64), End::Well)
        }
        Some(Fault::Endless) => (None, End::Never),
        Some(Fault::NoContentLength) => (None, End::Well),
        Some(Fault::LieAboutDigest) => {
            let lie = airlift_spec::Digest::of(b"something else").to_string();
            answer.headers.insert("docker-content-digest", header(lie));
            (Some(whole), End::Well)
        }
        Some(Fault::NoDigestHeader) => {
            answer.headers.remove("docker-content-digest");
            (Some(whole), End::Well)
        }
        Some(Fault::ContentType(media_type)) => {
            answer.headers.insert("content-type", header((*media_type).to_owned()));
            (Some(whole), End::Well)
        }
        _ => (Some(whole), End::Well),
    }
}

/// The body as a stream that ends as told.
fn body(bytes: Bytes, end: End, flushed: watch::Receiver<u64>, flight: Flight) -> Body {
    let sending = Sending { bytes, end, flushed, flight, has_begun: false };
    StreamBody::new(stream::unfold(sending, Sending::next)).boxed_unsync()
}

struct Sending {
    bytes: Bytes,
    end: End,
    flushed: watch::Receiver<u64>,
    /// Held until the last byte went out: the request is in flight for so long.
    flight: Flight,
    has_begun: bool,
}

impl Sending {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Cut>, Self)> {
        if !self.has_begun || !self.bytes.is_empty() {
            self.has_begun = true;
            self.flushed.mark_unchanged();
        }
        if !self.bytes.is_empty() {
            let frame = self.bytes.split_to(self.bytes.len().min(FRAME_BYTES));
            self.flight.update(|record| record.sent_bytes += frame.len() as u64);
            return Some((Ok(Frame::data(frame)), self));
        }
        match self.end {
            End::Well => None,
            End::Never => {
                let more = Bytes::from(vec![b' '; FRAME_BYTES]);
                self.flight.update(|record| record.sent_bytes += more.len() as u64);
                Some((Ok(Frame::data(more)), self))
            }
            End::Stall => pending().await,
            End::Cut => {
                // Ending at once would throw away what hyper has buffered: the last bytes, or all of them.
                let _ = self.flushed.changed().await;
                Some((Err(Cut), self))
            }
        }
    }
}

/// A request under way: its record, and its place among those in flight.
struct Flight {
    shared: Arc<Shared>,
    id: usize,
}

impl Flight {
    fn begin(shared: &Arc<Shared>, call: &Call, origin: Origin) -> Self {
        let mut state = shared.state();
        state.in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight);
        let id = state.requests_forgotten + state.requests.len();
        state.requests.push(Recorded {
            method: call.method.clone(),
            path: call.path.clone(),
            headers: call.headers.clone(),
            server: origin.server,
            connection: origin.number,
            status: None,
            received_bytes: 0,
            sent_bytes: 0,
        });
        Self { shared: Arc::clone(shared), id }
    }

    fn update(&self, change: impl FnOnce(&mut Recorded)) {
        if let Some(record) = self.shared.state().record(self.id) {
            change(record);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.state().in_flight -= 1;
    }
}

/// A connection that says when everything written to it so far has left.
struct Flushing {
    stream: Stream,
    flushes: watch::Sender<u64>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(tls) => tls.shutdown().await,
        }
    }

    fn pin(&mut self) -> Pin<&mut (dyn Duplex + Unpin)> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp),
            Self::Tls(tls) => Pin::new(tls.as_mut()),
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Duplex for T {}

impl AsyncRead for Flushing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.pin().poll_read(cx, buf)
    }
}

impl AsyncWrite for Flushing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.pin().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes here only once its own buffer is empty.
        std::task::ready!(self.stream.pin().poll_flush(cx))?;
        self.flushes.send_modify(|count| *count += 1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.pin().poll_shutdown(cx)
    }
}
