use airlift_testkit::World;
use airlift_testkit::tools::tool;

fn shell() -> World {
    World::new(tool("sh").unwrap()).unwrap()
}

#[test]
fn an_outcome_shows_nothing_that_varies_between_runs() {
    let world = shell();
    let script = "pwd; echo $HOME; echo 127.0.0.1:45678; echo took 1.25 s, 30ms; echo 3 blobs v1.2 a5s >&2; exit 8";
    let outcome = world.run(["-c", script]).unwrap();
    assert_eq!(
        outcome.to_string(),
        "exit: 8\n----- stdout -----\n[WORK]\n[HOME]\n127.0.0.1:[PORT]\ntook [TIME], [TIME]\n\
         ----- stderr -----\n3 blobs v1.2 a5s\n"
    );
}

#[test]
fn a_world_has_only_the_variables_it_was_given() {
    let mut world = shell();
    world.set("GIVEN", "yes");
    let outcome = world.run(["-c", "echo $GIVEN; env | grep -c ^CARGO_"]).unwrap();
    assert_eq!(outcome.stdout, "yes\n0\n");
}

#[test]
fn a_command_in_the_background_is_killed_at_a_chosen_moment() {
    let world = shell();
    let script = "trap 'echo caught' TERM EXIT; echo begun > mark; echo said; while :; do :; done";
    let mut running = world.spawn(["-c", script]).unwrap();
    let mark = world.path().join("mark");
    assert!(running.wait_until(|it| mark.exists() && it.stdout() == "said\n").unwrap());
    let ran = running.kill().unwrap();
    assert_eq!((ran.code, ran.stdout.as_str()), (None, "said\n"));
}

#[test]
fn a_command_that_ends_too_early_is_noticed() {
    let mut running = shell().spawn(["-c", "exit 4"]).unwrap();
    assert!(!running.wait_until(|_| false).unwrap());
    assert_eq!(running.wait().unwrap().code, Some(4));
}

#[test]
fn a_command_can_be_asked_to_end() {
    let world = shell();
    let script = "trap 'echo caught; exit 0' TERM; echo ready; while :; do :; done";
    let mut running = world.spawn(["-c", script]).unwrap();
    running.wait_until(|it| it.stdout() == "ready\n").unwrap();
    let ran = running.terminate().unwrap();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "ready\ncaught\n"));
}

#[test]
fn a_stack_is_written_where_commands_look_for_it() {
    let world = shell();
    world.write_stack("platform", &["host.test/a:1", "host.test/b:2"]).unwrap();
    let text = String::from_utf8(world.read("airlift.yaml").unwrap()).unwrap();
    assert_eq!(
        text,
        "version: 1\nname: platform\nsources:\n  - image: host.test/a:1\n  - image: host.test/b:2\n"
    );
}
