//! Requests and bytes, counted where they happen.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ping,
    Token,
    Manifest,
    Blob,
    Upload,
    Listing,
    File,
}

/// Requests and bytes so far, for every report. Redirects and repeated tries count as requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// All requests; the fields below say what for.
    pub requests: u64,
    pub pings: u64,
    pub tokens: u64,
    pub manifests: u64,
    pub blobs: u64,
    pub uploads: u64,
    pub listings: u64,
    pub files: u64,
    /// Tries that were made again after a pause.
    pub retries: u64,
    /// Bytes of bodies.
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counting {
    by_kind: [AtomicU64; 7],
    retries: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counting {
    pub(crate) fn request(&self, kind: Kind) {
        self.by_kind[kind as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn read(&self) -> Counters {
        let of = |kind: Kind| self.by_kind[kind as usize].load(Relaxed);
        Counters {
            requests: self.by_kind.iter().map(|count| count.load(Relaxed)).sum(),
            pings: of(Kind::Ping),
            tokens: of(Kind::Token),
            manifests: of(Kind::Manifest),
            blobs: of(Kind::Blob),
            uploads: of(Kind::Upload),
            listings: of(Kind::Listing),
            files: of(Kind::File),
            retries: self.retries.load(Relaxed),
            bytes_received: self.received.load(Relaxed),
            bytes_sent: self.sent.load(Relaxed),
        }
    }
}
