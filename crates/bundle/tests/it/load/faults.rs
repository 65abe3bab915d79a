use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use airlift_bundle::load::{self, Fate, LoadError};
use airlift_spec::{Class, Ctx, Event, Events};
use airlift_testkit::registry::{Auth, Bearer, FakeOptions};
use airlift_testkit::{Fault, On, samples};

use super::world::{World, fates};

fn three() -> World {
    let mut world = World::new();
    for (at, name) in ["a", "b", "c"].iter().enumerate() {
        let sample = samples::signed(&samples::image(at as u64, &[5_000, 60_000]));
        world.pin("demo", &format!("quay.io/org/{name}:1"), &sample);
    }
    world
}

fn is_complete(world: &World) -> bool {
    world.lock("demo").artifacts.iter().all(|artifact| {
        let repository = artifact.reference.repository();
        world.tag_there(&repository, "1") == artifact.digest
    })
}

#[tokio::test]
async fn a_refused_artifact_spares_the_rest_and_the_next_run_tries_only_that() {
    let world = three();
    world.registry.fail_always(On::path("org/b/blobs/uploads"), Fault::Status(403, Vec::new()));
    let report = world.load().await;
    assert_eq!(report.class(), Some(Class::Access));
    let fates = fates(&report);
    assert!(
        matches!(&fates["quay.io/org/b:1"], Fate::Failed(failure) if failure.class == Class::Access)
    );
    assert_eq!(fates["quay.io/org/a:1"], Fate::Pushed);
    assert_eq!(fates["quay.io/org/c:1"], Fate::Pushed);
    // What did not arrive is not in the receipt.
    let receipt = world.receipt("demo").await.unwrap();
    assert!(!receipt.manifests.contains_key("quay.io/org/b"), "{receipt:#?}");

    world.registry.heal();
    world.registry.forget_requests();
    world.load_all().await;
    assert!(is_complete(&world));
    for others in ["org/a/", "org/c/"] {
        let requests = world.registry.requests();
        let writes = requests
            .iter()
            .filter(|request| request.path.contains(others) && request.method != "HEAD");
        assert_eq!(writes.filter(|request| request.method != "GET").count(), 0, "{others}");
    }
}

#[tokio::test]
async fn a_registry_that_hides_what_is_not_there_yet_is_filled_all_the_same() {
    let bearer = Bearer { hides_absent: true, ..Bearer::default() };
    let mut world =
        World::with(FakeOptions { auth: Auth::Bearer(bearer), ..FakeOptions::default() });
    world.pin("demo", "quay.io/org/a:1", &samples::signed(&samples::image(1, &[5_000])));
    let nobody = airlift_registry::client::Repository {
        host: world.registry.host(),
        path: "mirror/quay.io/org/a".to_owned(),
    };
    let hidden = world.client().describe(&nobody, "1", &world.ctx).await.unwrap_err();
    assert_eq!(airlift_spec::Explain::class(&hidden), Class::Access, "{hidden}");
    world.load_all().await;
    assert!(is_complete(&world));
}

#[tokio::test]
async fn an_upload_that_is_reset_is_sent_again() {
    let world = three();
    for at in [0, 1, 30_000] {
        world.registry.fail_once(On::uploads(), Fault::ResetOnUpload(at));
    }
    world.load_all().await;
    assert!(is_complete(&world));
}

/// The state folder is all that is left of a process that was killed.
#[tokio::test]
async fn an_upload_goes_on_in_another_process() {
    let mut world = World::new();
    let sample = samples::image(1, &[2_000_000]);
    world.pin("demo", "quay.io/org/a:1", &sample);
    let mut ctx = Ctx::default();
    let (cancel, moved) = (ctx.cancel.clone(), AtomicU64::new(0));
    ctx.events = Events::new(move |event: Event| {
        if let Event::TransferAdvanced { bytes, .. } = event
            && moved.fetch_add(bytes, Ordering::Relaxed) + bytes > 1_200_000
        {
            cancel.cancel();
        }
    });
    let (sources, target) = (world.sources().await, world.target());
    let plan = load::plan(&sources, &target, &world.options, &world.ctx).await.unwrap();
    load::run(&plan, &sources, &target, &world.options, &ctx).await.unwrap_err();
    drop(target);
    world.registry.forget_requests();
    world.load_all().await;
    assert!(world.registry.holds("mirror/quay.io/org/a", &sample));
    let again = world.registry.received_bytes();
    assert!(again < 1_200_000, "{again}");
}

#[tokio::test]
async fn a_state_that_cannot_be_written_moves_no_tag() {
    let world = three();
    world.registry.fail_always(
        On::path("airlift-state/manifests").method(http::Method::PUT),
        Fault::Status(403, Vec::new()),
    );
    let report = world.load().await;
    assert_eq!(report.class(), Some(Class::Access));
    for name in ["a", "b", "c"] {
        assert_eq!(world.tag_there(&format!("quay.io/org/{name}"), "1"), None, "{name}");
    }
    world.registry.heal();
    world.load_all().await;
    assert!(is_complete(&world));
}

#[tokio::test]
async fn a_load_that_is_stopped_anywhere_goes_on_with_what_is_missing() {
    for stop_at in 0..12 {
        let world = three();
        let seen = Arc::new(AtomicUsize::new(0));
        let mut ctx = Ctx::default();
        let cancel = ctx.cancel.clone();
        let counter = Arc::clone(&seen);
        ctx.events = Events::new(move |_: Event| {
            if counter.fetch_add(1, Ordering::Relaxed) == stop_at {
                cancel.cancel();
            }
        });
        let (sources, target) = (world.sources().await, world.target());
        let plan = load::plan(&sources, &target, &world.options, &world.ctx).await.unwrap();
        let stopped = load::run(&plan, &sources, &target, &world.options, &ctx).await;
        assert!(matches!(stopped, Err(LoadError::Cancelled)), "{stop_at}: {stopped:#?}");
        // Whatever has a tag is whole.
        for artifact in &world.lock("demo").artifacts {
            let repository = artifact.reference.repository();
            if world.tag_there(&repository, "1").is_some() {
                let there = format!("mirror/{repository}");
                let digest = artifact.digest.unwrap().to_string();
                assert!(world.registry.manifest(&there, &digest).is_some(), "{stop_at}");
            }
        }
        world.load_all().await;
        assert!(is_complete(&world), "{stop_at}");
    }
}

#[tokio::test]
async fn a_registry_that_lost_what_the_receipt_names_gets_it_again() {
    let world = three();
    world.load_all().await;
    let lost = &world.lock("demo").artifacts[0];
    let there = format!("mirror/{}", lost.reference.repository());
    let digest = lost.digest.unwrap();
    let manifest = world.registry.manifest(&there, &digest.to_string()).unwrap();
    let manifest = airlift_spec::Manifest::parse(&manifest, None).unwrap();
    world.registry.remove(&there, &digest);
    world.registry.remove(&there, &manifest.blobs[1].digest);

    let report = world.load_all().await;
    assert_eq!(report.totals.blobs_sent, 1, "{report:#?}");
    assert!(is_complete(&world));
}

#[tokio::test]
async fn two_loads_at_once_both_succeed_and_no_state_is_lost() {
    let mut world = three();
    world.pin("other", "quay.io/org/a:1", &samples::signed(&samples::image(0, &[5_000, 60_000])));
    let (one, two) = tokio::join!(world.load(), world.load());
    assert_eq!((one.class(), two.class()), (None, None), "{one:#?} {two:#?}");
    assert!(is_complete(&world));
    for stack in ["demo", "other"] {
        assert!(world.receipt(stack).await.is_some(), "{stack}");
    }
}

#[tokio::test]
async fn a_registry_that_is_down_is_named_at_once() {
    let world = three();
    world.registry.fail_always(On::any(), Fault::Status(503, Vec::new()));
    let err = world.plan().await.unwrap_err();
    assert_eq!(airlift_spec::Explain::class(&err), Class::Network, "{err}");
    assert!(err.to_string().contains(&world.registry.host()), "{err}");
}
