//! Bundles on real disks: made, broken, and read again.

#![expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "we name these files ourselves"
)]
#![expect(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]

mod content;
mod create;
mod example;
mod load;
mod media;
mod remove;
mod tools;
mod verify;
mod world;
