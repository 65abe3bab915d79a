//! Blobs on their way to us.
//!
//! A transfer asks for the first gap of what is staged, and goes on asking until there is none. The bytes are
//! untrusted: where they lie is checked here (`Content-Range`, lengths), what they are is checked by the store's gate.
//! Memory is bounded: two buffers a transfer, one filled from the line while the other is hashed and written.

use std::ops::Range;
use std::sync::Arc;

use airlift_spec::error::chain;
use airlift_spec::{Ctx, Descriptor, Digest, Event};
use airlift_store::{BlobWriter, Staging, Store, StoreError};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::{HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};
use url::Url;

use super::auth::Scope;
use super::counters::Kind;
use super::error::ClientError;
use super::exchange::{Answer, Ask, Body, To};
use super::manifest::found;
use super::sink::{Sink, blocking};
use super::substitute::Purpose;
use super::{Endpoint, Fetched, Host, Repository, Shared, stoppable};

/// Read at once of what does not go to the disk.
const READ_BYTES: usize = 64 << 10;

impl Shared {
    pub(crate) async fn fetch_into(
        self: &Arc<Self>,
        repository: &Repository,
        blob: &Descriptor,
        store: &Store,
        ctx: &Ctx,
    ) -> Result<Fetched, ClientError> {
        for is_last in [false, true] {
            let (store, digest, size) = (store.clone(), blob.digest, blob.size);
            let staged = blocking(move || store.stage(digest, size)).await?;
            let writer =
                match staged.map_err(|source| ClientError::Store { blob: digest, source })? {
                    Staging::Present => return Ok(Fetched::Present),
                    Staging::Busy => return Ok(Fetched::Busy),
                    Staging::Writer(writer) => writer,
                };
            let brought = self.bring(repository, blob, writer, ctx).await;
            ctx.events.emit(match &brought {
                Ok(()) => Event::TransferFinished { blob: digest },
                Err(err) => Event::TransferFailed { blob: digest, reason: chain(err) },
            });
            match brought {
                Ok(()) => return Ok(Fetched::Brought),
                // The staged half may be older than the damage, so that all of it is asked for again.
                Err(ClientError::WrongDigest { actual, .. }) if !is_last => {
                    let text = format!("{digest} arrived as {actual}: asking for it again");
                    ctx.events.note(text);
                }
                Err(err) => return Err(err),
            }
        }
        unreachable!("the second round returns")
    }

    /// Fills the writer's gaps and commits: a transfer is over when its bytes are durable under their name.
    async fn bring(
        self: &Arc<Self>,
        repository: &Repository,
        blob: &Descriptor,
        writer: BlobWriter,
        ctx: &Ctx,
    ) -> Result<(), ClientError> {
        let missing_bytes: u64 = writer.gaps().iter().map(|gap| gap.end - gap.start).sum();
        ctx.events.emit(Event::TransferStarted {
            blob: blob.digest,
            total_bytes: blob.size,
            resumed_bytes: blob.size - missing_bytes,
        });
        let tuning = self.options.tuning.clone();
        let mut sink = Sink::new(writer, blob.digest, tuning, &self.buffers, ctx);
        let filled = stoppable(ctx, self.fill(repository, blob, &mut sink, ctx)).await;
        if let Err(err) = filled {
            // What arrived is kept. If that fails too, the disk is the graver trouble.
            return Err(sink.keep().await.err().unwrap_or(err));
        }
        sink.commit().await.map_err(|err| match err {
            ClientError::Store { source: StoreError::Mismatch { expected, actual }, .. } => {
                let registry = repository.host.clone();
                ClientError::WrongDigest { registry, expected, actual }
            }
            err => err,
        })
    }

    /// Fills all gaps from the first place that can: mirrors, the registry, and what the descriptor names itself.
    async fn fill(
        self: &Arc<Self>,
        repository: &Repository,
        blob: &Descriptor,
        sink: &mut Sink<'_>,
        ctx: &Ctx,
    ) -> Result<(), ClientError> {
        let mut failure = None;
        for endpoint in self.endpoints(repository, Purpose::ReadByDigest)? {
            let to = To::Api(format!("{}/blobs/{}", endpoint.repository, blob.digest));
            match self.fill_from(&endpoint, to, blob, sink, ctx).await {
                Ok(true) => return Ok(()),
                Ok(false) => failure = None,
                Err(err) if err.is_ours() => return Err(err),
                Err(err) => failure = Some(err),
            }
        }
        let mut elsewhere = String::new();
        for url in blob.urls.iter().filter_map(|url| Url::parse(url).ok()) {
            let Some(endpoint) = self.foreign(&url) else { continue };
            match self.fill_from(&endpoint, To::Url(url), blob, sink, ctx).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(err) if err.is_ours() => return Err(err),
                // A vendor's address that does not answer is no reason to say that the registry did not.
                Err(err) => elsewhere = format!(", nor at {}: {}", endpoint.host.name, chain(&err)),
            }
        }
        Err(failure.unwrap_or_else(|| ClientError::Missing {
            registry: repository.host.clone(),
            what: format!("blob {} in `{}`{elsewhere}", blob.digest, repository.path),
        }))
    }

    /// Where a foreign layer lies. An address in the clear is not followed: nobody asked for plain HTTP there.
    fn foreign(&self, url: &Url) -> Option<Endpoint> {
        let name = url.host_str()?;
        let authority = url.port().map_or(name.to_owned(), |port| format!("{name}:{port}"));
        let host = self.host(&authority, false);
        let is_allowed = url.scheme() == "https" || host.transports.current().scheme() == "http";
        let attempts = self.options.attempts.get();
        is_allowed.then(|| Endpoint { host, repository: String::new(), attempts })
    }

    /// False where there is no such blob.
    async fn fill_from(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        to: To,
        blob: &Descriptor,
        sink: &mut Sink<'_>,
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        let mut ask = ask(endpoint, Method::GET, &blob.digest);
        ask.to = to;
        let mut tries = self.tries(endpoint, &ask.what, ctx);
        let mut takes_ranges = true;
        loop {
            let gaps = sink.gaps().await?;
            let Some(first) = gaps.first() else { return Ok(true) };
            let is_whole = !takes_ranges || *first == (0..blob.size);
            ask.headers = if is_whole { HeaderMap::new() } else { range_header(first) };
            let before = sink.taken_bytes;
            let done = self.fill_once(endpoint, &ask, blob, &gaps, sink).await;
            let progress = sink.taken_bytes - before;
            if progress >= self.options.tuning.progress_bytes.min(blob.size) {
                tries.progressed();
            }
            match done {
                Ok(Done::Absent) => return Ok(false),
                Ok(Done::Came) => {}
                Ok(Done::BadRange) if takes_ranges => takes_ranges = false,
                Ok(Done::BadRange) => tries.pause(bad_range(&endpoint.host)).await?,
                Err(err) => tries.pause(err).await?,
            }
        }
    }

    async fn fill_once(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        blob: &Descriptor,
        gaps: &[Range<u64>],
        sink: &mut Sink<'_>,
    ) -> Result<Done, ClientError> {
        let answer = self.send(endpoint, ask).await?;
        let asked_range = !ask.headers.is_empty();
        let wrong_size = |actual| ClientError::WrongSize {
            registry: endpoint.host.name.clone(),
            blob: blob.digest,
            expected: blob.size,
            actual,
        };
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(Done::Absent),
            StatusCode::RANGE_NOT_SATISFIABLE if asked_range => Ok(Done::BadRange),
            StatusCode::PARTIAL_CONTENT if asked_range => {
                let first = &gaps[0];
                let Some(range) = answer.header("content-range").and_then(ContentRange::parse)
                else {
                    return Ok(Done::BadRange);
                };
                if let Some(total) = range.total.filter(|total| *total != blob.size) {
                    return Err(wrong_size(total));
                }
                if range.bytes.start != first.start || range.bytes.end > first.end {
                    return Ok(Done::BadRange);
                }
                receive(answer, range.bytes, std::slice::from_ref(first), sink).await
            }
            // Asked for a piece or not: this is the whole blob, from its first byte.
            StatusCode::OK => {
                if let Some(actual) = answer.content_length().filter(|size| *size != blob.size) {
                    return Err(wrong_size(actual));
                }
                receive(answer, 0..blob.size, gaps, sink).await
            }
            _ => Err(answer.refusal(&endpoint.repository).await),
        }
    }

    pub(crate) async fn read_blob_at(
        self: &Arc<Self>,
        endpoint: Endpoint,
        digest: Digest,
        range: Option<Range<u64>>,
        ctx: &Ctx,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, ClientError>>>, ClientError> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok(Some(stream::empty().boxed()));
        }
        let mut ask = ask(&endpoint, Method::GET, &digest);
        ask.headers = range.as_ref().map(range_header).unwrap_or_default();
        let mut tries = self.tries(&endpoint, &ask.what, ctx);
        loop {
            let opened = async {
                let answer = self.send(&endpoint, &ask).await?;
                let Some(answer) = found(answer, &endpoint).await? else { return Ok(None) };
                reading(answer, range.as_ref()).map(Some)
            };
            match opened.await {
                Ok(stream) => return Ok(stream),
                Err(err) => tries.pause(err).await?,
            }
        }
    }

    pub(crate) async fn blob_size_at(
        self: &Arc<Self>,
        endpoint: Endpoint,
        digest: Digest,
        ctx: &Ctx,
    ) -> Result<Option<u64>, ClientError> {
        let ask = ask(&endpoint, Method::HEAD, &digest);
        let mut tries = self.tries(&endpoint, &ask.what, ctx);
        loop {
            let asked = async {
                let answer = self.send(&endpoint, &ask).await?;
                let Some(answer) = found(answer, &endpoint).await? else { return Ok(None) };
                answer.content_length().map(Some).ok_or_else(|| ClientError::Protocol {
                    registry: endpoint.host.name.clone(),
                    what: "a HEAD of a blob lacks its length".to_owned(),
                })
            };
            match asked.await {
                Ok(size) => return Ok(size),
                Err(err) => tries.pause(err).await?,
            }
        }
    }
}

fn ask(endpoint: &Endpoint, method: Method, digest: &Digest) -> Ask<'static> {
    Ask {
        kind: Kind::Blob,
        method,
        to: To::Api(format!("{}/blobs/{digest}", endpoint.repository)),
        headers: HeaderMap::new(),
        body: Body::Empty,
        scope: Scope::pull(&endpoint.repository),
        what: format!("blob {digest}"),
    }
}

fn range_header(range: &Range<u64>) -> HeaderMap {
    let text = format!("bytes={}-{}", range.start, range.end - 1);
    let value = HeaderValue::from_str(&text).expect("digits are a header value");
    HeaderMap::from_iter([(RANGE, value)])
}

fn bad_range(host: &Host) -> ClientError {
    ClientError::Protocol {
        registry: host.name.clone(),
        what: "it answered with a range that was not asked for".to_owned(),
    }
}

/// What one request came to.
enum Done {
    Came,
    Absent,
    /// Not the range that was asked for.
    BadRange,
}

/// Takes a body that holds `body` of the blob, and keeps what lies in `gaps`.
async fn receive(
    mut answer: Answer,
    body: Range<u64>,
    gaps: &[Range<u64>],
    sink: &mut Sink<'_>,
) -> Result<Done, ClientError> {
    let mut at = body.start;
    // For what is there already.
    let mut aside = Vec::new();
    for gap in gaps {
        while at < gap.start.min(body.end) {
            aside.resize(READ_BYTES, 0);
            let room = up_to(&mut aside, gap.start.min(body.end) - at);
            at += some_of(answer.read(room).await?, &answer, body.end - at)?;
        }
        while at < gap.end.min(body.end) {
            let room = up_to(sink.room(at).await?, gap.end.min(body.end) - at);
            let count = answer.read(room).await?;
            at += some_of(count, &answer, body.end - at)?;
            sink.took(count);
        }
    }
    if at < body.end {
        return Ok(Done::Came);
    }
    // The end of what was announced is the end of what comes, or this is something else.
    let more = answer.read(&mut [0]).await? as u64;
    if more > 0 {
        return Err(ClientError::WrongSize {
            registry: answer.host.name.clone(),
            blob: sink.digest,
            expected: body.end,
            actual: body.end + more,
        });
    }
    Ok(Done::Came)
}

/// `count` bytes came where `missing_bytes` were to come.
fn some_of(count: usize, answer: &Answer, missing_bytes: u64) -> Result<u64, ClientError> {
    if count == 0 {
        let (registry, what) = (answer.host.name.clone(), answer.what.clone());
        return Err(ClientError::CutShort { registry, what, missing_bytes });
    }
    Ok(count as u64)
}

fn up_to(room: &mut [u8], most: u64) -> &mut [u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(room.len());
    &mut room[..most]
}

/// The body as a stream of exactly `range`, also where the registry sends the whole blob.
fn reading(
    mut answer: Answer,
    range: Option<&Range<u64>>,
) -> Result<BoxStream<'static, Result<Bytes, ClientError>>, ClientError> {
    // Whoever reads may take his time: that must not keep others from asking.
    answer.permit = None;
    let (skip, take) = match (range, answer.status()) {
        (None, _) => (0, u64::MAX),
        (Some(range), StatusCode::PARTIAL_CONTENT) => {
            let came = answer.header("content-range").and_then(ContentRange::parse);
            if came.is_none_or(|came| came.bytes.start != range.start) {
                return Err(bad_range(&answer.host));
            }
            (0, range.end - range.start)
        }
        (Some(range), _) => (range.start, range.end - range.start),
    };
    let room = vec![0; READ_BYTES];
    let reading = stream::try_unfold(
        (answer, room, skip, take),
        |(mut answer, mut room, mut skip, mut take)| async move {
            while take > 0 {
                let count = answer.read(&mut room).await?;
                if count == 0 && take == u64::MAX {
                    return Ok(None);
                }
                some_of(count, &answer, take)?;
                // A piece has no more memory than bytes, however few came: whoever reads may gather them.
                let mut chunk = Bytes::copy_from_slice(&room[..count]);
                let drop = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                bytes::Buf::advance(&mut chunk, drop);
                skip -= drop as u64;
                chunk.truncate(usize::try_from(take).unwrap_or(usize::MAX));
                if take != u64::MAX {
                    take -= chunk.len() as u64;
                }
                if !chunk.is_empty() {
                    return Ok(Some((chunk, (answer, room, skip, take))));
                }
            }
            Ok(None)
        },
    );
    Ok(reading.boxed())
}

/// `bytes 0-9/10` or `bytes 0-9/*`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) bytes: Range<u64>,
    pub(super) total: Option<u64>,
}

impl ContentRange {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (start, last) = range.split_once('-')?;
        let (start, last): (u64, u64) = (start.parse().ok()?, last.parse().ok()?);
        let end = last.checked_add(1).filter(|end| *end > start)?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        Some(Self { bytes: start..end, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_or_refused() {
        let range = |text| ContentRange::parse(text).map(|found| (found.bytes, found.total));
        assert_eq!(range("bytes 0-9/10"), Some((0..10, Some(10))));
        assert_eq!(range("bytes 5-5/*"), Some((5..6, None)));
        for text in [
            "",
            "bytes",
            "bytes */10",
            "bytes 9-0/10",
            "0-9/10",
            "bytes 0-18446744073709551615/10",
            "bytes -1-9/10",
            "bytes 0-9/ten",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
