//! The objects that offer a lock's catalogs to a cluster: for OLM v0 a `CatalogSource`, for v1 a `ClusterCatalog`.

use std::collections::BTreeMap;

use airlift_spec::lock::{Artifact, Kind};
use airlift_spec::{Digest, Failure, Layout, Lock, Reference};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::place::RegistryPlace;

/// Where the catalogs of an OpenShift cluster are, which every namespace may subscribe to.
const NAMESPACE: &str = "openshift-marketplace";

/// The longest name that is a label as well.
const NAME_CHARS: usize = 63;

/// An object as a file of its own.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) file: String,
    pub(super) text: String,
}

/// The objects for each catalog of `lock` at its place in `registry`, by name.
pub(super) fn objects(
    lock: &Lock,
    registry: &RegistryPlace,
    layout: Layout,
) -> Result<Vec<Object>, Failure> {
    // One name for two things would have the cluster pull whichever was loaded last.
    layout.check(&registry.prefix, lock.artifacts.iter().map(|artifact| &artifact.reference))?;
    let catalogs: Vec<&Artifact> =
        lock.artifacts.iter().filter(|artifact| artifact.kind == Kind::Catalog).collect();
    if catalogs.is_empty() {
        return Err(CliError::Refused {
            message: format!("the lock of `{}` holds no catalog", lock.stack),
            help: Some("add a `catalog:` source to the stack, then `airlift resolve`".to_owned()),
        }
        .into());
    }
    let mut objects = Vec::new();
    for (name, catalog) in named(&catalogs) {
        let image = image(catalog, registry, layout)?;
        let source = catalog_source(&name, &image, catalog);
        objects.push(object(&format!("catalogsource-{name}.yaml"), &source));
        let source = cluster_catalog(&name, &image);
        objects.push(object(&format!("clustercatalog-{name}.yaml"), &source));
    }
    Ok(objects)
}

/// The catalog's image on the far side, which no tag can move.
fn image(catalog: &Artifact, registry: &RegistryPlace, layout: Layout) -> Result<String, Failure> {
    let Some(digest) = catalog.digest else {
        return Err(CliError::Refused {
            message: format!("`{}` is not pinned", catalog.reference),
            help: Some("run `airlift resolve` where its registry can be reached".to_owned()),
        }
        .into());
    };
    let repository = layout.place(&registry.prefix, &catalog.reference)?;
    Ok(format!("{}/{repository}@{digest}", registry.host))
}

fn catalog_source(name: &str, image: &str, catalog: &Artifact) -> Value {
    let mut spec = json!({ "displayName": name, "image": image, "sourceType": "grpc" });
    // What we filtered brings no server, so OLM serves it by its own, and no cache: to name a folder of one
    // that is not in the image stops the pod.
    if catalog.from.is_some() {
        spec["grpcPodConfig"] = json!({ "extractContent": { "catalogDir": "/configs" } });
    }
    json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "CatalogSource",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": spec,
    })
}

fn cluster_catalog(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "olm.operatorframework.io/v1",
        "kind": "ClusterCatalog",
        "metadata": { "name": name },
        "spec": { "source": { "image": { "ref": image }, "type": "Image" } },
    })
}

fn object(file: &str, value: &Value) -> Object {
    // Each text on one line, so that scripts find it there.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options).expect("JSON is YAML");
    Object { file: file.to_owned(), text: format!("---\n{text}") }
}

/// The catalogs with the names that they get: the first form of each that no other catalog could have.
fn named<'a>(catalogs: &[&'a Artifact]) -> BTreeMap<String, &'a Artifact> {
    let forms: Vec<[String; 4]> = catalogs.iter().map(|catalog| forms(catalog)).collect();
    let name = |own: &[String; 4]| {
        let is_free =
            |name: &&String| forms.iter().filter(|others| others.contains(name)).count() == 1;
        own.iter().find(is_free).unwrap_or(&own[3]).clone()
    };
    forms.iter().map(name).zip(catalogs.iter().copied()).collect()
}

/// What a catalog may be called. Stock Subscriptions expect the first.
fn forms(catalog: &Artifact) -> [String; 4] {
    let base = plain_name(&catalog.reference);
    let tag = catalog.reference.tag().unwrap_or_default();
    let of_reference = Digest::of(catalog.reference.to_string().as_bytes()).hex();
    let of_content = catalog.digest.map(|digest| digest.hex()).unwrap_or_default();
    let hashes = [of_reference, of_content].map(|hash| hash.chars().take(8).collect::<String>());
    ["", tag, &hashes[0], &hashes[1]].map(|suffix| label(&base, suffix))
}

/// `redhat-operator-index` is the index of what clusters know as `redhat-operators`.
fn plain_name(reference: &Reference) -> String {
    let base = reference.path().rsplit('/').next().unwrap_or_default();
    match base.strip_suffix("-index") {
        Some(kind) if kind.ends_with("-operator") => format!("{kind}s"),
        Some(kind) if !kind.is_empty() => kind.to_owned(),
        _ => base.to_owned(),
    }
}

/// A name as objects have it (RFC 1123), that begins with a letter, as the Service beside a catalog must.
fn label(base: &str, suffix: &str) -> String {
    let word = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.replace(|c: char| !c.is_ascii_alphanumeric(), "-").trim_matches('-').to_owned()
    };
    let (base, suffix) = (word(base), word(suffix));
    let base = if base.starts_with(|c: char| c.is_ascii_alphabetic()) {
        base
    } else {
        format!("catalog-{base}")
    };
    let suffix: String = suffix.chars().take(NAME_CHARS / 2).collect();
    let suffix = if suffix.is_empty() { suffix } else { format!("-{suffix}") };
    let kept: String = base.chars().take(NAME_CHARS - suffix.len()).collect();
    format!("{}{suffix}", kept.trim_end_matches('-')).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests;
