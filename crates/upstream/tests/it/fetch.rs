use std::sync::{Arc, Mutex};

use airlift_spec::{Class, Ctx, Descriptor, Digest, Event, Events, Explain as _};
use airlift_store::Fsck;
use airlift_testkit::registry::{FakeOptions, Fault, On};
use airlift_testkit::samples::{self, Sample, SampleManifest};
use airlift_upstream::UpstreamError;
use airlift_upstream::fetch::{FetchOptions, fetch, plan};
use airlift_upstream::resolve::ResolveOptions;

use crate::world::World;

fn is_whole(world: &World, sample: &Sample) -> bool {
    let manifests = sample.manifests.iter().map(|manifest| manifest.digest);
    let mut all = sample.blobs.keys().copied().chain(manifests);
    all.all(|digest| world.upstream.store.contains(&digest))
}

#[track_caller]
fn assert_sound(world: &World) {
    let findings = world.upstream.store.fsck(Fsck::Deep, &Ctx::default()).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn everything_that_an_image_can_be_arrives_as_it_was() {
    let world = World::new();
    let zoo = [
        samples::image(1, &[5000, 10]),
        samples::docker_image(2, &[5000]),
        samples::docker_list(3, &["linux/amd64", "linux/arm64"], 500),
        samples::sha512_image(4, &[5000]),
        samples::nested_index(5, 500),
        samples::attested_index(6, &["linux/amd64"], 500),
        samples::artifact(7, 5000),
        samples::unknown_media_types(8),
        samples::zstd_image("amd64", 3000),
        samples::signed(&samples::image(9, &[300])),
        samples::cosigned(&samples::image(10, &[300])),
        samples::empty_index(),
    ];
    let names: Vec<String> = (0..zoo.len()).map(|number| format!("zoo/n{number}")).collect();
    for (name, sample) in names.iter().zip(&zoo) {
        world.registry.put(name, "1", sample);
    }
    let images: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let lock = world.lock(&world.stack(&images, "")).await;
    let fetched = world.fetch(&lock).await;
    assert!(fetched.failures.is_empty(), "{:?}", fetched.failures);
    for (name, sample) in names.iter().zip(&zoo) {
        assert!(sample.blobs.keys().all(|blob| world.upstream.store.contains(blob)), "{name}");
    }
    // A tag does not say under which algorithm its manifest is meant, so each is kept under SHA-256.
    let manifests = zoo.iter().flat_map(|sample| &sample.manifests);
    for manifest in manifests.map(|manifest| Digest::of(&manifest.bytes)) {
        assert!(world.upstream.store.contains(&manifest), "{manifest}");
    }
    assert_sound(&world);
}

#[tokio::test]
async fn a_blob_that_many_want_moves_once_and_a_second_run_moves_nothing() {
    let world = World::new();
    let shared = samples::sharing_layers(11, 4, 50_000, 100);
    let names = ["a/one", "a/two", "a/three", "a/four"];
    for (name, sample) in names.iter().zip(&shared) {
        world.registry.put(name, "1", sample);
    }
    let images = names.map(|name| (name, "1"));
    let lock = world.lock(&world.stack(&images, "")).await;
    world.registry.forget_requests();
    let first = world.fetch(&lock).await;
    assert_eq!(first.blobs, 9, "the shared layer, and a layer and a config each");
    assert_eq!(world.registry.count("GET", "/blobs/"), 9, "{}", world.registry.transcript());

    world.registry.forget_requests();
    let second = world.fetch(&lock).await;
    assert_eq!((second.blobs, second.present_blobs), (0, 9));
    assert!(world.registry.requests().is_empty(), "{}", world.registry.transcript());
}

#[tokio::test]
async fn only_the_chosen_platforms_are_brought() {
    let world = World::new();
    let sample = samples::index(12, &["linux/amd64", "linux/arm64"], 5000);
    world.registry.put("a/app", "1", &sample);
    let lock = world.lock(&world.stack(&[("a/app", "1")], "platforms: [linux/amd64]\n")).await;
    let planned = plan(&lock, &world.upstream.store).unwrap();
    assert_eq!(planned.unread, []);
    let fetched = world.fetch(&lock).await;
    assert_eq!(fetched.blobs, planned.missing.len() as u64);
    assert!(!is_whole(&world, &sample));
    assert_sound(&world);
}

#[tokio::test]
async fn a_store_that_lost_its_manifests_gets_them_again() {
    let mut world = World::new();
    let sample = samples::signed(&samples::index(13, &["linux/amd64"], 500));
    world.registry.put("a/app", "1", &sample);
    let lock = world.lock(&world.stack(&[("a/app", "1")], "")).await;
    world.start_over();
    assert_eq!(plan(&lock, &world.upstream.store).unwrap().unread.len(), 4);
    assert!(world.fetch(&lock).await.failures.is_empty());
    assert!(is_whole(&world, &sample));
}

#[tokio::test]
async fn a_missing_blob_sinks_its_images_and_no_other() {
    let world = World::new();
    let shared = samples::sharing_layers(14, 2, 5000, 100);
    world.registry.put("a/one", "1", &shared[0]);
    world.registry.put("a/two", "1", &shared[1]);
    world.registry.put("a/other", "1", &samples::image(15, &[100]));
    let lock =
        world.lock(&world.stack(&[("a/one", "1"), ("a/two", "1"), ("a/other", "1")], "")).await;
    let layer = shared[0].blobs_by_size()[0].0;
    world.registry.remove("a/one", &layer);
    world.registry.remove("a/two", &layer);

    let fetched = world.fetch(&lock).await;
    let failed: Vec<&str> =
        fetched.failures.iter().map(|failure| failure.reference.as_str()).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|name| !name.contains("a/other")));

    world.registry.put("a/two", "1", &shared[1]);
    assert!(
        world.fetch(&lock).await.failures.is_empty(),
        "the other image's repository has the layer"
    );
}

#[tokio::test]
async fn a_manifest_that_claims_what_no_disk_takes_sinks_its_image_and_no_other() {
    let world = World::new();
    let (honest, liar) = (samples::image(15, &[100]), claiming(samples::image(16, &[300]), 300));
    world.registry.put("a/honest", "1", &honest);
    world.registry.put("a/liar", "1", &liar);
    let lock = world.lock(&world.stack(&[("a/honest", "1"), ("a/liar", "1")], "")).await;
    let fetched = world.fetch(&lock).await;
    let failed: Vec<&str> = fetched.failures.iter().map(|it| it.reference.as_str()).collect();
    assert!(matches!(failed[..], [one] if one.contains("a/liar")), "{failed:?}");
    assert_eq!(fetched.failures[0].error.class(), Class::Storage, "{:?}", fetched.failures);
    assert!(is_whole(&world, &honest));
}

/// An image whose layer of `bytes` has the largest size that there is, by its manifest.
fn claiming(sample: Sample, bytes: usize) -> Sample {
    let manifest = sample.manifest(&sample.root.digest);
    let text = std::str::from_utf8(&manifest.bytes).unwrap();
    let text = text.replace(&format!("\"size\":{bytes}"), &format!("\"size\":{}", i64::MAX));
    let root = Descriptor::of(&manifest.media_type, text.as_bytes());
    assert_ne!(root.digest, sample.root.digest);
    let (media_type, digest) = (manifest.media_type.clone(), root.digest);
    let manifests = vec![SampleManifest { media_type, bytes: text.into(), digest }];
    Sample { manifests, root, ..sample }
}

#[tokio::test]
async fn wrong_bytes_are_never_kept_and_the_next_run_brings_the_right_ones() {
    let world = World::new();
    let sample = samples::image(16, &[50_000]);
    world.registry.put("a/app", "1", &sample);
    let lock = world.lock(&world.stack(&[("a/app", "1")], "")).await;
    world.registry.fail_always(On::blobs(), Fault::FlipByte(7));
    let fetched = world.fetch(&lock).await;
    assert_eq!(fetched.failures[0].error.class(), Class::Integrity, "{:?}", fetched.failures);
    assert_sound_but_incomplete(&world, &sample);
    world.registry.heal();
    assert!(world.fetch(&lock).await.failures.is_empty());
    assert_sound(&world);
}

fn assert_sound_but_incomplete(world: &World, sample: &Sample) {
    assert!(!is_whole(world, sample));
    let findings = world.upstream.store.fsck(Fsck::Deep, &Ctx::default()).unwrap();
    assert!(findings.iter().all(|finding| finding.code == "missing-blob"), "{findings:?}");
}

#[tokio::test]
async fn a_layer_that_nobody_is_given_is_a_finding_and_the_image_is_carried_without_it() {
    let world = World::new();
    let sample = samples::non_distributable(17, "http://127.0.0.1:9/gone");
    world.registry.put("a/app", "1", &sample);
    let layer = samples::non_distributable_layer(&sample);
    world.registry.remove("a/app", &layer);
    let lock = world.lock(&world.stack(&[("a/app", "1")], "")).await;
    let fetched = world.fetch(&lock).await;
    assert!(fetched.failures.is_empty(), "{:?}", fetched.failures);
    assert_eq!(fetched.findings[0].code, "non-distributable");
    assert_eq!(fetched.findings[0].object, layer.to_string());
    assert_sound(&world);
}

#[tokio::test]
async fn a_lock_with_open_pins_is_refused_by_name() {
    let world = World::new();
    let stack = world.stack(&[("a/app", "1")], "");
    let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
    let lock = world.resolve_from(&stack, None, &options).await.unwrap().lock;
    let refused = fetch(&lock, &world.upstream, &FetchOptions::default(), &Ctx::default()).await;
    assert!(
        matches!(refused, Err(UpstreamError::Unpinned { reference }) if reference.ends_with("a/app:1"))
    );
}

#[tokio::test]
async fn two_fetches_into_one_store_bring_each_blob_once() {
    let world = World::new();
    let sample = samples::image(18, &[400_000, 300_000, 200_000, 100_000]);
    world.registry.put("a/app", "1", &sample);
    let lock = world.lock(&world.stack(&[("a/app", "1")], "")).await;
    world.registry.forget_requests();
    let (one, two) = tokio::join!(world.fetch(&lock), world.fetch(&lock));
    assert!(one.failures.is_empty() && two.failures.is_empty());
    assert_eq!(one.blobs + two.blobs, 5);
    assert_eq!(world.registry.count("GET", "/blobs/"), 5, "{}", world.registry.transcript());
    assert_sound(&world);
}

/// What a line like "3 of 5 items" is made of.
#[tokio::test]
async fn every_phase_tells_of_as_many_items_as_it_announced() {
    let world = World::new();
    let images = [("a/one", "1"), ("a/two", "1")];
    world.registry.put("a/one", "1", &samples::image(31, &[100, 200]));
    world.registry.put("a/two", "1", &samples::image(32, &[300]));
    let lock = world.lock(&world.stack(&images, "")).await;
    // For each phase, what it announced and what it told of.
    let phases = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&phases);
    let events = Events::new(move |event| {
        let mut phases = told.lock().unwrap();
        match event {
            Event::PhaseStarted { phase, items, .. } => phases.push((phase, items, 0)),
            Event::ItemFinished { .. } => phases.last_mut().unwrap().2 += 1,
            _ => {}
        }
    });
    let ctx = Ctx { events, ..Ctx::default() };
    fetch(&lock, &world.upstream, &FetchOptions::default(), &ctx).await.unwrap();
    assert_eq!(*phases.lock().unwrap(), [("manifests", 2, 2), ("fetch", 5, 5)]);
}

#[tokio::test]
async fn a_cancelled_fetch_leaves_a_store_that_the_next_one_fills() {
    let world = World::with(FakeOptions::default());
    let sample = samples::image(19, &[2_000_000]);
    world.registry.put("a/app", "1", &sample);
    let lock = world.lock(&world.stack(&[("a/app", "1")], "")).await;
    world.registry.fail_always(On::blobs(), Fault::StallAfter(1_000_000));
    let ctx = Ctx::default();
    let seen = ctx.cancel.clone();
    let ctx = Ctx {
        events: Events::new(move |event| {
            if matches!(event, Event::TransferAdvanced { .. }) {
                seen.cancel();
            }
        }),
        ..ctx
    };
    let stopped = fetch(&lock, &world.upstream, &FetchOptions::default(), &ctx).await;
    let error = stopped.expect_err("it was cancelled");
    assert_eq!(error.class(), Class::Cancelled);
    world.registry.heal();
    assert!(world.fetch(&lock).await.failures.is_empty());
    assert!(is_whole(&world, &sample));
    assert_sound(&world);
}

#[tokio::test]
async fn the_store_keeps_the_lock_itself_so_that_it_can_be_served_alone() {
    let world = World::new();
    world.registry.put("a/app", "1", &samples::image(20, &[100]));
    let lock = world.lock(&world.stack(&[("a/app", "1")], "")).await;
    world.fetch(&lock).await;
    let root = world.upstream.store.read_root("demo").unwrap().unwrap();
    let kept: Digest = root.blobs[0];
    let text = world.upstream.store.read(&kept, 1 << 20).unwrap().unwrap();
    assert_eq!(airlift_spec::Lock::parse(&text).unwrap(), lock);
}
