//! Real inputs, which lie beside the checkout and are no part of it.

use std::path::{Path, PathBuf};

/// The file or folder `path` of the real inputs; where it is not here, that is said and the test is skipped.
#[expect(clippy::disallowed_methods, reason = "tests are configured from outside")]
pub(crate) fn data(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/data"))
        .find(|folder| folder.is_dir());
    let place = std::env::var_os("AIRLIFT_DATA").map(PathBuf::from).or(beside);
    let place = place.map(|folder| folder.join(path)).filter(|place| place.exists());
    if place.is_none() {
        println!("SKIPPED: {path} is not here");
    }
    place
}

pub(crate) fn text(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}
