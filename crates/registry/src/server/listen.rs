//! Connections: accepted within bounds, dropped when silent, drained at the end.
//!
//! **Attacks.**
//! - many connections: at most `max_connections`; the next ones wait in the kernel's queue;
//! - a head that trickles in (slow loris): it must be whole within the stall timeout;
//! - a body or an answer that stands still: cut after the stall timeout, which a long transfer that moves never
//!   reaches;
//! - a head without end: at most [`MAX_HEAD_BYTES`] and [`MAX_HEADERS`] are read;
//! - a peer that speaks no TLS on a TLS port: the handshake falls under the stall timeout.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::answer::{App, SharedBody};
use super::error::Refusal;
use super::observe::{AccessLog, Observed, ObservedBody};

const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// Bytes read ahead of an upload, and written behind a download, for each connection.
const BUFFER_BYTES: usize = 256 << 10;
/// Pause after the system refused a connection: it is out of descriptors, and asking at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every connection is handed.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) app: App,
    pub(super) router: Router,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) log: AccessLog,
    pub(super) stall_timeout: Duration,
}

impl Connections {
    /// Accepts until `shutdown`, then lets what is under way finish within `drain_timeout` and cuts the rest.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        max_connections: usize,
        drain_timeout: Duration,
        shutdown: CancellationToken,
    ) {
        let slots = Arc::new(Semaphore::new(max_connections));
        let mut open = JoinSet::new();
        let accepting = async {
            loop {
                let slot = slots.clone().acquire_owned().await;
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let serve = self.clone().serve(stream, peer, shutdown.clone());
                        open.spawn(async move {
                            serve.await;
                            drop(slot);
                        });
                    }
                    Err(err) => {
                        tracing::warn!("failed to accept a connection: {err}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
                while open.try_join_next().is_some() {}
            }
        };
        shutdown.run_until_cancelled(accepting).await;
        drop(listener);
        let end = Instant::now() + drain_timeout;
        let drained = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout_at(end, drained).await.is_err() {
            tracing::warn!("cutting {} connections that did not finish in time", open.len());
        }
        open.shutdown().await;
        // Their connections are gone, so what is left is a write to the disk each.
        self.app.pushes.close();
        if tokio::time::timeout(drain_timeout, self.app.pushes.wait()).await.is_err() {
            tracing::warn!("leaving {} pushes unfinished", self.app.pushes.len());
        }
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
        let _connected = self.app.metrics.connected();
        // Answers are written whole; waiting to fill a packet would only delay the last one.
        if let Err(err) = stream.set_nodelay(true) {
            tracing::debug!(%peer, "{err}");
        }
        let stream = Patient::new(stream, self.stall_timeout);
        let Some(tls) = &self.tls else {
            return self.speak(stream, peer, shutdown).await;
        };
        match tokio::time::timeout(self.stall_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream, peer, shutdown).await,
            Ok(Err(err)) => tracing::debug!(%peer, "TLS handshake: {err}"),
            Err(_) => tracing::debug!(%peer, "no TLS handshake in time"),
        }
    }

    async fn speak(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: SocketAddr,
        shutdown: CancellationToken,
    ) {
        let stall_timeout = self.stall_timeout;
        let service = service_fn(move |request| self.clone().answer(request, peer));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(stall_timeout)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(BUFFER_BYTES)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(err) = ended {
            tracing::debug!(%peer, "{}", airlift_spec::error::chain(&err));
        }
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<ObservedBody>, Infallible> {
        let observed = Observed::begin(&request, peer, &self.app.metrics, &self.log);
        let request = request.map(SharedBody::new);
        let leftover = request.body().clone();
        let response = match self.app.admit(&request).await {
            Ok(()) => {
                let router = TowerToHyperService::new(self.router);
                router.call(request.map(Body::new)).await.unwrap_or_else(|never| match never {})
            }
            Err(refusal) => Refusal::into_response(refusal),
        };
        if !response.status().is_success() {
            leftover.drain().await;
        }
        Ok(observed.answer(response))
    }
}

/// A stream that gives up on a peer who takes nothing for too long.
///
/// Reading is left alone: between two requests silence is hyper's to judge, within a body the handler's.
struct Patient<S> {
    stream: S,
    stall_timeout: Duration,
    /// Since when nothing could be written, and until when that may go on.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S, stall_timeout: Duration) -> Self {
        Self { stream, stall_timeout, stalled: None }
    }

    fn judge<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stall_timeout = self.stall_timeout;
        let stalled =
            self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_timeout)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(polled, cx)
    }
}
