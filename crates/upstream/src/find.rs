//! Sources that find others: what each of them comes to.
//!
//! What an earlier lock says of a source stands as long as neither the source nor a file that it names has changed,
//! so a second run looks into nothing and asks nobody. A source that fails keeps what it found before.

use std::collections::BTreeMap;

use airlift_helm::is_kustomization;
use airlift_oc_mirror::Keyring;
use airlift_scan::knowledge::Knowledge;
use airlift_spec::lock::{Artifact, Because, Kind, RemotePin};
use airlift_spec::stack::{
    CatalogSource, ChartPlace, Finder, FinderKind, ManifestsSource, Place, Stack,
};
use airlift_spec::{Ctx, Digest, Event, Finding, Lock, error};
use futures::StreamExt as _;

use crate::charts::Charts;
use crate::inputs::paths;
use crate::lint::{CODES, Seen};
use crate::made::is_made;
use crate::releases::Lookup;
use crate::remotes::Remotes;
use crate::resolve::{ResolveOptions, Update, Upstream};
use crate::want::Want;
use crate::{ArtifactFailure, UpstreamError};

mod catalog;
mod chart;
mod known;
mod manifests;
mod release;

/// What one source found.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// Its key and the digest of what it asks for; none where it failed, so that it is looked into again.
    pub(crate) source: Option<(String, Digest)>,
    /// To be pinned.
    pub(crate) wants: Vec<Want>,
    /// Made here, and so pinned already.
    pub(crate) made: Vec<Artifact>,
    pub(crate) findings: Vec<Finding>,
    /// The objects that it comes to, to be held against all else; none where they cannot be seen this time.
    pub(crate) objects: Option<Vec<Seen>>,
}

/// What came of all sources that find others.
#[derive(Debug, Default)]
pub(crate) struct Everything {
    pub(crate) discoveries: Vec<Discovery>,
    pub(crate) failures: Vec<ArtifactFailure>,
    pub(crate) remotes: BTreeMap<String, RemotePin>,
    /// What is known of products, with what the stack brings.
    pub(crate) knowledge: Knowledge,
}

/// Looks into all sources of `stack` that find others.
///
/// # Errors
///
/// Only what stops everything. A source that fails is among the failures.
pub(crate) async fn all(
    stack: &Stack,
    before: Option<&Lock>,
    inputs: &BTreeMap<String, Digest>,
    upstream: &Upstream,
    options: &ResolveOptions,
    ctx: &Ctx,
) -> Result<Everything, UpstreamError> {
    let knowledge = known::knowledge(stack, upstream).await?;
    if stack.finders.is_empty() {
        return Ok(Everything { knowledge, ..Everything::default() });
    }
    let items = stack.finders.len() as u64;
    ctx.events.emit(Event::PhaseStarted { phase: "find", items, total_bytes: 0 });
    let digests = stack.finders();
    // Only releases are signed like that. Where the keys cannot be read, they are looked into, which says so.
    let has_releases = stack.finders.iter().any(|it| matches!(it.kind, FinderKind::Release(_)));
    let keys = if has_releases { Lookup { upstream, ctx }.keys().await.ok() } else { None };
    let remotes = Remotes::new(before, upstream, options, ctx);
    let run =
        Run { stack, before, inputs, digests, knowledge, keys, remotes, upstream, options, ctx };
    let run = &run;
    let (catalogs, others): (Vec<&Finder>, Vec<&Finder>) =
        stack.finders.iter().partition(|finder| matches!(finder.kind, FinderKind::Catalog(_)));
    let others = futures::stream::iter(others)
        .map(|finder| async move { (finder, run.one(finder).await) })
        .buffered(options.max_in_flight.get())
        .collect::<Vec<_>>();
    let (others, catalogs) = futures::join!(others, run.catalogs(catalogs));
    let mut all = Everything { remotes: run.remotes.pins().await, ..Everything::default() };
    for (finder, answer) in others.into_iter().chain(catalogs) {
        let item = finder.key();
        match answer {
            Ok(discovery) => {
                ctx.events.emit(Event::ItemFinished { item });
                all.discoveries.push(discovery);
            }
            Err(err) if err.stops_everything() => return Err(err),
            Err(err) => {
                let reason = error::chain(&err);
                ctx.events.emit(Event::ItemFailed { item: item.clone(), reason: reason.clone() });
                all.discoveries.push(run.failed(finder, &err, &reason));
                all.failures.push(ArtifactFailure { reference: item, error: err });
            }
        }
    }
    ctx.events.emit(Event::PhaseFinished { phase: "find" });
    let has_failed = !all.failures.is_empty();
    all.knowledge.clone_from(&run.knowledge);
    for (address, pin) in before.into_iter().flat_map(|lock| &lock.remotes) {
        // What was not looked into keeps its pins; which those of a source that failed are, nobody knows.
        if has_failed || run.reads(address) {
            all.remotes.entry(address.clone()).or_insert_with(|| pin.clone());
        }
    }
    Ok(all)
}

struct Run<'a> {
    stack: &'a Stack,
    before: Option<&'a Lock>,
    inputs: &'a BTreeMap<String, Digest>,
    digests: BTreeMap<String, Digest>,
    knowledge: Knowledge,
    /// Those whose signatures of releases count.
    keys: Option<Keyring>,
    remotes: Remotes,
    upstream: &'a Upstream,
    options: &'a ResolveOptions,
    ctx: &'a Ctx,
}

type Answer = Result<Discovery, UpstreamError>;

impl Run<'_> {
    /// Looks into a source that stands by itself.
    async fn one(&self, finder: &Finder) -> Answer {
        if let Some(answer) = self.without_looking(finder) {
            return self.seen_again(finder, answer?).await;
        }
        let found = match &finder.kind {
            FinderKind::Manifests(wanted) => {
                let (stack, remotes) = (self.stack, self.remotes.for_source());
                let found =
                    manifests::find(wanted, finder, stack, &remotes, self.upstream, self.ctx).await;
                if found.is_ok() {
                    remotes.pin().await;
                }
                found
            }
            FinderKind::Chart(wanted) => {
                let charts = Charts { upstream: self.upstream, ctx: self.ctx };
                chart::find(wanted, finder, self.stack, &self.knowledge, charts).await
            }
            FinderKind::Release(wanted) => {
                release::find(wanted, finder, self.stack, self.upstream, self.ctx).await
            }
            FinderKind::Catalog(_) => unreachable!("catalogs are looked into together"),
        };
        self.done(finder, found)
    }

    /// A source that still stands, with its objects: they are held against what others find by now. Nobody is asked
    /// for them, and where they are not at hand, what was said of them stands.
    async fn seen_again(&self, finder: &Finder, mut found: Discovery) -> Answer {
        let (upstream, ctx) = (self.upstream, self.ctx);
        let objects = match &finder.kind {
            FinderKind::Manifests(wanted) => {
                manifests::again(wanted, finder, &self.remotes, upstream).await?
            }
            FinderKind::Chart(wanted) => {
                let before = self.made_or_pinned(finder);
                chart::again(wanted, before, finder, upstream, ctx).await?
            }
            FinderKind::Catalog(_) | FinderKind::Release(_) => return Ok(found),
        };
        if objects.is_some() {
            found.findings.retain(|it| !CODES.contains(&&*it.code));
        }
        Ok(Discovery { objects, ..found })
    }

    /// The chart that a source came to.
    fn made_or_pinned(&self, finder: &Finder) -> Option<&Artifact> {
        let key = finder.key();
        let mut artifacts = self.before.into_iter().flat_map(|lock| &lock.artifacts);
        artifacts.find(|it| it.kind == Kind::Chart && it.because.iter().any(|it| it.from == key))
    }

    /// Looks into all catalogs, or into none: what a bundle of one requires, another may have.
    async fn catalogs<'f>(&self, finders: Vec<&'f Finder>) -> Vec<(&'f Finder, Answer)> {
        let stand = finders.iter().all(|finder| self.still_stands(finder));
        let (mut answers, mut open) = (Vec::new(), Vec::new());
        for finder in finders {
            match (&finder.kind, self.without_looking(finder)) {
                (_, Some(answer)) if stand || answer.is_err() => answers.push((finder, answer)),
                (FinderKind::Catalog(wanted), _) => open.push((wanted, finder)),
                _ => {}
            }
        }
        let (stack, knowledge) = (self.stack, &self.knowledge);
        let found =
            catalog::find(&open, stack, knowledge, self.upstream, self.options, self.ctx).await;
        let done =
            |((_, finder), found): (&(_, &'f Finder), _)| (*finder, self.done(finder, found));
        answers.extend(open.iter().zip(found).map(done));
        answers
    }

    fn done(&self, finder: &Finder, found: Answer) -> Answer {
        let found = found.map_err(|err| err.at(finder.line, &finder.written))?;
        Ok(Discovery { source: Some(self.source(finder)), ..found })
    }

    fn source(&self, finder: &Finder) -> (String, Digest) {
        let key = finder.key();
        let digest = self.digests[&key];
        (key, digest)
    }

    /// What can be answered without looking: that it still stands, or that nobody is to be asked.
    fn without_looking(&self, finder: &Finder) -> Option<Answer> {
        if self.still_stands(finder) {
            let source = Some(self.source(finder));
            return Some(Ok(Discovery { source, ..self.found_before(finder) }));
        }
        let is_out_of_reach = self.options.offline && is_elsewhere(finder);
        is_out_of_reach.then(|| Err(UpstreamError::Offline.at(finder.line, &finder.written)))
    }

    /// Whether a source is what lies at `address`.
    fn reads(&self, address: &str) -> bool {
        let is_there = |finder: &Finder| match &finder.kind {
            FinderKind::Manifests(ManifestsSource { place: Place::Url(url) }) => url == address,
            _ => false,
        };
        self.stack.finders.iter().any(is_there)
    }

    /// Whether what the earlier lock says of the source still answers it.
    fn still_stands(&self, finder: &Finder) -> bool {
        let (key, digest) = self.source(finder);
        let Some(before) = self.before else { return false };
        let moves = match &self.options.update {
            Update::Nothing => false,
            Update::Everything => true,
            Update::Only(chosen) => {
                self.made_before(finder).any(|it| chosen.contains(&it.reference))
            }
        };
        let is_unchanged = |path: &&str| {
            let now = self.inputs.get(*path);
            now.is_some() && now == before.inputs.get(*path)
        };
        // What kustomize takes from elsewhere is no part of the source's digest, so that it is built each time.
        let is_built =
            paths(finder).iter().any(|path| is_kustomization(&self.upstream.base.join(path)));
        // What was taken without a signature once is not taken so for ever.
        let is_trusted = !matches!(finder.kind, FinderKind::Release(_))
            || self.upstream.releases.trust_without_signature
            || self
                .keys
                .as_ref()
                .is_some_and(|keys| release::are_signed(before.artifacts.iter(), &key, keys));
        !moves
            && !is_built
            && is_trusted
            && before.sources.get(&key) == Some(&digest)
            && paths(finder).iter().all(is_unchanged)
            && self.stack.knowledge.iter().all(|pack| is_unchanged(&pack.path.as_str()))
    }

    /// What the earlier lock has of the source, to be pinned as it was.
    fn found_before(&self, finder: &Finder) -> Discovery {
        let key = finder.key();
        let Some(before) = self.before else { return Discovery::default() };
        let known = before.brought_by(|source| source == key);
        let from_here = |because: &Because| because.from == key || known.contains(&because.from);
        let wants = before
            .artifacts
            .iter()
            .filter(|artifact| !is_made(artifact))
            .filter_map(|artifact| {
                let because: Vec<_> =
                    artifact.because.iter().filter(|it| from_here(it)).cloned().collect();
                if because.is_empty() {
                    return None;
                }
                let platforms = finder.platforms(self.stack).clone();
                let want = Want::image(artifact.reference.clone(), platforms);
                let (name, version) = (artifact.name.clone(), artifact.version.clone());
                let (mirrored_as, signature) =
                    (artifact.mirrored_as.clone(), artifact.signature.clone());
                let (kind, because) = (artifact.kind, because);
                Some(Want { kind, name, version, because, mirrored_as, signature, ..want })
            })
            .collect();
        let said = before.findings.iter();
        let said =
            said.filter(|it| it.object == key || it.reference.as_deref() == Some(key.as_str()));
        Discovery {
            source: None,
            wants,
            made: self.made_before(finder).cloned().collect(),
            findings: said.filter(|it| !FAILED.contains(&&*it.code)).cloned().collect(),
            // Catalogs and releases have no objects that are applied.
            objects: matches!(finder.kind, FinderKind::Catalog(_) | FinderKind::Release(_))
                .then(Vec::new),
        }
    }

    /// The artifacts that an earlier run made of the source.
    fn made_before(&self, finder: &Finder) -> impl Iterator<Item = &Artifact> {
        let key = finder.key();
        let artifacts = self.before.into_iter().flat_map(|lock| &lock.artifacts);
        artifacts.filter(move |artifact| {
            is_made(artifact) && artifact.because.iter().any(|because| because.from == key)
        })
    }

    /// What is said of a source that failed, and what it found before.
    fn failed(&self, finder: &Finder, err: &UpstreamError, reason: &str) -> Discovery {
        let mut found = self.found_before(finder);
        let message = format!("it could not be looked into: {reason}");
        let key = finder.key();
        found.findings.push(if err.is_elsewhere() {
            Finding::error("package-elsewhere", key, message)
        } else {
            Finding::error("not-looked-into", key, message)
        });
        found
    }
}

const FAILED: [&str; 2] = ["not-looked-into", "package-elsewhere"];

/// Whether somebody has to be asked to look into the source.
fn is_elsewhere(finder: &Finder) -> bool {
    let is_remote = |place: &Place| match place {
        Place::Path(_) => false,
        Place::Image(written) => !written.starts_with("oci:"),
        Place::Url(_) => true,
    };
    match &finder.kind {
        FinderKind::Catalog(CatalogSource { place, .. }) => is_remote(place),
        FinderKind::Manifests(manifests) => is_remote(&manifests.place),
        FinderKind::Chart(chart) => !matches!(chart.place, ChartPlace::Path(_)),
        FinderKind::Release(_) => true,
    }
}
