//! What the registry server reads from when it serves a bundle, a store or another registry.

use std::ops::Range;
use std::sync::Arc;

use airlift_bundle::{Availability, BundleError, Content, Sources};
use airlift_registry::server::{Asked, Backend, BackendError, StoreBackend, StoredManifest};
use airlift_spec::lock::Referrer;
use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Descriptor, Digest, Manifest};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};

use crate::names::{Names, Offered};

/// The artifacts of some sources, as a registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ContentBackend {
    sources: Sources,
    names: Arc<Names>,
    /// What clients pushed into the stores among the sources; asked where no lock has the name.
    pushed: Vec<Arc<StoreBackend>>,
}

impl ContentBackend {
    /// Reads nothing but the locks, which are in memory: a bundle of any size is served at once.
    pub fn new(sources: Sources) -> Self {
        let names = Arc::new(Names::new(sources.locks()));
        let stores = sources.contents().iter().filter_map(|content| match content {
            Content::Store(store) => Some(Arc::new(StoreBackend::new(store.clone()))),
            Content::Volumes(_) | Content::Registry(_) => None,
        });
        let pushed = stores.collect();
        Self { sources, names, pushed }
    }

    async fn small(&self, digest: &Digest) -> Result<Option<Bytes>, BackendError> {
        match self.sources.availability(digest).await.map_err(refused)? {
            Availability::Here { size } if size <= MAX_MANIFEST_BYTES => {
                self.sources.read_small(digest, MAX_MANIFEST_BYTES).await.map_err(refused)
            }
            Availability::Absent { volumes } => Err(BackendError::Absent { volumes }),
            Availability::Here { .. } | Availability::LeftOut { .. } | Availability::Unknown => {
                Ok(None)
            }
        }
    }

    async fn find_manifest(
        &self,
        offered: &Offered,
        wanted: &str,
    ) -> Result<Option<StoredManifest>, BackendError> {
        let by_digest = wanted.parse().ok();
        let Some(digest) = by_digest.or_else(|| offered.tags.get(wanted).copied()) else {
            return Ok(None);
        };
        // What the locks do not name may still be below something they do, like a manifest of a signature's index.
        let noted = offered.manifests.get(&digest).cloned().flatten();
        let Some(bytes) = self.small(&digest).await? else { return Ok(None) };
        let Ok(manifest) = Manifest::parse(&bytes, noted.as_deref()) else { return Ok(None) };
        let is_named = offered.manifests.contains_key(&digest);
        if !is_named && manifest.links().next().is_none() {
            return Ok(None);
        }
        Ok(Some(StoredManifest { bytes, media_type: manifest.media_type, digest }))
    }

    async fn pushed_size(
        &self,
        asked: &Asked,
        digest: &Digest,
    ) -> Result<Option<u64>, BackendError> {
        for store in &self.pushed {
            if let Some(size) = store.blob_size(asked, digest).await? {
                return Ok(Some(size));
            }
        }
        Ok(None)
    }

    async fn describe(&self, referrer: &Referrer) -> Result<Option<Descriptor>, BackendError> {
        let mut descriptor = referrer.descriptor();
        let Some(bytes) = self.small(&referrer.digest).await? else { return Ok(None) };
        if let Ok(manifest) = Manifest::parse(&bytes, Some(&referrer.media_type)) {
            descriptor.annotations = manifest.annotations;
        }
        Ok(Some(descriptor))
    }
}

impl Backend for ContentBackend {
    fn manifest<'a>(
        &'a self,
        asked: &'a Asked,
        wanted: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredManifest>, BackendError>> {
        async move {
            if let Some(offered) = self.names.find(asked) {
                return self.find_manifest(offered, wanted).await;
            }
            for store in &self.pushed {
                if let Some(found) = store.manifest(asked, wanted).await? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        .boxed()
    }

    fn blob_size<'a>(
        &'a self,
        asked: &'a Asked,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Option<u64>, BackendError>> {
        async move {
            if self.names.find(asked).is_none() {
                return self.pushed_size(asked, digest).await;
            }
            match self.sources.availability(digest).await.map_err(refused)? {
                Availability::Here { size } => Ok(Some(size)),
                Availability::Absent { volumes } => Err(BackendError::Absent { volumes }),
                Availability::LeftOut { .. } | Availability::Unknown => Ok(None),
            }
        }
        .boxed()
    }

    fn read_blob<'a>(
        &'a self,
        _asked: &'a Asked,
        digest: &'a Digest,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, BackendError>>, BackendError>> {
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
            if let Some(offered) = self.names.find(asked) {
                return Ok(Some(offered.tags.keys().cloned().collect()));
            }
            for store in &self.pushed {
                if let Some(tags) = store.tags(asked).await? {
                    return Ok(Some(tags));
                }
            }
            Ok(None)
        }
        .boxed()
    }

    fn referrers<'a>(
        &'a self,
        asked: &'a Asked,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, BackendError>> {
        async move {
            let mut listed = Vec::new();
            let Some(offered) = self.names.find(asked) else {
                for store in &self.pushed {
                    listed.extend(store.referrers(asked, subject).await?);
                }
                return Ok(listed);
            };
            for referrer in offered.referrers.get(subject).into_iter().flatten() {
                listed.extend(self.describe(referrer).await?);
            }
            Ok(listed)
        }
        .boxed()
    }

    fn repositories(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        async move {
            let mut all = self.names.repositories();
            for store in &self.pushed {
                all.extend(store.repositories().await?);
            }
            all.sort();
            all.dedup();
            Ok(all)
        }
        .boxed()
    }
}

fn refused(err: BundleError) -> BackendError {
    BackendError::Read(std::io::Error::other(err))
}
