//! Reaching a host: TLS, proxies, and in which of its ways a host is to be spoken to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::redirect::Policy;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use url::Url;

use super::error::ClientError;
use super::options::{ClientOptions, ProxyOptions};

/// Where the system says which name server to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A way of speaking to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tls,
    /// TLS without looking at the certificate: only where `registries.conf`, or the user for the whole run, says so.
    Unverified,
    Plain,
}

impl Transport {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tls | Self::Unverified => "https",
            Self::Plain => "http",
        }
    }
}

/// The ways in which a host may be spoken to, and which of them turned out right.
#[derive(Debug)]
pub(crate) struct Transports {
    allowed: &'static [Transport],
    chosen: AtomicUsize,
}

impl Transports {
    pub(crate) fn of(authority: &str, insecure: bool, plain_http: &BTreeSet<String>) -> Self {
        use Transport::{Plain, Tls, Unverified};
        let name = host_name(authority);
        let allowed: &[Transport] = if plain_http.contains(authority) || plain_http.contains(name) {
            &[Plain]
        } else {
            match (is_loopback(name), insecure) {
                // Nobody listens in on loopback, and most registries there have no TLS.
                (true, false) => &[Plain, Tls],
                (true, true) => &[Plain, Unverified],
                (false, true) => &[Unverified, Plain],
                (false, false) => &[Tls],
            }
        };
        Self { allowed, chosen: AtomicUsize::new(0) }
    }

    pub(crate) fn current(&self) -> Transport {
        self.allowed[self.chosen.load(Ordering::Relaxed)]
    }

    /// `tried` was answered in another protocol; true if there is another way to try.
    pub(crate) fn try_other(&self, tried: Transport) -> bool {
        let Some(next) = self.allowed.iter().position(|t| *t == tried).map(|at| at + 1) else {
            return false;
        };
        if next >= self.allowed.len() {
            return false;
        }
        // Another task may have found out before us.
        self.chosen.fetch_max(next, Ordering::Relaxed);
        true
    }
}

/// The HTTP clients: one that checks certificates, one that does not.
#[derive(Debug)]
pub(crate) struct Connections {
    checked: reqwest::Client,
    unchecked: reqwest::Client,
}

impl Connections {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots(&options.ca_pem)?);
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .expect("ring speaks TLS 1.2 and 1.3")
        };
        let checked = builder().with_root_certificates(roots);
        let lenient = Arc::new(AnyCertificate(Arc::clone(&provider)));
        let unchecked = builder().dangerous().with_custom_certificate_verifier(lenient);
        let (checked, unchecked) = match &options.client_identity_pem {
            None => (checked.with_no_client_auth(), unchecked.with_no_client_auth()),
            Some(pem) => {
                let (chain, key) = identity(pem.expose())?;
                let wrong = |err: rustls::Error| config("the client certificate", &err);
                let copy = (chain.clone(), key.clone_key());
                (
                    checked.with_client_auth_cert(chain, key).map_err(wrong)?,
                    unchecked.with_client_auth_cert(copy.0, copy.1).map_err(wrong)?,
                )
            }
        };
        Ok(Self {
            checked: http_client(checked, options)?,
            unchecked: http_client(unchecked, options)?,
        })
    }

    pub(crate) fn by(&self, transport: Transport) -> &reqwest::Client {
        match transport {
            Transport::Tls | Transport::Plain => &self.checked,
            Transport::Unverified => &self.unchecked,
        }
    }
}

fn http_client(
    mut tls: ClientConfig,
    options: &ClientOptions,
) -> Result<reqwest::Client, ClientError> {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        // One connection a transfer: HTTP/2 would put them all behind one congestion window.
        .http1_only()
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .user_agent(concat!("airlift/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.tuning.connect_timeout)
        .pool_max_idle_per_host(options.max_in_flight.get())
        .tcp_nodelay(true);
    if !names_a_server(&fs_err::read_to_string(RESOLV_CONF).unwrap_or_default()) {
        // The resolver would ask a public one instead, and tell it the names of hosts behind the gap.
        builder = builder.no_hickory_dns();
    }
    let ProxyOptions { http, https, no_proxy } = &options.proxy;
    for (scheme, proxy) in [("http", http), ("https", https)] {
        let Some(proxy) = proxy else { continue };
        let url = proxy_url(proxy.expose())?;
        let direct = NoProxy::parse(no_proxy);
        builder = builder.proxy(reqwest::Proxy::custom(move |asked| {
            (asked.scheme() == scheme && !direct.covers(asked)).then(|| url.clone())
        }));
    }
    builder.build().map_err(|err| config("the options of the HTTP client", &err.without_url()))
}

/// Whether a `resolv.conf` says whom to ask.
fn names_a_server(text: &str) -> bool {
    text.lines().any(|line| line.split_whitespace().next() == Some("nameserver"))
}

fn proxy_url(text: &str) -> Result<Url, ClientError> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // The text may hold a password: it is not repeated.
    let wrong =
        |reason: &str| ClientError::Config { what: "the proxy's URL", reason: reason.into() };
    let url = Url::parse(&full).map_err(|err| wrong(&err.to_string()))?;
    match url.scheme() {
        "http" | "https" | "socks5" | "socks5h" => Ok(url),
        other => Err(wrong(&format!("`{other}` is no kind of proxy"))),
    }
}

/// The system's authorities and the user's own.
fn roots(ca_pem: &[Vec<u8>]) -> Result<RootCertStore, ClientError> {
    let mut store = RootCertStore::empty();
    // A machine without (or with some broken) roots can still use its own CA, or plain loopback.
    let system = rustls_native_certs::load_native_certs();
    for err in &system.errors {
        tracing::debug!(%err, "a system root could not be read");
    }
    store.add_parsable_certificates(system.certs);
    for pem in ca_pem {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|err| config("the CA file", &err))?;
            store.add(certificate).map_err(|err| config("the CA file", &err))?;
            found = true;
        }
        if !found {
            let reason = "it holds no certificate in PEM form".to_owned();
            return Err(ClientError::Config { what: "the CA file", reason });
        }
    }
    Ok(store)
}

fn identity(
    pem: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ClientError> {
    let what = "the client certificate";
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|err| config(what, &err))?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|err| config("the client key", &err))?;
    if chain.is_empty() {
        return Err(ClientError::Config { what, reason: "it holds no certificate".to_owned() });
    }
    Ok((chain, key))
}

fn config(what: &'static str, err: &dyn std::error::Error) -> ClientError {
    ClientError::Config { what, reason: airlift_spec::error::chain(err) }
}

/// Takes any certificate. The signatures are still checked: whoever answers holds the key he shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
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

/// `host` of `host:port`, `[::1]:5000` and the like, without brackets.
pub(crate) fn host_name(authority: &str) -> &str {
    let name = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => &authority[..colon],
        _ => authority,
    };
    name.trim_matches(['[', ']'])
}

pub(crate) fn is_loopback(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a failed connection says about the way it was tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Diagnosis {
    /// The other side speaks plain HTTP where we spoke TLS, or the other way round.
    OtherProtocol,
    UnknownAuthority,
    Certificate(String),
    /// It answers by HTTP, and not by its rules: a length that is none, a header that is none.
    BadHttp,
    /// Trouble on the line.
    Line,
}

pub(crate) fn diagnose(err: &reqwest::Error) -> Diagnosis {
    use rustls::{CertificateError, Error};
    if let Some(err) = find::<Error>(err) {
        return match err {
            Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                Diagnosis::OtherProtocol
            }
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                Diagnosis::UnknownAuthority
            }
            Error::InvalidCertificate(reason) => Diagnosis::Certificate(reason.to_string()),
            _ => Diagnosis::Line,
        };
    }
    match find::<hyper::Error>(err) {
        // A TLS server answers a request in the clear with an alert, where the version should stand. Only hyper's
        // words tell that from an answer that begins well.
        Some(err) if err.is_parse() && err.to_string().contains("HTTP version") => {
            Diagnosis::OtherProtocol
        }
        Some(err) if err.is_parse() => Diagnosis::BadHttp,
        _ => Diagnosis::Line,
    }
}

/// The first error of type `E` in the chain, looking into I/O errors too.
fn find<'a, E: std::error::Error + 'static>(
    err: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(err);
    while let Some(err) = next {
        if let Some(found) = err.downcast_ref::<E>() {
            return Some(found);
        }
        next = match err.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => err.source(),
        };
    }
    None
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
    fn a_machine_without_a_name_server_is_known_as_such() {
        assert!(names_a_server("search example.com\nnameserver 10.0.0.1\n"));
        for text in ["", "# nameserver 10.0.0.1\n", "search example.com\n", "nameservers\n"] {
            assert!(!names_a_server(text), "{text}");
        }
    }

    #[test]
    fn loopback_never_goes_through_a_proxy() {
        for url in ["http://127.0.0.1:5000", "https://localhost", "http://[::1]:5000"] {
            direct("", url, true);
        }
    }

    #[track_caller]
    fn ways(authority: &str, insecure: bool, expected: &[Transport]) {
        let plain = BTreeSet::from(["plain.test".to_owned(), "other.test:5000".to_owned()]);
        assert_eq!(Transports::of(authority, insecure, &plain).allowed, expected, "{authority}");
    }

    #[test]
    fn plain_http_is_for_loopback_and_where_it_was_asked_for() {
        use Transport::{Plain, Tls, Unverified};
        ways("quay.io", false, &[Tls]);
        ways("quay.io", true, &[Unverified, Plain]);
        ways("127.0.0.1:5000", false, &[Plain, Tls]);
        ways("[::1]:5000", false, &[Plain, Tls]);
        ways("localhost.example.com", false, &[Tls]);
        ways("plain.test:5000", false, &[Plain]);
        ways("other.test:5000", false, &[Plain]);
        ways("other.test", false, &[Tls]);
    }

    #[test]
    fn a_secure_host_is_never_tried_in_the_clear() {
        let ways = Transports::of("quay.io", false, &BTreeSet::new());
        assert!(!ways.try_other(Transport::Tls));
        let ways = Transports::of("localhost:1", false, &BTreeSet::new());
        assert!(ways.try_other(Transport::Plain));
        assert_eq!(ways.current(), Transport::Tls);
        assert!(!ways.try_other(Transport::Tls));
    }
}
