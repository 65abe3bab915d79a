//! Bringing content into a registry or a store.
//!
//! [`plan()`] asks the registry what is there and says what is missing, as a value that prints and serialises;
//! [`run()`] then moves exactly that.
//!
//! **Asking.** A tag that points to the wanted digest, or else the manifest's digest itself, is asked for by
//! HEAD. A manifest that is there in its repository vouches for its blobs, because registries check them when
//! they take a manifest. It does not vouch for the children of an index: a sparse index may have come before
//! them. So children are asked for one by one, and blobs only where their manifest is missing.
//!
//! **Order.** Blobs, manifests of platforms, indexes, referrers, the state of the stack, tags. Whoever pulls by
//! tag finds everything; whoever kills the load leaves blobs that the next one finds.
//!
//! **Each blob is sent once per registry.** The first repository that needs it gets the bytes; the others
//! mount it from there, and are sent the bytes only where the registry refuses to mount.
//!
//! **Concurrency.** Two loads at once do the same work twice at worst: pushing is idempotent, and the two things
//! that are not (a stack's state, the fallback index of referrers) are read again after they are written.
//! **Crash.** Nothing is kept on this side: the next run asks the registry.

use std::num::NonZeroUsize;

use airlift_registry::client::{Client, ClientError, Repository};
use airlift_spec::Layout;
use airlift_spec::oci::ManifestError;
use serde::Serialize;

use crate::receipt::ReceiptError;

pub(crate) mod attach;
mod blobs;
mod draft;
mod error;
mod plan;
mod report;
mod request;
mod run;
mod survey;
mod tags;
mod to_store;
mod wish;

pub use error::LoadError;
pub use plan::lacking;
pub use plan::{
    ArtifactPlan, AttachStep, BlobPlan, Failure, Lack, LoadPlan, ManifestStep, Missing, State,
    TagAction, TagStep,
};
pub use report::{Fate, LoadReport, Outcome, Totals};
pub use request::{Reason, Request};
pub use run::run;
pub use survey::plan;
pub use to_store::load_to_store;

/// The registry to load into, and how names are laid out in it.
#[derive(Debug, Clone)]
pub struct Target {
    pub client: Client,
    pub host: String,
    /// Put before every repository; may be empty.
    pub prefix: String,
    pub layout: Layout,
}

/// How a load goes about it.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Artifacts and blobs in flight at once. Each blob costs one connection and a few MiB of memory.
    pub parallel: NonZeroUsize,
    pub tags: TagPolicy,
    pub sparse: SparsePolicy,
}

impl Default for LoadOptions {
    fn default() -> Self {
        let parallel = NonZeroUsize::new(8).expect("eight is not zero");
        Self { parallel, tags: TagPolicy::OursOnly, sparse: SparsePolicy::Index }
    }
}

/// Which tags may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagPolicy {
    /// Those that point to what this stack set, and that no other stack names.
    #[default]
    OursOnly,
    /// All (`--move-tags`).
    MoveAny,
}

/// What happens to an index some of whose children are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SparsePolicy {
    /// It is pushed as it is, and keeps its digest.
    #[default]
    Index,
    /// Where exactly one platform is kept, the tag points to that child (`--single-platform-tags`).
    SinglePlatformTags,
}

impl Target {
    pub(crate) fn repository(&self, path: &str) -> Repository {
        Repository { host: self.host.clone(), path: path.to_owned() }
    }

    /// Some registries say of what is not there yet to nobody but those who may push.
    pub(crate) fn will_be_pushed_to(&self) -> Result<(), LoadError> {
        let told = self.client.will_push_to(&self.host);
        told.map_err(|source| self.asked("its repositories", source))
    }

    pub(crate) fn asked(&self, what: &str, source: ClientError) -> LoadError {
        LoadError::Ask { registry: self.host.clone(), what: what.to_owned(), source }
    }

    pub(crate) fn wrote(&self, what: &str, source: ClientError) -> LoadError {
        LoadError::Write { registry: self.host.clone(), what: what.to_owned(), source }
    }

    pub(crate) fn bad_manifest(&self, what: &str, source: ManifestError) -> LoadError {
        LoadError::Manifest { registry: self.host.clone(), what: what.to_owned(), source }
    }

    pub(crate) fn bad_state(&self, stack: &str, source: ReceiptError) -> LoadError {
        LoadError::State { registry: self.host.clone(), stack: stack.to_owned(), source }
    }
}
