//! Lines that go dead, processes that are killed, disks that fill up, clients that meet.

use std::time::Duration;

use airlift_registry::server::ServerOptions;
use airlift_spec::Digest;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use super::child::Process;
use super::world::{World, bytes, digest_of, image};
use airlift_testkit::raw::{Answer, Request, read_answer};

/// Asks for `request` until its answer is what `is_wanted` says. Hung tests are killed from outside.
async fn ask_until(request: impl Fn() -> Request, is_wanted: impl Fn(&Answer) -> bool) -> Answer {
    loop {
        let answer = request().send().await;
        if is_wanted(&answer) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_arrived_before_the_line_went_dead_is_kept() {
    let world = World::writable().await;
    let content = bytes(3 << 20);
    let digest = Digest::of(&content);
    for cut in [1, 1 << 20, (1 << 20) + 7, content.len() - 1] {
        let location = world.start_upload("org/app").await;
        let patch = world.request("PATCH", &location).body(&content[..cut]);
        drop(patch.send_part(content.len()).await);

        let held = format!("0-{}", cut - 1);
        let status = || world.request("GET", &location);
        ask_until(status, |answer| answer.header("Range") == Some(&held)).await.expect(204);
        let put = world.request("PUT", &format!("{location}?digest={digest}"));
        let put = put.header("Content-Range", format!("{cut}-{}", content.len() - 1));
        put.body(&content[cut..]).send().await.expect(201);
        let target = format!("/v2/org/app/blobs/{digest}");
        assert_eq!(world.get(&target).await.expect(200).body, content, "cut at {cut}");
        world.delete(&target).await.expect(202);
    }
}

#[tokio::test]
async fn a_post_whose_line_goes_dead_leaves_nothing_behind() {
    let world = World::writable().await;
    let content = bytes(2 << 20);
    let target = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(&content));
    let post = world.request("POST", &target).body(&content[..1_500_000]);
    drop(post.send_part(content.len()).await);
    // The page counts this request, and the one that is still being cleaned up.
    let metrics = || world.request("GET", "/metrics");
    let is_alone = |answer: &Answer| {
        String::from_utf8_lossy(&answer.body).contains("airlift_http_connections 1\n")
    };
    ask_until(metrics, is_alone).await;
    let staging = world.dir.path().join("store/staging");
    while fs_err::read_dir(&staging).unwrap().count() > 0 {
        tokio::task::yield_now().await;
    }
    world.get("/v2/a/tags/list").await.expect_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn a_newer_request_takes_an_upload_over() {
    let world = World::writable().await;
    let content = bytes(5_000);
    let location = world.start_upload("org/app").await;
    let first = world.request("PATCH", &location).body(&content[..1_000]);
    let mut first = first.send_part(content.len()).await;
    let chunk = |start: usize| {
        let range = format!("{start}-{}", content.len() - 1);
        let patch = world.request("PATCH", &location).header("Content-Range", range);
        patch.body(&content[start..])
    };
    // Whatever of the first request has arrived by now is kept, and the second one told so.
    let second = chunk(1_000);
    let refused_or_done = second.send().await;
    if refused_or_done.status == 416 {
        let held = refused_or_done.header("Range").unwrap().strip_prefix("0-").unwrap();
        let held: usize = held.parse().unwrap();
        chunk(if held == 0 { 0 } else { held + 1 }).send().await.expect(202);
    }
    read_answer(&mut first, false).await.expect_error(409, "BLOB_UPLOAD_INVALID");
    let digest = Digest::of(&content);
    let put = format!("{location}?digest={digest}");
    world.request("PUT", &put).send().await.expect(201);
}

#[tokio::test]
async fn an_upload_goes_on_after_the_process_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let content = bytes(3 << 20);
    let digest = Digest::of(&content);

    let process = Process::start(dir.path());
    let start = process.request("POST", "/v2/org/app/blobs/uploads/").send().await.expect(202);
    let location = start.location().to_owned();
    let patch = process.request("PATCH", &location).body(&content[..2 << 20]);
    let _open = patch.send_part(content.len()).await;
    let status = || process.request("GET", &location);
    // A part of it at least has gone to the disk; what is still in memory dies with the process.
    let held = ask_until(status, |answer| answer.header("Range") != Some("0-0")).await;
    let held = held.header("Range").unwrap().to_owned();
    process.kill();

    let process = Process::start(dir.path());
    let status = process.request("GET", &location).send().await.expect(204);
    let last = |range: &str| range.strip_prefix("0-").unwrap().parse::<usize>().unwrap();
    let next = last(status.header("Range").unwrap()) + 1;
    assert!(next > last(&held), "what was held before the kill is not there any more");
    let put = process.request("PUT", &format!("{location}?digest={digest}"));
    let put = put.header("Content-Range", format!("{next}-{}", content.len() - 1));
    let answer = put.body(&content[next..]).send().await.expect(201);
    let got = process.request("GET", answer.location()).send().await.expect(200);
    assert_eq!(got.body, content);
}

#[tokio::test]
async fn what_was_answered_with_201_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let config = b"{}".as_slice();
    let manifest = image(config, &[]);
    let text = serde_json::to_vec(&manifest).unwrap();
    let post = format!("/v2/org/app/blobs/uploads/?digest={}", Digest::of(config));
    process.request("POST", &post).body(config).send().await.expect(201);
    let put = process.request("PUT", "/v2/org/app/manifests/v1").body(&text);
    put.send().await.expect(201);
    process.kill();

    let process = Process::start(dir.path());
    let got = process.request("GET", "/v2/org/app/manifests/v1").send().await.expect(200);
    assert_eq!(got.body, text);
    let blob = format!("/v2/org/app/blobs/{}", Digest::of(config));
    process.request("GET", &blob).send().await.expect(200);
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing_half_visible() {
    let dir = tempfile::tempdir().unwrap();
    let Some(process) = Process::start_on_small_disk(dir.path(), 8) else { return };
    let content = bytes(12 << 20);
    let digest = Digest::of(&content);
    let target = format!("/v2/org/app/blobs/uploads/?digest={digest}");
    let answer = process.request("POST", &target).body(&content).send().await;
    let answer = answer.expect_error(507, "UNKNOWN");
    assert!(String::from_utf8_lossy(&answer.body).contains("full"));
    let blob = format!("/v2/org/app/blobs/{digest}");
    process.request("GET", &blob).send().await.expect_error(404, "BLOB_UNKNOWN");
    // What it took up is free again.
    let small = bytes(5 << 20);
    let target = format!("/v2/org/app/blobs/uploads/?digest={}", Digest::of(&small));
    process.request("POST", &target).body(&small).send().await.expect(201);
}

#[tokio::test]
async fn of_two_clients_that_push_one_tag_one_wins_whole() {
    let world = World::writable().await;
    let images = [image(b"one", &[]), image(b"two", &[])];
    for config in [b"one", b"two"] {
        world.push_blob("org/app", config).await;
    }
    for _ in 0..20 {
        let (one, two) = tokio::join!(
            world.put_manifest("org/app", "v1", &images[0]),
            world.put_manifest("org/app", "v1", &images[1]),
        );
        one.expect(201);
        two.expect(201);
        let got = world.get("/v2/org/app/manifests/v1").await.expect(200);
        let digest = got.header("Docker-Content-Digest").unwrap();
        assert_eq!(digest, Digest::of(&got.body).to_string());
        assert!(images.iter().any(|image| digest_of(image).to_string() == digest));
    }
    for image in &images {
        let target = format!("/v2/org/app/manifests/{}", digest_of(image));
        world.get(&target).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_may_push_the_same_blob_at_once() {
    let mut world = World::writable().await;
    let content = bytes(300_000);
    let digest = Digest::of(&content);
    let mut pushes = JoinSet::new();
    for n in 0..32 {
        // Half of them to repositories of their own, and some with bytes that are not the blob's.
        let repository = if n % 2 == 0 { "shared".to_owned() } else { format!("own/{n}") };
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let is_wrong = n % 8 == 0;
        let body = if is_wrong { b"wrong".to_vec() } else { content.clone() };
        let request = world.request("POST", &target).body(&body);
        pushes.spawn(async move {
            request.send().await.expect(if is_wrong { 400 } else { 201 });
        });
    }
    while let Some(pushed) = pushes.join_next().await {
        pushed.unwrap();
    }
    for _ in 0..2 {
        for repository in ["shared", "own/1", "own/31"] {
            let got = world.get(&format!("/v2/{repository}/blobs/{digest}")).await.expect(200);
            assert_eq!(got.body, content);
        }
        world.restart().await;
    }
}

/// Options under which silence is noticed within a test.
fn impatient() -> ServerOptions {
    ServerOptions { stall_timeout: Duration::from_millis(100), ..ServerOptions::default() }
}

#[tokio::test]
async fn a_client_that_falls_silent_within_a_body_is_told_and_what_came_is_kept() {
    let world = World::with(impatient()).await;
    let location = world.start_upload("a").await;
    let mut stream = world.request("PATCH", &location).body(b"12345").send_part(10).await;
    read_answer(&mut stream, false).await.expect(408);
    assert_eq!(world.get(&location).await.expect(204).header("Range"), Some("0-4"));
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let world = World::with(impatient()).await;
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /v2/ HT").await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let world = World::with(impatient()).await;
    // More than the sockets between the two of us hold.
    let content = bytes(32 << 20);
    let digest = world.push_blob("a", &content).await;
    let get = world.request("GET", &format!("/v2/a/blobs/{digest}"));
    let mut stream = get.send_part(0).await;
    let metrics = || world.request("GET", "/metrics");
    let is_alone = |answer: &Answer| {
        String::from_utf8_lossy(&answer.body).contains("airlift_http_connections 1\n")
    };
    ask_until(metrics, is_alone).await;
    let mut got = Vec::new();
    // Cut off is cut off: by a reset, or by an end before the last byte.
    let ended = stream.read_to_end(&mut got).await;
    assert!(ended.is_err() || got.len() < content.len(), "{} bytes came", got.len());
}

#[tokio::test]
async fn requests_under_way_finish_after_the_shutdown_and_no_new_ones_begin() {
    let mut world = World::writable().await;
    let content = bytes(1_000);
    let digest = Digest::of(&content);
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    let post = world.request("POST", &target).body(&content[..500]);
    let mut stream = post.send_part(content.len()).await;
    let metrics = || world.request("GET", "/metrics");
    let is_taken = |answer: &Answer| {
        String::from_utf8_lossy(&answer.body).contains("airlift_http_requests_in_flight 2\n")
    };
    ask_until(metrics, is_taken).await;
    world.shutdown.cancel();
    while tokio::net::TcpStream::connect(world.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    tokio::io::AsyncWriteExt::write_all(&mut stream, &content[500..]).await.unwrap();
    read_answer(&mut stream, false).await.expect(201);
    world.restart().await;
    world.get(&format!("/v2/a/blobs/{digest}")).await.expect(200);
}

#[tokio::test]
async fn a_request_that_does_not_finish_holds_the_shutdown_up_no_longer_than_agreed() {
    let drain_timeout = Duration::from_millis(50);
    let mut world = World::with(ServerOptions { drain_timeout, ..ServerOptions::default() }).await;
    let location = world.start_upload("a").await;
    let mut stream = world.request("PATCH", &location).body(b"12345").send_part(10).await;
    let metrics = || world.request("GET", "/metrics");
    let is_taken = |answer: &Answer| {
        String::from_utf8_lossy(&answer.body).contains("airlift_http_requests_in_flight 2\n")
    };
    ask_until(metrics, is_taken).await;
    world.stop().await;
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:?}");
    // Cut off, but what had arrived was written down.
    world.restart().await;
    assert_eq!(world.get(&location).await.expect(204).header("Range"), Some("0-4"));
}

#[tokio::test]
async fn five_hundred_clients_that_take_nothing_cost_bounded_memory() {
    const CLIENTS: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let content = bytes(16 << 20);
    let digest = Digest::of(&content);
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    process.request("POST", &target).body(&content).send().await.expect(201);
    let before = process.peak_bytes();
    let target = format!("/v2/a/blobs/{digest}");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(process.request("GET", &target).send_part(0).await);
    }
    for client in &mut clients {
        // Its answer has begun: the server holds what it holds for it.
        assert_eq!(client.read_u8().await.unwrap(), b'H');
    }
    let each = (process.peak_bytes() - before) / CLIENTS as u64;
    assert!(each <= 1 << 20, "{each} bytes for each client");
}
