//! The connected side: finds what a stack wants, pins it, and brings it into the store.
//!
//! One module for each kind of source. [`resolve`] turns a stack into a lock, [`fetch`] a lock into a filled store.

pub mod fetch;
pub mod image;
pub mod releases;
pub mod resolve;

mod brought;
mod catalogs;
mod charts;
mod error;
mod find;
mod inputs;
mod layer;
mod lint;
mod local;
mod made;
mod origin;
mod remotes;
mod want;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

pub use catalogs::read_catalog;
pub use charts::{Indexes, chart_index};
pub use error::{ArtifactFailure, UpstreamError};
pub use inputs::inputs;
pub use remotes::GitError;

/// Runs what waits for a disk off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("work on the disk does not panic and is not cancelled")
}
