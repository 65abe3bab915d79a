//! Who is let in, what the operator sees, and what a server refuses to be.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use airlift_registry::server::{
    Access, AccessLog, Auth, Htpasswd, Metrics, Server, ServerError, ServerOptions, StoreBackend,
};
use airlift_spec::{Digest, Explain as _};
use airlift_store::Store;
use axum::Router;
use axum::routing::{get, post};

use super::world::World;

fn users() -> Arc<Htpasswd> {
    let line = format!("ann:{}\n", bcrypt::hash("secret", 4).unwrap());
    Arc::new(Htpasswd::parse(&line).unwrap())
}

async fn guarded(auth: Auth) -> World {
    World::with(ServerOptions { auth, ..ServerOptions::default() }).await
}

#[tokio::test]
async fn where_a_user_is_needed_nothing_but_the_health_is_free() {
    let world = guarded(Auth::Required(users())).await;
    for (method, target) in [
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/a/manifests/v1"),
        ("GET", "/"),
        ("GET", "/metrics"),
        ("POST", "/v2/a/blobs/uploads/"),
        ("POST", "/healthz"),
    ] {
        let answer = world.request(method, target).send().await.expect_error(401, "UNAUTHORIZED");
        let challenge = answer.header("WWW-Authenticate").unwrap();
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
        let wrong = world.request(method, target).user("ann", "wrong").send().await;
        wrong.expect_error(401, "UNAUTHORIZED");
        let bearer = world.request(method, target).header("Authorization", "Bearer x");
        bearer.send().await.expect_error(401, "UNAUTHORIZED");
    }
    assert_eq!(world.get("/healthz").await.expect(200).body, b"ok\n");
    world.request("GET", "/v2/").user("ann", "secret").send().await.expect(200);
    let post = world.request("POST", "/v2/a/blobs/uploads/").user("ann", "secret");
    post.send().await.expect(202);
}

#[tokio::test]
async fn anonymous_pull_lets_read_and_asks_who_pushes() {
    let world = guarded(Auth::AnonymousPull(users())).await;
    let blob = b"some blob";
    let digest = Digest::of(blob);
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    let refused = world.request("POST", &target).body(blob).send().await;
    refused.expect_error(401, "UNAUTHORIZED");
    let pushed = world.request("POST", &target).user("ann", "secret").body(blob).send().await;
    pushed.expect(201);
    world.get(&format!("/v2/a/blobs/{digest}")).await.expect(200);
    world.request("GET", &format!("/v2/a/blobs/{digest}")).user("", "").send().await.expect(200);
    world.delete(&format!("/v2/a/blobs/{digest}")).await.expect_error(401, "UNAUTHORIZED");
    // Clients decide here whether to send credentials at all.
    world.get("/v2/").await.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_refused_push_of_a_large_body_still_reads_its_refusal() {
    let world = guarded(Auth::Required(users())).await;
    let post = world.request("POST", "/v2/a/blobs/uploads/?digest=x").body(&vec![7; 4 << 20]);
    post.send().await.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_server_that_others_can_reach_is_not_writable_without_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(&dir.path().join("store")).unwrap());
    let backend = Arc::new(StoreBackend::new(store));
    let bind = |address: &str, auth: Auth, is_writable: bool| {
        let writable = is_writable.then(|| backend.clone());
        let options = ServerOptions { auth, writable, ..ServerOptions::default() };
        Server::bind(address.parse().unwrap(), options, backend.clone())
    };
    for address in ["0.0.0.0:0", "[::]:0"] {
        let err = bind(address, Auth::Open, true).await.unwrap_err();
        assert!(matches!(err, ServerError::WritableWithoutCredentials { .. }), "{err}");
        assert!(err.help().unwrap().contains("--htpasswd"));
    }
    bind("0.0.0.0:0", Auth::Open, false).await.unwrap();
    bind("0.0.0.0:0", Auth::AnonymousPull(users()), true).await.unwrap();
    bind("127.0.0.2:0", Auth::Open, true).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_with_its_address() {
    let world = World::writable().await;
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(&dir.path().join("store")).unwrap());
    let backend = Arc::new(StoreBackend::new(store));
    let taken = Server::bind(world.address, ServerOptions::default(), backend).await;
    let err = taken.unwrap_err();
    assert!(err.to_string().contains(&world.address.to_string()), "{err}");
    assert!(err.help().unwrap().contains("another port"));
}

#[tokio::test]
async fn the_first_page_says_what_this_is() {
    let world = World::writable().await;
    let page = world.get("/").await.expect(200);
    assert!(String::from_utf8_lossy(&page.body).contains("airlift"));
    world.get("/no/such/page").await.expect(404);
}

#[tokio::test]
async fn further_routes_stand_beside_the_registry_under_the_same_permissions() {
    let pages = Router::new()
        .route("/", get(|| async { "console" }))
        .route("/api/models/{*name}", post(|| async { "never" }).get(|| async { "model" }));
    let options = ServerOptions {
        pages: Some(pages),
        auth: Auth::AnonymousPull(users()),
        ..ServerOptions::default()
    };
    let world = World::with(options).await;
    assert_eq!(world.get("/").await.expect(200).body, b"console");
    assert_eq!(world.get("/api/models/org/m").await.expect(200).body, b"model");
    world.post("/api/models/org/m").await.expect(401);
    world.get("/v2/_catalog").await.expect(200);
}

#[tokio::test]
async fn every_request_leaves_one_line_and_is_counted() {
    let lines: Arc<Mutex<Vec<Access>>> = Arc::default();
    let sink = lines.clone();
    let metrics = Arc::new(Metrics::default());
    let options = ServerOptions {
        metrics: metrics.clone(),
        access_log: AccessLog::new(move |access| sink.lock().unwrap().push(access.clone())),
        ..ServerOptions::default()
    };
    let mut world = World::with(options).await;
    let digest = world.push_blob("a", b"0123456789").await;
    let target = format!("/v2/a/blobs/{digest}");
    world.request("GET", &target).header("Range", "bytes=2-").send().await.expect(206);
    world.head(&target).await.expect(200);
    world.get("/v2/a/manifests/absent?ns=quay.io").await.expect(404);
    world.stop().await;

    let lines = lines.lock().unwrap();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line.method.as_str(), line.target.as_str(), line.status, line.sent_bytes))
        .collect();
    let post = format!("/v2/a/blobs/uploads/?digest={digest}");
    let refusal = seen[3].3;
    let expected = [
        ("POST", post.as_str(), 201, 0),
        ("GET", target.as_str(), 206, 8),
        ("HEAD", target.as_str(), 200, 0),
        ("GET", "/v2/a/manifests/absent?ns=quay.io", 404, refusal),
    ];
    assert_eq!(seen, expected);
    assert!(lines.iter().all(|line| line.peer.ip().is_loopback()));
    let page = metrics.render();
    for line in [
        "airlift_http_requests_total{method=\"GET\",status=\"206\"} 1".to_owned(),
        "airlift_http_requests_total{method=\"POST\",status=\"201\"} 1".to_owned(),
        format!("airlift_http_sent_bytes_total {}", 8 + refusal),
        "airlift_http_requests_in_flight 0".to_owned(),
        "airlift_http_connections 0".to_owned(),
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn the_metrics_page_has_what_others_count() {
    let metrics = Arc::new(Metrics::default());
    let world =
        World::with(ServerOptions { metrics: metrics.clone(), ..ServerOptions::default() }).await;
    metrics.watch("airlift_damaged_chunks", || {
        vec![(vec![("volume", "lab.00001.tar".to_owned())], 2)]
    });
    let page = world.get("/metrics").await.expect(200);
    assert!(page.header("Content-Type").unwrap().starts_with("text/plain"));
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("airlift_damaged_chunks{volume=\"lab.00001.tar\"} 2\n"), "{page}");
}

#[tokio::test]
async fn no_more_connections_are_served_at_once_than_agreed() {
    let max_connections = 2.try_into().unwrap();
    let world = World::with(ServerOptions { max_connections, ..ServerOptions::default() }).await;
    let connect = || tokio::net::TcpStream::connect::<SocketAddr>(world.address);
    let (first, second) = (connect().await.unwrap(), connect().await.unwrap());
    // The third one is taken by the kernel, but not by the server.
    let waiting = world.get("/healthz");
    tokio::pin!(waiting);
    let is_answered = tokio::select! {
        _ = &mut waiting => true,
        () = tokio::time::sleep(std::time::Duration::from_millis(100)) => false,
    };
    assert!(!is_answered, "a third connection was served");
    drop((first, second));
    waiting.await.expect(200);
}
