//! Reading from volumes that may be damaged, with other sources beside them.

use std::sync::Arc;

use airlift_bundle::{BundleError, Content, Sources};
use airlift_spec::{Ctx, Digest};
use airlift_testkit::samples::{self, Sample};
use futures::StreamExt as _;

use crate::world::{World, files, flip, open, options, place_of, sources};

const LARGE: usize = 20 << 20;

/// One layer of 20 MiB on one volume of three chunks.
fn large() -> (World, Sample, Digest) {
    let sample = samples::image(1, &[LARGE]);
    let world = World::new().with("quay.io/a/large:1", &sample);
    let layer = sample.blobs_by_size()[0].0;
    (world, sample, layer)
}

fn create(world: &World, name: &str) -> std::path::PathBuf {
    let folder = world.path(name);
    let options = airlift_bundle::CreateOptions { volume_bytes: 1 << 30, ..options() };
    world.create_with(std::slice::from_ref(&folder), &options).unwrap();
    folder
}

/// What came, and the error that ended it.
async fn read_all(sources: &Sources, digest: &Digest) -> (Vec<u8>, Option<BundleError>) {
    let mut frames = match sources.read(digest, 0..LARGE as u64).await {
        Ok(frames) => frames,
        Err(err) => return (Vec::new(), Some(err)),
    };
    let mut read = Vec::new();
    while let Some(frame) = frames.next().await {
        match frame {
            Ok(frame) => {
                assert!(frame.len() <= 1 << 20);
                read.extend_from_slice(&frame);
            }
            Err(err) => return (read, Some(err)),
        }
    }
    (read, None)
}

#[tokio::test]
async fn no_byte_of_a_damaged_chunk_goes_out_and_it_stays_failed() {
    let (world, sample, layer) = large();
    let folder = create(&world, "out");
    let (file, offset) = place_of(&open(&folder), &layer);
    flip(&file, offset + (10 << 20));
    let sources = sources([open(&folder)]).await;
    let (read, err) = read_all(&sources, &layer).await;
    assert!(matches!(err, Some(BundleError::Damaged { chunk: 1, .. })), "{err:?}");
    assert_eq!(read.len(), (8 << 20) - offset, "all of the chunk before it, and nothing more");
    assert_eq!(read, sample.blobs[&layer][..read.len()]);
    assert_eq!(sources.damage()["demo.00001.tar"], [1].into());
    // The disk may say otherwise now: what was damaged once is not believed again.
    flip(&file, offset + (10 << 20));
    let at = 10 << 20;
    let again = sources.read(&layer, at..at + 5).await;
    assert!(matches!(again, Err(BundleError::Damaged { chunk: 1, .. })));
    let start = sources.read(&layer, 0..5).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(start, &sample.blobs[&layer][..5], "the other chunks serve on");
}

#[tokio::test]
async fn another_source_goes_on_at_the_very_byte() {
    let (world, sample, layer) = large();
    let (bad, good) = (create(&world, "bad"), create(&world, "good"));
    let (file, offset) = place_of(&open(&bad), &layer);
    flip(&file, offset + (10 << 20));
    let volumes = |folder| Content::Volumes(Arc::new(open(folder)));
    let store = Content::Store(Arc::new(world.store.clone()));
    for second in [volumes(&good), store] {
        let sources = Sources::open(vec![volumes(&bad), second], &Ctx::default()).await.unwrap();
        let (read, err) = read_all(&sources, &layer).await;
        assert!(err.is_none(), "{err:?}");
        assert_eq!(read, sample.blobs[&layer]);
        assert_eq!(sources.damage()["demo.00001.tar"], [1].into());
    }
}

#[tokio::test]
async fn a_chunk_is_checked_once_and_read_by_range_from_then_on() {
    let (world, sample, layer) = large();
    let folder = create(&world, "out");
    let (file, offset) = place_of(&open(&folder), &layer);
    let sources = sources([open(&folder)]).await;
    let source = sources.blob_source(layer, LARGE as u64);
    let first = source.read_at(9 << 20, 3 << 20).await.unwrap();
    assert_eq!(first, sample.blobs[&layer][9 << 20..12 << 20]);
    // Only who reads the whole chunk again would see this.
    flip(&file, offset + (15 << 20));
    let again = source.read_at(9 << 20, 3 << 20).await.unwrap();
    assert_eq!(again, first);
    let end = source.read_at(LARGE as u64 - 3, 100).await.unwrap();
    assert_eq!(end, sample.blobs[&layer][LARGE - 3..], "fewer only at the end");
    let beyond = sources.read(&layer, 0..LARGE as u64 + 1).await;
    assert!(matches!(beyond, Err(BundleError::Range { .. })));
}

#[tokio::test]
async fn without_signed_sums_a_blob_is_checked_whole_before_its_first_byte() {
    let (world, sample, layer) = large();
    let folder = create(&world, "out");
    for name in files(&folder).keys().filter(|name| name.contains("00001.sums")) {
        fs_err::remove_file(folder.join(name)).unwrap();
    }
    let (file, offset) = place_of(&open(&folder), &layer);
    let (read, err) = read_all(&sources([open(&folder)]).await, &layer).await;
    assert!(err.is_none() && read == sample.blobs[&layer]);
    flip(&file, offset + LARGE - 1);
    let (read, err) = read_all(&sources([open(&folder)]).await, &layer).await;
    assert!(matches!(err, Some(BundleError::MemberDamaged { .. })), "{err:?}");
    assert_eq!(read.len(), 0);
}

#[tokio::test]
async fn what_nobody_has_is_told_and_small_reads_are_bounded() {
    let (world, _, layer) = large();
    let sources = sources([open(&create(&world, "out"))]).await;
    let nobody = Digest::of(b"nobody");
    assert!(matches!(sources.read(&nobody, 0..1).await, Err(BundleError::Unknown { .. })));
    assert_eq!(sources.read_small(&nobody, 10).await.unwrap(), None);
    let large = sources.read_small(&layer, 1000).await;
    assert!(matches!(large, Err(BundleError::TooLarge { limit: 1000, .. })));
}

#[test]
fn a_pipe_or_a_folder_in_place_of_a_volume_hangs_nobody() {
    let (world, ..) = large();
    let folder = create(&world, "out");
    let volume = folder.join("demo.00001.tar");
    fs_err::remove_file(&volume).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&volume).status().unwrap();
    assert!(made.success());
    assert!(!open(&folder).volumes()[1].is_here());
    fs_err::remove_file(&volume).unwrap();
    fs_err::create_dir(&volume).unwrap();
    assert!(!open(&folder).volumes()[1].is_here());
    let table = folder.join("demo.blobs");
    fs_err::remove_file(&table).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&table).status().unwrap().success());
    let opened = airlift_bundle::TrustedBundle::open_all(&folder, &crate::world::trust());
    assert!(opened.is_err());
}

#[test]
fn a_root_or_table_with_one_bit_changed_opens_nothing() {
    let world = World::new().with("quay.io/a/b:1", &samples::image(1, &[10]));
    let folder = world.create("out");
    for (name, code) in [("demo.bundle.json", 5), ("demo.blobs", 5)] {
        flip(&folder.join(name), 20);
        let opened = airlift_bundle::TrustedBundle::open_all(&folder, &crate::world::trust());
        let err = opened.expect_err(name);
        assert_eq!(airlift_spec::Explain::class(&err).exit_code(), code, "{name}: {err}");
        flip(&folder.join(name), 20);
    }
    assert_eq!(open(&folder).root().name, "demo");
}

#[test]
fn a_table_that_is_missing_is_not_called_another_one() {
    let world = World::new().with("quay.io/a/b:1", &samples::image(1, &[10]));
    let folder = world.create("out");
    fs_err::remove_file(folder.join("demo.blobs")).unwrap();
    let opened = airlift_bundle::TrustedBundle::open_all(&folder, &crate::world::trust());
    let err = opened.unwrap_err();
    assert!(matches!(&err, BundleError::TableMissing { .. }), "{err}");
    assert_eq!(airlift_spec::Explain::class(&err).exit_code(), 5);
}
