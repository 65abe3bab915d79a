//! The store against real disks.

#![expect(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]
#![expect(clippy::single_range_in_vec_init, reason = "a gap is a range, and often there is one")]
#![expect(clippy::cast_possible_truncation, reason = "test blobs are small")]

mod blobs;

use airlift_store::Store;
use tempfile::TempDir;

fn temp_store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    (dir, store)
}
