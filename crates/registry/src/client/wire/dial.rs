//! How a connection comes about: names, TCP, proxies, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, vec};

use airlift_spec::error::chain;
use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use http::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::SocksV5;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tower_service::Service;
use url::Url;

use super::diagnosis::WireError;
use super::proxy::{Proxies, Proxy, ProxyKind};
use super::tls::Tls;
use super::transport::{Transport, host_name};
use super::{OUR_NAME, converse, nothing};
use crate::client::error::ClientError;
use crate::client::options::ClientOptions;

/// A line that is silent for so long is asked whether it is still there: what stands in between may forget it while a
/// registry works on a blob.
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;

/// How long name servers may take for a name; less than a connection may, so that it is said of them.
const NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// What was sent and is not heard to have arrived for so long has not.
const UNHEARD: Duration = Duration::from_secs(30);

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
        let resolver = Resolver::default();
        let mut tcp = HttpConnector::new_with_resolver(resolver.clone());
        // It makes the connection; what is spoken on it is ours to say.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(PROBE_EVERY));
        tcp.set_keepalive_interval(Some(PROBE_EVERY));
        tcp.set_keepalive_retries(Some(PROBES));
        tcp.set_tcp_user_timeout(Some(UNHEARD));
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
                    let stream = self.to_proxy(transport, proxy).await?;
                    if proxy.forwards(url) {
                        return Ok(stream);
                    }
                    tunnel(stream, proxy, &format!("{host}:{port}")).await?
                }
            },
        };
        if url.scheme() == "https" {
            Ok(self.encrypt(transport, host, stream).await.map_err(failed)?)
        } else {
            Ok(stream)
        }
    }

    async fn encrypt(
        &self,
        transport: Transport,
        host: &str,
        stream: Stream,
    ) -> Result<Stream, AnyError> {
        let tls = match transport {
            Transport::Unverified => &self.tls.unchecked,
            Transport::Tls | Transport::Plain => &self.tls.checked,
        };
        let name = ServerName::try_from(host_name(host).to_owned())?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, WireError> {
        let connected = self.tcp.clone().call(address(host, port)?).await;
        Ok(connected.map_err(failed)?.into_inner())
    }

    async fn to_proxy(&self, transport: Transport, proxy: &Proxy) -> Result<Stream, WireError> {
        let connected = self.tcp(&proxy.host, proxy.port).await;
        let stream = Box::new(connected.map_err(|err| proxy_failed(proxy, err))?);
        if proxy.kind != ProxyKind::Https {
            return Ok(stream);
        }
        let encrypted = self.encrypt(transport, &proxy.host, stream).await;
        encrypted.map_err(|err| proxy_failed(proxy, err))
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
        let led = socks.call(address(&target, port)?).await.map_err(|err| {
            // Of a kind that cannot be named from here: its words tell a login that is refused from all else.
            let words = err.to_string();
            if words.contains("credentials not accepted") {
                proxy.refused(&words)
            } else {
                proxy_failed(proxy, err)
            }
        });
        Ok(led?.into_inner())
    }
}

fn failed(err: impl Into<AnyError>) -> WireError {
    WireError::Connect(err.into())
}

/// A failure to get on with a proxy, in words: what is wrong with its certificate is not wrong with the registry's.
fn proxy_failed(proxy: &Proxy, err: impl Into<AnyError>) -> WireError {
    let reason = chain(&*err.into());
    failed(io::Error::other(format!("the proxy {}: {reason}", proxy.name())))
}

/// As the connectors of hyper want it: they look at host and port.
fn address(host: &str, port: u16) -> Result<Uri, WireError> {
    format!("http://{host}:{port}").parse().map_err(failed)
}

/// Asks a proxy for a way through to `authority`.
async fn tunnel(stream: Stream, proxy: &Proxy, authority: &str) -> Result<Stream, WireError> {
    let mut request = Request::builder().method(Method::CONNECT).uri(authority);
    request = request.header(HOST, authority).header(USER_AGENT, OUR_NAME);
    if let Some(authorization) = proxy.authorization() {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(nothing()).map_err(failed)?;
    let answered = converse(stream, request).await;
    let conversation = answered.map_err(|err| proxy_failed(proxy, err))?;
    let status = conversation.head.status;
    // Some say 401 of a login that is theirs.
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
        return Err(proxy.refused(&status.to_string()));
    }
    if !status.is_success() {
        return Err(proxy_failed(
            proxy,
            format!("it answered {status} when asked for a way through"),
        ));
    }
    let parts = conversation.connection.into_parts();
    if !parts.read_buf.is_empty() {
        return Err(proxy_failed(proxy, "it spoke before it was its turn"));
    }
    Ok(parts.io.into_inner())
}

/// Who knows the addresses of names. Cheap to clone.
///
/// hickory works in a static binary, where the system's own way wants its libraries. It is made at the first question,
/// since it needs the runtime; where it does not understand `resolv.conf`, or that names no server, the system is asked.
#[derive(Clone, Default)]
struct Resolver(Arc<OnceCell<Option<TokioResolver>>>);

impl Resolver {
    async fn addresses(self, name: Name) -> Result<vec::IntoIter<SocketAddr>, AnyError> {
        let hickory = self.0.get_or_init(|| async { hickory_resolver().ok() }).await;
        let addresses: Vec<SocketAddr> = if let Some(hickory) = hickory {
            let found = tokio::time::timeout(NAME_TIMEOUT, hickory.lookup_ip(name.as_str())).await;
            let unanswered = |_| format!("no name server answered within {NAME_TIMEOUT:?}");
            let found = found.map_err(unanswered)?.map_err(|err| {
                let is_unknown = err.is_nx_domain() || err.is_no_records_found();
                if is_unknown {
                    format!("no address is known of {name}").into()
                } else {
                    AnyError::from(err)
                }
            })?;
            found.iter().map(|address| SocketAddr::new(address, 0)).collect()
        } else {
            GaiResolver::new().call(name).await?.collect()
        };
        Ok(addresses.into_iter())
    }

    /// An address of a host, as an address has it: for a proxy that is told no names.
    async fn numeric(&self, host: &str) -> Result<String, WireError> {
        if host_name(host).parse::<IpAddr>().is_ok() {
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
