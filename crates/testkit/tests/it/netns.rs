use airlift_testkit::netns::Namespace;
use airlift_testkit::{FakeRegistry, need};

#[test]
fn nothing_of_this_machine_is_reached_from_a_namespace() {
    let curl = need!("curl");
    let Some(inside) = Namespace::new("inside").unwrap() else { return };
    let registry = FakeRegistry::start();
    let url = format!("{}/v2/", registry.url());
    let from_inside =
        inside.command(&curl).args(["-sS", "--max-time", "5", &url]).output().unwrap();
    assert_eq!(from_inside.status.code(), Some(7), "curl could connect: {from_inside:?}");
    assert_eq!(registry.requests().len(), 0);
    assert_eq!(inside.leaked_packets().unwrap(), 0);
}

#[test]
fn a_server_that_is_started_inside_answers_inside_alone() {
    let curl = need!("curl");
    let Some(inside) = Namespace::new("server").unwrap() else { return };
    let registry = inside.enter(FakeRegistry::start).unwrap();
    let url = format!("{}/v2/", registry.url());
    let args = ["-sS", "--max-time", "5", &url];
    let from_outside = std::process::Command::new(&curl).args(args).output().unwrap();
    assert_eq!(from_outside.status.code(), Some(7), "curl could connect: {from_outside:?}");
    let from_inside = inside.enter(|| std::process::Command::new(&curl).args(args).output());
    assert!(from_inside.unwrap().unwrap().status.success());
    assert_eq!(registry.requests().len(), 1);
}

#[test]
fn a_packet_that_tries_to_leave_is_counted() {
    let Some(inside) = Namespace::new("leak").unwrap() else { return };
    // A way out, as a mistake in a test would make it.
    let script = "ip link add out0 type veth peer name out1 && ip link set out1 up && ip addr add 10.99.2.1/24 dev out0 && ip link set out0 up \
        && ip route add default dev out0 && { bash -c 'echo leak > /dev/udp/192.0.2.1/9' 2>/dev/null; true; }";
    let ran = inside.command("bash").args(["-c", script]).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(inside.leaked_packets().unwrap() >= 1);
}

#[test]
fn a_namespace_is_gone_when_dropped() {
    let Some(inside) = Namespace::new("gone").unwrap() else { return };
    let path = std::path::Path::new("/run/netns").join(inside.name());
    assert!(path.exists());
    drop(inside);
    assert!(!path.exists());
}
