//! From the line to the disk.

use std::ops::Range;

use airlift_spec::{Ctx, Digest, Event};
use airlift_store::{BlobWriter, StoreError};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::error::ClientError;
use super::options::Tuning;

/// Gathers what comes from the line into pieces worth a write, and writes one while the next one comes.
pub(crate) struct Sink<'a> {
    pub(crate) digest: Digest,
    tuning: Tuning,
    ctx: &'a Ctx,
    hand: Hand,
    buffer: Vec<u8>,
    /// Where in the blob the buffer begins.
    offset: u64,
    spare: Option<Vec<u8>>,
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
    buffer: Vec<u8>,
    result: Result<(), StoreError>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(writer: BlobWriter, digest: Digest, tuning: Tuning, ctx: &'a Ctx) -> Self {
        Self {
            digest,
            tuning,
            ctx,
            hand: Hand::Ours(Box::new(writer)),
            buffer: Vec::new(),
            offset: 0,
            spare: None,
            taken_bytes: 0,
            noted: Instant::now(),
        }
    }

    pub(crate) async fn put(&mut self, at: u64, mut bytes: &[u8]) -> Result<(), ClientError> {
        if at != self.offset + self.buffer.len() as u64 {
            self.flush().await?;
            self.offset = at;
        }
        self.taken_bytes += bytes.len() as u64;
        self.ctx
            .events
            .emit(Event::TransferAdvanced { blob: self.digest, bytes: bytes.len() as u64 });
        while !bytes.is_empty() {
            let room = self.tuning.write_bytes - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == self.tuning.write_bytes {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Hands the buffer to the disk, once it is done with the one before.
    async fn flush(&mut self) -> Result<(), ClientError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut writer = self.take().await?;
        let buffer = std::mem::replace(&mut self.buffer, self.spare.take().unwrap_or_default());
        let offset = self.offset;
        self.offset += buffer.len() as u64;
        let is_time = self.noted.elapsed() >= self.tuning.checkpoint_every;
        if is_time {
            self.noted = Instant::now();
        }
        self.hand = Hand::Disk(spawn_blocking(move || {
            let mut result = writer.write_at(offset, &buffer);
            if is_time && result.is_ok() {
                result = writer.checkpoint();
            }
            Written { writer, buffer, result }
        }));
        Ok(())
    }

    /// The writer, when the disk is done.
    async fn take(&mut self) -> Result<Box<BlobWriter>, ClientError> {
        // Polled in place: if this future is dropped here, the writer is not lost.
        if let Hand::Disk(writing) = &mut self.hand {
            let written = writing.await;
            self.hand = Hand::Nobody;
            let Written { writer, mut buffer, result } = written.map_err(ClientError::Thread)?;
            buffer.clear();
            self.spare = Some(buffer);
            self.hand = Hand::Ours(writer);
            result.map_err(|source| ClientError::Store { blob: self.digest, source })?;
        }
        match std::mem::replace(&mut self.hand, Hand::Nobody) {
            Hand::Ours(writer) => Ok(writer),
            Hand::Disk(_) | Hand::Nobody => Err(ClientError::Cancelled),
        }
    }

    /// What is still missing, with everything that came so far written.
    pub(crate) async fn gaps(&mut self) -> Result<Vec<Range<u64>>, ClientError> {
        self.flush().await?;
        let writer = self.take().await?;
        let gaps = writer.gaps();
        self.hand = Hand::Ours(writer);
        Ok(gaps)
    }

    /// Writes what is left and gives the writer back.
    pub(crate) async fn close(mut self) -> Result<BlobWriter, ClientError> {
        let flushed = self.flush().await;
        let writer = self.take().await?;
        match flushed {
            Ok(()) => Ok(*writer),
            Err(err) => {
                // Dropping it waits for the disk.
                blocking(move || drop(writer)).await?;
                Err(err)
            }
        }
    }

    /// Writes what is left and keeps it for the next run.
    pub(crate) async fn keep(self) -> Result<(), ClientError> {
        let blob = self.digest;
        let mut writer = self.close().await?;
        let kept = blocking(move || writer.checkpoint()).await?;
        kept.map_err(|source| ClientError::Store { blob, source })
    }
}

/// Runs what waits for the disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ClientError> {
    spawn_blocking(work).await.map_err(ClientError::Thread)
}
