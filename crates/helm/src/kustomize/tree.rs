//! The folders of a repository that a kustomization is made of, as one archive.
//!
//! The same files give the same bytes, and nothing of an archive is trusted: it may come from a lock that others wrote.
//! Links that lead out of the archive's own files are refused, those that lead to nothing are left out, and what is
//! neither file nor link is passed over.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::KustomizeError;
use super::walk::walk;

/// Most bytes of the files that make a kustomization. All of Kubeflow's manifests have 26 million.
pub const MAX_TREE_BYTES: u64 = 128 << 20;

/// Most files of one.
pub const MAX_TREE_FILES: usize = 100_000;

/// How deep folders lie.
const MAX_DEPTH: usize = 64;

/// What may still be taken in.
#[derive(Debug)]
pub(super) struct Limit {
    files: usize,
    bytes: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self { files: MAX_TREE_FILES, bytes: MAX_TREE_BYTES }
    }
}

impl Limit {
    /// Takes one more file, of `whose` folder.
    pub(super) fn take(&mut self, bytes: u64, whose: &Path) -> Result<(), KustomizeError> {
        let left = self.files.checked_sub(1).zip(self.bytes.checked_sub(bytes));
        let (files, bytes) =
            left.ok_or_else(|| KustomizeError::TooLarge { folder: whose.display().to_string() })?;
        *self = Self { files, bytes };
        Ok(())
    }
}

/// Packs what the kustomization in `folder` of a repository is made of. `top` is a checkout, which may be changed.
///
/// Errors name files as the repository does, for the checkout is another folder each time.
pub fn pack(top: &Path, folder: &str) -> Result<Vec<u8>, KustomizeError> {
    let top = fs_err::canonicalize(top).map_err(|err| failed(top, err))?;
    let (inside, itself) = (format!("{}/", top.display()), top.display().to_string());
    let whole = if folder.is_empty() { top.clone() } else { top.join(folder) };
    packed(&top, &whole)
        .map_err(|err| err.said(|text| text.replace(&inside, "").replace(&itself, ".")))
}

fn packed(top: &Path, folder: &Path) -> Result<Vec<u8>, KustomizeError> {
    settle_links(top)?;
    let folders = walk(folder, top)?;
    let mut files = BTreeSet::new();
    for folder in folders.keys() {
        files.extend(files_below(folder)?);
    }
    let (mut tar, mut limit) = (tar::Builder::new(Vec::new()), Limit::default());
    for file in files {
        let name = file.strip_prefix(top).unwrap_or(&file);
        let metadata = fs_err::symlink_metadata(&file).map_err(|err| failed(&file, err))?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let added = if metadata.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            let target = fs_err::read_link(&file).map_err(|err| failed(&file, err))?;
            tar.append_link(&mut header, name, target)
        } else {
            limit.take(metadata.len(), folder)?;
            header.set_size(metadata.len());
            let bytes = fs_err::read(&file).map_err(|err| failed(&file, err))?;
            tar.append_data(&mut header, name, bytes.as_slice())
        };
        added.map_err(|err| failed(&file, err))?;
    }
    Ok(tar.into_inner().expect("memory takes everything"))
}

/// Unpacks into a new folder what [`pack`] packed of `address`.
pub(super) fn unpack(
    archive: &[u8],
    into: &Path,
    address: &str,
    limit: &mut Limit,
) -> Result<(), KustomizeError> {
    let broken = |source| KustomizeError::Read { path: address.to_owned(), source };
    fs_err::create_dir_all(into).map_err(broken)?;
    for entry in tar::Archive::new(archive).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        limit.take(entry.size(), Path::new(address))?;
        let kind = entry.header().entry_type();
        if kind.is_file() || kind.is_symlink() {
            entry.unpack_in(into).map_err(broken)?;
        }
    }
    // An archive of others may say that nobody may read a file, or write it.
    for file in files_below(into)?.iter().filter(|file| !file.is_symlink()) {
        let mode = PermissionsExt::from_mode(0o644);
        fs_err::set_permissions(file, mode).map_err(|err| failed(file, err))?;
    }
    settle_links(into)
}

/// Refuses links that lead out of `top`, and removes those that lead to nothing: elsewhere they might lead to something.
fn settle_links(top: &Path) -> Result<(), KustomizeError> {
    let files = files_below(top)?;
    for link in files.iter().filter(|file| file.is_symlink()) {
        match fs_err::canonicalize(link) {
            Ok(target) if target.starts_with(top) => {}
            Ok(_) => {
                let link = link.strip_prefix(top).unwrap_or(link).display().to_string();
                return Err(KustomizeError::Link { link });
            }
            Err(_) => fs_err::remove_file(link).map_err(|err| failed(link, err))?,
        }
    }
    Ok(())
}

/// All files and links below a folder, sorted, without what Git keeps of itself. Links are not followed.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, KustomizeError> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((inner, depth)) = folders.pop() {
        for entry in fs_err::read_dir(&inner).map_err(|err| failed(&inner, err))? {
            let path = entry.map_err(|err| failed(&inner, err))?.path();
            let metadata = fs_err::symlink_metadata(&path).map_err(|err| failed(&path, err))?;
            if !metadata.is_dir() {
                files.push(path);
            } else if depth == MAX_DEPTH {
                return Err(KustomizeError::TooLarge { folder: folder.display().to_string() });
            } else if !path.ends_with(".git") {
                folders.push((path, depth + 1));
            }
        }
        if files.len() > MAX_TREE_FILES {
            return Err(KustomizeError::TooLarge { folder: folder.display().to_string() });
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), KustomizeError> {
    // What lies there is a link perhaps, and what it leads to is no business of ours.
    if path.is_symlink() {
        fs_err::remove_file(path).map_err(|err| failed(path, err))?;
    }
    fs_err::write(path, bytes).map_err(|err| failed(path, err))
}

fn failed(path: &Path, source: io::Error) -> KustomizeError {
    KustomizeError::Read { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout: `over` names `../base`, `other` is named by nobody.
    fn checkout() -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("over/kustomization.yaml", "resources: [../base]"),
            ("base/kustomization.yaml", "resources: [pod.yaml]"),
            ("base/pod.yaml", "kind: Pod"),
            ("other/kustomization.yaml", ""),
        ] {
            let path = top.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        top
    }

    fn link(top: &Path, path: &str, target: &str) {
        fs_err::os::unix::fs::symlink(target, top.join(path)).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let folder = fs_err::canonicalize(folder).unwrap();
        let files = files_below(&folder).unwrap();
        let name = |file: &PathBuf| file.strip_prefix(&folder).unwrap().display().to_string();
        files.iter().map(name).collect()
    }

    #[test]
    fn what_is_used_is_packed_and_comes_out_again_the_same_every_time() {
        let (top, into) = (checkout(), tempfile::tempdir().unwrap());
        link(top.path(), "base/same.yaml", "pod.yaml");
        link(top.path(), "base/gone.yaml", "../../nowhere");
        let archive = pack(top.path(), "over").unwrap();
        let into = into.path().join("a");
        unpack(&archive, &into, "address", &mut Limit::default()).unwrap();
        let all = ["base/kustomization.yaml", "base/pod.yaml", "base/same.yaml"];
        assert_eq!(names(&into), [all.as_slice(), &["over/kustomization.yaml"]].concat());
        assert_eq!(pack(&into, "over").unwrap(), archive);
    }

    #[test]
    fn what_leads_out_of_the_repository_is_refused() {
        for target in ["/etc/passwd", "../../../../../../../../etc/passwd"] {
            let top = checkout();
            link(top.path(), "base/out.yaml", target);
            let err = pack(top.path(), "over").unwrap_err();
            assert_eq!(err.to_string(), "its link `base/out.yaml` leads out of the repository");
        }
        let top = checkout();
        let base = top.path().join("over/kustomization.yaml");
        fs_err::write(&base, "resources: [../../../../../../../../../../tmp]").unwrap();
        assert!(matches!(pack(top.path(), "over"), Err(KustomizeError::Outside { .. })));
        let err = pack(top.path(), "nowhere").unwrap_err();
        assert_eq!(err.to_string(), "`nowhere` has no kustomization");
    }

    /// The archive may be any blob that a lock of others' names.
    #[test]
    fn an_archive_of_others_writes_nothing_outside_and_only_so_much() {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &[u8], kind: tar::EntryType, target: &str, text: &str| {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path);
            header.set_entry_type(kind);
            header.set_mode(0o400);
            header.set_size(text.len() as u64);
            if !target.is_empty() {
                header.set_link_name(target).unwrap();
            }
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        };
        add(b"../escaped.yaml", tar::EntryType::Regular, "", "x");
        add(b"pipe", tar::EntryType::Fifo, "", "");
        add(b"whole.yaml", tar::EntryType::Regular, "", "x");
        let good = tar.get_ref().clone();
        let into = folder.path().join("a/b");
        unpack(&good, &into, "address", &mut Limit::default()).unwrap();
        assert_eq!(names(folder.path()), ["a/b/whole.yaml"]);
        let mode = fs_err::metadata(into.join("whole.yaml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        for (files, bytes) in [(1, 100), (100, 1)] {
            let small = &mut Limit { files, bytes };
            let err = unpack(&good, &folder.path().join("c"), "address", small).unwrap_err();
            assert!(matches!(err, KustomizeError::TooLarge { .. }), "{err}");
        }

        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "out", "../../..").unwrap();
        let link = tar.into_inner().unwrap();
        let err = unpack(&link, &folder.path().join("d"), "address", &mut Limit::default());
        assert!(matches!(err, Err(KustomizeError::Link { .. })), "{err:?}");
    }
}
