//! Configurations that contradict what their stack carries.

use airlift_spec::{Lock, Severity, Stack};
use airlift_testkit::need;
use airlift_testkit::samples::{File, Image, Layer};
use airlift_upstream::resolve::ResolveOptions;

use crate::world::{World, codes};

/// A world with two catalogs, of which `one` has `app` and `two` has `gpu`, each for its own namespace alone.
fn world() -> World {
    let world = World::new();
    for (folder, package) in [("one", "app"), ("two", "gpu")] {
        let host = world.registry.host();
        let text = format!(
            "schema: olm.package\nname: {package}\ndefaultChannel: stable\n---\n\
             schema: olm.channel\npackage: {package}\nname: stable\nentries: [{{name: {package}.v1}}]\n---\n\
             schema: olm.channel\npackage: {package}\nname: fast\nentries: [{{name: {package}.v1}}]\n---\n\
             schema: olm.bundle\npackage: {package}\nname: {package}.v1\nimage: {host}/ai/{package}:1\nproperties:\n\
             - {{type: olm.package, value: {{packageName: {package}, version: 1.0.0}}}}\n\
             - {{type: olm.csv.metadata, value: {{installModes: [{{type: OwnNamespace, supported: true}}, {{type: AllNamespaces, supported: false}}]}}}}\n"
        );
        write(&world, &format!("{folder}/catalog.yaml"), &text);
    }
    world
}

fn write(world: &World, name: &str, text: &str) {
    let path = world.folder().join(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

fn subscribe(world: &World, namespace: &str, channel: &str) {
    let text = format!(
        "apiVersion: operators.coreos.com/v1alpha1\nkind: Subscription\nmetadata: {{name: app, namespace: {namespace}}}\nspec: {{name: app, channel: {channel}}}\n"
    );
    write(world, "deploy/app.yaml", &text);
}

fn stack(one: &str, two: &str) -> Stack {
    let text = format!(
        "version: 1\nname: demo\nsources:\n\
         - {{catalog: ./one, as: 'example.com/one:v1', packages: [{one}]}}\n\
         - {{catalog: ./two, as: 'example.com/two:v1', packages: [{two}]}}\n\
         - {{manifests: ./deploy}}\n"
    );
    airlift_spec::stack::parse(&text).unwrap()
}

async fn offline(world: &World, stack: &Stack, before: Option<&Lock>) -> Lock {
    let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
    let mut lock = world.resolve_from(stack, before, &options).await.unwrap().lock;
    lock.findings.retain(|finding| finding.code != "unpinned");
    lock
}

#[tokio::test]
async fn a_subscription_is_held_against_what_is_kept_now() {
    let world = world();
    subscribe(&world, "openshift-operators", "fast");
    let narrow = stack("{name: app, channel: stable}", "{name: gpu}");
    let first = offline(&world, &narrow, None).await;
    assert_eq!(codes(&first), ["operator-group-mode", "subscription-channel"]);
    let second = offline(&world, &narrow, Some(&first)).await;
    assert_eq!(second.to_text(), first.to_text(), "a second run says the same");

    let wide = stack("{name: app}", "{name: gpu}");
    let mended = offline(&world, &wide, Some(&first)).await;
    assert_eq!(codes(&mended), ["operator-group-mode"], "the manifests have not changed");
    subscribe(&world, "ai", "fast");
    let moved = offline(&world, &wide, Some(&mended)).await;
    assert_eq!(codes(&moved), ["subscription-namespace"]);
}

#[tokio::test]
async fn a_package_in_the_wrong_catalog_is_told_the_right_one() {
    let world = world();
    subscribe(&world, "openshift-operators", "stable");
    let wrong = offline(&world, &stack("{name: gpu}", "{name: gpu}"), None).await;
    let said = wrong.findings.iter().find(|it| it.code == "package-elsewhere").unwrap();
    assert!(
        said.message.contains("no package `gpu`, and `./two` of this stack has it"),
        "{said:?}"
    );
    let known =
        offline(&world, &stack("{name: gpu-operator-certified}", "{name: gpu}"), None).await;
    let said = known.findings.iter().find(|it| it.code == "package-elsewhere").unwrap();
    assert!(said.message.contains("the catalog of `certified-operators` has it"), "{said:?}");
    let nowhere = offline(&world, &stack("{name: apq}", "{name: gpu}"), None).await;
    assert!(codes(&nowhere).contains(&"not-looked-into"), "{:?}", nowhere.findings);
}

#[tokio::test]
async fn a_default_channel_that_is_filtered_out_is_said() {
    let world = world();
    subscribe(&world, "openshift-operators", "fast");
    let lock = offline(&world, &stack("{name: app, channel: fast}", "{name: gpu}"), None).await;
    let said = lock.findings.iter().find(|it| it.code == "not-looked-into").unwrap();
    assert!(said.message.contains("takes out `stable`, the default channel"), "{said:?}");
}

const OTHER: &str = "apiVersion: operators.coreos.com/v1alpha1\nkind: Subscription\nmetadata: {name: app, namespace: openshift-operators}\nspec: {name: app, source: CATALOG, channel: gone}\n";

fn chart(world: &World, source: &str) -> Stack {
    write(world, "app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n");
    write(world, "app/templates/sub.yaml", &OTHER.replace("CATALOG", "one"));
    let text = format!(
        "version: 1\nname: demo\nsources:\n\
         - {{catalog: ./one, as: 'example.com/one:v1', packages: [{{name: app}}]}}\n- {source}\n"
    );
    airlift_spec::stack::parse(&text).unwrap()
}

fn said<'a>(lock: &'a Lock, code: &str) -> Vec<&'a airlift_spec::Finding> {
    lock.findings.iter().filter(|it| it.code == code).collect()
}

#[tokio::test]
async fn the_objects_of_a_chart_are_seen_with_their_templates_again_and_again() {
    let helm = need!("helm");
    let mut world = world();
    world.upstream.programs = helm.parent().unwrap().into();
    let stack = chart(&world, "{chart: ./app}");
    let first = offline(&world, &stack, None).await;
    let found = said(&first, "subscription-channel");
    assert_eq!(found[0].severity, Severity::Warning);
    assert_eq!(
        found[0].object,
        "./app: app/templates/sub.yaml: Subscription openshift-operators/app"
    );
    let second = offline(&world, &stack, Some(&first)).await;
    assert_eq!(second.to_text(), first.to_text(), "a second run says the same");
    world.upstream.programs = std::ffi::OsString::new();
    let blind = offline(&world, &stack, Some(&first)).await;
    assert_eq!(blind.to_text(), first.to_text(), "what cannot be seen stands");
}

#[tokio::test]
async fn a_chart_of_others_is_told_as_information_and_not_asked_for_again() {
    let helm = need!("helm");
    let mut world = world();
    world.upstream.programs = helm.parent().unwrap().into();
    chart(&world, "{chart: ./app}");
    let package = airlift_helm::Chart::open(&world.folder().join("app")).unwrap();
    let listed = airlift_helm::Listed::of(&package, package.file_name());
    world.registry.put_file("/charts/index.yaml", airlift_helm::index(&[listed]));
    world.registry.put_file("/charts/app-1.0.0.tgz", package.package().to_vec());
    let url = format!("{}/charts", world.registry.url());
    let stack = chart(&world, &format!("{{chart: app, repository: '{url}'}}"));
    let first = world.resolve(&stack).await.lock;
    assert_eq!(said(&first, "subscription-channel")[0].severity, Severity::Info);
    world.registry.forget_requests();
    let second = offline(&world, &stack, Some(&first)).await;
    assert_eq!(said(&second, "subscription-channel"), said(&first, "subscription-channel"));
    assert!(world.registry.requests().is_empty());
}

#[tokio::test]
async fn what_an_address_gave_is_held_against_what_is_kept_now() {
    let world = world();
    let text = OTHER.replace("CATALOG", "one").replace("gone", "fast");
    world.registry.put_file("/all.yaml", text.into_bytes());
    let url = format!("{}/all.yaml", world.registry.url());
    let stack = |channel: &str| {
        let text = format!(
            "version: 1\nname: demo\nsources:\n\
             - {{catalog: ./one, as: 'example.com/one:v1', packages: [{{name: app{channel}}}]}}\n\
             - {{manifests: '{url}'}}\n"
        );
        airlift_spec::stack::parse(&text).unwrap()
    };
    let narrow = stack(", channel: stable");
    let first = world.resolve(&narrow).await.lock;
    let found = said(&first, "subscription-channel");
    assert_eq!(found[0].severity, Severity::Info);
    assert_eq!(found[0].object, format!("{url}:1: Subscription openshift-operators/app"));
    world.registry.forget_requests();
    let second = offline(&world, &narrow, Some(&first)).await;
    assert_eq!(said(&second, "subscription-channel"), found);
    let wide = offline(&world, &stack(""), Some(&first)).await;
    assert!(said(&wide, "subscription-channel").is_empty(), "{:?}", wide.findings);
    assert!(world.registry.requests().is_empty());
    let inputs = airlift_upstream::inputs(&narrow, world.folder()).unwrap();
    assert!(!matches!(
        first.satisfies(&narrow, &inputs),
        Err(airlift_spec::lock::Stale::Input { .. })
    ));
}

#[tokio::test]
async fn an_object_is_held_against_the_definition_in_a_kept_bundle() {
    let world = World::new();
    let host = world.registry.host();
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.ai}\nspec: {group: ai.example, names: {kind: Thing}, versions: [{name: v1, served: true, schema: {openAPIV3Schema: {properties: {spec: {properties: {new: {}}}}}}}]}\n";
    let file = File::new("manifests/crd.yaml", definition);
    let bundle = Image { layers: vec![Layer::gzip(&[file])], ..Image::default() };
    world.registry.put("ai/app-bundle", "1", &bundle.build());
    let catalog = format!(
        "schema: olm.package\nname: app\ndefaultChannel: stable\n---\nschema: olm.channel\npackage: app\nname: stable\nentries: [{{name: app.v1}}]\n---\nschema: olm.bundle\npackage: app\nname: app.v1\nimage: {host}/ai/app-bundle:1\nproperties:\n- {{type: olm.package, value: {{packageName: app, version: 1.0.0}}}}\n- {{type: olm.gvk, value: {{group: ai.example, version: v1, kind: Thing}}}}\n"
    );
    write(&world, "one/catalog.yaml", &catalog);
    let thing = "apiVersion: ai.example/v1\nkind: Thing\nmetadata: {name: it}\nspec: {old: 1}\n";
    write(&world, "deploy/thing.yaml", thing);
    let stack = airlift_spec::stack::parse(
        "version: 1\nname: demo\nsources: [{catalog: ./one, as: 'example.com/one:v1', packages: [{name: app}]}, {manifests: ./deploy}]\n",
    );
    let stack = stack.unwrap();
    let lock = world.lock(&stack).await;
    assert_eq!(codes(&lock), ["field-unknown"]);
    assert!(lock.findings[0].message.starts_with("bundle app.v1 knows no `spec.old`"));
    assert_eq!(lock.findings[0].object, "./deploy: thing.yaml:1: Thing it");
    world.registry.forget_requests();
    write(&world, "deploy/thing.yaml", &thing.replace("old", "new"));
    let mended = world.resolve_from(&stack, Some(&lock), &ResolveOptions::default()).await;
    assert_eq!(codes(&mended.unwrap().lock), [""; 0]);
    assert!(world.registry.requests().is_empty(), "the bundle is in the store");
}
