//! Bundles, and the far side.

use airlift_testkit::{FakeRegistry, Fault, On};
use insta::assert_snapshot;

use crate::world::{airlift, document, succeed, upstream, world_with_bundle, world_with_stack};

#[test]
fn pack_makes_a_bundle_once() {
    let registry = upstream();
    let world = world_with_bundle(&registry);
    let listed = succeed(&world, ["bundle", "ls", "disk"]);
    // The root's digest depends on the registry's port.
    let artifacts = listed.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert_snapshot!(artifacts, @r"
    ARTIFACT                       DIGEST                   SIZE  VOLUMES
    127.0.0.1:[PORT]/team/app:v1    sha256:2b4fbfa236c2  10.7 KiB  demo.00001.tar
    127.0.0.1:[PORT]/team/multi:v2  sha256:7bc93e3b2860  10.9 KiB  demo.00001.tar
    ");
    registry.forget_requests();
    let again = document(&world, ["pack", "--to", "disk", "--no-binary", "--volume-size", "64KiB"]);
    assert_eq!(again["bundle"]["created"]["bytesWritten"], 0, "{again}");
    assert_eq!(registry.requests().len(), 0, "{}", registry.transcript());
}

#[test]
fn a_bundle_that_nobody_trusted_signed_is_refused() {
    let registry = upstream();
    let world = world_with_bundle(&registry);
    let trust = world.home().join("config/airlift/trust");
    fs_err::remove_dir_all(&trust).unwrap();
    assert_snapshot!(airlift(&world, ["bundle", "ls", "disk"]), @r"
    exit: 5
    ----- stdout -----
    ----- stderr -----
    error: no trusted key has signed disk/demo.bundle.json
    help: name the public key of whoever made the bundle with `--trust`
    ");
    assert_eq!(
        airlift(&world, ["bundle", "ls", "disk", "--insecure-trust-unsigned"]).code,
        Some(0)
    );
    let key = world.home().join("config/airlift/signing.pub");
    assert_eq!(
        airlift(&world, ["bundle", "ls", "disk", "--trust", key.to_str().unwrap()]).code,
        Some(0)
    );
}

#[test]
fn a_bundle_needs_a_key_and_fetched_artifacts() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    let create = ["bundle", "create", "--to", "disk", "--no-binary"];
    assert_snapshot!(airlift(&world, create), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: there is no signing key `[HOME]/config/airlift/signing.key`
    help: make one with `airlift keygen`, or name one with `--sign KEY`
    ");
    succeed(&world, ["keygen"]);
    let ran = airlift(&world, create);
    assert_eq!(ran.code, Some(8), "{ran}");
}

#[test]
fn an_empty_folder_is_no_bundle() {
    let registry = upstream();
    let world = world_with_bundle(&registry);
    fs_err::create_dir(world.path().join("empty")).unwrap();
    assert_snapshot!(airlift(&world, ["bundle", "ls", "empty"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: there is no bundle in empty
    help: name the folder that holds the volumes
    ");
}

#[test]
fn what_differs_between_two_bundles_is_listed() {
    let registry = upstream();
    let world = world_with_bundle(&registry);
    assert_snapshot!(airlift(&world, ["bundle", "diff", "disk", "disk"]), @r"
    exit: 0
    ----- stdout -----
    no differences
    ----- stderr -----
    ");
    world.write_stack("demo", &[&registry.reference("team/app", "v1")]).unwrap();
    succeed(&world, ["pack", "--to", "later", "--no-binary", "--volume-size", "64KiB"]);
    let ran = airlift(&world, ["bundle", "diff", "disk", "later"]);
    assert!(ran.stdout.starts_with("- 127.0.0.1:[PORT]/team/multi:v2  sha256:"), "{ran}");
}

#[test]
fn verify_names_the_volume_and_prints_the_line_that_cuts_it_again() {
    let registry = upstream();
    let world = world_with_bundle(&registry);
    let ran = airlift(&world, ["verify", "disk"]);
    assert!(ran.is_success() && ran.stdout.ends_with("all is well\n"), "{ran}");
    let mut volume = world.read("disk/demo.00001.tar").unwrap();
    volume[20_000] ^= 1;
    world.write("disk/demo.00001.tar", volume).unwrap();
    let ran = airlift(&world, ["verify", "disk"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    assert!(ran.stdout.contains("demo.00001.tar"), "{ran}");
    assert!(ran.stdout.contains("airlift bundle create --volumes 1 --root sha256:"), "{ran}");
    let far = FakeRegistry::start();
    let land = ["land", "disk", "--verify-first", "--to", &far.host()];
    assert_eq!(airlift(&world, land).code, Some(8));
    assert!(far.repositories().is_empty());
}

#[test]
fn load_pushes_once_and_the_registry_keeps_the_receipt() {
    let registry = upstream();
    let world = world_with_bundle(&registry);
    let far = FakeRegistry::start();
    drop(registry);
    let to = format!("{}/mirror", far.host());
    let ran = airlift(&world, ["load", "disk", "--to", &to]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let again = document(&world, ["load", "disk", "--to", &to]);
    assert_eq!(again["totals"]["bytesSent"], 0, "{again}");
    let receipt: serde_json::Value =
        serde_json::from_str(&succeed(&world, ["receipt", &to])).unwrap();
    assert_eq!(receipt["stack"], "demo", "{receipt}");
    assert_eq!(receipt["prefix"], "mirror", "{receipt}");
}

#[test]
fn a_registry_is_asked_for_what_it_has_and_read_where_that_is_wanted() {
    let registry = upstream();
    let world = world_with_bundle(&registry);
    let far = FakeRegistry::start();
    succeed(&world, ["load", "disk", "--to", &far.host()]);
    let source = format!("registry://{}", far.host());
    far.forget_requests();
    succeed(&world, ["verify", &source, "--lock", "airlift.lock"]);
    assert_eq!(far.count("GET", "/team/app/blobs/"), 0, "{}", far.transcript());
    succeed(&world, ["verify", "--deep", &source, "--lock", "airlift.lock"]);
    assert!(far.count("GET", "/team/app/blobs/") > 0, "{}", far.transcript());

    far.fail_always(On::get("/team/app/blobs/"), Fault::FlipByte(5));
    let ran = airlift(&world, ["verify", "--deep", &source, "--lock", "airlift.lock"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    assert!(ran.to_string().contains("error[blob-damaged]"), "{ran}");
}

#[test]
fn volumes_are_cut_again_without_lock_and_key() {
    let registry = upstream();
    let world = world_with_bundle(&registry);
    let before = world.read("disk/demo.00001.tar").unwrap();
    fs_err::remove_file(world.path().join("disk/demo.00001.tar")).unwrap();
    fs_err::remove_file(world.path().join("airlift.lock")).unwrap();
    fs_err::remove_file(world.home().join("config/airlift/signing.key")).unwrap();
    let root = "disk/demo.bundle.json";
    let cut = ["bundle", "create", "--volumes", "1", "--root", root, "--to", "disk"];
    assert_eq!(airlift(&world, cut).code, Some(0));
    assert_eq!(world.read("disk/demo.00001.tar").unwrap(), before);
}
