//! Blobs: pushed in every way the protocol knows, pulled whole and by range, taken away.

use airlift_spec::{Algorithm, Digest};

use super::world::{World, bytes};

/// Both algorithms, as every blob of the suite comes.
const ALGORITHMS: [Algorithm; 2] = Algorithm::ALL;

#[tokio::test]
async fn a_blob_that_is_not_there_is_404_with_an_error_body() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let digest = Digest::with(algorithm, b"absent");
        let target = format!("/v2/org/app/blobs/{digest}");
        world.get(&target).await.expect_error(404, "BLOB_UNKNOWN");
        world.head(&target).await.expect(404);
    }
}

/// Checks that the repository gives the blob back, whole, under the digest asked for.
async fn check_blob(world: &World, location: &str, content: &[u8], digest: Digest) {
    let got = world.get(location).await.expect(200);
    assert_eq!(got.body, content);
    assert_eq!(got.header("Content-Length"), Some(content.len().to_string().as_str()));
    assert_eq!(got.header("Docker-Content-Digest"), Some(digest.to_string().as_str()));
    let head = world.head(location).await.expect(200);
    assert_eq!(head.header("Content-Length"), got.header("Content-Length"));
    assert_eq!(head.header("Docker-Content-Digest"), got.header("Docker-Content-Digest"));
    assert_eq!(head.header("Content-Type"), got.header("Content-Type"));
}

#[tokio::test]
async fn a_whole_blob_comes_with_the_post() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(700);
        let digest = Digest::with(algorithm, &content);
        for extra in ["", &format!("&digest-algorithm={algorithm}")] {
            let target = format!("/v2/org/app/blobs/uploads/?digest={digest}{extra}");
            let answer = world.request("POST", &target).body(&content).send().await.expect(201);
            check_blob(&world, answer.location(), &content, digest).await;
        }
    }
}

#[tokio::test]
async fn a_blob_comes_with_the_put_after_a_post() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(701);
        let digest = Digest::with(algorithm, &content);
        // With the algorithm named in time, and named only at the end.
        for query in ["", &format!("?digest-algorithm={algorithm}")] {
            let start = world.post(&format!("/v2/org/app/blobs/uploads/{query}")).await.expect(202);
            let target = format!("{}?digest={digest}", start.location());
            let answer = world.request("PUT", &target).body(&content).send().await.expect(201);
            check_blob(&world, answer.location(), &content, digest).await;
        }
    }
}

#[tokio::test]
async fn an_upload_without_the_last_slash_is_an_upload() {
    let world = World::writable().await;
    world.post("/v2/org/app/blobs/uploads").await.expect(202);
}

#[tokio::test]
async fn an_unknown_algorithm_is_refused() {
    let world = World::writable().await;
    let answer = world.post("/v2/a/blobs/uploads/?digest-algorithm=md5").await;
    answer.expect_error(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn a_blob_comes_in_one_stream() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(5_000);
        let digest = Digest::with(algorithm, &content);
        let location = world.start_upload("org/app").await;
        let patched = world.request("PATCH", &location).body(&content).send_streamed().await;
        let patched = patched.expect(202);
        assert_eq!(patched.header("Range"), Some("0-4999"));
        let target = format!("{}?digest={digest}", patched.location());
        let answer = world.request("PUT", &target).send().await.expect(201);
        check_blob(&world, answer.location(), &content, digest).await;
    }
}

/// Sends `content` in chunks of `chunk` bytes; the last one with the PUT if `put_last`.
async fn push_chunked(world: &World, content: &[u8], chunk: usize, digest: Digest, put_last: bool) {
    let mut location = world.start_upload("org/app").await;
    let chunks: Vec<&[u8]> = content.chunks(chunk).collect();
    let patches = if put_last { chunks.len() - 1 } else { chunks.len() };
    let mut sent = 0;
    for chunk in &chunks[..patches] {
        let last = sent + chunk.len() - 1;
        let patch = world.request("PATCH", &location);
        let patch = patch.header("Content-Range", format!("{sent}-{last}")).body(chunk);
        let answer = patch.send().await.expect(202);
        assert_eq!(answer.header("Range"), Some(format!("0-{last}").as_str()));
        answer.location().clone_into(&mut location);
        sent = last + 1;
    }
    let mut put = world.request("PUT", &format!("{location}?digest={digest}"));
    if put_last {
        let range = format!("{sent}-{}", content.len() - 1);
        put = put.header("Content-Range", range).body(&content[sent..]);
    }
    let answer = put.send().await.expect(201);
    check_blob(world, answer.location(), content, digest).await;
}

#[tokio::test]
async fn a_blob_comes_in_chunks() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        for (length, put_last) in [(900, false), (3_067, false), (3_067, true)] {
            let content = bytes(length);
            let digest = Digest::with(algorithm, &content);
            push_chunked(&world, &content, 1024, digest, put_last).await;
        }
    }
}

/// A chunk from `start` on is refused, says where the upload stands, and leaves it as it was.
async fn check_refused(
    world: &World,
    method: &str,
    location: &str,
    start: usize,
    held: &str,
) -> String {
    let chunk = bytes(1024);
    let refused = world
        .request(method, location)
        .header("Content-Range", format!("{start}-{}", start + 1023))
        .body(&chunk)
        .send()
        .await
        .expect_error(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(refused.header("Range"), Some(held));
    let status = world.get(refused.location()).await.expect(204);
    assert_eq!(status.header("Range"), Some(held));
    assert!(status.body.is_empty());
    status.location().to_owned()
}

#[tokio::test]
async fn a_chunk_out_of_order_is_416_and_the_upload_goes_on() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(2048);
        let digest = Digest::with(algorithm, &content);
        let location = world.start_upload("org/app").await;
        // Ahead, before anything is there.
        let location = check_refused(&world, "PATCH", &location, 1024, "0-0").await;
        let first = world.request("PATCH", &location).header("Content-Range", "0-1023");
        let location = first.body(&content[..1024]).send().await.expect(202).location().to_owned();
        // From 0 again, ahead, and both with the closing PUT.
        let location = check_refused(&world, "PATCH", &location, 0, "0-1023").await;
        let location = check_refused(&world, "PATCH", &location, 1025, "0-1023").await;
        let put = format!("{location}?digest={digest}");
        check_refused(&world, "PUT", &put, 0, "0-1023").await;
        check_refused(&world, "PUT", &put, 2048, "0-1023").await;
        let last = world.request("PUT", &put).header("Content-Range", "1024-2047");
        let answer = last.body(&content[1024..]).send().await.expect(201);
        check_blob(&world, answer.location(), &content, digest).await;
    }
}

#[tokio::test]
async fn a_range_that_does_not_fit_the_chunk_is_refused() {
    let world = World::writable().await;
    let location = world.start_upload("org/app").await;
    let patch = |range: &str| world.request("PATCH", &location).header("Content-Range", range);
    patch("0-5").body(b"12345").send().await.expect_error(400, "SIZE_INVALID");
    patch("5-0").body(b"12345").send().await.expect_error(416, "BLOB_UPLOAD_INVALID");
    patch("x").body(b"12345").send().await.expect_error(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(world.get(&location).await.expect(204).header("Range"), Some("0-0"));
    patch("0-5").body(b"12345").send_streamed().await.expect_error(400, "SIZE_INVALID");
}

#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let world = World::writable().await;
    let location = world.start_upload("org/app").await;
    world.delete(&location).await.expect(204);
    world.delete(&location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    world.get(&location).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let patch = world.request("PATCH", &location).body(b"more").send().await;
    patch.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let put = format!("{location}?digest={}", Digest::of(b""));
    world.request("PUT", &put).send().await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let staging = world.dir.path().join("store/staging");
    assert_eq!(fs_err::read_dir(staging).unwrap().count(), 0, "bytes were left behind");
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(333);
        let digest = Digest::with(algorithm, &content);
        world.push_blob_as("from/here", &content, digest).await;
        let target = format!("/v2/to/there/blobs/uploads/?mount={digest}&from=from/here");
        let answer = world.post(&target).await.expect(201);
        check_blob(&world, answer.location(), &content, digest).await;
    }
}

#[tokio::test]
async fn a_blob_is_mounted_without_saying_from_where() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(334);
        let digest = Digest::with(algorithm, &content);
        world.push_blob_as("from/here", &content, digest).await;
        let target = format!("/v2/to/there/blobs/uploads/?mount={digest}");
        let answer = world.post(&target).await.expect(201);
        check_blob(&world, answer.location(), &content, digest).await;
    }
}

#[tokio::test]
async fn a_mount_of_what_is_not_there_becomes_an_upload() {
    let world = World::writable().await;
    let content = bytes(335);
    let digest = Digest::of(&content);
    for query in ["", "&from=from/here"] {
        let target = format!("/v2/to/there/blobs/uploads/?mount={digest}{query}");
        let answer = world.post(&target).await.expect(202);
        world.get(answer.location()).await.expect(204);
    }
    // It lies elsewhere, but not where the client says.
    world.push_blob("some/where", &content).await;
    let target = format!("/v2/to/there/blobs/uploads/?mount={digest}&from=from/here");
    let start = world.post(&target).await.expect(202);
    let put = format!("{}?digest={digest}", start.location());
    let answer = world.request("PUT", &put).body(&content).send().await.expect(201);
    check_blob(&world, answer.location(), &content, digest).await;
}

#[tokio::test]
async fn a_repository_shows_only_its_own_blobs() {
    let world = World::writable().await;
    let digest = world.push_blob("one", b"mine").await;
    world.get(&format!("/v2/two/blobs/{digest}")).await.expect_error(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_wrong_digest_is_400_and_nothing_is_stored() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(3_067);
        let wrong = Digest::with(algorithm, b"something else");
        let post = format!("/v2/org/app/blobs/uploads/?digest={wrong}");
        let answer = world.request("POST", &post).body(&content).send().await;
        answer.expect_error(400, "DIGEST_INVALID");

        let put = format!("{}?digest={wrong}", world.start_upload("org/app").await);
        let answer = world.request("PUT", &put).body(&content).send().await;
        answer.expect_error(400, "DIGEST_INVALID");

        let location = world.start_upload("org/app").await;
        world.request("PATCH", &location).body(&content).send_streamed().await.expect(202);
        let put = format!("{location}?digest={wrong}");
        world.request("PUT", &put).send().await.expect_error(400, "DIGEST_INVALID");

        let location = world.start_upload("org/app").await;
        let patch = world.request("PATCH", &location).header("Content-Range", "0-1023");
        patch.body(&content[..1024]).send().await.expect(202);
        let put = world.request("PUT", &format!("{location}?digest={wrong}"));
        let put = put.header("Content-Range", "1024-3066").body(&content[1024..]);
        put.send().await.expect_error(400, "DIGEST_INVALID");

        let target = format!("/v2/org/app/blobs/{wrong}");
        world.get(&target).await.expect_error(404, "BLOB_UNKNOWN");
        let right = Digest::with(algorithm, &content);
        let target = format!("/v2/org/app/blobs/{right}");
        world.get(&target).await.expect_error(404, "BLOB_UNKNOWN");
    }
    // Nothing is left to own, so nothing says that there is a repository.
    world.get("/v2/org/app/tags/list").await.expect_error(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn a_digest_that_is_none_is_400() {
    let world = World::writable().await;
    let location = world.start_upload("org/app").await;
    for digest in ["", "sha256:short", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let put = format!("{location}?digest={digest}");
        world.request("PUT", &put).send().await.expect_error(400, "DIGEST_INVALID");
        let post = format!("/v2/org/app/blobs/uploads/?digest={digest}");
        world.request("POST", &post).send().await.expect_error(400, "DIGEST_INVALID");
    }
    world.request("PUT", &location).send().await.expect_error(400, "DIGEST_INVALID");
    world.get("/v2/org/app/blobs/sha256:short").await.expect_error(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn the_empty_blob_and_the_empty_object_are_blobs_like_others() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        for content in [b"".as_slice(), b"{}"] {
            let digest = Digest::with(algorithm, content);
            world.push_blob_as("org/app", content, digest).await;
            let location = format!("/v2/org/app/blobs/{digest}");
            check_blob(&world, &location, content, digest).await;
        }
    }
}

#[tokio::test]
async fn ranges_are_answered_with_exactly_these_bytes() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(2048);
        let digest = Digest::with(algorithm, &content);
        world.push_blob_as("org/app", &content, digest).await;
        let target = format!("/v2/org/app/blobs/{digest}");
        for (range, expected) in [
            ("bytes=500-1499", 500..1500),
            ("bytes=500-", 500..2048),
            ("bytes=-500", 1548..2048),
            ("bytes=2000-5000", 2000..2048),
        ] {
            let got = world.request("GET", &target).header("Range", range).send().await.expect(206);
            assert_eq!(got.body, content[expected.clone()], "{range}");
            let content_range = format!("bytes {}-{}/2048", expected.start, expected.end - 1);
            assert_eq!(got.header("Content-Range"), Some(content_range.as_str()));
            assert_eq!(got.header("Content-Length"), Some(expected.len().to_string().as_str()));
        }
        for range in ["bytes=500-0", "bytes=5000-10000"] {
            let got = world.request("GET", &target).header("Range", range).send().await;
            let got = got.expect_error(416, "RANGE_INVALID");
            assert_eq!(got.header("Content-Range"), Some("bytes */2048"), "{range}");
        }
    }
}

#[tokio::test]
async fn a_range_of_another_version_is_answered_with_the_whole() {
    let world = World::writable().await;
    let digest = world.push_blob("a", b"0123456789").await;
    let ask = |etag: String| {
        let request = world.request("GET", &format!("/v2/a/blobs/{digest}"));
        request.header("Range", "bytes=5-").header("If-Range", etag)
    };
    ask(format!("\"{digest}\"")).send().await.expect(206);
    assert_eq!(ask("\"other\"".to_owned()).send().await.expect(200).body, b"0123456789");
}

#[tokio::test]
async fn what_the_client_has_already_is_not_sent_again() {
    let world = World::writable().await;
    let digest = world.push_blob("a", b"0123456789").await;
    let request = world.request("GET", &format!("/v2/a/blobs/{digest}"));
    let answer = request.header("If-None-Match", format!("\"{digest}\"")).send().await;
    assert!(answer.expect(304).body.is_empty());
}

#[tokio::test]
async fn a_deleted_blob_is_gone_at_once() {
    let world = World::writable().await;
    for algorithm in ALGORITHMS {
        let content = bytes(99);
        let digest = Digest::with(algorithm, &content);
        world.push_blob_as("one", &content, digest).await;
        world.push_blob_as("two", &content, digest).await;
        let target = format!("/v2/one/blobs/{digest}");
        world.delete(&target).await.expect(202);
        world.get(&target).await.expect_error(404, "BLOB_UNKNOWN");
        world.head(&target).await.expect(404);
        world.delete(&target).await.expect_error(404, "BLOB_UNKNOWN");
        world.get(&format!("/v2/two/blobs/{digest}")).await.expect(200);
    }
}

#[tokio::test]
async fn a_blob_of_many_frames_comes_whole() {
    let world = World::writable().await;
    let content = bytes(3 << 20);
    let digest = world.push_blob("a", &content).await;
    check_blob(&world, &format!("/v2/a/blobs/{digest}"), &content, digest).await;
}
