//! One volume on a medium: read chunk by chunk, each checked once before any byte of it is handed out.
//!
//! **Invariant.** A byte leaves [`Volume::read_checked`] only if its chunk matched the signed sums, in this buffer
//! or earlier in this process. Where several folders have the volume, each chunk comes from the first copy in which it
//! matches; a chunk that matches in none stays damaged until the process ends.
//! **Concurrency.** Any number of readers; two that meet at an unchecked chunk both check it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use airlift_registry::Buffers;
use airlift_spec::{Algorithm, Digest, Hasher};
use bytes::Bytes;

use crate::medium::SumsPlace;
use crate::root::{CHUNK_BYTES, Root, Sums, max_sums_bytes};
use crate::tar::{MARKER_BYTES, Marked, read_marker};
use crate::{BundleError, disk};

/// How much is read at once.
const FRAME_BYTES: u64 = 1 << 20;

/// A volume, here or not.
#[derive(Debug)]
pub struct Volume {
    ordinal: u32,
    name: String,
    size: u64,
    presence: Presence,
    /// Further files of its name and size, for chunks that are damaged in the first.
    spares: Vec<PathBuf>,
    place: Arc<SumsPlace>,
    buffers: Buffers,
    sums_file: String,
    sums: OnceLock<Option<Sums>>,
    /// One bit a chunk: it matched its sum.
    checked: Box<[AtomicU64]>,
    damaged: Mutex<BTreeSet<u64>>,
    /// Chunks that a spare has to give, and which.
    mended: Mutex<BTreeMap<u64, usize>>,
}

/// Whether the file of a volume is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// The first file of its name and size.
    Here(PathBuf),
    /// A file of its name, of another size.
    WrongSize(PathBuf, u64),
    Absent,
}

impl Volume {
    /// Looks for the volume by name and size, in every folder of the bundle.
    pub(crate) fn find(
        root: &Root,
        ordinal: u32,
        place: &Arc<SumsPlace>,
        buffers: &Buffers,
    ) -> Self {
        let name = root.volume_file(ordinal);
        let size = root.volumes[ordinal as usize];
        let mut presence = Presence::Absent;
        let mut spares = Vec::new();
        for path in place.folders.iter().map(|folder| folder.join(&name)) {
            match (disk::file_len(&path), &presence) {
                (Some(found), Presence::Here(_)) if found == size => spares.push(path),
                (None, _) | (Some(_), Presence::Here(_)) => {}
                (Some(found), _) if found == size => presence = Presence::Here(path),
                (Some(found), _) => presence = Presence::WrongSize(path, found),
            }
        }
        let words = size.div_ceil(CHUNK_BYTES).div_ceil(64);
        Self {
            ordinal,
            name,
            size,
            presence,
            spares,
            place: Arc::clone(place),
            buffers: buffers.clone(),
            sums_file: root.sums_file(ordinal),
            sums: OnceLock::new(),
            checked: (0..words).map(|_| AtomicU64::new(0)).collect(),
            damaged: Mutex::default(),
            mended: Mutex::default(),
        }
    }

    /// The same volume as it lies in `file`, which has another name: to be checked there.
    pub(crate) fn under_another_name(&self, root: &Root, file: PathBuf) -> Self {
        let named = Self::find(root, self.ordinal, &self.place, &self.buffers);
        Self { presence: Presence::Here(file), spares: Vec::new(), ..named }
    }

    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// `NAME.00017.tar`
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn size_bytes(&self) -> u64 {
        self.size
    }

    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    pub fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here(_))
    }

    pub fn chunk_count(&self) -> u64 {
        self.size.div_ceil(CHUNK_BYTES)
    }

    /// Chunks that turned out damaged so far.
    pub fn damaged(&self) -> Vec<u64> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Chunks that are damaged in the first copy, so far, and that another copy gave.
    pub(crate) fn mended(&self) -> Vec<u64> {
        self.mended.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// The sums, if a trusted key has signed them.
    pub(crate) fn sums(&self) -> Option<&Sums> {
        self.sums.get_or_init(|| self.find_sums()).as_ref()
    }

    fn find_sums(&self) -> Option<Sums> {
        let files = self.place.folders.iter().map(|folder| folder.join(&self.sums_file));
        files.into_iter().find_map(|file| match self.read_sums(&file) {
            Ok(sums) => sums,
            Err(err) => {
                tracing::warn!(err = %airlift_spec::error::chain(&err), "sums are not used");
                None
            }
        })
    }

    fn read_sums(&self, file: &Path) -> Result<Option<Sums>, BundleError> {
        let Some(bytes) = disk::read_at_most(file, max_sums_bytes(self.size))? else {
            return Ok(None);
        };
        // Signature before parsing.
        self.place.roots.check(file, &bytes)?;
        let sums = Sums::parse(&bytes, &self.place.digest, self.ordinal, self.size);
        sums.map(Some).map_err(|source| BundleError::Format { file: file.to_owned(), source })
    }

    /// Checked bytes from `start`, up to `end` or the end of the chunk, whichever comes first. The signed sums must
    /// be there.
    pub(crate) fn read_checked(&self, start: u64, end: u64) -> Result<Bytes, BundleError> {
        let chunk = start / CHUNK_BYTES;
        let chunk_start = chunk * CHUNK_BYTES;
        let chunk_end = (chunk_start + CHUNK_BYTES).min(self.size);
        if self.is_checked(chunk) {
            return self.read_unchecked(start, end.min(chunk_end).min(start + FRAME_BYTES));
        }
        self.check_chunk(chunk, start..end.min(chunk_end))
    }

    /// Reads a whole chunk and compares it with its sum, copy by copy; returns those of its bytes that are `wanted`.
    pub(crate) fn check_chunk(&self, chunk: u64, wanted: Range<u64>) -> Result<Bytes, BundleError> {
        let damaged = || BundleError::Damaged { volume: self.name.clone(), chunk };
        if self.damaged.lock().unwrap_or_else(PoisonError::into_inner).contains(&chunk) {
            return Err(damaged());
        }
        let sums = self.sums().ok_or_else(damaged)?;
        let index = usize::try_from(chunk).unwrap_or(usize::MAX);
        let sum = sums.sha256.get(index).map(|sum| Digest::Sha256(*sum));
        let start = chunk * CHUNK_BYTES;
        let end = (start + CHUNK_BYTES).min(self.size);
        let mut failure = None;
        for copy in 0..=self.spares.len() {
            match self.hash_copy(copy, start..end, &wanted) {
                Ok((digest, bytes)) if sum == Some(digest) => {
                    if copy > 0 {
                        let mut mended = self.mended.lock().unwrap_or_else(PoisonError::into_inner);
                        mended.insert(chunk, copy);
                    }
                    self.checked[index / 64].fetch_or(1 << (index % 64), Ordering::Release);
                    return Ok(bytes);
                }
                Ok(_) => tracing::error!(volume = %self.name, chunk, copy, "the chunk is damaged"),
                Err(err) => failure = Some(err),
            }
        }
        // A disk that does not answer may answer the next time; wrong bytes stay wrong.
        if let Some(err) = failure {
            return Err(err);
        }
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(chunk);
        Err(damaged())
    }

    fn is_checked(&self, chunk: u64) -> bool {
        let index = usize::try_from(chunk).unwrap_or(usize::MAX);
        self.checked[index / 64].load(Ordering::Acquire) & (1 << (index % 64)) != 0
    }

    /// Bytes as they lie there, each chunk in the copy that is known to be good, else in the first.
    pub(crate) fn read_unchecked(&self, start: u64, end: u64) -> Result<Bytes, BundleError> {
        let copy_of = |chunk| {
            let mended = self.mended.lock().unwrap_or_else(PoisonError::into_inner);
            mended.get(&chunk).copied().unwrap_or_default()
        };
        let cut = (start / CHUNK_BYTES + 1) * CHUNK_BYTES;
        let first = self.read_copy(copy_of(start / CHUNK_BYTES), start, end.min(cut))?;
        if end <= cut {
            return Ok(first);
        }
        Ok([first, self.read_unchecked(cut, end)?].concat().into())
    }

    /// Hashes `range` of one copy, and keeps what is `wanted` of the very bytes that it hashed. A whole chunk at a time
    /// would cost every reader 8 MiB.
    fn hash_copy(
        &self,
        copy: usize,
        range: Range<u64>,
        wanted: &Range<u64>,
    ) -> Result<(Digest, Bytes), BundleError> {
        let file = self.open_copy(copy)?;
        let length = |part: &Range<u64>| usize::try_from(part.end - part.start).unwrap_or_default();
        let mut kept = Vec::with_capacity(length(wanted));
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + FRAME_BYTES);
            let frame = self.buffers.read(&file, at, length(&(at..end))).map_err(self.failed())?;
            hasher.update(&frame);
            let within = |place: u64| length(&(at..place.clamp(at, end)));
            kept.extend_from_slice(&frame[within(wanted.start)..within(wanted.end)]);
            at = end;
        }
        Ok((hasher.finish(), kept.into()))
    }

    /// Bytes of one copy.
    fn read_copy(&self, copy: usize, start: u64, end: u64) -> Result<Bytes, BundleError> {
        let file = self.open_copy(copy)?;
        let length = usize::try_from(end - start).unwrap_or_default();
        self.buffers.read(&file, start, length).map_err(self.failed())
    }

    /// Opened for every read: a bundle may have more volumes than a process may have files.
    fn open_copy(&self, copy: usize) -> Result<fs_err::File, BundleError> {
        let path = match (&self.presence, copy.checked_sub(1)) {
            (Presence::Here(path), None) => Some(path),
            (Presence::Here(_), Some(spare)) => self.spares.get(spare),
            (Presence::WrongSize(..) | Presence::Absent, _) => None,
        };
        let found = path.map_or(Ok(None), |path| disk::open(path)).map_err(self.failed())?;
        found.ok_or(std::io::ErrorKind::NotFound.into()).map_err(self.failed())
    }

    fn failed(&self) -> impl FnOnce(std::io::Error) -> BundleError {
        BundleError::disk(format!("failed to read {}", self.name))
    }
}

/// What the first member of the file at `path` says; none where it is no volume.
pub(crate) fn marked(path: &Path) -> Option<Marked> {
    let file = disk::open(path).ok()??;
    let mut start = [0; MARKER_BYTES];
    let count = disk::read_full_at(&file, &mut start, 0).ok()?;
    read_marker(&start[..count])
}
