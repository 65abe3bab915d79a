//! A catalog as files, ready to be put below `/configs` of an image.

use serde_json::Value;

use crate::{Catalog, Document, Package};

/// Where documents of no package go. No package can have this name.
const GLOBAL: &str = "__global";

/// The files of a catalog: path below the root and bytes, by path. One for each package, a JSON document on each line.
///
/// The same catalog gives the same bytes, however its documents were spread over files.
pub fn write(catalog: &Catalog) -> impl Iterator<Item = (String, Vec<u8>)> {
    let global =
        (!catalog.others.is_empty()).then(|| (path(GLOBAL), lines(sorted(catalog.others.iter()))));
    let packages =
        catalog.packages.values().map(|package| (path(&package.name), lines(documents(package))));
    global.into_iter().chain(packages)
}

fn path(name: &str) -> String {
    format!("{name}/catalog.json")
}

/// The package, its channels and bundles by name, what is deprecated, and the rest.
fn documents(package: &Package) -> Vec<&Document> {
    let channels = package.channels.values().map(|channel| &channel.document);
    let bundles = package.bundles.values().map(|bundle| &bundle.document);
    std::iter::once(&package.document)
        .chain(channels)
        .chain(bundles)
        .chain(&package.deprecations)
        .chain(sorted(package.others.iter()))
        .collect()
}

fn sorted<'a>(documents: impl Iterator<Item = &'a Document>) -> Vec<&'a Document> {
    let mut all: Vec<&Document> = documents.collect();
    all.sort_by_cached_key(|document| {
        (document.schema.clone(), document.name.clone(), document.value.to_string())
    });
    all
}

fn lines(documents: Vec<&Document>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for document in documents {
        line(&document.value, &mut bytes);
    }
    bytes
}

fn line(value: &Value, bytes: &mut Vec<u8>) {
    serde_json::to_writer(&mut *bytes, value).expect("a Vec takes any value");
    bytes.push(b'\n');
}
