//! Tags, repositories, referrers: lists, their pages and filters.

use airlift_spec::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use airlift_spec::{Algorithm, Digest};
use serde_json::{Value, json};

use super::world::{World, descriptor, digest_of, image};

#[tokio::test]
async fn the_ping_says_that_this_is_a_registry() {
    let world = World::writable().await;
    for target in ["/v2/", "/v2"] {
        let answer = world.get(target).await.expect(200);
        assert_eq!(answer.header("Docker-Distribution-Api-Version"), Some("registry/2.0"));
    }
}

/// Follows `Link`s from `target` on and returns each page's names.
async fn pages(world: &World, target: &str, field: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(target.to_owned());
    while let Some(target) = next {
        let answer = world.get(&target).await.expect(200);
        let names = answer.json()[field].as_array().unwrap().clone();
        pages.push(names.iter().map(|name| name.as_str().unwrap().to_owned()).collect());
        next = answer.header("Link").map(|link| {
            let (target, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
            assert_eq!(rest, "; rel=\"next\"");
            target.to_owned()
        });
    }
    pages
}

#[tokio::test]
async fn the_tags_of_an_unknown_repository_are_404() {
    let world = World::writable().await;
    world.get("/v2/no/such/tags/list").await.expect_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn tags_come_sorted_and_in_pages() {
    let world = World::writable().await;
    for tag in ["b", "a1", "a10", "a2", "_x", "latest"] {
        world.push_image("org/app", tag, "same").await;
    }
    let sorted = ["_x", "a1", "a10", "a2", "b", "latest"];
    let list = "/v2/org/app/tags/list";
    assert_eq!(pages(&world, list, "tags").await, [sorted]);
    assert_eq!(world.get(list).await.json()["name"], "org/app");
    let by_two = pages(&world, &format!("{list}?n=2"), "tags").await;
    assert_eq!(by_two, [&sorted[..2], &sorted[2..4], &sorted[4..]]);
    assert_eq!(pages(&world, &format!("{list}?n=6"), "tags").await, [sorted]);
    assert_eq!(pages(&world, &format!("{list}?last=a10"), "tags").await, [&sorted[3..]]);
    // A name that is not there marks a place all the same.
    assert_eq!(pages(&world, &format!("{list}?last=a11&n=9"), "tags").await, [&sorted[3..]]);
    assert_eq!(pages(&world, &format!("{list}?last=zzz"), "tags").await, [&sorted[6..]]);
    assert_eq!(pages(&world, &format!("{list}?n=0"), "tags").await, [&sorted[6..]]);
    for bad in ["-1", "x", "99999999999999999999999999"] {
        let answer = world.get(&format!("{list}?n={bad}")).await;
        answer.expect_error(400, "PAGINATION_NUMBER_INVALID");
    }
}

#[tokio::test]
async fn repositories_come_sorted_and_in_pages() {
    let world = World::writable().await;
    for repository in ["b", "a/x", "a.json/x", "quay.io/org/app", "a"] {
        world.push_blob(repository, b"some blob").await;
    }
    let sorted = ["a", "a.json/x", "a/x", "b", "quay.io/org/app"];
    assert_eq!(pages(&world, "/v2/_catalog", "repositories").await, [sorted]);
    let by_three = pages(&world, "/v2/_catalog?n=3", "repositories").await;
    assert_eq!(by_three, [&sorted[..3], &sorted[3..]]);
}

async fn referrers(world: &World, subject: &Digest, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = world.get(&format!("/v2/org/app/referrers/{subject}{query}")).await.expect(200);
    assert_eq!(answer.header("Content-Type"), Some(OCI_INDEX));
    let index = answer.json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    let filters = answer.header("OCI-Filters-Applied").map(str::to_owned);
    (index["manifests"].as_array().unwrap().clone(), filters)
}

#[tokio::test]
async fn nobody_refers_to_a_digest_that_nobody_knows() {
    let world = World::writable().await;
    for algorithm in Algorithm::ALL {
        let found = referrers(&world, &Digest::with(algorithm, b"x"), "").await;
        assert_eq!(found, (Vec::new(), None));
    }
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_forgotten() {
    let mut world = World::writable().await;
    let subject = image(b"the subject's config", &[]);
    let subject_text = serde_json::to_vec(&subject).unwrap();
    let digest = Digest::of(&subject_text);
    world.push_blob("org/app", b"{}").await;
    let mut signature = image(b"{}", &[]);
    signature["artifactType"] = json!("application/vnd.example.signature");
    signature["annotations"] = json!({"org.example.by": "ann"});
    signature["subject"] = descriptor(OCI_MANIFEST, &subject_text);
    // Without a type of its own it has that of its config.
    let mut sbom = image(b"{}", &[]);
    sbom["subject"] = descriptor(OCI_MANIFEST, &subject_text);
    // They come before what they are about.
    for referrer in [&signature, &sbom] {
        let wanted = digest_of(referrer).to_string();
        let put = world.put_manifest("org/app", &wanted, referrer).await.expect(201);
        assert_eq!(put.header("OCI-Subject"), Some(digest.to_string().as_str()));
    }
    world.push_blob("org/app", b"the subject's config").await;
    world.put_manifest("org/app", "v1", &subject).await.expect(201);

    let text = serde_json::to_vec(&signature).unwrap();
    let mut expected = descriptor(OCI_MANIFEST, &text);
    expected["artifactType"] = json!("application/vnd.example.signature");
    expected["annotations"] = json!({"org.example.by": "ann"});
    let mut other = descriptor(OCI_MANIFEST, &serde_json::to_vec(&sbom).unwrap());
    other["artifactType"] = json!(OCI_CONFIG);
    let (all, filters) = referrers(&world, &digest, "").await;
    assert_eq!((all.len(), filters), (2, None));
    assert!(all.contains(&expected) && all.contains(&other), "{all:?}");

    let query = "?artifactType=application/vnd.example.signature";
    let (some, filters) = referrers(&world, &digest, query).await;
    assert_eq!((some, filters.as_deref()), (vec![expected], Some("artifactType")));
    let (none, filters) = referrers(&world, &digest, "?artifactType=application/none").await;
    assert_eq!((none.len(), filters.as_deref()), (0, Some("artifactType")));

    let target = format!("/v2/org/app/manifests/{}", digest_of(&signature));
    world.delete(&target).await.expect(202);
    assert_eq!(referrers(&world, &digest, "").await.0, [other.clone()]);
    world.restart().await;
    assert_eq!(referrers(&world, &digest, "").await.0, [other]);
}
