//! The content-addressed store (API sketch; being built).

#![expect(unused_variables, missing_debug_implementations, reason = "sketch")]

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use airlift_spec::{Algorithm, Ctx, Descriptor, Digest, Finding};

#[derive(Debug)]
pub struct Store {}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("failed to write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("expected {expected}, got {actual}")]
    Mismatch { expected: Digest, actual: Digest },
}
impl airlift_spec::Explain for StoreError {
    fn class(&self) -> airlift_spec::Class {
        airlift_spec::Class::Storage
    }
}

/// What came of asking to write a blob.
pub enum Staging {
    /// It is here already: nothing to do.
    Present,
    /// Another process holds it: do other work meanwhile, ask again later.
    Busy,
    /// Ours to fill.
    Writer(BlobWriter),
}

/// A blob on its way in. Dropping it keeps the durable pieces for the next run.
pub struct BlobWriter {}

impl BlobWriter {
    pub fn digest(&self) -> Digest {
        unimplemented!()
    }
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Ranges still missing, in order. A fresh writer has one: `0..size`.
    pub fn gaps(&self) -> Vec<Range<u64>> {
        unimplemented!()
    }
    /// Writes `bytes` at `offset`. Sequential writing from 0 is hashed on the way; anything else is hashed at commit.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Makes what was written durable and notes it in `.pieces`, so that a kill loses nothing before here.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Forgets every byte: after bytes turned out wrong.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// The gate: hashes what is not yet hashed, makes it durable, publishes it.
    pub fn commit(self) -> Result<(), StoreError> {
        unimplemented!()
    }
}

/// A client's upload (`staging/upload-<id>`): size and digest are known at the end only. Survives a restart.
pub struct Upload {}

impl Upload {
    pub fn id(&self) -> &str {
        unimplemented!()
    }
    pub fn len(&self) -> u64 {
        unimplemented!()
    }
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Publishes the upload as `expected`; on a mismatch nothing is stored and the upload is gone.
    pub fn commit(self, expected: Digest) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn cancel(self) -> Result<(), StoreError> {
        unimplemented!()
    }
}

/// What a root keeps: `roots/<name>.json`.
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
    /// Opens a store; makes it where the folder is absent or empty. Refuses vfat and exfat by name.
    pub fn create(root: &Path) -> Result<Self, StoreError> {
        unimplemented!()
    }
    /// Opens a store that must exist. Works on a read-only file system.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        unimplemented!()
    }
    pub fn root(&self) -> &Path {
        unimplemented!()
    }
    pub fn contains(&self, digest: &Digest) -> bool {
        unimplemented!()
    }
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        unimplemented!()
    }
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<fs_err::File>, StoreError> {
        unimplemented!()
    }
    /// A small blob whole, checked against its digest; `limit` bytes at most.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        unimplemented!()
    }
    /// Asks to write the blob; see `Staging`.
    pub fn stage(&self, digest: Digest, size: u64) -> Result<Staging, StoreError> {
        unimplemented!()
    }
    /// Puts bytes that are in memory; returns after they are durable.
    pub fn put(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Takes a blob that turned out damaged out of `blobs/`, so that the next fetch brings it again.
    pub fn discard(&self, digest: &Digest) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn start_upload(&self, algorithm: Algorithm) -> Result<Upload, StoreError> {
        unimplemented!()
    }
    pub fn resume_upload(&self, id: &str) -> Result<Option<Upload>, StoreError> {
        unimplemented!()
    }
    pub fn roots(&self) -> Result<Vec<Root>, StoreError> {
        unimplemented!()
    }
    pub fn write_root(&self, root: &Root) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn remove_root(&self, stack: &str) -> Result<bool, StoreError> {
        unimplemented!()
    }
    /// Rewrites `index.json` from the roots: complete artifacts only.
    pub fn write_index(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn gc(&self, dry_run: bool, ctx: &Ctx) -> Result<GcReport, StoreError> {
        unimplemented!()
    }
    pub fn fsck(&self, depth: Fsck, ctx: &Ctx) -> Result<Vec<Finding>, StoreError> {
        unimplemented!()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsck {
    /// Presence and sizes.
    Quick,
    /// Every byte.
    Deep,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    pub removed_blobs: u64,
    pub removed_bytes: u64,
    pub kept_blobs: u64,
    pub kept_bytes: u64,
}

/// The blobs that an artifact reaches, manifests first; `read` gives a manifest's bytes.
/// Children in `left_out` are not followed. Pure apart from `read`.
pub fn closure<E>(
    manifest: &Descriptor,
    left_out: &BTreeSet<Digest>,
    read: impl FnMut(&Descriptor) -> Result<Option<Vec<u8>>, E>,
) -> Result<Closure, E> {
    unimplemented!()
}

#[derive(Debug, Clone, Default)]
pub struct Closure {
    /// Manifests and indexes, the root first, each once.
    pub manifests: Vec<Descriptor>,
    /// Other blobs, each once, in order of first mention.
    pub blobs: Vec<Descriptor>,
    /// Manifests that `read` did not have.
    pub missing: Vec<Descriptor>,
}
