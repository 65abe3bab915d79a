//! Sources that find images: catalogs, charts, manifests, and releases of OpenShift.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::Stack;
use crate::platform::Platforms;
use crate::reference::Reference;

/// A source that finds what to carry by looking inside something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finder {
    /// The value as it was written.
    pub written: String,
    /// Line in the file, counted from 1.
    pub line: u64,
    pub kind: FinderKind,
    /// Platforms of this source alone; the stack's where there are none.
    pub own_platforms: Option<Platforms>,
}

/// What is looked into, and how. Its JSON is the normal form that a lock remembers by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinderKind {
    Catalog(CatalogSource),
    Chart(ChartSource),
    Manifests(ManifestsSource),
    Release(ReleaseSource),
}

/// A `catalog:` source: operators out of an OLM file-based catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogSource {
    pub place: Place,
    /// The name that the filtered catalog has on the far side.
    pub reference: Reference,
    pub selection: Selection,
    pub dependencies: Dependencies,
    #[serde(skip_serializing_if = "Rules::is_own")]
    pub rules: Rules,
}

/// By whose rules a catalog is filtered and searched for images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rules {
    /// What is not as it was asked for is an error; everything that a bundle will ask for is found.
    #[default]
    Own,
    /// What oc-mirror passes over in silence is said; a bundle's own list of images is all that is taken.
    OcMirror,
}

impl Rules {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// Where something that is looked into lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// An image, in a registry or an OCI layout: the value as it was written.
    Image(String),
    /// A file or folder of this machine, relative to the stack's folder.
    Path(String),
    Url(String),
}

/// What of a catalog is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// All packages where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageWish>,
    /// All versions of everything that is kept, instead of the newest of each channel.
    #[serde(default, skip_serializing_if = "is_false")]
    pub full: bool,
}

/// What is kept of one package.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageWish {
    pub name: String,
    /// All channels where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelWish>,
    /// The default channel to have, where the catalog's own is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub full: bool,
    /// Just these bundles, in place of channels and ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<String>,
}

/// What is kept of one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelWish {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What becomes of packages that kept bundles require.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependencies {
    /// They are kept too, and those that they require.
    #[default]
    Include,
    /// They are said to be missing.
    Report,
    Ignore,
}

/// A `chart:` source: a Helm chart and the images of what it renders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartSource {
    pub place: ChartPlace,
    pub version: Option<String>,
    /// Values files, later ones over earlier ones, relative to the stack's folder.
    pub values: Vec<String>,
    /// Further renders: each a list of values files over `values`.
    pub variants: Vec<Vec<String>>,
    pub release: Option<String>,
    pub namespace: Option<String>,
    pub kube_version: Option<String>,
    pub api_versions: Vec<String>,
    pub switches: Switches,
    /// Where objects have images beside where they usually do, like `{.spec.runtimes[*].from}`. No stack file says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_paths: Vec<String>,
}

/// Where a chart comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChartPlace {
    /// A folder or a package on this machine, relative to the stack's folder.
    Path(String),
    /// A repository of an OCI registry.
    Oci(String),
    Repository {
        name: String,
        url: String,
    },
}

/// What becomes of images that only a switch in a chart's values brings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switches {
    /// They are named with their switch.
    #[default]
    Report,
    /// They are carried.
    Include,
    /// No switch is thrown.
    Ignore,
}

/// A `manifests:` source: Kubernetes objects and the images that they name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestsSource {
    pub place: Place,
}

/// An `openshift:` source: releases, each with the images that it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSource {
    pub releases: Releases,
    /// As the update service calls them, such as `amd64` and `multi`; never empty.
    pub architectures: Vec<String>,
    /// Whether the image with the update graph is made.
    pub graph: bool,
    /// Whether the machine that `KubeVirt` boots is carried as well.
    pub kube_virt: bool,
}

/// What the update service has releases for; `multi` is one for all of the others.
pub const RELEASE_ARCHITECTURES: [&str; 5] = ["amd64", "arm64", "ppc64le", "s390x", "multi"];

/// Which releases are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Releases {
    /// One, by the name of its image.
    Image(Reference),
    /// Those of channels. With several, what lies on the way from the first to the last is meant as well.
    Channels(Vec<ReleaseChannel>),
}

/// What of a channel of the update graph is meant: its newest release, unless more is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseChannel {
    pub name: String,
    pub product: Product,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
    /// Only the releases on the shortest way from the one to the other.
    pub shortest_path: bool,
    /// From the oldest, where no other is named.
    pub full: bool,
}

/// Whose releases a channel has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    #[default]
    Ocp,
    Okd,
}

impl Finder {
    /// The source's name in the lock's reasons.
    pub fn key(&self) -> String {
        match &self.kind {
            FinderKind::Catalog(_) => format!("catalog: {}", self.written),
            FinderKind::Chart(chart) => match &chart.version {
                Some(version) => format!("chart: {} {version}", self.written),
                None => format!("chart: {}", self.written),
            },
            FinderKind::Manifests(_) => format!("manifests: {}", self.written),
            FinderKind::Release(_) => format!("openshift: {}", self.written),
        }
    }

    pub fn platforms<'a>(&'a self, stack: &'a Stack) -> &'a Platforms {
        self.own_platforms.as_ref().unwrap_or(&stack.platforms)
    }
}

impl Selection {
    pub fn package(&self, name: &str) -> Option<&PackageWish> {
        self.packages.iter().find(|package| package.name == name)
    }
}
