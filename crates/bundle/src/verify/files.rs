//! Which volumes are there at all, and whether they are what their names say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use airlift_spec::Finding;

use super::Hurt;
use crate::tar::Marked;
use crate::volume::marked;
use crate::{Presence, TrustedBundle, Volume, disk};

pub(super) fn look(bundle: &TrustedBundle) -> Hurt {
    let marked = marked_files(bundle);
    let mut hurt = Hurt::default();
    for volume in bundle.volumes() {
        let problem = problem_of(bundle, volume, &marked);
        if problem == Problem::None {
            hurt.findings.extend(untrusted_sums(bundle, volume));
            continue;
        }
        hurt.lost.insert(volume.ordinal());
        let elsewhere = elsewhere(bundle, volume, &marked);
        let is_elsewhere = elsewhere.is_some();
        hurt.misnamed.extend(elsewhere.map(|file| volume.under_another_name(bundle.root(), file)));
        hurt.findings.extend(problem.finding(bundle, volume, is_elsewhere));
    }
    hurt.findings.extend(strangers(bundle, &marked, &hurt));
    hurt
}

/// What is wrong with a volume that is known without reading it.
pub(crate) fn wrong_file(bundle: &TrustedBundle, volume: &Volume) -> Option<Finding> {
    problem_of(bundle, volume, &marked_files(bundle)).finding(bundle, volume, false)
}

/// What the first member of each tar in the bundle's folders says.
fn marked_files(bundle: &TrustedBundle) -> BTreeMap<PathBuf, Marked> {
    let folders = bundle.folders().iter();
    let files = folders.flat_map(|folder| disk::list(folder).unwrap_or_default());
    files
        .filter(|file| is_tar(file))
        .filter_map(|file| Some((file.clone(), marked(&file)?)))
        .collect()
}

/// Why a volume cannot be read as the one its name says.
#[derive(Debug, PartialEq, Eq)]
enum Problem<'a> {
    None,
    Absent,
    /// Its file has another size.
    Size(u64),
    /// Its file is another volume.
    IsOther(&'a Marked),
}

fn problem_of<'a>(
    bundle: &TrustedBundle,
    volume: &Volume,
    marked: &'a BTreeMap<PathBuf, Marked>,
) -> Problem<'a> {
    let (path, size) = match volume.presence() {
        Presence::Absent => return Problem::Absent,
        Presence::WrongSize(path, size) => (path, Some(*size)),
        Presence::Here(path) => (path, None),
    };
    match (marked.get(path).filter(|other| !is_it(bundle, volume, other)), size) {
        (Some(other), _) => Problem::IsOther(other),
        (None, Some(size)) => Problem::Size(size),
        // A damaged marker is damage like any other: the sums tell.
        (None, None) => Problem::None,
    }
}

impl Problem<'_> {
    /// What to say of it; nothing where another file is the volume, and that is said of that file.
    fn finding(
        &self,
        bundle: &TrustedBundle,
        volume: &Volume,
        is_elsewhere: bool,
    ) -> Option<Finding> {
        let name = volume.name();
        match self {
            Self::None => None,
            Self::Absent if is_elsewhere => None,
            Self::Absent => Some(Finding::error("volume-missing", name, "the volume is not here")),
            Self::Size(found) => {
                let message = format!("it has {found} bytes instead of {}", volume.size_bytes());
                Some(Finding::error("volume-truncated", name, message))
            }
            Self::IsOther(other) if other.root == bundle.digest() => {
                let truth = bundle.root().volume_file(other.ordinal);
                let own =
                    if is_elsewhere { "" } else { ", and the volume of this name is not here" };
                let message = format!("it is in truth {truth}{own}");
                Some(Finding::error("volume-renamed", name, message))
            }
            Self::IsOther(other) => {
                Some(Finding::error("volume-foreign", name, of_another_bundle(other)))
            }
        }
    }
}

fn is_it(bundle: &TrustedBundle, volume: &Volume, marked: &Marked) -> bool {
    marked.root == bundle.digest() && marked.ordinal == volume.ordinal()
}

/// A file of another name that is the volume by its marker and size.
fn elsewhere(
    bundle: &TrustedBundle,
    volume: &Volume,
    marked: &BTreeMap<PathBuf, Marked>,
) -> Option<PathBuf> {
    let is_misnamed = |file: &&PathBuf| {
        !file.ends_with(volume.name()) && disk::file_len(file) == Some(volume.size_bytes())
    };
    let files = marked.iter().filter(|(_, marked)| is_it(bundle, volume, marked));
    files.map(|(file, _)| file).find(is_misnamed).cloned()
}

fn untrusted_sums(bundle: &TrustedBundle, volume: &Volume) -> Option<Finding> {
    let is_well = volume.sums().is_some() || bundle.is_trusted_without_signature();
    let message = "no trusted key has signed its sums; its blobs' digests are checked instead";
    (!is_well).then(|| Finding::warning("sums-untrusted", volume.name(), message))
}

fn of_another_bundle(other: &Marked) -> String {
    let Marked { bundle, root, ordinal } = other;
    format!("it is volume {ordinal:05} of another bundle, {bundle} with the root {root}")
}

/// Volumes under names that nobody would look for.
fn strangers(
    bundle: &TrustedBundle,
    marked: &BTreeMap<PathBuf, Marked>,
    hurt: &Hurt,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, other) in marked {
        let is_known = |volume: &Volume| path.ends_with(volume.name());
        if bundle.volumes().iter().any(is_known) {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let truth = bundle.root().volume_file(other.ordinal);
        if other.root == bundle.digest() && hurt.lost.contains(&other.ordinal) {
            let message = format!("rename it to {truth}, which it is");
            findings.push(Finding::error("volume-renamed", name, message));
        } else if other.root == bundle.digest() {
            let message = format!("it is a copy of {truth}, which is here");
            findings.push(Finding::warning("volume-renamed", name, message));
        } else if other.bundle == bundle.root().name {
            findings.push(Finding::warning("volume-foreign", name, of_another_bundle(other)));
        }
    }
    findings
}

/// In capitals as well: some disks know no others.
fn is_tar(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}
