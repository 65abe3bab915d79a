//! The server behind TLS.

use std::sync::Arc;
use std::time::Duration;

use airlift_registry::server::ServerOptions;
use airlift_testkit::tls::Certificates;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::world::{World, bytes};
use airlift_testkit::raw::read_answer;

fn server_config(certificates: &Certificates) -> Arc<ServerConfig> {
    let certificate = certificates.server.certificate_pem.as_bytes();
    let key = certificates.server.key_pem.as_bytes();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate).unwrap()],
            PrivateKeyDer::from_pem_slice(key).unwrap(),
        );
    Arc::new(config.unwrap())
}

fn connector(certificates: &Certificates) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificates.ca_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn behind_tls(certificates: &Certificates, stall_timeout: Duration) -> World {
    let tls = Some(server_config(certificates));
    World::with(ServerOptions { tls, stall_timeout, ..ServerOptions::default() }).await
}

#[tokio::test]
async fn a_blob_goes_both_ways_behind_tls() {
    let certificates = Certificates::generate();
    let world = behind_tls(&certificates, Duration::from_mins(1)).await;
    let content = bytes(2 << 20);
    let digest = airlift_spec::Digest::of(&content);
    let connector = connector(&certificates);
    let ask = async |head: String, body: &[u8]| {
        let stream = TcpStream::connect(world.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream.flush().await.unwrap();
        read_answer(&mut stream, false).await
    };
    let post = world.request("POST", &format!("/v2/a/blobs/uploads/?digest={digest}")).head();
    ask(post, &content).await.expect(201);
    let get = world.request("GET", &format!("/v2/a/blobs/{digest}")).head();
    assert_eq!(ask(get, b"").await.expect(200).body, content);
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_cut_off() {
    let world = behind_tls(&Certificates::generate(), Duration::from_millis(100)).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_gets_no_answer_in_plain_text() {
    let world = behind_tls(&Certificates::generate(), Duration::from_mins(1)).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    // Closed or reset, as long as it ends.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
}
