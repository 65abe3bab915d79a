//! Loads into the registries that people run, read back by the clients that people use.

use std::collections::BTreeSet;

use airlift_bundle::load::Fate;
use airlift_spec::oci::referrers_tag;
use airlift_testkit::real::{Kind, RealOptions, RealRegistry};
use airlift_testkit::tools::Runner;
use airlift_testkit::{need, samples};

use super::world::{World, codes, fates};

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

fn world(registry: &RealRegistry) -> World {
    let mut world = World::new();
    world.host = registry.host();
    world
}

fn start(kind: Kind) -> Option<RealRegistry> {
    start_with(kind, &RealOptions::default())
}

fn start_with(kind: Kind, options: &RealOptions) -> Option<RealRegistry> {
    let program = airlift_testkit::tools::tool(kind.program());
    let Some(program) = program else {
        airlift_testkit::tools::skip(&format!("needs {}", kind.program()));
        return None;
    };
    Some(RealRegistry::start(&program, options).unwrap())
}

async fn everything_arrives(kind: Kind) {
    let (crane, skopeo, regctl) = (need!("crane"), need!("skopeo"), need!("regctl"));
    let Some(registry) = start(kind) else { return };
    let mut world = world(&registry);
    world.pin("demo", "quay.io/org/image:1", &samples::runnable_here(70_000));
    world.pin("demo", "quay.io/org/index:1", &samples::index(2, &PLATFORMS, 3000));
    world.pin("demo", "docker.io/library/list:1", &samples::docker_list(3, &PLATFORMS, 3000));
    world.pin("demo", "quay.io/org/attested:1", &samples::attested_index(5, &PLATFORMS, 2000));
    world.pin("demo", "quay.io/org/artifact:1", &samples::artifact(7, 500));
    let signed = samples::signed(&samples::image(9, &[800]));
    world.pin("demo", "quay.io/org/signed:1", &signed);
    world.pin("demo", "quay.io/org/cosigned:1", &samples::cosigned(&samples::image(10, &[800])));
    for (at, image) in samples::sharing_layers(11, 3, 40_000, 100).iter().enumerate() {
        world.pin("demo", &format!("quay.io/shared/image{at}:1"), image);
    }
    let report = world.load_all().await;
    assert!(report.totals.blobs_mounted >= 2, "{report:#?}");

    let plan = world.plan().await.unwrap();
    assert!(plan.is_empty(), "{plan}");
    let again = world.run(&plan).await;
    assert!(again.artifacts.iter().all(|outcome| outcome.result == Fate::Present), "{again:#?}");

    let runner = Runner::new().unwrap();
    let there = |path: &str| format!("{}/mirror/{path}", registry.host());
    for artifact in &world.lock("demo").artifacts {
        let name = there(&format!("{}:1", artifact.reference.repository()));
        let digest = runner.succeed(&crane, ["digest", "--insecure", &name]);
        assert_eq!(digest.trim(), artifact.digest.unwrap().to_string(), "{name}");
        for child in &artifact.children {
            let child = there(&format!("{}@{}", artifact.reference.repository(), child.digest));
            runner.succeed(&crane, ["manifest", "--insecure", &child]);
        }
    }
    let image = there("quay.io/org/image:1");
    runner.succeed(&crane, ["validate", "--insecure", "--remote", &image]);
    let folder = runner.home().join("copy").display().to_string();
    let copy = ["copy", "--all", "--src-tls-verify=false"];
    let index = there("quay.io/org/index:1");
    runner.succeed(
        &skopeo,
        copy.into_iter().chain([&*format!("docker://{index}"), &*format!("dir:{folder}")]),
    );

    let host = registry.host();
    runner.succeed(&regctl, ["registry", "set", "--tls", "disabled", &host]);
    let name = there("quay.io/org/signed:1");
    let list = ["artifact", "list", &name, "--format", "{{jsonPretty .}}"];
    let listed = runner.succeed(&regctl, list);
    let about: BTreeSet<String> = signed
        .referrers()
        .into_iter()
        .filter(|(_, subject)| *subject == signed.root.digest)
        .map(|(manifest, _)| manifest.digest.to_string())
        .collect();
    assert!(about.iter().all(|digest| listed.contains(digest)), "{listed}");
    let state = runner.succeed(&regctl, ["artifact", "get", &there("airlift-state:demo")]);
    assert!(state.contains("\"stack\": \"demo\""), "{state}");
}

/// docker-registry 2.8 refuses a manifest, as if its digest were wrong, while another client writes the link to one of
/// its blobs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_loads_into_docker_registry_at_once_both_succeed() {
    let Some(registry) = start(Kind::Docker2) else { return };
    for round in 0..12 {
        let mut world = world(&registry);
        let stack = format!("round{round}");
        for at in 0..12 {
            let image = samples::image(100 * round + at, &[2_000, 3_000, 4_000]);
            world.pin(&stack, &format!("quay.io/org/image{at}:{round}"), &image);
        }
        let (one, two) = tokio::join!(world.load(), world.load());
        assert_eq!((one.class(), two.class()), (None, None), "{one:#?} {two:#?}");
    }
}

#[tokio::test]
async fn everything_arrives_in_docker_registry() {
    everything_arrives(Kind::Docker2).await;
}

#[tokio::test]
async fn everything_arrives_in_distribution() {
    everything_arrives(Kind::Distribution3).await;
}

async fn a_sparse_index_is_refused(kind: Kind) {
    let Some(registry) = start(kind) else { return };
    let mut world = world(&registry);
    let sparse = |seed, bytes| samples::sparse_index(seed, &PLATFORMS, "linux/amd64", bytes);
    world.pin("demo", "quay.io/org/large:1", &sparse(1, 300_000));
    world.pin("demo", "quay.io/org/small:1", &sparse(2, 1_000));
    world.pin("demo", "quay.io/org/whole:1", &samples::image(3, &[300_000]));
    let report = world.load().await;
    assert_eq!(codes(&report), ["sparse-index"], "{report:#?}");
    assert_eq!(report.class().map(airlift_spec::Class::exit_code), Some(8));
    assert!(report.totals.bytes_sent < 10_000, "{report:#?}");
    assert_eq!(fates(&report)["quay.io/org/whole:1"], Fate::NotTried);
}

#[tokio::test]
async fn docker_registry_refuses_a_sparse_index_before_the_bulk_moves() {
    a_sparse_index_is_refused(Kind::Docker2).await;
}

#[tokio::test]
async fn distribution_refuses_a_sparse_index_before_the_bulk_moves() {
    a_sparse_index_is_refused(Kind::Distribution3).await;
}

/// The setting that the refusal's help names.
#[tokio::test]
async fn distribution_takes_a_sparse_index_where_it_is_told_to() {
    let settings = "validation: {manifests: {indexes: {platforms: none}}}\n".to_owned();
    let options = RealOptions { settings, ..RealOptions::default() };
    let Some(registry) = start_with(Kind::Distribution3, &options) else { return };
    let mut world = world(&registry);
    let sparse = samples::sparse_index(1, &PLATFORMS, "linux/amd64", 3_000);
    world.pin("demo", "quay.io/org/app:1", &sparse);
    world.load_all().await;
    assert!(world.plan().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_oras_attached_on_the_far_side_stays() {
    let oras = need!("oras");
    let Some(registry) = start(Kind::Distribution3) else { return };
    let mut world = world(&registry);
    let image = samples::image(1, &[1000]);
    world.pin("demo", "quay.io/org/app:1", &image);
    world.load_all().await;
    let runner = Runner::new().unwrap();
    fs_err::write(runner.home().join("theirs.txt"), "theirs").unwrap();
    let name = format!("{}/mirror/quay.io/org/app:1", registry.host());
    let attach = ["attach", "--plain-http", "--artifact-type", "text/theirs", &name, "theirs.txt"];
    runner.succeed(&oras, attach);

    world.pin("demo", "quay.io/org/app:1", &samples::signed(&image));
    world.load_all().await;
    let discover = ["discover", "--plain-http", "--format", "json", &name];
    let listed = runner.succeed(&oras, discover);
    assert!(listed.contains("text/theirs"), "{listed}");
    assert!(listed.contains(samples::SBOM_TYPE), "{listed}");
    let there = world.target().client;
    let tag = referrers_tag(&image.root.digest);
    let repository = airlift_registry::client::Repository {
        host: registry.host(),
        path: "mirror/quay.io/org/app".to_owned(),
    };
    let index = there.manifest(&repository, &tag, &world.ctx).await.unwrap().unwrap();
    let index = airlift_spec::Manifest::parse(&index.bytes, None).unwrap();
    assert_eq!(index.manifests.len(), 3);
}
