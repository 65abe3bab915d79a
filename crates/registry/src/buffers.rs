//! Buffers that are used again. A fresh one costs the kernel a page fault every 4 KiB, more than reading into it does.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes kept for later, whatever the sizes of the buffers: what a few busy connections use.
const KEPT_BYTES: usize = 32 << 20;

/// Where whoever reads files to serve them gets his buffers. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// Goes back to where it came from.
struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept_bytes: usize = kept.iter().map(Vec::capacity).sum();
        if kept_bytes + self.buffer.capacity() <= KEPT_BYTES {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

impl Buffers {
    /// Reads `length` bytes of `file` from `offset`; an error where the file ends before.
    pub fn read(&self, file: &fs_err::File, offset: u64, length: usize) -> io::Result<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut lent = Lent { buffer: kept.unwrap_or_default(), home: self.clone() };
        // A buffer that was used before is mostly long enough already and needs no zeros.
        lent.buffer.resize(length, 0);
        file.file().read_exact_at(&mut lent.buffer, offset)?;
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
        buffers.0.lock().unwrap().iter().map(Vec::capacity).collect()
    }

    #[test]
    fn a_buffer_is_used_again_when_the_last_of_its_bytes_are_gone() {
        let (file, buffers) = (file(100_000), Buffers::default());
        let bytes = buffers.read(&file, 0, 100_000).unwrap();
        let part = bytes.slice(10..20);
        drop(bytes);
        assert!(kept(&buffers).is_empty(), "a part of it is still in use");
        assert_eq!(part, [7; 10].as_slice());
        drop(part);
        let shorter = buffers.read(&file, 50_000, 50_000).unwrap();
        assert_eq!((shorter.len(), kept(&buffers).len()), (50_000, 0));
        drop(shorter);
        assert_eq!(kept(&buffers), [100_000]);
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
        let err = buffers.read(&file, 5, 10).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(kept(&buffers).len(), 1);
    }
}
