//! Charts against the real `helm` program.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod carried;
mod explore;
mod kustomize;
mod released;
mod render;
mod world;
