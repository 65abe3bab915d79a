use airlift_bundle::load::{Fate, TagPolicy};
use airlift_spec::oci::cosign_tags;
use airlift_spec::placement::keep_alive_tag;
use airlift_spec::{Class, Layout};
use airlift_testkit::samples;

use super::world::{World, codes, fates};

const APP: &str = "quay.io/org/app:1";
const HOME: &str = "quay.io/org/app";

#[tokio::test]
async fn a_tag_that_this_stack_set_moves_and_what_it_leaves_is_kept() {
    let mut world = World::new();
    let (old, new) = (samples::image(1, &[1000]), samples::image(2, &[1000]));
    world.pin("demo", APP, &old);
    world.load_all().await;
    world.pin("demo", APP, &new);
    world.load_all().await;
    assert_eq!(world.tag_there(HOME, "1"), Some(new.root.digest));
    assert_eq!(world.tag_there(HOME, &keep_alive_tag(&old.root.digest)), Some(old.root.digest));
    let tags = &world.receipt("demo").await.unwrap().tags[HOME]["1"];
    assert!(tags.contains(&old.root.digest) && tags.contains(&new.root.digest));
}

#[tokio::test]
async fn a_tag_that_somebody_else_moved_stays_and_is_a_conflict() {
    let mut world = World::new();
    let (old, new, theirs) =
        (samples::image(1, &[1000]), samples::image(2, &[1000]), samples::image(3, &[1000]));
    world.pin("demo", APP, &old);
    world.load_all().await;
    world.registry.put(&format!("mirror/{HOME}"), "1", &theirs);
    world.pin("demo", APP, &new);

    let report = world.load().await;
    assert_eq!(codes(&report), ["tag-conflict"]);
    assert_eq!(report.class(), Some(Class::Findings));
    assert_eq!(world.tag_there(HOME, "1"), Some(theirs.root.digest));
    // The image is there all the same, by a tag of its own.
    assert_eq!(world.tag_there(HOME, &keep_alive_tag(&new.root.digest)), Some(new.root.digest));

    let again = world.load().await;
    assert_eq!((codes(&again), again.totals.bytes_sent), (vec!["tag-conflict"], 0));

    world.options.tags = TagPolicy::MoveAny;
    world.load_all().await;
    assert_eq!(world.tag_there(HOME, "1"), Some(new.root.digest));
    assert_eq!(
        world.tag_there(HOME, &keep_alive_tag(&theirs.root.digest)),
        Some(theirs.root.digest)
    );
}

#[tokio::test]
async fn a_tag_that_another_stack_names_stays() {
    let mut world = World::new();
    let (old, new) = (samples::image(1, &[1000]), samples::image(2, &[1000]));
    for stack in ["demo", "other"] {
        world.pin(stack, APP, &old);
    }
    world.load_all().await;
    world.unpin("other");
    world.pin("demo", APP, &new);
    let report = world.load().await;
    assert_eq!(codes(&report), ["tag-conflict"]);
    assert!(report.findings[0].message.contains("`other`"), "{:?}", report.findings);
    assert_eq!(world.tag_there(HOME, "1"), Some(old.root.digest));
}

#[tokio::test]
async fn two_stacks_that_pin_one_tag_differently_both_arrive_without_it() {
    let mut world = World::new();
    let (one, two) = (samples::image(1, &[1000]), samples::image(2, &[1000]));
    world.pin("one", APP, &one);
    world.pin("two", APP, &two);
    let report = world.load().await;
    assert!(codes(&report).iter().all(|code| *code == "tag-conflict"), "{report:#?}");
    assert_eq!(world.tag_there(HOME, "1"), None);
    for image in [one, two] {
        let digest = image.root.digest;
        assert_eq!(world.tag_there(HOME, &keep_alive_tag(&digest)), Some(digest));
    }
}

#[tokio::test]
async fn a_tag_that_somebody_sets_during_the_load_is_not_overwritten() {
    let mut world = World::new();
    let (ours, theirs) = (samples::image(1, &[1000]), samples::image(2, &[1000]));
    world.pin("demo", APP, &ours);
    let plan = world.plan().await.unwrap();
    world.registry.put(&format!("mirror/{HOME}"), "1", &theirs);
    let report = world.run(&plan).await;
    assert_eq!(codes(&report), ["tag-conflict"]);
    assert_eq!(fates(&report)[APP], Fate::Pushed);
    assert_eq!(world.tag_there(HOME, "1"), Some(theirs.root.digest));
    assert_eq!(world.tag_there(HOME, &keep_alive_tag(&ours.root.digest)), Some(ours.root.digest));
}

#[tokio::test]
async fn another_layout_than_the_recorded_one_is_refused() {
    let mut world = World::new();
    world.pin("demo", APP, &samples::image(1, &[1000]));
    world.load_all().await;
    world.layout = Layout::OcMirror;
    let err = world.plan().await.unwrap_err();
    let class = airlift_spec::Explain::class(&err);
    assert_eq!(class, Class::Input, "{err}");
    assert!(airlift_spec::Explain::help(&err).unwrap().contains("--layout host"));
}

#[tokio::test]
async fn two_names_that_would_be_one_there_are_an_input_error() {
    let mut world = World::new();
    world.layout = Layout::OcMirror;
    world.pin("demo", "quay.io/org/app:1", &samples::image(1, &[1000]));
    world.pin("demo", "ghcr.io/org/app:1", &samples::image(2, &[1000]));
    let err = world.plan().await.unwrap_err();
    assert_eq!(airlift_spec::Explain::class(&err), Class::Input, "{err}");
}

#[tokio::test]
async fn a_cosign_tag_moves_only_where_no_signature_is_lost() {
    let mut world = World::new();
    let image = samples::image(1, &[1000]);
    let signed = samples::cosigned(&image);
    let [sig, ..] = cosign_tags(&image.root.digest);
    world.pin("demo", APP, &signed);
    // Somebody signed it there with a key of his own.
    let theirs = samples::image(7, &[300]);
    world.registry.put(&format!("mirror/{HOME}"), &sig, &theirs);

    let report = world.load().await;
    assert_eq!(codes(&report), ["signature-differs"]);
    assert_eq!(report.class(), None, "a warning only: {report:#?}");
    assert_eq!(world.tag_there(HOME, &sig), Some(theirs.root.digest));
    assert_eq!(world.tag_there(HOME, "1"), Some(image.root.digest));
}
