//! What no metadata says: images and operators that a product needs and names nowhere, as data with a source.
//!
//! One file a product, see `docs/formats/knowledge.md`. Those of this repository are in the binary; files of one's own
//! can be added, and say more, never less. Nothing is ever guessed from a neighbouring release: what is asked about and
//! not covered is a [`Gap`], which becomes a warning.

mod file;
mod version;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use airlift_spec::lock::{self, Because};
use airlift_spec::{Class, Explain, Finding, Reference};

use file::Pack;
pub use version::{Range, Version};

/// The packs of this repository's `knowledge/`, by their file names.
const PACKS: &[(&str, &str)] = &[
    ("kubeflow.yaml", include_str!("../../../knowledge/kubeflow.yaml")),
    ("nfd.yaml", include_str!("../../../knowledge/nfd.yaml")),
    ("openshift.yaml", include_str!("../../../knowledge/openshift.yaml")),
    ("rhcl-operator.yaml", include_str!("../../../knowledge/rhcl-operator.yaml")),
    ("rhods-operator.yaml", include_str!("../../../knowledge/rhods-operator.yaml")),
];

/// Largest pack that is read. The largest one known has a hundred thousand bytes.
const MAX_PACK_BYTES: u64 = 16 << 20;

/// Most packs of one folder.
const MAX_PACKS: usize = 10_000;

/// Everything that is known.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    packs: Vec<Pack>,
}

/// What one can know something about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// A package of an OLM catalog, by its name; versions are those of its bundles.
    Olm(String),
    /// A Helm chart, by its name; versions are the chart's.
    Chart(String),
    /// A set of manifests, by the name that its project has; versions are its releases.
    Manifests(String),
    /// What everything runs on, such as `openshift`.
    Platform(String),
}

/// All that is known about one version of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    pub images: Vec<Known>,
    pub dependencies: Vec<Dependency>,
    pub env_aliases: Vec<EnvAlias>,
    pub companions: Vec<Companion>,
    pub late_kinds: Vec<LateKind>,
    pub gaps: Vec<Gap>,
}

/// An image that is needed and named nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub reference: Reference,
    pub origin: Origin,
}

/// An OLM package that is needed and required by no metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub package: String,
    /// The catalog that usually has it, by the name of its `CatalogSource`.
    pub catalog: Option<String>,
    /// The part of the product that needs it, where not all of it does.
    pub needed_for: Option<String>,
    pub origin: Origin,
}

/// A variable that a program reads, and that what installs it does not set by this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvAlias {
    pub reads: String,
    /// What is set in its place, if anything.
    pub sets: Option<String>,
    /// What the program takes then. It is among the images as well.
    pub fallback: Option<Reference>,
    pub origin: Origin,
}

/// What must hold of another OLM package where that is installed as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    pub package: String,
    /// The versions that it works with; any where there are none.
    pub versions: Vec<Range>,
    /// It has to be there before the product is.
    pub first: bool,
    pub origin: Origin,
}

/// A kind that the product makes by itself, some time after it is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateKind {
    pub group: String,
    pub kind: String,
    /// The kind of the object that has it made.
    pub after: String,
    pub origin: Origin,
}

/// Why something is known, and where from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file name of the pack; of one that a stack brings, its path.
    pub pack: String,
    pub why: String,
    pub source: String,
}

/// Something that is known not to be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub product: Product,
    pub version: Version,
    /// Of what an image is needed; none where nothing is known of the whole release.
    pub repository: Option<String>,
    pub message: String,
}

/// Why a knowledge pack cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnowledgeError {
    #[error("the knowledge in {} could not be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("there is no knowledge pack `{pack}`")]
    Absent { pack: String },
    #[error("{} holds no knowledge pack (`.yaml` or `.yml`)", path.display())]
    Empty { path: PathBuf },
    #[error("{} holds more than {MAX_PACKS} knowledge packs", path.display())]
    TooMany { path: PathBuf },
    #[error("{} is no regular file", path.display())]
    Special { path: PathBuf },
    #[error("{pack} has more than the {MAX_PACK_BYTES} bytes that are read of a knowledge pack")]
    TooLarge { pack: String },
    #[error("{pack} has format {found}; this version of airlift reads up to {}", file::FORMAT)]
    TooNew { pack: String, found: u32 },
    #[error("{pack} is not a knowledge pack: {reason}")]
    Malformed { pack: String, reason: String },
}

impl Explain for KnowledgeError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::TooNew { .. } => Some("use a newer version of airlift".to_owned()),
            Self::TooLarge { .. } => Some("split it into several files".to_owned()),
            Self::Absent { .. } => Some(
                "correct the path; it starts from the folder that the stack lies in".to_owned(),
            ),
            Self::Empty { .. } => Some("name the file, or its folder".to_owned()),
            Self::Malformed { .. } => {
                Some("docs/formats/knowledge.md says what a pack looks like".to_owned())
            }
            Self::Read { .. } | Self::TooMany { .. } | Self::Special { .. } => None,
        }
    }
}

impl Knowledge {
    /// What airlift itself knows. It is read once.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Knowledge> = LazyLock::new(|| {
            let read = |(name, text): &(&str, &str)| {
                Pack::parse(name, text).expect("a test reads every pack of the repository")
            };
            Knowledge { packs: PACKS.iter().map(read).collect() }
        });
        &EMBEDDED
    }

    /// Reads the pack at `path`, or all that lie in a folder. `name` is what it is called in reasons and errors.
    pub fn read(path: &Path, name: &str) -> Result<Self, KnowledgeError> {
        let failed = |source| KnowledgeError::Read { path: path.to_owned(), source };
        if !path.try_exists().map_err(failed)? {
            return Err(KnowledgeError::Absent { pack: name.to_owned() });
        }
        if !path.is_dir() {
            return Ok(Self { packs: vec![read_pack(path, name)?] });
        }
        let mut paths = fs_err::read_dir(path)
            .and_then(|entries| {
                let paths = entries.map(|entry| Ok(entry?.path()));
                paths.take(MAX_PACKS + 1).collect::<Result<Vec<_>, _>>()
            })
            .map_err(failed)?;
        if paths.len() > MAX_PACKS {
            return Err(KnowledgeError::TooMany { path: path.to_owned() });
        }
        paths.retain(|path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml"));
        if paths.is_empty() {
            return Err(KnowledgeError::Empty { path: path.to_owned() });
        }
        paths.sort();
        let pack = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            read_pack(path, &format!("{}/{file}", name.trim_end_matches('/')))
        };
        Ok(Self { packs: paths.iter().map(pack).collect::<Result<_, _>>()? })
    }

    /// Reads one pack from its text; `name` is its file name.
    pub fn parse(name: &str, text: &str) -> Result<Self, KnowledgeError> {
        Ok(Self { packs: vec![Pack::parse(name, text)?] })
    }

    /// Both together. Of an image that both know, the reason that `self` gives is told.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.packs.extend(other.packs);
        self
    }

    /// The name of the `CatalogSource` that usually has `package`, where a pack says so.
    pub fn catalog_of(&self, package: &str) -> Option<&str> {
        self.packs.iter().find_map(|pack| pack.catalog_of(package))
    }

    /// All that is known about `version` of `product`: nothing, where no pack speaks of the product.
    pub fn about(&self, product: &Product, version: &Version) -> Advice {
        let mut advice = Advice::default();
        let packs: Vec<&Pack> = self.packs.iter().filter(|pack| pack.product == *product).collect();
        for pack in &packs {
            pack.advise(version, &mut advice);
        }
        // Two packs may know of one image; the first says why.
        let mut seen = BTreeSet::new();
        advice.images.retain(|known| seen.insert(known.reference.clone()));
        // What one pack does not know, another may.
        let known: BTreeSet<String> =
            advice.images.iter().map(|known| known.reference.repository()).collect();
        advice.gaps.retain(|gap| gap.repository.as_ref().is_none_or(|it| !known.contains(it)));
        advice.gaps.extend(uncovered(&packs, product, version));
        advice
    }
}

fn read_pack(path: &Path, name: &str) -> Result<Pack, KnowledgeError> {
    let failed = |source| KnowledgeError::Read { path: path.to_owned(), source };
    // A device or a pipe may never end, and opening one may wait for ever.
    if !fs_err::metadata(path).map_err(failed)?.is_file() {
        return Err(KnowledgeError::Special { path: path.to_owned() });
    }
    let file = fs_err::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_PACK_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_PACK_BYTES {
        return Err(KnowledgeError::TooLarge { pack: name.to_owned() });
    }
    Pack::parse(name, &text)
}

/// A product whose images are known for some releases has others of which nothing is known.
fn uncovered(packs: &[&Pack], product: &Product, version: &Version) -> Option<Gap> {
    let covered: Vec<&Version> = packs.iter().flat_map(|pack| &pack.covers).collect();
    if covered.is_empty() || covered.contains(&version) {
        return None;
    }
    let before = covered.iter().filter(|known| **known < version).max();
    let nearest =
        before.map_or(String::new(), |known| format!("; the last known before it is {known}"));
    let message = format!("which images it needs beyond those it lists is not known{nearest}");
    Some(Gap { product: product.clone(), version: version.clone(), repository: None, message })
}

impl Known {
    /// The reason as a lock states it: `parent` is what needs the image.
    pub fn because(&self, parent: &str) -> Because {
        let Origin { pack, source, .. } = &self.origin;
        let path = format!("knowledge: {pack}: {source}");
        Because { from: parent.to_owned(), path, evidence: lock::Evidence::Known }
    }
}

impl Gap {
    /// The gap as a warning.
    pub fn finding(&self) -> Finding {
        let object = format!("{} {}", self.product.name(), self.version);
        Finding::warning("knowledge-gap", object, self.message.as_str())
    }
}

impl Product {
    pub fn name(&self) -> &str {
        match self {
            Self::Olm(name) | Self::Chart(name) | Self::Manifests(name) | Self::Platform(name) => {
                name
            }
        }
    }
}

#[cfg(test)]
mod tests;
