//! A lock as other tools read it.

use airlift_testkit::World;
use insta::assert_snapshot;

use crate::world::{airlift, document, succeed, upstream, world, world_with_stack};

/// A world with the lock of two images.
fn world_with_lock() -> World {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    world
}

#[test]
fn csv_goes_to_stdout_or_to_a_file() {
    let world = world_with_lock();
    let shown = succeed(&world, ["export", "--format", "csv"]);
    let heads = shown.lines().map(|line| line.split(',').take(2).collect::<Vec<_>>().join(","));
    assert_snapshot!(heads.collect::<Vec<_>>().join("\n"), @r"
    kind,reference
    image,127.0.0.1:[PORT]/team/app:v1
    image,127.0.0.1:[PORT]/team/multi:v2
    ");
    assert_snapshot!(succeed(&world, ["export", "--format", "csv", "--to", "a/lock.csv"]), @"wrote a/lock.csv");
    let written = String::from_utf8(world.read("a/lock.csv").unwrap()).unwrap();
    assert_eq!(written.lines().count(), shown.lines().count());
    let json = document(&world, ["export", "--format", "csv", "--to", "a/lock.csv"]);
    assert_eq!(json["files"][0], "a/lock.csv");
}

#[test]
fn an_sbom_of_the_same_lock_is_the_same() {
    let world = world_with_lock();
    let first = succeed(&world, ["export", "--format", "cyclonedx"]);
    assert_eq!(succeed(&world, ["export", "--format", "cyclonedx", "--output", "json"]), first);
    let sbom: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(sbom["components"].as_array().unwrap().len(), 2);
}

#[test]
fn olm_wants_a_registry_and_a_catalog() {
    let world = world_with_lock();
    assert_snapshot!(airlift(&world, ["export", "--format", "olm", "--registry", "far:5000"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: the lock of `demo` holds no catalog
    help: add a `catalog:` source to the stack, then `airlift resolve`
    ");
    assert_eq!(airlift(&world, ["export", "--format", "olm"]).code, Some(2));
    let csv = ["export", "--format", "csv", "--registry", "far:5000"];
    assert_snapshot!(airlift(&world, csv), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `--registry` and `--format olm` go together
    ");
}

#[test]
fn each_object_is_a_file_of_its_own() {
    let world = world();
    let lock = r#"{"format": 1, "needs": ["kinds"], "stack": "demo", "artifacts": [{"kind": "catalog",
        "reference": "quay.io/org/my-operator-index:v1", "digest": "sha256:DIGEST", "from": "catalog:./c",
        "because": []}], "findings": [{"code": "not-rendered", "severity": "error", "object": "a", "message": "b"}]}"#;
    world.write("airlift.lock", lock.replace("DIGEST", &"0".repeat(64))).unwrap();
    let flags =
        "export --format olm --registry far:5000/x --layout oc-mirror --to out --progress plain";
    assert_snapshot!(world.run(flags.split(' ')).unwrap(), @r"
    exit: 0
    ----- stdout -----
    wrote out/catalogsource-my-operators.yaml
    wrote out/clustercatalog-my-operators.yaml
    ----- stderr -----
    the lock has 1 error, which `airlift tree` shows
    ");
    let written =
        String::from_utf8(world.read("out/catalogsource-my-operators.yaml").unwrap()).unwrap();
    assert!(written.contains("image: far:5000/x/org/my-operator-index@sha256:000"), "{written}");
}
