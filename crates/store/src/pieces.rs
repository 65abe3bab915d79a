//! Which ranges of a blob are there: a set of ranges, and how it is written into a `.pieces` file.
//!
//! ```text
//! {"format":1,"size":300,"pieces":[[0,100],[200,300]]}
//! ```
//!
//! **Invariant.** Sorted, disjoint, never touching, within the size.
//! **Untrusted.** A file that breaks this, or that belongs to another size, says that nothing is there; bytes
//! that it claims wrongly are found by the hash at commit.

use std::ops::Range;

use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;

/// Largest `.pieces` file that is read: some 400,000 pieces.
pub(crate) const MAX_FILE_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pieces(Vec<Range<u64>>);

impl Pieces {
    /// Adds `range`, merged with what it overlaps or touches.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|piece| piece.end < range.start);
        let after = self.0.partition_point(|piece| piece.start <= range.end);
        let touched = &self.0[first..after];
        let start = touched.first().map_or(range.start, |piece| piece.start.min(range.start));
        let end = touched.last().map_or(range.end, |piece| piece.end.max(range.end));
        self.0.splice(first..after, std::iter::once(start..end));
    }

    /// What is not there of a blob of `size` bytes, in order.
    pub(crate) fn gaps(&self, size: u64) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut from = 0;
        for piece in &self.0 {
            if from < piece.start {
                gaps.push(from..piece.start);
            }
            from = piece.end;
        }
        if from < size {
            gaps.push(from..size);
        }
        gaps
    }

    pub(crate) fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty()
            || self.0.iter().any(|piece| piece.start <= range.start && range.end <= piece.end)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the last piece ends.
    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |piece| piece.end)
    }

    /// The `.pieces` file of a blob of `size` bytes.
    pub(crate) fn to_file(&self, size: u64) -> Vec<u8> {
        let pieces = self.0.iter().map(|piece| [piece.start, piece.end]).collect();
        serde_json::to_vec(&Wire { format: FORMAT, size, pieces }).expect("numbers are JSON")
    }

    /// Reads a `.pieces` file; nothing is there where it makes no sense for a blob of `size` bytes.
    pub(crate) fn from_file(bytes: &[u8], size: u64) -> Self {
        let Ok(wire) = serde_json::from_slice::<Wire>(bytes) else { return Self::default() };
        let pieces: Vec<_> = wire.pieces.iter().map(|&[start, end]| start..end).collect();
        let sorted = pieces.windows(2).all(|pair| pair[0].end < pair[1].start);
        let sound = pieces.iter().all(|piece| piece.start < piece.end && piece.end <= size);
        if wire.format == FORMAT && wire.size == size && sorted && sound {
            Self(pieces)
        } else {
            Self::default()
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    format: u32,
    size: u64,
    pieces: Vec<[u64; 2]>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::single_range_in_vec_init, reason = "one gap is a list of one range")]
    #[test]
    fn what_touches_or_overlaps_is_merged() {
        let mut pieces = Pieces::default();
        for range in [10..20, 30..40, 20..25, 0..5, 24..31, 7..7] {
            pieces.insert(range);
        }
        assert_eq!(pieces.0, [0..5, 10..40]);
        assert_eq!(pieces.gaps(50), [5..10, 40..50]);
        assert_eq!(pieces.gaps(40), [5..10]);
        assert!(pieces.covers(&(10..40)) && !pieces.covers(&(4..11)));
    }

    #[test]
    fn a_broken_file_says_that_nothing_is_there() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"format":1,"size":9,"pieces":[[0,5]]}"#,
            r#"{"format":2,"size":10,"pieces":[[0,5]]}"#,
            r#"{"format":1,"size":10,"pieces":[[5,5]]}"#,
            r#"{"format":1,"size":10,"pieces":[[5,2]]}"#,
            r#"{"format":1,"size":10,"pieces":[[0,11]]}"#,
            r#"{"format":1,"size":10,"pieces":[[5,8],[0,2]]}"#,
            r#"{"format":1,"size":10,"pieces":[[0,5],[5,8]]}"#,
            r#"{"format":1,"size":10,"pieces":[[-1,5]]}"#,
        ] {
            assert!(Pieces::from_file(text.as_bytes(), 10).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn pieces_agree_with_a_set_of_bytes(ranges in prop::collection::vec((0_u64..60, 0_u64..20), 0..12)) {
            let mut pieces = Pieces::default();
            let mut bytes = std::collections::BTreeSet::new();
            for (start, length) in ranges {
                pieces.insert(start..start + length);
                bytes.extend(start..start + length);
            }
            let gaps: std::collections::BTreeSet<u64> = pieces.gaps(80).into_iter().flatten().collect();
            prop_assert!((0..80).all(|byte| bytes.contains(&byte) != gaps.contains(&byte)));
            prop_assert_eq!(&Pieces::from_file(&pieces.to_file(80), 80), &pieces);
        }
    }
}
