//! Carrying a plan out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use airlift_spec::oci::{MAX_MANIFEST_BYTES, Manifest};
use airlift_spec::placement::keep_alive_tag;
use airlift_spec::{Algorithm, Class, Ctx, Descriptor, Digest, Event, Finding};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use super::attach;
use super::blobs::Blobs;
use super::plan::FORMAT;
use super::plan::{
    ArtifactPlan, AttachStep, Failure, LoadPlan, ManifestStep, State, TagAction, TagStep, lacking,
};
use super::report::{Fate, LoadReport, Outcome, Tally};
use super::request::Request;
use super::tags::decide_again;
use super::{LoadError, LoadOptions, Target};
use crate::receipt::{self, Receipt};
use crate::{Content, Sources};

/// Moves what `plan` says is missing, and nothing else.
///
/// # Cancel safety
///
/// Cancelling, dropping the future or killing the process loses nothing that is complete in the registry; the
/// next plan finds it there. Uploads that were under way go on where the registry still knows them.
///
/// # Errors
///
/// Only a cancellation. What failed is in the report, artifact by artifact.
pub async fn run(
    plan: &LoadPlan,
    sources: &Sources,
    target: &Target,
    options: &LoadOptions,
    ctx: &Ctx,
) -> Result<LoadReport, LoadError> {
    target.will_be_pushed_to()?;
    let tally = Tally::default();
    let load = Load {
        plan,
        sources,
        target,
        options,
        ctx,
        blobs: Blobs::new(&plan.blobs, sources, target, options, &tally, ctx),
        tally: &tally,
        promised: OnceCell::new(),
        arrived: Mutex::new(BTreeSet::new()),
        findings: Mutex::new(plan.findings.clone()),
        attached: Mutex::new(Vec::new()),
        requests_before: target.client.counters().requests,
    };
    let report =
        ctx.cancel.run_until_cancelled(Box::pin(load.go())).await.ok_or(LoadError::Cancelled)?;
    if report.class() == Some(Class::Cancelled) { Err(LoadError::Cancelled) } else { Ok(report) }
}

struct Load<'a> {
    plan: &'a LoadPlan,
    sources: &'a Sources,
    target: &'a Target,
    options: &'a LoadOptions,
    ctx: &'a Ctx,
    blobs: Blobs<'a>,
    tally: &'a Tally,
    /// Whether the state says which tags are about to be set: written once, before the first of them is.
    promised: OnceCell<Result<(), Failure>>,
    /// Indexes in `plan.artifacts` of what is complete by now.
    arrived: Mutex<BTreeSet<usize>>,
    findings: Mutex<Vec<Finding>>,
    requests_before: u64,
    /// Fallback indexes that were written, to be read once more at the end.
    attached: Mutex<Vec<(String, Digest, Vec<Descriptor>)>>,
}

impl Load<'_> {
    async fn go(&self) -> LoadReport {
        let items: Vec<usize> = self.indexes(|state| *state == State::Push);
        let (phase, total_bytes) = ("load", self.plan.bytes_to_send());
        let events = &self.ctx.events;
        events.emit(Event::PhaseStarted { phase, items: items.len() as u64, total_bytes });
        let mut fates: BTreeMap<usize, Fate> = BTreeMap::new();
        for index in self.indexes(|state| *state == State::Present) {
            fates.insert(index, Fate::Present);
            self.arrived.lock().expect(UNPOISONED).insert(index);
        }
        // The registry may refuse sparse indexes: find out with the smallest one, before the bulk moves.
        let is_sparse = |index: &usize| self.plan.artifacts[*index].is_sparse;
        let mut sparse: Vec<usize> = items.iter().copied().filter(is_sparse).collect();
        sparse.sort_by_key(|index| self.bytes_of(*index));
        let mut goes_on = true;
        for index in sparse {
            let fate = self.push(index).await;
            goes_on = !self.is_sparse_refusal(index, &fate);
            let is_answered = fate == Fate::Pushed || !goes_on;
            fates.insert(index, fate);
            if is_answered {
                break;
            }
        }
        if goes_on {
            let rest = items.iter().copied().filter(|index| !fates.contains_key(index));
            let rest: Vec<usize> = rest.collect();
            let pushes =
                rest.into_iter().map(|index| async move { (index, self.push(index).await) });
            let width = self.options.parallel.get();
            let mut pushes = stream::iter(pushes).buffer_unordered(width);
            while let Some((index, fate)) = pushes.next().await {
                fates.insert(index, fate);
            }
        }
        self.look_at_attachments_again().await;
        self.write_state(&mut fates).await;
        events.emit(Event::PhaseFinished { phase });
        self.report(fates)
    }

    fn indexes(&self, wanted: impl Fn(&State) -> bool) -> Vec<usize> {
        let artifacts = self.plan.artifacts.iter().enumerate();
        artifacts.filter(|(_, artifact)| wanted(&artifact.state)).map(|(index, _)| index).collect()
    }

    fn bytes_of(&self, index: usize) -> u64 {
        let blobs = self.plan.artifacts[index].blobs.iter();
        blobs.filter_map(|blob| self.plan.blobs.get(blob)).map(|blob| blob.bytes).sum()
    }

    fn is_sparse_refusal(&self, index: usize, fate: &Fate) -> bool {
        let Fate::Failed(failure) = fate else { return false };
        if failure.class != Class::Findings {
            return false;
        }
        let artifact = &self.plan.artifacts[index];
        let finding = Finding::error("sparse-index", &self.target.host, &failure.reason);
        self.findings.lock().expect(UNPOISONED).push(finding.of(&artifact.reference));
        true
    }

    async fn push(&self, index: usize) -> Fate {
        let artifact = &self.plan.artifacts[index];
        let item = artifact.reference.to_string();
        match Box::pin(self.push_artifact(index, artifact)).await {
            Ok(()) => {
                self.ctx.events.emit(Event::ItemFinished { item });
                Fate::Pushed
            }
            Err(failure) => {
                let reason = failure.reason.clone();
                self.ctx.events.emit(Event::ItemFailed { item, reason });
                Fate::Failed(failure)
            }
        }
    }

    /// Everything that the tags reach comes before the tags.
    async fn push_artifact(&self, index: usize, artifact: &ArtifactPlan) -> Result<(), Failure> {
        let blobs = artifact.blobs.iter().map(|blob| self.blobs.bring(blob, &artifact.repository));
        let width = self.options.parallel.get();
        stream::iter(blobs).buffer_unordered(width).try_collect::<()>().await?;
        for step in artifact.manifests.iter().filter(|step| !comes_with_its_tag(artifact, step)) {
            self.push_manifest(artifact, step).await?;
        }
        for step in &artifact.attach {
            self.attach(artifact, step).await?;
        }
        self.arrived.lock().expect(UNPOISONED).insert(index);
        if artifact.tags.iter().any(is_written) {
            self.promise_tags().await?;
        }
        for step in artifact.tags.iter().filter(|step| is_written(step)) {
            self.write_tag(artifact, step).await?;
        }
        Ok(())
    }

    async fn push_manifest(
        &self,
        artifact: &ArtifactPlan,
        step: &ManifestStep,
    ) -> Result<(), Failure> {
        let (_, bytes) = self.manifest(artifact, &step.digest).await?;
        let wanted = step.digest.to_string();
        let is_index = artifact.is_sparse && step.digest == artifact.digest;
        self.put(&artifact.repository, &wanted, &step.media_type, &bytes, is_index).await?;
        self.tally.pushed_manifest();
        Ok(())
    }

    async fn put(
        &self,
        repository: &str,
        wanted: &str,
        media_type: &str,
        bytes: &[u8],
        is_sparse: bool,
    ) -> Result<(), Failure> {
        let place = self.target.repository(repository);
        let pushed =
            self.target.client.push_manifest(&place, wanted, media_type, bytes, self.ctx).await;
        match pushed {
            Ok(_) => Ok(()),
            Err(err) if is_sparse && err.code() == Some("MANIFEST_BLOB_UNKNOWN") => {
                Err(sparse_refusal(&self.target.host))
            }
            Err(err) => Err(Failure::of(&err)),
        }
    }

    async fn attach(&self, artifact: &ArtifactPlan, step: &AttachStep) -> Result<(), Failure> {
        let mut entries = Vec::new();
        for digest in &step.referrers {
            let (media_type, bytes) = self.manifest(artifact, digest).await?;
            let manifest = Manifest::parse(&bytes, Some(&media_type));
            let manifest = manifest.map_err(|err| Failure::of(&err))?;
            entries.push(attach::entry(*digest, &bytes, manifest));
        }
        let place = &artifact.repository;
        let written = attach::write(self.target, place, &step.subject, &entries, self.ctx).await;
        written.map_err(|err| Failure::of(&err))?;
        let mut attached = self.attached.lock().expect(UNPOISONED);
        attached.push((place.clone(), step.subject, entries));
        Ok(())
    }

    /// A manifest of the artifact with its type, from the sources or from the registry.
    async fn manifest(
        &self,
        artifact: &ArtifactPlan,
        digest: &Digest,
    ) -> Result<(String, Bytes), Failure> {
        let read = self.sources.read_small(digest, MAX_MANIFEST_BYTES).await;
        if let Some(bytes) = read.map_err(|err| Failure::of(&err))? {
            let manifest = Manifest::parse(&bytes, None).map_err(|err| Failure::of(&err))?;
            return Ok((manifest.media_type, bytes));
        }
        let place = self.target.repository(&artifact.repository);
        let fetched = self.target.client.manifest(&place, &digest.to_string(), self.ctx).await;
        let fetched = fetched.map_err(|err| Failure::of(&err))?.ok_or_else(|| vanished(digest))?;
        Ok((fetched.media_type, Bytes::from(fetched.bytes)))
    }

    /// Writes the state with every tag that is about to be set, once for all artifacts.
    async fn promise_tags(&self) -> Result<(), Failure> {
        let promise = self.promised.get_or_init(|| async {
            for stack in self.plan.locks.keys() {
                self.write_receipt(stack, Tags::Promised).await?;
            }
            Ok(())
        });
        promise.await.clone()
    }

    async fn write_tag(&self, artifact: &ArtifactPlan, step: &TagStep) -> Result<(), Failure> {
        let place = self.target.repository(&artifact.repository);
        // A large load takes hours; somebody else may have set the tag meanwhile.
        let now = self.target.client.describe(&place, &step.tag, self.ctx).await;
        let now = now.map_err(|err| Failure::of(&err))?.map(|found| found.digest);
        let now = self.as_we_name_it(artifact, now, &step.digest).await?;
        let policy = self.options.tags;
        match (decide_again(now, step.found, step.digest, &step.action, policy), now) {
            (TagAction::Keep, _) => Ok(()),
            (TagAction::Leave { why }, _) => self.leave_tag(artifact, step, &why).await,
            (TagAction::Move, Some(now)) => {
                self.keep_alive(artifact, &now).await?;
                self.set_tag(artifact, &step.tag, &step.digest).await
            }
            (TagAction::Set | TagAction::Move, _) => {
                self.set_tag(artifact, &step.tag, &step.digest).await
            }
        }
    }

    /// A registry may name what a tag points to by another algorithm than the one that we know it by.
    async fn as_we_name_it(
        &self,
        artifact: &ArtifactPlan,
        found: Option<Digest>,
        wanted: &Digest,
    ) -> Result<Option<Digest>, Failure> {
        match found {
            Some(found) if found.algorithm() != wanted.algorithm() => {
                let (_, bytes) = self.manifest(artifact, wanted).await?;
                Ok(Some(if found.matches(&bytes) { *wanted } else { found }))
            }
            found => Ok(found),
        }
    }

    async fn set_tag(
        &self,
        artifact: &ArtifactPlan,
        tag: &str,
        digest: &Digest,
    ) -> Result<(), Failure> {
        let (media_type, bytes) = self.manifest(artifact, digest).await?;
        self.put(&artifact.repository, tag, &media_type, &bytes, false).await?;
        self.tally.set_tag();
        Ok(())
    }

    /// The registry collects what no tag holds: what a tag leaves gets another one first.
    async fn keep_alive(&self, artifact: &ArtifactPlan, digest: &Digest) -> Result<(), Failure> {
        let place = self.target.repository(&artifact.repository);
        let fetched = self.target.client.manifest(&place, &digest.to_string(), self.ctx).await;
        let Some(old) = fetched.map_err(|err| Failure::of(&err))? else { return Ok(()) };
        let tag = keep_alive_tag(digest);
        self.put(&artifact.repository, &tag, &old.media_type, &old.bytes, false).await?;
        self.tally.set_tag();
        Ok(())
    }

    async fn leave_tag(
        &self,
        artifact: &ArtifactPlan,
        step: &TagStep,
        why: &str,
    ) -> Result<(), Failure> {
        let object = format!("{}:{}", artifact.repository, step.tag);
        let finding = if step.digest == artifact.digest {
            self.set_tag(artifact, &keep_alive_tag(&step.digest), &step.digest).await?;
            Finding::error("tag-conflict", object, why)
        } else {
            Finding::warning("signature-differs", object, why)
        };
        self.findings.lock().expect(UNPOISONED).push(finding.of(&artifact.reference));
        Ok(())
    }

    /// Somebody who read a fallback index before us may have written it after us.
    async fn look_at_attachments_again(&self) {
        let attached = std::mem::take(&mut *self.attached.lock().expect(UNPOISONED));
        for (place, subject, entries) in attached {
            let again = attach::write(self.target, &place, &subject, &entries, self.ctx).await;
            if let Err(err) = again {
                let finding =
                    Finding::error("referrers-lost", &place, airlift_spec::error::chain(&err));
                self.findings.lock().expect(UNPOISONED).push(finding);
            }
        }
    }

    /// The state at the end: what arrived, and the tags that were set.
    async fn write_state(&self, fates: &mut BTreeMap<usize, Fate>) {
        for stack in self.plan.locks.keys() {
            let Err(failure) = self.write_receipt(stack, Tags::Arrived).await else { continue };
            for (index, fate) in fates.iter_mut() {
                let is_ours = self.plan.artifacts[*index].stack == *stack;
                if is_ours && matches!(fate, Fate::Pushed | Fate::Present) {
                    *fate = Fate::Failed(failure.clone());
                }
            }
        }
    }

    async fn write_receipt(&self, stack: &str, tags: Tags) -> Result<(), Failure> {
        let receipt = self.receipt(stack, tags);
        let is_empty = receipt.manifests.is_empty() && receipt.tags.is_empty();
        // What the registry said when the plan was made still holds: states only grow.
        let standing = self.plan.states.get(stack);
        let is_known = standing.is_some_and(|there| receipt.clone().merged_with(there) == *there);
        if is_empty || is_known {
            return Ok(());
        }
        let written = receipt::write(self.target, &receipt, self.ctx).await;
        written.map_err(|err| Failure::of(&err))
    }

    fn receipt(&self, stack: &str, tags: Tags) -> Receipt {
        let arrived = self.arrived.lock().expect(UNPOISONED).clone();
        let mut receipt = receipt::empty(self.target, stack, self.plan.locks[stack]);
        for (index, artifact) in self.plan.artifacts.iter().enumerate() {
            if artifact.stack != stack || !matches!(artifact.state, State::Push | State::Present) {
                continue;
            }
            let is_here = arrived.contains(&index);
            for digest in artifact.arrives.iter().filter(|_| is_here) {
                receipt.add_manifest(&artifact.home, *digest);
            }
            let ours =
                artifact.tags.iter().filter(|step| !matches!(step.action, TagAction::Leave { .. }));
            for step in ours.filter(|_| is_here || tags == Tags::Promised) {
                receipt.add_tag(&artifact.home, &step.tag, step.digest);
            }
        }
        receipt
    }

    fn report(&self, mut fates: BTreeMap<usize, Fate>) -> LoadReport {
        let mut findings = std::mem::take(&mut *self.findings.lock().expect(UNPOISONED));
        let mut artifacts = Vec::new();
        for (index, artifact) in self.plan.artifacts.iter().enumerate() {
            let result = match (&artifact.state, fates.remove(&index)) {
                (State::Incomplete { missing }, _) => {
                    let (object, said) = (artifact.reference.to_string(), lacking(missing));
                    findings.push(Finding::error("incomplete", object, said));
                    Fate::Incomplete { missing: missing.clone() }
                }
                (State::Failed(failure), _) => Fate::Failed(failure.clone()),
                (State::Present | State::Push, fate) => fate.unwrap_or(Fate::NotTried),
            };
            artifacts.push(Outcome {
                stack: artifact.stack.clone(),
                reference: artifact.reference.clone(),
                repository: artifact.repository.clone(),
                digest: artifact.digest,
                result,
            });
        }
        findings.sort();
        findings.dedup();
        let request = Request::of(&self.plan.artifacts, &counted_on(self.sources));
        let requests = self.target.client.counters().requests - self.requests_before;
        let totals = self.tally.totals(requests);
        LoadReport { format: FORMAT, artifacts, findings, totals, request }
    }
}

const UNPOISONED: &str = "nobody panics while holding it";

/// Which tags a receipt names: those about to be set too, or only those of what arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tags {
    Promised,
    Arrived,
}

fn is_written(step: &TagStep) -> bool {
    matches!(step.action, TagAction::Set | TagAction::Move)
}

/// Whether pushing the manifest under its tag is enough, so that it is not sent a second time by digest.
///
/// Not where something is to refer to it, where a registry might name it by another algorithm, or where the
/// registry may yet refuse it: then it has to be there before its tag.
fn comes_with_its_tag(artifact: &ArtifactPlan, step: &ManifestStep) -> bool {
    if !artifact.tags.iter().any(|tag| tag.digest == step.digest && is_written(tag)) {
        return false;
    }
    if step.digest != artifact.digest {
        // A signature on a cosign tag.
        return true;
    }
    let is_last = artifact.manifests.last().is_some_and(|last| last.digest == step.digest);
    is_last
        && artifact.attach.is_empty()
        && !artifact.is_sparse
        && step.digest.algorithm() == Algorithm::Sha256
}

/// What each left-out blob was said to be delivered by: an earlier root, or a receipt.
fn counted_on(sources: &Sources) -> BTreeMap<Digest, Digest> {
    let mut counted = BTreeMap::new();
    for content in sources.contents() {
        let Content::Volumes(bundle) = content else { continue };
        let Some(since) = &bundle.root().since else { continue };
        let left_out = bundle.root().left_out.iter();
        counted.extend(left_out.map(|blob| (blob.digest, since.document)));
    }
    counted
}

fn vanished(digest: &Digest) -> Failure {
    let reason =
        format!("the manifest {digest} was there when the load was planned, and is not any more");
    Failure { class: Class::Integrity, reason, help: None }
}

fn sparse_refusal(registry: &str) -> Failure {
    let reason = format!(
        "{registry} refuses an index some of whose platforms are left out (MANIFEST_BLOB_UNKNOWN)"
    );
    let help = "carry them all (`platforms: all`), or let the tag point to the only platform that is kept \
                (`--single-platform-tags`), or, where the registry is distribution 3, set `validation: \
                {manifests: {indexes: {platforms: none}}}` in its configuration (docker-registry 2.8 has no \
                such setting)";
    Failure { class: Class::Findings, reason, help: Some(help.to_owned()) }
}
