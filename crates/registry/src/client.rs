//! The registry client: everything airlift knows about asking registries on bad networks.
//!
//! ```text
//! options      what decides how it works, as values           credentials  who we are to a registry
//! substitute   where a repository's bytes really come from    auth, tokens challenges, scopes, tokens
//! wire         connections, and what goes over them           exchange     one request and its answer
//! pace         how much at once, and how fast                 retry        what is tried again, after what pause
//! reach        who gives no answer any more, and is left alone
//! manifest, blob, push, listing                               what is asked of a registry
//! sink         from the line to the disk                      note         where an unfinished upload goes on
//! ```
//!
//! Every operation on a repository goes through [`Client`]: it finds the places to ask, tries each as often as its
//! failures deserve, and stops when `ctx` says so. Nothing here believes a registry: bytes are hashed, sizes
//! compared, redirects watched, and words cleaned before a person sees them.

mod auth;
mod blob;
mod counters;
mod credentials;
mod error;
mod exchange;
mod file;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod listing;
mod manifest;
mod note;
mod options;
mod pace;
mod push;
mod reach;
mod retry;
mod sink;
mod substitute;
mod tokens;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use airlift_spec::reference::DOCKER_HUB;
use airlift_spec::{Ctx, Descriptor, Digest, Reference};
use airlift_store::Store;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::task::JoinSet;
use url::Url;

pub use counters::Counters;
pub use error::ClientError;
pub use listing::TagPages;
pub use options::{ClientOptions, ProxyOptions, Tuning};
pub use wire::WireError;

use crate::Buffers;
use auth::HostAuth;
use counters::Counting;
use credentials::Credentials;
use exchange::To;
use pace::{Rate, Window};
use reach::Reach;
use retry::Tries;
use substitute::{Purpose, Substitutions};
use wire::{Transport, Transports, Wire};

/// Where Docker Hub's registry is; its name is another.
const DOCKER_HUB_REGISTRY: &str = "registry-1.docker.io";

/// Tries at a mirror before the next place is asked.
const MIRROR_ATTEMPTS: usize = 2;

/// Everything airlift knows about reaching registries. Cheap to clone; clones share connections, tokens, limits
/// and counters.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// Where a repository is: canonical host and path. Where its bytes really come from is looked up at connect time,
/// inside the client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    pub host: String,
    pub path: String,
}

impl From<&Reference> for Repository {
    fn from(reference: &Reference) -> Self {
        Self { host: reference.host().to_owned(), path: reference.path().to_owned() }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    pub bytes: Vec<u8>,
    pub media_type: String,
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Referrers {
    /// The referrers API answered.
    Api(Vec<Descriptor>),
    /// The registry has no referrers API; this is what its fallback tag says.
    FallbackTag(Vec<Descriptor>),
}

/// What a push of one blob came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobPush {
    /// The registry found, when asked to open the upload, that it has the blob.
    Present,
    Mounted,
    Sent,
}

/// What bringing a blob into a store came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// It was there.
    Present,
    /// Another process is at it: ask again later.
    Busy,
    Brought,
}

/// Where the bytes of a blob to push come from: the store, volumes, or another registry.
pub trait BlobSource: Send + Sync {
    /// `length` bytes (fewer only at the end) from `offset`.
    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, std::io::Result<Bytes>>;
}

/// What all clones share.
struct Shared {
    options: ClientOptions,
    wire: Wire,
    credentials: Credentials,
    substitutions: Substitutions,
    rate: Rate,
    counting: Counting,
    /// For blobs on their way to the disk.
    buffers: Buffers,
    reach: Reach,
    hosts: Mutex<BTreeMap<(String, bool), Arc<Host>>>,
    /// Which of a repository's places answered last, so that the others are not asked in vain each time.
    answered: Mutex<BTreeMap<Repository, String>>,
    /// Uploads that a registry opened when it was asked to mount.
    opened: Mutex<BTreeMap<(Repository, Digest), Url>>,
}

/// One registry, as far as it is known.
#[derive(Debug)]
struct Host {
    /// As the user knows it, for messages and credentials.
    name: String,
    /// Where to connect.
    authority: String,
    transports: Transports,
    auth: HostAuth,
    reads: Arc<Window>,
    writes: Arc<Window>,
    habits: Habits,
}

/// What a registry turned out (not) to do; found out once.
#[derive(Debug, Default)]
struct Habits {
    /// 0: not known, 1: has the referrers API, 2: has not.
    referrers: AtomicU8,
    /// Whether somebody has asked for referrers; held by the first who does.
    asked_referrers: tokio::sync::Mutex<bool>,
    no_single_post: AtomicBool,
    no_chunks: AtomicBool,
}

/// A repository at one of the places where it may be.
#[derive(Debug, Clone)]
struct Endpoint {
    host: Arc<Host>,
    repository: String,
    attempts: usize,
}

/// Who was asked, as messages name it.
#[derive(Debug)]
struct Peer {
    name: String,
    /// Not a host that the registry sends its clients to, for blobs or for a token.
    is_registry: bool,
}

impl Host {
    fn url(&self, transport: Transport, to: &To) -> Result<Url, ClientError> {
        match to {
            To::Url(url) => Ok(url.clone()),
            To::Api(path) => {
                let text = format!("{}://{}/v2/{path}", transport.scheme(), self.authority);
                Url::parse(&text).map_err(|err| ClientError::Config {
                    what: "the registry's address",
                    reason: format!("`{}`: {err}", self.authority),
                })
            }
        }
    }

    /// Who answers at `url`: the registry, or where it led.
    fn peer(&self, url: &Url) -> Peer {
        let own = self.url(self.transports.current(), &To::Api(String::new()));
        let is_registry = own.is_ok_and(|own| own.host() == url.host() && own.port() == url.port());
        let elsewhere = url.host_str().filter(|_| !is_registry);
        let name = elsewhere.map_or_else(
            || self.name.clone(),
            |host| {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{host}{port} (where {} sends its clients)", self.name)
            },
        );
        Peer { name, is_registry }
    }

    /// Whether `url` is on the very origin that our proof is for.
    fn is_at(&self, url: &Url) -> bool {
        self.url(self.transports.current(), &To::Api(String::new()))
            .is_ok_and(|own| own.origin() == url.origin())
    }
}

impl Client {
    /// # Errors
    ///
    /// [`ClientError::Config`] if a file or certificate among the options cannot be understood.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let shared = Shared {
            wire: Wire::new(&options)?,
            credentials: Credentials::parse(&options)?,
            substitutions: Substitutions::parse(&options.upstreams, &options.registries_conf)?,
            rate: Rate::new(options.limit_rate),
            counting: Counting::default(),
            buffers: Buffers::default(),
            reach: Reach::new(options.tuning.lost_after, options.stall_timeout),
            hosts: Mutex::default(),
            answered: Mutex::default(),
            opened: Mutex::default(),
            options,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Requests and bytes so far, of all clones together.
    pub fn counters(&self) -> Counters {
        self.shared.counting.read()
    }

    /// The manifest under a tag or digest; none where the registry has none. Checked against the digest asked for.
    pub async fn manifest(
        &self,
        repository: &Repository,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<Option<FetchedManifest>, ClientError> {
        self.shared
            .ask_places(repository, purpose(wanted), ctx, |shared, endpoint| {
                Box::pin(shared.manifest_at(endpoint, wanted, ctx))
            })
            .await
    }

    /// HEAD: digest, size and media type, without the bytes.
    pub async fn describe(
        &self,
        repository: &Repository,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<Option<Descriptor>, ClientError> {
        self.shared
            .ask_places(repository, purpose(wanted), ctx, |shared, endpoint| {
                Box::pin(shared.describe_at(endpoint, wanted, ctx))
            })
            .await
    }

    /// A file of an ordinary web server, whole; none where there is none.
    ///
    /// # Errors
    ///
    /// [`ClientError::TooLarge`] where it is longer than `limit` bytes.
    pub async fn file(
        &self,
        address: &str,
        limit: usize,
        ctx: &Ctx,
    ) -> Result<Option<Bytes>, ClientError> {
        stoppable(ctx, self.shared.file(address, "*/*", limit, ctx)).await
    }

    /// The same, of a server that asks to be told what is accepted.
    pub async fn file_of_type(
        &self,
        address: &str,
        media_type: &'static str,
        limit: usize,
        ctx: &Ctx,
    ) -> Result<Option<Bytes>, ClientError> {
        stoppable(ctx, self.shared.file(address, media_type, limit, ctx)).await
    }

    /// Whether [`Self::file`] would ask there: for a program of others' that does.
    ///
    /// # Errors
    ///
    /// [`ClientError::Config`] where it is no address of a web server, or not encrypted.
    pub fn may_ask(&self, address: &str) -> Result<(), ClientError> {
        self.shared.web_address(address).map(drop)
    }

    /// Brings a blob into `store` through its gate.
    ///
    /// Goes on where an earlier run stopped. Bytes that turn out wrong are asked for once more from the first one.
    ///
    /// # Cancel safety
    ///
    /// What came before the last checkpoint is kept in the staging file. Dropped, it may hold the blob for a moment longer.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongDigest`] if they are wrong again.
    pub async fn fetch_into(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        store: &Store,
        ctx: &Ctx,
    ) -> Result<Fetched, ClientError> {
        let (shared, store, ctx) = (Arc::clone(&self.shared), store.clone(), ctx.clone());
        let (repository, blob) = (repository.clone(), blob.clone());
        // A task of its own runs on a thread that waits for lines: nobody else is woken for each piece that comes.
        let mut task = JoinSet::new();
        task.spawn(async move { shared.fetch_into(&repository, &blob, &store, &ctx).await });
        let fetched = task.join_next().await.expect("one task was spawned");
        fetched.map_err(ClientError::Thread)?
    }

    /// A piece of a blob, as it comes; for serving out of a registry and for small reads. Not checked, not retried
    /// once bytes flow. None where the registry lacks the blob.
    pub async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Option<Range<u64>>,
        ctx: &Ctx,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, ClientError>>>, ClientError> {
        self.shared
            .ask_places(repository, Purpose::ReadByDigest, ctx, |shared, endpoint| {
                Box::pin(shared.read_blob_at(endpoint, *digest, range.clone(), ctx))
            })
            .await
    }

    /// The size of a blob; none where the registry lacks it.
    pub async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
        ctx: &Ctx,
    ) -> Result<Option<u64>, ClientError> {
        self.shared
            .ask_places(repository, Purpose::ReadByDigest, ctx, |shared, endpoint| {
                Box::pin(shared.blob_size_at(endpoint, *digest, ctx))
            })
            .await
    }

    /// Asks the registry to take the blob from another of its repositories; false where it does not. The upload
    /// that it opens instead is used by the next [`Client::push_blob`].
    pub async fn mount_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &str,
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        let endpoint = self.shared.writer(repository)?;
        // The other repository's name is as it is there, should names be substituted.
        let source = Repository { host: repository.host.clone(), path: from.to_owned() };
        let from = self.shared.writer(&source)?;
        let mounting = self.shared.mount(repository, &endpoint, *digest, &from.repository, ctx);
        stoppable(ctx, mounting).await
    }

    /// Sends a blob without asking whether it is there: the caller knows, or asks [`Client::blob_size`].
    ///
    /// Large blobs go in chunks and are resumed, by another process too where [`ClientOptions::state`] is given.
    /// `source` gives bytes by offset, so that a chunk can be sent again.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        source: &dyn BlobSource,
        ctx: &Ctx,
    ) -> Result<BlobPush, ClientError> {
        let endpoint = self.shared.writer(repository)?;
        stoppable(ctx, self.shared.push(repository, &endpoint, blob, source, ctx)).await
    }

    /// Puts a manifest under a tag or digest; true where the registry says it knows the subject (`OCI-Subject`).
    pub async fn push_manifest(
        &self,
        repository: &Repository,
        wanted: &str,
        media_type: &str,
        bytes: &[u8],
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        let endpoint = self.shared.writer(repository)?;
        let pushing = self.shared.push_manifest(&endpoint, wanted, media_type, bytes, ctx);
        stoppable(ctx, pushing).await
    }

    /// All tags, in the registry's order; none where it does not know the repository.
    pub async fn tags(
        &self,
        repository: &Repository,
        ctx: &Ctx,
    ) -> Result<Option<Vec<String>>, ClientError> {
        self.shared
            .ask_places(repository, Purpose::ReadByTag, ctx, |shared, endpoint| {
                Box::pin(shared.tags_at(endpoint, ctx))
            })
            .await
    }

    /// The same, for who may not want them all; none where it does not know the repository.
    pub async fn tag_pages(
        &self,
        repository: &Repository,
        ctx: &Ctx,
    ) -> Result<Option<TagPages>, ClientError> {
        self.shared
            .ask_places(repository, Purpose::ReadByTag, ctx, |shared, endpoint| {
                Box::pin(shared.tag_pages_at(endpoint, ctx))
            })
            .await
    }

    /// What refers to `subject`.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        ctx: &Ctx,
    ) -> Result<Referrers, ClientError> {
        let found = self
            .shared
            .ask_places(repository, Purpose::ReadByDigest, ctx, |shared, endpoint| {
                Box::pin(shared.referrers_at(endpoint, *subject, ctx))
            })
            .await?;
        Ok(found.unwrap_or(Referrers::FallbackTag(Vec::new())))
    }

    /// False where there is nothing to delete.
    pub async fn delete_manifest(
        &self,
        repository: &Repository,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        let endpoint = self.shared.writer(repository)?;
        stoppable(ctx, self.shared.delete_manifest(&endpoint, wanted, ctx)).await
    }

    /// From now on asks this registry for tokens with the right to push, whatever they are for: some answer 401
    /// about a repository that is not there yet to who may only pull.
    pub fn will_push_to(&self, host: &str) -> Result<(), ClientError> {
        let nowhere = Repository { host: host.to_owned(), path: String::new() };
        self.shared.writer(&nowhere)?.host.auth.will_push();
        Ok(())
    }

    /// Whether the registry answers and takes our credentials.
    pub async fn ping(&self, host: &str, ctx: &Ctx) -> Result<(), ClientError> {
        let nowhere = Repository { host: host.to_owned(), path: String::new() };
        let endpoint = self.shared.writer(&nowhere)?;
        stoppable(ctx, self.shared.ping(&endpoint, ctx)).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Asks the places where a repository may be, one after the other, until one has what is wanted.
    ///
    /// What the last one says counts: it is the registry itself, the others are copies.
    async fn ask_places<'a, T>(
        self: &'a Arc<Self>,
        repository: &Repository,
        purpose: Purpose,
        ctx: &Ctx,
        ask: impl Fn(&'a Arc<Self>, Endpoint) -> BoxFuture<'a, Result<Option<T>, ClientError>>,
    ) -> Result<Option<T>, ClientError> {
        let mut endpoints = self.endpoints(repository, purpose)?;
        let last = endpoints.pop().expect("there is always the registry itself");
        for endpoint in endpoints {
            let authority = endpoint.host.authority.clone();
            match stoppable(ctx, ask(self, endpoint)).await {
                Ok(Some(found)) => {
                    self.remember(repository, authority);
                    return Ok(Some(found));
                }
                Ok(None) => {}
                Err(err) if err.is_ours() => return Err(err),
                Err(err) => {
                    let why = airlift_spec::error::chain(&err);
                    ctx.events.note(format!("{repository}: asking the next place, since {why}"));
                }
            }
        }
        stoppable(ctx, ask(self, last)).await
    }

    /// The places to ask, the one that answered before first, the registry itself last.
    fn endpoints(
        &self,
        repository: &Repository,
        purpose: Purpose,
    ) -> Result<Vec<Endpoint>, ClientError> {
        let purpose = if self.options.reads_from_mirrors { purpose } else { Purpose::Write };
        let places = self.substitutions.places(&repository.host, &repository.path, purpose)?;
        let count = places.len();
        let mut endpoints: Vec<Endpoint> = places
            .into_iter()
            .enumerate()
            .map(|(at, place)| {
                let all = self.options.attempts.get();
                let attempts = if at + 1 == count { all } else { all.min(MIRROR_ATTEMPTS) };
                let host = self.host(&place.host, place.insecure);
                Endpoint { host, repository: place.path, attempts }
            })
            .collect();
        if count > 2 {
            let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            let known = answered.get(repository);
            let mirrors = &mut endpoints[..count - 1];
            mirrors.sort_by_key(|mirror| Some(&mirror.host.authority) != known);
        }
        Ok(endpoints)
    }

    /// Where to write: the registry itself, never a mirror.
    fn writer(&self, repository: &Repository) -> Result<Endpoint, ClientError> {
        let mut endpoints = self.endpoints(repository, Purpose::Write)?;
        Ok(endpoints.pop().expect("there is always the registry itself"))
    }

    fn remember(&self, repository: &Repository, authority: String) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.insert(repository.clone(), authority);
    }

    fn host(&self, name: &str, insecure: bool) -> Arc<Host> {
        let insecure = insecure || !self.options.verifies_tls;
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry((name.to_owned(), insecure)).or_insert_with(|| {
            let authority = if name == DOCKER_HUB { DOCKER_HUB_REGISTRY } else { name };
            let max = self.options.max_in_flight.get();
            let window = || Window::new(self.options.tuning.first_window, max);
            Arc::new(Host {
                name: name.to_owned(),
                authority: authority.to_owned(),
                transports: Transports::of(authority, insecure, &self.options.plain_http),
                auth: HostAuth::default(),
                reads: window(),
                writes: window(),
                habits: Habits::default(),
            })
        });
        Arc::clone(host)
    }

    fn tries<'a>(&'a self, endpoint: &'a Endpoint, what: &str, ctx: &'a Ctx) -> Tries<'a> {
        let what = format!("{what} of {}/{}", endpoint.host.name, endpoint.repository);
        Tries::new(what, endpoint.attempts, &self.options.tuning, &self.counting, ctx)
    }
}

impl Habits {
    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }

    fn set(flag: &AtomicBool) {
        flag.store(true, Ordering::Relaxed);
    }
}

/// Ends `work` when the user does.
async fn stoppable<T>(
    ctx: &Ctx,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    ctx.cancel.run_until_cancelled(work).await.unwrap_or(Err(ClientError::Cancelled))
}

fn purpose(wanted: &str) -> Purpose {
    if wanted.parse::<Digest>().is_ok() { Purpose::ReadByDigest } else { Purpose::ReadByTag }
}
