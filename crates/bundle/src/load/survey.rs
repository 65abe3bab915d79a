//! Asking: what of the wishes is there, what is missing, and where the missing can be had.

use std::collections::{BTreeMap, BTreeSet};

use airlift_registry::client::ClientError;
use airlift_spec::oci::{MAX_MANIFEST_BYTES, Manifest};
use airlift_spec::placement::keep_alive_tag;
use airlift_spec::{Class, Ctx, Descriptor, Digest, Finding, Reference};
use futures::stream::{self, StreamExt as _};

use super::draft::{Draft, FoundBlob, Place, There};
use super::plan::{
    ArtifactPlan, AttachStep, BlobPlan, FORMAT, Failure, Lack, LoadPlan, Missing, State, TagAction,
    TagStep,
};
use super::tags::{self, Claims};
use super::wish::{self, Wish};
use super::{LoadError, LoadOptions, TagPolicy, Target, attach};
use crate::receipt::{self, Receipt};
use crate::{Availability, Content, Sources};

/// Finds out what is missing in the registry of all that the locks of `sources` name.
///
/// Changes nothing. A second plan after a complete load costs one request for each tag and for each child of
/// an index, and one for the state of each stack.
///
/// # Errors
///
/// What keeps the whole load from going on: names that cannot be placed, a state under another layout, a
/// registry that does not answer. What concerns one artifact only is in its [`State`].
pub async fn plan(
    sources: &Sources,
    target: &Target,
    options: &LoadOptions,
    ctx: &Ctx,
) -> Result<LoadPlan, LoadError> {
    let surveyed = ctx.cancel.run_until_cancelled(survey(sources, target, options, ctx));
    let plan = surveyed.await.unwrap_or(Err(LoadError::Cancelled))?;
    let is_cancelled = |artifact: &ArtifactPlan| matches!(&artifact.state, State::Failed(failure) if failure.class == Class::Cancelled);
    if plan.artifacts.iter().any(is_cancelled) { Err(LoadError::Cancelled) } else { Ok(plan) }
}

async fn survey(
    sources: &Sources,
    target: &Target,
    options: &LoadOptions,
    ctx: &Ctx,
) -> Result<LoadPlan, LoadError> {
    let locks = sources.locks();
    let wishes = wish::list(locks, &target.prefix, target.layout, options.sparse);
    let wishes = wishes.map_err(LoadError::Placement)?;
    target.will_be_pushed_to()?;
    let mut states = BTreeMap::new();
    for lock in locks {
        let Some(kept) = receipt::read(target, &lock.stack, ctx).await? else { continue };
        let checked = kept.receipt.check_layout(target.layout);
        checked.map_err(|source| target.bad_state(&lock.stack, source))?;
        states.insert(lock.stack.clone(), kept.receipt);
    }
    let survey = Survey { sources, target, options, ctx, states };
    let there = survey.ask_for_manifests(&wishes).await;
    let mut drafts = survey.draft(&wishes, &there).await?;
    survey.read_missing(&mut drafts).await;
    let blobs = survey.find_blobs(&mut drafts).await;
    survey.find_attachments(&mut drafts).await;

    let mut findings = sources.without_lock().to_vec();
    let artifacts: Vec<ArtifactPlan> =
        drafts.into_iter().map(|draft| draft.finish(&mut findings)).collect();
    let locks = locks.iter().map(|lock| (lock.stack.clone(), lock.digest())).collect();
    let (registry, prefix, layout) = (target.host.clone(), target.prefix.clone(), target.layout);
    let blobs = needed(blobs, &artifacts);
    let states = survey.states;
    let format = FORMAT;
    Ok(LoadPlan { format, registry, prefix, layout, artifacts, blobs, findings, locks, states })
}

/// Only what a pushable artifact needs is moved.
fn needed(
    mut blobs: BTreeMap<Digest, BlobPlan>,
    artifacts: &[ArtifactPlan],
) -> BTreeMap<Digest, BlobPlan> {
    let mut to: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    for artifact in artifacts.iter().filter(|artifact| artifact.state == State::Push) {
        for blob in &artifact.blobs {
            to.entry(*blob).or_default().insert(artifact.repository.clone());
        }
    }
    blobs.retain(|digest, blob| match to.remove(digest) {
        Some(repositories) => {
            blob.to = repositories;
            true
        }
        None => false,
    });
    blobs
}

struct Survey<'a> {
    sources: &'a Sources,
    target: &'a Target,
    options: &'a LoadOptions,
    ctx: &'a Ctx,
    /// What the registry's states say, by stack.
    states: BTreeMap<String, Receipt>,
}

impl Survey<'_> {
    /// Asks for every tag, then for the digests that the tags do not vouch for.
    async fn ask_for_manifests(&self, wishes: &[Wish]) -> There {
        let mut questions = BTreeSet::new();
        for wish in wishes {
            let cosign = wish.cosign.iter().map(|cosign| &cosign.tag);
            let tags = cosign.chain([&wish.tag]);
            questions.extend(tags.map(|tag| (wish.repository.clone(), tag.clone())));
        }
        let mut there = self.ask(questions).await;
        for wish in wishes {
            self.name_as_we_do(wish, &mut there).await;
        }
        let mut questions = BTreeSet::new();
        for wish in wishes {
            let tagged = there.get(&(wish.repository.clone(), wish.tag.clone()));
            let vouched = tagged.is_some_and(|found| *found == Ok(Some(wish.top)));
            let open = wish.manifests().filter(|digest| !(vouched && *digest == wish.top));
            questions.extend(open.map(|digest| (wish.repository.clone(), digest.to_string())));
            if vouched {
                there.insert((wish.repository.clone(), wish.top.to_string()), Ok(Some(wish.top)));
            }
        }
        questions.retain(|question| !there.contains_key(question));
        there.extend(self.ask(questions).await);
        there
    }

    /// A registry may name what a tag points to by another algorithm than the one that we know it by.
    async fn name_as_we_do(&self, wish: &Wish, there: &mut There) {
        let place = (wish.repository.clone(), wish.tag.clone());
        let Some(Ok(Some(found))) = there.get_mut(&place) else { return };
        if found.algorithm() == wish.top.algorithm() {
            return;
        }
        // What cannot be read is compared by name, and found different: that is reported as it is.
        if let Ok(Some(bytes)) = self.sources.read_small(&wish.top, MAX_MANIFEST_BYTES).await
            && found.matches(&bytes)
        {
            *found = wish.top;
        }
    }

    async fn ask(&self, questions: BTreeSet<Place>) -> There {
        let asked = questions.into_iter().map(|(repository, wanted)| async move {
            let place = self.target.repository(&repository);
            let answer = self.target.client.describe(&place, &wanted, self.ctx).await;
            let found = answer
                .map(|found| found.map(|descriptor| descriptor.digest))
                .map_err(|err| Failure::of(&err));
            ((repository, wanted), found)
        });
        stream::iter(asked).buffer_unordered(self.options.parallel.get()).collect().await
    }

    /// What each artifact lacks, and which tags are to be written.
    async fn draft<'w>(
        &self,
        wishes: &'w [Wish],
        there: &There,
    ) -> Result<Vec<Draft<'w>>, LoadError> {
        let disputes = wish::disputed(wishes);
        let mut others = Others { survey: self, known: BTreeMap::new() };
        let mut drafts = Vec::new();
        for wish in wishes {
            let mut draft = Draft::new(wish, there);
            let dispute = disputes.get(&(wish.repository.clone(), wish.tag.clone()));
            self.decide_tag(&mut draft, there, dispute, &mut others).await?;
            self.decide_cosign(&mut draft, there).await;
            drafts.push(draft);
        }
        Ok(drafts)
    }

    async fn decide_tag(
        &self,
        draft: &mut Draft<'_>,
        there: &There,
        dispute: Option<&BTreeSet<String>>,
        others: &mut Others<'_>,
    ) -> Result<(), LoadError> {
        let wish = draft.wish;
        let Some(Ok(found)) = there.get(&(wish.repository.clone(), wish.tag.clone())) else {
            return Ok(());
        };
        let action = match (found, dispute) {
            (Some(found), _) if *found == wish.top => TagAction::Keep,
            (_, Some(stacks)) => {
                let names: Vec<String> = stacks.iter().map(|name| format!("`{name}`")).collect();
                let why = format!("the locks of {} pin it differently", names.join(" and "));
                TagAction::Leave { why }
            }
            (None, None) => TagAction::Set,
            (Some(_), None) => {
                let claims = others.claims(wish, *found, self.options.tags).await?;
                tags::decide(*found, wish.top, &claims, self.options.tags)
            }
        };
        let (tag, digest) = (wish.tag.clone(), wish.top);
        if let TagAction::Leave { why } = &action {
            draft.findings.push(tag_conflict(wish, why));
        }
        let is_left = matches!(action, TagAction::Leave { .. });
        draft.tags.push(TagStep { tag, digest, found: *found, action });
        let spare = keep_alive_tag(&wish.top);
        // The image is there without its tag: something else must keep it from being collected.
        if is_left && spare != wish.tag {
            let place = self.target.repository(&wish.repository);
            let found = self.target.client.describe(&place, &spare, self.ctx).await;
            match found.map(|found| found.map(|descriptor| descriptor.digest)) {
                Ok(found) => {
                    let action =
                        tags::decide(found, wish.top, &Claims::default(), self.options.tags);
                    draft.tags.push(TagStep { tag: spare, digest: wish.top, found, action });
                }
                Err(err) => draft.failure = Some(Failure::of(&err)),
            }
        }
        Ok(())
    }

    /// Signatures on cosign tags: written where nothing is lost by it, else left with a warning.
    async fn decide_cosign(&self, draft: &mut Draft<'_>, there: &There) {
        for cosign in &draft.wish.cosign {
            let place = (draft.wish.repository.clone(), cosign.tag.clone());
            let Some(Ok(found)) = there.get(&place) else { continue };
            let action = match found {
                None => TagAction::Set,
                Some(found) if *found == cosign.digest => TagAction::Keep,
                Some(found) => match self.compare_layers(draft.wish, found, &cosign.digest).await {
                    Ok(action) => action,
                    Err(failure) => {
                        draft.failure = Some(failure);
                        continue;
                    }
                },
            };
            match &action {
                TagAction::Keep => {}
                TagAction::Set | TagAction::Move => {
                    draft.lacking.insert(cosign.digest);
                }
                TagAction::Leave { why } => {
                    let object = format!("{}:{}", draft.wish.repository, cosign.tag);
                    let finding = Finding::warning("signature-differs", object, why);
                    draft.findings.push(finding.of(&draft.wish.reference));
                }
            }
            let (tag, digest, found) = (cosign.tag.clone(), cosign.digest, *found);
            draft.tags.push(TagStep { tag, digest, found, action });
        }
    }

    async fn compare_layers(
        &self,
        wish: &Wish,
        found: &Digest,
        wanted: &Digest,
    ) -> Result<TagAction, Failure> {
        let place = self.target.repository(&wish.repository);
        let old = self.target.client.manifest(&place, &found.to_string(), self.ctx).await;
        let old = old.map_err(|err| Failure::of(&err))?;
        let new = self.sources.read_small(wanted, MAX_MANIFEST_BYTES).await;
        let new = new.map_err(|err| Failure::of(&err))?;
        Ok(match (old, new) {
            (Some(old), Some(new)) => {
                tags::decide_cosign(&tags::layers(&old.bytes), &tags::layers(&new))
            }
            // It went away while we looked, or ours is on a volume that is not here: then it is reported as that.
            (None, _) => TagAction::Set,
            (_, None) => TagAction::Move,
        })
    }

    /// Reads every manifest that has to be pushed, each once.
    async fn read_missing(&self, drafts: &mut [Draft<'_>]) {
        let open = drafts.iter().filter(|draft| draft.failure.is_none());
        let wanted: BTreeSet<Digest> = open.flat_map(|draft| draft.lacking.clone()).collect();
        let read = wanted.into_iter().map(|digest| async move {
            let found = self.find_manifest(&digest).await;
            (digest, found)
        });
        let read: BTreeMap<Digest, Result<Result<Manifest, Lack>, Failure>> =
            stream::iter(read).buffer_unordered(self.options.parallel.get()).collect().await;
        for draft in drafts.iter_mut().filter(|draft| draft.failure.is_none()) {
            for digest in draft.lacking.clone() {
                match &read[&digest] {
                    Ok(Ok(found)) => {
                        draft.found.insert(digest, found.clone());
                    }
                    // What the manifest leads to is unknown without it; the root of its bundle knows the volumes.
                    Ok(Err(Lack::Volumes { volumes })) => {
                        let volumes = self.volumes_of(draft.wish, volumes.clone());
                        draft.missing.insert(Missing { digest, lack: Lack::Volumes { volumes } });
                    }
                    Ok(Err(lack)) => {
                        draft.missing.insert(Missing { digest, lack: lack.clone() });
                    }
                    Err(failure) => draft.failure = Some(failure.clone()),
                }
            }
        }
    }

    async fn find_manifest(&self, digest: &Digest) -> Result<Result<Manifest, Lack>, Failure> {
        let read = self.sources.read_small(digest, MAX_MANIFEST_BYTES).await;
        match read.map_err(|err| Failure::of(&err))? {
            Some(bytes) => Manifest::parse(&bytes, None).map(Ok).map_err(|err| Failure::of(&err)),
            None => Ok(Err(self.lack(digest).await?)),
        }
    }

    /// Why the sources do not give `digest`.
    async fn lack(&self, digest: &Digest) -> Result<Lack, Failure> {
        let found = self.sources.availability(digest).await.map_err(|err| Failure::of(&err))?;
        Ok(match found {
            Availability::Absent { volumes } => Lack::Volumes { volumes },
            Availability::LeftOut { repository } => Lack::LeftOut { repository },
            Availability::Here { .. } | Availability::Unknown => Lack::Unknown,
        })
    }

    /// The absent volumes that hold anything of an artifact, by the roots of its bundles; `known` among them.
    fn volumes_of(&self, wish: &Wish, known: Vec<String>) -> Vec<String> {
        let mut volumes: BTreeSet<String> = known.into_iter().collect();
        for content in self.sources.contents() {
            let Content::Volumes(bundle) = content else { continue };
            let artifacts = &bundle.root().artifacts;
            let ours = artifacts.iter().filter(|artifact| artifact.reference == wish.reference);
            let needed: BTreeSet<u32> =
                ours.flat_map(|artifact| artifact.volumes.clone()).collect();
            let absent = bundle
                .volumes()
                .iter()
                .filter(|volume| !volume.is_here() && needed.contains(&volume.ordinal()));
            volumes.extend(absent.map(|volume| volume.name().to_owned()));
        }
        volumes.into_iter().collect()
    }

    /// Where a repository of the near side lies in this registry.
    fn place(&self, repository: &str) -> Option<String> {
        let reference: Reference = repository.parse().ok()?;
        self.target.layout.place(&self.target.prefix, &reference).ok()
    }

    /// Finds out which blobs of the manifests to push are missing, and from where they can be mounted.
    async fn find_blobs(&self, drafts: &mut [Draft<'_>]) -> BTreeMap<Digest, BlobPlan> {
        let mut wanted: BTreeMap<Digest, (Descriptor, BTreeSet<String>)> = BTreeMap::new();
        for draft in drafts.iter().filter(|draft| draft.failure.is_none()) {
            for blob in draft.blobs_of_found() {
                let (_, to) =
                    wanted.entry(blob.digest).or_insert_with(|| (blob.clone(), BTreeSet::new()));
                to.insert(draft.wish.repository.clone());
            }
        }
        let vouched = if wanted.is_empty() {
            BTreeMap::new()
        } else {
            self.vouched_for(drafts, &wanted).await
        };
        let answers = wanted.into_iter().map(|(digest, (blob, to))| {
            let at = vouched.get(&digest).cloned().unwrap_or_default();
            async move { (digest, self.find_blob(&blob, to, at).await) }
        });
        let answers: BTreeMap<Digest, FoundBlob> =
            stream::iter(answers).buffer_unordered(self.options.parallel.get()).collect().await;
        for draft in drafts.iter_mut() {
            draft.take_blobs(&answers);
        }
        let plans = answers.into_iter().filter_map(|(digest, found)| match found {
            Ok((plan, None)) => Some((digest, plan)),
            Ok((_, Some(_))) | Err(_) => None,
        });
        plans.collect()
    }

    /// The repositories in which a manifest that is there vouches for a wanted blob.
    async fn vouched_for(
        &self,
        drafts: &[Draft<'_>],
        wanted: &BTreeMap<Digest, (Descriptor, BTreeSet<String>)>,
    ) -> BTreeMap<Digest, BTreeSet<String>> {
        let mut there: BTreeMap<Digest, BTreeSet<&String>> = BTreeMap::new();
        for draft in drafts.iter().filter(|draft| draft.failure.is_none()) {
            for digest in draft.wish.manifests().filter(|digest| !draft.lacking.contains(digest)) {
                there.entry(digest).or_default().insert(&draft.wish.repository);
            }
        }
        // Only a hint: what cannot be read costs a question more, nothing else.
        let read = there.into_iter().map(|(digest, repositories)| async move {
            let bytes = self.sources.read_small(&digest, MAX_MANIFEST_BYTES).await.ok()??;
            Some((Manifest::parse(&bytes, None).ok()?, repositories))
        });
        let mut read = stream::iter(read).buffer_unordered(self.options.parallel.get());
        let mut vouched: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        while let Some(found) = read.next().await {
            let Some((manifest, repositories)) = found else { continue };
            let known = manifest
                .blobs
                .iter()
                .filter(|blob| wanted.contains_key(&blob.digest) && !blob.is_non_distributable());
            for blob in known {
                let at = vouched.entry(blob.digest).or_default();
                at.extend(repositories.iter().map(|repository| (*repository).clone()));
            }
        }
        vouched
    }

    async fn find_blob(
        &self,
        blob: &Descriptor,
        mut to: BTreeSet<String>,
        mut at: BTreeSet<String>,
    ) -> FoundBlob {
        if at.is_empty() {
            let here = self.sources.availability(&blob.digest).await;
            let here = here.map_err(|err| Failure::of(&err))?;
            let delivered = match &here {
                Availability::LeftOut { repository } => self.place(repository),
                _ => None,
            };
            // Where the delta says it is comes first; then each repository that needs it, until one has it.
            for repository in delivered.iter().chain(&to) {
                let place = self.target.repository(repository);
                let size = self.target.client.blob_size(&place, &blob.digest, self.ctx).await;
                if size.map_err(|err| Failure::of(&err))?.is_some() {
                    at.insert(repository.clone());
                    break;
                }
            }
            if at.is_empty() {
                let lack = match here {
                    Availability::Here { .. } => None,
                    Availability::Absent { volumes } => Some(Lack::Volumes { volumes }),
                    Availability::LeftOut { repository } => Some(Lack::LeftOut { repository }),
                    // Registries take a manifest without these, and upstream may not give them to anybody.
                    Availability::Unknown if blob.is_non_distributable() => {
                        to.clear();
                        None
                    }
                    Availability::Unknown => Some(Lack::Unknown),
                };
                if lack.is_some() {
                    return Ok((BlobPlan { bytes: blob.size, at, to }, lack));
                }
            }
        }
        to.retain(|repository| !at.contains(repository));
        Ok((BlobPlan { bytes: blob.size, at, to }, None))
    }

    /// Looks which fallback indexes lack entries, where the registry has no referrers API.
    async fn find_attachments(&self, drafts: &mut [Draft<'_>]) {
        let mut open: Vec<(usize, Digest)> = Vec::new();
        for (at, draft) in drafts.iter().enumerate().filter(|(_, draft)| draft.can_be_pushed()) {
            let subjects: BTreeSet<Digest> =
                draft.wish.referrers.iter().map(|attached| attached.subject).collect();
            open.extend(subjects.into_iter().map(|subject| (at, subject)));
        }
        let Some((at, subject)) = open.pop() else { return };
        let first = self.lacking_of(&drafts[at], &subject, None).await;
        if matches!(first, Ok(attach::Lacking::Api)) {
            return;
        }
        let has_api = first.is_ok().then_some(false);
        let questions = open.into_iter().map(|(at, subject)| {
            let draft = &drafts[at];
            async move { (at, subject, self.lacking_of(draft, &subject, has_api).await) }
        });
        let mut answers: Vec<_> =
            stream::iter(questions).buffer_unordered(self.options.parallel.get()).collect().await;
        answers.push((at, subject, first));
        for (at, subject, answer) in answers {
            match answer {
                Ok(attach::Lacking::Fallback(referrers)) if !referrers.is_empty() => {
                    drafts[at].attach.push(AttachStep { subject, referrers });
                }
                Ok(attach::Lacking::Fallback(_) | attach::Lacking::Api) => {}
                Err(err) => drafts[at].failure = Some(Failure::of(&err)),
            }
        }
    }

    async fn lacking_of(
        &self,
        draft: &Draft<'_>,
        subject: &Digest,
        has_api: Option<bool>,
    ) -> Result<attach::Lacking, ClientError> {
        let ours = draft.wish.referrers.iter().filter(|one| one.subject == *subject);
        let ours = ours.map(|one| one.digest).collect();
        let place = &draft.wish.repository;
        attach::lacking(self.target, place, subject, ours, has_api, self.ctx).await
    }
}

fn tag_conflict(wish: &Wish, why: &str) -> Finding {
    let object = format!("{}:{}", wish.repository, wish.tag);
    Finding::error("tag-conflict", object, why).of(&wish.reference)
}

/// The states of the other stacks, asked for once, and only when a tag of ours would move.
struct Others<'a> {
    survey: &'a Survey<'a>,
    known: BTreeMap<String, Vec<Receipt>>,
}

impl Others<'_> {
    async fn claims(
        &mut self,
        wish: &Wish,
        found: Option<Digest>,
        policy: TagPolicy,
    ) -> Result<Claims, LoadError> {
        let own = self.survey.states.get(&wish.stack);
        let claims = Claims::of(own, &[], &wish.repository, &wish.tag);
        let would_move = found.is_some_and(|found| claims.ours.contains(&found));
        if policy == TagPolicy::MoveAny || !would_move {
            return Ok(claims);
        }
        if !self.known.contains_key(&wish.stack) {
            let (target, ctx) = (self.survey.target, self.survey.ctx);
            let others = receipt::others(target, &wish.stack, ctx).await?;
            self.known.insert(wish.stack.clone(), others);
        }
        Ok(Claims::of(own, &self.known[&wish.stack], &wish.repository, &wish.tag))
    }
}
