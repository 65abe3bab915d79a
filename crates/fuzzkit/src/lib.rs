//! The fuzz targets as plain tests: every seed, and two thousand mutations of the seeds, the same ones in each run.
//!
//! A target is a function `fn(&[u8])` in the `fuzzing` module of the crate whose parser it tries; it panics where a
//! promise is broken. `cargo xtask fuzz` runs it under libFuzzer for as long as one likes, [`check`] runs it on the
//! stable toolchain with the other tests. Seeds lie in `fuzz/seeds/<target>/`, one input a file.

use std::path::{Path, PathBuf};

use fs_err as fs;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Enough to break what is easily broken, and a second at most in a build without optimisation.
const CASES: u32 = 2048;

/// Most places at which one mutation changes its seed.
const MAX_EDITS: usize = 6;

/// What parsers have stumbled over before.
const WORDS: &[&[u8]] = &[
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"[",
    b"]}",
    b",",
    b":",
    b"/",
    b"..",
    b"../../etc/passwd",
    b"%2e%2e%2f",
    b"-1",
    b"0",
    b"1e400",
    b"18446744073709551615",
    b"99999999999999999999",
    b"null",
    b"\x1b[2J",
    b"\xff",
    "\u{202e}".as_bytes(),
    "\u{43e}".as_bytes(),
    "\u{1f600}".as_bytes(),
];

/// Runs `target` on its seeds and on mutations of them.
///
/// # Panics
///
/// Where the target does, with the smallest input that was found, and where it has no seeds.
pub fn check(name: &str, target: fn(&[u8])) {
    let seeds: Vec<Vec<u8>> =
        seeds(name).iter().map(|path| fs::read(path).expect("a seed can be read")).collect();
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    // A test that tries something else each time is a test nobody can repeat.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    for seed in &seeds {
        target(seed);
    }
    let inputs = (any::<usize>(), vec(edit(), 0..MAX_EDITS))
        .prop_map(move |(at, edits)| Input(mutated(&seeds[at % seeds.len()], &edits)));
    let outcome = runner.run(&inputs, |input| {
        target(&input.0);
        Ok(())
    });
    if let Err(err) = outcome {
        panic!("the target `{name}`: {err}");
    }
}

/// The seeds of a target, sorted by name.
fn seeds(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
    let entries = fs::read_dir(folder).expect("a target has a folder of seeds");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a seed can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the target `{name}` has no seeds");
    paths
}

/// An input, which prints as a byte string that can be pasted into a test.
struct Input(Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One change of an input. Places count around its end.
#[derive(Debug, Clone)]
enum Edit {
    Set {
        at: usize,
        byte: u8,
    },
    Insert {
        at: usize,
        word: &'static [u8],
    },
    Remove {
        at: usize,
        count: usize,
    },
    /// What stands there once stands there several times.
    Repeat {
        at: usize,
        count: usize,
        times: usize,
    },
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<usize>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set { at, byte }),
        (at(), proptest::sample::select(WORDS)).prop_map(|(at, word)| Edit::Insert { at, word }),
        (at(), 1..40_usize).prop_map(|(at, count)| Edit::Remove { at, count }),
        (at(), 1..40_usize, 1..200_usize).prop_map(|(at, count, times)| Edit::Repeat {
            at,
            count,
            times
        }),
    ]
}

fn mutated(seed: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for edit in edits {
        let place = |at: &usize| at % (bytes.len() + 1);
        match edit {
            Edit::Set { at, byte } => {
                let at = place(at);
                bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
            }
            Edit::Insert { at, word } => {
                let at = place(at);
                bytes.splice(at..at, word.iter().copied());
            }
            Edit::Remove { at, count } => {
                let at = place(at);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Edit::Repeat { at, count, times } => {
                let at = place(at);
                let piece = bytes[at..(at + count).min(bytes.len())].repeat(*times);
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_sets_inserts_removes_or_repeats_wherever_it_falls() {
        let all = |edit: Edit| mutated(b"abc", &[edit]);
        assert_eq!(all(Edit::Set { at: 1, byte: b'x' }), b"axc");
        assert_eq!(all(Edit::Set { at: 3, byte: b'x' }), b"abcx");
        assert_eq!(all(Edit::Insert { at: 4, word: b".." }), b"..abc");
        assert_eq!(all(Edit::Remove { at: 1, count: 9 }), b"a");
        assert_eq!(all(Edit::Repeat { at: 1, count: 1, times: 2 }), b"abbbc");
        assert_eq!(mutated(b"", &[Edit::Remove { at: 7, count: 1 }]), b"");
    }
}
