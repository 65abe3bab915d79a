//! The files that a run leaves in the working folder, besides mappings and resources.

use airlift_testkit::sources::publish_charts;
use airlift_testkit::{FakeRegistry, Fault, On, World, need, samples};

use super::{run, text, well, with_catalog, world_with_set};
use crate::world::{airlift, succeed, trust_own_key};

const DRY: [&str; 6] = ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2", "--dry-run"];

/// The files of the working folder whose names begin so.
fn names(world: &World, folder: &str, prefix: &str) -> Vec<String> {
    let folder = world.path().join("disk/working-dir").join(folder);
    let entries = fs_err::read_dir(folder).into_iter().flatten();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

#[test]
fn images_that_are_not_here_yet_are_missing() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    let host = registry.host();
    succeed(&world, DRY);
    let missing = text(&world, "disk/working-dir/dry-run/missing.txt");
    for image in ["ops/app-bundle:v1", "team/app:v1", "team/multi:v2"] {
        let line = format!("docker://{host}/{image}=docker://localhost:55000/{image}");
        assert!(missing.lines().any(|it| it == line), "{line}\n{missing}");
    }
    succeed(&world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]);
    succeed(&world, DRY);
    assert_eq!(names(&world, "dry-run", ""), ["mapping.txt"], "all of it is here");

    let more = format!("{}  - name: {host}/team/late:v1\n", text(&world, "isc.yaml"));
    registry.put("team/late", "v1", &samples::image(5, &[900]));
    world.write("isc.yaml", more).unwrap();
    succeed(&world, DRY);
    let missing = text(&world, "disk/working-dir/dry-run/missing.txt");
    assert_eq!(missing.lines().count(), 1, "{missing}");
    assert!(missing.contains("/team/late:v1="), "{missing}");
}

#[test]
fn every_platform_is_mapped_where_that_is_asked_for() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let index = samples::index(2, &["linux/amd64", "linux/arm64"], 3_000);
    let host = registry.host();
    let lists = ["oc-mirror", "-c", "isc.yaml", "--v2", "--dry-run-manifest-lists"];
    let expect = |folder: &str, source: &str, to: &str| {
        let mapping = text(&world, &format!("{folder}/working-dir/dry-run/mapping.txt"));
        let children: Vec<_> =
            index.manifests.iter().filter(|it| it.digest != index.root.digest).collect();
        assert_eq!(children.len(), 2);
        for child in children {
            let digest = child.digest;
            let line = format!(
                "docker://{source}/team/multi:v2@{digest}=docker://{to}/team/multi@{digest}"
            );
            assert!(mapping.lines().any(|it| it == line), "{line}\n{mapping}");
        }
        let app = mapping.lines().filter(|line| line.contains("/team/app:"));
        assert_eq!(app.count(), 1, "an image has no platforms\n{mapping}");
    };
    well(&world, &lists, &["file://disk"]);
    expect("disk", &host, "localhost:55000");
    trust_own_key(&world);
    well(&world, &lists[..4], &["file://disk"]);
    let to = "docker://far.example/ns";
    well(&world, &lists, &["--from", "file://disk", to]);
    expect("disk", "localhost:55000", "far.example/ns");
    let both = run(&world, &lists, &["--dry-run", "file://disk"]);
    assert_eq!(both.code, Some(1), "{both}");
}

#[test]
fn what_failed_is_listed_among_the_logs() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let set = text(&world, "isc.yaml");
    world.write("isc.yaml", set.replace("team/multi", "team/gone")).unwrap();
    trust_own_key(&world);
    let ran = airlift(&world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    let files = names(&world, "logs", "mirroring_errors_");
    assert_eq!(files.len(), 1, "{files:?}");
    let errors = text(&world, &format!("disk/working-dir/logs/{}", files[0]));
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with(&format!("{}/team/gone:v2: ", registry.host())), "{errors}");
    assert!(names(&world, "", "isc_pinned_").is_empty());
    // What belongs to an operator has the bit of operators.
    world.write("isc.yaml", set).unwrap();
    registry.put("team/app", "v1", &samples::image(12, &[1_200]));
    registry.fail_always(On::path("/team/app/blobs/"), Fault::Status(404, Vec::new()));
    let ran = airlift(&world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]);
    assert_eq!(ran.code, Some(4), "{ran}");
}

#[test]
fn a_run_leaves_its_configuration_with_the_catalogs_pinned() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    succeed(&world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]);
    let pinned = names(&world, "", "isc_pinned_");
    assert_eq!(pinned.len(), 1, "{pinned:?}");
    let path = format!("disk/working-dir/{}", pinned[0]);
    let digest = registry.tags("ops/index")["v4.20"];
    let line = format!("catalog: {}@{digest}", registry.reference("ops/index", "v4.20"));
    assert!(text(&world, &path).contains(&line), "{}", text(&world, &path));
    // The same set leaves the same files.
    succeed(&world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]);
    assert_eq!(names(&world, "", "isc_pinned_"), pinned);

    // What the tag leads to by now is not asked for any more.
    registry.put("ops/index", "v4.20", &samples::image(77, &[900]));
    let to = "docker://far.example/ns";
    let ws = "file://ws";
    succeed(&world, ["oc-mirror", "-c", &path, "--workspace", ws, to, "--v2", "--dry-run"]);
    let delete = path.replace("isc_pinned", "disc_pinned");
    succeed(&world, ["oc-mirror", "delete", "--generate", "-c", &delete, "--workspace", ws, to]);
    let list = text(&world, "ws/working-dir/delete/delete-images.yaml");
    assert!(list.contains("far.example/ns/team/app:v1"), "{list}");
}

#[test]
fn a_repository_without_charts_means_all_of_them() {
    need!("helm");
    let registry = FakeRegistry::start();
    publish_charts(&registry);
    let world = crate::world::world();
    let set = format!(
        "kind: ImageSetConfiguration\nmirror:\n  helm: {{repositories: [{{name: all, url: '{}/charts'}}]}}\n",
        registry.url()
    );
    world.write("isc.yaml", set).unwrap();
    let ran = world.run(DRY).unwrap();
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("all: 2 versions of charts in its index"), "{ran}");
    let mapping = text(&world, "disk/working-dir/dry-run/mapping.txt");
    for version in ["1.0.0", "1.1.0"] {
        assert!(mapping.contains(&format!("/ai/app:{version}=")), "{mapping}");
    }
    // To say how many there are, and for all of them.
    assert_eq!(registry.count("GET", "/charts/index.yaml"), 1, "{}", registry.transcript());
    // Nobody but the index knows them.
    let ran = airlift(&world, ["resolve", "-f", "isc.yaml"]);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("list them under `charts:`"), "{ran}");
}

#[test]
fn a_repository_that_cannot_be_read_sinks_its_charts_alone() {
    let registry = with_catalog();
    for (url, expected) in [
        (format!("{}/gone", registry.url()), "gone/index.yaml"),
        ("oci://far.example/charts".to_owned(), "has no index"),
    ] {
        let world = world_with_set(&registry);
        let helm = format!("  helm:\n    repositories:\n    - {{name: all, url: '{url}'}}\n");
        world.write("isc.yaml", text(&world, "isc.yaml") + &helm).unwrap();
        let ran = world.run(DRY).unwrap();
        assert_eq!(ran.code, Some(16), "{ran}");
        let said = &ran.stdout;
        assert!(said.contains("chart: all") && said.contains(expected), "{ran}");
        assert!(said.contains("isc.yaml: line 11: `all` cannot be carried"), "{ran}");
        let mapping = text(&world, "disk/working-dir/dry-run/mapping.txt");
        assert!(mapping.contains("/team/multi:v2="), "{mapping}");

        let far = FakeRegistry::start();
        let to = format!("docker://{}", far.host());
        let straight = ["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws", &to, "--v2"];
        let ran = world.run(straight).unwrap();
        assert_eq!(ran.code, Some(16), "{ran}");
        assert!(ran.stdout.contains(expected), "{ran}");
        assert!(far.tags("team/app").contains_key("v1"), "{:?}", far.repositories());

        // Half of what was asked for would be taken for all of it.
        let ran = world.run(["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]).unwrap();
        assert_eq!(ran.code, Some(16), "{ran}");
        assert!(ran.stdout.contains("no volumes are written"), "{ran}");
        let delete = "kind: DeleteImageSetConfiguration\ndelete:\n";
        world.write("disc.yaml", format!("{delete}{helm}")).unwrap();
        let args = ["oc-mirror", "delete", "-c", "disc.yaml", "--generate", "--workspace"];
        let ran = world.run([&args[..], &["file://ws", &to, "--v2"]].concat()).unwrap();
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stdout.contains(expected), "{ran}");
    }
}
