//! Taking images out of a registry again, and nothing that somebody else uses.
//!
//! A manifest goes by its digest, and with it every tag that leads to it. So each repository is looked through first:
//! a manifest stays that another tag, an index that stays, or the state of another stack leads to, and then no more
//! than the tag goes, where the registry can do that. Blobs are the registry's own to collect.
//!
//! **Concurrency.** What is pushed between the look and the deletion is not seen. Each repository is looked through right
//! before its turn; the states of other stacks are read once, at the beginning.
//! **Crash.** Nothing is kept on this side: what is gone already counts as done.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use airlift_registry::client::{ClientError, Repository};
use airlift_spec::oci::media_type;
use airlift_spec::{Class, Ctx, Descriptor, Digest, Event, Explain, Manifest};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::load::{Failure, LoadError, Target};
use crate::receipt::{self, Receipt};

mod decide;

use decide::{Claims, Decision, Seen, decide};

/// Indexes within indexes are followed so far; none that is known goes deeper than one.
const MAX_INDEXES: usize = 10_000;

/// A name that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// As it is called in the registry.
    pub repository: String,
    pub tag: Option<String>,
    /// The image that is meant, where more than the tag is known.
    pub digest: Option<Digest>,
}

/// How a removal goes about it.
#[derive(Debug, Clone)]
pub struct RemoveOptions {
    /// Repositories, and requests in each, at once.
    pub parallel: NonZeroUsize,
    /// Only look.
    pub dry_run: bool,
    /// The stack whose images these are: what its own state says keeps nothing.
    pub stack: String,
}

/// What became of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    pub repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    pub result: Removed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Removed {
    Deleted,
    /// There was nothing of that name.
    Gone,
    /// The manifest is somebody else's, too.
    Kept {
        why: String,
        /// Whether the tag, at least, is gone.
        untagged: bool,
    },
    Failed(Failure),
}

/// Why nothing, or no more, is removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    #[error("{registry} does not let anybody delete")]
    Off { registry: String, source: ClientError },
    #[error("failed to ask {registry} about `{what}`")]
    Ask { registry: String, what: String, source: ClientError },
    #[error("failed to delete `{what}` in {registry}")]
    Delete { registry: String, what: String, source: ClientError },
    #[error("what other stacks have in the registry is not known")]
    States(#[source] LoadError),
    #[error("`{what}` in {registry} is not what it says")]
    Manifest { registry: String, what: String, source: airlift_spec::oci::ManifestError },
    #[error("more than {MAX_INDEXES} indexes lie in `{what}` of {registry}")]
    Endless { registry: String, what: String },
}

impl Explain for RemoveError {
    fn class(&self) -> Class {
        match self {
            Self::Off { .. } | Self::Endless { .. } => Class::Input,
            Self::Ask { source, .. } | Self::Delete { source, .. } => source.class(),
            Self::States(source) => source.class(),
            Self::Manifest { source, .. } => source.class(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Off { .. } => Some(
                "allow it in the registry's settings, for distribution `storage: {delete: {enabled: true}}` or \
                 REGISTRY_STORAGE_DELETE_ENABLED=true, and run this again"
                    .to_owned(),
            ),
            Self::Ask { source, .. } | Self::Delete { source, .. } => source.help(),
            Self::States(source) => source.help(),
            Self::Manifest { source, .. } => source.help(),
            Self::Endless { .. } => None,
        }
    }
}

impl RemoveError {
    /// Whether no other repository will fare better.
    fn stops_everything(&self) -> bool {
        matches!(self, Self::Off { .. }) || self.class() == Class::Cancelled
    }
}

/// Removes what `wishes` name from the registry, each repository by itself.
///
/// # Cancel safety
///
/// Cancelling loses nothing: the next run finds gone what is gone.
///
/// # Errors
///
/// Only what stops everything: a registry in which nobody may delete, states of other stacks that cannot be read,
/// a cancellation. What else fails is among the answers, which come in the order of their repositories.
pub async fn remove(
    wishes: &[Wish],
    target: &Target,
    options: &RemoveOptions,
    ctx: &Ctx,
) -> Result<Vec<Removal>, RemoveError> {
    target.will_be_pushed_to().map_err(RemoveError::States)?;
    let others = receipt::others(target, &options.stack, ctx).await.map_err(RemoveError::States)?;
    let mut repositories: BTreeMap<&str, Vec<&Wish>> = BTreeMap::new();
    for wish in wishes {
        repositories.entry(&wish.repository).or_default().push(wish);
    }
    let items = wishes.len() as u64;
    ctx.events.emit(Event::PhaseStarted { phase: "delete", items, total_bytes: 0 });
    let run = Run { target, options, others, ctx };
    let removals: Vec<Vec<Removal>> = stream::iter(repositories)
        .map(|(path, wishes)| run.repository(path, wishes))
        .buffered(options.parallel.get())
        .try_collect()
        .await?;
    ctx.events.emit(Event::PhaseFinished { phase: "delete" });
    Ok(removals.into_iter().flatten().collect())
}

struct Run<'a> {
    target: &'a Target,
    options: &'a RemoveOptions,
    others: Vec<Receipt>,
    ctx: &'a Ctx,
}

impl Run<'_> {
    async fn repository(
        &self,
        path: &str,
        wishes: Vec<&Wish>,
    ) -> Result<Vec<Removal>, RemoveError> {
        let removals = match self.removals(path, &wishes).await {
            Err(err) if !err.stops_everything() => {
                let failed = || Removed::Failed(Failure::of(&err));
                wishes.iter().map(|wish| removal(wish, wish.digest, failed())).collect()
            }
            removals => removals?,
        };
        for removal in &removals {
            self.ctx.events.emit(removal.event());
        }
        Ok(removals)
    }

    async fn removals(&self, path: &str, wishes: &[&Wish]) -> Result<Vec<Removal>, RemoveError> {
        let repository = self.target.repository(path);
        let seen = self.look(&repository, wishes).await?;
        let decisions = decide(wishes, &seen, &Claims::of(&self.others, path));
        let mut deleted = BTreeMap::new();
        for digest in order(&decisions, &seen) {
            deleted.insert(digest, self.delete(&repository, digest).await?);
        }
        let mut removals = Vec::new();
        for (wish, decision) in wishes.iter().zip(decisions) {
            removals.push(match decision {
                Decision::Gone => removal(wish, wish.digest, Removed::Gone),
                Decision::Delete(digest) => removal(wish, Some(digest), deleted[&digest].clone()),
                Decision::Keep { digest, why, untag } => {
                    let kept = self.keep(&repository, why, untag.then_some(wish)).await?;
                    removal(wish, digest, kept)
                }
            });
        }
        Ok(removals)
    }

    /// What the tags of a repository lead to, and which of that is in an index.
    async fn look(&self, repository: &Repository, wishes: &[&Wish]) -> Result<Seen, RemoveError> {
        let client = &self.target.client;
        let tags = client.tags(repository, self.ctx).await;
        let Some(tags) = tags.map_err(|source| self.asked(repository, "its tags", source))? else {
            return Ok(Seen::default());
        };
        let digests = wishes.iter().filter_map(|wish| wish.digest).map(|it| it.to_string());
        let names: BTreeSet<String> = tags.into_iter().chain(digests).collect();
        let found: Vec<(String, Option<Descriptor>)> = stream::iter(names)
            .map(|name| async move {
                let described = client.describe(repository, &name, self.ctx).await;
                let described = described.map_err(|source| self.asked(repository, &name, source));
                Ok((name, described?))
            })
            .buffer_unordered(self.options.parallel.get())
            .try_collect()
            .await?;
        let mut seen = Seen::default();
        let mut indexes = Vec::new();
        for (name, described) in found {
            let Some(found) = described else { continue };
            if media_type::is_index(&found.media_type) {
                indexes.push(found.digest);
            }
            seen.present.insert(found.digest);
            if name.parse::<Digest>().is_err() {
                seen.tags.insert(name, found.digest);
            }
        }
        self.look_into(repository, indexes, &mut seen).await?;
        Ok(seen)
    }

    /// What indexes hold, and the indexes among that.
    async fn look_into(
        &self,
        repository: &Repository,
        mut indexes: Vec<Digest>,
        seen: &mut Seen,
    ) -> Result<(), RemoveError> {
        let registry = || self.target.host.clone();
        while let Some(index) = indexes.pop() {
            if seen.indexes.contains_key(&index) {
                continue;
            }
            let what = format!("{}@{index}", repository.path);
            if seen.indexes.len() >= MAX_INDEXES {
                return Err(RemoveError::Endless { registry: registry(), what });
            }
            let found = self.target.client.manifest(repository, &index.to_string(), self.ctx).await;
            let Some(found) = found.map_err(|source| self.asked(repository, &what, source))? else {
                continue;
            };
            let parsed = Manifest::parse(&found.bytes, Some(&found.media_type));
            let manifest = parsed.map_err(|source| {
                let (registry, what) = (registry(), what.clone());
                RemoveError::Manifest { registry, what, source }
            })?;
            let within =
                manifest.manifests.iter().filter(|it| media_type::is_index(&it.media_type));
            indexes.extend(within.map(|child| child.digest));
            seen.indexes.insert(index, manifest.manifests.iter().map(|it| it.digest).collect());
        }
        Ok(())
    }

    async fn delete(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Removed, RemoveError> {
        if self.options.dry_run {
            return Ok(Removed::Deleted);
        }
        let client = &self.target.client;
        match client.delete_manifest(repository, &digest.to_string(), self.ctx).await {
            Ok(true) => Ok(Removed::Deleted),
            Ok(false) => Ok(Removed::Gone),
            Err(source) if source.status().is_some_and(|status| status.as_u16() == 405) => {
                Err(RemoveError::Off { registry: self.target.host.clone(), source })
            }
            Err(source) => self.failed(repository, &digest.to_string(), source),
        }
    }

    /// Leaves a manifest where it is, and takes the tag of `wish` away, where that is to go and can.
    async fn keep(
        &self,
        repository: &Repository,
        why: String,
        wish: Option<&&Wish>,
    ) -> Result<Removed, RemoveError> {
        let Some(tag) = wish.and_then(|wish| wish.tag.as_ref()) else {
            return Ok(Removed::Kept { why, untagged: false });
        };
        if self.options.dry_run {
            return Ok(Removed::Kept { why, untagged: true });
        }
        match self.target.client.delete_manifest(repository, tag, self.ctx).await {
            Ok(_) => Ok(Removed::Kept { why, untagged: true }),
            Err(source) if cannot_untag(&source) => {
                let why = format!("{why}; this registry cannot take away a tag alone");
                Ok(Removed::Kept { why, untagged: false })
            }
            Err(source) => self.failed(repository, tag, source),
        }
    }

    fn asked(&self, repository: &Repository, what: &str, source: ClientError) -> RemoveError {
        let what = format!("{}: {what}", repository.path);
        RemoveError::Ask { registry: self.target.host.clone(), what, source }
    }

    /// One image that stays must not keep the others from going.
    fn failed(
        &self,
        repository: &Repository,
        wanted: &str,
        source: ClientError,
    ) -> Result<Removed, RemoveError> {
        let what = format!("{}: {wanted}", repository.path);
        let err = RemoveError::Delete { registry: self.target.host.clone(), what, source };
        if err.stops_everything() { Err(err) } else { Ok(Removed::Failed(Failure::of(&err))) }
    }
}

/// Whether the registry says that it deletes by digest alone.
fn cannot_untag(err: &ClientError) -> bool {
    err.status().is_some_and(|status| matches!(status.as_u16(), 400 | 405 | 501))
}

/// What is to be deleted, each once; indexes first, since some registries keep what an index holds.
fn order(decisions: &[Decision], seen: &Seen) -> Vec<Digest> {
    let to_delete = decisions.iter().filter_map(|decision| match decision {
        Decision::Delete(digest) => Some(*digest),
        Decision::Gone | Decision::Keep { .. } => None,
    });
    let digests: BTreeSet<Digest> = to_delete.collect();
    let (mut indexes, others): (Vec<Digest>, Vec<Digest>) =
        digests.into_iter().partition(|digest| seen.indexes.contains_key(digest));
    indexes.extend(others);
    indexes
}

fn removal(wish: &Wish, digest: Option<Digest>, result: Removed) -> Removal {
    Removal { repository: wish.repository.clone(), tag: wish.tag.clone(), digest, result }
}

impl Removal {
    /// `REPOSITORY:TAG`, or with the digest where it has no tag.
    pub fn name(&self) -> String {
        match (&self.tag, self.digest) {
            (Some(tag), _) => format!("{}:{tag}", self.repository),
            (None, Some(digest)) => format!("{}@{digest}", self.repository),
            (None, None) => self.repository.clone(),
        }
    }

    fn event(&self) -> Event {
        match &self.result {
            Removed::Failed(failure) => {
                Event::ItemFailed { item: self.name(), reason: failure.reason.clone() }
            }
            Removed::Deleted | Removed::Gone | Removed::Kept { .. } => {
                Event::ItemFinished { item: self.name() }
            }
        }
    }
}
