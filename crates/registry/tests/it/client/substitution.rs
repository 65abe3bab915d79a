use std::collections::BTreeMap;

use airlift_registry::client::{Client, ClientError, ClientOptions, Repository};
use airlift_spec::{Class, Ctx, Explain as _};
use airlift_testkit::registry::{FakeOptions, Tls};
use airlift_testkit::samples::{self, noise};
use airlift_testkit::{FakeRegistry, Fault, On};

use super::{Memory, client, descriptor, fetch, options};

fn quay() -> Repository {
    Repository { host: "quay.test".to_owned(), path: "team/app".to_owned() }
}

fn with_conf(text: String) -> ClientOptions {
    ClientOptions { registries_conf: vec![text], ..options() }
}

#[tokio::test]
async fn names_stay_canonical_while_bytes_come_from_elsewhere() {
    let nexus = FakeRegistry::start();
    let sample = samples::image(1, &[100_000]);
    nexus.put("proxy/quay/team/app", "v1", &sample);
    let upstreams =
        BTreeMap::from([("quay.test".to_owned(), format!("{}/proxy/quay", nexus.host()))]);
    let client = Client::new(ClientOptions { upstreams, ..options() }).unwrap();
    let ctx = Ctx::default();
    let found = client.manifest(&quay(), "v1", &ctx).await.unwrap().unwrap();
    assert_eq!(found.digest, sample.root.digest);
    let bytes = noise(3, 1_000);
    client.push_blob(&quay(), &descriptor(&bytes), &Memory::new(&bytes), &ctx).await.unwrap();
    assert_eq!(nexus.blob("proxy/quay/team/app", &descriptor(&bytes).digest).unwrap(), bytes);
}

#[tokio::test]
async fn mirrors_are_asked_in_order_and_the_registry_itself_last() {
    let (broken, lacking, own) =
        (FakeRegistry::start(), FakeRegistry::start(), FakeRegistry::start());
    let sample = samples::image(1, &[100_000]);
    own.put("team/app", "v1", &sample);
    lacking.put("team/other", "v1", &sample);
    broken.fail_always(On::any(), Fault::Status(500, Vec::new()));
    let text = format!(
        "[[registry]]\nprefix = \"quay.test\"\nlocation = \"{}\"\n\
         [[registry.mirror]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        own.host(),
        broken.host(),
        lacking.host()
    );
    let client = Client::new(with_conf(text)).unwrap();
    let (digest, bytes) = sample.blobs_by_size()[0];
    let blob = airlift_spec::Descriptor::new("x", digest, bytes.len() as u64);
    let found = client.manifest(&quay(), "v1", &Ctx::default()).await.unwrap().unwrap();
    assert_eq!(found.digest, sample.root.digest);
    assert_eq!(fetch(&client, &quay(), &blob).await, bytes[..]);
    for registry in [&lacking, &own] {
        assert_eq!(registry.requests().len(), 2);
    }
    let absent = client.manifest(&quay(), "v2", &Ctx::default()).await.unwrap();
    assert_eq!(absent, None, "the registry itself has the last word");
}

#[tokio::test]
async fn a_mirror_that_has_it_spares_the_registry() {
    let (empty, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    let sample = samples::image(1, &[100_000]);
    mirror.put("team/app", "v1", &sample);
    // Nobody listens at the registry itself.
    let text = format!(
        "[[registry]]\nprefix = \"quay.test\"\nlocation = \"127.0.0.1:1\"\n\
         [[registry.mirror]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        empty.host(),
        mirror.host()
    );
    let client = Client::new(with_conf(text)).unwrap();
    for _ in 0..3 {
        client.manifest(&quay(), "v1", &Ctx::default()).await.unwrap().unwrap();
    }
    assert_eq!(empty.requests().len(), 1, "who answered once is asked first");
}

#[tokio::test]
async fn a_registry_that_is_written_to_is_not_judged_by_its_mirrors() {
    let (own, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    mirror.put("team/app", "v1", &samples::image(1, &[1_000]));
    let text = format!(
        "[[registry]]\nprefix = \"quay.test\"\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        own.host(),
        mirror.host()
    );
    let far = ClientOptions { reads_from_mirrors: false, ..with_conf(text) };
    let client = Client::new(far).unwrap();
    assert_eq!(client.describe(&quay(), "v1", &Ctx::default()).await.unwrap(), None);
    assert!(mirror.requests().is_empty());
}

#[tokio::test]
async fn a_blocked_registry_is_not_asked() {
    let registry = FakeRegistry::start();
    let client = Client::new(with_conf(format!(
        "[[registry]]\nprefix = \"{}\"\nblocked = true",
        registry.host()
    )))
    .unwrap();
    let repository = super::repository(&registry);
    let err = client.manifest(&repository, "v1", &Ctx::default()).await.unwrap_err();
    assert!(matches!(err, ClientError::Blocked { .. }), "{err}");
    assert_eq!((err.class(), registry.requests().len()), (Class::Input, 0));
}

#[tokio::test]
async fn an_insecure_registry_needs_no_valid_certificate() {
    let registry = FakeRegistry::with(FakeOptions { tls: Tls::On, ..FakeOptions::default() });
    registry.put("team/app", "v1", &samples::image(1, &[100]));
    let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true", registry.host());
    let repository = super::repository(&registry);
    assert!(client().manifest(&repository, "v1", &Ctx::default()).await.is_err());
    let insecure = Client::new(with_conf(text)).unwrap();
    assert!(insecure.manifest(&repository, "v1", &Ctx::default()).await.unwrap().is_some());
}
