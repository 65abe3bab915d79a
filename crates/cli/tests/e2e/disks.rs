//! Disks that are full, or may not be written.

use airlift_testkit::disk::{SmallDisk, with_file_limit};
use airlift_testkit::tools::Ran;
use airlift_testkit::{FakeRegistry, need};

use crate::plant::{Plant, blob_requests, create, files, stored_blobs};
use crate::sides::digests;

const LAYERS: [usize; 3] = [2 << 20, 3 << 20, 1 << 20];

/// A disk of 16 MiB with room for `left_bytes` alone.
fn nearly_full(left_bytes: u64) -> Option<SmallDisk> {
    let disk = SmallDisk::mount(16 << 20).unwrap()?;
    disk.fill(left_bytes).unwrap();
    Some(disk)
}

/// Runs airlift against a full disk: it says that room is what it wants, and what to do.
fn refused_for_want_of_room(plant: &Plant, args: &[&str], said: &[&str]) {
    let ran = plant.world.run(args).unwrap();
    assert_eq!(ran.code, Some(6), "{ran}");
    for words in said {
        assert!(ran.stderr.contains(words), "does not say `{words}`: {ran}");
    }
}

#[test]
fn a_fetch_onto_a_full_disk_goes_on_once_there_is_room() {
    let Some(disk) = nearly_full(4 << 20) else { return };
    let plant = Plant::new(&LAYERS);
    let store = disk.path().join("store");
    let fetch = ["--store", store.to_str().unwrap(), "fetch"];
    let said = ["no space is left", store.to_str().unwrap(), "help: free at least "];
    refused_for_want_of_room(&plant, &fetch, &said);
    let there = stored_blobs(&store);
    plant.airlift(8, &["--store", store.to_str().unwrap(), "fsck"]);

    disk.free().unwrap();
    plant.upstream.forget_requests();
    plant.airlift(0, &fetch);
    let requests = blob_requests(&plant.upstream);
    assert!(there.iter().all(|digest| !requests.contains_key(digest)), "{requests:#?}");
    assert!(stored_blobs(&store).is_superset(&digests(&plant.image)));
}

#[test]
fn a_bundle_on_a_full_disk_goes_on_once_there_is_room() {
    let Some(disk) = nearly_full(3 << 20) else { return };
    let plant = Plant::fetched(&LAYERS);
    plant.airlift(0, &create("whole", "1MiB"));
    let to = disk.path().join("out");
    let create = create(to.to_str().unwrap(), "1MiB");
    let said = ["the media have no room", "help: free room on them"];
    refused_for_want_of_room(&plant, &create, &said);

    disk.free().unwrap();
    plant.airlift(0, &create);
    assert!(files(&to) == files(&plant.world.path().join("whole")), "other bytes");
}

/// What FAT32 does to a file of more than 4 GiB.
#[test]
fn a_medium_that_takes_no_such_large_file_is_told_by_the_volume() {
    need!("prlimit");
    let plant = Plant::fetched(&LAYERS);
    let airlift = plant.world.command(create("out", "2MiB"));
    // The limit comes with a signal, which would end a program that does not listen for it.
    let mut command = with_file_limit(airlift.get_program(), 1 << 20);
    command.args(airlift.get_args());
    let variables = airlift.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(variables).current_dir(plant.world.path());
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, Some(6), "{ran}");
    assert!(ran.stderr.contains("plant.00002.tar"), "{ran}");
    assert!(ran.stderr.contains("help: choose smaller volumes with `--volume-size`"), "{ran}");
}

#[test]
fn a_load_into_a_store_on_a_full_disk_goes_on_once_there_is_room() {
    let Some(disk) = nearly_full(4 << 20) else { return };
    let plant = Plant::bundled(&LAYERS, "1MiB");
    let store = disk.path().join("store");
    let to = format!("store:{}", store.display());
    let load = ["load", "out", "--to", &to];
    let said = ["no space is left", store.to_str().unwrap(), "help: free at least "];
    refused_for_want_of_room(&plant, &load, &said);
    stored_blobs(&store);

    disk.free().unwrap();
    plant.airlift(0, &load);
    assert!(stored_blobs(&store).is_superset(&digests(&plant.image)));
}

#[test]
fn a_store_that_may_not_be_written_is_read_as_ever() {
    let Some(disk) = SmallDisk::mount(16 << 20).unwrap() else { return };
    let plant = Plant::new(&LAYERS);
    let store = disk.path().join("store").display().to_string();
    plant.airlift(0, &["--store", &store, "fetch"]);
    disk.make_read_only().unwrap();

    plant.airlift(0, &["--store", &store, "fsck"]);
    let source = format!("store:{store}");
    plant.airlift(0, &["verify", &source]);
    let far = FakeRegistry::start();
    plant.airlift(0, &["load", &source, "--to", &far.host()]);
    let repository = format!("{}/team/app", plant.upstream.host().replace(':', "_"));
    assert!(far.holds(&repository, &plant.image));
}

#[test]
fn a_fetch_into_a_store_that_may_not_be_written_says_what_to_do() {
    let Some(disk) = SmallDisk::mount(16 << 20).unwrap() else { return };
    let plant = Plant::new(&LAYERS);
    let store = disk.path().join("store").display().to_string();
    plant.airlift(0, &["--store", &store, "resolve"]);
    disk.make_read_only().unwrap();
    let ran = plant.world.run(["--store", &store, "fetch"]).unwrap();
    assert_eq!(ran.code, Some(6), "{ran}");
    assert!(
        ran.stderr.contains("help: mount the file system that holds the store writable"),
        "{ran}"
    );
}
