//! What the registry answers when nothing is wrong: a function of its state and one request.

use std::fmt::Write as _;

use airlift_spec::oci::{Manifest, media_type};
use airlift_spec::{Descriptor, Digest};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::content::{Repository, index_of};
use super::{Fault, Referrers, Server, Shared, State, access, upload};
use crate::samples::SampleManifest;

/// A request without its body.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) pairs: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) target: Target,
    pub(super) server: Server,
    /// How long its body says it is.
    pub(super) announced_bytes: Option<u64>,
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Ping,
    Token,
    Tags { repository: String },
    Manifest { repository: String, reference: String },
    Blob { repository: String, digest: String },
    Uploads { repository: String },
    Upload { repository: String, id: String },
    Referrers { repository: String, digest: String },
    Unknown,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Target {
    pub(super) fn parse(path: &str) -> Self {
        if path == "/token" {
            return Self::Token;
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return Self::Unknown };
        if rest.is_empty() {
            return Self::Ping;
        }
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return Self::Tags { repository: repository.to_owned() };
        }
        let split = |by: &str| rest.rsplit_once(by).map(|(a, b)| (a.to_owned(), b.to_owned()));
        if let Some((repository, id)) = split("/blobs/uploads/") {
            return match id.as_str() {
                "" => Self::Uploads { repository },
                _ => Self::Upload { repository, id },
            };
        }
        if let Some((repository, digest)) = split("/blobs/") {
            return Self::Blob { repository, digest };
        }
        if let Some((repository, reference)) = split("/manifests/") {
            return Self::Manifest { repository, reference };
        }
        match split("/referrers/") {
            Some((repository, digest)) => Self::Referrers { repository, digest },
            None => Self::Unknown,
        }
    }

    pub(super) fn repository(&self) -> Option<&str> {
        match self {
            Self::Ping | Self::Token | Self::Unknown => None,
            Self::Tags { repository }
            | Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }

    pub(super) fn upload(&self) -> Option<&str> {
        match self {
            Self::Upload { id, .. } => Some(id),
            _ => None,
        }
    }
}

impl Answer {
    pub(super) fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(super) fn json(text: &str) -> Self {
        Self::new(StatusCode::OK).with("content-type", "application/json").body(text.to_owned())
    }

    pub(super) fn error(status: StatusCode, code: &str) -> Self {
        let body = json!({"errors": [{"code": code, "message": "said by the fake registry"}]});
        Self { status, ..Self::json(&body.to_string()) }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        let value = HeaderValue::try_from(format!("{value}")).expect("headers here are ASCII");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    #[must_use]
    pub(super) fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub(super) fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.headers.get(name)
    }
}

/// Answers `call`; `fault` is one that changes the treatment, not the answer.
pub(super) fn answer(
    shared: &Shared,
    state: &mut State,
    call: &Call,
    body: &[u8],
    fault: Option<&Fault>,
) -> Answer {
    match fault {
        Some(Fault::Status(code, headers)) => {
            let status = StatusCode::from_u16(*code).expect("a test names a real status");
            let answer = Answer::error(status, "UNKNOWN");
            return headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value));
        }
        Some(Fault::RetryAfter(seconds)) => {
            return Answer::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS")
                .with("retry-after", seconds);
        }
        Some(Fault::RefuseDigest) => {
            let upload = call.target.upload().and_then(|id| id.parse().ok());
            upload.and_then(|id: u64| state.uploads.remove(&id));
            return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        }
        Some(Fault::RedirectElsewhere) => {
            return Answer::new(StatusCode::TEMPORARY_REDIRECT)
                .with("location", format!("{}{}", shared.elsewhere_base, call.path));
        }
        _ => {}
    }
    match (&call.target, &call.method) {
        (Target::Ping, _) => {
            Answer::json("{}").with("docker-distribution-api-version", "registry/2.0")
        }
        (Target::Token, _) => access::token(shared, state, call, body),
        (Target::Tags { repository }, _) => tags(shared, state, call, repository),
        (Target::Referrers { repository, digest }, _) => {
            referrers(shared, state, call, repository, digest)
        }
        (Target::Uploads { .. }, &Method::POST) => upload::begin(shared, state, call, body, fault),
        (Target::Upload { .. }, _) => upload::proceed(shared, state, call, body, fault),
        (Target::Blob { repository, digest }, _) => blob(state, call, repository, digest, fault),
        (Target::Manifest { repository, reference }, &Method::PUT) => {
            put_manifest(shared, state, call, repository, reference, body, fault)
        }
        (Target::Manifest { repository, reference }, &Method::DELETE) => {
            delete_manifest(state, repository, reference)
        }
        (Target::Manifest { repository, reference }, _) => {
            manifest(state, call, repository, reference)
        }
        (Target::Unknown, &Method::GET) if state.files.contains_key(&call.path) => {
            Answer::new(StatusCode::OK).body(state.files[&call.path].clone())
        }
        (Target::Uploads { .. } | Target::Unknown, _) => {
            Answer::error(StatusCode::NOT_FOUND, "UNSUPPORTED")
        }
    }
}

fn blob(
    state: &mut State,
    call: &Call,
    repository: &str,
    digest: &str,
    fault: Option<&Fault>,
) -> Answer {
    let unknown = || Answer::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
    let Ok(digest) = digest.parse::<Digest>() else {
        return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
    };
    let Some(repository) = state.repositories.get_mut(repository) else { return unknown() };
    if call.method == Method::DELETE {
        return repository
            .blobs
            .remove(&digest)
            .map_or_else(unknown, |_| Answer::new(StatusCode::ACCEPTED));
    }
    let Some(bytes) = repository.blobs.get(&digest) else { return unknown() };
    let answer = Answer::new(StatusCode::OK)
        .with("content-type", "application/octet-stream")
        .with("accept-ranges", "bytes")
        .with("docker-content-digest", digest);
    let range = call.header("range").filter(|_| call.method == Method::GET);
    match (range, fault) {
        (None, _) | (Some(_), Some(Fault::IgnoreRange)) => answer.body(bytes.clone()),
        (Some(_), Some(Fault::RangeWrongStart(start))) => part(answer, bytes, *start, u64::MAX),
        (Some(range), _) => match parse_range(range, bytes.len() as u64) {
            Some((first, last)) => part(answer, bytes, first, last),
            None => Answer::error(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID")
                .with("content-range", format!("bytes */{}", bytes.len())),
        },
    }
}

fn part(answer: Answer, bytes: &Bytes, first: u64, last: u64) -> Answer {
    let total = bytes.len() as u64;
    let last = last.min(total.saturating_sub(1));
    let index = |at: u64| usize::try_from(at).expect("it fits: the bytes are in memory");
    let answer = answer.with("content-range", format!("bytes {first}-{last}/{total}"));
    Answer {
        status: StatusCode::PARTIAL_CONTENT,
        ..answer.body(bytes.slice(index(first)..=index(last)))
    }
}

/// `bytes=A-B`, `bytes=A-` or `bytes=-N` of `total`, as first and last byte.
fn parse_range(text: &str, total: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last && first < total => Some((first, last)),
        (Ok(first), Err(_)) if first < total => Some((first, total - 1)),
        (Err(_), Ok(suffix)) if total > 0 && suffix > 0 => {
            Some((total.saturating_sub(suffix), total - 1))
        }
        _ => None,
    }
}

fn manifest(state: &State, call: &Call, repository: &str, reference: &str) -> Answer {
    let found = state.repositories.get(repository).and_then(|it| it.manifest(reference));
    // Docker's registry does not give out types that the client did not ask for either.
    let accepted = |manifest: &&SampleManifest| {
        let mut accept =
            call.headers.get_all("accept").iter().filter_map(|it| it.to_str().ok()).peekable();
        accept.peek().is_none()
            || accept.any(|it| it.contains(&manifest.media_type) || it.contains("*/*"))
    };
    match found.filter(accepted) {
        Some(manifest) => Answer::new(StatusCode::OK)
            .with("content-type", &manifest.media_type)
            .with("docker-content-digest", manifest.digest)
            .body(manifest.bytes.clone()),
        None => Answer::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
    }
}

fn put_manifest(
    shared: &Shared,
    state: &mut State,
    call: &Call,
    name: &str,
    reference: &str,
    body: &[u8],
    fault: Option<&Fault>,
) -> Answer {
    let invalid = |code| Answer::error(StatusCode::BAD_REQUEST, code);
    let media_type = call.header("content-type").unwrap_or_default().to_owned();
    let Ok(parsed) = Manifest::parse(body, Some(&media_type)) else {
        return invalid("MANIFEST_INVALID");
    };
    let repository = state.repositories.entry(name.to_owned()).or_default();
    let refuses_sparse = fault == Some(&Fault::RefuseSparseIndex);
    if lacks_blobs(repository, &parsed) || refuses_sparse && lacks_children(repository, &parsed) {
        return invalid("MANIFEST_BLOB_UNKNOWN");
    }
    let by_digest = reference.contains(':');
    let digest = match reference.parse::<Digest>() {
        Ok(digest) if digest.matches(body) => digest,
        _ if by_digest => return invalid("DIGEST_INVALID"),
        _ => Digest::of(body),
    };
    let bytes = Bytes::copy_from_slice(body);
    repository.manifests.insert(digest, SampleManifest { media_type, bytes, digest });
    if !by_digest {
        repository.tags.insert(reference.to_owned(), digest);
    }
    let answer = Answer::new(StatusCode::CREATED)
        .with("location", format!("/v2/{name}/manifests/{digest}"))
        .with("docker-content-digest", digest);
    match parsed.subject {
        Some(subject) if shared.options.referrers == Referrers::Api => {
            answer.with("oci-subject", subject.digest)
        }
        _ => answer,
    }
}

fn lacks_blobs(repository: &Repository, manifest: &Manifest) -> bool {
    let needed = |blob: &&Descriptor| !blob.is_non_distributable();
    manifest.blobs.iter().filter(needed).any(|blob| !repository.blobs.contains_key(&blob.digest))
}

fn lacks_children(repository: &Repository, manifest: &Manifest) -> bool {
    manifest.manifests.iter().any(|child| !repository.manifests.contains_key(&child.digest))
}

fn delete_manifest(state: &mut State, repository: &str, reference: &str) -> Answer {
    let removed = state.repositories.get_mut(repository).is_some_and(|repository| match reference
        .parse::<Digest>(
    ) {
        Ok(digest) => repository.remove_manifest(&digest),
        Err(_) => repository.tags.remove(reference).is_some(),
    });
    if removed {
        Answer::new(StatusCode::ACCEPTED)
    } else {
        Answer::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")
    }
}

fn tags(shared: &Shared, state: &State, call: &Call, name: &str) -> Answer {
    let Some(repository) = state.repositories.get(name) else {
        return Answer::error(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
    };
    let last = call.query("last").unwrap_or_default();
    let after: Vec<&String> = repository.tags.keys().filter(|tag| tag.as_str() > last).collect();
    let asked = call.query("n").and_then(|n| n.parse().ok());
    let page = asked.into_iter().chain(shared.options.page_size).min().unwrap_or(usize::MAX);
    let tags = &after[..page.min(after.len())];
    let answer = Answer::json(&json!({"name": name, "tags": tags}).to_string());
    match tags.last() {
        Some(last) if tags.len() < after.len() => answer
            .with("link", format!("</v2/{name}/tags/list?n={page}&last={last}>; rel=\"next\"")),
        _ => answer,
    }
}

fn referrers(shared: &Shared, state: &State, call: &Call, name: &str, digest: &str) -> Answer {
    if shared.options.referrers == Referrers::TagOnly {
        return Answer::error(StatusCode::NOT_FOUND, "UNSUPPORTED");
    }
    let Ok(subject) = digest.parse::<Digest>() else {
        return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
    };
    let artifact_type = call.query("artifactType");
    let all = state.repositories.get(name).map(|it| it.referrers(&subject, artifact_type));
    let all = all.unwrap_or_default();
    let from = call.query("from").and_then(|from| from.parse().ok()).unwrap_or(0).min(all.len());
    let until = shared.options.page_size.map_or(all.len(), |page| (from + page).min(all.len()));
    let mut answer = Answer::new(StatusCode::OK)
        .with("content-type", media_type::OCI_INDEX)
        .body(index_of(&all[from..until]));
    let mut next = format!("/v2/{name}/referrers/{digest}?from={until}");
    if let Some(artifact_type) = artifact_type {
        answer = answer.with("oci-filters-applied", "artifactType");
        let _ = write!(next, "&artifactType={artifact_type}");
    }
    if until < all.len() {
        answer = answer.with("link", format!("<{next}>; rel=\"next\""));
    }
    answer
}
