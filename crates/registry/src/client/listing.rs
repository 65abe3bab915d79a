//! Lists: tags and referrers, page by page. A registry cannot keep us turning pages, nor send us elsewhere for one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use airlift_spec::oci::{media_type, referrers_tag};
use airlift_spec::{Ctx, Descriptor, Digest, Manifest};
use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::auth::Scope;
use super::counters::Kind;
use super::error::ClientError;
use super::exchange::{Answer, Ask, Body, To};
use super::manifest::found;
use super::{Endpoint, Referrers, Shared, stoppable};

/// Pages of one list; with 1,000 tags a page, more than any registry holds.
const MAX_PAGES: usize = 10_000;
const MAX_PAGE_BYTES: usize = 8 << 20;
/// All pages of one list: they may be held in memory together.
const MAX_LIST_BYTES: usize = 32 << 20;

const HAS_API: u8 = 1;
const HAS_NO_API: u8 = 2;

impl Shared {
    pub(crate) async fn tags_at(
        self: &Arc<Self>,
        endpoint: Endpoint,
        ctx: &Ctx,
    ) -> Result<Option<Vec<String>>, ClientError> {
        let Some(mut pages) = self.tag_pages_at(endpoint, ctx).await? else { return Ok(None) };
        let mut tags = Vec::new();
        while let Some(page) = pages.next(ctx).await? {
            tags.extend(page);
        }
        Ok(Some(tags))
    }

    pub(crate) async fn tag_pages_at(
        self: &Arc<Self>,
        endpoint: Endpoint,
        ctx: &Ctx,
    ) -> Result<Option<TagPages>, ClientError> {
        let first = To::Api(format!("{}/tags/list?n=1000", endpoint.repository));
        let mut list = List::new(self, endpoint, first, "the list of tags");
        let Some(page) = list.turn(ctx).await? else { return Ok(None) };
        let first = tags_of(&page).ok_or_else(|| garbled(&list.endpoint))?;
        Ok(Some(TagPages { first: Some(first), list }))
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
        let list = List::new(self, endpoint.clone(), first, "the list of referrers");
        let pages = match list.read_whole(ctx).await {
            Ok(pages) if pages.is_empty() => return Ok(None),
            Ok(pages) => pages,
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

/// The tags of a repository, as many pages of them as somebody wants.
#[derive(Debug)]
pub struct TagPages {
    /// The page by which it is known that there is a list.
    first: Option<Vec<String>>,
    list: List,
}

impl TagPages {
    /// The tags of the next page; none after the last.
    pub async fn next(&mut self, ctx: &Ctx) -> Result<Option<Vec<String>>, ClientError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(page) = stoppable(ctx, self.list.turn(ctx)).await? else { return Ok(None) };
        tags_of(&page).ok_or_else(|| garbled(&self.list.endpoint)).map(Some)
    }

    pub fn is_at_end(&self) -> bool {
        self.first.is_none() && self.list.next.is_none()
    }
}

/// A list that is read page by page, from one place.
struct List {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    what: &'static str,
    next: Option<To>,
    read: Taken,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, what, next, read, .. } = self;
        write!(f, "{what} of {}, next {next:?}, {read:?}", endpoint.repository)
    }
}

impl List {
    fn new(shared: &Arc<Shared>, endpoint: Endpoint, first: To, what: &'static str) -> Self {
        let (shared, read) = (Arc::clone(shared), Taken::default());
        Self { shared, endpoint, what, next: Some(first), read }
    }

    /// The next page; none after the last, and where there is no such list.
    async fn turn(&mut self, ctx: &Ctx) -> Result<Option<Bytes>, ClientError> {
        let Some(to) = self.next.clone() else { return Ok(None) };
        let ask = self.ask(to);
        let mut tries = self.shared.tries(&self.endpoint, self.what, ctx);
        loop {
            match self.shared.page(&self.endpoint, &ask).await {
                Err(err) => tries.pause(err).await?,
                Ok(None) if self.read.pages == 0 => return Ok(None),
                Ok(None) => return Err(garbled(&self.endpoint)),
                Ok(Some((page, _))) if !self.read.take(page.len()) => {
                    return Err(garbled(&self.endpoint));
                }
                Ok(Some((page, next))) => {
                    self.next = next.map(To::Url);
                    return Ok(Some(page));
                }
            }
        }
    }

    /// All pages; there are none where there is no such list.
    async fn read_whole(mut self, ctx: &Ctx) -> Result<Vec<Bytes>, ClientError> {
        let mut pages = Vec::new();
        while let Some(page) = self.turn(ctx).await? {
            pages.push(page);
        }
        Ok(pages)
    }

    fn ask(&self, to: To) -> Ask<'static> {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_static(media_type::OCI_INDEX));
        headers.append(ACCEPT, HeaderValue::from_static("application/json"));
        Ask {
            kind: Kind::Listing,
            method: Method::GET,
            to,
            headers,
            body: Body::Empty,
            scope: Scope::pull(&self.endpoint.repository),
            what: self.what.to_owned(),
        }
    }
}

/// How much of a list was read.
#[derive(Debug, Default)]
struct Taken {
    pages: usize,
    bytes: usize,
}

impl Taken {
    /// Counts one more page; false where the list is longer than we read.
    fn take(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.pages += 1;
        self.pages <= MAX_PAGES && self.bytes <= MAX_LIST_BYTES
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
        let mut read = Taken::default();
        for _ in 0..MAX_LIST_BYTES / MAX_PAGE_BYTES {
            assert!(read.take(MAX_PAGE_BYTES));
        }
        assert!(!read.take(2));
        let mut read = Taken { pages: MAX_PAGES - 1, bytes: 0 };
        assert!(read.take(0));
        assert!(!read.take(0));
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
