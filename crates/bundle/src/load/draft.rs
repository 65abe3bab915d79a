//! One artifact's plan in the making: what answers mean for it.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::oci::Manifest;
use airlift_spec::{Descriptor, Digest, Finding};

use super::plan::{
    ArtifactPlan, AttachStep, BlobPlan, Failure, Lack, ManifestStep, Missing, State, TagAction,
    TagStep,
};
use super::wish::Wish;

/// A place in the registry: a repository, and a tag or digest in it.
pub(super) type Place = (String, String);
/// What a place holds, or why the registry would not say.
pub(super) type There = BTreeMap<Place, Result<Option<Digest>, Failure>>;
/// Where a blob is and is not, and why it cannot be had; or why the registry would not say.
pub(super) type FoundBlob = Result<(BlobPlan, Option<Lack>), Failure>;

/// An artifact's plan in the making.
pub(super) struct Draft<'a> {
    pub(super) wish: &'a Wish,
    pub(super) failure: Option<Failure>,
    /// Manifests that are not there, and those on cosign tags that are to be written.
    pub(super) lacking: BTreeSet<Digest>,
    /// The manifests to push, understood.
    pub(super) found: BTreeMap<Digest, Manifest>,
    pub(super) missing: BTreeSet<Missing>,
    pub(super) blobs: BTreeSet<Digest>,
    pub(super) tags: Vec<TagStep>,
    pub(super) attach: Vec<AttachStep>,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(wish: &'a Wish, there: &There) -> Self {
        let cosign = wish.cosign.iter().map(|cosign| cosign.tag.clone());
        let digests = wish.manifests().map(|digest| digest.to_string());
        let mut places = cosign.chain([wish.tag.clone()]).chain(digests);
        let answer = |wanted: String| there.get(&(wish.repository.clone(), wanted));
        let failure = places.find_map(|wanted| answer(wanted)?.as_ref().err().cloned());
        let is_there = |digest: &Digest| matches!(answer(digest.to_string()), Some(Ok(Some(_))));
        Self {
            wish,
            failure,
            lacking: wish.manifests().filter(|digest| !is_there(digest)).collect(),
            found: BTreeMap::new(),
            missing: BTreeSet::new(),
            blobs: BTreeSet::new(),
            tags: Vec::new(),
            attach: Vec::new(),
            findings: Vec::new(),
        }
    }

    pub(super) fn can_be_pushed(&self) -> bool {
        self.failure.is_none() && self.missing.is_empty()
    }

    /// The blobs of the manifests to push. An entry of an index that is no manifest is one too.
    pub(super) fn blobs_of_found(&self) -> impl Iterator<Item = &Descriptor> {
        let is_blob = |entry: &&Descriptor| {
            !entry.is_manifest() && !self.wish.left_out.contains(&entry.digest)
        };
        self.found.values().flat_map(move |manifest| {
            manifest.blobs.iter().chain(manifest.manifests.iter().filter(is_blob))
        })
    }

    pub(super) fn take_blobs(&mut self, answers: &BTreeMap<Digest, FoundBlob>) {
        let wanted: Vec<Digest> = self.blobs_of_found().map(|blob| blob.digest).collect();
        for digest in wanted {
            match answers.get(&digest) {
                Some(Ok((_, Some(lack)))) => {
                    self.missing.insert(Missing { digest, lack: lack.clone() });
                }
                Some(Ok((plan, None))) if plan.to.contains(&self.wish.repository) => {
                    self.blobs.insert(digest);
                }
                Some(Err(failure)) => self.failure = Some(failure.clone()),
                Some(Ok(_)) | None => {}
            }
        }
    }

    pub(super) fn finish(mut self, findings: &mut Vec<Finding>) -> ArtifactPlan {
        findings.append(&mut self.findings);
        let wish = self.wish;
        let writes = |step: &TagStep| matches!(step.action, TagAction::Set | TagAction::Move);
        let state = if let Some(failure) = self.failure.take() {
            State::Failed(failure)
        } else if !self.missing.is_empty() {
            State::Incomplete { missing: std::mem::take(&mut self.missing).into_iter().collect() }
        } else if self.lacking.is_empty() && self.attach.is_empty() && !self.tags.iter().any(writes)
        {
            State::Present
        } else {
            State::Push
        };
        let cosign = wish.cosign.iter().map(|cosign| cosign.digest);
        let kept = self.tags.iter().filter(|step| !matches!(step.action, TagAction::Leave { .. }));
        let kept: BTreeSet<Digest> = kept.map(|step| step.digest).collect();
        ArtifactPlan {
            stack: wish.stack.clone(),
            reference: wish.reference.clone(),
            home: wish.home.clone(),
            repository: wish.repository.clone(),
            digest: wish.top,
            state,
            manifests: self.steps(),
            blobs: self.blobs.into_iter().collect(),
            tags: self.tags,
            attach: self.attach,
            is_sparse: wish.is_sparse,
            arrives: wish
                .manifests()
                .chain(cosign.filter(|digest| kept.contains(digest)))
                .collect(),
        }
    }

    /// The manifests to push, what an index needs before it. Referrers come last, subjects first.
    fn steps(&self) -> Vec<ManifestStep> {
        let mut order: Vec<Digest> = Vec::new();
        let mut open: Vec<Digest> =
            self.wish.children.iter().copied().chain([self.wish.top]).collect();
        while !open.is_empty() {
            let is_ready = |digest: &Digest| {
                let found = self.found.get(digest);
                let below = found.map(|manifest| manifest.manifests.as_slice());
                !below.unwrap_or_default().iter().any(|child| open.contains(&child.digest))
            };
            let (ready, rest): (Vec<_>, Vec<_>) = open.iter().copied().partition(is_ready);
            // Nothing can hold its own digest, so something is always ready; an empty round must not hang us.
            open = if ready.is_empty() { Vec::new() } else { rest };
            order.extend(ready);
        }
        order.extend(self.wish.referrers.iter().map(|attached| attached.digest));
        order.extend(self.wish.cosign.iter().map(|cosign| cosign.digest));
        let step = |digest: Digest| {
            let media_type = self.found.get(&digest)?.media_type.clone();
            Some(ManifestStep { digest, media_type })
        };
        order.into_iter().filter_map(step).collect()
    }
}
