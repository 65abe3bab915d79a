//! TLS for the server: a certificate that the user brings, or one from a CA of our own (`--tls auto`).
//!
//! ```text
//! <state>/tls/
//! ├── ca.key               the CA's private key, mode 0600; whoever has it can speak for every server here
//! ├── ca.crt               what clients must trust
//! └── ca-configmap.yaml    the same for a cluster: `oc apply -f`, `kubectl apply -f`
//! ```
//!
//! The CA is made once, so that a restart, or a replica that shares the folder, is trusted by those who trusted
//! the first. The server's own certificate is made anew at every start and never written.
//!
//! **Crash.** The key is written before the certificate, each under its final name only when it is whole; a key
//! without a certificate gets one on the next start.

use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use airlift_spec::{Class, Explain};
use fs_err as fs;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Years that the CA is good for: longer than anybody runs a registry, so that it is replaced on purpose only.
const CA_YEARS: i32 = 20;

/// Years that a server's certificate is good for. It is made anew at every start.
const SERVER_YEARS: i32 = 2;

/// Longer files are no certificates, and a device may never end.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    #[error("failed to read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("`{path}` holds no {what} in PEM")]
    Pem { path: PathBuf, what: &'static str, source: rustls::pki_types::pem::Error },
    #[error("the certificate and the key do not go together")]
    Pair(#[source] rustls::Error),
    #[error("failed to make a certificate")]
    Make(#[source] rcgen::Error),
}

impl Explain for TlsError {
    fn class(&self) -> Class {
        match self {
            Self::Read { .. } | Self::Pem { .. } | Self::Pair(_) => Class::Input,
            Self::Write { .. } => Class::Storage,
            Self::Make(_) => Class::Bug,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Pair(_) => Some("give `--tls CERT,KEY` files of one pair, in PEM".to_owned()),
            _ => None,
        }
    }
}

/// What `--tls auto` made.
#[derive(Debug)]
pub struct AutoTls {
    pub config: Arc<ServerConfig>,
    /// What clients must trust.
    pub ca_certificate: PathBuf,
    /// The same as an object for a cluster.
    pub config_map: PathBuf,
}

/// A calendar day, as year, month and day of the month.
pub type Day = (i32, u8, u8);

/// TLS with a certificate chain and key that the user brings, both in PEM.
pub fn from_files(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |path: &Path, what, source| TlsError::Pem { path: path.to_owned(), what, source };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| pem(certificate, "certificate", source))?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|source| pem(key, "private key", source))?;
    config(chain, secret)
}

/// TLS with a CA of our own under `state`, for a server that clients reach by `names` and `addresses`.
///
/// `registry` is the `host:port` that clients will use; it becomes a key of the `ConfigMap`.
pub fn auto(
    state: &Path,
    registry: &str,
    names: &[String],
    addresses: &[IpAddr],
    today: Day,
) -> Result<AutoTls, TlsError> {
    let folder = state.join("tls");
    fs::create_dir_all(&folder)
        .map_err(|source| TlsError::Write { path: folder.clone(), source })?;
    let key = ca_key(&folder.join("ca.key"))?;
    let ca_certificate = folder.join("ca.crt");
    let pem = ca_pem(&ca_certificate, &key, today)?;
    let config_map = folder.join("ca-configmap.yaml");
    publish(&config_map, config_map_text(registry, &pem).as_bytes(), 0o644)?;

    // Name and key are all that an issuer lends to what it signs, so the certificate need not be parsed.
    let issuer = Issuer::new(ca_params(today), key);
    let (leaf, secret) = server_certificate(&issuer, names, addresses, today)?;
    let ca = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|source| TlsError::Pem {
        path: ca_certificate.clone(),
        what: "certificate",
        source,
    })?;
    Ok(AutoTls { config: config(vec![leaf, ca], secret)?, ca_certificate, config_map })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn ca_key(path: &Path) -> Result<KeyPair, TlsError> {
    if !path.exists() {
        let key = KeyPair::generate().map_err(TlsError::Make)?;
        publish(path, key.serialize_pem().as_bytes(), 0o600)?;
    }
    KeyPair::from_pem(&text(path)?).map_err(TlsError::Make)
}

fn ca_pem(path: &Path, key: &KeyPair, today: Day) -> Result<String, TlsError> {
    if !path.exists() {
        let certificate = ca_params(today).self_signed(key).map_err(TlsError::Make)?;
        publish(path, certificate.pem().as_bytes(), 0o644)?;
    }
    text(path)
}

fn ca_params(today: Day) -> CertificateParams {
    let mut params = dated(Vec::new(), "airlift registry CA", today, CA_YEARS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_certificate(
    issuer: &Issuer<'_, KeyPair>,
    names: &[String],
    addresses: &[IpAddr],
    today: Day,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
    let names =
        names.iter().filter_map(|name| Some(SanType::DnsName(name.clone().try_into().ok()?)));
    let addresses = addresses.iter().map(|address| SanType::IpAddress(*address));
    let mut params =
        dated(names.chain(addresses).collect(), "airlift registry", today, SERVER_YEARS);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let certificate = params.signed_by(&key, issuer).map_err(TlsError::Make)?;
    let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Ok((certificate.der().clone(), secret))
}

fn dated(names: Vec<SanType>, common: &str, today: Day, years: i32) -> CertificateParams {
    let (year, month, day) = today;
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.distinguished_name.push(DnType::CommonName, common);
    // A year back: the clocks of machines without a network are often wrong.
    params.not_before = rcgen::date_time_ymd(year - 1, month, day.min(28));
    params.not_after = rcgen::date_time_ymd(year + years, month, day.min(28));
    params
}

/// The object that makes a cluster trust the registry.
///
/// OpenShift reads one key for each registry, its port after `..`; most others look for `ca.crt` or
/// `ca-bundle.crt`.
fn config_map_text(registry: &str, pem: &str) -> String {
    let block: String = pem.lines().flat_map(|line| ["    ", line, "\n"]).collect();
    let key = registry.replace(':', "..");
    format!(
        "# For OpenShift: apply it, then name it in the cluster's image configuration:\n\
         #   oc patch image.config.openshift.io/cluster --type merge -p \
         '{{\"spec\":{{\"additionalTrustedCA\":{{\"name\":\"airlift-registry-ca\"}}}}}}'\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: airlift-registry-ca\n  namespace: openshift-config\n\
         data:\n  {key}: |\n{block}  ca.crt: |\n{block}  ca-bundle.crt: |\n{block}"
    )
}

/// Writes a file that is either absent or whole.
fn publish(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let error = |source| TlsError::Write { path: path.to_owned(), source };
    let partial = path.with_extension("partial");
    match fs::remove_file(&partial) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(error(err)),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(&partial).map_err(error)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(error)?;
    fs::rename(&partial, path).map_err(error)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

fn text(path: &Path) -> Result<String, TlsError> {
    fs::read_to_string(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const TODAY: Day = (2026, 2, 28);

    fn make(state: &Path) -> AutoTls {
        let names = ["registry.example".to_owned()];
        auto(state, "registry.example:5000", &names, &["127.0.0.1".parse().unwrap()], TODAY)
            .unwrap()
    }

    #[test]
    fn a_restart_keeps_the_ca_that_clients_trust() {
        let state = tempfile::tempdir().unwrap();
        let first = text(&make(state.path()).ca_certificate).unwrap();
        assert_eq!(text(&make(state.path()).ca_certificate).unwrap(), first);
        let mode = fs::metadata(state.path().join("tls/ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_without_its_certificate_gets_one() {
        let state = tempfile::tempdir().unwrap();
        let made = make(state.path());
        fs::remove_file(&made.ca_certificate).unwrap();
        make(state.path());
        assert!(made.ca_certificate.exists());
    }

    #[test]
    fn the_config_map_holds_the_certificate_under_the_registry_s_name() {
        let state = tempfile::tempdir().unwrap();
        let made = make(state.path());
        let text = text(&made.config_map).unwrap();
        assert!(
            text.contains("\n  registry.example..5000: |\n    -----BEGIN CERTIFICATE-----\n"),
            "{text}"
        );
    }

    #[test]
    fn files_that_are_no_pair_are_refused_by_name() {
        let state = tempfile::tempdir().unwrap();
        let (one, two) = (state.path().join("one"), state.path().join("two"));
        let made = make(&one);
        make(&two);
        let err = from_files(&made.ca_certificate, &two.join("tls/ca.key")).unwrap_err();
        assert!(matches!(err, TlsError::Pair(_)), "{err:?}");
        let err = from_files(&two.join("tls/ca.key"), &two.join("tls/ca.key")).unwrap_err();
        assert_eq!(err.class(), Class::Input);
        assert!(from_files(&made.ca_certificate, &one.join("tls/ca.key")).is_ok());
        let err = from_files(Path::new("/dev/zero"), &one.join("tls/ca.key")).unwrap_err();
        assert!(matches!(err, TlsError::Read { .. }), "{err:?}");
    }
}
