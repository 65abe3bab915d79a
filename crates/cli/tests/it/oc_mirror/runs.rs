//! What real runs bring, and what they say.

use airlift_testkit::registry::{Fault, On};
use airlift_testkit::{FakeRegistry, World, samples};

use super::{run, text, well, with_catalog, world_with_set};
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
    registry.put("team/tool", "v1", &samples::image(7, &[700]));
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

#[test]
fn straight_to_a_registry_goes_what_the_set_names_and_nothing_else_of_the_store() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    registry.put("other/thing", "v1", &samples::image(8, &[800]));
    world.write_stack("other", &[&registry.reference("other/thing", "v1")]).unwrap();
    succeed(&world, ["resolve"]);
    succeed(&world, ["fetch"]);
    let far = FakeRegistry::start();
    well(&world, &STRAIGHT, &[&format!("docker://{}", far.host()), "--v2"]);
    assert!(far.tags("team/app").contains_key("v1"), "{:?}", far.repositories());
    assert!(far.tags("other/thing").is_empty(), "{:?}", far.repositories());
}

/// Codes of the findings of a report.
fn codes(report: &serde_json::Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    findings.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_real_run_says_its_findings_once_and_in_its_report() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    let set = text(&world, "isc.yaml").replace("{name: app}", "{name: app}, {name: apq}");
    world.write("isc.yaml", set).unwrap();
    add(&world, &format!("  - name: {}/team/untagged\n", registry.host()));
    let far = FakeRegistry::start();
    let to = format!("docker://{}", far.host());
    for to in [&["--workspace", "file://ws", &to][..], &["file://disk"]] {
        let args = [&["oc-mirror", "-c", "isc.yaml", "--v2"], to].concat();
        let said = well(&world, &args, &[]);
        let report = well(&world, &args, &["--output", "json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        for code in ["imageset-image-left-out", "catalog-package-absent"] {
            let in_text = format!("warning[{code}]");
            assert_eq!(said.matches(&in_text).count(), 1, "{code}: {said}");
            assert_eq!(codes(&report).iter().filter(|it| *it == code).count(), 1, "{report:#}");
        }
        // Nor are they said on the way.
        let ran = world.run(args.iter().chain(&["--progress", "plain"])).unwrap();
        assert!(!ran.stderr.contains("warning["), "{ran}");
    }
    let packed = well(&world, &["pack", "-f", "isc.yaml", "--to", "packed", "--no-binary"], &[]);
    assert_eq!(packed.matches("warning[catalog-package-absent]").count(), 1, "{packed}");
}

#[test]
fn a_repeated_run_brings_what_a_tag_leads_to_by_now() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let far = FakeRegistry::start();
    let to = format!("docker://{}", far.host());
    well(&world, &STRAIGHT, &[&to, "--v2"]);
    let first = far.tags("team/app")["v1"];
    registry.put("team/app", "v1", &samples::image(11, &[1_100]));
    well(&world, &STRAIGHT, &[&to, "--v2"]);
    assert_eq!(far.tags("team/app")["v1"], registry.tags("team/app")["v1"]);
    assert_ne!(far.tags("team/app")["v1"], first);
    // What has not moved is asked for, and not brought again.
    registry.forget_requests();
    well(&world, &STRAIGHT, &[&to, "--v2"]);
    assert_eq!(registry.count("GET", "/blobs/"), 0, "{}", registry.transcript());
}

#[test]
fn the_cluster_is_given_what_the_last_set_wants_and_nothing_of_an_earlier_one() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let far = FakeRegistry::start();
    let to = format!("docker://{}", far.host());
    well(&world, &STRAIGHT, &[&to, "--v2"]);
    let folder = world.path().join("ws/working-dir/cluster-resources");
    fs_err::create_dir(folder.join("of-mine")).unwrap();
    let listed = || -> std::collections::BTreeSet<String> {
        let entries = fs_err::read_dir(&folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let all = listed();
    assert!(all.contains("cs-index-v4-20.yaml"), "{all:?}");
    let images = format!("additionalImages: [{{name: {}/team/app:v1}}]", registry.host());
    let smaller = format!(
        "kind: ImageSetConfiguration\napiVersion: mirror.openshift.io/v2alpha1\nmirror: {{{images}}}\n"
    );
    world.write("isc.yaml", smaller).unwrap();
    well(&world, &STRAIGHT, &[&to, "--v2", "--dry-run"]);
    assert_eq!(listed(), all, "a dry run takes nothing away");
    well(&world, &STRAIGHT, &[&to, "--v2"]);
    assert_eq!(listed(), ["itms-oc-mirror.yaml", "of-mine"].map(str::to_owned).into());
}

#[test]
fn one_missing_image_keeps_no_other_from_the_registry() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    add(&world, &format!("  - name: {}/team/gone:v1\n", registry.host()));
    let far = FakeRegistry::start();
    let to = format!("docker://{}", far.host());
    let ran = run(&world, &STRAIGHT, &[&to, "--v2"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    assert!(ran.stdout.contains("team/gone:v1"), "{ran}");
    for (repository, tag) in [("team/app", "v1"), ("team/multi", "v2"), ("ops/index", "v4.20")] {
        assert!(far.tags(repository).contains_key(tag), "{repository}: {ran}");
    }
    let mirrors = text(&world, "ws/working-dir/cluster-resources/itms-oc-mirror.yaml");
    assert!(mirrors.contains("/team"), "{mirrors}");
    // A disk with half of it would be taken for a whole one.
    let ran = run(&world, &["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"], &[]);
    assert_eq!(ran.code, Some(8), "{ran}");
    assert!(ran.stdout.contains("no volumes are written"), "{ran}");
    assert!(!world.path().join("disk/mirror.00000.tar").exists(), "{ran}");
    assert!(!world.path().join("disk/mirror.00001.tar").exists(), "{ran}");
}

#[test]
fn a_set_onto_the_disk_of_an_earlier_one_takes_its_place_once_all_of_it_is_there() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    let to_disk = ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"];
    well(&world, &to_disk, &[]);
    let before = text(&world, "disk/mirror.bundle.json");
    world.write("disk/notes.txt", "of mine").unwrap();
    write_images(&world, "isc.yaml", &registry, &["team/multi:v2", "team/gone:v1"]);
    assert_eq!(run(&world, &to_disk, &[]).code, Some(8));
    assert_eq!(text(&world, "disk/mirror.bundle.json"), before, "the earlier one stays till then");
    succeed(&world, ["verify", "disk"]);
    write_images(&world, "isc.yaml", &registry, &["team/multi:v2"]);
    let said = well(&world, &to_disk, &[]);
    assert!(said.contains("info[bundle-replaced] disk: "), "{said}");
    succeed(&world, ["verify", "disk"]);
    assert_eq!(text(&world, "disk/notes.txt"), "of mine");
    let far = FakeRegistry::start();
    let to = format!("docker://{}", far.host());
    well(&world, &["oc-mirror", "-c", "isc.yaml", "--from", "file://disk", &to, "--v2"], &[]);
    assert!(far.tags("team/multi").contains_key("v2") && far.tags("team/app").is_empty());
    // The same set once more is the same bundle, of which nothing is replaced.
    assert!(!well(&world, &to_disk, &[]).contains("bundle-replaced"));
}

/// A set on `disk`, and a far registry to load it into with what this returns.
fn on_disk(world: &World, far: &FakeRegistry) -> [String; 6] {
    trust_own_key(world);
    well(world, &["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"], &[]);
    let to = format!("docker://{}", far.host());
    ["oc-mirror", "-c", "isc.yaml", "--from", "file://disk", &to].map(str::to_owned)
}

#[test]
fn a_working_folder_that_may_not_be_written_is_said_before_anything_is_pushed() {
    let (registry, far) = (with_catalog(), FakeRegistry::start());
    let world = world_with_set(&registry);
    let load = on_disk(&world, &far);
    let load = load.each_ref().map(String::as_str);
    let folder = world.path().join("disk/working-dir");
    fs_err::remove_dir_all(&folder).unwrap();
    fs_err::write(&folder, "in the way").unwrap();
    for more in [&["--v2"][..], &["--dry-run"]] {
        let ran = run(&world, &load, more);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("nothing can be written into the working folder"), "{ran}");
        assert!(ran.stderr.contains("help: name a folder that may be written with `--workspace"));
    }
    assert_eq!(far.count("PUT", "/") + far.count("POST", "/"), 0, "{}", far.transcript());
    // Another one is taken, and the medium is left as it is.
    well(&world, &load, &["--workspace", "file://ws", "--v2"]);
    assert!(far.tags("team/app").contains_key("v1"), "{:?}", far.repositories());
    assert!(world.path().join("ws/working-dir/cluster-resources/itms-oc-mirror.yaml").is_file());
    assert_eq!(text(&world, "disk/working-dir"), "in the way");
    // The others say it before they ask anybody.
    registry.forget_requests();
    fs_err::write(world.path().join("file"), "in the way").unwrap();
    let to = format!("docker://{}", far.host());
    let delete = ["oc-mirror", "delete", "-c", "isc.yaml", "--generate"];
    let set =
        text(&world, "isc.yaml").replace("ImageSetConfiguration", "DeleteImageSetConfiguration");
    for (args, more, help) in [
        (&STRAIGHT[..3], &["--workspace", "file://file", &to][..], "`--workspace file://DIR`"),
        (&STRAIGHT[..3], &["file://file"], "choose a destination that may be written"),
        (&delete, &["--workspace", "file://file", &to], "`--workspace file://DIR`"),
    ] {
        if args.len() == delete.len() {
            world.write("isc.yaml", set.replace("mirror:\n", "delete:\n")).unwrap();
        }
        let ran = run(&world, args, more);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(help), "{ran}");
    }
    assert!(registry.requests().is_empty(), "{}", registry.transcript());
}

#[test]
fn without_the_list_of_the_bundle_that_alone_is_said_and_nothing_is_pushed() {
    let (registry, far) = (with_catalog(), FakeRegistry::start());
    let world = world_with_set(&registry);
    let load = on_disk(&world, &far);
    let load = load.each_ref().map(String::as_str);
    let volume = world.path().join("disk/mirror.00000.tar");
    let resources = "disk/working-dir/cluster-resources/itms-oc-mirror.yaml";
    well(&world, &load, &[]);
    let before = text(&world, resources);
    far.forget_requests();
    for (code, bytes) in [("volume-truncated", Some("")), ("volume-missing", None)] {
        match bytes {
            Some(bytes) => fs_err::write(&volume, bytes).unwrap(),
            None => fs_err::remove_file(&volume).unwrap(),
        }
        for more in [&["--v2"][..], &["--dry-run"]] {
            let ran = run(&world, &load, more);
            assert_eq!(ran.code, Some(1), "{ran}");
            let said = format!("error[{code}] mirror.00000.tar: ");
            assert!(ran.stdout.starts_with(&said), "{ran}");
            assert!(ran.stdout.contains("run `airlift verify`"), "{ran}");
            assert!(!ran.stdout.contains("imageset-not-carried"), "{ran}");
        }
    }
    assert!(far.requests().is_empty(), "{}", far.transcript());
    assert_eq!(text(&world, resources), before, "what the cluster was given stays");
}

#[test]
fn a_volume_that_is_not_as_it_should_be_has_a_remedy() {
    let (registry, far) = (with_catalog(), FakeRegistry::start());
    let world = world_with_set(&registry);
    let load = on_disk(&world, &far);
    let load = load.each_ref().map(String::as_str);
    let volume = world.path().join("disk/mirror.00001.tar");
    let bytes = fs_err::read(&volume).unwrap();
    fs_err::write(&volume, &bytes[..bytes.len() / 2]).unwrap();
    let other = ["load", "disk", "--to", &far.host()];
    for args in [&load[..], &other] {
        let ran = run(&world, args, &[]);
        assert!(!ran.is_success() && ran.stdout.contains("needs the volumes"), "{ran}");
        let help =
            "help: bring these volumes as well; where they are there already, run `airlift verify`";
        assert_eq!(ran.stdout.matches(help).count(), 1, "{ran}");
    }
}

#[test]
fn a_set_has_as_many_images_whichever_way_it_goes() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let far = FakeRegistry::start();
    let load = on_disk(&world, &far);
    let load = load.each_ref().map(String::as_str);
    let to = format!("docker://{}/ns", far.host());
    let to_disk = [&STRAIGHT[..3], &["file://disk"]].concat();
    let straight = [&STRAIGHT[..], &[&to]].concat();
    for way in [&to_disk[..], &straight, &load] {
        for more in [&[][..], &["--dry-run"]] {
            let report = well(&world, way, &[&["--output", "json"], more].concat());
            let report: serde_json::Value = serde_json::from_str(&report).unwrap();
            assert_eq!(report["images"], 4, "{way:?} {more:?} {report:#}");
        }
    }
}

#[test]
fn what_a_registry_cannot_give_any_more_does_not_sink_the_rest() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    registry.fail_always(On::path("/team/app/blobs/"), Fault::Status(404, Vec::new()));
    let far = FakeRegistry::start();
    let ran = run(&world, &STRAIGHT, &[&format!("docker://{}", far.host()), "--v2"]);
    assert_eq!(ran.code, Some(4), "{ran}");
    assert!(far.tags("team/multi").contains_key("v2"), "{ran}");
    assert!(far.tags("team/app").is_empty(), "{ran}");
    assert_eq!(ran.stdout.matches("/team/app:v1  ").count(), 1, "{ran}");
}

#[test]
fn what_the_far_registry_does_not_take_has_the_bit_of_its_kind() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    well(&world, &["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"], &[]);
    let from_disk = ["oc-mirror", "-c", "isc.yaml", "--from", "file://disk", "--v2"];
    for (refused, bits) in [("/team/app/", 4), ("/team/multi/", 8), ("/", 12)] {
        for way in [&from_disk[..], &STRAIGHT] {
            let far = FakeRegistry::start();
            let on = On::path(refused).method(http::Method::PUT);
            far.fail_always(on, Fault::Status(403, Vec::new()));
            let ran = run(&world, way, &[&format!("docker://{}", far.host())]);
            assert_eq!(ran.code, Some(bits), "{refused} {ran}");
        }
    }
    // A registry that is not there is no fault of any content.
    let nowhere = ["docker://127.0.0.1:1", "--retry-times", "0"];
    let ran = run(&world, &from_disk, &nowhere);
    assert_eq!(ran.code, Some(1), "{ran}");
}

/// A set of images of `registry` alone.
fn write_images(world: &World, file: &str, registry: &FakeRegistry, images: &[&str]) {
    let line = |image: &&str| format!("  - name: {}/{image}\n", registry.host());
    let images: String = images.iter().map(line).collect();
    let text = format!("kind: ImageSetConfiguration\nmirror:\n  additionalImages:\n{images}");
    world.write(file, text).unwrap();
}

#[test]
fn of_a_bundle_goes_what_the_configuration_of_the_far_side_names() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    well(&world, &["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"], &[]);
    write_images(&world, "one.yaml", &registry, &["team/multi:v2"]);
    let far = FakeRegistry::start();
    let to = format!("docker://{}", far.host());
    let load = |file: &str, more: &[&str]| {
        let args = ["oc-mirror", "-c", file, "--from", "file://disk", &to, "--v2"];
        run(&world, &args, more)
    };
    assert!(load("one.yaml", &["--dry-run"]).is_success());
    let mapping = text(&world, "disk/working-dir/dry-run/mapping.txt");
    assert_eq!(mapping.lines().count(), 1, "{mapping}");
    let ran = load("one.yaml", &[]);
    assert!(ran.is_success() && !ran.stdout.contains("warning["), "{ran}");
    assert!(far.tags("team/multi").contains_key("v2"));
    assert!(far.tags("team/app").is_empty() && far.tags("ops/index").is_empty());

    // What it names and the bundle does not have is said, and keeps nothing else back.
    write_images(&world, "more.yaml", &registry, &["team/app:v1", "team/other:v1"]);
    for more in [&["--dry-run"][..], &[]] {
        let ran = load("more.yaml", more);
        assert_eq!(ran.code, Some(8), "{ran}");
        assert_eq!(ran.stdout.matches("error[imageset-not-carried]").count(), 1, "{ran}");
        assert!(ran.stdout.contains("/team/other:v1: it is not in the bundle"), "{ran}");
    }
    assert!(far.tags("team/app").contains_key("v1"));

    // A catalog by other words is what the bundle has of it.
    let set = text(&world, "isc.yaml").replace("{name: app}", "{name: app}, {name: apq}");
    world.write("other.yaml", set).unwrap();
    let ran = load("other.yaml", &[]);
    assert!(ran.is_success(), "{ran}");
    assert!(ran.stdout.contains("warning[imageset-changed] catalog: "), "{ran}");
    assert!(far.tags("ops/index").contains_key("v4.20"), "{ran}");
}

#[test]
fn what_a_set_itself_gives_reason_to_say_is_said_by_every_verb_that_takes_it() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    add(&world, &format!("  - name: {}/team/untagged\n", registry.host()));
    let resolved = document(&world, ["resolve", "-f", "isc.yaml"]);
    let packed = document(&world, ["pack", "-f", "isc.yaml", "--to", "disk", "--no-binary"]);
    for report in [&resolved, &packed["resolved"]] {
        let said = report["findings"].as_array().unwrap();
        let said = said.iter().find(|it| it["code"] == "imageset-image-left-out");
        let message = said.unwrap_or_else(|| panic!("{report:#}"))["message"].as_str().unwrap();
        assert!(message.starts_with("isc.yaml: line 9: "), "{message}");
    }
    assert!(!text(&world, "airlift.lock").contains("imageset-image-left-out"));
    assert_eq!(packed["resolved"]["isChanged"], false);
}
