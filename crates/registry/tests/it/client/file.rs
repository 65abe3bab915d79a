use airlift_registry::client::{Client, ClientError};
use airlift_spec::{Class, Ctx, Explain as _};
use airlift_testkit::proxy::Line;
use airlift_testkit::{FakeRegistry, Fault, FaultProxy, On};
use bytes::Bytes;

use super::client;

const PATH: &str = "/charts/index.yaml";

fn server() -> FakeRegistry {
    let server = FakeRegistry::start();
    server.put_file(PATH, "entries: {}\n");
    server
}

async fn read(client: &Client, address: &str, limit: usize) -> Result<Option<Bytes>, ClientError> {
    client.file(address, limit, &Ctx::default()).await
}

#[tokio::test]
async fn a_file_comes_whole_and_an_absent_one_is_none() {
    let server = server();
    let at = |path: &str| format!("{}{path}", server.url());
    let found = read(&client(), &at(PATH), 100).await.unwrap();
    assert_eq!(found.as_deref(), Some(b"entries: {}\n".as_slice()));
    assert_eq!(read(&client(), &at("/charts/none.yaml"), 100).await.unwrap(), None);
    assert_eq!(server.requests().len(), 2, "no registry is asked after");
}

#[tokio::test]
async fn a_file_is_asked_for_again_after_a_fault() {
    let server = server();
    server.fail_once(On::path(PATH), Fault::Status(503, vec![]));
    server.fail_once(On::path(PATH), Fault::CutAfter(3));
    let found = read(&client(), &format!("{}{PATH}", server.url()), 100).await.unwrap();
    assert_eq!(found.map(|bytes| bytes.len()), Some(12));
}

#[tokio::test]
async fn a_file_beyond_its_limit_is_refused_without_being_read() {
    let server = server();
    let address = format!("{}{PATH}", server.url());
    let refused = read(&client(), &address, 11).await.unwrap_err();
    assert!(refused.to_string().contains("gives more than the 11 bytes"), "{refused}");
    assert!(read(&client(), &address, 12).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_without_an_end_is_read_to_its_limit_and_asked_for_once() {
    let server = server();
    server.fail_always(On::path(PATH), Fault::Endless);
    let address = format!("{}{PATH}", server.url());
    let refused = read(&client(), &address, 1 << 20).await.unwrap_err();
    assert!(matches!(refused, ClientError::TooLarge { .. }), "{refused}");
    assert_eq!(refused.class(), Class::Input);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_file_whose_connection_is_reset_anywhere_costs_another_one_and_is_never_half() {
    let server = server();
    let proxy = FaultProxy::to(server.address()).unwrap();
    let address = format!("http://{}{PATH}", proxy.host());
    for at in [0, 1, 20, 60, 100] {
        proxy.once(Line { cut_after: Some(at), ..Line::default() });
        let found = read(&client(), &address, 100).await.unwrap();
        assert_eq!(found.as_deref(), Some(b"entries: {}\n".as_slice()), "reset after {at}");
    }
}

#[tokio::test]
async fn what_is_not_encrypted_is_taken_from_loopback_alone() {
    for (address, said) in [
        ("http://charts.example/index.yaml", "write `https://`, or allow it with `--plain-http"),
        ("file:///etc/passwd", "neither HTTP nor HTTPS"),
        ("charts", "`charts`"),
    ] {
        let refused = read(&client(), address, 100).await.unwrap_err();
        assert_eq!(refused.class(), Class::Input, "{address}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
}

#[tokio::test]
async fn a_server_that_leads_in_circles_or_to_no_web_server_is_at_fault_and_asked_once() {
    for (place, said, requests) in [
        (PATH, "round in circles", 11),
        ("file:///etc/passwd", "to an address that is neither HTTP nor HTTPS", 1),
    ] {
        let server = server();
        let to = vec![("location", place.to_owned())];
        server.fail_always(On::path(PATH), Fault::Status(302, to));
        let address = format!("{}{PATH}", server.url());
        let err = read(&client(), &address, 100).await.unwrap_err();
        assert_eq!(err.class(), Class::Network, "{err}");
        assert!(err.to_string().contains(said), "{err}");
        assert_eq!(server.requests().len(), requests, "{place}");
    }
}

/// What is packed on the way would be taken for noise.
#[tokio::test]
async fn files_are_asked_for_as_they_are() {
    let server = server();
    read(&client(), &format!("{}{PATH}", server.url()), 100).await.unwrap();
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"));
}
