//! Sample artifacts, as plain bytes: the same on every machine and in every run.
//!
//! ```
//! use airlift_testkit::samples;
//! let sample = samples::image(7, &[10_000, 200]);
//! assert_eq!(sample.manifests.len(), 1);
//! assert_eq!(sample.blobs.len(), 3, "two layers and a config");
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use airlift_spec::lock::{Artifact, Because, Child, Evidence, Kind, Referrer};
use airlift_spec::oci::{self, media_type};
use airlift_spec::{Algorithm, Descriptor, Digest, Platform};
use bytes::Bytes;
use serde_json::{Value, json};

mod archive;
mod build;
mod zoo;

pub use archive::{File, HELLO, gzip, hello, tar, zstd};
pub use build::{Flavour, Image, Layer};
pub use zoo::*;

/// An artifact with all that belongs to it, in memory.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Configs and layers.
    pub blobs: BTreeMap<Digest, Bytes>,
    /// Every manifest, each after what it leads to; referrers after their subject.
    pub manifests: Vec<SampleManifest>,
    /// The manifest that a tag would point to.
    pub root: Descriptor,
    /// Tags that belong to the artifact beside the one that it is pushed under, as cosign makes them.
    pub tags: BTreeMap<String, Digest>,
}

/// A manifest as it is sent: its exact bytes and the type under which they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleManifest {
    pub media_type: String,
    pub bytes: Bytes,
    pub digest: Digest,
}

impl Sample {
    /// The manifest under `digest`.
    ///
    /// # Panics
    ///
    /// If the sample has none.
    pub fn manifest(&self, digest: &Digest) -> &SampleManifest {
        self.manifests
            .iter()
            .find(|manifest| manifest.digest == *digest)
            .unwrap_or_else(|| panic!("the sample has no manifest {digest}"))
    }

    /// Blobs by size, the largest first: tests that break one want the one that matters.
    pub fn blobs_by_size(&self) -> Vec<(Digest, &Bytes)> {
        let mut blobs: Vec<_> = self.blobs.iter().map(|(digest, bytes)| (*digest, bytes)).collect();
        blobs.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
        blobs
    }

    /// The manifests that have a subject: signatures, SBOMs, attestations.
    pub fn referrers(&self) -> Vec<(&SampleManifest, Digest)> {
        let subject = |manifest: &SampleManifest| {
            Some(oci::Manifest::parse(&manifest.bytes, None).ok()?.subject?.digest)
        };
        self.manifests.iter().filter_map(|manifest| Some((manifest, subject(manifest)?))).collect()
    }

    /// Bytes of all blobs and manifests, each counted once.
    pub fn total_bytes(&self) -> u64 {
        let manifests = self.manifests.iter().map(|manifest| manifest.bytes.len());
        self.blobs.values().map(Bytes::len).chain(manifests).map(|bytes| bytes as u64).sum()
    }

    /// What a lock says about the sample under `reference`: children that the sample lacks are left out.
    ///
    /// # Panics
    ///
    /// If `reference` is none, or a tag beside the root is not cosign's.
    pub fn pinned(&self, reference: &str) -> Artifact {
        let mut artifact = Artifact {
            digest: Some(self.root.digest),
            media_type: self.root.media_type.clone(),
            size: self.root.size,
            bytes: self.total_bytes(),
            because: vec![Because {
                from: format!("image: {reference}"),
                path: String::new(),
                evidence: Evidence::Declared,
            }],
            ..Artifact::new(Kind::Image, reference.parse().unwrap_or_else(|err| panic!("{err}")))
        };
        self.pin_children(&mut artifact, &self.root.digest);
        let referring = self.referrers().into_iter().map(|(it, subject)| (it, subject, None));
        let tagged = self.tags.iter().map(|(tag, digest)| {
            let subject = oci::cosign_subject(tag).expect("only cosign's tags belong to a sample");
            (self.manifest(digest), subject, Some(tag.clone()))
        });
        artifact.referrers = referring
            .chain(tagged)
            .map(|(found, subject, tag)| Referrer {
                subject,
                digest: found.digest,
                media_type: found.media_type.clone(),
                size: found.bytes.len() as u64,
                bytes: found.bytes.len() as u64,
                artifact_type: parsed(found).artifact_type,
                tag,
            })
            .collect();
        artifact
    }

    fn pin_children(&self, artifact: &mut Artifact, index: &Digest) {
        for entry in &parsed(self.manifest(index)).manifests {
            let child = Child { digest: entry.digest, platform: entry.platform() };
            if self.manifests.iter().any(|known| known.digest == entry.digest) {
                artifact.children.push(child);
                self.pin_children(artifact, &entry.digest);
            } else {
                artifact.left_out.push(child);
            }
        }
    }

    /// Writes the sample as an OCI image layout into `dir`, its root named `tag` there, what is said about it
    /// without a name, and cosign's tags by theirs.
    pub fn write_layout(&self, dir: &Path, tag: &str) -> io::Result<()> {
        let manifests = self.manifests.iter().map(|manifest| (manifest.digest, &manifest.bytes));
        for (digest, bytes) in self.blobs.iter().map(|(d, b)| (*d, b)).chain(manifests) {
            let path = dir.join("blobs").join(digest.path());
            fs_err::create_dir_all(path.parent().expect("a blob lies under `blobs/`"))?;
            fs_err::write(path, bytes)?;
        }
        let entry = |digest: &Digest, name: Option<&str>| {
            let manifest = self.manifest(digest);
            let size = manifest.bytes.len() as u64;
            let mut entry = Descriptor::new(&manifest.media_type, *digest, size);
            let name = name.map(|name| (REF_NAME.to_owned(), name.to_owned()));
            entry.annotations.extend(name);
            entry
        };
        let said = self.referrers().into_iter().map(|(manifest, _)| entry(&manifest.digest, None));
        let tagged = self.tags.iter().map(|(tag, digest)| entry(digest, Some(tag)));
        let root = entry(&self.root.digest, Some(tag));
        let entries: Vec<Descriptor> = [root].into_iter().chain(said).chain(tagged).collect();
        let index =
            json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries});
        fs_err::write(dir.join("index.json"), index.to_string())?;
        fs_err::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
    }
}

fn parsed(manifest: &SampleManifest) -> oci::Manifest {
    oci::Manifest::parse(&manifest.bytes, None).expect("a sample parses")
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `length` bytes that no compressor makes smaller; the same `seed` gives the same bytes.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    // SplitMix64: a few instructions for eight bytes, so that hundreds of MiB are cheap.
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&next());
    }
    bytes.truncate(length);
    bytes
}
