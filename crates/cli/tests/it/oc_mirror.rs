//! Standing in for oc-mirror: its configurations, its ways, its files.

use airlift_testkit::tools::Ran;
use airlift_testkit::{FakeRegistry, World, samples, sources};

use crate::world::{airlift, document, succeed, trust_own_key, upstream, world};

mod delete;
mod files;
mod flags;
mod list;
mod runs;

/// A registry with the catalog `ops/index:v4.20`, whose package `app` needs one image.
fn with_catalog() -> FakeRegistry {
    let registry = upstream();
    sources::publish_catalog(&registry);
    registry
}

/// A world with a set of one operator and one more image.
fn world_with_set(registry: &FakeRegistry) -> World {
    let world = world();
    world.write("isc.yaml", sources::image_set(&registry.host())).unwrap();
    world
}

/// Runs what `args` and `more` say together, without progress.
fn run(world: &World, args: &[&str], more: &[&str]) -> Ran {
    world.run(args.iter().chain(more).chain(&["--progress", "none"])).unwrap()
}

/// The same, where anything but success is a mistake of the test.
fn well(world: &World, args: &[&str], more: &[&str]) -> String {
    let ran = run(world, args, more);
    assert!(ran.is_success(), "{args:?} {more:?}\n{ran}");
    ran.stdout
}

/// A file of the world, as text.
fn text(world: &World, path: &str) -> String {
    String::from_utf8(world.read(path).unwrap()).unwrap()
}

#[test]
fn a_dry_run_writes_which_image_would_go_where() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let host = registry.host();
    let (to, from) = ("docker://far.example/ns", "file://ws");
    succeed(&world, ["oc-mirror", "-c", "isc.yaml", "--workspace", from, to, "--v2", "--dry-run"]);
    let mapping = String::from_utf8(world.read("ws/working-dir/dry-run/mapping.txt").unwrap());
    let mapping = mapping.unwrap();
    for line in [
        format!("docker://{host}/team/app:v1=docker://far.example/ns/team/app:v1"),
        format!("docker://{host}/team/multi:v2=docker://far.example/ns/team/multi:v2"),
        format!("docker://{host}/ops/app-bundle:v1=docker://far.example/ns/ops/app-bundle:v1"),
    ] {
        assert!(mapping.lines().any(|it| it == line), "{line}\n{mapping}");
    }
    let source = "ws/working-dir/cluster-resources/cs-index-v4-20.yaml";
    let source = String::from_utf8(world.read(source).unwrap()).unwrap();
    assert!(source.contains("image: far.example/ns/ops/index:v4.20"), "{source}");
    assert_eq!(registry.count("GET", "/team/app/"), 0, "no image is asked for");
}

#[test]
fn a_set_goes_over_a_disk_into_a_registry() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    trust_own_key(&world);
    succeed(&world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2"]);
    let far = FakeRegistry::start();
    let to = format!("docker://{}/ns", far.host());
    succeed(&world, ["oc-mirror", "-c", "isc.yaml", "--from", "file://disk", &to, "--v2"]);
    for (repository, tag) in
        [("ns/team/app", "v1"), ("ns/team/multi", "v2"), ("ns/ops/index", "v4.20")]
    {
        assert!(far.tags(repository).contains_key(tag), "{repository}: {:?}", far.tags(repository));
    }
    let mirrors = world.read("disk/working-dir/cluster-resources/itms-oc-mirror.yaml").unwrap();
    assert!(String::from_utf8(mirrors).unwrap().contains("kind: ImageTagMirrorSet"));
}

#[test]
fn the_exit_code_has_a_bit_for_what_failed() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let text = String::from_utf8(world.read("isc.yaml").unwrap()).unwrap();
    world.write("isc.yaml", text.replace("ops/index", "ops/gone")).unwrap();
    let args = ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2", "--dry-run"];
    let ran = airlift(&world, args);
    assert_eq!(ran.code, Some(4), "{ran}");
    let ran = airlift(&world, ["oc-mirror", "file://disk", "--v2"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("use the --config flag it is mandatory"), "{ran}");
}

/// What `mapping.txt` says and what is in the registry come from two pieces of code.
#[test]
fn every_image_lies_where_the_mapping_says() {
    let registry = with_catalog();
    let host = registry.host();
    registry.put("deep/er/still/tool", "v3", &samples::image(4, &[300]));
    let image = samples::image(5, &[400]);
    registry.put("team/pinned", "x", &image);
    let pinned = image.root.digest;
    let catalog = registry.tags("ops/index")["v4.20"];
    for most in ["0", "2", "3"] {
        let world = world_with_set(&registry);
        let more = format!(
            "  - {{name: '{host}/team/multi:v2', targetRepo: own/place, targetTag: mine}}\n  - {{name: '{host}/team/app:v1', targetTag: other}}\n  - name: {host}/deep/er/still/tool:v3\n  - name: {host}/team/pinned@{pinned}\n"
        );
        let set = text(&world, "isc.yaml").replace("index:v4.20", &format!("index@{catalog}"));
        world.write("isc.yaml", set + &more).unwrap();
        trust_own_key(&world);
        let far = FakeRegistry::start();
        let to = format!("docker://{}/ns", far.host());
        well(&world, &["oc-mirror", "-c", "isc.yaml", "file://disk"], &["--v2"]);
        let load = ["oc-mirror", "-c", "isc.yaml", "--from", "file://disk", &to, "--v2"];
        let nested = ["--max-nested-paths", most];
        well(&world, &load, &[&nested[..], &["--dry-run"]].concat());
        well(&world, &load, &nested);
        let mapping = text(&world, "disk/working-dir/dry-run/mapping.txt");
        assert_eq!(mapping.lines().count(), 8, "{mapping}");
        let mut by_digest = 0;
        for line in mapping.lines() {
            let (_, there) = line.split_once(&format!("=docker://{}/", far.host())).unwrap();
            let (repository, tag) = there.rsplit_once(':').unwrap();
            let tags = far.tags(repository);
            let is_there = match tag.strip_prefix("sha256-") {
                None => tags.contains_key(tag),
                // As the guide has it: the digest is there, and its tag is that of its signatures.
                Some(digits) => {
                    by_digest += 1;
                    let digest = format!("sha256:{digits}");
                    !tags.contains_key(tag) && far.manifest(repository, &digest).is_some()
                }
            };
            assert!(is_there, "{most}: {line}: {tags:?}, {:?}", far.repositories());
        }
        assert_eq!(by_digest, 2, "an image and a catalog: {mapping}");
    }
}

#[test]
fn what_is_wrong_in_a_set_is_said_with_file_and_line() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let set = text(&world, "isc.yaml");
    let refused = [
        (
            "{name: 'a.io/b:1', targetRepo: 'A/B:1'}",
            "line 9: invalid targetRepo",
            "lowercase parts",
        ),
        ("{name: 'a.io/b:1', targetTag: 'a b'}", "line 9: invalid targetTag", "1 to 128 letters"),
        ("{name: 'oci:///Mnt/A'}", "line 9: `localhost/Mnt/A:latest`", "as `targetRepo:`"),
        ("{nam: 'a.io/b:1'}", "unknown field `nam`, expected one of", "at line 9, column 6"),
    ];
    for (entry, expected, help) in refused {
        world.write("isc.yaml", format!("{set}  - {entry}\n")).unwrap();
        for to in [&["file://disk"][..], &["--from", "file://disk", "docker://far.example"]] {
            let ran = run(&world, &["oc-mirror", "-c", "isc.yaml", "--dry-run"], to);
            assert_eq!(ran.code, Some(1), "{entry}: {ran}");
            assert!(ran.stderr.contains("`isc.yaml` cannot be used"), "{entry}: {ran}");
            assert!(ran.stderr.contains(expected), "{entry}: {ran}");
            assert!(ran.stderr.contains(help), "{entry}: {ran}");
        }
    }
    let doubted = "{name: 'a.io/untagged'}";
    world.write("isc.yaml", format!("{set}  - {doubted}\n")).unwrap();
    let said = well(&world, &["oc-mirror", "-c", "isc.yaml", "--dry-run"], &["file://disk"]);
    assert!(said.contains("isc.yaml: line 9: a.io/untagged"), "{said}");
}

/// What a cluster would pull for the catalogs of a working folder.
fn offered(world: &World, folder: &str) -> Vec<String> {
    let folder = format!("{folder}/working-dir/cluster-resources");
    let names = fs_err::read_dir(world.path().join(&folder)).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let sources = names.filter(|name| name.starts_with("cs-") || name.starts_with("cc-"));
    let mut texts: Vec<_> = sources.map(|name| text(world, &format!("{folder}/{name}"))).collect();
    texts.sort();
    texts
}

#[test]
fn a_catalog_that_is_known_by_its_digest_can_be_pulled_and_served() {
    let registry = with_catalog();
    let digest = registry.tags("ops/index")["v4.20"].to_string();
    let world = world_with_set(&registry);
    let set = text(&world, "isc.yaml").replace("index:v4.20", &format!("index@{digest}"));
    trust_own_key(&world);
    for full in [false, true] {
        let packages = if full { "full: true" } else { "packages: [{name: app}]" };
        world.write("isc.yaml", set.replace("packages: [{name: app}]", packages)).unwrap();
        let far = FakeRegistry::start();
        let to = format!("docker://{}/ns", far.host());
        let folder = format!("ws-{full}");
        let workspace = format!("file://{folder}");
        well(&world, &["oc-mirror", "-c", "isc.yaml", "--workspace", &workspace], &[&to]);
        let pushed = far.tags("ns/ops/index").into_values().next().unwrap().to_string();
        assert_eq!(pushed == digest, full);
        let image = format!("{}/ns/ops/index@{pushed}", far.host());
        let [catalog, source] = &offered(&world, &folder)[..] else { panic!() };
        assert!(catalog.contains(&format!("ref: {image}\n")), "{catalog}");
        assert!(source.contains(&format!("image: {image}\n")), "{source}");
        assert_eq!(source.contains("catalogDir: /configs"), !full, "{source}");
    }
}

#[test]
fn an_image_set_is_a_stack_for_every_verb() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let resolved = document(&world, ["resolve", "-f", "isc.yaml"]);
    assert_eq!(resolved["stack"], "mirror", "{resolved:#}");
    assert_eq!(resolved["artifacts"], 4, "{resolved:#}");
}

#[test]
fn a_mirror_of_the_far_registry_says_nothing_about_what_that_has() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let (far, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    for (repository, tag) in [("team/app", "v1"), ("team/multi", "v2")] {
        let platforms = ["linux/amd64", "linux/arm64"];
        let image = match tag {
            "v1" => samples::image(1, &[10_000, 200]),
            _ => samples::index(2, &platforms, 3_000),
        };
        mirror.put(repository, tag, &image);
    }
    let (location, instead) = (far.host(), mirror.host());
    let text = format!(
        "[[registry]]\nlocation = \"{location}\"\n[[registry.mirror]]\nlocation = \"{instead}\"\n"
    );
    let folder = world.home().join("config/containers");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("registries.conf"), text).unwrap();
    let to = format!("docker://{location}");
    well(&world, &["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws"], &[&to, "--v2"]);
    assert!(far.tags("team/app").contains_key("v1"), "{}", far.transcript());
    assert!(mirror.requests().is_empty(), "{}", mirror.transcript());
}
