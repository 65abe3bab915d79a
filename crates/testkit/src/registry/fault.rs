//! What can go wrong, as data.

use std::time::Duration;

use http::Method;

use super::Server;
use super::answer::{Answer, Call, Target};

/// One way to misbehave.
///
/// A fault waits for a request that it can apply to: [`CutAfter`](Self::CutAfter) of 5,000 bytes lets a short
/// manifest pass, [`RefuseMount`](Self::RefuseMount) waits for a mount. Faults come after authentication,
/// so that none is spent on a request that is sent again with a token anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after this many bytes of the answer's body. All of them arrive.
    CutAfter(u64),
    /// Nothing more comes after this many bytes of the body; the connection stays open.
    StallAfter(u64),
    /// This byte of the answer's body, counted from 0, is another.
    FlipByte(u64),
    /// `Content-Length` promises this many bytes more than come before the connection ends.
    WrongContentLength(u64),
    /// The body goes on for this many bytes after its true end, and `Content-Length` covers them.
    TooLong(u64),
    /// The body ends this many bytes before its true end, and `Content-Length` agrees.
    TooShort(u64),
    /// These bytes come in place of the body.
    Instead(Vec<u8>),
    /// The body goes on for ever, in chunks.
    Endless,
    /// There is no `Content-Length`: the body comes in chunks.
    NoContentLength,
    /// `Docker-Content-Digest` names something else.
    LieAboutDigest,
    /// There is no `Docker-Content-Digest`.
    NoDigestHeader,
    /// A manifest or blob comes under this `Content-Type`.
    ContentType(&'static str),
    /// A range is answered with 200 and the whole body.
    IgnoreRange,
    /// A range is answered with one that begins here instead, and says so.
    RangeWrongStart(u64),
    /// This status, these headers, an error body.
    Status(u16, Vec<(&'static str, String)>),
    /// 429 with this many seconds in `Retry-After`.
    RetryAfter(u64),
    /// The request is taken and never answered.
    Hang,
    /// The answer begins only after this long.
    SlowStart(Duration),
    /// The connection is reset once this many bytes of the request's body have arrived.
    ResetOnUpload(u64),
    /// A mount is answered with an ordinary upload.
    RefuseMount,
    /// PATCH is answered with 405.
    RefuseChunked,
    /// A blob in one piece, by POST or PUT, is answered with 413.
    RefuseMonolithic,
    /// A blob in the POST itself is answered with an ordinary upload, as the specification allows.
    RefuseSinglePost,
    /// An index whose children are not all there is answered with 400 `MANIFEST_BLOB_UNKNOWN`.
    RefuseSparseIndex,
    /// A manifest, or the end of an upload, is answered with 400 `DIGEST_INVALID`, whatever its bytes.
    RefuseDigest,
    /// The upload is gone: 404 `BLOB_UPLOAD_UNKNOWN`.
    ForgetUpload,
    /// A blob is answered with 307 to another host, which refuses credentials with 400.
    RedirectElsewhere,
}

/// Which requests a fault is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct On {
    method: Option<Method>,
    path: Option<String>,
    server: Option<Server>,
}

impl On {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests whose path and query contain `part`.
    pub fn path(part: impl Into<String>) -> Self {
        Self { path: Some(part.into()), ..Self::default() }
    }

    /// Requests by GET whose path and query contain `part`.
    pub fn get(part: impl Into<String>) -> Self {
        Self::path(part).method(Method::GET)
    }

    /// Requests for blobs, uploads included.
    pub fn blobs() -> Self {
        Self::path("/blobs/")
    }

    pub fn manifests() -> Self {
        Self::path("/manifests/")
    }

    pub fn uploads() -> Self {
        Self::path("/blobs/uploads/")
    }

    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Requests at the host that blobs are redirected to.
    #[must_use]
    pub fn elsewhere(self) -> Self {
        Self { server: Some(Server::Elsewhere), ..self }
    }

    fn matches(&self, call: &Call) -> bool {
        self.method.as_ref().is_none_or(|method| *method == call.method)
            && self.path.as_ref().is_none_or(|part| call.path.contains(part))
            && self.server.is_none_or(|server| server == call.server)
    }
}

/// A fault, where it is for, and how often it still happens (none: always).
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) on: On,
    pub(super) fault: Fault,
    pub(super) left: Option<usize>,
}

/// Takes the first fault that changes how `call` is treated.
pub(super) fn take_before(rules: &mut Vec<Rule>, call: &Call) -> Option<Fault> {
    take(rules, |rule| rule.on.matches(call) && rule.fault.meets(call))
}

/// Takes the first fault that spoils `answer`.
pub(super) fn take_after(rules: &mut Vec<Rule>, call: &Call, answer: &Answer) -> Option<Fault> {
    // Whoever says just "any" means content, not the ping before it or the token for it.
    let is_content = matches!(call.target, Target::Manifest { .. } | Target::Blob { .. });
    take(rules, |rule| {
        rule.on.matches(call)
            && (is_content || rule.on.path.is_some())
            && rule.fault.spoils(call, answer)
    })
}

fn take(rules: &mut Vec<Rule>, matches: impl Fn(&Rule) -> bool) -> Option<Fault> {
    let at = rules.iter().position(matches)?;
    let rule = &mut rules[at];
    let fault = rule.fault.clone();
    match &mut rule.left {
        None => {}
        Some(left) if *left > 1 => *left -= 1,
        Some(_) => {
            rules.remove(at);
        }
    }
    Some(fault)
}

impl Fault {
    /// Whether this is a fault of the treatment of requests, and of this one.
    fn meets(&self, call: &Call) -> bool {
        let is = |method: Method| call.method == method;
        let on_upload = matches!(call.target, Target::Upload { .. });
        let starts_upload = matches!(call.target, Target::Uploads { .. }) && is(Method::POST);
        match self {
            Self::Status(..) | Self::RetryAfter(_) | Self::Hang | Self::SlowStart(_) => true,
            Self::IgnoreRange | Self::RangeWrongStart(_) => {
                matches!(call.target, Target::Blob { .. }) && call.headers.contains_key("range")
            }
            Self::RedirectElsewhere => {
                matches!(call.target, Target::Blob { .. })
                    && is(Method::GET)
                    && call.server == Server::Registry
            }
            Self::ResetOnUpload(bytes) => call.announced_bytes.is_none_or(|sent| sent > *bytes),
            Self::RefuseMount => starts_upload && call.query("mount").is_some(),
            Self::RefuseChunked => on_upload && is(Method::PATCH),
            Self::RefuseMonolithic => {
                (starts_upload || on_upload && is(Method::PUT))
                    && call.query("digest").is_some()
                    && call.announced_bytes != Some(0)
            }
            Self::RefuseSinglePost => starts_upload && call.query("digest").is_some(),
            Self::RefuseSparseIndex => {
                matches!(call.target, Target::Manifest { .. }) && is(Method::PUT)
            }
            Self::RefuseDigest => {
                (matches!(call.target, Target::Manifest { .. }) || on_upload) && is(Method::PUT)
                    || starts_upload && call.query("digest").is_some()
            }
            Self::ForgetUpload => on_upload,
            Self::CutAfter(_)
            | Self::StallAfter(_)
            | Self::FlipByte(_)
            | Self::WrongContentLength(_)
            | Self::TooLong(_)
            | Self::TooShort(_)
            | Self::Instead(_)
            | Self::Endless
            | Self::NoContentLength
            | Self::LieAboutDigest
            | Self::NoDigestHeader
            | Self::ContentType(_) => false,
        }
    }

    /// Whether this is a fault of answers that changes `answer`.
    fn spoils(&self, call: &Call, answer: &Answer) -> bool {
        let has_content = call.method == Method::GET && answer.status.is_success();
        match self {
            Self::CutAfter(at) | Self::StallAfter(at) | Self::FlipByte(at) => {
                has_content && (answer.body.len() as u64) > *at
            }
            Self::TooShort(less) => has_content && answer.body.len() as u64 >= *less,
            Self::WrongContentLength(_)
            | Self::TooLong(_)
            | Self::Instead(_)
            | Self::Endless
            | Self::NoContentLength => has_content,
            Self::LieAboutDigest | Self::NoDigestHeader => {
                answer.status.is_success() && answer.header("docker-content-digest").is_some()
            }
            Self::ContentType(_) => answer.status.is_success() && call.method != Method::PUT,
            _ => false,
        }
    }
}
