//! What brings charts, kustomizations, catalogs and releases, killed at random moments.

use crate::plant::plant_of_sources;
use crate::random_kills::{left, nothing_came_twice, nothing_is_half, there, whole_in_the_end};

#[test]
fn resolve_of_every_kind_of_source_killed_at_any_moment_pins_the_same_and_brings_nothing_twice() {
    let (plant, _signer) = plant_of_sources!();
    let args = ["--store", "CASE/store", "resolve", "--lock", "CASE/lock"];
    plant.kill_often(
        "resolve of sources",
        &args,
        |_| (),
        |case, args| {
            let whole = fs_err::read(plant.at("whole", "lock")).unwrap();
            let written = fs_err::read(plant.at(case, "lock"));
            assert!(written.is_err() || written.unwrap() == whole, "half a lock");
            let store = plant.at(case, "store");
            let there = there(&store);
            plant.upstream.forget_requests();
            plant.airlift(0, args);
            assert_eq!(fs_err::read(plant.at(case, "lock")).unwrap(), whole);
            nothing_came_twice(&plant, &there);
            plant.is_sound(&store);
        },
    );
}

#[test]
fn pack_of_every_kind_of_source_killed_at_any_moment_makes_the_same_bundle() {
    let (plant, _signer) = plant_of_sources!();
    let args = ["--store", "CASE/store", "pack", "--lock", "CASE/lock", "--to", "CASE/out"];
    let args = [&args[..], &["--volume-size", "64KiB", "--no-binary"]].concat();
    plant.kill_often(
        "pack of sources",
        &args,
        |_| (),
        |case, args| whole_in_the_end(&plant, case, "store", args),
    );
}

#[test]
fn an_export_killed_at_any_moment_leaves_whole_files_or_none() {
    let (plant, _signer) = plant_of_sources!();
    plant.airlift(0, &["resolve"]);
    let olm = ["export", "--format", "olm", "--registry", "far.example", "--to", "CASE/out"];
    let verbs: [(&str, &[&str]); 3] = [
        ("export csv", &["export", "--format", "csv", "--to", "CASE/out/lock.csv"]),
        ("export cyclonedx", &["export", "--format", "cyclonedx", "--to", "CASE/out/sbom.json"]),
        ("export olm", &olm),
    ];
    for (verb, args) in verbs {
        plant.kill_often(
            verb,
            args,
            |_| (),
            |case, args| {
                nothing_is_half(&left(&plant, case, "out"), &left(&plant, "whole", "out"));
                plant.airlift(0, args);
                assert_eq!(left(&plant, case, "out"), left(&plant, "whole", "out"));
            },
        );
        fs_err::remove_dir_all(plant.world.path().join("whole")).unwrap();
    }
}
