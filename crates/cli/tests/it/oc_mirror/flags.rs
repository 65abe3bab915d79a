//! oc-mirror's flags: what scripts give is taken.

use airlift_testkit::registry::{FakeOptions, Tls};
use airlift_testkit::{FakeRegistry, Fault, On, World, samples};

use super::{text, with_catalog, world_with_set};
use crate::world::{airlift, succeed};

fn world_with_image(host: &str) -> World {
    let world = crate::world::world();
    let set = format!(
        "kind: ImageSetConfiguration\nmirror:\n  additionalImages: [{{name: '{host}/team/app:v1'}}]\n"
    );
    world.write("isc.yaml", set).unwrap();
    world
}

/// A dry run that needs the registry: it asks what the image holds.
fn dry_run(world: &World, more: &[&str]) -> airlift_testkit::tools::Ran {
    let fixed = [
        "oc-mirror",
        "-c",
        "isc.yaml",
        "file://disk",
        "--v2",
        "--dry-run-manifest-lists",
        "--progress",
        "plain",
    ];
    world.run(fixed.iter().chain(more)).unwrap()
}

#[test]
fn every_flag_that_oc_mirror_knows_is_taken() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let flags = "--retry-times 1 --retry-delay 1s --parallel-layers 5 --parallel-images 4 --image-timeout 10m --log-level debug --since 2026-01-31 --port 55001 --strict-archive --rootless-storage-path /tmp/x --src-tls-verify --dest-tls-verify=true --cpu-prof --mem-prof -q -f --src-shared-blob-dir /tmp/x --dest-shared-blob-dir /tmp/x --src-daemon-host h --dest-daemon-host h --dest-compress --dest-decompress --dest-compress-format gzip --dest-compress-level 1 --dest-precompute-digests --dest-oci-accept-uncompressed-layers --max-nested-paths 0";
    let ran = dry_run(&world, &flags.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(!ran.stderr.contains("warning:"), "{ran}");
    let mapping = text(&world, "disk/working-dir/dry-run/mapping.txt");
    assert!(mapping.contains("=docker://localhost:55001/team/app:v1\n"), "{mapping}");
}

#[test]
fn what_somebody_may_count_on_and_does_nothing_is_said_once() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let flags =
        ["--policy", "p.json", "--registries.d", "d", "--secure-policy", "--remove-signatures"];
    let ran = dry_run(&world, &flags);
    assert_eq!(ran.code, Some(0), "{ran}");
    for flag in ["--policy", "--registries.d", "--secure-policy", "--remove-signatures"] {
        let said = format!("warning: `{flag}` does nothing here");
        assert_eq!(ran.stderr.matches(&said).count(), 1, "{flag}: {ran}");
    }
}

#[test]
fn what_no_oc_mirror_knows_is_exit_1() {
    let world = crate::world::world();
    for args in [&["oc-mirror", "--bogus", "file://d"][..], &["oc-mirror", "list", "nothing"]] {
        let ran = world.run(args).unwrap();
        assert_eq!(ran.code, Some(1), "{args:?}: {ran}");
    }
    // The other verbs have codes of their own.
    assert_eq!(airlift(&world, ["pack", "--bogus"]).code, Some(2));
    assert_eq!(airlift(&world, ["oc-mirror", "--help"]).code, Some(0));
}

#[test]
fn the_key_that_help_speaks_of_can_be_named() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let args = ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"];
    let ran = airlift(&world, args);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("name one with `--sign KEY`"), "{ran}");
    succeed(&world, ["keygen", "--to", "own.key"]);
    let said = super::well(&world, &args, &["--sign", "own.key"]);
    assert!(said.contains("signed by "), "{said}");
}

#[test]
fn a_registry_that_refuses_sparse_indexes_is_given_what_help_speaks_of() {
    let registry = with_catalog();
    let world = crate::world::world();
    let name = registry.reference("team/multi", "v2");
    let set = format!(
        "kind: ImageSetConfiguration\nmirror:\n  additionalImages: [{{name: '{name}', platforms: [{{os: linux, architecture: amd64}}]}}]\n"
    );
    world.write("isc.yaml", set).unwrap();
    let far = FakeRegistry::start();
    far.fail_always(On::manifests(), Fault::RefuseSparseIndex);
    let to = format!("docker://{}", far.host());
    let args = ["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws", &to, "--v2"];
    let ran = airlift(&world, args);
    assert!(!ran.is_success() && ran.to_string().contains("`--single-platform-tags`"), "{ran}");
    super::well(&world, &args, &["--single-platform-tags"]);
    let index = registry.tags("team/multi")["v2"];
    assert_ne!(far.tags("team/multi")["v2"], index, "the tag leads to the one image");
}

#[test]
fn a_time_that_is_none_is_refused() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let ran = dry_run(&world, &["--image-timeout", "xx"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("`xx` is no time; write it like"), "{ran}");
}

#[test]
fn the_store_lies_beside_the_cache() {
    let registry = with_catalog();
    let mut world = world_with_set(&registry);
    let ran = dry_run(&world, &["--cache-dir", "here"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(world.path().join("here/airlift/oci-layout").is_file());
    world.set("OC_MIRROR_CACHE", "there");
    let ran = dry_run(&world, &[]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(world.path().join("there/airlift/oci-layout").is_file());
    let words = "either OC_MIRROR_CACHE or --cache-dir can be used but not both";
    let ran = dry_run(&world, &["--cache-dir", "here"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains(words), "{ran}");
    let list = ["oc-mirror", "list", "operators", "--catalog", "a.io/b:1", "--cache-dir", "here"];
    assert!(airlift(&world, list).stderr.contains(words));
}

#[test]
fn certificates_are_looked_at_unless_it_is_said_that_they_are_not() {
    let registry = FakeRegistry::with(FakeOptions { tls: Tls::On, ..FakeOptions::default() });
    registry.put("team/app", "v1", &samples::index(1, &["linux/amd64", "linux/arm64"], 900));
    let world = world_with_image(&registry.host());
    let is_refused = |flags: &[&str]| {
        let ran = dry_run(&world, flags);
        assert_eq!(ran.code, Some(1), "{flags:?}: {ran}");
        assert!(ran.stderr.contains("an authority that is not trusted here"), "{flags:?}: {ran}");
    };
    is_refused(&[]);
    is_refused(&["--dest-tls-verify=false"]);
    for flag in ["--src-tls-verify=false", "--tls-verify=false"] {
        let ran = dry_run(&world, &[flag]);
        assert_eq!(ran.code, Some(0), "{flag}: {ran}");
        assert!(ran.stderr.contains("whoever sits on the line may read passwords"), "{ran}");
    }
    let authority = &registry.certificates().ca_pem;
    world.write("certs/ca.crt", authority).unwrap();
    assert_eq!(dry_run(&world, &["--src-cert-dir", "certs"]).code, Some(0));
    is_refused(&["--dest-cert-dir", "certs"]);
}

#[test]
fn a_client_shows_the_certificate_of_its_folder() {
    let registry = FakeRegistry::with(FakeOptions { tls: Tls::Mutual, ..FakeOptions::default() });
    registry.put("team/app", "v1", &samples::image(1, &[900]));
    let world = world_with_image(&registry.host());
    let certificates = registry.certificates();
    world.write("certs/ca.crt", &certificates.ca_pem).unwrap();
    world.write("certs/us.cert", &certificates.client.certificate_pem).unwrap();
    let ran = dry_run(&world, &["--src-cert-dir", "certs"]);
    assert!(ran.stderr.contains("there is no key"), "{ran}");
    world.write("certs/us.key", &certificates.client.key_pem).unwrap();
    let ran = dry_run(&world, &["--src-cert-dir", "certs"]);
    assert_eq!(ran.code, Some(0), "{ran}");
}

#[test]
fn the_version_says_what_it_stands_in_for() {
    let world = crate::world::world();
    let said = succeed(&world, ["oc-mirror", "version"]);
    assert!(said.contains("in the place of oc-mirror v2"), "{said}");
}
