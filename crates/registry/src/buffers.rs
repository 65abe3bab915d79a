//! Buffers that are used again. A fresh one costs the kernel a page fault every 4 KiB, more than reading into it does.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlift_store::PageBuffer;
use bytes::Bytes;

/// Bytes kept for later, whatever the sizes of the buffers: what a few busy connections use.
const KEPT_BYTES: usize = 32 << 20;

/// What is smaller costs no page faults: the allocator has it at hand.
const WORTH_KEEPING_BYTES: usize = 64 << 10;

/// Where whoever carries bytes between files and connections gets his buffers. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<PageBuffer>>>);

/// An empty buffer, which goes back to where it came from.
#[derive(Debug)]
pub(crate) struct Lent {
    buffer: PageBuffer,
    home: Buffers,
}

impl Deref for Lent {
    type Target = PageBuffer;

    fn deref(&self) -> &PageBuffer {
        &self.buffer
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PageBuffer {
        &mut self.buffer
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let capacity = self.buffer.capacity();
        if capacity < WORTH_KEEPING_BYTES {
            return;
        }
        let mut kept = self.home.lock();
        let kept_bytes: usize = kept.iter().map(PageBuffer::capacity).sum();
        if kept_bytes + capacity <= KEPT_BYTES {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

impl Buffers {
    /// An empty buffer that takes `capacity` bytes or more.
    pub(crate) fn lend(&self, capacity: usize) -> Lent {
        let kept = (capacity >= WORTH_KEEPING_BYTES).then(|| self.kept(capacity)).flatten();
        let mut buffer = kept.unwrap_or_else(|| PageBuffer::new(capacity));
        buffer.clear();
        Lent { buffer, home: self.clone() }
    }

    /// A buffer that was used before. Where none is large enough, one makes room for the larger one that is to come.
    fn kept(&self, capacity: usize) -> Option<PageBuffer> {
        let mut kept = self.lock();
        let fitting = kept.iter().rposition(|buffer| buffer.capacity() >= capacity);
        if fitting.is_none() {
            kept.pop();
        }
        fitting.map(|at| kept.swap_remove(at))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PageBuffer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `length` bytes of `file` from `offset`; an error where the file ends before.
    pub fn read(&self, file: &fs_err::File, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut lent = self.lend(length);
        file.file().read_exact_at(&mut lent.room()[..length], offset)?;
        lent.advance(length);
        Ok(Bytes::from_owner(lent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(length: usize) -> fs_err::File {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), vec![7; length]).unwrap();
        fs_err::File::open(file.path()).unwrap()
    }

    fn kept(buffers: &Buffers) -> Vec<usize> {
        buffers.lock().iter().map(PageBuffer::capacity).collect()
    }

    #[test]
    fn a_buffer_is_used_again_when_the_last_of_its_bytes_are_gone() {
        let (file, buffers) = (file(200_000), Buffers::default());
        let bytes = buffers.read(&file, 0, 200_000).unwrap();
        let part = bytes.slice(10..20);
        drop(bytes);
        assert!(kept(&buffers).is_empty(), "a part of it is still in use");
        assert_eq!(part, [7; 10].as_slice());
        drop(part);
        let shorter = buffers.read(&file, 100_000, 100_000).unwrap();
        assert_eq!((shorter.len(), kept(&buffers).len()), (100_000, 0));
        drop(shorter);
        assert_eq!(kept(&buffers), [200_000]);
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let (file, buffers) = (file(KEPT_BYTES / 2), Buffers::default());
        let read = || buffers.read(&file, 0, KEPT_BYTES / 2).unwrap();
        drop([read(), read(), read()]);
        assert_eq!(kept(&buffers).len(), 2);
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_and_costs_no_buffer() {
        let (file, buffers) = (file(10), Buffers::default());
        let err = buffers.read(&file, 5, 100_000).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(kept(&buffers).len(), 1);
    }

    #[test]
    fn small_ones_are_not_kept_and_those_that_are_too_small_make_room() {
        let buffers = Buffers::default();
        drop(buffers.lend(100));
        assert!(kept(&buffers).is_empty());
        drop([buffers.lend(100_000), buffers.lend(200_000)]);
        let large = buffers.lend(150_000);
        assert_eq!((large.capacity(), kept(&buffers)), (200_000, vec![100_000]));
        let larger = buffers.lend(300_000);
        assert_eq!((larger.capacity(), kept(&buffers)), (300_000, vec![]));
    }
}
