//! A near side that is a store, bundles cut from it, and a server over whatever a test names.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use airlift_bundle::content::RegistryContent;
use airlift_bundle::{
    Content, CreateOptions, Delivered, SigningKey, Sources, TrustRoots, TrustedBundle, prepare,
};
use airlift_registry::client::{Client, ClientOptions};
use airlift_registry::server::{Metrics, Server, ServerOptions};
use airlift_serve::charts::Charts;
use airlift_serve::content::ContentBackend;
use airlift_spec::event::{Event, Events};
use airlift_spec::lock::{Artifact, Kind};
use airlift_spec::{Ctx, Digest, Layout, Lock};
use airlift_store::{Root, RootArtifact, Store};
use airlift_testkit::Sample;
use airlift_testkit::raw::{Answer, Request};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Small volumes, so that little samples fill several.
pub(crate) const SMALL: u64 = 128 << 10;
/// One volume for everything.
pub(crate) const LARGE: u64 = 1 << 30;

/// One key for all tests: making it costs more than using it.
static KEY: LazyLock<(String, String)> = LazyLock::new(|| {
    let key = SigningKey::generate().unwrap();
    (key.secret_text(), key.public_text())
});

pub(crate) struct World {
    dir: TempDir,
    pub(crate) store: Arc<Store>,
    artifacts: Vec<Artifact>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::create(&dir.path().join("store")).unwrap());
        Self { dir, store, artifacts: Vec::new() }
    }

    /// Fetches a sample into the store and pins it in the lock.
    pub(crate) fn with(mut self, reference: &str, sample: &Sample) -> Self {
        self.pin(reference, sample);
        self
    }

    pub(crate) fn pin(&mut self, reference: &str, sample: &Sample) {
        for (digest, bytes) in &sample.blobs {
            self.store.put(*digest, bytes).unwrap();
        }
        for manifest in &sample.manifests {
            self.store.put(manifest.digest, &manifest.bytes).unwrap();
        }
        self.artifacts.push(sample.pinned(reference));
    }

    /// The same for a chart, which the lock knows by name and version.
    pub(crate) fn pin_chart(
        &mut self,
        reference: &str,
        name: &str,
        version: &str,
        sample: &Sample,
    ) {
        self.pin(reference, sample);
        let artifact = self.artifacts.last_mut().unwrap();
        artifact.kind = Kind::Chart;
        (artifact.name, artifact.version) = (name.to_owned(), version.to_owned());
    }

    pub(crate) fn lock(&self, stack: &str) -> Lock {
        let lock = Lock { artifacts: self.artifacts.clone(), ..Lock::new(stack) };
        // As a file has it: sorted.
        Lock::parse(lock.to_text().as_bytes()).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Cuts a bundle of the stack `demo` into the folder `name`.
    pub(crate) fn cut(&self, name: &str, volume_bytes: u64) -> PathBuf {
        self.cut_with(name, CreateOptions { volume_bytes, ..CreateOptions::default() })
    }

    pub(crate) fn cut_since(&self, name: &str, since: Delivered) -> PathBuf {
        let since = Some(since);
        self.cut_with(
            name,
            CreateOptions { since, volume_bytes: SMALL, ..CreateOptions::default() },
        )
    }

    fn cut_with(&self, name: &str, options: CreateOptions) -> PathBuf {
        let keys = vec![SigningKey::parse("test", &KEY.0).unwrap()];
        let options = CreateOptions { keys, ..options };
        let folder = self.path(name);
        let prepared = prepare(&self.store, &[self.lock("demo")], &options).unwrap();
        let media = std::slice::from_ref(&folder);
        prepared.write(&self.store, media, &options, &Ctx::default()).unwrap();
        folder
    }

    /// Lets the store keep the lock `stack`, as `fetch` does, and gives it as a source.
    pub(crate) fn kept(&self, stack: &str) -> Content {
        let text = self.lock(stack).to_text();
        let lock = Digest::of(text.as_bytes());
        let artifacts = self.artifacts.iter().map(|artifact| RootArtifact {
            reference: Some(artifact.reference.to_string()),
            manifest: artifact.descriptor().unwrap(),
            left_out: artifact.left_out_digests(),
        });
        let root =
            Root { stack: stack.to_owned(), artifacts: artifacts.collect(), blobs: vec![lock] };
        self.store.write_root(&root).unwrap();
        self.store.put(lock, text.as_bytes()).unwrap();
        Content::Store(self.store.clone())
    }
}

pub(crate) fn open(folder: &Path) -> TrustedBundle {
    open_all(&[folder.to_owned()])
}

/// The one bundle that lies in all of these folders.
pub(crate) fn open_all(folders: &[PathBuf]) -> TrustedBundle {
    let roots = TrustRoots::parse(&[("test.pub".to_owned(), KEY.1.clone())]).unwrap();
    let mut bundles = TrustedBundle::open(folders, &roots).unwrap();
    assert_eq!(bundles.len(), 1);
    bundles.remove(0)
}

pub(crate) fn volumes(folder: &Path) -> Content {
    Content::Volumes(Arc::new(open(folder)))
}

/// A registry that was loaded with what `lock` names.
pub(crate) fn loaded(host: String, prefix: &str, lock: Lock) -> Content {
    let client = Client::new(ClientOptions::default()).unwrap();
    let (prefix, layout) = (prefix.to_owned(), Layout::Host);
    Content::Registry(RegistryContent::new(client, host, prefix, layout, vec![lock]))
}

/// Where a bundle has the bytes of a blob: the file and the offset in it.
pub(crate) fn place_of(folder: &Path, digest: &Digest) -> (PathBuf, u64) {
    let bundle = open(folder);
    let piece = bundle.table().find(digest).unwrap().pieces[0];
    (folder.join(bundle.root().volume_file(piece.volume)), piece.offset)
}

/// Flips one bit of a file.
pub(crate) fn flip(file: &Path, offset: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = fs_err::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.file().read_exact_at(&mut byte, offset).unwrap();
    file.file().write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

/// The digest of the largest blob of a sample, and its bytes.
pub(crate) fn largest(sample: &Sample) -> (Digest, &[u8]) {
    let (digest, bytes) = sample.blobs_by_size()[0];
    (digest, bytes)
}

/// A running server. What it tells its operator is kept.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    notes: Arc<Mutex<Vec<String>>>,
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

pub(crate) async fn serve(contents: Vec<Content>) -> Served {
    serve_with(contents, ServerOptions::default()).await
}

pub(crate) async fn serve_with(contents: Vec<Content>, options: ServerOptions) -> Served {
    let notes: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = notes.clone();
    let events = Events::new(move |event| {
        if let Event::Noted { message } = event {
            sink.lock().unwrap().push(message);
        }
    });
    let sources = Sources::open(contents, &Ctx { events, ..Ctx::default() }).await.unwrap();
    let metrics = Arc::new(Metrics::default());
    let backend = ContentBackend::new(sources, &metrics);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let pages = Some(Charts::new(&backend).0.pages());
    let options = ServerOptions { metrics, pages, ..options };
    let server = Server::bind(any, options, Arc::new(backend)).await.unwrap();
    let (address, shutdown) = (server.local_addr(), CancellationToken::new());
    #[expect(clippy::disallowed_methods, reason = "it ends with the server, or the test's runtime")]
    let running = Some(tokio::spawn(server.run(shutdown.clone())));
    Served { address, notes, shutdown, running }
}

impl Served {
    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send().await
    }

    pub(crate) async fn head(&self, target: &str) -> Answer {
        self.request("HEAD", target).send().await
    }

    pub(crate) async fn metrics(&self) -> String {
        String::from_utf8(self.get("/metrics").await.expect(200).body).unwrap()
    }

    /// What the operator was told so far.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        self.running.take().unwrap().await.unwrap();
    }

    /// Insists that the repository gives everything of a sample.
    pub(crate) async fn has_all(&self, repository: &str, sample: &Sample) {
        for manifest in &sample.manifests {
            let target = format!("/v2/{repository}/manifests/{}", manifest.digest);
            let answer = self.get(&target).await.expect(200);
            assert_eq!(answer.body, manifest.bytes, "{target}");
            assert_eq!(answer.header("Content-Type"), Some(manifest.media_type.as_str()));
            self.agrees(&target, &answer, &manifest.digest).await;
        }
        for (digest, bytes) in &sample.blobs {
            let target = format!("/v2/{repository}/blobs/{digest}");
            let answer = self.get(&target).await.expect(200);
            assert!(answer.body == *bytes, "{target}");
            self.agrees(&target, &answer, digest).await;
        }
    }

    /// HEAD says what GET said, and both say how long it is and which digest it has.
    async fn agrees(&self, target: &str, got: &Answer, digest: &Digest) {
        let head = self.head(target).await.expect(200);
        let headers = |answer: &Answer| -> BTreeMap<String, String> {
            let headers = answer.headers.iter().filter(|(name, _)| name != "date");
            headers.cloned().collect()
        };
        assert_eq!(headers(&head), headers(got), "{target}");
        assert_eq!(got.header("Content-Length"), Some(got.body.len().to_string().as_str()));
        assert_eq!(got.header("Docker-Content-Digest"), Some(digest.to_string().as_str()));
    }
}
