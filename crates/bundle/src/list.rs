//! What a bundle holds, and how two of them differ: values that print and serialise.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::oci::total_bytes;
use airlift_spec::{Digest, Reference};
use serde::Serialize;

use crate::TrustedBundle;
use crate::root::{Missing, Since, StackLock};

/// The schema of these documents.
const FORMAT: u32 = 1;

/// What `bundle ls` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    pub format: u32,
    pub name: String,
    pub root: Digest,
    pub stacks: Vec<StackLock>,
    pub since: Option<Since>,
    pub volumes: Vec<ListedVolume>,
    pub artifacts: Vec<ListedArtifact>,
    pub missing: Vec<Missing>,
    pub blobs: u64,
    /// What a delta leaves out.
    pub left_out_blobs: u64,
    pub left_out_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedVolume {
    pub file: String,
    pub size: u64,
    pub is_here: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedArtifact {
    pub reference: Reference,
    pub digest: Digest,
    pub bytes: u64,
    /// Files of the volumes that it needs.
    pub volumes: Vec<String>,
    /// Those of them that are not here.
    pub absent: Vec<String>,
}

/// What `bundle diff A B` says: what B has otherwise than A.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub format: u32,
    pub added: Vec<DifferentArtifact>,
    pub removed: Vec<DifferentArtifact>,
    pub changed: Vec<DifferentArtifact>,
    /// Blobs that only one of them brings or leaves out as delivered.
    pub added_blobs: u64,
    pub added_bytes: u64,
    pub removed_blobs: u64,
    pub removed_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferentArtifact {
    pub reference: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        let artifacts = [&self.added, &self.removed, &self.changed];
        artifacts.iter().all(|list| list.is_empty()) && self.added_blobs + self.removed_blobs == 0
    }
}

/// Lists a bundle. Reads no volume.
pub fn list(bundle: &TrustedBundle) -> Listing {
    let root = bundle.root();
    let file = |ordinal: &u32| root.volume_file(*ordinal);
    let artifacts = root.artifacts.iter().map(|artifact| {
        let is_absent = |ordinal: &&u32| !bundle.volumes()[**ordinal as usize].is_here();
        ListedArtifact {
            reference: artifact.reference.clone(),
            digest: artifact.digest,
            bytes: artifact.bytes,
            volumes: artifact.volumes.iter().map(file).collect(),
            absent: artifact.volumes.iter().filter(is_absent).map(file).collect(),
        }
    });
    let volumes = bundle.volumes().iter().map(|volume| ListedVolume {
        file: volume.name().to_owned(),
        size: volume.size_bytes(),
        is_here: volume.is_here(),
    });
    Listing {
        format: FORMAT,
        name: root.name.clone(),
        root: bundle.digest(),
        stacks: root.stacks.clone(),
        since: root.since.clone(),
        volumes: volumes.collect(),
        artifacts: artifacts.collect(),
        missing: root.missing.clone(),
        blobs: bundle.table().members().iter().filter(|member| member.name.is_none()).count()
            as u64,
        left_out_blobs: root.left_out.len() as u64,
        left_out_bytes: total_bytes(root.left_out.iter().map(|blob| blob.size)),
    }
}

/// Compares what two bundles amount to on the far side: a blob that a delta leaves out counts as its own.
pub fn diff(before: &TrustedBundle, after: &TrustedBundle) -> Difference {
    let (old, new) = (pins(before), pins(after));
    let references: BTreeSet<&Reference> = old.keys().chain(new.keys()).copied().collect();
    let mut difference = Difference {
        format: FORMAT,
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        added_blobs: 0,
        added_bytes: 0,
        removed_blobs: 0,
        removed_bytes: 0,
    };
    for reference in references {
        let (before, after) = (old.get(reference).copied(), new.get(reference).copied());
        let list = match (before, after) {
            (None, _) => &mut difference.added,
            (_, None) => &mut difference.removed,
            (before, after) if before != after => &mut difference.changed,
            _ => continue,
        };
        list.push(DifferentArtifact { reference: reference.clone(), before, after });
    }
    let (old, new) = (blobs(before), blobs(after));
    let only = |these: &BTreeMap<Digest, u64>, those: &BTreeMap<Digest, u64>| {
        let sizes = these.iter().filter(|(digest, _)| !those.contains_key(digest));
        sizes.fold((0, 0), |(count, bytes): (u64, u64), (_, size)| {
            (count + 1, bytes.saturating_add(*size))
        })
    };
    (difference.added_blobs, difference.added_bytes) = only(&new, &old);
    (difference.removed_blobs, difference.removed_bytes) = only(&old, &new);
    difference
}

fn pins(bundle: &TrustedBundle) -> BTreeMap<&Reference, Digest> {
    bundle.root().artifacts.iter().map(|artifact| (&artifact.reference, artifact.digest)).collect()
}

fn blobs(bundle: &TrustedBundle) -> BTreeMap<Digest, u64> {
    let members = bundle.table().members().iter().filter(|member| member.name.is_none());
    let left_out = bundle.root().left_out.iter().map(|blob| (blob.digest, blob.size));
    members.map(|member| (member.digest, member.size)).chain(left_out).collect()
}
