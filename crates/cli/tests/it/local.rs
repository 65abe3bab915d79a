//! Verbs that need nobody else.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use airlift_testkit::registry::{Auth, Credentials, FakeOptions};
use airlift_testkit::tools::Ran;
use airlift_testkit::{FakeRegistry, World, samples};
use insta::assert_snapshot;

use crate::world::{airlift, document, succeed, upstream, world, world_with_stack};

#[test]
fn a_key_is_made_once_and_never_replaced() {
    let world = world();
    let public = succeed(&world, ["keygen"]);
    let secret = world.home().join("config/airlift/signing.key");
    assert_eq!(fs_err::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs_err::read_to_string(world.home().join("config/airlift/signing.pub")).unwrap();
    assert_eq!(kept.trim_end(), public.trim_end());
    let before = fs_err::read(&secret).unwrap();
    assert_snapshot!(airlift(&world, ["keygen"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `[HOME]/config/airlift/signing.key` is there already, and a key is never replaced
    help: move it away first, or choose another file with `--to FILE`
    ");
    assert_eq!(fs_err::read(&secret).unwrap(), before);
}

#[test]
fn a_public_key_that_was_lost_is_made_again_from_the_secret_one() {
    let world = world();
    let public = succeed(&world, ["keygen"]);
    let file = world.home().join("config/airlift/signing.pub");
    let text = fs_err::read(&file).unwrap();
    fs_err::remove_file(&file).unwrap();
    assert_eq!(succeed(&world, ["keygen"]), public);
    assert_eq!(fs_err::read(&file).unwrap(), text);
}

#[test]
fn completions_are_printed_for_a_shell() {
    assert!(succeed(&world(), ["completions", "bash"]).contains("_airlift()"));
}

#[test]
fn gc_keeps_what_a_lock_names_and_frees_what_is_forgotten() {
    let registry = upstream();
    let world = world_with_stack(&registry);
    succeed(&world, ["resolve"]);
    succeed(&world, ["fetch"]);
    assert_snapshot!(airlift(&world, ["gc"]), @r"
    exit: 0
    ----- stdout -----
    removed 0 blobs (0 B) and 0 unfinished downloads (0 B), kept 13 blobs (22.9 KiB)
    ----- stderr -----
    ");
    assert_snapshot!(airlift(&world, ["gc", "--forget-stack", "other"]), @r"
    exit: 0
    ----- stdout -----
    the store keeps nothing for a stack `other`
    removed 0 blobs (0 B) and 0 unfinished downloads (0 B), kept 13 blobs (22.9 KiB)
    ----- stderr -----
    ");
    assert_snapshot!(airlift(&world, ["gc", "--forget-stack", "demo"]), @r"
    exit: 0
    ----- stdout -----
    removed 13 blobs (22.9 KiB) and 0 unfinished downloads (0 B), kept 0 blobs (0 B)
    ----- stderr -----
    ");
    assert!(succeed(&world, ["gc", "--forget-stack", "demo"]).contains("removed 0 blobs"));
}

#[test]
fn fsck_finds_a_blob_that_is_not_what_its_name_says() {
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[4_000]);
    registry.put("team/app", "v1", &sample);
    let world = world();
    world.write_stack("demo", &[&registry.reference("team/app", "v1")]).unwrap();
    succeed(&world, ["resolve"]);
    succeed(&world, ["fetch"]);
    assert_snapshot!(airlift(&world, ["fsck"]), @r"
    exit: 0
    ----- stdout -----
    the store is sound
    ----- stderr -----
    ");
    let (digest, bytes) = sample.blobs_by_size().pop().unwrap();
    let path = world.home().join("data/airlift/store/blobs").join(digest.path());
    let mut damaged = bytes.to_vec();
    damaged[17] ^= 1;
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    fs_err::write(&path, damaged).unwrap();
    assert_eq!(airlift(&world, ["fsck", "--quick"]).code, Some(0));
    let ran = airlift(&world, ["fsck"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    assert!(ran.stdout.contains(&digest.to_string()), "{ran}");
    let found = document(&world, ["fsck"]);
    assert_eq!(found["findings"][0]["severity"], "error", "{found}");
}

#[test]
fn a_store_that_is_not_there_is_an_input_error() {
    assert_snapshot!(airlift(&world(), ["fsck", "--store", "nowhere"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: nowhere does not exist
    help: name the folder of a store with `--store`
    ");
}

#[test]
fn login_keeps_credentials_that_the_registry_takes_and_no_others() {
    let auth = Auth::Basic(Credentials::new("ann", "right"));
    let registry = FakeRegistry::with(FakeOptions { auth, ..FakeOptions::default() });
    registry.put("team/app", "v1", &samples::image(1, &[100]));
    let world = world();
    let file = world.home().join("config/containers/auth.json");
    assert_snapshot!(login(&world, &registry.host(), "wrong"), @r"
    exit: 3
    ----- stdout -----
    ----- stderr -----
    error: 127.0.0.1:[PORT] does not take these credentials
    ");
    assert!(!file.exists());
    assert_snapshot!(login(&world, &registry.host(), "right"), @r"
    exit: 0
    ----- stdout -----
    credentials for 127.0.0.1:[PORT] are in [HOME]/config/containers/auth.json
    ----- stderr -----
    ");
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    world.write_stack("demo", &[&registry.reference("team/app", "v1")]).unwrap();
    succeed(&world, ["resolve"]);
}

#[test]
fn login_without_a_terminal_asks_for_the_password_on_stdin() {
    assert_snapshot!(airlift(&world(), ["login", "quay.io"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: there is no terminal to ask for the password on
    help: give it on stdin, with `--password-stdin`
    ");
    assert_snapshot!(airlift(&world(), ["login", "https://quay.io"]), @r"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: `https://quay.io` is not a registry's host
    help: leave out `https://` and everything behind the host
    ");
}

fn login(world: &World, host: &str, password: &str) -> Ran {
    let args = ["login", host, "-u", "ann", "--password-stdin", "--progress", "none"];
    let mut command = world.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    world.filtered(Ran::from(child.wait_with_output().unwrap()))
}
