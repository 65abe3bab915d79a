use std::collections::BTreeSet;

use airlift_bundle::load;
use airlift_spec::Digest;
use airlift_spec::oci::{Manifest, referrers_tag};
use airlift_testkit::registry::Referrers;
use airlift_testkit::{FakeOptions, Sample, samples};

use super::world::World;

const APP: &str = "quay.io/org/app:1";
const THERE: &str = "mirror/quay.io/org/app";

fn without_api() -> World {
    World::with(FakeOptions { referrers: Referrers::TagOnly, ..FakeOptions::default() })
}

fn listed(world: &World, subject: &Digest) -> BTreeSet<Digest> {
    let index = world.registry.manifest(THERE, &referrers_tag(subject));
    let index = Manifest::parse(&index.unwrap_or_else(|| panic!("no index")), None).unwrap();
    index.manifests.iter().map(|entry| entry.digest).collect()
}

fn about(sample: &Sample, wanted: &Digest) -> BTreeSet<Digest> {
    let referrers = sample.referrers().into_iter().filter(|(_, subject)| subject == wanted);
    referrers.map(|(manifest, _)| manifest.digest).collect()
}

#[tokio::test]
async fn without_the_referrers_api_each_subject_gets_an_index() {
    let mut world = without_api();
    let sample = samples::signed(&samples::image(1, &[1000]));
    world.pin("demo", APP, &sample);
    world.load_all().await;
    let subjects: BTreeSet<Digest> =
        sample.referrers().into_iter().map(|(_, subject)| subject).collect();
    assert_eq!(subjects.len(), 2);
    for subject in subjects {
        assert_eq!(listed(&world, &subject), about(&sample, &subject));
    }
    let index = world.registry.manifest(THERE, &referrers_tag(&sample.root.digest)).unwrap();
    let entries = Manifest::parse(&index, None).unwrap().manifests;
    assert!(entries.iter().all(|entry| entry.artifact_type.is_some()), "{entries:#?}");
    assert!(entries.iter().all(|entry| !entry.annotations.is_empty()), "{entries:#?}");
}

#[tokio::test]
async fn with_the_referrers_api_there_is_no_fallback_tag() {
    let mut world = World::new();
    let sample = samples::signed(&samples::image(1, &[1000]));
    world.pin("demo", APP, &sample);
    world.load_all().await;
    let tags = world.registry.tags(THERE);
    assert_eq!(tags.keys().map(String::as_str).collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn what_others_listed_in_the_fallback_index_stays() {
    let mut world = without_api();
    let image = samples::image(1, &[1000]);
    let sample = samples::signed(&image);
    world.pin("demo", APP, &sample);
    // Somebody's index stands there already, with an entry that is none of ours.
    let theirs = samples::index(9, &["linux/s390x"], 100);
    world.registry.put(THERE, &referrers_tag(&image.root.digest), &theirs);
    let before = listed(&world, &image.root.digest);

    world.load_all().await;
    let after = listed(&world, &image.root.digest);
    assert!(after.is_superset(&before));
    assert!(after.is_superset(&about(&sample, &image.root.digest)));

    world.registry.forget_requests();
    world.load_all().await;
    assert_eq!(world.registry.count("PUT", "/manifests/"), 0, "{}", world.registry.transcript());
}

/// Registries have no compare-and-swap: whoever writes last must have read what the other wrote.
#[tokio::test]
async fn two_loads_at_once_lose_no_entry_of_each_other() {
    for round in 0..5 {
        let (mut one, mut two) = (without_api(), without_api());
        two.host.clone_from(&one.host);
        let whole = samples::signed(&samples::image(round, &[1000]));
        let subject = whole.root.digest;
        let (mut left, mut right) = (whole.clone(), whole.clone());
        let [first, second] = about(&whole, &subject).into_iter().collect::<Vec<_>>()[..] else {
            panic!("two referrers, and one of a referrer")
        };
        // The referrer of a referrer would be on one side only: it goes with its subject.
        let keeps = |digest: &Digest, kept: &Digest| *digest == subject || digest == kept;
        left.manifests.retain(|manifest| keeps(&manifest.digest, &first));
        right.manifests.retain(|manifest| keeps(&manifest.digest, &second));
        one.pin("one", APP, &left);
        two.pin("two", APP, &right);
        let (a, b) = tokio::join!(one.load(), two.load());
        assert_eq!((a.class(), b.class()), (None, None), "{a:#?} {b:#?}");
        assert_eq!(listed(&one, &subject), BTreeSet::from([first, second]), "{round}");
    }
}

/// Somebody who read the index before we wrote it writes it after us.
#[tokio::test]
async fn an_entry_that_others_overwrite_during_the_load_is_restored_before_it_ends() {
    let mut world = without_api();
    let sample = samples::signed(&samples::image(1, &[1000]));
    let subject = sample.root.digest;
    world.pin("demo", APP, &sample);
    let theirs = samples::index(9, &["linux/s390x"], 100);
    let tag = referrers_tag(&subject);
    let (sources, target, plan) =
        (world.sources().await, world.target(), world.plan().await.unwrap());
    let mut load = Box::pin(load::run(&plan, &sources, &target, &world.options, &world.ctx));
    let mut has_overwritten = false;
    let report = std::future::poll_fn(|cx| {
        let done = load.as_mut().poll(cx);
        // The tag of the image is set after its referrers were listed: by then ours are in the index.
        if !has_overwritten && world.tag_there("quay.io/org/app", "1").is_some() {
            world.registry.put(THERE, &tag, &theirs);
            has_overwritten = true;
        }
        done
    });
    let report = report.await.unwrap();
    assert_eq!(report.class(), None, "{report:#?}");
    let ours = about(&sample, &subject);
    assert!(has_overwritten && listed(&world, &subject).is_superset(&ours));
    assert!(listed(&world, &subject).len() > ours.len(), "theirs stays too");
}

#[tokio::test]
async fn an_entry_that_was_lost_is_written_again_by_the_next_load() {
    let mut world = without_api();
    let sample = samples::signed(&samples::image(1, &[1000]));
    world.pin("demo", APP, &sample);
    world.load_all().await;
    let other = samples::index(9, &["linux/s390x"], 100);
    world.registry.put(THERE, &referrers_tag(&sample.root.digest), &other);
    world.load_all().await;
    let subject = sample.root.digest;
    assert!(listed(&world, &subject).is_superset(&about(&sample, &subject)));
}
