//! What the far side is served: bundles, stores and both, asked over real connections.
//!
//! `pull` follows what the conformance suite of the distribution specification asks of a registry that takes no
//! pushes, case by case.

#![expect(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]

mod charts;
mod clients;
mod damage;
mod joined;
mod lists;
mod many;
mod partial;
mod pull;
mod tls;
mod world;
