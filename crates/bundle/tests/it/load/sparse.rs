use airlift_bundle::load::{Fate, SparsePolicy};
use airlift_spec::Class;
use airlift_testkit::{Fault, On, Sample, samples};

use super::world::{World, codes, fates};

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

fn sparse(seed: u64, bytes: usize) -> Sample {
    samples::sparse_index(seed, &PLATFORMS, "linux/amd64", bytes)
}

#[tokio::test]
async fn a_registry_that_refuses_sparse_indexes_is_found_out_before_the_bulk_moves() {
    let mut world = World::new();
    world.pin("demo", "quay.io/org/large:1", &sparse(1, 90_000));
    world.pin("demo", "quay.io/org/small:1", &sparse(2, 1_000));
    world.pin("demo", "quay.io/org/whole:1", &samples::image(3, &[80_000]));
    world.registry.fail_always(On::manifests(), Fault::RefuseSparseIndex);

    let report = world.load().await;

    assert_eq!(report.class(), Some(Class::Findings), "{report:#?}");
    assert_eq!(codes(&report), ["sparse-index"]);
    assert!(world.registry.received_bytes() < 20_000, "{}", world.registry.received_bytes());
    let fates = fates(&report);
    let Fate::Failed(failure) = &fates["quay.io/org/small:1"] else { panic!("{fates:#?}") };
    let help = failure.help.as_deref().unwrap();
    for way in ["platforms: all", "--single-platform-tags", "{indexes: {platforms: none}}"] {
        assert!(help.contains(way), "{help}");
    }
    assert_eq!(fates["quay.io/org/large:1"], Fate::NotTried);
    assert_eq!(fates["quay.io/org/whole:1"], Fate::NotTried);
}

#[tokio::test]
async fn a_registry_that_takes_sparse_indexes_keeps_their_digest() {
    let mut world = World::new();
    let sample = sparse(1, 1000);
    world.pin("demo", "quay.io/org/app:1", &sample);
    world.load_all().await;
    assert_eq!(world.tag_there("quay.io/org/app", "1"), Some(sample.root.digest));
    assert!(world.registry.holds("mirror/quay.io/org/app", &sample));
}

#[tokio::test]
async fn a_tag_can_point_to_the_only_platform_that_is_kept() {
    let mut world = World::new();
    let sample = sparse(1, 1000);
    world.pin("demo", "quay.io/org/app:1", &sample);
    world.registry.fail_always(On::manifests(), Fault::RefuseSparseIndex);
    world.options.sparse = SparsePolicy::SinglePlatformTags;
    world.load_all().await;
    let child = world.lock("demo").artifacts[0].children[0].digest;
    assert_eq!(world.tag_there("quay.io/org/app", "1"), Some(child));
    let index = sample.root.digest.to_string();
    assert!(world.registry.manifest("mirror/quay.io/org/app", &index).is_none());
}
