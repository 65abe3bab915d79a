//! A store with samples in it, their lock, and a place for media.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use airlift_bundle::{
    BundleError, Content, CreateOptions, Created, Prepared, SigningKey, Sources, TrustRoots,
    TrustedBundle, prepare,
};
use airlift_spec::lock::{Artifact, Because, Evidence, Kind, Referrer};
use airlift_spec::oci::Manifest;
use airlift_spec::{Ctx, Digest, Lock};
use airlift_store::Store;
use airlift_testkit::samples::Sample;
use tempfile::TempDir;

/// Small volumes, so that little samples fill several.
pub(crate) const VOLUME_BYTES: u64 = 128 << 10;

/// One key for all tests: making it costs more than using it.
const SECRET: &str = include_str!("test.key");

pub(crate) fn key() -> SigningKey {
    SigningKey::parse("test.key", SECRET).unwrap()
}

pub(crate) fn trust() -> TrustRoots {
    static PUBLIC: LazyLock<String> = LazyLock::new(|| key().public_text());
    TrustRoots::parse(&[("test.pub".to_owned(), PUBLIC.clone())]).unwrap()
}

pub(crate) struct World {
    dir: TempDir,
    pub(crate) store: Store,
    artifacts: Vec<Artifact>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        Self { dir, store, artifacts: Vec::new() }
    }

    /// Puts a sample into the store and the lock.
    pub(crate) fn with(mut self, reference: &str, sample: &Sample) -> Self {
        self.add(reference, sample);
        self
    }

    pub(crate) fn add(&mut self, reference: &str, sample: &Sample) {
        for (digest, bytes) in &sample.blobs {
            self.store.put(*digest, bytes).unwrap();
        }
        for manifest in &sample.manifests {
            self.store.put(manifest.digest, &manifest.bytes).unwrap();
        }
        self.artifacts.push(artifact(reference, sample));
    }

    pub(crate) fn lock(&self) -> Lock {
        self.lock_of("demo")
    }

    pub(crate) fn lock_of(&self, stack: &str) -> Lock {
        let lock = Lock { artifacts: self.artifacts.clone(), ..Lock::new(stack) };
        // As a file has it: sorted.
        Lock::parse(lock.to_text().as_bytes()).unwrap()
    }

    pub(crate) fn forget_artifacts(&mut self) {
        self.artifacts.clear();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn prepare(&self, options: &CreateOptions) -> Result<Prepared, BundleError> {
        prepare(&self.store, &[self.lock()], options)
    }

    pub(crate) fn create_with(
        &self,
        media: &[PathBuf],
        options: &CreateOptions,
    ) -> Result<Created, BundleError> {
        self.prepare(options)?.write(&self.store, media, options, &Ctx::default())
    }

    /// Makes the bundle `demo` in the folder `name`.
    pub(crate) fn create(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        self.create_with(std::slice::from_ref(&folder), &options()).unwrap();
        folder
    }
}

pub(crate) fn options() -> CreateOptions {
    CreateOptions { volume_bytes: VOLUME_BYTES, keys: vec![key()], ..CreateOptions::default() }
}

pub(crate) fn open(folder: &Path) -> TrustedBundle {
    let mut bundles = TrustedBundle::open_all(folder, &trust()).unwrap();
    assert_eq!(bundles.len(), 1);
    bundles.remove(0)
}

pub(crate) async fn sources(bundles: impl IntoIterator<Item = TrustedBundle>) -> Sources {
    let contents = bundles.into_iter().map(|bundle| Content::Volumes(Arc::new(bundle))).collect();
    Sources::open(contents, &Ctx::default()).await.unwrap()
}

/// The names and bytes of all files in a folder.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs_err::read(path).unwrap())
        })
        .collect()
}

/// Flips one bit of a file.
pub(crate) fn flip(file: &Path, offset: usize) {
    let mut bytes = fs_err::read(file).unwrap();
    bytes[offset] ^= 1;
    fs_err::write(file, bytes).unwrap();
}

/// Where a bundle has the bytes of a blob: the file and the offset in it.
pub(crate) fn place_of(bundle: &TrustedBundle, digest: &Digest) -> (PathBuf, usize) {
    let piece = bundle.table().find(digest).unwrap().pieces[0];
    let file = bundle.folders()[0].join(bundle.root().volume_file(piece.volume));
    (file, usize::try_from(piece.offset).unwrap())
}

fn artifact(reference: &str, sample: &Sample) -> Artifact {
    let root = &sample.root;
    let by_tag: BTreeMap<Digest, &String> =
        sample.tags.iter().map(|(tag, digest)| (*digest, tag)).collect();
    let tagged = sample.manifests.iter().filter_map(|manifest| {
        let tag = by_tag.get(&manifest.digest)?;
        Some((manifest, root.digest, Some((*tag).clone())))
    });
    let by_subject =
        sample.referrers().into_iter().map(|(manifest, subject)| (manifest, subject, None));
    let referrers = by_subject.chain(tagged).map(|(manifest, subject, tag)| Referrer {
        subject,
        digest: manifest.digest,
        media_type: manifest.media_type.clone(),
        size: manifest.bytes.len() as u64,
        bytes: 0,
        artifact_type: Manifest::parse(&manifest.bytes, None).unwrap().artifact_type,
        tag,
    });
    Artifact {
        digest: Some(root.digest),
        media_type: root.media_type.clone(),
        size: root.size,
        bytes: sample.total_bytes(),
        referrers: referrers.collect(),
        because: vec![Because {
            from: format!("image: {reference}"),
            path: String::new(),
            evidence: Evidence::Declared,
        }],
        ..Artifact::new(Kind::Image, reference.parse().unwrap())
    }
}
