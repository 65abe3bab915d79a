//! Configurations that contradict what their stack carries.

use airlift_spec::{Lock, Stack};
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
