//! TLS: whom we trust, and whom we say we are.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::client::error::ClientError;
use crate::client::options::ClientOptions;

/// Handshakes: with a look at the certificate, and without.
pub(super) struct Tls {
    pub(super) checked: TlsConnector,
    pub(super) unchecked: TlsConnector,
}

impl Tls {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
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
        Ok(Self { checked: connector(checked), unchecked: connector(unchecked) })
    }
}

/// One connection a transfer: HTTP/2 would put them all behind one congestion window.
fn connector(mut tls: ClientConfig) -> TlsConnector {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(tls))
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
