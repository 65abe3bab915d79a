//! The formats: root, blobs table, sums (sketch).

/// `NAME.bundle.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {}
