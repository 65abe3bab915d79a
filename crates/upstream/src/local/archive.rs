//! `docker save` archives: layers as plain tars, a config, and a `manifest.json` that says what belongs together.
//!
//! Such an archive holds no OCI manifest, so one is written for it: always the same bytes for the same archive.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use airlift_spec::oci::media_type;
use airlift_spec::{Algorithm, Descriptor, Digest, Hasher, Reference};
use serde::{Deserialize, Serialize};

use super::{MAX_LIST_BYTES, MAX_MEMBERS, Place, open_regular, read_error, wrong};
use crate::UpstreamError;

/// An archive, understood.
pub(super) struct Found {
    pub(super) root: Descriptor,
    pub(super) manifest: Vec<u8>,
    pub(super) places: BTreeMap<Digest, Place>,
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

/// The manifest that is written for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestWire {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

enum Member {
    File(Place),
    /// Old archives store a layer once and link to it.
    Link(String),
}

/// Reads the archive once: finds its members, hashes the ones that the image needs. Blocks on the disk.
pub(super) fn read(path: &Path, reference: &Reference) -> Result<Found, UpstreamError> {
    let mut file = open_regular(path)?;
    refuse_compressed(path, &mut file)?;
    let members = members(path, &file)?;
    let list = place(path, &members, "manifest.json")?;
    if list.size > MAX_LIST_BYTES {
        return Err(wrong(path, "has a `manifest.json` of absurd size".to_owned(), None));
    }
    let mut text = Vec::new();
    open_at(&mut file, list)
        .and_then(|mut from| from.read_to_end(&mut text))
        .map_err(|err| read_error(path, err))?;
    let listed: Vec<Listed> = serde_json::from_slice(&text).map_err(|err| {
        wrong(path, format!("has a `manifest.json` that cannot be read ({err})"), None)
    })?;
    let image = choose(path, listed, reference)?;

    let mut places = BTreeMap::new();
    let mut add = |name: &str, media_type: Option<&str>| {
        let place = place(path, &members, name)?;
        let (digest, kind) = hash(&mut file, place).map_err(|source| read_error(path, source))?;
        places.insert(digest, place);
        Ok::<_, UpstreamError>(Descriptor::new(media_type.unwrap_or(kind), digest, place.size))
    };
    let config = add(&image.config, Some(media_type::OCI_CONFIG))?;
    let layers =
        image.layers.iter().map(|layer| add(layer, None)).collect::<Result<Vec<_>, _>>()?;
    let wire =
        ManifestWire { schema_version: 2, media_type: media_type::OCI_MANIFEST, config, layers };
    let manifest = serde_json::to_vec(&wire).expect("a manifest has only text keys");
    let root =
        Descriptor::new(media_type::OCI_MANIFEST, Digest::of(&manifest), manifest.len() as u64);
    Ok(Found { root, manifest, places })
}

fn refuse_compressed(path: &Path, file: &mut fs_err::File) -> Result<(), UpstreamError> {
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

fn members(path: &Path, file: &fs_err::File) -> Result<BTreeMap<String, Member>, UpstreamError> {
    let not_tar =
        |err: io::Error| wrong(path, format!("is not a `docker save` archive ({err})"), None);
    let mut archive = tar::Archive::new(BufReader::new(file.file()));
    let mut members = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(not_tar)? {
        let entry = entry.map_err(not_tar)?;
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
    Ok(members)
}

fn place(
    path: &Path,
    members: &BTreeMap<String, Member>,
    name: &str,
) -> Result<Place, UpstreamError> {
    let mut at = clean(name);
    // A link leads to a file; longer chains are not something any tool writes.
    for _ in 0..4 {
        match members.get(&at) {
            Some(Member::File(place)) => return Ok(*place),
            Some(Member::Link(target)) => at.clone_from(target),
            None => break,
        }
    }
    Err(wrong(
        path,
        format!("has no member `{name}`"),
        Some("make it anew with `docker save`".to_owned()),
    ))
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

fn open_at(file: &mut fs_err::File, place: Place) -> io::Result<io::Take<&mut fs_err::File>> {
    file.seek(SeekFrom::Start(place.offset))?;
    Ok(file.take(place.size))
}

/// The digest of a member, and the media type that its first bytes give it as a layer.
fn hash(file: &mut fs_err::File, place: Place) -> io::Result<(Digest, &'static str)> {
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
