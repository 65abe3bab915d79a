//! The configuration: what an `ImageSetConfiguration` or a `DeleteImageSetConfiguration` asks for.

use airlift_spec::stack::{self, Exclude, Product};
use airlift_spec::{Class, Explain, Finding, Platform};

use crate::name::ImageName;

mod check;
mod wire;

pub use wire::API_VERSION;

/// The size of an archive's parts where none is written.
const DEFAULT_ARCHIVE_GIB: u64 = 500;

/// What is to be mirrored, or deleted. It stands in a valid file: names parse, nothing is listed twice.
#[derive(Debug, Clone)]
pub struct ImageSet {
    pub purpose: Purpose,
    /// The most GiB of one part of an archive.
    pub archive_size_gib: u64,
    pub platform: ReleaseWish,
    pub operators: Vec<Operator>,
    pub additional_images: Vec<AdditionalImage>,
    pub helm: Helm,
    /// What `blockedImages:` leaves out, whatever brings it.
    pub blocked: Vec<Exclude>,
    /// What is read without doing what its writer may expect.
    pub warnings: Vec<Finding>,
}

/// What the file is for, which its kind says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Mirror,
    Delete,
}

/// Which OpenShift releases are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseWish {
    pub line: u64,
    /// Whether the image with the update graph is wanted.
    pub graph: bool,
    pub channels: Vec<ReleaseChannel>,
    /// As the update service calls them; never empty.
    pub architectures: Vec<String>,
    /// What of each image is kept; all where there are none.
    pub platforms: Vec<Platform>,
    /// One release by its name, in place of the channels.
    pub release: Option<ImageName>,
    pub kube_virt_container: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseChannel {
    pub line: u64,
    pub name: String,
    pub product: Product,
    pub min: Option<semver::Version>,
    pub max: Option<semver::Version>,
    pub shortest_path: bool,
    pub full: bool,
}

/// A catalog, and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    pub line: u64,
    /// The catalog as it is written.
    pub written: String,
    pub catalog: ImageName,
    pub target_catalog: Option<String>,
    pub target_tag: Option<String>,
    /// A file with the `CatalogSource` to begin with.
    pub template: Option<String>,
    pub full: bool,
    pub skip_dependencies: bool,
    pub platforms: Vec<Platform>,
    /// All packages where there are none.
    pub packages: Vec<Package>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub default_channel: Option<String>,
    pub min: Option<String>,
    pub max: Option<String>,
    pub channels: Vec<Channel>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channel {
    pub name: String,
    pub min: Option<String>,
    pub max: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalImage {
    pub line: u64,
    pub written: String,
    pub image: ImageName,
    pub target_repo: Option<String>,
    pub target_tag: Option<String>,
    pub platforms: Vec<Platform>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Helm {
    pub repositories: Vec<ChartRepository>,
    pub local: Vec<Chart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartRepository {
    pub line: u64,
    pub name: String,
    pub url: String,
    /// Every version of every chart where there are none.
    pub charts: Vec<Chart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    pub line: u64,
    pub name: String,
    pub version: Option<String>,
    /// Where a local chart lies.
    pub path: Option<String>,
    /// Further places of images, as `JSONPath`.
    pub image_paths: Vec<String>,
    pub platforms: Vec<Platform>,
}

/// Why a text is no configuration: all its mistakes, in their order.
#[derive(Debug, thiserror::Error)]
#[error("{}", text(mistakes))]
pub struct ConfigError {
    pub mistakes: Vec<Mistake>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1; 0 where the message names the place by itself.
    pub line: u64,
    pub message: String,
    pub help: Option<String>,
}

/// Mistakes on one line.
pub(crate) fn text(mistakes: &[Mistake]) -> String {
    let one = |mistake: &Mistake| match mistake.line {
        0 => mistake.message.clone(),
        line => format!("line {line}: {}", mistake.message),
    };
    mistakes.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Explain for ConfigError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        self.mistakes.iter().find_map(|mistake| mistake.help.clone())
    }
}

impl ImageSet {
    /// Reads a configuration of either kind, in the words of `v2alpha1` or `v1alpha2`. Pure: callers do the I/O.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let (mut set, mut mistakes) = wire::read(text)?;
        mistakes.extend(check::mistakes(&set));
        if mistakes.is_empty() {
            set.warnings.extend(check::renamed(&set));
            return Ok(set);
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        Err(ConfigError { mistakes })
    }
}

impl ReleaseChannel {
    /// The channel as a stack has it.
    pub fn wanted(&self) -> stack::ReleaseChannel {
        stack::ReleaseChannel {
            name: self.name.clone(),
            product: self.product,
            from: self.min.clone(),
            to: self.max.clone(),
            shortest_path: self.shortest_path,
            full: self.full,
        }
    }
}

impl ReleaseWish {
    /// Whether anything of it is to be mirrored.
    pub fn is_wanted(&self) -> bool {
        self.graph || self.release.is_some() || !self.channels.is_empty()
    }
}

impl Operator {
    /// The name that a catalog must not share with another one of its file.
    pub fn unique_name(&self) -> String {
        let path = self.target_catalog.as_ref().unwrap_or(&self.catalog.path);
        let renamed = ImageName { path: path.clone(), ..self.catalog.clone() };
        match &self.target_tag {
            Some(tag) => format!("{}:{tag}", renamed.repository()),
            None => renamed.reference(),
        }
    }
}

#[cfg(test)]
mod tests;
