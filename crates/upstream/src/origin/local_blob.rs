//! Blobs that lie on this machine already.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use airlift_registry::client::Fetched as Transfer;
use airlift_spec::{Ctx, Descriptor, Event, error};
use airlift_store::{BlobWriter, Staging, Store, StoreError};

use crate::UpstreamError;
use crate::local::{LocalImage, open_regular};

/// Read and written at once.
const PIECE_BYTES: usize = 1 << 20;

/// A blob to copy out of a local image.
pub(super) struct Copy {
    pub(super) image: Arc<LocalImage>,
    pub(super) blob: Descriptor,
    pub(super) reference: String,
}

impl Copy {
    /// Copies the blob into `store` through its gate. Blocks on the disk.
    pub(super) fn run(&self, store: &Store, ctx: &Ctx) -> Result<Transfer, UpstreamError> {
        let writer = match store.stage(self.blob.digest, self.blob.size) {
            Ok(Staging::Writer(writer)) => writer,
            Ok(Staging::Present) => return Ok(Transfer::Present),
            Ok(Staging::Busy) => return Ok(Transfer::Busy),
            Err(source) => return Err(self.store_error(source)),
        };
        let missing: u64 = writer.gaps().iter().map(|gap| gap.end - gap.start).sum();
        let (blob, total_bytes) = (self.blob.digest, self.blob.size);
        let resumed_bytes = total_bytes - missing;
        ctx.events.emit(Event::TransferStarted { blob, total_bytes, resumed_bytes });
        match self.fill(writer, ctx) {
            Ok(()) => {
                ctx.events.emit(Event::TransferFinished { blob });
                Ok(Transfer::Brought)
            }
            Err(err) => {
                ctx.events.emit(Event::TransferFailed { blob, reason: error::chain(&err) });
                Err(err)
            }
        }
    }

    fn fill(&self, mut writer: BlobWriter, ctx: &Ctx) -> Result<(), UpstreamError> {
        let digest = self.blob.digest;
        let missing = || UpstreamError::Missing {
            reference: self.reference.clone(),
            what: "the blob",
            digest,
        };
        let (path, place) = self.image.find(digest)?.ok_or_else(missing)?;
        if place.size != self.blob.size {
            let (expected, actual) = (self.blob.size, place.size);
            let reference = self.reference.clone();
            return Err(UpstreamError::Size { reference, digest, expected, actual });
        }
        let read_error = |source| UpstreamError::Read { path: path.display().to_string(), source };
        let mut file = open_regular(&path)?;
        let mut buffer = vec![0; PIECE_BYTES];
        for gap in writer.gaps() {
            file.seek(SeekFrom::Start(place.offset + gap.start)).map_err(read_error)?;
            let mut at = gap.start;
            while at < gap.end {
                if ctx.is_cancelled() {
                    return Err(UpstreamError::Cancelled);
                }
                let most = usize::try_from(gap.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                file.read_exact(&mut buffer[..most]).map_err(read_error)?;
                writer.write_at(at, &buffer[..most]).map_err(|source| self.store_error(source))?;
                at += most as u64;
                ctx.events.emit(Event::TransferAdvanced { blob: digest, bytes: most as u64 });
            }
        }
        writer.commit().map_err(|source| self.store_error(source))
    }

    fn store_error(&self, source: StoreError) -> UpstreamError {
        UpstreamError::Store { reference: self.reference.clone(), source }
    }
}
