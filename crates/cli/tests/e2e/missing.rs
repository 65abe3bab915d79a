//! A manifest that names a blob which is not there, wherever that may be.

use airlift_testkit::{FakeRegistry, samples};

use crate::plant::{Plant, blob_requests};
use crate::sides::digests;

/// A plant of two images, of which the second lacks its largest layer in the registry.
fn plant() -> (Plant, samples::Sample) {
    let plant = Plant::new(&[300_000, 2000]);
    let lame = samples::image(2, &[200_000, 1000]);
    plant.upstream.put("team/lame", "1", &lame);
    let names = [("team/app", "1"), ("team/lame", "1")];
    let names = names.map(|(path, tag)| plant.upstream.reference(path, tag));
    plant.world.write_stack("plant", &names.each_ref().map(String::as_str)).unwrap();
    plant.airlift(0, &["resolve"]);
    (plant, lame)
}

#[test]
fn a_blob_that_its_registry_does_not_have_sinks_its_image_and_comes_with_the_next_run() {
    let (plant, lame) = plant();
    let lost = lame.blobs_by_size()[0].0;
    plant.upstream.remove("team/lame", &lost);
    let ran = plant.world.run(["fetch"]).unwrap();
    assert_eq!(ran.code, Some(5), "{ran}");
    let shown = ran.to_string();
    assert!(shown.contains("team/lame:1") && shown.contains(&lost.to_string()), "{ran}");
    assert!(shown.contains("1 of 2 artifacts complete"), "{ran}");
    plant.airlift(8, &["bundle", "create", "--to", "out", "--no-binary"]);

    plant.upstream.put("team/lame", "1", &lame);
    plant.upstream.forget_requests();
    plant.airlift(0, &["fetch"]);
    assert_eq!(blob_requests(&plant.upstream).into_keys().collect::<Vec<_>>(), [lost]);
    plant.airlift(0, &["bundle", "create", "--to", "out", "--no-binary"]);
}

#[test]
fn a_blob_that_the_store_has_lost_sinks_its_image_in_every_verb_and_a_fetch_brings_it_back() {
    let (plant, lame) = plant();
    plant.airlift(0, &["--store", "store", "fetch"]);
    let lost = lame.blobs_by_size()[0].0;
    let store = plant.world.path().join("store");
    fs_err::remove_file(store.join("blobs").join(lost.path())).unwrap();

    let found = plant.airlift(8, &["--store", "store", "fsck"]);
    assert_eq!(found["findings"][0]["code"], "missing-blob", "{found:#}");
    let found = plant.airlift(8, &["verify", "store:store"]);
    assert!(found.to_string().contains(&lost.to_string()), "{found:#}");

    let far = FakeRegistry::start();
    let loaded = plant.airlift(8, &["load", "store:store", "--to", &far.host()]);
    assert_eq!(loaded["findings"][0]["code"], "incomplete", "{loaded:#}");
    let prefix = plant.upstream.host().replace(':', "_");
    assert!(far.holds(&format!("{prefix}/team/app"), &plant.image), "{loaded:#}");
    assert!(far.tags(&format!("{prefix}/team/lame")).is_empty(), "{loaded:#}");

    let args = ["serve", "store:store", "--listen", "127.0.0.1:0"];
    let mut server = plant.world.spawn(args).unwrap();
    assert!(server.wait_until(|it| it.stdout().ends_with('\n')).unwrap(), "{}", server.stderr());
    let host = server.stdout().trim().strip_prefix("http://").unwrap().to_owned();
    let source = format!("registry://{host}");
    let verified = plant.airlift(8, &["verify", "--deep", &source, "--lock", "airlift.lock"]);
    let findings = verified["findings"].as_array().unwrap();
    assert!(findings.iter().all(|one| one.to_string().contains("team/lame")), "{verified:#}");
    server.terminate().unwrap();

    plant.upstream.forget_requests();
    plant.airlift(0, &["--store", "store", "fetch"]);
    assert_eq!(blob_requests(&plant.upstream).into_keys().collect::<Vec<_>>(), [lost]);
    plant.airlift(0, &["--store", "store", "fsck"]);
    plant.airlift(0, &["load", "store:store", "--to", &far.host()]);
    assert!(far.holds(&format!("{prefix}/team/lame"), &lame));
    assert_eq!(digests(&lame).len(), 4);
}
