//! OLM catalogs: from a folder and an image, filtered, completed, and made into an image again.

use std::fmt::Write as _;

use airlift_spec::lock::{Artifact, Because, Evidence, Kind};
use airlift_spec::stack::{Exclude, Pattern};
use airlift_spec::{Digest, Lock, Stack};
use airlift_testkit::samples::{self, File, Image, Layer, Sample};
use airlift_upstream::inputs;
use airlift_upstream::resolve::ResolveOptions;

use crate::world::{World, codes};

const ROOT_LABEL: &str = "operators.operatorframework.io.index.configs.v1";

/// A world with a catalog in the folder `catalog`: `app` 1.0.0 and 1.1.0, of which each needs `ai/app:<version>`
/// and the package `base`, and `other`.
fn world() -> World {
    let world = World::new();
    for version in ["1.0.0", "1.1.0"] {
        world.registry.put("ai/app", version, &samples::image(1, &[1000]));
        for package in ["app", "base", "other"] {
            let bundle = bundle(&format!("{package} {version}"));
            world.registry.put(&format!("ai/{package}-bundle"), version, &bundle);
        }
    }
    let folder = world.folder().join("catalog");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("catalog.yaml"), text(&world.registry.host())).unwrap();
    world
}

/// A bundle's image, with a manifest.
fn bundle(manifest: &str) -> Sample {
    let file = File::new("manifests/one.yaml", format!("kind: Thing\nspec: {manifest}\n"));
    Image { layers: vec![Layer::gzip(&[file])], ..Image::default() }.build()
}

fn text(host: &str) -> String {
    let mut text = String::new();
    for package in ["app", "base", "other"] {
        write!(
            text,
            "---\nschema: olm.package\nname: {package}\ndefaultChannel: stable\n---\nschema: olm.channel\npackage: {package}\nname: stable\nentries:\n- name: {package}.v1.0.0\n- name: {package}.v1.1.0\n  replaces: {package}.v1.0.0\n"
        )
        .unwrap();
        for version in ["1.0.0", "1.1.0"] {
            write!(
                text,
                "---\nschema: olm.bundle\npackage: {package}\nname: {package}.v{version}\nimage: {host}/ai/{package}-bundle:{version}\nproperties:\n- type: olm.package\n  value: {{packageName: {package}, version: {version}}}\n"
            )
            .unwrap();
            if package == "app" {
                write!(text, "- type: olm.package.required\n  value: {{packageName: base, versionRange: '>=1.0.0'}}\nrelatedImages:\n- {{name: app, image: '{host}/ai/app:{version}'}}\n").unwrap();
            }
        }
    }
    text
}

fn stack(more: &str) -> Stack {
    let source = format!("catalog: ./catalog, as: 'example.com/own/catalog:v1', {more}");
    let text = format!("version: 1\nname: demo\nsources: [{{{source}}}]\n");
    airlift_spec::stack::parse(&text).unwrap()
}

fn bundles(lock: &Lock) -> Vec<(&str, &str)> {
    let bundles = lock.artifacts.iter().filter(|artifact| artifact.kind == Kind::Bundle);
    bundles.map(|bundle| (bundle.name.as_str(), bundle.version.as_str())).collect()
}

fn catalog_of(lock: &Lock) -> &Artifact {
    lock.artifacts.iter().find(|artifact| artifact.kind == Kind::Catalog).unwrap()
}

#[tokio::test]
async fn a_package_brings_its_bundle_its_images_and_what_it_requires() {
    let world = world();
    let stack = stack("packages: [{name: app}]");
    let lock = world.lock(&stack).await;
    assert_eq!(bundles(&lock), [("app.v1.1.0", "1.1.0"), ("base.v1.1.0", "1.1.0")]);
    let by_path = |path: &str| {
        lock.artifacts.iter().find(|artifact| artifact.reference.path() == path).unwrap()
    };
    let image = &by_path("ai/app").because[0];
    assert_eq!(image.from, by_path("ai/app-bundle").reference.to_string());
    assert_eq!((image.path.as_str(), image.evidence), ("relatedImages[app]", Evidence::Declared));
    let base = &by_path("ai/base-bundle").because[0];
    assert_eq!(base.from, by_path("ai/app-bundle").reference.to_string());
    assert!(base.path.contains("app.v1.1.0 requires"), "{}", base.path);
    assert!(codes(&lock).is_empty(), "{:?}", lock.findings);
    assert_eq!(lock.satisfies(&stack, &inputs(&stack, world.folder()).unwrap()), Ok(()));
}

#[tokio::test]
async fn the_filtered_catalog_is_an_image_with_the_same_bytes_every_time() {
    let mut world = world();
    let stack =
        stack("packages: [{name: app, channel: stable, from: 1.0.0}], dependencies: ignore");
    let lock = world.lock(&stack).await;
    assert_eq!(bundles(&lock).len(), 2);
    let catalog = catalog_of(&lock);
    assert_eq!(catalog.reference.to_string(), "example.com/own/catalog:v1");
    world.start_over();
    let fetched = world.fetch(&lock).await;
    assert!(fetched.failures.is_empty(), "{:?}", fetched.failures);
    let again = world.lock(&stack).await;
    assert_eq!(again.to_text(), lock.to_text());

    let store = &world.upstream.store;
    let manifest = store.read(&catalog.digest.unwrap(), 1 << 20).unwrap().unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let read = |descriptor: &serde_json::Value| {
        let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
        store.read(&digest, 1 << 20).unwrap().unwrap()
    };
    let config: serde_json::Value = serde_json::from_slice(&read(&manifest["config"])).unwrap();
    assert_eq!(config["config"]["Labels"][ROOT_LABEL], "/configs");
    let layer = read(&manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"][0], Digest::of(&layer).to_string());
    let mut names = Vec::new();
    for member in tar::Archive::new(layer.as_slice()).entries().unwrap() {
        names.push(member.unwrap().path().unwrap().display().to_string());
    }
    assert_eq!(names, ["configs", "configs/app", "configs/app/catalog.json"]);
}

#[tokio::test]
async fn a_catalog_in_a_registry_is_read_through_all_its_layers() {
    let world = world();
    let host = world.registry.host();
    let old = text(&host).replace("1.1.0", "1.1.9");
    let image = Image {
        layers: vec![
            Layer::gzip(&[
                File::new("configs/gone/catalog.yaml", "schema: olm.package\nname: gone\n"),
                File::new("configs/app/catalog.yaml", old),
                File::new("etc/passwd", "root\n"),
            ]),
            Layer::zstd(&[
                File::new("configs/.wh.gone", ""),
                File::new("./configs/app/catalog.yaml", text(&host)),
            ]),
        ],
        labels: [(ROOT_LABEL.to_owned(), "/configs".to_owned())].into(),
        ..Image::default()
    };
    world.registry.put("catalogs/index", "v4.20", &image.build());
    let text = format!(
        "version: 1\nname: demo\nsources: [{{catalog: '{host}/catalogs/index:v4.20', packages: [{{name: app}}]}}]\n"
    );
    let stack = airlift_spec::stack::parse(&text).unwrap();
    let lock = world.lock(&stack).await;
    assert_eq!(bundles(&lock), [("app.v1.1.0", "1.1.0"), ("base.v1.1.0", "1.1.0")]);
    let from = catalog_of(&lock).from.clone().unwrap();
    assert!(from.starts_with(&format!("catalog:{host}/catalogs/index:v4.20@sha256:")), "{from}");
    world.registry.forget_requests();
    let again = world.resolve_from(&stack, Some(&lock), &ResolveOptions::default()).await.unwrap();
    assert_eq!(again.lock.to_text(), lock.to_text());
    assert!(world.registry.requests().is_empty());
}

/// Its signature stays true.
#[tokio::test]
async fn a_whole_catalog_is_carried_as_it_is() {
    let world = world();
    let host = world.registry.host();
    let image = Image {
        layers: vec![Layer::gzip(&[File::new("configs/catalog.yaml", text(&host))])],
        labels: [(ROOT_LABEL.to_owned(), "/configs".to_owned())].into(),
        ..Image::default()
    };
    let image = image.build();
    world.registry.put("catalogs/index", "v4.20", &image);
    let source = format!("catalog: '{host}/catalogs/index:v4.20', full: true");
    let text = format!("version: 1\nname: demo\nsources: [{{{source}}}]\n");
    let lock = world.lock(&airlift_spec::stack::parse(&text).unwrap()).await;
    assert_eq!(catalog_of(&lock).digest, Some(image.root.digest));
    assert_eq!(catalog_of(&lock).from, None);
    assert_eq!(bundles(&lock).len(), 6);
}

#[tokio::test]
async fn a_catalog_without_a_single_package_is_refused() {
    for file in ["catalog/README.md", "catalog/catalog.yaml", "catalog/configs/.indexignore"] {
        let world = World::new();
        let path = world.folder().join(file);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "").unwrap();
        for packages in ["", "packages: [{name: app}]"] {
            let resolution = world.resolve(&stack(packages)).await;
            let said = airlift_spec::error::chain(&resolution.failures[0].error);
            assert!(said.contains("holds no package"), "{said}");
            assert!(resolution.lock.artifacts.is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_error_with_what_is_meant_perhaps() {
    let world = world();
    let resolution = world.resolve(&stack("packages: [{name: apq}]")).await;
    let said = airlift_spec::error::chain(&resolution.failures[0].error);
    assert!(said.contains("no package `apq`"), "{said}");
    assert_eq!(codes(&resolution.lock), ["not-looked-into"]);
}

#[tokio::test]
async fn a_requirement_that_nothing_fulfils_is_an_error_and_the_rest_is_carried() {
    let world = world();
    let path = world.folder().join("catalog/catalog.yaml");
    let text = fs_err::read_to_string(&path).unwrap().replace(">=1.0.0", ">=9.0.0");
    fs_err::write(&path, text).unwrap();
    let lock = world.resolve(&stack("packages: [{name: app}]")).await.lock;
    assert_eq!(bundles(&lock), [("app.v1.1.0", "1.1.0")]);
    assert_eq!(codes(&lock), ["unfulfilled-dependency"]);
    let lock = world.lock(&stack("packages: [{name: app}], dependencies: report")).await;
    assert_eq!(codes(&lock), ["catalog-dependency"]);
}

#[tokio::test]
async fn the_image_of_a_bundle_is_looked_into_where_the_catalog_holds_no_manifests() {
    let world = world();
    let host = world.registry.host();
    world.registry.put("ai/helper", "1", &samples::image(7, &[1000]));
    let env = format!("{{env: [{{name: HELPER_IMAGE, value: '{host}/ai/helper:1'}}]}}");
    world.registry.put("ai/other-bundle", "1.1.0", &bundle(&env));
    let other = stack("packages: [{name: other}]");
    let lock = world.lock(&other).await;
    let helper = lock.artifacts.iter().find(|it| it.reference.path() == "ai/helper").unwrap();
    let because = &helper.because[0];
    assert_eq!(because.from, format!("{host}/ai/other-bundle:1.1.0"));
    assert_eq!(because.evidence, Evidence::Referenced);

    world.registry.put("ai/other-bundle", "1.1.0", &samples::image(8, &[1000]));
    let update = ResolveOptions {
        update: airlift_upstream::resolve::Update::Everything,
        ..ResolveOptions::default()
    };
    let broken = world.resolve_from(&other, Some(&lock), &update).await.unwrap();
    assert_eq!(codes(&broken.lock), ["bundle-not-read"]);
}

/// The stack of package `app` that brings the pack `ours/app.yaml`, which has `text` behind its head.
fn stack_with_knowledge(world: &World, text: &str) -> Stack {
    let folder = world.folder().join("ours");
    fs_err::create_dir_all(&folder).unwrap();
    let head = "format: 1\nproduct: {olm: app}\nsource: our lab\nwhy: we saw it\n";
    fs_err::write(folder.join("app.yaml"), format!("{head}{text}")).unwrap();
    let own = stack("packages: [{name: app}]");
    let pack = airlift_spec::stack::Pack { path: "./ours".to_owned(), line: 4 };
    Stack { knowledge: vec![pack], ..own }
}

#[tokio::test]
async fn a_pack_of_ones_own_brings_its_images_with_their_reason() {
    let world = world();
    let host = world.registry.host();
    for tag in ["1", "2"] {
        world.registry.put("ai/known", tag, &samples::image(9, &[1000]));
    }
    let pack = |tag: u32| {
        format!("entries:\n- versions: [1.1.0]\n  images: {{'{host}/ai/known': ['{tag}']}}\n")
    };
    let stack = stack_with_knowledge(&world, &pack(1));
    let lock = world.lock(&stack).await;
    let known = |lock: &Lock| {
        let mut all = lock.artifacts.iter().filter(|it| it.reference.path() == "ai/known");
        let first = all.next().cloned();
        assert_eq!(all.next(), None);
        first
    };
    let because = &known(&lock).unwrap().because[0];
    assert_eq!(because.from, format!("{host}/ai/app-bundle:1.1.0"));
    assert_eq!(because.path, "knowledge: ./ours/app.yaml: our lab");
    assert_eq!(because.evidence, Evidence::Known);
    let check = |lock: &Lock| lock.satisfies(&stack, &inputs(&stack, world.folder()).unwrap());
    assert_eq!(check(&lock), Ok(()));

    stack_with_knowledge(&world, &pack(2));
    let stale = check(&lock).unwrap_err().to_string();
    assert_eq!(stale, "`./ours` has changed since the lock was made");
    let options = ResolveOptions::default();
    let again = world.resolve_from(&stack, Some(&lock), &options).await.unwrap().lock;
    assert_eq!(known(&again).unwrap().reference.tag(), Some("2"));

    let without = Stack { knowledge: Vec::new(), ..stack };
    let again = world.resolve_from(&without, Some(&again), &options).await.unwrap().lock;
    assert_eq!(known(&again), None);
}

#[tokio::test]
async fn a_pack_that_cannot_be_used_is_said_with_its_line_and_the_stacks() {
    let world = world();
    let stack = stack_with_knowledge(&world, "entries:\n- versions: ['>1 x']\n");
    let options = ResolveOptions::default();
    let err = world.resolve_from(&stack, None, &options).await.unwrap_err();
    let said = airlift_spec::error::chain(&err);
    assert!(said.starts_with("line 4: the knowledge in `./ours` cannot be used"), "{said}");
    assert!(said.contains("./ours/app.yaml is not a knowledge pack: line 6: "), "{said}");
    assert_eq!(airlift_spec::Explain::class(&err), airlift_spec::Class::Input);
}

#[tokio::test]
async fn what_is_excluded_goes_alone_and_stays_away() {
    let world = world();
    let host = world.registry.host();
    let own = stack("packages: [{name: app}]");
    for (pattern, left) in [
        ("example.com/own/catalog", vec!["ai/app", "ai/app-bundle", "ai/base-bundle"]),
        ("*/app-bundle", vec!["ai/app", "ai/base-bundle", "own/catalog"]),
        ("*-bundle", vec!["ai/app", "own/catalog"]),
    ] {
        let rule = Exclude { image: Pattern::Glob(pattern.to_owned()), why: String::new() };
        let stack = Stack { exclude: vec![rule], ..own.clone() };
        let lock = world.lock(&stack).await;
        let paths = |lock: &Lock| -> Vec<String> {
            lock.artifacts.iter().map(|it| it.reference.path().to_owned()).collect()
        };
        let mut found = paths(&lock);
        found.sort();
        assert_eq!(found, left, "{pattern}");
        assert!(codes(&lock).iter().all(|code| *code == "excluded"), "{:?}", lock.findings);
        let inputs = inputs(&stack, world.folder()).unwrap();
        assert_eq!(lock.satisfies(&stack, &inputs), Ok(()), "{pattern}");
        let options = ResolveOptions::default();
        let again = world.resolve_from(&stack, Some(&lock), &options).await.unwrap().lock;
        assert_eq!(again.to_text(), lock.to_text(), "{pattern}");
        let app = lock.artifacts.iter().find(|it| it.reference.path() == "ai/app").unwrap();
        let bundle = format!("{host}/ai/app-bundle:1.1.0");
        let direct = Because { from: bundle, ..app.because[0].clone() };
        assert_eq!(app.because[0] == direct, pattern.starts_with("example"), "{app:?}");
    }
}

#[tokio::test]
async fn an_image_without_a_registry_is_said() {
    let world = world();
    let host = world.registry.host();
    let path = world.folder().join("catalog/catalog.yaml");
    let text = fs_err::read_to_string(&path).unwrap();
    let text = text.replace(&format!("image: '{host}/ai/app:1.1.0'"), "image: 'app:1'");
    fs_err::write(&path, text).unwrap();
    let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
    let lock = world
        .resolve_from(&stack("packages: [{name: app}], dependencies: ignore"), None, &options)
        .await
        .unwrap()
        .lock;
    let said = lock.findings.iter().find(|it| it.code == "short-image-name").unwrap();
    assert_eq!(said.object, "app.v1.1.0");
    assert!(said.message.contains("`app:1` names no registry"), "{}", said.message);
    assert!(said.message.contains("`docker.io/library/app:1`"), "{}", said.message);
}
