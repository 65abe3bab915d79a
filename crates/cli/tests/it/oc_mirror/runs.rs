//! What real runs bring, and what they say.

use airlift_testkit::{FakeRegistry, World};

use super::{text, well, with_catalog, world_with_set};
use crate::world::{document, succeed, trust_own_key};

/// Straight from one registry to another, by the set in `isc.yaml`.
const STRAIGHT: [&str; 5] = ["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws"];

/// Writes more lines below `mirror:` of the set.
fn add(world: &World, more: &str) {
    world.write("isc.yaml", text(world, "isc.yaml") + more).unwrap();
}

/// A set that blocks the operator's image, one of two names of an image, and the only name of another.
fn blocking_set(registry: &FakeRegistry) -> World {
    let world = world_with_set(registry);
    let host = registry.host();
    registry.put("team/tool", "v1", &airlift_testkit::samples::image(7, &[700]));
    add(
        &world,
        &format!(
            "  - {{name: '{host}/team/multi:v2', targetRepo: own/multi}}\n  - {{name: '{host}/team/tool:v1', targetRepo: own/tool}}\n  blockedImages: [{{name: 'team/a..:v\\d$'}}, {{name: /own/}}]\n"
        ),
    );
    world
}

#[test]
fn blocked_images_are_neither_asked_for_nor_carried_nor_pushed() {
    let registry = with_catalog();
    let world = blocking_set(&registry);
    trust_own_key(&world);
    let (straight, over_disk) = (FakeRegistry::start(), FakeRegistry::start());
    let to = format!("docker://{}", straight.host());
    well(&world, &STRAIGHT, &[&to, "--v2"]);
    well(&world, &["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"], &[]);
    let load = ["oc-mirror", "-c", "isc.yaml", "--from", "file://disk", "--v2"];
    well(&world, &load, &[&format!("docker://{}", over_disk.host())]);
    for far in [&straight, &over_disk] {
        let repositories = far.repositories();
        let images: Vec<_> = repositories.iter().filter(|it| !it.contains("airlift")).collect();
        assert_eq!(images, ["ops/app-bundle", "ops/index", "team/multi"]);
    }
    for blocked in ["/team/app/", "/team/tool/"] {
        assert_eq!(registry.count("GET", blocked), 0, "{}", registry.transcript());
    }
}

#[test]
fn a_blocked_image_is_said_by_every_verb_that_takes_the_set() {
    let registry = with_catalog();
    let world = blocking_set(&registry);
    let resolved = document(&world, ["resolve", "-f", "isc.yaml"]);
    assert_eq!(resolved["artifacts"], 3, "{resolved:#}");
    let dry = document(&world, ["oc-mirror", "-c", "isc.yaml", "file://d", "--v2", "--dry-run"]);
    for said in [resolved, dry] {
        let findings = said["findings"].as_array().unwrap();
        let out = findings.iter().filter(|it| it["code"] == "excluded");
        let out: Vec<_> = out.map(|it| it["object"].as_str().unwrap()).collect();
        for image in ["/team/app:v1", "/team/tool:v1"] {
            assert!(out.iter().any(|it| it.ends_with(image)), "{image}: {said:#}");
        }
    }
    assert_eq!(text(&world, "d/working-dir/dry-run/mapping.txt").lines().count(), 3);
    succeed(&world, ["resolve", "-f", "isc.yaml", "--locked"]);
}
