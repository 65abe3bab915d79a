use std::path::PathBuf;

use airlift_spec::lock::{Artifact, Because, Child, Kind, Referrer};
use airlift_spec::oci::total_bytes;
use airlift_spec::{Digest, Failure, Finding, Lock, Reference};
use serde::Serialize;

use crate::app::{App, Exit, LOCK, read_lock};
use crate::output::{Report, Tree, counted, findings_text, short};
use crate::size::human;

/// Show what a lock holds
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lock to show
    #[arg(long, value_name = "FILE", default_value = LOCK)]
    lock: PathBuf,
}

pub(crate) fn run(args: &Args, app: &App) -> Result<Exit, Failure> {
    let lock = read_lock(&args.lock)?;
    app.print(&Held::of(&lock))?;
    Ok(Exit::Success)
}

/// The lock as programs read it. Its fields are a contract.
#[derive(Debug, Serialize)]
struct Held<'a> {
    stack: &'a str,
    artifacts: Vec<HeldArtifact<'a>>,
    findings: &'a [Finding],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HeldArtifact<'a> {
    kind: Kind,
    reference: &'a Reference,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    digest: Option<Digest>,
    bytes: u64,
    because: &'a [Because],
    children: &'a [Child],
    left_out: &'a [Child],
    referrers: &'a [Referrer],
}

impl<'a> Held<'a> {
    fn of(lock: &'a Lock) -> Self {
        let artifacts = lock.artifacts.iter().map(HeldArtifact::of).collect();
        Self { stack: &lock.stack, artifacts, findings: &lock.findings }
    }
}

impl<'a> HeldArtifact<'a> {
    fn of(artifact: &'a Artifact) -> Self {
        Self {
            kind: artifact.kind,
            reference: &artifact.reference,
            name: &artifact.name,
            version: &artifact.version,
            digest: artifact.digest,
            bytes: artifact.bytes,
            because: &artifact.because,
            children: &artifact.children,
            left_out: &artifact.left_out,
            referrers: &artifact.referrers,
        }
    }

    fn tree(&self) -> Tree {
        let pin = match &self.digest {
            Some(digest) => format!("{}  {}", short(digest), human(self.bytes)),
            None => "not pinned".to_owned(),
        };
        let kept = (!self.children.is_empty()).then(|| platforms(self.children));
        let left_out =
            (!self.left_out.is_empty()).then(|| format!("left out: {}", platforms(self.left_out)));
        let referrers = self.referrers.iter().map(referrer);
        let children = kept.into_iter().chain(left_out).chain(referrers).map(Tree::leaf).collect();
        Tree { label: format!("{}  {pin}", self.reference), children }
    }
}

impl Report for Held<'_> {
    fn to_text(&self) -> String {
        let total = total_bytes(self.artifacts.iter().map(|artifact| artifact.bytes));
        let label = format!(
            "{}  {}, {} at most",
            self.stack,
            counted(self.artifacts.len() as u64, "artifact"),
            human(total)
        );
        let tree =
            Tree { label, children: self.artifacts.iter().map(HeldArtifact::tree).collect() };
        let findings = findings_text(self.findings);
        if findings.is_empty() {
            tree.to_text()
        } else {
            format!("{}\n\n{findings}", tree.to_text())
        }
    }
}

/// The platforms of an index's children; attestations and the like have none and are counted.
fn platforms(children: &[Child]) -> String {
    let named = children.iter().filter_map(|child| child.platform.as_ref());
    let named: Vec<String> = named.map(ToString::to_string).collect();
    let others = children.len() - named.len();
    let others = (others > 0).then(|| format!("{others} without a platform"));
    named.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

fn referrer(referrer: &Referrer) -> String {
    let what = referrer.tag.as_ref().or(referrer.artifact_type.as_ref());
    let what = what.unwrap_or(&referrer.media_type);
    format!("referrer {}  {}  {what}", short(&referrer.digest), human(referrer.bytes))
}
