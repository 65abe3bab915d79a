//! Against real catalogs, where they lie.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, their helpers included, fail by panicking and say what they skip"
)]

mod data;
mod depend;
mod filter;
mod measure;
mod read;
mod write;
