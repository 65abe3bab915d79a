//! The far side's endpoints over a content: the OCI registry and Helm's chart repository, with TLS of its own where
//! none is given.

pub mod charts;
pub mod content;
pub mod tls;

mod names;
