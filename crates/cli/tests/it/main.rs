//! The command line as its users meet it: wiring, words and exit codes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod crowd;
mod export;
mod far;
mod lints;
mod local;
mod near;
mod oc_mirror;
mod output;
mod passwords;
mod releases;
mod signals;
mod sources;
mod world;
