//! Loading into registries and stores.

#![expect(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]

mod attach;
mod basics;
mod deltas;
mod faults;
mod real;
mod receipts;
mod sparse;
mod tags;
mod to_store;
mod volumes;
mod world;
