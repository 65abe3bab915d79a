use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use airlift_helm::{Kustomize, KustomizeError, remotes};
use airlift_scan::documents;
use airlift_spec::{Ctx, Explain as _};
use airlift_testkit::need;
use serde_json::Value;

use airlift_testkit::data;

use crate::world::folder;

fn kustomize(program: &Path) -> Kustomize {
    Kustomize::find(program.parent().unwrap().as_os_str()).unwrap()
}

#[test]
fn a_kustomization_is_built_with_its_bases() {
    for name in ["kustomize", "kubectl"] {
        let program = need!(name);
        let folder = folder(&[
            ("base/kustomization.yaml", "resources: [pod.yaml]"),
            (
                "base/pod.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: app}]}",
            ),
            (
                "over/Kustomization",
                "resources: [../base]\nimages: [{name: app, newName: reg.io/app, newTag: '2'}]",
            ),
        ]);
        let only = folder_with(&program);
        let kustomize = Kustomize::find(only.path().as_os_str()).unwrap();
        let text = kustomize.build(&folder.path().join("over"), &Ctx::default()).unwrap();
        assert!(text.contains("image: reg.io/app:2"), "{name}: {text}");
    }
}

/// A folder with that program alone.
fn folder_with(program: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join(program.file_name().unwrap());
    std::os::unix::fs::symlink(program, link).unwrap();
    folder
}

#[test]
fn what_lies_on_the_network_is_listed_and_not_fetched() {
    let program = need!("kustomize");
    let folder = folder(&[
        (
            "kustomization.yaml",
            "resources: [base, 'https://h.test/x.yaml']\nhelmCharts: [{name: c, repo: 'https://r.test', version: 1.0.0}]",
        ),
        (
            "base/kustomization.yml",
            "resources: ['https://github.com/o/r//config/default?ref=v0.7.0']\ncomponents: ['../']",
        ),
    ]);
    let found = remotes(folder.path()).unwrap();
    let words: Vec<_> = found
        .iter()
        .map(|remote| format!("{} {}", remote.address, remote.revision.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        words,
        [
            "https://github.com/o/r//config/default?ref=v0.7.0 v0.7.0",
            "chart c https://r.test 1.0.0",
            "https://h.test/x.yaml -",
        ]
    );
    let err = kustomize(&program).build(folder.path(), &Ctx::default()).unwrap_err();
    assert!(matches!(err, KustomizeError::Remote { .. }), "{err}");
    assert!(err.to_string().contains("base/kustomization.yml names https://github.com"), "{err}");
    assert!(err.help().is_some());
}

#[test]
fn what_cannot_be_built_is_said_in_the_programs_words() {
    let program = need!("kustomize");
    let folder = folder(&[("a/kustomization.yaml", "resources: [gone.yaml]"), ("b/x", "")]);
    let kustomize = kustomize(&program);
    let build =
        |name: &str| kustomize.build(&folder.path().join(name), &Ctx::default()).unwrap_err();
    let err = build("a");
    assert!(
        matches!(err, KustomizeError::Refused { .. }) && err.to_string().contains("gone.yaml"),
        "{err}"
    );
    assert!(matches!(build("b"), KustomizeError::NoKustomization { .. }));
    assert!(matches!(Kustomize::find("".as_ref()), Err(KustomizeError::Absent)));
}

fn gunzip(path: &Path) -> impl std::io::Read {
    let file: std::fs::File = fs_err::File::open(path).unwrap().into();
    flate2::read::GzDecoder::new(file)
}

fn objects(text: &str) -> BTreeMap<String, Value> {
    let key = |object: &Value| {
        ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name"]
            .map(|field| object.pointer(field).map(ToString::to_string).unwrap_or_default())
            .join(" ")
    };
    let all = documents(text.as_bytes()).unwrap();
    all.into_iter().map(|document| (key(&document.object), document.object)).collect()
}

#[test]
fn a_real_platform_builds_to_the_objects_that_are_known() {
    let program = need!("kustomize");
    let Some(manifests) = data("kubeflow/manifests") else { return };
    for release in ["v1.9.1", "v1.10-branch"] {
        let folder = &manifests;
        let sources = tempfile::tempdir().unwrap();
        tar::Archive::new(gunzip(&folder.join(format!("kubeflow-manifests-{release}.tar.gz"))))
            .unpack(sources.path())
            .unwrap();
        let top = fs_err::read_dir(sources.path()).unwrap().next().unwrap().unwrap().path();
        let example = [sources.path().join("example"), top.join("example")];
        let example = example.iter().find(|folder| folder.is_dir()).unwrap();
        assert_eq!(remotes(example).unwrap(), []);
        let ours = kustomize(&program).build(example, &Ctx::default()).unwrap();
        let mut theirs = String::new();
        gunzip(&folder.join(format!("example-{release}.yaml.gz")))
            .read_to_string(&mut theirs)
            .unwrap();
        let (ours, theirs) = (objects(&ours), objects(&theirs));
        assert_eq!(ours.len(), theirs.len(), "{release}");
        // Since 5.6 kustomize leaves `vars` in objects of unknown kinds as they are; older versions put them in.
        let differ: Vec<_> =
            ours.iter().filter(|(key, object)| theirs.get(*key) != Some(object)).collect();
        for (key, object) in &differ {
            assert!(object.to_string().contains("$("), "{release}: {key}");
        }
        eprintln!("{release}: {} of {} objects agree", theirs.len() - differ.len(), theirs.len());
    }
}
