//! Real inputs, which lie beside the checkout and are no part of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use airlift_scan::{Document, Scan, documents, scan};
use airlift_spec::Reference;

pub(crate) use airlift_testkit::data;

/// Everything found in all objects of a text.
pub(crate) fn scan_stream(bytes: &[u8]) -> Scan {
    scan_all(&documents(bytes).unwrap())
}

pub(crate) fn scan_all(documents: &[Document]) -> Scan {
    let mut all = Scan::default();
    for document in documents {
        let Scan { images, doubts } = scan(&document.object);
        all.images.extend(images);
        all.doubts.extend(doubts);
    }
    all
}

/// The files below `folder` whose names end in `.kind`, in order.
pub(crate) fn files(folder: &Path, kinds: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let has_kind =
                || path.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known));
            if path.is_dir() {
                folders.push(path);
            } else if has_kind() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn canonical(image: &str) -> String {
    image.parse::<Reference>().unwrap_or_else(|err| panic!("{err}")).to_string()
}

pub(crate) fn images(scan: &Scan) -> BTreeSet<String> {
    scan.images.iter().map(|found| found.reference.to_string()).collect()
}

/// How much of `truth` was found, and how much of what was found is true; prints both.
pub(crate) struct Measure {
    pub(crate) missed: Vec<String>,
    pub(crate) extra: Vec<String>,
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred images")]
pub(crate) fn measure(title: &str, found: &BTreeSet<String>, truth: &BTreeSet<String>) -> Measure {
    let right = found.intersection(truth).count();
    let recall = right as f64 / truth.len() as f64;
    let precision = right as f64 / found.len() as f64;
    println!(
        "{title}: recall {recall:.4} ({right} of {}), precision {precision:.4} ({right} of {})",
        truth.len(),
        found.len()
    );
    let missed = truth.difference(found).cloned().collect();
    let extra = found.difference(truth).cloned().collect();
    Measure { missed, extra }
}
