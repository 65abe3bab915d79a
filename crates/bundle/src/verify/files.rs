//! Which volumes are there at all, and whether they are what their names say.

use std::path::Path;

use airlift_spec::Finding;

use super::Hurt;
use crate::tar::Marked;
use crate::volume::marked;
use crate::{Presence, TrustedBundle, Volume, disk};

pub(super) fn look(bundle: &TrustedBundle) -> Hurt {
    let mut hurt = Hurt::default();
    for volume in bundle.volumes() {
        if let Some(finding) = look_at(bundle, volume) {
            hurt.findings.push(finding);
            hurt.lost.insert(volume.ordinal());
        } else if volume.sums().is_none() && !bundle.is_trusted_without_signature() {
            let message =
                "no trusted key has signed its sums; its blobs' digests are checked instead";
            hurt.findings.push(Finding::warning("sums-untrusted", volume.name(), message));
        }
    }
    hurt.findings.extend(strangers(bundle));
    hurt
}

/// Why a volume cannot be read as the one its name says.
fn look_at(bundle: &TrustedBundle, volume: &Volume) -> Option<Finding> {
    let name = volume.name();
    match volume.presence() {
        Presence::Absent => Some(Finding::error("volume-missing", name, "the volume is not here")),
        Presence::WrongSize(path, found) => Some(match marked(path) {
            Some(other) if !is_it(bundle, volume, &other) => foreign(bundle, name, &other),
            _ => {
                let message = format!("it has {found} bytes instead of {}", volume.size_bytes());
                Finding::error("volume-truncated", name, message)
            }
        }),
        Presence::Here(path) => match marked(path) {
            Some(other) if !is_it(bundle, volume, &other) => Some(foreign(bundle, name, &other)),
            // A damaged marker is damage like any other: the sums tell.
            _ => None,
        },
    }
}

fn is_it(bundle: &TrustedBundle, volume: &Volume, marked: &Marked) -> bool {
    marked.root == bundle.digest() && marked.ordinal == volume.ordinal()
}

fn foreign(bundle: &TrustedBundle, name: &str, other: &Marked) -> Finding {
    if other.root == bundle.digest() {
        let message = format!("it is in truth {}", bundle.root().volume_file(other.ordinal));
        return Finding::error("volume-renamed", name, message);
    }
    Finding::error("volume-foreign", name, of_another_bundle(other))
}

fn of_another_bundle(other: &Marked) -> String {
    let Marked { bundle, root, ordinal } = other;
    format!("it is volume {ordinal:05} of another bundle, {bundle} with the root {root}")
}

/// Volumes under names that nobody would look for.
fn strangers(bundle: &TrustedBundle) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in bundle.folders() {
        for path in disk::list(folder).unwrap_or_default() {
            let is_known = |volume: &Volume| path.ends_with(volume.name());
            if !is_tar(&path) || bundle.volumes().iter().any(is_known) {
                continue;
            }
            let Some(other) = marked(&path) else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if other.root == bundle.digest() {
                let message = format!(
                    "rename it to {}, which it is",
                    bundle.root().volume_file(other.ordinal)
                );
                findings.push(Finding::warning("volume-renamed", name, message));
            } else if other.bundle == bundle.root().name {
                findings.push(Finding::warning("volume-foreign", name, of_another_bundle(&other)));
            }
        }
    }
    findings
}

fn is_tar(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}
