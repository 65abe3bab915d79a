use airlift_registry::client::{Client, ClientError};
use airlift_spec::{Class, Ctx, Explain as _};
use airlift_testkit::{FakeRegistry, Fault, On};
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
    assert!(refused.to_string().contains("longer than the 11 bytes"), "{refused}");
    assert!(read(&client(), &address, 12).await.unwrap().is_some());
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
