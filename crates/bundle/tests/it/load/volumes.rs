use airlift_bundle::Sources;
use airlift_bundle::load::{Fate, LoadOptions, load_to_store};
use airlift_spec::{Class, Ctx};
use airlift_store::Store;
use airlift_testkit::samples;

use super::world::{Media, World, codes, fates};
use crate::world::flip;

const VOLUME: u64 = 64 << 10;

#[tokio::test]
async fn what_is_complete_is_pushed_and_the_volumes_of_the_rest_are_named() {
    let mut world = World::new();
    let (small, large) = (samples::image(1, &[1000]), samples::image(2, &[50_000, 200_000]));
    world.pin("demo", "quay.io/org/a-small:1", &small);
    world.pin("demo", "quay.io/org/b-large:1", &large);
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let disk = media.disk(&folder, &[1]);

    let report = world.load_from(&media.sources(&[&disk]).await).await;
    assert_eq!(report.class(), Some(Class::Findings));
    assert_eq!(codes(&report), ["incomplete"]);
    assert_eq!(fates(&report)["quay.io/org/a-small:1"], Fate::Pushed);
    assert!(world.registry.holds("mirror/quay.io/org/a-small", &small));
    assert!(world.registry.tags("mirror/quay.io/org/b-large").is_empty());
    let json = serde_json::to_value(&report).unwrap();
    let lack = &json["artifacts"][1]["result"]["missing"][0]["lack"];
    assert_eq!(
        (&lack["is"], &lack["volumes"][0]),
        (&"volumes".into(), &"demo.00002.tar".into()),
        "{json}"
    );
    let message = &report.findings[0].message;
    assert!(message.contains("demo.00002.tar") && message.contains("demo.00004.tar"), "{message}");
    assert!(!message.contains("demo.00001.tar"), "{message}");

    // All of it at once brings the rest, and nothing else.
    let report = world.load_from(&media.sources(&[&folder]).await).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert_eq!(fates(&report)["quay.io/org/a-small:1"], Fate::Present);
    assert!(world.registry.holds("mirror/quay.io/org/b-large", &large));
}

#[tokio::test]
async fn without_the_volume_of_the_locks_nothing_passes_for_delivered() {
    let mut world = World::new();
    let image = samples::image(1, &[1000]);
    world.pin("demo", "quay.io/org/app:1", &image);
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    fs_err::remove_file(folder.join("demo.00000.tar")).unwrap();

    let sources = media.sources(&[&folder]).await;
    let report = world.load_from(&sources).await;
    assert_eq!(report.class(), Some(Class::Findings));
    assert_eq!(codes(&report), ["volume-missing"]);
    assert_eq!(report.findings[0].object, "demo.00000.tar");
    assert!(report.findings[0].message.contains("`demo`"), "{report:#?}");

    let store = Store::create(&folder.join("store")).unwrap();
    let options = LoadOptions::default();
    let report = load_to_store(&sources, &store, &options, &Ctx::default()).await.unwrap();
    assert_eq!(report.class(), Some(Class::Findings));
    assert_eq!(codes(&report), ["volume-missing"]);
}

/// What is said of it is what is wrong with it, with the remedy.
#[tokio::test]
async fn a_volume_of_the_locks_that_is_empty_or_of_another_bundle_is_called_that() {
    let mut world = World::new();
    world.pin("demo", "quay.io/org/app:1", &samples::image(1, &[1000]));
    let (media, elsewhere) = (Media::new(), Media::new());
    let other = elsewhere.cut(&world, "demo", VOLUME, None).join("demo.00000.tar");
    let other = fs_err::read(other).unwrap();
    world.pin("demo", "quay.io/org/other:1", &samples::image(2, &[1000]));
    let folder = media.cut(&world, "demo", VOLUME, None);
    for (bytes, code, said) in [
        (&b""[..], "volume-truncated", "it has 0 bytes instead of"),
        (&other, "volume-foreign", "it is volume 00000 of another bundle"),
    ] {
        fs_err::write(folder.join("demo.00000.tar"), bytes).unwrap();
        let report = world.load_from(&media.sources(&[&folder]).await).await;
        assert_eq!(codes(&report), [code]);
        let message = &report.findings[0].message;
        assert!(message.starts_with(said) && message.contains("run `airlift verify`"), "{message}");
    }
}

/// One bad sector must not do more harm than the loss of the volume.
#[tokio::test]
async fn a_damaged_volume_of_the_locks_is_as_good_as_an_absent_one() {
    let mut world = World::new();
    world.pin("demo", "quay.io/org/app:1", &samples::image(1, &[1000]));
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let path = folder.join("demo.00000.tar");
    let text = fs_err::read(&path).unwrap();
    flip(&path, text.windows(8).position(|window| window == b"\"stack\":").unwrap());
    for sums in [true, false] {
        if !sums {
            // Now the lock's own digest decides.
            fs_err::remove_file(folder.join("demo.00000.sums")).unwrap();
        }
        let sources = media.sources(&[&folder]).await;
        assert!(sources.locks().is_empty());
        let report = world.load_from(&sources).await;
        assert_eq!(report.class(), Some(Class::Findings), "{report:#?}");
        assert_eq!(codes(&report), ["chunk-damaged"]);
        assert!(report.findings[0].message.contains("`demo`"), "{report:#?}");

        let store = Store::create(&folder.join("store")).unwrap();
        let options = LoadOptions::default();
        let report = load_to_store(&sources, &store, &options, &Ctx::default()).await.unwrap();
        assert_eq!(report.class(), Some(Class::Findings), "{report:#?}");
        assert_eq!(codes(&report), ["chunk-damaged"]);
        let image = samples::image(1, &[1000]);
        assert!(store.contains(&image.root.digest), "blobs are taken without their lock");
    }
}

#[tokio::test]
async fn two_folders_with_half_of_the_volumes_each_are_one_bundle() {
    let mut world = World::new();
    let large = samples::image(2, &[50_000, 200_000]);
    world.pin("demo", "quay.io/org/large:1", &large);
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let (one, two) = (media.disk(&folder, &[1, 3]), media.disk(&folder, &[2, 4, 5, 6]));
    let contents = media.open(&[one, two]);
    assert_eq!(contents.len(), 1);
    let sources = Sources::open(contents, &Ctx::default()).await.unwrap();
    let report = world.load_from(&sources).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert!(world.registry.holds("mirror/quay.io/org/large", &large));
}

#[tokio::test]
async fn a_damaged_chunk_sinks_its_image_as_damaged_and_no_other() {
    let mut world = World::new();
    let (good, bad) = (samples::image(1, &[1000]), samples::image(2, &[40_000]));
    world.pin("demo", "quay.io/org/a-good:1", &good);
    world.pin("demo", "quay.io/org/b-bad:1", &bad);
    let media = Media::new();
    let folder = media.cut(&world, "demo", 30 << 20, None);
    let (largest, bytes) = bad.blobs_by_size()[0];
    let path = folder.join("demo.00001.tar");
    let mut volume = fs_err::read(&path).unwrap();
    let at = volume.windows(64).position(|window| *window == bytes[..64]).unwrap();
    volume[at + 100] ^= 1;
    fs_err::write(&path, volume).unwrap();
    // Signed sums would refuse the whole chunk: with them gone, each blob's digest decides.
    for sums in ["demo.00001.sums", "demo.00001.sums.minisig"] {
        fs_err::remove_file(folder.join(sums)).unwrap();
    }
    let report = world.load_from(&media.sources(&[&folder]).await).await;
    let fates = fates(&report);
    let Fate::Failed(failure) = &fates["quay.io/org/b-bad:1"] else { panic!("{fates:#?}") };
    assert_eq!(failure.class, Class::Integrity, "{failure:?}");
    assert!(failure.reason.contains(&largest.to_string()), "{failure:?}");
    assert_eq!(fates["quay.io/org/a-good:1"], Fate::Pushed);
    assert_eq!(world.tag_there("quay.io/org/b-bad", "1"), None);
}
