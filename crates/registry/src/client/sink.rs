//! From the line to the disk.

use std::ops::Range;

use airlift_spec::{Ctx, Digest, Event};
use airlift_store::{BlobWriter, PAGE_BYTES, StoreError};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::error::ClientError;
use super::options::Tuning;
use crate::Buffers;
use crate::buffers::Lent;

/// Less is sooner fetched again than noted.
const WORTH_NOTING_BYTES: usize = 64 << 10;

/// Gathers what comes from the line into pieces worth a write, and writes one while the next one comes.
pub(crate) struct Sink<'a> {
    pub(crate) digest: Digest,
    tuning: Tuning,
    ctx: &'a Ctx,
    hand: Hand,
    buffers: &'a Buffers,
    buffer: Lent,
    /// The most that the buffer takes.
    write_bytes: usize,
    /// Where in the blob the buffer begins.
    offset: u64,
    /// Bytes taken so far.
    pub(crate) taken_bytes: u64,
    noted: Instant,
}

/// Who has the writer.
enum Hand {
    Ours(Box<BlobWriter>),
    Disk(JoinHandle<Written>),
    /// It failed.
    Nobody,
}

struct Written {
    writer: Box<BlobWriter>,
    result: Result<(), StoreError>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(
        writer: BlobWriter,
        digest: Digest,
        tuning: Tuning,
        buffers: &'a Buffers,
        ctx: &'a Ctx,
    ) -> Self {
        // A small blob does not need all of it.
        let write_bytes = usize::try_from(writer.size_bytes()).unwrap_or(usize::MAX);
        let write_bytes = write_bytes.clamp(1, tuning.write_bytes);
        Self {
            digest,
            tuning,
            ctx,
            hand: Hand::Ours(Box::new(writer)),
            buffers,
            buffer: buffers.lend(write_bytes),
            write_bytes,
            offset: 0,
            taken_bytes: 0,
            noted: Instant::now(),
        }
    }

    /// Where the bytes from `at` on go. What was put there is told to [`Self::took`].
    pub(crate) async fn room(&mut self, at: u64) -> Result<&mut [u8], ClientError> {
        let is_full = self.buffer.len() == self.border();
        // On a slow line it is long until the buffer is full.
        let is_due = self.buffer.len() >= WORTH_NOTING_BYTES && self.is_time();
        if is_full || is_due || at != self.offset + self.buffer.len() as u64 {
            self.flush().await?;
            self.offset = at;
        }
        let left = self.border() - self.buffer.len();
        Ok(&mut self.buffer.room()[..left])
    }

    pub(crate) fn took(&mut self, count: usize) {
        self.buffer.advance(count);
        self.taken_bytes += count as u64;
        self.ctx.events.emit(Event::TransferAdvanced { blob: self.digest, bytes: count as u64 });
    }

    /// How much makes a piece: what begins in the middle of a page ends at a page's border, so that all that follow are
    /// whole pages.
    fn border(&self) -> usize {
        let into_page = usize::try_from(self.offset % PAGE_BYTES as u64).expect("less than a page");
        let border = self.write_bytes - into_page.min(self.write_bytes);
        if border == 0 { self.write_bytes } else { border }
    }

    /// Whether it is time for another note of what is durable.
    fn is_time(&self) -> bool {
        self.noted.elapsed() >= self.tuning.checkpoint_every
    }

    /// Hands the buffer to the disk, once it is done with the one before.
    async fn flush(&mut self) -> Result<(), ClientError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut writer = self.take().await?;
        let buffer = std::mem::replace(&mut self.buffer, self.buffers.lend(self.write_bytes));
        let offset = self.offset;
        self.offset += buffer.len() as u64;
        let is_time = self.is_time();
        if is_time {
            self.noted = Instant::now();
        }
        self.hand = Hand::Disk(spawn_blocking(move || {
            let mut result = writer.write_at(offset, &buffer);
            if is_time && result.is_ok() {
                result = writer.checkpoint();
            }
            Written { writer, result }
        }));
        Ok(())
    }

    /// The writer, when the disk is done.
    async fn take(&mut self) -> Result<Box<BlobWriter>, ClientError> {
        // Polled in place: if this future is dropped here, the writer is not lost.
        if let Hand::Disk(writing) = &mut self.hand {
            let written = writing.await;
            self.hand = Hand::Nobody;
            let Written { writer, result } = written.map_err(ClientError::Thread)?;
            self.hand = Hand::Ours(writer);
            result.map_err(|source| ClientError::Store { blob: self.digest, source })?;
        }
        match std::mem::replace(&mut self.hand, Hand::Nobody) {
            Hand::Ours(writer) => Ok(writer),
            Hand::Disk(_) | Hand::Nobody => Err(ClientError::Cancelled),
        }
    }

    /// What is still missing. What came is written by then, but for a last piece beside which nothing is.
    pub(crate) async fn gaps(&mut self) -> Result<Vec<Range<u64>>, ClientError> {
        let held = self.offset..self.offset + self.buffer.len() as u64;
        let gaps = self.unwritten().await?;
        if gaps == [held] {
            return Ok(Vec::new());
        }
        self.flush().await?;
        self.unwritten().await
    }

    async fn unwritten(&mut self) -> Result<Vec<Range<u64>>, ClientError> {
        let writer = self.take().await?;
        let gaps = writer.gaps();
        self.hand = Hand::Ours(writer);
        Ok(gaps)
    }

    /// Writes what is left, and commits.
    pub(crate) async fn commit(self) -> Result<(), ClientError> {
        self.end(BlobWriter::commit).await
    }

    /// Writes what is left and keeps it for the next run.
    pub(crate) async fn keep(self) -> Result<(), ClientError> {
        self.end(|mut writer| writer.checkpoint()).await
    }

    async fn end(
        mut self,
        last: impl FnOnce(BlobWriter) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), ClientError> {
        let mut writer = match self.take().await {
            Ok(writer) => writer,
            Err(err) => {
                // A writer that is dropped waits for the disk.
                blocking(move || drop(self.hand)).await?;
                return Err(err);
            }
        };
        let (blob, offset, buffer) = (self.digest, self.offset, self.buffer);
        let ended = blocking(move || {
            if !buffer.is_empty() {
                writer.write_at(offset, &buffer)?;
            }
            drop(buffer);
            last(*writer)
        });
        ended.await?.map_err(|source| ClientError::Store { blob, source })
    }
}

/// Runs what waits for the disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ClientError> {
    spawn_blocking(work).await.map_err(ClientError::Thread)
}
