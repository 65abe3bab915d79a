//! Sources that find others.

use std::path::Path;
use std::process::Command;

use airlift_spec::{Class, Explain as _, Lock, Stack};
use airlift_testkit::registry::{Fault, On};
use airlift_testkit::samples;
use airlift_upstream::inputs;
use airlift_upstream::resolve::ResolveOptions;

use crate::world::{World, codes};

/// A world with two images, and a folder `deploy` with a file that names the first.
fn world() -> World {
    let world = World::new();
    world.registry.put("ai/app", "1", &samples::image(1, &[1000]));
    world.registry.put("ai/tool", "1", &samples::image(2, &[1000]));
    write(&world, "app.yaml", &deployment(&world, "ai/app:1"));
    world
}

fn write(world: &World, name: &str, text: &str) {
    let path = world.folder().join("deploy").join(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

fn deployment(world: &World, image: &str) -> String {
    let host = world.registry.host();
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app}}\nspec:\n  template:\n    spec:\n      containers:\n      - {{name: app, image: '{host}/{image}'}}\n"
    )
}

fn stack(more: &str) -> Stack {
    let text = format!("version: 1\nname: demo\nsources: [{{manifests: ./deploy}}]\n{more}");
    airlift_spec::stack::parse(&text).unwrap()
}

fn paths(lock: &Lock) -> Vec<&str> {
    lock.artifacts.iter().map(|artifact| artifact.reference.path()).collect()
}

#[tokio::test]
async fn images_of_manifests_are_pinned_with_the_field_that_names_them() {
    let world = world();
    let lock = world.lock(&stack("")).await;
    let artifact = &lock.artifacts[0];
    assert!(artifact.digest.is_some());
    let because = &artifact.because[0];
    assert_eq!(because.from, "manifests: ./deploy");
    assert_eq!(because.path, "app.yaml: Deployment app: spec.template.spec.containers[0].image");
    assert_eq!(lock.satisfies(&stack(""), &inputs(&stack(""), world.folder()).unwrap()), Ok(()));
}

#[tokio::test]
async fn what_has_not_changed_is_not_looked_into_again() {
    let world = world();
    let lock = world.lock(&stack("")).await;
    world.registry.forget_requests();
    let again = world.resolve_from(&stack(""), Some(&lock), &ResolveOptions::default()).await;
    assert_eq!(again.unwrap().lock.to_text(), lock.to_text());
    assert_eq!(world.registry.requests().len(), 0);
}

#[tokio::test]
async fn a_changed_file_brings_its_new_images_and_loses_the_old() {
    let world = world();
    let lock = world.lock(&stack("")).await;
    write(&world, "app.yaml", &deployment(&world, "ai/tool:1"));
    let now = inputs(&stack(""), world.folder()).unwrap();
    let stale = lock.satisfies(&stack(""), &now).unwrap_err();
    assert_eq!(stale.to_string(), "`./deploy` has changed since the lock was made");
    let again = world.resolve_from(&stack(""), Some(&lock), &ResolveOptions::default()).await;
    assert_eq!(paths(&again.unwrap().lock), ["ai/tool"]);
}

#[tokio::test]
async fn a_source_that_cannot_be_read_keeps_its_pins_and_is_looked_into_again() {
    let world = world();
    let lock = world.lock(&stack("")).await;
    write(&world, "app.yaml", "kind: {");
    let resolution =
        world.resolve_from(&stack(""), Some(&lock), &ResolveOptions::default()).await.unwrap();
    let broken = resolution.lock;
    assert_eq!(resolution.failures.len(), 1);
    assert_eq!(broken.artifacts, lock.artifacts);
    assert_eq!(codes(&broken), ["not-looked-into"]);
    assert!(broken.sources.is_empty(), "it is not done with");

    write(&world, "app.yaml", &deployment(&world, "ai/app:1"));
    let healed = world.resolve_from(&stack(""), Some(&broken), &ResolveOptions::default()).await;
    assert_eq!(healed.unwrap().lock.to_text(), lock.to_text());
}

#[tokio::test]
async fn an_image_that_is_found_and_listed_is_there_for_both_reasons() {
    let world = world();
    let host = world.registry.host();
    let text = format!(
        "version: 1\nname: demo\nsources: [{{image: '{host}/ai/app:1'}}, {{manifests: ./deploy}}]\n"
    );
    let stack = airlift_spec::stack::parse(&text).unwrap();
    let lock = world.lock(&stack).await;
    assert_eq!(lock.artifacts.len(), 1);
    assert_eq!(lock.artifacts[0].because.len(), 2);
    assert_eq!(lock.satisfies(&stack, &inputs(&stack, world.folder()).unwrap()), Ok(()));
    let only_listed = text.replace(", {manifests: ./deploy}", "");
    let only_listed = airlift_spec::stack::parse(&only_listed).unwrap();
    assert!(lock.satisfies(&only_listed, &inputs(&only_listed, world.folder()).unwrap()).is_err());
}

#[tokio::test]
async fn what_is_excluded_is_not_asked_for() {
    let world = world();
    write(&world, "tool.yaml", &deployment(&world, "ai/tool:1"));
    world.registry.fail_always(On::path("ai/tool"), Fault::Status(500, vec![]));
    let lock = world.lock(&stack("exclude: [{image: '*/tool', why: not needed}]\n")).await;
    assert_eq!(paths(&lock), ["ai/app"]);
    assert_eq!(codes(&lock), ["excluded"]);
}

#[tokio::test]
async fn an_image_that_is_not_there_fails_alone() {
    let world = world();
    write(&world, "gone.yaml", &deployment(&world, "ai/gone:1"));
    let resolution = world.resolve(&stack("")).await;
    assert_eq!(paths(&resolution.lock), ["ai/app", "ai/gone"]);
    assert_eq!(codes(&resolution.lock), ["unpinned"]);
    assert_eq!(resolution.failures.len(), 1);
}

#[tokio::test]
async fn what_looks_like_an_image_and_is_not_proven_is_said() {
    let world = world();
    write(&world, "tool.yaml", &deployment(&world, "ai/tool:$(TAG)"));
    let lock = world.lock(&stack("")).await;
    assert_eq!(codes(&lock), ["unproven-image"]);
    assert!(lock.findings[0].object.contains("tool.yaml"), "{:?}", lock.findings);
}

#[tokio::test]
async fn a_kustomization_is_built_and_what_it_changes_is_seen() {
    let program = airlift_testkit::need!("kustomize");
    let mut world = world();
    world.upstream.programs = program.parent().unwrap().into();
    let host = world.registry.host();
    write(
        &world,
        "kustomization.yaml",
        &format!(
            "resources: [app.yaml]\nimages:\n- {{name: '{host}/ai/app', newName: '{host}/ai/tool'}}\n"
        ),
    );
    assert_eq!(paths(&world.lock(&stack("")).await), ["ai/tool"]);
}

/// What is wrong with the only source, which pins nothing.
async fn refused(world: &World) -> String {
    let resolution = world.resolve(&stack("")).await;
    let err = &resolution.failures[0].error;
    assert!(resolution.lock.artifacts.is_empty());
    assert_eq!((err.class(), err.line()), (Class::Input, Some(3)), "{err}");
    assert!(err.help().is_some(), "{err}");
    airlift_spec::error::chain(err)
}

#[tokio::test]
async fn a_source_without_a_single_object_is_refused() {
    for text in ["", "# nothing yet\n---\n---\n"] {
        let world = World::new();
        write(&world, "app.yaml", text);
        write(&world, "more.yaml", text);
        let said = refused(&world).await;
        assert!(said.contains("holds no object"), "{said}");
    }
    let world = world();
    write(&world, "empty.yaml", "");
    assert_eq!(paths(&world.lock(&stack("")).await), ["ai/app"]);
}

fn link(world: &World, target: impl AsRef<Path>, name: &str) {
    let link = world.folder().join("deploy").join(name);
    fs_err::os::unix::fs::symlink(target, link).unwrap();
}

#[tokio::test]
async fn links_to_folders_are_followed_once_and_circles_end() {
    let world = world();
    let elsewhere = world.folder().join("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    fs_err::write(elsewhere.join("tool.yaml"), deployment(&world, "ai/tool:1")).unwrap();
    write(&world, "z/app.yaml", &deployment(&world, "ai/app:1"));
    for (target, name) in [("z", "a"), (".", "z/itself"), ("..", "z/up"), ("../elsewhere", "more")]
    {
        link(&world, target, name);
    }
    link(&world, world.folder().join("deploy"), "z/around");
    link(&world, "../deploy/z", "../elsewhere/back");
    let lock = world.lock(&stack("")).await;
    assert_eq!(paths(&lock), ["ai/app", "ai/tool"]);
    let places = |at: usize| {
        let because = lock.artifacts[at].because.iter();
        because.map(|it| it.path.split(':').next().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((places(0), places(1)), (vec!["app.yaml", "z/app.yaml"], vec!["more/tool.yaml"]));
    let again = world.resolve_from(&stack(""), Some(&lock), &ResolveOptions::default()).await;
    assert_eq!(again.unwrap().lock.to_text(), lock.to_text());
    fs_err::write(elsewhere.join("tool.yaml"), deployment(&world, "ai/app:1")).unwrap();
    let changed = world.resolve_from(&stack(""), Some(&lock), &ResolveOptions::default()).await;
    assert_eq!(paths(&changed.unwrap().lock), ["ai/app"]);
}

#[tokio::test]
async fn what_cannot_be_read_in_a_folder_of_manifests_is_named() {
    for (name, target, problem) in [
        ("gone.yaml", Some("nowhere.yaml"), "gone.yaml` is a link to nothing"),
        ("gone", Some("../nowhere"), "gone` is a link to nothing"),
        ("up", Some(".."), "up` leads to a folder that"),
        ("pipe.yaml", None, "pipe.yaml` is no regular file"),
        ("pipe", None, "pipe` is no regular file"),
    ] {
        let world = world();
        if let Some(target) = target {
            link(&world, target, name);
        } else {
            let pipe = world.folder().join("deploy").join(name);
            assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        }
        let said = refused(&world).await;
        assert!(said.contains(problem), "{said}");
    }
}
