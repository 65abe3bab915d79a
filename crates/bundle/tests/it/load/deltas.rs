use airlift_bundle::Delivered;
use airlift_bundle::load::{Fate, Lack};
use airlift_spec::{Class, Digest, Layout};
use airlift_testkit::{Fault, On, Sample, samples};

use super::world::{Media, World, artifact, fates};

const VOLUME: u64 = 30 << 20;

/// A world whose registry has `first`, and a delta of `second` since the receipt of that.
async fn delta(first: &[(&str, &Sample)], second: &[(&str, &Sample)]) -> (World, Media, Delivered) {
    let mut world = World::new();
    for (reference, sample) in first {
        world.pin("demo", reference, sample);
    }
    world.load_all().await;
    let receipt = world.receipt("demo").await.unwrap();
    let store = world.store.clone();
    let delivered = receipt.delivered(|digest| store.read(digest, 8 << 20)).unwrap();
    for (reference, sample) in second {
        world.pin("demo", reference, sample);
    }
    world.registry.forget_requests();
    (world, Media::new(), delivered)
}

#[tokio::test]
async fn a_delta_is_completed_inside_the_registry() {
    let images = samples::sharing_layers(1, 2, 90_000, 100);
    let (world, media, delivered) =
        delta(&[("quay.io/org/one:1", &images[0])], &[("quay.io/org/two:1", &images[1])]).await;
    let folder = media.cut(&world, "demo", VOLUME, Some(delivered));
    let volume = fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let carried: u64 = volume.map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(carried < 90_000, "{carried}");

    let report = world.load_from(&media.sources(&[&folder]).await).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert!(world.registry.holds("mirror/quay.io/org/two", &images[1]));
    assert!(world.registry.received_bytes() < 20_000);
    assert_eq!(report.totals.blobs_mounted, 1);
}

#[tokio::test]
async fn where_the_registry_does_not_mount_it_is_copied_through_us() {
    let images = samples::sharing_layers(1, 2, 90_000, 100);
    let (world, media, delivered) =
        delta(&[("quay.io/org/one:1", &images[0])], &[("quay.io/org/two:1", &images[1])]).await;
    let folder = media.cut(&world, "demo", VOLUME, Some(delivered));
    world.registry.fail_always(On::uploads(), Fault::RefuseMount);
    let report = world.load_from(&media.sources(&[&folder]).await).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert!(world.registry.holds("mirror/quay.io/org/two", &images[1]));
}

#[tokio::test]
async fn a_delta_that_counts_on_what_is_gone_asks_for_it_by_name() {
    let images = samples::sharing_layers(1, 2, 90_000, 100);
    let whole = samples::image(9, &[500]);
    let (world, media, delivered) = delta(
        &[("quay.io/org/one:1", &images[0])],
        &[("quay.io/org/two:1", &images[1]), ("quay.io/org/whole:1", &whole)],
    )
    .await;
    let since = delivered.document.unwrap();
    let folder = media.cut(&world, "demo", VOLUME, Some(delivered));
    let shared = images[0].blobs_by_size()[0].0;
    // The registry was cleaned behind our back: the receipt is wrong now.
    world.registry.remove("mirror/quay.io/org/one", &shared);
    world.registry.remove("mirror/quay.io/org/one", &images[0].root.digest);

    let report = world.load_from(&media.sources(&[&folder]).await).await;
    assert_eq!(report.class(), Some(Class::Findings));
    let fates = fates(&report);
    assert_eq!(fates["quay.io/org/whole:1"], Fate::Pushed);
    let Fate::Incomplete { missing } = &fates["quay.io/org/two:1"] else { panic!("{fates:#?}") };
    assert_eq!(missing[0].digest, shared);
    assert!(
        matches!(&missing[0].lack, Lack::LeftOut { repository } if repository == "quay.io/org/one")
    );
    let request = report.request.as_ref().unwrap().to_yaml();
    let stack = airlift_spec::stack::parse(&request).unwrap();
    let wanted: Vec<Option<Digest>> =
        stack.images.iter().map(|source| source.reference.digest()).collect();
    assert!(wanted.contains(&Some(images[1].root.digest)), "{request}");
    assert!(
        request.contains(&shared.to_string()) && request.contains(&since.to_string()),
        "{request}"
    );
}

#[tokio::test]
async fn a_chain_of_deltas_since_earlier_roots_needs_nothing_back() {
    let images = samples::sharing_layers(1, 3, 90_000, 100);
    let mut world = World::new();
    let media = Media::new();
    let mut since = None;
    for (at, image) in images.iter().enumerate() {
        world.pin("demo", &format!("quay.io/org/image{at}:1"), image);
        let folder = media.cut(&world, "demo", VOLUME, since.take());
        let root = fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let root = root.into_iter().find(|path| path.to_string_lossy().ends_with(".bundle.json"));
        since = Some(Delivered::by_root_file(&root.unwrap(), &world.store).unwrap());
        world.registry.forget_requests();
        let report = world.load_from(&media.sources(&[&folder]).await).await;
        assert_eq!(report.class(), None, "{at}: {report:#?}");
        assert!(world.registry.holds(&format!("mirror/quay.io/org/image{at}"), image), "{at}");
        let sent = world.registry.received_bytes();
        assert!(at == 0 || sent < 30_000, "{at}: {sent}");
    }
}

/// What a root left out has the name of the near side there, and another one in the mirror.
#[tokio::test]
async fn a_delta_since_a_root_finds_what_has_another_name_in_a_mirror() {
    let images = samples::sharing_layers(1, 2, 90_000, 100);
    let mut world = World::new();
    world.layout = Layout::OcMirror;
    let mut part = artifact("quay.io/dev/parts:cli", &images[0]);
    part.mirrored_as = ["airlift.local/openshift/release:1-cli".parse().unwrap()].into();
    world.pin_artifact("demo", part, &images[0]);
    let media = Media::new();
    let folder = media.cut(&world, "demo", VOLUME, None);
    let report = world.load_from(&media.sources(&[&folder]).await).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert!(world.registry.holds("mirror/openshift/release", &images[0]));

    world.pin("demo", "quay.io/org/other:1", &images[1]);
    let root = fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let root = root.into_iter().find(|path| path.to_string_lossy().ends_with(".bundle.json"));
    let since = Delivered::by_root_file(&root.unwrap(), &world.store).unwrap();
    let delta = media.cut(&world, "demo", VOLUME, Some(since));
    let report = world.load_from(&media.sources(&[&delta]).await).await;
    assert_eq!(report.class(), None, "{report:#?}");
    assert!(world.registry.holds("mirror/org/other", &images[1]));
}
