//! Lines that end anywhere, registries that say "not now" to everything, and lengths that are not true.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use airlift_registry::client::{Client, ClientError, ClientOptions, Repository};
use airlift_spec::error::chain;
use airlift_spec::{Class, Ctx, Descriptor, Explain as _};
use airlift_testkit::proxy::Line;
use airlift_testkit::registry::{Auth, Bearer, FakeOptions};
use airlift_testkit::{FakeRegistry, Fault, FaultProxy, On, samples};
use futures::TryStreamExt as _;
use http::Method;

use super::{
    Memory, client, descriptor, fetch, impatient, options, repository, temp_store, with_blob,
};

const LENGTH: usize = 2_000_000;

#[tokio::test]
async fn a_manifest_that_is_cut_after_any_byte_is_asked_for_again() {
    let (registry, sample) = (FakeRegistry::start(), samples::image(1, &[100]));
    registry.put("team/app", "v1", &sample);
    let client = client();
    for cut in 0..sample.root.size {
        registry.fail_once(On::get("/manifests/"), Fault::CutAfter(cut));
        let found = client.manifest(&repository(&registry), "v1", &Ctx::default()).await.unwrap();
        assert_eq!(found.unwrap().digest, sample.root.digest, "cut at {cut}");
        assert_eq!(registry.faults_left(), 0, "cut at {cut}");
    }
}

/// The head of the answer included: the first cuts come before the first byte of the body.
#[tokio::test]
async fn a_connection_that_is_reset_anywhere_costs_another_one() {
    let (registry, sample) = (FakeRegistry::start(), samples::image(1, &[100]));
    registry.put("team/app", "v1", &sample);
    let proxy = FaultProxy::to(registry.address()).unwrap();
    let there = Repository { host: proxy.host(), path: "team/app".to_owned() };
    for cut in (0..sample.root.size + 300).step_by(7) {
        // A client of its own, so that the connection is a new one.
        let client = client();
        proxy.once(Line { cut_after: Some(cut), ..Line::default() });
        let found = client.manifest(&there, "v1", &Ctx::default()).await.unwrap();
        assert_eq!(found.unwrap().digest, sample.root.digest, "reset at {cut}");
    }
}

#[tokio::test]
async fn a_blob_that_is_cut_at_the_border_of_any_buffer_is_not_asked_for_twice() {
    const KIB: u64 = 1 << 10;
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    let borders = [8 * KIB, 64 * KIB, 256 * KIB, 512 * KIB, KIB * KIB];
    let ends = [0, 1, LENGTH as u64 - 1];
    let cuts = borders.iter().flat_map(|border| [border - 1, *border, border + 1]).chain(ends);
    for cut in cuts {
        registry.forget_requests();
        registry.fail_once(On::get("/blobs/"), Fault::CutAfter(cut));
        assert!(fetch(&client(), &repository, &blob).await == bytes, "cut at {cut}");
        assert_eq!(registry.sent_bytes(), LENGTH as u64, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_slow_line_is_not_a_silent_one() {
    let registry = FakeRegistry::start();
    let (_, blob, bytes) = with_blob(&registry, 400_000);
    let proxy = FaultProxy::to(registry.address()).unwrap();
    // Several times as long as the longest silence.
    proxy.set(Line { bytes_per_second: Some(400_000), ..Line::default() });
    let there = Repository { host: proxy.host(), path: "team/app".to_owned() };
    let client = Client::new(impatient()).unwrap();
    assert!(fetch(&client, &there, &blob).await == bytes);
    assert_eq!(client.counters().retries, 0);
}

/// The token is good for one request, and the second one is the rest of a blob.
#[tokio::test]
async fn a_401_in_the_middle_of_a_blob_costs_a_token_and_no_byte() {
    let bearer = Bearer { uses: Some(1), ..Bearer::default() };
    let registry =
        FakeRegistry::with(FakeOptions { auth: Auth::Bearer(bearer), ..FakeOptions::default() });
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_once(On::get("/blobs/"), Fault::CutAfter(700_000));
    assert!(fetch(&client(), &repository, &blob).await == bytes);
    let requests = registry.requests();
    let gets = requests.iter().filter(|it| it.method == "GET" && it.path.contains("/blobs/"));
    let (mut statuses, mut sent) = (Vec::new(), 0);
    for get in gets.filter(|get| get.has_authorization()) {
        statuses.push((get.status.unwrap(), get.range().is_some()));
        sent += if get.status == Some(401) { 0 } else { get.sent_bytes };
    }
    assert_eq!(statuses, [(200, false), (401, true), (206, true)]);
    assert_eq!(sent, LENGTH as u64);
}

#[derive(Debug, Clone, Copy)]
enum Work {
    Manifest,
    Blob,
    Upload,
}

impl Work {
    const ALL: [Self; 3] = [Self::Manifest, Self::Blob, Self::Upload];

    fn requests(self) -> On {
        match self {
            Self::Manifest => On::get("/manifests/"),
            Self::Blob => On::get("/blobs/"),
            Self::Upload => On::uploads().method(Method::POST),
        }
    }

    async fn run(self, registry: &FakeRegistry, blob: &Descriptor) -> Result<(), ClientError> {
        let (client, ctx, place) = (client(), Ctx::default(), repository(registry));
        match self {
            Self::Manifest => client.manifest(&place, "v1", &ctx).await.map(drop),
            Self::Blob => {
                let (_dir, store) = temp_store();
                client.fetch_into(&place, blob, &store, &ctx).await.map(drop)
            }
            Self::Upload => {
                let bytes = b"to be pushed";
                let (blob, source) = (descriptor(bytes), Memory::new(bytes));
                client.push_blob(&place, &blob, &source, &ctx).await.map(drop)
            }
        }
    }
}

#[tokio::test]
async fn a_storm_of_429_is_sat_out_and_one_without_end_is_given_up() {
    let attempts = options().attempts.get();
    let without = Fault::Status(429, Vec::new());
    for (work, storm) in Work::ALL
        .into_iter()
        .flat_map(|work| [(work, without.clone()), (work, Fault::RetryAfter(1))])
    {
        let registry = FakeRegistry::start();
        let (_, blob, _) = with_blob(&registry, 10_000);
        registry.fail_times(attempts - 1, work.requests(), storm.clone());
        work.run(&registry, &blob).await.unwrap_or_else(|err| panic!("{work:?} {storm:?}: {err}"));
        assert_eq!(registry.faults_left(), 0, "{work:?} {storm:?}");

        registry.fail_always(work.requests(), storm.clone());
        registry.forget_requests();
        let err = work.run(&registry, &blob).await.unwrap_err();
        assert_eq!(err.class(), Class::Network, "{work:?} {storm:?}: {err}");
        assert!(err.to_string().contains("429"), "{work:?} {storm:?}: {err}");
        let refused = registry.requests().iter().filter(|it| it.status == Some(429)).count();
        assert_eq!(refused, attempts, "{work:?} {storm:?}: it was hammered");
    }
}

/// Docker Hub's limit is one of hours.
#[tokio::test]
async fn a_registry_that_asks_to_wait_for_hours_is_asked_once_and_said_so() {
    for work in Work::ALL {
        let registry = FakeRegistry::start();
        let (_, blob, _) = with_blob(&registry, 10_000);
        registry.fail_always(work.requests(), Fault::RetryAfter(3_600));
        let err = work.run(&registry, &blob).await.unwrap_err();
        assert_eq!(err.class(), Class::Network, "{work:?}: {err}");
        assert!(err.to_string().contains("asks to wait 3600 s"), "{work:?}: {err}");
        let refused = registry.requests().iter().filter(|it| it.status == Some(429)).count();
        assert_eq!(refused, 1, "{work:?}");
    }
}

/// Gives up on silence fast, and on who is silent after the fewest tries.
fn without_patience() -> ClientOptions {
    let mut options = impatient();
    options.tuning.lost_after = Duration::ZERO;
    options
}

#[tokio::test]
async fn a_host_that_answers_nothing_is_lost_like_one_that_takes_no_connections() {
    let registry = FakeRegistry::start();
    registry.put("team/app", "v1", &samples::image(1, &[100]));
    registry.fail_always(On::any(), Fault::Hang);
    let (client, ctx) = (Client::new(without_patience()).unwrap(), Ctx::default());
    let ask = async || client.manifest(&repository(&registry), "v1", &ctx).await;
    let err = ask().await.unwrap_err();
    assert!(chain(&err).contains("s: 127.0.0.1"), "{}", chain(&err));
    assert!(matches!(err, ClientError::Lost { source: Some(_), .. }), "{err:?}");
    assert_eq!(err.class(), Class::Network);
    assert!(err.help().is_some());
    assert_eq!(registry.requests().len(), 3);
    let err = ask().await.unwrap_err();
    assert!(matches!(err, ClientError::Lost { .. }), "{err:?}");
    assert_eq!(client.counters().retries, 2);

    registry.heal();
    while ask().await.is_err() {}
}

#[tokio::test]
async fn a_token_server_that_answers_nothing_is_lost_as_well() {
    let auth = Auth::Bearer(Bearer::default());
    let registry = FakeRegistry::with(FakeOptions { auth, ..FakeOptions::default() });
    registry.put("team/app", "v1", &samples::image(1, &[100]));
    registry.fail_always(On::path("/token"), Fault::Hang);
    let (client, ctx) = (Client::new(without_patience()).unwrap(), Ctx::default());
    let ask = async || client.manifest(&repository(&registry), "v1", &ctx).await;
    let err = ask().await.unwrap_err();
    assert!(matches!(err, ClientError::Lost { source: Some(_), .. }), "{err:?}");
    assert_eq!(client.counters().retries, 2);
    registry.heal();
    while ask().await.is_err() {}
}

/// A registry with few workers, which send large blobs while everybody else waits.
#[tokio::test]
async fn who_sends_to_one_and_lets_others_wait_is_not_lost() {
    let registry = FakeRegistry::start();
    let (there, blob, bytes) = with_blob(&registry, 1_000_000);
    let options = ClientOptions { attempts: 2.try_into().unwrap(), ..without_patience() };
    let (client, ctx) = (Client::new(options).unwrap(), Ctx::default());
    let coming = client.read_blob(&there, &blob.digest, None, &ctx).await.unwrap();
    let mut coming = coming.unwrap();
    registry.fail_always(On::get("/manifests/"), Fault::Hang);
    let mut came = Vec::new();
    for _ in 0..3 {
        came.extend_from_slice(&coming.try_next().await.unwrap().unwrap());
        let err = client.manifest(&there, "v1", &ctx).await.unwrap_err();
        assert!(matches!(err, ClientError::Stalled { .. }), "{err:?}");
    }
    while let Some(piece) = coming.try_next().await.unwrap() {
        came.extend_from_slice(&piece);
    }
    assert!(came == bytes);
}

/// What a firewall does that knows of the registry and not of the host of its blobs.
#[tokio::test]
async fn a_host_of_blobs_that_is_out_of_reach_costs_no_blob_more_than_the_question_where_it_is() {
    let registry = FakeRegistry::start();
    let (repository, first, _) = with_blob(&registry, 10_000);
    registry.fail_always(On::get("/blobs/"), Fault::RedirectElsewhere);
    registry.fail_always(On::get("/blobs/").elsewhere(), Fault::Hang);
    let (client, ctx) = (Client::new(without_patience()).unwrap(), Ctx::default());
    let (_dir, store) = temp_store();
    let led_on = |blob: &str| {
        let requests = registry.requests();
        let led_on = requests.iter().filter(|it| it.status == Some(307) && it.path.contains(blob));
        led_on.count()
    };

    let err = client.fetch_into(&repository, &first, &store, &ctx).await.unwrap_err();
    let whose = format!("(where {} sends its clients) has given no answer", registry.host());
    assert!(err.to_string().contains(&whose), "{err}");
    assert_eq!(client.counters().retries, 2);
    for nth in 0..5 {
        let sample = samples::image(10 + nth, &[20_000]);
        registry.put("team/app", "more", &sample);
        let (digest, bytes) = sample.blobs_by_size()[0];
        let blob = Descriptor::new("application/octet-stream", digest, bytes.len() as u64);
        let err = client.fetch_into(&repository, &blob, &store, &ctx).await.unwrap_err();
        assert!(err.to_string().contains(&whose), "{err}");
        assert_eq!(led_on(&digest.hex()), 1);
    }
    assert_eq!(client.counters().retries, 2);
    assert!(client.manifest(&repository, "v1", &ctx).await.unwrap().is_some());
}

#[tokio::test]
async fn a_host_that_takes_no_connections_costs_its_tries_once_and_not_for_all() {
    let attempts = options().attempts.get();
    let registry = FakeRegistry::start();
    registry.put("team/app", "v1", &samples::image(1, &[100]));
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Repository { host: address.to_string(), path: "team/app".to_owned() };
    let (client, ctx) = (Client::new(without_patience()).unwrap(), Ctx::default());
    let ask = async || {
        let before = client.counters().retries;
        let found = client.manifest(&place, "v1", &ctx).await;
        (found.map(|found| found.is_some()).ok(), client.counters().retries - before)
    };
    assert_eq!(ask().await, (None, 2));
    for _ in 0..3 {
        assert_eq!(ask().await, (None, 0), "lost: one try at most");
    }
    // Other hosts have nothing to do with it.
    let busy = Fault::Status(503, Vec::new());
    registry.fail_times(attempts - 1, On::get("/manifests/"), busy);
    assert!(client.manifest(&repository(&registry), "v1", &ctx).await.unwrap().is_some());

    // It is back, and all tries are worth it again.
    let server = answering(
        address,
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        1,
    );
    while ask().await != (Some(false), 0) {}
    server.join().unwrap();
    assert_eq!(ask().await, (None, 2));
}

/// A server at `address` that answers `times` connections, and is gone.
fn answering(
    address: SocketAddr,
    answer: &'static str,
    times: usize,
) -> std::thread::JoinHandle<()> {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(times) {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    })
}

#[tokio::test]
async fn a_blob_without_a_length_is_taken_and_a_shorter_one_is_named() {
    let registry = FakeRegistry::start();
    let (repository, blob, bytes) = with_blob(&registry, LENGTH);
    registry.fail_once(On::get("/blobs/"), Fault::NoContentLength);
    assert!(fetch(&client(), &repository, &blob).await == bytes);

    registry.fail_always(On::get("/blobs/"), Fault::TooShort(10));
    let (_dir, store) = temp_store();
    let err = client().fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap_err();
    assert!(err.to_string().contains(&registry.host()), "{err}");
    assert!(matches!(err.class(), Class::Integrity | Class::Network), "{err}");
    assert!(!store.contains(&blob.digest));
    registry.heal();
    client().fetch_into(&repository, &blob, &store, &Ctx::default()).await.unwrap();
    assert!(store.read(&blob.digest, u64::MAX).unwrap().unwrap() == bytes);
}

#[tokio::test]
async fn a_manifest_of_an_untrue_length_is_never_half_a_manifest() {
    let (registry, sample) = (FakeRegistry::start(), samples::image(1, &[100]));
    registry.put("team/app", "v1", &sample);
    let (client, digest) = (client(), sample.root.digest.to_string());
    registry.fail_once(On::get("/manifests/"), Fault::NoContentLength);
    registry.fail_once(On::get("/manifests/"), Fault::WrongContentLength(10));
    for _ in 0..2 {
        let found = client.manifest(&repository(&registry), &digest, &Ctx::default()).await;
        assert_eq!(found.unwrap().unwrap().digest, sample.root.digest);
    }
    for fault in [Fault::TooShort(1), Fault::TooLong(1)] {
        // A second time in a row, it is no accident.
        registry.fail_times(2, On::get("/manifests/"), fault.clone());
        let err = client.manifest(&repository(&registry), &digest, &Ctx::default()).await;
        assert_eq!(err.unwrap_err().class(), Class::Integrity, "{fault:?}");
    }
    assert_eq!(registry.faults_left(), 0);
}

/// A server that answers every request with `answer`, and hangs up.
fn always(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        // The test's end is that of the process.
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    address
}

#[tokio::test]
async fn answers_that_are_no_http_are_a_bad_line_and_no_other_protocol() {
    let answers = [
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: garbage\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        "\0\u{1}\u{2}garbage of another protocol",
        "",
    ];
    for answer in answers {
        let host = always(answer).to_string();
        let place = Repository { host: host.clone(), path: "team/app".to_owned() };
        // Without another way to speak to it that might be tried.
        let plain_http = BTreeSet::from([host.clone()]);
        let client = Client::new(ClientOptions { plain_http, ..options() }).unwrap();
        let err = client.manifest(&place, "v1", &Ctx::default()).await.unwrap_err();
        assert_eq!(err.class(), Class::Network, "{answer:?}: {err}");
        assert!(err.to_string().contains(&host), "{answer:?}: {err}");
    }
}
