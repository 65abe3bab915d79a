//! The public API of the crate, against real disks and real connections.

#![allow(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]

mod client;
mod server;
