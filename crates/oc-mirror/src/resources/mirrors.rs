//! `ImageDigestMirrorSet` and `ImageTagMirrorSet`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use airlift_spec::Reference;

use super::{File, Mirrored, ResourcesError, annotations, parse};
use crate::mapping::Kind;
use crate::name::ImageName;
use crate::yaml;

/// Where images of a source are mirrored to, by category and source.
type Mirrors = BTreeMap<Category, BTreeMap<String, BTreeSet<String>>>;

/// Each has an object of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Category {
    Release,
    Operator,
    Generic,
}

/// What a set redirects: pulls by digest, or by tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Digest,
    Tag,
}

pub(super) fn files(mirrored: &Mirrored) -> Result<Vec<File>, ResourcesError> {
    let file = |by: By, name: &str| {
        let mirrors = mirrors(mirrored, by)?;
        let objects = mirrors.iter().map(|(category, entries)| object(by, *category, entries));
        let text: String = objects.map(|it| "---\n".to_owned() + &yaml::write(&it)).collect();
        Ok((!text.is_empty()).then(|| File { name: name.to_owned(), text }))
    };
    let by_digest = file(By::Digest, "idms-oc-mirror.yaml")?;
    let by_tag = file(By::Tag, "itms-oc-mirror.yaml")?;
    Ok(by_digest.into_iter().chain(by_tag).collect())
}

fn mirrors(mirrored: &Mirrored, by: By) -> Result<Mirrors, ResourcesError> {
    let mut mirrors = Mirrors::new();
    for copy in mirrored.copies {
        let Some(category) = category(copy.kind) else { continue };
        let origin = parse(&copy.origin)?;
        if !is_redirected(&origin, copy.kind, by) {
            continue;
        }
        let (source, mirror) =
            scope(&origin, &parse(&copy.destination)?, mirrored.routes.max_nested_paths.is_some());
        mirrors.entry(category).or_default().entry(source).or_default().insert(mirror);
    }
    Ok(mirrors)
}

/// None for what no pod asks for: catalogs are named by their `CatalogSource`, the graph by the `UpdateService`.
fn category(kind: Kind) -> Option<Category> {
    match kind {
        Kind::Release | Kind::ReleaseContent => Some(Category::Release),
        Kind::Related | Kind::Bundle => Some(Category::Operator),
        Kind::Additional | Kind::Helm => Some(Category::Generic),
        Kind::Catalog | Kind::Graph => None,
    }
}

/// The installer looks for the release among the digests, even where it was asked for by its tag.
fn is_redirected(origin: &ImageName, kind: Kind, by: By) -> bool {
    match by {
        By::Digest => origin.digest.is_some() || kind == Kind::Release,
        By::Tag => origin.tag.is_some(),
    }
}

/// What is redirected to what: the namespaces, where the image kept its path, or else the repositories alone.
fn scope(origin: &ImageName, far: &ImageName, is_flat: bool) -> (String, String) {
    // A cluster spells out what is left out of `ubuntu:22.04`; only that is a source it knows.
    let spelled = origin.reference().parse::<Reference>().map(|it| it.repository());
    match spelled {
        Ok(spelled) if spelled != origin.repository() => (spelled, far.repository()),
        _ if !is_flat && keeps_its_path(origin, far) => (namespace(origin), namespace(far)),
        _ => (origin.repository(), far.repository()),
    }
}

fn keeps_its_path(origin: &ImageName, far: &ImageName) -> bool {
    let before = far.path.strip_suffix(&origin.path);
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

fn namespace(name: &ImageName) -> String {
    match name.path.rsplit_once('/') {
        Some((namespace, _)) => format!("{}/{namespace}", name.host),
        None => name.host.clone(),
    }
}

fn object(by: By, category: Category, entries: &BTreeMap<String, BTreeSet<String>>) -> Value {
    let (kind, list, prefix) = match by {
        By::Digest => ("ImageDigestMirrorSet", "imageDigestMirrors", "idms"),
        By::Tag => ("ImageTagMirrorSet", "imageTagMirrors", "itms"),
    };
    let category = match category {
        Category::Release => "release",
        Category::Operator => "operator",
        Category::Generic => "generic",
    };
    let entry = |(source, mirrors): (&String, &BTreeSet<String>)| json!({ "mirrors": mirrors, "source": source });
    json!({
        "apiVersion": "config.openshift.io/v1",
        "kind": kind,
        "metadata": { "annotations": annotations(), "name": format!("{prefix}-{category}-0") },
        "spec": { list: entries.iter().map(entry).collect::<Vec<_>>() },
    })
}
