use airlift_registry::client::{Client, ClientError, FetchedManifest, Referrers};
use airlift_spec::{Algorithm, Class, Ctx, Digest, Explain as _};
use airlift_testkit::registry::{self, FakeOptions};
use airlift_testkit::{FakeRegistry, Fault, On, samples};

use super::{client, impatient, repository};

async fn get(
    registry: &FakeRegistry,
    wanted: &str,
) -> Result<Option<FetchedManifest>, ClientError> {
    client().manifest(&repository(registry), wanted, &Ctx::default()).await
}

#[tokio::test]
async fn a_manifest_is_the_very_bytes_that_the_registry_has() {
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[100]);
    registry.put("team/app", "v1", &sample);
    for wanted in ["v1", &sample.root.digest.to_string()] {
        let found = get(&registry, wanted).await.unwrap().unwrap();
        assert_eq!(found.bytes, sample.manifest(&sample.root.digest).bytes);
        assert_eq!(
            (found.digest, &found.media_type),
            (sample.root.digest, &sample.root.media_type)
        );
    }
    assert_eq!(get(&registry, "v2").await.unwrap(), None);
    assert_eq!(get(&registry, &Digest::of(b"x").to_string()).await.unwrap(), None);
}

#[tokio::test]
async fn a_head_says_what_a_tag_leads_to_without_its_bytes() {
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[100]);
    registry.put("team/app", "v1", &sample);
    let (client, repository, ctx) = (client(), repository(&registry), Ctx::default());
    let found = client.describe(&repository, "v1", &ctx).await.unwrap().unwrap();
    assert_eq!(found.digest, sample.root.digest);
    assert_eq!(found.size, sample.manifest(&sample.root.digest).bytes.len() as u64);
    assert_eq!(registry.sent_bytes(), 0);
    assert!(client.describe(&repository, "v2", &ctx).await.unwrap().is_none());

    registry.fail_always(On::manifests(), Fault::NoDigestHeader);
    let found = client.describe(&repository, "v1", &ctx).await.unwrap().unwrap();
    assert_eq!(found.digest, sample.root.digest, "where a HEAD says too little, the bytes tell");
}

#[tokio::test]
async fn a_manifest_with_a_flipped_byte_is_asked_for_again_and_refused_the_second_time() {
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[100]);
    registry.put("team/app", "v1", &sample);
    for wanted in ["v1", &sample.root.digest.to_string()] {
        registry.fail_once(On::get("/manifests/"), Fault::FlipByte(20));
        let found = get(&registry, wanted).await.unwrap().unwrap();
        assert_eq!((found.digest, registry.faults_left()), (sample.root.digest, 0));
    }
    registry.fail_always(On::get("/manifests/"), Fault::FlipByte(20));
    let err = get(&registry, &sample.root.digest.to_string()).await.unwrap_err();
    assert!(matches!(err, ClientError::WrongDigest { .. }), "{err}");
    let err = get(&registry, "v1").await.unwrap_err();
    assert!(matches!(err, ClientError::LyingDigest { .. }), "{err}");
}

#[tokio::test]
async fn a_registry_that_lies_about_a_digest_is_caught() {
    let registry = FakeRegistry::start();
    registry.put("team/app", "v1", &samples::image(1, &[100]));
    registry.fail_always(On::get("/manifests/"), Fault::LieAboutDigest);
    let err = get(&registry, "v1").await.unwrap_err();
    assert!(matches!(err, ClientError::LyingDigest { .. }), "{err}");
    assert_eq!(err.class(), Class::Integrity);
}

#[tokio::test]
async fn a_manifest_that_is_cut_or_stalls_is_asked_for_again() {
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[100]);
    registry.put("team/app", "v1", &sample);
    registry.fail_once(On::get("/manifests/"), Fault::CutAfter(10));
    registry.fail_once(On::get("/manifests/"), Fault::StallAfter(10));
    registry.fail_once(On::get("/manifests/"), Fault::Hang);
    let client = Client::new(impatient()).unwrap();
    let found =
        client.manifest(&repository(&registry), "v1", &Ctx::default()).await.unwrap().unwrap();
    assert_eq!(found.digest, sample.root.digest);
    assert_eq!(registry.faults_left(), 0);
}

#[tokio::test]
async fn a_manifest_without_end_is_not_read_to_it() {
    let registry = FakeRegistry::start();
    registry.put("team/app", "v1", &samples::image(1, &[100]));
    registry.fail_always(On::get("/manifests/"), Fault::TooLong(9 << 20));
    let err = get(&registry, "v1").await.unwrap_err();
    assert!(matches!(err, ClientError::Manifest { .. }), "{err}");
}

#[tokio::test]
async fn a_type_that_says_nothing_is_looked_for_inside() {
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[100]);
    registry.put("team/app", "v1", &sample);
    for useless in ["application/json", "text/plain; charset=utf-8"] {
        registry.fail_once(On::get("/manifests/"), Fault::ContentType(useless));
        let found = get(&registry, "v1").await.unwrap().unwrap();
        assert_eq!(found.media_type, sample.root.media_type, "{useless}");
    }
}

#[tokio::test]
async fn a_manifest_is_put_and_deleted() {
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[100]);
    registry.put_untagged("team/app", &sample);
    let manifest = sample.manifest(&sample.root.digest);
    let (client, repository, ctx) = (client(), repository(&registry), Ctx::default());
    registry.fail_once(On::manifests(), Fault::Status(500, Vec::new()));
    let put = |wanted: &'static str| {
        client.push_manifest(&repository, wanted, &manifest.media_type, &manifest.bytes, &ctx)
    };
    assert!(!put("v1").await.unwrap(), "it has no subject");
    assert_eq!(registry.tags("team/app")["v1"], sample.root.digest);
    assert!(client.delete_manifest(&repository, "v1", &ctx).await.unwrap());
    assert!(registry.tags("team/app").is_empty());
    assert!(!client.delete_manifest(&repository, "v1", &ctx).await.unwrap());

    let other = Digest::of(b"other").to_string();
    let pushed = client
        .push_manifest(&repository, &other, &manifest.media_type, &manifest.bytes, &ctx)
        .await;
    assert!(matches!(pushed, Err(ClientError::SentWrong { .. })), "{pushed:?}");
}

#[tokio::test]
async fn a_sparse_index_that_is_refused_keeps_the_registrys_code() {
    let registry = FakeRegistry::start();
    let index = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2}]}"#;
    registry.fail_always(On::manifests(), Fault::RefuseSparseIndex);
    let media_type = "application/vnd.oci.image.index.v1+json";
    let (client, repository, ctx) = (client(), repository(&registry), Ctx::default());
    let pushed = client.push_manifest(&repository, "v1", media_type, index, &ctx);
    assert_eq!(pushed.await.unwrap_err().code(), Some("MANIFEST_BLOB_UNKNOWN"));
}

#[tokio::test]
async fn a_sha512_manifest_is_checked_as_such() {
    let registry = FakeRegistry::start();
    let bytes = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let digest = Digest::with(Algorithm::Sha512, bytes);
    let (client, repository, ctx) = (client(), repository(&registry), Ctx::default());
    let media_type = "application/vnd.oci.image.index.v1+json";
    client.push_manifest(&repository, &digest.to_string(), media_type, bytes, &ctx).await.unwrap();
    let found = client.manifest(&repository, &digest.to_string(), &ctx).await.unwrap().unwrap();
    assert_eq!((found.digest, &found.bytes[..]), (digest, &bytes[..]));
}

#[tokio::test]
async fn tags_come_from_all_pages() {
    let registry = FakeRegistry::with(FakeOptions { page_size: Some(2), ..FakeOptions::default() });
    let sample = samples::image(1, &[100]);
    let tags = ["a", "b", "c", "d", "e"];
    for tag in tags {
        registry.put("team/app", tag, &sample);
    }
    registry.fail_once(On::path("tags/list"), Fault::Status(502, Vec::new()));
    let (client, ctx) = (client(), Ctx::default());
    assert_eq!(client.tags(&repository(&registry), &ctx).await.unwrap().unwrap(), tags);
    assert_eq!(registry.count("GET", "/tags/list"), 4, "three pages and one that failed");
    let mut other = repository(&registry);
    other.path = "nobody/knows".to_owned();
    assert_eq!(client.tags(&other, &ctx).await.unwrap(), None);
}

#[tokio::test]
async fn a_list_that_leads_to_another_host_is_not_followed() {
    let registry = FakeRegistry::start();
    let next =
        vec![("link", "<http://127.0.0.2:1/v2/team/app/tags/list>; rel=\"next\"".to_owned())];
    registry.fail_always(On::path("tags/list"), Fault::Status(200, next));
    let err = client().tags(&repository(&registry), &Ctx::default()).await.unwrap_err();
    assert!(matches!(err, ClientError::Redirect { .. }), "{err}");
}

#[tokio::test]
async fn many_who_ask_for_referrers_at_once_learn_from_the_first_that_there_is_no_api() {
    let options = FakeOptions { referrers: registry::Referrers::TagOnly, ..FakeOptions::default() };
    let registry = FakeRegistry::with(options);
    let (client, repository, ctx) = (client(), repository(&registry), Ctx::default());
    let subjects: Vec<Digest> = (0..8_u8).map(|at| Digest::of(&[at])).collect();
    let asked = subjects.iter().map(|subject| client.referrers(&repository, subject, &ctx));
    for found in futures::future::join_all(asked).await {
        assert_eq!(found.unwrap(), Referrers::FallbackTag(Vec::new()));
    }
    assert_eq!(registry.count("GET", "/referrers/"), 1);
}

#[tokio::test]
async fn referrers_come_from_the_api_or_from_the_fallback_tag() {
    for kind in [registry::Referrers::Api, registry::Referrers::TagOnly] {
        let options = FakeOptions { referrers: kind, page_size: Some(1), ..FakeOptions::default() };
        let registry = FakeRegistry::with(options);
        let sample = samples::signed(&samples::image(1, &[100]));
        registry.put("team/app", "v1", &sample);
        let wanted: Vec<Digest> = sample
            .referrers()
            .into_iter()
            .filter(|(_, subject)| *subject == sample.root.digest)
            .map(|(manifest, _)| manifest.digest)
            .collect();
        assert!(!wanted.is_empty());
        let (client, ctx) = (client(), Ctx::default());
        for _ in 0..2 {
            let found =
                client.referrers(&repository(&registry), &sample.root.digest, &ctx).await.unwrap();
            let found = match (kind, found) {
                (registry::Referrers::Api, Referrers::Api(found))
                | (registry::Referrers::TagOnly, Referrers::FallbackTag(found)) => found,
                (kind, found) => panic!("{kind:?}: {found:?}"),
            };
            let mut found: Vec<Digest> = found.iter().map(|it| it.digest).collect();
            found.sort_by_key(|digest| wanted.iter().position(|it| it == digest));
            assert_eq!(found, wanted);
        }
        if kind == registry::Referrers::TagOnly {
            assert_eq!(registry.count("GET", "/referrers/"), 1, "its absence is remembered");
        }
        let none = client.referrers(&repository(&registry), &Digest::of(b"x"), &ctx).await.unwrap();
        let (Referrers::Api(none) | Referrers::FallbackTag(none)) = none;
        assert!(none.is_empty());
    }
}

#[tokio::test]
async fn a_cold_start_asks_for_nothing_twice() {
    let registry = FakeRegistry::start();
    registry.put("team/app", "v1", &samples::image(1, &[100]));
    let (client, repository, ctx) = (client(), repository(&registry), Ctx::default());
    client.manifest(&repository, "v1", &ctx).await.unwrap().unwrap();
    assert_eq!(registry.requests().len(), 1);
    let counters = client.counters();
    assert_eq!((counters.requests, counters.manifests, counters.pings), (1, 1, 0));
    assert_eq!(counters.bytes_received, registry.sent_bytes());
}
