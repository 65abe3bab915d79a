//! What a load came to.

use std::sync::atomic::{AtomicU64, Ordering};

use airlift_spec::{Class, Digest, Finding, Reference, Severity};
use serde::Serialize;

use super::Request;
use super::plan::{Failure, Missing};

/// What a load came to. The next run tries only what is not there by now.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    pub format: u32,
    pub artifacts: Vec<Outcome>,
    pub findings: Vec<Finding>,
    pub totals: Totals,
    /// What has to come across the gap again, where a delta counted on what is not there.
    #[serde(skip)]
    pub request: Option<Request>,
}

/// What became of one artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub stack: String,
    pub reference: Reference,
    pub repository: String,
    pub digest: Digest,
    pub result: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Fate {
    /// All of it was there already.
    Present,
    Pushed,
    /// Some of it cannot be had: volumes are absent, or a delta counts on what is not there.
    Incomplete {
        missing: Vec<Missing>,
    },
    Failed(Failure),
    /// The load stopped before its turn came.
    NotTried,
}

/// Requests of a kind, and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// All that were made, those for planning excluded; none for a load into a store.
    pub requests: u64,
    pub bytes_sent: u64,
    pub blobs_sent: u64,
    pub blobs_mounted: u64,
    pub manifests_pushed: u64,
    pub tags_set: u64,
}

impl LoadReport {
    /// The class that decides the exit code; none where all went well.
    pub fn class(&self) -> Option<Class> {
        let of_fate = |outcome: &Outcome| match &outcome.result {
            Fate::Present | Fate::Pushed => None,
            Fate::Incomplete { .. } | Fate::NotTried => Some(Class::Findings),
            Fate::Failed(failure) => Some(failure.class),
        };
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let found = errors.map(|_| Class::Findings);
        Class::gravest(self.artifacts.iter().filter_map(of_fate).chain(found))
    }
}

/// Totals while many hands add to them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bytes_sent: AtomicU64,
    blobs_sent: AtomicU64,
    blobs_mounted: AtomicU64,
    manifests_pushed: AtomicU64,
    tags_set: AtomicU64,
}

impl Tally {
    pub(super) fn sent(&self, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        self.blobs_sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Some bytes of a blob whose rest is elsewhere.
    pub(super) fn sent_part(&self, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn mounted(&self, mounted: bool) {
        self.blobs_mounted.fetch_add(u64::from(mounted), Ordering::Relaxed);
    }

    pub(super) fn pushed_manifest(&self) {
        self.manifests_pushed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_tag(&self) {
        self.tags_set.fetch_add(1, Ordering::Relaxed);
    }

    /// `requests` are counted by the client.
    pub(super) fn totals(&self, requests: u64) -> Totals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            requests,
            bytes_sent: read(&self.bytes_sent),
            blobs_sent: read(&self.blobs_sent),
            blobs_mounted: read(&self.blobs_mounted),
            manifests_pushed: read(&self.manifests_pushed),
            tags_set: read(&self.tags_set),
        }
    }
}
