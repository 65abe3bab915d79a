//! A kustomization with all that it leads to, in a folder of our own, where nothing of it lies elsewhere any more.
//!
//! ```text
//! <scratch>/
//! ├── here/<path>        the folders of this machine, at the paths that they have
//! └── elsewhere/<n>/     those of repositories, at the paths that they have there
//! ```
//!
//! A file from elsewhere lies in the folder that names it. What others wrote is not trusted:
//!
//! - A link, a base or a component that leads out of its repository is refused, so that nothing of this machine is
//!   read. For files, kustomize itself refuses what lies outside of the folder that names it.
//! - What came over the network names no `file://`.
//! - Files and bytes are counted, and addresses that lead to further ones are followed only so deep. A kustomization
//!   that leads to itself is refused by kustomize.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::address::{Address, Repository};
use super::tree::{Limit, files_below, unpack, write};
use super::walk::{each_name, read_file, walk};
use super::{KustomizeError, Remote, file_of, scratch};
use crate::scratch::Scratch;

/// How deep addresses lead to further ones.
pub(super) const MAX_DEPTH: usize = 16;

/// The folder of what comes from repositories.
const ELSEWHERE: &str = "elsewhere";

pub(super) struct Copy {
    /// Removed with the copy.
    _scratch: Scratch,
    /// Where that is, without links.
    top: PathBuf,
    /// Where what an address names lies by now.
    placed: BTreeMap<String, Placed>,
    limit: Limit,
}

enum Placed {
    /// In each folder that names it.
    File { name: String, bytes: Vec<u8> },
    Folder {
        folder: PathBuf,
        /// The repository's own top.
        within: PathBuf,
        url: String,
    },
}

/// A kustomization that is to be looked at.
struct Unit {
    folder: PathBuf,
    within: PathBuf,
    /// Whether it came from this machine, so that it may name what lies there.
    is_local: bool,
    /// How many addresses lead to it.
    depth: usize,
}

impl Copy {
    /// Copies folders of this machine, which are sorted.
    pub(super) fn of<'a>(
        folders: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<Self, KustomizeError> {
        let scratch = scratch()?;
        let top = scratch.path().to_owned();
        let mut copy =
            Self { _scratch: scratch, top, placed: BTreeMap::new(), limit: Limit::default() };
        let mut last: Option<&Path> = None;
        for folder in folders {
            // One within another is copied with it.
            if last.is_none_or(|last| !folder.starts_with(last)) {
                copy.add(folder).map_err(|err| copy.said(err))?;
                last = Some(folder);
            }
        }
        Ok(copy)
    }

    fn add(&mut self, folder: &Path) -> Result<(), KustomizeError> {
        for file in files_below(folder)? {
            let failed = |source| KustomizeError::Read { path: file.display().to_string(), source };
            let target = self.here(&file);
            let metadata = fs_err::symlink_metadata(&file).map_err(failed)?;
            fs_err::create_dir_all(target.parent().expect("a file lies in a folder"))
                .map_err(failed)?;
            if metadata.is_symlink() {
                // Where it leads to is copied as well, if kustomize may go there; a link to nothing is none.
                if let Ok(leads_to) = fs_err::canonicalize(&file) {
                    let leads_to = self.here(&leads_to);
                    fs_err::os::unix::fs::symlink(leads_to, &target).map_err(failed)?;
                }
            } else if metadata.is_file() {
                self.limit.take(metadata.len(), folder)?;
                // Not with its mode: a file that nobody may write could not be rewritten.
                let mut from = fs_err::File::open(&file).map_err(failed)?;
                let mut to = fs_err::File::create(&target).map_err(failed)?;
                io::copy(&mut from, &mut to).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Where a file or folder of this machine lies in the copy.
    pub(super) fn here(&self, path: &Path) -> PathBuf {
        self.top.join("here").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Brings everything that the kustomization in `folder` names elsewhere, and what that leads to.
    pub(super) fn complete<E: From<KustomizeError>>(
        &mut self,
        folder: &Path,
        mut bring: impl FnMut(&Remote, &Address) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let within = self.top.join("here");
        let mut units = vec![Unit { folder: self.here(folder), within, is_local: true, depth: 0 }];
        while let Some(unit) = units.pop() {
            let found = walk(&unit.folder, &unit.within).map_err(|err| self.said(err))?;
            for (folder, remotes) in found {
                for remote in &remotes {
                    let remote = Remote { file: self.in_words(&remote.file), ..remote.clone() };
                    if self.placed.contains_key(&remote.address) {
                        continue;
                    }
                    if unit.depth == MAX_DEPTH {
                        return Err(KustomizeError::Deep { remote }.into());
                    }
                    let address = remote.parsed()?;
                    if address.is_local() && !unit.is_local {
                        let problem = "lies on this machine, and others wrote that";
                        return Err(KustomizeError::Address { remote, problem }.into());
                    }
                    let bytes = bring(&remote, &address)?;
                    let put = self.put(&remote, address, bytes, unit.depth + 1);
                    units.extend(put.map_err(|err| self.said(err))?);
                }
                if !remotes.is_empty() {
                    self.rewrite(&folder).map_err(|err| self.said(err))?;
                }
            }
        }
        Ok(())
    }

    /// Takes in what an address led to. The folder of a repository is to be looked at next.
    fn put(
        &mut self,
        remote: &Remote,
        address: Address,
        bytes: Vec<u8>,
        depth: usize,
    ) -> Result<Option<Unit>, KustomizeError> {
        let (number, is_local) = (self.placed.len(), address.is_local());
        let written = remote.address.clone();
        match address {
            Address::File(_) => {
                let name = format!(".airlift-{number:05}");
                self.limit.take(bytes.len() as u64, Path::new(&written))?;
                self.placed.insert(written, Placed::File { name, bytes });
                Ok(None)
            }
            Address::Repository(Repository { folder, url, .. }) => {
                let within = self.top.join(ELSEWHERE).join(format!("{number:05}"));
                let unit = Unit { folder: joined(&within, &folder), within, is_local, depth };
                let (folder, within) = (unit.folder.clone(), unit.within.clone());
                // First, so that what is said of it has its name.
                self.placed.insert(written, Placed::Folder { folder, within, url });
                unpack(&bytes, &unit.within, &remote.address, &mut self.limit)?;
                Ok(Some(unit))
            }
        }
    }

    /// Names in a kustomization's file what lies here now.
    fn rewrite(&mut self, folder: &Path) -> Result<(), KustomizeError> {
        let Some(file) = file_of(folder) else { return Ok(()) };
        let mut kustomization = read_file(&file)?;
        let mut beside = BTreeMap::new();
        let placed = &self.placed;
        each_name(&mut kustomization, &mut |address| match placed.get(address)? {
            Placed::Folder { folder: target, .. } => {
                Some(relative(folder, target).display().to_string())
            }
            Placed::File { name, bytes } => {
                beside.insert(name, bytes);
                Some(name.clone())
            }
        });
        for (name, bytes) in beside {
            self.limit.take(bytes.len() as u64, folder)?;
            write(&folder.join(name), bytes)?;
        }
        // JSON is YAML.
        write(&file, kustomization.to_string().as_bytes())
    }

    /// Says of paths in the copy what they are outside of it.
    pub(super) fn in_words(&self, text: &str) -> String {
        let top = self.top.display();
        let mut text = text.replace(&format!("{top}/here/"), "/").replace(&format!("{top}/"), "");
        let (up, down) = (format!("../{ELSEWHERE}/"), format!("{ELSEWHERE}/"));
        while text.contains(&up) {
            text = text.replace(&up, &down);
        }
        let name = |path: &Path| path.strip_prefix(&self.top).unwrap_or(path).display().to_string();
        for (address, placed) in &self.placed {
            text = match placed {
                Placed::File { name, .. } => text.replace(name, address),
                Placed::Folder { folder, within, url } => {
                    text.replace(&name(folder), address).replace(&name(within), &format!("{url}/"))
                }
            };
        }
        text
    }

    /// An error in the words of whoever wrote the kustomization.
    pub(super) fn said(&self, err: KustomizeError) -> KustomizeError {
        err.said(|text| self.in_words(text))
    }
}

/// A folder below another, which itself is the one without a name.
fn joined(top: &Path, folder: &str) -> PathBuf {
    if folder.is_empty() { top.to_owned() } else { top.join(folder) }
}

/// The way from a folder to another, both of them absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(one, other)| one == other);
    let shared = shared.count();
    let up = from.components().skip(shared).map(|_| std::path::Component::ParentDir);
    let way: PathBuf = up.chain(to.components().skip(shared)).collect();
    if way.as_os_str().is_empty() { PathBuf::from(".") } else { way }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_copy_can_be_written_and_its_links_stay_in_it() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = fs_err::canonicalize(scratch.path()).unwrap();
        let link = |target: &Path, name: &str| {
            fs_err::os::unix::fs::symlink(target, folder.join(name)).unwrap();
        };
        fs_err::write(folder.join("a.yaml"), "a").unwrap();
        let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
        fs_err::set_permissions(folder.join("a.yaml"), PermissionsExt::from_mode(0o444)).unwrap();
        link(&folder.join("a.yaml"), "whole.yaml");
        link(Path::new("a.yaml"), "beside.yaml");
        link(Path::new("/nowhere/at/all"), "gone.yaml");
        let copy = Copy::of([folder.clone()].iter()).unwrap();
        let here = copy.here(&folder);
        assert_eq!(mode(&here.join("a.yaml")) & 0o600, 0o600);
        for name in ["whole.yaml", "beside.yaml"] {
            assert_eq!(fs_err::read_link(here.join(name)).unwrap(), here.join("a.yaml"));
        }
        assert!(!here.join("gone.yaml").is_symlink());
    }
}
