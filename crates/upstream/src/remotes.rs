//! What sources read on the network that is nothing to carry: manifests, and what kustomizations name elsewhere.
//!
//! It is pinned like an image, by its address as it is written, and kept in the store: a file of a web server has no
//! earlier versions to ask for, and a commit may be gone once its branch was written anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use airlift_helm::{Address, MAX_TREE_BYTES, Repository};
use airlift_spec::lock::{Commit, RemotePin};
use airlift_spec::{Ctx, Digest, Event, Finding, Lock};
use airlift_store::StoreError;
use futures::StreamExt as _;
use tokio::sync::Mutex;

use crate::charts::file;
use crate::resolve::{ResolveOptions, Update, Upstream};
use crate::{ArtifactFailure, UpstreamError, blocking};

mod git;

pub use git::GitError;

type Pins = BTreeMap<String, RemotePin>;

/// Brings what addresses lead to, each once in a run.
#[derive(Debug, Clone)]
pub(crate) struct Remotes {
    upstream: Upstream,
    offline: bool,
    /// Pins of an earlier lock that do not move.
    keep: Arc<Pins>,
    /// What this run has brought. Whoever brings something holds it, so that two sources get the same.
    brought: Arc<Mutex<Pins>>,
    /// Of that, what sources are made of that could be understood. Nothing else is pinned: what was noise would stay so.
    pinned: Arc<Mutex<Pins>>,
    /// Of that, what one source is made of.
    of_source: Arc<Mutex<Pins>>,
    ctx: Ctx,
}

impl Remotes {
    pub(crate) fn new(
        before: Option<&Lock>,
        upstream: &Upstream,
        options: &ResolveOptions,
        ctx: &Ctx,
    ) -> Self {
        let before = before.filter(|_| options.update != Update::Everything);
        Self {
            upstream: upstream.clone(),
            offline: options.offline,
            keep: Arc::new(before.map(|lock| lock.remotes.clone()).unwrap_or_default()),
            brought: Arc::default(),
            pinned: Arc::default(),
            of_source: Arc::default(),
            ctx: ctx.clone(),
        }
    }

    /// The same, for a source of its own.
    pub(crate) fn for_source(&self) -> Self {
        Self { of_source: Arc::default(), ..self.clone() }
    }

    /// Pins what the source is made of, once that is understood.
    pub(crate) async fn pin(&self) {
        self.pinned.lock().await.append(&mut *self.of_source.lock().await);
    }

    /// What was pinned.
    pub(crate) async fn pins(&self) -> Pins {
        self.pinned.lock().await.clone()
    }

    /// A file; of a repository, the archive of what is used of it.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::RemoteMoved`] where a pin is kept that neither the store has nor the network gives any more.
    pub(crate) async fn bring(
        &self,
        written: &str,
        address: &Address,
    ) -> Result<Vec<u8>, UpstreamError> {
        let mut brought = self.brought.lock().await;
        let (pin, bytes) = self.stored_or_fetched(written, address, &brought).await?;
        brought.insert(written.to_owned(), pin.clone());
        self.of_source.lock().await.insert(written.to_owned(), pin);
        Ok(bytes)
    }

    async fn stored_or_fetched(
        &self,
        written: &str,
        address: &Address,
        brought: &Pins,
    ) -> Result<(RemotePin, Vec<u8>), UpstreamError> {
        let known = brought.get(written).or_else(|| self.keep.get(written)).cloned();
        if let Some(pin) = &known
            && let Some(bytes) = self.stored(pin.digest).await?
        {
            return Ok((pin.clone(), bytes));
        }
        if self.offline {
            return Err(UpstreamError::RemoteOffline { address: written.to_owned() });
        }
        let commit = self.commit_of(address, brought);
        let (pin, bytes) = fetch(written, address, commit, &self.upstream, &self.ctx).await?;
        if let Some(known) = known.filter(|known| *known != pin) {
            return Err(UpstreamError::RemoteMoved {
                address: written.to_owned(),
                expected: known.digest,
                actual: pin.digest,
            });
        }
        let (store, digest) = (self.upstream.store.clone(), pin.digest);
        let put = move || store.put(digest, &bytes).map(|()| bytes);
        let bytes = blocking(put).await.map_err(UpstreamError::StoreItself)?;
        Ok((pin, bytes))
    }

    /// What the store has of an address that an earlier lock pins. Asks nobody.
    pub(crate) async fn kept(&self, written: &str) -> Result<Option<Vec<u8>>, UpstreamError> {
        match self.keep.get(written) {
            Some(pin) => self.stored(pin.digest).await,
            None => Ok(None),
        }
    }

    async fn stored(&self, digest: Digest) -> Result<Option<Vec<u8>>, UpstreamError> {
        let store = self.upstream.store.clone();
        let read = move || match store.read(&digest, MAX_STORED_BYTES) {
            // Whoever gives it again has to give the same.
            Err(StoreError::DamagedBlob { .. }) => store.discard(&digest).map(|()| None),
            read => read,
        };
        blocking(read).await.map_err(UpstreamError::StoreItself)
    }

    /// The commit that a revision is pinned to, by whichever folder of the repository: one name is one commit.
    fn commit_of(&self, wanted: &Address, brought: &Pins) -> Option<Commit> {
        let Address::Repository(wanted) = wanted else { return None };
        let is_same = |written: &str| match Address::parse(written) {
            Ok(Address::Repository(it)) => {
                (it.url, it.revision) == (wanted.url.clone(), wanted.revision.clone())
            }
            _ => false,
        };
        let mut pins = brought.iter().chain(self.keep.iter());
        pins.find(|(written, _)| is_same(written))?.1.commit.clone()
    }
}

/// Tries to read a repository, the first one included.
const TRIES: u32 = 3;

/// Pause before the second try; longer before the third.
const PAUSE: Duration = Duration::from_millis(500);

/// Most bytes of what the store has: a tree with its names.
const MAX_STORED_BYTES: u64 = 2 * MAX_TREE_BYTES;

/// Asks for what an address leads to, in a repository at `commit` where there is one.
async fn fetch(
    written: &str,
    address: &Address,
    commit: Option<Commit>,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<(RemotePin, Vec<u8>), UpstreamError> {
    match address {
        Address::File(url) => {
            let bytes = file(url, airlift_scan::MAX_BYTES, upstream, ctx).await?.to_vec();
            refuse_pages(url, &bytes)?;
            Ok((RemotePin { digest: Digest::of(&bytes), commit: None }, bytes))
        }
        Address::Repository(repository) => {
            let (commit, bytes) = checkout(written, repository, commit, upstream, ctx).await?;
            Ok((RemotePin { digest: Digest::of(&bytes), commit: Some(commit) }, bytes))
        }
    }
}

async fn checkout(
    written: &str,
    repository: &Repository,
    commit: Option<Commit>,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<(Commit, Vec<u8>), UpstreamError> {
    let url = &repository.url;
    if url.starts_with("http") {
        let asked = upstream.client.may_ask(url);
        asked.map_err(|source| UpstreamError::Client { reference: url.clone(), source })?;
    }
    let what = format!("the repository of {written}");
    let mut attempt = 1;
    loop {
        let (repository, commit) = (repository.clone(), commit.clone());
        let (programs, stop) = (upstream.programs.clone(), ctx.clone());
        let tree = move || git::tree(&repository, commit.as_ref(), &programs, &stop);
        match blocking(tree).await {
            Ok(tree) => return Ok(tree),
            Err(GitError::Cancelled) => return Err(UpstreamError::Cancelled),
            Err(err) if err.is_passing() && attempt < TRIES => {
                let (wait, reason) = (PAUSE * attempt, err.to_string());
                attempt += 1;
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                ctx.events.emit(Event::Retried { what: what.clone(), attempt, wait_ms, reason });
                let slept = ctx.cancel.run_until_cancelled(tokio::time::sleep(wait)).await;
                slept.ok_or(UpstreamError::Cancelled)?;
            }
            Err(source) => return Err(UpstreamError::Git { address: written.to_owned(), source }),
        }
    }
}

/// What a server gives in the place of objects: nothing, or a web page, of a repository or for a sign-in.
fn refuse_pages(url: &str, bytes: &[u8]) -> Result<(), UpstreamError> {
    let (problem, help) = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => ("is empty", None),
        Some(b'<') => {
            let help = "name a file, or mark the address as a repository, by `?ref=` behind it";
            ("is a web page", Some(help.to_owned()))
        }
        Some(_) => return Ok(()),
    };
    Err(UpstreamError::Local { path: url.to_owned(), problem: problem.to_owned(), help })
}

/// Says which addresses lead elsewhere by now than the lock says.
pub(crate) async fn check_upstream(
    lock: &Lock,
    upstream: &Upstream,
    options: &ResolveOptions,
    ctx: &Ctx,
) -> (Vec<Finding>, Vec<ArtifactFailure>) {
    let answers = futures::stream::iter(&lock.remotes)
        .map(|(written, pin)| async move {
            // The address of a source may be one that no kustomization may have.
            let address =
                Address::parse(written).unwrap_or_else(|_| Address::File(written.clone()));
            (written, pin, fetch(written, &address, None, upstream, ctx).await)
        })
        .buffered(options.max_in_flight.get().min(MAX_CHECKS))
        .collect::<Vec<_>>();
    let (mut findings, mut failures) = (Vec::new(), Vec::new());
    for (written, pin, answer) in answers.await {
        match answer {
            Ok((now, _)) if now == *pin => {}
            Ok((now, _)) => {
                let what = match &now.commit {
                    Some(commit) => format!("it leads to commit {commit} now"),
                    None => format!("it is {} now", now.digest),
                };
                findings.push(Finding::warning("upstream-moved", written, what));
            }
            Err(UpstreamError::Absent { .. }) => {
                findings.push(Finding::warning("upstream-gone", written, "it is gone"));
            }
            Err(error) => failures.push(ArtifactFailure { reference: written.clone(), error }),
        }
    }
    (findings, failures)
}

/// Repositories that are looked at in one go.
const MAX_CHECKS: usize = 4;
