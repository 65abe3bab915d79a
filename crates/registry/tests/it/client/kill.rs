//! The whole process is killed, and another one goes on.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use airlift_registry::client::{Client, ClientOptions, Repository};
use airlift_spec::{Ctx, Descriptor};
use airlift_store::Store;
use airlift_testkit::samples::noise;
use airlift_testkit::{FakeRegistry, Fault, On};
use tempfile::TempDir;

use super::{Memory, options, with_blob};

/// What the killed process is to do: the test that finds this set plays that process.
const ROLE: &str = "AIRLIFT_TEST_ROLE";

#[expect(clippy::disallowed_methods, reason = "it is how a test tells its own child what to do")]
fn role() -> Option<Vec<String>> {
    let role = std::env::var(ROLE).ok()?;
    Some(role.split('|').map(str::to_owned).collect())
}

/// This very test binary, running only `test`, with a role to play.
fn start(test: &str, role: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("we are a file"));
    command.args(["--exact", &format!("client::kill::{test}"), "--nocapture"]);
    command.env(ROLE, role.join("|")).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("we can be run again")
}

/// Waits for what another process does; it is killed once that has happened.
fn kill_when(mut child: Child, happened: impl Fn() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not get that far");
        assert!(
            child.try_wait().expect("it is our child").is_none(),
            "it ended before it was killed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
}

fn download_options() -> ClientOptions {
    let mut options = options();
    options.tuning.checkpoint_every = Duration::ZERO;
    options
}

#[tokio::test]
async fn a_download_survives_kill_9() {
    if let Some(role) = role() {
        let [host, digest, size, dir] = &role[..] else { panic!("{role:?}") };
        let repository = Repository { host: host.clone(), path: "team/app".to_owned() };
        let blob = Descriptor::new("x", digest.parse().unwrap(), size.parse().unwrap());
        let store = Store::create(&PathBuf::from(dir)).unwrap();
        let client = Client::new(download_options()).unwrap();
        client.fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap();
        return;
    }
    // Blobs of many writes and of one, as much as a slow line brings in long.
    for (length, came) in [(8_000_000, 5_000_000), (1_000_000, 500_000)] {
        let registry = FakeRegistry::start();
        let (repository, blob, bytes) = with_blob(&registry, length);
        registry.fail_once(On::get("/blobs/"), Fault::StallAfter(came));
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("store");
        let (digest, size) = (blob.digest.to_string(), blob.size.to_string());
        let child = start(
            "a_download_survives_kill_9",
            &[&registry.host(), &digest, &size, path.to_str().unwrap()],
        );
        let notes = path.join("staging").join(format!("sha256-{}.pieces", blob.digest.hex()));
        kill_when(child, || notes.is_file() && registry.sent_bytes() >= came);

        registry.forget_requests();
        let store = Store::create(&path).unwrap();
        let client = Client::new(download_options()).unwrap();
        client.fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap();
        assert_eq!(store.read(&blob.digest, u64::MAX).unwrap().unwrap(), bytes);
        let sent = registry.sent_bytes();
        assert!(sent < bytes.len() as u64, "{sent} bytes came again");
    }
}

fn upload_options(state: PathBuf) -> ClientOptions {
    let mut options = options();
    options.tuning.chunk_above_bytes = 1 << 20;
    options.tuning.chunk_bytes = 1 << 20;
    options.state = Some(state);
    options
}

#[tokio::test]
async fn an_upload_survives_kill_9() {
    let bytes = noise(1, 5 << 20);
    let blob = Descriptor::of("x", &bytes);
    if let Some(role) = role() {
        let [host, state] = &role[..] else { panic!("{role:?}") };
        let repository = Repository { host: host.clone(), path: "team/app".to_owned() };
        let client = Client::new(upload_options(state.into())).unwrap();
        client.push_blob(&repository, &blob, &Memory::new(&bytes), &Ctx::default()).await.unwrap();
        return;
    }
    let registry = FakeRegistry::start();
    let patches = || On::uploads().method(http::Method::PATCH);
    registry.fail_times(3, patches(), Fault::SlowStart(Duration::ZERO));
    registry.fail_once(patches(), Fault::Hang);
    let state = TempDir::new().unwrap();
    let child =
        start("an_upload_survives_kill_9", &[&registry.host(), state.path().to_str().unwrap()]);
    kill_when(child, || registry.count("PATCH", "/uploads/") == 4);

    registry.forget_requests();
    let client = Client::new(upload_options(state.path().to_owned())).unwrap();
    let source = Memory::new(&bytes);
    let repository = super::repository(&registry);
    client.push_blob(&repository, &blob, &source, &Ctx::default()).await.unwrap();
    assert_eq!(registry.blob("team/app", &blob.digest).unwrap(), bytes);
    assert_eq!((source.first_read(), registry.count("POST", "/uploads/")), (3 << 20, 0));
}
