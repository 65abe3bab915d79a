//! Pulls and ranges, and that nothing can be changed.

use airlift_spec::{Algorithm, Digest};
use airlift_testkit::Sample;
use airlift_testkit::samples;

use crate::world::{SMALL, Served, World, largest, open, serve, volumes};

/// One of each kind that registries hold.
fn zoo() -> Vec<(&'static str, Sample)> {
    let image = samples::image(1, &[400_000, 2048]);
    vec![
        ("quay.io/zoo/signed", samples::cosigned(&samples::signed(&image))),
        ("quay.io/zoo/sha512", samples::sha512_image(2, &[300_000, 2048])),
        ("quay.io/zoo/index", samples::index(3, &["linux/amd64", "linux/arm64"], 5000)),
        ("quay.io/zoo/nested", samples::nested_index(4, 500)),
        ("quay.io/zoo/docker", samples::docker_list(5, &["linux/amd64", "linux/arm64"], 700)),
        ("quay.io/zoo/artifact", samples::artifact(6, 900)),
        ("quay.io/zoo/odd", samples::unknown_media_types(7)),
        ("quay.io/zoo/empty", samples::empty_index()),
        ("quay.io/zoo/attested", samples::attested_index(8, &["linux/amd64"], 300)),
        ("quay.io/zoo/licensed", samples::non_distributable(9, "https://example.com/layer")),
        (
            "quay.io/zoo/sparse",
            samples::sparse_index(10, &["linux/amd64", "linux/s390x"], "linux/amd64", 300),
        ),
    ]
}

async fn zoo_served() -> (World, Served) {
    let mut world = World::new();
    for (repository, sample) in zoo() {
        world.pin(&format!("{repository}:v1"), &sample);
    }
    let folder = world.cut("out", SMALL);
    assert!(open(&folder).volumes().len() > 6, "the samples must fill several volumes");
    let served = serve(vec![volumes(&folder)]).await;
    (world, served)
}

#[tokio::test]
async fn everything_an_artifact_can_be_comes_byte_for_byte_out_of_volumes() {
    let (_world, served) = zoo_served().await;
    for (repository, sample) in zoo() {
        served.has_all(repository, &sample).await;
        let root = sample.manifest(&sample.root.digest);
        let target = format!("/v2/{repository}/manifests/v1");
        let by_tag = served.get(&target).await.expect(200);
        assert_eq!(by_tag.body, root.bytes, "{target}");
        let digest = root.digest.to_string();
        assert_eq!(by_tag.header("Docker-Content-Digest"), Some(digest.as_str()));
        assert!(served.head(&target).await.expect(200).body.is_empty());
    }
}

#[tokio::test]
async fn what_is_absent_is_404_in_the_words_of_the_specification() {
    let (_world, served) = zoo_served().await;
    served.get("/v2/").await.expect(200);
    served.head("/v2/").await.expect(200);
    for algorithm in Algorithm::ALL {
        let absent = Digest::with(algorithm, b"absent");
        let blob = format!("/v2/quay.io/zoo/index/blobs/{absent}");
        served.get(&blob).await.expect_error(404, "BLOB_UNKNOWN");
        served.head(&blob).await.expect(404);
        let manifest = format!("/v2/quay.io/zoo/index/manifests/{absent}");
        served.get(&manifest).await.expect_error(404, "MANIFEST_UNKNOWN");
        served.head(&manifest).await.expect(404);
    }
    let (_, zoo) = &zoo()[0];
    let (layer, _) = largest(zoo);
    for target in [
        "/v2/quay.io/zoo/index/manifests/absent".to_owned(),
        "/v2/quay.io/zoo/index/manifests/sha256:baddigeststring".to_owned(),
        "/v2/quay.io/zoo/none/manifests/v1".to_owned(),
        format!("/v2/quay.io/zoo/none/blobs/{layer}"),
        // A layer is no manifest, whatever the client says.
        format!("/v2/quay.io/zoo/signed/manifests/{layer}"),
    ] {
        let status = served.get(&target).await.status;
        assert!(status == 404 || status == 400, "{target}: {status}");
    }
}

#[tokio::test]
async fn ranges_are_exact_wherever_volumes_end() {
    let (_world, served) = zoo_served().await;
    for (repository, sample) in &zoo()[..2] {
        // Each blob is split: the largest over four volumes and more.
        let (digest, bytes) = largest(sample);
        assert!(bytes.len() as u64 > 2 * SMALL);
        let target = format!("/v2/{repository}/blobs/{digest}");
        let length = bytes.len();
        let split = usize::try_from(SMALL).unwrap();
        let mut cases = vec![(0, 0), (500, 1499), (500, length - 1), (length - 1, length - 1)];
        for start in (split - 3000..split).step_by(250) {
            cases.extend([(start, start + 250), (start, start + split + 250)]);
        }
        for (first, last) in cases {
            let range = format!("bytes={first}-{last}");
            let answer = served.request("GET", &target).header("Range", &range).send().await;
            let answer = answer.expect(206);
            assert!(answer.body == bytes[first..=last], "{range}");
            let content = format!("bytes {first}-{last}/{length}");
            assert_eq!(answer.header("Content-Range"), Some(content.as_str()));
        }
    }
}

#[tokio::test]
async fn ranges_of_every_form_are_answered_as_the_specification_asks() {
    let (_world, served) = zoo_served().await;
    for (repository, sample) in &zoo()[..2] {
        let (digest, bytes) = sample.blobs.iter().find(|(_, bytes)| bytes.len() == 2048).unwrap();
        let target = format!("/v2/{repository}/blobs/{digest}");
        let ask = async |range: &str| {
            let request = served.request("GET", &target).header("Range", format!("bytes={range}"));
            request.send().await
        };
        for (range, expected) in [
            ("500-1499", 500..1500),
            ("500-", 500..2048),
            ("-500", 1548..2048),
            ("2000-5000", 2000..2048),
            ("0-0", 0..1),
        ] {
            assert_eq!(ask(range).await.expect(206).body, bytes[expected], "{range}");
        }
        ask("5000-10000").await.expect_error(416, "RANGE_INVALID");
        let backwards = ask("500-0").await;
        assert!(backwards.status == 416 || backwards.expect(200).body == *bytes);
    }
}

#[tokio::test]
async fn every_request_that_changes_something_is_405() {
    let (_world, served) = zoo_served().await;
    let (_, sample) = &zoo()[0];
    let blob = format!("/v2/quay.io/zoo/signed/blobs/{}", largest(sample).0);
    let manifest = format!("/v2/quay.io/zoo/signed/manifests/{}", sample.root.digest);
    let digest = Digest::of(b"new");
    for (method, target) in [
        ("POST", "/v2/quay.io/zoo/signed/blobs/uploads/"),
        ("POST", &format!("/v2/new/blobs/uploads/?digest={digest}")),
        ("POST", &format!("/v2/new/blobs/uploads/?mount={digest}&from=quay.io/zoo/signed")),
        ("GET", "/v2/quay.io/zoo/signed/blobs/uploads/some-id"),
        ("PATCH", "/v2/quay.io/zoo/signed/blobs/uploads/some-id"),
        ("PUT", "/v2/quay.io/zoo/signed/blobs/uploads/some-id"),
        ("DELETE", "/v2/quay.io/zoo/signed/blobs/uploads/some-id"),
        ("PUT", "/v2/quay.io/zoo/signed/manifests/v2"),
        ("DELETE", "/v2/quay.io/zoo/signed/manifests/v1"),
        ("DELETE", &manifest),
        ("DELETE", &blob),
    ] {
        let answer = served.request(method, target).body(b"new").send().await;
        answer.expect_error(405, "UNSUPPORTED");
    }
    served.has_all("quay.io/zoo/signed", sample).await;
}

#[tokio::test]
async fn a_client_that_has_it_already_gets_no_bytes() {
    let (_world, served) = zoo_served().await;
    let (_, sample) = &zoo()[0];
    let digest = largest(sample).0;
    let target = format!("/v2/quay.io/zoo/signed/blobs/{digest}");
    let known = served.request("GET", &target).header("If-None-Match", format!("\"{digest}\""));
    assert!(known.send().await.expect(304).body.is_empty());
}
