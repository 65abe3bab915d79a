//! What the tests of the command line share.

use airlift_testkit::tools::Ran;
use airlift_testkit::{FakeRegistry, World, sources};

pub(crate) fn world() -> World {
    World::new(env!("CARGO_BIN_EXE_airlift")).unwrap()
}

/// Runs airlift without progress, so that only words meant to stay are seen.
pub(crate) fn airlift<const N: usize>(world: &World, args: [&str; N]) -> Ran {
    world.run(args.into_iter().chain(["--progress", "none"])).unwrap()
}

/// The same, where anything but success is a mistake of the test.
pub(crate) fn succeed<const N: usize>(world: &World, args: [&str; N]) -> String {
    let ran = airlift(world, args);
    assert!(ran.is_success(), "{args:?}\n{ran}");
    ran.stdout
}

/// The one JSON document of a run.
pub(crate) fn document<const N: usize>(world: &World, args: [&str; N]) -> serde_json::Value {
    let args = args.into_iter().chain(["--progress", "none", "--output", "json"]);
    let ran = world.run(args).unwrap();
    serde_json::from_str(&ran.stdout).unwrap_or_else(|err| panic!("{err}\n{ran}"))
}

/// A registry with an image and an index that share nothing.
pub(crate) fn upstream() -> FakeRegistry {
    let registry = FakeRegistry::start();
    sources::publish_images(&registry);
    registry
}

/// A world whose stack wants both.
pub(crate) fn world_with_stack(registry: &FakeRegistry) -> World {
    let world = world();
    let images = [registry.reference("team/app", "v1"), registry.reference("team/multi", "v2")];
    world.write_stack("demo", &images.each_ref().map(String::as_str)).unwrap();
    world
}

/// A world with the stack's bundle in `disk`, made by a key that it trusts itself.
pub(crate) fn world_with_bundle(registry: &FakeRegistry) -> World {
    let world = world_with_stack(registry);
    trust_own_key(&world);
    succeed(&world, ["pack", "--to", "disk", "--no-binary", "--volume-size", "64KiB"]);
    world
}

pub(crate) fn trust_own_key(world: &World) {
    succeed(world, ["keygen"]);
    let config = world.home().join("config/airlift");
    fs_err::create_dir_all(config.join("trust")).unwrap();
    fs_err::copy(config.join("signing.pub"), config.join("trust/own.pub")).unwrap();
}
