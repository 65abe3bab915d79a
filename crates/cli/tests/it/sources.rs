//! Sources that are not as they were meant: what is said of them, where, and that they spare the others.

use airlift_testkit::sources::commit_all;
use airlift_testkit::tools::Ran;
use airlift_testkit::{World, need};
use insta::assert_snapshot;

use crate::lints::{operator, subscribed, with_index};
use crate::world::{airlift, succeed, upstream, world};

fn resolve(world: &World, sources: &str) -> Ran {
    let stack = format!("version: 1\nname: demo\nsources:\n{sources}\n");
    world.write("airlift.yaml", stack).unwrap();
    airlift(world, ["resolve", "--offline"])
}

fn index() -> String {
    ["acme-operator", "gpu-operator-certified", "other"]
        .map(|package| operator(package, "alpha", &["1.0.0"], ""))
        .concat()
}

#[test]
fn every_name_that_a_catalog_does_not_have_is_told_with_those_like_it() {
    let world = world();
    world.write("index/all.yaml", index()).unwrap();
    let catalog = |packages: &str| {
        format!("- {{catalog: ./index, as: 'a.test/index:1', packages: [{packages}]}}")
    };
    assert_snapshot!(resolve(&world, &catalog("{name: acme-operater}, {name: gpu-operator-certifid}, {name: gpu-operator}, {name: Acme-Operator}, {name: other, channel: alfa}")), @r"
    exit: 2
    ----- stdout -----
    error[not-looked-into] catalog: ./index: it could not be looked into: line 4: `./index` cannot be carried: the catalog has no package `Acme-Operator` (there is `acme-operator`); the catalog has no package `acme-operater` (there is `acme-operator`); the catalog has no package `gpu-operator` (there is `gpu-operator-certified`, `acme-operator`); the catalog has no package `gpu-operator-certifid` (there is `gpu-operator-certified`); package `other` has no channel `alfa` (there is `alpha`)
    FAILED            WHY
    catalog: ./index  airlift.yaml: line 4: `./index` cannot be carried: the catalog has no package `Acme-Operator` (there is `acme-operator`); the catalog has no package `acme-operater` (there is `acme-operator`); the catalog has no package `gpu-operator` (there is `gpu-operator-certified`, `acme-operator`); the catalog has no package `gpu-operator-certifid` (there is `gpu-operator-certified`); package `other` has no channel `alfa` (there is `alpha`)
    demo: 0 artifacts, 0 B at most, lock written
    ----- stderr -----
    ");
    assert_snapshot!(resolve(&world, &catalog("{name: acme-operater}")), @r"
    exit: 2
    ----- stdout -----
    error[not-looked-into] catalog: ./index: it could not be looked into: line 4: `./index` cannot be carried: the catalog has no package `acme-operater`
    FAILED            WHY
    catalog: ./index  airlift.yaml: line 4: `./index` cannot be carried: the catalog has no package `acme-operater`
    help: there is `acme-operator`
    demo: 0 artifacts, 0 B at most, lock written
    ----- stderr -----
    ");
}

#[test]
fn oc_mirrors_configurations_are_told_the_same() {
    let registry = with_index(index());
    let world = world();
    let set = |packages: &str| {
        let set = format!(
            "kind: ImageSetConfiguration\napiVersion: mirror.openshift.io/v2alpha1\nmirror:\n  operators: [{{catalog: '{}/redhat/redhat-operator-index:v4.20', packages: [{packages}]}}]\n",
            registry.host()
        );
        world.write("isc.yaml", set).unwrap();
        airlift(&world, ["resolve", "-f", "isc.yaml"]).stdout
    };
    let said = set("{name: acme-operater}");
    assert!(said.contains("the catalog has no such package; it has `acme-operator`"), "{said}");
    let said = set("{name: acme-operater}, {name: other, channels: [{name: alfa}]}");
    for words in [
        "the catalog has no package `acme-operater` (there is `acme-operator`)",
        "package `other` has no channel `alfa` (there is `alpha`)",
        "the filter takes out `alpha`, the default channel of package `other`",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_path_that_leads_nowhere_fails_its_source_alone_and_says_where_it_stands() {
    let registry = upstream();
    let world = world();
    let app = registry.reference("team/app", "v1");
    let stack = format!(
        "version: 1\nname: demo\nsources:\n- catalog: ./nowhere\n  as: a.test/b:1\n- manifests: ./nowhere.yaml\n- chart: ./no-chart\n- {{chart: ./app, values: [no-values.yaml]}}\n- image: {app}\n"
    );
    world.write("stacks/demo.yaml", stack).unwrap();
    world.write("stacks/app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n").unwrap();
    assert_snapshot!(airlift(&world, ["resolve", "-f", "stacks/demo.yaml"]), @r"
    exit: 2
    ----- stdout -----
    + 127.0.0.1:[PORT]/team/app:v1  sha256:2b4fbfa236c2
    error[not-looked-into] catalog: ./nowhere: it could not be looked into: line 4: `./nowhere` cannot be carried: `stacks/nowhere` is not there
    error[not-looked-into] chart: ./app: it could not be looked into: line 8: `./app` cannot be carried: `stacks/no-values.yaml` is not there
    error[not-looked-into] chart: ./no-chart: it could not be looked into: line 7: `./no-chart` cannot be carried: `stacks/no-chart` is not there
    error[not-looked-into] manifests: ./nowhere.yaml: it could not be looked into: line 6: `./nowhere.yaml` cannot be carried: `stacks/nowhere.yaml` is not there
    FAILED                     WHY
    catalog: ./nowhere         stacks/demo.yaml: line 4: `./nowhere` cannot be carried: `stacks/nowhere` is not there
    chart: ./app               stacks/demo.yaml: line 8: `./app` cannot be carried: `stacks/no-values.yaml` is not there
    chart: ./no-chart          stacks/demo.yaml: line 7: `./no-chart` cannot be carried: `stacks/no-chart` is not there
    manifests: ./nowhere.yaml  stacks/demo.yaml: line 6: `./nowhere.yaml` cannot be carried: `stacks/nowhere.yaml` is not there
    help: correct the path; it starts from the folder that the stack lies in
    demo: 1 artifact, 10.7 KiB at most, lock written
    ----- stderr -----
    ");
}

#[test]
fn a_subscription_to_what_a_failed_source_would_have_is_not_called_foreign() {
    let world = world();
    world.write("index/all.yaml", index()).unwrap();
    world.write("deploy/a.yaml", subscribed("nfd", "channel: stable")).unwrap();
    let sources = |red_hat: &str| {
        format!(
            "- manifests: ./deploy\n- {{catalog: ./index, as: 'a.test/index:1', packages: [{{name: other}}]}}\n{red_hat}"
        )
    };
    let said = |red_hat| resolve(&world, &sources(red_hat)).stdout;
    assert!(said("").contains("[subscription-package]"), "{}", said(""));
    let failed = "- catalog: registry.redhat.io/redhat/redhat-operator-index:v4.20\n";
    assert!(!said(failed).contains("[subscription-package]"), "{}", said(failed));
}

#[test]
fn a_pack_that_says_nothing_is_refused_by_its_line_whatever_the_sources_are() {
    let world = world();
    let with = |pack: Option<&str>| {
        if let Some(entry) = pack {
            let pack =
                format!("format: 1\nproduct: {{olm: a}}\nsource: s\nwhy: w\nentries:\n- {entry}\n");
            world.write("p.yaml", pack).unwrap();
        }
        resolve(&world, "- image: a.test/b:1\nknowledge: [./p.yaml]")
    };
    assert_snapshot!(with(None), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.yaml` cannot be used
      cause: line 5: the knowledge in `./p.yaml` cannot be used
      cause: there is no knowledge pack `./p.yaml`
    help: correct the path; it starts from the folder that the stack lies in
    ");
    assert_snapshot!(with(Some("versions: [1.0.0]")), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `airlift.yaml` cannot be used
      cause: line 5: the knowledge in `./p.yaml` cannot be used
      cause: ./p.yaml is not a knowledge pack: line 6: the entry needs `versions`, and something that holds for them: `images`, `dependencies`, `envAliases`, `companions`, `lateKinds`, or `unknown`
    help: docs/formats/knowledge.md says what a pack looks like
    ");
    let range = with(Some("{versions: ['>=3.0.0 <2.0.0'], unknown: [a.test/b]}"));
    assert!(range.stderr.contains("line 6: no version is in the range"), "{range}");
}

#[test]
fn a_revision_that_a_repository_does_not_have_is_told_with_what_may_stand_there() {
    let git = need!("git");
    let kustomize = need!("kustomize");
    let mut world = world();
    let folders = [&git, &kustomize].map(|program| program.parent().unwrap().display().to_string());
    world.set("PATH", &folders.join(":"));
    world.write("repo/kustomization.yaml", "resources: []\n").unwrap();
    let repository = world.path().join("repo");
    commit_all(&git, &repository);
    let address = format!("file://{}?ref=nobranch", repository.display());
    world.write("app/kustomization.yaml", format!("resources: ['{address}']\n")).unwrap();
    world.write("airlift.yaml", "version: 1\nname: demo\nsources:\n- manifests: ./app\n").unwrap();
    let ran = airlift(&world, ["resolve"]);
    assert!(ran.stdout.contains("help: name a branch, a tag, or a whole commit"), "{ran}");
    assert!(ran.stdout.contains("airlift.yaml: line 4: "), "{ran}");
}

#[test]
fn what_is_wrong_at_a_line_of_the_stack_is_said_with_its_file() {
    let world = world();
    let stack = "version: 1\nname: a\nsources:\n- manifests: ./pods\nknowledge: [./ours]\n";
    world.write("stacks/a.yaml", stack).unwrap();
    world
        .write("stacks/pods/pod.yaml", "kind: Pod\napiVersion: v1\nmetadata: {name: a}\n")
        .unwrap();
    let args = ["resolve", "-f", "stacks/a.yaml", "--lock", "stacks/a.lock"];
    let refused = |args: &[&str], line: &str| {
        let ran = world.run(args).unwrap();
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains("error: `stacks/a.yaml` cannot be used"), "{ran}");
        assert!(ran.stderr.contains(line), "{ran}");
    };
    refused(&args, "cause: line 5: ");
    refused(&[&["pack", "--to", "out"], &args[1..]].concat(), "cause: line 5: ");

    world.write("stacks/ours/known.yaml", "packs: nonsense\n").unwrap();
    refused(&args, "cause: line 5: ");
    world.write("stacks/a.yaml", stack.replace("knowledge: [./ours]\n", "")).unwrap();
    succeed(&world, args);
    fs_err::remove_dir_all(world.path().join("stacks/pods")).unwrap();
    refused(&[&args[..], &["--locked"]].concat(), "cause: line 4: ");
}
