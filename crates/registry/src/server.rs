//! The registry server: the OCI distribution protocol, version 1.1, over a [`Backend`].
//!
//! ```text
//! GET  /v2/                                  whether this is a registry, and whether to log in
//! GET  /v2/_catalog                          repositories; `n`, `last`
//! GET  /v2/NAME/tags/list                    `n`, `last`
//! GET  /v2/NAME/manifests/TAG|DIGEST         PUT, DELETE where pushes are on
//! GET  /v2/NAME/blobs/DIGEST                 ranges; DELETE where pushes are on
//! GET  /v2/NAME/referrers/DIGEST             `artifactType`
//! POST /v2/NAME/blobs/uploads/               `digest`, `mount` and `from`, `digest-algorithm`
//! GET  /v2/NAME/blobs/uploads/ID             PATCH, PUT, DELETE
//! GET  /healthz, /metrics, /                 and what the caller nests beside them
//! ```
//!
//! `?ns=HOST` beside any name is containerd's way to say which registry the name belongs to.
//!
//! **Untrusted.** Everything a client sends. Names and digests become values that cannot hold anything else in
//! `route`; ranges in `range`; heads, bodies and silence are bounded in `listen` and `push`; manifests are parsed
//! by `airlift-spec` within its bounds; uploads are hashed by the store before they have a name. What goes wrong
//! inside is logged, and the client is told no more than that it did.
//! **Memory.** A download holds at most two frames, an upload a mebibyte, a manifest what its limit allows.

mod answer;
mod auth;
mod backend;
mod blocking;
mod error;
mod frames;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod listen;
mod observe;
mod pull;
mod push;
mod pushed;
mod range;
mod route;
mod store_backend;
mod upload;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use airlift_spec::{Class, Explain};
use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use auth::{Auth, Htpasswd, HtpasswdError};
pub use backend::{Asked, Backend, BackendError, StoredManifest};
pub use observe::{Access, AccessLog, Metrics, Sample};
pub use store_backend::StoreBackend;

use answer::App;
use listen::Connections;

/// How a server goes about it. The default reads only, from everybody, without TLS.
#[derive(Debug)]
pub struct ServerOptions {
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub auth: Auth,
    /// Where pushes go; none and they are answered with 405.
    pub writable: Option<Arc<StoreBackend>>,
    /// Further routes, nested beside the registry's own. They fall under the same permissions, limits and logs,
    /// and own `/`.
    pub pages: Option<Router>,
    /// Connections at once; more wait in the kernel's queue. Each may hold a mebibyte of memory.
    pub max_connections: NonZeroUsize,
    /// Longest silence of a client, before, within or after a request. Not a limit on a transfer.
    pub stall_timeout: Duration,
    /// How long requests under way may take to finish after the shutdown.
    pub drain_timeout: Duration,
    pub metrics: Arc<Metrics>,
    pub access_log: AccessLog,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            tls: None,
            auth: Auth::default(),
            writable: None,
            pages: None,
            max_connections: NonZeroUsize::new(1024).expect("1024 is not zero"),
            stall_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(30),
            metrics: Arc::default(),
            access_log: AccessLog::default(),
        }
    }
}

/// Why a server could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    #[error("{address} can be reached by others, who could push without credentials")]
    WritableWithoutCredentials { address: SocketAddr },
    #[error("failed to listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
}

impl Explain for ServerError {
    fn class(&self) -> Class {
        match self {
            Self::WritableWithoutCredentials { .. } => Class::Input,
            Self::Listen { .. } => Class::Network,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::WritableWithoutCredentials { .. } => {
                Some("add `--htpasswd FILE`, or listen on 127.0.0.1".to_owned())
            }
            Self::Listen { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                Some(format!("stop what listens on {address}, or choose another port"))
            }
            Self::Listen { .. } => None,
        }
    }
}

/// A registry that listens, and answers once it [runs](Self::run).
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    backend: Arc<dyn Backend>,
    options: ServerOptions,
}

impl std::fmt::Debug for dyn Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backend")
    }
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    #[expect(clippy::unused_async, reason = "it belongs to the runtime that it is called in")]
    pub async fn bind(
        address: SocketAddr,
        options: ServerOptions,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, ServerError> {
        let is_local = address.ip().to_canonical().is_loopback();
        if options.writable.is_some() && !options.auth.has_credentials() && !is_local {
            return Err(ServerError::WritableWithoutCredentials { address });
        }
        let failed = |source| ServerError::Listen { address, source };
        let listener = listen_on(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, backend, options })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`; then accepts nothing new, finishes what is under way within the drain timeout,
    /// and cuts the rest.
    pub async fn run(self, shutdown: CancellationToken) {
        let options = self.options;
        let app = App {
            backend: self.backend,
            writable: options.writable,
            auth: options.auth,
            metrics: options.metrics,
            stall_timeout: options.stall_timeout,
            pushes: TaskTracker::new(),
        };
        let connections = Connections {
            router: app.clone().routes(options.pages),
            app,
            tls: options.tls.map(TlsAcceptor::from),
            log: options.access_log,
            stall_timeout: options.stall_timeout,
        };
        let max_connections = options.max_connections.get();
        connections.run(self.listener, max_connections, options.drain_timeout, shutdown).await;
    }
}

/// Clients that may wait to be accepted. A cluster's nodes all ask at once when it restarts, and whoever finds the
/// kernel's queue full tries again only seconds later.
const QUEUE: u32 = 1024;

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart need not wait until the kernel has forgotten the connections of the last run.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}
