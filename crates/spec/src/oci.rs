//! What OCI and Docker manifests say, as far as airlift must understand them.
//!
//! Reading never changes anything: a manifest is stored and sent as the very bytes it came in, and unknown
//! fields and media types are carried along. Parsing answers one question only: what does it lead to?
//!
//! Manifests are untrusted bytes. They are at most [`MAX_MANIFEST_BYTES`] long, nested JSON is bounded by
//! `serde_json`'s recursion limit, and sizes are unsigned, so a negative or absurd number is a parse error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;

/// Larger manifests are refused. Registries take 4 MiB at least by the specification; some take more.
pub const MAX_MANIFEST_BYTES: u64 = 8 << 20;

pub mod media_type {
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
    pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    pub const DOCKER_SCHEMA1_SIGNED: &str =
        "application/vnd.docker.distribution.manifest.v1+prettyjws";

    /// Every manifest type airlift reads, in order of preference.
    pub const MANIFESTS: [&str; 5] =
        [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST, OCI_ARTIFACT];

    /// What an `Accept` header says. Schema 1 comes last: it is asked for only to be refused by its name, where a
    /// registry would otherwise say that there is no such image.
    pub const ACCEPTED: [&str; 6] = [
        OCI_INDEX,
        OCI_MANIFEST,
        DOCKER_INDEX,
        DOCKER_MANIFEST,
        OCI_ARTIFACT,
        DOCKER_SCHEMA1_SIGNED,
    ];

    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, OCI_INDEX | DOCKER_INDEX)
    }

    pub fn is_manifest(media_type: &str) -> bool {
        MANIFESTS.contains(&media_type) || is_schema1(media_type)
    }

    pub fn is_schema1(media_type: &str) -> bool {
        matches!(media_type, DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
    }
}

/// The annotation of an index entry that names the child it attests to (BuildKit's convention).
pub const ATTESTED_CHILD: &str = "vnd.docker.reference.digest";

/// A link to content: what it is, how long, and under which digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescriptorPlatform>,
}

/// What `sizes` come to. Each is a claim of a manifest or a lock, so together they may be more than there are numbers.
pub fn total_bytes(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

/// The `platform` of an index entry, as OCI spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorPlatform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The text of an image's manifest, or of an artifact's in the shape of one: the same parts give the same bytes.
pub fn image_manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
) -> Vec<u8> {
    let (schema_version, media_type) = (2, media_type::OCI_MANIFEST);
    let wire = WrittenManifest { schema_version, media_type, config, layers, annotations };
    serde_json::to_vec(&wire).expect("a manifest has only text keys")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenManifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            artifact_type: None,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// What names `bytes`, by their SHA-256.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Whether registries may lack this blob because its licence forbids them to have it.
    pub fn is_non_distributable(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }

    /// Whether an index entry names another manifest; an index may also name plain blobs.
    pub fn is_manifest(&self) -> bool {
        self.media_type.is_empty() || media_type::is_manifest(&self.media_type)
    }

    /// The platform of an index entry; none where it names none, the `unknown/unknown` of attestations, or words that
    /// no platform has.
    pub fn platform(&self) -> Option<Platform> {
        let wire = self.platform.as_ref().filter(|wire| wire.os != "unknown")?;
        let variant = wire.variant.clone().filter(|variant| !variant.is_empty());
        let (os, architecture) = (wire.os.clone(), wire.architecture.clone());
        let platform = Platform { os, architecture, variant };
        // A lock writes it as one text, which must read back as the same.
        (platform.to_string().parse().as_ref() == Ok(&platform)).then_some(platform)
    }

    /// The child that this index entry attests to, if it is an attestation.
    pub fn attests(&self) -> Option<Digest> {
        self.annotations.get(ATTESTED_CHILD)?.parse().ok()
    }
}

/// A manifest, understood as far as what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The media type it declares, or the one its shape implies.
    pub media_type: String,
    /// The artifact's type: its own, else that of its config (as the referrers API reports it).
    pub artifact_type: Option<String>,
    /// Manifests it leads to; only an index has any.
    pub manifests: Vec<Descriptor>,
    /// Blobs it leads to: config first, then layers. The same blob may stand here twice.
    pub blobs: Vec<Descriptor>,
    /// The manifest this one is about.
    pub subject: Option<Descriptor>,
    pub annotations: BTreeMap<String, String>,
}

/// Why some bytes are not a manifest that airlift can carry.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not valid JSON of the expected shape")]
    Json(#[source] serde_json::Error),
    #[error("Docker image manifest schema 1 is not supported")]
    Schema1,
    #[error("the manifest is {0} bytes long; {MAX_MANIFEST_BYTES} at most are read")]
    TooLarge(u64),
    #[error("the manifest says it is `{inside}` but the registry says `{outside}`")]
    TypeConflict { inside: String, outside: String },
    #[error("the manifest holds both `manifests` and `layers`, which no reader agrees on")]
    Ambiguous,
}

impl crate::Explain for ManifestError {
    fn class(&self) -> crate::Class {
        match self {
            Self::Schema1 => crate::Class::Input,
            Self::Json(_) | Self::TooLarge(_) | Self::TypeConflict { .. } | Self::Ambiguous => {
                crate::Class::Integrity
            }
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Schema1 => {
                Some("push the image again with a current tool, which writes schema 2".to_owned())
            }
            _ => None,
        }
    }
}

impl Manifest {
    /// Reads `bytes`. `outside` is the media type under which they came (a `Content-Type`, a descriptor).
    pub fn parse(bytes: &[u8], outside: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len() as u64));
        }
        if outside.is_some_and(media_type::is_schema1) {
            return Err(ManifestError::Schema1);
        }
        let wire: ManifestWire = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if wire.schema_version == Some(1)
            || wire.media_type.as_deref().is_some_and(media_type::is_schema1)
        {
            return Err(ManifestError::Schema1);
        }
        wire.understand(outside)
    }

    pub fn is_index(&self) -> bool {
        media_type::is_index(&self.media_type)
    }

    /// Everything this manifest leads to, blobs first.
    pub fn links(&self) -> impl Iterator<Item = &Descriptor> {
        self.blobs.iter().chain(&self.manifests)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestWire {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_none")]
    layers: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "null_is_none")]
    manifests: Option<Vec<Descriptor>>,
    /// Of the withdrawn OCI artifact manifest, which registries still hold.
    #[serde(default, deserialize_with = "null_is_none")]
    blobs: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
}

impl ManifestWire {
    fn understand(self, outside: Option<&str>) -> Result<Manifest, ManifestError> {
        // Two readings of one manifest is how a scanner and a runtime come to see different images.
        if self.manifests.is_some() && (self.layers.is_some() || self.config.is_some()) {
            return Err(ManifestError::Ambiguous);
        }
        let outside = outside.filter(|outside| media_type::is_manifest(outside));
        let media_type = match (self.media_type.filter(|inside| !inside.is_empty()), outside) {
            (Some(inside), Some(outside)) if inside != outside => {
                return Err(ManifestError::TypeConflict { inside, outside: outside.to_owned() });
            }
            (Some(inside), _) => inside,
            (None, Some(outside)) => outside.to_owned(),
            (None, None) if self.manifests.is_some() => media_type::OCI_INDEX.to_owned(),
            (None, None) => media_type::OCI_MANIFEST.to_owned(),
        };
        let config_type = self.config.as_ref().map(|config| config.media_type.clone());
        let artifact_type = self.artifact_type.filter(|given| !given.is_empty()).or(config_type);
        let layers = self.layers.into_iter().chain(self.blobs).flatten();
        Ok(Manifest {
            media_type,
            artifact_type,
            manifests: self.manifests.unwrap_or_default(),
            blobs: self.config.into_iter().chain(layers).collect(),
            subject: self.subject,
            annotations: self.annotations,
        })
    }
}

/// Go writes an empty map or list as `null`.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    de: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(de)?.unwrap_or_default())
}

fn null_is_none<'de, D: serde::Deserializer<'de>>(
    de: D,
) -> Result<Option<Vec<Descriptor>>, D::Error> {
    Option::deserialize(de)
}

/// The tag under which a registry without the referrers API keeps the referrers of `digest`.
pub fn referrers_tag(digest: &Digest) -> String {
    let hex = digest.hex();
    // The specification cuts the encoded part so that the tag stays within 128 characters.
    format!("{}-{}", digest.algorithm(), &hex[..hex.len().min(64)])
}

/// The digest whose referrers a fallback tag keeps, if it is one.
pub fn referrers_subject(tag: &str) -> Option<Digest> {
    let digest: Digest = tag.replacen('-', ":", 1).parse().ok()?;
    (referrers_tag(&digest) == tag).then_some(digest)
}

/// Suffixes of the tags that cosign hangs on an image: signature, attestations, SBOM.
pub const COSIGN_SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

/// The tags that cosign would use for the image `digest`.
pub fn cosign_tags(digest: &Digest) -> [String; 3] {
    COSIGN_SUFFIXES.map(|suffix| format!("{}-{}{suffix}", digest.algorithm(), digest.hex()))
}

/// The digest that a cosign tag is about, if it is one.
pub fn cosign_subject(tag: &str) -> Option<Digest> {
    let stem = COSIGN_SUFFIXES.iter().find_map(|suffix| tag.strip_suffix(suffix))?;
    let (algorithm, hex) = stem.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: u8) -> Digest {
        Digest::of(&[fill])
    }

    #[test]
    fn an_image_leads_to_its_config_and_layers() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"c","digest":"{}","size":2}},
                "layers":[{{"mediaType":"l","digest":"{}","size":3,"surprise":true}}],"more":1,"annotations":null}}"#,
            media_type::OCI_MANIFEST,
            digest(1),
            digest(2)
        );
        let manifest = Manifest::parse(text.as_bytes(), None).unwrap();
        assert_eq!(
            manifest.blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>(),
            [digest(1), digest(2)]
        );
        assert_eq!(manifest.artifact_type.as_deref(), Some("c"));
        assert!(!manifest.is_index());
    }

    #[test]
    fn a_type_is_found_by_shape_where_none_is_given() {
        let index = Manifest::parse(br#"{"schemaVersion":2,"manifests":[]}"#, None).unwrap();
        assert_eq!(index.media_type, media_type::OCI_INDEX);
        let image = Manifest::parse(br#"{"schemaVersion":2,"layers":null}"#, None).unwrap();
        assert_eq!(image.media_type, media_type::OCI_MANIFEST);
        let docker =
            Manifest::parse(br#"{"schemaVersion":2}"#, Some(media_type::DOCKER_INDEX)).unwrap();
        assert!(docker.is_index());
    }

    #[test]
    fn schema_1_is_refused_by_name() {
        for (text, outside) in [
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, None),
            (r#"{"schemaVersion":2}"#, Some(media_type::DOCKER_SCHEMA1_SIGNED)),
        ] {
            let err = Manifest::parse(text.as_bytes(), outside).unwrap_err();
            assert!(matches!(err, ManifestError::Schema1), "{text}");
        }
    }

    #[test]
    fn manifests_that_can_be_read_two_ways_are_refused() {
        let both = br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
        assert!(matches!(Manifest::parse(both, None), Err(ManifestError::Ambiguous)));
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{}"}}"#, media_type::OCI_INDEX);
        let conflict = Manifest::parse(text.as_bytes(), Some(media_type::OCI_MANIFEST));
        assert!(matches!(conflict, Err(ManifestError::TypeConflict { .. })));
    }

    #[test]
    fn a_platform_that_a_lock_could_not_read_back_is_none() {
        let platform = |os: &str, architecture: &str, variant: &str| {
            let text = format!(
                r#"{{"digest":"{}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}}}"#,
                digest(1)
            );
            serde_json::from_str::<Descriptor>(&text).unwrap().platform()
        };
        assert_eq!(platform("linux", "arm64", "v8").unwrap().to_string(), "linux/arm64/v8");
        assert_eq!(platform("linux", "amd64", "").unwrap().to_string(), "linux/amd64");
        for (os, architecture, variant) in [
            ("unknown", "unknown", ""),
            ("", "amd64", ""),
            ("linux", "", "v8"),
            ("linux/arm64", "v8", ""),
            ("li nux", "amd64", ""),
            ("linux", "amd64", r"\u001b[2J"),
        ] {
            assert_eq!(platform(os, architecture, variant), None, "{os:?} {architecture:?}");
        }
    }

    #[test]
    fn hostile_json_is_an_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let negative = r#"{"config":{"digest":"sha256:00","size":-1}}"#;
        for text in ["", "null", "[]", "{", negative, deep.as_str()] {
            assert!(
                Manifest::parse(text.as_bytes(), None).is_err(),
                "{}",
                &text[..text.len().min(40)]
            );
        }
    }

    #[test]
    fn cosign_tags_lead_back_to_their_subject() {
        for tag in cosign_tags(&digest(7)) {
            assert_eq!(cosign_subject(&tag), Some(digest(7)), "{tag}");
        }
        assert_eq!(cosign_subject("v1.sig"), None);
        assert_eq!(cosign_subject(&format!("{}.sig", digest(7))), None, "a digest is no tag");
        assert_eq!(cosign_subject(&referrers_tag(&digest(7))), None);
    }

    #[test]
    fn a_referrers_tag_is_a_tag_even_for_sha512() {
        let long = Digest::with(crate::Algorithm::Sha512, b"x");
        assert!(crate::reference::is_tag(&referrers_tag(&long)));
        assert_eq!(referrers_subject(&referrers_tag(&digest(7))), Some(digest(7)));
        assert_eq!(referrers_subject("latest"), None);
    }
}
