//! Helm's classic chart repository, over the charts that the locks name.
//!
//! ```text
//! GET /charts/index.yaml               every chart, with what its configuration blob says of it
//! GET /charts/NAME-VERSION.tgz         its package, straight out of its layer
//! GET /charts/NAME-VERSION.tgz.prov    its signature, where it came with one
//! ```
//!
//! Names and versions are the locks', so that starting reads nothing. What a source cannot give of a chart is
//! missing in its entry, and said to whoever asks for the package.
//!
//! **Untrusted.** File names that clients ask for, which are only compared with known ones; manifests and
//! configuration blobs, which others wrote: they are read within the bounds of a manifest, and what they say is
//! written into the index as JSON.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use airlift_helm::{Listed, index, media_type};
use airlift_registry::server::BackendError;
use airlift_spec::lock::{Artifact, Kind};
use airlift_spec::{Descriptor, Finding, Lock, Manifest, error};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures::{StreamExt as _, TryStreamExt as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::content::ContentBackend;

const LANDING: &str = "<!doctype html><meta charset=utf-8><title>airlift</title>\
<h1>airlift</h1><p>This is a container registry. Its API is under <a href=/v2/>/v2/</a>, \
its repositories are listed under <a href=/v2/_catalog>/v2/_catalog</a>, \
and its Helm charts under <a href=/charts/index.yaml>/charts/index.yaml</a>.\n";

/// What a path has unencoded, as Helm writes names of packages.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~').remove(b'+');

/// Charts that are looked into at once, for the index.
const AT_ONCE: usize = 8;

/// The charts of some sources, as a chart repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Charts {
    backend: ContentBackend,
    /// By the names of their packages.
    offered: Arc<BTreeMap<String, Offered>>,
}

/// A chart that a lock names.
#[derive(Debug)]
struct Offered {
    name: String,
    version: String,
    reference: String,
    manifest: Descriptor,
    /// Both are read once: blobs do not change.
    parts: OnceLock<Parts>,
    metadata: OnceLock<Map<String, Value>>,
}

/// What a chart's manifest names.
#[derive(Debug, Clone)]
struct Parts {
    config: Option<Descriptor>,
    package: Option<Descriptor>,
    signature: Option<Descriptor>,
}

impl Charts {
    /// The charts of the locks, and those that have to do without a place: of two with one name and version, the
    /// first stack and reference has it. The others are there as `oci://` all the same.
    pub fn new(backend: &ContentBackend) -> (Self, Vec<Finding>) {
        let (mut offered, mut findings) = (BTreeMap::<String, Offered>::new(), Vec::new());
        for (file, chart) in charts(backend.locks()) {
            match offered.get(&file) {
                None => drop(offered.insert(file, chart)),
                Some(first) if first.manifest.digest == chart.manifest.digest => {}
                Some(first) => {
                    let message = format!(
                        "`/charts/{file}` is `{}`, which has the same name and version; this one is at `oci://` alone",
                        first.reference
                    );
                    findings.push(Finding::warning("chart-name-taken", chart.reference, message));
                }
            }
        }
        (Self { backend: backend.clone(), offered: Arc::new(offered) }, findings)
    }

    /// The routes, and a page at `/` that says what there is.
    pub fn pages(self) -> Router {
        Router::new()
            .route("/", get(|| async { Html(LANDING) }))
            .route("/charts/index.yaml", get(listing))
            .route("/charts/{file}", get(package))
            .with_state(self)
    }

    async fn index(&self) -> String {
        let listed = self.offered.iter().map(|(file, chart)| self.listed(file, chart));
        // Collected first, since the compiler does not follow the loan of a lazy one across threads.
        let listed = futures::stream::iter(listed.collect::<Vec<_>>()).buffered(AT_ONCE);
        index(&listed.collect::<Vec<_>>().await)
    }

    async fn listed(&self, file: &str, chart: &Offered) -> Listed {
        let metadata = self.metadata(chart).await.unwrap_or_else(|err| {
            tracing::warn!("describing the chart {}: {}", chart.reference, error::chain(&err));
            None
        });
        let mut metadata = metadata.cloned().unwrap_or_default();
        metadata.entry("apiVersion").or_insert_with(|| Value::from("v2"));
        // The lock has the last word on what it is: the name of its package says the same.
        metadata.insert("name".to_owned(), Value::from(chart.name.as_str()));
        metadata.insert("version".to_owned(), Value::from(chart.version.as_str()));
        let package = chart.parts.get().and_then(|parts| parts.package.as_ref());
        let digest = package.map(|package| package.digest);
        Listed { metadata, digest, url: utf8_percent_encode(file, SEGMENT).to_string() }
    }

    /// What the chart's configuration blob says; none where no source knows it.
    async fn metadata<'a>(
        &self,
        chart: &'a Offered,
    ) -> Result<Option<&'a Map<String, Value>>, BackendError> {
        if let Some(known) = chart.metadata.get() {
            return Ok(Some(known));
        }
        let config = self.parts(chart).await?.and_then(|parts| parts.config.as_ref());
        let Some(config) = config else { return Ok(None) };
        let Some(text) = self.backend.small(&config.digest).await? else { return Ok(None) };
        let metadata = serde_json::from_slice(&text).map_err(unreadable)?;
        Ok(Some(chart.metadata.get_or_init(|| metadata)))
    }

    /// What the chart's manifest names; none where no source knows it.
    async fn parts<'a>(&self, chart: &'a Offered) -> Result<Option<&'a Parts>, BackendError> {
        if let Some(known) = chart.parts.get() {
            return Ok(Some(known));
        }
        let Some(bytes) = self.backend.small(&chart.manifest.digest).await? else {
            return Ok(None);
        };
        let manifest = Manifest::parse(&bytes, Some(&chart.manifest.media_type));
        let blobs = manifest.map_err(unreadable)?.blobs;
        let of_type = |kind: &str| blobs.iter().find(|blob| blob.media_type == kind).cloned();
        let parts = Parts {
            config: of_type(media_type::CONFIG),
            package: of_type(media_type::PACKAGE),
            signature: of_type(media_type::PROVENANCE),
        };
        Ok(Some(chart.parts.get_or_init(|| parts)))
    }

    /// The blob that a file of the repository is.
    async fn blob(&self, file: &str) -> Result<Option<Descriptor>, BackendError> {
        let (package, is_signature) = match file.strip_suffix(".prov") {
            Some(package) => (package, true),
            None => (file, false),
        };
        let Some(chart) = self.offered.get(package) else { return Ok(None) };
        let Some(parts) = self.parts(chart).await? else { return Ok(None) };
        Ok(if is_signature { parts.signature.clone() } else { parts.package.clone() })
    }

    async fn file(&self, file: &str) -> Result<Response, BackendError> {
        let unknown = || (StatusCode::NOT_FOUND, "there is no such chart\n").into_response();
        let Some(blob) = self.blob(file).await? else { return Ok(unknown()) };
        let Some(size) = self.backend.size(&blob.digest).await? else { return Ok(unknown()) };
        let frames = self.backend.whole(&blob.digest, size).await?;
        // Too late for a status: the connection is cut, so that no client takes the part for the whole.
        let frames = frames.inspect_err(move |err| {
            tracing::error!("sending {}: {}", blob.digest, error::chain(err));
        });
        let headers: [(HeaderName, String); 3] = [
            (CONTENT_TYPE, "application/gzip".to_owned()),
            (CONTENT_LENGTH, size.to_string()),
            (ETAG, format!("\"{}\"", blob.digest)),
        ];
        Ok((headers, Body::from_stream(frames)).into_response())
    }
}

/// The charts of the locks by the names of their packages, the first stack's first.
fn charts(locks: &[Lock]) -> impl Iterator<Item = (String, Offered)> {
    let artifacts = locks.iter().flat_map(|lock| &lock.artifacts);
    artifacts.filter(|artifact| artifact.kind == Kind::Chart).filter_map(|artifact| {
        let manifest = artifact.descriptor()?;
        let (name, version) = named(artifact);
        let reference = artifact.reference.to_string();
        let (parts, metadata) = (OnceLock::new(), OnceLock::new());
        let file = format!("{name}-{version}.tgz");
        Some((file, Offered { name, version, reference, manifest, parts, metadata }))
    })
}

/// Its name and version; where the lock does not have them, those by which Helm asks a registry.
fn named(artifact: &Artifact) -> (String, String) {
    let path = artifact.reference.path();
    let base = || path.rsplit('/').next().unwrap_or_default().to_owned();
    let tag = || artifact.reference.tag().unwrap_or_default().replace('_', "+");
    let or = |text: &str, other: &dyn Fn() -> String| match text {
        "" => other(),
        text => text.to_owned(),
    };
    (or(&artifact.name, &base), or(&artifact.version, &tag))
}

fn unreadable(err: impl std::error::Error + Send + Sync + 'static) -> BackendError {
    BackendError::Read(std::io::Error::other(err))
}

async fn listing(State(charts): State<Charts>) -> Response {
    ([(CONTENT_TYPE, "application/yaml")], charts.index().await).into_response()
}

async fn package(State(charts): State<Charts>, Path(file): Path<String>) -> Response {
    charts.file(&file).await.unwrap_or_else(|err| refusal(&err))
}

/// What the operator can mend is said to whoever asks; the rest is in the log.
fn refusal(err: &BackendError) -> Response {
    match err {
        BackendError::Absent { .. } | BackendError::LeftOut { .. } => {
            (StatusCode::NOT_FOUND, format!("{err}\n")).into_response()
        }
        _ => {
            tracing::error!("{}", error::chain(err));
            let message = "the package cannot be read; the server's log says why\n";
            (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }
    }
}
