//! Container runtimes that run what crossed the gap, by the name that it has upstream.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use airlift_testkit::samples::HELLO;
use airlift_testkit::tools::{Runner, skip, tool};

use crate::sides::{RUNNABLE, Side};

/// podman pulls the image through a mirror of `quay.io` and runs it.
pub(crate) fn podman_runs_it(side: &Side, host: &str) {
    let (Some(podman), Some(runc)) = (tool("podman"), tool("runc")) else {
        return skip("needs podman and runc");
    };
    let runner = Runner::new().unwrap();
    let path = |name: &str| runner.home().join(name).display().to_string();
    let mirror = format!(
        "[[registry]]\nprefix = \"quay.io\"\nlocation = \"{host}/quay.io\"\ninsecure = true\n"
    );
    fs_err::write(path("registries.conf"), mirror).unwrap();
    let (root, run_root) = (path("root"), path("runroot"));
    // Neither hybrid cgroups nor the right to raise limits is everywhere.
    let runtime = runc.display().to_string();
    let args = [
        ["--root", &root],
        ["--runroot", &run_root],
        ["--storage-driver", "vfs"],
        ["--events-backend", "none"],
        ["--runtime", &runtime],
        ["--cgroup-manager", "cgroupfs"],
        ["run", "--rm"],
        ["--network", "none"],
        ["--ulimit", "nofile=1024:1024"],
        ["--ulimit", "nproc=1000:1000"],
    ];
    let run = || {
        let mut command = runner.command(&podman);
        command.env("CONTAINERS_REGISTRIES_CONF", path("registries.conf"));
        command.args(args.concat()).arg(RUNNABLE).output().unwrap()
    };
    let output = side.namespace.enter(run).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), HELLO, "{output:?}");
}

/// containerd does the same, naming the host it means with `?ns=` and leaving it out of the path.
pub(crate) fn containerd_runs_it(side: &Side, host: &str) {
    let (Some(containerd), Some(ctr)) = (tool("containerd"), tool("ctr")) else {
        return skip("needs containerd");
    };
    let runner = Runner::new().unwrap();
    let path = |name: &str| runner.home().join(name).display().to_string();
    let mirror = format!(
        "server = \"https://quay.io\"\n[host.\"http://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
    );
    fs_err::create_dir_all(path("hosts/quay.io")).unwrap();
    fs_err::write(path("hosts/quay.io/hosts.toml"), mirror).unwrap();
    let (root, state, socket) = (path("root"), path("state"), path("c.sock"));
    let config = format!(
        "version = 2\nroot = \"{root}\"\nstate = \"{state}\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{socket}\"\n"
    );
    fs_err::write(path("config.toml"), config).unwrap();
    let run = || {
        let mut command = runner.command(containerd);
        let mut daemon = Daemon::start(command.args(["-c", &path("config.toml")]));
        assert!(daemon.listens_on(&socket), "containerd does not run here");
        let ctr = |args: &[&str]| runner.succeed(&ctr, [&["-a", &socket], args].concat());
        let hosts = path("hosts");
        ctr(&["images", "pull", "--snapshotter", "native", "--hosts-dir", &hosts, RUNNABLE]);
        ctr(&["run", "--rm", "--snapshotter", "native", RUNNABLE, "hello"])
    };
    assert_eq!(side.namespace.enter(run).unwrap(), HELLO);
}

/// A process that ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Waits for the socket; false if the process ends before it is there.
    fn listens_on(&mut self, socket: &str) -> bool {
        while self.0.try_wait().unwrap().is_none() {
            if UnixStream::connect(socket).is_ok() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
