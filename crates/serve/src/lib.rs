//! The far side's endpoints over a content: so far the OCI registry, with TLS of its own where none is given.

pub mod content;
pub mod tls;

mod names;
