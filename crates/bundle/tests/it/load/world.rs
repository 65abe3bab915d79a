//! A near side that is a store, and a far side that is a fake registry.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use airlift_bundle::load::{self, Fate, LoadError, LoadOptions, LoadPlan, LoadReport, Target};
use airlift_bundle::receipt::{self, Receipt};
use airlift_bundle::{
    Content, CreateOptions, Delivered, SigningKey, Sources, TrustRoots, TrustedBundle,
};
use airlift_registry::client::{Client, ClientOptions};
use airlift_spec::lock::{Artifact, Because, Child, Evidence, Kind, Lock, Referrer};
use airlift_spec::oci::{Manifest, cosign_subject};
use airlift_spec::{Ctx, Digest, Layout};
use airlift_store::{Root, RootArtifact, Store};
use airlift_testkit::{FakeOptions, FakeRegistry, Sample};
use tempfile::TempDir;

pub(super) struct World {
    dir: TempDir,
    pub(super) store: Arc<Store>,
    pub(super) registry: FakeRegistry,
    /// Where loads go: the fake registry, unless a test aims elsewhere.
    pub(super) host: String,
    locks: BTreeMap<String, Lock>,
    pub(super) options: LoadOptions,
    pub(super) layout: Layout,
    pub(super) ctx: Ctx,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(FakeOptions::default())
    }

    pub(super) fn with(options: FakeOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::create(&dir.path().join("store")).unwrap());
        let registry = FakeRegistry::with(options);
        Self {
            dir,
            store,
            host: registry.host(),
            registry,
            locks: BTreeMap::new(),
            options: LoadOptions::default(),
            layout: Layout::Host,
            ctx: Ctx::default(),
        }
    }

    /// Fetches `sample` into the store and pins it in the lock of `stack`, in place of what had its name.
    pub(super) fn pin(&mut self, stack: &str, reference: &str, sample: &Sample) {
        self.pin_artifact(stack, artifact(reference, sample), sample);
    }

    /// The same, where more is known of the artifact than its name.
    pub(super) fn pin_artifact(&mut self, stack: &str, artifact: Artifact, sample: &Sample) {
        let lock = self.locks.entry(stack.to_owned()).or_insert_with(|| Lock::new(stack));
        lock.artifacts.retain(|known| known.reference != artifact.reference);
        lock.artifacts.push(artifact);
        let text = lock.to_text();
        let lock_digest = Digest::of(text.as_bytes());
        let root = Root {
            stack: stack.to_owned(),
            artifacts: lock.artifacts.iter().flat_map(anchors).collect(),
            blobs: vec![lock_digest],
        };
        self.store.write_root(&root).unwrap();
        self.store.put(lock_digest, text.as_bytes()).unwrap();
        for (digest, bytes) in &sample.blobs {
            self.store.put(*digest, bytes).unwrap();
        }
        for manifest in &sample.manifests {
            self.store.put(manifest.digest, &manifest.bytes).unwrap();
        }
    }

    pub(super) fn lock(&self, stack: &str) -> &Lock {
        &self.locks[stack]
    }

    /// Forgets a stack on the near side.
    pub(super) fn unpin(&mut self, stack: &str) {
        self.locks.remove(stack);
        self.store.remove_root(stack).unwrap();
    }

    /// A client that does not wait long, and remembers uploads beyond its own end.
    pub(super) fn client(&self) -> Client {
        let mut options = ClientOptions {
            state: Some(self.dir.path().join("state")),
            attempts: NonZeroUsize::new(3).unwrap(),
            ..ClientOptions::default()
        };
        options.tuning.backoff_first = Duration::from_millis(1);
        options.tuning.backoff_max = Duration::from_millis(5);
        options.tuning.chunk_above_bytes = 1 << 20;
        options.tuning.chunk_bytes = 256 << 10;
        Client::new(options).unwrap()
    }

    pub(super) fn target(&self) -> Target {
        let (host, prefix) = (self.host.clone(), "mirror".to_owned());
        Target { client: self.client(), host, prefix, layout: self.layout }
    }

    pub(super) async fn sources(&self) -> Sources {
        let contents = vec![Content::Store(Arc::clone(&self.store))];
        Sources::open(contents, &self.ctx).await.unwrap()
    }

    pub(super) async fn plan(&self) -> Result<LoadPlan, LoadError> {
        load::plan(&self.sources().await, &self.target(), &self.options, &self.ctx).await
    }

    pub(super) async fn run(&self, plan: &LoadPlan) -> LoadReport {
        let (sources, target) = (self.sources().await, self.target());
        load::run(plan, &sources, &target, &self.options, &self.ctx).await.unwrap()
    }

    /// Loads from other sources than the store.
    pub(super) async fn load_from(&self, sources: &Sources) -> LoadReport {
        let target = self.target();
        let plan = load::plan(sources, &target, &self.options, &self.ctx).await.unwrap();
        load::run(&plan, sources, &target, &self.options, &self.ctx).await.unwrap()
    }

    pub(super) async fn load(&self) -> LoadReport {
        let plan = self.plan().await.unwrap();
        self.run(&plan).await
    }

    /// Loads, and insists that everything arrived.
    pub(super) async fn load_all(&self) -> LoadReport {
        let report = self.load().await;
        assert_eq!(report.class(), None, "{report:#?}");
        report
    }

    pub(super) async fn receipt(&self, stack: &str) -> Option<Receipt> {
        let kept = receipt::read(&self.target(), stack, &self.ctx).await.unwrap();
        kept.map(|kept| kept.receipt)
    }

    /// What `tag` of `reference`'s repository points to in the registry.
    pub(super) fn tag_there(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.registry.tags(&format!("mirror/{repository}")).get(tag).copied()
    }
}

pub(super) fn fates(report: &LoadReport) -> BTreeMap<String, Fate> {
    let outcomes = report.artifacts.iter();
    outcomes.map(|outcome| (outcome.reference.to_string(), outcome.result.clone())).collect()
}

pub(super) fn codes(report: &LoadReport) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// What `resolve` would write for the sample.
pub(super) fn artifact(reference: &str, sample: &Sample) -> Artifact {
    let mut artifact = Artifact {
        digest: Some(sample.root.digest),
        media_type: sample.root.media_type.clone(),
        size: sample.root.size,
        bytes: sample.total_bytes(),
        because: vec![Because {
            from: format!("image: {reference}"),
            path: String::new(),
            evidence: Evidence::Declared,
        }],
        ..Artifact::new(Kind::Image, reference.parse().unwrap())
    };
    add_children(&mut artifact, sample, &sample.root.digest);
    let tagged = sample.tags.iter().map(|(tag, digest)| {
        (sample.manifest(digest), cosign_subject(tag).unwrap(), Some(tag.clone()))
    });
    let referring = sample.referrers().into_iter().map(|(found, subject)| (found, subject, None));
    artifact.referrers = referring
        .chain(tagged)
        .map(|(found, subject, tag)| Referrer {
            subject,
            digest: found.digest,
            media_type: found.media_type.clone(),
            size: found.bytes.len() as u64,
            bytes: found.bytes.len() as u64,
            artifact_type: Manifest::parse(&found.bytes, None).unwrap().artifact_type,
            tag,
        })
        .collect();
    artifact
}

fn add_children(artifact: &mut Artifact, sample: &Sample, index: &Digest) {
    let manifest = Manifest::parse(&sample.manifest(index).bytes, None).unwrap();
    for entry in &manifest.manifests {
        let child = Child { digest: entry.digest, platform: entry.platform() };
        if sample.manifests.iter().any(|known| known.digest == entry.digest) {
            artifact.children.push(child);
            add_children(artifact, sample, &entry.digest);
        } else {
            artifact.left_out.push(child);
        }
    }
}

fn anchors(artifact: &Artifact) -> Vec<RootArtifact> {
    let mut anchors = vec![RootArtifact {
        reference: Some(artifact.reference.to_string()),
        manifest: artifact.descriptor().unwrap(),
        left_out: artifact.left_out_digests(),
    }];
    anchors.extend(artifact.referrers.iter().map(|referrer| RootArtifact {
        reference: None,
        manifest: referrer.descriptor(),
        left_out: std::collections::BTreeSet::default(),
    }));
    anchors
}

/// Bundles on folders, signed by a key of the test's own.
pub(super) struct Media {
    dir: TempDir,
    key: SigningKey,
}

impl Media {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), key: SigningKey::generate().unwrap() }
    }

    /// Cuts a bundle of the stack's lock, in volumes of `volume_bytes`, into a folder of its own.
    pub(super) fn cut(
        &self,
        world: &World,
        stack: &str,
        volume_bytes: u64,
        since: Option<Delivered>,
    ) -> PathBuf {
        let text = self.key.secret_text();
        let keys = vec![SigningKey::parse("test", &text).unwrap()];
        let options = CreateOptions { volume_bytes, since, keys, ..CreateOptions::default() };
        let locks = [world.lock(stack).clone()];
        let prepared = airlift_bundle::prepare(&world.store, &locks, &options).unwrap();
        let folder = self.dir.path().join(&prepared.plan.root.name);
        fs_err::create_dir(&folder).unwrap();
        prepared
            .write(&world.store, std::slice::from_ref(&folder), &options, &Ctx::default())
            .unwrap();
        folder
    }

    /// A copy of `folder` with no other volumes than `wanted` (by ordinal, volume 0 included).
    pub(super) fn disk(&self, folder: &Path, wanted: &[usize]) -> PathBuf {
        let name = format!("{}-{wanted:?}", folder.file_name().unwrap().to_str().unwrap());
        let disk = self.dir.path().join(name);
        fs_err::create_dir(&disk).unwrap();
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            let ordinal = file.strip_suffix(".tar").and_then(|stem| stem.rsplit_once('.'));
            let ordinal = ordinal.and_then(|(_, digits)| digits.parse::<usize>().ok());
            if ordinal.is_none_or(|ordinal| ordinal == 0 || wanted.contains(&ordinal)) {
                fs_err::copy(&path, disk.join(file)).unwrap();
            }
        }
        disk
    }

    pub(super) fn open(&self, folders: &[PathBuf]) -> Vec<Content> {
        let keys = [("test".to_owned(), self.key.public_text())];
        let roots = TrustRoots::parse(&keys).unwrap();
        let bundles = TrustedBundle::open(folders, &roots).unwrap();
        bundles.into_iter().map(|bundle| Content::Volumes(Arc::new(bundle))).collect()
    }

    pub(super) async fn sources(&self, folders: &[&Path]) -> Sources {
        let contents =
            folders.iter().flat_map(|folder| self.open(&[folder.to_path_buf()])).collect();
        Sources::open(contents, &Ctx::default()).await.unwrap()
    }
}
