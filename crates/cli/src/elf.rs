//! Whether a file is a program that runs on any Linux: one without an interpreter.

use std::io::Read as _;
use std::path::Path;

/// Headers lie at the start of every file that a linker writes.
const HEAD_BYTES: u64 = 64 << 10;
const PROGRAM_HEADER_BYTES: usize = 56;
/// `PT_INTERP`: the segment that names the dynamic loader.
const INTERPRETER: u32 = 3;

/// Reads the head of `path` and says whether it is a 64-bit ELF program without an interpreter.
pub(crate) fn is_static(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    fs_err::File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(program_headers(&head).is_some_and(|mut kinds| kinds.all(|kind| kind != INTERPRETER)))
}

/// The kinds of the segments; none if this is no 64-bit little-endian ELF file, or its headers are elsewhere.
fn program_headers(head: &[u8]) -> Option<impl Iterator<Item = u32>> {
    const MAGIC_64_LITTLE: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
    if !head.starts_with(&MAGIC_64_LITTLE) {
        return None;
    }
    let offset = usize::try_from(u64::from_le_bytes(head.get(32..40)?.try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(head.get(54..56)?.try_into().ok()?));
    let count = usize::from(u16::from_le_bytes(head.get(56..58)?.try_into().ok()?));
    let table = head.get(offset..offset.checked_add(size.checked_mul(count)?)?)?;
    if size < PROGRAM_HEADER_BYTES || count == 0 {
        return None;
    }
    let kind = |header: &[u8]| header[..4].try_into().map(u32::from_le_bytes).unwrap_or_default();
    Some(table.chunks_exact(size).map(kind).collect::<Vec<_>>().into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF head with one segment of each kind.
    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        head[32] = 64;
        head[54] = u8::try_from(PROGRAM_HEADER_BYTES).unwrap();
        head[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            let mut header = vec![0; PROGRAM_HEADER_BYTES];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            head.extend(header);
        }
        head
    }

    fn check(bytes: &[u8]) -> bool {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), bytes).unwrap();
        is_static(file.path()).unwrap()
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert!(check(&elf(&[1, 2, 1])));
        assert!(!check(&elf(&[1, INTERPRETER, 2])));
    }

    #[test]
    fn what_is_no_program_is_not_static() {
        assert!(!check(b"#!/bin/sh\n"));
        assert!(!check(b""));
        let whole = elf(&[1, 1]);
        assert!(!check(&whole[..whole.len() - 1]), "cut");
        assert!(!check(&elf(&[])), "without segments");
    }
}
