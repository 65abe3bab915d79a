//! `docker save` archives: layers as plain tars, a config, and a `manifest.json` that says what belongs together.
//!
//! Such an archive holds no OCI manifest, so one is written for it: always the same bytes for the same archive.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use airlift_spec::oci::{image_manifest, media_type};
use airlift_spec::{Algorithm, Descriptor, Digest, Hasher, Reference};
use serde::Deserialize;

use super::{
    MAX_HEADER_BYTES, MAX_LIST_BYTES, MAX_MEMBERS, Place, open_regular, read_error, wrong,
};
use crate::UpstreamError;

/// What a tar is made of.
const BLOCK_BYTES: u64 = 512;

/// The remedy for an archive that ends too early.
const AGAIN: &str = "copy it again, or make it anew with `docker save`";

/// An archive, understood.
pub(crate) struct Found {
    pub(crate) root: Descriptor,
    pub(crate) manifest: Vec<u8>,
    pub(crate) places: BTreeMap<Digest, Place>,
}

/// An image of the archive, as its `manifest.json` lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What lies in an archive.
struct Members {
    by_name: BTreeMap<String, Member>,
    /// Nothing stands behind the last member, where a tar has two empty blocks.
    has_no_end: bool,
}

enum Member {
    File(Place),
    /// Old archives store a layer once and link to it.
    Link(String),
}

/// Reads the archive at `path`. Blocks on the disk.
pub(super) fn read(path: &Path, reference: &Reference) -> Result<Found, UpstreamError> {
    understand(path, &mut open_regular(path)?, reference)
}

/// Reads an archive once: finds its members, hashes the ones that the image needs. `path` is for messages.
pub(crate) fn understand(
    path: &Path,
    file: &mut (impl Read + Seek),
    reference: &Reference,
) -> Result<Found, UpstreamError> {
    refuse_compressed(path, file)?;
    let members = members(path, file)?;
    let list = place(path, &members, "manifest.json")?;
    if list.size > MAX_LIST_BYTES {
        return Err(wrong(path, "has a `manifest.json` of absurd size".to_owned(), None));
    }
    let mut text = Vec::new();
    open_at(file, list)
        .and_then(|mut from| from.read_to_end(&mut text))
        .map_err(|err| read_error(path, err))?;
    let listed: Vec<Listed> = serde_json::from_slice(&text).map_err(|err| {
        wrong(path, format!("has a `manifest.json` that cannot be read ({err})"), None)
    })?;
    let image = choose(path, listed, reference)?;

    let mut places = BTreeMap::new();
    let mut hashed = BTreeMap::new();
    let mut add = |name: &str, media_type: Option<&str>| {
        let place = place(path, &members, name)?;
        let known = match hashed.entry(place.offset) {
            Entry::Occupied(known) => known.into_mut(),
            // Once, however often a hostile list names it.
            Entry::Vacant(unknown) => {
                unknown.insert(hash(file, place).map_err(|source| read_error(path, source))?)
            }
        };
        let (digest, kind) = *known;
        places.insert(digest, place);
        Ok::<_, UpstreamError>(Descriptor::new(media_type.unwrap_or(kind), digest, place.size))
    };
    let config = add(&image.config, Some(media_type::OCI_CONFIG))?;
    let layers =
        image.layers.iter().map(|layer| add(layer, None)).collect::<Result<Vec<_>, _>>()?;
    let manifest = image_manifest(config, layers, BTreeMap::new());
    let root = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    Ok(Found { root, manifest, places })
}

fn refuse_compressed(path: &Path, file: &mut (impl Read + Seek)) -> Result<(), UpstreamError> {
    let mut magic = [0; 4];
    let compressed = match file.read_exact(&mut magic) {
        Ok(()) => compression(&magic),
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(source) => return Err(read_error(path, source)),
    };
    file.seek(SeekFrom::Start(0)).map_err(|source| read_error(path, source))?;
    match compressed {
        None => Ok(()),
        Some(kind) => {
            let help =
                "unpack it first: layers are read from their place in the archive".to_owned();
            Err(wrong(path, format!("is compressed with {kind}"), Some(help)))
        }
    }
}

fn compression(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        _ => None,
    }
}

fn members(path: &Path, file: &mut (impl Read + Seek)) -> Result<Members, UpstreamError> {
    let not_tar =
        |err: io::Error| wrong(path, format!("is not a `docker save` archive ({err})"), None);
    let length = file.seek(io::SeekFrom::End(0)).map_err(|source| read_error(path, source))?;
    file.rewind().map_err(|source| read_error(path, source))?;
    let from = Budget { from: BufReader::new(file), left: MAX_HEADER_BYTES };
    let mut archive = tar::Archive::new(from);
    let (mut members, mut end) = (BTreeMap::new(), 0);
    for entry in archive.entries_with_seek().map_err(not_tar)? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(_) if length - end < BLOCK_BYTES && end > 0 => return Err(cut_short(path)),
            Err(err) => return Err(not_tar(err)),
        };
        // Members are skipped by seeking, which leads behind the end of a file without a word.
        let size = entry.size().checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX);
        end = entry.raw_file_position().saturating_add(size);
        if end > length {
            return Err(cut_short(path));
        }
        if members.len() >= MAX_MEMBERS {
            return Err(wrong(path, format!("has more than {MAX_MEMBERS} members"), None));
        }
        let name = clean(&String::from_utf8_lossy(&entry.path_bytes()));
        let kind = entry.header().entry_type();
        if kind.is_file() {
            members.insert(
                name,
                Member::File(Place { offset: entry.raw_file_position(), size: entry.size() }),
            );
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = String::from_utf8_lossy(&target).into_owned();
            let target = if kind.is_symlink() { beside(&name, &target) } else { clean(&target) };
            members.insert(name, Member::Link(target));
        }
    }
    Ok(Members { by_name: members, has_no_end: end == length })
}

fn cut_short(path: &Path) -> UpstreamError {
    wrong(path, "is cut short".to_owned(), Some(AGAIN.to_owned()))
}

fn place(path: &Path, members: &Members, name: &str) -> Result<Place, UpstreamError> {
    let mut at = clean(name);
    // A link leads to a file; longer chains are not something any tool writes.
    for _ in 0..4 {
        match members.by_name.get(&at) {
            Some(Member::File(place)) => return Ok(*place),
            Some(Member::Link(target)) => at.clone_from(target),
            None => break,
        }
    }
    let problem = format!("has no member `{name}`");
    if members.has_no_end {
        let problem = format!("{problem} and no end: it is cut short");
        return Err(wrong(path, problem, Some(AGAIN.to_owned())));
    }
    Err(wrong(path, problem, Some("make it anew with `docker save`".to_owned())))
}

/// `./a//b` and `a/b` are one name.
fn clean(name: &str) -> String {
    let parts: Vec<&str> =
        name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

/// Where a relative link from the member `name` leads.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn choose(
    path: &Path,
    mut listed: Vec<Listed>,
    reference: &Reference,
) -> Result<Listed, UpstreamError> {
    if listed.len() > 1 {
        let is_meant = |tag: &String| tag.parse::<Reference>().is_ok_and(|tag| tag == *reference);
        let tags: Vec<String> =
            listed.iter().flat_map(|image| image.repo_tags.iter().flatten().cloned()).collect();
        listed.retain(|image| image.repo_tags.iter().flatten().any(is_meant));
        if listed.is_empty() {
            let help =
                format!("save one image, or name it `as:` one of these: {}", tags.join(", "));
            return Err(wrong(
                path,
                "holds several images, none of them of that name".to_owned(),
                Some(help),
            ));
        }
    }
    listed.pop().ok_or_else(|| wrong(path, "holds no image".to_owned(), None))
}

fn open_at<F: Read + Seek>(file: &mut F, place: Place) -> io::Result<io::Take<&mut F>> {
    file.seek(SeekFrom::Start(place.offset))?;
    Ok(file.take(place.size))
}

/// Gives out so many bytes, then fails. What is skipped costs nothing.
struct Budget<F> {
    from: F,
    left: u64,
}

impl<F: Read> Read for Budget<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("the names in it have no end")),
        }
        Ok(read)
    }
}

impl<F: Seek> Seek for Budget<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.from.seek(to)
    }
}

/// The digest of a member, and the media type that its first bytes give it as a layer.
fn hash(file: &mut (impl Read + Seek), place: Place) -> io::Result<(Digest, &'static str)> {
    let mut from = open_at(file, place)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 20];
    let (mut total, mut kind) = (0, None);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        kind = kind.or_else(|| Some(layer_type(&buffer[..read])));
        hasher.update(&buffer[..read]);
        total += read as u64;
    }
    if total < place.size {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the archive ends in the middle of a member",
        ));
    }
    Ok((hasher.finish(), kind.unwrap_or(media_type::OCI_LAYER)))
}

fn layer_type(head: &[u8]) -> &'static str {
    match compression(head) {
        Some("gzip") => media_type::OCI_LAYER_GZIP,
        Some(_) => media_type::OCI_LAYER_ZSTD,
        None => media_type::OCI_LAYER,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// One member: name, kind, target of a link, content.
    type Made<'a> = (&'a str, u8, &'a str, &'a [u8]);

    fn tar(members: &[Made<'_>]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, kind, target, content) in members {
            archive.extend(block(
                name,
                *kind,
                target,
                format!("{:011o}", content.len()).as_bytes(),
            ));
            archive.extend(*content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.resize(archive.len() + 1024, 0);
        archive
    }

    fn block(name: &str, kind: u8, target: &str, size: &[u8]) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(124, size);
        put(148, b"        ");
        put(156, &[kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    fn list(layers: &[&str]) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!([{"Config": "config", "Layers": layers}])).unwrap()
    }

    fn read(archive: &[u8]) -> Result<Found, String> {
        let reference = "my.lab/app:1".parse().unwrap();
        understand(Path::new("app.tar"), &mut Cursor::new(archive), &reference)
            .map_err(|err| airlift_spec::error::chain(&err))
    }

    /// What is said of an archive whose only layer is the member `layer`.
    fn with_layer(layer: &str, members: &[Made<'_>]) -> Result<Found, String> {
        let list = list(&[layer]);
        let mut all = vec![("manifest.json", b'0', "", &list[..]), ("config", b'0', "", b"{}")];
        all.extend(members);
        read(&tar(&all))
    }

    #[test]
    fn names_and_links_in_an_archive_lead_to_its_own_members_alone() {
        let hostile: [(&str, &[Made<'_>]); 9] = [
            ("/etc/passwd", &[]),
            ("../../../../etc/passwd", &[]),
            ("l", &[("l", b'2', "/etc/passwd", b"")]),
            ("l", &[("l", b'2', "../../../../etc/passwd", b"")]),
            ("l", &[("l", b'1', "/etc/passwd", b"")]),
            ("l", &[("l", b'2', "l", b"")]),
            ("a", &[("a", b'2', "b", b""), ("b", b'1', "a", b"")]),
            ("dev", &[("dev", b'3', "", b"")]),
            ("pipe", &[("pipe", b'6', "", b"")]),
        ];
        for (layer, members) in hostile {
            let err = with_layer(layer, members).err().unwrap_or_default();
            assert!(err.contains(&format!("has no member `{layer}`")), "{layer}: {err}");
        }
        assert!(with_layer("x/l", &[("x/l", b'2', "../y", b""), ("y", b'0', "", b"tar")]).is_ok());
    }

    #[test]
    fn of_two_members_of_one_name_the_last_one_counts_as_it_does_for_tar() {
        let found = with_layer("l", &[("l", b'0', "", b"one"), ("./l", b'0', "", b"two")]).unwrap();
        assert!(found.places.contains_key(&Digest::of(b"two")));
        assert!(!found.places.contains_key(&Digest::of(b"one")));
    }

    #[test]
    fn sizes_beyond_the_archive_or_beyond_all_numbers_are_refused() {
        let list = list(&["l"]);
        let good = tar(&[("manifest.json", b'0', "", &list), ("config", b'0', "", b"{}")]);
        let members = &good[..good.len() - 1024];
        let mut base_256 = [0xff_u8; 12];
        base_256[0] = 0x80;
        for size in [b"77777777777\0", b"00000010000\0", &base_256, b"-0000000001\0"] {
            for kind in [b'0', b'S', b'x', b'L'] {
                let header = block("l", kind, "", size);
                assert!(read(&[members, &header, &[0; 1024]].concat()).is_err(), "{kind} {size:?}");
            }
        }
    }

    #[test]
    fn a_name_without_end_is_not_read_to_its_end() {
        // Nothing but zeros behind the header, as in a sparse file, and never an end.
        for kind in [b'x', b'L', b'K'] {
            let header = block("l", kind, "", b"77777777777\0");
            let mut from = Cursor::new(header).chain(io::repeat(0));
            let archive = Budget { from: &mut from, left: MAX_HEADER_BYTES };
            let mut archive = tar::Archive::new(archive);
            let err = archive.entries().unwrap().find_map(Result::err).unwrap();
            assert!(err.to_string().contains("have no end"), "{err}");
        }
    }

    /// Counts what is read.
    struct Counted<R>(R, u64);

    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1 += read as u64;
            Ok(read)
        }
    }

    impl<R: Seek> Seek for Counted<R> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn a_layer_that_is_listed_a_thousand_times_is_read_once() {
        let (layer, list) = (vec![7; 200_000], list(&["l"; 1000]));
        let archive = tar(&[
            ("manifest.json", b'0', "", &list),
            ("config", b'0', "", b"{}"),
            ("l", b'0', "", &layer),
        ]);
        let mut file = Counted(Cursor::new(&archive), 0);
        let reference = "my.lab/app:1".parse().unwrap();
        let found = understand(Path::new("app.tar"), &mut file, &reference).unwrap();
        assert_eq!(found.places.len(), 2);
        assert!(file.1 < 2 * archive.len() as u64, "{} of {} bytes", file.1, archive.len());
    }
}
