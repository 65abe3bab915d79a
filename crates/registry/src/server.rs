//! The registry server (API sketch; being built).

mod backend;

pub use backend::{Asked, Backend, BackendError, StoredManifest};
