//! Writing one volume: every byte is hashed twice on its way, for its blob's digest and for its chunk's sum.
//!
//! The thread that reads hashes blobs; a second one hashes chunks and writes, so that two cores share the work and
//! neither waits for the disk alone. At most [`QUEUE`] frames lie between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use airlift_spec::{Algorithm, Ctx, Digest, Event, Hasher};
use airlift_store::{DirectFile, PageBuffer, Store, write_all_at};
use fs_err as fs;

use crate::root::{CHUNK_BYTES, Member, Piece, Root, Table, in_volume_order, member_name};
use crate::{BundleError, disk, tar};

/// Large enough that system calls do not show, small enough to stay in the cache between two hashes.
const FRAME_BYTES: u64 = 1 << 20;
/// Frames read ahead of the disk.
const QUEUE: usize = 8;

/// What lies on each volume, in order.
pub(crate) struct Contents<'a> {
    pieces: Vec<(Piece, &'a Member, usize)>,
}

impl<'a> Contents<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        Self { pieces: in_volume_order(table.members()) }
    }

    pub(crate) fn of(&self, ordinal: u32) -> &[(Piece, &'a Member, usize)] {
        let start = self.pieces.partition_point(|(piece, ..)| piece.volume < ordinal);
        let end = self.pieces.partition_point(|(piece, ..)| piece.volume <= ordinal);
        &self.pieces[start..end]
    }

    /// Where the ordinary blob `digest` lies.
    pub(crate) fn pieces_of(&self, digest: &Digest) -> impl Iterator<Item = Piece> {
        let is_it = move |member: &Member| member.digest == *digest && member.name.is_none();
        self.pieces.iter().filter(move |(_, member, _)| is_it(member)).map(|(piece, ..)| *piece)
    }
}

/// What every volume of one bundle is written from.
pub(crate) struct Cutter<'a> {
    pub(crate) store: &'a Store,
    /// Members of volume 00000 that are in memory; the others are in the store.
    pub(crate) named: &'a BTreeMap<Digest, Vec<u8>>,
    pub(crate) root: &'a Root,
    pub(crate) digest: Digest,
    pub(crate) contents: Contents<'a>,
    /// Running hashes of blobs that go on on the next volume.
    pub(crate) running: BTreeMap<Digest, Hasher>,
    /// Whether the digest of a split blob is followed. Without it, the sums of the whole volume must decide.
    pub(crate) follows_parts: bool,
}

impl<'a> Cutter<'a> {
    /// Writes volume `ordinal` to `partial`, durably; gives the sums of its chunks.
    ///
    /// # Errors
    ///
    /// [`BundleError::BlobDamaged`] if the store's bytes are not what their digest says; it is out of the store then.
    pub(crate) fn cut(
        &mut self,
        ordinal: u32,
        partial: &Path,
        ctx: &Ctx,
    ) -> Result<Vec<[u8; 32]>, BundleError> {
        let doing = || BundleError::disk(format!("failed to write {}", partial.display()));
        let size = self.root.volumes[ordinal as usize];
        let volume = self.root.volume_file(ordinal);
        ctx.events.emit(Event::VolumeStarted { volume: volume.clone(), total_bytes: size });
        let file = fs::File::create(partial).map_err(doing())?;
        disk::preallocate(&file, size).map_err(doing())?;
        let (tx, rx) = sync_channel(QUEUE);
        let (sent, written) = thread::scope(|scope| {
            let direct = DirectFile::open(partial);
            let writer = scope.spawn(move || Pages::new(file, direct).write_frames(rx));
            let sent = self.send(ordinal, &volume, tx, ctx);
            (sent, writer.join())
        });
        let written = written.expect("the writer does not panic").map_err(doing());
        // A writer that stopped is why the sender stopped, so its error goes first.
        match sent {
            Err(Stop::Writer) => Err(written.err().unwrap_or(BundleError::Cancelled)),
            Err(Stop::Error(err)) => Err(*err),
            Ok(()) => written,
        }
    }

    /// Gives the volume that [`cut`](Self::cut) wrote its name; only from now on it is finished.
    pub(crate) fn publish(
        &self,
        ordinal: u32,
        partial: &Path,
        file: &Path,
        ctx: &Ctx,
    ) -> Result<(), BundleError> {
        disk::publish(partial, file)?;
        ctx.events.emit(Event::VolumeFinished { volume: self.root.volume_file(ordinal) });
        Ok(())
    }

    fn send(
        &mut self,
        ordinal: u32,
        volume: &str,
        tx: SyncSender<Vec<u8>>,
        ctx: &Ctx,
    ) -> Result<(), Stop> {
        let mut out = Out { tx, volume, ctx, untold_bytes: 0 };
        out.send(tar::marker(&self.root.name, &self.digest, ordinal))?;
        let pieces = self.contents.of(ordinal).to_vec();
        for (piece, member, part) in pieces {
            out.send(tar::header(&member_name(member, part), piece.length))?;
            self.send_piece(&mut out, piece, member, part)?;
            let padding = tar::padded(piece.length) - piece.length;
            out.send(vec![0; usize::try_from(padding).unwrap_or_default()])?;
        }
        out.send(vec![0; usize::try_from(tar::END_BYTES).unwrap_or_default()])?;
        out.tell();
        Ok(())
    }

    fn send_piece(
        &mut self,
        out: &mut Out<'_>,
        piece: Piece,
        member: &Member,
        part: usize,
    ) -> Result<(), Stop> {
        let digest = member.digest;
        let blob = self.open(&digest)?;
        let skipped: u64 = member.pieces[..part].iter().map(|piece| piece.length).sum();
        let fresh = (part == 0).then(|| Hasher::new(digest.algorithm()));
        let mut hasher = fresh.or_else(|| self.running.remove(&digest));
        let mut done = 0;
        while done < piece.length {
            let length = FRAME_BYTES.min(piece.length - done);
            let mut frame = vec![0; usize::try_from(length).unwrap_or_default()];
            let doing = || BundleError::disk(format!("failed to read {digest} from the store"));
            let count = blob.read_full_at(&mut frame, skipped + done).map_err(doing())?;
            if count < frame.len() {
                return Err(self.discard(digest).into());
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(&frame);
            }
            out.send(frame)?;
            done += length;
        }
        let is_last = part + 1 == member.pieces.len();
        match hasher {
            Some(hasher) if is_last && hasher.clone().finish() != digest => {
                Err(self.discard(digest).into())
            }
            Some(hasher) if !is_last && self.follows_parts => {
                self.running.insert(digest, hasher);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Bytes<'a>, BundleError> {
        if let Some(bytes) = self.named.get(digest) {
            return Ok(Bytes::InMemory(bytes));
        }
        let file = self.store.open_blob(digest)?;
        file.map(Bytes::Stored).ok_or(BundleError::BlobMissing { digest: *digest })
    }

    /// Takes a damaged blob out of the store, so that the next fetch brings it again.
    pub(crate) fn discard(&self, digest: Digest) -> BundleError {
        match self.store.discard(&digest) {
            Ok(()) => BundleError::BlobDamaged { digest },
            Err(err) => err.into(),
        }
    }
}

/// What a member is read from.
enum Bytes<'a> {
    InMemory(&'a [u8]),
    Stored(fs::File),
}

impl Bytes<'_> {
    /// Reads until `buffer` is full or the bytes end; says how much there was.
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        match self {
            Self::Stored(file) => disk::read_full_at(file, buffer, offset),
            Self::InMemory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let rest = &bytes[start..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

/// Why sending stopped short.
enum Stop {
    /// The writer is gone, and knows why.
    Writer,
    Error(Box<BundleError>),
}

impl From<BundleError> for Stop {
    fn from(err: BundleError) -> Self {
        Self::Error(Box::new(err))
    }
}

struct Out<'a> {
    tx: SyncSender<Vec<u8>>,
    volume: &'a str,
    ctx: &'a Ctx,
    untold_bytes: u64,
}

impl Out<'_> {
    fn send(&mut self, frame: Vec<u8>) -> Result<(), Stop> {
        if self.ctx.is_cancelled() {
            return Err(BundleError::Cancelled.into());
        }
        self.untold_bytes += frame.len() as u64;
        self.tx.send(frame).map_err(|_| Stop::Writer)?;
        // One event a frame, not one for each header and padding.
        if self.untold_bytes >= FRAME_BYTES {
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        let (volume, bytes) = (self.volume.to_owned(), std::mem::take(&mut self.untold_bytes));
        self.ctx.events.emit(Event::VolumeAdvanced { volume, bytes });
    }
}

/// Gathers what goes into a volume: written directly, in whole pages, where the medium takes that.
struct Pages {
    file: fs::File,
    direct: Option<DirectFile>,
    buffer: PageBuffer,
    /// Where in the volume the buffer begins.
    offset: u64,
}

impl Pages {
    fn new(file: fs::File, direct: Option<DirectFile>) -> Self {
        let buffer = PageBuffer::new(usize::try_from(FRAME_BYTES).unwrap_or_default());
        Self { file, direct, buffer, offset: 0 }
    }

    fn write_frames(mut self, rx: Receiver<Vec<u8>>) -> std::io::Result<Vec<[u8; 32]>> {
        let mut sums = Chunks::default();
        for frame in rx {
            sums.update(&frame);
            let mut rest = frame.as_slice();
            while !rest.is_empty() {
                let taken = self.buffer.fill(rest);
                rest = &rest[taken..];
                if self.buffer.room().is_empty() {
                    self.flush()?;
                }
            }
        }
        self.flush()?;
        self.file.sync_all()?;
        Ok(sums.finish())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        write_all_at(&self.file, self.direct.as_ref(), &self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// SHA-256 of each chunk of a stream.
pub(crate) struct Chunks {
    hasher: Hasher,
    filled: u64,
    sums: Vec<[u8; 32]>,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { hasher: Hasher::new(Algorithm::Sha256), filled: 0, sums: Vec::new() }
    }
}

impl Chunks {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(CHUNK_BYTES - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.filled += now.len() as u64;
            if self.filled == CHUNK_BYTES {
                self.close();
            }
            bytes = later;
        }
    }

    fn close(&mut self) {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(Algorithm::Sha256));
        self.filled = 0;
        match hasher.finish() {
            Digest::Sha256(sum) => self.sums.push(sum),
            Digest::Sha512(_) => unreachable!("the hasher was made for SHA-256"),
        }
    }

    pub(crate) fn finish(mut self) -> Vec<[u8; 32]> {
        if self.filled > 0 {
            self.close();
        }
        self.sums
    }
}
