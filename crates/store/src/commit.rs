//! The last step of every way in: durable before visible.
//!
//! Bytes first, then the name, then the folder that holds the name. A sync costs about as much for one small file
//! as for fifty, so whoever comes while one is under way queues, and the next leader names and syncs for all who
//! queued. While few queue, each syncs its own bytes beforehand: threads that sync at once share the work of the
//! journal, and a sync of the whole file system would pay for the bytes of others.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fs_err as fs;

use crate::Tuning;
use crate::disk;

/// A file whose bytes were hashed and whose name may now be given.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) file: fs::File,
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    /// Whether bytes of it may not be on the disk yet.
    pub(crate) is_dirty: bool,
}

/// Publishes for all threads of a process, in groups.
#[derive(Debug, Default)]
pub(crate) struct Committer {
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next_ticket: u64,
    queue: Vec<(u64, Publication)>,
    results: HashMap<u64, io::Result<()>>,
    has_leader: bool,
}

impl Committer {
    /// Returns after the file is durable under its name. The caller's group is as large as its queue was.
    pub(crate) fn publish(&self, mut publication: Publication, tuning: &Tuning) -> io::Result<()> {
        let is_crowded = self.lock().queue.len() >= tuning.syncfs_from;
        if publication.is_dirty && !is_crowded {
            publication.file.sync_data()?;
            publication.is_dirty = false;
        }
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue.push((ticket, publication));
        loop {
            if let Some(result) = state.results.remove(&ticket) {
                return result;
            }
            if state.has_leader {
                state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.has_leader = true;
            let group = std::mem::take(&mut state.queue);
            drop(state);
            let results = publish_group(&group);
            state = self.lock();
            state.results.extend(results);
            state.has_leader = false;
            self.turn.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn publish_group(group: &[(u64, Publication)]) -> Vec<(u64, io::Result<()>)> {
    let is_dirty = group.iter().any(|(_, publication)| publication.is_dirty);
    let is_synced = is_dirty && sync_file_system(group);
    let mut folders = BTreeSet::new();
    let mut results: Vec<_> = group
        .iter()
        .map(|(ticket, publication)| {
            let result = name(publication, is_synced);
            if result.is_ok() {
                folders.insert(publication.to.parent().expect("a blob lies in a folder"));
            }
            (*ticket, result)
        })
        .collect();
    if let Err(err) = folders.into_iter().try_for_each(disk::sync_folder) {
        // Nobody may believe in a name that the disk may not have.
        for (_, result) in results.iter_mut().filter(|(_, result)| result.is_ok()) {
            *result = Err(io::Error::new(err.kind(), err.to_string()));
        }
    }
    results
}

/// One sync for the whole group; false where it does not work, and each file is then synced by itself.
fn sync_file_system(group: &[(u64, Publication)]) -> bool {
    group.first().is_some_and(|(_, first)| rustix::fs::syncfs(first.file.file()).is_ok())
}

fn name(publication: &Publication, is_synced: bool) -> io::Result<()> {
    if publication.is_dirty && !is_synced {
        publication.file.sync_data()?;
    }
    fs::rename(&publication.from, &publication.to)
}
