use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use airlift_helm::{Address, Kustomize, KustomizeError, Remote, pack};
use airlift_scan::documents;
use airlift_spec::{Class, Ctx, Explain as _};
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
        let text = kustomize.build(&folder.path().join("over"), nothing, &Ctx::default()).unwrap();
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

/// For kustomizations that name nothing elsewhere.
fn nothing(remote: &Remote, _: &Address) -> Result<Vec<u8>, KustomizeError> {
    panic!("{} names {}", remote.file, remote.address)
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {containers: [{name: a, image: app}]}";

fn pod(name: &str) -> String {
    POD.replace("NAME", name)
}

/// Builds `folder`, with what the addresses of `elsewhere` lead to: a file, or a folder of a repository.
fn build_with(
    program: &Path,
    folder: &Path,
    elsewhere: &[(&str, Bring<'_>)],
) -> Result<(String, Vec<String>), KustomizeError> {
    let mut asked = Vec::new();
    let bring = |remote: &Remote, address: &Address| {
        asked.push(remote.address.clone());
        let (_, bring) = elsewhere.iter().find(|(it, _)| *it == remote.address).unwrap();
        match (bring, address) {
            (Bring::File(text), Address::File(_)) => Ok(text.as_bytes().to_vec()),
            (Bring::Tree(top), Address::Repository(it)) => pack(top, &it.folder),
            _ => panic!("{address:?}"),
        }
    };
    let text = kustomize(program).build(folder, bring, &Ctx::default())?;
    Ok((text, asked))
}

enum Bring<'a> {
    File(&'a str),
    Tree(&'a Path),
}

#[test]
fn what_lies_elsewhere_is_brought_once_and_built_as_if_it_lay_here() {
    let program = need!("kustomize");
    let (here, more, patch) = (pod("here"), pod("more"), "https://h.test/patch.yaml");
    let local = folder(&[
        (
            "over/kustomization.yaml",
            "resources: [../base, 'https://h.test/more.yaml', 'github.com/o/r//over?ref=v1']\n\
             patches: [{path: 'https://h.test/patch.yaml'}]\n\
             configMapGenerator: [{name: c, files: ['https://h.test/more.yaml']}]\n\
             namePrefix: 'on-'\n",
        ),
        ("base/kustomization.yaml", "resources: [here.yaml, 'https://h.test/third.yaml']"),
        ("base/here.yaml", &here),
    ]);
    let repository = folder(&[
        (
            "over/kustomization.yaml",
            "resources: [../base, 'https://h.test/third.yaml']\nnamePrefix: r-",
        ),
        ("base/kustomization.yaml", "resources: [pod.yaml]"),
        ("base/pod.yaml", &pod("repo")),
    ]);
    let third = pod("third");
    let elsewhere = [
        ("https://h.test/more.yaml", Bring::File(&more)),
        ("https://h.test/third.yaml", Bring::File(&third)),
        (
            patch,
            Bring::File(
                "apiVersion: v1\nkind: Pod\nmetadata: {name: here}\nspec: {containers: [{name: a, image: patched}]}",
            ),
        ),
        ("github.com/o/r//over?ref=v1", Bring::Tree(repository.path())),
    ];
    let before = fs_err::read_to_string(local.path().join("over/kustomization.yaml")).unwrap();
    let (text, asked) = build_with(&program, &local.path().join("over"), &elsewhere).unwrap();
    for name in ["on-here", "on-more", "on-r-repo", "on-third", "on-r-third"] {
        assert!(text.contains(&format!("name: {name}\n")), "{name}: {text}");
    }
    assert!(text.contains("image: patched"), "{text}");
    assert!(text.contains("  more.yaml: |"), "the key is the file's name: {text}");
    assert_eq!(asked.len(), 4, "{asked:?}");
    let after = fs_err::read_to_string(local.path().join("over/kustomization.yaml")).unwrap();
    assert_eq!(before, after, "what people wrote stays as it is");
}

#[test]
fn a_kustomization_elsewhere_that_leads_to_itself_is_refused_in_its_own_names() {
    let program = need!("kustomize");
    let address = "github.com/o/r//a?ref=v1";
    let text = format!("resources: ['{address}']");
    let repository = folder(&[("a/kustomization.yaml", &text)]);
    let local = folder(&[("kustomization.yaml", &text)]);
    let elsewhere = [(address, Bring::Tree(repository.path()))];
    let err = build_with(&program, local.path(), &elsewhere).unwrap_err().to_string();
    assert!(err.contains("cycle") && err.contains(address), "{err}");
    assert!(!err.contains("/elsewhere/"), "{err}");
}

#[test]
fn addresses_are_followed_only_so_deep() {
    let program = need!("kustomize");
    let local = folder(&[("kustomization.yaml", "resources: ['github.com/o/r?ref=0']")]);
    let mut depth = 0;
    let bring = |_: &Remote, _: &Address| {
        depth += 1;
        let text = format!("resources: ['github.com/o/r?ref={depth}']");
        let next = folder(&[("kustomization.yaml", &text)]);
        pack(next.path(), "")
    };
    let err = kustomize(&program).build(local.path(), bring, &Ctx::default()).unwrap_err();
    assert!(matches!(err, KustomizeError::Deep { .. }), "{err}");
    assert_eq!(depth, 16);
}

#[test]
fn what_nobody_can_bring_is_refused_with_its_file_and_help() {
    let program = need!("kustomize");
    for (text, why) in [
        ("resources: ['o/r?ref=main']", "names `o/r?ref=main`, which is no address"),
        (
            "resources: ['git::https://user:secret@127.0.0.1:1/o/r?ref=v1']",
            "names `git::https://127.0.0.1:1/o/r?ref=v1`, which has a name or a password",
        ),
        (
            "resources: ['ssh://user:secret@127.0.0.1:1/o/r']",
            "names `ssh://127.0.0.1:1/o/r`, which has a name or a password",
        ),
        ("helmCharts: [{name: c, repo: 'https://r.test'}]", "wants the chart `c` from Helm"),
    ] {
        let folder = folder(&[("kustomization.yaml", text)]);
        let err = build_with(&program, folder.path(), &[]).unwrap_err();
        let said = err.to_string();
        assert!(said.contains("/kustomization.yaml") && said.contains(why), "{said}");
        assert!(!said.contains("airlift-kustomize") && !said.contains("secret"), "{said}");
        assert!(err.help().is_some());
    }
}

#[test]
fn nothing_of_this_machine_is_read_for_what_came_from_elsewhere() {
    let program = need!("kustomize");
    let address = "github.com/o/r?ref=v1";
    let secret = folder(&[("secret.yaml", &pod("secret"))]);
    let out = format!("resources: ['{}']", secret.path().join("secret.yaml").display());
    let up =
        format!("resources: ['{}{}']", "../".repeat(20), &secret.path().display().to_string()[1..]);
    let local = folder(&[("kustomization.yaml", &format!("resources: ['{address}']"))]);
    let git = format!("resources: ['file://{}//a?ref=main']", secret.path().display());
    for text in [out, up, git] {
        let repository = folder(&[("kustomization.yaml", &text)]);
        let elsewhere = [(address, Bring::Tree(repository.path()))];
        let built = build_with(&program, local.path(), &elsewhere);
        assert!(built.is_err(), "{text}: {built:?}");
    }
}

#[test]
fn links_of_this_machine_lead_where_they_led() {
    let program = need!("kustomize");
    let (pod, extra) = (pod("pod"), pod("extra"));
    let address = "https://h.test/extra.yaml";
    let local = folder(&[
        ("over/kustomization.yaml", &format!("resources: [base, pod.yaml, '{address}']")),
        ("over/files/pod.yaml", &pod),
        ("base/kustomization.yaml", "resources: [pod.yaml]\nnamePrefix: base-"),
        ("base/pod.yaml", &pod),
    ]);
    let link = |to: &str, from: &str| {
        std::os::unix::fs::symlink(local.path().join(to), local.path().join(from)).unwrap();
    };
    link("base", "over/base");
    link("over/files/pod.yaml", "over/pod.yaml");
    let elsewhere = [(address, Bring::File(&extra))];
    let (text, _) = build_with(&program, &local.path().join("over"), &elsewhere).unwrap();
    for name in ["base-pod", "pod", "extra"] {
        assert!(text.contains(&format!("name: {name}\n")), "{name}: {text}");
    }
}

/// Go takes no proxy for addresses of this machine, so that kustomize itself would reach a server there.
#[test]
fn kustomize_fetches_nothing_itself() {
    let program = need!("kustomize");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = server.local_addr().unwrap().to_string();
    let url = format!("http://{host}/x.yaml");
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    std::thread::spawn(move || {
        for _ in server.incoming() {
            counted.fetch_add(1, SeqCst);
        }
    });
    let generator =
        "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: c}\nfiles: ['k=URL']\n";
    let patch = generator.replace("files: ['k=URL']", "patches: [{path: p.yaml}]");
    let replaced =
        "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: c}\nPath: 'URL'\n";
    let inline = |text: &str| serde_json::Value::from(text).to_string();
    for (text, why) in [
        ("generators: [gen.yaml]".to_owned(), "/gen.yaml` names `URL`"),
        ("generators: [gens]".to_owned(), "/gen.yaml` names `URL`"),
        ("generators: [over]".to_owned(), "could change generators"),
        (format!("generators: [{}]", inline(generator)), "/kustomization.yaml` names `URL`"),
        (format!("transformers: [{}]", inline(replaced)), "/kustomization.yaml` names `URL`"),
        (format!("validators: [{}]", inline(replaced)), "/kustomization.yaml` names `URL`"),
        ("Resources: ['URL']".to_owned(), "is written `resources`"),
        ("resources: ['HTTP://HOST/x.yaml']".to_owned(), "names `HTTP://HOST/x.yaml`"),
        ("configMapGenerator: [{name: c, Files: ['URL']}]".to_owned(), "names `URL`"),
        ("resources: ['gens/../named']".to_owned(), "names `URL`"),
    ] {
        let written = |text: &str| text.replace("URL", &url).replace("HOST", &host);
        let (text, file, why) = (written(&text), written(generator), written(why));
        let local = folder(&[
            ("kustomization.yaml", &text),
            ("gen.yaml", &file),
            ("gens/kustomization.yaml", "resources: [gen.yaml]"),
            ("gens/gen.yaml", &file),
            ("over/kustomization.yaml", "resources: [gen.yaml]\npatches: [{path: p.yaml}]"),
            ("over/gen.yaml", &patch),
            ("named/kustomization.yaml", "generators: [../gens]"),
        ]);
        // Both as it stands here, and as it comes from a repository.
        let address = "github.com/o/r?ref=v1";
        let over = folder(&[("kustomization.yaml", &format!("resources: ['{address}']"))]);
        let elsewhere = [(address, Bring::Tree(local.path()))];
        for built in
            [build_with(&program, local.path(), &[]), build_with(&program, over.path(), &elsewhere)]
        {
            assert_eq!(requests.load(SeqCst), 0, "{text}: {built:?}");
            let said = built.unwrap_err().to_string();
            assert!(said.contains(&why), "{text}: {said}");
            assert!(!said.contains("airlift-kustomize"), "{said}");
        }
    }
}

/// kustomize asks a server before it looks for a file of such a name.
#[test]
fn a_file_that_is_called_like_an_address_does_not_stand_for_it() {
    let program = need!("kustomize");
    let address = "http://127.0.0.1:1/x.yaml";
    let (there, local) = (pod("there"), format!("resources: ['{address}']"));
    let local =
        folder(&[("kustomization.yaml", &local), ("http:/127.0.0.1:1/x.yaml", &pod("here"))]);
    let (text, asked) =
        build_with(&program, local.path(), &[(address, Bring::File(&there))]).unwrap();
    assert!(text.contains("name: there"), "{text}");
    assert_eq!(asked, [address]);
}

#[test]
fn what_cannot_be_built_is_said_in_the_programs_words() {
    let program = need!("kustomize");
    let folder = folder(&[("a/kustomization.yaml", "resources: [gone.yaml]"), ("b/x", "")]);
    let kustomize = kustomize(&program);
    let build = |name: &str| {
        kustomize.build(&folder.path().join(name), nothing, &Ctx::default()).unwrap_err()
    };
    let err = build("a");
    assert!(
        matches!(err, KustomizeError::Refused { .. }) && err.to_string().contains("gone.yaml"),
        "{err}"
    );
    assert!(matches!(build("b"), KustomizeError::NoKustomization { .. }));
    assert!(matches!(Kustomize::find("".as_ref()), Err(KustomizeError::Absent)));
}

#[test]
fn a_pipe_or_a_device_in_a_kustomization_is_named_before_anybody_waits_for_it() {
    let program = need!("kustomize");
    let kustomize = kustomize(&program);
    for (name, target) in [
        ("over/pod.yaml", None),
        ("base/inner/data.txt", None),
        ("base/kustomization.yml", None),
        ("base/pod.yaml", Some("/dev/zero")),
    ] {
        let folder = folder(&[
            ("over/kustomization.yaml", "resources: [../base, pod.yaml]"),
            ("base/kustomization.yaml", "resources: [pod.yaml]"),
            ("base/inner/a", ""),
        ]);
        let path = folder.path().join(name);
        if let Some(target) = target {
            fs_err::os::unix::fs::symlink(target, &path).unwrap();
        } else {
            let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
        }
        let built = kustomize.build(&folder.path().join("over"), nothing, &Ctx::default());
        let err = built.unwrap_err();
        assert!(matches!(err, KustomizeError::Device { .. }), "{name}: {err}");
        assert!(err.to_string().contains(name) && err.help().is_some(), "{err}");
        assert_eq!(err.class(), Class::Input);
    }
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
        let ours = kustomize(&program).build(example, nothing, &Ctx::default()).unwrap();
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
