//! The command line: which way is meant, and what does not go together. The words are the peer's, since scripts
//! match on them.

use std::path::PathBuf;

use airlift_spec::{Class, Explain};

use crate::mapping::Mode;
use crate::workspace::Workspace;

const FILE: &str = "file://";
const DOCKER: &str = "docker://";

/// Names of the working folder, which a folder that holds one must not have.
const KEYWORDS: [&str; 11] = [
    "cluster-resources",
    "dry-run",
    "graph-preparation",
    "helm",
    "hold-operator",
    "hold-release",
    "delete",
    "logs",
    "operator-catalogs",
    "release-images",
    "signatures",
];

const LOG_LEVELS: [&str; 4] = ["info", "debug", "trace", "error"];

/// What decides about the way; each as it was written, or its default.
#[derive(Debug, Clone)]
pub struct Arguments {
    pub config: Option<String>,
    pub destination: String,
    pub from: Option<String>,
    pub workspace: Option<String>,
    pub since: Option<String>,
    pub cache_dir: Option<String>,
    /// The value of `OC_MIRROR_CACHE`.
    pub cache_variable: Option<String>,
    pub log_level: String,
    pub parallel_images: u32,
    pub parallel_layers: u32,
    /// None where it is zero.
    pub max_nested_paths: Option<usize>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            config: None,
            destination: String::new(),
            from: None,
            workspace: None,
            since: None,
            cache_dir: None,
            cache_variable: None,
            log_level: "info".to_owned(),
            parallel_images: 4,
            parallel_layers: 5,
            max_nested_paths: None,
        }
    }
}

/// What decides about a deletion.
#[derive(Debug, Clone, Default)]
pub struct DeleteArguments {
    pub destination: Option<String>,
    pub generate: bool,
    pub config: Option<String>,
    pub workspace: Option<String>,
    pub delete_yaml_file: Option<String>,
    pub delete_id: Option<String>,
    pub delete_v1_images: bool,
}

/// Where a set is taken from and brought to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub mode: Mode,
    /// The folder with the archives, or that the working folder lies in.
    pub root: PathBuf,
    pub workspace: Workspace,
    /// Host and path of the far registry; none on the way to a disk.
    pub registry: Option<String>,
}

/// The two phases of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// The list of what to delete is written.
    Generate { config: String, workspace: Workspace, id: Option<String>, registry: String },
    /// What a list says is deleted.
    Delete { list: String, registry: String },
}

/// Why the arguments make no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    #[error("when --workspace is used, it must have file:// prefix")]
    WorkspacePrefix,
    #[error("log-level has an invalid value {0} , it should be one of (info,debug,trace, error)")]
    LogLevel(String),
    #[error("either OC_MIRROR_CACHE or --cache-dir can be used but not both")]
    TwoCaches,
    #[error("use the --config flag it is mandatory")]
    NoConfig,
    #[error(
        "when destination is file://, mirrorToDisk workflow is assumed, and the --from argument is not needed"
    )]
    FromWithFile,
    #[error("the destination contains an internal oc-mirror keyword '{0}'")]
    KeywordInDestination(&'static str),
    #[error("when --from is used, it must have file:// prefix")]
    FromPrefix,
    #[error("the path set in --from flag contains an internal oc-mirror keyword '{0}'")]
    KeywordInFrom(&'static str),
    #[error("--since flag needs to be in format yyyy-MM-dd")]
    Since,
    #[error("the flag parallel-images must be between the range 1 to 10")]
    ParallelImages,
    #[error("the flag parallel-layers must be between the range 1 to 10")]
    ParallelLayers,
    #[error(
        "when destination is file://, mirrorToDisk workflow is assumed, and the --workspace argument is not needed"
    )]
    WorkspaceWithFile,
    #[error(
        "when destination is docker://, either --from (assumes disk to mirror workflow) or --workspace (assumes mirror to mirror workflow) need to be provided"
    )]
    NeitherFromNorWorkspace,
    #[error(
        "destination must have either file:// (mirror to disk) or docker:// (diskToMirror) protocol prefixes"
    )]
    NoProtocol,
    #[error(
        "the max-nested-paths value ({most}) must be strictly higher than the number of path-components in the destination {path} - try increasing the value"
    )]
    NestedPaths { most: usize, path: String },
    #[error(
        "use the --workspace flag, it is mandatory when using the delete command with the --generate flag"
    )]
    DeleteWithoutWorkspace,
    #[error("the --config flag is mandatory when used with the --generate flag")]
    DeleteWithoutConfig,
    #[error("the --delete-yaml-file flag is mandatory when not using the --generate flag")]
    DeleteWithoutList,
    #[error("the --delete-v1-images flag can only be used alongside the --generate flag")]
    DeleteV1Images,
    #[error("the destination registry is missing in the command arguments")]
    DeleteWithoutDestination,
    #[error("the destination registry argument must have a docker:// protocol prefix")]
    DeleteProtocol,
    #[error("the --delete-id `{0}` cannot be part of a file's name")]
    DeleteId(String),
    #[error("`{0}` is no registry: a host, and a path if need be, without tag and digest")]
    Registry(String),
}

impl Explain for ArgumentError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::KeywordInDestination(word) | Self::KeywordInFrom(word) => {
                Some(format!("choose a folder whose path has no `{word}` in it"))
            }
            Self::NoProtocol => Some(
                "write `file://FOLDER`, or `docker://REGISTRY` with --from or --workspace"
                    .to_owned(),
            ),
            Self::DeleteId(_) => Some("write letters, digits, `.`, `_` and `-`".to_owned()),
            Self::Registry(_) => {
                Some("write it like `docker://registry.example:5000/path`".to_owned())
            }
            // The others say themselves what to do.
            _ => None,
        }
    }
}

impl Arguments {
    /// The way that these arguments mean.
    pub fn way(&self) -> Result<Way, ArgumentError> {
        self.check_common()?;
        let is_to_disk = self.destination.contains(FILE);
        let is_to_registry = self.destination.contains(DOCKER);
        if self.config.as_deref().is_none_or(str::is_empty) {
            return Err(ArgumentError::NoConfig);
        }
        if is_to_disk {
            self.check_disk()?;
        }
        self.check_from()?;
        self.check_numbers()?;
        match (is_to_disk, is_to_registry) {
            (true, _) if self.workspace.is_some() => Err(ArgumentError::WorkspaceWithFile),
            (true, _) => Ok(Way::to_disk(&self.destination)),
            (false, true) => self.way_to_registry(),
            (false, false) => Err(ArgumentError::NoProtocol),
        }
    }

    fn check_common(&self) -> Result<(), ArgumentError> {
        if self.workspace.as_ref().is_some_and(|path| !path.contains(FILE)) {
            return Err(ArgumentError::WorkspacePrefix);
        }
        if !LOG_LEVELS.contains(&self.log_level.as_str()) {
            return Err(ArgumentError::LogLevel(self.log_level.clone()));
        }
        let is_given = |value: &Option<String>| value.as_ref().is_some_and(|it| !it.is_empty());
        if is_given(&self.cache_dir) && is_given(&self.cache_variable) {
            return Err(ArgumentError::TwoCaches);
        }
        Ok(())
    }

    fn check_disk(&self) -> Result<(), ArgumentError> {
        if self.from.is_some() {
            return Err(ArgumentError::FromWithFile);
        }
        keyword(&self.destination).map_or(Ok(()), |it| Err(ArgumentError::KeywordInDestination(it)))
    }

    fn check_from(&self) -> Result<(), ArgumentError> {
        let Some(from) = &self.from else { return Ok(()) };
        if !from.contains(FILE) {
            return Err(ArgumentError::FromPrefix);
        }
        keyword(from).map_or(Ok(()), |it| Err(ArgumentError::KeywordInFrom(it)))
    }

    fn check_numbers(&self) -> Result<(), ArgumentError> {
        if self.since.as_ref().is_some_and(|since| !is_date(since)) {
            return Err(ArgumentError::Since);
        }
        check_parallel(self.parallel_images, self.parallel_layers)
    }

    fn way_to_registry(&self) -> Result<Way, ArgumentError> {
        let named = self.workspace.as_deref().map(|workspace| Workspace::at(&folder(workspace)));
        let (mode, root, workspace) = match (&self.from, &self.workspace, named) {
            // The peer refuses a working folder of its own here. The medium may be read-only, so that it takes one.
            (Some(from), _, named) => {
                let root = folder(from);
                let workspace = named.unwrap_or_else(|| Workspace::below(&root));
                (Mode::DiskToMirror, root, workspace)
            }
            (None, Some(workspace), Some(named)) => {
                (Mode::MirrorToMirror, folder(workspace), named)
            }
            _ => return Err(ArgumentError::NeitherFromNorWorkspace),
        };
        let registry = registry(&self.destination)?;
        check_depth(&registry, self.max_nested_paths)?;
        Ok(Way { mode, root, workspace, registry: Some(registry) })
    }
}

impl Way {
    fn to_disk(destination: &str) -> Self {
        let root = folder(destination);
        let workspace = Workspace::below(&root);
        Self { mode: Mode::MirrorToDisk, root, workspace, registry: None }
    }
}

impl DeleteArguments {
    /// Which of the two phases is meant.
    pub fn deletion(&self) -> Result<Deletion, ArgumentError> {
        let given = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        let (workspace, config) = (given(&self.workspace), given(&self.config));
        let list = given(&self.delete_yaml_file);
        if self.generate && workspace.is_none() {
            return Err(ArgumentError::DeleteWithoutWorkspace);
        }
        if self.generate && config.is_none() {
            return Err(ArgumentError::DeleteWithoutConfig);
        }
        if !self.generate && list.is_none() {
            return Err(ArgumentError::DeleteWithoutList);
        }
        if self.delete_v1_images && !self.generate {
            return Err(ArgumentError::DeleteV1Images);
        }
        let registry = self.registry()?;
        let id = given(&self.delete_id);
        if let Some(id) = id.as_ref().filter(|id| !airlift_spec::reference::is_tag(id)) {
            return Err(ArgumentError::DeleteId(id.clone()));
        }
        match (self.generate, workspace, config, list) {
            (true, Some(workspace), Some(config), _) if workspace.contains(FILE) => {
                let workspace = Workspace::below(&folder(&workspace));
                Ok(Deletion::Generate { config, workspace, id, registry })
            }
            (false, _, _, Some(list)) => Ok(Deletion::Delete { list, registry }),
            _ => Err(ArgumentError::WorkspacePrefix),
        }
    }

    fn registry(&self) -> Result<String, ArgumentError> {
        match self.destination.as_deref() {
            None | Some("") => Err(ArgumentError::DeleteWithoutDestination),
            Some(text) if !text.starts_with(DOCKER) => Err(ArgumentError::DeleteProtocol),
            Some(text) => registry(text),
        }
    }
}

/// How many images, and layers of each, may move at once.
pub fn check_parallel(images: u32, layers: u32) -> Result<(), ArgumentError> {
    if !(1..=10).contains(&images) {
        return Err(ArgumentError::ParallelImages);
    }
    if !(1..=10).contains(&layers) {
        return Err(ArgumentError::ParallelLayers);
    }
    Ok(())
}

fn keyword(text: &str) -> Option<&'static str> {
    KEYWORDS.into_iter().find(|word| text.contains(word))
}

fn is_date(text: &str) -> bool {
    text.len() == "yyyy-MM-dd".len() && text.parse::<jiff::civil::Date>().is_ok()
}

fn folder(text: &str) -> PathBuf {
    PathBuf::from(text.strip_prefix(FILE).unwrap_or(text))
}

fn registry(text: &str) -> Result<String, ArgumentError> {
    let registry = text.strip_prefix(DOCKER).unwrap_or(text).trim_end_matches('/');
    let (host, path) = registry.split_once('/').unwrap_or((registry, "x"));
    let is_one =
        airlift_spec::reference::is_host(host) && airlift_spec::reference::is_repository(path);
    is_one.then(|| registry.to_owned()).ok_or_else(|| ArgumentError::Registry(text.to_owned()))
}

/// Each image needs a part of its own below the destination's.
fn check_depth(registry: &str, most: Option<usize>) -> Result<(), ArgumentError> {
    let path = registry.split_once('/').map_or("", |(_, path)| path);
    match most {
        Some(most) if path.split('/').count() >= most => {
            Err(ArgumentError::NestedPaths { most, path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
