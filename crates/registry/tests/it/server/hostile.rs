//! Requests that no honest client sends.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::World;

/// Sends `text` and returns the status of what comes back; 0 where the connection is just closed.
async fn status_of(world: &World, text: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    // The server may have had enough before we are through.
    let _ = stream.write_all(text).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn paths_that_lead_elsewhere_are_refused() {
    let world = World::writable().await;
    for name in
        ["..", "a/../b", "a/./b", "%2e%2e/%2e%2e/etc", "a%00b", "a%2f..%2fb", "A", "a//b", "a%5cb"]
    {
        for rest in ["manifests/v1", "tags/list", "blobs/uploads/", "blobs/uploads/x"] {
            let target = format!("/v2/{name}/{rest}");
            for method in ["GET", "POST", "PUT", "DELETE"] {
                let status = world.request(method, &target).send().await.status;
                assert!((400..500).contains(&status), "{method} {target}: {status}");
            }
        }
    }
    for id in ["..", "%2e%2e%2fx", "sha256-..", "sha256-%2f", &"x".repeat(5_000)] {
        let target = format!("/v2/a/blobs/uploads/{id}");
        let status = world.request("PATCH", &target).body(b"x").send().await.status;
        assert!((400..500).contains(&status), "{target}: {status}");
    }
    let outside: Vec<_> = fs_err::read_dir(world.dir.path()).unwrap().collect();
    assert_eq!(outside.len(), 1, "something was written beside the store: {outside:?}");
}

#[tokio::test]
async fn a_name_too_long_for_a_file_is_refused_and_not_an_accident() {
    let world = World::writable().await;
    let name = "a".repeat(255);
    let digest = airlift_spec::Digest::of(b"x");
    let target = format!("/v2/{name}/blobs/uploads/?digest={digest}");
    let answer = world.request("POST", &target).body(b"x").send().await;
    answer.expect_error(400, "NAME_INVALID");
    world.get(&format!("/v2/{name}/tags/list")).await.expect_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn heads_beyond_all_bounds_are_refused() {
    let world = World::writable().await;
    let long = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    assert_eq!(status_of(&world, long.as_bytes()).await, 431);
    let many = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: x\r\n".repeat(1_000));
    assert_eq!(status_of(&world, many.as_bytes()).await, 431);
    let path = format!("GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a/".repeat(100_000));
    assert!((400..500).contains(&status_of(&world, path.as_bytes()).await));
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn requests_that_can_be_read_two_ways_are_refused() {
    let world = World::writable().await;
    for text in [
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /v2/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
        "nonsense\r\n\r\n",
    ] {
        let status = status_of(&world, text.as_bytes()).await;
        assert!(status == 0 || (400..500).contains(&status), "{text:?}: {status}");
    }
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn query_strings_without_sense_do_no_harm() {
    let world = World::writable().await;
    world.push_image("a", "v1", "x").await;
    for query in ["%", "%zz=%", "&&&=&", "n", "artifactType", "ns=%00", "ns=a/b", "last=%ff%fe"] {
        for path in ["tags/list", "manifests/v1"] {
            let status = world.get(&format!("/v2/a/{path}?{query}")).await.status;
            assert!(status == 200 || status == 400, "{path}?{query}: {status}");
        }
    }
}

#[tokio::test]
async fn nothing_internal_is_shown_when_the_store_breaks() {
    let world = World::writable().await;
    let manifest = world.push_image("a", "v1", "x").await;
    let digest = super::world::digest_of(&manifest);
    let file = world.dir.path().join("store/blobs").join(digest.path());
    let mut bytes = fs_err::read(&file).unwrap();
    bytes[0] ^= 1;
    fs_err::write(&file, bytes).unwrap();
    let answer = world.get("/v2/a/manifests/v1").await.expect_error(500, "UNKNOWN");
    let text = String::from_utf8(answer.body).unwrap();
    let folder = world.dir.path().to_str().unwrap();
    assert!(!text.contains(folder) && !text.contains("store"), "{text}");
}
