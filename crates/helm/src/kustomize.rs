//! Kustomizations, built by `kustomize` or the one within `kubectl`.
//!
//! Both fetch what a kustomization names on the network, while they build, and nobody could say later what that was. So
//! it is looked for first, and whoever asks brings it; then a copy is built in which it lies beside the rest.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airlift_spec::{Class, Ctx, Explain};

use crate::ChartError;
use crate::process::{self, Limits, Stopped};
use crate::scratch::Scratch;

mod address;
mod closed;
mod copy;
mod tree;
mod walk;

pub use address::{Address, Repository};
use closed::refuse_fetches;
use copy::Copy;
pub use tree::{MAX_TREE_BYTES, MAX_TREE_FILES, pack};
use walk::{refuse_devices, walk};

/// What a folder's kustomization can be called.
const NAMES: &[&str] = &["kustomization.yaml", "kustomization.yml", "Kustomization"];

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
}

impl Remote {
    fn parsed(&self) -> Result<Address, KustomizeError> {
        Address::parse(&self.address)
            .map_err(|problem| KustomizeError::Address { remote: self.clone(), problem })
    }
}

/// Why a kustomization was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KustomizeError {
    #[error("there is neither a `kustomize` nor a `kubectl` program")]
    Absent,
    #[error("`{folder}` has no kustomization")]
    NoKustomization { folder: String },
    #[error("`{}` names `{}`, which {problem}", .remote.file, address::without_user(&.remote.address))]
    Address { remote: Remote, problem: &'static str },
    #[error("the field `{field}` of `{file}` {problem}")]
    Field { file: String, field: String, problem: String },
    #[error("`{}` names `{}`, to which more than {} addresses lead, one after the other",
        .remote.file, .remote.address, copy::MAX_DEPTH)]
    Deep { remote: Remote },
    #[error("`{file}` wants the chart `{chart}` from Helm")]
    Chart { file: String, chart: String },
    #[error("`{folder}` lies outside of the repository that names it")]
    Outside { folder: String },
    #[error("its link `{link}` leads out of the repository")]
    Link { link: String },
    #[error("`{folder}` has more than {MAX_TREE_FILES} files, or {MAX_TREE_BYTES} bytes in them")]
    TooLarge { folder: String },
    #[error("`{path}` is no regular file: kustomize might wait for it for ever")]
    Device { path: String },
    #[error("failed to read `{path}`")]
    Read { path: String, source: io::Error },
    #[error("failed to run `{program}`")]
    Run { program: String, source: io::Error },
    #[error("the kustomization `{folder}` cannot be built: {message}")]
    Refused { folder: String, message: String },
    #[error("the kustomization `{folder}` has more than {} folders", walk::MAX_FOLDERS)]
    TooMany { folder: String },
    #[error(transparent)]
    Yaml(ChartError),
    #[error("cancelled")]
    Cancelled,
}

impl KustomizeError {
    /// What helps where there is no room for a copy, or for what is built.
    fn no_room(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } | Self::Run { source, .. } => {
                process::no_room(&source.to_string())
            }
            Self::Refused { message, .. } => process::no_room(message),
            _ => None,
        }
    }

    /// The same, with `words` for every path and text in it: what lies in a folder of ours is called otherwise outside, and
    /// what is said stands in a lock, which has to be the same the next time.
    fn said(self, words: impl Fn(&str) -> String) -> Self {
        match self {
            Self::NoKustomization { folder } => Self::NoKustomization { folder: words(&folder) },
            Self::Chart { file, chart } => Self::Chart { file: words(&file), chart },
            Self::Address { remote: Remote { file, address }, problem } => {
                Self::Address { remote: Remote { file: words(&file), address }, problem }
            }
            Self::Field { file, field, problem } => {
                Self::Field { file: words(&file), field, problem }
            }
            Self::Outside { folder } => Self::Outside { folder: words(&folder) },
            Self::Device { path } => Self::Device { path: words(&path) },
            Self::TooLarge { folder } => Self::TooLarge { folder: words(&folder) },
            Self::TooMany { folder } => Self::TooMany { folder: words(&folder) },
            Self::Read { path, source } => Self::Read {
                path: words(&path),
                source: io::Error::new(source.kind(), words(&source.to_string())),
            },
            Self::Refused { folder, message } => Self::Refused { folder, message: words(&message) },
            Self::Yaml(ChartError::Yaml { file, problem }) => {
                Self::Yaml(ChartError::Yaml { file: words(&file), problem })
            }
            Self::Absent
            | Self::Deep { .. }
            | Self::Link { .. }
            | Self::Run { .. }
            | Self::Yaml(_)
            | Self::Cancelled => self,
        }
    }
}

impl Explain for KustomizeError {
    fn class(&self) -> Class {
        match self {
            Self::Cancelled => Class::Cancelled,
            Self::Yaml(source) => source.class(),
            _ if self.no_room().is_some() => Class::Storage,
            Self::Absent
            | Self::NoKustomization { .. }
            | Self::Address { .. }
            | Self::Field { .. }
            | Self::Deep { .. }
            | Self::Chart { .. }
            | Self::Outside { .. }
            | Self::Link { .. }
            | Self::TooLarge { .. }
            | Self::Device { .. }
            | Self::Read { .. }
            | Self::Run { .. }
            | Self::Refused { .. }
            | Self::TooMany { .. } => Class::Input,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Read { .. } | Self::Run { .. } | Self::Refused { .. } => return self.no_room(),
            Self::Absent => "install kustomize or kubectl and put it on the PATH",
            Self::NoKustomization { .. } => "name a folder with a `kustomization.yaml`",
            Self::Chart { .. } => "name it as a `chart:` source of the stack",
            Self::TooLarge { .. } => "keep kustomizations in folders of their own",
            Self::Device { .. } => "put a file in its place, or take it out of the folder",
            Self::Address { .. } => {
                "download it beside the kustomization, and name the copy in its place"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }
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
    /// `bring` brings what it names elsewhere, each address once: a file, or of a repository what [`pack`] made of it.
    /// Where there is such, a copy is built.
    pub fn build<E: From<KustomizeError>>(
        &self,
        folder: &Path,
        bring: impl FnMut(&Remote, &Address) -> Result<Vec<u8>, E>,
        ctx: &Ctx,
    ) -> Result<String, E> {
        let name = folder.display().to_string();
        let folders = walk(folder, Path::new("/"))?;
        refuse_devices(folders.keys())?;
        let whole = fs_err::canonicalize(folder)
            .map_err(|source| KustomizeError::Read { path: name.clone(), source })?;
        if folders.values().all(BTreeSet::is_empty) {
            refuse_fetches(&whole)?;
            return Ok(self.run(&whole, &name, ctx)?);
        }
        let mut copy = Copy::of(folders.keys())?;
        copy.complete(&whole, bring)?;
        let here = copy.here(&whole);
        let built = refuse_fetches(&here).and_then(|()| self.run(&here, &name, ctx));
        Ok(built.map_err(|err| copy.said(err))?)
    }

    fn run(&self, whole: &Path, name: &str, ctx: &Ctx) -> Result<String, KustomizeError> {
        let failed =
            |source| KustomizeError::Run { program: self.program.display().to_string(), source };
        let home = scratch()?;
        let mut command = process::isolated(&self.program, home.path());
        command.arg(self.verb).arg(whole);
        let refused =
            |message: String| KustomizeError::Refused { folder: name.to_owned(), message };
        let (limits, what) = (Limits::within(TIMEOUT), format!("kustomize builds `{name}`"));
        match process::run(&mut command, &what, &limits, ctx) {
            Ok(ran) if ran.is_success => Ok(String::from_utf8_lossy(&ran.stdout).into_owned()),
            Ok(ran) => Err(refused(own_words(&ran.stderr))),
            Err(Stopped::Failed(source)) => Err(failed(source)),
            Err(Stopped::Cancelled) => Err(KustomizeError::Cancelled),
            Err(stopped) => Err(refused(limits.problem(&stopped).unwrap_or_default())),
        }
    }
}

/// Unpacks an archive, for its fuzz target.
#[cfg(any(test, fuzzing))]
pub(crate) fn unpack(archive: &[u8], into: &Path) -> Result<(), KustomizeError> {
    tree::unpack(archive, into, "an archive", &mut tree::Limit::default())
}

fn scratch() -> Result<Scratch, KustomizeError> {
    let path = std::env::temp_dir().display().to_string();
    // The whole error has the name of the folder, which is another one each time.
    Scratch::new().map_err(|err| KustomizeError::Read { path, source: err.kind().into() })
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
