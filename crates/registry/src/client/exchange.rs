//! One request and its answer: proof, redirects, pace, silence, counting. What is tried again, and how, is the
//! callers' business.
//!
//! Answers are untrusted. `Authorization` goes to the registry's own origin only, never along a redirect or a
//! `Location` to another; nothing leads from TLS into the clear, loopback aside; redirects are followed ten times
//! at most; bodies that are held in memory have a bound.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use airlift_spec::{Ctx, Digest, Event};
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use url::Url;

use super::auth::{Proof, Scope};
use super::counters::Kind;
use super::credentials::Credential;
use super::error::{ClientError, reason};
use super::pace::Permit;
use super::retry::retry_after;
use super::wire::{Diagnosis, Outgoing, Response, Transport, WireError, is_loopback, nothing};
use super::{BlobSource, Endpoint, Host, Peer, Shared};

const MAX_REDIRECTS: usize = 10;
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Tries to get in: without proof, with it, and once more with a new token.
const MAX_PROOFS: usize = 3;
/// What is handed to a connection at once: small enough that a slow line shows that it moves.
const SEND_BYTES: usize = 64 << 10;
/// Read at once of what is small.
const SMALL_BYTES: usize = 16 << 10;

/// A request to make.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) kind: Kind,
    pub(crate) method: Method,
    pub(crate) to: To,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body<'a>,
    pub(crate) scope: Scope,
    /// For messages: "the manifest `latest`".
    pub(crate) what: String,
}

#[derive(Debug, Clone)]
pub(crate) enum To {
    /// Behind `/v2/`.
    Api(String),
    Url(Url),
}

/// A body that can be sent again.
#[derive(Clone)]
pub(crate) enum Body<'a> {
    Empty,
    Bytes(Bytes),
    Source { blob: Digest, source: &'a dyn BlobSource, range: Range<u64>, ctx: &'a Ctx },
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({})", self.len())
    }
}

impl Body<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Source { range, .. } => range.end - range.start,
        }
    }
}

/// What came back; the body is still on its way.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) url: Url,
    /// Given back early where the body is read at a stranger's pace.
    pub(crate) permit: Option<Permit>,
    pub(crate) host: Arc<Host>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) what: String,
}

impl Ask<'_> {
    fn ping() -> Self {
        Self {
            kind: Kind::Ping,
            method: Method::GET,
            to: To::Api(String::new()),
            headers: HeaderMap::new(),
            body: Body::Empty,
            scope: Scope::none(),
            what: "a first question".to_owned(),
        }
    }
}

impl Shared {
    /// Whether the registry answers and lets us in.
    pub(crate) async fn ping(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ctx: &Ctx,
    ) -> Result<(), ClientError> {
        let ask = Ask::ping();
        let mut tries = self.tries(endpoint, &ask.what, ctx);
        loop {
            let pinged = async {
                let answer = self.send(endpoint, &ask).await?;
                if answer.status().is_success() {
                    return Ok(());
                }
                Err(answer.refusal(&endpoint.repository).await)
            };
            match pinged.await {
                Ok(()) => return Ok(()),
                Err(err) => tries.pause(err).await?,
            }
        }
    }

    /// Makes a request once, with as many tries to get in as it takes.
    pub(crate) async fn send(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
    ) -> Result<Answer, ClientError> {
        let host = &endpoint.host;
        let scope = host.auth.right_for(&ask.scope);
        let mut first = self.discover(endpoint, ask).await?;
        for attempt in 1.. {
            let (proof, header) = self.prove(endpoint, &scope).await?;
            let answer = self.through_window(host, ask, header.as_ref()).await;
            if let Some(been_there) = first.as_mut() {
                **been_there = true;
            }
            let answer = answer?;
            // An answer from where a redirect led says nothing about the registry's door.
            let is_ours = host.is_at(&answer.url);
            if answer.response.status() != StatusCode::UNAUTHORIZED || !is_ours {
                if proof == Proof::Nothing && is_ours {
                    host.auth.is_open();
                }
                return Ok(answer);
            }
            let known = self.credentials.find(&host.name, &endpoint.repository).await?;
            let has_password = known.as_ref().and_then(Credential::basic_header).is_some();
            let headers = answer.response.headers();
            let better = host.auth.refused(proof, &scope, headers, has_password).await;
            if !better || attempt >= MAX_PROOFS {
                return Ok(answer);
            }
            first = None;
        }
        unreachable!("the loop returns at the latest after {MAX_PROOFS} tries")
    }

    /// The first request to a host goes alone, so that one 401 is enough for all. Where it would carry a body for
    /// nothing, or where we have a name to give, the question is asked with a ping.
    async fn discover<'h>(
        self: &Arc<Self>,
        endpoint: &'h Endpoint,
        ask: &Ask<'_>,
    ) -> Result<Option<tokio::sync::MutexGuard<'h, bool>>, ClientError> {
        let host = &endpoint.host;
        if host.auth.scheme().is_some() {
            return Ok(None);
        }
        let mut been_there = host.auth.discovery.lock().await;
        if *been_there || host.auth.scheme().is_some() {
            return Ok(None);
        }
        let known = self.credentials.find(&host.name, &endpoint.repository).await?;
        if ask.body.len() == 0 && known.is_none() {
            return Ok(Some(been_there));
        }
        let ping = Ask::ping();
        let answer = self.through_window(host, &ping, None).await;
        *been_there = true;
        let answer = answer?;
        if answer.response.status() == StatusCode::UNAUTHORIZED {
            let has_password = known.as_ref().and_then(Credential::basic_header).is_some();
            let headers = answer.response.headers();
            host.auth.refused(Proof::Nothing, &Scope::none(), headers, has_password).await;
        } else if answer.response.status().is_success() {
            host.auth.is_open();
        }
        Ok(None)
    }

    /// Waits for a place, makes the request, and tells the window how it went.
    pub(crate) async fn through_window(
        self: &Arc<Self>,
        host: &Arc<Host>,
        ask: &Ask<'_>,
        proof: Option<&HeaderValue>,
    ) -> Result<Answer, ClientError> {
        let window = if matches!(ask.method, Method::GET | Method::HEAD) {
            &host.reads
        } else {
            &host.writes
        };
        let permit = window.enter().await;
        match self.follow(host, ask, proof).await {
            Ok((response, url)) => {
                match response.status() {
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                        let tuning = &self.options.tuning;
                        // Who would have to wait longer fails: the others are not to wait for nothing.
                        let wait = retry_after(response.headers())
                            .filter(|wait| *wait <= tuning.retry_after_hopeless);
                        permit.was_too_much(wait.map(|wait| wait.min(tuning.retry_after_max)));
                    }
                    status if status.is_server_error() => {}
                    _ => permit.went_well(),
                }
                let (host, shared) = (Arc::clone(host), Arc::clone(self));
                let permit = Some(permit);
                Ok(Answer { response, url, permit, host, shared, what: ask.what.clone() })
            }
            Err(err) => {
                if err.may_pass() {
                    permit.was_too_much(None);
                }
                Err(err)
            }
        }
    }

    /// Makes the request and follows where it is sent.
    async fn follow(
        &self,
        host: &Host,
        ask: &Ask<'_>,
        proof: Option<&HeaderValue>,
    ) -> Result<(Response, Url), ClientError> {
        let mut transport = host.transports.current();
        let mut url = host.url(transport, &ask.to)?;
        let mut followed = 0;
        loop {
            let proof = proof.filter(|_| host.is_at(&url));
            let response = match self.once(host, transport, ask, url.clone(), proof).await {
                // Said by the registry itself, not by where it sent us.
                Err(err)
                    if followed == 0
                        && is_other_protocol(&err, transport)
                        && host.transports.try_other(transport) =>
                {
                    transport = host.transports.current();
                    url = host.url(transport, &ask.to)?;
                    continue;
                }
                result => result?,
            };
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(to) = response.headers().get(LOCATION).filter(|_| is_redirect) else {
                return Ok((response, url));
            };
            followed += 1;
            url = redirected(host, &url, to, followed)?;
            tracing::debug!(host = url.host_str(), "redirected");
        }
    }

    /// One request on one connection.
    async fn once(
        &self,
        host: &Host,
        transport: Transport,
        ask: &Ask<'_>,
        url: Url,
        proof: Option<&HeaderValue>,
    ) -> Result<Response, ClientError> {
        let peer = host.peer(&url);
        let mut headers = ask.headers.clone();
        if let Some(proof) = proof {
            headers.insert(AUTHORIZATION, proof.clone());
        }
        let is_write = !matches!(ask.method, Method::GET | Method::HEAD);
        if is_write {
            headers.insert(CONTENT_LENGTH, ask.body.len().into());
        }
        let asking = async {
            self.counting.request(ask.kind);
            // Never the query: it is where signed URLs keep their secrets.
            tracing::debug!(method = %ask.method, host = url.host_str(), path = url.path(), "request");
            let exchange =
                |body| self.wire.exchange(transport, ask.method.clone(), &url, headers, body);
            match &ask.body {
                Body::Empty => {
                    self.within(self.patience(ask), &peer, ask, exchange(nothing())).await
                }
                Body::Bytes(bytes) => {
                    self.rate.take(bytes.len() as u64).await;
                    self.counting.sent(bytes.len() as u64);
                    let sent = exchange(Outgoing::Left(bytes.clone().into()));
                    self.within(self.patience(ask), &peer, ask, sent).await
                }
                Body::Source { .. } => {
                    let (tx, rx) = mpsc::channel(1);
                    let body = SizedBody::new(rx, ask.body.len());
                    self.send_source(&peer, ask, tx, exchange(Outgoing::Right(body))).await
                }
            }
        };
        let response = self.reach.ask(&url, &peer, asking).await?;
        self.check_protocol(&peer, transport, response).await
    }

    /// How long an answer may take once all is sent.
    fn patience(&self, ask: &Ask<'_>) -> Duration {
        let stall = self.options.stall_timeout;
        match (&ask.body, ask.kind) {
            // The registry may move or hash the whole blob before it answers.
            (_, Kind::Upload) if ask.method == Method::PUT => {
                stall.max(self.options.tuning.commit_timeout)
            }
            // Sent in one go, so that a slow line must be given its time.
            (Body::Bytes(bytes), _) => stall + Duration::from_secs(bytes.len() as u64 >> 12),
            _ => stall,
        }
    }

    async fn within(
        &self,
        limit: Duration,
        peer: &Peer,
        ask: &Ask<'_>,
        sent: impl Future<Output = Result<Response, WireError>>,
    ) -> Result<Response, ClientError> {
        match tokio::time::timeout(limit, sent).await {
            Err(_) => Err(self.stalled(peer, &ask.what)),
            Ok(sent) => sent.map_err(|err| failed_to_reach(peer, err)),
        }
    }

    /// Sends a body piece by piece, judged by whether pieces are taken.
    async fn send_source(
        &self,
        peer: &Peer,
        ask: &Ask<'_>,
        tx: mpsc::Sender<Bytes>,
        answer: impl Future<Output = Result<Response, WireError>>,
    ) -> Result<Response, ClientError> {
        let feed = self.feed(peer, ask, tx);
        tokio::pin!(answer, feed);
        // An answer may come before all is sent: a refusal, mostly.
        tokio::select! {
            biased;
            response = &mut answer => return response.map_err(|err| failed_to_reach(peer, err)),
            sent = &mut feed => sent?,
        }
        self.within(self.patience(ask), peer, ask, answer).await
    }

    async fn feed(
        &self,
        peer: &Peer,
        ask: &Ask<'_>,
        tx: mpsc::Sender<Bytes>,
    ) -> Result<(), ClientError> {
        let Body::Source { blob, source, range, ctx } = &ask.body else { return Ok(()) };
        let blob = *blob;
        let mut at = range.start;
        while at < range.end {
            let want = (range.end - at).min(self.options.tuning.read_bytes as u64);
            let want = usize::try_from(want).expect("bounded by a usize");
            let read = source.read_at(at, want).await;
            let mut piece = read.map_err(|source| ClientError::Source { blob, source })?;
            if piece.is_empty() {
                let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(ClientError::Source { blob, source });
            }
            piece.truncate(want);
            at += piece.len() as u64;
            while !piece.is_empty() {
                let slice = piece.split_to(piece.len().min(SEND_BYTES));
                let bytes = slice.len() as u64;
                self.rate.take(bytes).await;
                match tokio::time::timeout(self.options.stall_timeout, tx.send(slice)).await {
                    Err(_) => return Err(self.stalled(peer, &ask.what)),
                    // Nobody takes it any more: the answer is there, or the connection is gone.
                    Ok(Err(_)) => return Ok(()),
                    Ok(Ok(())) => {}
                }
                self.counting.sent(bytes);
                ctx.events.emit(Event::TransferAdvanced { blob, bytes });
            }
        }
        Ok(())
    }

    /// Whether a request in the clear was answered by somebody who speaks TLS.
    async fn check_protocol(
        &self,
        peer: &Peer,
        transport: Transport,
        mut response: Response,
    ) -> Result<Response, ClientError> {
        let may_be = transport == Transport::Plain
            && response.status() == StatusCode::BAD_REQUEST
            && !response.headers().contains_key("docker-distribution-api-version");
        if !may_be {
            return Ok(response);
        }
        let body = self.read_small(&mut response, peer, "an answer", MAX_ERROR_BYTES).await?;
        let text = String::from_utf8_lossy(&body).to_ascii_lowercase();
        if text.contains("http request to an https server") || text.contains("sent to https port") {
            return Err(ClientError::NotHttp { registry: peer.name.clone() });
        }
        Ok(response.with_body(body))
    }

    /// A body that must be small: `limit` and one more byte at most, which says that it is not.
    pub(crate) async fn read_small(
        &self,
        response: &mut Response,
        peer: &Peer,
        what: &str,
        limit: usize,
    ) -> Result<Bytes, ClientError> {
        let mut room = vec![0; SMALL_BYTES];
        let mut body = BytesMut::new();
        loop {
            let most = (limit - body.len()).saturating_add(1).min(SMALL_BYTES);
            let read = response.read(&mut room[..most]);
            let read = tokio::time::timeout(self.options.stall_timeout, read).await;
            let count = read.map_err(|_| self.stalled(peer, what))?;
            let count = count.map_err(|source| interrupted(peer, what, source))?;
            self.counting.received(count as u64);
            body.extend_from_slice(&room[..count]);
            if count == 0 || body.len() > limit {
                return Ok(body.freeze());
            }
        }
    }

    pub(crate) fn stalled(&self, peer: &Peer, what: &str) -> ClientError {
        let silence = self.options.stall_timeout;
        ClientError::Stalled { registry: peer.name.clone(), what: what.to_owned(), silence }
    }
}

impl Answer {
    fn peer(&self) -> Peer {
        self.host.peer(&self.url)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The header as a digest, if it is one.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.header("docker-content-digest")?.parse().ok()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The whole body, `limit` and one more byte at most.
    pub(crate) async fn small_body(mut self, limit: usize) -> Result<Bytes, ClientError> {
        let peer = self.peer();
        self.shared.read_small(&mut self.response, &peer, &self.what, limit).await
    }

    /// This answer as an error, with what the registry has to say.
    pub(crate) async fn refusal(self, repository: &str) -> ClientError {
        let status = self.status();
        let wait = retry_after(self.response.headers());
        let (peer, what) = (self.peer(), self.what.clone());
        // Where a redirect led, no login to the registry helps.
        let repository = peer.is_registry.then_some(repository);
        // If even the words fail to come, the status alone must do.
        let body = self.small_body(MAX_ERROR_BYTES).await.unwrap_or_default();
        refusal(peer.name, repository, &what, status, &body, wait)
    }

    /// Where the registry sends us on, as an address below the one that was asked.
    pub(crate) fn location(&self) -> Result<Url, ClientError> {
        let broken = |what: &str| ClientError::Protocol {
            registry: self.host.name.clone(),
            what: what.to_owned(),
        };
        let text =
            self.header("location").ok_or_else(|| broken("an answer lacks its `Location`"))?;
        let url = sent_on(&self.url, text).ok_or_else(|| broken("a `Location` is no address"))?;
        check_descent(&self.host.name, &self.url, &url)?;
        Ok(url)
    }

    /// The next bytes of the body, as many as are there and fit; none at its end. Counted, paced, and judged by
    /// silence.
    pub(crate) async fn read(&mut self, room: &mut [u8]) -> Result<usize, ClientError> {
        let stall = self.shared.options.stall_timeout;
        let count = match tokio::time::timeout(stall, self.response.read(room)).await {
            Err(_) => {
                self.broke_off();
                return Err(self.shared.stalled(&self.peer(), &self.what));
            }
            Ok(Err(source)) => {
                self.broke_off();
                return Err(interrupted(&self.peer(), &self.what, source));
            }
            Ok(Ok(count)) => count,
        };
        // Others may wait in vain while this comes: few workers, and a queue before them.
        self.shared.reach.answered(&self.url);
        self.shared.counting.received(count as u64);
        self.shared.rate.take(count as u64).await;
        Ok(count)
    }

    fn broke_off(&self) {
        if let Some(permit) = &self.permit {
            permit.was_too_much(None);
        }
    }
}

/// A status that is not what was asked for, as an error; `repository` is what a login to the registry opens.
pub(crate) fn refusal(
    registry: String,
    repository: Option<&str>,
    what: &str,
    status: StatusCode,
    body: &[u8],
    retry_after: Option<Duration>,
) -> ClientError {
    if !status.is_client_error() && !status.is_server_error() {
        // No words of a refusal but a body of anything at all.
        return ClientError::Protocol { registry, what: format!("it answered {status} to {what}") };
    }
    let said = reason(body);
    match (status, repository) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(repository)) => {
            ClientError::Denied { registry, repository: repository.to_owned(), reason: said.text }
        }
        _ => ClientError::Refused {
            registry,
            what: what.to_owned(),
            status,
            code: said.code,
            reason: said.text,
            retry_after,
        },
    }
}

fn interrupted(peer: &Peer, what: &str, source: WireError) -> ClientError {
    ClientError::Interrupted { registry: peer.name.clone(), what: what.to_owned(), source }
}

pub(crate) fn failed_to_reach(peer: &Peer, err: WireError) -> ClientError {
    let registry = peer.name.clone();
    match err.diagnose() {
        Diagnosis::NotTls if peer.is_registry => ClientError::PlainHttp { registry },
        // `--plain-http` is about registries, not about where they lead.
        Diagnosis::NotTls => ClientError::Protocol {
            registry,
            what: "it speaks plain HTTP where TLS was expected".to_owned(),
        },
        Diagnosis::BadHttp => ClientError::Protocol {
            registry,
            what: format!("its answer is no HTTP ({})", err.root()),
        },
        Diagnosis::NotHttp => ClientError::NotHttp { registry },
        Diagnosis::TlsRefused(reason) => ClientError::TlsRefused { registry, reason },
        Diagnosis::UnknownAuthority => ClientError::UnknownAuthority { registry },
        Diagnosis::Certificate(reason) => ClientError::Certificate { registry, reason },
        Diagnosis::Line => match err {
            WireError::ProxyRefused { proxy, reason } => {
                ClientError::ProxyRefused { registry, proxy, reason }
            }
            source => ClientError::Unreachable { registry, source },
        },
    }
}

/// Whether the other side speaks what we do not, over `transport`, and might be spoken to otherwise.
fn is_other_protocol(err: &ClientError, transport: Transport) -> bool {
    match err {
        ClientError::PlainHttp { .. } => true,
        ClientError::NotHttp { .. } => transport == Transport::Plain,
        _ => false,
    }
}

/// The address that a `Location` at `from` names.
pub(super) fn sent_on(from: &Url, text: &str) -> Option<Url> {
    let mut url = from.join(text).ok()?;
    // Registries behind a proxy that ends TLS often do not know that they are.
    if url.scheme() == "http" && from.scheme() == "https" && url.host() == from.host() {
        let port = url.port();
        url.set_scheme("https").ok()?;
        if port == Some(80) || port.is_none() {
            url.set_port(from.port()).ok()?;
        }
    }
    Some(url)
}

fn redirected(
    host: &Host,
    from: &Url,
    to: &HeaderValue,
    followed: usize,
) -> Result<Url, ClientError> {
    let wrong = |problem: &str| ClientError::Redirect {
        registry: host.name.clone(),
        problem: problem.to_owned(),
    };
    if followed > MAX_REDIRECTS {
        return Err(wrong("round in circles"));
    }
    let to = to.to_str().ok().and_then(|to| from.join(to).ok());
    let to = to.ok_or_else(|| wrong("to an address that is none"))?;
    check_descent(&host.name, from, &to)?;
    Ok(to)
}

/// Nothing leads from TLS into the clear, but to this very machine.
pub(super) fn check_descent(registry: &str, from: &Url, to: &Url) -> Result<(), ClientError> {
    let is_local = to.host_str().is_some_and(|name| is_loopback(name.trim_matches(['[', ']'])));
    let registry = registry.to_owned();
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(()),
        ("https", "http") if is_local => Ok(()),
        ("https", "http") => {
            let problem = "from TLS to plain HTTP".to_owned();
            Err(ClientError::IntoTheClear { registry, problem })
        }
        _ => {
            let problem = "to an address that is neither HTTP nor HTTPS".to_owned();
            Err(ClientError::Redirect { registry, problem })
        }
    }
}

/// A body of known length that is made while it is sent: some registries take no other kind.
pub(super) struct SizedBody {
    rx: mpsc::Receiver<Bytes>,
    remaining: u64,
}

impl SizedBody {
    pub(super) fn new(rx: mpsc::Receiver<Bytes>, length: u64) -> Self {
        Self { rx, remaining: length }
    }
}

impl http_body::Body for SizedBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        match self.rx.poll_recv(cx) {
            Poll::Ready(Some(piece)) => {
                self.remaining = self.remaining.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            // Nobody sends the rest where the answer is there already. An error would be one of the answer's body.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_spec::{Class, Explain as _};

    /// `refused`: with which class, if it is.
    #[track_caller]
    fn leads(from: &str, to: &str, refused: Option<Class>) {
        let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
        let led = check_descent("quay.io", &from, &to);
        assert_eq!(led.err().map(|err| err.class()), refused, "{from} to {to}");
    }

    #[test]
    fn nothing_leads_from_tls_into_the_clear() {
        leads("https://quay.io", "https://cdn.quay.io", None);
        leads("http://inner.test", "http://cdn.test", None);
        leads("http://inner.test", "https://cdn.test", None);
        leads("https://quay.io", "http://quay.io", Some(Class::Integrity));
        leads("https://quay.io", "http://127.0.0.1.evil.test", Some(Class::Integrity));
        leads("https://localhost", "http://127.0.0.1:5000", None);
        leads("https://quay.io", "file:///etc/passwd", Some(Class::Network));
    }
}
