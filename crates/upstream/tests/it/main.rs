//! Stacks, locks and stores against registries that misbehave on purpose.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod catalog;
mod chart;
mod faults;
mod fetch;
mod find;
mod lint;
mod local;
mod remotes;
mod resolve;
mod truth;
mod world;
