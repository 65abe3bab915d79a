//! The forms of output, which scripts rely on.

use insta::assert_snapshot;
use serde_json::Value;

use crate::world::{airlift, document, succeed, upstream, world, world_with_stack};

#[test]
fn tree_as_json_has_the_documented_shape() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    let tree = document(&world, ["tree"]);
    assert_eq!(tree["format"], 1);
    assert_eq!(tree["stack"], "demo");
    let app = &tree["artifacts"][0];
    assert_eq!(app["kind"], "image");
    // The world shows every port as the same.
    let name = "127.0.0.1:[PORT]/team/app:v1";
    assert_eq!(app["reference"], name);
    assert!(app["digest"].as_str().unwrap().starts_with("sha256:"), "{tree}");
    assert!(app["bytes"].as_u64().unwrap() > 10_000, "{tree}");
    assert_eq!(app["because"][0]["from"], format!("image: {name}"));
    assert_eq!(tree["findings"], Value::Array(Vec::new()));
}

#[test]
fn tree_as_json_names_what_has_a_name() {
    let world = world();
    let lock = r#"{"format": 1, "needs": ["kinds"], "stack": "demo", "artifacts": [{"kind": "bundle",
        "reference": "quay.io/org/bundle:v1", "name": "app.1.2.3", "version": "1.2.3", "digest": null, "because": []}]}"#;
    world.write("airlift.lock", lock).unwrap();
    let bundle = &document(&world, ["tree"])["artifacts"][0];
    assert_eq!((&bundle["name"], &bundle["version"]), (&"app.1.2.3".into(), &"1.2.3".into()));
}

#[test]
fn a_failure_is_one_document_too() {
    let world = world();
    let failed = document(&world, ["fetch"]);
    assert_eq!(failed["format"], 1);
    assert_eq!(failed["error"]["class"], "input");
    assert_eq!(failed["error"]["exitCode"], 2);
    assert_eq!(failed["error"]["help"], "make it with `airlift resolve`");
}

#[test]
fn progress_json_is_one_object_a_line_and_says_its_version_first() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    let ran = world.run(["fetch", "--progress", "json"]).unwrap();
    let lines: Vec<Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}")))
        .collect();
    assert_eq!(lines[0]["event"], "opened");
    assert_eq!(lines[0]["format"], 1);
    let moved: u64 = lines
        .iter()
        .filter(|line| line["event"] == "transfer-advanced")
        .filter_map(|line| line["bytes"].as_u64())
        .sum();
    let layers = 10_000 + 200 + 3 * 3_000;
    assert!(moved >= layers, "{moved} of {layers}: {}", ran.stderr);
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "traffic");
    assert!(last["requests"].as_u64().unwrap() > 0);
}

#[test]
fn a_failure_is_a_json_line_where_progress_is_json() {
    let ran = world().run(["fetch", "--progress", "json"]).unwrap();
    let last: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["exitCode"]), (&"failed".into(), &2.into()));
    assert_eq!(ran.stdout, "");
}

#[test]
fn plain_progress_says_what_begins_and_what_it_cost() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    let ran = world.run(["resolve", "--progress", "plain"]).unwrap();
    let last = ran.stderr.lines().last().unwrap_or_default();
    assert!(ran.stderr.starts_with("resolve: 2 items\n"), "{ran}");
    assert!(last.contains("requests, ") && last.ends_with("0 B sent"), "{ran}");
}

#[test]
fn wrong_flags_are_an_input_error() {
    assert_eq!(airlift(&world(), ["fetch", "--limit-rate", "fast"]).code, Some(2));
    assert_snapshot!(airlift(&world(), ["resolve", "--locked", "--offline"]).code.unwrap(), @"2");
    assert_eq!(world().run(["--version"]).unwrap().code, Some(0));
}

#[test]
fn without_a_home_the_flag_that_helps_is_named() {
    let world = world();
    world.write("airlift.lock", "").unwrap();
    let mut command = world.command(["fsck", "--progress", "none"]);
    command.env_remove("HOME").env_remove("XDG_DATA_HOME");
    let ran = airlift_testkit::tools::Ran::from(command.output().unwrap());
    assert_snapshot!(ran, @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: there is no home folder to keep things in: `HOME` is not set
    help: set `HOME`, or give `--store DIR`
    ");
}
