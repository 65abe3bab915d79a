//! Bytes that go to the disk without a copy of them in the page cache.
//!
//! A blob on its way in is written once and not read again soon. Through the page cache that costs a copy, memory that
//! others had a use for, and a disk that begins to work when the kernel finds the time, or at the sync. Written directly,
//! the bytes leave the buffer that they were hashed in, and the sync at the end finds little left to do.
//!
//! Not every file system does this, and none does it for pieces that are not whole pages: callers fall back to the plain
//! file.

use std::io;
use std::ops::Deref;
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use rustix::fs::OFlags;

/// What the memory, the offset and the length of a direct write are multiples of. No disk asks for more.
pub const PAGE_BYTES: usize = 4096;

/// A buffer of fixed size whose bytes may be written directly; by default, one that takes nothing.
#[derive(Debug, Default)]
pub struct PageBuffer {
    bytes: Vec<u8>,
    /// Where a page begins.
    start: usize,
    len: usize,
    capacity: usize,
}

impl PageBuffer {
    pub fn new(capacity: usize) -> Self {
        let bytes = vec![0; capacity + PAGE_BYTES];
        let start = bytes.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        Self { bytes, start, len: 0, capacity }
    }

    /// The most that it takes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Where the next bytes go: whoever puts some there says so with [`Self::advance`].
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start + self.len..self.start + self.capacity]
    }

    /// `count` bytes were put at the beginning of the room.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.capacity - self.len, "more than there was room for");
        self.len += count;
    }

    /// Takes as many of `bytes` as fit, and says how many.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.advance(count);
        count
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

/// A second handle on a file, for direct writes.
#[derive(Debug)]
pub struct DirectFile(fs::File);

impl DirectFile {
    /// None where the file system has no direct writes.
    pub fn open(path: &Path) -> Option<Self> {
        let flags = (OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        fs::OpenOptions::new().write(true).custom_flags(flags).open(path).ok().map(Self)
    }

    /// Writes what can be written directly of `bytes`, from their beginning, and says how much that was.
    ///
    /// Nothing on an error: the plain write that follows says what is wrong, if anything is.
    fn write(&self, offset: u64, bytes: &[u8]) -> usize {
        let whole = bytes.len() - bytes.len() % PAGE_BYTES;
        let is_aligned = offset.is_multiple_of(PAGE_BYTES as u64)
            && bytes.as_ptr().align_offset(PAGE_BYTES) == 0;
        if !is_aligned || whole == 0 {
            return 0;
        }
        self.0.write_all_at(&bytes[..whole], offset).map_or(0, |()| whole)
    }
}

/// Writes `bytes` at `offset` of `file`: through `direct` what it takes, the rest the plain way.
pub fn write_all_at(
    file: &fs::File,
    direct: Option<&DirectFile>,
    bytes: &[u8],
    offset: u64,
) -> io::Result<()> {
    let count = direct.map_or(0, |direct| direct.write(offset, bytes));
    file.write_all_at(&bytes[count..], offset + count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_takes_what_fits_and_stays_at_its_page() {
        let mut buffer = PageBuffer::new(10_000);
        for _ in 0..3 {
            assert_eq!(buffer.fill(&[1; 6_000]), 6_000);
            assert_eq!(buffer.fill(&[2; 6_000]), 4_000);
            assert!(buffer.room().is_empty());
            assert_eq!(buffer.len(), 10_000);
            assert_eq!(buffer.as_ptr().align_offset(PAGE_BYTES), 0);
            buffer.clear();
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn only_whole_pages_at_a_pages_border_are_written_directly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, []).unwrap();
        // On a file system without direct writes there is nothing to see.
        let Some(file) = DirectFile::open(&path) else { return };
        let mut buffer = PageBuffer::new(2 * PAGE_BYTES + 7);
        buffer.fill(&[7; 2 * PAGE_BYTES + 7]);
        assert_eq!(file.write(1, &buffer), 0, "an odd offset");
        assert_eq!(file.write(0, &buffer[1..]), 0, "odd memory");
        assert_eq!(file.write(0, &buffer[..100]), 0, "less than a page");
        let written = file.write(0, &buffer);
        assert!(written == 2 * PAGE_BYTES || written == 0, "{written}");
        assert_eq!(fs::read(&path).unwrap(), vec![7; written]);
    }
}
