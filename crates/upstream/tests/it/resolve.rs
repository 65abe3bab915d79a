use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::lock::Stale;
use airlift_spec::oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use airlift_spec::{Class, Descriptor, Digest, Explain as _, Lock};
use airlift_testkit::registry::{FakeOptions, Fault, On, Referrers};
use airlift_testkit::samples::{self, Sample, SampleManifest};
use airlift_upstream::resolve::{ResolveOptions, Update, check_upstream};

use crate::world::{World, codes};

#[tokio::test]
async fn an_image_is_pinned_with_what_is_signed_about_it() {
    for referrers in [Referrers::Api, Referrers::TagOnly] {
        let world = World::with(FakeOptions { referrers, ..FakeOptions::default() });
        let sample = samples::signed(&samples::image(1, &[1000]));
        world.registry.put("ai/app", "1", &sample);

        let lock = world.lock(&world.stack(&[("ai/app", "1")], "")).await;
        let artifact = &lock.artifacts[0];
        assert_eq!(artifact.digest, Some(sample.root.digest));
        let types: BTreeSet<&str> =
            artifact.referrers.iter().filter_map(|said| said.artifact_type.as_deref()).collect();
        assert_eq!(types, BTreeSet::from([samples::SIGNATURE_TYPE, samples::SBOM_TYPE]));
        let subjects = artifact.referrers.iter().filter(|said| said.subject != sample.root.digest);
        assert_eq!(subjects.count(), 1, "the signature of the SBOM is followed too");
    }
}

#[tokio::test]
async fn cosign_tags_are_found_whether_or_not_the_registry_lists_tags() {
    for refuses in [false, true] {
        let world = World::new();
        let sample = samples::cosigned(&samples::image(2, &[1000]));
        world.registry.put("ai/app", "1", &sample);
        if refuses {
            world.registry.fail_always(On::path("/tags/list"), Fault::Status(404, vec![]));
        }
        let lock = world.lock(&world.stack(&[("ai/app", "1")], "")).await;
        let tags: BTreeSet<_> =
            lock.artifacts[0].referrers.iter().filter_map(|said| said.tag.clone()).collect();
        assert_eq!(tags, sample.tags.keys().cloned().collect(), "refuses: {refuses}");
    }
}

/// A registry with pages of two tags, and a repository with an image and `others` tags of another one.
fn crowded(image: &Sample, others: usize) -> World {
    let world = World::with(FakeOptions { page_size: Some(2), ..FakeOptions::default() });
    world.registry.put("ai/app", "1", image);
    let other = samples::image(9, &[10]);
    for at in 0..others {
        world.registry.put("ai/app", &format!("zz-{at:04}"), &other);
    }
    world
}

#[tokio::test]
async fn a_list_of_tags_is_read_only_as_long_as_that_is_cheaper_than_to_ask_for_each() {
    // Tags in all, pages that are read, tags that are asked for by their name, that of the image apart: three.
    let single = samples::image(2, &[1000]);
    for (others, pages, asked) in [(0, 1, 0), (5, 3, 0), (6, 3, 3), (400, 3, 3)] {
        let world = crowded(&single, others);
        world.lock(&world.stack(&[("ai/app", "1")], "")).await;
        let registry = &world.registry;
        let transcript = registry.transcript();
        assert_eq!(registry.count("GET", "/tags/list"), pages, "{others} others: {transcript}");
        assert_eq!(registry.count("GET", "/manifests/sha256-"), asked, "{others}: {transcript}");
    }
    // More manifests are worth more pages; those of another image of the repository count.
    let index = samples::index(3, &["linux/amd64", "linux/arm64"], 100);
    for (others, pages, asked) in [(17, 9, 0), (18, 9, 9)] {
        let world = crowded(&index, others);
        world.lock(&world.stack(&[("ai/app", "1")], "")).await;
        assert_eq!(world.registry.count("GET", "/tags/list"), pages, "{others} others");
        assert_eq!(world.registry.count("GET", "/manifests/sha256-"), asked, "{others} others");
    }
    let world = crowded(&single, 9);
    world.lock(&world.stack(&[("ai/app", "1"), ("ai/app", "zz-0001")], "")).await;
    assert_eq!(world.registry.count("GET", "/tags/list"), 5, "{}", world.registry.transcript());
}

#[tokio::test]
async fn cosign_tags_are_the_same_by_a_list_and_by_their_names() {
    let signed = samples::cosigned(&samples::image(2, &[1000]));
    let mut found = BTreeSet::new();
    for (others, breaks_off) in [(0, false), (400, false), (4, true)] {
        let world = crowded(&signed, others);
        if breaks_off {
            world.registry.fail_always(On::path("&last="), Fault::Status(403, vec![]));
        }
        let lock = world.lock(&world.stack(&[("ai/app", "1")], "")).await;
        assert_eq!(lock.artifacts[0].referrers.len(), signed.tags.len());
        found.insert(lock.to_text().replace(&world.registry.host(), "HOST"));
    }
    assert_eq!(found.len(), 1);
}

/// No tag is as long as that of a SHA-512 would be.
#[tokio::test]
async fn nobody_is_asked_for_a_tag_that_is_none() {
    let image = samples::image(3, &[70]);
    let bytes = &image.manifests[0].bytes;
    let digest = Digest::with(airlift_spec::Algorithm::Sha512, bytes);
    let mut image = image.clone();
    image.manifests[0].digest = digest;
    image.root.digest = digest;
    let world = crowded(&image, 400);
    let source = format!("sources: [{{image: \"{}/ai/app@{digest}\"}}]\n", world.registry.host());
    let lock = world.lock(&world.stack(&[], &source)).await;
    assert_eq!(lock.artifacts[0].digest, Some(digest));
    assert_eq!(world.registry.count("GET", "/tags/list"), 3);
    assert_eq!(world.registry.count("GET", "/manifests/sha512-"), 0);
}

#[tokio::test]
async fn a_platform_subset_keeps_the_index_and_says_what_it_left_out() {
    let world = World::new();
    let sample = samples::attested_index(3, &["linux/amd64", "linux/arm64", "linux/s390x"], 500);
    world.registry.put("ai/app", "1", &sample);

    let lock = world.lock(&world.stack(&[("ai/app", "1")], "platforms: [linux/amd64]\n")).await;
    let artifact = &lock.artifacts[0];
    assert_eq!(artifact.digest, Some(sample.root.digest));
    assert_eq!(artifact.children.len(), 2, "the child and the attestation that names it");
    assert_eq!(artifact.left_out.len(), 4);
    assert_eq!(codes(&lock), ["sparse-index"]);
}

#[tokio::test]
async fn nested_indexes_are_followed_to_the_end() {
    let world = World::new();
    world.registry.put("ai/app", "1", &samples::nested_index(4, 500));
    let whole = world.lock(&world.stack(&[("ai/app", "1")], "")).await;
    assert_eq!(whole.artifacts[0].children.len(), 4);
    let part = world.lock(&world.stack(&[("ai/app", "1")], "platforms: [linux/s390x]\n")).await;
    let kept = &part.artifacts[0].children;
    assert!(
        kept.iter().any(|child| child.platform.as_ref().is_some_and(|p| p.architecture == "s390x"))
    );
    assert_eq!(part.artifacts[0].left_out.len(), 2);
}

#[tokio::test]
async fn a_platform_that_an_image_does_not_offer_is_a_mistake_with_help() {
    let world = World::new();
    world.registry.put("ai/app", "1", &samples::index(5, &["linux/arm64"], 500));
    let stack = world.stack(&[("ai/app", "1")], "platforms: [linux/amd64]\n");
    let resolution = world.resolve(&stack).await;
    let error = &resolution.failures[0].error;
    assert_eq!(error.class(), Class::Input);
    assert!(error.to_string().contains("it offers linux/arm64"), "{error}");
    assert_eq!(codes(&resolution.lock), ["unpinned"]);
}

#[tokio::test]
async fn schema_1_is_refused_by_name() {
    let world = World::new();
    world.registry.put("old/app", "1", &samples::schema1());
    let resolution = world.resolve(&world.stack(&[("old/app", "1")], "")).await;
    let text = airlift_spec::error::chain(&resolution.failures[0].error);
    assert!(text.contains("schema 1"), "{text}");
    assert_eq!(resolution.failures[0].error.class(), Class::Input);
}

#[tokio::test]
async fn one_image_that_fails_does_not_sink_the_rest_and_the_next_run_tries_only_that() {
    let world = World::new();
    world.registry.put("ai/good", "1", &samples::image(6, &[100]));
    let stack = world.stack(&[("ai/good", "1"), ("ai/late", "1")], "");
    let first = world.resolve(&stack).await;
    assert_eq!(first.failures.len(), 1);
    assert!(first.failures[0].reference.ends_with("ai/late:1"));

    world.registry.put("ai/late", "1", &samples::image(7, &[100]));
    world.registry.forget_requests();
    let options = ResolveOptions::default();
    let second = world.resolve_from(&stack, Some(&first.lock), &options).await.unwrap();
    assert!(second.failures.is_empty());
    assert_eq!(world.registry.count("GET", "/ai/good/"), 0, "{}", world.registry.transcript());
    assert_eq!(second.lock.satisfies(&stack, &second.lock.inputs), Ok(()));
}

#[tokio::test]
async fn pins_stay_until_they_are_told_to_move() {
    let world = World::new();
    let (old, new) = (samples::image(8, &[100]), samples::image(9, &[100]));
    world.registry.put("ai/app", "1", &old);
    let stack = world.stack(&[("ai/app", "1")], "");
    let lock = world.lock(&stack).await;
    world.registry.put("ai/app", "1", &new);
    world.registry.forget_requests();

    let kept = world.resolve_from(&stack, Some(&lock), &ResolveOptions::default()).await.unwrap();
    assert_eq!(kept.lock, lock);
    assert!(world.registry.requests().is_empty(), "{}", world.registry.transcript());

    let (moved, failures) = check_upstream(
        &lock,
        &world.upstream,
        &ResolveOptions::default(),
        &airlift_spec::Ctx::default(),
    )
    .await
    .unwrap();
    assert!(failures.is_empty());
    assert_eq!(moved[0].code, "upstream-moved");

    let update = ResolveOptions { update: Update::Everything, ..ResolveOptions::default() };
    let moved = world.resolve_from(&stack, Some(&lock), &update).await.unwrap();
    assert_eq!(moved.lock.artifacts[0].digest, Some(new.root.digest));
}

#[tokio::test]
async fn a_pin_that_cannot_be_moved_stays_and_the_failure_is_told() {
    let world = World::new();
    world.registry.put("ai/app", "1", &samples::image(8, &[100]));
    world.registry.put("ai/other", "1", &samples::image(9, &[100]));
    let stack = world.stack(&[("ai/app", "1"), ("ai/other", "1")], "");
    let lock = world.lock(&stack).await;
    let moved = samples::image(10, &[100]);
    world.registry.put("ai/other", "1", &moved);
    world.registry.fail_always(On::path("/ai/app/manifests"), Fault::Status(404, vec![]));

    let update = ResolveOptions { update: Update::Everything, ..ResolveOptions::default() };
    let again = world.resolve_from(&stack, Some(&lock), &update).await.unwrap();
    assert_eq!(again.failures.len(), 1);
    assert_eq!(again.lock.artifacts[0], lock.artifacts[0]);
    assert_eq!(again.lock.artifacts[1].digest, Some(moved.root.digest));
    assert_eq!(again.lock.findings, lock.findings);
}

#[tokio::test]
async fn other_platforms_of_a_pinned_index_keep_its_pin() {
    let world = World::new();
    let platforms = ["linux/amd64", "linux/arm64"];
    let old = samples::index(10, &platforms, 100);
    world.registry.put("ai/app", "1", &old);
    let lock = world.lock(&world.stack(&[("ai/app", "1")], "platforms: [linux/amd64]\n")).await;
    world.registry.put("ai/app", "1", &samples::index(11, &platforms, 100));

    let wider = world.stack(&[("ai/app", "1")], "platforms: all\n");
    let again = world.resolve_from(&wider, Some(&lock), &ResolveOptions::default()).await.unwrap();
    assert_eq!(again.lock.artifacts[0].digest, Some(old.root.digest));
    assert_eq!(again.lock.artifacts[0].children.len(), 2);
    assert!(again.lock.artifacts[0].left_out.is_empty());
}

#[tokio::test]
async fn a_pin_whose_new_platforms_cannot_be_looked_up_stays_with_those_it_had() {
    let world = World::new();
    let platforms = ["linux/amd64", "linux/arm64"];
    world.registry.put("ai/app", "1", &samples::index(10, &platforms, 100));
    let narrow = world.stack(&[("ai/app", "1")], "platforms: [linux/amd64]\n");
    let wide = world.stack(&[("ai/app", "1")], "platforms: all\n");
    let lock = world.lock(&narrow).await;
    world.registry.fail_always(On::manifests(), Fault::Status(404, vec![]));

    let update = ResolveOptions { update: Update::Everything, ..ResolveOptions::default() };
    let offline = ResolveOptions { offline: true, ..ResolveOptions::default() };
    let mut before = lock.clone();
    for (options, failures) in [(ResolveOptions::default(), 1), (update, 1), (offline, 0)] {
        let again = world.resolve_from(&wide, Some(&before), &options).await.unwrap();
        assert_eq!(again.failures.len(), failures);
        assert_eq!(again.lock.artifacts, lock.artifacts, "no platform that was not resolved");
        assert_eq!(codes(&again.lock), ["platforms-stale", "sparse-index"]);
        let stale = again.lock.satisfies(&wide, &again.lock.inputs).unwrap_err();
        assert!(matches!(stale, Stale::Platforms { .. }), "{stale}");
        before = again.lock;
    }
    let undone = world.resolve_from(&narrow, Some(&before), &ResolveOptions::default()).await;
    assert_eq!(undone.unwrap().lock, lock, "it is what was asked for again");

    world.registry.heal();
    let options = ResolveOptions::default();
    let after = world.resolve_from(&wide, Some(&before), &options).await.unwrap();
    assert_eq!(after.lock.artifacts[0].digest, lock.artifacts[0].digest);
    assert_eq!(after.lock.artifacts[0].children.len(), 2);
    assert!(after.lock.findings.is_empty(), "{:?}", after.lock.findings);
}

#[tokio::test]
async fn what_a_source_found_keeps_its_pin_while_its_new_platforms_cannot_be_looked_up() {
    let world = World::new();
    let platforms = ["linux/amd64", "linux/arm64"];
    world.registry.put("ai/app", "1", &samples::index(10, &platforms, 100));
    let pod = format!(
        "kind: Pod\napiVersion: v1\nmetadata: {{name: a}}\nspec: {{containers: [{{image: \"{}/ai/app:1\"}}]}}\n",
        world.registry.host()
    );
    fs_err::write(world.folder().join("pod.yaml"), pod).unwrap();
    let sources = "sources: [{manifests: ./pod.yaml}]\n";
    let stack = |platforms: &str| world.stack(&[], &format!("platforms: {platforms}\n{sources}"));
    let lock = world.lock(&stack("[linux/amd64]")).await;
    world.registry.fail_always(On::manifests(), Fault::Status(404, vec![]));

    let wide = stack("all");
    let options = ResolveOptions::default();
    let again = world.resolve_from(&wide, Some(&lock), &options).await.unwrap();
    assert_eq!(again.lock.artifacts, lock.artifacts);
    assert!(again.lock.satisfies(&wide, &again.lock.inputs).is_err(), "it is not what is wanted");
}

#[tokio::test]
async fn offline_asks_nobody_and_leaves_open_what_it_cannot_pin() {
    let world = World::new();
    world.registry.put("ai/app", "1", &samples::image(12, &[100]));
    let known = world.stack(&[("ai/app", "1")], "");
    let lock = world.lock(&known).await;
    world.registry.forget_requests();

    let both = world.stack(&[("ai/app", "1"), ("ai/new", "1")], "");
    let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
    let resolution = world.resolve_from(&both, Some(&lock), &options).await.unwrap();
    assert!(world.registry.requests().is_empty());
    let pins: Vec<bool> =
        resolution.lock.artifacts.iter().map(|artifact| artifact.digest.is_some()).collect();
    assert_eq!(pins, [true, false]);
    assert_eq!(codes(&resolution.lock), ["unpinned"]);
}

#[tokio::test]
async fn a_registry_that_lies_about_a_digest_pins_nothing() {
    let world = World::new();
    world.registry.put("ai/app", "1", &samples::image(13, &[100]));
    world.registry.fail_always(On::manifests(), Fault::LieAboutDigest);
    let resolution = world.resolve(&world.stack(&[("ai/app", "1")], "")).await;
    assert_eq!(resolution.failures[0].error.class(), Class::Integrity);
}

#[tokio::test]
async fn an_index_that_names_a_manifest_the_registry_lacks_is_said_so() {
    let world = World::new();
    let sample = samples::sparse_index(14, &["linux/amd64", "linux/arm64"], "linux/amd64", 100);
    world.registry.put("ai/app", "1", &sample);
    let resolution = world.resolve(&world.stack(&[("ai/app", "1")], "")).await;
    assert_eq!(resolution.failures[0].error.class(), Class::Integrity);
    let kept = world.lock(&world.stack(&[("ai/app", "1")], "platforms: [linux/amd64]\n")).await;
    assert_eq!(kept.artifacts[0].left_out.len(), 1);
}

/// A tagged index that is nothing but `entries`.
fn index_of(entries: &[serde_json::Value]) -> Sample {
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    let bytes = index.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    let root = Descriptor::new(OCI_INDEX, digest, bytes.len() as u64);
    let manifest = SampleManifest { media_type: OCI_INDEX.to_owned(), bytes: bytes.into(), digest };
    Sample { blobs: BTreeMap::new(), manifests: vec![manifest], root, tags: BTreeMap::new() }
}

fn entry(at: u32, platform: &str) -> serde_json::Value {
    let (os, architecture) = platform.split_once('|').unwrap();
    serde_json::json!({
        "mediaType": OCI_MANIFEST,
        "digest": Digest::of(&at.to_le_bytes()),
        "size": u64::MAX,
        "platform": {"os": os, "architecture": architecture},
    })
}

#[tokio::test]
async fn an_index_of_thousands_is_refused_before_any_of_them_is_asked_for() {
    let world = World::new();
    let entries: Vec<_> = (0..5000).map(|at| entry(at, "linux|amd64")).collect();
    world.registry.put("ai/app", "1", &index_of(&entries));
    let resolution = world.resolve(&world.stack(&[("ai/app", "1")], "")).await;
    let error = &resolution.failures[0].error;
    assert!(error.to_string().contains("more than 4096 manifests"), "{error}");
    assert_eq!(world.registry.count("GET", "/manifests/sha256"), 0);
}

#[tokio::test]
async fn a_lock_of_a_hostile_index_reads_back() {
    let world = World::new();
    let own = samples::image(21, &[100]);
    let mut good = serde_json::to_value(&own.root).unwrap();
    good["platform"] = serde_json::json!({"os": "linux", "architecture": "amd64"});
    let mut entries = vec![entry(1, "linux|arm64"), good.clone()];
    // What has no platform that there could be is carried, like what has none.
    for (os, architecture) in [("li nux", "amd64"), ("linux/arm64", "v8"), ("\u{1b}[2J", "x")] {
        let mut odd = good.clone();
        odd["platform"] = serde_json::json!({"os": os, "architecture": architecture});
        entries.push(odd);
    }
    let mut sample = index_of(&entries);
    sample.blobs = own.blobs.clone();
    sample.manifests.splice(0..0, own.manifests.clone());
    world.registry.put("ai/app", "1", &sample);
    let lock = world.lock(&world.stack(&[("ai/app", "1")], "platforms: [linux/amd64]\n")).await;
    assert_eq!(lock.artifacts[0].left_out.len(), 1);
    assert_eq!(Lock::parse(lock.to_text().as_bytes()).unwrap().to_text(), lock.to_text());
}

#[tokio::test]
async fn the_lock_does_not_depend_on_the_order_of_answers() {
    let mut texts = BTreeSet::new();
    for _ in 0..3 {
        let mut world = World::new();
        for seed in 0..20 {
            world.registry.put(
                &format!("ai/app{seed}"),
                "1",
                &samples::signed(&samples::image(seed, &[50])),
            );
        }
        let names: Vec<String> = (0..20).map(|seed| format!("ai/app{seed}")).collect();
        let images: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let lock = world.lock(&world.stack(&images, "")).await;
        world.start_over();
        texts.insert(lock.to_text().replace(&world.registry.host(), "HOST"));
    }
    assert_eq!(texts.len(), 1);
}

#[tokio::test]
async fn requests_are_those_that_the_protocol_needs() {
    let world = World::new();
    let sample = samples::index(15, &["linux/amd64", "linux/arm64"], 100);
    world.registry.put("ai/app", "1", &sample);
    world.lock(&world.stack(&[("ai/app", "1")], "")).await;
    let registry = &world.registry;
    assert_eq!(registry.count("GET", "/manifests/"), 3, "{}", registry.transcript());
    assert_eq!(registry.count("GET", "/referrers/"), 3, "{}", registry.transcript());
    assert_eq!(registry.count("GET", "/tags/list"), 1, "{}", registry.transcript());
    assert!(registry.requests().len() <= 8, "{}", registry.transcript());
}

#[tokio::test]
async fn the_manifests_that_were_read_are_in_the_store() {
    let world = World::new();
    let sample = samples::index(16, &["linux/amd64"], 100);
    world.registry.put("ai/app", "1", &sample);
    world.lock(&world.stack(&[("ai/app", "1")], "")).await;
    for manifest in &sample.manifests {
        assert!(world.upstream.store.contains(&manifest.digest));
    }
    let blobs: Vec<Digest> = sample.blobs.keys().copied().collect();
    assert!(blobs.iter().all(|blob| !world.upstream.store.contains(blob)));
}
