//! The client against registries that misbehave, and against real ones.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airlift_registry::client::{BlobSource, Client, ClientOptions, Fetched, Repository, Tuning};
use airlift_spec::{Ctx, Descriptor, Event, Events};
use airlift_store::Store;
use airlift_testkit::{FakeRegistry, samples};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use tempfile::TempDir;

mod access;
mod download;
mod file;
mod kill;
mod manifest;
mod proxies;
mod real;
mod storm;
mod substitution;
mod upload;

/// The default, but for pauses that a test can wait for.
fn options() -> ClientOptions {
    let tuning = Tuning {
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        retry_after_max: Duration::from_millis(20),
        ..Tuning::default()
    };
    ClientOptions { tuning, ..ClientOptions::default() }
}

/// Gives up on silence fast.
fn impatient() -> ClientOptions {
    let mut options = options();
    options.stall_timeout = Duration::from_millis(300);
    options.tuning.commit_timeout = Duration::from_millis(300);
    options
}

fn client() -> Client {
    Client::new(options()).unwrap()
}

fn temp_store() -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    (dir, store)
}

/// A repository at `registry` that holds one large layer, and what describes it.
fn with_blob(registry: &FakeRegistry, length: usize) -> (Repository, Descriptor, Vec<u8>) {
    let sample = samples::image(1, &[length]);
    registry.put("team/app", "v1", &sample);
    let (digest, bytes) = sample.blobs_by_size()[0];
    let blob = Descriptor::new("application/octet-stream", digest, bytes.len() as u64);
    (repository(registry), blob, bytes.to_vec())
}

fn repository(registry: &FakeRegistry) -> Repository {
    Repository { host: registry.host(), path: "team/app".to_owned() }
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::of("application/octet-stream", bytes)
}

/// A context, and everything that is told through it.
fn listening() -> (Ctx, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let events = Events::new(move |event| sink.lock().unwrap().push(event));
    (Ctx { events, ..Ctx::default() }, told)
}

fn retries(told: &Mutex<Vec<Event>>) -> usize {
    told.lock().unwrap().iter().filter(|event| matches!(event, Event::Retried { .. })).count()
}

/// Fetches and returns the blob as the store has it.
async fn fetch(client: &Client, repository: &Repository, blob: &Descriptor) -> Vec<u8> {
    let (_dir, store) = temp_store();
    let fetched = client.fetch_into(repository, blob, &store, &Ctx::default()).await.unwrap();
    assert_eq!(fetched, Fetched::Brought);
    store.read(&blob.digest, u64::MAX).unwrap().unwrap()
}

/// Bytes in memory, and which of them were read.
struct Memory {
    bytes: Bytes,
    reads: Mutex<Vec<Range<u64>>>,
}

impl Memory {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), reads: Mutex::default() }
    }

    fn first_read(&self) -> u64 {
        self.reads.lock().unwrap()[0].start
    }
}

impl BlobSource for Memory {
    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, std::io::Result<Bytes>> {
        let start = usize::try_from(offset).unwrap();
        let end = (start + length).min(self.bytes.len());
        self.reads.lock().unwrap().push(offset..end as u64);
        std::future::ready(Ok(self.bytes.slice(start..end))).boxed()
    }
}
