//! The system's limit on open files, and how many connections fit below it.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a server holds whatever its clients do: its listener and its own, and those that are read for an answer
/// to a small question.
const RESERVED: u64 = 64;
/// A connection is one, and what it reads from or writes to is another.
const PER_CONNECTION: u64 = 2;

/// Raises the limit as far as this user may: many registries, and what each of their blobs is written to, are many files.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    // That it may not be raised is no error: then the limit is what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// How many of `wanted` connections fit below the limit. More than fit would be accepted only to find that nothing can be
/// opened for them; so they wait in the kernel's queue.
pub(crate) fn connections(wanted: NonZeroUsize) -> NonZeroUsize {
    getrlimit(Resource::Nofile).current.map_or(wanted, |files| wanted.min(fitting(files)))
}

fn fitting(files: u64) -> NonZeroUsize {
    let count = files.saturating_sub(RESERVED) / PER_CONNECTION;
    usize::try_from(count).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_what_they_ask_for() {
        for (files, connections) in [(0, 1), (64, 1), (66, 1), (256, 96), (1024, 480)] {
            assert_eq!(fitting(files).get(), connections, "{files}");
        }
    }
}
