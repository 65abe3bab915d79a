//! Media that are not all there.

use airlift_bundle::Delivered;
use airlift_testkit::samples;

use crate::world::{LARGE, SMALL, World, largest, open, place_of, serve, volumes};

#[tokio::test]
async fn an_artifact_whose_volume_is_absent_names_it_and_the_others_are_served() {
    let signed = samples::signed(&samples::image(1, &[90_000]));
    let (gone, here) = (samples::image(2, &[200_000]), samples::image(3, &[100_000]));
    let world = World::new()
        .with("quay.io/org/app:signed", &signed)
        .with("quay.io/org/gone:v1", &gone)
        .with("quay.io/org/here:v1", &here);
    let folder = world.cut("out", SMALL);
    let (layer, _) = largest(&gone);
    let (first, _) = place_of(&folder, &layer);
    fs_err::remove_file(&first).unwrap();
    let served = serve(vec![volumes(&folder)]).await;
    served.has_all("quay.io/org/here", &here).await;
    let blob = format!("/v2/quay.io/org/gone/blobs/{layer}");
    let answer = served.get(&blob).await.expect_error(404, "BLOB_UNKNOWN");
    let message = answer.json()["errors"][0]["message"].to_string();
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(message.contains(name), "{message}");
    // Tags and lists come from the lock, which is on every medium.
    served.get("/v2/quay.io/org/gone/tags/list").await.expect(200);
    assert_eq!(served.notes(), [""; 0], "that a volume is absent was known before");
}

#[tokio::test]
async fn a_referrer_on_an_absent_volume_is_listed_and_names_it_when_asked_for() {
    let sample = samples::signed(&samples::image(1, &[90_000]));
    let world = World::new().with("quay.io/org/app:v1", &sample);
    let folder = world.cut("out", SMALL);
    let signature = sample.referrers()[0].0.digest;
    let (volume, _) = place_of(&folder, &signature);
    fs_err::remove_file(&volume).unwrap();
    let served = serve(vec![volumes(&folder)]).await;
    let target = format!("/v2/quay.io/org/app/referrers/{}", sample.root.digest);
    let listed = served.get(&target).await.expect(200).json();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 2);
    let target = format!("/v2/quay.io/org/app/manifests/{signature}");
    let refusal = served.get(&target).await.expect_error(404, "MANIFEST_UNKNOWN");
    let message = refusal.json()["errors"][0]["message"].to_string();
    assert!(message.contains(volume.file_name().unwrap().to_str().unwrap()), "{message}");
}

#[tokio::test]
async fn nothing_of_a_volume_is_read_before_somebody_asks_for_it() {
    let image = samples::image(1, &[500_000]);
    let world = World::new().with("quay.io/org/app:v1", &image);
    let folder = world.cut("out", SMALL);
    let content = volumes(&folder);
    // They were there when the bundle was opened; whoever opens one from now on fails.
    for volume in &open(&folder).volumes()[1..] {
        fs_err::remove_file(folder.join(volume.name())).unwrap();
    }
    let served = serve(vec![content]).await;
    for target in ["/v2/", "/v2/_catalog", "/v2/quay.io/org/app/tags/list", "/healthz"] {
        served.get(target).await.expect(200);
    }
    let layer = format!("/v2/quay.io/org/app/blobs/{}", largest(&image).0);
    served.head(&layer).await.expect(200);
    assert_eq!(served.notes(), [""; 0]);
    served.get(&layer).await.expect_error(500, "UNKNOWN");
}

#[tokio::test]
async fn what_a_delta_left_out_is_absent_with_a_word_about_who_has_it() {
    let images = samples::sharing_layers(1, 2, 90_000, 100);
    let mut world = World::new().with("quay.io/org/one:1", &images[0]);
    let first = world.cut("first", LARGE);
    let root = first.join("demo.bundle.json");
    let since = Delivered::by_root_file(&root, &world.store).unwrap();
    world.pin("quay.io/org/two:1", &images[1]);
    let delta = world.cut_since("delta", since);

    let served = serve(vec![volumes(&delta)]).await;
    let shared = format!("/v2/quay.io/org/two/blobs/{}", largest(&images[0]).0);
    let answer = served.get(&shared).await.expect_error(404, "BLOB_UNKNOWN");
    let message = answer.json()["errors"][0]["message"].to_string();
    assert!(message.contains("left out") && message.contains("quay.io/org/one"), "{message}");
    let root = &images[1].root.digest;
    served.get(&format!("/v2/quay.io/org/two/manifests/{root}")).await.expect(200);
    served.stop().await;

    let served = serve(vec![volumes(&delta), volumes(&first)]).await;
    served.has_all("quay.io/org/one", &images[0]).await;
    served.has_all("quay.io/org/two", &images[1]).await;
}

/// The names of all that a bundle has are in its lock, on the first volume.
#[tokio::test]
async fn without_the_list_of_a_bundle_whoever_asks_for_a_name_is_told_so() {
    let (image, other) = (samples::image(1, &[500_000]), samples::image(2, &[100]));
    let world = World::new().with("quay.io/org/app:v1", &image);
    let folder = world.cut("out", SMALL);
    let first = open(&folder).volumes()[0].name().to_owned();
    fs_err::remove_file(folder.join(&first)).unwrap();
    let served = serve(vec![volumes(&folder)]).await;
    let blob = format!("blobs/{}", largest(&image).0);
    for (what, code) in [
        ("manifests/v1", "MANIFEST_UNKNOWN"),
        (&*blob, "BLOB_UNKNOWN"),
        ("tags/list", "NAME_UNKNOWN"),
    ] {
        let target = format!("/v2/quay.io/org/app/{what}");
        let refusal = served.get(&target).await.expect_error(404, code);
        let message = refusal.json()["errors"][0]["message"].to_string();
        assert!(message.contains("list") && message.contains(&first), "{what}: {message}");
    }
    served.stop().await;

    // What another source lists is there all the same.
    let beside = World::new().with("quay.io/org/other:v1", &other);
    let served = serve(vec![volumes(&folder), beside.kept("beside")]).await;
    served.has_all("quay.io/org/other", &other).await;
}
