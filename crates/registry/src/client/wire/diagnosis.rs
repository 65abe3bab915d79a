//! Why a request got no answer, and what that says.

use std::error::Error as StdError;
use std::io;

use rustls::AlertDescription;

/// Why a request got no answer, or its answer no end.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No connection came about.
    #[error(transparent)]
    Connect(Box<dyn StdError + Send + Sync>),
    #[error(transparent)]
    Http(hyper::Error),
    #[error(transparent)]
    Io(io::Error),
    /// Tried again with the same login, it would say the same, and lock the account at the worst.
    #[error("the proxy {proxy} refused: {reason}")]
    ProxyRefused { proxy: String, reason: String },
}

impl WireError {
    /// What it passes on.
    fn inner(&self) -> &(dyn StdError + 'static) {
        match self {
            Self::Connect(err) => err.as_ref(),
            Self::Http(err) => err,
            Self::Io(err) => err,
            Self::ProxyRefused { .. } => self,
        }
    }

    /// Whether the other side said something, and not by the rules of HTTP.
    pub(super) fn is_bad_http(&self) -> bool {
        find::<hyper::Error>(self.inner()).is_some_and(hyper::Error::is_parse)
    }

    /// The last of the causes, which says what it was.
    pub(crate) fn root(&self) -> String {
        let mut cause = self.inner();
        while let Some(next) = cause.source() {
            cause = next;
        }
        cause.to_string()
    }

    pub(crate) fn diagnose(&self) -> Diagnosis {
        use rustls::{CertificateError, Error};
        if let Some(err) = find::<Error>(self.inner()) {
            return match err {
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                    Diagnosis::NotTls
                }
                Error::AlertReceived(alert) if is_final(*alert) => {
                    Diagnosis::TlsRefused(err.to_string())
                }
                Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                    Diagnosis::UnknownAuthority
                }
                Error::InvalidCertificate(reason) => Diagnosis::Certificate(reason.to_string()),
                _ => Diagnosis::Line,
            };
        }
        match find::<hyper::Error>(self.inner()) {
            // A TLS server answers a request in the clear with an alert, where the version should stand. Only hyper's
            // words tell that from an answer that begins well.
            Some(err) if err.is_parse() && err.to_string().contains("HTTP version") => {
                Diagnosis::NotHttp
            }
            Some(err) if err.is_parse() => Diagnosis::BadHttp,
            _ => Diagnosis::Line,
        }
    }
}

/// What a failed connection says about the way it was tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Diagnosis {
    /// We spoke TLS, and the other side something else: plain HTTP, mostly.
    NotTls,
    /// We spoke HTTP, and the other side something else: TLS, mostly.
    NotHttp,
    /// It wants another TLS of us, or a certificate.
    TlsRefused(String),
    UnknownAuthority,
    Certificate(String),
    /// It answers by HTTP, and not by its rules: a length that is none, a header that is none.
    BadHttp,
    /// Trouble on the line.
    Line,
}

/// Whether the same handshake would end in the same alert.
fn is_final(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::HandshakeFailure
            | Alert::InsufficientSecurity
            | Alert::NoCertificate
            | Alert::ProtocolVersion
            | Alert::UnknownCA
            | Alert::UnrecognisedName
            | Alert::UnsupportedCertificate
    )
}

/// The first error of type `E` in the chain, looking into I/O errors too.
fn find<'a, E: StdError + 'static>(err: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(err);
    while let Some(err) = next {
        if let Some(found) = err.downcast_ref::<E>() {
            return Some(found);
        }
        next = match err.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => err.source(),
        };
    }
    None
}
