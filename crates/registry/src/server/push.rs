//! POST, PATCH, PUT and DELETE: uploads, manifests, and taking things away.

use std::time::Duration;

use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Algorithm, Digest, Manifest};
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use http_body_util::BodyExt as _;

use super::error::{Code, Refusal};
use super::pull::{DIGEST_HEADER, finish};
use super::range;
use super::route::{Query, Wanted, digest, tag};
use super::store_backend::{Removal, StoreBackend};
use super::upload::Claim;

const SUBJECT_HEADER: HeaderName = HeaderName::from_static("oci-subject");
const TAG_HEADER: HeaderName = HeaderName::from_static("oci-tag");
const UPLOAD_HEADER: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Bytes gathered before they go to the disk: one hop off the async threads a mebibyte.
const GATHERED_BYTES: usize = 1 << 20;

type Answer = Result<Response<Body>, Refusal>;

/// A request that changes a repository. Owned, because it outlives its connection: what was received when a
/// line went dead is kept.
pub(super) struct Push {
    pub(super) repository: String,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    pub(super) body: Body,
    /// Longest silence of the client.
    pub(super) stall_timeout: Duration,
}

impl Push {
    /// POST: starts an upload, mounts a blob, or takes a whole blob at once.
    pub(super) async fn start(mut self, store: &StoreBackend) -> Answer {
        if let Some(mount) = self.query.get("mount") {
            let mount = digest(mount)?;
            let from = self.query.get("from").filter(|from| !from.is_empty());
            if store.mount(&self.repository, mount, from).await? {
                return self.created(mount);
            }
        }
        let whole = self.query.get("digest").map(digest).transpose()?;
        let algorithm = match (whole, self.query.get("digest-algorithm")) {
            (Some(digest), _) => digest.algorithm(),
            (None, Some(name)) => name
                .parse()
                .map_err(|err| Refusal::bad_request(Code::DigestInvalid, format!("{err}")))?,
            (None, None) => Algorithm::Sha256,
        };
        let claim = store.uploads().start(algorithm).await?;
        let Some(digest) = whole else {
            return self.accepted(claim.id(), claim.held_bytes());
        };
        let id = claim.id().to_owned();
        match self.receive(claim).await {
            Ok(claim) => {
                store.publish(&self.repository, claim, digest).await?;
                self.created(digest)
            }
            Err(refusal) => {
                // Nobody was told of this upload, so nobody can go on with it.
                store.uploads().cancel(store.uploads().claim(&id).await?).await?;
                Err(refusal)
            }
        }
    }

    /// PATCH: adds a chunk, or everything in one stream.
    pub(super) async fn append(mut self, store: &StoreBackend, id: &str) -> Answer {
        let claim = store.uploads().claim(id).await?;
        let end = self.check_order(&claim)?;
        let claim = self.receive(claim).await?;
        check_end(&claim, end)?;
        self.accepted(id, claim.held_bytes())
    }

    /// PUT: adds the last chunk, if there is one, and publishes the blob.
    pub(super) async fn finish(mut self, store: &StoreBackend, id: &str) -> Answer {
        let missing = || Refusal::bad_request(Code::DigestInvalid, "`digest` is missing");
        let digest = digest(self.query.get("digest").ok_or_else(missing)?)?;
        let claim = store.uploads().claim(id).await?;
        let end = self.check_order(&claim)?;
        let claim = self.receive(claim).await?;
        check_end(&claim, end)?;
        store.publish(&self.repository, claim, digest).await?;
        self.created(digest)
    }

    /// GET: how far the upload is.
    pub(super) async fn status(self, store: &StoreBackend, id: &str) -> Answer {
        let held_bytes = store.uploads().held_bytes(id).await?;
        finish(self.progress(id, held_bytes).status(StatusCode::NO_CONTENT), Body::empty())
    }

    /// DELETE: throws the upload away.
    pub(super) async fn cancel(self, store: &StoreBackend, id: &str) -> Answer {
        store.uploads().cancel(store.uploads().claim(id).await?).await?;
        finish(Response::builder().status(StatusCode::NO_CONTENT), Body::empty())
    }

    /// PUT of a manifest, by tag or digest.
    pub(super) async fn manifest(mut self, store: &StoreBackend, wanted: Wanted) -> Answer {
        let bytes = self.manifest_bytes().await?;
        let (digest, mut tags) = match wanted {
            Wanted::Tag(tag) => (Digest::of(&bytes), vec![tag]),
            Wanted::Digest(digest) => (digest, Vec::new()),
        };
        if !digest.matches(&bytes) {
            let actual = Digest::with(digest.algorithm(), &bytes);
            let message = format!("the manifest has the digest {actual}, not {digest}");
            return Err(Refusal::bad_request(Code::DigestInvalid, message));
        }
        let extra = self.query.all("tag").map(tag).collect::<Result<Vec<_>, _>>()?;
        tags.extend(extra.iter().cloned());
        let manifest = Manifest::parse(&bytes, self.media_type())?;
        store.put_manifest(&self.repository, digest, bytes, &manifest, &tags).await?;
        let mut headers = Response::builder()
            .status(StatusCode::CREATED)
            .header(LOCATION, format!("/v2/{}/manifests/{digest}", self.repository))
            .header(DIGEST_HEADER, digest.to_string())
            .header(CONTENT_LENGTH, 0);
        if let Some(subject) = &manifest.subject {
            headers = headers.header(SUBJECT_HEADER, subject.digest.to_string());
        }
        for tag in extra {
            headers = headers.header(TAG_HEADER, tag);
        }
        finish(headers, Body::empty())
    }

    async fn manifest_bytes(&mut self) -> Result<Bytes, Refusal> {
        let limit = usize::try_from(MAX_MANIFEST_BYTES).expect("a few megabytes fit in memory");
        let mut bytes = Vec::new();
        while let Some(frame) = self.frame().await? {
            bytes.extend_from_slice(&frame);
            if bytes.len() > limit {
                let message = format!("a manifest has at most {limit} bytes");
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(Refusal::new(status, Code::ManifestInvalid, message));
            }
        }
        Ok(bytes.into())
    }

    /// The media type that the client gives the manifest, without parameters.
    fn media_type(&self) -> Option<&str> {
        let text = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(text.split(';').next().unwrap_or(text).trim())
    }

    pub(super) async fn remove_manifest(self, store: &StoreBackend, wanted: &Wanted) -> Answer {
        let removal = store.remove_manifest(&self.repository, wanted).await?;
        removed(removal, Code::ManifestUnknown)
    }

    pub(super) async fn remove_blob(self, store: &StoreBackend, blob: Digest) -> Answer {
        let removal = store.remove_blob(&self.repository, blob).await?;
        removed(removal, Code::BlobUnknown)
    }

    /// Refuses a chunk that does not begin where the upload ends, and says where that is. Returns where the
    /// upload ends when the chunk is in, if the client said so.
    fn check_order(&self, claim: &Claim) -> Result<Option<u64>, Refusal> {
        let Some(header) = self.headers.get(CONTENT_RANGE) else {
            return Ok(None);
        };
        let held_bytes = claim.held_bytes();
        let out_of_order = |message: String| {
            let location = self.upload_location(claim.id());
            let location = HeaderValue::try_from(location).expect("names are plain ASCII");
            let range = HeaderValue::try_from(held(held_bytes)).expect("digits are a header");
            Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, message)
                .with(LOCATION, location)
                .with(RANGE, range)
        };
        let chunk = header.to_str().ok().and_then(range::chunk);
        let chunk = chunk.ok_or_else(|| out_of_order("this is not a range".to_owned()))?;
        if chunk.start != held_bytes {
            return Err(out_of_order(format!("the upload goes on at byte {held_bytes}")));
        }
        let announced = self.headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok());
        let length = (chunk.end - chunk.start).to_string();
        if announced.is_some_and(|announced| announced != length) {
            let message = "`Content-Range` and `Content-Length` do not agree";
            return Err(Refusal::bad_request(Code::SizeInvalid, message));
        }
        Ok(Some(chunk.end))
    }

    /// Takes the body in. Whatever arrived is kept, also when the rest does not come.
    async fn receive(&mut self, mut claim: Claim) -> Result<Claim, Refusal> {
        loop {
            let mut gathered = Vec::new();
            let mut gathered_bytes = 0;
            let taken_over = claim.taken_over.clone();
            let end = loop {
                let frame = tokio::select! {
                    frame = self.frame() => frame,
                    () = taken_over.cancelled() => Err(Refusal::new(
                        StatusCode::CONFLICT,
                        Code::BlobUploadInvalid,
                        "a newer request goes on with this upload",
                    )),
                };
                match frame {
                    Ok(Some(frame)) => {
                        gathered_bytes += frame.len();
                        gathered.push(frame);
                        if gathered_bytes >= GATHERED_BYTES {
                            break None;
                        }
                    }
                    Ok(None) => break Some(Ok(())),
                    Err(refusal) => break Some(Err(refusal)),
                }
            };
            if !gathered.is_empty() {
                claim = claim.append(gathered).await?;
            }
            match end {
                None => {}
                Some(Ok(())) => return Ok(claim),
                Some(Err(refusal)) => return Err(refusal),
            }
        }
    }

    /// The next bytes of the body; none at its end.
    async fn frame(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = tokio::time::timeout(self.stall_timeout, self.body.frame()).await;
            let silent = |_| {
                let message = "the client sent nothing for too long";
                Refusal::new(StatusCode::REQUEST_TIMEOUT, Code::BlobUploadInvalid, message)
            };
            match frame.map_err(silent)? {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(_)) => {
                    let message = "the connection broke before the end of the request";
                    return Err(Refusal::bad_request(Code::BlobUploadInvalid, message));
                }
            }
        }
    }

    fn created(&self, digest: Digest) -> Answer {
        let headers = Response::builder()
            .status(StatusCode::CREATED)
            .header(LOCATION, format!("/v2/{}/blobs/{digest}", self.repository))
            .header(DIGEST_HEADER, digest.to_string())
            .header(CONTENT_LENGTH, 0);
        finish(headers, Body::empty())
    }

    fn accepted(&self, id: &str, held_bytes: u64) -> Answer {
        let headers = self.progress(id, held_bytes).status(StatusCode::ACCEPTED);
        finish(headers.header(CONTENT_LENGTH, 0), Body::empty())
    }

    fn progress(&self, id: &str, held_bytes: u64) -> response::Builder {
        Response::builder()
            .header(LOCATION, self.upload_location(id))
            .header(RANGE, held(held_bytes))
            .header(UPLOAD_HEADER, id)
    }

    fn upload_location(&self, id: &str) -> String {
        format!("/v2/{}/blobs/uploads/{id}", self.repository)
    }
}

/// A chunk without `Content-Length` may turn out shorter or longer than its `Content-Range`.
fn check_end(claim: &Claim, end: Option<u64>) -> Result<(), Refusal> {
    if end.is_none_or(|end| end == claim.held_bytes()) {
        return Ok(());
    }
    let message = "the chunk was not as long as its `Content-Range` says";
    Err(Refusal::bad_request(Code::SizeInvalid, message))
}

/// What is held, as a range. Nothing is `0-0` too: the protocol has no word for it.
fn held(bytes: u64) -> String {
    format!("0-{}", bytes.saturating_sub(1))
}

fn removed(removal: Removal, unknown: Code) -> Answer {
    match removal {
        Removal::Done => {
            let headers = Response::builder().status(StatusCode::ACCEPTED);
            finish(headers.header(CONTENT_LENGTH, 0), Body::empty())
        }
        Removal::NothingThere => {
            Err(Refusal::not_found(unknown, "the repository has nothing by that name"))
        }
    }
}
