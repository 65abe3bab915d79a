//! Blobs on their way out: mounted, whole, or in chunks that can be gone on with.
//!
//! A session that a registry forgot is begun anew; where an upload stands is always the registry's word, asked for after
//! every failure. The bytes are checked there: a registry that received others says so, and gets them anew from the
//! first one; when it says so again and again, that ends the push.

use std::sync::Arc;

use airlift_spec::error::chain;
use airlift_spec::{Algorithm, Ctx, Descriptor, Digest, Event, Explain as _};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::auth::Scope;
use super::counters::Kind;
use super::error::ClientError;
use super::exchange::{Answer, Ask, Body, To};
use super::note::Note;
use super::sink::blocking;
use super::{BlobPush, BlobSource, Endpoint, Habits, Repository, Shared};

/// Chunks are not made smaller than this, however much a registry dislikes them.
const MIN_CHUNK_BYTES: u64 = 1 << 20;

/// One blob on its way to one repository.
struct Upload<'a> {
    endpoint: &'a Endpoint,
    blob: &'a Descriptor,
    source: &'a dyn BlobSource,
    ctx: &'a Ctx,
}

/// An upload that a registry has opened.
#[derive(Debug)]
struct Session {
    location: Url,
    /// Bytes that the registry has.
    offset: u64,
}

/// What a request that opens an upload came to.
enum Opened {
    /// The registry has the blob (it was small enough to go along, or was there).
    Has,
    Session(Session, Option<u64>),
}

/// Why chunks did not work.
enum ChunkError {
    /// The registry takes none: another way may do.
    Refused(ClientError),
    Other(ClientError),
}

impl From<ClientError> for ChunkError {
    fn from(err: ClientError) -> Self {
        Self::Other(err)
    }
}

impl Shared {
    pub(crate) async fn mount(
        self: &Arc<Self>,
        repository: &Repository,
        endpoint: &Endpoint,
        digest: Digest,
        from: &str,
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        let what = format!("the mount of {digest} from `{from}`");
        let query = format!("?mount={digest}&from={from}");
        let mut ask = open(endpoint, what, &query, Scope::mount(&endpoint.repository, from));
        ask.headers = HeaderMap::new();
        let mut tries = self.tries(endpoint, &ask.what, ctx);
        loop {
            let mounted = async {
                let answer = self.send(endpoint, &ask).await?;
                match answer.status() {
                    StatusCode::CREATED => Ok(true),
                    StatusCode::ACCEPTED => {
                        self.keep_opened(repository, digest, answer.location()?);
                        Ok(false)
                    }
                    _ => {
                        let err = answer.refusal(&endpoint.repository).await;
                        // A registry that takes no mounts takes uploads; what else is wrong, those will tell.
                        if err.class().is_worth_a_retry() { Err(err) } else { Ok(false) }
                    }
                }
            };
            match mounted.await {
                Ok(mounted) => return Ok(mounted),
                Err(err) => tries.pause(err).await?,
            }
        }
    }

    pub(crate) async fn push(
        self: &Arc<Self>,
        repository: &Repository,
        endpoint: &Endpoint,
        blob: &Descriptor,
        source: &dyn BlobSource,
        ctx: &Ctx,
    ) -> Result<BlobPush, ClientError> {
        let upload = Upload { endpoint, blob, source, ctx };
        upload.started(0);
        let opened = self.take_opened(repository, blob.digest);
        let result = self.push_best(&upload, repository, opened).await;
        ctx.events.emit(match &result {
            Ok(_) => Event::TransferFinished { blob: blob.digest },
            Err(err) => Event::TransferFailed { blob: blob.digest, reason: chain(err) },
        });
        result
    }

    /// In chunks or whole, and the other way where the registry will not have it.
    async fn push_best(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        repository: &Repository,
        opened: Option<Session>,
    ) -> Result<BlobPush, ClientError> {
        let habits = &upload.endpoint.host.habits;
        let is_large = upload.blob.size > self.options.tuning.chunk_above_bytes;
        if is_large && !Habits::is(&habits.no_chunks) {
            match self.push_chunked(upload, repository, opened).await {
                Ok(pushed) => return Ok(pushed),
                Err(ChunkError::Other(err)) => return Err(err),
                Err(ChunkError::Refused(err)) => {
                    tracing::debug!(err = chain(&err), "no chunks here");
                    Habits::set(&habits.no_chunks);
                }
            }
            upload.started(0);
            return self.push_whole(upload, None).await;
        }
        match self.push_whole(upload, opened).await {
            Err(err) if err.status() == Some(StatusCode::PAYLOAD_TOO_LARGE) => {
                upload.started(0);
                self.push_chunked(upload, repository, None).await.map_err(|second| match second {
                    // The first refusal says more: it is about the blob, not about the way.
                    ChunkError::Refused(_) => err,
                    ChunkError::Other(second) => second,
                })
            }
            result => result,
        }
    }

    /// All bytes in one request.
    async fn push_whole(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        mut opened: Option<Session>,
    ) -> Result<BlobPush, ClientError> {
        let mut tries = self.tries(upload.endpoint, &upload.what(), upload.ctx);
        loop {
            match self.try_whole(upload, opened.take()).await {
                Ok(pushed) => return Ok(pushed),
                Err(err) => tries.pause(err).await?,
            }
            upload.started(0);
        }
    }

    async fn try_whole(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        opened: Option<Session>,
    ) -> Result<BlobPush, ClientError> {
        let session = match opened {
            Some(session) => session,
            None => match self.open_upload(upload, true).await? {
                Opened::Has => return Ok(BlobPush::Sent),
                Opened::Session(session, _) => session,
            },
        };
        self.finish(upload, session.location, 0).await
    }

    /// Opens an upload; a small blob goes along where the registry is known to take it.
    async fn open_upload(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        may_go_along: bool,
    ) -> Result<Opened, ClientError> {
        let Upload { endpoint, blob, .. } = upload;
        let habits = &endpoint.host.habits;
        let goes_along = may_go_along
            && blob.size <= self.options.tuning.single_post_bytes
            && !Habits::is(&habits.no_single_post);
        let query = match (goes_along, blob.digest.algorithm()) {
            (true, _) => format!("?digest={}", blob.digest),
            (false, Algorithm::Sha256) => String::new(),
            // Lets the registry hash with it from the first byte on.
            (false, other) => format!("?digest-algorithm={other}"),
        };
        let scope = Scope::push(&endpoint.repository);
        let mut ask = open(endpoint, upload.what(), &query, scope);
        if goes_along {
            ask.body = upload.body(0, blob.size);
        }
        let answer = self.send(endpoint, &ask).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(Opened::Has),
            StatusCode::ACCEPTED => {
                if goes_along {
                    Habits::set(&habits.no_single_post);
                    upload.started(0);
                }
                let least =
                    answer.header("oci-chunk-min-length").and_then(|text| text.parse().ok());
                Ok(Opened::Session(Session { location: answer.location()?, offset: 0 }, least))
            }
            _ => Err(upload.refusal(answer).await),
        }
    }

    /// Sends what is left and closes the upload.
    async fn finish(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        mut location: Url,
        offset: u64,
    ) -> Result<BlobPush, ClientError> {
        location.query_pairs_mut().append_pair("digest", &upload.blob.digest.to_string());
        let ask = upload.ask(Method::PUT, location, upload.body(offset, upload.blob.size));
        let answer = self.send(upload.endpoint, &ask).await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(BlobPush::Sent),
            StatusCode::NOT_FOUND => Err(forgotten(upload.endpoint)),
            _ => Err(upload.refusal(answer).await),
        }
    }

    /// Chunk by chunk, from where this or an earlier process stopped.
    async fn push_chunked(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        repository: &Repository,
        opened: Option<Session>,
    ) -> Result<BlobPush, ChunkError> {
        let note = self.note(repository, upload.blob.digest).await?;
        let mut tries = self.tries(upload.endpoint, &upload.what(), upload.ctx);
        let mut session = match opened {
            Some(session) => Some(session),
            None => {
                note.as_ref().and_then(Note::read).map(|location| Session { location, offset: 0 })
            }
        };
        // What was opened just now is empty; what a note says must be asked.
        let mut is_known = session.as_ref().is_none_or(|_| note.as_ref().is_none_or(|n| n.is_new));
        let mut chunk_bytes = self.options.tuning.chunk_bytes;
        loop {
            let before = session.as_ref().map_or(0, |session| session.offset);
            let done = self
                .chunks(upload, &mut session, &mut is_known, &mut chunk_bytes, note.as_ref())
                .await;
            if session.as_ref().is_some_and(|session| session.offset > before) {
                tries.progressed();
            }
            match done {
                Ok(pushed) => {
                    note.map_or(Ok(()), Note::remove)?;
                    return Ok(pushed);
                }
                Err(ChunkError::Refused(err)) => {
                    note.map_or(Ok(()), Note::remove)?;
                    return Err(ChunkError::Refused(err));
                }
                Err(ChunkError::Other(err)) => tries.pause(err).await?,
            }
            is_known = false;
        }
    }

    /// Goes on with the session (or a new one) until the blob is there or something happens.
    async fn chunks(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        session: &mut Option<Session>,
        is_known: &mut bool,
        chunk_bytes: &mut u64,
        note: Option<&Note>,
    ) -> Result<BlobPush, ChunkError> {
        if !*is_known && let Some(old) = session.take() {
            *session = self.ask_session(upload, old).await?;
        }
        if session.is_none() {
            match self.open_upload(upload, false).await? {
                Opened::Has => return Ok(BlobPush::Present),
                Opened::Session(new, least) => {
                    // A registry cannot make us hold more than a chunk: chunks are streamed.
                    *chunk_bytes = (*chunk_bytes).max(least.unwrap_or(0));
                    *session = Some(new);
                }
            }
        }
        *is_known = true;
        let current = session.as_mut().expect("just opened");
        upload.started(current.offset);
        keep(note, current)?;
        while current.offset < upload.blob.size {
            let end = current.offset.saturating_add(*chunk_bytes).min(upload.blob.size);
            match self.send_chunk(upload, current, end).await {
                Ok(()) => keep(note, current)?,
                Err(err) => {
                    return Err(judge_chunk(err, current.offset, chunk_bytes, session));
                }
            }
        }
        let location = current.location.clone();
        self.finish(upload, location, upload.blob.size).await.map_err(|err| {
            if ends_session(&err) {
                *session = None;
            }
            ChunkError::Other(err)
        })
    }

    /// Sends bytes up to `end`, and takes in where the registry says it stands.
    async fn send_chunk(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        session: &mut Session,
        end: u64,
    ) -> Result<(), ClientError> {
        let start = session.offset;
        let mut ask = upload.ask(Method::PATCH, session.location.clone(), upload.body(start, end));
        let range = HeaderValue::from_str(&format!("{start}-{}", end - 1));
        ask.headers.insert(CONTENT_RANGE, range.expect("digits are a header value"));
        let answer = self.send(upload.endpoint, &ask).await?;
        match answer.status() {
            status if status.is_success() => {
                session.offset =
                    held(&answer).filter(|held| (start..end).contains(held)).unwrap_or(end);
                if session.offset == start {
                    return Err(protocol(
                        upload.endpoint,
                        "it took a chunk and kept nothing of it",
                    ));
                }
                session.location = answer.location()?;
                Ok(())
            }
            StatusCode::NOT_FOUND => Err(forgotten(upload.endpoint)),
            _ => Err(upload.refusal(answer).await),
        }
    }

    /// Where an upload stands; none if the registry has forgotten it.
    async fn ask_session(
        self: &Arc<Self>,
        upload: &Upload<'_>,
        old: Session,
    ) -> Result<Option<Session>, ClientError> {
        let ask = upload.ask(Method::GET, old.location.clone(), Body::Empty);
        let answer = self.send(upload.endpoint, &ask).await?;
        match answer.status() {
            status if status.is_success() => {
                let offset = held(&answer).unwrap_or(0);
                if offset > upload.blob.size {
                    return Ok(None);
                }
                let location = answer.location().unwrap_or(old.location);
                Ok(Some(Session { location, offset }))
            }
            _ => {
                let err = upload.refusal(answer).await;
                // Forgotten, expired, or standing where it cannot be gone on from.
                if err.class().is_worth_a_retry() { Err(err) } else { Ok(None) }
            }
        }
    }

    fn keep_opened(&self, repository: &Repository, digest: Digest, location: Url) {
        let mut opened = self.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        opened.insert((repository.clone(), digest), location);
    }

    fn take_opened(&self, repository: &Repository, digest: Digest) -> Option<Session> {
        let mut opened = self.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let location = opened.remove(&(repository.clone(), digest))?;
        Some(Session { location, offset: 0 })
    }

    /// The note on this blob's upload, if notes are kept and nobody else has it.
    async fn note(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Option<Note>, ClientError> {
        let Some(state) = self.options.state.clone() else { return Ok(None) };
        let name = Digest::of(format!("{repository}@{digest}").as_bytes()).hex();
        blocking(move || Note::open(&state.join("uploads"), &name)).await?
    }
}

impl<'a> Upload<'a> {
    fn what(&self) -> String {
        format!("the upload of {}", self.blob.digest)
    }

    fn started(&self, offset: u64) {
        self.ctx.events.emit(Event::TransferStarted {
            blob: self.blob.digest,
            total_bytes: self.blob.size,
            resumed_bytes: offset,
        });
    }

    fn body(&self, start: u64, end: u64) -> Body<'a> {
        if start == end {
            return Body::Empty;
        }
        Body::Source {
            blob: self.blob.digest,
            source: self.source,
            range: start..end,
            ctx: self.ctx,
        }
    }

    fn ask(&self, method: Method, location: Url, body: Body<'a>) -> Ask<'a> {
        Ask {
            kind: Kind::Upload,
            method,
            to: To::Url(location),
            headers: octets(),
            body,
            scope: Scope::push(&self.endpoint.repository),
            what: self.what(),
        }
    }

    async fn refusal(&self, answer: Answer) -> ClientError {
        let err = answer.refusal(&self.endpoint.repository).await;
        match err.code() {
            Some("DIGEST_INVALID") => ClientError::SentWrong {
                registry: self.endpoint.host.name.clone(),
                blob: self.blob.digest,
            },
            _ => err,
        }
    }
}

/// What a failed chunk means for the ones after it.
fn judge_chunk(
    err: ClientError,
    offset: u64,
    chunk_bytes: &mut u64,
    session: &mut Option<Session>,
) -> ChunkError {
    match err.status() {
        // The registry stands elsewhere than we thought: it is asked, and gone on from there.
        Some(StatusCode::RANGE_NOT_SATISFIABLE) => ChunkError::Other(ClientError::Protocol {
            registry: registry_of(&err),
            what: "it stands elsewhere in the upload than it said".to_owned(),
        }),
        Some(StatusCode::PAYLOAD_TOO_LARGE) if *chunk_bytes > MIN_CHUNK_BYTES => {
            *chunk_bytes = (*chunk_bytes / 4).max(MIN_CHUNK_BYTES);
            ChunkError::Other(ClientError::Protocol {
                registry: registry_of(&err),
                what: "a chunk was too large for it".to_owned(),
            })
        }
        Some(status) if offset == 0 && takes_no_chunks(status) => {
            *session = None;
            ChunkError::Refused(err)
        }
        _ => {
            if ends_session(&err) {
                *session = None;
            }
            ChunkError::Other(err)
        }
    }
}

fn open(endpoint: &Endpoint, what: String, query: &str, scope: Scope) -> Ask<'static> {
    Ask {
        kind: Kind::Upload,
        method: Method::POST,
        to: To::Api(format!("{}/blobs/uploads/{query}", endpoint.repository)),
        headers: octets(),
        body: Body::Empty,
        scope,
        what,
    }
}

fn octets() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))])
}

fn held(answer: &Answer) -> Option<u64> {
    held_bytes(answer.header("range")?)
}

/// How many bytes `Range: 0-N` says are there. `0-0` is what many send for none.
pub(super) fn held_bytes(text: &str) -> Option<u64> {
    let (start, last) = text.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.parse().ok()?;
    (start == "0").then_some(if last == 0 { 0 } else { last.saturating_add(1) })
}

/// Whether a refusal of the first chunk is about chunks.
fn takes_no_chunks(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 405 | 411 | 413 | 415 | 416 | 501)
}

fn protocol(endpoint: &Endpoint, what: &str) -> ClientError {
    ClientError::Protocol { registry: endpoint.host.name.clone(), what: what.to_owned() }
}

const FORGOTTEN: &str = "it forgot an upload";

/// An upload that is no longer there: begun anew, as often as other trouble on the line.
fn forgotten(endpoint: &Endpoint) -> ClientError {
    protocol(endpoint, FORGOTTEN)
}

/// Whether nothing can be added to the upload any more: it is gone, or holds bytes that are wrong.
fn ends_session(err: &ClientError) -> bool {
    match err {
        ClientError::Protocol { what, .. } => what == FORGOTTEN,
        ClientError::SentWrong { .. } => true,
        _ => false,
    }
}

fn registry_of(err: &ClientError) -> String {
    match err {
        ClientError::Refused { registry, .. } => registry.clone(),
        _ => String::new(),
    }
}

fn keep(note: Option<&Note>, session: &Session) -> Result<(), ClientError> {
    note.map_or(Ok(()), |note| note.write(&session.location))
}
