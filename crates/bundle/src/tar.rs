//! The tar that volumes are made of: plain ustar, and nothing that two versions could write differently.
//!
//! ```text
//! NAME.00017.tar
//! ├── airlift-volume/sha256/<root>/00017.json   the marker: first member, names bundle, root and ordinal
//! ├── blobs/<algorithm>/<hex>                   a blob
//! ├── parts/<algorithm>/<hex>/<NNNNN>           a part of a blob that is larger than a volume
//! └── two empty blocks
//! ```
//!
//! **Invariant.** Every byte of a volume but the blobs' own follows from the root and the table: mode 0644, owner
//! 0, no names, time 0. A pax header stands only where ustar has no room: 8 GiB or more, or a long name.
//! All lengths are known before a byte is written, so that offsets can be signed first. The marker has the same
//! length whatever the root's digest, so that the root may name the sizes of volumes that name the root.

use airlift_spec::Digest;

/// Tar counts in blocks.
pub(crate) const BLOCK: u64 = 512;
/// Two empty blocks end a tar.
pub(crate) const END_BYTES: u64 = 2 * BLOCK;
/// The first size that eleven octal digits cannot say.
const USTAR_SIZE_LIMIT: u64 = 8 << 30;
/// Most that is read of a volume to tell whose it is.
pub(crate) const MARKER_BYTES: usize = 4 * 512;

const MARKER_FOLDER: &str = "airlift-volume/";

/// The blocks that stand before the content of a member.
pub(crate) fn header(name: &str, size: u64) -> Vec<u8> {
    let split = split_name(name);
    let mut records = String::new();
    if split.is_none() {
        push_record(&mut records, "path", name);
    }
    if size >= USTAR_SIZE_LIMIT {
        push_record(&mut records, "size", &size.to_string());
    }
    let (prefix, short) = split.unwrap_or(("", &name[..name.len().min(100)]));
    let mut blocks = Vec::with_capacity(3 * 512);
    if !records.is_empty() {
        blocks.extend(block("", "././@PaxHeader", records.len() as u64, b'x'));
        blocks.extend(records.as_bytes());
        blocks.resize(blocks.len().next_multiple_of(512), 0);
    }
    // Where pax says the size, the field stays empty: no reader may believe a cut-off number.
    let field = if size < USTAR_SIZE_LIMIT { size } else { 0 };
    blocks.extend(block(prefix, short, field, b'0'));
    blocks
}

/// How long [`header`] is.
pub(crate) fn header_len(name: &str, size: u64) -> u64 {
    if size < USTAR_SIZE_LIMIT && split_name(name).is_some() {
        return BLOCK;
    }
    header(name, size).len() as u64
}

/// What a member's content takes on the tape, padding included.
pub(crate) fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

/// The first member of a volume, complete.
pub(crate) fn marker(bundle: &str, root: &Digest, ordinal: u32) -> Vec<u8> {
    let name = format!("{MARKER_FOLDER}{}/{ordinal:05}.json", root.path());
    let content =
        format!("{{\"bundle\":\"{bundle}\",\"root\":\"{root}\",\"volume\":\"{ordinal:05}\"}}\n");
    let mut bytes = header(&name, content.len() as u64);
    bytes.extend(content.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// How long the marker of any volume of `bundle` is: it depends on the length of the name alone.
pub(crate) fn marker_len(bundle: &str) -> u64 {
    marker(bundle, &Digest::of(b""), 0).len() as u64
}

/// Whose volume this is, by the first bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) bundle: String,
    pub(crate) root: Digest,
    pub(crate) ordinal: u32,
}

/// Reads the marker at the start of a volume; none where the file is no volume of any bundle.
///
/// What it says is a claim for messages, never a reason to trust a byte.
pub(crate) fn read_marker(start: &[u8]) -> Option<Marked> {
    #[derive(serde::Deserialize)]
    struct Content {
        bundle: String,
        root: Digest,
        volume: String,
    }
    let content = start.get(512..)?;
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let content: Content = serde_json::from_slice(&content[..end]).ok()?;
    let marked = Marked {
        bundle: content.bundle,
        root: content.root,
        ordinal: content.volume.parse().ok()?,
    };
    // Only what we would have written ourselves counts: the name goes into messages.
    let expected = marker(&marked.bundle, &marked.root, marked.ordinal);
    (crate::root::is_bundle_name(&marked.bundle) && start.starts_with(&expected)).then_some(marked)
}

/// A name as ustar's two fields, if it fits them.
fn split_name(name: &str) -> Option<(&str, &str)> {
    if name.len() <= 100 {
        return Some(("", name));
    }
    let slash = name.char_indices().rev().find(|(at, c)| *c == '/' && *at <= 155)?.0;
    let short = &name[slash + 1..];
    (!short.is_empty() && short.len() <= 100).then_some((&name[..slash], short))
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn push_record(records: &mut String, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    records.extend([&length.to_string(), " ", key, "=", value, "\n"]);
}

fn block(prefix: &str, name: &str, size: u64, kind: u8) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use airlift_spec::Algorithm;

    use super::*;

    fn field(block: &[u8], at: usize, len: usize) -> &str {
        std::str::from_utf8(&block[at..at + len]).unwrap().trim_end_matches(['\0', ' '])
    }

    #[test]
    fn a_plain_member_has_one_ustar_header_without_owner_or_time() {
        let bytes = header("blobs/sha256/ab", 0o1234);
        assert_eq!(bytes.len(), 512);
        assert_eq!(field(&bytes, 0, 100), "blobs/sha256/ab");
        assert_eq!(field(&bytes, 100, 8), "0000644");
        assert_eq!((field(&bytes, 108, 8), field(&bytes, 116, 8)), ("0000000", "0000000"));
        assert_eq!(
            (field(&bytes, 124, 12), field(&bytes, 136, 12)),
            ("00000001234", "00000000000")
        );
        assert_eq!((field(&bytes, 265, 32), field(&bytes, 297, 32)), ("", ""));
        assert_eq!(&bytes[257..265], b"ustar\x0000");
    }

    #[test]
    fn eight_gibibytes_is_where_pax_begins() {
        assert_eq!(header("a", USTAR_SIZE_LIMIT - 1).len(), 512);
        let bytes = header("a", USTAR_SIZE_LIMIT);
        assert_eq!(bytes.len(), 3 * 512);
        assert_eq!(bytes[156], b'x');
        assert_eq!(field(&bytes, 512, 512), "19 size=8589934592\n");
        assert_eq!(field(&bytes[1024..], 124, 12), "00000000000");
    }

    #[test]
    fn a_sha512_blob_has_its_name_in_pax_and_a_part_of_one_in_ustar() {
        let path = Digest::with(Algorithm::Sha512, b"").path();
        let name = format!("blobs/{path}");
        let bytes = header(&name, 3);
        assert_eq!(bytes.len(), 3 * 512);
        assert!(field(&bytes, 512, 512).ends_with(&format!(" path={name}\n")));
        assert_eq!(header(&format!("parts/{path}/00000"), 3).len(), 512);
        assert_eq!(header_len(&name, 3), 3 * 512);
    }

    #[test]
    fn a_pax_record_counts_its_own_digits() {
        for (value_len, digits) in [(1, "5"), (5, "9"), (6, "11"), (94, "99"), (95, "101")] {
            let mut records = String::new();
            push_record(&mut records, "", &"x".repeat(value_len));
            assert_eq!(records.split(' ').next(), Some(digits), "{value_len}");
            assert_eq!(records.len().to_string(), digits, "{value_len}");
        }
    }

    #[test]
    fn a_marker_says_whose_volume_it_opens_and_has_one_length() {
        let root = Digest::of(b"root");
        let bytes = marker("demo", &root, 17);
        assert_eq!(bytes.len() as u64, marker_len("demo"));
        let marked = read_marker(&bytes).unwrap();
        assert_eq!(marked, Marked { bundle: "demo".to_owned(), root, ordinal: 17 });
        for hostile in [&b""[..], &[0; 2048], &bytes[..600], &marker("../x", &root, 1)] {
            assert_eq!(read_marker(hostile), None);
        }
        assert!(marker(&"x".repeat(49), &root, 99_999).len() <= MARKER_BYTES);
    }
}
