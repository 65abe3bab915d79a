//! What the locks want there: a pure function of locks, prefix and layout.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::lock::{Artifact, Lock};
use airlift_spec::placement::{PlacementError, keep_alive_tag};
use airlift_spec::{Digest, Layout, Platform, Reference};

use super::SparsePolicy;

/// One artifact of a lock, and every manifest that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) stack: String,
    pub(super) reference: Reference,
    /// The repository by whose name it is placed: its own, or one that the lock has for the layout.
    pub(super) home: String,
    /// Where it lies in the registry.
    pub(super) repository: String,
    /// What the tag points to: the artifact's digest, or the only child that is kept of it.
    pub(super) top: Digest,
    pub(super) tag: String,
    /// Whether `top` is an index that names children which are not carried.
    pub(super) is_sparse: bool,
    pub(super) left_out: BTreeSet<Digest>,
    /// The manifests below `top`.
    pub(super) children: Vec<Digest>,
    /// Referrers by OCI 1.1, subjects before what refers to them.
    pub(super) referrers: Vec<Attached>,
    /// Manifests that hang on a cosign tag.
    pub(super) cosign: Vec<Cosign>,
}

/// A manifest that names its subject itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) digest: Digest,
    pub(super) subject: Digest,
}

/// A manifest that says by its tag what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cosign {
    pub(super) digest: Digest,
    pub(super) tag: String,
}

impl Wish {
    /// Every manifest but those on cosign tags, which may have to stay behind.
    pub(super) fn manifests(&self) -> impl Iterator<Item = Digest> {
        let referrers = self.referrers.iter().map(|attached| attached.digest);
        self.children.iter().copied().chain([self.top]).chain(referrers)
    }
}

/// Everything that `locks` want under `prefix`.
///
/// # Errors
///
/// A name that no registry takes, or two that would be one.
pub(super) fn list(
    locks: &[Lock],
    prefix: &str,
    layout: Layout,
    sparse: SparsePolicy,
) -> Result<Vec<Wish>, PlacementError> {
    let artifacts = || locks.iter().flat_map(|lock| &lock.artifacts);
    layout.check(prefix, artifacts().flat_map(|artifact| artifact.placed_as(layout)))?;
    let mut wishes = Vec::new();
    for lock in locks {
        for artifact in &lock.artifacts {
            for name in artifact.placed_as(layout) {
                let repository = layout.place(prefix, name)?;
                wishes.extend(wish(&lock.stack, artifact, name, repository, sparse));
            }
        }
    }
    Ok(wishes)
}

/// None where the lock does not pin the artifact: `fetch` refused it, so there is nothing to load.
fn wish(
    stack: &str,
    artifact: &Artifact,
    name: &Reference,
    repository: String,
    sparse: SparsePolicy,
) -> Option<Wish> {
    let digest = artifact.digest?;
    let only = match sparse {
        SparsePolicy::SinglePlatformTags => only_platform(artifact),
        SparsePolicy::Index => None,
    };
    let top = only.unwrap_or(digest);
    let children = match only {
        Some(_) => Vec::new(),
        None => artifact.children.iter().map(|child| child.digest).collect(),
    };
    let mut wish = Wish {
        stack: stack.to_owned(),
        reference: artifact.reference.clone(),
        home: name.repository(),
        repository,
        top,
        tag: name.tag().map_or_else(|| keep_alive_tag(&top), str::to_owned),
        is_sparse: only.is_none() && artifact.is_sparse(),
        left_out: artifact.left_out_digests(),
        children,
        referrers: Vec::new(),
        cosign: Vec::new(),
    };
    attach(&mut wish, artifact);
    Some(wish)
}

/// The one image that is kept of a sparse index, if it is one and the reference is a tag.
fn only_platform(artifact: &Artifact) -> Option<Digest> {
    if !artifact.is_sparse()
        || artifact.reference.tag().is_none()
        || artifact.reference.digest().is_some()
    {
        return None;
    }
    // Attestations have no platform, and follow the child they attest to.
    let mut kept: BTreeMap<&Platform, Digest> = BTreeMap::new();
    for child in &artifact.children {
        kept.extend(child.platform.as_ref().map(|platform| (platform, child.digest)));
    }
    if kept.len() == 1 { kept.into_values().next() } else { None }
}

/// Adds what refers to a manifest that is wanted; what refers to others stays behind with them.
fn attach(wish: &mut Wish, artifact: &Artifact) {
    let mut wanted: BTreeSet<Digest> = wish.children.iter().copied().chain([wish.top]).collect();
    let mut open: Vec<_> = artifact.referrers.iter().collect();
    loop {
        let (now, later): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|referrer| wanted.contains(&referrer.subject));
        if now.is_empty() {
            return;
        }
        for referrer in now {
            wanted.insert(referrer.digest);
            let (digest, subject) = (referrer.digest, referrer.subject);
            if let Some(tag) = referrer.tag.clone() {
                wish.cosign.push(Cosign { digest, tag });
            } else {
                wish.referrers.push(Attached { digest, subject });
            }
        }
        open = later;
    }
}

/// The tags that two wishes want for different digests, with the stacks that want them.
pub(super) fn disputed(wishes: &[Wish]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut wanted: BTreeMap<(String, String), BTreeMap<Digest, BTreeSet<String>>> =
        BTreeMap::new();
    for wish in wishes {
        let tag = (wish.repository.clone(), wish.tag.clone());
        let stacks = wanted.entry(tag).or_default().entry(wish.top).or_default();
        stacks.insert(wish.stack.clone());
    }
    let disputes = wanted.into_iter().filter(|(_, digests)| digests.len() > 1);
    disputes.map(|(tag, digests)| (tag, digests.into_values().flatten().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_spec::lock::{Child, Kind, Referrer};

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn child(name: &str, platform: Option<&str>) -> Child {
        Child { digest: digest(name), platform: platform.map(|text| text.parse().unwrap()) }
    }

    fn referrer(name: &str, subject: &str, tag: Option<&str>) -> Referrer {
        Referrer {
            subject: digest(subject),
            digest: digest(name),
            media_type: String::new(),
            size: 1,
            bytes: 1,
            artifact_type: None,
            tag: tag.map(str::to_owned),
        }
    }

    fn lock(stack: &str, reference: &str) -> Lock {
        let artifact = Artifact {
            digest: Some(digest(stack)),
            size: 1,
            bytes: 1,
            ..Artifact::new(Kind::Image, reference.parse().unwrap())
        };
        Lock { artifacts: vec![artifact], ..Lock::new(stack) }
    }

    fn one(lock: &Lock, sparse: SparsePolicy) -> Wish {
        list(std::slice::from_ref(lock), "p", Layout::Host, sparse).unwrap().remove(0)
    }

    #[test]
    fn an_image_known_by_digest_only_gets_a_tag_that_keeps_it_alive() {
        let by_digest = lock("a", &format!("quay.io/x/y@{}", digest("a")));
        let wish = one(&by_digest, SparsePolicy::Index);
        assert_eq!(wish.tag, keep_alive_tag(&digest("a")));
        assert_eq!(wish.repository, "p/quay.io/x/y");
        assert_eq!(one(&lock("a", "quay.io/x/y:1"), SparsePolicy::Index).tag, "1");
    }

    #[test]
    fn an_image_that_has_other_names_in_a_mirror_lies_there_under_each() {
        let mut lock = lock("a", "quay.io/x/y:1");
        let names =
            ["airlift.local/openshift/release:1-cli", "airlift.local/openshift/release:2-cli"];
        lock.artifacts[0].mirrored_as = names.map(|name| name.parse().unwrap()).into();
        let places = |layout: Layout| -> Vec<String> {
            let wishes =
                list(std::slice::from_ref(&lock), "p", layout, SparsePolicy::Index).unwrap();
            wishes.iter().map(|it| format!("{} {}:{}", it.home, it.repository, it.tag)).collect()
        };
        assert_eq!(
            places(Layout::OcMirror),
            ["1-cli", "2-cli"]
                .map(|tag| format!("airlift.local/openshift/release p/openshift/release:{tag}"))
        );
        assert_eq!(places(Layout::Host), ["quay.io/x/y p/quay.io/x/y:1"]);
    }

    #[test]
    fn referrers_follow_their_subject_and_stay_behind_with_it() {
        let mut lock = lock("index", "quay.io/x/y:1");
        lock.artifacts[0].children = vec![child("amd64", Some("linux/amd64"))];
        lock.artifacts[0].referrers = vec![
            referrer("signed sbom", "sbom", None),
            referrer("sbom", "amd64", None),
            referrer("lost", "arm64", None),
            referrer("cosign", "index", Some("sha256-0.sig")),
        ];
        let wish = one(&lock, SparsePolicy::Index);
        let order: Vec<Digest> = wish.referrers.iter().map(|attached| attached.digest).collect();
        assert_eq!(order, [digest("sbom"), digest("signed sbom")]);
        assert_eq!(wish.cosign.len(), 1);
    }

    #[test]
    fn one_kept_platform_can_have_the_tag_itself() {
        let mut sparse = lock("index", "quay.io/x/y:1");
        sparse.artifacts[0].children =
            vec![child("amd64", Some("linux/amd64")), child("att", None)];
        sparse.artifacts[0].left_out = vec![child("arm64", Some("linux/arm64"))];
        sparse.artifacts[0].referrers = vec![referrer("sig", "index", None)];
        let index = one(&sparse, SparsePolicy::Index);
        assert!(index.is_sparse);
        assert_eq!(index.top, digest("index"));

        let single = one(&sparse, SparsePolicy::SinglePlatformTags);
        assert_eq!((single.top, single.is_sparse), (digest("amd64"), false));
        assert_eq!((single.children.len(), single.referrers.len()), (0, 0));

        sparse.artifacts[0].children.push(child("s390x", Some("linux/s390x")));
        assert_eq!(one(&sparse, SparsePolicy::SinglePlatformTags).top, digest("index"));
    }

    #[test]
    fn two_stacks_that_pin_one_tag_differently_dispute_it() {
        let locks =
            [lock("a", "quay.io/x/y:1"), lock("b", "quay.io/x/y:1"), lock("c", "quay.io/x/z:1")];
        let wishes = list(&locks, "", Layout::Host, SparsePolicy::Index).unwrap();
        let disputes = disputed(&wishes);
        assert_eq!(disputes.len(), 1);
        let stacks = &disputes[&("quay.io/x/y".to_owned(), "1".to_owned())];
        assert_eq!(stacks.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }
}
