//! Media that are full, or cannot be written.

use airlift_bundle::BundleError;
use airlift_spec::Explain as _;
use airlift_testkit::disk::SmallDisk;
use airlift_testkit::samples;

use crate::world::{World, files, open, options};

fn world() -> World {
    World::new()
        .with("quay.io/a/b:1", &samples::image(1, &[100_000, 100_000]))
        .with("quay.io/c/d:1", &samples::image(2, &[400_000]))
}

#[test]
fn a_medium_without_room_is_refused_before_anything_is_written() {
    let Some(disk) = SmallDisk::mount(400 << 10).unwrap() else { return };
    let world = world();
    let err = world.create_with(&[disk.path().to_owned()], &options()).unwrap_err();
    assert!(matches!(err, BundleError::NoRoom { .. }), "{err}");
    assert_eq!(err.class().exit_code(), 6);
    assert_eq!(files(disk.path()).len(), 0);
}

#[test]
fn media_are_filled_in_turn_and_each_says_what_it_holds() {
    let Some(first) = SmallDisk::mount(700 << 10).unwrap() else { return };
    let world = world();
    let second = world.path("second");
    let media = [first.path().to_owned(), second.clone()];
    let created = world.create_with(&media, &options()).unwrap();
    let on_first = created.volumes.iter().filter(|volume| volume.file.starts_with(first.path()));
    let ordinals: Vec<u32> = on_first.map(|volume| volume.ordinal).collect();
    assert!(ordinals.iter().zip(0..).all(|(is, expected)| *is == expected), "{ordinals:?}");
    assert!(ordinals.len() > 1 && created.volumes.len() > ordinals.len() + 1);
    for folder in &media {
        let bundle = open(folder);
        let there = files(folder);
        for ordinal in bundle.root().ordinals() {
            assert!(there.contains_key(&bundle.root().sums_file(ordinal)), "{ordinal}");
        }
        assert!(bundle.volumes()[0].is_here() && there.contains_key("README.txt"));
    }
    // The same bytes as on one medium, wherever they lie.
    let whole = files(&world.create("whole"));
    for (name, bytes) in files(first.path()).iter().chain(&files(&second)) {
        assert_eq!(whole.get(name), Some(bytes), "{name}");
    }
    let again = world.create_with(&media, &options()).unwrap();
    assert_eq!(again.bytes_written, 0);
}
