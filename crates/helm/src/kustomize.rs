//! Kustomizations, built by `kustomize` or the one within `kubectl`.
//!
//! Both fetch what a kustomization names on the network, while they build. So that is looked for first, and refused
//! with a list: what is built has to lie here, or nobody could say later what it was built from.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airlift_spec::{Class, Ctx, Explain};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{self, Stopped};
use crate::{ChartError, yaml};

/// What a folder's kustomization can be called.
const NAMES: &[&str] = &["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields that list files, folders or addresses.
const LISTS: &[&str] = &[
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patchesStrategicMerge",
];

/// Fields whose items name one in `path`.
const WITH_PATHS: &[&str] = &["patches", "patchesJson6902", "replacements"];

/// More folders than any kustomization has.
const MAX_FOLDERS: usize = 10_000;

/// The longest that one build may take.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The program that builds kustomizations.
#[derive(Debug, Clone)]
pub struct Kustomize {
    program: PathBuf,
    /// What it is told before the folder.
    verb: &'static str,
}

/// Something that a kustomization names on the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// The kustomization's file.
    pub file: String,
    /// As it is written.
    pub address: String,
    /// The branch, tag or commit of a repository, or the version of a chart, where one is named.
    pub revision: Option<String>,
}

/// Why a kustomization was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KustomizeError {
    #[error("there is neither a `kustomize` nor a `kubectl` program")]
    Absent,
    #[error("`{folder}` has no kustomization")]
    NoKustomization { folder: String },
    #[error("the kustomization `{folder}` wants the network: {}", listed(.remotes))]
    Remote { folder: String, remotes: Vec<Remote> },
    #[error("failed to read `{path}`")]
    Read { path: String, source: io::Error },
    #[error("failed to run `{program}`")]
    Run { program: String, source: io::Error },
    #[error("the kustomization `{folder}` cannot be built: {message}")]
    Refused { folder: String, message: String },
    #[error("the kustomization `{folder}` has more than {MAX_FOLDERS} folders")]
    TooMany { folder: String },
    #[error(transparent)]
    Yaml(ChartError),
    #[error("cancelled")]
    Cancelled,
}

impl Explain for KustomizeError {
    fn class(&self) -> Class {
        match self {
            Self::Cancelled => Class::Cancelled,
            Self::Yaml(source) => source.class(),
            Self::Absent
            | Self::NoKustomization { .. }
            | Self::Remote { .. }
            | Self::Read { .. }
            | Self::Run { .. }
            | Self::Refused { .. }
            | Self::TooMany { .. } => Class::Input,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Absent => "install kustomize or kubectl and put it on the PATH",
            Self::NoKustomization { .. } => "name a folder with a `kustomization.yaml`",
            Self::Remote { .. } => {
                "download each of them beside the kustomization, and name the copy in its place"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }
}

fn listed(remotes: &[Remote]) -> String {
    let words = remotes.iter().map(|remote| format!("{} names {}", remote.file, remote.address));
    words.collect::<Vec<_>>().join("; ")
}

impl Kustomize {
    /// Finds `kustomize`, else `kubectl`, in the folders of `search_path`.
    pub fn find(search_path: &OsStr) -> Result<Self, KustomizeError> {
        let programs = [("kustomize", "build"), ("kubectl", "kustomize")];
        let found = programs.into_iter().find_map(|(name, verb)| {
            let mut places = std::env::split_paths(search_path).map(|folder| folder.join(name));
            Some(Self { program: places.find(|place| place.is_file())?, verb })
        });
        found.ok_or(KustomizeError::Absent)
    }

    /// Builds the kustomization in `folder` to the text of its objects.
    ///
    /// # Errors
    ///
    /// [`KustomizeError::Remote`] where any of it lies on the network.
    pub fn build(&self, folder: &Path, ctx: &Ctx) -> Result<String, KustomizeError> {
        let name = folder.display().to_string();
        let remotes = remotes(folder)?;
        if !remotes.is_empty() {
            return Err(KustomizeError::Remote { folder: name, remotes });
        }
        let program = self.program.display().to_string();
        let failed = |source| KustomizeError::Run { program, source };
        let scratch = match TempDir::with_prefix("airlift-kustomize-") {
            Ok(scratch) => scratch,
            Err(err) => return Err(failed(err)),
        };
        let whole = fs_err::canonicalize(folder)
            .map_err(|source| KustomizeError::Read { path: name.clone(), source })?;
        let mut command = process::isolated(&self.program, scratch.path());
        command.arg(self.verb).arg(whole);
        let refused = |message: String| KustomizeError::Refused { folder: name, message };
        match process::run(&mut command, TIMEOUT, ctx) {
            Ok(ran) if ran.is_success => Ok(String::from_utf8_lossy(&ran.stdout).into_owned()),
            Ok(ran) => Err(refused(own_words(&ran.stderr))),
            Err(Stopped::Failed(source)) => Err(failed(source)),
            Err(Stopped::Cancelled) => Err(KustomizeError::Cancelled),
            Err(Stopped::TimedOut) => Err(refused("it takes longer than five minutes".to_owned())),
            Err(Stopped::TooMuch) => Err(refused("it builds to more than 256 MiB".to_owned())),
        }
    }
}

/// The error without the warnings about old fields that stand before it.
fn own_words(stderr: &str) -> String {
    let lines = stderr.lines().filter(|line| !line.starts_with("# Warning") && !line.is_empty());
    lines.collect::<Vec<_>>().join("\n").trim_start_matches("Error: ").to_owned()
}

/// Whether the folder is a kustomization.
pub fn is_kustomization(folder: &Path) -> bool {
    file_of(folder).is_some()
}

fn file_of(folder: &Path) -> Option<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// What the kustomization in `folder`, and those that it leads to, name on the network.
pub fn remotes(folder: &Path) -> Result<Vec<Remote>, KustomizeError> {
    let mut walk = Walk { seen: BTreeSet::new(), found: BTreeSet::new(), first: folder };
    if !walk.enter(folder)? {
        return Err(KustomizeError::NoKustomization { folder: folder.display().to_string() });
    }
    Ok(walk.found.into_iter().collect())
}

struct Walk<'a> {
    seen: BTreeSet<PathBuf>,
    found: BTreeSet<Remote>,
    first: &'a Path,
}

impl Walk<'_> {
    /// Whether there is a kustomization in `folder`.
    fn enter(&mut self, folder: &Path) -> Result<bool, KustomizeError> {
        let Some(file) = file_of(folder) else { return Ok(false) };
        let path = file.display().to_string();
        let read = |source| KustomizeError::Read { path: path.clone(), source };
        if !self.seen.insert(fs_err::canonicalize(&file).map_err(read)?) {
            return Ok(true);
        }
        if self.seen.len() > MAX_FOLDERS {
            return Err(KustomizeError::TooMany { folder: self.first.display().to_string() });
        }
        let text = fs_err::read(&file).map_err(read)?;
        let kustomization: Value = yaml::read(&text, &path).map_err(KustomizeError::Yaml)?;
        for name in named(&kustomization) {
            self.follow(folder, &path, name)?;
        }
        self.charts(&path, &kustomization);
        Ok(true)
    }

    fn follow(&mut self, folder: &Path, file: &str, name: &str) -> Result<(), KustomizeError> {
        let target = folder.join(name);
        // What lies here is here, however it is called.
        if target.is_dir() {
            self.enter(&target)?;
        } else if !target.exists() && is_remote(name) {
            let (file, address) = (file.to_owned(), name.to_owned());
            self.found.insert(Remote { file, address, revision: revision(name) });
        }
        Ok(())
    }

    /// Charts that kustomize would have Helm fetch.
    fn charts(&mut self, file: &str, kustomization: &Value) {
        for list in ["helmCharts", "helmChartInflationGenerator"] {
            for chart in kustomization.get(list).and_then(Value::as_array).into_iter().flatten() {
                let field = |name: &str| chart.get(name).and_then(yaml::text);
                let named = field("name").or_else(|| field("chartName")).unwrap_or_default();
                let repository =
                    field("repo").or_else(|| field("chartRepoUrl")).unwrap_or_default();
                self.found.insert(Remote {
                    file: file.to_owned(),
                    address: format!("chart {named} {repository}").trim_end().to_owned(),
                    revision: field("version"),
                });
            }
        }
    }
}

/// All files, folders and addresses that a kustomization names.
fn named(kustomization: &Value) -> Vec<&str> {
    let list = |name: &&str| kustomization.get(*name).and_then(Value::as_array);
    let plain = LISTS.iter().filter_map(list).flatten();
    let within = WITH_PATHS.iter().filter_map(list).flatten();
    let openapi = kustomization.get("openapi");
    let paths = within.chain(openapi).filter_map(|item| item.get("path"));
    // A text with several lines is a patch that stands here itself.
    plain.chain(paths).filter_map(Value::as_str).filter(|name| !name.contains('\n')).collect()
}

/// Whether a name that is no file here is one on the network: an address, or a repository by its host.
fn is_remote(name: &str) -> bool {
    let host = name.split(['/', ':']).next().unwrap_or_default();
    let has_scheme = name.contains("://") || name.starts_with("git@") || name.starts_with("git::");
    let is_host = host.contains('.') && !host.starts_with('.') && name.contains('/');
    has_scheme || is_host || name.contains("?ref=") || name.contains(".git//")
}

fn revision(address: &str) -> Option<String> {
    let query = address.split_once('?')?.1;
    let named = query
        .split('&')
        .find_map(|part| part.strip_prefix("ref=").or_else(|| part.strip_prefix("version=")));
    named.filter(|revision| !revision.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_files() {
        for name in [
            "https://h/x.yaml",
            "github.com/org/repo/path?ref=v1",
            "git@github.com:org/repo",
            "https://github.com/org/repo//config/default?ref=v0.7.0",
            "git::https://h/x",
            "org/repo?ref=main",
        ] {
            assert!(is_remote(name), "{name}");
        }
        for name in ["base", "../base", "./x.yaml", "patch.yaml", "crd/bases/a.b_c.yaml"] {
            assert!(!is_remote(name), "{name}");
        }
        assert_eq!(revision("h/x//y?timeout=9&ref=v1").as_deref(), Some("v1"));
        assert_eq!(revision("https://h/x"), None);
    }
}
