//! Signatures, SBOMs and attestations: what others have said about a manifest.
//!
//! Two ways lead to them, and both are asked: the referrers of OCI 1.1 (or its fallback tag), and the tags that
//! cosign hangs beside an image. What they say may itself be signed, so the search goes on from what it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use airlift_registry::client::{Client, Referrers, Repository, TagPages};
use airlift_spec::lock::{Artifact, Referrer};
use airlift_spec::oci::{COSIGN_SUFFIXES, cosign_subject, cosign_tags};
use airlift_spec::reference::is_tag;
use airlift_spec::{Ctx, Descriptor, Digest, Finding};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Mutex;

use crate::UpstreamError;
use crate::image::closure_bytes;
use crate::origin::{Manifests, Origin, Read};

/// How far a chain of referrers of referrers is followed.
const MAX_DEPTH: usize = 4;

/// Most referrers that are carried for one image; a registry that lists more is not a reason to run out of memory.
const MAX_REFERRERS: usize = 4096;

/// Subjects of one image asked about at once.
const SUBJECTS_IN_FLIGHT: usize = 8;

/// What was found, and what there is to say about it.
#[derive(Debug, Default)]
pub(crate) struct FoundReferrers {
    pub(crate) referrers: Vec<Referrer>,
    pub(crate) findings: Vec<Finding>,
}

/// The cosign tags of each repository.
///
/// One page of a listing answers for a thousand tags, and asking tag by tag costs three requests a manifest. How long a
/// list is shows only at its end. So it is read as long as that has cost less than asking would, for all manifests
/// that were asked about so far: together never more than twice the cheaper of the two.
#[derive(Debug, Default)]
pub(crate) struct CosignTags {
    known: Mutex<BTreeMap<Repository, Arc<Mutex<Listing>>>>,
}

#[derive(Debug, Default)]
struct Listing {
    state: State,
    pages: usize,
    /// Manifests that were asked about.
    subjects: usize,
    tags: BTreeMap<Digest, Vec<String>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    NotAsked,
    Listed(TagPages),
    /// The registry does not list tags (to us).
    Refused,
}

impl CosignTags {
    /// Of each of `subjects`, in their order, the tags that may hold what cosign says about it.
    async fn of(&self, subjects: &[Digest], manifests: &Manifests<'_>) -> Vec<Vec<String>> {
        let (client, repository) = match manifests.origin {
            Origin::Registry { client, repository } => (client, repository),
            Origin::Local(image) => {
                return subjects.iter().map(|it| image.cosign_tags(it)).collect();
            }
        };
        let known = Arc::clone(self.known.lock().await.entry(repository.clone()).or_default());
        let mut listing = known.lock().await;
        listing.subjects += subjects.len();
        listing.read_on(client, repository, manifests.ctx).await;
        subjects.iter().map(|subject| listing.tags_of(subject)).collect()
    }
}

impl Listing {
    /// Reads on as long as that is worth it.
    ///
    /// A registry that refuses to list still answers for single tags; if it is down, those will say so.
    async fn read_on(&mut self, client: &Client, repository: &Repository, ctx: &Ctx) {
        while self.pages < self.subjects * COSIGN_SUFFIXES.len() {
            let pages = match &mut self.state {
                State::Refused => return,
                State::Listed(pages) if pages.is_at_end() => return,
                State::Listed(pages) => pages,
                State::NotAsked => {
                    let answer = client.tag_pages(repository, ctx).await.ok().flatten();
                    self.state = answer.map_or(State::Refused, State::Listed);
                    continue;
                }
            };
            let Ok(page) = pages.next(ctx).await else {
                self.state = State::Refused;
                return;
            };
            self.pages += 1;
            for tag in page.into_iter().flatten() {
                if let Some(subject) = cosign_subject(&tag) {
                    self.tags.entry(subject).or_default().push(tag);
                }
            }
        }
    }

    fn tags_of(&self, subject: &Digest) -> Vec<String> {
        match &self.state {
            State::Listed(pages) if pages.is_at_end() => {
                self.tags.get(subject).cloned().unwrap_or_default()
            }
            // Where the digest is too long for one, there is no such tag.
            _ => cosign_tags(subject).into_iter().filter(|tag| is_tag(tag)).collect(),
        }
    }
}

/// Everything said about the manifests `carried`. What `before` knows of them already is kept, not asked again.
pub(crate) async fn of(
    carried: &[Digest],
    before: Option<&Artifact>,
    manifests: &Manifests<'_>,
    cosign: &CosignTags,
) -> Result<FoundReferrers, UpstreamError> {
    let mut found = FoundReferrers::default();
    let mut seen: BTreeSet<(Digest, Option<String>)> = BTreeSet::new();
    let known = before.map(known_manifests).unwrap_or_default();
    if let Some(before) = before {
        keep_known(before, carried, &mut found.referrers);
    }
    let mut level: Vec<Digest> =
        carried.iter().copied().filter(|digest| !known.contains(digest)).collect();
    for _ in 0..MAX_DEPTH {
        let tags = cosign.of(&level, manifests).await;
        let answers: Vec<FoundReferrers> = futures::stream::iter(level.iter().zip(tags))
            .map(|(subject, tags)| about(subject, tags, manifests))
            .buffered(SUBJECTS_IN_FLIGHT)
            .try_collect()
            .await?;
        level.clear();
        for answer in answers {
            found.findings.extend(answer.findings);
            for referrer in answer.referrers {
                if seen.insert((referrer.digest, referrer.tag.clone())) {
                    level.push(referrer.digest);
                    found.referrers.push(referrer);
                }
            }
        }
        if level.is_empty() {
            return Ok(found);
        }
        if found.referrers.len() > MAX_REFERRERS {
            break;
        }
    }
    let message =
        format!("only the first {} of its signatures and SBOMs are carried", found.referrers.len());
    found.findings.push(Finding::warning("referrers-cut", manifests.reference, message));
    Ok(found)
}

/// The manifests whose referrers an earlier lock has looked for.
fn known_manifests(before: &Artifact) -> BTreeSet<Digest> {
    before.digest.into_iter().chain(before.children.iter().map(|child| child.digest)).collect()
}

/// Takes over the referrers whose chain of subjects ends in a manifest that is still carried.
fn keep_known(before: &Artifact, carried: &[Digest], kept: &mut Vec<Referrer>) {
    let mut subjects: BTreeSet<Digest> = carried.iter().copied().collect();
    let mut rest: Vec<&Referrer> = before.referrers.iter().collect();
    loop {
        let (now, later): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|referrer| subjects.contains(&referrer.subject));
        if now.is_empty() {
            return;
        }
        subjects.extend(now.iter().map(|referrer| referrer.digest));
        kept.extend(now.into_iter().cloned());
        rest = later;
    }
}

/// What is said about one manifest, by those that it lists and under `tags`.
async fn about(
    subject: &Digest,
    tags: Vec<String>,
    manifests: &Manifests<'_>,
) -> Result<FoundReferrers, UpstreamError> {
    let listed = match manifests.origin {
        Origin::Registry { client, repository } => {
            let answer = client.referrers(repository, subject, manifests.ctx).await;
            match answer.map_err(|source| manifests.client_error(source))? {
                Referrers::Api(listed) | Referrers::FallbackTag(listed) => listed,
            }
        }
        Origin::Local(image) => image.referrers(subject),
    };
    let mut found = FoundReferrers::default();
    for descriptor in listed.into_iter().take(MAX_REFERRERS) {
        found.add_listed(subject, &descriptor, manifests).await?;
    }
    for tag in tags {
        if let Some(read) = manifests.look_up(&tag).await? {
            found.referrers.push(referrer(subject, &read, Some(tag), manifests).await?);
        }
    }
    Ok(found)
}

impl FoundReferrers {
    async fn add_listed(
        &mut self,
        subject: &Digest,
        descriptor: &Descriptor,
        manifests: &Manifests<'_>,
    ) -> Result<(), UpstreamError> {
        let read = manifests.look_up(&descriptor.digest.to_string()).await?;
        let is_about = |read: &Read| {
            read.manifest.subject.as_ref().is_some_and(|link| link.digest == *subject)
        };
        match read {
            Some(read) if is_about(&read) => {
                self.referrers.push(referrer(subject, &read, None, manifests).await?);
            }
            // Fallback tags are lists that clients keep by hand: entries go stale, or were never true.
            Some(_) => self.warn(manifests, descriptor, "names another subject"),
            None => self.warn(manifests, descriptor, "is not there"),
        }
        Ok(())
    }

    fn warn(&mut self, manifests: &Manifests<'_>, descriptor: &Descriptor, problem: &str) {
        let message = format!("{} is listed as said about it, but {problem}", descriptor.digest);
        self.findings.push(Finding::warning("stale-referrer", manifests.reference, message));
    }
}

async fn referrer(
    subject: &Digest,
    read: &Read,
    tag: Option<String>,
    manifests: &Manifests<'_>,
) -> Result<Referrer, UpstreamError> {
    let mut reached = vec![read.clone()];
    for link in &read.manifest.manifests {
        reached.push(manifests.follow(link).await?);
    }
    Ok(Referrer {
        subject: *subject,
        digest: read.descriptor.digest,
        media_type: read.descriptor.media_type.clone(),
        size: read.descriptor.size,
        bytes: closure_bytes(&reached),
        artifact_type: read.manifest.artifact_type.clone(),
        tag,
    })
}
