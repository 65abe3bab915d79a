use airlift_spec::stack;
use airlift_spec::{Class, Ctx, Explain as _, Stack};
use airlift_store::Fsck;
use airlift_testkit::samples::{self, File, Layer};
use airlift_upstream::inputs;
use airlift_upstream::resolve::ResolveOptions;

use crate::world::World;

fn stack(source: &str) -> Stack {
    stack::parse(&format!(
        "version: 1\nname: demo\nsources:\n  - {{image: '{source}', as: 'my.lab/app:1'}}\n"
    ))
    .unwrap()
}

#[tokio::test]
async fn an_oci_layout_is_carried_with_its_signatures() {
    let world = World::new();
    let sample = samples::signed(&samples::index(1, &["linux/amd64", "linux/arm64"], 1000));
    sample.write_layout(&world.folder().join("out"), "v1").unwrap();
    let stack = stack("oci:out:v1");
    let lock = world.lock(&stack).await;
    assert_eq!(lock.artifacts[0].reference.to_string(), "my.lab/app:1");
    assert_eq!(lock.artifacts[0].digest, Some(sample.root.digest));
    assert_eq!(lock.artifacts[0].from.as_deref(), Some("oci:out:v1"));

    assert!(world.fetch(&lock).await.failures.is_empty());
    assert!(sample.blobs.keys().all(|blob| world.upstream.store.contains(blob)));
    assert!(world.registry.requests().is_empty());
    let now = inputs(&stack, world.folder()).unwrap();
    assert_eq!(lock.satisfies(&stack, &now), Ok(()));
}

#[tokio::test]
async fn a_layout_that_changed_makes_the_lock_stale_and_is_read_again() {
    let world = World::new();
    samples::image(2, &[100]).write_layout(&world.folder().join("out"), "v1").unwrap();
    let stack = stack("oci:out");
    let lock = world.lock(&stack).await;
    fs_err::remove_dir_all(world.folder().join("out")).unwrap();
    let new = samples::image(3, &[100]);
    new.write_layout(&world.folder().join("out"), "v1").unwrap();
    let now = inputs(&stack, world.folder()).unwrap();
    assert!(lock.satisfies(&stack, &now).is_err());
    let again = world.resolve_from(&stack, Some(&lock), &ResolveOptions::default()).await.unwrap();
    assert_eq!(again.lock.artifacts[0].digest, Some(new.root.digest));
}

#[tokio::test]
async fn a_docker_archive_becomes_the_same_oci_image_every_time() {
    let world = World::new();
    let layers = [
        Layer::tar(&[File::new("etc/one", "1")]),
        Layer::tar(&[File::new("etc/two", samples::noise(5, 3_000_000))]),
    ];
    let archive = samples::docker_archive("my.lab/app:1", &layers);
    fs_err::write(world.folder().join("app.tar"), &archive).unwrap();
    let stack = stack("docker-archive:app.tar");
    let lock = world.lock(&stack).await;
    assert_eq!(lock, world.lock(&stack).await);
    assert!(world.fetch(&lock).await.failures.is_empty());
    let findings = world.upstream.store.fsck(Fsck::Deep, &Ctx::default()).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(lock.artifacts[0].bytes, archive_bytes(&world, &lock));
}

fn archive_bytes(world: &World, lock: &airlift_spec::Lock) -> u64 {
    let digest = lock.artifacts[0].digest.unwrap();
    let text = world.upstream.store.read(&digest, 1 << 20).unwrap().unwrap();
    let manifest = airlift_spec::Manifest::parse(&text, None).unwrap();
    assert_eq!(manifest.blobs.len(), 3);
    text.len() as u64 + manifest.blobs.iter().map(|blob| blob.size).sum::<u64>()
}

#[tokio::test]
async fn what_is_no_image_fails_with_its_name_and_a_remedy() {
    let world = World::new();
    let archive = samples::docker_archive("my.lab/app:1", &[Layer::tar(&[File::new("a", "1")])]);
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("empty.tar", Vec::new(), "has no member `manifest.json`"),
        ("text.tar", b"this is no tar".repeat(100), "is not a `docker save` archive"),
        ("packed.tar", samples::gzip(&archive), "compressed with gzip"),
        ("list.tar", samples::tar(&[File::new("manifest.json", "[]")]), "holds no image"),
    ];
    for (name, bytes, expected) in cases {
        fs_err::write(world.folder().join(name), bytes).unwrap();
        let resolution = world.resolve(&stack(&format!("docker-archive:{name}"))).await;
        let error = &resolution.failures[0].error;
        let text = airlift_spec::error::chain(error);
        assert!(text.contains(expected), "{name}: {text}");
        assert_eq!(error.class(), Class::Input, "{name}: {text}");
    }
}

#[tokio::test]
async fn an_archive_that_was_cut_anywhere_is_called_cut_short() {
    let world = World::new();
    let archive = samples::docker_archive("my.lab/app:1", &[Layer::tar(&[File::new("a", "1")])]);
    // Two empty blocks end the archive, and nobody misses those.
    let end = archive.len() - 1024;
    for cut in (512..end).step_by(100).chain((0..end / 512).map(|blocks| blocks * 512)) {
        fs_err::write(world.folder().join("cut.tar"), &archive[..cut]).unwrap();
        let resolution = world.resolve(&stack("docker-archive:cut.tar")).await;
        let error = &resolution.failures[0].error;
        let text = airlift_spec::error::chain(error);
        assert!(text.contains("is cut short"), "cut at {cut} of {end}: {text}");
        assert!(error.help().unwrap().contains("copy it again"), "cut at {cut}");
    }
    fs_err::write(world.folder().join("cut.tar"), &archive[..end]).unwrap();
    world.lock(&stack("docker-archive:cut.tar")).await;
}

#[tokio::test]
async fn a_local_image_that_is_not_there_names_its_line_and_spares_the_rest() {
    let world = World::new();
    let sample = samples::image(6, &[500]);
    sample.write_layout(&world.folder().join("out"), "v1").unwrap();
    let text = "version: 1\nname: demo\nsources:\n  - {image: 'oci:nowhere', as: 'my.lab/a:1'}\n  \
                - {image: 'oci:out', as: 'my.lab/b:1'}\n  - {image: 'docker-archive:no.tar', as: 'my.lab/c:1'}\n";
    let stack = stack::parse(text).unwrap();
    let resolution = world.resolve(&stack).await;
    let said: Vec<String> = resolution
        .failures
        .iter()
        .map(|failed| airlift_spec::error::chain(&failed.error))
        .collect();
    assert!(said[0].starts_with("line 4: `oci:nowhere` cannot be carried"), "{said:?}");
    assert!(said[1].starts_with("line 6: `docker-archive:no.tar` cannot be carried"), "{said:?}");
    assert_eq!(resolution.failures[0].error.class(), Class::Input);
    let pins: Vec<_> = resolution.lock.artifacts.iter().map(|one| one.digest).collect();
    assert_eq!(pins, [None, Some(sample.root.digest), None]);
    assert_eq!(resolution.lock.inputs.keys().collect::<Vec<_>>(), ["out"]);
}

#[test]
fn what_is_no_regular_file_is_not_read() {
    let world = World::new();
    for device in ["docker-archive:/dev/zero", "docker-archive:/", "oci:/dev/null"] {
        let err = inputs(&stack(device), world.folder()).unwrap_err();
        assert_eq!(err.class(), Class::Input, "{device}: {err}");
    }
}

#[tokio::test]
async fn a_pipe_in_a_layout_is_not_waited_for() {
    let world = World::new();
    let folder = world.folder().join("out");
    let sample = samples::image(4, &[5000]);
    sample.write_layout(&folder, "v1").unwrap();
    let pipe = folder.join("blobs").join(sample.root.digest.path());
    fs_err::remove_file(&pipe).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let resolution = world.resolve(&stack("oci:out")).await;
    let error = &resolution.failures[0].error;
    assert!(error.to_string().contains("is no regular file"), "{error}");
    assert_eq!(error.class(), Class::Input);
}

#[tokio::test]
async fn a_damaged_layout_brings_nothing_wrong_into_the_store() {
    let world = World::new();
    let sample = samples::image(4, &[5000]);
    let folder = world.folder().join("out");
    sample.write_layout(&folder, "v1").unwrap();
    let lock = world.lock(&stack("oci:out")).await;
    let (layer, bytes) = sample.blobs_by_size()[0];
    let mut damaged = bytes.to_vec();
    damaged[100] ^= 1;
    fs_err::write(folder.join("blobs").join(layer.path()), damaged).unwrap();
    let fetched = world.fetch(&lock).await;
    assert_eq!(fetched.failures[0].error.class(), Class::Integrity);
    assert!(!world.upstream.store.contains(&layer));
}

#[tokio::test]
async fn an_absent_layout_and_an_ambiguous_name_are_explained() {
    let world = World::new();
    let err = inputs(&stack("oci:nowhere"), world.folder()).unwrap_err();
    assert!(airlift_spec::error::chain(&err).contains("nowhere/index.json"), "{err}");
    let folder = world.folder().join("out");
    samples::image(5, &[100]).write_layout(&folder, "v1").unwrap();
    let resolution = world.resolve(&stack("oci:out:v9")).await;
    let error = &resolution.failures[0].error;
    let text = airlift_spec::error::chain(error);
    assert!(text.contains("holds no image `v9`"), "{text}");
    assert!(error.help().unwrap().contains("v1"));
}
