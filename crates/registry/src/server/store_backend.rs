//! A store that answers pulls and takes pushes.
//!
//! **Order of a push.** The root names a blob before the blob has its name (`gc` must find an owner for every
//! blob), and a tag points to a manifest only when that manifest, and the root that owns it, are durable. A kill
//! between any two steps leaves a root that names more than there is, never a tag that leads nowhere.

use std::ops::Range;
use std::sync::Arc;

use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Descriptor, Digest, Layout, Manifest, Reference};
use airlift_store::{Pushed, PushedManifest, Store, StoreError};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::backend::{Asked, Backend, BackendError, StoredManifest};
use super::blocking::blocking;
use super::error::{Code, Refusal};
use super::frames::Frames;
use super::pushed::{ChangeError, Repositories, Repository};
use super::route::Wanted;
use super::upload::{Claim, Uploads};

/// What was pushed into a store, and the way in.
#[derive(Debug)]
pub struct StoreBackend {
    store: Arc<Store>,
    repositories: Repositories,
    uploads: Uploads,
    frames: Frames,
}

/// What became of a DELETE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    Done,
    NothingThere,
}

impl StoreBackend {
    pub fn new(store: Arc<Store>) -> Self {
        let repositories = Repositories::new(store.clone());
        let uploads = Uploads::new(store.clone());
        Self { store, repositories, uploads, frames: Frames::default() }
    }

    pub(super) fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// The repository that `asked` means: containerd names the host beside the path, and pushes in the host
    /// layout put it in front.
    async fn resolve(&self, asked: &Asked) -> Result<Arc<Repository>, BackendError> {
        if let Some(name) = host_form(asked) {
            let found = self.repositories.get(&name).await?;
            if !is_empty(&found.pushed()) {
                return Ok(found);
            }
        }
        Ok(self.repositories.get(&asked.repository).await?)
    }

    async fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>, BackendError> {
        let store = self.store.clone();
        let read = blocking(move || store.read(&digest, MAX_MANIFEST_BYTES)).await;
        read.map_err(BackendError::Read)?.map_err(|err| unreadable(err, digest))
    }

    /// Makes a blob that is here one of the repository's.
    async fn link(&self, repository: &str, blob: Digest) -> Result<(), Refusal> {
        let repository = self.repositories.get_to_push(repository).await?;
        Ok(insert(&repository, blob).await?)
    }

    /// Publishes an upload as a blob of the repository.
    pub(super) async fn publish(
        &self,
        repository: &str,
        upload: Claim,
        blob: Digest,
    ) -> Result<(), Refusal> {
        let repository = self.repositories.get_to_push(repository).await?;
        let publishing = repository.publishing.read().await;
        insert(&repository, blob).await?;
        let committed = self.uploads.commit(upload, blob).await;
        if committed.is_ok() {
            // A DELETE may have come between.
            insert(&repository, blob).await?;
            return Ok(());
        }
        drop(publishing);
        self.take_back(&repository, blob).await?;
        committed
    }

    /// Takes out of the root what never came.
    async fn take_back(
        &self,
        repository: &Arc<Repository>,
        blob: Digest,
    ) -> Result<(), ChangeError> {
        // Others are publishing, perhaps this very blob: then the name stays, and means nothing without bytes.
        let Ok(_alone) = repository.publishing.try_write() else { return Ok(()) };
        if self.store.contains(&blob) {
            return Ok(());
        }
        repository.change(move |pushed| pushed.blobs.remove(&blob)).await
    }

    /// Gives `repository` a blob that is here already; false where it is not, or `from` has not got it.
    pub(super) async fn mount(
        &self,
        repository: &str,
        blob: Digest,
        from: Option<&str>,
    ) -> Result<bool, Refusal> {
        if let Some(from) = from {
            let source = self.repositories.get(from).await?;
            if !source.pushed().blobs.contains(&blob) {
                return Ok(false);
            }
        }
        if !self.store.contains(&blob) {
            return Ok(false);
        }
        self.link(repository, blob).await?;
        Ok(true)
    }

    /// Stores a manifest and points `tags` to it.
    pub(super) async fn put_manifest(
        &self,
        repository: &str,
        digest: Digest,
        bytes: Bytes,
        manifest: &Manifest,
        tags: &[String],
    ) -> Result<(), Refusal> {
        let repository = self.repositories.get_to_push(repository).await?;
        let _pushing = repository.removal.read().await;
        let blobs = self.blobs_here(&repository.pushed(), manifest)?;
        let entry = PushedManifest {
            media_type: manifest.media_type.clone(),
            size: bytes.len() as u64,
            subject: manifest.subject.as_ref().map(|subject| subject.digest),
        };
        if is_new(&repository.pushed(), digest, &entry, &blobs) {
            repository
                .change(move |pushed| {
                    pushed.blobs.extend(blobs);
                    pushed.manifests.insert(digest, entry);
                })
                .await?;
        }
        let store = self.store.clone();
        blocking(move || store.put(digest, &bytes))
            .await
            .map_err(|err| Refusal::internal(&err))??;
        let tags: Vec<String> = tags
            .iter()
            .filter(|tag| repository.pushed().tags.get(*tag) != Some(&digest))
            .cloned()
            .collect();
        if !tags.is_empty() {
            let entries = tags.into_iter().map(move |tag| (tag, digest));
            repository.change(move |pushed| pushed.tags.extend(entries)).await?;
        }
        Ok(())
    }

    /// The blobs of `manifest` that the store has. One that it lacks is refused, unless its licence may forbid
    /// to push it: a tag must not lead to an image that cannot be pulled.
    fn blobs_here(&self, pushed: &Pushed, manifest: &Manifest) -> Result<Vec<Digest>, Refusal> {
        let mut here = Vec::with_capacity(manifest.blobs.len());
        for blob in &manifest.blobs {
            if self.store.contains(&blob.digest) {
                here.push(blob.digest);
            } else if !blob.is_non_distributable() && !pushed.manifests.contains_key(&blob.digest) {
                let message = format!("the manifest names {}, which was not pushed", blob.digest);
                return Err(Refusal::bad_request(Code::ManifestBlobUnknown, message));
            }
        }
        Ok(here)
    }

    /// Takes a tag away, or a manifest with every tag that points to it and the blobs that only it named.
    pub(super) async fn remove_manifest(
        &self,
        repository: &str,
        wanted: &Wanted,
    ) -> Result<Removal, Refusal> {
        let repository = self.repositories.get(repository).await?;
        let _removing = repository.removal.write().await;
        match wanted {
            Wanted::Tag(tag) if repository.pushed().tags.contains_key(tag) => {
                let tag = tag.clone();
                repository.change(move |pushed| pushed.tags.remove(&tag)).await?;
            }
            Wanted::Digest(digest) if repository.pushed().manifests.contains_key(digest) => {
                let digest = *digest;
                let orphans = self.orphans(&repository.pushed(), digest).await?;
                repository
                    .change(move |pushed| {
                        pushed.tags.retain(|_, target| *target != digest);
                        pushed.blobs.retain(|blob| !orphans.contains(blob));
                        pushed.manifests.remove(&digest);
                    })
                    .await?;
            }
            Wanted::Tag(_) | Wanted::Digest(_) => return Ok(Removal::NothingThere),
        }
        Ok(Removal::Done)
    }

    /// The blobs that no manifest but `leaving` names.
    async fn orphans(&self, pushed: &Pushed, leaving: Digest) -> Result<Vec<Digest>, Refusal> {
        let mut orphans = self.blobs_of(leaving).await?;
        for other in pushed.manifests.keys().filter(|other| **other != leaving) {
            if orphans.is_empty() {
                break;
            }
            let kept = self.blobs_of(*other).await?;
            orphans.retain(|blob| !kept.contains(blob));
        }
        Ok(orphans)
    }

    async fn blobs_of(&self, digest: Digest) -> Result<Vec<Digest>, Refusal> {
        let unanswered = |err| Refusal::unanswered(Code::ManifestUnknown, &err);
        let Some(bytes) = self.read(digest).await.map_err(unanswered)? else {
            return Ok(Vec::new());
        };
        let manifest = Manifest::parse(&bytes, None)?;
        Ok(manifest.blobs.iter().map(|blob| blob.digest).collect())
    }

    pub(super) async fn remove_blob(
        &self,
        repository: &str,
        blob: Digest,
    ) -> Result<Removal, Refusal> {
        let repository = self.repositories.get(repository).await?;
        if !repository.pushed().blobs.contains(&blob) {
            return Ok(Removal::NothingThere);
        }
        repository.change(move |pushed| pushed.blobs.remove(&blob)).await?;
        Ok(Removal::Done)
    }

    async fn describe(
        &self,
        digest: Digest,
        known: &PushedManifest,
    ) -> Result<Option<Descriptor>, BackendError> {
        let Some(bytes) = self.read(digest).await? else {
            return Ok(None);
        };
        // What does not parse was refused when it came; the disk has been tampered with since.
        let manifest = Manifest::parse(&bytes, Some(&known.media_type))
            .map_err(|_| BackendError::Damaged { medium: format!("the disk, in {digest}") })?;
        let mut descriptor = Descriptor::new(&known.media_type, digest, known.size);
        descriptor.artifact_type = manifest.artifact_type;
        descriptor.annotations = manifest.annotations;
        Ok(Some(descriptor))
    }
}

async fn insert(repository: &Arc<Repository>, blob: Digest) -> Result<(), ChangeError> {
    if repository.has_for_good(&blob) {
        return Ok(());
    }
    repository.change(move |pushed| pushed.blobs.insert(blob)).await
}

/// Whether there is no such repository, as far as anybody can see.
fn is_empty(pushed: &Pushed) -> bool {
    pushed.tags.is_empty() && pushed.manifests.is_empty() && pushed.blobs.is_empty()
}

/// Whether a push says anything that the root does not say yet.
fn is_new(pushed: &Pushed, digest: Digest, entry: &PushedManifest, blobs: &[Digest]) -> bool {
    pushed.manifests.get(&digest) != Some(entry)
        || blobs.iter().any(|blob| !pushed.blobs.contains(blob))
}

/// The name in the host layout of what is asked for with its host beside it.
fn host_form(asked: &Asked) -> Option<String> {
    let reference: Reference =
        format!("{}/{}:latest", asked.ns.as_ref()?, asked.repository).parse().ok()?;
    Layout::Host.place("", &reference).ok()
}

fn unreadable(err: StoreError, digest: Digest) -> BackendError {
    match err {
        StoreError::DamagedBlob { .. } => {
            BackendError::Damaged { medium: format!("the disk, in {digest}") }
        }
        err => BackendError::Read(std::io::Error::other(err)),
    }
}

impl From<ChangeError> for BackendError {
    fn from(err: ChangeError) -> Self {
        Self::Read(std::io::Error::other(err))
    }
}

impl From<ChangeError> for Refusal {
    fn from(err: ChangeError) -> Self {
        match err {
            ChangeError::Store(err) => err.into(),
            err => Self::internal(&err),
        }
    }
}

impl Backend for StoreBackend {
    fn manifest<'a>(
        &'a self,
        asked: &'a Asked,
        wanted: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredManifest>, BackendError>> {
        Box::pin(async move {
            let pushed = self.resolve(asked).await?.pushed();
            let digest = pushed.tags.get(wanted).copied().or_else(|| wanted.parse().ok());
            let Some((digest, known)) =
                digest.and_then(|digest| Some((digest, pushed.manifests.get(&digest)?)))
            else {
                return Ok(None);
            };
            let bytes = self.read(digest).await?;
            let media_type = known.media_type.clone();
            Ok(bytes.map(|bytes| StoredManifest { bytes: bytes.into(), media_type, digest }))
        })
    }

    fn blob_size<'a>(
        &'a self,
        asked: &'a Asked,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Option<u64>, BackendError>> {
        Box::pin(async move {
            let is_ours = self.resolve(asked).await?.pushed().blobs.contains(digest);
            Ok(if is_ours { self.store.size(digest) } else { None })
        })
    }

    fn read_blob<'a>(
        &'a self,
        _asked: &'a Asked,
        digest: &'a Digest,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, BackendError>>, BackendError>> {
        Box::pin(async move {
            let (store, digest) = (self.store.clone(), *digest);
            let file =
                blocking(move || store.open_blob(&digest)).await.map_err(BackendError::Read)?;
            let file = file.map_err(|err| unreadable(err, digest))?;
            let gone = || BackendError::Read(std::io::ErrorKind::NotFound.into());
            Ok(self.frames.stream(file.ok_or_else(gone)?, range))
        })
    }

    fn tags<'a>(
        &'a self,
        asked: &'a Asked,
    ) -> BoxFuture<'a, Result<Option<Vec<String>>, BackendError>> {
        Box::pin(async move {
            let pushed = self.resolve(asked).await?.pushed();
            Ok((!is_empty(&pushed)).then(|| pushed.tags.keys().cloned().collect()))
        })
    }

    fn referrers<'a>(
        &'a self,
        asked: &'a Asked,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, BackendError>> {
        Box::pin(async move {
            let pushed = self.resolve(asked).await?.pushed();
            let mut found = Vec::new();
            for (digest, known) in &pushed.manifests {
                if known.subject == Some(*subject) {
                    found.extend(self.describe(*digest, known).await?);
                }
            }
            Ok(found)
        })
    }

    fn repositories(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(async move { Ok(self.repositories.names().await?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> (tempfile::TempDir, StoreBackend) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        (dir, StoreBackend::new(Arc::new(store)))
    }

    #[tokio::test]
    async fn a_name_is_not_taken_back_while_others_publish() {
        let (_dir, backend) = backend();
        let blob = Digest::of(b"never came");
        let repository = backend.repositories.get_to_push("a").await.unwrap();
        insert(&repository, blob).await.unwrap();
        let publishing = repository.publishing.read().await;
        backend.take_back(&repository, blob).await.unwrap();
        assert!(repository.pushed().blobs.contains(&blob));
        drop(publishing);
        backend.take_back(&repository, blob).await.unwrap();
        assert!(!repository.pushed().blobs.contains(&blob));
    }

    #[tokio::test]
    async fn a_name_without_bytes_is_no_blob() {
        let (_dir, backend) = backend();
        let blob = Digest::of(b"never came");
        backend.link("a", blob).await.unwrap();
        let size = backend.blob_size(&Asked::from("a"), &blob).await.unwrap();
        assert_eq!(size, None);
    }

    #[test]
    fn the_host_comes_before_the_path_as_pushes_place_it() {
        let form = |ns: Option<&str>, repository: &str| {
            let ns = ns.map(str::to_owned);
            host_form(&Asked { repository: repository.to_owned(), ns })
        };
        assert_eq!(form(Some("quay.io"), "org/app").as_deref(), Some("quay.io/org/app"));
        assert_eq!(form(Some("docker.io"), "nginx").as_deref(), Some("docker.io/library/nginx"));
        assert_eq!(form(Some("localhost:5000"), "a").as_deref(), Some("localhost_5000/a"));
        assert_eq!(form(None, "org/app"), None);
    }
}
