//! Bundles on real disks: made, broken, and read again.

#![expect(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]

mod create;
mod load;
mod tools;
mod verify;
mod world;
