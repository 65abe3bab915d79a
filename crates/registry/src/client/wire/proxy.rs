//! Proxies: which one is asked for what.

use std::net::IpAddr;

use airlift_spec::Secret;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

use super::diagnosis::WireError;
use super::transport::is_loopback;
use crate::client::auth::basic_header;
use crate::client::error::ClientError;
use crate::client::options::ProxyOptions;

/// Where SOCKS proxies listen.
const SOCKS_PORT: u16 = 1080;

/// The proxies of a client.
#[derive(Debug)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: NoProxy,
}

#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) kind: ProxyKind,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Option<Login>,
}

/// User and password of an address.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    Http,
    /// HTTP in TLS.
    Https,
    /// Told an address.
    Socks5,
    /// Told a name.
    Socks5h,
}

impl Proxies {
    pub(super) fn new(options: &ProxyOptions) -> Result<Self, ClientError> {
        let parse = |text: &Option<Secret<String>>| {
            text.as_ref().map(|text| Proxy::parse(text.expose())).transpose()
        };
        Ok(Self {
            http: parse(&options.http)?,
            https: parse(&options.https)?,
            direct: NoProxy::parse(&options.no_proxy),
        })
    }

    /// Who is asked for `url`; none where the host itself is.
    pub(super) fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.direct.covers(url))
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self, ClientError> {
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        // The text may hold a password: it is not repeated.
        let wrong =
            |reason: &str| ClientError::Config { what: "the proxy's URL", reason: reason.into() };
        let url = Url::parse(&full).map_err(|err| wrong(&err.to_string()))?;
        let (kind, usual_port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" => (ProxyKind::Socks5, SOCKS_PORT),
            "socks5h" => (ProxyKind::Socks5h, SOCKS_PORT),
            other => return Err(wrong(&format!("`{other}` is no kind of proxy"))),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("it names no host"))?.to_owned();
        let port = url.port().unwrap_or(usual_port);
        Ok(Self { kind, host, port, login: Login::of(&url) })
    }

    /// Whether it is sent requests that it passes on, rather than asked for a way through.
    pub(super) fn forwards(&self, url: &Url) -> bool {
        url.scheme() == "http" && matches!(self.kind, ProxyKind::Http | ProxyKind::Https)
    }

    /// `HOST:PORT`, for messages.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// It wants another login, or one.
    pub(super) fn refused(&self, reason: &str) -> WireError {
        WireError::ProxyRefused { proxy: self.name(), reason: reason.to_owned() }
    }

    /// What it asks to be shown with a request.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        self.login.as_ref().map(Login::basic_header)
    }
}

impl Login {
    pub(super) fn of(url: &Url) -> Option<Self> {
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let password = url.password().unwrap_or_default();
        let is_given = !url.username().is_empty() || !password.is_empty();
        is_given
            .then(|| Self { user: plain(url.username()), password: Secret::new(plain(password)) })
    }

    pub(super) fn basic_header(&self) -> HeaderValue {
        basic_header(&self.user, &self.password)
    }
}

/// What is asked without a proxy.
#[derive(Debug, Clone, Default)]
struct NoProxy(Vec<Direct>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    Everything,
    /// A name and all below it, or with a leading dot only what is below; on one port or all.
    Name {
        name: String,
        below_only: bool,
        port: Option<u16>,
    },
    Network(IpAddr, u8),
}

impl NoProxy {
    /// `example.com, .inner.test, 10.0.0.0/8, host:5000, *`, as curl and Go read it.
    fn parse(text: &str) -> Self {
        let entries = text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        Self(entries.map(Direct::parse).collect())
    }

    fn covers(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_matches(['[', ']']);
        is_loopback(host)
            || self.0.iter().any(|direct| direct.covers(host, url.port_or_known_default()))
    }
}

impl Direct {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        let bare = entry.trim_matches(['[', ']']);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Self::Network(address, if address.is_ipv4() { 32 } else { 128 });
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse())
        {
            return Self::Network(address, bits);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().ok()),
            _ => (entry, None),
        };
        let name = name.strip_prefix('*').unwrap_or(name);
        let below_only = name.starts_with('.');
        let name = name.trim_matches(['.', '[', ']']).to_ascii_lowercase();
        Self::Name { name, below_only, port }
    }

    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network, bits) => {
                host.parse().is_ok_and(|address| in_network(address, *network, *bits))
            }
            Self::Name { name, below_only, port: only } => {
                let host = host.to_ascii_lowercase();
                let host = host.trim_end_matches('.');
                let below =
                    host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (below || (!below_only && host == name)) && (only.is_none() || *only == port)
            }
        }
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            (address.to_bits() ^ network.to_bits()) & mask == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (address.to_bits() ^ network.to_bits()) & mask == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn direct(no_proxy: &str, url: &str, expected: bool) {
        let covered = NoProxy::parse(no_proxy).covers(&Url::parse(url).unwrap());
        assert_eq!(covered, expected, "`{no_proxy}` and {url}");
    }

    #[test]
    fn no_proxy_knows_names_dots_ports_and_networks() {
        direct("", "https://quay.io", false);
        direct("*", "https://quay.io", true);
        direct("quay.io", "https://quay.io", true);
        direct("quay.io", "https://cdn.quay.io", true);
        direct("quay.io", "https://notquay.io", false);
        direct(".quay.io", "https://quay.io", false);
        direct(".quay.io", "https://cdn.quay.io", true);
        direct("*.quay.io", "https://cdn.quay.io", true);
        direct("a.b, Quay.IO", "https://quay.io", true);
        direct("quay.io:8443", "https://quay.io", false);
        direct("quay.io:8443", "https://quay.io:8443", true);
        direct("quay.io:443", "https://quay.io", true);
        direct("10.0.0.0/8", "http://10.200.3.4:5000", true);
        direct("10.0.0.0/8", "http://11.0.0.1", false);
        direct("10.1.2.3", "http://10.1.2.3", true);
        direct("0.0.0.0/0", "http://11.0.0.1", true);
        direct("10.0.0.0/8", "http://ten.example", false);
        direct("fd00::/8", "http://[fd12::1]:5000", true);
        direct("fd00::/99999", "http://[fd12::1]:5000", false);
    }

    #[test]
    fn a_proxy_is_an_address_of_a_known_kind() {
        let read = |text| Proxy::parse(text).map(|proxy| (proxy.kind, proxy.host, proxy.port));
        let is = |text, kind, host: &str, port| {
            assert_eq!(read(text).unwrap(), (kind, host.to_owned(), port), "{text}");
        };
        is("proxy.test:3128", ProxyKind::Http, "proxy.test", 3128);
        is("http://proxy.test", ProxyKind::Http, "proxy.test", 80);
        is("https://u:p@proxy.test/", ProxyKind::Https, "proxy.test", 443);
        is("socks5://10.0.0.1", ProxyKind::Socks5, "10.0.0.1", 1080);
        is("socks5h://[::1]:9050", ProxyKind::Socks5h, "[::1]", 9050);
        for text in ["", "http://", "ftp://proxy.test", "jane:hunter2@", "socks4://a:1"] {
            let err = read(text).unwrap_err();
            assert!(!err.to_string().contains("hunter2"), "{err}");
        }
        let login = Proxy::parse("http://jane:a%3Ab@proxy.test").unwrap().login.unwrap();
        assert_eq!((login.user.as_str(), login.password.expose().as_str()), ("jane", "a:b"));
    }

    #[test]
    fn loopback_never_goes_through_a_proxy() {
        for url in ["http://127.0.0.1:5000", "https://localhost", "http://[::1]:5000"] {
            direct("", url, true);
        }
    }
}
