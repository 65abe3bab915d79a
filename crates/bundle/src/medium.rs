//! Finding a bundle on its media, and reading it piece by piece.
//!
//! ```text
//! FOLDER/NAME.bundle.json(.minisig)   read and checked when the bundle is opened
//! FOLDER/NAME.blobs                   the same: the root names its digest
//! FOLDER/NAME.NNNNN.sums(.minisig)    read when the volume is first read
//! FOLDER/NAME.NNNNN.tar               looked at by name and size; any of them may be absent
//! ```
//!
//! Media are strangers' disks, and may be read-only. Opening reads no volume. A volume counts as here if a regular
//! file has its name and size; whether the bytes are right shows chunk by chunk, before any byte is handed out
//! (see [`Volume`]). Root, table, and sums may lie on every medium; the first good copy serves.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlift_registry::Buffers;
use airlift_spec::{Digest, Hasher};
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::FormatError;
use crate::root::{CHUNK_BYTES, MAX_ROOT_BYTES, Member, Piece, Root, Table, root_file};
use crate::trust::TrustRoots;
use crate::volume::Volume;
use crate::{BundleError, disk};

const ROOT_SUFFIX: &str = ".bundle.json";
/// How much is read at once of what is checked already.
const FRAME_BYTES: u64 = 1 << 20;
/// Readers at once, however many clients there are: enough for a fast disk and all cores, with 2 MiB each at most.
const MAX_READS: usize = 16;

/// A bundle whose root a trusted key has signed; its bytes are checked as they are read.
///
/// [`TrustedBundle::open`] and its sisters are the only way to one, so forgetting to check a signature does not compile.
#[derive(Debug)]
pub struct TrustedBundle {
    root: Root,
    digest: Digest,
    root_bytes: Vec<u8>,
    table: Table,
    folders: Vec<PathBuf>,
    volumes: Vec<Volume>,
    is_blind: bool,
    /// Members whose digest was checked, and whether it was right.
    checked: Mutex<HashMap<Digest, bool>>,
    reads: Semaphore,
}

/// A root that somebody vouched for, and where it was found.
struct Found {
    root_bytes: Vec<u8>,
    folders: Vec<PathBuf>,
}

impl TrustedBundle {
    /// Opens every bundle in `folder`. Signature before parsing.
    pub fn open_all(folder: &Path, roots: &TrustRoots) -> Result<Vec<Self>, BundleError> {
        Self::open(&[folder.to_owned()], roots)
    }

    /// Opens every bundle in `folders`; one whose volumes lie in several of them is one bundle.
    pub fn open(folders: &[PathBuf], roots: &TrustRoots) -> Result<Vec<Self>, BundleError> {
        let mut found: Vec<(Digest, Found)> = Vec::new();
        for folder in folders {
            for file in root_files(folder)? {
                let bytes = disk::read_at_most(&file, MAX_ROOT_BYTES)?.unwrap_or_default();
                roots.check(&file, &bytes)?;
                let digest = Digest::of(&bytes);
                if let Some((_, known)) = found.iter_mut().find(|(known, _)| *known == digest) {
                    known.folders.push(folder.clone());
                } else {
                    let folders = vec![folder.clone()];
                    found.push((digest, Found { root_bytes: bytes, folders }));
                }
            }
        }
        let open = |(digest, found)| Self::open_found(digest, found, roots);
        found.into_iter().map(open).collect()
    }

    fn open_found(digest: Digest, found: Found, roots: &TrustRoots) -> Result<Self, BundleError> {
        let Found { root_bytes, folders } = found;
        let format = |source| BundleError::Format { file: folders[0].clone(), source };
        let root = Root::parse(&root_bytes).map_err(format)?;
        let table = read_table(&root, &folders)?;
        let names = Arc::new(SumsPlace { folders: folders.clone(), roots: roots.clone(), digest });
        let buffers = Buffers::default();
        let find = |ordinal| Volume::find(&root, ordinal, &names, &buffers);
        let volumes = root.ordinals().map(find).collect();
        let checked = Mutex::default();
        let (is_blind, reads) = (roots.is_blind(), Semaphore::new(MAX_READS));
        Ok(Self { root, digest, root_bytes, table, folders, volumes, is_blind, checked, reads })
    }

    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The root's digest: the bundle's identity.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The root's bytes, as they are signed.
    pub fn root_bytes(&self) -> &[u8] {
        &self.root_bytes
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Where the bundle lies.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// Whether nobody's signature was asked for.
    pub fn is_trusted_without_signature(&self) -> bool {
        self.is_blind
    }

    /// Names of volumes that hold a piece of `member` and are not here.
    pub fn absent_volumes(&self, member: &Member) -> Vec<String> {
        let volumes = member.pieces.iter().map(|piece| &self.volumes[piece.volume as usize]);
        volumes.filter(|volume| !volume.is_here()).map(|volume| volume.name().to_owned()).collect()
    }

    /// Members of volume 00000, by name.
    pub fn named_members(&self) -> impl Iterator<Item = (&str, &Member)> {
        let members = self.table.members().iter();
        members.filter_map(|member| Some((member.name.as_deref()?, member)))
    }

    /// Checked bytes of `member` from `offset`: at least one, at most up to `end`, where the volume or the chunk ends.
    ///
    /// Blocks on the disk. No byte comes before what vouches for it was checked: the sums of its chunk, else the
    /// digest of the whole member.
    ///
    /// # Errors
    ///
    /// [`BundleError::Absent`] if the volume is not here, [`BundleError::Damaged`] or
    /// [`BundleError::MemberDamaged`] if its bytes are wrong, now and from then on.
    pub fn read(&self, member: &Member, offset: u64, end: u64) -> Result<Bytes, BundleError> {
        let (piece, within) = piece_at(member, offset);
        let volume = &self.volumes[piece.volume as usize];
        let start = piece.offset + within;
        let end = piece.end().min(start + (end - offset));
        if !volume.is_here() {
            let volumes = vec![volume.name().to_owned()];
            return Err(BundleError::Absent { digest: member.digest, volumes });
        }
        if volume.sums().is_none() {
            self.check_digest(member)?;
            return volume.read_unchecked(start, end.min(start + FRAME_BYTES));
        }
        volume.read_checked(start, end)
    }

    /// All of `member`, which may have `limit` bytes at most.
    pub fn read_whole(&self, member: &Member, limit: u64) -> Result<Bytes, BundleError> {
        if member.size > limit {
            let (digest, size) = (member.digest, member.size);
            return Err(BundleError::TooLarge { digest, size, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(member.size).unwrap_or_default());
        while (bytes.len() as u64) < member.size {
            bytes.extend_from_slice(&self.read(member, bytes.len() as u64, member.size)?);
        }
        // Signed sums vouch for the volume; the digest for what its maker put there.
        if !member.digest.matches(&bytes) {
            return Err(self.member_damaged(member));
        }
        Ok(bytes.into())
    }

    /// Hashes the whole member, once; a piece on a volume that is absent makes that impossible.
    fn check_digest(&self, member: &Member) -> Result<(), BundleError> {
        let known = self.checked().get(&member.digest).copied();
        match known {
            Some(true) => return Ok(()),
            Some(false) => return Err(self.member_damaged(member)),
            None => {}
        }
        let absent = self.absent_volumes(member);
        if !absent.is_empty() {
            return Err(BundleError::Absent { digest: member.digest, volumes: absent });
        }
        let mut hasher = Hasher::new(member.digest.algorithm());
        for piece in &member.pieces {
            let volume = &self.volumes[piece.volume as usize];
            let mut start = piece.offset;
            while start < piece.end() {
                let bytes = volume.read_unchecked(start, piece.end().min(start + FRAME_BYTES))?;
                hasher.update(&bytes);
                start += bytes.len() as u64;
            }
        }
        if hasher.finish() != member.digest {
            return Err(self.member_damaged(member));
        }
        self.checked().insert(member.digest, true);
        Ok(())
    }

    fn checked(&self) -> MutexGuard<'_, HashMap<Digest, bool>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that the digest of `member` is wrong.
    fn member_damaged(&self, member: &Member) -> BundleError {
        self.checked().insert(member.digest, false);
        let volume = self.first_volume(member).to_owned();
        BundleError::MemberDamaged { volume, digest: member.digest }
    }

    fn first_volume(&self, member: &Member) -> &str {
        self.volumes[member.pieces.first().map_or(0, |piece| piece.volume) as usize].name()
    }

    /// The leave to read; who has it may hold a whole chunk.
    pub(crate) async fn admit(&self) -> SemaphorePermit<'_> {
        self.reads.acquire().await.expect("nobody closes it")
    }

    /// The parts of `range` of `member` that turned out damaged so far, and why each cannot be had.
    pub(crate) fn known_damage(
        &self,
        member: &Member,
        range: &Range<u64>,
    ) -> Vec<(Range<u64>, BundleError)> {
        if self.checked().get(&member.digest) == Some(&false) {
            return vec![(range.clone(), self.member_damaged(member))];
        }
        let mut known = Vec::new();
        let mut piece_start = 0;
        for piece in &member.pieces {
            let volume = &self.volumes[piece.volume as usize];
            for chunk in volume.damaged() {
                // From places on the volume to places in the member, cut to what is asked for.
                let start = (chunk * CHUNK_BYTES).max(piece.offset) + piece_start;
                let end = ((chunk + 1) * CHUNK_BYTES).min(piece.end()) + piece_start;
                let within = |place: u64| place.saturating_sub(piece.offset);
                let part = within(start).max(range.start)..within(end).min(range.end);
                if !part.is_empty() {
                    let volume = volume.name().to_owned();
                    known.push((part, BundleError::Damaged { volume, chunk }));
                }
            }
            piece_start += piece.length;
        }
        known
    }

    /// Blobs whose digest turned out wrong so far, each with the first volume that has a piece of it.
    pub fn damaged_blobs(&self) -> Vec<(String, Digest)> {
        let checked = self.checked();
        let wrong = checked.iter().filter(|(_, is_right)| !**is_right);
        let members = wrong.filter_map(|(digest, _)| self.table.find(digest));
        members.map(|member| (self.first_volume(member).to_owned(), member.digest)).collect()
    }

    /// Chunks that turned out damaged so far, by volume.
    pub fn damage(&self) -> BTreeMap<String, Vec<u64>> {
        let damaged =
            self.volumes.iter().map(|volume| (volume.name().to_owned(), volume.damaged()));
        damaged.filter(|(_, chunks)| !chunks.is_empty()).collect()
    }
}

/// Where sums of a bundle may lie, and who may vouch for them.
#[derive(Debug)]
pub(crate) struct SumsPlace {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) roots: TrustRoots,
    pub(crate) digest: Digest,
}

/// The piece that holds the byte at `offset`, and where in it that byte is.
fn piece_at(member: &Member, offset: u64) -> (Piece, u64) {
    let mut within = offset;
    for piece in &member.pieces {
        if within < piece.length {
            return (*piece, within);
        }
        within -= piece.length;
    }
    let last = member.pieces[member.pieces.len() - 1];
    (last, last.length)
}

fn root_files(folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let is_root = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let stem = name.and_then(|name| name.strip_suffix(ROOT_SUFFIX));
        stem.is_some_and(crate::root::is_bundle_name)
    };
    let files: Vec<_> = disk::list(folder)?.into_iter().filter(is_root).collect();
    if files.is_empty() {
        return Err(BundleError::NoBundle { folder: folder.to_owned() });
    }
    Ok(files)
}

/// The first copy of the table that is the one the root names.
fn read_table(root: &Root, folders: &[PathBuf]) -> Result<Table, BundleError> {
    let mut last = None;
    for folder in folders {
        let file = folder.join(root.table_file());
        match disk::read_at_most(&file, root.blobs.size) {
            Ok(Some(bytes)) if root.blobs.digest.matches(&bytes) => {
                return Table::parse(&bytes, root)
                    .map_err(|source| BundleError::Format { file, source });
            }
            Ok(None) => {
                last.get_or_insert(BundleError::TableMissing { file });
            }
            Ok(_) | Err(BundleError::Format { source: FormatError::TooLarge { .. }, .. }) => {
                last = Some(BundleError::TableMismatch { file });
            }
            Err(err) => last = Some(err),
        }
    }
    Err(last.unwrap_or(BundleError::NoBundle { folder: root_file(&root.name).into() }))
}
