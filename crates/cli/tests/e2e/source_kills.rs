//! What brings charts, kustomizations, catalogs and releases, killed at random moments.

use airlift_testkit::openshift::{Published, Signer, graph, graph_data};
use airlift_testkit::{need, samples, sources};

use crate::plant::Plant;
use crate::random_kills::{
    left, nothing_came_twice, nothing_is_half, same_volumes_in_the_end, there,
};

/// A plant whose stack has a source of every kind, and who signs its releases. None where a program is missing.
macro_rules! plant {
    () => {{
        let programs = [need!("git"), need!("kustomize"), need!("helm")];
        let Some(published) = Published::new(env!("CARGO_BIN_EXE_airlift")) else { return };
        plant(published, &programs)
    }};
}

fn plant(published: Published, programs: &[std::path::PathBuf; 3]) -> (Plant, Signer) {
    let Published { registry, signer, nodes, mut world, .. } = published;
    let host = registry.host();
    sources::publish_images(&registry);
    sources::publish_catalog(&registry);
    sources::publish_charts(&registry);
    for (seed, name) in [(31, "base"), (32, "crds"), (33, "objects")] {
        let image = format!("kube/{name}");
        registry.put(&image, "1", &samples::image(seed, &[40_000]));
        let pod = sources::pod(&registry.reference(&image, "1"))
            .replace("name: app", &format!("name: {name}"));
        registry.put_file(&format!("/{name}.yaml"), pod.clone());
        world.write(&format!("repo/base/{name}.yaml"), pod).unwrap();
    }
    world.write("repo/base/kustomization.yaml", "resources: [base.yaml]\n").unwrap();
    let repository = world.path().join("repo");
    sources::commit_all(&programs[0], &repository);
    let base = format!("file://{}//base?ref=main", repository.display());
    let deploy = format!("resources: ['{base}', 'http://{host}/crds.yaml']\n");
    world.write("deploy/kustomization.yaml", deploy).unwrap();
    world.write("graphs/amd64-stable-4.20.json", graph(&nodes)).unwrap();
    world.write("graphs/graph-data.tar.gz", graph_data()).unwrap();
    let graphs = format!("file://{}", world.path().join("graphs").display());
    world.set("UPDATE_URL_OVERRIDE", &graphs);
    let folders = programs.iter().map(|it| it.parent().unwrap());
    world.set("PATH", std::env::join_paths(folders).unwrap().to_str().unwrap());
    let stack = format!(
        "version: 1\nname: plant\nsources:\n- manifests: ./deploy\n- manifests: http://{host}/objects.yaml\n- {{chart: app, repository: 'http://{host}/charts'}}\n- {{openshift: stable-4.20, graph: true}}\n- {{catalog: '{host}/ops/index:v4.20', packages: [{{name: app}}]}}\n"
    );
    world.write("airlift.yaml", stack).unwrap();
    let image = samples::image(31, &[40_000]);
    let plant = Plant { upstream: registry, world, image };
    plant.trust_own_key();
    (plant, signer)
}

#[test]
fn resolve_of_every_kind_of_source_killed_at_any_moment_pins_the_same_and_brings_nothing_twice() {
    let (plant, _signer) = plant!();
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
    let (plant, _signer) = plant!();
    let args = ["--store", "CASE/store", "pack", "--lock", "CASE/lock", "--to", "CASE/out"];
    let args = [&args[..], &["--volume-size", "64KiB", "--no-binary"]].concat();
    plant.kill_often(
        "pack of sources",
        &args,
        |_| (),
        |case, args| {
            let store = plant.at(case, "store");
            let there = there(&store);
            plant.upstream.forget_requests();
            same_volumes_in_the_end(&plant, case, args);
            nothing_came_twice(&plant, &there);
            plant.is_sound(&store);
        },
    );
}

#[test]
fn an_export_killed_at_any_moment_leaves_whole_files_or_none() {
    let (plant, _signer) = plant!();
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
