use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use airlift_bundle::load::{Fate, LoadError, LoadOptions, LoadReport, load_to_store};
use airlift_bundle::{Content, Sources};
use airlift_spec::{Class, Ctx, Event, Events};
use airlift_store::Store;
use airlift_testkit::samples;

use super::world::{Media, World, fates};

const VOLUME: u64 = 64 << 10;
const LARGE: &str = "quay.io/org/large:1";

/// One image whose larger layer is split over several volumes, and a signed one.
fn world() -> World {
    let mut world = World::new();
    world.pin("demo", LARGE, &samples::image(1, &[3_000, 200_000]));
    world.pin("demo", "quay.io/org/signed:1", &samples::signed(&samples::image(2, &[20_000])));
    world
}

async fn load(sources: &Sources, store: &Store) -> LoadReport {
    load_to_store(sources, store, &LoadOptions::default(), &Ctx::default()).await.unwrap()
}

fn is_complete(world: &World, store: &Store) -> bool {
    let samples =
        [samples::image(1, &[3_000, 200_000]), samples::signed(&samples::image(2, &[20_000]))];
    let digests = samples.iter().flat_map(|sample| {
        sample.blobs.keys().copied().chain(sample.manifests.iter().map(|manifest| manifest.digest))
    });
    let lock = world.lock("demo").digest();
    digests.chain([lock]).all(|digest| store.contains(&digest))
}

#[tokio::test]
async fn disks_add_up_in_any_order() {
    let world = world();
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let volumes: Vec<usize> = (1..fs_err::read_dir(&folder).unwrap().count())
        .filter(|ordinal| folder.join(format!("demo.{ordinal:05}.tar")).exists())
        .collect();
    assert!(volumes.len() >= 4, "{volumes:?}");
    for order in [volumes.clone(), volumes.iter().rev().copied().collect()] {
        let media_of_order = Media::new();
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::create(&dir.path().join("store")).unwrap());
        let mut last = None;
        for ordinal in &order {
            assert!(last.is_none_or(|report: LoadReport| report.class() == Some(Class::Findings)));
            let disk = media_of_order.disk(&folder, &[*ordinal]);
            last = Some(load(&media.sources(&[&disk]).await, &store).await);
        }
        let last = last.unwrap();
        assert_eq!(last.class(), None, "{order:?}: {last:#?}");
        assert!(is_complete(&world, &store), "{order:?}");
        // Nothing is kept for its own sake any more, and other tools find what is complete.
        assert_eq!(store.roots().unwrap()[0].blobs.len(), 2, "the lock and its findings");
        let index = fs_err::read_to_string(store.root().join("index.json")).unwrap();
        assert!(index.contains(LARGE), "{index}");

        let from_store = vec![Content::Store(Arc::clone(&store))];
        let from_store = Sources::open(from_store, &Ctx::default()).await.unwrap();
        let pushed = world.load_from(&from_store).await;
        assert_eq!(pushed.class(), None, "{pushed:#?}");
    }
}

#[tokio::test]
async fn garbage_collection_between_two_disks_keeps_what_came() {
    let world = world();
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    let report = load(&media.sources(&[&media.disk(&folder, &[2, 3])]).await, &store).await;
    let Fate::Incomplete { missing } = &fates(&report)[LARGE] else { panic!("{report:#?}") };
    assert!(format!("{missing:?}").contains("demo.00001.tar"), "{missing:?}");
    store.gc(false, &Ctx::default()).unwrap();
    let report = load(&media.sources(&[&media.disk(&folder, &[1, 4, 5, 6])]).await, &store).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert!(is_complete(&world, &store));
}

#[tokio::test]
async fn blobs_that_come_before_their_lock_are_kept_until_it_comes() {
    let world = world();
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    let disk = media.disk(&folder, &[1, 2, 3]);
    fs_err::remove_file(disk.join("demo.00000.tar")).unwrap();
    for _ in 0..2 {
        let report = load(&media.sources(&[&disk]).await, &store).await;
        assert_eq!(report.class(), Some(Class::Findings), "{report:#?}");
        assert_eq!(report.findings[0].code, "volume-missing");
    }
    assert_eq!(store.gc(false, &Ctx::default()).unwrap().removed_blobs, 0);

    let report = load(&media.sources(&[&media.disk(&folder, &[4, 5, 6])]).await, &store).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert!(is_complete(&world, &store));
    assert_eq!(store.roots().unwrap()[0].blobs.len(), 2, "the lock and its findings");
}

#[tokio::test]
async fn what_a_stack_kept_before_stays_when_only_its_next_blobs_are_here() {
    let mut world = world();
    let media = Media::new();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    let january = media.cut(&world, "demo", VOLUME, None);
    assert_eq!(load(&media.sources(&[&january]).await, &store).await.class(), None);
    world.pin("demo", "quay.io/org/new:1", &samples::image(7, &[9_000]));
    let february = Media::new();
    let folder = february.cut(&world, "demo", VOLUME, None);
    fs_err::remove_file(folder.join("demo.00000.tar")).unwrap();
    load(&february.sources(&[&folder]).await, &store).await;
    store.gc(false, &Ctx::default()).unwrap();
    let kept = vec![Content::Store(Arc::new(store))];
    let kept = Sources::open(kept, &Ctx::default()).await.unwrap();
    let named: Vec<_> =
        kept.locks()[0].artifacts.iter().map(|it| it.reference.to_string()).collect();
    assert!(named.contains(&LARGE.to_owned()) && named.len() == 2, "{named:?}");
}

#[tokio::test]
async fn a_second_load_writes_nothing() {
    let world = world();
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    let sources = media.sources(&[&folder]).await;
    assert!(load(&sources, &store).await.artifacts.iter().all(|one| one.result == Fate::Pushed));
    let again = load(&sources, &store).await;
    assert_eq!((again.class(), again.totals.bytes_sent), (None, 0), "{again:#?}");
    assert!(again.artifacts.iter().all(|one| one.result == Fate::Present));
}

#[tokio::test]
async fn a_store_can_be_filled_from_another() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    let report = load(&world.sources().await, &store).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert!(is_complete(&world, &store));
}

#[tokio::test]
async fn a_damaged_volume_sinks_only_what_lies_on_it() {
    let world = world();
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let path = folder.join("demo.00002.tar");
    let mut volume = fs_err::read(&path).unwrap();
    let at = volume.len() / 2;
    volume[at] ^= 1;
    fs_err::write(&path, volume).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    let report = load(&media.sources(&[&folder]).await, &store).await;
    assert_eq!(report.class(), Some(Class::Integrity), "{report:#?}");
    let fates = fates(&report);
    assert!(
        matches!(&fates[LARGE], Fate::Failed(failure) if failure.reason.contains("demo.00002.tar"))
    );
    assert_eq!(fates["quay.io/org/signed:1"], Fate::Pushed, "{fates:#?}");
}

#[tokio::test]
async fn a_load_that_is_stopped_anywhere_goes_on() {
    let world = world();
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    for stop_at in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let mut ctx = Ctx::default();
        let (cancel, seen) = (ctx.cancel.clone(), AtomicUsize::new(0));
        ctx.events = Events::new(move |_: Event| {
            if seen.fetch_add(1, Ordering::Relaxed) == stop_at {
                cancel.cancel();
            }
        });
        let sources = media.sources(&[&folder]).await;
        let stopped = load_to_store(&sources, &store, &LoadOptions::default(), &ctx).await;
        assert!(matches!(stopped, Err(LoadError::Cancelled)), "{stop_at}: {stopped:#?}");
        assert_eq!(load(&sources, &store).await.class(), None, "{stop_at}");
        assert!(is_complete(&world, &store), "{stop_at}");
    }
}
