//! What a load would do: a value that prints with `--dry-run` and serialises for `--output json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use airlift_spec::{Class, Digest, Finding, Layout, Reference};
use serde::Serialize;

use crate::receipt::Receipt;

/// The version of the document that `--output json` prints.
pub(super) const FORMAT: u32 = 1;

/// What is missing in a registry, and what would be done about it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadPlan {
    pub format: u32,
    pub registry: String,
    pub prefix: String,
    pub layout: Layout,
    pub artifacts: Vec<ArtifactPlan>,
    /// Blobs that at least one repository lacks.
    pub blobs: BTreeMap<Digest, BlobPlan>,
    pub findings: Vec<Finding>,
    /// The locks this load is made from, by stack.
    pub locks: BTreeMap<String, Digest>,
    /// The states that stood in the registry, by stack.
    #[serde(skip)]
    pub(super) states: BTreeMap<String, Receipt>,
}

/// What one artifact needs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactPlan {
    pub stack: String,
    pub reference: Reference,
    /// The repository by whose name it is placed.
    #[serde(skip)]
    pub(super) home: String,
    /// Where it lies in the registry.
    pub repository: String,
    pub digest: Digest,
    pub state: State,
    /// Manifests that are missing there, in the order in which they are pushed.
    pub manifests: Vec<ManifestStep>,
    /// Blobs that its repository lacks.
    pub blobs: Vec<Digest>,
    pub tags: Vec<TagStep>,
    /// Fallback indexes of referrers that lack entries; empty where the registry has the referrers API.
    pub attach: Vec<AttachStep>,
    /// Whether it is an index some of whose children stay behind.
    pub is_sparse: bool,
    /// Every manifest that is there when the plan has been carried out.
    #[serde(skip)]
    pub(super) arrives: Vec<Digest>,
}

/// Whether there is anything to do for an artifact, and whether it can be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum State {
    /// All of it is there.
    Present,
    /// Some of it is to be pushed.
    Push,
    /// Some of it cannot be had.
    Incomplete { missing: Vec<Missing> },
    /// The registry would not say.
    Failed(Failure),
}

/// Why one artifact failed, as tables and reports say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub class: Class,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Failure {
    pub(crate) fn of(err: &dyn airlift_spec::Explain) -> Self {
        Self { class: err.class(), reason: airlift_spec::error::chain(&err), help: err.help() }
    }
}

/// A blob or manifest that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    pub digest: Digest,
    pub lack: Lack,
}

/// Why something cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Lack {
    /// It lies on volumes that are not here.
    Volumes { volumes: Vec<String> },
    /// A delta counts on it in this repository, but the registry does not have it.
    LeftOut { repository: String },
    /// No source has ever heard of it.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestStep {
    pub digest: Digest,
    pub media_type: String,
}

/// Where a blob is missing in the registry, and where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlobPlan {
    pub bytes: u64,
    /// Repositories that have it, from which it can be mounted.
    pub at: BTreeSet<String>,
    /// Repositories that need it.
    pub to: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagStep {
    pub tag: String,
    pub digest: Digest,
    /// What the tag pointed to when the plan was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
    pub action: TagAction,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagAction {
    /// It points there already.
    Keep,
    /// It does not exist.
    Set,
    /// It points elsewhere, and is ours to move.
    Move,
    /// It points elsewhere, and stays.
    Leave { why: String },
}

/// Entries that the fallback index of `subject` lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttachStep {
    pub subject: Digest,
    pub referrers: Vec<Digest>,
}

impl LoadPlan {
    /// Bytes that have to cross to the registry: each blob once, and only where no repository has it.
    pub fn bytes_to_send(&self) -> u64 {
        self.blobs.values().filter(|blob| blob.at.is_empty()).map(|blob| blob.bytes).sum()
    }

    pub fn blobs_to_send(&self) -> usize {
        self.blobs.values().filter(|blob| blob.at.is_empty()).count()
    }

    pub fn blobs_to_mount(&self) -> usize {
        self.blobs.values().map(|blob| blob.to.len() - usize::from(blob.at.is_empty())).sum()
    }

    /// Whether carrying it out would move anything.
    pub fn is_empty(&self) -> bool {
        self.artifacts.iter().all(|artifact| artifact.state != State::Push)
    }
}

impl fmt::Display for LoadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for artifact in &self.artifacts {
            write!(f, "{artifact}")?;
        }
        let count = |wanted: fn(&State) -> bool| {
            self.artifacts.iter().filter(|artifact| wanted(&artifact.state)).count()
        };
        writeln!(
            f,
            "{} to push, {} there already, {} incomplete, {} failed; {} blobs to send ({} bytes), {} to mount",
            count(|state| matches!(state, State::Push)),
            count(|state| matches!(state, State::Present)),
            count(|state| matches!(state, State::Incomplete { .. })),
            count(|state| matches!(state, State::Failed(_))),
            self.blobs_to_send(),
            self.bytes_to_send(),
            self.blobs_to_mount(),
        )
    }
}

impl fmt::Display for ArtifactPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Present => {}
            State::Push if self.manifests.is_empty() => writeln!(f, "~ {}", self.reference)?,
            State::Push => {
                let (manifests, blobs) = (self.manifests.len(), self.blobs.len());
                writeln!(f, "+ {} ({manifests} manifests, {blobs} blobs)", self.reference)?;
            }
            State::Incomplete { missing } => {
                writeln!(f, "! {}: {}", self.reference, lacking(missing))?;
            }
            State::Failed(failure) => writeln!(f, "! {}: {}", self.reference, failure.reason)?,
        }
        for step in &self.tags {
            let (name, digest) = (format!("{}:{}", self.repository, step.tag), step.digest);
            match (&step.action, &step.found) {
                (TagAction::Keep, _) => {}
                (TagAction::Move, Some(found)) => {
                    writeln!(f, "  ~ {name} from {found} to {digest}")?;
                }
                (TagAction::Set | TagAction::Move, _) => writeln!(f, "  + {name} at {digest}")?,
                (TagAction::Leave { why }, _) => writeln!(f, "  ! {name} stays: {why}")?,
            }
        }
        Ok(())
    }
}

/// What is lacking, in one sentence: volumes by name, the rest by digest.
pub fn lacking(missing: &[Missing]) -> String {
    let mut volumes = BTreeSet::new();
    let mut left_out = Vec::new();
    let mut unknown = Vec::new();
    for Missing { digest, lack } in missing {
        match lack {
            Lack::Volumes { volumes: names } => volumes.extend(names.iter().cloned()),
            Lack::LeftOut { repository } => left_out.push(format!("{digest} of {repository}")),
            Lack::Unknown => unknown.push(digest.to_string()),
        }
    }
    let volumes: Vec<String> = volumes.into_iter().collect();
    let parts = [
        ("needs the volumes", volumes),
        ("the delta counts on what the registry does not have:", left_out),
        ("no source has", unknown),
    ];
    let said = parts.iter().filter(|(_, names)| !names.is_empty());
    said.map(|(what, names)| format!("{what} {}", names.join(", "))).collect::<Vec<_>>().join("; ")
}
