//! The same server with pushes off: everything is read as before, and nothing can be changed.

use airlift_spec::Digest;

use super::world::{World, digest_of};

#[tokio::test]
async fn everything_reads_the_same_with_pushes_off() {
    let mut world = World::writable().await;
    let manifest = world.push_image("org/app", "v1", "a").await;
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = digest_of(&manifest);
    let targets = [
        "/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
        "/v2/org/app/tags/list".to_owned(),
        "/v2/org/app/manifests/v1".to_owned(),
        format!("/v2/org/app/manifests/{manifest}"),
        format!("/v2/org/app/blobs/{digest}"),
        format!("/v2/org/app/referrers/{manifest}"),
        "/v2/org/app/manifests/absent".to_owned(),
        format!("/v2/org/app/blobs/{}", Digest::of(b"absent")),
    ];
    let mut before = Vec::new();
    for target in &targets {
        before.push((world.get(target).await, world.head(target).await));
    }
    world.restart_read_only().await;
    for (target, before) in targets.iter().zip(before) {
        let after = (world.get(target).await, world.head(target).await);
        assert_eq!(without_date(after.0), without_date(before.0), "{target}");
        assert_eq!(without_date(after.1), without_date(before.1), "{target}");
    }
    let blob = world.request("GET", &targets[5]).header("Range", "bytes=-3");
    assert_eq!(blob.send().await.expect(206).body, b"r a");
}

fn without_date(mut answer: airlift_testkit::raw::Answer) -> airlift_testkit::raw::Answer {
    answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
    answer
}

#[tokio::test]
async fn every_request_that_changes_something_is_405() {
    let mut world = World::writable().await;
    let manifest = world.push_image("org/app", "v1", "a").await;
    let blob = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let upload = world.start_upload("org/app").await;
    world.restart_read_only().await;
    let blob = format!("/v2/org/app/blobs/{blob}");
    for (method, target) in [
        ("POST", "/v2/org/app/blobs/uploads/"),
        ("POST", "/v2/new/blobs/uploads/?mount=sha256:x"),
        ("GET", upload.as_str()),
        ("PATCH", upload.as_str()),
        ("PUT", upload.as_str()),
        ("DELETE", upload.as_str()),
        ("PUT", "/v2/org/app/manifests/v1"),
        ("DELETE", "/v2/org/app/manifests/v1"),
        ("DELETE", blob.as_str()),
        ("POST", "/v2/"),
        ("BREW", "/v2/org/app/tags/list"),
    ] {
        let answer = world.request(method, target).body(b"{}").send().await;
        answer.expect_error(405, "UNSUPPORTED");
    }
    world.get("/v2/org/app/manifests/v1").await.expect(200);
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_405_with_pushes_on_too() {
    let world = World::writable().await;
    world.push_image("org/app", "v1", "a").await;
    for (method, target) in [
        ("POST", "/v2/org/app/manifests/v1"),
        ("PATCH", "/v2/org/app/manifests/v1"),
        ("PUT", "/v2/org/app/tags/list"),
        ("GET", "/v2/org/app/blobs/uploads/"),
        ("PUT", "/v2/_catalog"),
        ("BREW", "/v2/"),
    ] {
        let answer = world.request(method, target).send().await.expect_error(405, "UNSUPPORTED");
        assert!(answer.header("Allow").is_some(), "{method} {target}");
    }
}
