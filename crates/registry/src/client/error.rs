//! Why a registry could not be asked, or did not give what it was asked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use airlift_spec::error::turns_letters;
use airlift_spec::oci::ManifestError;
use airlift_spec::{Class, Digest, Explain};
use airlift_store::StoreError;
use http::StatusCode;

use super::wire::WireError;

/// Longest piece of a registry's own words that is shown to a person.
pub(super) const MAX_REASON_CHARS: usize = 300;

/// Why the client could not do what it was asked. `registry` is always a host as the user knows it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    #[error("{registry} refused access to `{repository}`{}", words(reason.as_deref()))]
    Denied { registry: String, repository: String, reason: Option<String> },
    #[error("{registry} has no {what}")]
    Missing { registry: String, what: String },
    #[error("failed to reach {registry}")]
    Unreachable { registry: String, source: WireError },
    #[error("the connection to {registry} broke off during {what}")]
    Interrupted { registry: String, what: String, source: WireError },
    #[error("{what} from {registry} ended {missing_bytes} bytes early")]
    CutShort { registry: String, what: String, missing_bytes: u64 },
    #[error("{registry} was silent for {} s during {what}", silence.as_secs_f32())]
    Stalled { registry: String, what: String, silence: Duration },
    #[error("{registry} has given no answer for {} s", silence.as_secs())]
    Lost {
        registry: String,
        silence: Duration,
        /// What the last try met; none where there was no try, since the host is left alone for a while.
        source: Option<Box<ClientError>>,
    },
    #[error("{registry} answered {status} to {what}{}{}", words(reason.as_deref()), asks(*retry_after))]
    Refused {
        registry: String,
        what: String,
        status: StatusCode,
        /// The OCI code that came with it, such as `MANIFEST_BLOB_UNKNOWN`.
        code: Option<String>,
        reason: Option<String>,
        retry_after: Option<Duration>,
    },
    #[error("{registry} does not answer as it should: {what}")]
    Protocol { registry: String, what: String },
    #[error("{registry} gives more than the {limit_bytes} bytes that are read of {what}")]
    TooLarge { registry: String, what: String, limit_bytes: usize },
    #[error("{registry} shows a certificate of an authority that is not trusted here")]
    UnknownAuthority { registry: String },
    #[error("{registry} shows a certificate that is not valid: {reason}")]
    Certificate { registry: String, reason: String },
    #[error("{registry} speaks plain HTTP where TLS was expected")]
    PlainHttp { registry: String },
    #[error("{registry} answers with what is no HTTP, TLS perhaps")]
    NotHttp { registry: String },
    #[error("{registry} refused the TLS connection: {reason}")]
    TlsRefused { registry: String, reason: String },
    #[error("failed to reach {registry}: the proxy {proxy} refused: {reason}")]
    ProxyRefused { registry: String, proxy: String, reason: String },
    #[error("{registry} is blocked by registries.conf (prefix `{prefix}`)")]
    Blocked { registry: String, prefix: String },
    #[error("{registry} sends its clients {problem}")]
    Redirect { registry: String, problem: String },
    /// Followed, it would show to whoever listens what TLS hides.
    #[error("{registry} sends its clients {problem}")]
    IntoTheClear { registry: String, problem: String },
    #[error("{registry} gave bytes for {expected} that hash to {actual}")]
    WrongDigest { registry: String, expected: Digest, actual: Digest },
    #[error("{registry} says that `{wanted}` is {claimed}, but sent {actual}")]
    LyingDigest { registry: String, wanted: String, claimed: Digest, actual: Digest },
    #[error("{registry} has {actual} bytes for {blob}, the manifest says {expected}")]
    WrongSize { registry: String, blob: Digest, expected: u64, actual: u64 },
    #[error("{registry} received other bytes than {blob}")]
    SentWrong { registry: String, blob: Digest },
    #[error("failed to read the manifest `{wanted}` of {registry}")]
    Manifest { registry: String, wanted: String, source: ManifestError },
    #[error("failed to keep {blob}")]
    Store { blob: Digest, source: StoreError },
    #[error("failed to read {blob}, which is to be sent")]
    Source { blob: Digest, source: io::Error },
    #[error("failed to keep the state of an upload in {}", path.display())]
    State { path: PathBuf, source: io::Error },
    #[error("the credential helper `{helper}` failed: {reason}")]
    Helper { helper: String, reason: String },
    #[error("failed to read {what}: {reason}")]
    Config { what: &'static str, reason: String },
    #[error("cancelled")]
    Cancelled,
    #[error("a task failed")]
    Thread(#[source] tokio::task::JoinError),
}

impl Explain for ClientError {
    fn class(&self) -> Class {
        match self {
            Self::Denied { .. }
            | Self::UnknownAuthority { .. }
            | Self::Certificate { .. }
            | Self::TlsRefused { .. }
            | Self::ProxyRefused { .. }
            | Self::Helper { .. } => Class::Access,
            Self::Unreachable { .. }
            | Self::Interrupted { .. }
            | Self::CutShort { .. }
            | Self::Stalled { .. }
            | Self::Lost { .. }
            | Self::NotHttp { .. }
            | Self::Redirect { .. }
            | Self::Protocol { .. } => Class::Network,
            Self::Refused { status, .. } if is_passing(*status) => Class::Network,
            Self::Refused { status, .. } if matches!(status.as_u16(), 401 | 403) => Class::Access,
            Self::Refused { .. }
            | Self::Missing { .. }
            | Self::TooLarge { .. }
            | Self::PlainHttp { .. }
            | Self::Blocked { .. }
            | Self::Config { .. } => Class::Input,
            Self::WrongDigest { .. }
            | Self::LyingDigest { .. }
            | Self::WrongSize { .. }
            | Self::SentWrong { .. }
            | Self::IntoTheClear { .. } => Class::Integrity,
            Self::Manifest { source, .. } => source.class(),
            Self::Store { source, .. } => source.class(),
            Self::Source { .. } | Self::State { .. } => Class::Storage,
            Self::Cancelled => Class::Cancelled,
            Self::Thread(_) => Class::Bug,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Denied { registry, .. } => Some(format!("run `airlift login {registry}`")),
            Self::UnknownAuthority { .. } => {
                Some("name the authority's certificate with `--ca FILE`".to_owned())
            }
            Self::Lost { .. } => Some(
                "see whether it can be reached from here, or whether a firewall or proxy stands between; then run again"
                    .to_owned(),
            ),
            Self::TlsRefused { .. } => Some(
                "if it wants a certificate of its clients, name one with `--client-cert FILE`"
                    .to_owned(),
            ),
            Self::ProxyRefused { .. } => Some(
                "give its user and password in `HTTP_PROXY` or `HTTPS_PROXY`: `http://USER:PASSWORD@HOST:PORT`"
                    .to_owned(),
            ),
            Self::PlainHttp { registry } => {
                Some(format!("if that is intended, allow it with `--plain-http {registry}`"))
            }
            Self::Manifest { source, .. } => source.help(),
            Self::Store { source, .. } => source.help(),
            _ => None,
        }
    }
}

impl ClientError {
    /// The OCI code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// The status of a refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same request may be answered better later.
    pub(crate) fn may_pass(&self) -> bool {
        // Where a server leads is how it was set up, and who is lost has had its tries.
        self.class().is_worth_a_retry()
            && !matches!(self, Self::Redirect { .. } | Self::Lost { .. })
    }

    /// Whether there was no answer of any kind.
    pub(crate) fn is_no_answer(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Stalled { .. })
    }

    /// How long the registry asked us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether asking another source for the same thing is pointless.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.class(), Class::Cancelled | Class::Storage | Class::Bug)
    }
}

/// Whether the same request may be answered better later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn words(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn asks(retry_after: Option<Duration>) -> String {
    let seconds = retry_after.map(|wait| wait.as_secs()).filter(|seconds| *seconds > 0);
    seconds.map(|seconds| format!(", and asks to wait {seconds} s")).unwrap_or_default()
}

/// What a registry said about a refusal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: Option<String>,
    pub(crate) text: Option<String>,
}

/// Reads an error body: the specification's JSON where it is that, else the words as they are.
///
/// The body is a stranger's and ends up on a terminal: control characters are taken out, and it is cut.
pub(crate) fn reason(body: &[u8]) -> Reason {
    #[derive(serde::Deserialize)]
    struct Body {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        detail: serde_json::Value,
    }
    let Ok(Body { errors }) = serde_json::from_slice::<Body>(body) else {
        let text = String::from_utf8_lossy(body);
        // A page of HTML helps nobody.
        let is_words = !text.trim_start().starts_with('<');
        return Reason {
            code: None,
            text: is_words.then(|| clean(&text)).filter(|t| !t.is_empty()),
        };
    };
    let Some(first) = errors.into_iter().next() else { return Reason::default() };
    let detail = match &first.detail {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    let parts = [&first.code, &first.message, &detail];
    let said: Vec<&str> = parts.iter().map(|p| p.as_str()).filter(|p| !p.is_empty()).collect();
    Reason {
        code: Some(clean(&first.code)).filter(|code| !code.is_empty()),
        text: Some(clean(&said.join(": "))).filter(|text| !text.is_empty()),
    }
}

/// `text` on one line, without control characters and what turns letters around, cut to a readable length.
pub(crate) fn clean(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() || turns_letters(c) { ' ' } else { c })
        .take(4 * MAX_REASON_CHARS)
        .collect();
    let mut line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = line.char_indices().nth(MAX_REASON_CHARS) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_error_body_is_read() {
        let found = reason(br#"{"errors":[{"code":"DENIED","message":"no","detail":{"a":1}}]}"#);
        assert_eq!(found.code.as_deref(), Some("DENIED"));
        assert_eq!(found.text.as_deref(), Some(r#"DENIED: no: {"a":1}"#));
    }

    #[test]
    fn a_strangers_words_cannot_reach_the_terminal_raw() {
        let found = reason(b"\x1b[2Jgone\r\nfishing\x07");
        assert_eq!(found.text.as_deref(), Some("[2Jgone fishing"));
        assert_eq!(clean("a\u{202e}tpircs"), "a tpircs");
        assert_eq!(reason(b"<html>sorry</html>"), Reason::default());
        assert_eq!(reason(&[0xff; 10_000]).text.unwrap().chars().count(), MAX_REASON_CHARS + 1);
        assert_eq!(reason(br#"{"errors":[]}"#), Reason::default());
    }

    #[test]
    fn only_what_may_pass_is_retried() {
        let refused = |status| ClientError::Refused {
            registry: "r".into(),
            what: "w".into(),
            status,
            code: None,
            reason: None,
            retry_after: None,
        };
        for status in [429, 408, 500, 502, 503, 504] {
            let err = refused(StatusCode::from_u16(status).unwrap());
            assert!(err.class().is_worth_a_retry(), "{status}");
        }
        for status in [400, 404, 405, 413, 416, 501] {
            let err = refused(StatusCode::from_u16(status).unwrap());
            assert!(!err.class().is_worth_a_retry(), "{status}");
        }
    }
}
