//! What there is to mirror.

use airlift_testkit::{FakeRegistry, samples};

use super::{run, well, with_catalog};
use crate::world::{succeed, world};

#[test]
fn packages_channels_and_versions_of_a_catalog_are_listed() {
    let registry = with_catalog();
    let world = world();
    let catalog = registry.reference("ops/index", "v4.20");
    let list = ["oc-mirror", "list", "operators", "--catalog", &catalog];
    insta::assert_snapshot!(succeed(&world, list), @r"
    NAME  DEFAULT CHANNEL  CHANNELS
    app   stable           stable
    ");
    insta::assert_snapshot!(well(&world, &list, &["--package", "app"]), @r"
    NAME  DISPLAY NAME  DEFAULT CHANNEL
    app                 stable
    PACKAGE  CHANNEL  HEAD
    app      stable   app.v1.0.0
    ");
    let more = ["--package", "app", "--channel", "stable", "--v2"];
    insta::assert_snapshot!(well(&world, &list, &more), @r"
    VERSION  BUNDLE
    1.0.0    app.v1.0.0
    ");
    let ran = run(&world, &list, &["--package", "other"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("has no package `other`"), "{ran}");
    let ran = run(&world, &list, &["--package", "app", "--channel", "other"]);
    assert!(ran.stderr.contains("has no channel `other` of `app`"), "{ran}");
}

#[test]
fn the_usual_catalogs_of_a_version_are_asked_for() {
    let registry = FakeRegistry::start();
    for name in ["redhat-operator-index", "community-operator-index"] {
        registry.put(&format!("mirror/{name}"), "v4.20", &samples::image(1, &[900]));
    }
    let world = world();
    let config =
        format!("[upstreams]\n\"registry.redhat.io/redhat\" = \"{}/mirror\"\n", registry.host());
    let folder = world.home().join("config/airlift");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("config.toml"), config).unwrap();
    let list = ["oc-mirror", "list", "operators", "--catalogs", "--version", "4.20"];
    insta::assert_snapshot!(succeed(&world, list), @r"
    registry.redhat.io/redhat/redhat-operator-index:v4.20
    registry.redhat.io/redhat/community-operator-index:v4.20
    ");
    let said = well(&world, &list[..5], &["4.1"]);
    assert_eq!(said, "there are no catalogs for version 4.1\n");
}

#[test]
fn what_is_not_listed_is_refused() {
    let world = world();
    for (args, expected) in [
        (&["list", "releases", "--channels"][..], "releases cannot be listed"),
        (&["list", "operators"], "it is not said what to list"),
        (&["list", "operators", "--version", "4.20"], "--catalogs"),
    ] {
        let ran = world.run(["oc-mirror"].iter().chain(args)).unwrap();
        assert_eq!(ran.code, Some(1), "{args:?}: {ran}");
        assert!(ran.stderr.contains(expected), "{args:?}: {ran}");
    }
}
