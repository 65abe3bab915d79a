//! Stacks, locks and stores against registries that misbehave on purpose.

mod fetch;
mod local;
mod resolve;
mod world;
