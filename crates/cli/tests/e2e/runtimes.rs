//! Container runtimes that run what crossed the gap, by the name that it has upstream.

use airlift_testkit::clients::{Containerd, mirror, podman_storage};
use airlift_testkit::need;
use airlift_testkit::samples::HELLO;
use airlift_testkit::tools::Runner;

use crate::sides::{RUNNABLE, Side};

/// podman pulls the image through a mirror of `quay.io` and runs it.
pub(crate) fn podman_runs_it(side: &Side, host: &str) {
    let (podman, runc) = (need!("podman"), need!("runc"));
    let runner = Runner::new().unwrap();
    let registries = runner.home().join("registries.conf");
    let mirror = format!(
        "[[registry]]\nprefix = \"quay.io\"\nlocation = \"{host}/quay.io\"\ninsecure = true\n"
    );
    fs_err::write(&registries, mirror).unwrap();
    let mut command = runner.command(podman);
    command.env("CONTAINERS_REGISTRIES_CONF", registries).args(podman_storage(&runner));
    // Neither unified cgroups nor the right to raise limits is everywhere.
    command.arg("--runtime").arg(runc).args(["--cgroup-manager", "cgroupfs"]);
    command.args(["run", "--rm", "--network", "none"]);
    command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", RUNNABLE]);
    let output = side.namespace.enter(|| command.output().unwrap()).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), HELLO, "{output:?}");
}

/// containerd does the same, naming the host it means with `?ns=` and leaving it out of the path.
pub(crate) fn containerd_runs_it(side: &Side, host: &str) {
    let (containerd, ctr) = (need!("containerd"), need!("ctr"));
    let runner = Runner::new().unwrap();
    let hosts = mirror(&runner, "quay.io", &format!("http://{host}"));
    let run = || {
        let daemon = Containerd::start(&runner, &containerd)?;
        let ctr = |args: &[&str]| runner.succeed(&ctr, [&["-a", daemon.socket()], args].concat());
        let native = ["--snapshotter", "native"];
        ctr(&["images", "pull", native[0], native[1], "--hosts-dir", &hosts, RUNNABLE]);
        Some(ctr(&["run", "--rm", native[0], native[1], RUNNABLE, "hello"]))
    };
    if let Some(said) = side.namespace.enter(run).unwrap() {
        assert_eq!(said, HELLO);
    }
}
