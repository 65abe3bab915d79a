//! An OCI registry in memory that can be made to misbehave.
//!
//! ```
//! use airlift_testkit::registry::{Fault, FakeRegistry, On};
//! use airlift_testkit::samples;
//!
//! let registry = FakeRegistry::start();
//! registry.put("team/app", "v1", &samples::image(1, &[10_000]));
//! registry.fail_once(On::blobs(), Fault::CutAfter(5_000));
//! // … point a client at `registry.host()`, then:
//! assert_eq!(registry.count("GET", "/blobs/"), 0);
//! ```
//!
//! It runs on a thread of its own, so tests may be synchronous or asynchronous; dropping the handle ends it.
//! It is stricter than real registries where that finds mistakes: a manifest whose blobs are not there is
//! refused, an upload's `Location` must be used as given, and the host that blobs are redirected to refuses
//! requests that carry credentials, as object stores do.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlift_spec::Digest;
use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::background::{Background, listen};
use crate::samples::Sample;
use crate::tls::{Certificates, ClientCertificate};

mod access;
mod answer;
mod content;
mod fault;
mod http1;
mod upload;

pub use access::{Auth, Bearer, Credentials};
pub use fault::{Fault, On};

use access::Tokens;
use content::Repository;
use fault::Rule;
use upload::Upload;

/// How the registry behaves when nothing is wrong. The default is open, plain HTTP, and complete.
#[derive(Debug, Clone, Default)]
pub struct FakeOptions {
    pub auth: Auth,
    pub tls: Tls,
    pub referrers: Referrers,
    /// Tags, or referrers, that one page holds at most.
    pub page_size: Option<usize>,
    /// Chunks shorter than this are refused unless they are the last; uploads say so.
    pub chunk_min_bytes: Option<u64>,
}

/// How connections are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    #[default]
    Off,
    On,
    /// Clients have to show a certificate of the registry's CA.
    Mutual,
}

/// Where signatures and SBOMs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Referrers {
    #[default]
    Api,
    /// There is no such endpoint: clients keep an index under the fallback tag.
    TagOnly,
}

/// A running registry; it ends when this is dropped.
#[derive(Debug)]
pub struct FakeRegistry {
    address: SocketAddr,
    elsewhere: SocketAddr,
    certificates: Option<Certificates>,
    shared: Arc<Shared>,
    _thread: Background,
}

/// What one request was, as the registry saw it.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub server: Server,
    /// Which connection it came on, counted from 0.
    pub connection: u64,
    /// The answer's status; none while there is no answer, or where the connection was cut before one.
    pub status: Option<u16>,
    /// Bytes of the request's body that arrived.
    pub received_bytes: u64,
    /// Bytes of the answer's body that were sent.
    pub sent_bytes: u64,
}

/// Which of the registry's two addresses was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Registry,
    /// The other host, to which [`Fault::RedirectElsewhere`] sends clients.
    Elsewhere,
}

#[derive(Debug)]
struct Shared {
    options: FakeOptions,
    /// `http://127.0.0.1:PORT`
    base: String,
    elsewhere_base: String,
    state: Mutex<State>,
}

/// Everything that changes.
#[derive(Debug, Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    /// What lies beside the registry's API, by path.
    files: BTreeMap<String, Bytes>,
    uploads: BTreeMap<u64, Upload>,
    uploads_begun: u64,
    rules: Vec<Rule>,
    requests: Vec<Recorded>,
    /// Requests that came before the first of `requests`.
    requests_forgotten: usize,
    tokens: Tokens,
    connections: u64,
    in_flight: u64,
    max_in_flight: u64,
}

impl FakeRegistry {
    /// An open registry over plain HTTP.
    pub fn start() -> Self {
        Self::with(FakeOptions::default())
    }

    pub fn with(options: FakeOptions) -> Self {
        let certificates = (options.tls != Tls::Off).then(Certificates::generate);
        let config = certificates.as_ref().map(|certificates| {
            certificates.server_config(match options.tls {
                Tls::Mutual => ClientCertificate::Required,
                Tls::Off | Tls::On => ClientCertificate::Ignored,
            })
        });
        let (listener, address) = listen(Ipv4Addr::LOCALHOST).expect("loopback has free ports");
        // Another address, not only another port: clients must see another host.
        let (other, elsewhere) =
            listen(Ipv4Addr::new(127, 0, 0, 2)).expect("all of 127.0.0.0/8 is loopback");
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            options,
            base: format!("{scheme}://{address}"),
            elsewhere_base: format!("{scheme}://{elsewhere}"),
            state: Mutex::default(),
        });
        let servers = http1::Servers { registry: listener, elsewhere: other, tls: config };
        let thread = Background::run("fake registry", {
            let shared = Arc::clone(&shared);
            move || http1::serve(servers, shared)
        });
        Self { address, elsewhere, certificates, shared, _thread: thread }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `127.0.0.1:PORT`, as it stands in references.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`, or `https`.
    pub fn url(&self) -> String {
        self.shared.base.clone()
    }

    /// `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`.
    pub fn reference(&self, repository: &str, reference: &str) -> String {
        let separator = if reference.contains(':') { '@' } else { ':' };
        format!("{}/{repository}{separator}{reference}", self.address)
    }

    /// The address of the host that blobs are redirected to.
    pub fn elsewhere(&self) -> SocketAddr {
        self.elsewhere
    }

    /// The CA that clients have to trust, and certificates for them.
    ///
    /// # Panics
    ///
    /// If the registry runs without TLS.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("the registry was started without TLS")
    }

    // ---- Content ----

    /// Puts all of `sample` into `repository` and points `tag` at its root.
    ///
    /// Without the referrers API, the fallback tags come with it.
    pub fn put(&self, repository: &str, tag: &str, sample: &Sample) {
        self.put_untagged(repository, sample);
        self.tag(repository, tag, sample.root.digest);
    }

    /// The same with no tag but those of the sample itself.
    pub fn put_untagged(&self, repository: &str, sample: &Sample) {
        let fallback = self.shared.options.referrers == Referrers::TagOnly;
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.put(sample);
        if fallback {
            repository.put_fallback_tags(sample);
        }
    }

    /// Points `tag` at `digest`.
    pub fn tag(&self, repository: &str, tag: &str, digest: Digest) {
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.tags.insert(tag.to_owned(), digest);
    }

    /// Puts an ordinary file beside the registry's API, under a path such as `/charts/index.yaml`.
    pub fn put_file(&self, path: &str, bytes: impl Into<Bytes>) {
        self.state().files.insert(path.to_owned(), bytes.into());
    }

    /// Every repository that holds anything.
    pub fn repositories(&self) -> Vec<String> {
        self.state().repositories.keys().cloned().collect()
    }

    /// The tags of `repository`, with what they point to.
    pub fn tags(&self, repository: &str) -> BTreeMap<String, Digest> {
        self.state().repositories.get(repository).map(|it| it.tags.clone()).unwrap_or_default()
    }

    /// A blob's bytes, if `repository` has it.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        self.state().repositories.get(repository)?.blobs.get(digest).cloned()
    }

    /// A manifest's bytes by tag or digest, if `repository` has it.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Bytes> {
        let state = self.state();
        Some(state.repositories.get(repository)?.manifest(reference)?.bytes.clone())
    }

    /// Whether `repository` has every blob and manifest of `sample`.
    pub fn holds(&self, repository: &str, sample: &Sample) -> bool {
        let state = self.state();
        let Some(repository) = state.repositories.get(repository) else { return false };
        sample.blobs.keys().all(|digest| repository.blobs.contains_key(digest))
            && sample.manifests.iter().all(|it| repository.manifests.contains_key(&it.digest))
    }

    /// Forgets a blob, or a manifest with its tags, in `repository`.
    pub fn remove(&self, repository: &str, digest: &Digest) {
        if let Some(repository) = self.state().repositories.get_mut(repository) {
            repository.blobs.remove(digest);
            repository.remove_manifest(digest);
        }
    }

    /// Uploads that were begun and neither finished nor given up.
    pub fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    // ---- Faults ----

    /// The next request that matches `on`, and that `fault` can apply to, fails in this way.
    pub fn fail_once(&self, on: On, fault: Fault) {
        self.fail_times(1, on, fault);
    }

    /// The next `times` such requests fail in this way.
    pub fn fail_times(&self, times: usize, on: On, fault: Fault) {
        self.state().rules.push(Rule { on, fault, left: Some(times) });
    }

    /// Every such request fails in this way, until [`heal`](Self::heal).
    pub fn fail_always(&self, on: On, fault: Fault) {
        self.state().rules.push(Rule { on, fault, left: None });
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.state().rules.clear();
    }

    /// How many faults were asked for and have not happened yet; lasting ones do not count.
    pub fn faults_left(&self) -> usize {
        self.state().rules.iter().filter_map(|rule| rule.left).sum()
    }

    // ---- What happened ----

    /// Every request so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// Requests by `method` whose path and query contain `path`.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let matches = |it: &&Recorded| it.method == method && it.path.contains(path);
        self.state().requests.iter().filter(matches).count()
    }

    /// `METHOD path status` for each request, one a line: what a snapshot shows.
    pub fn transcript(&self) -> String {
        let line = |it: &Recorded| match it.status {
            Some(status) => format!("{} {} {status}\n", it.method, it.path),
            None => format!("{} {} -\n", it.method, it.path),
        };
        self.state().requests.iter().map(line).collect()
    }

    /// Forgets the requests, and the highest number in flight, so far.
    pub fn forget_requests(&self) {
        let mut state = self.state();
        state.requests_forgotten += state.requests.len();
        state.requests.clear();
        state.max_in_flight = state.in_flight;
    }

    /// Body bytes of all answers.
    pub fn sent_bytes(&self) -> u64 {
        self.state().requests.iter().map(|request| request.sent_bytes).sum()
    }

    /// Body bytes of all requests.
    pub fn received_bytes(&self) -> u64 {
        self.state().requests.iter().map(|request| request.received_bytes).sum()
    }

    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.state().connections
    }

    /// The most requests that were under way at one moment, from their first byte to the end of their answer.
    pub fn max_in_flight(&self) -> u64 {
        self.state().max_in_flight
    }

    /// Tokens that the token endpoint gave out.
    pub fn tokens_issued(&self) -> usize {
        self.state().tokens.issued()
    }

    /// Makes every token given out so far worthless.
    pub fn expire_tokens(&self) {
        self.state().tokens.expire();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in one test's assertion must not hide behind a second one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The record of request number `id`, unless it is forgotten.
    fn record(&mut self, id: usize) -> Option<&mut Recorded> {
        self.requests.get_mut(id.checked_sub(self.requests_forgotten)?)
    }
}

impl Recorded {
    /// The `Range` that was asked for.
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// Whether it carried any credentials.
    pub fn has_authorization(&self) -> bool {
        self.headers.contains_key("authorization")
    }

    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
