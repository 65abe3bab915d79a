//! `resolve`: a stack becomes a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use airlift_registry::client::{Client, Repository};
use airlift_scan::knowledge::Knowledge;
use airlift_spec::lock::{Artifact, PLATFORMS_STALE};
use airlift_spec::stack::EXCLUDED;
use airlift_spec::{Ctx, Digest, Event, Finding, Lock, Reference, Stack, error};
use airlift_store::Store;
use futures::StreamExt as _;

use crate::charts::Indexes;
use crate::find::{self, Discovery, Everything};
use crate::image::referrers::CosignTags;
use crate::image::{self, Found, Wanted};
use crate::inputs::readable_inputs;
use crate::lint::{Seen, Sight, lint};
use crate::local::LocalImage;
use crate::origin::Origin;
use crate::releases::ReleasePlaces;
use crate::remotes;
use crate::want::{Want, wants};
use crate::{ArtifactFailure, UpstreamError, blocking, brought};

/// Where things come from and where they go.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub client: Client,
    pub store: Store,
    /// The folder that relative paths of the stack start from.
    pub base: PathBuf,
    /// Folders in which programs such as `helm` are looked for, as in `PATH`.
    pub programs: OsString,
    /// Where releases are looked up.
    pub releases: ReleasePlaces,
    /// What is known of chart repositories by now.
    pub indexes: Indexes,
}

/// How [`resolve`] goes about it. The default moves no pin.
#[derive(Debug, Clone)]
pub struct ResolveOptions {
    pub update: Update,
    /// Asks nobody: what an earlier lock does not pin stays open.
    pub offline: bool,
    /// Sources worked on at once. The client bounds the requests of each registry.
    pub max_in_flight: NonZeroUsize,
}

impl Default for ResolveOptions {
    fn default() -> Self {
        Self {
            update: Update::default(),
            offline: false,
            max_in_flight: NonZeroUsize::new(32).expect("32 is not 0"),
        }
    }
}

/// Which pins may move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Update {
    #[default]
    Nothing,
    Only(BTreeSet<Reference>),
    Everything,
}

impl Update {
    pub(crate) fn moves(&self, reference: &Reference) -> bool {
        match self {
            Self::Nothing => false,
            Self::Only(chosen) => chosen.contains(reference),
            Self::Everything => true,
        }
    }
}

/// What came of it. Artifacts that failed keep the pin that they had, or are in the lock unpinned, so that the next
/// run tries only those.
#[derive(Debug)]
pub struct Resolution {
    pub lock: Lock,
    pub failures: Vec<ArtifactFailure>,
}

/// Says what `stack` wants without pinning it: of images nothing but their names is known. What is made here, a
/// filtered catalog or a chart, is in the store afterwards.
///
/// # Errors
///
/// Only what stops everything. A source that fails is among the failures, and a finding.
pub async fn discover(
    stack: &Stack,
    upstream: &Upstream,
    options: &ResolveOptions,
    ctx: &Ctx,
) -> Result<Resolution, UpstreamError> {
    let inputs = BTreeMap::new();
    let finding = Box::pin(find::all(stack, None, &inputs, upstream, options, ctx));
    let found = ctx.cancel.run_until_cancelled(finding).await.ok_or(UpstreamError::Cancelled)?;
    let Everything { mut discoveries, failures, remotes, knowledge } = found?;
    let (wants, excluded) = wants(stack, &mut discoveries);
    let mut lock = Lock { remotes, findings: excluded, ..Lock::new(&stack.name) };
    let configuration = gather(discoveries, knowledge, &mut lock);
    lock.artifacts.extend(wants.iter().map(Want::unpinned));
    lock.findings.extend(configuration.lint(stack, &lock, upstream).await?);
    lock.sort();
    Ok(Resolution { lock, failures })
}

/// Pins everything that `stack` wants, keeping every pin of `before` that still answers it.
///
/// Manifests that were read are in the store afterwards.
///
/// # Cancel safety
///
/// Cancelling loses only what has not been read; the caller writes the lock.
///
/// # Errors
///
/// Only what stops everything: a broken store, a cancellation.
pub async fn resolve(
    stack: &Stack,
    before: Option<&Lock>,
    upstream: &Upstream,
    options: &ResolveOptions,
    ctx: &Ctx,
) -> Result<Resolution, UpstreamError> {
    let inputs = {
        let (stack, base) = (stack.clone(), upstream.base.clone());
        // A large archive takes its time to hash; whoever stops us does not wait for it.
        let hashed = blocking(move || readable_inputs(&stack, &base));
        ctx.cancel.run_until_cancelled(hashed).await.ok_or(UpstreamError::Cancelled)?
    };
    let finding = Box::pin(find::all(stack, before, &inputs, upstream, options, ctx));
    let found = ctx.cancel.run_until_cancelled(finding).await.ok_or(UpstreamError::Cancelled)?;
    let Everything { mut discoveries, mut failures, remotes, knowledge } = found?;
    let (wants, excluded) = wants(stack, &mut discoveries);

    let mut lock = Lock { inputs, remotes, findings: excluded, ..Lock::new(&stack.name) };
    let configuration = gather(discoveries, knowledge, &mut lock);
    let items = wants.len() as u64;
    ctx.events.emit(Event::PhaseStarted { phase: "resolve", items, total_bytes: 0 });
    let pins = before.into_iter().flat_map(|lock| &lock.artifacts);
    let pins = pins.map(|artifact| (&artifact.reference, artifact)).collect();
    let cosign = CosignTags::default();
    let run = Run { before, pins, upstream, options, ctx, cosign };
    let work = futures::stream::iter(&wants)
        .map(|want| run.pinned(want))
        .buffer_unordered(options.max_in_flight.get())
        .collect::<Vec<_>>();
    for answer in ctx.cancel.run_until_cancelled(work).await.ok_or(UpstreamError::Cancelled)? {
        let answer = answer?;
        lock.artifacts.push(answer.found.artifact);
        lock.findings.extend(answer.found.findings);
        failures.extend(answer.failure);
    }
    lock.findings.extend(configuration.lint(stack, &lock, upstream).await?);
    lock.sort();
    failures.sort_by(|a: &ArtifactFailure, b| a.reference.cmp(&b.reference));
    ctx.events.emit(Event::PhaseFinished { phase: "resolve" });
    Ok(Resolution { lock, failures })
}

/// The objects of all sources, and what is known of what they install.
struct Configuration {
    objects: Vec<Seen>,
    knowledge: Knowledge,
    is_whole: bool,
}

/// Puts into `lock` what was found.
fn gather(discoveries: Vec<Discovery>, knowledge: Knowledge, lock: &mut Lock) -> Configuration {
    let mut all = Configuration { objects: Vec::new(), knowledge, is_whole: true };
    for discovery in discoveries {
        lock.sources.extend(discovery.source);
        lock.artifacts.extend(discovery.made);
        lock.findings.extend(discovery.findings);
        all.is_whole &= discovery.objects.is_some();
        all.objects.extend(discovery.objects.into_iter().flatten());
    }
    all
}

impl Configuration {
    async fn lint(
        &self,
        stack: &Stack,
        lock: &Lock,
        upstream: &Upstream,
    ) -> Result<Vec<Finding>, UpstreamError> {
        let Self { objects, knowledge, is_whole } = self;
        let (artifacts, is_whole) = (&lock.artifacts, *is_whole);
        let brought = brought::by(objects, artifacts, upstream).await?;
        Ok(lint(&Sight { stack, artifacts, objects, brought: &brought, knowledge, is_whole }))
    }
}

struct Run<'a> {
    before: Option<&'a Lock>,
    /// What `before` holds.
    pins: BTreeMap<&'a Reference, &'a Artifact>,
    upstream: &'a Upstream,
    options: &'a ResolveOptions,
    ctx: &'a Ctx,
    cosign: CosignTags,
}

struct Answer {
    found: Found,
    failure: Option<ArtifactFailure>,
}

impl Run<'_> {
    async fn pinned(&self, want: &Want) -> Result<Answer, UpstreamError> {
        let item = want.reference.to_string();
        match self.pin(want).await {
            Ok(mut found) => {
                want.label(&mut found.artifact);
                self.ctx.events.emit(Event::ItemFinished { item });
                Ok(Answer { found, failure: None })
            }
            Err(err) if err.stops_everything() => Err(err),
            Err(err) => {
                let reason = error::chain(&err);
                self.ctx
                    .events
                    .emit(Event::ItemFailed { item: item.clone(), reason: reason.clone() });
                // A registry that is down for an hour takes no pin away.
                let found = self
                    .earlier(want)
                    .or_else(|| self.for_other_platforms(want, &reason))
                    .unwrap_or_else(|| open(want, format!("it could not be pinned: {reason}")));
                Ok(Answer { found, failure: Some(ArtifactFailure { reference: item, error: err }) })
            }
        }
    }

    async fn pin(&self, want: &Want) -> Result<Found, UpstreamError> {
        let moves = self.options.update.moves(&want.reference);
        if let Some(found) = self.earlier(want).filter(|_| !moves) {
            return Ok(found);
        }
        let keep = self.earlier_pin(want).filter(|_| !moves);
        if self.options.offline && want.written_origin().is_none() {
            let known = self.for_other_platforms(want, "nobody was asked");
            let not_known = "no earlier lock pins it, and nobody was asked";
            return Ok(known.unwrap_or_else(|| open(want, not_known.to_owned())));
        }
        let (origin, local_pin) = self.origin(want).await?;
        let wanted = Wanted {
            reference: &want.reference,
            pin: local_pin.or(keep.and_then(|artifact| artifact.digest)),
            platforms: &want.platforms,
            before: keep,
        };
        image::pin(&wanted, &origin, &self.upstream.store, &self.cosign, self.ctx).await
    }

    /// Where the bytes are, and the digest that a local image has whatever its name says.
    async fn origin(&self, want: &Want) -> Result<(Origin, Option<Digest>), UpstreamError> {
        let (owned, base) = (want.clone(), self.upstream.base.clone());
        let open = move || LocalImage::open(owned.origin(), &owned.reference, &base);
        let opened = blocking(open).await.map_err(|err| match &want.source {
            Some(source) => err.at(source.line, &source.written),
            None => err,
        });
        if let Some(image) = opened? {
            let root = image.root().digest;
            return Ok((Origin::Local(Arc::new(image)), Some(root)));
        }
        let repository = Repository::from(&want.reference);
        Ok((Origin::Registry { client: self.upstream.client.clone(), repository }, None))
    }

    fn earlier_pin(&self, want: &Want) -> Option<&Artifact> {
        let before = self.pins.get(&want.reference).copied();
        before.filter(|it| it.digest.is_some() && it.from == want.written_origin())
    }

    /// What the earlier lock has, if that is still what is asked for.
    fn earlier(&self, want: &Want) -> Option<Found> {
        let artifact = self.earlier_pin(want).filter(|artifact| still_answers(artifact, want))?;
        Some(self.kept(artifact, want))
    }

    /// What the earlier lock has while its platforms cannot be chosen anew: no more than was resolved then, and said to
    /// be another choice than the one that is asked for.
    fn for_other_platforms(&self, want: &Want, why: &str) -> Option<Found> {
        // What a local file is made of is known when it can be read, and of no use until then.
        let artifact = self.earlier_pin(want).filter(|_| want.written_origin().is_none())?;
        let mut found = self.kept(artifact, want);
        let message = format!(
            "its platforms have changed; those that it had before stay until they can be looked up: {why}"
        );
        found.findings.push(Finding::error("platforms-stale", &want.reference, message));
        Some(found)
    }

    fn kept(&self, artifact: &Artifact, want: &Want) -> Found {
        let mut artifact = artifact.clone();
        want.label(&mut artifact);
        let findings = self.earlier_findings(&artifact.reference);
        Found { artifact, findings }
    }

    /// What was said of the artifact itself; what was said of the stack is said anew.
    fn earlier_findings(&self, reference: &Reference) -> Vec<Finding> {
        let name = reference.to_string();
        let is_of_the_stack =
            |finding: &Finding| [EXCLUDED, PLATFORMS_STALE].contains(&&*finding.code);
        let findings = self.before.into_iter().flat_map(|lock| &lock.findings);
        findings
            .filter(|finding| finding.object == name && !is_of_the_stack(finding))
            .cloned()
            .collect()
    }
}

/// Whether a pin of the earlier lock is still what is asked for, so that nobody need be asked.
fn still_answers(artifact: &Artifact, want: &Want) -> bool {
    let wants = |child: &airlift_spec::lock::Child| {
        child.platform.as_ref().is_none_or(|platform| want.platforms.wants(platform))
    };
    // A local file may have changed under the same name: it is cheap to look again.
    want.written_origin().is_none()
        && artifact.children.iter().all(wants)
        && !artifact.left_out.iter().any(|child| child.platform.is_some() && wants(child))
}

/// What the lock has of it while nothing pins it.
fn open(want: &Want, message: String) -> Found {
    let finding = Finding::error("unpinned", &want.reference, message);
    Found { artifact: want.unpinned(), findings: vec![finding] }
}

/// Says which tags and addresses of the lock lead elsewhere upstream by now. Changes nothing.
pub async fn check_upstream(
    lock: &Lock,
    upstream: &Upstream,
    options: &ResolveOptions,
    ctx: &Ctx,
) -> Result<(Vec<Finding>, Vec<ArtifactFailure>), UpstreamError> {
    let tagged = lock.artifacts.iter().filter(|artifact| artifact.from.is_none());
    let tagged = tagged.filter_map(|artifact| Some((artifact, artifact.reference.tag()?)));
    let answers = futures::stream::iter(tagged)
        .map(|(artifact, tag)| async move {
            let repository = Repository::from(&artifact.reference);
            (artifact, upstream.client.describe(&repository, tag, ctx).await)
        })
        .buffer_unordered(options.max_in_flight.get())
        .collect::<Vec<_>>();
    let answers = ctx.cancel.run_until_cancelled(answers).await.ok_or(UpstreamError::Cancelled)?;
    let remotes = remotes::check_upstream(lock, upstream, options, ctx);
    let remotes = ctx.cancel.run_until_cancelled(remotes).await.ok_or(UpstreamError::Cancelled)?;
    let (more, mut failures) = remotes;
    let mut findings = BTreeMap::new();
    for (artifact, answer) in answers {
        let reference = artifact.reference.to_string();
        match answer {
            Ok(Some(now)) if Some(now.digest) == artifact.digest => {}
            Ok(Some(now)) => {
                let message = format!("its tag leads to {} now", now.digest);
                findings.insert(
                    reference.clone(),
                    Finding::warning("upstream-moved", reference, message),
                );
            }
            Ok(None) => {
                let message = "its tag is gone".to_owned();
                findings.insert(
                    reference.clone(),
                    Finding::warning("upstream-gone", reference, message),
                );
            }
            Err(source) => {
                failures.push(ArtifactFailure {
                    error: UpstreamError::Client { reference: reference.clone(), source },
                    reference,
                });
            }
        }
    }
    Ok((findings.into_values().chain(more).collect(), failures))
}
