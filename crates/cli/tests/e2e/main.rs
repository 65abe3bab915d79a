//! The whole way, with the real binary, real registries and real clients.

#![expect(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]

mod clients;
mod dice;
mod disks;
mod gap;
mod kills;
mod media;
mod mirror_kills;
mod missing;
mod plant;
mod random_kills;
mod runtimes;
mod serving;
mod sides;
mod source_kills;
