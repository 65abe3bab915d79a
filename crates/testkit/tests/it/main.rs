//! The test kit is tested like everything else: a fault that does not happen proves nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod disk;
mod http;
mod netns;
mod proxy;
mod real;
mod registry;
mod samples;
mod world;
