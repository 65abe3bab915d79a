//! One request on one connection, and its answer.
//!
//! ```text
//! transport   in which of its ways a host is spoken to        dial   names, TCP, proxies, TLS (proxy, tls)
//! body        an answer, and its body on its way to us        diagnosis  why there was none
//! ```
//!
//! hyper writes the requests and reads the heads of answers. A body whose length the head says is read past it, from
//! the connection straight into memory of the caller's choice, which for a blob is the memory that goes to the disk.
//! All of it happens in the caller's task: no other one is woken for each piece that comes.
//!
//! Answers are untrusted. A connection is kept for another request only where nothing but the answer was on it: not
//! after a byte too many, an early answer, `Connection: close` or an older HTTP. A login for a proxy goes to the proxy
//! alone. Heads are bounded by hyper, bodies by who reads them, connections by number and age.

mod body;
mod diagnosis;
mod dial;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod proxy;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::{future, io};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, response};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::task::coop::unconstrained;
use tokio::time::{Duration, Instant};
use url::{Position, Url};

use super::error::ClientError;
use super::exchange::SizedBody;
use super::options::ClientOptions;
use dial::{Dialer, Stream};
use proxy::{Login, Proxy};

pub(crate) use body::Response;
pub(crate) use diagnosis::Diagnosis;
pub use diagnosis::WireError;
pub(crate) use transport::{Transport, Transports, host_name, is_loopback};

/// How long a connection is kept for the next request. Older ones go when another one is put by.
const IDLE_FOR: Duration = Duration::from_secs(90);

const OUR_NAME: &str = concat!("airlift/", env!("CARGO_PKG_VERSION"));

/// What is sent: all at once, or as it is made.
pub(crate) type Outgoing = Either<Full<Bytes>, SizedBody>;

/// A connection while hyper speaks on it.
type Spoken = Connection<TokioIo<Stream>, Outgoing>;

/// No body.
pub(crate) fn nothing() -> Outgoing {
    Outgoing::Left(Full::default())
}

/// The connections of a client.
pub(crate) struct Wire {
    dialer: Dialer,
    idle: Arc<Idle>,
}

/// Connections that wait for the next request.
struct Idle {
    kept: Mutex<HashMap<Place, Vec<(Stream, Instant)>>>,
    /// At all places together: each is a file of ours, and many hosts lead to others.
    max_kept: usize,
}

/// Where a connection leads, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    is_verified: bool,
    /// `https://quay.io`
    origin: String,
}

/// Where a connection goes back to.
struct Home {
    idle: Arc<Idle>,
    place: Place,
}

/// A request that was answered.
struct Conversation {
    head: response::Parts,
    body: Incoming,
    connection: Spoken,
    sender: SendRequest<Outgoing>,
    /// Nothing more comes of the connection.
    is_over: bool,
}

impl Wire {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let idle = Idle { kept: Mutex::default(), max_kept: options.max_in_flight.get() };
        Ok(Self { dialer: Dialer::new(options)?, idle: Arc::new(idle) })
    }

    /// Makes a request, on a connection that is there or a new one. A redirect is an answer like others.
    ///
    /// In a box without a name: all that a connection may be made of would else be part of every future that asks for
    /// something, and of the program once for each crate that has such futures.
    pub(crate) fn exchange<'a>(
        &'a self,
        transport: Transport,
        method: Method,
        url: &'a Url,
        headers: HeaderMap,
        body: Outgoing,
    ) -> BoxFuture<'a, Result<Response, WireError>> {
        Box::pin(async move {
            let answer = self.ask(transport, method, url, headers, body).await?;
            match self.refusing(url, answer.status()) {
                Some(proxy) => Err(proxy.refused(&answer.status().to_string())),
                None => Ok(answer),
            }
        })
    }

    async fn ask(
        &self,
        transport: Transport,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Outgoing,
    ) -> Result<Response, WireError> {
        let place = Place {
            is_verified: transport != Transport::Unverified,
            origin: url.origin().ascii_serialization(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        self.complete(&mut request, url)?;
        let has_body = request.body().size_hint().exact() != Some(0);
        let answered = |conversation| {
            let home = Home { idle: Arc::clone(&self.idle), place: place.clone() };
            Response::new(conversation, home, has_body)
        };
        while let Some(stream) = self.idle.take(&place) {
            let Some(again) = copy(&request) else {
                return converse(stream, request).await.map(answered);
            };
            match converse(stream, again).await {
                // Closed while it lay idle: it looked alive until it was used.
                Err(err) if !err.is_bad_http() => tracing::debug!(%err, "a connection had ended"),
                conversation => return conversation.map(answered),
            }
        }
        let stream = self.dialer.dial(transport, url).await?;
        converse(stream, request).await.map(answered)
    }

    /// The proxy that refused to pass on a request for `url`, if that is what `status` says.
    fn refusing(&self, url: &Url, status: StatusCode) -> Option<&Proxy> {
        self.dialer.forwarder(url).filter(|_| status == StatusCode::PROXY_AUTHENTICATION_REQUIRED)
    }

    /// What every request has, and whoever is asked for it.
    fn complete(&self, request: &mut Request<Outgoing>, url: &Url) -> Result<(), WireError> {
        let forwarder = self.dialer.forwarder(url);
        let target = if forwarder.is_some() {
            format!(
                "{}{}",
                &url[..Position::BeforeUsername],
                &url[Position::BeforeHost..Position::AfterQuery]
            )
        } else {
            url[Position::BeforePath..Position::AfterQuery].to_owned()
        };
        let unusable =
            |err: http::Error| WireError::Io(io::Error::new(io::ErrorKind::InvalidInput, err));
        *request.uri_mut() = target.parse::<Uri>().map_err(|err| unusable(err.into()))?;
        let host = &url[Position::BeforeHost..Position::BeforePath];
        let host = HeaderValue::from_str(host).map_err(|err| unusable(err.into()))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if let Some(login) = Login::of(url).filter(|_| !headers.contains_key(AUTHORIZATION)) {
            headers.insert(AUTHORIZATION, login.basic_header());
        }
        if let Some(authorization) = forwarder.and_then(Proxy::authorization) {
            headers.insert(PROXY_AUTHORIZATION, authorization);
        }
        Ok(())
    }
}

/// The same request once more, if all that it does is ask.
fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    request.method().is_safe().then(|| {
        let mut copy = Request::new(nothing());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

/// Sends a request and waits for the head of its answer.
async fn converse(stream: Stream, request: Request<Outgoing>) -> Result<Conversation, WireError> {
    let (mut sender, mut connection) =
        handshake(TokioIo::new(stream)).await.map_err(WireError::Http)?;
    // Not counted as work of the task: an answer that is there must be seen before the end of its connection is.
    let mut answer = pin!(unconstrained(sender.send_request(request)));
    let mut end = None;
    let response = future::poll_fn(|cx| {
        if end.is_none()
            && let Poll::Ready(ended) = connection.poll_without_shutdown(cx)
        {
            end = Some(ended);
        }
        match (answer.as_mut().poll(cx), &mut end) {
            (Poll::Ready(answered), _) => Poll::Ready(answered.map_err(WireError::Http)),
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Pending, Some(ended)) => {
                let unanswered = || WireError::Io(io::ErrorKind::ConnectionAborted.into());
                let ended = std::mem::replace(ended, Ok(()));
                Poll::Ready(Err(ended.err().map_or_else(unanswered, WireError::Http)))
            }
        }
    })
    .await?;
    let (head, body) = response.into_parts();
    Ok(Conversation { head, body, connection, sender, is_over: end.is_some() })
}

impl Idle {
    /// A connection that has not been closed, as far as can be seen.
    fn take(&self, place: &Place) -> Option<Stream> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = kept.get_mut(place)?;
        while let Some((mut stream, since)) = waiting.pop() {
            // Whoever says anything now, or ends it, is not waiting for a question.
            let mut byte = [0];
            let is_quiet = unconstrained(stream.read(&mut byte)).now_or_never().is_none();
            if is_quiet && since.elapsed() < IDLE_FOR {
                return Some(stream);
            }
        }
        None
    }
}

impl Home {
    fn keep(self, stream: Stream) {
        let mut kept = self.idle.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Everywhere: nobody may ask there again.
        kept.retain(|_, waiting| {
            waiting.retain(|(_, since)| since.elapsed() < IDLE_FOR);
            !waiting.is_empty()
        });
        if kept.values().map(Vec::len).sum::<usize>() >= self.idle.max_kept
            && let Some(oldest) = kept.values_mut().min_by_key(|waiting| waiting[0].1)
        {
            oldest.remove(0);
        }
        kept.entry(self.place).or_default().push((stream, Instant::now()));
    }
}
