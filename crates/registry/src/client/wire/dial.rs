//! How a connection comes about: names, TCP, proxies, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, vec};

use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Method, Request, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::SocksV5;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::Url;

use super::diagnosis::WireError;
use super::proxy::{Proxies, Proxy, ProxyKind};
use super::tls::Tls;
use super::transport::Transport;
use super::{converse, nothing};
use crate::client::error::ClientError;
use crate::client::options::ClientOptions;

/// Where the system says which name server to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A connection to somebody, whatever lies between.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) type Stream = Box<dyn Duplex>;

/// Makes connections.
pub(super) struct Dialer {
    tcp: HttpConnector<Resolver>,
    resolver: Resolver,
    tls: Tls,
    proxies: Proxies,
    timeout: Duration,
}

impl Dialer {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let timeout = options.tuning.connect_timeout;
        let resolver = Resolver::of_the_system();
        let mut tcp = HttpConnector::new_with_resolver(resolver.clone());
        // It makes the connection; what is spoken on it is ours to say.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared by the addresses of a name, so that one that is dead leaves time for the next.
        tcp.set_connect_timeout(Some(timeout));
        let (tls, proxies) = (Tls::new(options)?, Proxies::new(&options.proxy)?);
        Ok(Self { tcp, resolver, tls, proxies, timeout })
    }

    /// The proxy that is sent the request for `url` itself.
    pub(super) fn forwarder(&self, url: &Url) -> Option<&Proxy> {
        self.proxies.of(url).filter(|proxy| proxy.forwards(url))
    }

    /// A connection on which a request for `url` can be made.
    pub(super) async fn dial(&self, transport: Transport, url: &Url) -> Result<Stream, WireError> {
        let connecting = self.connect(transport, url);
        tokio::time::timeout(self.timeout, connecting).await.unwrap_or_else(|_| {
            let text = format!("no connection after {} s", self.timeout.as_secs_f32());
            Err(failed(io::Error::new(io::ErrorKind::TimedOut, text)))
        })
    }

    async fn connect(&self, transport: Transport, url: &Url) -> Result<Stream, WireError> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let stream: Stream = match self.proxies.of(url) {
            None => Box::new(self.tcp(host, port).await?),
            Some(proxy) => match proxy.kind {
                ProxyKind::Socks5 | ProxyKind::Socks5h => {
                    Box::new(self.through_socks(proxy, host, port).await?)
                }
                ProxyKind::Http | ProxyKind::Https => {
                    let stream = self.to_proxy(proxy).await?;
                    if proxy.forwards(url) {
                        return Ok(stream);
                    }
                    tunnel(stream, proxy, &format!("{host}:{port}")).await?
                }
            },
        };
        match (url.scheme(), transport) {
            ("https", Transport::Unverified) => encrypt(&self.tls.unchecked, host, stream).await,
            ("https", _) => encrypt(&self.tls.checked, host, stream).await,
            _ => Ok(stream),
        }
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, WireError> {
        let connected = self.tcp.clone().call(address(host, port)?).await;
        Ok(connected.map_err(failed)?.into_inner())
    }

    async fn to_proxy(&self, proxy: &Proxy) -> Result<Stream, WireError> {
        let stream: Stream = Box::new(self.tcp(&proxy.host, proxy.port).await?);
        match proxy.kind {
            ProxyKind::Https => encrypt(&self.tls.checked, &proxy.host, stream).await,
            _ => Ok(stream),
        }
    }

    async fn through_socks(
        &self,
        proxy: &Proxy,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, WireError> {
        let mut socks = SocksV5::new(address(&proxy.host, proxy.port)?, self.tcp.clone());
        if let Some(login) = &proxy.login {
            socks = socks.with_auth(login.user.clone(), login.password.expose().clone());
        }
        let target = if proxy.kind == ProxyKind::Socks5 {
            self.resolver.numeric(host).await?
        } else {
            host.to_owned()
        };
        Ok(socks.call(address(&target, port)?).await.map_err(failed)?.into_inner())
    }
}

fn failed(err: impl Into<AnyError>) -> WireError {
    WireError::Connect(err.into())
}

/// As the connectors of hyper want it: they look at host and port.
fn address(host: &str, port: u16) -> Result<Uri, WireError> {
    format!("http://{host}:{port}").parse().map_err(failed)
}

async fn encrypt(tls: &TlsConnector, host: &str, stream: Stream) -> Result<Stream, WireError> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(failed)?;
    Ok(Box::new(tls.connect(name, stream).await.map_err(failed)?))
}

/// Asks a proxy for a way through to `authority`.
async fn tunnel(stream: Stream, proxy: &Proxy, authority: &str) -> Result<Stream, WireError> {
    let mut request = Request::builder().method(Method::CONNECT).uri(authority);
    request = request.header(HOST, authority);
    if let Some(authorization) = proxy.authorization() {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(nothing()).map_err(failed)?;
    let conversation = converse(stream, request).await.map_err(failed)?;
    let status = conversation.head.status;
    if !status.is_success() {
        let text = format!("the proxy {} answered {status}", proxy.host);
        return Err(failed(io::Error::other(text)));
    }
    let parts = conversation.connection.into_parts();
    if !parts.read_buf.is_empty() {
        let text = format!("the proxy {} spoke before it was its turn", proxy.host);
        return Err(failed(io::Error::other(text)));
    }
    Ok(parts.io.into_inner())
}

/// Who knows the addresses of names. Cheap to clone.
#[derive(Clone)]
enum Resolver {
    /// The system's own, in a thread.
    System(GaiResolver),
    /// Works in a static binary, where the system's wants its libraries. Made at the first question: it needs the
    /// runtime.
    Hickory(Arc<OnceCell<TokioResolver>>),
}

impl Resolver {
    fn of_the_system() -> Self {
        // Without a name server to ask, hickory would ask a public one, and tell it the names of hosts behind the gap.
        if names_a_server(&fs_err::read_to_string(RESOLV_CONF).unwrap_or_default()) {
            Self::Hickory(Arc::default())
        } else {
            Self::System(GaiResolver::new())
        }
    }

    async fn addresses(self, name: Name) -> Result<vec::IntoIter<SocketAddr>, AnyError> {
        let addresses: Vec<SocketAddr> = match self {
            Self::System(mut system) => system.call(name).await?.collect(),
            Self::Hickory(hickory) => {
                let hickory = hickory.get_or_try_init(|| async { hickory_resolver() }).await?;
                let found = hickory.lookup_ip(name.as_str()).await?;
                found.iter().map(|address| SocketAddr::new(address, 0)).collect()
            }
        };
        Ok(addresses.into_iter())
    }

    /// An address of a host, as an address has it: for a proxy that is told no names.
    async fn numeric(&self, host: &str) -> Result<String, WireError> {
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Ok(host.to_owned());
        }
        let name = host.parse().map_err(failed)?;
        let found = self.clone().addresses(name).await.map_err(failed)?.next();
        match found.map(|address| address.ip()) {
            Some(IpAddr::V4(address)) => Ok(address.to_string()),
            Some(IpAddr::V6(address)) => Ok(format!("[{address}]")),
            None => Err(failed(io::Error::other(format!("{host} has no address")))),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = AnyError;
    type Future = BoxFuture<'static, Result<Self::Response, AnyError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().addresses(name))
    }
}

fn hickory_resolver() -> Result<TokioResolver, AnyError> {
    let mut builder = TokioResolver::builder_tokio()?;
    // Both kinds: whichever connects first is taken.
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    Ok(builder.build()?)
}

/// Whether a `resolv.conf` says whom to ask.
fn names_a_server(text: &str) -> bool {
    text.lines().any(|line| line.split_whitespace().next() == Some("nameserver"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_name_server_is_known_as_such() {
        assert!(names_a_server("search example.com\nnameserver 10.0.0.1\n"));
        for text in ["", "# nameserver 10.0.0.1\n", "search example.com\n", "nameservers\n"] {
            assert!(!names_a_server(text), "{text}");
        }
    }
}
