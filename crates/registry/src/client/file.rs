//! Ordinary files of ordinary web servers: the index of a chart repository, a chart's package, a manifest.
//!
//! Small, whole in memory up to a limit that the caller sets, and tried again like everything else. Plain HTTP is
//! taken from loopback, and from the hosts that the user lists for it.

use std::sync::Arc;

use airlift_spec::Ctx;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::auth::Scope;
use super::counters::Kind;
use super::credentials::Credential;
use super::error::ClientError;
use super::exchange::{Answer, Ask, Body, To};
use super::wire::{host_name, is_loopback};
use super::{Endpoint, Shared};

impl Shared {
    /// None where there is no such file.
    pub(crate) async fn file(
        self: &Arc<Self>,
        address: &str,
        accept: &'static str,
        limit: usize,
        ctx: &Ctx,
    ) -> Result<Option<Bytes>, ClientError> {
        let url = self.web_address(address)?;
        let endpoint = self.web_server(&url);
        let ask = Ask {
            kind: Kind::File,
            method: Method::GET,
            to: To::Url(url.clone()),
            headers: HeaderMap::from_iter([
                (ACCEPT, HeaderValue::from_static(accept)),
                (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            ]),
            body: Body::Empty,
            scope: Scope::none(),
            what: "the file".to_owned(),
        };
        let mut tries = self.tries(&endpoint, &ask.what, ctx);
        loop {
            match self.try_file(&endpoint, &ask, limit).await {
                Ok(found) => return Ok(found),
                Err(err) => tries.pause(err).await?,
            }
        }
    }

    async fn try_file(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        limit: usize,
    ) -> Result<Option<Bytes>, ClientError> {
        let host = &endpoint.host;
        let known = self.credentials.find(&host.name, &endpoint.repository).await?;
        let proof = known.as_ref().and_then(Credential::basic_header);
        let answer = self.through_window(host, ask, proof.as_ref()).await?;
        match answer.status() {
            StatusCode::OK => whole(answer, limit).await.map(Some),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            _ => Err(answer.refusal(&endpoint.repository).await),
        }
    }

    pub(crate) fn web_address(&self, address: &str) -> Result<Url, ClientError> {
        let wrong = |reason: String| ClientError::Config { what: "an address", reason };
        let url = Url::parse(address).map_err(|err| wrong(format!("`{address}`: {err}")))?;
        let authority = authority(&url);
        let name = host_name(&authority);
        let is_plain = is_loopback(name)
            || [name, authority.as_str()].iter().any(|it| self.options.plain_http.contains(*it));
        match url.scheme() {
            "https" => Ok(url),
            "http" if is_plain => Ok(url),
            "http" => Err(wrong(format!(
                "`{address}` is not encrypted; write `https://`, or allow it with `--plain-http {authority}`"
            ))),
            _ => Err(wrong(format!("`{address}` is neither HTTP nor HTTPS"))),
        }
    }

    /// Its path stands where a registry has the repository: both say what a password is for.
    fn web_server(&self, url: &Url) -> Endpoint {
        let host = self.host(&authority(url), false);
        let repository = url.path().trim_start_matches('/').to_owned();
        Endpoint { host, repository, attempts: self.options.attempts.get() }
    }
}

/// Host and port, as a registry's name has them.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The body, as far as it is within the limit. A file that is too large is so the next time as well.
async fn whole(answer: Answer, limit: usize) -> Result<Bytes, ClientError> {
    let (registry, what) = (answer.host.name.clone(), answer.what.clone());
    let promised = answer.content_length();
    let too_large = || ClientError::TooLarge { registry, what, limit_bytes: limit };
    if promised.is_some_and(|bytes| bytes > limit as u64) {
        return Err(too_large());
    }
    let bytes = answer.small_body(limit).await?;
    if bytes.len() > limit { Err(too_large()) } else { Ok(bytes) }
}
