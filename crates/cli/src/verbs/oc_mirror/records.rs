//! What a run leaves behind for people: what failed, and the configuration with its catalogs pinned.

use std::path::{Path, PathBuf};

use airlift_oc_mirror::{ImageSet, Workspace, pinned};
use airlift_spec::{Failure, Lock};

use super::write;
use crate::app::read_text;
use crate::failure::FailedItem;

/// What failed and why, as a line.
pub(super) fn line(failed: &FailedItem) -> String {
    let why = [&failed.failure.message].into_iter().chain(&failed.failure.causes);
    let why: Vec<&str> = why.map(String::as_str).collect();
    format!("{}: {}\n", failed.item, why.join(": "))
}

/// Lists what failed in the folder of logs; none where nothing did.
pub(super) fn write_errors(workspace: &Workspace, lines: &str) -> Result<Option<PathBuf>, Failure> {
    if lines.is_empty() {
        return Ok(None);
    }
    let file = workspace.errors(&jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string());
    write(&file, lines)?;
    Ok(Some(file))
}

/// Writes the configuration with the digest of every catalog, to mirror the same again, and one to delete it.
///
/// Their names come from what is in them: the same set leaves the same files.
pub(super) fn write_pinned(
    config: &Path,
    set: &ImageSet,
    lock: &Lock,
    workspace: &Workspace,
) -> Result<(), Failure> {
    let text = read_text("configuration", config)?;
    let Some(pinned) = pinned(&text, set, lock) else { return Ok(()) };
    write(&workspace.pinned_config(&pinned), &pinned.mirror)?;
    write(&workspace.pinned_delete_config(&pinned), &pinned.delete)
}
