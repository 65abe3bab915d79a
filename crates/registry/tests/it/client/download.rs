use airlift_registry::client::{Client, ClientError, ClientOptions, Fetched};
use airlift_spec::{Class, Ctx, Descriptor, Digest, Event, Explain as _};
use airlift_store::Staging;
use airlift_testkit::{FakeRegistry, Fault, On};
use futures::TryStreamExt as _;

use super::{client, fetch, impatient, listening, options, retries, temp_store, with_blob};

const LENGTH: usize = 2_000_000;

fn blob_gets(registry: &FakeRegistry) -> Vec<Option<String>> {
    let requests = registry.requests();
    let gets = requests.iter().filter(|it| it.method == "GET" && it.path.contains("/blobs/"));
    gets.map(|it| it.range().map(str::to_owned)).collect()
}

/// Wherever the line goes dead, the transfer goes on from there, and nothing is sent twice.
#[tokio::test]
async fn a_cut_transfer_goes_on_where_it_was_cut() {
    for cut in [0, 1, 300_000, LENGTH as u64 / 2, LENGTH as u64 - 1] {
        let registry = FakeRegistry::start();
        let (repository, blob, bytes) = with_blob(&registry, LENGTH);
        registry.fail_once(On::get("/blobs/"), Fault::CutAfter(cut));
        assert_eq!(fetch(&client(), &repository, &blob).await, bytes, "cut at {cut}");
        let again = (cut > 0).then(|| format!("bytes={cut}-{}", bytes.len() - 1));
        assert_eq!(blob_gets(&registry), [None, again], "cut at {cut}");
        assert_eq!(registry.sent_bytes(), bytes.len() as u64, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_line_that_is_cut_again_and_again_is_enough_as_long_as_it_moves() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, 6_000_000);
    let cuts = options().attempts.get() * 3;
    registry.fail_times(cuts, On::get("/blobs/"), Fault::CutAfter(300_000));
    assert_eq!(fetch(&client(), &repository, &blob).await, bytes);
    assert_eq!(registry.faults_left(), 0);
}

#[tokio::test]
async fn a_line_that_brings_nothing_is_given_up_and_what_came_is_kept() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_once(On::get("/blobs/"), Fault::CutAfter(700_000));
    registry.fail_always(On::get("/blobs/"), Fault::CutAfter(0));
    let (_dir, store) = temp_store();
    let (ctx, told) = listening();
    let err = client().fetch_into(&repository, &blob, &store, &ctx).await.unwrap_err();
    assert_eq!(err.class(), Class::Network, "{err}");
    assert!(!store.contains(&blob.digest));
    assert_eq!(
        retries(&told),
        options().attempts.get() - 1,
        "the try that brought something counts anew"
    );

    registry.heal();
    registry.forget_requests();
    client().fetch_into(&repository, &blob, &store, &ctx).await.unwrap();
    assert_eq!(blob_gets(&registry), [Some(format!("bytes=700000-{}", bytes.len() - 1))]);
    assert_eq!(store.read(&blob.digest, u64::MAX).unwrap().unwrap(), bytes);
}

#[tokio::test]
async fn silence_is_noticed_and_the_transfer_goes_on() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_once(On::get("/blobs/"), Fault::StallAfter(500_000));
    registry.fail_once(On::get("/blobs/"), Fault::Hang);
    let client = Client::new(impatient()).unwrap();
    assert_eq!(fetch(&client, &repository, &blob).await, bytes);
    assert_eq!(registry.faults_left(), 0);
}

#[tokio::test]
async fn a_registry_that_ignores_ranges_does_no_harm() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_once(On::get("/blobs/"), Fault::CutAfter(600_000));
    registry.fail_always(On::get("/blobs/"), Fault::IgnoreRange);
    assert_eq!(fetch(&client(), &repository, &blob).await, bytes);
    assert_eq!(blob_gets(&registry).len(), 2);
}

#[tokio::test]
async fn a_range_that_begins_elsewhere_is_not_written() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_once(On::get("/blobs/"), Fault::CutAfter(600_000));
    registry.fail_once(On::get("/blobs/"), Fault::RangeWrongStart(100));
    assert_eq!(fetch(&client(), &repository, &blob).await, bytes);
    let last = blob_gets(&registry).pop().unwrap();
    assert_eq!(last, None, "after that the registry is not asked for ranges any more");
}

#[tokio::test]
async fn a_flipped_byte_costs_one_more_transfer_and_a_second_one_is_named() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_once(On::get("/blobs/"), Fault::FlipByte(1_234_567));
    assert_eq!(fetch(&client(), &repository, &blob).await, bytes);

    registry.fail_always(On::get("/blobs/"), Fault::FlipByte(1_234_567));
    registry.forget_requests();
    let (_dir, store) = temp_store();
    let err = client().fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap_err();
    assert!(matches!(err, ClientError::WrongDigest { .. }), "{err}");
    assert_eq!(err.class(), Class::Integrity);
    assert!(
        err.to_string().contains(&registry.host())
            && err.to_string().contains(&blob.digest.to_string())
    );
    assert!(!store.contains(&blob.digest));
    assert_eq!(blob_gets(&registry).len(), 2);
}

#[tokio::test]
async fn a_body_of_another_length_than_the_manifest_says_is_refused() {
    for fault in [Fault::TooLong(10), Fault::WrongContentLength(10)] {
        let registry = FakeRegistry::start();
        let (repository, blob, _) = with_blob(&registry, LENGTH);
        registry.fail_always(On::get("/blobs/"), fault.clone());
        let (_dir, store) = temp_store();
        let err =
            client().fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap_err();
        assert!(matches!(err, ClientError::WrongSize { .. }), "{fault:?}: {err}");
        assert_eq!(err.class(), Class::Integrity);
        assert!(!store.contains(&blob.digest));
    }
}

#[tokio::test]
async fn busy_registries_are_asked_again_and_told_about() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, 10_000);
    registry.fail_once(On::get("/blobs/"), Fault::RetryAfter(300));
    registry.fail_once(On::get("/blobs/"), Fault::Status(503, Vec::new()));
    registry.fail_once(On::get("/blobs/"), Fault::Status(502, Vec::new()));
    let (_dir, store) = temp_store();
    let (ctx, told) = listening();
    let client = client();
    client.fetch_into(&repository, &blob, &store, &ctx).await.unwrap();
    assert_eq!(store.read(&blob.digest, u64::MAX).unwrap().unwrap(), bytes);
    assert_eq!(retries(&told), 3);
    assert_eq!(client.counters().retries, 3);
}

#[tokio::test]
async fn what_a_registry_refuses_for_good_is_asked_for_once() {
    let registry = FakeRegistry::start();
    let (repository, blob, _) = with_blob(&registry, 10_000);
    registry.fail_always(On::get("/blobs/"), Fault::Status(400, Vec::new()));
    let (_dir, store) = temp_store();
    let err = client().fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap_err();
    assert_eq!(err.status().map(|status| status.as_u16()), Some(400), "{err}");
    assert_eq!(err.class(), Class::Input);
    assert_eq!(blob_gets(&registry).len(), 1);
}

#[tokio::test]
async fn a_token_never_follows_a_redirect_to_another_host() {
    use airlift_testkit::{Auth, Bearer, registry::FakeOptions, registry::Server};
    let registry = FakeRegistry::with(FakeOptions {
        auth: Auth::Bearer(Bearer::default()),
        ..FakeOptions::default()
    });
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_always(On::get("/blobs/"), Fault::RedirectElsewhere);
    // It goes on there after a cut, too, and asks the registry for the way again.
    registry.fail_once(On::get("/blobs/").elsewhere(), Fault::CutAfter(900_000));
    assert_eq!(fetch(&client(), &repository, &blob).await, bytes);
    let requests = registry.requests();
    let there: Vec<_> = requests.iter().filter(|it| it.server == Server::Elsewhere).collect();
    assert_eq!(there.len(), 2);
    assert!(there.iter().all(|request| !request.has_authorization()));
    assert!(requests.iter().any(|it| it.server == Server::Registry && it.has_authorization()));
}

/// Where a firewall lets the registry through and not the host of its blobs, the message names that host.
#[tokio::test]
async fn what_goes_wrong_where_a_redirect_leads_is_said_of_that_host() {
    for (fault, class) in [
        (Fault::Status(403, vec![]), Class::Access),
        (Fault::Status(502, vec![]), Class::Network),
        (Fault::CutAfter(0), Class::Network),
    ] {
        let registry = FakeRegistry::start();
        let (repository, blob, _) = with_blob(&registry, 10_000);
        registry.fail_always(On::get("/blobs/"), Fault::RedirectElsewhere);
        registry.fail_always(On::get("/blobs/").elsewhere(), fault.clone());
        let (_dir, store) = temp_store();
        let fetched = client().fetch_into(&repository, &blob, &store, &Ctx::default()).await;
        let err = fetched.unwrap_err();
        let whose = format!("(where {} sends its clients)", registry.host());
        assert!(err.to_string().contains(&whose), "{fault:?}: {err}");
        assert_eq!((err.class(), err.help()), (class, None), "{fault:?}: {err}");
    }
}

/// It is the server's fault, not the user's, and what comes with it is no message.
#[tokio::test]
async fn an_answer_that_is_neither_what_was_asked_for_nor_a_refusal_is_a_bad_server() {
    for status in [204, 206, 304] {
        let registry = FakeRegistry::start();
        let (repository, blob, _) = with_blob(&registry, 10_000);
        registry.fail_always(On::get("/blobs/"), Fault::Status(status, vec![]));
        let (_dir, store) = temp_store();
        let fetched = client().fetch_into(&repository, &blob, &store, &Ctx::default()).await;
        let err = fetched.unwrap_err();
        assert!(matches!(err, ClientError::Protocol { .. }), "{status}: {err}");
        assert!(!err.to_string().contains("errors"), "{status}: {err}");
    }
    for status in [201, 204, 304] {
        let registry = FakeRegistry::start();
        let (repository, ..) = with_blob(&registry, 100);
        registry.fail_always(On::get("/manifests/"), Fault::Status(status, vec![]));
        let asked = client().manifest(&repository, "v1", &Ctx::default()).await;
        let err = asked.unwrap_err();
        assert!(matches!(err, ClientError::Protocol { .. }), "{status}: {err}");
    }
}

#[tokio::test]
async fn redirects_in_circles_end() {
    let registry = FakeRegistry::start();
    let (repository, blob, _) = with_blob(&registry, 10_000);
    let path = format!("/v2/team/app/blobs/{}", blob.digest);
    registry.fail_always(On::get("/blobs/"), Fault::Status(307, vec![("location", path)]));
    let (_dir, store) = temp_store();
    let err = client().fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap_err();
    assert!(matches!(err, ClientError::Redirect { .. }), "{err}");
    assert_eq!(err.class(), Class::Network, "the server's fault, not a matter of trust");
    assert_eq!(registry.count("GET", "/blobs/"), 11);
}

#[tokio::test]
async fn what_two_processes_fetch_at_once_is_fetched_by_one() {
    let registry = FakeRegistry::start();
    let (repository, blob, _) = with_blob(&registry, 10_000);
    let (_dir, store) = temp_store();
    let Staging::Writer(held) = store.stage(blob.digest, blob.size).unwrap() else {
        panic!("it is free")
    };
    let (client, ctx) = (client(), Ctx::default());
    let busy = client.fetch_into(&repository, &blob, &store, &ctx).await.unwrap();
    assert_eq!(busy, Fetched::Busy);
    drop(held);
    assert_eq!(
        client.fetch_into(&repository, &blob, &store, &ctx).await.unwrap(),
        Fetched::Brought
    );
    assert_eq!(
        client.fetch_into(&repository, &blob, &store, &ctx).await.unwrap(),
        Fetched::Present
    );
    assert_eq!(registry.count("GET", "/blobs/"), 1);
}

#[tokio::test]
async fn an_empty_blob_needs_no_request() {
    let registry = FakeRegistry::start();
    let (repository, ..) = with_blob(&registry, 10);
    let empty = Descriptor::new("x", Digest::of(b""), 0);
    assert_eq!(fetch(&client(), &repository, &empty).await, b"");
    assert_eq!(registry.requests().len(), 0);
}

#[tokio::test]
async fn a_foreign_layer_comes_from_where_its_descriptor_says() {
    let registry = FakeRegistry::start();
    let vendor = FakeRegistry::start();
    let (_, mut blob, bytes) = with_blob(&vendor, 100_000);
    blob.urls = vec![
        "ftp://nowhere.example/x".to_owned(),
        format!("{}/v2/team/app/blobs/{}", vendor.url(), blob.digest),
    ];
    let repository = super::repository(&registry);
    assert_eq!(fetch(&client(), &repository, &blob).await, bytes);
    assert_eq!(registry.count("GET", "/blobs/"), 1, "the registry is asked first");
}

#[tokio::test]
async fn a_blob_that_is_nowhere_is_missing_not_a_bad_line() {
    let registry = FakeRegistry::start();
    let (repository, ..) = with_blob(&registry, 10);
    let blob = Descriptor::new("x", Digest::of(b"nowhere"), 7);
    let (_dir, store) = temp_store();
    let err = client().fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap_err();
    assert!(matches!(err, ClientError::Missing { .. }), "{err}");
    assert_eq!(registry.count("GET", "/blobs/"), 1);
}

#[tokio::test]
async fn a_transfer_stops_when_the_user_stops_it_and_keeps_what_came() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_once(On::get("/blobs/"), Fault::StallAfter(800_000));
    let (_dir, store) = temp_store();
    let (mut ctx, _) = listening();
    let cancel = ctx.cancel.clone();
    let seen = std::sync::atomic::AtomicU64::new(0);
    ctx.events = airlift_spec::Events::new(move |event| {
        if let Event::TransferAdvanced { bytes, .. } = event {
            let before = seen.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
            if before + bytes == 800_000 {
                cancel.cancel();
            }
        }
    });
    let err = client().fetch_into(&repository, &blob, &store, &ctx).await.unwrap_err();
    assert_eq!(err.class(), Class::Cancelled);
    let Staging::Writer(writer) = store.stage(blob.digest, blob.size).unwrap() else {
        panic!("it is free")
    };
    assert_eq!(writer.gaps(), vec![800_000..bytes.len() as u64]);
}

#[tokio::test]
async fn the_rate_that_was_asked_for_is_kept() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, 600_000);
    let limited = ClientOptions { limit_rate: Some(1_000_000), ..options() };
    let start = std::time::Instant::now();
    assert_eq!(fetch(&Client::new(limited).unwrap(), &repository, &blob).await, bytes);
    assert!(start.elapsed().as_millis() >= 590, "{:?}", start.elapsed());
}

#[tokio::test]
async fn pieces_are_read_exactly_also_where_ranges_are_ignored() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, 500_000);
    let client = client();
    for range in [0..10, 499_990..500_000, 100_000..400_000, 7..7] {
        let ctx = Ctx::default();
        for is_ignored in [false, true] {
            if is_ignored {
                registry.fail_always(On::get("/blobs/"), Fault::IgnoreRange);
            }
            let asked = Some(range.start as u64..range.end as u64);
            let stream = client.read_blob(&repository, &blob.digest, asked, &ctx).await.unwrap();
            let pieces: Vec<_> = stream.unwrap().try_collect().await.unwrap();
            assert_eq!(pieces.concat(), bytes[range.clone()], "{range:?} ignored: {is_ignored}");
        }
        registry.heal();
    }
    let whole = client.read_blob(&repository, &blob.digest, None, &Ctx::default()).await.unwrap();
    assert_eq!(whole.unwrap().try_collect::<Vec<_>>().await.unwrap().concat(), bytes);
    let absent = Digest::of(b"absent");
    assert!(client.read_blob(&repository, &absent, None, &Ctx::default()).await.unwrap().is_none());
    let size = client.blob_size(&repository, &blob.digest, &Ctx::default()).await.unwrap();
    assert_eq!(size, Some(500_000));
}

#[tokio::test]
async fn no_more_is_asked_at_once_than_allowed_and_less_where_that_is_too_much() {
    let registry = FakeRegistry::start();
    let lengths: Vec<usize> = (0..40).map(|at| 1_000 + at).collect();
    let sample = airlift_testkit::samples::image(1, &lengths);
    registry.put("team/app", "v1", &sample);
    registry.fail_times(5, On::blobs(), Fault::RetryAfter(0));
    // Long enough that requests made at once are seen at once.
    let slow = Fault::SlowStart(std::time::Duration::from_millis(20));
    registry.fail_always(On::blobs(), slow);
    let client =
        Client::new(ClientOptions { max_in_flight: 4.try_into().unwrap(), ..options() }).unwrap();
    let (repository, ctx) = (super::repository(&registry), Ctx::default());
    let asked = sample.blobs.keys().map(|digest| client.blob_size(&repository, digest, &ctx));
    for size in futures::future::join_all(asked).await {
        assert!(size.unwrap().is_some());
    }
    assert!((2..=4).contains(&registry.max_in_flight()), "{}", registry.max_in_flight());
    assert_eq!(registry.faults_left(), 0);
}

#[tokio::test]
async fn tls_that_turns_out_to_be_none_is_named() {
    let (registry, plain) = (FakeRegistry::start(), FakeRegistry::start());
    let (repository, blob, _) = with_blob(&registry, 10_000);
    let elsewhere = vec![("location", format!("https://{}/x", plain.host()))];
    registry.fail_always(On::get("/blobs/"), Fault::Status(307, elsewhere));
    let (_dir, store) = temp_store();
    let err = client().fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap_err();
    assert!(err.to_string().contains("speaks plain HTTP where TLS was expected"), "{err:?}");
    assert!(err.to_string().contains(&plain.host()), "{err:?}");
    assert_eq!(err.help(), None, "`--plain-http` allows it for registries alone");
}
