//! Deleting from the far registry, in oc-mirror's two steps.

use airlift_spec::oci::referrers_tag;
use airlift_testkit::registry::{Auth, Credentials, FakeOptions};
use airlift_testkit::{FakeRegistry, Fault, On, World, samples};
use http::Method;

use super::{run, text, well, with_catalog, world_with_set};
use crate::world::{airlift, document, succeed, trust_own_key};

/// The set of [`world_with_set`], to be deleted, and one image that is known by its digest.
fn write_delete_set(world: &World, registry: &FakeRegistry) {
    let set = text(world, "isc.yaml");
    let set = set.replace("ImageSetConfiguration", "DeleteImageSetConfiguration");
    world.write("disc.yaml", set.replace("mirror:\n", "delete:\n")).unwrap();
    assert!(text(world, "disc.yaml").contains(&registry.host()));
}

/// A far registry, in `ns`, with all that the set wants.
fn mirrored(registry: &FakeRegistry, world: &World) -> FakeRegistry {
    let far = FakeRegistry::start();
    let to = format!("docker://{}/ns", far.host());
    succeed(world, ["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws", &to, "--v2"]);
    write_delete_set(world, registry);
    far
}

fn generate(to: &str) -> [&str; 10] {
    let workspace = "file://ws";
    let config = "disc.yaml";
    [
        "oc-mirror",
        "delete",
        "-c",
        config,
        "--generate",
        "--workspace",
        workspace,
        to,
        "--v2",
        "--delete-id=one",
    ]
}

const LIST: &str = "ws/working-dir/delete/delete-images-one.yaml";

#[test]
fn what_was_mirrored_is_listed_and_then_deleted() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let far = mirrored(&registry, &world);
    let to = format!("docker://{}/ns", far.host());
    let said = succeed(&world, generate(&to));
    assert!(said.contains("3 images to delete"), "{said}");
    let one = "/ns: all sets that were mirrored to this path count as one";
    assert_eq!(said.matches(one).count(), 1, "{said}");
    let list = text(&world, LIST).replace(&registry.host(), "UP").replace(&far.host(), "FAR");
    insta::assert_snapshot!(list, @r"
    apiVersion: mirror.openshift.io/v2alpha1
    items:
    - imageName: docker://UP/ops/app-bundle:v1
      imageReference: docker://FAR/ns/ops/app-bundle:v1
      type: operatorBundle
    - imageName: docker://UP/team/app:v1
      imageReference: docker://FAR/ns/team/app:v1
      type: operatorRelatedImage
    - imageName: UP/team/multi:v2
      imageReference: docker://FAR/ns/team/multi:v2
      type: generic
    kind: DeleteImageList
    ");
    assert_eq!(
        text(&world, "ws/working-dir/delete/delete-imageset-config-one.yaml"),
        text(&world, "disc.yaml")
    );
    assert!(far.tags("ns/team/app").contains_key("v1"), "nothing is deleted yet");

    let delete = ["oc-mirror", "delete", "--delete-yaml-file", LIST, &to, "--v2"];
    let planned = well(&world, &delete, &["--dry-run"]);
    assert!(planned.contains("3 to delete"), "{planned}");
    assert!(far.tags("ns/team/app").contains_key("v1"), "it was only a look");
    let done = document(&world, delete);
    assert_eq!(done["images"][0]["result"]["is"], "deleted", "{done:#}");
    for repository in ["ns/team/app", "ns/team/multi", "ns/ops/app-bundle"] {
        assert!(far.tags(repository).is_empty(), "{repository}");
    }
    assert!(far.tags("ns/ops/index").contains_key("v4.20"), "others may need the catalog");
    let again = succeed(&world, delete);
    assert!(again.contains("0 deleted, 3 not there, 0 kept, 0 failed"), "{again}");
}

#[test]
fn images_that_are_known_by_digest_go_with_the_tag_that_kept_them() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let signed = samples::cosigned(&samples::image(33, &[700]));
    registry.put("team/signed", "x", &signed);
    for tag in signed.tags.keys() {
        registry.tag("team/signed", tag, signed.tags[tag]);
    }
    let name = registry.reference("team/signed", &signed.root.digest.to_string());
    world.write("isc.yaml", format!("{}  - name: {name}\n", text(&world, "isc.yaml"))).unwrap();
    let far = mirrored(&registry, &world);
    let tags = far.tags("ns/team/signed");
    let kept = tags.keys().find(|tag| tag.starts_with("airlift-")).unwrap();
    let to = format!("docker://{}/ns", far.host());
    well(&world, &generate(&to), &["--delete-signatures"]);
    let by_digest = referrers_tag(&signed.root.digest);
    let list = text(&world, LIST);
    assert!(
        list.contains(&format!("{by_digest}\n")) && list.contains(&format!("{by_digest}.sig\n")),
        "{list}"
    );
    succeed(&world, ["oc-mirror", "delete", "--delete-yaml-file", LIST, &to, "--v2"]);
    let left = far.tags("ns/team/signed");
    let signature = format!("{by_digest}.sig");
    assert!(!left.contains_key(&signature) && !left.contains_key(kept), "{left:?}");
}

#[test]
fn what_somebody_else_uses_is_said_and_stays() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let far = mirrored(&registry, &world);
    let to = format!("docker://{}/ns", far.host());
    far.tag("ns/team/app", "theirs", far.tags("ns/team/app")["v1"]);
    succeed(&world, generate(&to));
    let said = succeed(&world, ["oc-mirror", "delete", "--delete-yaml-file", LIST, &to]);
    insta::assert_snapshot!(said, @r"
    IMAGE           RESULT             WHY
    ns/team/app:v1  kept, tag deleted  the tag `theirs` leads to it, too
    127.0.0.1:[PORT]/ns: 2 deleted, 0 not there, 1 kept, 0 failed; the registry's own garbage collection frees the space
    ");
    assert!(far.tags("ns/team/app").contains_key("theirs"));
}

#[test]
fn airlifts_own_registry_lets_images_be_deleted() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let serve = ["serve", "--writable", "pushed", "--listen", "127.0.0.1:0"];
    let mut server = world.spawn(serve).unwrap();
    assert!(server.wait_until(|it| it.stdout().ends_with('\n')).unwrap(), "{}", server.stderr());
    let host = server.stdout().trim().strip_prefix("http://").unwrap().to_owned();
    let to = format!("docker://{host}");
    succeed(&world, ["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws", &to, "--v2"]);
    write_delete_set(&world, &registry);
    succeed(&world, generate(&to));
    let delete = ["oc-mirror", "delete", "--delete-yaml-file", LIST, &to];
    assert!(succeed(&world, delete).contains("3 deleted, 0 not there"));
    assert!(succeed(&world, delete).contains("0 deleted, 3 not there"));
    assert_eq!(server.terminate().unwrap().code, Some(0));
}

#[test]
fn what_a_registry_refuses_is_exit_1_with_the_remedy() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let far = mirrored(&registry, &world);
    let to = format!("docker://{}/ns", far.host());
    succeed(&world, generate(&to));
    let delete = ["oc-mirror", "delete", "--delete-yaml-file", LIST, &to];
    let on = || On::path("/manifests/").method(Method::DELETE);
    far.fail_always(on(), Fault::Status(405, Vec::new()));
    let ran = airlift(&world, delete);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("REGISTRY_STORAGE_DELETE_ENABLED=true"), "{ran}");
    far.heal();
    far.fail_always(
        On::path("/team/app/manifests/").method(Method::DELETE),
        Fault::Status(403, Vec::new()),
    );
    let ran = airlift(&world, delete);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stdout.contains("2 deleted") && ran.stdout.contains("1 failed"), "{ran}");
    assert!(ran.stdout.contains("help: run `airlift login"), "{ran}");
}

#[test]
fn credentials_of_the_far_side_are_given_as_to_oc_mirror() {
    let credentials = Credentials { user: "user".into(), password: "secret".into() };
    let auth = Auth::Basic(credentials);
    let far = FakeRegistry::with(FakeOptions { auth, ..FakeOptions::default() });
    far.put("ns/a", "v1", &samples::image(1, &[900]));
    let world = crate::world::world();
    let host = far.host();
    world
        .write("list.yaml", format!("kind: DeleteImageList\nitems:\n- {{imageName: 'q.io/a:v1', imageReference: 'docker://{host}/ns/a:v1', type: generic}}\n"))
        .unwrap();
    let to = format!("docker://{host}/ns");
    let delete = ["oc-mirror", "delete", "--delete-yaml-file", "list.yaml", &to];
    assert_eq!(airlift(&world, delete).code, Some(1));
    well(&world, &delete, &["--dest-creds", "user:secret"]);
    assert!(far.tags("ns/a").is_empty());
}

#[test]
fn a_half_list_is_not_written() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    write_delete_set(&world, &registry);
    let set = text(&world, "disc.yaml").replace("ops/index", "ops/gone");
    world.write("disc.yaml", set).unwrap();
    let ran = airlift(&world, generate("docker://far.example/ns"));
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stdout.contains("no list is written"), "{ran}");
    assert!(world.read(LIST).is_err());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    write_delete_set(&world, &registry);
    let refused = |args: &[&str], expected: &str| {
        let ran = world.run(["oc-mirror", "delete"].iter().chain(args)).unwrap();
        assert_eq!(ran.code, Some(1), "{args:?}: {ran}");
        assert!(ran.stderr.contains(expected), "{args:?}: {ran}");
    };
    let to = "docker://far.example/ns";
    refused(&["--generate", to], "use the --workspace flag");
    refused(&[to], "the --delete-yaml-file flag is mandatory");
    refused(&["--delete-yaml-file", "gone.yaml", to], "there is no list of images to delete");
    refused(
        &["--generate", "-c", "isc.yaml", "--workspace", "file://ws", to],
        "isc.yaml: it is of kind `ImageSetConfiguration`",
    );
    refused(
        &["--generate", "--delete-v1-images", "-c", "disc.yaml", "--workspace", "file://ws", to],
        "version 1",
    );
    refused(&["--bogus", to], "unexpected argument '--bogus'");
    world.write("list.yaml", "kind: DeleteImageList\nitems:\n- {imageName: 'a:1', imageReference: 'docker://other/a:1', type: generic}\n").unwrap();
    refused(
        &["--delete-yaml-file", "list.yaml", to],
        "line 3: delete destination docker://far.example/ns does not match",
    );
    trust_own_key(&world);
    let ran = airlift(&world, ["oc-mirror", "-c", "disc.yaml", "file://disk"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("airlift oc-mirror delete --generate"), "{ran}");
}

/// Flags of mirroring before the name of the verb are not dropped.
#[test]
fn a_dry_run_before_the_verb_deletes_nothing() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let far = mirrored(&registry, &world);
    let to = format!("docker://{}/ns", far.host());
    well(&world, &generate(&to), &[]);
    let before = far.tags("ns/team/app");
    let ran = run(
        &world,
        &["oc-mirror", "--dry-run", "delete", "--delete-yaml-file", LIST, &to, "--v2"],
        &[],
    );
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("write it behind the verb"), "{ran}");
    assert_eq!(far.tags("ns/team/app"), before);
    let many = ["oc-mirror", "list", "operators", "--parallel-images", "65536"];
    let ran =
        run(&world, &many, &["--parallel-layers", "65536", "--catalogs", "--version", "4.20"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("between the range 1 to 10"), "{ran}");
}

#[test]
fn images_in_paths_that_were_joined_are_found_there() {
    let registry = with_catalog();
    let world = world_with_set(&registry);
    let far = FakeRegistry::start();
    let to = format!("docker://{}/ns", far.host());
    let nested = ["--max-nested-paths", "2"];
    well(
        &world,
        &["oc-mirror", "-c", "isc.yaml", "--workspace", "file://ws", &to, "--v2"],
        &nested,
    );
    write_delete_set(&world, &registry);
    assert!(far.tags("ns/team-app").contains_key("v1"), "{:?}", far.repositories());
    well(&world, &generate(&to), &nested);
    well(&world, &["oc-mirror", "delete", "--delete-yaml-file", LIST, &to, "--v2"], &[]);
    assert!(far.tags("ns/team-app").is_empty(), "{:?}", far.tags("ns/team-app"));
}
