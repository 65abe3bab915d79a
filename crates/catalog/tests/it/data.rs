//! Where the real data is.

use std::path::{Path, PathBuf};

/// A folder or file of the data beside the repository; nothing, and why, where there is none.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a test is told where data lies")]
    let told = std::env::var_os("AIRLIFT_DATA").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let beside = [root.join("../shared/data"), root.join("../../shared/data")];
    let found = told.into_iter().chain(beside).find(|path| path.is_dir());
    if found.is_none() {
        println!("SKIPPED: no data beside the repository, and AIRLIFT_DATA is not set");
    }
    Some(found?.join(name))
}

/// The roots of all catalogs.
pub(crate) fn catalogs() -> Vec<PathBuf> {
    let Some(folder) = data("olm/catalogs") else { return Vec::new() };
    let folders = |path: &Path| -> Vec<PathBuf> {
        let mut found: Vec<_> = fs_err::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        found.sort();
        found
    };
    folders(&folder).iter().flat_map(|path| folders(path)).collect()
}
