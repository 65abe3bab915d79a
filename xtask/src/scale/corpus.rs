//! Images by the thousand, made one after the other so that none but the present one is in memory.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Result;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The host of every reference. Nobody answers there; a configuration says who does instead.
pub(crate) const HOST: &str = "registry.example";

/// So many images, each with layers of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) images: u64,
    pub(crate) layers: u64,
    pub(crate) kind: Kind,
}

/// What layers are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A line of text each.
    Tiny,
    /// Bytes that nothing compresses, so many in each.
    Noise(u64),
    /// So many zeros in the first layer, and 512 more in each that follows: no two are the same blob, and hashing
    /// all of them costs little more than hashing the largest.
    Zeros(u64),
}

impl Shape {
    /// Manifests and configs included.
    pub(crate) fn blobs(&self) -> u64 {
        self.images * (self.layers + 2)
    }

    pub(crate) fn images(self) -> impl Iterator<Item = Image> {
        let mut layers = Layers { kind: self.kind, count: 0, zeros: Sha256::new(), hashed: 0 };
        (0..self.images).map(move |number| {
            Image::new(number, (0..self.layers).map(|_| layers.make()).collect())
        })
    }
}

/// A blob with its digest, as hex.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) hex: String,
    pub(crate) size: u64,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    Zeros,
}

impl Blob {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let hex = hex::encode(Sha256::digest(&bytes));
        Self { hex, size: bytes.len() as u64, content: Content::Bytes(bytes) }
    }

    pub(crate) fn digest(&self) -> String {
        format!("sha256:{}", self.hex)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest(), "size": self.size })
    }
}

/// Makes layer after layer.
struct Layers {
    kind: Kind,
    count: u64,
    /// Has seen `hashed` zeros.
    zeros: Sha256,
    hashed: u64,
}

impl Layers {
    fn make(&mut self) -> Blob {
        let number = self.count;
        self.count += 1;
        match self.kind {
            Kind::Tiny => Blob::of(format!("layer {number}\n").into_bytes()),
            Kind::Noise(size) => Blob::of(noise(number, size)),
            Kind::Zeros(first) => self.zeros(first + number * 512),
        }
    }

    fn zeros(&mut self, size: u64) -> Blob {
        static PIECE: [u8; 1 << 16] = [0; 1 << 16];
        while self.hashed < size {
            let length = (size - self.hashed).min(PIECE.len() as u64);
            self.zeros.update(&PIECE[..usize::try_from(length).unwrap_or(PIECE.len())]);
            self.hashed += length;
        }
        let hex = hex::encode(self.zeros.clone().finalize());
        Blob { hex, size, content: Content::Zeros }
    }
}

/// Bytes without a pattern, the same for the same `seed` (xorshift).
fn noise(seed: u64, size: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..size.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect()
}

#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) reference: String,
    /// Manifest, config, and layers.
    pub(crate) blobs: Vec<Blob>,
}

impl Image {
    fn new(number: u64, layers: Vec<Blob>) -> Self {
        let config = Blob::of(format!(r#"{{"architecture":"amd64","image":{number}}}"#).into());
        let listed: Vec<Value> = layers.iter().map(|layer| layer.descriptor(LAYER)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": listed,
        });
        let manifest = Blob::of(manifest.to_string().into_bytes());
        let reference = format!("{HOST}/team-{:02}/app-{number:05}:1.0", number % 40);
        Self { reference, blobs: [manifest, config].into_iter().chain(layers).collect() }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }

    pub(crate) fn digest(&self) -> String {
        self.blobs[0].digest()
    }

    /// As the lock has it; see docs/formats/lock.md.
    pub(crate) fn artifact(&self) -> Value {
        json!({
            "kind": "image",
            "reference": self.reference,
            "digest": self.digest(),
            "mediaType": MANIFEST,
            "size": self.blobs[0].size,
            "bytes": self.bytes(),
            "because": [{ "from": format!("image: {}", self.reference), "evidence": "declared" }],
        })
    }
}

/// The text of a lock.
pub(crate) fn lock(stack: &str, artifacts: &[Value]) -> String {
    json!({ "format": 1, "stack": stack, "artifacts": artifacts }).to_string()
}

/// A stack that is pinned by such a lock.
pub(crate) fn stack(name: &str, artifacts: &[Value]) -> String {
    let mut text = format!("version: 1\nname: {name}\nsources:\n");
    for artifact in artifacts {
        text.push_str("  - image: ");
        text.push_str(artifact["reference"].as_str().unwrap_or_default());
        text.push('\n');
    }
    text
}

/// A store with everything in it but its roots, and what pins it.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) store: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) stack: PathBuf,
}

/// Writes `NAME.store`, `NAME.lock` and `NAME.yaml` into `folder`, as docs/formats has them. `fetch` writes the root.
pub(crate) fn write(folder: &Path, name: &str, shape: Shape) -> Result<Corpus> {
    let at = |ending: &str| folder.join(format!("{name}.{ending}"));
    let corpus = Corpus { store: at("store"), lock: at("lock"), stack: at("yaml") };
    let blobs = corpus.store.join("blobs/sha256");
    for part in [&blobs, &corpus.store.join("staging"), &corpus.store.join("bundles")] {
        fs_err::create_dir_all(part)?;
    }
    fs_err::create_dir_all(corpus.store.join("roots/pushed"))?;
    fs_err::write(corpus.store.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut artifacts = Vec::new();
    for image in shape.images() {
        for blob in &image.blobs {
            let mut file = fs_err::File::create(blobs.join(&blob.hex))?;
            match &blob.content {
                Content::Bytes(bytes) => std::io::Write::write_all(&mut file, bytes)?,
                Content::Zeros => file.set_len(blob.size)?,
            }
        }
        artifacts.push(image.artifact());
    }
    fs_err::write(&corpus.lock, lock(name, &artifacts))?;
    fs_err::write(&corpus.stack, stack(name, &artifacts))?;
    Ok(corpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_every_layer_is_honest() {
        for kind in [Kind::Tiny, Kind::Noise(100), Kind::Zeros(1 << 20)] {
            let shape = Shape { images: 2, layers: 3, kind };
            let blobs: Vec<Blob> = shape.images().flat_map(|image| image.blobs).collect();
            assert_eq!(blobs.len() as u64, shape.blobs());
            let names: std::collections::BTreeSet<_> = blobs.iter().map(|blob| &blob.hex).collect();
            assert_eq!(names.len(), blobs.len(), "no two blobs are the same");
            for blob in &blobs {
                let zeros = vec![0; usize::try_from(blob.size).unwrap()];
                let bytes = match &blob.content {
                    Content::Bytes(bytes) => bytes,
                    Content::Zeros => &zeros,
                };
                assert_eq!(blob.hex, hex::encode(Sha256::digest(bytes)));
            }
        }
    }
}
