//! Another bundle of the same name that lies where one is to be written, and what becomes of it.
//!
//! **Order.** The root goes first, so that nobody takes what remains for a bundle, and its signatures go last: as long as
//! one is there without a root, the next run knows that it has to go on.

use std::path::{Path, PathBuf};

use airlift_spec::Digest;
use fs_err as fs;

use crate::root::{MAX_ROOT_BYTES, Root};
use crate::{BundleError, disk, volume};

/// What becomes of another bundle of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Earlier {
    /// It stays, and nothing is written there.
    #[default]
    Keep,
    /// It goes, once it is known that the new one can be written.
    Replace,
}

/// A file of a bundle, in the order in which they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Root,
    /// The table, sums, and whatever is not complete.
    Beside,
    Volume,
    RootSignature,
}

/// The files of another bundle of this name in `folder`, in the order in which they go; none where there is no other.
pub(crate) fn files_of_other(
    folder: &Path,
    root: &Root,
    digest: &Digest,
) -> Result<Vec<PathBuf>, BundleError> {
    let part = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        Some((part_of(name, &root.name)?, path))
    };
    let mut parts: Vec<(Part, PathBuf)> =
        disk::list(folder)?.into_iter().filter_map(part).collect();
    // What has the name of a volume and is none is somebody else's.
    parts.retain(|(part, path)| *part != Part::Volume || volume::marked(path).is_some());
    parts.sort();
    let has_root = parts.first().is_some_and(|(part, _)| *part == Part::Root);
    let mut is_other = false;
    for (part, path) in &parts {
        is_other |= match part {
            Part::Root => disk::read_at_most(path, MAX_ROOT_BYTES)?
                .is_some_and(|bytes| Digest::of(&bytes) != *digest),
            Part::Volume => volume::marked(path).is_some_and(|marked| marked.root != *digest),
            Part::RootSignature => !has_root,
            Part::Beside => false,
        };
    }
    Ok(if is_other { parts.into_iter().map(|(_, path)| path).collect() } else { Vec::new() })
}

/// Which part of the bundle `bundle` has this name.
fn part_of(name: &str, bundle: &str) -> Option<Part> {
    let name = name.strip_prefix(bundle)?.strip_prefix('.')?;
    let whole = name.strip_suffix(disk::PARTIAL).unwrap_or(name);
    let (first, rest) = whole.split_once('.').unwrap_or((whole, ""));
    let is_ordinal = first.len() == 5 && first.bytes().all(|byte| byte.is_ascii_digit());
    let (signed, is_signature) = match rest.strip_suffix("minisig") {
        Some(signed) => (signed.split_once('.').map_or(signed, |(signed, _)| signed), true),
        None => (rest, false),
    };
    let part = match (first, signed) {
        ("bundle", "json") if is_signature => Part::RootSignature,
        ("bundle", "json") => Part::Root,
        ("blobs", "") => Part::Beside,
        (_, "sums") if is_ordinal => Part::Beside,
        (_, "tar") if is_ordinal && !is_signature => Part::Volume,
        _ => return None,
    };
    Some(if whole == name { part } else { Part::Beside })
}

/// Removes these files, in this order, so that no power cut brings an earlier one back without a later one.
pub(crate) fn remove(folder: &Path, files: &[PathBuf]) -> Result<(), BundleError> {
    for file in files {
        let doing = || BundleError::disk(format!("failed to remove {}", file.display()));
        fs::remove_file(file).map_err(doing())?;
        disk::sync_folder(folder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_bundle_are_known_by_their_names() {
        let table = [
            ("mirror.bundle.json", Some(Part::Root)),
            ("mirror.bundle.json.partial", Some(Part::Beside)),
            ("mirror.bundle.json.minisig", Some(Part::RootSignature)),
            ("mirror.bundle.json.869AAF6C0F578ED3.minisig", Some(Part::RootSignature)),
            ("mirror.blobs", Some(Part::Beside)),
            ("mirror.00017.tar", Some(Part::Volume)),
            ("mirror.00017.tar.partial", Some(Part::Beside)),
            ("mirror.00017.sums", Some(Part::Beside)),
            ("mirror.00017.sums.minisig", Some(Part::Beside)),
            ("mirror.00017.sums.869AAF6C0F578ED3.minisig", Some(Part::Beside)),
            ("mirror.17.tar", None),
            ("mirror.00017.tar.minisig", None),
            ("mirror.00017.tar.gz", None),
            ("mirror.tar", None),
            ("mirror.txt", None),
            ("mirror-0a1b2c3d.bundle.json", None),
            ("mirror_000001.tar", None),
            ("airlift", None),
            ("README.txt", None),
        ];
        for (name, part) in table {
            assert_eq!(part_of(name, "mirror"), part, "{name}");
        }
    }

    #[test]
    fn the_root_goes_first_and_its_signatures_last() {
        let folder = tempfile::tempdir().unwrap();
        let root = crate::plan::for_tests().root;
        let (ours, other) = (Digest::of(b"ours"), Digest::of(b"other"));
        let names = [
            root.file_name(),
            root.sums_file(1),
            root.table_file(),
            root.volume_file(1),
            format!("{}.minisig", root.file_name()),
        ];
        for name in &names {
            fs::write(folder.path().join(name), crate::tar::marker(&root.name, &other, 1)).unwrap();
        }
        let paths = names.map(|name| folder.path().join(name));
        assert_eq!(files_of_other(folder.path(), &root, &ours).unwrap(), paths);
        // Volumes alone are enough, and so is a signature of what is gone.
        for gone in 1..paths.len() {
            fs::remove_file(&paths[gone - 1]).unwrap();
            assert_eq!(files_of_other(folder.path(), &root, &ours).unwrap(), paths[gone..]);
        }
    }
}
