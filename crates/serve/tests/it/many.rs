//! Many clients at once, of a server in a process of its own, so that its memory can be measured.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use airlift_bundle::{Content, Sources, TrustRoots, TrustedBundle};
use airlift_registry::server::{Metrics, Server, ServerOptions};
use airlift_serve::content::ContentBackend;
use airlift_spec::Ctx;
use airlift_store::Store;
use airlift_testkit::raw::Request;
use airlift_testkit::{Sample, samples};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use crate::world::{LARGE, World, largest};

/// Names the folder that the child serves.
const FOLDER: &str = "AIRLIFT_TEST_FOLDER";
const READY: &str = "listening on ";

#[tokio::test]
async fn five_hundred_clients_of_volumes_cost_a_few_frames_each_and_get_it_whole() {
    let (world, sample) = world();
    many_clients(&world.cut("out", LARGE), &sample).await;
}

#[tokio::test]
async fn five_hundred_clients_of_a_store_cost_a_few_frames_each_and_get_it_whole() {
    let (world, sample) = world();
    world.kept("demo");
    many_clients(world.store.root(), &sample).await;
}

/// An image with a layer that is larger than what sockets hold.
fn world() -> (World, Sample) {
    let sample = samples::image(1, &[12 << 20]);
    (World::new().with("quay.io/org/app:v1", &sample), sample)
}

/// The morning after a cluster restarts: everybody asks for one blob at once.
async fn many_clients(folder: &Path, sample: &Sample) {
    const CLIENTS: u64 = 500;
    let process = Process::start(folder);
    let (layer, bytes) = largest(sample);
    let target = format!("/v2/quay.io/org/app/blobs/{layer}");
    let before = process.peak_bytes();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Request::new(process.address, "GET", &target).send_part(0).await);
    }
    for client in &mut clients {
        // Its answer has begun: the server holds what it holds for it.
        assert_eq!(client.read_u8().await.unwrap(), b'H');
    }
    let checking = 16 * (2 << 20);
    let held = process.peak_bytes() - before;
    assert!(held < checking + CLIENTS * (1536 << 10), "{} MiB", held >> 20);
    for mut client in clients {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(bytes));
    }
}

/// A running child. Dropping it kills it.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Serves the bundle, or the store, in `folder`.
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "many::serves_until_it_is_killed"]);
        command.args(["--ignored", "--nocapture", "--test-threads=1"]);
        command.env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map(|line| line.expect("the child ended before it listened"))
            .find_map(|line| Some(line.split_once(READY)?.1.parse().unwrap()))
            .expect("the child said nothing");
        Self { child, address }
    }

    /// The most memory that the process ever held.
    fn peak_bytes(&self) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kibibytes: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        kibibytes << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side. Not a test: it ends when somebody ends it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test runs it in a process of its own"]
async fn serves_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "the way a parent tells its child what to serve")]
    let folder = std::env::var_os(FOLDER).expect("it is run by another test");
    let sources = Sources::open(contents(Path::new(&folder)), &Ctx::default()).await.unwrap();
    let metrics = Arc::new(Metrics::default());
    let backend = Arc::new(ContentBackend::new(sources, &metrics));
    let options = ServerOptions { metrics, ..ServerOptions::default() };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(any, options, backend).await.unwrap();
    println!("{READY}{}", server.local_addr());
    server.run(CancellationToken::new()).await;
}

fn contents(folder: &Path) -> Vec<Content> {
    if folder.join("oci-layout").is_file() {
        return vec![Content::Store(Arc::new(Store::open(folder).unwrap()))];
    }
    let roots = TrustRoots::trust_without_signature();
    let bundles = TrustedBundle::open_all(folder, &roots).unwrap();
    bundles.into_iter().map(|bundle| Content::Volumes(Arc::new(bundle))).collect()
}
