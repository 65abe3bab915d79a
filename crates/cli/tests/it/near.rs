//! The connected side.

use airlift_testkit::registry::{Auth, Bearer, Credentials, FakeOptions, Fault, On};
use airlift_testkit::{FakeRegistry, samples};
use insta::assert_snapshot;

use crate::world::{airlift, succeed, upstream, world, world_with_stack};

#[test]
fn resolve_pins_and_fetch_brings_and_neither_does_it_twice() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 0
    ----- stdout -----
    + 127.0.0.1:[PORT]/team/app:v1  sha256:2b4fbfa236c2
    + 127.0.0.1:[PORT]/team/multi:v2  sha256:7bc93e3b2860
    demo: 2 artifacts, 21.7 KiB at most, lock written
    ----- stderr -----
    ");
    assert_snapshot!(airlift(&world, ["fetch", "--dry-run"]), @r"
    exit: 0
    ----- stdout -----
    8 blobs (19.6 KiB) to fetch, 4 blobs (2.1 KiB) in the store
    ----- stderr -----
    ");
    assert_snapshot!(airlift(&world, ["fetch"]), @r"
    exit: 0
    ----- stdout -----
    demo: 2 of 2 artifacts complete, 8 blobs (19.6 KiB) fetched, 0 blobs (0 B) there before
    ----- stderr -----
    ");
    registry.forget_requests();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 0
    ----- stdout -----
    demo: 2 artifacts, 21.7 KiB at most, lock unchanged
    ----- stderr -----
    ");
    assert_snapshot!(airlift(&world, ["fetch"]), @r"
    exit: 0
    ----- stdout -----
    demo: 2 of 2 artifacts complete, 0 blobs (0 B) fetched, 8 blobs (19.6 KiB) there before
    ----- stderr -----
    ");
    assert_eq!(registry.requests().len(), 0, "{}", registry.transcript());
}

#[test]
fn tree_and_why_say_what_the_lock_holds() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    assert_snapshot!(airlift(&world, ["tree"]), @r"
    exit: 0
    ----- stdout -----
    demo  2 artifacts, 21.7 KiB at most
    ├── 127.0.0.1:[PORT]/team/app:v1  sha256:2b4fbfa236c2  10.7 KiB
    └── 127.0.0.1:[PORT]/team/multi:v2  sha256:7bc93e3b2860  10.9 KiB
        └── linux/amd64, linux/arm64
    ----- stderr -----
    ");
    let app = registry.reference("team/app", "v1");
    assert_snapshot!(airlift(&world, ["why", &app]), @r"
    exit: 0
    ----- stdout -----
    127.0.0.1:[PORT]/team/app:v1  sha256:2b4fbfa236c2
    └── declared by `image: 127.0.0.1:[PORT]/team/app:v1` in stack demo
    ----- stderr -----
    ");
    assert_snapshot!(airlift(&world, ["why", "quay.io/other/app"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `quay.io/other/app` is not in `airlift.lock`
    help: ask for `127.0.0.1:[PORT]/team/app:v1`, which is in it
    ");
}

#[test]
fn a_pin_stays_until_it_is_told_to_move() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    registry.put("team/app", "v1", &samples::image(9, &[500]));
    let lock = world.read("airlift.lock").unwrap();
    succeed(&world, ["resolve"]);
    assert_eq!(world.read("airlift.lock").unwrap(), lock);
    assert_snapshot!(airlift(&world, ["resolve", "--check-upstream"]), @r"
    exit: 0
    ----- stdout -----
    warning[upstream-moved] 127.0.0.1:[PORT]/team/app:v1: its tag leads to sha256:981da2a720dd62fc6975c14bc9ec3b8bb9a38eaefa7fc2cdfa19e5563cabeb0f now
    ----- stderr -----
    ");
    let app = registry.reference("team/app", "v1");
    assert_snapshot!(airlift(&world, ["resolve", "--dry-run", "--update", &app]), @r"
    exit: 0
    ----- stdout -----
    ~ 127.0.0.1:[PORT]/team/app:v1  sha256:2b4fbfa236c2 -> sha256:981da2a720dd
    demo: 2 artifacts, 12.0 KiB at most, lock not written
    ----- stderr -----
    ");
    assert_eq!(world.read("airlift.lock").unwrap(), lock);
    assert_snapshot!(airlift(&world, ["resolve", "--update"]), @r"
    exit: 0
    ----- stdout -----
    ~ 127.0.0.1:[PORT]/team/app:v1  sha256:2b4fbfa236c2 -> sha256:981da2a720dd
    demo: 2 artifacts, 12.0 KiB at most, lock written
    ----- stderr -----
    ");
    assert_ne!(world.read("airlift.lock").unwrap(), lock);
    assert_snapshot!(airlift(&world, ["resolve", "--update", "quay.io/other/app"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `quay.io/other/app:latest` is not in stack `demo`
    ");
}

#[test]
fn locked_asks_nobody_and_a_stale_lock_is_a_finding() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    let multi = registry.reference("team/multi", "v2");
    drop(registry);
    assert_snapshot!(airlift(&world, ["resolve", "--locked"]), @r"
    exit: 0
    ----- stdout -----
    the lock of demo is up to date
    ----- stderr -----
    ");
    world.write_stack("demo", &[&multi]).unwrap();
    assert_snapshot!(airlift(&world, ["resolve", "--locked"]), @r"
    exit: 8
    ----- stdout -----
    error[lock-stale] demo: `127.0.0.1:[PORT]/team/app:v1` is in the lock but not in the stack any more
    ----- stderr -----
    ");
}

#[test]
fn offline_leaves_open_what_no_lock_pins_and_fetch_refuses_it_by_name() {
    let world = world();
    world.write_stack("demo", &["quay.io/org/app:1"]).unwrap();
    assert_snapshot!(airlift(&world, ["resolve", "--offline"]), @r"
    exit: 8
    ----- stdout -----
    error[unpinned] quay.io/org/app:1: no earlier lock pins it, and nobody was asked
    demo: 1 artifact, 0 B at most, lock written
    ----- stderr -----
    ");
    assert_snapshot!(airlift(&world, ["fetch"]), @r"
    exit: 8
    ----- stdout -----
    ----- stderr -----
    error: the lock does not pin `quay.io/org/app:1`
    help: run `airlift resolve` where the registry can be reached
    ");
}

#[test]
fn a_registry_that_refuses_access_says_how_to_log_in_and_spares_the_rest() {
    let registry = upstream();
    let bearer =
        Bearer { credentials: Some(Credentials::new("ann", "secret")), ..Bearer::default() };
    let closed =
        FakeRegistry::with(FakeOptions { auth: Auth::Bearer(bearer), ..FakeOptions::default() });
    closed.put("vendor/driver", "v1", &samples::image(3, &[100]));
    let world = world();
    let images = [registry.reference("team/app", "v1"), closed.reference("vendor/driver", "v1")];
    world.write_stack("demo", &images.each_ref().map(String::as_str)).unwrap();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 3
    ----- stdout -----
    + 127.0.0.1:[PORT]/team/app:v1  sha256:2b4fbfa236c2
    error[unpinned] 127.0.0.1:[PORT]/vendor/driver:v1: it could not be pinned: failed to ask for `127.0.0.1:[PORT]/vendor/driver:v1`: 127.0.0.1:[PORT] refused access to `vendor/driver`: UNAUTHORIZED: said by the fake registry
    FAILED                            WHY
    127.0.0.1:[PORT]/vendor/driver:v1  failed to ask for `127.0.0.1:[PORT]/vendor/driver:v1`: 127.0.0.1:[PORT] refused access to `vendor/driver`: UNAUTHORIZED: said by the fake registry
    help: run `airlift login 127.0.0.1:[PORT]`
    demo: 2 artifacts, 10.7 KiB at most, lock written
    ----- stderr -----
    ");
}

#[test]
fn wrong_bytes_are_an_integrity_failure() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    registry.fail_always(On::blobs(), Fault::FlipByte(7));
    let ran = airlift(&world, ["fetch"]);
    assert_eq!(ran.code, Some(5), "{ran}");
    registry.heal();
    succeed(&world, ["fetch"]);
}

#[test]
fn a_stack_that_is_wrong_is_named_with_its_line() {
    let world = world();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: there is no stack `airlift.yaml`
    help: write one, or name it with `-f FILE`
    ");
    world.write("airlift.yaml", "version: 1\nname: demo\nsources:\n  - imag: nginx\n").unwrap();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.yaml` cannot be used
      cause: line 4 column 5: unknown field `imag`, expected one of image, catalog, chart, manifests, openshift, model, juju, file, as, platforms, because, packages, full, dependencies, repository, version, values, variants, release, namespace, kubeVersion, apiVersions, switches, product, from, to, shortestPath, architectures, graph, kubevirt
    ");
    world.write("airlift.yaml", "version: 1\nname: demo\nsources:\n  - image: UPPER\n").unwrap();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.yaml` cannot be used
      cause: line 4: `UPPER` is not an image reference
      cause: `UPPER` is not an image reference: a repository is lowercase letters, digits, `.`, `_`, `-` and `/`
    ");
    world.write("airlift.yaml", [0xff, 0xfe]).unwrap();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: airlift.yaml: it is not text, so it is no stack
    ");
}

#[test]
fn a_lock_that_is_none_is_refused() {
    let world = world();
    assert_snapshot!(airlift(&world, ["tree"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: there is no lock `airlift.lock`
    help: make it with `airlift resolve`
    ");
    world.write("airlift.lock", "{}").unwrap();
    assert_snapshot!(airlift(&world, ["tree"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.lock` cannot be used
      cause: it is not a lock
      cause: missing field `format` at line 1 column 2
    help: make it anew with `airlift resolve`
    ");
    world.write("airlift.lock", r#"{"format": 99}"#).unwrap();
    assert_snapshot!(airlift(&world, ["fetch"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.lock` cannot be used
      cause: it has format 99; this version of airlift reads up to 1
    help: use a newer version of airlift
    ");
}

#[test]
fn upstreams_of_the_configuration_are_where_bytes_really_come_from() {
    let registry = upstream();
    let world = world();
    world.write_stack("demo", &["quay.io/app:v1"]).unwrap();
    let config = format!("[upstreams]\n\"quay.io\" = \"{}/team\"\n", registry.host());
    fs_err::create_dir_all(world.home().join("config/airlift")).unwrap();
    fs_err::write(world.home().join("config/airlift/config.toml"), config).unwrap();
    succeed(&world, ["resolve"]);
    assert!(succeed(&world, ["tree"]).contains("quay.io/app:v1"));
    assert!(registry.count("GET", "/v2/team/app/manifests/") > 0, "{}", registry.transcript());
}

#[test]
fn a_configuration_that_is_wrong_is_named_with_its_line() {
    let world = world();
    world.write_stack("demo", &["quay.io/app:v1"]).unwrap();
    fs_err::create_dir_all(world.home().join("config/airlift")).unwrap();
    fs_err::write(world.home().join("config/airlift/config.toml"), "\nparalel = 3\n").unwrap();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: [HOME]/config/airlift/config.toml:2: unknown field `paralel`
    help: use one of `parallel`, `limit-rate`, `plain-http`, `ca`, `authfile`, `upstreams`
    ");
}

#[test]
fn a_stack_that_wants_nothing_is_refused() {
    let world = world();
    world.write("airlift.yaml", "version: 1\nname: demo\nsources:\n").unwrap();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.yaml` cannot be used
      cause: it wants nothing: `sources:` is absent or empty
    help: list what to carry, like `sources: [{image: quay.io/org/app:1}]`
    ");
    assert!(world.read("airlift.lock").is_err());
}

#[test]
fn a_local_image_that_is_not_there_is_named_by_its_line_and_spares_the_rest() {
    let registry = upstream();
    let world = world();
    let app = registry.reference("team/app", "v1");
    let text = format!(
        "version: 1\nname: demo\nsources:\n  - {{image: 'oci:nowhere', as: my.lab/a:1}}\n  - image: {app}\n  \
         - {{image: 'docker-archive:cut.tar', as: my.lab/b:1}}\n"
    );
    world.write("airlift.yaml", text).unwrap();
    let layer = samples::Layer::tar(&[samples::File::new("a", samples::noise(1, 5000))]);
    let archive = samples::docker_archive("my.lab/b:1", &[layer]);
    world.write("cut.tar", &archive[..archive.len() / 2]).unwrap();
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 2
    ----- stdout -----
    + 127.0.0.1:[PORT]/team/app:v1  sha256:2b4fbfa236c2
    error[unpinned] my.lab/a:1: it could not be pinned: line 4: `oci:nowhere` cannot be carried: `./nowhere/index.json` is not there
    error[unpinned] my.lab/b:1: it could not be pinned: line 6: `docker-archive:cut.tar` cannot be carried: `./cut.tar` is cut short
    FAILED      WHY
    my.lab/a:1  airlift.yaml: line 4: `oci:nowhere` cannot be carried: `./nowhere/index.json` is not there
    my.lab/b:1  airlift.yaml: line 6: `docker-archive:cut.tar` cannot be carried: `./cut.tar` is cut short
    help: copy it again, or make it anew with `docker save`
    help: correct the path; it starts from the folder that the stack lies in
    demo: 3 artifacts, 10.7 KiB at most, lock written
    ----- stderr -----
    ");
    assert_snapshot!(airlift(&world, ["resolve", "--locked"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.yaml` cannot be used
      cause: line 4: `oci:nowhere` cannot be carried
      cause: `./nowhere/index.json` is not there
    help: correct the path; it starts from the folder that the stack lies in
    ");
    world.write("cut.tar", archive).unwrap();
    samples::image(5, &[100]).write_layout(&world.path().join("nowhere"), "1").unwrap();
    succeed(&world, ["resolve"]);
    succeed(&world, ["fetch"]);
}

#[test]
fn an_image_whose_new_platforms_nobody_tells_stays_pinned_and_the_exit_code_says_so() {
    let registry = upstream();
    let world = world();
    let image = registry.reference("team/multi", "v2");
    let stack = |platforms: &str| {
        let text =
            format!("version: 1\nname: demo\nplatforms: {platforms}\nsources:\n- image: {image}\n");
        world.write("airlift.yaml", text).unwrap();
    };
    stack("[linux/amd64]");
    succeed(&world, ["resolve"]);
    stack("all");
    registry.fail_always(On::manifests(), Fault::Status(403, vec![]));
    for (args, code) in [
        (&["resolve"][..], 3),
        (&["resolve", "--update"], 3),
        (&["resolve", "--offline"], 8),
        (&["resolve", "--locked"], 8),
        (&["tree"], 0),
    ] {
        let ran = world.run(args).unwrap();
        assert_eq!(ran.code, Some(code), "{args:?}: {ran}");
        let lock = String::from_utf8(world.read("airlift.lock").unwrap()).unwrap();
        assert!(!lock.contains("\"digest\": null"), "{args:?}: {lock}");
        assert!(lock.contains("\"platforms-stale\""), "{args:?}: {lock}");
    }
    registry.heal();
    succeed(&world, ["resolve"]);
    succeed(&world, ["resolve", "--locked"]);
}
