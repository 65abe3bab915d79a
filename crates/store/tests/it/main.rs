//! The store against real disks.

#![expect(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]
#![expect(clippy::single_range_in_vec_init, reason = "a gap is a range, and often there is one")]
#![expect(clippy::cast_possible_truncation, reason = "test blobs are small")]

mod blobs;
mod faults;
mod keeping;
mod sample;

use airlift_store::Store;
use tempfile::TempDir;

fn temp_store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    (dir, store)
}

/// Past the capture of the test harness: a test that did not run must be seen not to have run.
#[expect(clippy::explicit_write, reason = "`eprintln!` would be captured")]
fn say_skipped(reason: &str) {
    use std::io::Write as _;
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    writeln!(std::io::stderr(), "SKIPPED {test}: {reason}").unwrap();
}
