//! What sources read on the network that is nothing to carry: manifests, and what kustomizations name elsewhere.
//!
//! It is pinned like an image, by its address as it is written, and kept in the store: a file of a web server has no
//! earlier versions to ask for, and a commit may be gone once its branch was written anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use airlift_helm::{Address, MAX_TREE_BYTES, Repository};
use airlift_spec::lock::{Commit, RemotePin};
use airlift_spec::{Ctx, Digest, Finding, Lock};
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
            ctx: ctx.clone(),
        }
    }

    /// What was brought.
    pub(crate) async fn pins(&self) -> Pins {
        self.brought.lock().await.clone()
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
        let known = brought.get(written).or_else(|| self.keep.get(written)).cloned();
        let stored = match &known {
            Some(pin) => self.stored(pin.digest).await?,
            None => None,
        };
        if let (Some(pin), Some(bytes)) = (&known, stored) {
            brought.insert(written.to_owned(), pin.clone());
            return Ok(bytes);
        }
        if self.offline {
            return Err(UpstreamError::RemoteOffline { address: written.to_owned() });
        }
        let commit = self.commit_of(address, &brought);
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
        brought.insert(written.to_owned(), pin);
        Ok(bytes)
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
    let (programs, ctx, repository) = (upstream.programs.clone(), ctx.clone(), repository.clone());
    let done = blocking(move || git::tree(&repository, commit.as_ref(), &programs, &ctx)).await;
    done.map_err(|source| match source {
        GitError::Cancelled => UpstreamError::Cancelled,
        source => UpstreamError::Git { address: written.to_owned(), source },
    })
}

/// A web page where objects are meant: of a repository, or for a sign-in.
fn refuse_pages(url: &str, bytes: &[u8]) -> Result<(), UpstreamError> {
    let start = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if start != Some(&b'<') {
        return Ok(());
    }
    let help = "name a file, or mark the address as a repository, by `?ref=` behind it";
    Err(UpstreamError::Local {
        path: url.to_owned(),
        problem: "is a web page".to_owned(),
        help: Some(help.to_owned()),
    })
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
