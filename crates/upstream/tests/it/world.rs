//! A registry, a store and a stack for one test.

use std::ffi::OsString;
use std::time::Duration;

use airlift_registry::client::{Client, ClientOptions, Tuning};
use airlift_spec::{Ctx, Lock, Stack};
use airlift_store::Store;
use airlift_testkit::registry::{FakeOptions, FakeRegistry};
use airlift_upstream::fetch::{FetchOptions, Fetched, fetch};
use airlift_upstream::releases::ReleasePlaces;
use airlift_upstream::resolve::{Resolution, ResolveOptions, Upstream, resolve};
use airlift_upstream::{Indexes, UpstreamError};
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) registry: FakeRegistry,
    pub(crate) upstream: Upstream,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(FakeOptions::default())
    }

    pub(crate) fn with(options: FakeOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream {
            client: client(),
            store: Store::create(&folder.path().join("store")).unwrap(),
            base: folder.path().to_owned(),
            programs: OsString::new(),
            releases: ReleasePlaces::default(),
            indexes: Indexes::default(),
        };
        Self { registry: FakeRegistry::with(options), upstream, folder }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A stack of the given repositories and tags of the registry, and more lines of `airlift.yaml`.
    pub(crate) fn stack(&self, images: &[(&str, &str)], more: &str) -> Stack {
        let host = self.registry.host();
        let line = |(path, tag): &(&str, &str)| format!("  - image: {host}/{path}:{tag}\n");
        let sources = images.iter().map(line).collect::<Vec<_>>().concat();
        let sources = if sources.is_empty() { sources } else { format!("sources:\n{sources}") };
        airlift_spec::stack::parse(&format!("version: 1\nname: demo\n{more}{sources}")).unwrap()
    }

    pub(crate) async fn resolve(&self, stack: &Stack) -> Resolution {
        self.resolve_from(stack, None, &ResolveOptions::default()).await.unwrap()
    }

    pub(crate) async fn resolve_from(
        &self,
        stack: &Stack,
        before: Option<&Lock>,
        options: &ResolveOptions,
    ) -> Result<Resolution, UpstreamError> {
        resolve(stack, before, &self.upstream, options, &Ctx::default()).await
    }

    /// The lock of a stack that resolves without trouble.
    pub(crate) async fn lock(&self, stack: &Stack) -> Lock {
        let resolution = self.resolve(stack).await;
        assert!(resolution.failures.is_empty(), "{:?}", resolution.failures);
        resolution.lock
    }

    pub(crate) async fn fetch(&self, lock: &Lock) -> Fetched {
        fetch(lock, &self.upstream, &FetchOptions::default(), &Ctx::default()).await.unwrap()
    }

    /// The same registry and folder, with an empty store and a client that remembers nothing.
    pub(crate) fn start_over(&mut self) {
        let store = self.folder.path().join("another-store");
        self.upstream.client = client();
        self.upstream.indexes = Indexes::default();
        self.upstream.store = Store::create(&store).unwrap();
        self.registry.forget_requests();
    }
}

/// A client that does not dwell between its tries.
fn client() -> Client {
    let pause = Duration::from_millis(1);
    let tuning = Tuning { backoff_first: pause, backoff_max: pause, ..Tuning::default() };
    Client::new(ClientOptions { tuning, ..ClientOptions::default() }).unwrap()
}

/// The codes of all findings of a lock, sorted.
pub(crate) fn codes(lock: &Lock) -> Vec<&str> {
    let mut codes: Vec<&str> = lock.findings.iter().map(|finding| finding.code.as_str()).collect();
    codes.sort_unstable();
    codes
}
