//! `roots/pushed/<repository>.json`: what clients pushed to a writable registry over this store.
//!
//! **Names.** The components of a repository become folders, the last one a file with `.json` behind it. So that the
//! repository `a/b` and the repository `a/b.json/c` do not want one path to be a file and a folder, a component that
//! ends in `.json` and is not the last gets a `+` behind it, which no repository name contains.
//! **Concurrency.** One change at a time, over all processes, under the flock of `roots/pushed/.lock`; no component
//! begins with a dot. Readers need no lock: files are replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use airlift_spec::Digest;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::layout::{PUSHED, ROOTS};
use crate::roots::{FORMAT, MAX_ROOT_BYTES, read_json};
use crate::{Store, StoreError, disk};

/// What one repository holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pushed {
    pub tags: BTreeMap<String, Digest>,
    pub manifests: BTreeMap<Digest, PushedManifest>,
    pub blobs: BTreeSet<Digest>,
}

/// What must be known of a pushed manifest without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedManifest {
    pub media_type: String,
    pub size: u64,
    pub subject: Option<Digest>,
}

impl Store {
    /// What was pushed to `repository`; none where nothing ever was.
    pub fn pushed(&self, repository: &str) -> Result<Option<Pushed>, StoreError> {
        let path = self.pushed_path(repository)?;
        Ok(read_json::<PushedWire>(&path, MAX_ROOT_BYTES)?.map(Pushed::from))
    }

    /// Changes what `repository` holds, durably; a repository without anything in it goes away.
    ///
    /// `change` sees what other threads and processes wrote before it, and must not use the store itself.
    /// Where it changes nothing, nothing is written.
    pub fn update_pushed<T>(
        &self,
        repository: &str,
        change: impl FnOnce(&mut Pushed) -> T,
    ) -> Result<T, StoreError> {
        let path = self.pushed_path(repository)?;
        let _gate = self.enter();
        let failed = |err| self.write_error(0, err);
        let lock = disk::open_writable(&self.pushed_dir().join(".lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let before = self.pushed(repository)?.unwrap_or_default();
        let mut after = before.clone();
        let answer = change(&mut after);
        if after != before {
            self.write_pushed(&path, repository, &after)?;
        }
        Ok(answer)
    }

    /// The repositories that clients pushed to, sorted.
    pub fn pushed_repositories(&self) -> Result<Vec<String>, StoreError> {
        let mut repositories = Vec::new();
        for path in self.pushed_files()? {
            repositories.extend(repository_of(&self.pushed_dir(), &path));
        }
        repositories.sort();
        Ok(repositories)
    }

    fn write_pushed(
        &self,
        path: &Path,
        repository: &str,
        pushed: &Pushed,
    ) -> Result<(), StoreError> {
        let bytes =
            serde_json::to_vec(&PushedWire::new(repository, pushed)).expect("a root is JSON");
        let failed = |err| self.write_error(bytes.len() as u64, err);
        if *pushed == Pushed::default() {
            disk::remove_if_present(path).map_err(failed)?;
            return disk::sync_folder(path.parent().expect("it lies in a folder")).map_err(failed);
        }
        self.make_folders(path).map_err(failed)?;
        disk::replace(&self.staging_dir(), path, &bytes).map_err(failed)
    }

    /// Makes the folders above `path`, each durable before anything lies in it.
    fn make_folders(&self, path: &Path) -> std::io::Result<()> {
        let below = path.strip_prefix(self.pushed_dir()).expect("it is below that folder");
        let mut folder = self.pushed_dir();
        for component in below.parent().expect("it lies in a folder").components() {
            let inner = folder.join(component);
            if !inner.is_dir() {
                disk::make_folder(&inner)?;
                disk::sync_folder(&folder)?;
            }
            folder = inner;
        }
        Ok(())
    }

    pub(crate) fn pushed_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = Vec::new();
        let mut folders = vec![self.pushed_dir()];
        while let Some(folder) = folders.pop() {
            let Some(entries) = disk::present(fs::read_dir(&folder)).map_err(StoreError::read)?
            else {
                continue;
            };
            for entry in entries {
                let entry = entry.map_err(StoreError::read)?;
                // A link is neither: a loop of them must not hold us.
                match entry.file_type().map_err(StoreError::read)? {
                    kind if kind.is_dir() => folders.push(entry.path()),
                    kind if kind.is_file()
                        && entry.path().extension().is_some_and(|it| it == "json") =>
                    {
                        files.push(entry.path());
                    }
                    _ => {}
                }
            }
        }
        files.sort();
        Ok(files)
    }

    fn pushed_dir(&self) -> PathBuf {
        self.root().join(ROOTS).join(PUSHED)
    }

    fn pushed_path(&self, repository: &str) -> Result<PathBuf, StoreError> {
        let relative = path_of(repository)
            .ok_or_else(|| StoreError::RootName { name: repository.to_owned() })?;
        Ok(self.pushed_dir().join(relative))
    }
}

/// Where a repository lies below `roots/pushed`; none for what is no repository name.
pub(crate) fn path_of(repository: &str) -> Option<PathBuf> {
    /// What a file system takes, less `.json`.
    const LONGEST: usize = 250;
    let is_safe = |component: &str| {
        component.len() <= LONGEST
            && component.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && component.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let components: Vec<&str> = repository.split('/').collect();
    if !components.iter().all(|component| is_safe(component)) {
        return None;
    }
    let (last, folders) = components.split_last()?;
    let folder =
        |name: &&str| if is_like_a_file(name) { format!("{name}+") } else { (*name).to_owned() };
    Some(folders.iter().map(folder).collect::<PathBuf>().join(format!("{last}.json")))
}

/// The repository whose file lies at `path`; none for a file that we did not name.
pub(crate) fn repository_of(pushed_dir: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(pushed_dir).ok()?;
    let components: Vec<&str> = relative
        .components()
        .map(|component| component.as_os_str().to_str())
        .collect::<Option<_>>()?;
    let (last, folders) = components.split_last()?;
    let folder = |name: &&str| name.strip_suffix('+').unwrap_or(name).to_owned();
    let mut names: Vec<String> = folders.iter().map(folder).collect();
    names.push(last.strip_suffix(".json")?.to_owned());
    let repository = names.join("/");
    (path_of(&repository)? == relative).then_some(repository)
}

fn is_like_a_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PushedWire {
    format: u32,
    needs: Vec<String>,
    /// For who reads the file by hand; the path is what counts.
    repository: String,
    tags: BTreeMap<String, Digest>,
    manifests: Vec<ManifestWire>,
    blobs: BTreeSet<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestWire {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Digest>,
}

impl PushedWire {
    pub(crate) fn new(repository: &str, pushed: &Pushed) -> Self {
        let manifest = |(digest, manifest): (&Digest, &PushedManifest)| ManifestWire {
            media_type: manifest.media_type.clone(),
            digest: *digest,
            size: manifest.size,
            subject: manifest.subject,
        };
        Self {
            format: FORMAT,
            needs: Vec::new(),
            repository: repository.to_owned(),
            tags: pushed.tags.clone(),
            manifests: pushed.manifests.iter().map(manifest).collect(),
            blobs: pushed.blobs.clone(),
        }
    }
}

impl From<PushedWire> for Pushed {
    fn from(wire: PushedWire) -> Self {
        let manifest = |wire: ManifestWire| {
            let ManifestWire { media_type, digest, size, subject } = wire;
            (digest, PushedManifest { media_type, size, subject })
        };
        Self {
            tags: wire.tags,
            manifests: wire.manifests.into_iter().map(manifest).collect(),
            blobs: wire.blobs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_and_its_path_lead_to_each_other() {
        for (repository, path) in [
            ("app", "app.json"),
            ("quay.io/team/app", "quay.io/team/app.json"),
            ("a/b.json/c", "a/b.json+/c.json"),
            ("a/b.json", "a/b.json.json"),
            ("a.json", "a.json.json"),
        ] {
            assert_eq!(path_of(repository), Some(PathBuf::from(path)));
            let found = repository_of(Path::new("/p"), &Path::new("/p").join(path));
            assert_eq!(found.as_deref(), Some(repository));
        }
    }

    #[test]
    fn what_is_no_repository_name_has_no_path() {
        for name in [
            "",
            "/",
            "a//b",
            "../a",
            "a/..",
            ".lock",
            "a/.b",
            "a+b",
            "a b",
            "a\0b",
            &"x".repeat(251),
        ] {
            assert_eq!(path_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_file_that_we_did_not_name_is_no_repository() {
        for path in ["a+/b.json", "a.json/b.json", "x.txt", ".json"] {
            assert_eq!(repository_of(Path::new("/p"), &Path::new("/p").join(path)), None, "{path}");
        }
    }
}
