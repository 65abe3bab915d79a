//! Lists: tags and referrers, page by page. A registry cannot keep us turning pages, nor send us elsewhere for one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use airlift_spec::oci::{media_type, referrers_tag};
use airlift_spec::{Ctx, Descriptor, Digest, Manifest};
use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::Scope;
use super::counters::Kind;
use super::error::ClientError;
use super::exchange::{Answer, Ask, Body, To};
use super::manifest::found;
use super::{Endpoint, Referrers, Shared};

/// Pages of one list; with 1,000 tags a page, more than any registry holds.
const MAX_PAGES: usize = 10_000;
const MAX_PAGE_BYTES: usize = 8 << 20;
/// All pages of one list: they are held in memory together.
const MAX_LIST_BYTES: usize = 32 << 20;

const HAS_API: u8 = 1;
const HAS_NO_API: u8 = 2;

impl Shared {
    pub(crate) async fn tags_at(
        self: &Arc<Self>,
        endpoint: Endpoint,
        ctx: &Ctx,
    ) -> Result<Option<Vec<String>>, ClientError> {
        let first = To::Api(format!("{}/tags/list?n=1000", endpoint.repository));
        let Some(pages) = self.pages(&endpoint, first, "the list of tags", ctx).await? else {
            return Ok(None);
        };
        let mut tags = Vec::new();
        for page in pages {
            tags.extend(tags_of(&page).ok_or_else(|| garbled(&endpoint))?);
        }
        Ok(Some(tags))
    }

    pub(crate) async fn referrers_at(
        self: &Arc<Self>,
        endpoint: Endpoint,
        subject: Digest,
        ctx: &Ctx,
    ) -> Result<Option<Referrers>, ClientError> {
        let habits = &endpoint.host.habits;
        // The first question goes alone: its answer says what all the others have to ask.
        let mut asked = habits.asked_referrers.lock().await;
        let first = (!*asked).then(|| {
            *asked = true;
            asked
        });
        if habits.referrers.load(Ordering::Relaxed) != HAS_NO_API {
            match self.referrers_api(&endpoint, subject, ctx).await? {
                Some(found) => {
                    habits.referrers.store(HAS_API, Ordering::Relaxed);
                    return Ok(Some(Referrers::Api(found)));
                }
                None => habits.referrers.store(HAS_NO_API, Ordering::Relaxed),
            }
        }
        drop(first);
        let registry = endpoint.host.name.clone();
        let tag = referrers_tag(&subject);
        let Some(fetched) = self.manifest_at(endpoint, &tag, ctx).await? else {
            return Ok(None);
        };
        let index = Manifest::parse(&fetched.bytes, Some(&fetched.media_type))
            .map_err(|source| ClientError::Manifest { registry, wanted: tag, source })?;
        Ok(Some(Referrers::FallbackTag(index.manifests)))
    }

    /// None where the registry has no such API.
    async fn referrers_api(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        subject: Digest,
        ctx: &Ctx,
    ) -> Result<Option<Vec<Descriptor>>, ClientError> {
        let first = To::Api(format!("{}/referrers/{subject}", endpoint.repository));
        let pages = match self.pages(endpoint, first, "the list of referrers", ctx).await {
            Ok(None) => return Ok(None),
            Ok(Some(pages)) => pages,
            // Registries without it say so in several ways.
            Err(ClientError::Refused { status, .. })
                if matches!(status.as_u16(), 400 | 405 | 406 | 501) =>
            {
                return Ok(None);
            }
            Err(err) => return Err(err),
        };
        let mut found = Vec::new();
        for (at, page) in pages.iter().enumerate() {
            match Manifest::parse(page, None) {
                Ok(index) if index.is_index() => found.extend(index.manifests),
                // Some answer any path with a page of their own.
                _ if at == 0 => return Ok(None),
                _ => return Err(garbled(endpoint)),
            }
        }
        Ok(Some(found))
    }

    /// All pages of a list; none where there is no such list.
    async fn pages(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        first: To,
        what: &str,
        ctx: &Ctx,
    ) -> Result<Option<Vec<Bytes>>, ClientError> {
        let accept = HeaderValue::from_static(media_type::OCI_INDEX);
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, accept);
        headers.append(ACCEPT, json);
        let mut ask = Ask {
            kind: Kind::Listing,
            method: Method::GET,
            to: first,
            headers,
            body: Body::Empty,
            scope: Scope::pull(&endpoint.repository),
            what: what.to_owned(),
        };
        let mut pages = Pages::default();
        let mut tries = self.tries(endpoint, what, ctx);
        loop {
            match self.page(endpoint, &ask).await {
                Err(err) => tries.pause(err).await?,
                Ok(None) if pages.pages.is_empty() => return Ok(None),
                Ok(None) => return Err(garbled(endpoint)),
                Ok(Some((page, next))) => {
                    if !pages.take(page) {
                        return Err(garbled(endpoint));
                    }
                    tries.progressed();
                    match next {
                        None => return Ok(Some(pages.pages)),
                        Some(next) => ask.to = To::Url(next),
                    }
                }
            }
        }
    }

    async fn page(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
    ) -> Result<Option<(Bytes, Option<Url>)>, ClientError> {
        let answer = self.send(endpoint, ask).await?;
        // A list is never at the end of a redirect to nothing; but a proxy may answer so for an API it lacks.
        if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(answer.refusal(&endpoint.repository).await);
        }
        let Some(answer) = found(answer, endpoint).await? else { return Ok(None) };
        let next = next_page(&answer)?;
        let page = answer.small_body(MAX_PAGE_BYTES).await?;
        if page.len() > MAX_PAGE_BYTES {
            return Err(garbled(endpoint));
        }
        Ok(Some((page, next)))
    }
}

/// The pages of a list that are here.
#[derive(Default)]
struct Pages {
    pages: Vec<Bytes>,
    bytes: usize,
}

impl Pages {
    /// Takes one more; false where the list is longer than we hold.
    fn take(&mut self, page: Bytes) -> bool {
        self.bytes += page.len();
        self.pages.push(page);
        self.pages.len() <= MAX_PAGES && self.bytes <= MAX_LIST_BYTES
    }
}

/// The tags of one page; none where it is no such page.
pub(super) fn tags_of(page: &[u8]) -> Option<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Page {
        /// `null` where there are none.
        tags: Option<Vec<String>>,
    }
    let page: Page = serde_json::from_slice(page).ok()?;
    let mut tags = page.tags.unwrap_or_default();
    // A tag becomes part of paths and messages: what is none is left out.
    tags.retain(|tag| airlift_spec::reference::is_tag(tag));
    Some(tags)
}

fn garbled(endpoint: &Endpoint) -> ClientError {
    ClientError::Protocol {
        registry: endpoint.host.name.clone(),
        what: "its answer to a question for a list cannot be read".to_owned(),
    }
}

/// The next page, which must be on the same origin and not this one again.
fn next_page(answer: &Answer) -> Result<Option<Url>, ClientError> {
    let links = answer.response.headers().get_all("link").iter();
    let Some(target) = links.filter_map(|link| link.to_str().ok()).find_map(next_link) else {
        return Ok(None);
    };
    let elsewhere = || ClientError::Redirect {
        registry: answer.host.name.clone(),
        problem: "elsewhere for the next page of a list".to_owned(),
    };
    page_after(&answer.url, target).map(Some).ok_or_else(elsewhere)
}

/// Where `target` leads from the page at `from`; none where that is no further page of the same registry.
pub(super) fn page_after(from: &Url, target: &str) -> Option<Url> {
    let mut next = from.join(target).ok()?;
    if next.scheme() == "http" && from.scheme() == "https" && next.host() == from.host() {
        // Registries behind a proxy that ends TLS often do not know that they are.
        next.set_scheme("https").ok()?;
        next.set_port(from.port()).ok()?;
    }
    (next.origin() == from.origin() && next != *from).then_some(next)
}

/// The target of `<…>; rel="next"`.
pub(super) fn next_link(text: &str) -> Option<&str> {
    text.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim().to_ascii_lowercase();
            matches!(parameter.as_str(), "rel=next" | "rel=\"next\"")
        });
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_end_is_cut_by_its_pages_and_by_its_bytes() {
        let mut pages = Pages::default();
        let large = Bytes::from(vec![0; MAX_PAGE_BYTES]);
        for _ in 0..MAX_LIST_BYTES / MAX_PAGE_BYTES {
            assert!(pages.take(large.clone()));
        }
        assert!(!pages.take(Bytes::from_static(b"{}")));
        let mut pages = Pages { pages: vec![Bytes::new(); MAX_PAGES - 1], bytes: 0 };
        assert!(pages.take(Bytes::new()));
        assert!(!pages.take(Bytes::new()));
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(
            next_link(r#"</v2/a/tags/list?last=x>; rel="next""#),
            Some("/v2/a/tags/list?last=x")
        );
        assert_eq!(next_link("</a>; rel=prev, </b>;REL=Next"), Some("/b"));
        for text in ["", "</a>", "</a>; rel=prev", "/a; rel=next", "<a"] {
            assert_eq!(next_link(text), None, "{text}");
        }
    }
}
