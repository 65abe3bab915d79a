//! What is in the layer of an image, as a stream.
//!
//! Layers are untrusted: their members are only looked at, never written anywhere, so their names cannot lead anywhere.
//! What a layer unpacks to has a bound, and so has what is held of it while its members go by: a name may be as long
//! as it likes for tar, which reads it whole.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

/// Most bytes that one layer unpacks to. An index image with its cache has a tenth of it.
const MAX_LAYER_BYTES: u64 = 32 << 30;

/// Most bytes of the headers of one member: its name, where it leads, its attributes.
const MAX_HEADER_BYTES: u64 = 1 << 20;

const BLOCK_BYTES: u64 = 512;

/// A member of a layer.
pub(crate) type Member<'a> = tar::Entry<'a, Box<dyn Read>>;

/// Unpacks a layer, and shows each of its members.
pub(crate) fn each_member(
    layer: impl Read + 'static,
    mut show: impl FnMut(&mut Member<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut layer = BufReader::with_capacity(1 << 20, layer);
    let start = io::BufRead::fill_buf(&mut layer)?;
    let unpacked: Box<dyn Read> = match start {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(layer)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(ruzstd::decoding::StreamingDecoder::new(layer).map_err(io::Error::other)?)
        }
        _ => Box::new(layer),
    };
    let gate = Rc::new(Cell::new(MAX_HEADER_BYTES));
    let gated = Gated { from: unpacked.take(MAX_LAYER_BYTES), read: 0, gate: Rc::clone(&gate) };
    let mut archive = tar::Archive::new(Box::new(gated) as Box<dyn Read>);
    for member in archive.entries()? {
        let mut member = member?;
        // The next member's headers begin behind this one's bytes.
        gate.set(end(&member)?.saturating_add(MAX_HEADER_BYTES));
        show(&mut member)?;
    }
    Ok(())
}

/// Where the bytes of a member end.
fn end(member: &Member<'_>) -> io::Result<u64> {
    let header = member.header();
    // With its holes, a sparse file has more bytes than lie here.
    let is_sparse = header.entry_type().is_gnu_sparse();
    let size = if is_sparse { header.entry_size()? } else { member.size() };
    let size = size.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX);
    Ok(member.raw_file_position().saturating_add(size))
}

/// A stream that is read up to a gate, which others move on.
struct Gated<R> {
    from: R,
    read: u64,
    gate: Rc<Cell<u64>>,
}

impl<R: Read> Read for Gated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.gate.get().saturating_sub(self.read);
        if left == 0 && !buffer.is_empty() {
            let limit = MAX_HEADER_BYTES >> 20;
            return Err(io::Error::other(format!("a name in it has more than {limit} MiB")));
        }
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.from.read(&mut buffer[..wanted])?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// The names of a layer's members, and how long each is.
    fn listed(layer: Vec<u8>) -> io::Result<Vec<(String, u64)>> {
        let mut listed = Vec::new();
        each_member(Cursor::new(layer), |member| {
            let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            listed.push((name, member.size()));
            Ok(())
        })?;
        Ok(listed)
    }

    fn add(tar: &mut tar::Builder<impl io::Write>, kind: tar::EntryType, name: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    }

    fn packed(fill: impl FnOnce(&mut tar::Builder<flate2::write::GzEncoder<Vec<u8>>>)) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        fill(&mut tar);
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn members_go_by_whether_they_are_read_or_not() {
        let long = "folder/".repeat(100) + "file";
        let layer = packed(|tar| {
            add(tar, tar::EntryType::Regular, "small", b"x");
            add(tar, tar::EntryType::Regular, &long, &vec![7; 3 << 20]);
            add(tar, tar::EntryType::Regular, "last", &[8; 700]);
        });
        let all = vec![("small".to_owned(), 1), (long, 3 << 20), ("last".to_owned(), 700)];
        assert_eq!(listed(layer.clone()).unwrap(), all);
        let mut read = Vec::new();
        each_member(Cursor::new(layer), |member| member.read_to_end(&mut read).map(drop)).unwrap();
        assert_eq!(read.len(), 1 + (3 << 20) + 700);
    }

    #[test]
    fn a_name_without_end_is_not_read_to_its_end() {
        for kind in
            [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader]
        {
            let layer = packed(|tar| {
                add(tar, tar::EntryType::Regular, "first", &vec![7; 3 << 20]);
                add(tar, kind, "long", &vec![b'a'; 2 << 20]);
                add(tar, tar::EntryType::Regular, "last", b"x");
            });
            let err = listed(layer).unwrap_err();
            assert!(err.to_string().contains("a name in it has more than 1 MiB"), "{err}");
        }
    }

    #[test]
    fn what_a_sparse_file_claims_moves_no_gate() {
        let layer = packed(|tar| {
            let mut header = tar::Header::new_gnu();
            header.set_path("sparse").unwrap();
            header.set_entry_type(tar::EntryType::GNUSparse);
            header.set_size(0);
            let gnu = header.as_gnu_mut().unwrap();
            gnu.set_real_size(1 << 40);
            gnu.sparse[0].set_offset(1 << 40);
            gnu.sparse[0].set_length(0);
            header.set_cksum();
            tar.append(&header, io::empty()).unwrap();
            add(tar, tar::EntryType::GNULongName, "long", &vec![b'a'; 2 << 20]);
            add(tar, tar::EntryType::Regular, "last", b"x");
        });
        let err = listed(layer).unwrap_err();
        assert!(err.to_string().contains("a name in it has more than 1 MiB"), "{err}");
    }
}
