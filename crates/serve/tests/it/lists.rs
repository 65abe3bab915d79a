//! Names, tags, repositories and referrers.

use airlift_spec::oci::{cosign_tags, media_type};
use airlift_spec::{Algorithm, Digest};
use airlift_testkit::samples::{self, SBOM_TYPE, SIGNATURE_TYPE};
use serde_json::{Value, json};

use crate::world::{LARGE, Served, World, serve, volumes};

async fn names(served: &Served, target: &str, field: &str) -> Vec<String> {
    let answer = served.get(target).await.expect(200);
    let names = answer.json()[field].as_array().unwrap().clone();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

async fn served(images: &[(&str, u64)]) -> (World, Served) {
    let mut world = World::new();
    for (reference, seed) in images {
        world.pin(reference, &samples::image(*seed, &[100]));
    }
    let served = serve(vec![volumes(&world.cut("out", LARGE))]).await;
    (world, served)
}

async fn digest_at(served: &Served, target: &str) -> Option<String> {
    let answer = served.head(target).await;
    answer.header("Docker-Content-Digest").map(str::to_owned)
}

#[tokio::test]
async fn tags_and_repositories_come_sorted_and_in_pages() {
    let images: [(&str, u64); 5] = [
        ("quay.io/org/app:b", 1),
        ("quay.io/org/app:a10", 2),
        ("quay.io/org/app:a2", 3),
        ("nginx:1", 4),
        ("ghcr.io/z:1", 5),
    ];
    let (_world, served) = served(&images).await;
    let list = "/v2/quay.io/org/app/tags/list";
    assert_eq!(names(&served, list, "tags").await, ["a10", "a2", "b"]);
    assert_eq!(served.get(list).await.json()["name"], "quay.io/org/app");
    let page = served.get(&format!("{list}?n=2")).await.expect(200);
    assert_eq!(page.json()["tags"], json!(["a10", "a2"]));
    let link = page.header("Link").unwrap();
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
    assert_eq!(names(&served, next, "tags").await, ["b"]);
    assert_eq!(names(&served, &format!("{list}?n=0"), "tags").await, [""; 0]);
    assert_eq!(names(&served, &format!("{list}?last=a2"), "tags").await, ["b"]);
    let all = ["docker.io/library/nginx", "ghcr.io/z", "quay.io/org/app"];
    assert_eq!(names(&served, "/v2/_catalog", "repositories").await, all);
    let rest = "/v2/_catalog?n=5&last=ghcr.io/z";
    assert_eq!(names(&served, rest, "repositories").await, all[2..]);
    served.get("/v2/no/such/tags/list").await.expect_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn a_repository_answers_to_its_host_form_to_containerd_s_ns_and_where_unique_to_its_path() {
    let (_world, served) = served(&[
        ("quay.io/org/app:v1", 1),
        ("ghcr.io/org/app:v1", 2),
        ("quay.io/org/only:v1", 3),
        ("registry.example:5000/org/port:v1", 4),
    ])
    .await;
    let digest = |seed| Some(samples::image(seed, &[100]).root.digest.to_string());
    for (target, expected) in [
        ("/v2/quay.io/org/app/manifests/v1", digest(1)),
        ("/v2/org/app/manifests/v1?ns=quay.io", digest(1)),
        ("/v2/org/app/manifests/v1?ns=ghcr.io", digest(2)),
        ("/v2/org/app/manifests/v1?ns=docker.io", None),
        ("/v2/org/app/manifests/v1", None),
        ("/v2/org/only/manifests/v1", digest(3)),
        ("/v2/org/only/manifests/v1?ns=ghcr.io", None),
        ("/v2/quay.io/org/only/manifests/v1?ns=mirror.internal:5000", digest(3)),
        ("/v2/registry.example_5000/org/port/manifests/v1", digest(4)),
        ("/v2/org/port/manifests/v1?ns=registry.example:5000", digest(4)),
        ("/v2/org/port/manifests/v1", digest(4)),
    ] {
        assert_eq!(digest_at(&served, target).await, expected, "{target}");
    }
    assert_eq!(names(&served, "/v2/org/app/tags/list?ns=ghcr.io", "tags").await, ["v1"]);
}

async fn referrers(served: &Served, subject: &Digest, query: &str) -> (Vec<Value>, Option<String>) {
    let target = format!("/v2/quay.io/org/app/referrers/{subject}{query}");
    let answer = served.get(&target).await.expect(200);
    assert_eq!(answer.header("Content-Type"), Some(media_type::OCI_INDEX));
    let index = answer.json();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["mediaType"], media_type::OCI_INDEX);
    let filters = answer.header("OCI-Filters-Applied").map(str::to_owned);
    (index["manifests"].as_array().unwrap().clone(), filters)
}

#[tokio::test]
async fn referrers_are_listed_with_type_and_annotations_and_filtered() {
    let sample = samples::signed(&samples::image(1, &[100]));
    let world = World::new().with("quay.io/org/app:v1", &sample);
    let served = serve(vec![volumes(&world.cut("out", LARGE))]).await;
    let (all, filters) = referrers(&served, &sample.root.digest, "").await;
    assert_eq!((all.len(), filters), (2, None));
    for listed in &all {
        let digest: Digest = listed["digest"].as_str().unwrap().parse().unwrap();
        let manifest = sample.manifest(&digest);
        let content: Value = serde_json::from_slice(&manifest.bytes).unwrap();
        assert_eq!(listed["mediaType"], manifest.media_type.as_str());
        assert_eq!(listed["size"], manifest.bytes.len());
        assert_eq!(listed["artifactType"], content["artifactType"]);
        assert_eq!(listed["annotations"], content["annotations"]);
    }
    let (sboms, filters) =
        referrers(&served, &sample.root.digest, &format!("?artifactType={SBOM_TYPE}")).await;
    assert_eq!((sboms.len(), filters.as_deref()), (1, Some("artifactType")));
    // The SBOM is signed in its turn.
    let sbom: Digest = sboms[0]["digest"].as_str().unwrap().parse().unwrap();
    let (signatures, _) = referrers(&served, &sbom, "").await;
    assert_eq!(signatures[0]["artifactType"], SIGNATURE_TYPE);
    let none = referrers(&served, &sample.root.digest, "?artifactType=application/none").await;
    assert_eq!((none.0.len(), none.1.as_deref()), (0, Some("artifactType")));
    for algorithm in Algorithm::ALL {
        let nobody = referrers(&served, &Digest::with(algorithm, b"nobody"), "").await;
        assert_eq!(nobody, (Vec::new(), None));
    }
}

#[tokio::test]
async fn cosign_s_tags_are_there_and_say_nothing_in_the_referrers() {
    let sample = samples::cosigned(&samples::image(1, &[100]));
    let world = World::new().with("quay.io/org/app:v1", &sample);
    let served = serve(vec![volumes(&world.cut("out", LARGE))]).await;
    for tag in cosign_tags(&sample.root.digest) {
        let target = format!("/v2/quay.io/org/app/manifests/{tag}");
        let digest = sample.tags[&tag].to_string();
        assert_eq!(digest_at(&served, &target).await, Some(digest), "{tag}");
    }
    assert_eq!(names(&served, "/v2/quay.io/org/app/tags/list", "tags").await.len(), 4);
    assert_eq!(referrers(&served, &sample.root.digest, "").await.0, Vec::<Value>::new());
}
