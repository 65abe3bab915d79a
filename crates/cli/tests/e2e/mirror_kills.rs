//! What stands in for oc-mirror, killed at random moments: what it leaves for people and clusters is whole or not there,
//! and the run after it ends as if nothing had happened.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::Digest;
use airlift_testkit::{FakeRegistry, samples};

use crate::dice::Life;
use crate::plant::{Plant, files};
use crate::random_kills::{
    IntoARegistry, left, nothing_came_twice, nothing_is_half, tags, there, whole_in_the_end,
};

/// Where the store is below `--cache-dir CASE/cache`.
const STORE: &str = "cache/airlift";

const TO_DISK: [&str; 7] =
    ["oc-mirror", "-c", "isc.yaml", "file://CASE/out", "--v2", "--cache-dir", "CASE/cache"];

/// A set with an image large enough to be killed in the middle of.
fn plant() -> Plant {
    let both = ["linux/amd64", "linux/arm64"];
    Plant::of_image_set(samples::index(1, &both, 200_000))
}

/// The same set in `disc.yaml`, to be deleted.
fn write_delete_set(plant: &Plant) {
    let set = String::from_utf8(plant.world.read("isc.yaml").unwrap()).unwrap();
    let set = set.replace("ImageSetConfiguration", "DeleteImageSetConfiguration");
    plant.world.write("disc.yaml", set.replace("mirror:\n", "delete:\n")).unwrap();
}

#[test]
fn a_mirror_to_disk_killed_at_any_moment_leaves_the_same_folder_and_brings_nothing_twice() {
    let plant = plant();
    plant.kill_often(
        "oc-mirror to disk",
        &TO_DISK,
        |_| (),
        |case, args| {
            let folder = |case| left(&plant, case, "out");
            nothing_is_half(&folder(case), &folder("whole"));
            whole_in_the_end(&plant, case, STORE, args);
        },
    );
}

#[test]
fn a_mirror_over_an_earlier_set_killed_at_any_moment_leaves_no_mix_and_ends_with_the_new_one() {
    let plant = plant();
    let large = plant.upstream.reference("team/large", "1");
    let earlier = format!(
        "kind: ImageSetConfiguration\nmirror: {{additionalImages: [{{name: '{large}'}}]}}\n"
    );
    plant.world.write("earlier.yaml", earlier).unwrap();
    plant
        .airlift(0, &["oc-mirror", "-c", "earlier.yaml", "file://earlier", "--cache-dir", "cache"]);
    let before = files(&plant.world.path().join("earlier"));
    let prepare = |case: &str| {
        for (name, bytes) in &before {
            plant.world.write(&format!("{case}/out/{name}"), bytes).unwrap();
        }
    };
    plant.kill_often("oc-mirror over an earlier set", &TO_DISK, prepare, |case, args| {
        let out = plant.at(case, "out");
        let verified = plant.world.run(["verify", out.to_str().unwrap()]).unwrap();
        if verified.is_success() {
            let root = |files: &BTreeMap<String, Vec<u8>>| files["mirror.bundle.json"].clone();
            let (found, whole) = (files(&out), left(&plant, "whole", "out"));
            let of_one = if root(&found) == root(&before) { &before } else { &whole };
            let mut volumes = of_one.iter().filter(|(name, _)| name.strip_suffix(".tar").is_some());
            assert!(volumes.all(|(name, bytes)| found.get(name) == Some(bytes)), "a mix");
        }
        plant.airlift(0, args);
        assert!(files(&out) == left(&plant, "whole", "out"), "{:?}", files(&out).keys());
    });
}

#[test]
fn a_mirror_from_disk_killed_at_any_moment_ends_with_the_same_registry_and_resources() {
    let plant = plant();
    let disk = TO_DISK.map(|arg| arg.replace("CASE/", ""));
    plant.airlift(0, &disk.each_ref().map(String::as_str));
    let carried = files(&plant.world.path().join("out"));
    let prepare = |case: &str| {
        for (name, bytes) in &carried {
            plant.world.write(&format!("{case}/out/{name}"), bytes).unwrap();
        }
    };
    let args = ["oc-mirror", "-c", "isc.yaml", "--from", "file://CASE/out", "docker://FAR/ns"];
    kill_often_into_a_registry("oc-mirror from disk", &plant, &args, "out", prepare, |_, _| ());
}

#[test]
fn a_mirror_to_a_registry_killed_at_any_moment_ends_with_the_same_and_brings_nothing_twice() {
    let plant = plant();
    let args = ["oc-mirror", "-c", "isc.yaml", "--workspace", "file://CASE/ws", "docker://FAR/ns"];
    let args = [&args[..], &["--v2", "--cache-dir", "CASE/cache"]].concat();
    let check = |case: &str, there: &BTreeSet<Digest>| {
        nothing_came_twice(&plant, there);
        plant.is_sound(&plant.at(case, STORE));
    };
    kill_often_into_a_registry("oc-mirror to registry", &plant, &args, "ws", |_| (), check);
}

/// `check` is told what the store had when the run was killed.
fn kill_often_into_a_registry(
    verb: &'static str,
    plant: &Plant,
    args: &[&str],
    folder: &str,
    prepare: impl Fn(&str),
    check: impl Fn(&str, &BTreeSet<Digest>),
) {
    let whole = OnceCell::new();
    let stored = RefCell::new(BTreeSet::new());
    // Each case has a registry of its own, under a name of its own.
    let folder = |case: &str, far: &FakeRegistry| {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&far.host(), "FAR");
        let files = left(plant, case, folder).into_iter();
        files.map(|(name, bytes)| (name, text(bytes).into_bytes())).collect::<BTreeMap<_, _>>()
    };
    let into = IntoARegistry { verb, args, repository: "ns/team/large" };
    into.kill_often(
        plant,
        prepare,
        |case, far| {
            nothing_is_half(&folder(case, far), whole.get().unwrap());
            *stored.borrow_mut() = there(&plant.at(case, STORE));
            plant.upstream.forget_requests();
        },
        |case, far| {
            let done = folder(case, far);
            if case != "whole" {
                check(case, &stored.borrow());
            }
            assert!(*whole.get_or_init(|| done.clone()) == done, "{:?}", done.keys());
        },
    );
}

/// Verbs that write into the working folder and ask the near side alone.
#[test]
fn a_mapping_or_a_list_to_delete_is_whole_or_not_there_however_the_run_ends() {
    let plant = plant();
    write_delete_set(&plant);
    let to = "docker://far.example/ns";
    let verbs: [(&str, &[&str]); 3] = [
        ("oc-mirror --dry-run", &["-c", "isc.yaml", to, "--dry-run"]),
        ("oc-mirror --dry-run-manifest-lists", &["-c", "isc.yaml", to, "--dry-run-manifest-lists"]),
        ("oc-mirror delete --generate", &["delete", "-c", "disc.yaml", "--generate", to]),
    ];
    for (verb, args) in verbs {
        let common = ["--workspace", "file://CASE/ws", "--v2", "--cache-dir", "CASE/cache"];
        let args = [&["oc-mirror"], args, &common].concat();
        plant.kill_often(
            verb,
            &args,
            |_| (),
            |case, args| {
                let folder = |case| left(&plant, case, "ws");
                nothing_is_half(&folder(case), &folder("whole"));
                goes_on_with_what_it_has(&plant, case, args);
                assert_eq!(folder(case), folder("whole"), "{verb}");
            },
        );
        fs_err::remove_dir_all(plant.world.path().join("whole")).unwrap();
    }
}

fn goes_on_with_what_it_has(plant: &Plant, case: &str, args: &[&str]) {
    let store = plant.at(case, STORE);
    let there = there(&store);
    plant.upstream.forget_requests();
    plant.airlift(0, args);
    nothing_came_twice(plant, &there);
    plant.is_sound(&store);
}

#[test]
fn a_listing_killed_at_any_moment_brings_no_part_of_the_catalog_twice() {
    let plant = plant();
    let catalog = plant.upstream.reference("ops/index", "v4.20");
    let args = ["oc-mirror", "list", "operators", "--catalog", &catalog];
    let args = [&args[..], &["--cache-dir", "CASE/cache"]].concat();
    plant.kill_often(
        "oc-mirror list operators",
        &args,
        |_| (),
        |case, args| {
            goes_on_with_what_it_has(&plant, case, args);
        },
    );
}

#[test]
fn a_deletion_killed_at_any_moment_takes_what_is_listed_and_nothing_else() {
    let plant = plant();
    write_delete_set(&plant);
    let far = RefCell::new(FakeRegistry::start());
    let command = |case: &str| {
        let new = FakeRegistry::start();
        let to = format!("docker://{}/ns", new.host());
        let workspace = format!("file://{case}");
        let common = ["--workspace", &workspace, &to];
        plant.airlift(0, &[&["oc-mirror", "-c", "isc.yaml"][..], &common].concat());
        let generate = ["oc-mirror", "delete", "-c", "disc.yaml", "--generate"];
        plant.airlift(0, &[&generate[..], &common].concat());
        // Somebody else has an image of the list under a name of their own.
        new.tag("ns/team/app", "theirs", new.tags("ns/team/app")["v1"]);
        *far.borrow_mut() = new;
        plant.command(&delete(case, &to).each_ref().map(String::as_str))
    };
    let life = Life::of("oc-mirror delete", command("whole"));
    let whole = tags(&far.borrow());
    life.kill_often(command, |case| {
        let far = far.borrow();
        let before = far.tags("ns/team/large");
        assert!(before.is_empty() || far.holds("ns/team/large", &plant.image), "half an image");
        let to = format!("docker://{}/ns", far.host());
        let args = delete(case, &to);
        let args = args.each_ref().map(String::as_str);
        plant.airlift(0, &args);
        assert_eq!(tags(&far), whole);
        assert!(far.tags("ns/team/app").contains_key("theirs"));
        assert!(far.tags("ns/ops/index").contains_key("v4.20"));
        far.forget_requests();
        plant.airlift(0, &args);
        assert_eq!(far.count("DELETE", "/"), 0, "{}", far.transcript());
        fs_err::remove_dir_all(plant.world.path().join(case)).unwrap();
    });
}

fn delete(case: &str, to: &str) -> [String; 5] {
    let list = format!("{case}/working-dir/delete/delete-images.yaml");
    ["oc-mirror", "delete", "--delete-yaml-file", &list, to].map(str::to_owned)
}
