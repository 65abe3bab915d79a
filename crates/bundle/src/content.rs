//! One source of artifacts, whatever holds them: volumes, a store, or a registry; and several joined by digest.
#![expect(unused_variables, clippy::unused_async, reason = "sketch")]

use std::ops::Range;
use std::sync::Arc;

use airlift_registry::client::{BlobSource, Client};
use airlift_spec::{Ctx, Digest, Layout, Lock};
use airlift_store::Store;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{BundleError, TrustedBundle};

/// Where content comes from.
#[derive(Debug, Clone)]
pub enum Content {
    Volumes(Arc<TrustedBundle>),
    Store(Arc<Store>),
    Registry(RegistryContent),
}

#[derive(Debug, Clone)]
pub struct RegistryContent {
    pub client: Client,
    pub host: String,
    pub prefix: String,
    pub layout: Layout,
}

/// Several sources, joined by digest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sources {}

/// Whether a blob can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    Here {
        size: u64,
    },
    /// It belongs to a source, but lies on volumes that are absent.
    Absent {
        volumes: Vec<String>,
    },
    /// A delta left it out: it must be on the far side already.
    LeftOut {
        repository: String,
    },
    Unknown,
}

impl Sources {
    pub async fn open(contents: Vec<Content>, ctx: &Ctx) -> Result<Self, BundleError> {
        unimplemented!()
    }
    /// The locks that count: of two locks of one stack, the delta's, else the last source's.
    pub fn locks(&self) -> &[Lock] {
        unimplemented!()
    }
    pub fn contents(&self) -> &[Content] {
        unimplemented!()
    }
    pub async fn availability(&self, digest: &Digest) -> Result<Availability, BundleError> {
        unimplemented!()
    }
    /// A small blob whole (manifests), checked against its digest.
    pub async fn read_small(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, BundleError> {
        unimplemented!()
    }
    /// A piece of a blob in frames of 256 KiB to 1 MiB. From volumes, no byte of a chunk comes before the chunk is checked.
    pub async fn read(
        &self,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, BundleError>>, BundleError> {
        unimplemented!()
    }
    /// For pushing.
    pub fn blob_source(&self, digest: Digest, size: u64) -> Box<dyn BlobSource> {
        unimplemented!()
    }
}
