//! From a request to its answer: routes, methods, permission.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Request, Response, request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

use super::auth::{Access, Auth};
use super::backend::Backend;
use super::error::Refusal;
use super::observe::Metrics;
use super::pull::{Pull, finish};
use super::push::Push;
use super::route::{Query, Route};
use super::store_backend::StoreBackend;

const API_HEADER: HeaderName = HeaderName::from_static("docker-distribution-api-version");

const LANDING: &str = "<!doctype html><meta charset=utf-8><title>airlift</title>\
<h1>airlift</h1><p>This is a container registry. Its API is under <a href=/v2/>/v2/</a>, \
its repositories are listed under <a href=/v2/_catalog>/v2/_catalog</a>.\n";

/// What every request is answered from.
#[derive(Clone)]
pub(super) struct App {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) writable: Option<Arc<StoreBackend>>,
    pub(super) auth: Auth,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stall_timeout: Duration,
    /// Pushes, which outlive their connections until what arrived is kept.
    pub(super) pushes: TaskTracker,
}

impl App {
    /// Every route of the server: the registry, health, metrics, and `pages`, or a page that says what this is.
    pub(super) fn routes(self, pages: Option<Router>) -> Router {
        let landing = || Router::new().route("/", get(|| async { axum::response::Html(LANDING) }));
        let metrics = self.metrics.clone();
        let registry = any(move |request: axum::extract::Request| {
            let app = self.clone();
            async move { app.answer(request).await }
        });
        Router::new()
            .route("/v2", registry.clone())
            .route("/v2/", registry.clone())
            .route("/v2/{*path}", registry)
            .route("/healthz", get(|| async { "ok\n" }))
            .route(
                "/metrics",
                get(|| async move {
                    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
                    ([(CONTENT_TYPE, kind)], metrics.render())
                }),
            )
            .merge(pages.unwrap_or_else(landing))
    }

    /// Refuses a request that may not be made with the credentials that it brings.
    pub(super) async fn admit<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let access = match (request.method(), request.uri().path()) {
            // Whoever watches over the process has no password, and learns nothing but that it lives.
            (&Method::GET | &Method::HEAD, "/healthz") => return Ok(()),
            // Clients send credentials only after a challenge here, so who may push must get one.
            (&Method::GET | &Method::HEAD, "/v2/" | "/v2") if self.writable.is_some() => {
                Access::Ping
            }
            (&Method::GET | &Method::HEAD, _) => Access::Pull,
            _ => Access::Push,
        };
        self.auth.check(request.headers(), access).await
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let answer = match Route::parse(head.uri.path().strip_prefix("/v2").unwrap_or_default()) {
            Ok(route) => self.take(route, head, body).await,
            Err(refusal) => Err(refusal),
        };
        let mut response = answer.unwrap_or_else(Refusal::into_response);
        let headers = response.headers_mut();
        headers.insert(API_HEADER, HeaderValue::from_static("registry/2.0"));
        // A blob is whatever somebody pushed; no browser shall take it for a page.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn take(
        self,
        route: Route,
        head: request::Parts,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let query = Query::parse(head.uri.query());
        let is_upload = matches!(route, Route::Upload { .. });
        if matches!(head.method, Method::GET | Method::HEAD) && !is_upload {
            return self.pull(route, &head, &query).await;
        }
        let Some(store) = self.writable else {
            return Err(Refusal::method_not_allowed("GET, HEAD"));
        };
        let push = move |repository| Push {
            repository,
            headers: head.headers,
            query,
            body,
            stall_timeout: self.stall_timeout,
        };
        let pushed =
            self.pushes.spawn(async move { change(&store, &head.method, route, push).await });
        pushed.await.unwrap_or_else(|err| Err(Refusal::internal(&err)))
    }

    async fn pull(
        &self,
        route: Route,
        head: &request::Parts,
        query: &Query,
    ) -> Result<Response<Body>, Refusal> {
        let (backend, headers) = (&self.backend, &head.headers);
        let pull = Pull { backend, method: &head.method, headers, query };
        match route {
            Route::Ping => {
                let headers = Response::builder().header(CONTENT_TYPE, "application/json");
                finish(headers, Body::from("{}"))
            }
            Route::Repositories => pull.repositories().await,
            Route::Tags { repository } => pull.tags(&query.asked(repository)?).await,
            Route::Manifest { repository, wanted } => {
                pull.manifest(&query.asked(repository)?, &wanted).await
            }
            Route::Referrers { repository, subject } => {
                pull.referrers(&query.asked(repository)?, subject).await
            }
            Route::Blob { repository, digest } => {
                pull.blob(&query.asked(repository)?, digest).await
            }
            Route::Uploads { .. } => Err(Refusal::method_not_allowed("POST")),
            Route::Upload { .. } => Err(Refusal::method_not_allowed("PATCH, PUT, DELETE")),
        }
    }
}

/// Answers a request that changes something, or asks how far a change is.
async fn change(
    store: &StoreBackend,
    method: &Method,
    route: Route,
    push: impl FnOnce(String) -> Push,
) -> Result<Response<Body>, Refusal> {
    match (method.as_str(), route) {
        ("POST", Route::Uploads { repository }) => push(repository).start(store).await,
        ("GET" | "HEAD", Route::Upload { repository, id }) => {
            push(repository).status(store, &id).await
        }
        ("PATCH", Route::Upload { repository, id }) => push(repository).append(store, &id).await,
        ("PUT", Route::Upload { repository, id }) => push(repository).finish(store, &id).await,
        ("DELETE", Route::Upload { repository, id }) => push(repository).cancel(store, &id).await,
        ("PUT", Route::Manifest { repository, wanted }) => {
            push(repository).manifest(store, wanted).await
        }
        ("DELETE", Route::Manifest { repository, wanted }) => {
            push(repository).remove_manifest(store, &wanted).await
        }
        ("DELETE", Route::Blob { repository, digest }) => {
            push(repository).remove_blob(store, digest).await
        }
        (_, Route::Uploads { .. }) => Err(Refusal::method_not_allowed("POST")),
        (_, Route::Upload { .. }) => Err(Refusal::method_not_allowed("GET, PATCH, PUT, DELETE")),
        (_, Route::Manifest { .. }) => Err(Refusal::method_not_allowed("GET, HEAD, PUT, DELETE")),
        (_, Route::Blob { .. }) => Err(Refusal::method_not_allowed("GET, HEAD, DELETE")),
        (_, Route::Ping | Route::Repositories | Route::Tags { .. } | Route::Referrers { .. }) => {
            Err(Refusal::method_not_allowed("GET, HEAD"))
        }
    }
}

/// A request's body that is still in hand when the handler is done with it.
#[derive(Clone)]
pub(super) struct SharedBody(Arc<Mutex<Incoming>>);

impl SharedBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Takes in what the client still sends of a refused request, within bounds: most clients read no answer
    /// before they have sent everything, and a reset connection would hide ours from them.
    pub(super) async fn drain(mut self) {
        const MOST_BYTES: usize = 16 << 20;
        const LONGEST: Duration = Duration::from_secs(5);
        // Who sends nothing now waits for the answer, perhaps for leave to send at all.
        const SILENCE: Duration = Duration::from_millis(200);
        let discard = async {
            let mut bytes = 0;
            while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, self.frame()).await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > MOST_BYTES {
                    return;
                }
            }
        };
        // Either way the answer goes out now.
        let _ = tokio::time::timeout(LONGEST, discard).await;
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
