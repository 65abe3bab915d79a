//! OpenShift releases: which ones a wish means, by the update graph, and which images each is made of.

use airlift_spec::stack::Product;
use airlift_spec::{Class, Digest, Explain};

use crate::name::{ImageName, NameError};

mod choose;
mod graph;
mod graph_image;
mod payload;
mod signature;

pub use choose::{Graphs, Release, channels, choose};
pub use graph::Graph;
pub use graph_image::{GRAPH_BASE, graph_layer, on_graph_base};
pub use payload::{
    BOOT_IMAGES, IMAGE_REFERENCES, Payload, component, component_path, kube_virt_images,
};
pub use signature::{Keyring, SignatureError, Signed};

/// Where the graph of a product is asked for. `UPDATE_URL_OVERRIDE` takes the place of the first one alone.
const OCP_GRAPH: &str = "https://api.openshift.com/api/upgrades_info/v1/graph";
const OKD_GRAPH: &str = "https://origin-release.ci.openshift.org/graph";

/// Where the data of all graphs is published.
const GRAPH_DATA_URL: &str = "https://api.openshift.com/api/upgrades_info/graph-data";

/// The file of this data in a folder.
pub const GRAPH_DATA: &str = "graph-data.tar.gz";

/// Where signatures of releases lie, if `OCP_SIGNATURE_URL` says nothing else.
pub const SIGNATURES: &str =
    "https://mirror.openshift.com/pub/openshift-v4/signatures/openshift/release/";

/// Why releases could not be chosen, or are not understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    #[error("the update graph is not JSON as it should be")]
    Graph { source: serde_json::Error },
    #[error("an edge of the update graph leads from {from} to {to}, and it has {nodes} releases")]
    Edge { from: usize, to: usize, nodes: usize },
    #[error("release {version} of the update graph names no image")]
    Image { version: semver::Version, source: NameError },
    #[error("the graph of channel {channel:?} is not at hand")]
    NoGraph { channel: String },
    #[error("no cluster versions found in the {channel:?} channel")]
    NoVersions { channel: String },
    #[error("version {version} not found in the {channel:?} channel")]
    NoVersion { version: semver::Version, channel: String, near: Vec<semver::Version> },
    #[error("no release images found between {min} and {max} in the {channel:?} channel")]
    EmptyRange {
        channel: String,
        min: semver::Version,
        max: semver::Version,
        near: Vec<semver::Version>,
    },
    #[error("no channels lead from {from:?} to {to:?}")]
    NoChannels { from: String, to: String },
    #[error("{file} of the release is not as it should be: {reason}")]
    Payload { file: &'static str, reason: String },
    #[error("the data of the update graph is not as it should be: {0}")]
    GraphData(String),
    #[error("the base of the graph image is not as it should be: {0}")]
    GraphBase(String),
}

impl Explain for ReleaseError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NoGraph { channel } | Self::NoVersions { channel } => {
                Some(format!("see that the update service knows the channel `{channel}`"))
            }
            Self::NoVersion { channel, near, .. } | Self::EmptyRange { channel, near, .. } => {
                let near: Vec<String> = near.iter().map(ToString::to_string).collect();
                Some(format!("choose versions that `{channel}` has, such as {}", near.join(", ")))
            }
            Self::NoChannels { .. } => {
                Some("mirror the channels by configurations of their own".to_owned())
            }
            Self::Graph { .. }
            | Self::Edge { .. }
            | Self::Image { .. }
            | Self::Payload { .. }
            | Self::GraphData(_)
            | Self::GraphBase(_) => None,
        }
    }
}

/// Where to ask for the graph of a channel; `override_url` is the value of `UPDATE_URL_OVERRIDE`.
pub fn graph_url(
    product: Product,
    override_url: Option<&str>,
    architecture: &str,
    channel: &str,
) -> String {
    let base = match product {
        Product::Ocp => override_url.unwrap_or(OCP_GRAPH),
        Product::Okd => OKD_GRAPH,
    };
    let separator = if base.contains('?') { '&' } else { '?' };
    format!("{base}{separator}arch={}&channel={}", escaped(architecture), escaped(channel))
}

/// The file of the graph of a channel, in a folder of saved answers.
pub fn graph_answer(architecture: &str, channel: &str) -> String {
    format!("{architecture}-{channel}.json")
}

/// Where to ask for the data of all graphs: beside where graphs are asked for.
pub fn graph_data_url(override_url: Option<&str>) -> String {
    let Some(base) = override_url else { return GRAPH_DATA_URL.to_owned() };
    let base = base.split('?').next().unwrap_or(base).trim_end_matches('/');
    let base = base.strip_suffix("/graph").unwrap_or(base);
    let base = base.strip_suffix("/v1").unwrap_or(base);
    format!("{base}/graph-data")
}

/// Where the signature of a release lies below `base`.
pub fn signature_url(base: &str, release: Digest) -> String {
    let place = release.to_string().replace(':', "=");
    format!("{}/{place}/signature-1", base.trim_end_matches('/'))
}

fn escaped(text: &str) -> String {
    let escape = |text: String, byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            text + char::from(byte).encode_utf8(&mut [0])
        }
        _ => text + &format!("%{byte:02X}"),
    };
    text.bytes().fold(String::new(), escape)
}

/// The name that releases are published under beside their digest, like `…:4.18.1-x86_64`.
fn published(image: &ImageName, version: &semver::Version, architecture: &str) -> ImageName {
    let machine = match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    // A tag has no `+`.
    let version = version.to_string().replace('+', "_");
    ImageName { tag: Some(format!("{version}-{machine}")), ..image.clone() }
}

#[cfg(test)]
mod tests;
