//! Images that are taken out of registries again.

use airlift_bundle::load::Target;
use airlift_bundle::remove::{Removal, RemoveError, RemoveOptions, Removed, Wish, remove};
use airlift_registry::client::{Client, ClientOptions, Repository};
use airlift_spec::oci::referrers_tag;
use airlift_spec::placement::keep_alive_tag;
use airlift_spec::{Class, Ctx, Digest, Explain as _, Layout};
use airlift_testkit::real::{Kind, RealOptions, RealRegistry};
use airlift_testkit::registry::{Auth, Credentials, FakeOptions};
use airlift_testkit::tools::Runner;
use airlift_testkit::{FakeRegistry, Fault, On, need, samples};
use http::Method;
use std::num::NonZeroUsize;
use std::time::Duration;

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

fn target(host: &str) -> Target {
    let mut options =
        ClientOptions { attempts: NonZeroUsize::new(2).unwrap(), ..ClientOptions::default() };
    options.tuning.backoff_first = Duration::from_millis(1);
    options.tuning.backoff_max = Duration::from_millis(2);
    let (client, host) = (Client::new(options).unwrap(), host.to_owned());
    Target { client, host, prefix: "ns".to_owned(), layout: Layout::OcMirror }
}

fn options() -> RemoveOptions {
    let parallel = NonZeroUsize::new(4).unwrap();
    RemoveOptions { parallel, dry_run: false, stack: "mirror".to_owned() }
}

fn wish(repository: &str, tag: &str) -> Wish {
    Wish { repository: repository.to_owned(), tag: Some(tag.to_owned()), digest: None }
}

fn by_digest(repository: &str, digest: Digest) -> Wish {
    Wish { digest: Some(digest), ..wish(repository, &referrers_tag(&digest)) }
}

async fn run(host: &str, wishes: &[Wish]) -> Result<Vec<Removal>, RemoveError> {
    remove(wishes, &target(host), &options(), &Ctx::default()).await
}

/// `name: what became of it`, one for each name.
fn said(removals: &[Removal]) -> Vec<String> {
    let result = |removal: &Removal| match &removal.result {
        Removed::Deleted => "deleted".to_owned(),
        Removed::Gone => "gone".to_owned(),
        Removed::Kept { untagged, .. } => format!("kept, untagged: {untagged}"),
        Removed::Failed(failure) => format!("failed: {:?}", failure.class),
    };
    removals
        .iter()
        .map(|it| format!("{}: {}", it.tag.clone().unwrap_or_default(), result(it)))
        .collect()
}

#[tokio::test]
async fn what_is_listed_goes_and_a_second_run_finds_it_gone() {
    let registry = FakeRegistry::start();
    let (one, two) = (samples::image(1, &[900]), samples::index(2, &PLATFORMS, 700));
    registry.put("ns/a", "v1", &one);
    registry.put("ns/a", "v2", &two);
    registry.put("ns/b", &keep_alive_tag(&one.root.digest), &one);
    let wishes = [wish("ns/a", "v1"), by_digest("ns/b", one.root.digest), wish("ns/none", "v1")];

    let removals = run(&registry.host(), &wishes).await.unwrap();
    let by_tag = referrers_tag(&one.root.digest);
    assert_eq!(said(&removals), ["v1: deleted", &format!("{by_tag}: deleted"), "v1: gone"]);
    assert_eq!(registry.tags("ns/a").keys().collect::<Vec<_>>(), ["v2"]);
    assert!(registry.tags("ns/b").is_empty());
    assert!(registry.manifest("ns/a", &one.root.digest.to_string()).is_none());
    assert_eq!(registry.count("DELETE", "/blobs/"), 0);

    registry.forget_requests();
    let again = run(&registry.host(), &wishes).await.unwrap();
    assert!(again.iter().all(|it| it.result == Removed::Gone), "{again:#?}");
    assert_eq!(registry.count("DELETE", ""), 0, "{}", registry.transcript());
}

#[tokio::test]
async fn what_others_use_stays_and_only_the_tag_goes() {
    let registry = FakeRegistry::start();
    let image = samples::image(1, &[900]);
    registry.put("ns/a", "v1", &image);
    registry.tag("ns/a", "stable", image.root.digest);
    let removals = run(&registry.host(), &[wish("ns/a", "v1")]).await.unwrap();
    assert_eq!(said(&removals), ["v1: kept, untagged: true"]);
    assert_eq!(registry.tags("ns/a").keys().collect::<Vec<_>>(), ["stable"]);
    assert!(registry.manifest("ns/a", "stable").is_some());
}

#[tokio::test]
async fn a_platform_of_an_index_that_stays_is_not_deleted() {
    let registry = FakeRegistry::start();
    let index = samples::index(3, &PLATFORMS, 700);
    let child = index.manifests.iter().find(|it| it.digest != index.root.digest).unwrap().digest;
    registry.put("ns/a", "multi", &index);
    registry.tag("ns/a", &keep_alive_tag(&child), child);
    let wishes = [by_digest("ns/a", child)];
    let removals = run(&registry.host(), &wishes).await.unwrap();
    assert!(
        matches!(&removals[0].result, Removed::Kept { why, .. } if why.contains("part of the index")),
        "{removals:#?}"
    );
    assert!(registry.manifest("ns/a", &child.to_string()).is_some());
    // With the index on the list, too, nothing holds it.
    let removals =
        run(&registry.host(), &[wishes[0].clone(), wish("ns/a", "multi")]).await.unwrap();
    assert!(removals.iter().all(|it| it.result == Removed::Deleted), "{removals:#?}");
    let deletes: Vec<String> = registry
        .requests()
        .into_iter()
        .filter(|it| it.method == "DELETE" && it.status == Some(202))
        .map(|it| it.path.rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(deletes, [index.root.digest.to_string(), child.to_string()], "indexes go first");
}

#[tokio::test]
async fn a_look_deletes_nothing() {
    let registry = FakeRegistry::start();
    registry.put("ns/a", "v1", &samples::image(1, &[900]));
    let options = RemoveOptions { dry_run: true, ..options() };
    let wishes = [wish("ns/a", "v1")];
    let removals = remove(&wishes, &target(&registry.host()), &options, &Ctx::default()).await;
    assert_eq!(said(&removals.unwrap()), ["v1: deleted"]);
    assert_eq!(registry.count("DELETE", ""), 0);
    assert!(registry.tags("ns/a").contains_key("v1"));
}

#[tokio::test]
async fn a_registry_without_deletion_is_told_by_its_setting() {
    let registry = FakeRegistry::start();
    registry.put("ns/a", "v1", &samples::image(1, &[900]));
    let on = On::manifests().method(Method::DELETE);
    registry.fail_always(on, Fault::Status(405, Vec::new()));
    let err = run(&registry.host(), &[wish("ns/a", "v1")]).await.unwrap_err();
    assert!(matches!(err, RemoveError::Off { .. }), "{err:?}");
    assert!(err.help().unwrap().contains("REGISTRY_STORAGE_DELETE_ENABLED=true"));
}

#[tokio::test]
async fn a_refusal_spares_the_rest_and_the_next_run_tries_only_that() {
    let registry = FakeRegistry::start();
    for (seed, repository) in [(1, "ns/a"), (2, "ns/b")] {
        registry.put(repository, "v1", &samples::image(seed, &[900]));
    }
    let on = || On::path("/ns/a/manifests/").method(Method::DELETE);
    let wishes = [wish("ns/a", "v1"), wish("ns/b", "v1")];
    registry.fail_once(on(), Fault::Status(403, Vec::new()));
    let removals = run(&registry.host(), &wishes).await.unwrap();
    assert_eq!(said(&removals), ["v1: failed: Access", "v1: deleted"]);
    // What somebody else deleted meanwhile is gone, too.
    registry.fail_once(on(), Fault::Status(404, Vec::new()));
    assert_eq!(said(&run(&registry.host(), &wishes).await.unwrap()), ["v1: gone", "v1: gone"]);
    // What may pass is tried again.
    registry.fail_once(on(), Fault::Status(503, Vec::new()));
    assert_eq!(said(&run(&registry.host(), &wishes).await.unwrap()), ["v1: deleted", "v1: gone"]);
}

#[tokio::test]
async fn who_may_not_in_is_told_before_anything_is_asked_for() {
    let credentials = Credentials { user: "u".into(), password: "p".into() };
    let auth = Auth::Basic(credentials);
    let registry = FakeRegistry::with(FakeOptions { auth, ..FakeOptions::default() });
    registry.put("ns/a", "v1", &samples::image(1, &[900]));
    let err = run(&registry.host(), &[wish("ns/a", "v1")]).await.unwrap_err();
    assert_eq!(err.class(), Class::Access, "{err:?}");
    assert!(err.help().unwrap().contains("airlift login"), "{err:?}");
    assert!(registry.tags("ns/a").contains_key("v1"));
}

#[tokio::test]
async fn a_run_that_is_cut_off_goes_on() {
    let registry = FakeRegistry::start();
    let repositories: Vec<String> = (0..4).map(|at| format!("ns/r{at}")).collect();
    for (at, repository) in repositories.iter().enumerate() {
        registry.put(repository, "v1", &samples::image(at as u64, &[900]));
    }
    let wishes: Vec<Wish> = repositories.iter().map(|it| wish(it, "v1")).collect();
    let on = On::path("/ns/r2/manifests/").method(Method::DELETE);
    registry.fail_once(on, Fault::Hang);
    let ctx = Ctx::default();
    let one = RemoveOptions { parallel: NonZeroUsize::MIN, ..options() };
    let target = target(&registry.host());
    let (cancel, there) = (ctx.cancel.clone(), || registry.count("DELETE", "/ns/r2/"));
    let (cut, ()) = futures::join!(remove(&wishes, &target, &one, &ctx), async {
        while there() == 0 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert_eq!(cut.unwrap_err().class(), Class::Cancelled);
    let left = repositories.iter().filter(|it| !registry.tags(it).is_empty()).count();
    assert_eq!(left, 2, "what came before is gone");
    let again = said(&run(&registry.host(), &wishes).await.unwrap());
    assert_eq!(again, ["v1: gone", "v1: gone", "v1: deleted", "v1: deleted"]);
}

fn start(kind: Kind, options: &RealOptions) -> Option<RealRegistry> {
    let program = airlift_testkit::tools::tool(kind.program());
    let Some(program) = program else {
        airlift_testkit::tools::skip(&format!("needs {}", kind.program()));
        return None;
    };
    Some(RealRegistry::start(&program, options).unwrap())
}

/// Pushes an image as another tool does, under every one of these tags.
fn push(host: &str, repository: &str, tags: &[&str]) -> Digest {
    let crane = airlift_testkit::tools::tool("crane").unwrap();
    let upstream = FakeRegistry::start();
    let image = samples::image(7, &[900]);
    upstream.put("app", "v1", &image);
    let runner = Runner::new().unwrap();
    for tag in tags {
        let (from, to) = (upstream.reference("app", "v1"), format!("{host}/{repository}:{tag}"));
        runner.succeed(&crane, ["copy", "--insecure", &from, &to]);
    }
    image.root.digest
}

async fn a_real_registry_keeps_what_others_use(kind: Kind, can_untag: bool) {
    let _crane = need!("crane");
    let Some(registry) = start(kind, &RealOptions::default()) else { return };
    let host = registry.host();
    let digest = push(&host, "ns/shared", &["v1", "stable"]);
    push(&host, "ns/own", &["v1"]);
    let wishes = [wish("ns/own", "v1"), wish("ns/shared", "v1")];
    let removals = run(&host, &wishes).await.unwrap();
    let kept = format!("v1: kept, untagged: {can_untag}");
    assert_eq!(said(&removals), ["v1: deleted", &kept]);
    let (client, ctx) = (target(&host).client, Ctx::default());
    let at = |path: &str| Repository { host: host.clone(), path: path.to_owned() };
    let stable = client.describe(&at("ns/shared"), "stable", &ctx).await.unwrap();
    assert_eq!(stable.map(|it| it.digest), Some(digest), "others still have it");
    let tag = client.describe(&at("ns/shared"), "v1", &ctx).await.unwrap();
    assert_eq!(tag.is_none(), can_untag);
    for wanted in ["v1".to_owned(), digest.to_string()] {
        assert_eq!(client.describe(&at("ns/own"), &wanted, &ctx).await.unwrap(), None);
    }
    let removals = run(&host, &[wishes[0].clone()]).await.unwrap();
    assert_eq!(said(&removals), ["v1: gone"]);
    // With all of its tags on the list, it goes.
    let removals =
        run(&host, &[wish("ns/shared", "v1"), wish("ns/shared", "stable")]).await.unwrap();
    assert!(removals.iter().any(|it| it.result == Removed::Deleted), "{removals:#?}");
    let left = client.describe(&at("ns/shared"), &digest.to_string(), &ctx).await.unwrap();
    assert_eq!(left, None);
}

#[tokio::test]
async fn docker_registry_keeps_what_others_use() {
    a_real_registry_keeps_what_others_use(Kind::Docker2, false).await;
}

#[tokio::test]
async fn distribution_keeps_what_others_use() {
    a_real_registry_keeps_what_others_use(Kind::Distribution3, true).await;
}

#[tokio::test]
async fn real_registries_with_deletion_off_are_told_by_their_setting() {
    let _crane = need!("crane");
    for kind in [Kind::Docker2, Kind::Distribution3] {
        let options = RealOptions { deletes: false, ..RealOptions::default() };
        let Some(registry) = start(kind, &options) else { return };
        let host = registry.host();
        push(&host, "ns/own", &["v1"]);
        let err = run(&host, &[wish("ns/own", "v1")]).await.unwrap_err();
        assert!(matches!(err, RemoveError::Off { .. }), "{kind:?}: {err:?}");
    }
}
