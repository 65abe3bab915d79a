//! Blobs that lie on this machine already.

use std::io::{Read as _, Seek as _, SeekFrom};

use airlift_spec::{Ctx, Digest, Event};
use airlift_store::BlobWriter;

use crate::UpstreamError;
use crate::local::LocalImage;

/// Read and written at once.
const PIECE_BYTES: usize = 1 << 20;

/// Copies a blob out of a local image into the store. Blocks on the disk.
pub(super) fn copy(
    image: &LocalImage,
    digest: Digest,
    reference: &str,
    mut writer: BlobWriter,
    ctx: &Ctx,
) -> Result<BlobWriter, UpstreamError> {
    let missing =
        || UpstreamError::Missing { reference: reference.to_owned(), what: "the blob", digest };
    let (path, place) = image.find(digest)?.ok_or_else(missing)?;
    if place.size != writer.size_bytes() {
        let (expected, actual) = (writer.size_bytes(), place.size);
        return Err(UpstreamError::Size {
            reference: reference.to_owned(),
            digest,
            expected,
            actual,
        });
    }
    let read_error = |source| UpstreamError::Read { path: path.display().to_string(), source };
    let mut file = fs_err::File::open(&path).map_err(read_error)?;
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
            writer.write_at(at, &buffer[..most]).map_err(|source| UpstreamError::Store {
                reference: reference.to_owned(),
                source,
            })?;
            at += most as u64;
            ctx.events.emit(Event::TransferAdvanced { blob: digest, bytes: most as u64 });
        }
    }
    Ok(writer)
}
