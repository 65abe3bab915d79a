//! Disks that are full, or may not be written.

use airlift_testkit::disk::{SmallDisk, with_file_limit};
use airlift_testkit::tools::Ran;
use airlift_testkit::{FakeRegistry, need, samples};

use crate::plant::{Plant, blob_requests, create, files, plant_of_sources, said, stored_blobs};
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

#[test]
fn what_one_medium_has_no_room_for_goes_to_the_next() {
    let (Some(small), Some(large)) = (nearly_full(3 << 20), nearly_full(8 << 20)) else { return };
    let plant = Plant::fetched(&LAYERS);
    let media = [small.path().join("out"), large.path().join("out")];
    let [first, second] = media.each_ref().map(|path| path.to_str().unwrap());
    let create = [&create(first, "1MiB")[..], &["--to", second]].concat();
    plant.airlift(0, &create);
    for medium in &media {
        let volumes = files(medium).into_keys().filter(|name| name.contains(".tar")).count();
        assert!(volumes >= 2, "{medium:?} has {volumes} volumes");
    }
    plant.airlift(8, &["verify", first]);
    plant.airlift(0, &["verify", first, second]);
    let far = FakeRegistry::start();
    plant.airlift(0, &["load", second, first, "--to", &far.host()]);
    assert_eq!(plant.airlift(0, &create)["created"]["bytesWritten"], 0);
}

#[test]
fn a_file_that_may_not_grow_ends_a_fetch_and_a_load_with_words_and_the_next_goes_on() {
    need!("prlimit");
    let plant = Plant::bundled(&LAYERS, "1MiB");
    let limited = |args: &[&str]| {
        let airlift = plant.world.command(args);
        let mut command = with_file_limit(airlift.get_program(), 1 << 20);
        let variables = airlift.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.args(airlift.get_args()).env_clear().envs(variables);
        Ran::from(command.current_dir(plant.world.path()).output().unwrap())
    };
    let fetch = ["--store", "small", "fetch"];
    let load = ["load", "out", "--to", "store:smaller"];
    for (args, store) in [(&fetch[..], "small"), (&load, "smaller")] {
        let ran = limited(args);
        assert_eq!(ran.code, Some(6), "{args:?}: {ran}");
        assert!(ran.stderr.contains("takes no file of"), "{args:?}: {ran}");
        plant.airlift(0, args);
        let store = plant.world.path().join(store);
        assert!(stored_blobs(&store).is_superset(&digests(&plant.image)), "{args:?}");
    }
}

/// Small files: each is written whole or stays as it was, and the next run writes it.
#[test]
fn a_lock_a_receipt_and_a_request_on_a_full_disk_are_named_and_written_by_the_next_run() {
    let Some(disk) = SmallDisk::mount(4 << 20).unwrap() else { return };
    let plant = Plant::bundled(&[50_000], "1MiB");
    let delta = ["bundle", "create", "--to", "delta", "--since", "out/plant.bundle.json"];
    plant.airlift(0, &[&delta[..], &["--no-binary"]].concat());
    let (far, empty) = (FakeRegistry::start(), FakeRegistry::start());
    let [lock, receipts, request] =
        ["lock", "receipts", "request"].map(|name| disk.path().join(name).display().to_string());
    fs_err::create_dir(&receipts).unwrap();
    let (to, to_empty) = (far.host(), empty.host());
    let verbs: [(i32, &[&str], String); 3] = [
        (0, &["resolve", "--lock", &lock], lock.clone()),
        (
            0,
            &["land", "out", "--to", &to, "--receipts", &receipts],
            format!("{receipts}/plant.receipt.json"),
        ),
        (8, &["load", "delta", "--to", &to_empty, "--request", &request], request.clone()),
    ];
    for (code, args, file) in verbs {
        disk.fill(0).unwrap();
        let ran = plant.world.run(args).unwrap();
        assert_eq!(ran.code, Some(6), "{args:?}: {ran}");
        assert!(ran.stderr.contains("No space left on device"), "{args:?}: {ran}");
        let file = std::path::Path::new(&file);
        assert!(!file.exists(), "{args:?}: half a file");
        disk.free().unwrap();
        plant.airlift(code, args);
        assert!(file.is_file(), "{args:?}: {} was not written", file.display());
    }
}

/// Every verb that only looks at a store, where nobody may write to it.
#[test]
fn a_store_that_may_not_be_written_serves_every_verb_that_only_reads() {
    let Some(disk) = SmallDisk::mount(16 << 20).unwrap() else { return };
    let plant = Plant::new(&LAYERS);
    let store = disk.path().join("store").display().to_string();
    plant.airlift(0, &["--store", &store, "fetch"]);
    disk.make_read_only().unwrap();

    let source = format!("store:{store}");
    let reference = plant.upstream.reference("team/app", "1");
    let verbs: [&[&str]; 7] = [
        &["verify", &source],
        &["verify", "--deep", &source],
        &["tree"],
        &["why", &reference],
        &["fsck"],
        &["gc", "--dry-run"],
        &["fetch", "--dry-run"],
    ];
    for verb in verbs {
        plant.airlift(0, &[&["--store", &store], verb].concat());
    }
    let mut server = plant.world.spawn(["serve", &source, "--listen", "127.0.0.1:0"]).unwrap();
    assert!(server.wait_until(|it| it.stdout().ends_with('\n')).unwrap(), "{}", server.stderr());
    let host = server.stdout().trim().strip_prefix("http://").unwrap().to_owned();
    let offered = format!("registry://{host}");
    let verified = plant.airlift(0, &["verify", &offered, "--lock", "airlift.lock"]);
    assert_eq!(verified["findings"].as_array().map(Vec::len), Some(0), "{verified:#}");
    assert_eq!(server.terminate().unwrap().code, Some(0));

    let writing: [&[&str]; 4] =
        [&["fetch"], &["gc"], &["fsck", "--repair"], &["load", &source, "--to", &source]];
    for verb in writing {
        let ran = plant.world.run([&["--store", &store], verb].concat()).unwrap();
        let is_done = ran.code == Some(0);
        let said = ran.stderr.contains("help: mount ") && ran.stderr.contains("writable");
        assert!(is_done || ran.code == Some(6) && said, "{verb:?}: {ran}");
    }
}

#[test]
fn a_bundle_is_made_from_a_store_that_may_not_be_written_and_goes_on_after_a_kill() {
    let Some(disk) = SmallDisk::mount(16 << 20).unwrap() else { return };
    let plant = Plant::fetched(&LAYERS);
    plant.airlift(0, &create("whole", "1MiB"));
    let store = disk.path().join("store").display().to_string();
    plant.airlift(0, &["--store", &store, "fetch"]);
    disk.make_read_only().unwrap();

    let create = create("out", "1MiB");
    let create = [&["--store", &store], &create[..]].concat();
    let finished = || plant.world.path().join("out/plant.00002.tar");
    plant.kill_when(&create, |running| {
        said(&running.stderr(), "volume-finished", "volume").len() > 2 && finished().exists()
    });
    let made = plant.airlift(0, &create);
    assert_eq!(made["findings"][0]["code"], "bundle-not-kept", "{made:#}");
    let volumes = made["created"]["volumes"].as_array().unwrap();
    let kept = volumes.iter().filter(|volume| volume["isKept"] == true).count();
    assert!(kept > 2, "{made:#}");
    let out = plant.world.path().join("out");
    assert!(files(&out) == files(&plant.world.path().join("whole")), "other bytes");

    // What lies on a medium counts where it is signed, and not else.
    fs_err::write(out.join("plant.00002.sums.minisig"), "not ours").unwrap();
    let again = plant.airlift(0, &create);
    let written = again["created"]["volumes"].as_array().unwrap().iter();
    let written: Vec<_> =
        written.filter(|it| it["isKept"] == false).map(|it| &it["ordinal"]).collect();
    assert_eq!(written, [2]);
    assert!(files(&out) == files(&plant.world.path().join("whole")), "other bytes");

    let root = out.join("plant.bundle.json").display().to_string();
    let cut = ["--store", &store, "bundle", "create", "--volumes", "1", "--root", &root];
    let ran = plant.world.run([&cut[..], &["--to", "again"]].concat()).unwrap();
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("from the same lock, with the same options and key"), "{ran}");
}

/// Runs `args` against a disk that is full, and again once there is room: words and no half file, and then as ever.
fn goes_on_once_there_is_room(
    plant: &Plant,
    disk: &SmallDisk,
    left: u64,
    code: i32,
    args: &[&str],
    said: &[&str],
) {
    disk.fill(left).unwrap();
    let ran = plant.world.run(args).unwrap();
    assert_eq!(ran.code, Some(code), "{args:?}: {ran}");
    for words in said {
        assert!(ran.stderr.contains(words), "{args:?} does not say `{words}`: {ran}");
    }
    disk.free().unwrap();
    plant.airlift(0, args);
}

#[test]
fn a_mirror_whose_cache_or_folder_is_on_a_full_disk_goes_on_once_there_is_room() {
    // A disk for each: room that was just given back is counted late.
    let mount = || SmallDisk::mount(32 << 20).unwrap();
    let [Some(first), Some(second), Some(third)] = [(); 3].map(|()| mount()) else { return };
    let plant = Plant::of_image_set(samples::image(1, &LAYERS));
    let on = |disk: &SmallDisk, name: &str| disk.path().join(name).display().to_string();
    let to_disk = |cache: &str, to: &str| {
        let (cache, to) = (format!("--cache-dir={cache}"), format!("file://{to}"));
        ["oc-mirror", "-c", "isc.yaml", "--v2", &cache, &to].map(str::to_owned)
    };
    let whole = to_disk("cache", "whole");
    plant.airlift(0, &whole.each_ref().map(String::as_str));
    let whole = files(&plant.world.path().join("whole"));

    let cache = to_disk(&on(&first, "cache"), "out");
    let [folder, lock] = [&second, &third].map(|disk| to_disk("cache", &on(disk, "out")));
    let room = ["the media have no room", "help: free room on that disk, or choose another folder"];
    let cases = [
        (first, cache, 4 << 20, ["no space is left", "help: free at least"]),
        (second, folder, 3 << 20, room),
        (third, lock, 0, ["No space left on device", "help: free room on that disk"]),
    ];
    for (disk, args, left, said) in cases {
        let args = args.each_ref().map(String::as_str);
        goes_on_once_there_is_room(&plant, &disk, left, 1, &args, &said);
        let out = plant.world.path().join(args[5].strip_prefix("file://").unwrap());
        assert!(files(&out) == whole, "{:?}", files(&out).keys());
    }
}

#[test]
fn what_a_mirror_from_disk_writes_on_a_full_disk_is_named_and_written_by_the_next_run() {
    let Some(disk) = SmallDisk::mount(32 << 20).unwrap() else { return };
    let plant = Plant::of_image_set(samples::image(1, &[50_000]));
    let out = disk.path().join("out");
    let folder = format!("file://{}", out.display());
    plant.airlift(0, &["oc-mirror", "-c", "isc.yaml", &folder]);
    let carried = files(&out);
    let far = FakeRegistry::start();
    let to = format!("docker://{}", far.host());
    disk.fill(0).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let args = [&["oc-mirror", "-c", "isc.yaml", "--from", &folder, &to], more].concat();
        let ran = plant.world.run(&args).unwrap();
        assert_eq!(ran.code, Some(1), "{more:?}: {ran}");
        assert!(ran.stderr.contains("No space left on device"), "{more:?}: {ran}");
        assert!(ran.stderr.contains("help: free room on that disk"), "{more:?}: {ran}");
        assert!(files(&out) == carried, "{more:?}: half a file");
    }
    assert!(far.repositories().is_empty(), "it is said before anything is pushed");
    disk.free().unwrap();
    plant.airlift(0, &["oc-mirror", "-c", "isc.yaml", "--from", &folder, &to]);
    let now = files(&out);
    assert!(now.keys().any(|name| name.ends_with("cluster-resources/itms-oc-mirror.yaml")));
    assert!(carried.iter().all(|(name, bytes)| now[name] == *bytes));
}

#[test]
fn a_set_is_mirrored_from_a_medium_that_may_not_be_written() {
    let Some(disk) = SmallDisk::mount(32 << 20).unwrap() else { return };
    let plant = Plant::of_image_set(samples::image(1, &[50_000]));
    let out = disk.path().join("out");
    let folder = format!("file://{}", out.display());
    plant.airlift(0, &["oc-mirror", "-c", "isc.yaml", &folder]);
    disk.make_read_only().unwrap();
    let far = FakeRegistry::start();
    let to = format!("docker://{}", far.host());
    let load = ["oc-mirror", "-c", "isc.yaml", "--from", &folder, &to];
    let ran = plant.world.run(load).unwrap();
    assert_eq!(ran.code, Some(1), "{ran}");
    let help = "help: name a folder that may be written with `--workspace file://DIR`";
    assert!(ran.stderr.contains(help), "{ran}");
    assert!(far.repositories().is_empty(), "it is said before anything is pushed");
    plant.airlift(0, &[&load[..], &["--workspace", "file://ws"]].concat());
    assert!(far.holds("team/large", &plant.image));
    let left = files(&plant.world.path().join("ws"));
    assert!(left.contains_key("working-dir/cluster-resources/itms-oc-mirror.yaml"), "{left:?}");
}

#[test]
fn a_resolve_of_remote_bases_on_a_full_disk_says_where_room_is_wanted_and_goes_on() {
    let Some(disk) = SmallDisk::mount(32 << 20).unwrap() else { return };
    let (mut plant, _signer) = plant_of_sources!();
    plant.airlift(0, &["--store", "whole-store", "resolve", "--lock", "whole"]);
    let store = disk.path().join("store").display().to_string();
    let resolve = ["--store", &store, "resolve", "--lock", "lock"];
    goes_on_once_there_is_room(&plant, &disk, 0, 6, &resolve, &["No space left", &store]);
    assert_eq!(plant.world.read("lock").unwrap(), plant.world.read("whole").unwrap());
    plant.is_sound(std::path::Path::new(&store));

    let alone = [("built", "manifests: ./deploy"), ("rendered", "chart: ./app")];
    for (name, source) in alone {
        let stack = format!("version: 1\nname: {name}\nsources: [{{{source}}}]\n");
        plant.world.write(&format!("{name}.yaml"), stack).unwrap();
    }
    plant.world.write("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n").unwrap();
    // Git fails in another step, and says something else, wherever the room ends.
    let built = [0, 12, 24, 32].map(|kib| ("built", kib << 10));
    for (stack, left) in built.into_iter().chain([("rendered", 0)]) {
        let disk = SmallDisk::mount(32 << 20).unwrap().unwrap();
        // What is checked out, copied, and rendered lies where this says.
        let scratch = disk.path().join("scratch").display().to_string();
        fs_err::create_dir(&scratch).unwrap();
        plant.world.set("TMPDIR", &scratch);
        let (file, lock) = (format!("{stack}.yaml"), format!("{stack}-{left}.lock"));
        let store = format!("store-{stack}-{left}");
        let args = ["--store", &store, "resolve", "-f", &file];
        let args = [&args[..], &["--lock", &lock]].concat();
        let said = ["free room in", &scratch, "TMPDIR"];
        goes_on_once_there_is_room(&plant, &disk, left, 6, &args, &said);
        assert_eq!(fs_err::read_dir(&scratch).unwrap().count(), 0, "nothing is left behind");
    }
}
