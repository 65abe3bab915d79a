//! Tools that people have already read what we write.

use std::path::Path;
use std::process::{Command, Output};

use airlift_bundle::{CreateOptions, SigningKey, TrustRoots, TrustedBundle};
use airlift_testkit::samples;

use crate::world::{World, files, key, options};

fn run(folder: &Path, program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).current_dir(folder).output().unwrap_or_else(|err| {
        panic!("{program} is needed for this test (`cargo xtask tools` installs it): {err}")
    })
}

fn succeed(folder: &Path, program: &str, args: &[&str]) -> String {
    let output = run(folder, program, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {args:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The commands of README.txt between one line and the next empty one.
fn commands(readme: &str, after: &str) -> String {
    let rest = readme.split_once(after).expect("README.txt says so").1;
    let lines = rest.lines().skip(1).skip_while(|line| line.trim().is_empty());
    let lines = lines.skip_while(|line| !line.starts_with("    "));
    let lines = lines.take_while(|line| line.starts_with("    "));
    lines
        .flat_map(|line| {
            [
                &line[4..],
                "
",
            ]
        })
        .collect()
}

#[test]
fn the_commands_of_the_readme_make_a_layout_that_skopeo_reads() {
    let signed = samples::signed(&samples::image(1, &[100_000]));
    let world = World::new()
        .with("quay.io/a/signed:1", &signed)
        .with("quay.io/b/large:1", &samples::image(2, &[400_000]))
        .with("quay.io/c/many:1", &samples::index(3, &["linux/amd64", "linux/arm64"], 5000));
    let folder = world.create("out");
    let readme = fs_err::read_to_string(folder.join("README.txt")).unwrap();
    let join = commands(&readme, "makes one called \"layout\"");
    assert!(join.contains("tar -xf"), "{join}");
    succeed(&folder, "sh", &["-euc", &join]);
    succeed(
        &folder,
        "sh",
        &["-euc", &commands(&readme, "and whether each blob is what its name says")],
    );
    let layout = folder.join("layout");
    assert!(
        !layout
            .join("parts")
            .read_dir()
            .is_ok_and(|parts| parts.flatten().any(|it| it.path().join("x").exists()))
    );
    for name in ["quay.io/a/signed:1", "quay.io/b/large:1", "quay.io/c/many:1"] {
        let source = format!("oci:layout:{name}");
        let target = format!("dir:copy-{}", name.len());
        succeed(&folder, "skopeo", &["copy", "--all", "--insecure-policy", &source, &target]);
    }
}

#[test]
fn the_readme_checks_a_volume_with_what_is_there() {
    let world = World::new().with("quay.io/b/large:1", &samples::image(2, &[400_000]));
    let folder = world.create("out");
    let readme = fs_err::read_to_string(folder.join("README.txt")).unwrap();
    let both = commands(&readme, "Both commands must print the same lines");
    let lines: Vec<&str> = both.lines().collect();
    let [split, sums] = lines.as_slice() else { panic!("two commands: {both}") };
    let computed = succeed(&folder, "sh", &["-euc", split]);
    assert_eq!(computed.lines().next().map(str::len), Some(64));
    assert_eq!(computed, succeed(&folder, "sh", &["-euc", sums]));
}

#[test]
fn tar_sees_plain_files_without_owner_or_time() {
    let world = World::new().with("quay.io/c/odd:1", &samples::sha512_image(3, &[70_000, 300_000]));
    let folder = world.create("out");
    for name in files(&folder).keys().filter(|name| name.ends_with(".tar")) {
        let list = succeed(&folder, "tar", &["--numeric-owner", "--utc", "-tvf", name]);
        for line in list.lines() {
            assert!(line.starts_with("-rw-r--r-- 0/0 "), "{line}");
            assert!(line.contains(" 1970-01-01 00:00 "), "{line}");
        }
        let marker = list.lines().next().unwrap();
        assert!(marker.contains("airlift-volume/sha256/"), "{marker}");
    }
}

#[test]
fn minisign_verifies_ours_and_we_verify_minisigns() {
    let world = World::new().with("quay.io/b/c:1", &samples::image(2, &[1000]));
    let folder = world.create("out");
    fs_err::write(world.path("key.pub"), key().public_text()).unwrap();
    for name in ["demo.bundle.json", "demo.00000.sums", "demo.00001.sums"] {
        let said = succeed(&folder, "minisign", &["-V", "-p", "../key.pub", "-m", name]);
        let root =
            airlift_spec::Digest::of(&fs_err::read(folder.join("demo.bundle.json")).unwrap());
        assert!(said.contains(&root.to_string()), "{said}");
    }
    // A key and a signature of minisign's own, under a name of nobody's choosing.
    succeed(
        world.path("").as_path(),
        "minisign",
        &["-G", "-W", "-p", "other.pub", "-s", "other.key"],
    );
    succeed(
        &folder,
        "minisign",
        &[
            "-S",
            "-s",
            "../other.key",
            "-m",
            "demo.bundle.json",
            "-x",
            "demo.bundle.json.by-hand.minisig",
        ],
    );
    let public = fs_err::read_to_string(world.path("other.pub")).unwrap();
    let roots = TrustRoots::parse(&[("other.pub".to_owned(), public)]).unwrap();
    assert_eq!(TrustedBundle::open_all(&folder, &roots).unwrap().len(), 1);
    // And its key signs for us, as a further key under its own name.
    let secret = fs_err::read_to_string(world.path("other.key")).unwrap();
    let other = SigningKey::parse("other.key", &secret).unwrap();
    let id = other.key_id();
    let options = CreateOptions { keys: vec![key(), other], ..options() };
    let two = world.path("two");
    world.create_with(std::slice::from_ref(&two), &options).unwrap();
    let signature = format!("demo.00001.sums.{id}.minisig");
    succeed(
        &two,
        "minisign",
        &["-V", "-p", "../other.pub", "-m", "demo.00001.sums", "-x", &signature],
    );
}

#[test]
fn minisign_takes_a_key_that_we_made() {
    let world = World::new();
    let made = SigningKey::generate().unwrap();
    fs_err::write(world.path("made.key"), made.secret_text()).unwrap();
    fs_err::write(world.path("made.pub"), made.public_text()).unwrap();
    fs_err::write(world.path("file"), "text").unwrap();
    succeed(world.path("").as_path(), "minisign", &["-S", "-s", "made.key", "-m", "file"]);
    succeed(world.path("").as_path(), "minisign", &["-V", "-p", "made.pub", "-m", "file"]);
    let read = SigningKey::parse("made.key", &made.secret_text()).unwrap();
    assert_eq!((read.key_id(), read.public_text()), (made.key_id(), made.public_text()));
}
