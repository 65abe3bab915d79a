//! What differs between two sets of pins, as `+`, `-` and `~` lines.

use std::collections::BTreeMap;

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

/// The artifacts that only one of two locks has, or that they pin differently, by name.
pub(crate) fn changes(before: Option<&Lock>, after: &Lock) -> Vec<Change> {
    let mut pins: BTreeMap<&Reference, [Option<Digest>; 2]> = BTreeMap::new();
    for (side, lock) in [before, Some(after)].into_iter().enumerate() {
        for artifact in lock.into_iter().flat_map(|lock| &lock.artifacts) {
            pins.entry(&artifact.reference).or_default()[side] = artifact.digest;
        }
    }
    let change = |(reference, [from, to]): (&Reference, [Option<Digest>; 2])| Change {
        reference: reference.clone(),
        from,
        to,
    };
    pins.into_iter().map(change).filter(|change| change.from != change.to).collect()
}

pub(crate) fn changes_text(changes: &[Change]) -> String {
    changes.iter().map(Change::to_text).collect::<Vec<_>>().join("\n")
}

impl Change {
    fn to_text(&self) -> String {
        change_line(&self.reference, self.from.as_ref(), self.to.as_ref())
    }
}

/// `+` for what is new, `-` for what is gone, `~` for what leads elsewhere.
pub(crate) fn change_line(
    reference: &Reference,
    before: Option<&Digest>,
    after: Option<&Digest>,
) -> String {
    match (before, after) {
        (Some(before), Some(after)) => {
            format!("~ {reference}  {} -> {}", short(before), short(after))
        }
        (Some(before), None) => format!("- {reference}  {}", short(before)),
        (None, Some(after)) => format!("+ {reference}  {}", short(after)),
        (None, None) => unreachable!("two open pins do not differ"),
    }
}
