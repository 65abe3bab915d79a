use super::*;

fn stack(text: &str) -> Stack {
    crate::stack::parse(&format!("version: 1\nname: demo\n{text}")).unwrap()
}

fn child(fill: u8, platform: &str) -> Child {
    Child { digest: Digest::of(&[fill]), platform: Some(platform.parse().unwrap()) }
}

/// A lock as `resolve` would write it for one image `a` on amd64, with arm64 left out.
fn lock() -> Lock {
    let source = &stack("platforms: [linux/amd64]\nsources: [{image: a:1}]").images[0];
    Lock {
        artifacts: vec![Artifact {
            digest: Some(Digest::of(b"index")),
            media_type: crate::oci::media_type::OCI_INDEX.to_owned(),
            size: 5,
            bytes: 50,
            children: vec![child(1, "linux/amd64")],
            left_out: vec![child(2, "linux/arm64")],
            because: source.because(),
            ..Artifact::new(Kind::Image, source.reference.clone())
        }],
        ..Lock::new("demo")
    }
}

#[track_caller]
fn check(stack_text: &str, expected: &str) {
    let answer = match lock().satisfies(&stack(stack_text), &BTreeMap::new()) {
        Ok(()) => "ok".to_owned(),
        Err(stale) => stale.to_string(),
    };
    assert!(answer.contains(expected), "{answer}");
}

#[test]
fn a_lock_answers_the_stack_it_was_made_for() {
    check("platforms: [linux/amd64]\nsources: [{image: a:1}]", "ok");
    check("sources:\n\n  - image: a:1 # reformatted\n    platforms:\n    - linux/amd64", "ok");
}

#[test]
fn a_stale_lock_says_why() {
    check("platforms: [linux/amd64]\nsources: [{image: a:1}, {image: b:1}]", "not in the lock");
    check("sources: [{image: a:1}]", "disagree on linux/arm64");
    check("platforms: [linux/arm64]\nsources: [{image: a:1}]", "disagree on linux/amd64");
    check(
        "platforms: [linux/amd64]\nsources: [{image: a:1}]\nexclude: [{image: '*/a*'}]",
        "not in the stack",
    );
    check("platforms: [linux/amd64]\nsources: [{image: 'oci:x', as: 'a:1'}]", "a:1");
}

#[test]
fn an_unpinned_lock_and_a_changed_input_are_stale() {
    let stack = stack("platforms: [linux/amd64]\nsources: [{image: a:1}]");
    let now = BTreeMap::from([("a.tar".to_owned(), Digest::of(b"new"))]);
    assert!(matches!(lock().satisfies(&stack, &now), Err(Stale::Input { .. })));
    let mut open = lock();
    open.artifacts[0].digest = None;
    assert!(matches!(open.satisfies(&stack, &BTreeMap::new()), Err(Stale::Unpinned { .. })));
}

#[test]
fn the_text_reads_back_and_does_not_depend_on_order() {
    let mut one = lock();
    one.artifacts.push(Artifact { reference: "b:1".parse().unwrap(), ..one.artifacts[0].clone() });
    let mut other = one.clone();
    other.artifacts.reverse();
    assert_eq!(one.to_text(), other.to_text());
    assert_eq!(Lock::parse(one.to_text().as_bytes()).unwrap(), one);
}

#[test]
fn newer_locks_are_refused_by_name_and_unknown_fields_ignored() {
    let text = lock().to_text();
    let newer = text.replace("\"format\": 1", "\"format\": 9");
    assert!(matches!(Lock::parse(newer.as_bytes()), Err(LockError::TooNew { found: 9 })));
    let needs = text.replace("\"needs\": []", "\"needs\": [\"teleport\"]");
    assert!(
        matches!(Lock::parse(needs.as_bytes()), Err(LockError::Needs(need)) if need == "teleport")
    );
    let extra = text.replace("\"needs\": []", "\"needs\": [], \"later\": 1");
    assert_eq!(Lock::parse(extra.as_bytes()).unwrap(), lock());
    let hostile = text.replace("\"stack\": \"demo\"", "\"stack\": \"../../etc\"");
    assert!(matches!(Lock::parse(hostile.as_bytes()), Err(LockError::Name(_))));
}

#[test]
fn every_lock_ever_written_still_reads_and_prints_as_it_was() {
    for (text, artifacts, remotes) in [
        (include_str!("../../../../fixtures/lock/v1/images.lock"), 3, 0),
        (include_str!("../../../../fixtures/lock/v1/remotes.lock"), 1, 2),
        (include_str!("../../../../fixtures/lock/v1/releases.lock"), 3, 0),
    ] {
        let lock = Lock::parse(text.as_bytes()).unwrap();
        assert_eq!((lock.artifacts.len(), lock.remotes.len()), (artifacts, remotes));
        assert_eq!(lock.to_text(), text);
    }
}

#[test]
fn what_a_source_brought_is_followed_however_deep_and_around() {
    let artifact = |name: &str, from: &str| {
        let because =
            Because { from: from.to_owned(), path: String::new(), evidence: Evidence::Declared };
        let plain = Artifact::new(Kind::Image, name.parse().unwrap());
        Artifact { because: vec![because], ..plain }
    };
    let mut lock = Lock::new("demo");
    lock.artifacts = vec![
        artifact("a.io/one:1", "catalog: x"),
        artifact("a.io/two:1", "a.io/one:1"),
        artifact("a.io/three:1", "a.io/two:1"),
        artifact("a.io/other:1", "catalog: y"),
    ];
    lock.artifacts[0].because.extend(artifact("a.io/z:1", "a.io/three:1").because);
    let brought: Vec<String> = lock.brought_by(|key| key == "catalog: x").into_iter().collect();
    assert_eq!(brought, ["a.io/one:1", "a.io/three:1", "a.io/two:1"]);
    assert!(lock.brought_by(|_| false).is_empty());
}

#[test]
fn what_is_no_commit_is_refused() {
    let text = include_str!("../../../../fixtures/lock/v1/remotes.lock");
    let hostile = text.replace("5b0c6d1a7d1f0e2b3c4d5e6f708192a3b4c5d6e7", "--upload-pack=x");
    assert!(matches!(Lock::parse(hostile.as_bytes()), Err(LockError::Json(_))));
}

#[test]
fn a_lock_with_a_release_asks_for_a_reader_that_knows_its_names() {
    let mut lock = lock();
    lock.artifacts[0].mirrored_as =
        ["airlift.local/openshift/release:1-cli".parse().unwrap()].into();
    lock.artifacts[0].signature = b"signed".to_vec();
    let text = lock.to_text();
    assert!(text.contains("\"signature\": \"c2lnbmVk\""), "{text}");
    let read = Lock::parse(text.as_bytes()).unwrap();
    assert_eq!(read.needs, ["mirror-names"]);
    assert_eq!(read.artifacts[0].signature, b"signed");
    let names =
        |layout| read.artifacts[0].placed_as(layout).map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(Layout::OcMirror), ["airlift.local/openshift/release:1-cli"]);
    assert_eq!(names(Layout::Host), ["docker.io/library/a:1"]);
    assert!(Lock::parse(text.replace("c2lnbmVk", "?").as_bytes()).is_err());
}
