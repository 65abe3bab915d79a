//! What clients pushed to a registry that serves from this store: one root a repository.
//!
//! ```text
//! <root>/roots/pushed/
//! ├── app.json              repository `app`
//! └── org/app.json          repository `org/app`
//! ```
//!
//! **Names.** A repository name is a path, and `app.json/x` would need a folder where `app` has its file: folders
//! whose name ends in `.json` get a `_`, which no component of a repository name ends in.
//! **Invariant.** A root is written before the first blob that it names, so `gc` finds an owner for every blob; a
//! name in a root may therefore stand without its bytes, after a kill or a failed push.
//! **Concurrency.** One writer a repository at a time is the caller's duty; readers see a whole file, old or new.
//! **Crash.** Leaves at most a `.tmp` file, which the next write of that root replaces.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use airlift_spec::Digest;
use airlift_spec::reference::is_repository;
use serde::{Deserialize, Serialize};

use crate::{Store, StoreError};

const FORMAT: u32 = 1;

/// What one repository holds by way of pushes: `roots/pushed/<repository>.json`.
///
/// `gc` keeps every manifest and blob named here; it need not follow manifests to find them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pushed {
    pub tags: BTreeMap<String, Digest>,
    pub manifests: BTreeMap<Digest, PushedManifest>,
    pub blobs: BTreeSet<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushedManifest {
    pub media_type: String,
    pub size: u64,
    /// The manifest that this one is about, for the referrers of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
}

impl Pushed {
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.manifests.is_empty() && self.blobs.is_empty()
    }

    /// Every digest that `gc` must keep for it.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.keys().chain(&self.blobs)
    }
}

#[derive(Serialize, Deserialize)]
struct PushedWire {
    format: u32,
    repository: String,
    #[serde(default)]
    tags: BTreeMap<String, Digest>,
    #[serde(default)]
    manifests: BTreeMap<Digest, PushedManifest>,
    #[serde(default)]
    blobs: BTreeSet<Digest>,
}

impl Store {
    /// What was pushed to `repository`; none where nothing was.
    pub fn pushed(&self, repository: &str) -> Result<Option<Pushed>, StoreError> {
        let path = file(&self.pushed_folder(), repository);
        let text = match fs_err::read(&path) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        let wire: PushedWire = serde_json::from_slice(&text)
            .map_err(|err| StoreError::Read { path, source: err.into() })?;
        Ok(Some(Pushed { tags: wire.tags, manifests: wire.manifests, blobs: wire.blobs }))
    }

    /// Replaces what `repository` holds; returns after it is durable. An empty root is removed.
    pub fn write_pushed(&self, repository: &str, pushed: &Pushed) -> Result<(), StoreError> {
        let path = file(&self.pushed_folder(), repository);
        let result = if pushed.is_empty() {
            remove(&path)
        } else {
            write(&path, &wire(repository, pushed), self.root())
        };
        result.map_err(|source| StoreError::Write { path, source })
    }

    /// Every repository that something was pushed to, sorted.
    pub fn pushed_repositories(&self) -> Result<Vec<String>, StoreError> {
        let folder = self.pushed_folder();
        let mut names = Vec::new();
        list(&folder, "", &mut names)
            .map_err(|source| StoreError::Read { path: folder, source })?;
        names.sort();
        Ok(names)
    }

    fn pushed_folder(&self) -> PathBuf {
        self.root().join("roots/pushed")
    }
}

fn wire(repository: &str, pushed: &Pushed) -> PushedWire {
    let Pushed { tags, manifests, blobs } = pushed.clone();
    PushedWire { format: FORMAT, repository: repository.to_owned(), tags, manifests, blobs }
}

fn file(folder: &Path, repository: &str) -> PathBuf {
    // A name that is no repository must not lead anywhere, whatever the caller checked.
    debug_assert!(is_repository(repository), "{repository} is no repository");
    let (parents, name) = repository.rsplit_once('/').unwrap_or(("", repository));
    let spelled = |part: &str| match part.strip_suffix(".json") {
        Some(_) => format!("{part}_"),
        None => part.to_owned(),
    };
    let parents = parents.split('/').filter(|part| !part.is_empty()).map(spelled);
    let folder = parents.fold(folder.to_owned(), |folder, part| folder.join(part));
    folder.join(format!("{name}.json"))
}

fn write(path: &Path, wire: &PushedWire, root: &Path) -> io::Result<()> {
    let folder = path.parent().expect("a root lies in a folder");
    let is_new = !folder.exists();
    fs_err::create_dir_all(folder)?;
    // Not a dot: a repository name may hold one, but no name ends in `.tmp` after `.json`.
    let staged = path.with_extension("json.tmp");
    let mut out = fs_err::File::create(&staged)?;
    out.write_all(&serde_json::to_vec(wire)?)?;
    out.sync_all()?;
    fs_err::rename(&staged, path)?;
    if is_new {
        // Folders on the way may be new as well, and their names must last as long as the file's.
        let ours = folder.ancestors().take_while(|folder| folder.starts_with(root));
        return ours.into_iter().try_for_each(sync_folder);
    }
    sync_folder(folder)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Ok(()) => sync_folder(path.parent().expect("a root lies in a folder")),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs_err::File::open(folder)?.sync_all()
}

fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.file_type()?.is_dir() {
            let name = name.strip_suffix('_').unwrap_or(&name);
            list(&entry.path(), &format!("{prefix}{name}/"), names)?;
        } else if let Some(name) = name.strip_suffix(".json") {
            let repository = format!("{prefix}{name}");
            // A file that somebody else laid here is not ours to read.
            if is_repository(&repository) {
                names.push(repository);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(fill: u8) -> Pushed {
        let digest = Digest::of(&[fill]);
        let manifest =
            PushedManifest { media_type: "m".to_owned(), size: 1, subject: Some(digest) };
        Pushed {
            tags: [("v1".to_owned(), digest)].into(),
            manifests: [(digest, manifest)].into(),
            blobs: [digest, Digest::of(b"blob")].into(),
        }
    }

    #[test]
    fn names_that_look_like_files_do_not_collide() {
        let folder = Path::new("p");
        assert_eq!(file(folder, "org/app"), Path::new("p/org/app.json"));
        assert_eq!(file(folder, "app.json/x"), Path::new("p/app.json_/x.json"));
        assert_eq!(file(folder, "app"), Path::new("p/app.json"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        for (fill, name) in ["app", "app.json/x", "app/x", "quay.io/org/app"].iter().enumerate() {
            let path = file(dir.path(), name);
            write(&path, &wire(name, &pushed(u8::try_from(fill).unwrap())), dir.path()).unwrap();
        }
        let mut names = Vec::new();
        list(dir.path(), "", &mut names).unwrap();
        names.sort();
        assert_eq!(names, ["app", "app.json/x", "app/x", "quay.io/org/app"]);
        let text = fs_err::read(file(dir.path(), "app/x")).unwrap();
        let read: PushedWire = serde_json::from_slice(&text).unwrap();
        assert_eq!(read.manifests, pushed(2).manifests);
        remove(&file(dir.path(), "app/x")).unwrap();
        remove(&file(dir.path(), "app/x")).unwrap();
        assert!(!file(dir.path(), "app/x").exists());
    }
}
