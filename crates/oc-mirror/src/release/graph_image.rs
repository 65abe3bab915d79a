//! The image with the update graph: a base that can copy files, and a layer with the data.
//!
//! The update service runs it before it starts, so that its command puts the data where the service looks for it. The
//! same base and the same data give the same bytes: files are sorted, and have neither owners nor times.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use airlift_spec::oci::image_manifest;
use airlift_spec::oci::media_type::{OCI_CONFIG, OCI_LAYER};
use airlift_spec::{Descriptor, Digest};

use super::ReleaseError;

/// The image that the data is laid upon.
pub const GRAPH_BASE: &str = "registry.access.redhat.com/ubi9/ubi:latest";

/// Where the data lies in the image.
const DATA: &str = "var/lib/cincinnati-graph-data";

/// What the image does: the update service mounts the folder that it reads at the second path.
const COMMAND: [&str; 3] = [
    "/bin/bash",
    "-c",
    "exec cp -rp /var/lib/cincinnati-graph-data/* /var/lib/cincinnati/graph-data",
];

/// Most bytes that the data unpacks to.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The layer, as plain tar, of the data as it is published: a tar, compressed by gzip.
pub fn graph_layer(data: &[u8]) -> Result<Vec<u8>, ReleaseError> {
    let files = files(data).map_err(|err| ReleaseError::GraphData(err.to_string()))?;
    if files.is_empty() {
        return Err(ReleaseError::GraphData("it holds no file".to_owned()));
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        // A name may be one that no archive can have.
        let added = tar.append_data(&mut header, path, bytes);
        added.map_err(|err| ReleaseError::GraphData(format!("`{}`: {err}", path.escape_debug())))
    };
    for folder in folders(&files) {
        add(&folder, tar::EntryType::Directory, 0o755, &[])?;
    }
    for (path, bytes) in &files {
        add(&format!("{DATA}/{path}"), tar::EntryType::Regular, 0o644, bytes)?;
    }
    Ok(tar.into_inner().expect("memory takes everything"))
}

/// The folders that files lie in, those above before those below.
fn folders(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let all = files.keys().flat_map(|path| {
        let above = path.match_indices('/').map(|(at, _)| format!("{DATA}/{}", &path[..at]));
        above.collect::<Vec<_>>()
    });
    all.chain([DATA.to_owned()]).collect()
}

/// The files of the data, none of which may lead anywhere else.
fn files(data: &[u8]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut left = MAX_UNPACKED_BYTES;
    // The reader itself is bounded too: headers and padding are no file's.
    let unpacked = MultiGzDecoder::new(data).take(2 * MAX_UNPACKED_BYTES);
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries()? {
        let entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        let path = entry.path()?.into_owned();
        let name = inner_name(&path).filter(|_| kind.is_file());
        let odd = || io::Error::other(format!("`{}` is no file within it", path.display()));
        let name = name.ok_or_else(odd)?;
        let mut bytes = Vec::new();
        entry.take(left + 1).read_to_end(&mut bytes)?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            io::Error::other(format!("it unpacks to more than {MAX_UNPACKED_BYTES} bytes"))
        })?;
        files.insert(name, bytes);
    }
    // The checksum stands behind the end of the tar.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(files)
}

/// A path below the folder of the data; none where it leads out of it.
fn inner_name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// The configuration and the manifest of the image, by the configuration and the layers of its base.
pub fn on_graph_base(
    config: &[u8],
    layers: &[Descriptor],
    layer: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), ReleaseError> {
    let wrong = |reason: &str| ReleaseError::GraphBase(reason.to_owned());
    let mut config: Value =
        serde_json::from_slice(config).map_err(|err| ReleaseError::GraphBase(err.to_string()))?;
    let diff_ids = config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut);
    let diff_ids = diff_ids.filter(|ids| ids.len() == layers.len());
    let diff_ids = diff_ids.ok_or_else(|| wrong("its configuration is of other layers"))?;
    diff_ids.push(json!(Digest::of(layer)));
    if let Some(history) = config.get_mut("history").and_then(Value::as_array_mut) {
        history.push(json!({ "created_by": "the data of the update graph" }));
    }
    let options = config.as_object_mut().ok_or_else(|| wrong("its configuration is no object"))?;
    options.entry("config").or_insert_with(|| json!({}))["Cmd"] = json!(COMMAND);
    let config = config.to_string().into_bytes();
    let own = Descriptor::of(OCI_LAYER, layer);
    let layers = layers.iter().map(in_words_of_oci).chain([own]).collect();
    let manifest = image_manifest(Descriptor::of(OCI_CONFIG, &config), layers, BTreeMap::new());
    Ok((config, manifest))
}

/// A layer of a Docker image is one of OCI under another name.
fn in_words_of_oci(layer: &Descriptor) -> Descriptor {
    let mut layer = layer.clone();
    if layer.media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip" {
        GZIP.clone_into(&mut layer.media_type);
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::default(),
        ));
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(1_700_000_000);
            // `set_path` and the like refuse what an attacker would write.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn the_layer_has_the_files_in_order_whatever_the_archive_looks_like() {
        let one = graph_layer(&tarball(&[("./version", b"1"), ("channels/a.yaml", b"a")])).unwrap();
        let two = graph_layer(&tarball(&[("channels/a.yaml", b"a"), ("version", b"1")])).unwrap();
        assert_eq!(one, two);
        let mut archive = tar::Archive::new(one.as_slice());
        let names = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            entry.path().unwrap().display().to_string()
        });
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "var/lib/cincinnati-graph-data",
                "var/lib/cincinnati-graph-data/channels",
                "var/lib/cincinnati-graph-data/channels/a.yaml",
                "var/lib/cincinnati-graph-data/version",
            ]
        );
    }

    #[test]
    fn data_that_is_none_or_leads_elsewhere_is_refused() {
        let said = |data: &[u8]| graph_layer(data).unwrap_err().to_string();
        assert!(said(b"no gzip").contains("not as it should be"));
        assert!(said(&tarball(&[])).contains("holds no file"));
        assert!(said(&tarball(&[("../../etc/passwd", b"x")])).contains("no file within it"));
        assert!(said(&tarball(&[("/etc/passwd", b"x")])).contains("no file within it"));
        // A name of pax may hold what one in a header ends with.
        let pax = b"12 path=a\0b\n".to_vec();
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::default(),
        ));
        for (kind, bytes) in [(tar::EntryType::XHeader, &pax[..]), (tar::EntryType::Regular, b"x")]
        {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append(&header, bytes).unwrap();
        }
        let hostile = tar.into_inner().unwrap().finish().unwrap();
        assert!(said(&hostile).contains("a\\0b"), "{}", said(&hostile));
    }

    #[test]
    fn the_base_gets_a_layer_and_a_command() {
        let layer = graph_layer(&tarball(&[("version", b"1")])).unwrap();
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let below = [Descriptor::of(docker, b"base")];
        let config = br#"{"os":"linux","config":{"Env":["A=b"]},"rootfs":{"diff_ids":["sha256:0"]},"history":[]}"#;
        let (config, manifest) = on_graph_base(config, &below, &layer).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["config"]["Env"][0], "A=b");
        assert_eq!(config["config"]["Cmd"][0], "/bin/bash");
        assert_eq!(config["rootfs"]["diff_ids"][1], json!(Digest::of(&layer)));
        assert_eq!(config["history"].as_array().unwrap().len(), 1);
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["layers"][0]["mediaType"], GZIP);
        assert_eq!(manifest["layers"][1]["digest"], json!(Digest::of(&layer)));
        let err = on_graph_base(b"{}", &below, &layer).unwrap_err().to_string();
        assert!(err.contains("of other layers"), "{err}");
    }
}
