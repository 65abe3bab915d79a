//! Packages: gzipped tars with one folder.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use super::{Files, MAX_BYTES, MAX_FILES};
use crate::ChartError;

/// What may still be unpacked, packages within packages included.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    files: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: MAX_BYTES, files: MAX_FILES }
    }
}

impl Budget {
    /// Takes a file of `bytes` from what is left.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), String> {
        self.files = self
            .files
            .checked_sub(1)
            .ok_or_else(|| format!("it has more than {MAX_FILES} files"))?;
        self.bytes = self
            .bytes
            .checked_sub(bytes)
            .ok_or_else(|| format!("it unpacks to more than {} MiB", MAX_BYTES >> 20))?;
        Ok(())
    }
}

/// The bytes of the package at `path`.
pub(super) fn load(path: &Path) -> Result<Vec<u8>, ChartError> {
    let chart = path.display().to_string();
    let failed = |source| ChartError::Read { chart: chart.clone(), source };
    let file: File = fs_err::File::open(path).map_err(failed)?.into();
    let mut package = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut package).map_err(failed)?;
    if package.len() as u64 > MAX_BYTES {
        let problem = format!("it has more than {} MiB", MAX_BYTES >> 20);
        return Err(ChartError::Refused { chart, problem });
    }
    Ok(package)
}

/// Unpacks a package in memory. Its one folder is taken off the names.
pub(super) fn unpack(
    package: &[u8],
    place: &str,
    budget: &mut Budget,
) -> Result<Files, ChartError> {
    let refused = |problem: String| ChartError::Refused { chart: place.to_owned(), problem };
    if !package.starts_with(&[0x1f, 0x8b]) {
        return Err(ChartError::NotAChart {
            chart: place.to_owned(),
            problem: "it is neither a folder nor a gzipped tar".to_owned(),
            help: Some("name the folder or the .tgz of a Helm chart".to_owned()),
        });
    }
    let broken = |err: io::Error| refused(format!("it cannot be unpacked ({err})"));
    let limit = MAX_BYTES + (MAX_FILES as u64) * 4096;
    let mut archive = tar::Archive::new(GzDecoder::new(package).take(limit));
    let mut files = Files::new();
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind == EntryType::XGlobalHeader {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !kind.is_file() {
            return Err(refused(format!("`{name}` is not a plain file")));
        }
        let path = inner(&name).map_err(refused)?;
        budget.take(entry.size()).map_err(refused)?;
        let mut bytes = Vec::new();
        let size = entry.size();
        entry.take(size).read_to_end(&mut bytes).map_err(broken)?;
        if files.insert(path, bytes.into()).is_some() {
            return Err(refused(format!("`{name}` is in it twice")));
        }
    }
    // The checksum stands behind the end of the tar.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    Ok(files)
}

/// The name without the first folder, if it stays within it.
fn inner(name: &str) -> Result<String, String> {
    let parts: Vec<&str> =
        name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if name.starts_with('/') || name.contains(['\\', '\0']) || parts.contains(&"..") {
        return Err(format!("`{name}` leads out of it"));
    }
    match parts.split_first() {
        Some((_, rest)) if !rest.is_empty() => Ok(rest.join("/")),
        _ => Err(format!("`{name}` lies outside the chart's folder")),
    }
}

/// Packs `files` into a folder `name`. The same files give the same bytes: no times, no owners.
pub(super) fn pack(name: &str, files: &Files) -> Vec<u8> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(6));
    let mut archive = tar::Builder::new(gzip);
    // Helm's own packages begin with it, and some readers look no further.
    let first = files.get_key_value("Chart.yaml");
    let rest = files.iter().filter(|(path, _)| *path != "Chart.yaml");
    for (path, bytes) in first.into_iter().chain(rest) {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        archive
            .append_data(&mut header, format!("{name}/{path}"), bytes.as_ref())
            .expect("memory takes all bytes, and the path is relative");
    }
    let gzip = archive.into_inner().expect("memory takes all bytes");
    gzip.finish().expect("memory takes all bytes")
}
