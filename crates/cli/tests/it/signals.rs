//! What a signal does.

use airlift_testkit::registry::{Fault, On};

use crate::world::{succeed, upstream, world_with_stack};

#[test]
fn a_signal_ends_the_run_with_130_and_the_next_run_goes_on() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    registry.fail_always(On::blobs(), Fault::Hang);
    let mut running = world.spawn(["fetch"]).unwrap();
    let is_asking = |_: &_| registry.count("GET", "/blobs/") > 0;
    assert!(running.wait_until(is_asking).unwrap(), "{}", running.stderr());
    let ran = running.terminate().unwrap();
    assert_eq!(ran.code, Some(130), "{ran}");
    registry.heal();
    succeed(&world, ["fetch"]);
}

#[test]
fn a_server_that_is_told_to_stop_has_not_failed() {
    let world = crate::world::world();
    let args = ["serve", "--writable", "pushed", "--listen", "127.0.0.1:0"];
    let mut running = world.spawn(args).unwrap();
    let is_serving =
        |running: &airlift_testkit::world::Running| running.stdout().contains("http://");
    assert!(running.wait_until(is_serving).unwrap(), "{}", running.stderr());
    let ran = running.terminate().unwrap();
    assert_eq!(ran.code, Some(0), "{ran}");
}
