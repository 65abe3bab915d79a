//! What the other crates' tests stand on: sample artifacts, real servers with faults, a world for the command line.
//!
//! A dev-dependency only. Nothing here reaches beyond loopback, nothing sleeps to wait for a state, and what a
//! machine cannot do is skipped loudly, or fails where `AIRLIFT_REQUIRE_TOOLS` is set.

mod background;
pub mod clients;
mod data;
pub mod disk;
pub mod git;
pub mod netns;
pub mod openshift;
pub mod proxy;
pub mod raw;
pub mod real;
pub mod registry;
pub mod samples;
pub mod sources;
pub mod tls;
pub mod tools;
pub mod tunnel;
pub mod world;

pub use data::data;
pub use git::GitServer;
pub use proxy::FaultProxy;
pub use registry::{Auth, Bearer, Credentials, FakeOptions, FakeRegistry, Fault, On};
pub use samples::Sample;
pub use world::World;
