//! Volumes that were cut short, lost, renamed, swapped, mixed with others', or flipped, as the user meets them.

use airlift_testkit::{FakeRegistry, World};
use serde_json::Value;

use crate::plant::{Plant, create, files};
use crate::sides::digests;

const LAYERS: [usize; 3] = [1 << 20, 700_000, 300_000];

/// A bundle of several volumes, in `out`.
fn plant() -> Plant {
    Plant::bundled(&LAYERS, "512KiB")
}

fn codes(verified: &Value) -> Vec<(String, String)> {
    let findings = verified["bundles"][0]["findings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings.map(|one| (text(&one["code"]), text(&one["object"]))).collect()
}

/// What `load` says of the folder, and whether the registry has the image afterwards.
fn load(plant: &Plant, exit: i32) -> bool {
    let far = FakeRegistry::start();
    plant.airlift(exit, &["load", "out", "--to", &far.host()]);
    let repository = format!("{}/team/app", plant.upstream.host().replace(':', "_"));
    let is_there = far.holds(&repository, &plant.image);
    assert_eq!(far.tags(&repository).contains_key("1"), is_there, "a tag that leads to nothing");
    is_there
}

fn rename(world: &World, from: &str, to: &str) {
    let out = world.path().join("out");
    fs_err::rename(out.join(from), out.join(to)).unwrap();
}

#[test]
fn renamed_and_swapped_volumes_are_put_right_by_what_verify_says() {
    let plant = plant();
    for (from, to) in [
        ("plant.00001.tar", "x"),
        ("plant.00002.tar", "plant.00001.tar"),
        ("x", "plant.00002.tar"),
        ("plant.00003.tar", "third.tar"),
    ] {
        rename(&plant.world, from, to);
    }
    let verified = plant.airlift(8, &["verify", "out"]);
    let expected = ["plant.00001.tar", "plant.00002.tar", "third.tar"];
    let expected = expected.map(|name| ("volume-renamed".to_owned(), name.to_owned()));
    assert_eq!(codes(&verified), expected);
    assert_eq!(verified["bundles"][0]["cutAgain"], Value::Null, "{verified:#}");
    // What is under a wrong name is not taken for what the name says.
    let far = FakeRegistry::start();
    let ran = plant.world.run(["load", "out", "--to", &far.host()]).unwrap();
    assert!(matches!(ran.code, Some(5 | 8)), "{ran}");
    rename(&plant.world, "plant.00001.tar", "x");
    rename(&plant.world, "plant.00002.tar", "plant.00001.tar");
    rename(&plant.world, "x", "plant.00002.tar");
    rename(&plant.world, "third.tar", "plant.00003.tar");
    plant.airlift(0, &["verify", "--deep", "out"]);
    assert!(load(&plant, 0));
}

#[test]
fn volumes_that_are_cut_short_missing_or_flipped_are_named_and_one_line_mends_them() {
    let plant = plant();
    let out = plant.world.path().join("out");
    let before = files(&out);
    let [one, two, three] = [1, 2, 3].map(|at| out.join(format!("plant.{at:05}.tar")));
    fs_err::remove_file(&one).unwrap();
    let length = fs_err::metadata(&two).unwrap().len();
    fs_err::OpenOptions::new().write(true).open(&two).unwrap().set_len(length / 2).unwrap();
    let mut bytes = fs_err::read(&three).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&three, bytes).unwrap();

    let verified = plant.airlift(8, &["verify", "out"]);
    let found = codes(&verified);
    for (code, name) in [
        ("volume-missing", "plant.00001.tar"),
        ("volume-truncated", "plant.00002.tar"),
        ("chunk-damaged", "plant.00003.tar"),
    ] {
        assert!(found.contains(&(code.to_owned(), name.to_owned())), "{code}: {found:?}");
    }
    let far = FakeRegistry::start();
    let ran = plant.world.run(["load", "out", "--to", &far.host()]).unwrap();
    assert!(matches!(ran.code, Some(5 | 8)), "{ran}");
    let line = verified["bundles"][0]["cutAgain"].as_str().unwrap().to_owned();
    let words = line.split(' ').skip(1).chain(["--to", "out"]);
    plant.airlift(0, &words.collect::<Vec<_>>());
    assert!(files(&out) == before, "{:?}", files(&out).keys());
    assert!(load(&plant, 0));
}

#[test]
fn a_volume_of_an_older_bundle_in_its_place_is_told_and_never_loaded() {
    let plant = plant();
    plant.airlift(0, &["bundle", "ls", "out"]);
    // The same stack a month later: a bundle of the same name and other bytes.
    let newer = airlift_testkit::samples::image(2, &LAYERS);
    plant.upstream.put("team/app", "1", &newer);
    plant.airlift(0, &["resolve", "--update"]);
    plant.airlift(0, &["fetch"]);
    plant.airlift(0, &create("new", "512KiB"));
    let [old, new] = ["out", "new"].map(|name| plant.world.path().join(name));
    fs_err::copy(old.join("plant.00001.tar"), new.join("plant.00001.tar")).unwrap();
    let verified = plant.airlift(8, &["verify", "new"]);
    let foreign = ("volume-foreign".to_owned(), "plant.00001.tar".to_owned());
    assert!(codes(&verified).contains(&foreign), "{verified:#}");
    let far = FakeRegistry::start();
    let ran = plant.world.run(["load", "new", "--to", &far.host()]).unwrap();
    assert!(matches!(ran.code, Some(5 | 8)), "{ran}");
    let repository = format!("{}/team/app", plant.upstream.host().replace(':', "_"));
    assert!(!far.holds(&repository, &newer));
    // Two whole bundles side by side are two sources, and the right volume comes from the right folder.
    fs_err::remove_file(new.join("plant.00001.tar")).unwrap();
    plant.airlift(
        0,
        &["bundle", "create", "--volumes", "1", "--root", "new/plant.bundle.json", "--to", "new"],
    );
    plant.airlift(0, &["verify", "new", "out"]);
    plant.airlift(0, &["load", "out", "new", "--to", &far.host()]);
    assert!(far.holds(&repository, &newer));
}

#[test]
fn without_volume_00000_a_store_keeps_what_came_until_the_volume_does() {
    let plant = plant();
    let out = plant.world.path().join("out");
    fs_err::create_dir(plant.world.path().join("aside")).unwrap();
    let aside = plant.world.path().join("aside/plant.00000.tar");
    fs_err::rename(out.join("plant.00000.tar"), &aside).unwrap();
    let load = ["load", "out", "--to", "store:far"];
    let loaded = plant.airlift(8, &load);
    assert_eq!(loaded["findings"][0]["code"], "volume-missing", "{loaded:#}");
    let far = plant.world.path().join("far");
    let came = crate::plant::stored_blobs(&far);
    assert!(came.is_superset(&digests(&plant.image)));
    plant.airlift(0, &["--store", "far", "gc"]);
    assert_eq!(crate::plant::stored_blobs(&far), came, "gc took what no lock names yet");
    fs_err::rename(&aside, out.join("plant.00000.tar")).unwrap();
    plant.airlift(0, &load);
    plant.airlift(0, &["--store", "far", "fsck"]);
    plant.airlift(0, &["verify", "store:far"]);
}
