//! Work that waits for a disk, off the async threads.

use std::io;

/// Runs `work` where blocking is allowed.
///
/// # Cancel safety
///
/// Dropping the future does not stop `work`: it runs to its end, and what it returns is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    // The only ways to fail are a panic of `work` and a runtime that is shutting down.
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
