//! A server in a process of its own, for what cannot be done to a thread: killing it, or filling its disk.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use airlift_registry::server::{Server, ServerOptions, StoreBackend};
use airlift_store::Store;
use airlift_testkit::tools::skip;
use tokio_util::sync::CancellationToken;

use airlift_testkit::raw::Request;

/// Names the store that the child serves.
const STORE: &str = "AIRLIFT_TEST_STORE";
const READY: &str = "listening on ";

/// A running child. Dropping it kills it, as `kill -9` does.
pub(super) struct Process {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Process {
    /// Serves the store in `folder`, which takes pushes.
    pub(super) fn start(folder: &Path) -> Self {
        Self::spawn(this_test(&mut Command::new(std::env::current_exe().unwrap())), folder)
    }

    /// The same on a disk of `mebibytes`, in a mount namespace of its own; none where the system forbids these.
    pub(super) fn start_on_small_disk(folder: &Path, mebibytes: u32) -> Option<Self> {
        let probe = Command::new("unshare").args(["-Urm", "true"]).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            skip("needs mount namespaces");
            return None;
        }
        let script = format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$0\" && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", &script]).arg(folder);
        command.arg(std::env::current_exe().unwrap());
        Some(Self::spawn(this_test(&mut command), folder))
    }

    fn spawn(command: &mut Command, folder: &Path) -> Self {
        let command = command.env(STORE, folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map(|line| line.expect("the child ended before it listened"))
            .find_map(|line| Some(line.split_once(READY)?.1.parse().unwrap()))
            .expect("the child said nothing");
        Self { child, address }
    }

    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }

    /// The most memory that the process ever held.
    pub(super) fn peak_bytes(&self) -> u64 {
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

/// Runs [`serves_until_it_is_killed`] and nothing else of this binary.
fn this_test(command: &mut Command) -> &mut Command {
    command.args(["--exact", "server::child::serves_until_it_is_killed"]);
    command.args(["--ignored", "--nocapture", "--test-threads=1"])
}

/// The child's side. Not a test: it ends when somebody ends it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "other tests run it in a process of its own"]
async fn serves_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "the way a parent tells its child what to serve")]
    let folder = std::env::var_os(STORE).expect("it is run by another test");
    let store = Store::create(&Path::new(&folder).join("store")).unwrap();
    let backend = Arc::new(StoreBackend::new(Arc::new(store)));
    let options = ServerOptions { writable: Some(backend.clone()), ..ServerOptions::default() };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(any, options, backend).await.unwrap();
    println!("{READY}{}", server.local_addr());
    server.run(CancellationToken::new()).await;
}
