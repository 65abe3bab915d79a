//! Making bundles, and making them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use airlift_bundle::{
    Availability, BundleError, CreateOptions, Delivered, Earlier, SigningKey, TrustedBundle,
    cut_again, prepare,
};
use airlift_spec::{Ctx, Digest, Events, Explain as _, Lock};
use airlift_store::Store;
use airlift_testkit::samples;

use crate::world::{World, files, key, open, options, sources, trust};

#[tokio::test]
async fn what_was_packed_can_be_read_back_from_the_volumes() {
    let signed = samples::signed(&samples::image(1, &[100_000, 50_000, 3]));
    let large = samples::image(2, &[400_000]);
    let world = World::new()
        .with("quay.io/a/signed:1", &signed)
        .with("quay.io/b/large:1", &large)
        .with("quay.io/c/odd:1", &samples::sha512_image(3, &[70_000]));
    let bundle = open(&world.create("out"));
    assert!(bundle.root().volumes.len() > 4, "{:?}", bundle.root().volumes);
    let sources = sources([bundle]).await;
    assert_eq!(sources.locks(), [world.lock()]);
    for sample in [&signed, &large] {
        for (digest, bytes) in &sample.blobs {
            let source = sources.blob_source(*digest, bytes.len() as u64);
            assert_eq!(source.read_at(0, bytes.len()).await.unwrap(), bytes);
        }
        for manifest in &sample.manifests {
            let read = sources.read_small(&manifest.digest, 1 << 20).await.unwrap();
            assert_eq!(read, Some(manifest.bytes.clone()));
        }
    }
}

#[test]
fn two_runs_write_the_same_bytes() {
    let world = World::new().with("quay.io/a/b:1", &samples::image(1, &[300_000, 10]));
    let (one, two) = (world.create("one"), world.create("two"));
    assert_eq!(files(&one), files(&two));
}

/// They would write to the same `.partial` files, and one would give its name to what the other has just begun.
#[test]
fn of_two_who_write_one_bundle_at_once_the_second_is_refused_and_does_no_harm() {
    let world = World::new().with("quay.io/a/b:1", &samples::image(1, &[300_000, 10]));
    let (out, alone) = (world.path("out"), world.create("alone"));
    let second = world.prepare(&options()).unwrap();
    let (store, places) = (world.store.clone(), [out.clone(), world.path("elsewhere")]);
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let meanwhile = move |event| {
        let airlift_spec::Event::VolumeStarted { .. } = event else { return };
        for place in &places {
            let again =
                second.write(&store, std::slice::from_ref(place), &options(), &Ctx::default());
            let err = again.unwrap_err();
            assert!(matches!(err, BundleError::Busy { .. }), "{err}");
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let ctx = Ctx { events: Events::new(meanwhile), ..Ctx::default() };
    let first = world.prepare(&options()).unwrap();
    // The same folder twice is one writer.
    first.write(&world.store, &[out.clone(), out.clone()], &options(), &ctx).unwrap();
    assert!(refused.load(Ordering::Relaxed) > 2);
    assert_eq!(files(&out), files(&alone));
}

/// Overwrites a blob in the store, as a failing disk would.
fn damage(world: &World, digest: &Digest) {
    let path = world.path("store/blobs").join(digest.path());
    let mut bytes = fs_err::read(&path).unwrap();
    let middle = bytes.len() - 1;
    bytes[middle] ^= 1;
    fs_err::remove_file(&path).unwrap();
    fs_err::write(&path, bytes).unwrap();
}

#[test]
fn a_damaged_blob_leaves_the_volume_partial_and_the_store_without_it() {
    let sample = samples::image(1, &[100_000]);
    let mut world = World::new().with("quay.io/a/b:1", &sample);
    let good = files(&world.create("good"));
    let (layer, _) = sample.blobs_by_size()[0];
    damage(&world, &layer);
    let out = world.path("out");
    let err = world.create_with(std::slice::from_ref(&out), &options()).unwrap_err();
    assert!(matches!(err, BundleError::BlobDamaged { digest } if digest == layer), "{err}");
    assert_eq!(err.class().exit_code(), 5);
    let there = files(&out);
    assert!(there.contains_key("demo.00001.tar.partial"), "{:?}", there.keys());
    assert!(!there.contains_key("demo.00001.tar") && !there.contains_key("demo.00001.sums"));
    assert!(!world.store.contains(&layer));
    world.forget_artifacts();
    world.add("quay.io/a/b:1", &sample);
    world.create_with(std::slice::from_ref(&out), &options()).unwrap();
    assert_eq!(files(&out), good);
}

#[test]
fn damage_in_a_split_blob_takes_back_the_volumes_that_have_a_part_of_it() {
    let sample = samples::image(1, &[400_000]);
    let mut world = World::new().with("quay.io/a/b:1", &sample);
    let good = files(&world.create("good"));
    let out = world.path("out");
    // Made first, so that kept sums of the good run do not tell earlier than the digest.
    fs_err::remove_dir_all(world.path("store/bundles")).unwrap();
    let (layer, _) = sample.blobs_by_size()[0];
    damage(&world, &layer);
    let err = world.create_with(std::slice::from_ref(&out), &options()).unwrap_err();
    assert!(matches!(err, BundleError::BlobDamaged { .. }), "{err}");
    let finished = files(&out).into_keys().filter(|name| name.ends_with(".tar")).count();
    assert_eq!(finished, 2, "volumes 00000 and 00001 have no part of it");
    world.forget_artifacts();
    world.add("quay.io/a/b:1", &sample);
    world.create_with(std::slice::from_ref(&out), &options()).unwrap();
    assert_eq!(files(&out), good);
}

/// The child of the test below: makes a bundle and dies by SIGKILL in the middle, as its world says.
#[test]
#[ignore = "runs as the child of another test"]
fn child_that_is_killed() {
    let here = std::path::Path::new(".");
    let read = |name: &str| fs_err::read_to_string(here.join(name)).unwrap();
    let deadly: usize = read("die-at").parse().unwrap();
    let lock = Lock::parse(read("lock").as_bytes()).unwrap();
    let store = Store::open(&here.join("store")).unwrap();
    let seen = AtomicUsize::new(0);
    let events = Events::new(move |_| {
        if seen.fetch_add(1, Ordering::SeqCst) == deadly {
            let this = rustix::process::getpid();
            rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
        }
    });
    let ctx = Ctx { events, ..Ctx::default() };
    let prepared = prepare(&store, &[lock], &options()).unwrap();
    prepared.write(&store, &[here.join("out")], &options(), &ctx).unwrap();
}

#[test]
fn wherever_it_is_killed_the_next_run_keeps_what_was_finished_and_ends_with_the_same_bytes() {
    let world = World::new()
        .with("quay.io/a/b:1", &samples::image(1, &[400_000, 60_000]))
        .with("quay.io/c/d:1", &samples::image(2, &[90_000, 90_000]));
    let good = files(&world.create("good"));
    fs_err::write(world.path("lock"), world.lock().to_text()).unwrap();
    let out = world.path("out");
    let mut killed = 0;
    for die_at in 0.. {
        // As if the good run had never been.
        fs_err::remove_dir_all(world.path("store/bundles")).unwrap();
        fs_err::write(world.path("die-at"), die_at.to_string()).unwrap();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "create::child_that_is_killed", "--ignored"])
            .current_dir(world.path(""))
            .output()
            .unwrap();
        let finished = files(&out).into_keys().filter(|name| name.ends_with(".tar"));
        let finished: Vec<String> = finished.collect();
        let created = world.create_with(std::slice::from_ref(&out), &options()).unwrap();
        assert_eq!(files(&out), good, "killed at event {die_at}");
        for volume in created.volumes.iter().filter(|volume| !volume.is_kept) {
            let name = volume.file.file_name().unwrap().to_str().unwrap();
            assert!(!finished.iter().any(|known| known == name), "{name} was written twice");
        }
        fs_err::remove_dir_all(&out).unwrap();
        if child.status.success() {
            break;
        }
        killed += 1;
    }
    assert!(killed > 10, "{killed}");
}

#[test]
fn a_second_run_writes_nothing() {
    let world = World::new().with("quay.io/a/b:1", &samples::image(1, &[300_000]));
    let out = world.create("out");
    let again = world.create_with(std::slice::from_ref(&out), &options()).unwrap();
    assert_eq!(again.bytes_written, 0);
    assert!(again.volumes.iter().all(|volume| volume.is_kept));
}

#[test]
fn another_bundle_of_the_same_name_is_never_written_over() {
    let mut world = World::new().with("quay.io/a/b:1", &samples::image(1, &[1000]));
    let out = world.create("out");
    let before = files(&out);
    world.add("quay.io/c/d:1", &samples::image(2, &[1000]));
    let err = world.create_with(std::slice::from_ref(&out), &options()).unwrap_err();
    assert!(matches!(err, BundleError::OtherRoot { .. }), "{err}");
    assert_eq!(err.class().exit_code(), 2);
    assert_eq!(files(&out), before);
    // Its volumes alone are enough to be left in peace.
    fs_err::remove_file(out.join("demo.bundle.json")).unwrap();
    let err = world.create_with(std::slice::from_ref(&out), &options()).unwrap_err();
    assert!(matches!(err, BundleError::OtherRoot { .. }), "{err}");
    let other = CreateOptions { name: Some("other".to_owned()), ..options() };
    world.create_with(std::slice::from_ref(&out), &other).unwrap();
}

/// Makes the bundle `demo` in `out`, in the place of another.
fn replace(world: &World, out: &std::path::Path) -> Result<airlift_bundle::Created, BundleError> {
    let options = CreateOptions { earlier: Earlier::Replace, ..options() };
    world.create_with(&[out.to_owned()], &options)
}

#[test]
fn an_earlier_bundle_is_replaced_where_that_is_asked_for_and_what_is_not_of_it_stays() {
    let mut world = World::new().with("quay.io/a/b:1", &samples::image(1, &[500_000]));
    let out = world.create("out");
    world.forget_artifacts();
    world.add("quay.io/c/d:1", &samples::image(2, &[1000]));
    let alone = files(&world.create("alone"));
    let theirs = ["mirror.00001.tar", "demo.00009.tar", "demo.txt", "notes"];
    for name in theirs {
        fs_err::write(out.join(name), name).unwrap();
    }
    let created = replace(&world, &out).unwrap();
    let codes: Vec<&str> = created.findings.iter().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["bundle-replaced"]);
    let mut after = files(&out);
    for name in theirs {
        assert_eq!(after.remove(name).as_deref(), Some(name.as_bytes()), "{name}");
    }
    assert_eq!(after, alone);
    // Its own is not replaced but kept.
    let again = replace(&world, &out).unwrap();
    assert!(again.findings.is_empty() && again.volumes.iter().all(|volume| volume.is_kept));
}

#[test]
fn an_earlier_bundle_that_was_half_removed_goes_with_the_next_run() {
    let mut world = World::new().with("quay.io/a/b:1", &samples::image(1, &[500_000]));
    let (other, two) = (key(), SigningKey::generate().unwrap());
    let by_two = CreateOptions { keys: vec![other, two], ..options() };
    let out = world.path("out");
    world.create_with(std::slice::from_ref(&out), &by_two).unwrap();
    let before = files(&out);
    world.forget_artifacts();
    world.add("quay.io/c/d:1", &samples::image(2, &[1000]));
    let alone = files(&world.create("alone"));
    // In the order in which they go.
    let order = |name: &String| match name {
        name if name.ends_with("bundle.json") => 0,
        name if name.contains("bundle.json.") => 3,
        name if name.ends_with(".tar") => 2,
        _ => 1,
    };
    let mut names: Vec<&String> = before.keys().collect();
    names.sort_by_key(|name| (order(name), (*name).clone()));
    for gone in 1..names.len() {
        fs_err::remove_dir_all(&out).unwrap();
        fs_err::create_dir(&out).unwrap();
        for name in &names[gone..] {
            fs_err::write(out.join(name), &before[*name]).unwrap();
        }
        assert!(TrustedBundle::open_all(&out, &trust()).is_err(), "no bundle is there");
        replace(&world, &out).unwrap();
        assert_eq!(files(&out), alone, "after {gone} of {names:?}");
    }
}

#[test]
fn an_earlier_bundle_stays_until_it_is_known_that_the_new_one_can_be_written() {
    let mut world = World::new().with("quay.io/a/b:1", &samples::image(1, &[1000]));
    let out = world.create("out");
    let before = files(&out);
    world.add("quay.io/c/d:1", &samples::image(2, &[1000]));
    let options = CreateOptions { earlier: Earlier::Replace, keys: Vec::new(), ..options() };
    assert!(world.create_with(std::slice::from_ref(&out), &options).is_err());
    assert_eq!(files(&out), before);
}

#[test]
fn what_was_not_fetched_is_a_finding_unless_it_may_be_missing() {
    let gone = samples::image(2, &[2000]);
    let world = World::new()
        .with("quay.io/a/b:1", &samples::image(1, &[1000]))
        .with("quay.io/c/gone:1", &gone);
    world.store.discard(&gone.blobs_by_size()[0].0).unwrap();
    let prepared = world.prepare(&options()).unwrap();
    assert!(prepared.is_blocked());
    let found = &prepared.findings[0];
    assert_eq!((found.code.as_str(), found.object.as_str()), ("not-fetched", "quay.io/c/gone:1"));
    let out = world.path("out");
    let err = world.create_with(std::slice::from_ref(&out), &options()).unwrap_err();
    assert_eq!(err.class().exit_code(), 8);
    assert!(!out.exists());
    let allowed = CreateOptions { allow_missing: true, ..options() };
    world.create_with(std::slice::from_ref(&out), &allowed).unwrap();
    let bundle = open(&out);
    assert_eq!(bundle.root().missing[0].reference.to_string(), "quay.io/c/gone:1");
    assert_eq!(bundle.root().artifacts.len(), 1);
}

#[test]
fn two_stacks_that_pin_one_tag_differently_make_no_bundle() {
    let mut world = World::new().with("quay.io/a/b:1", &samples::image(1, &[10]));
    let one = world.lock_of("one");
    world.forget_artifacts();
    world.add("quay.io/a/b:1", &samples::image(2, &[10]));
    let two = world.lock_of("two");
    let prepared = prepare(&world.store, &[one.clone(), two], &options()).unwrap();
    assert!(prepared.is_blocked());
    assert_eq!(prepared.findings[0].code, "tag-conflict");
    let twice = prepare(&world.store, &[one.clone(), one], &options());
    assert!(matches!(twice, Err(BundleError::StackTwice(_))));
}

#[tokio::test]
async fn a_delta_leaves_out_what_an_earlier_root_brought_and_says_where_it_is() {
    let shared = samples::sharing_layers(7, 3, 90_000, 60_000);
    let mut world = World::new().with("quay.io/a/first:1", &shared[0]);
    let base = world.create("base");
    world.add("quay.io/b/second:1", &shared[1]);
    let since = Delivered::by_root_file(&base.join("demo.bundle.json"), &world.store).unwrap();
    let delta = CreateOptions { since: Some(since), ..options() };
    let out = world.path("delta");
    let created = world.create_with(std::slice::from_ref(&out), &delta).unwrap();
    assert_eq!(created.name, format!("demo-{}", &world.lock().digest().hex()[..8]));
    let bundle = open(&out);
    let layer = shared[0].blobs_by_size()[0].0;
    let left_out = bundle.root().left_out(&layer).unwrap();
    assert_eq!((left_out.size, left_out.repository.as_str()), (90_000, "quay.io/a/first"));
    assert!(bundle.table().find(&layer).is_none());
    assert_eq!(bundle.root().since.as_ref().unwrap().document, open(&base).digest());

    // The next delta builds on this one, with all that it left out.
    world.add("quay.io/c/third:1", &shared[2]);
    let root = out.join(bundle.root().file_name());
    let since = Delivered::by_root_file(&root, &world.store).unwrap();
    assert_eq!(since.blobs[&layer], "quay.io/a/first");
    let next = CreateOptions { since: Some(since), ..options() };
    let third = world.path("third");
    world.create_with(std::slice::from_ref(&third), &next).unwrap();
    let third = open(&third);
    assert!(third.root().left_out(&layer).is_some());

    // Whatever the order of the sources, the lock of the last delta counts.
    let left_out = Availability::LeftOut { repository: "quay.io/a/first".to_owned() };
    let alone = sources([open(&out)]).await;
    assert_eq!(alone.availability(&layer).await.unwrap(), left_out);
    let joined = sources([third, open(&base), bundle]).await;
    assert_eq!(joined.locks(), [world.lock()]);
    assert_eq!(joined.availability(&layer).await.unwrap(), Availability::Here { size: 90_000 });
}

#[test]
fn a_carried_binary_is_signed_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new().with("quay.io/a/b:1", &samples::image(1, &[10]));
    fs_err::write(world.path("binary"), "#!/bin/sh\n").unwrap();
    let carry = vec![("airlift".to_owned(), world.path("binary"))];
    let options = CreateOptions { carry, ..options() };
    let out = world.path("out");
    world.create_with(std::slice::from_ref(&out), &options).unwrap();
    let there = files(&out);
    assert!(there.contains_key("airlift.minisig"));
    let mode = fs_err::metadata(out.join("airlift")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn cutting_again_is_refused_for_what_the_store_does_not_know() {
    let world = World::new().with("quay.io/a/b:1", &samples::image(1, &[10]));
    let root = open(&world.create("out")).digest();
    let cut = |root: &Digest, ordinals: &[u32]| {
        cut_again(&world.store, root, ordinals, &world.path("again"), &Ctx::default())
    };
    assert!(matches!(cut(&Digest::of(b"else"), &[0]), Err(BundleError::NotKept { .. })));
    assert!(matches!(cut(&root, &[9]), Err(BundleError::NoSuchVolume { ordinal: 9 })));
    world.store.forget_bundle("demo").unwrap();
    assert!(matches!(cut(&root, &[0]), Err(BundleError::NotKept { .. })));
}

#[test]
fn a_split_blob_that_has_rotted_is_found_when_its_volume_is_cut_again() {
    let sample = samples::image(1, &[400_000]);
    let world = World::new().with("quay.io/a/b:1", &sample);
    let bundle = open(&world.create("out"));
    let layer = sample.blobs_by_size()[0].0;
    damage(&world, &layer);
    let last = bundle.table().find(&layer).unwrap().pieces.last().unwrap().volume;
    let again = world.path("again");
    let err = cut_again(&world.store, &bundle.digest(), &[last], &again, &Ctx::default());
    assert!(matches!(err, Err(BundleError::BlobDamaged { digest }) if digest == layer), "{err:?}");
    assert!(!again.join(bundle.root().volume_file(last)).exists());
}

#[tokio::test]
async fn a_bundle_over_two_media_is_one_and_says_what_lies_elsewhere() {
    let world = World::new()
        .with("quay.io/a/b:1", &samples::image(1, &[100_000]))
        .with("quay.io/c/d:1", &samples::image(2, &[100_000]));
    let (one, two) = (world.create("one"), world.path("two"));
    fs_err::create_dir(&two).unwrap();
    for (name, bytes) in files(&one) {
        if name == "demo.00002.tar" {
            fs_err::rename(one.join(&name), two.join(&name)).unwrap();
        } else if name != "demo.00001.tar" {
            fs_err::write(two.join(&name), bytes).unwrap();
        }
    }
    let layer = samples::image(2, &[100_000]).blobs_by_size()[0].0;
    let alone = sources([open(&one)]).await;
    let absent = Availability::Absent { volumes: vec!["demo.00002.tar".to_owned()] };
    assert_eq!(alone.availability(&layer).await.unwrap(), absent);
    assert!(matches!(alone.read(&layer, 0..10).await, Err(BundleError::Absent { .. })));
    let here = Availability::Here { size: 100_000 };
    // Joined as sources, and joined as one bundle.
    let joined = sources([open(&one), open(&two)]).await;
    assert_eq!(joined.availability(&layer).await.unwrap(), here);
    let bundles = TrustedBundle::open(&[one, two], &trust()).unwrap();
    assert_eq!(bundles.len(), 1);
    assert_eq!(sources(bundles).await.availability(&layer).await.unwrap(), here);
}
