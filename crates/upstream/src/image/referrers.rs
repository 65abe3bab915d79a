//! Signatures, SBOMs and attestations: what others have said about a manifest.
//!
//! Two ways lead to them, and both are asked: the referrers of OCI 1.1 (or its fallback tag), and the tags that
//! cosign hangs beside an image. What they say may itself be signed, so the search goes on from what it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use airlift_registry::client::{Client, Referrers, Repository};
use airlift_spec::lock::{Artifact, Referrer};
use airlift_spec::oci::{cosign_subject, cosign_tags};
use airlift_spec::{Descriptor, Digest, Finding};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::{Mutex, OnceCell};

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

/// The cosign tags of each repository, listed once.
///
/// One listing answers for every manifest of the repository, where asking tag by tag costs three requests each.
#[derive(Debug, Default)]
pub(crate) struct CosignTags {
    listed: Mutex<BTreeMap<Repository, Arc<OnceCell<Listing>>>>,
}

#[derive(Debug)]
enum Listing {
    Tags(BTreeMap<Digest, Vec<String>>),
    /// The registry does not list tags (to us): each has to be asked for.
    Refused,
}

impl CosignTags {
    /// Tags that may hold what cosign says about `subject`.
    async fn of(
        &self,
        subject: &Digest,
        client: &Client,
        repository: &Repository,
        manifests: &Manifests<'_>,
    ) -> Vec<String> {
        let cell = Arc::clone(self.listed.lock().await.entry(repository.clone()).or_default());
        match cell.get_or_init(|| list(client, repository, manifests)).await {
            Listing::Tags(tags) => tags.get(subject).cloned().unwrap_or_default(),
            Listing::Refused => cosign_tags(subject).to_vec(),
        }
    }
}

async fn list(client: &Client, repository: &Repository, manifests: &Manifests<'_>) -> Listing {
    // A registry that refuses to list still answers for single tags; if it is down, those will say so.
    let Ok(Some(all)) = client.tags(repository, manifests.ctx).await else {
        return Listing::Refused;
    };
    let mut tags: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for tag in all {
        if let Some(subject) = cosign_subject(&tag) {
            tags.entry(subject).or_default().push(tag);
        }
    }
    Listing::Tags(tags)
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
        let answers: Vec<FoundReferrers> = futures::stream::iter(&level)
            .map(|subject| about(subject, manifests, cosign))
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

/// What is said about one manifest.
async fn about(
    subject: &Digest,
    manifests: &Manifests<'_>,
    cosign: &CosignTags,
) -> Result<FoundReferrers, UpstreamError> {
    let (listed, tags) = match manifests.origin {
        Origin::Registry { client, repository } => {
            let answer = client.referrers(repository, subject, manifests.ctx).await;
            let listed = match answer.map_err(|source| manifests.client_error(source))? {
                Referrers::Api(listed) | Referrers::FallbackTag(listed) => listed,
            };
            (listed, cosign.of(subject, client, repository, manifests).await)
        }
        Origin::Local(image) => (image.referrers(subject), image.cosign_tags(subject)),
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
