//! Real inputs with known-good answers: they lie beside some checkouts, and are no part of any.

use std::path::{Path, PathBuf};

/// The file or folder `path` of the real inputs, below `$AIRLIFT_DATA` or the `shared/data` beside the checkout.
///
/// Where it is not here, that is said and the test is skipped, also where `AIRLIFT_REQUIRE_TOOLS` is set: it is no tool
/// that could be installed.
#[expect(clippy::disallowed_methods, reason = "tests are configured from outside")]
#[expect(clippy::print_stderr, reason = "a test that does not run has to say so")]
pub fn data(path: &str) -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let beside = above.map(|folder| folder.join("shared/data")).find(|folder| folder.is_dir());
    let told = std::env::var_os("AIRLIFT_DATA").map(PathBuf::from);
    let place = told.or(beside).map(|data| data.join(path)).filter(|place| place.exists());
    if place.is_none() {
        eprintln!("SKIPPED: {path} of the real inputs is not here");
    }
    place
}
