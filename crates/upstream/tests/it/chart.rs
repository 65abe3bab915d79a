//! Charts: from a folder, a repository and a registry, rendered by the real Helm.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use airlift_helm::{Chart, Listed, MAX_CHART_DEPTH};
use airlift_spec::lock::{Artifact, Kind};
use airlift_spec::oci::media_type::OCI_MANIFEST;
use airlift_spec::stack::{Exclude, Pattern};
use airlift_spec::{Class, Descriptor, Digest, Explain as _, Lock, Stack};
use airlift_testkit::need;
use airlift_testkit::samples::{self, Sample, SampleManifest};

use airlift_upstream::Indexes;
use airlift_upstream::resolve::ResolveOptions;

use crate::world::{World, codes};

/// A world whose registry has `ai/app:1` and `ai/extra:1`, and Helm.
fn world(helm: &Path) -> World {
    let mut world = World::new();
    world.upstream.programs = helm.parent().unwrap().into();
    world.registry.put("ai/app", "1", &samples::image(1, &[1000]));
    world.registry.put("ai/extra", "1", &samples::image(2, &[1000]));
    world
}

/// A chart in the folder `app` that asks for `ai/app`, and for `ai/extra` with a switch.
fn write_chart(world: &World) {
    let host = world.registry.host();
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.2.3\n".to_owned()),
        ("values.yaml", format!("host: {host}\nextra:\n  enabled: false\n")),
        (
            "templates/app.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: app}\nspec:\n  containers:\n  \
             - {name: app, image: '{{ .Values.host }}/ai/app:1'}\n  \
             {{- if .Values.extra.enabled }}\n  \
             - {name: extra, image: '{{ .Values.host }}/ai/extra:1'}\n  {{- end }}\n"
                .to_owned(),
        ),
    ];
    for (name, text) in files {
        let path = world.folder().join("app").join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
}

fn open(world: &World) -> Chart {
    Chart::open(&world.folder().join("app")).unwrap()
}

fn stack(source: &str) -> Stack {
    let text = format!("version: 1\nname: demo\nsources: [{source}]\n");
    airlift_spec::stack::parse(&text).unwrap()
}

fn paths(lock: &Lock) -> Vec<&str> {
    lock.artifacts.iter().map(|artifact| artifact.reference.path()).collect()
}

fn chart_of(lock: &Lock) -> &Artifact {
    lock.artifacts.iter().find(|artifact| artifact.kind == Kind::Chart).unwrap()
}

#[tokio::test]
async fn a_chart_brings_itself_and_the_images_that_it_renders() {
    let world = world(&need!("helm"));
    write_chart(&world);
    let lock = world.lock(&stack("{chart: ./app}")).await;
    assert_eq!(paths(&lock), ["ai/app", "charts/app"]);
    let chart = chart_of(&lock);
    assert_eq!((chart.name.as_str(), chart.version.as_str()), ("app", "1.2.3"));
    assert_eq!(lock.needs, ["kinds"]);
    let because = &lock.artifacts[0].because[0];
    assert_eq!(because.from, "airlift.local/charts/app:1.2.3");
    assert!(because.path.starts_with("app/templates/app.yaml: Pod"), "{}", because.path);
    assert_eq!(codes(&lock), ["switched-image"]);
    assert!(lock.findings[0].message.contains("extra.enabled=true"), "{:?}", lock.findings);
}

#[tokio::test]
async fn what_a_switch_brings_is_carried_on_demand() {
    let world = world(&need!("helm"));
    write_chart(&world);
    let lock = world.lock(&stack("{chart: ./app, switches: include}")).await;
    assert_eq!(paths(&lock), ["ai/app", "ai/extra", "charts/app"]);
    fs_err::write(world.folder().join("on.yaml"), "extra: {enabled: true}\n").unwrap();
    for values in ["values: [on.yaml]", "variants: [[on.yaml]], switches: ignore"] {
        let lock = world.lock(&stack(&format!("{{chart: ./app, {values}}}"))).await;
        assert_eq!(paths(&lock), ["ai/app", "ai/extra", "charts/app"], "{values}");
    }
}

#[tokio::test]
async fn a_chart_that_is_not_in_the_store_any_more_is_made_again() {
    let mut world = world(&need!("helm"));
    write_chart(&world);
    let lock = world.lock(&stack("{chart: ./app}")).await;
    world.start_over();
    let fetched = world.fetch(&lock).await;
    assert!(fetched.failures.is_empty(), "{:?}", fetched.failures);
    let package = Digest::of(&open(&world).package());
    assert!(world.upstream.store.contains(&package));

    fs_err::remove_dir_all(world.upstream.store.root()).unwrap();
    world.start_over();
    fs_err::write(world.folder().join("app/values.yaml"), "host: elsewhere\n").unwrap();
    let fetched = world.fetch(&lock).await;
    let said = fetched.failures[0].error.to_string();
    assert!(said.contains("is not what the lock pins any more"), "{said}");
    assert_eq!(fetched.failures.len(), 1, "the image is there all the same");
}

#[tokio::test]
async fn a_repository_gives_the_version_that_is_asked_for_and_a_second_run_asks_nobody() {
    let world = world(&need!("helm"));
    write_chart(&world);
    let chart = open(&world);
    let (package, url) = (chart.package().to_vec(), format!("{}/charts", world.registry.url()));
    let index = airlift_helm::index(&[Listed::of(&chart, chart.file_name())]);
    world.registry.put_file("/charts/index.yaml", index);
    world.registry.put_file("/charts/app-1.2.3.tgz", package);
    let stack = stack(&format!("{{chart: app, repository: '{url}', version: ^1.2.0}}"));
    let lock = world.lock(&stack).await;
    assert_eq!(paths(&lock), ["ai/app", "charts/app"]);
    assert_eq!(chart_of(&lock).reference.host(), world.registry.host());
    world.registry.forget_requests();
    let again = world.resolve_from(&stack, Some(&lock), &ResolveOptions::default()).await.unwrap();
    assert_eq!(again.lock.to_text(), lock.to_text());
    assert!(world.registry.requests().is_empty());
}

#[tokio::test]
async fn a_package_that_is_not_what_the_index_says_is_refused() {
    let world = world(&need!("helm"));
    write_chart(&world);
    let chart = open(&world);
    let index = airlift_helm::index(&[Listed::of(&chart, chart.file_name())]);
    let mut package = chart.package().to_vec();
    package.push(0);
    world.registry.put_file("/charts/index.yaml", index);
    world.registry.put_file("/charts/app-1.2.3.tgz", package);
    let url = format!("{}/charts", world.registry.url());
    let resolution = world.resolve(&stack(&format!("{{chart: app, repository: '{url}'}}"))).await;
    let said = airlift_spec::error::chain(&resolution.failures[0].error);
    assert!(said.contains("and its index says"), "{said}");
    assert!(resolution.lock.artifacts.is_empty());
}

/// Puts the chart `name` into the repository at `/charts`, where it is listed as version 1.2.3 of `listed`.
fn put_package(world: &World, listed: &str, name: &str, version: &str, dependencies: &str) {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str, version: &str| {
        format!("apiVersion: v2\nname: {name}\nversion: {version}\ndependencies: {dependencies}\n")
    };
    let open = |text: String| {
        fs_err::write(folder.path().join("Chart.yaml"), text).unwrap();
        Chart::open(folder.path()).unwrap()
    };
    let package = open(text(name, version)).package().to_vec();
    let entry = Listed::of(&open(text(listed, "1.2.3")), format!("{listed}.tgz"));
    let index = airlift_helm::index(&[Listed { digest: None, ..entry }]);
    world.registry.put_file("/charts/index.yaml", index);
    world.registry.put_file(&format!("/charts/{listed}.tgz"), package);
}

#[tokio::test]
async fn another_chart_than_the_index_lists_is_refused_before_what_it_depends_on_is_brought() {
    let mut world = World::new();
    let url = format!("{}/charts", world.registry.url());
    let elsewhere = format!("[{{name: more, version: 1.0.0, repository: '{url}/more'}}]");
    for (name, version) in [("other", "1.2.3"), ("app", "9.9.9")] {
        put_package(&world, "app", name, version, &elsewhere);
        world.registry.forget_requests();
        // Nothing is remembered of the index before.
        world.upstream.indexes = Indexes::default();
        let resolution =
            world.resolve(&stack(&format!("{{chart: app, repository: '{url}'}}"))).await;
        let err = &resolution.failures[0].error;
        let said = airlift_spec::error::chain(err);
        assert!(said.contains(&format!("is the chart `{name} {version}`")), "{said}");
        assert!(said.contains("its index says `app 1.2.3`"), "{said}");
        assert_eq!(err.class(), Class::Integrity);
        assert_eq!(world.registry.requests().len(), 2);
        assert!(resolution.lock.artifacts.is_empty());
    }
}

/// A chart in a folder, with what it depends on.
fn write_dependent(world: &World, name: &str, dependencies: &str) {
    let text =
        format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\ndependencies: [{dependencies}]\n");
    let folder = world.folder().join(name);
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("Chart.yaml"), text).unwrap();
}

fn beside(name: &str) -> String {
    format!("{{name: {name}, version: 1.0.0, repository: 'file://../{name}'}}")
}

#[tokio::test]
async fn a_chart_that_depends_on_itself_in_whatever_way_is_named_and_spares_the_others() {
    let world = World::new();
    world.registry.put("ai/app", "1", &samples::image(1, &[1000]));
    let url = format!("{}/charts", world.registry.url());
    write_dependent(&world, "alone", "{name: alone, version: 1.0.0, repository: 'file://.'}");
    write_dependent(&world, "there", &beside("back"));
    write_dependent(&world, "back", &beside("there"));
    put_package(
        &world,
        "app",
        "app",
        "1.2.3",
        &format!("[{{name: app, version: 1.2.3, repository: '{url}'}}]"),
    );
    for (source, problem) in [
        ("chart: ./alone".to_owned(), "`alone` depends on itself".to_owned()),
        ("chart: ./there".to_owned(), "`there` depends on itself through `back`".to_owned()),
        (format!("chart: app, repository: '{url}'"), format!("`{url}/app.tgz` depends on itself")),
    ] {
        world.registry.forget_requests();
        let image = format!("{}/ai/app:1", world.registry.host());
        let resolution =
            world.resolve(&stack(&format!("{{image: '{image}'}}, {{{source}}}"))).await;
        let err = &resolution.failures[0].error;
        let said = airlift_spec::error::chain(err);
        assert!(said.contains(&problem), "{said}");
        assert_eq!((err.class(), err.line()), (Class::Input, Some(3)), "{said}");
        assert_eq!(paths(&resolution.lock), ["ai/app"]);
        let packages = world.registry.requests();
        let packages = packages.iter().filter(|it| it.path.ends_with("/app.tgz"));
        assert!(packages.count() <= 1);
    }
}

#[tokio::test]
async fn charts_that_depend_on_one_another_have_a_depth() {
    let world = World::new();
    let name = |number: usize| format!("c{number}");
    for number in 0..=MAX_CHART_DEPTH {
        write_dependent(&world, &name(number), &beside(&name(number + 1)));
    }
    write_dependent(&world, &name(MAX_CHART_DEPTH + 1), "");
    let resolution = world.resolve(&stack("{chart: ./c0}")).await;
    let said = airlift_spec::error::chain(&resolution.failures[0].error);
    assert!(said.contains("`c9` is a dependency of a dependency, more than 8 deep"), "{said}");
    world.lock(&stack("{chart: ./c1}")).await;
}

#[tokio::test]
async fn a_chart_in_a_registry_is_pinned_where_it_is() {
    let world = world(&need!("helm"));
    write_chart(&world);
    let chart = open(&world);
    world.registry.put("charts/app", "1.2.3", &sample(&chart));
    let host = world.registry.host();
    for version in [", version: 1.2.3", ", version: '1.x'", ""] {
        let lock =
            world.lock(&stack(&format!("{{chart: 'oci://{host}/charts/app'{version}}}"))).await;
        assert_eq!(paths(&lock), ["ai/app", "charts/app"], "{version}");
        assert_eq!(chart_of(&lock).from, None);
        let fetched = world.fetch(&lock).await;
        assert!(fetched.failures.is_empty(), "{:?}", fetched.failures);
        assert!(world.upstream.store.contains(&Digest::of(&chart.package())));
    }
}

#[tokio::test]
async fn without_helm_nothing_is_proven_and_that_is_said() {
    let world = World::new();
    write_chart(&world);
    fs_err::write(
        world.folder().join("app/values.yaml"),
        "image: {repository: quay.io/org/app, tag: '2'}\n",
    )
    .unwrap();
    let lock = world.lock(&stack("{chart: ./app}")).await;
    assert_eq!(paths(&lock), ["charts/app"]);
    let said: BTreeSet<&str> = codes(&lock).into_iter().collect();
    assert_eq!(said, BTreeSet::from(["not-rendered", "unrendered-image"]));
}

fn sample(chart: &Chart) -> Sample {
    let made = chart.oci(None);
    let blobs = [made.config, made.package.to_vec()];
    let manifest = SampleManifest {
        media_type: OCI_MANIFEST.to_owned(),
        digest: Digest::of(&made.manifest),
        bytes: made.manifest.into(),
    };
    Sample {
        blobs: blobs.into_iter().map(|blob| (Digest::of(&blob), blob.into())).collect(),
        root: Descriptor::new(OCI_MANIFEST, manifest.digest, manifest.bytes.len() as u64),
        manifests: vec![manifest],
        tags: BTreeMap::default(),
    }
}

#[tokio::test]
async fn what_a_pack_knows_of_a_chart_is_carried() {
    let world = world(&need!("helm"));
    write_chart(&world);
    let host = world.registry.host();
    let pack = format!(
        "format: 1\nproduct: {{chart: app}}\nsource: our lab\nwhy: we saw it\nentries:\n\
         - versions: [1.2.3]\n  images: {{'{host}/ai/extra': ['1']}}\n  unknown: [quay.io/a/b]\n"
    );
    fs_err::write(world.folder().join("app.yaml"), pack).unwrap();
    let knowledge = vec![airlift_spec::stack::Pack { path: "./app.yaml".to_owned(), line: 1 }];
    let lock = world.lock(&Stack { knowledge, ..stack("{chart: ./app, switches: ignore}") }).await;
    assert_eq!(paths(&lock), ["ai/app", "ai/extra", "charts/app"]);
    let because = &lock.artifacts[1].because[0];
    assert_eq!(because.from, "airlift.local/charts/app:1.2.3");
    assert_eq!(because.path, "knowledge: ./app.yaml: our lab");
    assert_eq!(codes(&lock), ["knowledge-gap"]);
}

#[tokio::test]
async fn an_excluded_chart_goes_alone() {
    let world = world(&need!("helm"));
    write_chart(&world);
    let rule = Exclude { image: Pattern::Glob("*/charts/app".to_owned()), why: String::new() };
    let stack = Stack { exclude: vec![rule], ..stack("{chart: ./app, switches: ignore}") };
    let lock = world.lock(&stack).await;
    assert_eq!(paths(&lock), ["ai/app"]);
    let because = &lock.artifacts[0].because[0];
    assert_eq!(because.from, "chart: ./app");
    assert!(
        because.path.starts_with("airlift.local/charts/app:1.2.3: app/templates"),
        "{because:?}"
    );
    let again = world.resolve_from(&stack, Some(&lock), &ResolveOptions::default()).await.unwrap();
    assert_eq!(again.lock, lock);
}
