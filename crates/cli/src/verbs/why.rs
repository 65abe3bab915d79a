use std::path::PathBuf;

use airlift_spec::lock::{Artifact, Because, Evidence, Kind};
use airlift_spec::{Digest, Failure, Lock, Reference};
use serde::Serialize;

use crate::app::{App, Exit, LOCK, read_lock};
use crate::error::CliError;
use crate::output::{Report, Tree, short};

/// Say why an artifact is in a lock
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A reference, with or without its tag; or the digest of an artifact, of a child or of a referrer
    #[arg(value_name = "REF")]
    wanted: String,
    /// The lock to look in
    #[arg(long, value_name = "FILE", default_value = LOCK)]
    lock: PathBuf,
}

pub(crate) fn run(args: &Args, app: &App) -> Result<Exit, Failure> {
    let lock = read_lock(&args.lock)?;
    let artifacts = find(&lock, &args.wanted);
    if artifacts.is_empty() {
        return Err(CliError::Refused {
            message: format!("`{}` is not in `{}`", args.wanted, args.lock.display()),
            help: nearest(&lock, &args.wanted),
        }
        .into());
    }
    let artifacts = artifacts.into_iter().map(|(artifact, role)| Reasons {
        kind: artifact.kind,
        reference: &artifact.reference,
        digest: artifact.digest,
        role,
        because: chain(&lock, artifact, &mut Vec::new()),
    });
    app.print(&Why { stack: &lock.stack, artifacts: artifacts.collect() })?;
    Ok(Exit::Success)
}

/// The artifacts meant by `wanted`, and what it is to each.
fn find<'a>(lock: &'a Lock, wanted: &str) -> Vec<(&'a Artifact, Role)> {
    if let Ok(digest) = wanted.parse::<Digest>() {
        let holds = |artifact: &'a Artifact| Some((artifact, role(artifact, &digest)?));
        return lock.artifacts.iter().filter_map(holds).collect();
    }
    let Ok(wanted) = wanted.parse::<Reference>() else { return Vec::new() };
    let exact = lock.artifacts.iter().filter(|artifact| artifact.reference == wanted);
    let exact: Vec<_> = exact.map(|artifact| (artifact, Role::Itself)).collect();
    // `nginx` without a tag means whatever the lock has of it.
    let is_named = |artifact: &&Artifact| artifact.reference.repository() == wanted.repository();
    let named = lock.artifacts.iter().filter(is_named).map(|artifact| (artifact, Role::Itself));
    if exact.is_empty() { named.collect() } else { exact }
}

/// What a digest is to an artifact that has to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Role {
    Itself,
    Child,
    Referrer,
}

fn role(artifact: &Artifact, digest: &Digest) -> Option<Role> {
    if artifact.digest == Some(*digest) {
        Some(Role::Itself)
    } else if artifact.children.iter().any(|child| child.digest == *digest) {
        Some(Role::Child)
    } else {
        let is_referrer = artifact.referrers.iter().any(|referrer| referrer.digest == *digest);
        is_referrer.then_some(Role::Referrer)
    }
}

/// Names in the lock that somebody may have meant.
fn nearest(lock: &Lock, wanted: &str) -> Option<String> {
    let last =
        wanted.rsplit('/').next()?.split([':', '@']).next().filter(|word| !word.is_empty())?;
    let is_near = |artifact: &&Artifact| artifact.reference.path().rsplit('/').next() == Some(last);
    let near = lock.artifacts.iter().find(is_near)?;
    Some(format!("ask for `{}`, which is in it", near.reference))
}

/// The reasons for an artifact, each with the reasons for what it came from.
fn chain(lock: &Lock, artifact: &Artifact, above: &mut Vec<String>) -> Vec<Reason> {
    above.push(artifact.reference.to_string());
    let reasons = artifact.because.iter().map(|because| Reason {
        from: because.from.clone(),
        path: because.path.clone(),
        evidence: because.evidence,
        because: parent(lock, because, above)
            .map_or(Vec::new(), |parent| chain(lock, parent, above)),
    });
    let reasons = reasons.collect();
    above.pop();
    reasons
}

/// The artifact that a reason names, unless we come from there.
fn parent<'a>(lock: &'a Lock, because: &Because, above: &[String]) -> Option<&'a Artifact> {
    let is_new = !above.contains(&because.from);
    lock.artifacts.iter().find(|artifact| is_new && artifact.reference.to_string() == because.from)
}

/// What stands before the name of where a reason comes from.
pub(super) fn words(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Declared => "declared by",
        Evidence::Rendered => "rendered from",
        Evidence::Referenced => "referenced by",
        Evidence::Observed => "observed in",
        Evidence::Known => "known from",
    }
}

#[derive(Debug, Serialize)]
struct Why<'a> {
    stack: &'a str,
    artifacts: Vec<Reasons<'a>>,
}

#[derive(Debug, Serialize)]
struct Reasons<'a> {
    kind: Kind,
    reference: &'a Reference,
    digest: Option<Digest>,
    /// What was asked for is this to the artifact.
    role: Role,
    because: Vec<Reason>,
}

#[derive(Debug, Serialize)]
struct Reason {
    from: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    evidence: Evidence,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because: Vec<Reason>,
}

impl Report for Why<'_> {
    fn to_text(&self) -> String {
        let trees = self.artifacts.iter().map(|reasons| reasons.tree(self.stack).to_text());
        trees.collect::<Vec<_>>().join("\n")
    }
}

impl Reasons<'_> {
    fn tree(&self, stack: &str) -> Tree {
        let pin = self.digest.as_ref().map_or_else(|| "not pinned".to_owned(), short);
        let role = match self.role {
            Role::Itself => "",
            Role::Child => " (it is one of its manifests)",
            Role::Referrer => " (it is one of its referrers)",
        };
        let children = self.because.iter().map(|reason| reason.tree(stack)).collect();
        Tree { label: format!("{}  {pin}{role}", self.reference), children }
    }
}

impl Reason {
    fn tree(&self, stack: &str) -> Tree {
        let place = match self.path.as_str() {
            "" => format!(" in stack {stack}"),
            path => format!(" at {path}"),
        };
        let children = self.because.iter().map(|reason| reason.tree(stack)).collect();
        Tree { label: format!("{} `{}`{place}", words(self.evidence), self.from), children }
    }
}
