//! What is signed about a bundle: its root, the table of its members, the sums of its volumes.
//!
//! ```text
//! NAME.bundle.json   the root; its SHA-256 is the bundle's identity
//! NAME.blobs         the table: one JSON line a member, sorted by digest and name
//! NAME.00017.sums    SHA-256 of each 8 MiB of that volume
//! ```
//!
//! **Invariant.** Root and table follow from locks, manifests, sizes and options alone, never from a volume's
//! bytes: they are complete, and signed, before the first volume is written. The same input gives the same bytes.
//!
//! A trusted key signs all three, but the one who signs may be mistaken and `--insecure-trust-unsigned` exists, so
//! readers believe nothing:
//!
//! - *Bombs* (a root or a table without end, deep nesting): lengths are capped before reading, `serde_json` bounds
//!   nesting, the table may only be as long as the root says.
//! - *Huge numbers* (volumes, offsets, sizes that overflow): counts are capped, sums are checked.
//! - *Overlapping or sparse pieces, offsets outside the volume*: every volume must be laid out exactly as we would
//!   lay it out, member after member without a gap, up to its signed size.
//! - *Traversal* (`../`, absolute names, `blobs/` by another name): names of members are checked word by word.
//! - *A file from a newer version*: unknown fields are ignored, unknown needs refused, naming the version.

use airlift_spec::{Digest, Reference};
use serde::{Deserialize, Serialize};

use crate::error::FormatError;

mod sums;
mod table;

pub(crate) use sums::max_bytes as max_sums_bytes;
pub use sums::{CHUNK_BYTES, Sums};
pub use table::{Member, Piece, Table};
pub(crate) use table::{check_layout, in_volume_order, member_name};

/// The format this version writes.
pub const FORMAT: u32 = 1;
/// Ordinals have five digits.
pub const MAX_VOLUMES: u32 = 100_000;
/// A root of 100,000 artifacts on 1,000 volumes stays below this.
pub(crate) const MAX_ROOT_BYTES: u64 = 256 << 20;
/// Two million members.
const MAX_TABLE_BYTES: u64 = 1 << 30;
/// Larger than any medium, and small enough that sums of all volumes stay within 64 bits.
const MAX_VOLUME_BYTES: u64 = 1 << 46;

/// `NAME.bundle.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    pub format: u32,
    /// Features a reader must know, each written `feature@version` with the first version that has it.
    #[serde(default)]
    pub needs: Vec<String>,
    pub name: String,
    pub stacks: Vec<StackLock>,
    /// What a delta builds on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Size of each volume, by ordinal.
    pub volumes: Vec<u64>,
    /// The table, `NAME.blobs`.
    pub blobs: TableFile,
    /// In the order of the locks; each (reference, digest) once.
    pub artifacts: Vec<Artifact>,
    /// Artifacts of the locks that were not fetched, and are not here because `--allow-missing` said so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// Blobs that a delta leaves out because the far side has them; sorted by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A stack, and the digest of its lock's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackLock {
    pub name: String,
    pub lock: Digest,
}

/// The receipt or earlier root that a delta was made against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// SHA-256 of the receipt, or of the earlier root.
    pub document: Digest,
    /// Locks that it says were delivered. Where sources hold one of these and this bundle's, this bundle's counts.
    pub locks: Vec<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    pub digest: Digest,
    pub size: u64,
    pub members: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub reference: Reference,
    pub digest: Digest,
    /// Everything it reaches, referrers included, each blob once.
    pub bytes: u64,
    /// Ordinals of the volumes that hold a blob of it, shared ones included.
    pub volumes: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub reference: Reference,
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub digest: Digest,
    pub size: u64,
    /// Canonical repository (`host/path`) that holds it on the far side.
    pub repository: String,
}

impl Root {
    /// The text as it is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a root has only text keys");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a root. Call it on bytes whose signature is good, or that nobody need vouch for.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        refuse_longer(bytes.len() as u64, MAX_ROOT_BYTES)?;
        check_header(bytes)?;
        let root: Self = serde_json::from_slice(bytes).map_err(FormatError::Json)?;
        root.check()?;
        Ok(root)
    }

    /// `NAME.bundle.json`
    pub fn file_name(&self) -> String {
        root_file(&self.name)
    }

    /// `NAME.blobs`
    pub fn table_file(&self) -> String {
        format!("{}.blobs", self.name)
    }

    /// `NAME.00017.tar`
    pub fn volume_file(&self, ordinal: u32) -> String {
        format!("{}.{ordinal:05}.tar", self.name)
    }

    /// `NAME.00017.sums`
    pub fn sums_file(&self, ordinal: u32) -> String {
        format!("{}.{ordinal:05}.sums", self.name)
    }

    /// The blob among those that a delta leaves out.
    pub fn left_out(&self, digest: &Digest) -> Option<&LeftOut> {
        let at = self.left_out.binary_search_by(|blob| blob.digest.cmp(digest)).ok()?;
        self.left_out.get(at)
    }

    /// Ordinals, in order.
    pub fn ordinals(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.volumes.len()).expect("`check` bounds the volumes")
    }

    fn check(&self) -> Result<(), FormatError> {
        let wrong = |what: String| Err(FormatError::Wrong(what));
        if !is_bundle_name(&self.name) {
            return wrong(format!("`{}` is no name for a bundle", self.name.escape_debug()));
        }
        if let Some(bad) =
            self.stacks.iter().find(|stack| !airlift_spec::stack::is_name(&stack.name))
        {
            return wrong(format!("`{}` is no name for a stack", bad.name.escape_debug()));
        }
        if self.volumes.is_empty() || self.volumes.len() > MAX_VOLUMES as usize {
            return wrong(format!("it has {} volumes", self.volumes.len()));
        }
        if let Some(size) = self.volumes.iter().find(|size| **size > MAX_VOLUME_BYTES) {
            return wrong(format!("a volume of {size} bytes is larger than any medium"));
        }
        refuse_longer(self.blobs.size, MAX_TABLE_BYTES)?;
        let volumes = u32::try_from(self.volumes.len()).unwrap_or(u32::MAX);
        for artifact in &self.artifacts {
            if let Some(ordinal) = artifact.volumes.iter().find(|ordinal| **ordinal >= volumes) {
                return wrong(format!("{} needs a volume {ordinal}", artifact.reference));
            }
        }
        if !self.left_out.is_sorted_by(|a, b| a.digest < b.digest) {
            return wrong("the blobs left out are not sorted".to_owned());
        }
        match self.left_out.iter().find(|blob| !is_repository_name(&blob.repository)) {
            Some(bad) => wrong(format!("`{}` is no repository", bad.repository.escape_debug())),
            None => Ok(()),
        }
    }
}

pub(crate) fn root_file(name: &str) -> String {
    format!("{name}.bundle.json")
}

/// A stack's name, or one with `-` and eight hex digits for a delta.
pub fn is_bundle_name(name: &str) -> bool {
    let is_hex = |text: &str| {
        text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    airlift_spec::stack::is_name(name)
        || name
            .rsplit_once('-')
            .is_some_and(|(stem, hex)| airlift_spec::stack::is_name(stem) && is_hex(hex))
}

fn is_repository_name(name: &str) -> bool {
    // The only grammar for repositories is that of references.
    name.contains('/')
        && format!("{name}:x").parse::<Reference>().is_ok_and(|parsed| parsed.repository() == name)
}

fn refuse_longer(found: u64, most: u64) -> Result<(), FormatError> {
    if found > most { Err(FormatError::TooLarge { found, most }) } else { Ok(()) }
}

/// Version before content: a newer file must say "too new", not "unknown shape".
fn check_header(bytes: &[u8]) -> Result<(), FormatError> {
    #[derive(Deserialize)]
    struct Header {
        format: u32,
        #[serde(default)]
        needs: Vec<String>,
    }
    let header: Header = serde_json::from_slice(bytes).map_err(FormatError::Json)?;
    if header.format > FORMAT {
        return Err(FormatError::TooNew { found: header.format, known: FORMAT });
    }
    // No feature beyond the format itself exists yet.
    match header.needs.into_iter().next() {
        None => Ok(()),
        Some(need) => {
            let (feature, since) = need.split_once('@').unwrap_or((&need, "a later version"));
            Err(FormatError::Needs { need: feature.to_owned(), since: since.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests;
