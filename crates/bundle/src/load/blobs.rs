//! Moving blobs: each one once per registry, mounted from there into the other repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use airlift_registry::client::{BlobPush, BlobSource, Client, ClientError, Repository};
use airlift_spec::{Class, Ctx, Descriptor, Digest, Explain as _};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, Semaphore};

use super::plan::{BlobPlan, Failure};
use super::report::Tally;
use super::{LoadOptions, Target};
use crate::{Availability, BundleError, Sources};

/// The blobs of a plan, and where each of them is by now.
pub(super) struct Blobs<'a> {
    sources: &'a Sources,
    target: &'a Target,
    tally: &'a Tally,
    ctx: &'a Ctx,
    places: BTreeMap<Digest, Blob>,
    slots: Semaphore,
}

struct Blob {
    bytes: u64,
    /// Repositories that have it. Whoever sends it first holds the lock meanwhile: the others wait, then mount.
    at: Mutex<BTreeSet<String>>,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(
        plan: &BTreeMap<Digest, BlobPlan>,
        sources: &'a Sources,
        target: &'a Target,
        options: &LoadOptions,
        tally: &'a Tally,
        ctx: &'a Ctx,
    ) -> Self {
        let blob = |plan: &BlobPlan| Blob { bytes: plan.bytes, at: Mutex::new(plan.at.clone()) };
        let places = plan.iter().map(|(digest, plan)| (*digest, blob(plan))).collect();
        let slots = Semaphore::new(options.parallel.get());
        Self { sources, target, tally, ctx, places, slots }
    }

    /// Brings a blob into `repository`, by the cheapest way there is.
    pub(super) async fn bring(&self, digest: &Digest, repository: &str) -> Result<(), Failure> {
        let Some(blob) = self.places.get(digest) else { return Ok(()) };
        let mut at = blob.at.lock().await;
        if at.contains(repository) {
            return Ok(());
        }
        let Some(from) = at.first().cloned() else {
            // The first to need it sends it, and the others wait for that.
            self.send(digest, blob.bytes, repository, None).await?;
            at.insert(repository.to_owned());
            return Ok(());
        };
        drop(at);
        if !self.mount(digest, repository, &from).await? {
            self.send(digest, blob.bytes, repository, Some(&from)).await?;
        }
        blob.at.lock().await.insert(repository.to_owned());
        Ok(())
    }

    async fn mount(&self, digest: &Digest, to: &str, from: &str) -> Result<bool, Failure> {
        let _slot = self.slots.acquire().await.expect("nobody closes the semaphore");
        let place = self.target.repository(to);
        match self.target.client.mount_blob(&place, digest, from, self.ctx).await {
            Ok(mounted) => {
                self.tally.mounted(mounted);
                Ok(mounted)
            }
            // Some registries refuse to mount from a repository that this user may not read; sending still works.
            Err(err) if err.class() == Class::Access => Ok(false),
            Err(err) => Err(Failure::of(&err)),
        }
    }

    async fn send(
        &self,
        digest: &Digest,
        bytes: u64,
        to: &str,
        from: Option<&str>,
    ) -> Result<(), Failure> {
        let _slot = self.slots.acquire().await.expect("nobody closes the semaphore");
        let here = self.sources.availability(digest).await.map_err(|err| Failure::of(&err))?;
        let source: Box<dyn BlobSource> = match (here, from) {
            (Availability::Here { .. }, _) | (_, None) => self.sources.blob_source(*digest, bytes),
            (_, Some(from)) => Box::new(Elsewhere {
                client: self.target.client.clone(),
                repository: self.target.repository(from),
                digest: *digest,
                ctx: self.ctx.clone(),
            }),
        };
        let blob = Descriptor::new("application/octet-stream", *digest, bytes);
        let place = self.target.repository(to);
        let pushed = self.target.client.push_blob(&place, &blob, source.as_ref(), self.ctx).await;
        match pushed.map_err(|err| why(&err))? {
            BlobPush::Sent => self.tally.sent(bytes),
            BlobPush::Mounted => self.tally.mounted(true),
            BlobPush::Present => {}
        }
        Ok(())
    }
}

/// What the client calls a broken source may be a damaged volume: then that is what it is.
fn why(err: &ClientError) -> Failure {
    if let ClientError::Source { source, .. } = err
        && let Some(inner) = source.get_ref().and_then(|inner| inner.downcast_ref::<BundleError>())
    {
        return Failure::of(inner);
    }
    Failure::of(err)
}

/// A blob of another repository of the same registry, where neither mounting works nor any source has it.
struct Elsewhere {
    client: Client,
    repository: Repository,
    digest: Digest,
    ctx: Ctx,
}

impl BlobSource for Elsewhere {
    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            let range = offset..offset.saturating_add(length as u64);
            let answer =
                self.client.read_blob(&self.repository, &self.digest, Some(range), &self.ctx).await;
            let gone =
                || io::Error::new(io::ErrorKind::NotFound, format!("{} is gone", self.digest));
            let mut frames = answer.map_err(io::Error::other)?.ok_or_else(gone)?;
            let mut bytes = BytesMut::with_capacity(length);
            while let Some(frame) = frames.try_next().await.map_err(io::Error::other)? {
                let room = length - bytes.len();
                bytes.extend_from_slice(&frame[..frame.len().min(room)]);
            }
            Ok(bytes.freeze())
        })
    }
}
