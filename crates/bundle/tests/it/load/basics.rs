use airlift_bundle::load::{Fate, State};
use airlift_spec::placement::keep_alive_tag;
use airlift_testkit::{Fault, On, samples};

use super::world::{World, fates};

/// One of everything that an image can be.
fn zoo() -> World {
    let mut world = World::new();
    let platforms = ["linux/amd64", "linux/arm64"];
    world.pin("demo", "quay.io/org/image:1", &samples::image(1, &[1000, 70_000]));
    world.pin("demo", "quay.io/org/index:1", &samples::index(2, &platforms, 3000));
    world.pin("demo", "docker.io/library/list:1", &samples::docker_list(3, &platforms, 3000));
    world.pin("demo", "quay.io/org/nested:1", &samples::nested_index(4, 2000));
    world.pin("demo", "quay.io/org/attested:1", &samples::attested_index(5, &platforms, 2000));
    world.pin("demo", "quay.io/org/long:1", &samples::sha512_image(6, &[4000]));
    world.pin("demo", "quay.io/org/artifact:1", &samples::artifact(7, 500));
    world.pin("demo", "quay.io/org/unknown:1", &samples::unknown_media_types(8));
    world.pin("demo", "quay.io/org/empty:1", &samples::empty_index());
    let signed = samples::signed(&samples::image(9, &[800]));
    world.pin("demo", "quay.io/org/signed:1", &signed);
    world.pin("demo", "quay.io/org/cosigned:1", &samples::cosigned(&samples::image(10, &[800])));
    world
}

#[tokio::test]
async fn whatever_an_image_can_be_arrives_byte_for_byte() {
    let world = zoo();
    world.load_all().await;
    for artifact in &world.lock("demo").artifacts {
        let repository = format!("mirror/{}", artifact.reference.repository());
        let tag = artifact.reference.tag().unwrap();
        let there = world.registry.manifest(&repository, tag).unwrap();
        assert!(artifact.digest.unwrap().matches(&there), "{}", artifact.reference);
        let manifests = artifact.children.iter().map(|child| child.digest);
        let manifests = manifests.chain(artifact.referrers.iter().map(|referrer| referrer.digest));
        for digest in manifests {
            let there = world.registry.manifest(&repository, &digest.to_string());
            assert!(there.is_some(), "{digest} of {}", artifact.reference);
        }
        for referrer in artifact.referrers.iter().filter_map(|referrer| referrer.tag.as_ref()) {
            assert!(world.registry.tags(&repository).contains_key(referrer), "{referrer}");
        }
    }
}

#[tokio::test]
async fn a_second_load_changes_nothing_and_asks_little() {
    let world = zoo();
    world.load_all().await;
    world.registry.forget_requests();

    let plan = world.plan().await.unwrap();
    assert!(plan.is_empty(), "{plan}");
    let report = world.run(&plan).await;

    assert!(report.artifacts.iter().all(|outcome| outcome.result == Fate::Present), "{report:#?}");
    let requests = world.registry.requests();
    let writes =
        requests.iter().filter(|request| !matches!(request.method.as_str(), "GET" | "HEAD"));
    assert_eq!(writes.count(), 0, "{}", world.registry.transcript());
    // One for each tag, child and referrer, and a few for the state and for the referrers API.
    let lock = world.lock("demo");
    let below = |artifact: &airlift_spec::lock::Artifact| {
        artifact.children.len() + artifact.referrers.len()
    };
    let known: usize = lock.artifacts.iter().map(|artifact| 1 + below(artifact)).sum();
    assert_eq!(report.totals.requests, 0, "the plan knew it all: {}", world.registry.transcript());
    assert!(requests.len() <= known + 4, "{known}: {}", world.registry.transcript());
}

#[tokio::test]
async fn a_plan_alone_changes_nothing_and_says_what_is_missing() {
    let mut world = World::new();
    world.pin("demo", "quay.io/org/image:1", &samples::image(1, &[1000]));
    let plan = world.plan().await.unwrap();
    assert_eq!(world.registry.repositories(), Vec::<String>::new());
    assert_eq!(plan.blobs_to_send(), 2);
    let text = plan.to_string();
    assert!(text.contains("+ quay.io/org/image:1 (1 manifests, 2 blobs)"), "{text}");
    assert!(text.contains("1 to push, 0 there already"), "{text}");
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["artifacts"][0]["state"]["is"], "push");
}

#[tokio::test]
async fn a_blob_that_repositories_share_is_sent_once_and_mounted_into_the_others() {
    let mut world = World::new();
    let images = samples::sharing_layers(1, 5, 50_000, 100);
    for (at, image) in images.iter().enumerate() {
        world.pin("demo", &format!("quay.io/org/image{at}:1"), image);
    }
    let report = world.load_all().await;
    assert!(world.registry.received_bytes() < 2 * 50_000, "{}", world.registry.received_bytes());
    assert!(report.totals.blobs_mounted >= 4, "{report:#?}");
    for (at, image) in images.iter().enumerate() {
        assert!(world.registry.holds(&format!("mirror/quay.io/org/image{at}"), image), "{at}");
    }
}

#[tokio::test]
async fn a_registry_that_does_not_mount_gets_the_bytes_again() {
    let mut world = World::new();
    let images = samples::sharing_layers(1, 3, 5_000, 100);
    for (at, image) in images.iter().enumerate() {
        world.pin("demo", &format!("quay.io/org/image{at}:1"), image);
    }
    world.registry.fail_always(On::uploads(), Fault::RefuseMount);
    world.load_all().await;
    for (at, image) in images.iter().enumerate() {
        assert!(world.registry.holds(&format!("mirror/quay.io/org/image{at}"), image), "{at}");
    }
}

#[tokio::test]
async fn what_an_earlier_image_brought_is_mounted_without_asking_for_it() {
    let mut world = World::new();
    let images = samples::sharing_layers(1, 2, 50_000, 100);
    world.pin("demo", "quay.io/org/first:1", &images[0]);
    world.load_all().await;
    world.registry.forget_requests();
    world.pin("demo", "quay.io/org/second:1", &images[1]);
    let report = world.load_all().await;
    assert!(report.totals.bytes_sent < 5_000, "{report:#?}");
    assert!(world.registry.holds("mirror/quay.io/org/second", &images[1]));
}

#[tokio::test]
async fn tags_come_last_and_the_state_before_them() {
    let mut world = World::new();
    let sample = samples::signed(&samples::index(1, &["linux/amd64", "linux/arm64"], 2000));
    world.pin("demo", "quay.io/org/app:1", &sample);
    world.load_all().await;
    let requests = world.registry.requests();
    let written: Vec<&str> = requests
        .iter()
        .filter(|request| request.method == "PUT" && request.path.contains("/manifests/"))
        .map(|request| request.path.as_str())
        .collect();
    let at = |part: &str| {
        written.iter().position(|path| path.ends_with(part)).unwrap_or_else(|| panic!("{part}"))
    };
    let (state, tag) = (at("airlift-state/manifests/demo"), at("quay.io/org/app/manifests/1"));
    let index = at(&format!("app/manifests/{}", sample.root.digest));
    assert!(index < state && state < tag, "{written:#?}");
    for (referrer, _) in sample.referrers() {
        let referrer = at(&referrer.digest.to_string());
        assert!(index < referrer && referrer < state, "{written:#?}");
    }
    for manifest in &sample.manifests[..2] {
        assert!(at(&manifest.digest.to_string()) < index, "{written:#?}");
    }
    let last_blob = requests.iter().rposition(|request| {
        request.path.contains("org/app/blobs/uploads") && request.method != "HEAD"
    });
    let first_manifest = requests
        .iter()
        .position(|request| request.method == "PUT" && request.path.contains("org/app/manifests"));
    assert!(first_manifest.is_some());
    // Referrers' blobs too come before the first manifest.
    assert!(last_blob < first_manifest, "{}", world.registry.transcript());
}

#[tokio::test]
async fn an_image_known_by_digest_only_is_kept_alive_by_a_tag() {
    let mut world = World::new();
    let sample = samples::image(1, &[1000]);
    world.pin("demo", &format!("quay.io/org/app@{}", sample.root.digest), &sample);
    world.load_all().await;
    let tag = keep_alive_tag(&sample.root.digest);
    assert_eq!(world.tag_there("quay.io/org/app", &tag), Some(sample.root.digest));
}

#[tokio::test]
async fn a_child_that_comes_later_completes_the_index_that_is_there() {
    let mut world = World::new();
    let platforms = ["linux/amd64", "linux/arm64"];
    let sparse = samples::sparse_index(1, &platforms, "linux/amd64", 3000);
    world.pin("demo", "quay.io/org/app:1", &sparse);
    world.load_all().await;
    let whole = samples::index(1, &platforms, 3000);
    assert_eq!(whole.root.digest, sparse.root.digest);
    world.pin("demo", "quay.io/org/app:1", &whole);
    world.load_all().await;
    assert!(world.registry.holds("mirror/quay.io/org/app", &whole));
}

#[tokio::test]
async fn a_layer_that_nobody_may_carry_does_not_hold_its_image_up() {
    let mut world = World::new();
    let mut sample = samples::non_distributable(1, "https://example.com/layer");
    let layer = samples::non_distributable_layer(&sample);
    sample.blobs.remove(&layer);
    world.pin("demo", "quay.io/org/app:1", &sample);
    world.load_all().await;
    assert_eq!(world.tag_there("quay.io/org/app", "1"), Some(sample.root.digest));
}

#[tokio::test]
async fn what_was_never_fetched_is_named_and_the_rest_arrives() {
    let mut world = World::new();
    let good = samples::image(1, &[1000]);
    let mut bad = samples::image(2, &[1000, 2000]);
    let lost = bad.blobs_by_size()[0].0;
    bad.blobs.remove(&lost);
    world.pin("demo", "quay.io/org/bad:1", &bad);
    world.pin("demo", "quay.io/org/good:1", &good);
    let plan = world.plan().await.unwrap();
    let incomplete = &plan.artifacts[0].state;
    assert!(matches!(incomplete, State::Incomplete { missing } if missing[0].digest == lost));
    let report = world.run(&plan).await;
    assert_eq!(report.class().map(airlift_spec::Class::exit_code), Some(8));
    assert_eq!(fates(&report)["quay.io/org/good:1"], Fate::Pushed);
    assert_eq!(world.tag_there("quay.io/org/bad", "1"), None);
    assert!(world.registry.tags("mirror/quay.io/org/bad").is_empty());
}
