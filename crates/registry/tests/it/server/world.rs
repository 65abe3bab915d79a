//! A server over a store of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use airlift_registry::server::{Backend, Server, ServerOptions, StoreBackend};
use airlift_spec::Digest;
use airlift_spec::oci::media_type::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use airlift_store::Store;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use airlift_testkit::raw::{Answer, Request};

pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) address: SocketAddr,
    pub(super) shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl World {
    /// A registry that takes pushes.
    pub(super) async fn writable() -> Self {
        Self::with(ServerOptions::default()).await
    }

    pub(super) async fn with(options: ServerOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (address, shutdown, running) = start(&dir, options, true).await;
        Self { dir, address, shutdown, running: Some(running) }
    }

    /// Stops the server and starts another one over the same store.
    pub(super) async fn restart(&mut self) {
        self.restart_with(ServerOptions::default(), true).await;
    }

    /// The same store, now without pushes.
    pub(super) async fn restart_read_only(&mut self) {
        self.restart_with(ServerOptions::default(), false).await;
    }

    async fn restart_with(&mut self, options: ServerOptions, is_writable: bool) {
        self.stop().await;
        let (address, shutdown, running) = start(&self.dir, options, is_writable).await;
        self.address = address;
        self.shutdown = shutdown;
        self.running = Some(running);
    }

    pub(super) async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }

    pub(super) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send().await
    }

    pub(super) async fn head(&self, target: &str) -> Answer {
        self.request("HEAD", target).send().await
    }

    pub(super) async fn delete(&self, target: &str) -> Answer {
        self.request("DELETE", target).send().await
    }

    pub(super) async fn post(&self, target: &str) -> Answer {
        self.request("POST", target).send().await
    }

    /// Pushes a blob by one POST.
    pub(super) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.push_blob_as(repository, bytes, digest).await;
        digest
    }

    pub(super) async fn push_blob_as(&self, repository: &str, bytes: &[u8], digest: Digest) {
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.request("POST", &target).body(bytes).send().await.expect(201);
    }

    /// Starts an upload and says where it goes on.
    pub(super) async fn start_upload(&self, repository: &str) -> String {
        let answer = self.post(&format!("/v2/{repository}/blobs/uploads/")).await.expect(202);
        answer.location().to_owned()
    }

    pub(super) async fn put_manifest(
        &self,
        repository: &str,
        wanted: &str,
        manifest: &Value,
    ) -> Answer {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let media_type = manifest["mediaType"].as_str().unwrap_or(OCI_MANIFEST);
        self.request("PUT", &format!("/v2/{repository}/manifests/{wanted}"))
            .header("Content-Type", media_type)
            .body(&bytes)
            .send()
            .await
    }

    /// Pushes an image of one layer under a tag and returns its manifest.
    pub(super) async fn push_image(&self, repository: &str, tag: &str, fill: &str) -> Value {
        let layer = format!("layer {fill}");
        let config = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"fill\":\"{fill}\"}}");
        self.push_blob(repository, layer.as_bytes()).await;
        self.push_blob(repository, config.as_bytes()).await;
        let manifest = image(config.as_bytes(), &[layer.as_bytes()]);
        self.put_manifest(repository, tag, &manifest).await.expect(201);
        manifest
    }
}

async fn start(
    dir: &tempfile::TempDir,
    options: ServerOptions,
    is_writable: bool,
) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let store = Arc::new(Store::create(&dir.path().join("store")).unwrap());
    let backend = Arc::new(StoreBackend::new(store));
    let writable = is_writable.then(|| backend.clone());
    serve(ServerOptions { writable, ..options }, backend).await
}

pub(super) async fn serve(
    options: ServerOptions,
    backend: Arc<dyn Backend>,
) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(any, options, backend).await.unwrap();
    let (address, shutdown) = (server.local_addr(), CancellationToken::new());
    #[expect(clippy::disallowed_methods, reason = "the world awaits it when it stops the server")]
    let running = tokio::spawn(server.run(shutdown.clone()));
    (address, shutdown, running)
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

pub(super) fn image(config: &[u8], layers: &[&[u8]]) -> Value {
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(OCI_LAYER, layer)).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, config),
        "layers": layers,
    })
}

pub(super) fn digest_of(manifest: &Value) -> Digest {
    Digest::of(&serde_json::to_vec(manifest).unwrap())
}

/// Bytes that repeat nowhere near, so that a range taken from the wrong place shows.
pub(super) fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]).collect()
}
