//! GET and HEAD: blobs, manifests, tags, referrers, repositories.

use std::sync::Arc;

use airlift_spec::oci::media_type::OCI_INDEX;
use airlift_spec::{Descriptor, Digest};
use axum::body::Body;
use futures::TryStreamExt as _;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    LINK, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::backend::{Asked, Backend};
use super::error::{Code, Refusal};
use super::range::{self, Slice};
use super::route::{Query, Wanted};

pub(super) const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");
const FILTERS_HEADER: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Names on one page of a list, where the client does not say how many it wants.
const PAGE: usize = 10_000;

type Answer = Result<Response<Body>, Refusal>;

/// A GET or HEAD request, as far as the answer depends on it.
pub(super) struct Pull<'a> {
    pub(super) backend: &'a Arc<dyn Backend>,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a Query,
}

impl Pull<'_> {
    pub(super) async fn blob(&self, asked: &Asked, digest: Digest) -> Answer {
        let unanswered = |err| Refusal::unanswered(Code::BlobUnknown, &err);
        let size = self.backend.blob_size(asked, &digest).await.map_err(unanswered)?;
        let unknown = || Refusal::not_found(Code::BlobUnknown, "the repository has no such blob");
        let size = size.ok_or_else(unknown)?;
        let headers = described(digest)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(ACCEPT_RANGES, "bytes");
        if self.is_known(digest) {
            return finish(headers.status(StatusCode::NOT_MODIFIED), Body::empty());
        }
        let (headers, range) = match self.slice(digest, size) {
            Slice::Whole => (headers, 0..size),
            Slice::Part(range) => {
                let content = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                let headers = headers.status(StatusCode::PARTIAL_CONTENT);
                (headers.header(CONTENT_RANGE, content), range)
            }
            Slice::Unsatisfiable => {
                let content = HeaderValue::try_from(format!("bytes */{size}"));
                let message = format!("the blob is {size} bytes long");
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                return Err(Refusal::new(status, Code::RangeInvalid, message)
                    .with(CONTENT_RANGE, content.expect("digits are a header")));
            }
        };
        let headers = headers.header(CONTENT_LENGTH, range.end - range.start);
        if self.method == Method::HEAD || range.is_empty() {
            return finish(headers, Body::empty());
        }
        let frames = self.backend.read_blob(asked, &digest, range).await.map_err(unanswered)?;
        // Too late for a status: the connection is cut, so that no client takes the part for the whole.
        let frames = frames.inspect_err(move |err| {
            tracing::error!("sending {digest}: {}", airlift_spec::error::chain(err));
        });
        finish(headers, Body::from_stream(frames))
    }

    fn slice(&self, digest: Digest, size: u64) -> Slice {
        // A range of another version of the content would be a patchwork; a blob has no other version.
        let is_same = self.text(&IF_RANGE).is_none_or(|known| known == etag(digest));
        if self.method == Method::HEAD || !is_same {
            return Slice::Whole;
        }
        range::slice(self.text(&RANGE), size)
    }

    pub(super) async fn manifest(&self, asked: &Asked, wanted: &Wanted) -> Answer {
        let unanswered = |err| Refusal::unanswered(Code::ManifestUnknown, &err);
        let found = self.backend.manifest(asked, &wanted.text()).await.map_err(unanswered)?;
        let unknown =
            || Refusal::not_found(Code::ManifestUnknown, "the repository has no such manifest");
        let manifest = found.ok_or_else(unknown)?;
        let headers = described(manifest.digest)
            .header(CONTENT_TYPE, &manifest.media_type)
            .header(CONTENT_LENGTH, manifest.bytes.len());
        if self.is_known(manifest.digest) {
            return finish(
                described(manifest.digest).status(StatusCode::NOT_MODIFIED),
                Body::empty(),
            );
        }
        let is_head = self.method == Method::HEAD;
        finish(headers, if is_head { Body::empty() } else { Body::from(manifest.bytes) })
    }

    pub(super) async fn tags(&self, asked: &Asked) -> Answer {
        let unanswered = |err| Refusal::unanswered(Code::NameUnknown, &err);
        let found = self.backend.tags(asked).await.map_err(unanswered)?;
        let unknown = || Refusal::not_found(Code::NameUnknown, "there is no such repository");
        let page = Page::cut(found.ok_or_else(unknown)?, self.query)?;
        let document = json!({"name": asked.repository, "tags": page.names});
        page.answer(&format!("/v2/{}/tags/list", asked.repository), self.query, &document)
    }

    pub(super) async fn repositories(&self) -> Answer {
        let unanswered = |err| Refusal::unanswered(Code::NameUnknown, &err);
        let names = self.backend.repositories().await.map_err(unanswered)?;
        let page = Page::cut(names, self.query)?;
        let document = json!({"repositories": page.names});
        page.answer("/v2/_catalog", self.query, &document)
    }

    pub(super) async fn referrers(&self, asked: &Asked, subject: Digest) -> Answer {
        let unanswered = |err| Refusal::unanswered(Code::ManifestUnknown, &err);
        let mut found = self.backend.referrers(asked, &subject).await.map_err(unanswered)?;
        let mut headers = Response::builder().header(CONTENT_TYPE, OCI_INDEX);
        if let Some(wanted) = self.query.get("artifactType").filter(|wanted| !wanted.is_empty()) {
            found.retain(|referrer: &Descriptor| referrer.artifact_type.as_deref() == Some(wanted));
            headers = headers.header(FILTERS_HEADER, "artifactType");
        }
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found});
        finish(headers, Body::from(index.to_string()))
    }

    /// Whether the client says that it has this content already.
    fn is_known(&self, digest: Digest) -> bool {
        let etag = etag(digest);
        let known =
            |list: &str| list.split(',').any(|entry| entry.trim().trim_start_matches("W/") == etag);
        self.text(&IF_NONE_MATCH).is_some_and(known)
    }

    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The headers of content that has a digest.
fn described(digest: Digest) -> response::Builder {
    Response::builder().header(DIGEST_HEADER, digest.to_string()).header(ETAG, etag(digest))
}

fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}

/// Ends a response whose headers came from our own values, or from a media type that may hold anything.
pub(super) fn finish(headers: response::Builder, body: Body) -> Answer {
    headers.body(body).map_err(|err| Refusal::internal(&err))
}

/// A page of a sorted list of names.
struct Page {
    names: Vec<String>,
    has_more: bool,
}

impl Page {
    fn cut(mut names: Vec<String>, query: &Query) -> Result<Self, Refusal> {
        let wanted = match query.get("n") {
            None => PAGE,
            Some(text) => text.parse().map_err(|_| {
                let message = "`n` is not a number of names";
                Refusal::bad_request(Code::PaginationNumberInvalid, message)
            })?,
        };
        names.sort();
        if let Some(last) = query.get("last") {
            let start = names.partition_point(|name| name.as_str() <= last);
            names.drain(..start);
        }
        // A page of nothing has no last name to go on from, so it leads nowhere.
        let has_more = names.len() > wanted && wanted > 0;
        names.truncate(wanted);
        Ok(Self { names, has_more })
    }

    fn answer(&self, path: &str, query: &Query, document: &serde_json::Value) -> Answer {
        let mut headers = Response::builder().header(CONTENT_TYPE, "application/json");
        if let Some(last) = self.names.last().filter(|_| self.has_more) {
            let text = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
            let ns = query.get("ns").map(|ns| format!("&ns={}", text(ns))).unwrap_or_default();
            let (n, last) = (self.names.len(), text(last));
            headers = headers.header(LINK, format!("<{path}?n={n}&last={last}{ns}>; rel=\"next\""));
        }
        finish(headers, Body::from(document.to_string()))
    }
}
