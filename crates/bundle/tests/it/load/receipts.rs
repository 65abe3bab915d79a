use std::num::NonZeroUsize;

use airlift_bundle::receipt;
use airlift_bundle::remove::{RemoveOptions, Removed, Wish, remove};
use airlift_spec::{Class, Explain as _};
use airlift_testkit::samples;

use super::world::World;

#[tokio::test]
async fn a_receipt_names_what_arrived_and_grows() {
    let mut world = World::new();
    let (one, two) = (samples::signed(&samples::image(1, &[1000])), samples::image(2, &[1000]));
    world.pin("demo", "quay.io/org/one:1", &one);
    world.load_all().await;
    world.unpin("demo");
    world.pin("demo", "quay.io/org/two:1", &two);
    world.load_all().await;

    let receipt = world.receipt("demo").await.unwrap();
    assert_eq!(receipt.lock, world.lock("demo").digest());
    assert!(receipt.manifests["quay.io/org/two"].contains(&two.root.digest));
    // What earlier locks brought stays until somebody prunes it.
    let earlier = &receipt.manifests["quay.io/org/one"];
    assert_eq!(earlier.len(), one.manifests.len());
    assert_eq!(receipt.tags["quay.io/org/one"]["1"].len(), 1);
}

#[tokio::test]
async fn a_lost_receipt_is_rebuilt_from_what_is_there() {
    let mut world = World::new();
    let platforms = ["linux/amd64", "linux/arm64"];
    world.pin("demo", "quay.io/org/one:1", &samples::signed(&samples::index(1, &platforms, 1000)));
    world.pin("demo", "quay.io/org/two:1", &samples::cosigned(&samples::image(2, &[1000])));
    // The registry names by SHA-256 what this tag points to.
    world.pin("demo", "quay.io/org/three:1", &samples::sha512_image(3, &[1000]));
    world.load_all().await;
    let kept = world.receipt("demo").await.unwrap();
    let lock = world.lock("demo");
    let rebuilt = receipt::rebuild(&world.target(), lock, 4, &world.ctx).await.unwrap();
    assert_eq!(rebuilt, kept);

    // What is not there any more is not in it.
    let one = lock.artifacts.iter().find(|artifact| !artifact.children.is_empty()).unwrap();
    let gone = one.children[0].digest;
    world.registry.remove("mirror/quay.io/org/one", &gone);
    let rebuilt = receipt::rebuild(&world.target(), lock, 4, &world.ctx).await.unwrap();
    assert!(!rebuilt.manifests["quay.io/org/one"].contains(&gone));
}

#[tokio::test]
async fn a_state_from_a_newer_version_stops_the_load() {
    let mut world = World::new();
    world.pin("demo", "quay.io/org/one:1", &samples::image(1, &[1000]));
    world.load_all().await;
    let mut newer = world.receipt("demo").await.unwrap();
    newer.needs.push("teleport".to_owned());
    newer.stack = "other".to_owned();
    receipt::write(&world.target(), &newer, &world.ctx).await.unwrap_err();
    world.pin("other", "quay.io/org/two:1", &samples::image(2, &[1000]));
    let err = world.plan().await.unwrap_err();
    assert_eq!(err.class(), Class::Input, "{err}");
}

#[tokio::test]
async fn a_state_whose_bytes_are_gone_counts_as_none() {
    let mut world = World::new();
    let sample = samples::image(1, &[1000]);
    world.pin("demo", "quay.io/org/one:1", &sample);
    world.load_all().await;
    let state = world.registry.manifest("mirror/airlift-state", "demo").unwrap();
    let state = airlift_spec::Manifest::parse(&state, None).unwrap();
    world.registry.remove("mirror/airlift-state", &state.blobs[1].digest);
    assert_eq!(world.receipt("demo").await, None);
    world.load_all().await;
    assert!(world.receipt("demo").await.is_some());
}

#[tokio::test]
async fn what_one_stack_brought_is_not_removed_for_another() {
    let mut world = World::new();
    world.pin("demo", "quay.io/org/app:1", &samples::image(1, &[1000]));
    world.load_all().await;
    let repository = "mirror/quay.io/org/app".to_owned();
    let wish = Wish { repository, tag: Some("1".to_owned()), digest: None };
    let removed = async |stack: &str| {
        let (parallel, stack) = (NonZeroUsize::MIN, stack.to_owned());
        let options = RemoveOptions { parallel, dry_run: false, stack };
        let wishes = std::slice::from_ref(&wish);
        let removals = remove(wishes, &world.target(), &options, &world.ctx).await.unwrap();
        removals[0].result.clone()
    };
    let why = "stack `demo` has the tag, too".to_owned();
    assert_eq!(removed("other").await, Removed::Kept { why, untagged: false });
    assert!(world.tag_there("quay.io/org/app", "1").is_some());
    assert_eq!(removed("demo").await, Removed::Deleted);
    assert!(world.tag_there("quay.io/org/app", "1").is_none());
}
