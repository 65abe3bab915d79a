//! What differs between two sets of pins, as `+`, `-` and `~` lines.

use std::collections::BTreeSet;

use airlift_spec::{Digest, Lock, Reference};
use serde::Serialize;

use crate::output::short;

/// One artifact whose pin is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    reference: Reference,
    from: Option<Digest>,
    to: Option<Digest>,
}

/// The artifacts that only one of the two has, or that they pin differently, by name.
pub(crate) fn changes(before: &[Lock], after: &[Lock]) -> Vec<Change> {
    let pin = |locks: &[Lock], reference: &Reference| {
        locks.iter().find_map(|lock| lock.artifact(reference)?.digest)
    };
    let artifacts = before.iter().chain(after).flat_map(|lock| &lock.artifacts);
    let references: BTreeSet<&Reference> = artifacts.map(|artifact| &artifact.reference).collect();
    let changes = references.into_iter().map(|reference| Change {
        reference: reference.clone(),
        from: pin(before, reference),
        to: pin(after, reference),
    });
    changes.filter(|change| change.from != change.to).collect()
}

pub(crate) fn changes_text(changes: &[Change]) -> String {
    changes.iter().map(Change::to_text).collect::<Vec<_>>().join("\n")
}

impl Change {
    fn to_text(&self) -> String {
        let reference = &self.reference;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => format!("~ {reference}  {} -> {}", short(from), short(to)),
            (Some(from), None) => format!("- {reference}  {}", short(from)),
            (None, Some(to)) => format!("+ {reference}  {}", short(to)),
            (None, None) => unreachable!("two open pins do not differ"),
        }
    }
}
