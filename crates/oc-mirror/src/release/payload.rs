//! What a release is made of, by the files `release-manifests` in its image.

use serde::Deserialize;
use serde_json::Value;

use airlift_spec::reference::is_tag;

use super::ReleaseError;
use crate::mapping::{Item, release_tag};
use crate::name::ImageName;
use crate::yaml;

/// The file that names the images of a release, in the folder `release-manifests` of its image.
pub const IMAGE_REFERENCES: &str = "image-references";

/// The file that names what machines boot, beside it.
pub const BOOT_IMAGES: &str = "0000_50_installer_coreos-bootimages.yaml";

/// The name of the image with the machine that `KubeVirt` boots.
const KUBE_VIRT: &str = "kube-virt-container";

/// The images of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The version that the release calls itself.
    pub version: String,
    /// Each component and its image.
    pub components: Vec<(String, ImageName)>,
}

#[derive(Deserialize)]
struct StreamWire {
    kind: String,
    metadata: MetadataWire,
    spec: SpecWire,
}

#[derive(Deserialize)]
struct MetadataWire {
    name: String,
}

#[derive(Deserialize)]
struct SpecWire {
    tags: Vec<TagWire>,
}

#[derive(Deserialize)]
struct TagWire {
    name: String,
    from: MetadataWire,
}

impl Payload {
    /// Reads the file `image-references`.
    pub fn parse(json: &[u8]) -> Result<Self, ReleaseError> {
        let wrong = |reason: String| ReleaseError::Payload { file: IMAGE_REFERENCES, reason };
        let wire: StreamWire =
            serde_json::from_slice(json).map_err(|err| wrong(err.to_string()))?;
        if wire.kind != "ImageStream" {
            return Err(wrong(format!("it is a {}, not an ImageStream", wire.kind)));
        }
        let component = |tag: TagWire| match ImageName::parse(&tag.from.name) {
            Ok(_) if !is_tag(&tag.name) => Err(wrong(format!("{:?} is no component", tag.name))),
            Ok(image) => Ok((tag.name, image)),
            Err(err) => Err(wrong(format!("{}: {err}", tag.name))),
        };
        let components = wire.spec.tags.into_iter().map(component).collect::<Result<_, _>>()?;
        Ok(Self { version: wire.metadata.name, components })
    }

    /// The components as items of a mapping.
    pub fn items(&self, release: &ImageName) -> Vec<Item> {
        let item = |(name, image): &(String, ImageName)| Item::ReleaseContent {
            image: image.clone(),
            release: release_tag(release),
            name: name.clone(),
        };
        self.components.iter().map(item).collect()
    }
}

/// Where a release names a component, as a lock says why it is there.
pub fn component_path(name: &str) -> String {
    format!("{IMAGE_REFERENCES}[{name}]")
}

/// The component that such a place is of.
pub fn component(path: &str) -> Option<&str> {
    path.strip_prefix(IMAGE_REFERENCES)?.strip_prefix('[')?.strip_suffix(']')
}

/// The images that `KubeVirt` boots, by the config map of the installer: that of one architecture, or all of `multi`.
pub fn kube_virt_images(
    text: &str,
    architecture: &str,
) -> Result<Vec<(String, ImageName)>, ReleaseError> {
    let wrong = |reason: String| ReleaseError::Payload { file: BOOT_IMAGES, reason };
    let map: Value = yaml::read(text).map_err(wrong)?;
    let stream = map.pointer("/data/stream").and_then(Value::as_str);
    let stream = stream.ok_or_else(|| wrong("it has no data.stream".to_owned()))?;
    let stream: Value = serde_json::from_str(stream).map_err(|err| wrong(err.to_string()))?;
    let machines = stream.get("architectures").and_then(Value::as_object);
    let is_wanted = |machine: &str| {
        architecture == "multi"
            || matches!((architecture, machine), ("amd64", "x86_64") | ("arm64", "aarch64"))
            || architecture == machine
    };
    let mut images = Vec::new();
    for (machine, about) in machines.into_iter().flatten().filter(|(name, _)| is_wanted(name)) {
        let reference = about.pointer("/images/kubevirt/digest-ref").and_then(Value::as_str);
        let Some(reference) = reference.filter(|text| !text.is_empty()) else { continue };
        let image = ImageName::parse(reference).map_err(|err| wrong(err.to_string()))?;
        let name = match machine.as_str() {
            "x86_64" => KUBE_VIRT.to_owned(),
            other => format!("{KUBE_VIRT}-{other}"),
        };
        images.push((name, image));
    }
    if images.is_empty() {
        return Err(wrong(format!(
            "could not find kubevirt image for {architecture} in this release"
        )));
    }
    Ok(images)
}
