//! The receipt: what a registry is known to hold of one stack.
//!
//! It lies in the registry itself, one tag a stack, as an OCI artifact that any client can copy:
//!
//! ```text
//! PREFIX/airlift-state:<stack>      image manifest, artifactType application/vnd.airlift.state.v1+json
//! ├── config  {}                    application/vnd.oci.empty.v1+json
//! └── layer   the receipt, JSON     application/vnd.airlift.receipt.v1+json
//! ```
//!
//! The JSON holds `format`, `needs`, `registry`, `prefix`, `layout`, `stack`, the digest of the last lock,
//! `manifests` (canonical repository → digests that arrived) and `tags` (canonical repository → tag → digests
//! that this stack set or is about to set). There are no time stamps: the same content is the same bytes, so a
//! second load finds nothing to write. Repositories are written as they are called on the near side; where
//! they lie in the registry follows from `prefix` and `layout` by the one function that places names.
//!
//! **Invariant.** A receipt only grows: what is written is merged with what stands there, so that disks
//! loaded on different days add up.
//! **Concurrency.** Registries have no compare-and-swap: a writer reads again after writing, and merges again
//! if somebody else's receipt stands there.
//! **Crash.** It is written before the first tag moves, so that a tag which airlift set is always known as such.
//!
//! Receipts are untrusted bytes: at most [`MAX_RECEIPT_BYTES`] are read; digests, layouts and repository names
//! are parsed before use; an unknown format or need is refused. A receipt that lies can only make a delta too
//! small, which `load` finds out by asking the registry, or give this stack a tag within its own registry, which
//! whoever could write the receipt could move himself.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::oci::Manifest;
use airlift_spec::{Class, Digest, Explain, Layout, Reference};
use serde::{Deserialize, Serialize};

use crate::Delivered;

mod kept;

pub(crate) use kept::empty;
pub use kept::{Kept, others, read, rebuild, write};

/// The format this version writes.
pub const FORMAT: u32 = 1;

/// Larger receipts are refused: this one would name half a million manifests.
pub const MAX_RECEIPT_BYTES: u64 = 64 << 20;

/// What a registry is known to hold of one stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub format: u32,
    /// Features a reader must know; an unknown one is refused by name.
    #[serde(default)]
    pub needs: Vec<String>,
    pub registry: String,
    pub prefix: String,
    pub layout: Layout,
    pub stack: String,
    /// The lock that was loaded last.
    pub lock: Digest,
    /// Manifests that arrived, by canonical repository.
    #[serde(default)]
    pub manifests: BTreeMap<String, BTreeSet<Digest>>,
    /// Every digest that this stack set or is about to set, by canonical repository and tag.
    #[serde(default)]
    pub tags: BTreeMap<String, BTreeMap<String, BTreeSet<Digest>>>,
}

/// Why some text is not a receipt that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    #[error("it is not a receipt")]
    Json(#[source] serde_json::Error),
    #[error("it has format {found}; this version of airlift reads up to {FORMAT}")]
    TooNew { found: u32 },
    #[error("it needs `{0}`, which this version of airlift does not know")]
    Needs(String),
    #[error("`{0}` is not a repository")]
    Repository(String),
    #[error("it names no receipt of at most {MAX_RECEIPT_BYTES} bytes")]
    TooLarge,
    #[error("the registry sends other bytes than {0}")]
    Damaged(Digest),
    #[error(
        "stack `{stack}` lies in the registry under layout `{recorded}`, not `{asked}`, as its state records"
    )]
    Layout { stack: String, recorded: Layout, asked: Layout },
}

impl Explain for ReceiptError {
    fn class(&self) -> Class {
        match self {
            Self::Layout { .. } | Self::TooNew { .. } | Self::Needs(_) => Class::Input,
            Self::Json(_) | Self::Repository(_) | Self::TooLarge | Self::Damaged(_) => {
                Class::Integrity
            }
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Layout { recorded, .. } => Some(format!("use `--layout {recorded}`")),
            Self::TooNew { .. } | Self::Needs(_) => {
                Some("use a newer version of airlift".to_owned())
            }
            Self::Json(_) | Self::Repository(_) | Self::TooLarge | Self::Damaged(_) => {
                Some("make it anew with `airlift receipt`".to_owned())
            }
        }
    }
}

#[derive(Deserialize)]
struct Header {
    format: u32,
    #[serde(default)]
    needs: Vec<String>,
}

impl Receipt {
    /// Reads a receipt. Fields it does not know are ignored; needs it does not know are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() as u64 > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::TooLarge);
        }
        let header: Header = serde_json::from_slice(bytes).map_err(ReceiptError::Json)?;
        if header.format > FORMAT {
            return Err(ReceiptError::TooNew { found: header.format });
        }
        if let Some(unknown) = header.needs.into_iter().next() {
            return Err(ReceiptError::Needs(unknown));
        }
        let receipt: Self = serde_json::from_slice(bytes).map_err(ReceiptError::Json)?;
        // Names become paths on the far side and files on the near side: look at them before anybody does.
        for repository in receipt.manifests.keys().chain(receipt.tags.keys()) {
            canonical(repository)?;
        }
        Ok(receipt)
    }

    /// The text of the receipt: sorted, two spaces, a newline at the end.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a receipt has only text keys");
        text.push('\n');
        text
    }

    /// Notes that `digest` is in the registry under the canonical `repository`.
    pub fn add_manifest(&mut self, repository: &str, digest: Digest) {
        self.manifests.entry(repository.to_owned()).or_default().insert(digest);
    }

    /// Notes that this stack set `tag`, or is about to.
    pub fn add_tag(&mut self, repository: &str, tag: &str, digest: Digest) {
        let tags = self.tags.entry(repository.to_owned()).or_default();
        tags.entry(tag.to_owned()).or_default().insert(digest);
    }

    /// The digests that this stack's state gives for a tag, which is named as it lies in the registry.
    pub fn claims(&self, repository_there: &str, tag: &str) -> BTreeSet<Digest> {
        // More than one name may lie there where the layout drops the host.
        let homes = self.tags.iter().filter(|(home, _)| self.lies_at(home, repository_there));
        homes.filter_map(|(_, tags)| tags.get(tag)).flatten().copied().collect()
    }

    /// The tags that this stack set in a repository, which is named as it lies in the registry.
    pub fn tags_at(&self, repository_there: &str) -> impl Iterator<Item = &String> {
        let homes = self.tags.iter().filter(move |(home, _)| self.lies_at(home, repository_there));
        homes.flat_map(|(_, tags)| tags.keys())
    }

    /// The manifests that arrived in a repository, which is named as it lies in the registry.
    pub fn manifests_at(&self, repository_there: &str) -> impl Iterator<Item = Digest> {
        let homes =
            self.manifests.iter().filter(move |(home, _)| self.lies_at(home, repository_there));
        homes.flat_map(|(_, digests)| digests.iter().copied())
    }

    fn lies_at(&self, repository: &str, repository_there: &str) -> bool {
        let placed = canonical(repository).map(|name| self.layout.place(&self.prefix, &name));
        matches!(placed, Ok(Ok(placed)) if placed == repository_there)
    }

    /// Adds what `earlier` knows and this one does not.
    #[must_use]
    pub fn merged_with(mut self, earlier: &Self) -> Self {
        for (repository, digests) in &earlier.manifests {
            self.manifests.entry(repository.clone()).or_default().extend(digests);
        }
        for (repository, tags) in &earlier.tags {
            let ours = self.tags.entry(repository.clone()).or_default();
            for (tag, digests) in tags {
                ours.entry(tag.clone()).or_default().extend(digests);
            }
        }
        self
    }

    /// Refuses to lay the same stack out a second way beside the first.
    pub fn check_layout(&self, asked: Layout) -> Result<(), ReceiptError> {
        if self.layout == asked {
            return Ok(());
        }
        Err(ReceiptError::Layout { stack: self.stack.clone(), recorded: self.layout, asked })
    }

    /// Every blob that the manifests named here hold, with a canonical repository that has it.
    ///
    /// `read` gives a manifest's bytes; of one that it does not have, only the manifest itself is counted.
    pub fn delivered<E>(
        &self,
        mut read: impl FnMut(&Digest) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Delivered, E> {
        let mut blobs: BTreeMap<Digest, String> = BTreeMap::new();
        for (repository, manifests) in &self.manifests {
            for digest in manifests {
                blobs.entry(*digest).or_insert_with(|| repository.clone());
                let Some(bytes) = read(digest)? else { continue };
                // Children of an index arrived only if they are listed themselves: platforms may be left out.
                let Ok(manifest) = Manifest::parse(&bytes, None) else { continue };
                for blob in manifest.blobs.iter().filter(|blob| !blob.is_non_distributable()) {
                    blobs.entry(blob.digest).or_insert_with(|| repository.clone());
                }
            }
        }
        let document = Some(Digest::of(self.to_text().as_bytes()));
        Ok(Delivered { document, locks: vec![self.lock], blobs })
    }
}

/// Reads the name of a repository as the near side calls it.
fn canonical(repository: &str) -> Result<Reference, ReceiptError> {
    let wrong = || ReceiptError::Repository(repository.to_owned());
    let reference: Reference = repository.parse().map_err(|_| wrong())?;
    if reference.repository() == repository { Ok(reference) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        let mut receipt = Receipt {
            format: FORMAT,
            needs: Vec::new(),
            registry: "registry.example".to_owned(),
            prefix: "mirror".to_owned(),
            layout: Layout::Host,
            stack: "demo".to_owned(),
            lock: Digest::of(b"lock"),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        receipt.add_manifest("quay.io/org/app", Digest::of(b"one"));
        receipt.add_tag("quay.io/org/app", "1", Digest::of(b"one"));
        receipt
    }

    #[test]
    fn a_receipt_reads_back_and_says_the_same_bytes_each_time() {
        let text = receipt().to_text();
        assert_eq!(Receipt::parse(text.as_bytes()).unwrap(), receipt());
        assert_eq!(Receipt::parse(text.as_bytes()).unwrap().to_text(), text);
    }

    #[test]
    fn newer_and_hostile_receipts_are_refused() {
        let text = receipt().to_text();
        let parse = |from: &str, to: &str| Receipt::parse(text.replace(from, to).as_bytes());
        assert!(matches!(
            parse("\"format\": 1", "\"format\": 2"),
            Err(ReceiptError::TooNew { .. })
        ));
        let needs = parse("\"needs\": []", "\"needs\": [\"x\"]");
        assert!(matches!(needs, Err(ReceiptError::Needs(_))));
        for name in ["../../etc", "quay.io/org/app:1", "app", "quay.io/A"] {
            let hostile = parse("quay.io/org/app", name);
            assert!(matches!(hostile, Err(ReceiptError::Repository(_))), "{name}");
        }
        assert!(parse("sha256:", "md5:").is_err());
        assert!(parse("\"needs\": []", "\"needs\": [], \"later\": {}").is_ok());
    }

    #[test]
    fn receipts_add_up() {
        let mut later = receipt();
        later.manifests.clear();
        later.lock = Digest::of(b"newer");
        later.add_manifest("quay.io/org/app", Digest::of(b"two"));
        later.add_tag("quay.io/org/app", "1", Digest::of(b"two"));
        let both = later.clone().merged_with(&receipt());
        assert_eq!(both.lock, later.lock);
        assert_eq!(both.manifests["quay.io/org/app"].len(), 2);
        assert_eq!(both.tags["quay.io/org/app"]["1"].len(), 2);
        assert_eq!(both.clone().merged_with(&both), both);
    }

    #[test]
    fn a_tag_is_claimed_where_the_layout_puts_it() {
        let digest = BTreeSet::from([Digest::of(b"one")]);
        assert_eq!(receipt().claims("mirror/quay.io/org/app", "1"), digest);
        assert_eq!(receipt().claims("mirror/org/app", "1"), BTreeSet::new());
        let dropped = Receipt { layout: Layout::OcMirror, ..receipt() };
        assert_eq!(dropped.claims("mirror/org/app", "1"), digest);
    }

    #[test]
    fn another_layout_than_the_recorded_one_is_an_input_error_that_names_both() {
        assert!(receipt().check_layout(Layout::Host).is_ok());
        let err = receipt().check_layout(Layout::Flat(2)).unwrap_err();
        assert_eq!(err.class(), Class::Input);
        assert!(err.to_string().contains("`host`, not `flat:2`"), "{err}");
    }

    #[test]
    fn what_was_delivered_are_the_blobs_of_the_listed_manifests_only() {
        let (config, child) = (Digest::of(b"config"), Digest::of(b"left out"));
        let image = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{config}","size":1}}}}"#
        );
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{child}","size":1}}]}}"#
        );
        let mut receipt = receipt();
        receipt.manifests.clear();
        for text in [&image, &index] {
            receipt.add_manifest("quay.io/org/app", Digest::of(text.as_bytes()));
        }
        let read = |digest: &Digest| {
            let found = [&image, &index].into_iter().find(|text| digest.matches(text.as_bytes()));
            Ok::<_, ()>(found.map(|text| text.clone().into_bytes()))
        };
        let delivered = receipt.delivered(read).unwrap().blobs;
        assert_eq!(delivered.get(&config).map(String::as_str), Some("quay.io/org/app"));
        assert!(!delivered.contains_key(&child));
        assert_eq!(delivered.len(), 3);
    }
}
