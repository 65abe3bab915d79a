//! `airlift.lock`: what is wanted, pinned, with the reason for each item.
//!
//! The text is sorted, written by one formatter, and byte-for-byte reproducible, so that it can be reviewed
//! in a pull request. It holds no layers and no line numbers: a reformatted stack does not change its lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::finding::Finding;
use crate::oci::Descriptor;
use crate::placement::Layout;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::stack::{ImageSource, Stack};

/// The format this version writes.
pub const FORMAT: u32 = 1;

/// How the key of an `image:` source begins.
const IMAGE_KEY: &str = "image: ";

/// What a lock needs its reader to know once it holds more than images.
const NEEDS_KINDS: &str = "kinds";

/// What it needs to know where some have other names in a mirror.
const NEEDS_MIRROR_NAMES: &str = "mirror-names";

/// The code of findings that say that an artifact has other platforms than it was asked for.
pub const PLATFORMS_STALE: &str = "platforms-stale";

/// A lock, as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    pub format: u32,
    /// Features a reader must know; an unknown one is refused by name.
    #[serde(default)]
    pub needs: Vec<String>,
    pub stack: String,
    /// SHA-256 of every local input, by its path as the stack writes it.
    #[serde(default)]
    pub inputs: BTreeMap<String, Digest>,
    /// What each source that finds others asked for, by its key: SHA-256 of its normal form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Digest>,
    /// What sources read on the network that is nothing to carry, by its address as it is written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remotes: BTreeMap<String, RemotePin>,
    pub artifacts: Vec<Artifact>,
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// What an address led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemotePin {
    /// Of the file; of a repository, of the archive of what is used of it.
    pub digest: Digest,
    /// Of a repository: what the revision led to that the address names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
}

/// The name of a commit: hexadecimal digits of SHA-1 or SHA-256, all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Commit(String);

impl TryFrom<String> for Commit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if matches!(text.len(), 40 | 64) && text.bytes().all(is_hex) {
            return Ok(Self(text));
        }
        Err(format!("`{text}` is no commit"))
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing to carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    pub kind: Kind,
    pub reference: Reference,
    /// The name that a bundle, chart or package has beside its reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Null where `resolve --offline` could not pin it; `fetch` refuses such a lock.
    pub digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Size of the manifest that `digest` names.
    #[serde(default)]
    pub size: u64,
    /// Everything it reaches, each blob once, referrers excluded.
    #[serde(default)]
    pub bytes: u64,
    /// Where it comes from, if not from the registry that its reference names: `oci:DIR`, `docker-archive:FILE`,
    /// `catalog:` and the catalog it was filtered from, `chart:` and a package's address, or `graph:` and where the
    /// data and the base of a graph image come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What of the catalog that `from` names is kept, by package.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, KeptPackage>,
    /// Names that the layout `oc-mirror` places it by, where that is not its reference.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mirrored_as: BTreeSet<Reference>,
    /// What signs a release: an `OpenPGP` message, as it is published. Empty where it is not signed like that.
    #[serde(default, with = "base64_text", skip_serializing_if = "Vec::is_empty")]
    pub signature: Vec<u8>,
    /// Manifests below an index that are carried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// Manifests below an index that are not; the index keeps its digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Child>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Referrer>,
    pub because: Vec<Because>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    Image,
    /// An operator bundle: the image that holds one version of an operator.
    Bundle,
    /// An OLM catalog, as an image.
    Catalog,
    /// A Helm chart, as an OCI artifact.
    Chart,
    /// A release of OpenShift: the image that names those it is made of.
    Release,
    /// The image with the graph of updates between releases.
    Graph,
}

impl Kind {
    /// Its name, as the lock writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Bundle => "bundle",
            Self::Catalog => "catalog",
            Self::Chart => "chart",
            Self::Release => "release",
            Self::Graph => "graph",
        }
    }
}

/// What is kept of a package of a catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptPackage {
    pub default_channel: String,
    /// The bundles of each channel that is kept.
    pub channels: BTreeMap<String, BTreeSet<String>>,
    /// The install modes that any of the bundles supports; none where the catalog does not say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub install_modes: BTreeSet<String>,
}

/// A manifest below an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Child {
    pub digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A manifest that is about another: a signature, an SBOM, an attestation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The manifest it is about: the artifact's, one of its children's, or another referrer's.
    pub subject: Digest,
    pub digest: Digest,
    pub media_type: String,
    pub size: u64,
    /// Everything it reaches, each blob once.
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The cosign tag it hangs on; none for a referrer by OCI 1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// One reason why an artifact is in the lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Because {
    /// The parent artifact's reference, or the key of the source in the stack (`image: nginx:1.27`).
    pub from: String,
    /// Path of the field that names it; empty for a source of the stack itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    pub evidence: Evidence,
}

impl Because {
    /// The reason that an `image:` source is for the artifact that it names.
    pub fn of_image_source(written: &str) -> Self {
        Self {
            from: format!("{IMAGE_KEY}{written}"),
            path: String::new(),
            evidence: Evidence::Declared,
        }
    }

    fn is_of_an_image_source(&self) -> bool {
        self.from.starts_with(IMAGE_KEY)
    }
}

/// How it is known that an artifact is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Somebody says so: the stack, a bundle's `relatedImages`.
    Declared,
    /// A template engine printed it.
    Rendered,
    /// A field of an object names it.
    Referenced,
    /// A running cluster asked for it.
    Observed,
    /// A knowledge pack says so.
    Known,
}

/// Why some text is not a lock that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("it is not a lock")]
    Json(#[source] serde_json::Error),
    #[error("it has format {found}; this version of airlift reads up to {FORMAT}")]
    TooNew { found: u32 },
    #[error("it needs `{0}`, which this version of airlift does not know")]
    Needs(String),
    #[error("the stack name `{0}` is not one (lowercase letters, digits and `-`, at most 40)")]
    Name(String),
}

impl crate::Explain for LockError {
    fn class(&self) -> crate::Class {
        crate::Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::TooNew { .. } | Self::Needs(_) => {
                Some("use a newer version of airlift".to_owned())
            }
            Self::Json(_) => Some("make it anew with `airlift resolve`".to_owned()),
            Self::Name(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Header {
    format: u32,
    #[serde(default)]
    needs: Vec<String>,
}

impl Lock {
    /// A lock that holds nothing yet.
    pub fn new(stack: &str) -> Self {
        Self {
            format: FORMAT,
            needs: Vec::new(),
            stack: stack.to_owned(),
            inputs: BTreeMap::new(),
            sources: BTreeMap::new(),
            remotes: BTreeMap::new(),
            artifacts: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Reads a lock. Fields it does not know are ignored; needs it does not know are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, LockError> {
        let header: Header = serde_json::from_slice(bytes).map_err(LockError::Json)?;
        if header.format > FORMAT {
            return Err(LockError::TooNew { found: header.format });
        }
        let mut needs = header.needs.into_iter();
        if let Some(unknown) = needs.find(|it| ![NEEDS_KINDS, NEEDS_MIRROR_NAMES].contains(&&**it))
        {
            return Err(LockError::Needs(unknown));
        }
        let lock: Self = serde_json::from_slice(bytes).map_err(LockError::Json)?;
        if !crate::stack::is_name(&lock.stack) {
            return Err(LockError::Name(lock.stack));
        }
        Ok(lock)
    }

    /// The text of the lock: sorted, two spaces, a newline at the end.
    pub fn to_text(&self) -> String {
        let mut sorted = self.clone();
        sorted.sort();
        let mut text = serde_json::to_string_pretty(&sorted).expect("a lock has only text keys");
        text.push('\n');
        text
    }

    /// The digest of the lock's text, which bundles and receipts name it by.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_text().as_bytes())
    }

    /// Puts everything into the order that the text has, and asks of readers what it takes.
    pub fn sort(&mut self) {
        let is_plain = self.artifacts.iter().all(|artifact| artifact.kind == Kind::Image);
        let has_names = self.artifacts.iter().any(|artifact| !artifact.mirrored_as.is_empty());
        let needs = [(!is_plain).then_some(NEEDS_KINDS), has_names.then_some(NEEDS_MIRROR_NAMES)];
        self.needs = needs.into_iter().flatten().map(str::to_owned).collect();
        for artifact in &mut self.artifacts {
            artifact.children.sort();
            artifact.left_out.sort();
            artifact.referrers.sort();
            artifact.because.sort();
            artifact.because.dedup();
        }
        self.artifacts.sort();
        self.findings.sort();
        self.findings.dedup();
    }

    /// Whether this lock still answers `stack`, and if not, why. Asks nobody.
    ///
    /// `inputs` are the digests of the local files that the stack names, as they are now.
    pub fn satisfies(&self, stack: &Stack, inputs: &BTreeMap<String, Digest>) -> Result<(), Stale> {
        if self.stack != stack.name {
            return Err(Stale::Name { lock: self.stack.clone(), stack: stack.name.clone() });
        }
        if let Some(open) = self.artifacts.iter().find(|artifact| artifact.digest.is_none()) {
            return Err(Stale::Unpinned { reference: open.reference.to_string() });
        }
        // What a source found may be wanted by several, for platforms that only `resolve` can join.
        if let Some(other) = self.findings.iter().find(|it| it.code == PLATFORMS_STALE) {
            return Err(Stale::Platforms { reference: other.object.clone() });
        }
        if let Some(changed) = first_difference(&self.inputs, inputs) {
            return Err(Stale::Input { path: changed });
        }
        if let Some(changed) = first_difference(&self.sources, &stack.finders()) {
            return Err(Stale::Source { key: changed });
        }
        let wanted: BTreeMap<&Reference, &ImageSource> =
            stack.wanted_images().map(|source| (&source.reference, source)).collect();
        let artifacts: BTreeMap<&Reference, &Artifact> =
            self.artifacts.iter().map(|artifact| (&artifact.reference, artifact)).collect();
        for (reference, source) in &wanted {
            let artifact = artifacts
                .get(reference)
                .ok_or_else(|| Stale::Missing { reference: reference.to_string() })?;
            check_source(artifact, source, stack)?;
        }
        let is_surplus = |artifact: &&Artifact| {
            !wanted.contains_key(&artifact.reference)
                && !artifact.because.iter().any(|because| self.is_reason(because, &artifacts))
        };
        self.artifacts.iter().find(is_surplus).map_or(Ok(()), |artifact| {
            Err(Stale::Surplus { reference: artifact.reference.to_string() })
        })
    }

    /// Whether a reason leads to a source that finds others, or to another artifact.
    fn is_reason(&self, because: &Because, artifacts: &BTreeMap<&Reference, &Artifact>) -> bool {
        self.sources.contains_key(&because.from)
            || because.from.parse().is_ok_and(|parent: Reference| artifacts.contains_key(&parent))
    }

    /// The names of artifacts that are here because of a source with such a key, or of one of these artifacts.
    pub fn brought_by(&self, is_source: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut children: BTreeMap<&str, Vec<&Artifact>> = BTreeMap::new();
        for artifact in &self.artifacts {
            for because in &artifact.because {
                children.entry(&because.from).or_default().push(artifact);
            }
        }
        let mut found = BTreeSet::new();
        let keys = children.keys().filter(|key| is_source(key)).map(|key| (*key).to_owned());
        let mut open: Vec<String> = keys.collect();
        while let Some(parent) = open.pop() {
            for child in children.get(parent.as_str()).into_iter().flatten() {
                let name = child.reference.to_string();
                if found.insert(name.clone()) {
                    open.push(name);
                }
            }
        }
        found
    }

    pub fn artifact(&self, reference: &Reference) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.reference == *reference)
    }
}

fn first_difference(
    lock: &BTreeMap<String, Digest>,
    now: &BTreeMap<String, Digest>,
) -> Option<String> {
    let names: BTreeSet<&String> = lock.keys().chain(now.keys()).collect();
    names.into_iter().find(|name| lock.get(*name) != now.get(*name)).cloned()
}

fn check_source(artifact: &Artifact, source: &ImageSource, stack: &Stack) -> Result<(), Stale> {
    let reference = || artifact.reference.to_string();
    let platforms = source.platforms(stack);
    let known = artifact.children.iter().map(|child| (child, true));
    let known = known.chain(artifact.left_out.iter().map(|child| (child, false)));
    for (child, kept) in known {
        if let Some(platform) =
            child.platform.as_ref().filter(|platform| platforms.wants(platform) != kept)
        {
            return Err(Stale::Platform { reference: reference(), platform: platform.clone() });
        }
    }
    // Others may have found it too; but what image sources say must be just what this one says.
    let said = source.because();
    let is_said = |because: &Because| said.contains(because) || !because.is_of_an_image_source();
    if !said.iter().all(|because| artifact.because.contains(because))
        || !artifact.because.iter().all(is_said)
    {
        return Err(Stale::Reason { reference: reference() });
    }
    if !source.mirrored_as.is_subset(&artifact.mirrored_as) {
        return Err(Stale::MirrorName { reference: reference() });
    }
    if artifact.from != source.from_text() {
        return Err(Stale::Origin { reference: reference() });
    }
    Ok(())
}

impl Artifact {
    /// An artifact of which nothing but its name is known.
    pub fn new(kind: Kind, reference: Reference) -> Self {
        Self {
            kind,
            reference,
            name: String::new(),
            version: String::new(),
            digest: None,
            media_type: String::new(),
            size: 0,
            bytes: 0,
            from: None,
            kept: BTreeMap::new(),
            mirrored_as: BTreeSet::new(),
            signature: Vec::new(),
            children: Vec::new(),
            left_out: Vec::new(),
            referrers: Vec::new(),
            because: Vec::new(),
        }
    }

    /// The descriptor of the pinned manifest; none where it is not pinned.
    pub fn descriptor(&self) -> Option<Descriptor> {
        Some(Descriptor::new(&self.media_type, self.digest?, self.size))
    }

    /// The names that say where it lies on the far side.
    pub fn placed_as(&self, layout: Layout) -> impl Iterator<Item = &Reference> {
        let has_others = layout.is_of_oc_mirror() && !self.mirrored_as.is_empty();
        let own = (!has_others).then_some(&self.reference);
        self.mirrored_as.iter().filter(move |_| has_others).chain(own)
    }

    /// The digests that a walk from the index does not follow.
    pub fn left_out_digests(&self) -> BTreeSet<Digest> {
        self.left_out.iter().map(|child| child.digest).collect()
    }

    /// Whether the index lost some of its children.
    pub fn is_sparse(&self) -> bool {
        !self.left_out.is_empty()
    }
}

impl Referrer {
    pub fn descriptor(&self) -> Descriptor {
        let mut descriptor = Descriptor::new(&self.media_type, self.digest, self.size);
        descriptor.artifact_type.clone_from(&self.artifact_type);
        descriptor
    }
}

/// Why a lock does not answer its stack any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    #[error("the lock is for stack `{lock}`, not `{stack}`")]
    Name { lock: String, stack: String },
    #[error("`{reference}` is not pinned")]
    Unpinned { reference: String },
    #[error("the platforms of `{reference}` have changed, and could not be looked up since")]
    Platforms { reference: String },
    #[error("`{path}` has changed since the lock was made")]
    Input { path: String },
    #[error("`{reference}` is in the stack but not in the lock")]
    Missing { reference: String },
    #[error("`{reference}` is in the lock but not in the stack any more")]
    Surplus { reference: String },
    #[error("the stack's platforms and the lock disagree on {platform} of `{reference}`")]
    Platform { reference: String, platform: Platform },
    #[error("`{key}` asks for something else now than when the lock was made")]
    Source { key: String },
    #[error("the reasons for `{reference}` have changed")]
    Reason { reference: String },
    #[error("`{reference}` has another name in a mirror now")]
    MirrorName { reference: String },
    #[error("`{reference}` comes from elsewhere now")]
    Origin { reference: String },
}

impl Stale {
    pub fn finding(&self, stack: &str) -> Finding {
        Finding::error("lock-stale", stack, self.to_string())
    }
}

/// Bytes, as a text of Base64.
mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
