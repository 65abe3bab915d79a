//! What has to be carried again: a request file for the near side, which is an `airlift.yaml` of digests.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::Digest;

use super::plan::{ArtifactPlan, Lack, Missing, State};

/// Artifacts of a delta that count on what the registry does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// A stack name of its own, so that what comes back is not taken for a newer lock of the same stack.
    pub stack: String,
    /// The artifact by digest (`quay.io/org/app@sha256:…`), and what it lacks, with the reason.
    pub artifacts: BTreeMap<String, BTreeSet<Reason>>,
}

/// Why an artifact is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The root or receipt that said the blob was delivered.
    pub since: Option<Digest>,
    pub blob: Digest,
}

impl Request {
    /// The request for everything that deltas left out and the registry lacks; none where that is nothing.
    pub(super) fn of(plan: &[ArtifactPlan], since: &BTreeMap<Digest, Digest>) -> Option<Self> {
        let mut artifacts: BTreeMap<String, BTreeSet<Reason>> = BTreeMap::new();
        let mut stack = None;
        for artifact in plan {
            let State::Incomplete { missing } = &artifact.state else { continue };
            let left_out = missing.iter().filter_map(|Missing { digest, lack }| match lack {
                Lack::LeftOut { .. } => Some(*digest),
                Lack::Volumes { .. } | Lack::Unknown => None,
            });
            for blob in left_out {
                let name = artifact.reference.with_digest(artifact.digest).to_string();
                let since = since.get(&blob).copied();
                artifacts.entry(name).or_default().insert(Reason { since, blob });
                stack.get_or_insert_with(|| artifact.stack.clone());
            }
        }
        Some(Self { stack: request_name(&stack?), artifacts })
    }

    /// The text of the file: a stack that `resolve` reads.
    pub fn to_yaml(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("version: 1\nname: {}\nsources:\n", self.stack);
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("a String takes any text");
        };
        for (artifact, reasons) in &self.artifacts {
            line(format_args!("  - image: {artifact}"));
            line(format_args!("    because:"));
            for Reason { since, blob } in reasons {
                let since =
                    since.map_or_else(|| "an earlier root".to_owned(), |root| root.to_string());
                line(format_args!("      - from: \"delta since {since}\""));
                line(format_args!("        path: \"missing blob {blob}\""));
                line(format_args!("        evidence: observed"));
            }
        }
        text
    }
}

/// A stack name from another, within the grammar's forty characters.
fn request_name(stack: &str) -> String {
    const SUFFIX: &str = "-missing";
    let room = 40 - SUFFIX.len();
    format!("{}{SUFFIX}", &stack[..stack.len().min(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_stack_that_names_blob_and_earlier_root() {
        let (blob, root) = (Digest::of(b"blob"), Digest::of(b"root"));
        let artifact = format!("quay.io/org/app@{}", Digest::of(b"app"));
        let reasons = BTreeSet::from([Reason { since: Some(root), blob }]);
        let artifacts = BTreeMap::from([(artifact.clone(), reasons)]);
        let request = Request { stack: request_name(&"x".repeat(40)), artifacts };

        let stack = airlift_spec::stack::parse(&request.to_yaml()).unwrap();
        assert_eq!(stack.name.len(), 40);
        assert_eq!(stack.images[0].reference.to_string(), artifact);
        let because = format!("{:?}", stack.images[0].because());
        assert!(
            because.contains(&blob.to_string()) && because.contains(&root.to_string()),
            "{because}"
        );
    }
}
