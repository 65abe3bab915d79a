//! Passwords in addresses: none gets into a lock, which lies in a repository and crosses the gap, or onto a screen.

use airlift_testkit::World;
use insta::assert_snapshot;

use crate::world::{airlift, world};

const SECRET: &str = "secretpw";

/// Runs `resolve` in every form, and says that none of it, and no file beside the stack, has the secret.
fn resolve_tells_nobody(world: &World, case: &str) {
    for args in [
        ["resolve", "--progress", "none", "--output", "text"],
        ["resolve", "--progress", "json", "--output", "json"],
    ] {
        let ran = world.run(args).unwrap();
        assert!(!ran.is_success(), "{case}\n{ran}");
        let lock = world.read("airlift.lock").unwrap_or_default();
        let lock = String::from_utf8(lock).unwrap();
        for text in [&ran.stdout, &ran.stderr, &lock] {
            assert!(!text.contains(SECRET), "{case}\n{ran}\n{lock}");
        }
    }
}

#[test]
fn an_address_with_a_password_is_refused_with_its_line() {
    let world = world();
    for source in [
        "manifests: 'http://u:secretpw@127.0.0.1:1/crds.yaml'",
        "manifests: 'https://secretpw@127.0.0.1:1/crds.yaml'",
        "image: 'u:secretpw@127.0.0.1:1/app:1'",
        "image: 'http://u:secretpw@127.0.0.1:1/app:1'",
        "catalog: 'http://u:secretpw@127.0.0.1:1/index:1'",
        "{catalog: ./index, as: 'https://u:secretpw@127.0.0.1:1/index:1'}",
        "chart: 'oci://u:secretpw@127.0.0.1:1/app'",
        "{chart: app, repository: 'http://u:secretpw@127.0.0.1:1'}",
        "{chart: ./app, values: ['http://u:secretpw@127.0.0.1:1/v.yaml']}",
        "{chart: ./app, variants: [['http://u:secretpw@127.0.0.1:1/v.yaml']]}",
        "openshift: 'u:secretpw@127.0.0.1:1/release:1'",
    ] {
        world
            .write("airlift.yaml", format!("version: 1\nname: demo\nsources:\n- {source}\n"))
            .unwrap();
        resolve_tells_nobody(&world, source);
        let ran = airlift(&world, ["resolve"]);
        assert!(
            ran.stderr.contains("line 4: ") && ran.stderr.contains("airlift login"),
            "{source}\n{ran}"
        );
    }
    let stack = "version: 1\nname: demo\nsources: [{image: a/b:1}]\nknowledge:\n- http://u:secretpw@h.test/k.yaml\n";
    world.write("airlift.yaml", stack).unwrap();
    resolve_tells_nobody(&world, "knowledge");
    assert_snapshot!(airlift(&world, ["resolve"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.yaml` cannot be used
      cause: line 5: `knowledge:` has an address with a name or a password in it, which a lock must not hold
    help: take it out, and let `airlift login HOST` keep it; for a Git repository, `~/.netrc`
    ");
}

#[test]
fn what_a_source_names_further_on_is_told_without_its_password() {
    let kustomization =
        |address: &str| ("app/kustomization.yaml", format!("resources: ['{address}']\n"));
    let manifests = "manifests: ./app";
    let dependency = "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies: [{name: d, version: 1.0.0, repository: 'http://u:secretpw@127.0.0.1:1'}]\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: 'http://u:secretpw@h.test/app:1', args: ['--image=http://u:secretpw@h.test/app:1']}]}\n";
    for (source, (file, text)) in [
        (manifests, kustomization("http://u:secretpw@127.0.0.1:1/crds.yaml")),
        (manifests, kustomization("https://u:secretpw@127.0.0.1:1/o/r.git//a?ref=v1")),
        (manifests, kustomization("git::https://u:secretpw@127.0.0.1:1/o/r?ref=v1")),
        (manifests, kustomization("ssh://u:secretpw@127.0.0.1:1/o/r?ref=v1")),
        ("chart: ./app", ("app/Chart.yaml", dependency.to_owned())),
        (
            "{catalog: ./nowhere, as: a.test/b/c:1}\n- manifests: ./app",
            ("app/pod.yaml", pod.to_owned()),
        ),
    ] {
        let world = world();
        world
            .write("airlift.yaml", format!("version: 1\nname: demo\nsources:\n- {source}\n"))
            .unwrap();
        world.write(file, &text).unwrap();
        resolve_tells_nobody(&world, &text);
    }
}
