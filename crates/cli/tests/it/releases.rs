//! Releases of OpenShift: from a graph and what signs them to the registry that a cluster installs from.

use airlift_spec::Digest;
use airlift_testkit::openshift::{Published, Signer, graph};
use airlift_testkit::real::{RealOptions, RealRegistry};
use airlift_testkit::tools::{Runner, tool};
use airlift_testkit::{FakeRegistry, Fault, On};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::{airlift, document, succeed, trust_own_key};

/// None where there is no `gpg`.
fn published() -> Option<Published> {
    Published::new(env!("CARGO_BIN_EXE_airlift"))
}

const NEWEST: &str = "    channels: [{name: stable-4.20}]\n";

#[test]
fn a_release_goes_over_a_disk_to_where_a_cluster_looks_for_it() {
    let Some(published) = published() else { return };
    let world = &published.world;
    published.write_set(&format!("{NEWEST}    graph: true\n    kubeVirtContainer: true\n"));
    trust_own_key(world);
    succeed(world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]);
    let answer = "disk/working-dir/hold-release/cincinnati-graph-data/amd64-stable-4.20.json";
    assert!(String::from_utf8(world.read(answer).unwrap()).unwrap().contains("4.20.2"));

    let far = FakeRegistry::start();
    let to = format!("docker://{}/ns", far.host());
    succeed(world, ["oc-mirror", "-c", "isc.yaml", "--from", "file://disk", &to, "--v2"]);
    let releases = far.tags("ns/openshift/release-images");
    assert_eq!(releases["4.20.2-x86_64"], published.newest);
    let parts: Vec<String> = far.tags("ns/openshift/release").into_keys().collect();
    let expected = ["4.20.2-x86_64-cli", "4.20.2-x86_64-etcd", "4.20.2-x86_64-kube-virt-container"];
    assert_eq!(parts, expected);
    assert!(far.tags("ns/openshift/graph-image").contains_key("latest"));
    assert_eq!(far.repositories().iter().filter(|it| it.contains("dev/")).count(), 0);

    let resources = "disk/working-dir/cluster-resources";
    let read = |name: &str| {
        let file = world.read(&format!("{resources}/{name}"));
        String::from_utf8(file.unwrap_or_else(|err| panic!("{name}: {err}"))).unwrap()
    };
    let service = read("updateService.yaml");
    assert!(
        service
            .contains(&format!("graphDataImage: {}/ns/openshift/graph-image:latest", far.host()))
    );
    let signatures = read("signature-configmap.yaml");
    let key = format!("{}-1:", published.newest.to_string().replace(':', "-"));
    assert!(signatures.contains(&key), "{signatures}");
    let mirrors = read("idms-oc-mirror.yaml");
    assert!(
        mirrors.contains(&format!("source: {}/dev/art", published.registry.host())),
        "{mirrors}"
    );
    assert!(mirrors.contains(&format!("- {}/ns/openshift/release\n", far.host())), "{mirrors}");
    let name = published.newest.to_string().replace(':', "-");
    let kept = world.read(&format!("disk/working-dir/signatures/4.20.2-x86_64-{name}")).unwrap();
    assert!(signatures.contains(&STANDARD.encode(kept)));
}

/// The registry that most far sides have, and the client that most of them are looked at with.
#[test]
fn a_real_registry_has_the_very_release_and_takes_it_twice() {
    let registry = airlift_testkit::need!("docker-registry");
    let skopeo = airlift_testkit::need!("skopeo");
    let Some(published) = published() else { return };
    let world = &published.world;
    published.write_set(&format!("{NEWEST}    graph: true\n"));
    let far = RealRegistry::start(&registry, &RealOptions::default()).unwrap();
    let to = format!("docker://{}/ns", far.host());
    let args = ["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws", &to, "--v2"];
    succeed(world, args);
    let runner = Runner::new().unwrap();
    let raw = |name: &str| {
        let name = format!("{to}/openshift/{name}");
        runner.succeed(&skopeo, ["inspect", "--tls-verify=false", "--raw", &name])
    };
    let release = raw("release-images:4.20.2-x86_64");
    assert!(published.newest.matches(release.as_bytes()), "{release}");
    assert!(raw("release:4.20.2-x86_64-cli").contains("layers"));
    assert!(raw("graph-image:latest").contains("manifests"));
    let again = succeed(world, args);
    assert!(again.contains("0 brought, 4 there before"), "{again}");
}

#[test]
fn a_second_run_asks_nobody_and_a_lock_says_why_each_part_is_there() {
    let Some(published) = published() else { return };
    let world = &published.world;
    let text =
        "version: 1\nname: ocp\nsources: [{openshift: stable-4.20, from: 4.20.1, graph: true}]\n";
    world.write("airlift.yaml", text).unwrap();
    let resolved = document(world, ["resolve"]);
    // Two releases, an image that both have, one of each, and the graph.
    assert_eq!(resolved["artifacts"], 6, "{resolved:#}");
    published.registry.forget_requests();
    succeed(world, ["resolve", "--locked"]);
    let again = document(world, ["resolve", "--offline"]);
    assert_eq!(again["isChanged"], false, "{again:#}");
    succeed(world, ["resolve"]);
    assert_eq!(published.registry.transcript(), "");
    let tree = document(world, ["tree"]);
    let artifacts = tree["artifacts"].as_array().unwrap();
    let cli = artifacts.iter().find(|it| it["because"].as_array().unwrap().len() == 2);
    let paths = &cli.unwrap_or_else(|| panic!("{tree:#}"))["because"];
    assert_eq!(paths[0]["path"], "image-references[cli]", "{paths:#}");
    // A store that has nothing makes the graph image again.
    succeed(world, ["fetch", "--store", "other"]);
    let brought = succeed(world, ["fetch", "--store", "other"]);
    assert!(brought.contains("6 of 6 artifacts complete, 0 blobs"), "{brought}");
}

/// Locks are texts that anybody may write.
#[test]
fn a_signature_is_not_believed_because_a_lock_has_one() {
    let Some(published) = published() else { return };
    let world = &published.world;
    world
        .write("airlift.yaml", "version: 1\nname: ocp\nsources: [{openshift: stable-4.20}]\n")
        .unwrap();
    succeed(world, ["resolve"]);
    let lock = String::from_utf8(world.read("airlift.lock").unwrap()).unwrap();
    let signature = |line: &&str| line.trim_start().starts_with("\"signature\": ");
    let line = lock.lines().find(signature).unwrap();
    let other = format!("{}\"AA==\",", &line[..line.find(": ").unwrap() + 2]);
    world.write("airlift.lock", lock.replace(line, &other)).unwrap();
    published.registry.forget_requests();
    succeed(world, ["resolve"]);
    assert_ne!(published.registry.transcript(), "", "it is looked into again");
    assert_eq!(String::from_utf8(world.read("airlift.lock").unwrap()).unwrap(), lock);
}

#[test]
fn a_newer_release_is_taken_when_that_is_asked_for_and_not_before() {
    let Some(published) = published() else { return };
    let (registry, world) = (&published.registry, &published.world);
    let graph_of = |releases: &[(&str, String)]| {
        registry.put_file("/v1/graph?arch=amd64&channel=stable-4.20", graph(releases));
    };
    let nodes = &published.nodes;
    world
        .write("airlift.yaml", "version: 1\nname: ocp\nsources: [{openshift: stable-4.20}]\n")
        .unwrap();
    let has = |version: &str| {
        let lock = String::from_utf8(world.read("airlift.lock").unwrap()).unwrap();
        lock.contains(&format!("release-images:{version}-x86_64"))
    };
    graph_of(&nodes[..1]);
    // A line that goes dead in the middle of an answer is one to try again.
    registry.fail_once(On::get("/v1/graph"), Fault::CutAfter(40));
    registry.fail_once(On::get("/signatures/"), Fault::CutAfter(40));
    succeed(world, ["resolve"]);
    assert_eq!(registry.faults_left(), 0);
    graph_of(nodes);
    succeed(world, ["resolve"]);
    assert!(has("4.20.1") && !has("4.20.2"));
    succeed(world, ["resolve", "--update"]);
    assert!(!has("4.20.1") && has("4.20.2"));
}

#[test]
fn a_dry_run_has_the_names_of_the_peer() {
    let Some(published) = published() else { return };
    let (world, host) = (&published.world, published.registry.host());
    published.write_set(NEWEST);
    let to = "docker://far.example";
    succeed(
        world,
        ["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws", to, "--v2", "--dry-run"],
    );
    let mapping = world.read("ws/working-dir/dry-run/mapping.txt").unwrap();
    let mapping = String::from_utf8(mapping).unwrap();
    let release = format!(
        "docker://{host}/dev/release:4.20.2-x86_64=docker://far.example/openshift/release-images:4.20.2-x86_64"
    );
    assert!(mapping.lines().any(|line| line == release), "{mapping}");
    assert!(
        mapping.contains("=docker://far.example/openshift/release:4.20.2-x86_64-etcd\n"),
        "{mapping}"
    );
    assert_eq!(mapping.lines().count(), 3, "{mapping}");
    let requests = published.registry.requests();
    let graph = requests.iter().find(|it| it.path.contains("/v1/graph"));
    assert_eq!(graph.unwrap().header("accept"), Some("application/json"));
    let layer = published.registry.transcript().matches("/dev/release/blobs/").count();
    assert_eq!(layer, 1, "only the layer that says what it is made of is brought");
}

#[test]
fn a_release_that_is_here_is_not_missing() {
    let Some(published) = published() else { return };
    let world = &published.world;
    published.write_set(&format!("{NEWEST}    graph: true\n"));
    trust_own_key(world);
    let dry = ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2", "--dry-run"];
    succeed(world, dry);
    let missing = world.read("disk/working-dir/dry-run/missing.txt").unwrap();
    let missing = String::from_utf8(missing).unwrap();
    assert_eq!(missing.lines().count(), 3, "{missing}");
    succeed(world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]);
    succeed(world, dry);
    let missing = world.read("disk/working-dir/dry-run/missing.txt").map(String::from_utf8);
    assert!(missing.is_err(), "{missing:?}");
}

#[test]
fn a_release_that_nobody_trusted_has_signed_is_not_taken() {
    let Some(published) = published() else { return };
    let Published { registry, newest, world, .. } = &published;
    trust_own_key(world);
    published.write_set(NEWEST);
    let args = ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"];
    let place = format!("/signatures/{}/signature-1", newest.to_string().replace(':', "="));
    let said = |text: &str| {
        let ran = airlift(world, args);
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(format!("{ran}").contains(text), "{text}\n{ran}");
    };
    let other = Digest::of(b"another release");
    registry.put_file(&place, published.signer.sign(&other, "quay.io/o/r:1"));
    said(&format!("the signature is for {other}"));
    registry.put_file(&place, published.signer.sign_text("{}"));
    said("what is signed is no container signature");
    let gpg = tool("gpg").unwrap();
    registry.put_file(&place, Signer::new(&gpg, "ed25519").sign(newest, "quay.io/o/r:1"));
    said("no trusted key has made the signature");
    registry.put_file(&place, "<html>");
    said("is no OpenPGP in binary form");
    let all = args.into_iter().chain(["--ignore-release-signature", "--progress", "none"]);
    let ran = world.run(all).unwrap();
    assert!(ran.is_success(), "{ran}");
    let lock = String::from_utf8(world.read("disk/working-dir/airlift.lock").unwrap()).unwrap();
    assert!(lock.contains("release-unsigned") && !lock.contains("\"signature\""), "{lock}");
    // What was taken so once is not taken so for ever.
    said("is no OpenPGP in binary form");
}

#[test]
fn what_the_graph_does_not_have_is_named_with_what_it_has() {
    let Some(published) = published() else { return };
    let world = &published.world;
    let args = ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2", "--dry-run"];
    let said = |platform: &str, texts: &[&str]| {
        published.write_set(platform);
        let ran = airlift(world, args);
        assert_eq!(ran.code, Some(2), "{ran}");
        for text in texts {
            assert!(format!("{ran}").contains(text), "{text}\n{ran}");
        }
    };
    said(
        "    channels: [{name: stable-4.20, minVersion: 4.20.7, maxVersion: 4.20.9}]\n",
        &["between 4.20.7 and 4.20.9", "such as 4.20.1, 4.20.2"],
    );
    said("    channels: [{name: stable-4.99}]\n", &["channel=stable-4.99"]);
    published.registry.put_file("/v1/graph?arch=amd64&channel=empty", graph(&[]));
    said("    channels: [{name: empty}]\n", &["no cluster versions found"]);
}

#[test]
fn everything_can_come_from_folders_and_a_release_by_its_name() {
    let Some(mut published) = published() else { return };
    let (host, newest) = (published.registry.host(), published.newest);
    let name = format!("{host}/dev/release:4.20.2-x86_64");
    let signature = published.signer.sign(&newest, &name);
    let place = format!("signed/{}/signature-1", newest.to_string().replace(':', "="));
    published.world.write(&place, signature).unwrap();
    let nodes = [("4.20.2", format!("{host}/dev/release@{newest}"))];
    published.world.write("graphs/amd64-stable-4.20.json", graph(&nodes)).unwrap();
    let folder = published.world.path();
    published.world.set("UPDATE_URL_OVERRIDE", &format!("file://{}/graphs", folder.display()));
    published.world.set("OCP_SIGNATURE_URL", &format!("file://{}/signed", folder.display()));
    let world = &published.world;
    let text = "version: 1\nname: ocp\nsources: [{openshift: stable-4.20}]\n";
    world.write("airlift.yaml", text).unwrap();
    assert_eq!(document(world, ["resolve"])["artifacts"], 3);
    let other = text.replace("stable-4.20", "stable-4.21");
    world.write("airlift.yaml", other).unwrap();
    let ran = airlift(world, ["resolve", "--lock", "other.lock"]);
    assert!(format!("{ran}").contains("its folder has amd64-stable-4.20.json"), "{ran}");
    // By its digest alone it has the name that was signed.
    world
        .write(
            "airlift.yaml",
            text.replace("stable-4.20", &format!("'{host}/dev/release@{newest}'")),
        )
        .unwrap();
    succeed(world, ["resolve", "--lock", "one.lock"]);
    let lock = String::from_utf8(world.read("one.lock").unwrap()).unwrap();
    assert!(lock.contains(&format!("\"reference\": \"{name}@{newest}\"")), "{lock}");
    assert!(lock.contains("airlift.local/openshift/release-images:4.20.2-x86_64"), "{lock}");
}
