//! What real clients need around them before they pull: a daemon, storage, a mirror's file.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::tools::{Runner, skip};

/// A containerd of the test's own, without CRI. It ends with this.
#[derive(Debug)]
pub struct Containerd {
    child: Child,
    socket: String,
}

impl Containerd {
    /// Runs `program` and waits until it listens.
    ///
    /// None, after saying so loudly, where this machine does not permit it.
    ///
    /// # Panics
    ///
    /// If the home of `runner` cannot be written to, or `program` is none.
    pub fn start(runner: &Runner, program: &Path) -> Option<Self> {
        let (root, state, socket) =
            (path(runner, "root"), path(runner, "state"), path(runner, "c.sock"));
        let config = format!(
            "version = 2\nroot = \"{root}\"\nstate = \"{state}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{socket}\"\n"
        );
        let file = path(runner, "config.toml");
        fs_err::write(&file, config).expect("the home can be written to");
        let mut command = runner.command(program);
        command.args(["-c", &file]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut daemon = Self { child: command.spawn().expect("it is a program"), socket };
        while daemon.child.try_wait().expect("it is our child").is_none() {
            if UnixStream::connect(&daemon.socket).is_ok() {
                return Some(daemon);
            }
            std::thread::yield_now();
        }
        skip("needs the right to run containerd");
        None
    }

    /// Where it listens: `ctr -a SOCKET`.
    pub fn socket(&self) -> &str {
        &self.socket
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes containerd's `hosts.toml` that sends what belongs to `host` to `server`, and returns the folder for
/// `--hosts-dir`.
///
/// # Panics
///
/// If the home of `runner` cannot be written to.
pub fn mirror(runner: &Runner, host: &str, server: &str) -> String {
    let hosts = path(runner, "hosts");
    let text = format!(
        "server = \"https://{host}\"\n[host.\"{server}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
    );
    let folder = Path::new(&hosts).join(host);
    fs_err::create_dir_all(&folder).expect("the home can be written to");
    fs_err::write(folder.join("hosts.toml"), text).expect("the home can be written to");
    hosts
}

/// Flags that keep podman's storage below the home of `runner`, on a file system of any kind.
pub fn podman_storage(runner: &Runner) -> [String; 4] {
    [
        format!("--root={}", path(runner, "root")),
        format!("--runroot={}", path(runner, "runroot")),
        "--storage-driver=vfs".to_owned(),
        "--events-backend=none".to_owned(),
    ]
}

fn path(runner: &Runner, name: &str) -> String {
    runner.home().join(name).display().to_string()
}
