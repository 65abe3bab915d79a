//! Manifests of every shape, by tag and by digest.

use airlift_spec::oci::media_type::{
    DOCKER_MANIFEST, DOCKER_SCHEMA1, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST,
};
use airlift_spec::{Algorithm, Digest};
use serde_json::{Value, json};

use super::world::{World, bytes, descriptor, digest_of, image};
use airlift_testkit::raw::Answer;

/// Pushes the manifest by tag and by both kinds of digest, and checks that it comes back as it went.
async fn check(world: &World, name: &str, manifest: &Value) {
    let text = serde_json::to_vec(manifest).unwrap();
    let canonical = Digest::of(&text);
    let long = Digest::with(Algorithm::Sha512, &text);
    let by_digest = [canonical, long].map(|digest| (digest.to_string(), digest));
    for (wanted, digest) in [("v1".to_owned(), canonical)].into_iter().chain(by_digest) {
        let put = world.put_manifest("org/app", &wanted, manifest).await.expect(201);
        assert_eq!(
            put.header("Docker-Content-Digest"),
            Some(digest.to_string().as_str()),
            "{name}"
        );
        let subject = manifest["subject"]["digest"].as_str();
        assert_eq!(put.header("OCI-Subject"), subject, "{name}");
        check_answer(&world.get(put.location()).await, &text, manifest, digest);
        let target = format!("/v2/org/app/manifests/{wanted}");
        let get = world.get(&target).await;
        check_answer(&get, &text, manifest, digest);
        let head = world.head(&target).await.expect(200);
        for header in ["Content-Type", "Content-Length", "Docker-Content-Digest"] {
            assert_eq!(head.header(header), get.header(header), "{name}");
        }
    }
}

#[track_caller]
fn check_answer(answer: &Answer, text: &[u8], manifest: &Value, digest: Digest) {
    let answer = answer.clone().expect(200);
    assert_eq!(answer.body, text);
    let media_type = manifest["mediaType"].as_str().unwrap_or(OCI_MANIFEST);
    assert_eq!(answer.header("Content-Type"), Some(media_type));
    assert_eq!(answer.header("Content-Length"), Some(text.len().to_string().as_str()));
    assert_eq!(answer.header("Docker-Content-Digest"), Some(digest.to_string().as_str()));
}

const CONFIG: &[u8] = b"{\"os\":\"linux\"}";
const LAYER: &[u8] = b"some layer";

/// A registry that has the blobs of the manifests here.
async fn world() -> World {
    let world = World::writable().await;
    for blob in [CONFIG, LAYER, b"{}"] {
        world.push_blob("org/app", blob).await;
    }
    world
}

fn artifact(layers: &[&[u8]]) -> Value {
    let mut manifest = image(b"{}", layers);
    manifest["artifactType"] = json!("application/vnd.example.thing");
    manifest["config"] = descriptor(OCI_EMPTY, b"{}");
    manifest
}

fn index(children: &[&Value]) -> Value {
    let entry = |child: &&Value| {
        let text = serde_json::to_vec(child).unwrap();
        descriptor(child["mediaType"].as_str().unwrap(), &text)
    };
    let children: Vec<Value> = children.iter().map(entry).collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children})
}

#[tokio::test]
async fn manifests_of_every_shape_come_back_as_they_went() {
    let world = world().await;
    let plain = image(CONFIG, &[LAYER]);
    let mut docker = plain.clone();
    docker["mediaType"] = json!(DOCKER_MANIFEST);
    let mut typeless = plain.clone();
    typeless.as_object_mut().unwrap().remove("mediaType");
    let mut with_data = plain.clone();
    with_data["config"]["data"] = json!("eyJvcyI6ImxpbnV4In0=");
    let mut extra = plain.clone();
    extra["org.example.extra"] = json!({"deep": [1, 2, {"er": null}]});
    let mut large = plain.clone();
    large["annotations"] = json!({"org.example.large": "x".repeat(4 << 20)});
    let nested = index(&[&index(&[&plain])]);
    let mut about = artifact(&[LAYER]);
    about["subject"] = descriptor(OCI_MANIFEST, b"a manifest that nobody pushed");
    let mut index_about = index(&[&plain]);
    index_about["artifactType"] = json!("application/vnd.example.list");
    index_about["subject"] = descriptor(OCI_MANIFEST, b"a manifest that nobody pushed");
    for (name, manifest) in [
        ("image", plain.clone()),
        ("image without layers", image(CONFIG, &[])),
        ("docker", docker),
        ("without its media type", typeless),
        ("data field", with_data),
        ("unknown fields", extra),
        ("four megabytes", large),
        ("index", index(&[&plain])),
        ("nested index", nested),
        ("empty index", index(&[])),
        ("artifact", artifact(&[LAYER])),
        ("artifact without layers", artifact(&[])),
        ("artifact index", index(&[&artifact(&[LAYER]), &artifact(&[])])),
        ("about a missing subject", about),
        ("index about a missing subject", index_about),
    ] {
        check(&world, name, &manifest).await;
    }
}

#[tokio::test]
async fn layers_that_may_not_be_distributed_need_not_be_there() {
    let world = world().await;
    let mut manifest = image(CONFIG, &[LAYER]);
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let mut layer = descriptor(media_type, media_type.as_bytes());
        layer["urls"] = json!(["https://store.example.com/blobs/x"]);
        manifest["layers"].as_array_mut().unwrap().push(layer);
    }
    check(&world, "non-distributable", &manifest).await;
}

#[tokio::test]
async fn an_index_may_lack_children() {
    let world = world().await;
    check(&world, "sparse", &index(&[&image(CONFIG, &[LAYER]), &image(b"elsewhere", &[])])).await;
}

#[tokio::test]
async fn an_image_whose_layer_was_not_pushed_is_refused() {
    let world = world().await;
    let manifest = image(CONFIG, &[LAYER, b"not pushed"]);
    let answer = world.put_manifest("org/app", "v1", &manifest).await;
    answer.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    world.get("/v2/org/app/manifests/v1").await.expect_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_layer_that_lies_in_another_repository_comes_along() {
    let world = world().await;
    let manifest = image(CONFIG, &[LAYER]);
    world.put_manifest("else/where", "v1", &manifest).await.expect(201);
    let target = format!("/v2/else/where/blobs/{}", Digest::of(LAYER));
    assert_eq!(world.get(&target).await.expect(200).body, LAYER);
}

#[tokio::test]
async fn a_manifest_under_a_wrong_digest_is_400() {
    let world = world().await;
    let manifest = image(CONFIG, &[LAYER]);
    for algorithm in Algorithm::ALL {
        let wrong = Digest::with(algorithm, b"something else").to_string();
        let answer = world.put_manifest("org/app", &wrong, &manifest).await;
        answer.expect_error(400, "DIGEST_INVALID");
        let target = format!("/v2/org/app/manifests/{wrong}");
        world.get(&target).await.expect_error(404, "MANIFEST_UNKNOWN");
    }
    for bad in ["sha256:baddigeststring", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = world.put_manifest("org/app", bad, &manifest).await;
        answer.expect_error(400, "DIGEST_INVALID");
        let got = world.get(&format!("/v2/org/app/manifests/{bad}")).await;
        got.expect_error(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    let world = world().await;
    let put = |tag: &str, kind: &str, body: &[u8]| {
        let request = world.request("PUT", &format!("/v2/org/app/manifests/{tag}"));
        request.header("Content-Type", kind).body(body).send()
    };
    put("v1", OCI_MANIFEST, b"not JSON").await.expect_error(400, "MANIFEST_INVALID");
    put("v1", OCI_MANIFEST, b"").await.expect_error(400, "MANIFEST_INVALID");
    let old = put("v1", DOCKER_SCHEMA1, b"{\"schemaVersion\":1}").await;
    let old = old.expect_error(400, "MANIFEST_INVALID");
    assert!(String::from_utf8_lossy(&old.body).contains("schema 1"));
    let other = index(&[]).to_string();
    put("v1", OCI_MANIFEST, other.as_bytes()).await.expect_error(400, "MANIFEST_INVALID");
    put("-v1", OCI_MANIFEST, b"{}").await.expect_error(400, "MANIFEST_INVALID");
    put("v1", OCI_MANIFEST, &bytes((8 << 20) + 1)).await.expect_error(413, "MANIFEST_INVALID");
    world.get("/v2/org/app/manifests/v1").await.expect_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_media_type_with_parameters_is_read_without_them() {
    let world = world().await;
    let text = image(CONFIG, &[LAYER]).to_string();
    let put = world.request("PUT", "/v2/org/app/manifests/v1");
    let kind = format!("{OCI_MANIFEST}; charset=utf-8");
    put.header("Content-Type", kind).body(text.as_bytes()).send().await.expect(201);
    let got = world.get("/v2/org/app/manifests/v1").await.expect(200);
    assert_eq!(got.header("Content-Type"), Some(OCI_MANIFEST));
}

#[tokio::test]
async fn a_manifest_that_is_not_there_is_404() {
    let world = world().await;
    for wanted in ["absent".to_owned(), Digest::of(b"absent").to_string()] {
        for repository in ["org/app", "no/such"] {
            let target = format!("/v2/{repository}/manifests/{wanted}");
            world.get(&target).await.expect_error(404, "MANIFEST_UNKNOWN");
            world.head(&target).await.expect(404);
            world.delete(&target).await.expect_error(404, "MANIFEST_UNKNOWN");
        }
    }
}

#[tokio::test]
async fn deleting_a_tag_leaves_its_manifest() {
    let world = world().await;
    let manifest = image(CONFIG, &[LAYER]);
    for tag in ["v1", "v2"] {
        world.put_manifest("org/app", tag, &manifest).await.expect(201);
    }
    world.delete("/v2/org/app/manifests/v1").await.expect(202);
    world.head("/v2/org/app/manifests/v1").await.expect(404);
    world.get("/v2/org/app/manifests/v2").await.expect(200);
    world.get(&format!("/v2/org/app/manifests/{}", digest_of(&manifest))).await.expect(200);
}

#[tokio::test]
async fn deleting_a_manifest_takes_its_tags_along() {
    let mut world = world().await;
    let manifest = image(CONFIG, &[LAYER]);
    let other = image(CONFIG, &[]);
    for tag in ["v1", "v2"] {
        world.put_manifest("org/app", tag, &manifest).await.expect(201);
    }
    world.put_manifest("org/app", "other", &other).await.expect(201);
    let target = format!("/v2/org/app/manifests/{}", digest_of(&manifest));
    world.delete(&target).await.expect(202);
    for _ in 0..2 {
        world.get(&target).await.expect_error(404, "MANIFEST_UNKNOWN");
        world.get("/v2/org/app/manifests/v1").await.expect_error(404, "MANIFEST_UNKNOWN");
        let tags = world.get("/v2/org/app/tags/list").await.expect(200).json();
        assert_eq!(tags["tags"], json!(["other"]));
        // Only it named the layer; the other one names the config as well.
        let blob = |content| format!("/v2/org/app/blobs/{}", Digest::of(content));
        world.get(&blob(LAYER)).await.expect_error(404, "BLOB_UNKNOWN");
        world.get(&blob(CONFIG)).await.expect(200);
        world.restart().await;
    }
}

#[tokio::test]
async fn tags_may_come_with_a_digest() {
    let world = world().await;
    let text = image(CONFIG, &[LAYER]).to_string();
    for algorithm in Algorithm::ALL {
        let digest = Digest::with(algorithm, text.as_bytes());
        let target =
            format!("/v2/org/app/manifests/{digest}?tag=one-{algorithm}&tag=two-{algorithm}");
        let put = world.request("PUT", &target).header("Content-Type", OCI_MANIFEST);
        let answer = put.body(text.as_bytes()).send().await.expect(201);
        let tags = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("OCI-Tag"));
        let tags: Vec<&str> = tags.map(|(_, tag)| tag.as_str()).collect();
        assert_eq!(tags, [format!("one-{algorithm}"), format!("two-{algorithm}")]);
        let got = world.get(&format!("/v2/org/app/manifests/two-{algorithm}")).await.expect(200);
        assert_eq!(got.header("Docker-Content-Digest"), Some(digest.to_string().as_str()));
    }
}

#[tokio::test]
async fn everything_pushed_is_there_after_a_restart() {
    let mut world = world().await;
    let manifest = world.push_image("quay.io/org/app", "v1", "a").await;
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    world.restart().await;
    let got = world.get("/v2/quay.io/org/app/manifests/v1").await.expect(200);
    assert_eq!(got.body, serde_json::to_vec(&manifest).unwrap());
    world.get(&format!("/v2/quay.io/org/app/blobs/{layer}")).await.expect(200);
}

#[tokio::test]
async fn the_host_beside_the_name_finds_what_lies_under_it() {
    let world = World::writable().await;
    let manifest = world.push_image("quay.io/org/app", "v1", "a").await;
    world.push_image("docker.io/library/nginx", "v1", "b").await;
    let text = serde_json::to_vec(&manifest).unwrap();
    let got = world.get("/v2/org/app/manifests/v1?ns=quay.io").await.expect(200);
    assert_eq!(got.body, text);
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    world.get(&format!("/v2/org/app/blobs/{layer}?ns=quay.io")).await.expect(200);
    world.get("/v2/library/nginx/manifests/v1?ns=docker.io").await.expect(200);
    world.get("/v2/org/app/manifests/v1?ns=ghcr.io").await.expect(404);
    world.get("/v2/org/app/manifests/v1").await.expect(404);
}
