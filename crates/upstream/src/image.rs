//! Images: what one is made of, for which platforms, and what is signed about it.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::lock::{Artifact, Child, Kind, Referrer};
use airlift_spec::oci::total_bytes;
use airlift_spec::{Ctx, Descriptor, Digest, Finding, Platforms, Reference};
use airlift_store::Store;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::UpstreamError;
use crate::origin::{Manifests, Origin, Read};

pub(crate) mod referrers;

/// Deepest nesting of indexes that is followed. Two is the most anybody is known to publish.
const MAX_DEPTH: usize = 8;

/// Most manifests of one image that are read; the largest index that anybody is known to publish has some dozens.
const MAX_MANIFESTS: usize = 4096;

/// Manifests of one image asked for at once.
const MANIFESTS_IN_FLIGHT: usize = 8;

/// What is wanted of one image.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) reference: &'a Reference,
    /// The digest to keep to; none to take what the reference leads to now.
    pub(crate) pin: Option<Digest>,
    pub(crate) platforms: &'a Platforms,
    /// The artifact as an earlier lock has it, whose referrers stay.
    pub(crate) before: Option<&'a Artifact>,
}

/// An image as the lock will have it, with what there is to say about it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) artifact: Artifact,
    pub(crate) findings: Vec<Finding>,
}

/// Pins one image: its manifests for the wanted platforms, and everything signed about them.
pub(crate) async fn pin(
    wanted: &Wanted<'_>,
    origin: &Origin,
    store: &Store,
    cosign: &referrers::CosignTags,
    ctx: &Ctx,
) -> Result<Found, UpstreamError> {
    let name = wanted.reference.to_string();
    let manifests = Manifests { reference: &name, origin, store, ctx };
    let asked = wanted.pin.map_or_else(|| wanted.reference.wanted(), |digest| digest.to_string());
    let root = manifests.look_up(&asked).await?;
    let root = root.ok_or_else(|| UpstreamError::Absent { reference: name.clone() })?;

    let mut tree = Tree::default();
    tree.add(&root);
    tree.descend(&root, wanted.platforms, &manifests).await?;
    tree.check_platforms(&name, wanted.platforms)?;

    let mut findings = Vec::new();
    if !tree.left_out.is_empty() {
        findings.push(sparse_index(wanted.reference, &tree));
    }
    let carried: Vec<Digest> = tree.read.keys().copied().collect();
    let found = referrers::of(&carried, wanted.before, &manifests, cosign).await?;
    findings.extend(found.findings);
    let artifact = artifact(wanted.reference, &root, tree, found.referrers);
    Ok(Found { artifact, findings })
}

fn artifact(reference: &Reference, root: &Read, tree: Tree, referrers: Vec<Referrer>) -> Artifact {
    Artifact {
        digest: Some(root.descriptor.digest),
        media_type: root.descriptor.media_type.clone(),
        size: root.descriptor.size,
        bytes: closure_bytes(tree.read.values()),
        children: tree.children.into_iter().collect(),
        left_out: tree.left_out.into_iter().collect(),
        referrers,
        ..Artifact::new(Kind::Image, reference.clone())
    }
}

fn sparse_index(reference: &Reference, tree: &Tree) -> Finding {
    let (kept, all) = (tree.children.len(), tree.children.len() + tree.left_out.len());
    let message = format!(
        "{kept} of {all} manifests of the index are carried; not every registry takes an index that names \
         manifests it does not have"
    );
    Finding::warning("sparse-index", reference, message)
}

/// The bytes that `manifests` reach, themselves included, each blob counted once.
pub(crate) fn closure_bytes<'a>(manifests: impl IntoIterator<Item = &'a Read>) -> u64 {
    let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
    for read in manifests {
        sizes.insert(read.descriptor.digest, read.descriptor.size);
        let plain = read.manifest.links().filter(|link| !link.is_manifest());
        sizes.extend(plain.map(|blob| (blob.digest, blob.size)));
    }
    total_bytes(sizes.into_values())
}

/// The manifests of one image, as far as they are wanted.
#[derive(Debug, Default)]
struct Tree {
    read: BTreeMap<Digest, Read>,
    children: BTreeSet<Child>,
    left_out: BTreeSet<Child>,
    offered: BTreeSet<String>,
}

impl Tree {
    fn add(&mut self, read: &Read) {
        self.read.insert(read.descriptor.digest, read.clone());
    }

    /// Reads what lies below `root`, level by level.
    async fn descend(
        &mut self,
        root: &Read,
        platforms: &Platforms,
        manifests: &Manifests<'_>,
    ) -> Result<(), UpstreamError> {
        let mut level = vec![root.clone()];
        for _ in 0..MAX_DEPTH {
            let links: Vec<Descriptor> = level
                .iter()
                .flat_map(|read| self.choose(&read.manifest.manifests, platforms))
                .collect();
            if links.is_empty() {
                return Ok(());
            }
            if self.read.len() + links.len() > MAX_MANIFESTS {
                let reference = manifests.reference.to_owned();
                return Err(UpstreamError::Width { reference, limit: MAX_MANIFESTS });
            }
            level = futures::stream::iter(&links)
                .map(|link| manifests.follow(link))
                .buffered(MANIFESTS_IN_FLIGHT)
                .try_collect()
                .await?;
            for read in &level {
                self.add(read);
            }
        }
        Err(UpstreamError::Depth { reference: manifests.reference.to_owned(), limit: MAX_DEPTH })
    }

    /// Sorts the entries of one index into carried and left out; returns the new ones to read.
    fn choose(&mut self, entries: &[Descriptor], platforms: &Platforms) -> Vec<Descriptor> {
        let unwanted: BTreeSet<Digest> = entries
            .iter()
            .filter(|entry| entry.platform().is_some_and(|offered| !platforms.wants(&offered)))
            .map(|entry| entry.digest)
            .collect();
        let mut links = Vec::new();
        for entry in entries {
            let platform = entry.platform();
            self.offered.extend(platform.iter().map(ToString::to_string));
            let child = Child { digest: entry.digest, platform };
            // An attestation follows the child that it is about.
            let about = entry.attests().unwrap_or(entry.digest);
            if unwanted.contains(&about) || unwanted.contains(&entry.digest) {
                self.left_out.insert(child);
            } else if entry.is_manifest()
                && !self.read.contains_key(&entry.digest)
                && self.children.insert(child)
            {
                links.push(entry.clone());
            }
        }
        links
    }

    /// An index that has platforms, none of them wanted, is a mistake in the stack and not an empty image.
    fn check_platforms(&self, reference: &str, wanted: &Platforms) -> Result<(), UpstreamError> {
        let kept = self.children.iter().any(|child| child.platform.is_some());
        if kept || self.offered.is_empty() {
            return Ok(());
        }
        let offered: Vec<String> = self.offered.iter().cloned().collect();
        Err(UpstreamError::Platform {
            reference: reference.to_owned(),
            wanted: wanted.clone(),
            offered: offered.join(", "),
        })
    }
}
