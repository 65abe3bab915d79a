//! What the operator sees of the server: counters for Prometheus, and one line a request.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

/// Counters of one server, for `/metrics`. Others may add gauges of their own.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    watched: Mutex<Vec<Watched>>,
    sent_bytes: AtomicU64,
    in_flight: AtomicU64,
    connections: AtomicU64,
}

/// Labels of a sample, and its value.
pub type Sample = (Vec<(&'static str, String)>, u64);

/// A gauge that is read when the page is.
struct Watched {
    name: &'static str,
    read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Metrics {
    /// Shows what `read` says as the gauge `name`, whenever the page is asked for. It must not wait.
    pub fn watch(
        &self,
        name: &'static str,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        let watched = Watched { name, read: Box::new(read) };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
    }

    fn finished(&self, method: &Method, status: u16, sent_bytes: u64) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method_name(method), status)).or_default() += 1;
        self.sent_bytes.fetch_add(sent_bytes, Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(self.clone())
    }

    /// The page that Prometheus reads.
    pub fn render(&self) -> String {
        let mut page = String::new();
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = requests.into_iter().map(|((method, status), count)| {
            (format!("method=\"{method}\",status=\"{status}\""), count)
        });
        family(&mut page, "airlift_http_requests_total", "counter", requests);
        let gauges = [
            ("airlift_http_sent_bytes_total", "counter", &self.sent_bytes),
            ("airlift_http_requests_in_flight", "gauge", &self.in_flight),
            ("airlift_http_connections", "gauge", &self.connections),
        ];
        for (name, kind, value) in gauges {
            let value = value.load(Ordering::Relaxed);
            family(&mut page, name, kind, [(String::new(), value)]);
        }
        for watched in &*self.watched.lock().unwrap_or_else(PoisonError::into_inner) {
            let samples = (watched.read)().into_iter().map(|(labels, value)| {
                (label_text(labels.iter().map(|(label, value)| (*label, value.as_str()))), value)
            });
            family(&mut page, watched.name, "gauge", samples);
        }
        page
    }
}

fn label_text<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (label, value) in labels {
        let separator = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(text, "{separator}{label}=\"{value}\"").expect("a String takes any text");
    }
    text
}

fn family(
    page: &mut String,
    name: &str,
    kind: &str,
    samples: impl IntoIterator<Item = (String, u64)>,
) {
    writeln!(page, "# TYPE {name} {kind}").expect("a String takes any text");
    for (labels, value) in samples {
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        writeln!(page, "{name}{labels} {value}").expect("a String takes any text");
    }
}

/// Clients may make methods up; the set of labels stays small all the same.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub(super) struct Connected(Arc<Metrics>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One answered request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Access {
    pub peer: SocketAddr,
    pub method: Method,
    /// Path and query as sent: percent-encoded, so without control characters.
    pub target: String,
    pub status: u16,
    /// Bytes of the body that were handed to the connection.
    pub sent_bytes: u64,
    pub duration: Duration,
}

/// Where the access log goes. The sink knows the time; it is called once a request, when that is over.
#[derive(Clone)]
pub struct AccessLog(Arc<dyn Fn(&Access) + Send + Sync>);

impl AccessLog {
    pub fn new(sink: impl Fn(&Access) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }
}

impl Default for AccessLog {
    /// A tracing event a request.
    fn default() -> Self {
        Self::new(|access| {
            let Access { peer, method, target, status, sent_bytes, duration } = access;
            let seconds = duration.as_secs_f64();
            tracing::info!(target: "airlift::access", %peer, %method, target, status, sent_bytes, seconds);
        })
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}

/// A request from its first byte until its answer is sent or its connection gone.
pub(super) struct Observed {
    access: Access,
    began: Instant,
    metrics: Arc<Metrics>,
    log: AccessLog,
}

impl Observed {
    pub(super) fn begin<B>(
        request: &http::Request<B>,
        peer: SocketAddr,
        metrics: &Arc<Metrics>,
        log: &AccessLog,
    ) -> Self {
        metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        let target = request.uri().path_and_query().map_or("*", |target| target.as_str());
        let access = Access {
            peer,
            method: request.method().clone(),
            target: target.to_owned(),
            // What stays if no answer is ever made: the client has gone.
            status: 499,
            sent_bytes: 0,
            duration: Duration::ZERO,
        };
        Self { access, began: Instant::now(), metrics: metrics.clone(), log: log.clone() }
    }

    /// Lets the request end with the body of `response`.
    pub(super) fn answer(mut self, response: http::Response<Body>) -> http::Response<ObservedBody> {
        self.access.status = response.status().as_u16();
        response.map(|body| ObservedBody { body, observed: self })
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.access.duration = self.began.elapsed();
        let Access { method, status, sent_bytes, .. } = &self.access;
        self.metrics.finished(method, *status, *sent_bytes);
        (self.log.0)(&self.access);
    }
}

/// A body that counts what is taken of it.
pub(super) struct ObservedBody {
    body: Body,
    observed: Observed,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.observed.access.sent_bytes += bytes as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.watch("airlift_damaged_chunks", || {
            vec![(vec![("volume", "a\"b".to_owned()), ("chunk", "7".to_owned())], 1)]
        });
        metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        metrics.finished(&Method::GET, 200, 42);
        let page = metrics.render();
        for line in [
            "# TYPE airlift_http_requests_total counter",
            "airlift_http_requests_total{method=\"GET\",status=\"200\"} 1",
            "airlift_http_sent_bytes_total 42",
            "airlift_http_requests_in_flight 0",
            "airlift_damaged_chunks{volume=\"a\\\"b\",chunk=\"7\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn made_up_methods_share_one_label() {
        assert_eq!(method_name(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
