//! What the registry server reads from when it serves a bundle, a store or another registry.
//!
//! A name answers from the locks first, then from what was pushed into the stores among the sources. Which source
//! has a blob does not matter: they are joined by digest.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use airlift_bundle::{Availability, BundleError, Content, Sources};
use airlift_registry::server::{
    Asked, Backend, BackendError, Metrics, StoreBackend, StoredManifest,
};
use airlift_spec::lock::Referrer;
use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Descriptor, Digest, Lock, Manifest};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};

use crate::names::{Names, Offered};

pub(crate) type Frames = BoxStream<'static, Result<Bytes, BackendError>>;

/// The artifacts of some sources, as a registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ContentBackend {
    sources: Sources,
    names: Arc<Names>,
    /// What clients pushed into the stores among the sources; asked where no lock has the name.
    pushed: Vec<Arc<StoreBackend>>,
}

impl ContentBackend {
    /// Reads nothing but the locks, which are in memory: a bundle of any size is served at once. Damage that shows
    /// while it is read is told in `metrics`.
    pub fn new(sources: Sources, metrics: &Metrics) -> Self {
        let names = Arc::new(Names::new(sources.locks()));
        let stores = sources.contents().iter().filter_map(|content| match content {
            Content::Store(store) => Some(Arc::new(StoreBackend::new(store.clone()))),
            Content::Volumes(_) | Content::Registry(_) => None,
        });
        let pushed = stores.collect();
        watch(&sources, metrics);
        Self { sources, names, pushed }
    }

    pub(crate) async fn small(&self, digest: &Digest) -> Result<Option<Bytes>, BackendError> {
        match self.size(digest).await? {
            Some(size) if size <= MAX_MANIFEST_BYTES => {
                self.sources.read_small(digest, MAX_MANIFEST_BYTES).await.map_err(refused)
            }
            _ => Ok(None),
        }
    }

    pub(crate) async fn size(&self, digest: &Digest) -> Result<Option<u64>, BackendError> {
        match self.sources.availability(digest).await.map_err(refused)? {
            Availability::Here { size } => Ok(Some(size)),
            Availability::Absent { volumes } => Err(BackendError::Absent { volumes }),
            Availability::LeftOut { repository } => Err(BackendError::LeftOut { repository }),
            Availability::Unknown => Ok(None),
        }
    }

    /// All bytes of a blob of this size, checked as they are read.
    pub(crate) async fn whole(&self, digest: &Digest, size: u64) -> Result<Frames, BackendError> {
        let frames = self.sources.read(digest, 0..size).await.map_err(refused)?;
        Ok(frames.map(|frame| frame.map_err(refused)).boxed())
    }

    pub(crate) fn locks(&self) -> &[Lock] {
        self.sources.locks()
    }

    /// What to say of a name that no source has: nothing, unless the list of a bundle is not here.
    fn unknown<T>(&self) -> Result<Option<T>, BackendError> {
        let unlisted = self.sources.without_lock().iter().map(|finding| finding.object.clone());
        let volumes: BTreeSet<String> = unlisted.collect();
        if volumes.is_empty() {
            return Ok(None);
        }
        Err(BackendError::Unlisted { volumes: volumes.into_iter().collect() })
    }

    async fn offered_manifest(
        &self,
        offered: &Offered,
        wanted: &str,
    ) -> Result<Option<StoredManifest>, BackendError> {
        let by_digest = wanted.parse().ok();
        let Some(digest) = by_digest.or_else(|| offered.tags.get(wanted).copied()) else {
            return Ok(None);
        };
        let noted = offered.manifests.get(&digest).cloned().flatten();
        let Some(bytes) = self.small(&digest).await? else { return Ok(None) };
        let Ok(manifest) = Manifest::parse(&bytes, noted.as_deref()) else { return Ok(None) };
        // What the locks do not name may still be below something they do, like a manifest of a signature's index.
        let is_named = offered.manifests.contains_key(&digest);
        if !is_named && manifest.links().next().is_none() {
            return Ok(None);
        }
        Ok(Some(StoredManifest { bytes, media_type: manifest.media_type, digest }))
    }

    /// What a list says about a referrer; none where no source ever had it. One whose volume is absent or damaged
    /// is listed all the same: whoever asks for it is told why.
    async fn describe(&self, referrer: &Referrer) -> Option<Descriptor> {
        let mut descriptor = referrer.descriptor();
        if let Ok(bytes) = self.small(&referrer.digest).await {
            let manifest = Manifest::parse(&bytes?, Some(&referrer.media_type));
            descriptor.annotations = manifest.map(|it| it.annotations).unwrap_or_default();
        }
        Some(descriptor)
    }
}

/// Shows what turned out damaged as gauges.
fn watch(sources: &Sources, metrics: &Metrics) {
    let watched = sources.clone();
    metrics.watch("airlift_damaged_chunks", move || {
        let damage = watched.damage().into_iter();
        let chunks = damage.flat_map(|(volume, chunks)| {
            chunks.into_iter().map(move |chunk| (volume.clone(), chunk.to_string()))
        });
        chunks.map(|(volume, chunk)| (vec![("volume", volume), ("chunk", chunk)], 1)).collect()
    });
    let watched = sources.clone();
    metrics.watch("airlift_damaged_blobs", move || {
        let blobs = watched.damaged_blobs().into_iter();
        blobs
            .map(|(volume, digest)| (vec![("volume", volume), ("digest", digest.to_string())], 1))
            .collect()
    });
}

impl Backend for ContentBackend {
    fn manifest<'a>(
        &'a self,
        asked: &'a Asked,
        wanted: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredManifest>, BackendError>> {
        async move {
            if let Some(offered) = self.names.find(asked)
                && let Some(found) = self.offered_manifest(offered, wanted).await?
            {
                return Ok(Some(found));
            }
            for store in &self.pushed {
                if let Some(found) = store.manifest(asked, wanted).await? {
                    return Ok(Some(found));
                }
            }
            self.unknown()
        }
        .boxed()
    }

    fn blob_size<'a>(
        &'a self,
        asked: &'a Asked,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Option<u64>, BackendError>> {
        async move {
            if self.names.find(asked).is_some() {
                return self.size(digest).await;
            }
            for store in &self.pushed {
                if let Some(size) = store.blob_size(asked, digest).await? {
                    return Ok(Some(size));
                }
            }
            self.unknown()
        }
        .boxed()
    }

    fn read_blob<'a>(
        &'a self,
        _asked: &'a Asked,
        digest: &'a Digest,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Frames, BackendError>> {
        async move {
            let frames = self.sources.read(digest, range).await.map_err(refused)?;
            Ok(frames.map(|frame| frame.map_err(refused)).boxed())
        }
        .boxed()
    }

    fn tags<'a>(
        &'a self,
        asked: &'a Asked,
    ) -> BoxFuture<'a, Result<Option<Vec<String>>, BackendError>> {
        async move {
            let offered = self.names.find(asked).map(|offered| offered.tags.keys().cloned());
            let mut all: Option<BTreeSet<String>> = offered.map(Iterator::collect);
            for store in &self.pushed {
                if let Some(tags) = store.tags(asked).await? {
                    all.get_or_insert_default().extend(tags);
                }
            }
            all.map_or_else(|| self.unknown(), |tags| Ok(Some(tags.into_iter().collect())))
        }
        .boxed()
    }

    fn referrers<'a>(
        &'a self,
        asked: &'a Asked,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, BackendError>> {
        async move {
            let mut listed: Vec<Descriptor> = Vec::new();
            let offered = self.names.find(asked).and_then(|offered| offered.referrers.get(subject));
            for referrer in offered.into_iter().flatten() {
                listed.extend(self.describe(referrer).await);
            }
            for store in &self.pushed {
                let pushed = store.referrers(asked, subject).await?;
                let is_new = |it: &Descriptor| listed.iter().all(|known| known.digest != it.digest);
                let new: Vec<_> = pushed.into_iter().filter(is_new).collect();
                listed.extend(new);
            }
            Ok(listed)
        }
        .boxed()
    }

    fn repositories(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        async move {
            let mut all: BTreeSet<String> = self.names.repositories().into_iter().collect();
            for store in &self.pushed {
                all.extend(store.repositories().await?);
            }
            Ok(all.into_iter().collect())
        }
        .boxed()
    }
}

fn refused(err: BundleError) -> BackendError {
    match err {
        BundleError::Absent { volumes, .. } => BackendError::Absent { volumes },
        BundleError::Damaged { volume, chunk } => {
            BackendError::Damaged { medium: format!("{volume}, chunk {chunk}") }
        }
        BundleError::MemberDamaged { volume, digest } => {
            BackendError::Damaged { medium: format!("{volume}, {digest}") }
        }
        err => BackendError::Read(std::io::Error::other(err)),
    }
}
