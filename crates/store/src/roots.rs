//! `roots/<stack>.json`: what a stack's lock keeps in the store.
//!
//! Written before the first blob that it names, replaced as a whole. Readers ignore fields they do not know and refuse
//! needs they do not know.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use airlift_spec::{Descriptor, Digest};
use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::layout::ROOTS;
use crate::{Store, StoreError, disk};

/// Larger root files are refused. A root of 100,000 artifacts has 30 MB.
pub(crate) const MAX_ROOT_BYTES: u64 = 512 << 20;

pub(crate) const FORMAT: u32 = 1;

/// What a root keeps: `roots/<stack>.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub stack: String,
    pub artifacts: Vec<RootArtifact>,
    /// Blobs kept besides the artifacts' closures: the lock itself, findings, blueprints.
    pub blobs: Vec<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootArtifact {
    /// Canonical reference; none for a referrer.
    pub reference: Option<String>,
    pub manifest: Descriptor,
    /// Children of the index that were left out: `gc`, `fsck` and the closure do not follow them.
    pub left_out: BTreeSet<Digest>,
}

impl Store {
    /// All roots, by stack.
    ///
    /// # Errors
    ///
    /// Where one cannot be read: what it keeps is unknown then.
    pub fn roots(&self) -> Result<Vec<Root>, StoreError> {
        let mut roots = Vec::new();
        for path in self.root_files()? {
            // It may have been removed since it was listed.
            roots.extend(read_root(&path)?);
        }
        roots.sort_by(|a, b| a.stack.cmp(&b.stack));
        Ok(roots)
    }

    /// The root of one stack; none where there is none.
    pub fn read_root(&self, stack: &str) -> Result<Option<Root>, StoreError> {
        read_root(&self.root_path(stack)?)
    }

    /// Writes or replaces a root, durably. It comes before the first blob that it names.
    pub fn write_root(&self, root: &Root) -> Result<(), StoreError> {
        let path = self.root_path(&root.stack)?;
        let _gate = self.enter();
        let bytes = serde_json::to_vec(&RootWire::from(root)).expect("a root is JSON");
        disk::replace(&self.staging_dir(), &path, &bytes)
            .map_err(|err| self.write_error(bytes.len() as u64, err))
    }

    /// Removes a root, and says whether there was one. `gc` frees what it kept.
    pub fn remove_root(&self, stack: &str) -> Result<bool, StoreError> {
        let path = self.root_path(stack)?;
        let _gate = self.enter();
        let removed = disk::remove_if_present(&path).map_err(|err| self.write_error(0, err))?;
        disk::sync_folder(&self.root().join(ROOTS)).map_err(|err| self.write_error(0, err))?;
        Ok(removed)
    }

    pub(crate) fn root_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(self.root().join(ROOTS)).map_err(StoreError::read)? {
            let path = entry.map_err(StoreError::read)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn root_path(&self, stack: &str) -> Result<PathBuf, StoreError> {
        if !is_stack_name(stack) {
            return Err(StoreError::RootName { name: stack.to_owned() });
        }
        Ok(self.root().join(ROOTS).join(format!("{stack}.json")))
    }
}

/// The grammar of stack names; what a path is made of is checked here, too.
pub(crate) fn is_stack_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 40
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|byte| is_plain(byte) || byte == b'-')
}

pub(crate) fn read_root(path: &Path) -> Result<Option<Root>, StoreError> {
    Ok(read_json::<RootWire>(path, MAX_ROOT_BYTES)?.map(Root::from))
}

/// A JSON file of ours; none where it is absent.
pub(crate) fn read_json<T: DeserializeOwned>(
    path: &Path,
    limit_bytes: u64,
) -> Result<Option<T>, StoreError> {
    match disk::read_small(path, limit_bytes) {
        Ok(Some(bytes)) => parse_json(path, &bytes).map(Some),
        Ok(None) => Ok(None),
        Err(err) if err.kind() == io::ErrorKind::FileTooLarge => {
            Err(StoreError::Oversized { path: path.to_owned(), limit_bytes })
        }
        Err(err) => Err(StoreError::read(err)),
    }
}

/// The text of such a file, its `format` and `needs` checked before its content.
pub(crate) fn parse_json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |source| StoreError::Damaged { path: path.to_owned(), source };
    let header: Header = serde_json::from_slice(bytes).map_err(damaged)?;
    if header.format > FORMAT || !header.needs.is_empty() {
        let needs = if header.needs.is_empty() {
            format!("format {}", header.format)
        } else {
            header.needs.join(", ")
        };
        return Err(StoreError::TooNew { path: path.to_owned(), needs });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

#[derive(Deserialize)]
struct Header {
    format: u32,
    #[serde(default)]
    needs: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RootWire {
    format: u32,
    needs: Vec<String>,
    stack: String,
    artifacts: Vec<ArtifactWire>,
    blobs: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    manifest: Descriptor,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    left_out: BTreeSet<Digest>,
}

impl From<&Root> for RootWire {
    fn from(root: &Root) -> Self {
        let artifact = |artifact: &RootArtifact| ArtifactWire {
            reference: artifact.reference.clone(),
            manifest: artifact.manifest.clone(),
            left_out: artifact.left_out.clone(),
        };
        Self {
            format: FORMAT,
            needs: Vec::new(),
            stack: root.stack.clone(),
            artifacts: root.artifacts.iter().map(artifact).collect(),
            blobs: root.blobs.clone(),
        }
    }
}

impl From<RootWire> for Root {
    fn from(wire: RootWire) -> Self {
        let artifact = |wire: ArtifactWire| RootArtifact {
            reference: wire.reference,
            manifest: wire.manifest,
            left_out: wire.left_out,
        };
        Self {
            stack: wire.stack,
            artifacts: wire.artifacts.into_iter().map(artifact).collect(),
            blobs: wire.blobs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_grammar_of_stack_names_makes_a_path() {
        for good in ["a", "0", "llm-platform", &"x".repeat(40)] {
            assert!(is_stack_name(good), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "..", "a.b", "pushed/x", &"x".repeat(41), "ä"] {
            assert!(!is_stack_name(bad), "{bad}");
        }
    }
}
