//! The clients that people really use, pulling what lies on volumes.

use airlift_spec::Digest;
use airlift_testkit::clients::{Containerd, mirror, podman_storage};
use airlift_testkit::need;
use airlift_testkit::samples::{self, SBOM_TYPE, SIGNATURE_TYPE, Sample};
use airlift_testkit::tools::Runner;
use serde_json::Value;

use crate::world::{SMALL, Served, World, largest, serve, volumes};

/// A signed image that a runtime can unpack, its payload split over volumes, as `quay.io/org/app:v1`.
async fn served() -> (World, Served, Sample) {
    let sample = samples::cosigned(&samples::signed(&samples::runnable_here(300_000)));
    assert!(largest(&sample).1.len() as u64 > 2 * SMALL);
    let world = World::new().with("quay.io/org/app:v1", &sample);
    let served = serve(vec![volumes(&world.cut("out", SMALL))]).await;
    (world, served, sample)
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_from_volumes_with_the_digest_unchanged() {
    let skopeo = need!("skopeo");
    let (_world, served, sample) = served().await;
    let (runner, host) = (Runner::new().unwrap(), served.address);
    let run = |args: &[&str]| runner.succeed(&skopeo, [&["--insecure-policy"], args].concat());
    let from = format!("docker://{host}/quay.io/org/app:v1");
    run(&["copy", "--preserve-digests", "--src-tls-verify=false", &from, "dir:copied"]);
    let pulled = fs_err::read(runner.home().join("copied/manifest.json")).unwrap();
    assert_eq!(Digest::of(&pulled), sample.root.digest);
    let (layer, bytes) = largest(&sample);
    assert!(fs_err::read(runner.home().join("copied").join(layer.hex())).unwrap() == bytes);
    let tags = run(&["list-tags", "--tls-verify=false", &format!("docker://{host}/org/app")]);
    let tags: Value = serde_json::from_str(&tags).unwrap();
    assert_eq!(tags["Tags"].as_array().unwrap().len(), 4, "{tags}");
    let pushed = runner.run(
        &skopeo,
        ["--insecure-policy", "copy", "--dest-tls-verify=false", "dir:copied", &from],
    );
    assert!(!pushed.unwrap().is_success(), "a push went through");
}

#[tokio::test(flavor = "multi_thread")]
async fn crane_pulls_validates_and_lists() {
    let crane = need!("crane");
    let (_world, served, sample) = served().await;
    let (runner, host) = (Runner::new().unwrap(), served.address);
    let run = |args: &[&str]| runner.succeed(&crane, [&["--insecure"], args].concat());
    let image = format!("{host}/quay.io/org/app:v1");
    assert_eq!(run(&["digest", &image]).trim(), sample.root.digest.to_string());
    run(&["validate", "--remote", &image]);
    assert_eq!(lines(&run(&["ls", &format!("{host}/quay.io/org/app")])).len(), 4);
    assert_eq!(lines(&run(&["catalog", &host.to_string()])), ["quay.io/org/app"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn regctl_copies_with_referrers_and_cosign_s_tags() {
    let regctl = need!("regctl");
    let (_world, served, sample) = served().await;
    let (runner, host) = (Runner::new().unwrap(), served.address.to_string());
    let run = |args: &[&str]| runner.succeed(&regctl, args.iter().copied());
    run(&["registry", "set", "--tls", "disabled", &host]);
    let image = format!("{host}/quay.io/org/app:v1");
    run(&["image", "copy", "--referrers", "--digest-tags", &image, "ocidir://layout:v1"]);
    for manifest in &sample.manifests {
        let path = runner.home().join("layout/blobs").join(manifest.digest.path());
        assert!(fs_err::read(path).unwrap() == manifest.bytes, "{}", manifest.digest);
    }
    let list = ["artifact", "list", "--filter-artifact-type", SBOM_TYPE, "--format", "{{json .}}"];
    let found = run(&[&list[..], &[image.as_str()]].concat());
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["descriptors"].as_array().unwrap().len(), 1, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oras_discovers_what_is_said_about_an_image_and_pulls_it() {
    let oras = need!("oras");
    let (_world, served, sample) = served().await;
    let (runner, host) = (Runner::new().unwrap(), served.address);
    let run = |args: &[&str]| runner.succeed(&oras, args.iter().copied());
    let image = format!("{host}/quay.io/org/app:v1");
    let found = run(&["discover", "--plain-http", "--depth", "1", "--format", "json", &image]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let mut types: Vec<&str> = found["referrers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|referrer| referrer["artifactType"].as_str().unwrap())
        .collect();
    types.sort_unstable();
    assert_eq!(types, [SBOM_TYPE, SIGNATURE_TYPE], "{found}");
    run(&["copy", "--from-plain-http", "--to-oci-layout", "-r", &image, "layout:v1"]);
    for (digest, bytes) in &samples::signed(&samples::runnable_here(300_000)).blobs {
        let path = runner.home().join("layout/blobs").join(digest.path());
        assert!(fs_err::read(path).unwrap() == *bytes, "{digest}");
    }
    assert_eq!(run(&["resolve", "--plain-http", &image]).trim(), sample.root.digest.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_and_unpacks() {
    let podman = need!("podman");
    let (_world, served, sample) = served().await;
    let runner = Runner::new().unwrap();
    let storage = podman_storage(&runner);
    let run = |args: &[&str]| {
        let storage = storage.iter().map(String::as_str);
        runner.succeed(&podman, storage.chain(args.iter().copied()))
    };
    let image = format!("{}/quay.io/org/app:v1", served.address);
    run(&["pull", "--tls-verify=false", &image]);
    let digest = run(&["image", "inspect", "--format", "{{.Digest}}", &image]);
    assert_eq!(digest.trim(), sample.root.digest.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pulls_through_a_mirror_and_names_the_host() {
    let (containerd, ctr) = (need!("containerd"), need!("ctr"));
    // Two hosts with one path: only the host that comes beside it tells them apart.
    let (ours, theirs) = (samples::runnable_here(300_000), samples::runnable_here(200));
    let world = World::new().with("quay.io/org/app:v1", &ours).with("ghcr.io/org/app:v1", &theirs);
    let served = serve(vec![volumes(&world.cut("out", SMALL))]).await;
    let runner = Runner::new().unwrap();
    let Some(daemon) = Containerd::start(&runner, &containerd) else { return };
    let hosts = mirror(&runner, "quay.io", &format!("http://{}", served.address));
    let socket = daemon.socket();
    let fetch = ["-a", socket, "content", "fetch", "--hosts-dir", &hosts, "quay.io/org/app:v1"];
    runner.succeed(&ctr, fetch);
    let found = runner.succeed(&ctr, ["-a", socket, "images", "ls"]);
    assert!(found.contains(&ours.root.digest.to_string()), "{found}");
    let content = runner.succeed(&ctr, ["-a", socket, "content", "ls", "-q"]);
    assert!(content.contains(&largest(&ours).0.to_string()), "{content}");
}
