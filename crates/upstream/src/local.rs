//! Images that people built themselves: an OCI layout in a folder, or a `docker save` archive.
//!
//! Both are the user's own files, but a wrong one must fail well:
//!
//! - Digests are checked where the bytes enter the store, so a damaged layout brings nothing in.
//! - Names inside an archive are only looked up, never written, so they cannot lead anywhere.
//! - The archive's own lists are read up to [`MAX_LIST_BYTES`], its headers up to [`MAX_HEADER_BYTES`], its members
//!   counted up to [`MAX_MEMBERS`]. Where two members have one name the last one counts, as it does for tar.
//! - What is named many times is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use airlift_spec::oci::{MAX_MANIFEST_BYTES, cosign_subject, referrers_subject};
use airlift_spec::stack;
use airlift_spec::{Descriptor, Digest, Manifest, Reference};
use serde::Deserialize;

use crate::{UpstreamError, blocking};

pub(crate) mod archive;

/// Most bytes of an `index.json` or `manifest.json` that are read.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Most members of an archive that are looked at.
const MAX_MEMBERS: usize = 100_000;

/// Most bytes of an archive's headers that are read: tar knows extended ones, of any length, for names.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// How a layout names its images.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image that lies on this machine.
#[derive(Debug)]
pub(crate) struct LocalImage {
    root: Descriptor,
    bytes: Bytes,
    referrers: BTreeMap<Digest, Vec<Descriptor>>,
    cosign: BTreeMap<String, Digest>,
}

/// Where the bytes of its blobs are.
#[derive(Debug)]
enum Bytes {
    Layout { folder: PathBuf },
    Archive { path: PathBuf, manifest: Vec<u8>, places: BTreeMap<Digest, Place> },
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// A device or a pipe may never end, and opening one may wait for ever.
pub(crate) fn open_regular(path: &Path) -> Result<fs_err::File, UpstreamError> {
    let metadata = fs_err::metadata(path).map_err(|source| read_error(path, source))?;
    if !metadata.is_file() {
        let help = "put a file in its place, or take it out".to_owned();
        return Err(wrong(path, "is no regular file".to_owned(), Some(help)));
    }
    fs_err::File::open(path).map_err(|source| read_error(path, source))
}

pub(crate) fn read_error(path: &Path, source: io::Error) -> UpstreamError {
    if source.kind() == io::ErrorKind::NotFound && path.is_symlink() {
        let help = "let it lead to what is meant, or remove it".to_owned();
        return wrong(path, "is a link to nothing".to_owned(), Some(help));
    }
    if source.kind() == io::ErrorKind::NotFound {
        let help = "correct the path; it starts from the folder that the stack lies in".to_owned();
        return wrong(path, "is not there".to_owned(), Some(help));
    }
    UpstreamError::Read { path: shown(path), source }
}

impl LocalImage {
    /// Opens what `origin` names; none where that is a registry. Blocks on the disk.
    pub(crate) fn open(
        origin: &stack::Origin,
        reference: &Reference,
        base: &Path,
    ) -> Result<Option<Self>, UpstreamError> {
        match origin {
            stack::Origin::Registry => Ok(None),
            stack::Origin::OciLayout { path, name } => {
                Self::layout(&base.join(path), name.as_deref()).map(Some)
            }
            stack::Origin::DockerArchive { path } => {
                let path = base.join(path);
                let found = archive::read(&path, reference)?;
                Ok(Some(Self {
                    root: found.root,
                    bytes: Bytes::Archive { path, manifest: found.manifest, places: found.places },
                    referrers: BTreeMap::new(),
                    cosign: BTreeMap::new(),
                }))
            }
        }
    }

    fn layout(folder: &Path, name: Option<&str>) -> Result<Self, UpstreamError> {
        let path = folder.join("index.json");
        let entries = entries(&path, &read_whole(&path, MAX_LIST_BYTES)?)?;
        let mut image = Self {
            root: choose(&path, &entries, name)?,
            bytes: Bytes::Layout { folder: folder.to_owned() },
            referrers: BTreeMap::new(),
            cosign: BTreeMap::new(),
        };
        image.note_what_is_said(&entries)?;
        Ok(image)
    }

    /// Finds signatures among the entries of a layout: by cosign's names, and by the subject they declare.
    fn note_what_is_said(&mut self, entries: &[Descriptor]) -> Result<(), UpstreamError> {
        let mut seen = BTreeSet::new();
        for entry in entries.iter().filter(|entry| entry.digest != self.root.digest) {
            if let Some(tag) =
                name_of(entry).map(last_tag).filter(|tag| cosign_subject(tag).is_some())
            {
                self.cosign.insert(tag.to_owned(), entry.digest);
                continue;
            }
            if !seen.insert(entry.digest) {
                continue;
            }
            let bytes = self.read_manifest_now(entry.digest)?.unwrap_or_default();
            // What is no manifest says nothing about the image.
            let Ok(manifest) = Manifest::parse(&bytes, None) else { continue };
            if let Some(subject) = name_of(entry).and_then(referrers_subject) {
                self.referrers.entry(subject).or_default().extend(manifest.manifests);
                continue;
            }
            if let Some(subject) = manifest.subject {
                self.referrers.entry(subject.digest).or_default().push(entry.clone());
            }
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Descriptor {
        &self.root
    }

    pub(crate) fn referrers(&self, subject: &Digest) -> Vec<Descriptor> {
        self.referrers.get(subject).cloned().unwrap_or_default()
    }

    pub(crate) fn cosign_tags(&self, subject: &Digest) -> Vec<String> {
        self.cosign.keys().filter(|tag| cosign_subject(tag) == Some(*subject)).cloned().collect()
    }

    /// The digest behind a tag that [`Self::cosign_tags`] gave.
    pub(crate) fn tagged(&self, tag: &str) -> Option<Digest> {
        self.cosign.get(tag).copied()
    }

    pub(crate) async fn read_manifest(
        self: &Arc<Self>,
        digest: Digest,
    ) -> Result<Option<Vec<u8>>, UpstreamError> {
        let image = Arc::clone(self);
        blocking(move || image.read_manifest_now(digest)).await
    }

    fn read_manifest_now(&self, digest: Digest) -> Result<Option<Vec<u8>>, UpstreamError> {
        if let Bytes::Archive { manifest, .. } = &self.bytes {
            return Ok((digest == self.root.digest).then(|| manifest.clone()));
        }
        let Some((path, place)) = self.find(digest)? else { return Ok(None) };
        if place.size > MAX_MANIFEST_BYTES {
            return Err(wrong(&path, "is too large for a manifest".to_owned(), None));
        }
        read_whole(&path, MAX_MANIFEST_BYTES).map(Some)
    }

    /// The file that holds a blob, and where in it.
    pub(crate) fn find(&self, digest: Digest) -> Result<Option<(PathBuf, Place)>, UpstreamError> {
        match &self.bytes {
            Bytes::Archive { path, places, .. } => {
                Ok(places.get(&digest).map(|place| (path.clone(), *place)))
            }
            Bytes::Layout { folder } => {
                let path = folder.join("blobs").join(digest.path());
                match fs_err::metadata(&path) {
                    Ok(metadata) => Ok(Some((path, Place { offset: 0, size: metadata.len() }))),
                    Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(read_error(&path, source)),
                }
            }
        }
    }
}

/// What the `index.json` of a layout lists.
pub(crate) fn entries(path: &Path, text: &[u8]) -> Result<Vec<Descriptor>, UpstreamError> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Descriptor>,
    }
    let index: Index = serde_json::from_slice(text)
        .map_err(|err| wrong(path, format!("is not the index of an OCI layout ({err})"), None))?;
    Ok(index.manifests)
}

/// The entry of a layout that is meant: the one of that name, or the only one that is an image.
pub(crate) fn choose(
    path: &Path,
    entries: &[Descriptor],
    name: Option<&str>,
) -> Result<Descriptor, UpstreamError> {
    let is_meant = |entry: &&Descriptor| match name {
        Some(name) => name_of(entry).is_some_and(|found| found == name || last_tag(found) == name),
        None => name_of(entry).is_none_or(|found| {
            let tag = last_tag(found);
            cosign_subject(tag).is_none() && referrers_subject(tag).is_none()
        }),
    };
    let candidates: Vec<&Descriptor> = entries.iter().filter(is_meant).collect();
    let different: BTreeSet<Digest> = candidates.iter().map(|entry| entry.digest).collect();
    match (candidates.first(), different.len()) {
        (Some(entry), 1) => Ok((*entry).clone()),
        (None, _) => {
            let problem =
                name.map_or("holds no image".to_owned(), |name| format!("holds no image `{name}`"));
            Err(wrong(path, problem, Some(names(entries))))
        }
        (Some(_), count) => Err(wrong(path, format!("holds {count} images"), Some(names(entries)))),
    }
}

pub(crate) fn names(entries: &[Descriptor]) -> String {
    let names: Vec<&str> = entries.iter().filter_map(name_of).take(20).collect();
    if names.is_empty() {
        return "build a layout that holds one image".to_owned();
    }
    format!("write `oci:DIR:NAME` with one of these names: {}", names.join(", "))
}

fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(REF_NAME).map(String::as_str)
}

/// The tag of a name, which is all of it where it is no full reference.
fn last_tag(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

pub(crate) fn read_whole(path: &Path, limit: u64) -> Result<Vec<u8>, UpstreamError> {
    let mut bytes = Vec::new();
    let read = open_regular(path)?.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| read_error(path, source))?;
    if bytes.len() as u64 > limit {
        return Err(wrong(path, format!("is longer than {limit} bytes"), None));
    }
    Ok(bytes)
}

pub(crate) fn wrong(path: &Path, problem: String, help: Option<String>) -> UpstreamError {
    UpstreamError::Local { path: shown(path), problem, help }
}

/// A path without the `./` that every relative one would begin with twice.
fn shown(path: &Path) -> String {
    path.components().collect::<PathBuf>().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_listed_many_times_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let put = |text: String| {
            let digest = Digest::of(text.as_bytes());
            let path = folder.path().join("blobs").join(digest.path());
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, &text).unwrap();
            serde_json::json!({"digest": digest, "size": text.len()})
        };
        let image = put(r#"{"schemaVersion":2,"layers":[]}"#.to_owned());
        let index = put(format!(r#"{{"schemaVersion":2,"manifests":[{image}]}}"#));
        let mut entries = vec![image.clone()];
        entries[0]["annotations"] = serde_json::json!({ REF_NAME: "v1" });
        let subjects = (0..50_u8).map(|fill| Digest::of(&[fill]));
        entries.extend(subjects.clone().map(|subject| {
            let mut entry = index.clone();
            let name = airlift_spec::oci::referrers_tag(&subject);
            entry["annotations"] = serde_json::json!({ REF_NAME: name });
            entry
        }));
        let text = serde_json::json!({"schemaVersion": 2, "manifests": entries}).to_string();
        fs_err::write(folder.path().join("index.json"), text).unwrap();
        let image = LocalImage::layout(folder.path(), Some("v1")).unwrap();
        assert_eq!(subjects.map(|subject| image.referrers(&subject).len()).sum::<usize>(), 1);
    }
}
