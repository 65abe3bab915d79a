//! `kill -9` at a moment that the test chooses, and the run after it.

use std::collections::BTreeSet;

use airlift_spec::Digest;
use airlift_testkit::FakeRegistry;
use airlift_testkit::registry::{Fault, On, Recorded};
use serde_json::Value;

use crate::plant::{Plant, blob_requests, create, files, said, stored_blobs};
use crate::sides::digests;

const LAYERS: [usize; 4] = [300_000, 200_000, 100_000, 5000];

#[test]
fn a_killed_fetch_never_brings_a_finished_blob_again() {
    let plant = Plant::new(&LAYERS);
    for (at, (stuck, bytes)) in plant.image.blobs_by_size().into_iter().enumerate() {
        let store = format!("store-{at}");
        let fetch = ["--store", &store, "fetch"];
        let half = Fault::StallAfter(bytes.len() as u64 / 2);
        plant.upstream.fail_always(On::get(stuck.hex()), half);
        let others = plant.image.blobs.len() - 1;
        plant.kill_when(&fetch, |running| {
            let finished = said(&running.stderr(), "transfer-finished", "blob");
            let finished = finished.iter().map(|digest| digest.parse().unwrap());
            let finished: BTreeSet<Digest> = finished.collect();
            let blobs = finished.iter().filter(|digest| plant.image.blobs.contains_key(digest));
            blobs.count() == others && blob_requests(&plant.upstream).contains_key(&stuck)
        });
        let there = stored_blobs(&plant.world.path().join(&store));
        assert!(!there.contains(&stuck), "half a blob is visible");
        assert!(there.len() > others, "what was said to be finished is not there");

        plant.upstream.heal();
        plant.upstream.forget_requests();
        let fetched = plant.airlift(0, &["--store", &store, "fetch"]);
        let again = blob_requests(&plant.upstream);
        assert_eq!(again, [(stuck, 1)].into(), "case {at}");
        assert_eq!(plant.upstream.count("GET", "/manifests/"), 0, "case {at}");
        assert_eq!(fetched["fetchedBlobs"], 1, "{fetched:#}");
        let stored = stored_blobs(&plant.world.path().join(&store));
        assert!(stored.is_superset(&digests(&plant.image)), "case {at}");
        plant.airlift(0, &["--store", &store, "fsck"]);
        plant.upstream.forget_requests();
    }
}

#[test]
fn a_killed_fetch_goes_on_inside_a_large_blob() {
    /// Bytes between two moments at which the store notes what it has.
    const CHECKPOINT: usize = 64 << 20;
    let size = CHECKPOINT + (2 << 20);
    let plant = Plant::new(&[size]);
    let (large, _) = plant.image.blobs_by_size()[0];
    let stall = Fault::StallAfter(CHECKPOINT as u64 + (1 << 20));
    plant.upstream.fail_once(On::get(large.hex()), stall);
    let notes = format!("store/staging/sha256-{}.pieces", large.hex());
    let notes = plant.world.path().join(notes);
    plant.kill_when(&["--store", "store", "fetch"], |_| notes.is_file());
    let pieces: Value = serde_json::from_slice(&fs_err::read(&notes).unwrap()).unwrap();
    let kept = pieces["pieces"][0][1].as_u64().unwrap();
    assert!(kept >= CHECKPOINT as u64, "{kept} bytes are noted");

    plant.upstream.forget_requests();
    plant.airlift(0, &["--store", "store", "fetch"]);
    let requests = plant.upstream.requests();
    let asked = requests.iter().filter(|it| it.path.contains(large.hex().as_str()));
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked.len(), 1, "{}", plant.upstream.transcript());
    assert_eq!(asked[0].sent_bytes, size as u64 - kept, "{:?}", asked[0].range());
    assert!(stored_blobs(&plant.world.path().join("store")).contains(&large));
}

/// Enough that a run is far from its end when it is killed, however slow the test is to notice.
const MANY: [usize; 48] = [1 << 20; 48];

#[test]
fn a_killed_bundle_create_keeps_its_volumes_and_ends_with_the_same_bytes() {
    let plant = Plant::fetched(&MANY);
    plant.airlift(0, &create("whole", "1MiB"));
    let whole = files(&plant.world.path().join("whole"));
    let volumes = whole.keys().filter(|name| name.contains(".tar")).count();
    assert!(volumes >= MANY.len(), "{:?}", whole.keys());

    for finished in [1, 5, 15] {
        let folder = format!("killed-{finished}");
        let args = create(&folder, "1MiB");
        let killed = plant.kill_when(&args, |running| {
            said(&running.stderr(), "volume-finished", "volume").len() >= finished
        });
        let finished = said(&killed.stderr, "volume-finished", "volume");
        let created = plant.airlift(0, &args);
        let kept: BTreeSet<String> = created["created"]["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|volume| volume["isKept"] == true)
            .map(|volume| volume["file"].as_str().unwrap().to_owned())
            .collect();
        for volume in &finished {
            assert!(kept.iter().any(|file| file.ends_with(volume)), "{volume} is not in {kept:?}");
        }
        let after = files(&plant.world.path().join(&folder));
        assert!(after == whole, "{:?} differ", after.keys());
        plant.airlift(0, &["verify", "--deep", &folder]);
    }
}

#[test]
fn a_killed_load_sends_nothing_again_that_the_registry_has() {
    let plant = Plant::bundled(&LAYERS, "1MiB");
    let manifest = plant.image.root.digest;
    let [largest, second] = [0, 1].map(|at| plant.image.blobs_by_size()[at].0.hex());
    // The manifest comes with its tag.
    let moments = [
        ("the first bytes", "POST", "/blobs/uploads/".to_owned()),
        ("the largest blob", "PUT", largest),
        ("another blob", "PUT", second),
        ("the tag", "PUT", "/manifests/1".to_owned()),
    ];
    let repository = format!("{}/team/app", plant.upstream.host().replace(':', "_"));
    for (moment, method, part) in moments {
        let far = FakeRegistry::start();
        let load = ["load", "out", "--to", &far.host()];
        let method: http::Method = method.parse().unwrap();
        far.fail_always(On::path(&part).method(method.clone()), Fault::Hang);
        // All else is done: nothing arrives after the kill that was on its way before.
        let is_stuck = || {
            let mut requests = far.requests();
            requests.retain(|request| request.status.is_none());
            let hangs = |it: &Recorded| it.method == method && it.path.contains(&part);
            !requests.is_empty() && requests.iter().all(hangs)
        };
        plant.kill_when(&load, |_| is_stuck());
        let held = |digest: &&Digest| far.blob(&repository, digest).is_some();
        let there: BTreeSet<Digest> = plant.image.blobs.keys().filter(held).copied().collect();
        assert_ne!(far.tags(&repository).get("1"), Some(&manifest), "{moment}: visible too early");

        far.heal();
        far.forget_requests();
        let loaded = plant.airlift(0, &load);
        let missing = plant.image.blobs.len() - there.len();
        assert_eq!(loaded["totals"]["blobsSent"], missing, "{moment}: {loaded:#}");
        for digest in &there {
            assert_eq!(far.count("PUT", &digest.hex()), 0, "{moment}: {digest} was sent again");
        }
        assert!(far.holds(&repository, &plant.image), "{moment}");
        assert_eq!(far.tags(&repository).get("1"), Some(&manifest), "{moment}");
    }
}

#[test]
fn a_killed_load_into_a_store_goes_on_with_the_next_blob() {
    let plant = Plant::bundled(&MANY, "1MiB");
    for finished in [1, 6, 15] {
        let store = format!("far-{finished}");
        let to = format!("store:{store}");
        let load = ["load", "out", "--to", &to];
        let killed = plant.kill_when(&load, |running| {
            said(&running.stderr(), "transfer-finished", "blob").len() >= finished
        });
        let finished = said(&killed.stderr, "transfer-finished", "blob");
        let finished: BTreeSet<String> = finished.into_iter().collect();
        let there = stored_blobs(&plant.world.path().join(&store));
        let lost = |digest: &&String| !there.contains(&digest.parse().unwrap());
        assert_eq!(finished.iter().find(lost), None, "it was said to be finished");

        let ran = plant.start(&load).wait().unwrap();
        assert_eq!(ran.code, Some(0), "{ran}");
        let again = said(&ran.stderr, "transfer-started", "blob").into_iter().collect();
        assert_eq!(finished.intersection(&again).next(), None, "it was written again");
        let stored = stored_blobs(&plant.world.path().join(&store));
        assert!(stored.is_superset(&digests(&plant.image)));
        plant.airlift(0, &["--store", &plant.path(&store), "fsck"]);
    }
}

#[test]
fn two_fetches_into_one_store_share_the_work() {
    let plant = Plant::new(&[50_000; 12]);
    let slow = Fault::SlowStart(std::time::Duration::from_millis(100));
    plant.upstream.fail_always(On::blobs(), slow);
    let running = [(); 2].map(|()| plant.start(&["--store", "store", "fetch"]));
    for one in running {
        let ran = one.wait().unwrap();
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    let requests = blob_requests(&plant.upstream);
    assert_eq!(requests.len(), plant.image.blobs.len());
    assert!(requests.values().all(|count| *count == 1), "{requests:#?}");
    let stored = stored_blobs(&plant.world.path().join("store"));
    assert!(stored.is_superset(&digests(&plant.image)));
}

#[test]
fn a_second_fetch_takes_over_from_one_that_is_killed() {
    let plant = Plant::new(&LAYERS);
    let (stuck, bytes) = plant.image.blobs_by_size()[0];
    let half = Fault::StallAfter(bytes.len() as u64 / 2);
    plant.upstream.fail_once(On::get(stuck.hex()), half);
    let fetch = ["--store", "store", "fetch"];
    let mut first = plant.start(&fetch);
    let is_stuck = |_: &_| blob_requests(&plant.upstream).contains_key(&stuck);
    assert!(first.wait_until(is_stuck).unwrap(), "{}", first.stderr());

    let mut second = plant.start(&fetch);
    let store = plant.world.path().join("store/blobs/sha256");
    let others = plant.image.blobs.keys().filter(|digest| **digest != stuck);
    let others: Vec<_> = others.map(|digest| store.join(digest.hex())).collect();
    let waits = |_: &_| others.iter().all(|path| path.is_file());
    assert!(second.wait_until(waits).unwrap(), "did not wait:\n{}", second.stderr());
    first.kill().unwrap();
    let ran = second.wait().unwrap();
    assert_eq!(ran.code, Some(0), "{ran}");
    let requests = blob_requests(&plant.upstream);
    let expected = plant.image.blobs.keys().map(|it| (*it, if *it == stuck { 2 } else { 1 }));
    assert_eq!(requests, expected.collect());
}

#[test]
fn an_interrupted_verb_says_so_and_the_next_run_goes_on() {
    let plant = Plant::new(&LAYERS);
    let (stuck, _) = plant.image.blobs_by_size()[0];
    for signal in ["INT", "TERM"] {
        let store = format!("store-{signal}");
        let fetch = ["--store", &store, "fetch"];
        plant.upstream.fail_always(On::get(stuck.hex()), Fault::Hang);
        let mut running = plant.start(&fetch);
        let is_stuck = |_: &_| blob_requests(&plant.upstream).contains_key(&stuck);
        assert!(running.wait_until(is_stuck).unwrap(), "{}", running.stderr());
        running.signal(signal).unwrap();
        let ran = running.wait().unwrap();
        assert_eq!(ran.code, Some(130), "{signal}: {ran}");
        assert!(ran.stderr.contains(r#""class":"cancelled""#), "{signal}: {ran}");

        plant.upstream.heal();
        plant.airlift(0, &fetch);
        plant.upstream.forget_requests();
    }
    let args = create("out", "64KiB");
    let args = ["--store", "store-INT"].iter().chain(&args).copied().collect::<Vec<_>>();
    let mut running = plant.start(&args);
    let has_begun = |it: &airlift_testkit::world::Running| it.stderr().contains("volume-started");
    assert!(running.wait_until(has_begun).unwrap(), "{}", running.stderr());
    running.signal("INT").unwrap();
    let ran = running.wait().unwrap();
    assert!(matches!(ran.code, Some(130 | 0)), "{ran}");
    plant.airlift(0, &args);
    plant.airlift(0, &["verify", "--deep", "out"]);
}
