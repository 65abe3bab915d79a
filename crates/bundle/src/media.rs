//! The media that a bundle is written to: what is there already, and which volume goes where.
//!
//! Each medium is filled in turn. Root, table, volume 00000 and all sums go to every one, with room kept for them,
//! so that any medium alone says what it holds and what the others must.

use std::path::{Path, PathBuf};

use airlift_spec::Digest;

use crate::earlier::{self, Earlier};
use crate::root::{MAX_ROOT_BYTES, Root, max_sums_bytes};
use crate::{BundleError, disk, volume};

/// File systems hand out room in blocks, and folders grow: what a file may take beyond its length.
const SLACK_BYTES: u64 = 64 << 10;
/// A signature and its file.
const SIGNATURE_BYTES: u64 = 4 << 10;

/// One medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Medium {
    pub(crate) folder: PathBuf,
    /// Bytes that this bundle's volumes may take on it, those that are there included.
    pub(crate) room: u64,
    /// Ordinals whose volumes are there, of the right size, marked as this bundle's.
    pub(crate) present: Vec<u32>,
    /// Files of another bundle of this name, which are to go before anything is written.
    pub(crate) replaced: Vec<PathBuf>,
}

impl Medium {
    /// Looks at `folder`, which is there and [held](disk::hold).
    ///
    /// # Errors
    ///
    /// [`BundleError::OtherRoot`] if another bundle of this name lies there, and [is to stay](Earlier::Keep).
    pub(crate) fn look(
        folder: &Path,
        root: &Root,
        digest: &Digest,
        everywhere_bytes: u64,
        earlier: Earlier,
    ) -> Result<Self, BundleError> {
        let replaced = match earlier {
            Earlier::Keep => Vec::new(),
            Earlier::Replace => earlier::files_of_other(folder, root, digest)?,
        };
        if !replaced.is_empty() {
            return Self::to_be_cleared(folder, replaced, everywhere_bytes);
        }
        let other =
            || BundleError::OtherRoot { folder: folder.to_owned(), name: root.name.clone() };
        let file = folder.join(root.file_name());
        let found = disk::read_at_most(&file, MAX_ROOT_BYTES)?;
        if found.is_some_and(|bytes| Digest::of(&bytes) != *digest) {
            return Err(other());
        }
        let mut present = Vec::new();
        let mut taken = 0;
        for ordinal in root.ordinals() {
            let path = folder.join(root.volume_file(ordinal));
            taken += disk::file_len(&disk::partial_path(&path)).unwrap_or_default();
            let Some(length) = disk::file_len(&path) else { continue };
            let Some(marked) = volume::marked(&path) else { continue };
            if marked.root != *digest {
                return Err(other());
            }
            taken += length;
            if marked.ordinal == ordinal && length == root.volumes[ordinal as usize] {
                present.push(ordinal);
            }
        }
        let everywhere = everywhere_bytes.saturating_sub(written_bytes(folder, root));
        let free = disk::free_bytes(folder)? + taken;
        let folder = folder.to_owned();
        Ok(Self { folder, room: free.saturating_sub(everywhere), present, replaced })
    }

    /// One whose room has to be made first.
    fn to_be_cleared(
        folder: &Path,
        replaced: Vec<PathBuf>,
        everywhere_bytes: u64,
    ) -> Result<Self, BundleError> {
        let freed: u64 = replaced.iter().filter_map(|file| disk::file_len(file)).sum();
        let room = (disk::free_bytes(folder)? + freed).saturating_sub(everywhere_bytes);
        Ok(Self { folder: folder.to_owned(), room, present: Vec::new(), replaced })
    }

    /// Removes what is to go.
    pub(crate) fn clear(&self) -> Result<(), BundleError> {
        earlier::remove(&self.folder, &self.replaced)
    }
}

/// What root, table and sums that are there already take: room need not be kept for them twice.
fn written_bytes(folder: &Path, root: &Root) -> u64 {
    let sums = root.ordinals().map(|ordinal| root.sums_file(ordinal));
    let names = [root.file_name(), root.table_file()].into_iter().chain(sums);
    names
        .filter_map(|name| disk::file_len(&folder.join(name)))
        .map(|length| length + SIGNATURE_BYTES)
        .sum()
}

/// What goes to every medium: volume 00000 apart, which is counted as a volume.
pub(crate) fn everywhere_bytes(root: &Root, root_bytes: u64, keys: usize, extra_bytes: u64) -> u64 {
    let signatures = keys as u64 * SIGNATURE_BYTES;
    let sums: u64 = root.volumes.iter().map(|size| max_sums_bytes(*size) + signatures).sum();
    root_bytes + root.blobs.size + sums + extra_bytes + signatures + SLACK_BYTES
}

/// Which medium each volume from 00001 on goes to.
pub(crate) fn assign(root: &Root, media: &[Medium]) -> Result<Vec<(u32, usize)>, BundleError> {
    let first = root.volumes[0];
    let mut left: Vec<u64> = media.iter().map(|medium| medium.room.saturating_sub(first)).collect();
    let fits_everywhere = media.iter().all(|medium| medium.room >= first);
    let mut places: Vec<(u32, usize)> = Vec::with_capacity(root.volumes.len());
    let mut at = 0;
    // What is there stays there, and takes its room before anything is put beside it.
    let kept = |ordinal: u32| media.iter().position(|medium| medium.present.contains(&ordinal));
    for ordinal in root.ordinals().skip(1) {
        if let Some(medium) = kept(ordinal) {
            let size = root.volumes[ordinal as usize];
            left[medium] = left[medium].saturating_sub(size);
            places.push((ordinal, medium));
        }
    }
    for ordinal in root.ordinals().skip(1).filter(|ordinal| kept(*ordinal).is_none()) {
        let size = root.volumes[ordinal as usize];
        while at < left.len() && left[at] < size {
            at += 1;
        }
        if at == left.len() {
            return Err(no_room(root, media));
        }
        left[at] -= size;
        places.push((ordinal, at));
    }
    if !fits_everywhere {
        return Err(no_room(root, media));
    }
    places.sort_unstable();
    Ok(places)
}

fn no_room(root: &Root, media: &[Medium]) -> BundleError {
    let needed =
        root.volumes.iter().sum::<u64>() + root.volumes[0] * (media.len() as u64).saturating_sub(1);
    BundleError::NoRoom { needed, free: media.iter().map(|medium| medium.room).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medium(room: u64, present: &[u32]) -> Medium {
        let (folder, present) = (PathBuf::from("x"), present.to_vec());
        Medium { folder, room, present, replaced: Vec::new() }
    }

    fn root(volumes: &[u64]) -> Root {
        let mut root = crate::plan::for_tests().root;
        root.volumes = volumes.to_vec();
        root
    }

    #[test]
    fn each_medium_is_filled_in_turn_with_room_for_volume_0_on_all() {
        let root = root(&[10, 100, 100, 50, 100]);
        let media = [medium(215, &[]), medium(160, &[])];
        assert_eq!(assign(&root, &media).unwrap(), [(1, 0), (2, 0), (3, 1), (4, 1)]);
        let tight = [medium(215, &[]), medium(159, &[])];
        assert!(matches!(
            assign(&root, &tight),
            Err(BundleError::NoRoom { needed: 370, free: 374 })
        ));
        let no_first = [medium(500, &[]), medium(5, &[])];
        assert!(assign(&root, &no_first).is_err(), "volume 00000 goes to every one");
    }

    #[test]
    fn what_is_there_stays_there() {
        let root = root(&[10, 100, 100, 100]);
        let media = [medium(210, &[]), medium(210, &[1])];
        assert_eq!(assign(&root, &media).unwrap(), [(1, 1), (2, 0), (3, 0)]);
    }
}
