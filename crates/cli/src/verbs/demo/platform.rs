//! The platform that the demo carries: made on the spot, small, and with all that makes real ones hard.

use std::io::{self, Write as _};

use airlift_registry::client::{BlobSource, Client, ClientError, Repository};
use airlift_spec::oci::{ATTESTED_CHILD, media_type};
use airlift_spec::{Algorithm, Ctx, Descriptor, Digest, Hasher};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

/// The model's weights: incompressible, and larger than a volume, so that they have to be split.
const WEIGHTS_BYTES: u64 = 224 << 20;

/// Noise in the layer that the images share.
const BASE_BYTES: u64 = 6 << 20;

/// The repositories of the platform, with the tag of each.
pub(super) const IMAGES: [(&str, &str); 4] = [
    ("platform/runtime", "1.0"),
    ("platform/gateway", "2.1"),
    ("platform/tokenizer", "0.4"),
    ("platform/model", "7b"),
];

/// The stack that wants all of it from the registry `host`.
pub(super) fn stack(host: &str) -> String {
    let head = "version: 1\nname: demo\nplatforms: [linux/amd64, linux/arm64]\nsources:\n";
    let images = IMAGES.map(|(path, tag)| format!("  - image: {host}/{path}:{tag}\n"));
    [head, &images.concat()].concat()
}

/// Pushes the platform to the registry `host`.
pub(super) async fn publish(client: &Client, host: &str, ctx: &Ctx) -> Result<(), ClientError> {
    let at = |path: &str| Publisher {
        client,
        repository: Repository { host: host.to_owned(), path: path.to_owned() },
        ctx,
    };
    let base = layer("usr/lib/base.bin", &noise(1, BASE_BYTES));

    let [
        (runtime, runtime_tag),
        (gateway, gateway_tag),
        (tokenizer, tokenizer_tag),
        (model, model_tag),
    ] = IMAGES;
    at(runtime).multi_arch(runtime_tag, &base).await?;
    let own = layer("usr/bin/gateway", &noise(5, 2 << 20));
    let signed = at(gateway).image(Some(gateway_tag), "amd64", &[base.clone(), own]).await?;
    at(gateway).sign(&signed).await?;
    let own = layer("usr/bin/tokenizer", &noise(6, 1 << 20));
    at(tokenizer).image(Some(tokenizer_tag), "amd64", &[base, own]).await?;
    at(model).model(model_tag).await
}

struct Publisher<'a> {
    client: &'a Client,
    repository: Repository,
    ctx: &'a Ctx,
}

impl Publisher<'_> {
    async fn blob(&self, media_type: &str, bytes: &Bytes) -> Result<Descriptor, ClientError> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.client
            .push_blob(&self.repository, &descriptor, &Memory(bytes.clone()), self.ctx)
            .await?;
        Ok(descriptor)
    }

    /// Pushes a manifest under `tag`, or by its digest alone.
    async fn manifest(
        &self,
        tag: Option<&str>,
        manifest: &Value,
    ) -> Result<Descriptor, ClientError> {
        let media_type = manifest["mediaType"].as_str().unwrap_or(media_type::OCI_MANIFEST);
        let bytes = manifest.to_string().into_bytes();
        let descriptor = Descriptor::of(media_type, &bytes);
        let wanted = tag.map_or_else(|| descriptor.digest.to_string(), str::to_owned);
        self.client.push_manifest(&self.repository, &wanted, media_type, &bytes, self.ctx).await?;
        Ok(descriptor)
    }

    async fn image(
        &self,
        tag: Option<&str>,
        architecture: &str,
        layers: &[Layer],
    ) -> Result<Descriptor, ClientError> {
        let mut pushed = Vec::new();
        for layer in layers {
            pushed.push(self.blob(media_type::OCI_LAYER_GZIP, &layer.packed).await?);
        }
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let config = json!({
            "os": "linux", "architecture": architecture, "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.blob(media_type::OCI_CONFIG, &Bytes::from(config.to_string())).await?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": pushed,
        });
        self.manifest(tag, &manifest).await
    }

    /// An index of two architectures and the build's attestation of the first.
    async fn multi_arch(&self, tag: &str, base: &Layer) -> Result<(), ClientError> {
        let mut children = Vec::new();
        for (seed, architecture) in [(2, "amd64"), (3, "arm64")] {
            let own = layer("usr/bin/runtime", &noise(seed, 3 << 20));
            let image = self.image(None, architecture, &[base.clone(), own]).await?;
            let mut child = json!(image);
            child["platform"] = json!({"os": "linux", "architecture": architecture});
            children.push(child);
        }
        let attestation =
            self.artifact(None, "application/vnd.in-toto+json", &statement("provenance")).await?;
        let mut child = json!(attestation);
        child["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        child["annotations"] = json!({ATTESTED_CHILD: children[0]["digest"]});
        children.push(child);
        let index =
            json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": children});
        self.manifest(Some(tag), &index).await.map(drop)
    }

    /// A signature as cosign hangs it beside an image, and an SBOM as a referrer.
    async fn sign(&self, image: &Descriptor) -> Result<(), ClientError> {
        let tag = format!("sha256-{}.sig", image.digest.hex());
        let payload =
            json!({"critical": {"image": {"docker-manifest-digest": image.digest}}}).to_string();
        let payload_type = "application/vnd.dev.cosign.simplesigning.v1+json";
        let layer = self.blob(payload_type, &Bytes::from(payload)).await?;
        let config = self.blob(media_type::OCI_CONFIG, &Bytes::from_static(b"{}")).await?;
        let signature = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [layer],
        });
        self.manifest(Some(&tag), &signature).await?;
        let sbom = json!({"spdxVersion": "SPDX-2.3", "name": self.repository.path}).to_string();
        self.artifact(Some(image), "application/spdx+json", &Bytes::from(sbom)).await.map(drop)
    }

    /// A manifest with an empty config around one blob.
    async fn artifact(
        &self,
        subject: Option<&Descriptor>,
        kind: &str,
        content: &Bytes,
    ) -> Result<Descriptor, ClientError> {
        let layer = self.blob(kind, content).await?;
        let config = self.blob(media_type::OCI_EMPTY, &Bytes::from_static(b"{}")).await?;
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": kind,
            "config": config, "layers": [layer],
        });
        if let Some(subject) = subject {
            manifest["subject"] = json!(subject);
        }
        self.manifest(None, &manifest).await
    }

    async fn model(&self, tag: &str) -> Result<(), ClientError> {
        let weights = Noise { seed: 7, size: WEIGHTS_BYTES };
        let layer = Descriptor::new(
            "application/vnd.cncf.model.weight.v1.raw",
            weights.digest(),
            weights.size,
        );
        self.client.push_blob(&self.repository, &layer, &weights, self.ctx).await?;
        let config = self.blob(media_type::OCI_EMPTY, &Bytes::from_static(b"{}")).await?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "artifactType": "application/vnd.cncf.model.manifest.v1+json",
            "config": config, "layers": [layer],
        });
        self.manifest(Some(tag), &manifest).await.map(drop)
    }
}

fn statement(predicate: &str) -> Bytes {
    Bytes::from(
        json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": predicate}).to_string(),
    )
}

/// A layer as it is pushed, and the digest of what it unpacks to.
#[derive(Clone)]
struct Layer {
    packed: Bytes,
    diff_id: Digest,
}

/// A layer that holds one file.
fn layer(name: &str, content: &[u8]) -> Layer {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content).expect("a Vec takes any bytes");
    let archive = archive.into_inner().expect("a Vec takes any bytes");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&archive).expect("a Vec takes any bytes");
    let bytes = packer.finish().expect("a Vec takes any bytes");
    Layer { packed: bytes.into(), diff_id: Digest::of(&archive) }
}

/// Bytes that do not compress, the same for the same seed, made where they are read.
#[derive(Debug, Clone, Copy)]
struct Noise {
    seed: u64,
    size: u64,
}

/// Bytes made from one state of the generator.
const BLOCK_BYTES: u64 = 1 << 16;

impl Noise {
    fn block(&self, number: u64) -> Vec<u8> {
        // SplitMix64: every state is a fresh start, so any block can be made alone.
        let mut state = self.seed << 40 | number << 13;
        let mut block =
            Vec::with_capacity(usize::try_from(BLOCK_BYTES).expect("a block fits in memory"));
        while (block.len() as u64) < BLOCK_BYTES {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            block.extend((word ^ (word >> 31)).to_le_bytes());
        }
        block
    }

    fn bytes(&self, offset: u64, length: u64) -> Vec<u8> {
        let end = (offset + length).min(self.size);
        let first = offset / BLOCK_BYTES;
        let blocks: Vec<u8> =
            (first..end.div_ceil(BLOCK_BYTES)).flat_map(|number| self.block(number)).collect();
        let skip = |at: u64| {
            usize::try_from(at - first * BLOCK_BYTES).expect("what is read fits in memory")
        };
        blocks[skip(offset)..skip(end)].to_vec()
    }

    fn digest(&self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for number in 0..self.size / BLOCK_BYTES {
            hasher.update(&self.block(number));
        }
        hasher.update(&self.bytes(self.size / BLOCK_BYTES * BLOCK_BYTES, self.size % BLOCK_BYTES));
        hasher.finish()
    }
}

fn noise(seed: u64, size: u64) -> Vec<u8> {
    Noise { seed, size }.bytes(0, size)
}

impl BlobSource for Noise {
    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        async move { Ok(self.bytes(offset, length as u64).into()) }.boxed()
    }
}

struct Memory(Bytes);

impl BlobSource for Memory {
    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        async move {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
            Ok(self.0.slice(start..(start + length).min(self.0.len())))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_however_it_is_read() {
        let noise = Noise { seed: 9, size: 3 * BLOCK_BYTES + 100 };
        let whole = noise.bytes(0, noise.size);
        assert_eq!(whole.len() as u64, noise.size);
        let block = noise.block(0).len();
        assert_eq!(noise.bytes(BLOCK_BYTES - 7, 20), whole[block - 7..][..20]);
        assert_eq!(noise.bytes(noise.size - 3, 99), whole[whole.len() - 3..]);
        assert_eq!(noise.digest(), Digest::of(&whole));
    }
}
