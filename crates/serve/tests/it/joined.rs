//! Several sources as one, and stores that clients pushed into.

use std::sync::Arc;

use airlift_bundle::Content;
use airlift_registry::server::{Server, ServerOptions, StoreBackend};
use airlift_spec::Digest;
use airlift_testkit::raw::Request;
use airlift_testkit::{FakeRegistry, Fault, On, samples};
use tokio_util::sync::CancellationToken;

use crate::world::{
    LARGE, SMALL, World, flip, largest, loaded, open, open_all, place_of, serve, volumes,
};

#[tokio::test]
async fn the_halves_of_a_bundle_on_two_disks_are_one_whole() {
    let image = samples::image(1, &[300_000, 200_000]);
    let world = World::new().with("quay.io/org/app:v1", &image);
    let (odd, even) = (world.cut("odd", SMALL), world.cut("even", SMALL));
    for volume in &open(&odd).volumes()[1..] {
        let other = if volume.ordinal() % 2 == 0 { &odd } else { &even };
        fs_err::remove_file(other.join(volume.name())).unwrap();
    }
    let alone = serve(vec![volumes(&odd)]).await;
    let layer = format!("/v2/quay.io/org/app/blobs/{}", largest(&image).0);
    alone.get(&layer).await.expect_error(404, "BLOB_UNKNOWN");
    // As the command line opens them: folders of one bundle are one source.
    let served = serve(vec![Content::Volumes(Arc::new(open_all(&[odd, even])))]).await;
    served.has_all("quay.io/org/app", &image).await;
}

#[tokio::test]
async fn two_bundles_and_a_store_are_joined_by_digest() {
    let images = samples::sharing_layers(1, 3, 50_000, 1000);
    let one = World::new().with("quay.io/org/one:v1", &images[0]);
    let two = World::new().with("quay.io/org/two:v1", &images[1]);
    let three = World::new().with("quay.io/org/three:v1", &images[2]);
    // Another stack each, else one lock would supersede the other.
    let contents = vec![one.kept("a"), two.kept("b"), volumes(&three.cut("out", LARGE))];
    let served = serve(contents).await;
    for (name, image) in ["one", "two", "three"].iter().zip(&images) {
        served.has_all(&format!("quay.io/org/{name}"), image).await;
    }
    let repositories = served.get("/v2/_catalog").await.json();
    assert_eq!(repositories["repositories"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_registry_that_was_loaded_is_served_and_stands_in_for_damaged_volumes() {
    let image = samples::signed(&samples::image(1, &[300_000]));
    let world = World::new().with("quay.io/org/app:v1", &image);
    let registry = FakeRegistry::start();
    registry.put("mirror/quay.io/org/app", "v1", &image);
    let loaded = loaded(registry.host(), "mirror", world.lock("demo"));
    let served = serve(vec![loaded.clone()]).await;
    served.has_all("quay.io/org/app", &image).await;

    let folder = world.cut("out", LARGE);
    let (file, offset) = place_of(&folder, &largest(&image).0);
    flip(&file, offset);
    let served = serve(vec![volumes(&folder), loaded]).await;
    for _ in 0..2 {
        served.has_all("quay.io/org/app", &image).await;
    }
    assert_eq!(served.notes(), ["demo.00001.tar: chunk 0 is damaged"]);
}

#[tokio::test]
async fn a_registry_that_does_not_answer_keeps_nobody_from_what_the_volumes_have() {
    let image = samples::image(1, &[5000]);
    let world = World::new().with("quay.io/org/app:v1", &image);
    let registry = FakeRegistry::start();
    registry.fail_always(On::any(), Fault::Status(403, Vec::new()));
    let contents = vec![
        loaded(registry.host(), "mirror", world.lock("demo")),
        volumes(&world.cut("out", LARGE)),
    ];
    let served = serve(contents).await;
    served.has_all("quay.io/org/app", &image).await;
    let absent = format!("/v2/quay.io/org/app/blobs/{}", Digest::of(b"absent"));
    // It may have that one: nobody can say that it is not there.
    served.get(&absent).await.expect(500);
}

#[tokio::test]
async fn a_store_serves_what_its_lock_names_and_what_was_pushed_side_by_side() {
    let image = samples::image(1, &[5000]);
    let world = World::new().with("quay.io/org/app:v1", &image);
    let kept = world.kept("demo");
    push(&world, "quay.io/org/app", "mine").await;
    push(&world, "team/tool", "v1").await;
    let served = serve(vec![kept]).await;
    served.has_all("quay.io/org/app", &image).await;
    for target in ["/v2/quay.io/org/app/manifests/mine", "/v2/team/tool/manifests/v1"] {
        served.get(target).await.expect(200);
    }
    let tags = served.get("/v2/quay.io/org/app/tags/list").await.expect(200).json();
    assert_eq!(tags["tags"], serde_json::json!(["mine", "v1"]));
    let repositories = served.get("/v2/_catalog").await.expect(200).json();
    assert_eq!(repositories["repositories"], serde_json::json!(["quay.io/org/app", "team/tool"]));
    served.request("PUT", "/v2/team/tool/manifests/v2").body(b"{}").send().await.expect(405);
}

/// Pushes a small artifact into the world's store.
async fn push(world: &World, repository: &str, tag: &str) {
    let backend = Arc::new(StoreBackend::new(world.store.clone()));
    let options = ServerOptions { writable: Some(backend.clone()), ..ServerOptions::default() };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), options, backend).await.unwrap();
    let (address, shutdown) = (server.local_addr(), CancellationToken::new());
    let pushing = async {
        let config = format!("{{\"of\": \"{repository}:{tag}\"}}");
        let digest = Digest::of(config.as_bytes());
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        Request::new(address, "POST", &target).body(config.as_bytes()).send().await.expect(201);
        let media_type = airlift_spec::oci::media_type::OCI_MANIFEST;
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "layers": [],
            "config": {"mediaType": "application/x-test", "digest": digest, "size": config.len()},
        });
        let put = Request::new(address, "PUT", &format!("/v2/{repository}/manifests/{tag}"));
        let put = put.header("Content-Type", media_type).body(manifest.to_string().as_bytes());
        put.send().await.expect(201);
        shutdown.cancel();
    };
    tokio::join!(server.run(shutdown.clone()), pushing);
}
