//! How samples are put together.

use std::collections::BTreeMap;

use super::{
    Algorithm, Bytes, Descriptor, Digest, File, Platform, Sample, SampleManifest, Value, gzip,
    json, media_type, noise, tar, zstd,
};

/// Whose media types an image uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    Oci,
    /// Docker image manifest version 2, schema 2.
    Docker,
}

/// A layer, packed and unpacked.
#[derive(Debug, Clone)]
pub struct Layer {
    pub media_type: String,
    /// What travels.
    pub bytes: Bytes,
    /// What a runtime unpacks; the config names its digest.
    pub tar: Bytes,
    /// Where else the layer may be had.
    pub urls: Vec<String>,
}

impl Layer {
    /// Exactly `length` incompressible bytes that say they are a layer. No runtime can unpack it.
    pub fn noise(seed: u64, length: usize) -> Self {
        let mut bytes = noise(seed, length);
        // Tools look at the first bytes, and would compress on the way what does not begin like gzip.
        bytes.iter_mut().zip([0x1f, 0x8b, 0x08]).for_each(|(byte, magic)| *byte = magic);
        Self::new("application/vnd.oci.image.layer.v1.tar+gzip", bytes.clone(), bytes)
    }

    /// An uncompressed tar.
    pub fn tar(files: &[File]) -> Self {
        Self::new(media_type::OCI_LAYER, tar(files), tar(files))
    }

    /// A tar behind gzip: what nearly every registry holds.
    pub fn gzip(files: &[File]) -> Self {
        let tar = tar(files);
        Self::new("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&tar), tar)
    }

    /// A tar behind zstd.
    pub fn zstd(files: &[File]) -> Self {
        let tar = tar(files);
        Self::new("application/vnd.oci.image.layer.v1.tar+zstd", zstd(&tar), tar)
    }

    /// A layer that its licence keeps out of registries; `url` has it.
    pub fn non_distributable(files: &[File], url: &str) -> Self {
        let layer = Self::gzip(files);
        let media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".to_owned();
        Self { media_type, urls: vec![url.to_owned()], ..layer }
    }

    fn new(media_type: &str, bytes: Vec<u8>, tar: Vec<u8>) -> Self {
        Self {
            media_type: media_type.to_owned(),
            bytes: bytes.into(),
            tar: tar.into(),
            urls: Vec::new(),
        }
    }

    fn media_type(&self, flavour: Flavour) -> String {
        match flavour {
            Flavour::Oci => self.media_type.clone(),
            Flavour::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned(),
        }
    }
}

/// An image as one would describe it; [`build`](Self::build) makes its bytes.
#[derive(Debug, Clone)]
pub struct Image {
    pub flavour: Flavour,
    pub algorithm: Algorithm,
    pub platform: Platform,
    pub layers: Vec<Layer>,
    pub entrypoint: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            flavour: Flavour::Oci,
            algorithm: Algorithm::Sha256,
            platform: platform("linux/amd64"),
            layers: Vec::new(),
            entrypoint: vec!["/hello".to_owned()],
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

impl Image {
    pub fn build(&self) -> Sample {
        let mut builder = Builder::new(self.algorithm);
        let root = builder.image(self);
        builder.finish(&root)
    }

    fn config(&self) -> Value {
        let diff_ids: Vec<Digest> =
            self.layers.iter().map(|layer| Digest::of(&layer.tar)).collect();
        let mut config = json!({
            "created": "2026-01-01T00:00:00Z",
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "config": {"Entrypoint": self.entrypoint},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        if let Some(variant) = &self.platform.variant {
            config["variant"] = json!(variant);
        }
        if !self.labels.is_empty() {
            config["config"]["Labels"] = json!(self.labels);
        }
        config
    }
}

/// Collects blobs and manifests until they are a [`Sample`].
#[derive(Debug)]
pub(super) struct Builder {
    algorithm: Algorithm,
    blobs: BTreeMap<Digest, Bytes>,
    manifests: Vec<SampleManifest>,
    tags: BTreeMap<String, Digest>,
}

impl Builder {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, blobs: BTreeMap::new(), manifests: Vec::new(), tags: BTreeMap::new() }
    }

    pub(super) fn blob(&mut self, media_type: &str, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        let digest = Digest::with(self.algorithm, &bytes);
        let size = bytes.len() as u64;
        self.blobs.insert(digest, bytes);
        Descriptor::new(media_type, digest, size)
    }

    pub(super) fn manifest(&mut self, media_type: &str, content: &Value) -> Descriptor {
        self.manifest_bytes(media_type, content.to_string().into())
    }

    pub(super) fn manifest_bytes(&mut self, media_type: &str, bytes: Bytes) -> Descriptor {
        let digest = Digest::with(self.algorithm, &bytes);
        let size = bytes.len() as u64;
        if self.manifests.iter().all(|known| known.digest != digest) {
            self.manifests.push(SampleManifest {
                media_type: media_type.to_owned(),
                bytes,
                digest,
            });
        }
        Descriptor::new(media_type, digest, size)
    }

    /// An image; its descriptor carries the platform, ready for an index.
    pub(super) fn image(&mut self, image: &Image) -> Descriptor {
        let (manifest_type, config_type) = match image.flavour {
            Flavour::Oci => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
            Flavour::Docker => {
                (media_type::DOCKER_MANIFEST, "application/vnd.docker.container.image.v1+json")
            }
        };
        let config = self.blob(config_type, image.config().to_string());
        let layers: Vec<Descriptor> = image
            .layers
            .iter()
            .map(|layer| {
                let blob = self.blob(&layer.media_type(image.flavour), layer.bytes.clone());
                Descriptor { urls: layer.urls.clone(), ..blob }
            })
            .collect();
        let mut content = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers,
        });
        if !image.annotations.is_empty() {
            content["annotations"] = json!(image.annotations);
        }
        let manifest = self.manifest(manifest_type, &content);
        Descriptor { platform: Some(wire_platform(&image.platform)), ..manifest }
    }

    pub(super) fn index(&mut self, media_type: &str, children: &[Descriptor]) -> Descriptor {
        let content = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": children});
        self.manifest(media_type, &content)
    }

    /// An artifact about `subject`: its one layer is `payload`.
    pub(super) fn referrer(
        &mut self,
        subject: &Descriptor,
        artifact_type: &str,
        payload: &str,
    ) -> Descriptor {
        let config = self.blob(media_type::OCI_EMPTY, "{}");
        let layer = self.blob(artifact_type, payload.to_owned());
        let bare = Descriptor::new(&subject.media_type, subject.digest, subject.size);
        let content = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": artifact_type,
            "config": config, "layers": [layer], "subject": bare,
            "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
        });
        self.manifest(media_type::OCI_MANIFEST, &content)
    }

    pub(super) fn tag(&mut self, tag: String, to: &Descriptor) {
        self.tags.insert(tag, to.digest);
    }

    /// Takes in all that `sample` has.
    pub(super) fn add(&mut self, sample: &Sample) {
        self.blobs.extend(sample.blobs.clone());
        for manifest in &sample.manifests {
            self.manifest_bytes(&manifest.media_type, manifest.bytes.clone());
        }
        self.tags.extend(sample.tags.clone());
    }

    pub(super) fn without(mut self, digest: &Digest) -> Self {
        self.blobs.remove(digest);
        self.manifests.retain(|manifest| manifest.digest != *digest);
        self
    }

    pub(super) fn finish(self, root: &Descriptor) -> Sample {
        // A root is what a tag points to: platform and annotations belong to the index that lists it.
        let root = Descriptor::new(&root.media_type, root.digest, root.size);
        Sample { blobs: self.blobs, manifests: self.manifests, root, tags: self.tags }
    }
}

pub(super) fn platform(text: &str) -> Platform {
    text.parse().unwrap_or_else(|err| panic!("{err}"))
}

fn wire_platform(platform: &Platform) -> airlift_spec::oci::DescriptorPlatform {
    airlift_spec::oci::DescriptorPlatform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
    }
}
