//! Certificates for servers on loopback.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

/// A CA of this test's own, with a certificate for a server on loopback and one for a client.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// What a client has to trust.
    pub ca_pem: String,
    /// For `127.0.0.1`, `127.0.0.2`, `::1` and `localhost`.
    pub server: Identity,
    pub client: Identity,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate_pem: String,
    pub key_pem: String,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

/// Whether a server asks its clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    Ignored,
    Required,
}

impl Certificates {
    /// Makes all of them anew. Valid from 1975 to 4096: no test depends on the date.
    pub fn generate() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("airlift test CA");
        let key = key();
        let ca = params.self_signed(&key).expect("the CA's parameters are valid");
        let issuer = Issuer::new(params, key);
        let server = ["127.0.0.1", "127.0.0.2", "::1", "localhost"].map(str::to_owned).to_vec();
        Self {
            ca_pem: ca.pem(),
            server: identity("airlift test server", server, &issuer),
            client: identity("airlift test client", Vec::new(), &issuer),
        }
    }

    pub(crate) fn server_config(&self, client: ClientCertificate) -> Arc<ServerConfig> {
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3");
        let builder = match client {
            ClientCertificate::Ignored => builder.with_no_client_auth(),
            ClientCertificate::Required => {
                let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider);
                builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
            }
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.server.key.clone()));
        let config = builder.with_single_cert(vec![self.server.certificate.clone()], key);
        Arc::new(config.expect("certificate and key were made together"))
    }

    fn roots(&self) -> Arc<RootCertStore> {
        use tokio_rustls::rustls::pki_types::pem::PemObject as _;
        let ca = CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).expect("we wrote it");
        let mut roots = RootCertStore::empty();
        roots.add(ca).expect("our CA is a CA");
        Arc::new(roots)
    }
}

fn identity(name: &str, hosts: Vec<String>, issuer: &Issuer<'_, KeyPair>) -> Identity {
    let mut params = CertificateParams::new(hosts).expect("the names are valid");
    params.distinguished_name = named(name);
    let key = key();
    let certificate = params.signed_by(&key, issuer).expect("the parameters are valid");
    Identity {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        certificate: certificate.der().clone(),
        key: key.serialize_der(),
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the machine has random numbers")
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
