//! A file as a stream of large frames, read off the async threads into buffers that are used again.
//!
//! **Memory.** A stream holds one frame that it is reading and one that is on its way to the client, whatever
//! the size of the blob; frames are smaller while many streams are open, so that 500 slow clients cost as
//! much as 250 fast ones. Buffers that came back are kept for the next frame, up to a bound.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};

use super::backend::BackendError;
use super::blocking::blocking;
use crate::Buffers;

/// Smaller frames cost CPU (a tenth more at half the size); larger ones only memory.
const LARGE_FRAME_BYTES: usize = 512 << 10;
const SMALL_FRAME_BYTES: usize = 256 << 10;
/// Streams up to which frames are large.
const FEW_STREAMS: usize = 64;

/// Where frames come from. Cheap to clone; clones share the buffers and the count.
#[derive(Debug, Clone, Default)]
pub(super) struct Frames {
    buffers: Buffers,
    streams: Arc<AtomicUsize>,
}

/// Counts a stream for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Frames {
    /// The bytes of `range` of `file`. Fails where the file ends before the range does.
    pub(super) fn stream(
        &self,
        file: fs_err::File,
        range: Range<u64>,
    ) -> BoxStream<'static, Result<Bytes, BackendError>> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        let open = Open(self.streams.clone());
        let state = (Arc::new(file), range, self.clone(), open);
        futures::stream::try_unfold(state, |(file, mut range, frames, open)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let (source, wanted, pool) = (file.clone(), range.clone(), frames.clone());
            let frame = blocking(move || pool.read(&source, &wanted)).await.and_then(|read| read);
            let frame = frame.map_err(BackendError::Read)?;
            range.start += frame.len() as u64;
            Ok(Some((frame, (file, range, frames, open))))
        })
        .boxed()
    }

    fn read(&self, file: &fs_err::File, range: &Range<u64>) -> io::Result<Bytes> {
        let few = self.streams.load(Ordering::Relaxed) <= FEW_STREAMS;
        let most = if few { LARGE_FRAME_BYTES } else { SMALL_FRAME_BYTES };
        let length = usize::try_from(range.end - range.start).unwrap_or(most).min(most);
        self.buffers.read(file, range.start, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt as _;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, fs_err::File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        fs_err::write(&path, bytes).unwrap();
        let file = fs_err::File::open(path).unwrap();
        (dir, file)
    }

    #[tokio::test]
    async fn a_range_comes_in_large_frames_and_whole() {
        let bytes: Vec<u8> = (0..1_300_000_u32).map(|n| (n % 251) as u8).collect();
        let (_dir, file) = file(&bytes);
        let frames: Vec<Bytes> =
            Frames::default().stream(file, 7..1_299_999).try_collect().await.unwrap();
        assert_eq!(frames.concat(), bytes[7..1_299_999]);
        assert_eq!(frames.len(), 3, "frames must not be small");
    }

    #[tokio::test]
    async fn a_file_that_ends_early_is_an_error_and_not_a_short_answer() {
        let (_dir, file) = file(b"short");
        let result: Result<Vec<Bytes>, _> =
            Frames::default().stream(file, 0..10).try_collect().await;
        assert!(matches!(result, Err(BackendError::Read(_))), "{result:?}");
    }

    #[tokio::test]
    async fn a_stream_counts_as_long_as_it_lives() {
        let (_dir, file) = file(&vec![1; 4 * LARGE_FRAME_BYTES]);
        let frames = Frames::default();
        let mut stream = frames.stream(file, 0..4 * LARGE_FRAME_BYTES as u64);
        stream.next().await.unwrap().unwrap();
        assert_eq!(frames.streams.load(Ordering::Relaxed), 1);
        drop(stream);
        assert_eq!(frames.streams.load(Ordering::Relaxed), 0);
    }
}
