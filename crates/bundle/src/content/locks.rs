//! Which lock counts where sources hold several of one stack.

use std::collections::BTreeMap;

use airlift_spec::{Digest, Lock};

use crate::Root;

/// A lock, and what is known about where it came from.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) lock: Lock,
    pub(super) digest: Digest,
    pub(super) origin: Origin,
}

/// What a source builds on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Locks that a delta takes as delivered; empty for everything else.
    pub since: Vec<Digest>,
}

impl Origin {
    pub(super) fn of(root: &Root) -> Self {
        let since = root.since.as_ref().map(|since| since.locks.clone());
        Self { since: since.unwrap_or_default() }
    }
}

/// Of the locks of each stack the one made since the others, else that of the last source. Sorted by stack.
pub(super) fn that_count(found: Vec<Found>) -> Vec<Lock> {
    let mut by_stack: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for one in found {
        by_stack.entry(one.lock.stack.clone()).or_default().push(one);
    }
    by_stack.into_values().filter_map(the_one).collect()
}

fn the_one(candidates: Vec<Found>) -> Option<Lock> {
    let is_superseded = |one: &Found| {
        // A delta of the very same lock does not supersede it: they are one.
        candidates
            .iter()
            .any(|other| other.digest != one.digest && other.origin.since.contains(&one.digest))
    };
    let last = candidates.iter().rposition(|one| !is_superseded(one));
    // Two that claim to follow each other cannot both be right: the last source decides.
    let chosen = last.or(candidates.len().checked_sub(1))?;
    candidates.into_iter().nth(chosen).map(|found| found.lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(note: &str) -> Found {
        let text = format!(
            r#"{{"format":1,"stack":"s","artifacts":[],"findings":[{{"code":"{note}","severity":"info","object":"","message":""}}]}}"#
        );
        let lock = Lock::parse(text.as_bytes()).unwrap();
        let digest = lock.digest();
        Found { lock, digest, origin: Origin::default() }
    }

    fn since(mut found: Found, before: &[&Found]) -> Found {
        found.origin.since = before.iter().map(|one| one.digest).collect();
        found
    }

    fn check(found: &[&Found], expected: &Found) {
        let counted = that_count(found.iter().map(|one| (*one).clone()).collect());
        assert_eq!(counted.as_slice(), std::slice::from_ref(&expected.lock));
    }

    #[test]
    fn the_delta_counts_whatever_the_order_and_else_the_last_source() {
        let (a, b) = (lock("a"), lock("b"));
        check(&[&a, &b], &b);
        check(&[&b, &a], &a);
        let b_since_a = since(lock("b"), &[&a]);
        check(&[&a, &b_since_a], &b_since_a);
        check(&[&b_since_a, &a], &b_since_a);
        let c = since(lock("c"), &[&b]);
        check(&[&c, &b_since_a, &a], &c);
        check(&[&a, &c, &b_since_a], &c);
    }

    #[test]
    fn a_circle_of_deltas_ends_with_the_last_source() {
        let (a, b) = (lock("a"), lock("b"));
        let (a, b) = (since(a.clone(), &[&b]), since(b, &[&a]));
        check(&[&a, &b], &b);
        check(&[&b, &a], &a);
    }
}
