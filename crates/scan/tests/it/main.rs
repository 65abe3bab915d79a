//! What is found in the real manifests of real platforms, held against lists that were made another way.

#![expect(
    clippy::print_stdout,
    reason = "figures, and what is skipped, are what these tests have to say"
)]
#![expect(clippy::unwrap_used, reason = "tests, their helpers included, fail by panicking")]

mod charts;
mod data;
mod knowledge;
mod kubeflow;
mod operators;
