//! The clients that people really use, pushing and pulling.

use std::sync::Arc;

use airlift_registry::server::{Auth, Htpasswd, ServerOptions};
use airlift_testkit::clients::{Containerd, mirror, podman_storage};
use airlift_testkit::need;
use airlift_testkit::tools::Runner;
use serde_json::Value;

use super::world::{World, bytes, digest_of};

/// A world with an image of one large layer under `org/app:v1`, and its digest.
async fn world() -> (World, String) {
    let world = World::writable().await;
    let layer = bytes(3 << 20);
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    world.push_blob("org/app", &layer).await;
    world.push_blob("org/app", config).await;
    let manifest = super::world::image(config, &[&layer]);
    world.put_manifest("org/app", "v1", &manifest).await.expect(201);
    (world, digest_of(&manifest).to_string())
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_inspects_and_deletes() {
    let skopeo = need!("skopeo");
    let (world, digest) = world().await;
    let (runner, host) = (Runner::new().unwrap(), world.address);
    let run = |args: &[&str]| runner.succeed(&skopeo, [&["--insecure-policy"], args].concat());
    let (from, to) = (format!("docker://{host}/org/app:v1"), format!("docker://{host}/new/app:v2"));
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    run(&["copy", "--preserve-digests", plain[0], plain[1], &from, &to]);
    run(&["copy", "--preserve-digests", plain[0], &from, "dir:copied"]);
    let pulled = fs_err::read(runner.home().join("copied/manifest.json")).unwrap();
    assert_eq!(airlift_spec::Digest::of(&pulled).to_string(), digest);
    let inspected: Value =
        serde_json::from_str(&run(&["inspect", "--no-tags=false", "--tls-verify=false", &to]))
            .unwrap();
    assert_eq!((&inspected["Digest"], &inspected["RepoTags"][0]), (&digest.into(), &"v2".into()));
    run(&["delete", "--tls-verify=false", &to]);
    world.get("/v2/new/app/manifests/v2").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn crane_copies_validates_and_lists() {
    let crane = need!("crane");
    let (world, digest) = world().await;
    let (runner, host) = (Runner::new().unwrap(), world.address);
    let run = |args: &[&str]| runner.succeed(&crane, [&["--insecure"], args].concat());
    let (from, to) = (format!("{host}/org/app:v1"), format!("{host}/new/app:v2"));
    run(&["copy", &from, &to]);
    assert_eq!(run(&["digest", &to]).trim(), digest);
    run(&["pull", "--format=oci", &to, "pulled"]);
    run(&["push", "pulled", &format!("{host}/back/app:v3")]);
    assert_eq!(run(&["digest", &format!("{host}/back/app:v3")]).trim(), digest);
    assert_eq!(lines(&run(&["ls", &format!("{host}/new/app")])), ["v2"]);
    let repositories = run(&["catalog", &host.to_string()]);
    assert_eq!(lines(&repositories), ["back/app", "new/app", "org/app"]);
    run(&["delete", &format!("{host}/new/app@{digest}")]);
    world.get("/v2/new/app/manifests/v2").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn regctl_copies_in_chunks_and_lists_by_pages() {
    let regctl = need!("regctl");
    let (world, digest) = world().await;
    let (runner, host) = (Runner::new().unwrap(), world.address.to_string());
    let run = |args: &[&str]| runner.succeed(&regctl, args.iter().copied());
    run(&[
        "registry",
        "set",
        "--tls",
        "disabled",
        "--blob-chunk",
        "1000000",
        "--blob-max",
        "100000",
        &host,
    ]);
    let layout = "ocidir://layout:v1";
    run(&["image", "copy", &format!("{host}/org/app:v1"), layout]);
    run(&["image", "copy", layout, &format!("{host}/new/app:v2")]);
    run(&["image", "copy", layout, &format!("{host}/new/app:v3")]);
    assert_eq!(run(&["image", "digest", &format!("{host}/new/app:v2")]).trim(), digest);
    let page = run(&["tag", "ls", "--limit", "1", "--last", "v2", &format!("{host}/new/app")]);
    assert_eq!(lines(&page), ["v3"]);
    run(&["tag", "rm", &format!("{host}/new/app:v2")]);
    assert_eq!(lines(&run(&["tag", "ls", &format!("{host}/new/app")])), ["v3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn oras_attaches_discovers_and_pulls() {
    let oras = need!("oras");
    let (world, digest) = world().await;
    let (runner, host) = (Runner::new().unwrap(), world.address);
    let run = |args: &[&str]| runner.succeed(&oras, args.iter().copied());
    let subject = format!("{host}/org/app:v1");
    fs_err::write(runner.home().join("sbom.json"), "{\"sbom\": true}").unwrap();
    run(&["attach", "--plain-http", "--artifact-type", "application/sbom", &subject, "sbom.json"]);
    let found = run(&["discover", "--plain-http", "--format", "json", &subject]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let referrers = found["referrers"].as_array().or(found["manifests"].as_array()).unwrap();
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0]["artifactType"], "application/sbom");
    let referrer = format!("{host}/org/app@{}", referrers[0]["digest"].as_str().unwrap());
    fs_err::create_dir(runner.home().join("out")).unwrap();
    run(&["pull", "--plain-http", "-o", "out", &referrer]);
    assert!(runner.home().join("out/sbom.json").is_file());
    let answer = world.get(&format!("/v2/org/app/referrers/{digest}")).await.expect(200);
    assert_eq!(answer.json()["manifests"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_logs_in_pulls_and_pushes() {
    let podman = need!("podman");
    let line = format!("ann:{}\n", bcrypt::hash("secret", 4).unwrap());
    let auth = Auth::Required(Arc::new(Htpasswd::parse(&line).unwrap()));
    let world = World::with(ServerOptions { auth, ..ServerOptions::default() }).await;
    let (runner, host) = (Runner::new().unwrap(), world.address);
    let storage = podman_storage(&runner);
    let podman = |args: &[&str]| {
        let storage = storage.iter().map(String::as_str);
        let args: Vec<&str> = storage.chain(args.iter().copied()).collect();
        runner.run(&podman, args).unwrap()
    };
    let image = format!("{host}/org/app:v1");
    fs_err::write(runner.home().join("layer.tar"), [0; 1024]).unwrap();
    let imported = podman(&["import", "layer.tar", &image]);
    assert!(imported.is_success(), "{imported}");
    let push = ["push", "--tls-verify=false", &image];
    assert!(!podman(&push).is_success(), "a push without a user went through");
    let login = ["login", "--tls-verify=false", "-u", "ann", "-p", "secret", &host.to_string()];
    for args in [login.as_slice(), &push, &["rmi", &image], &["pull", "--tls-verify=false", &image]]
    {
        let ran = podman(args);
        assert!(ran.is_success(), "{args:?}\n{ran}");
    }
    let wrong =
        podman(&["login", "--tls-verify=false", "-u", "ann", "-p", "no", &host.to_string()]);
    assert!(!wrong.is_success(), "a wrong password was let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pulls_through_a_mirror_and_names_the_host() {
    let (containerd, ctr) = (need!("containerd"), need!("ctr"));
    let world = World::writable().await;
    // Two hosts with one path: only the host that comes beside it tells them apart.
    let ours = digest_of(&world.push_image("quay.io/org/app", "v1", "ours").await);
    world.push_image("ghcr.io/org/app", "v1", "theirs").await;
    let runner = Runner::new().unwrap();
    let Some(daemon) = Containerd::start(&runner, &containerd) else { return };
    let hosts = mirror(&runner, "quay.io", &format!("http://{}", world.address));
    let socket = daemon.socket();
    let fetch = ["-a", socket, "content", "fetch", "--hosts-dir", &hosts, "quay.io/org/app:v1"];
    runner.succeed(&ctr, fetch);
    let found = runner.succeed(&ctr, ["-a", socket, "images", "ls"]);
    assert!(found.contains(&ours.to_string()), "{found}");
}
