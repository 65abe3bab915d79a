//! The objects that offer a lock's catalogs to a cluster: for OLM v0 a `CatalogSource`, for v1 a `ClusterCatalog`.

use airlift_spec::catalog_source::{self, Server};
use airlift_spec::lock::{Artifact, Kind};
use airlift_spec::{Failure, Layout, Lock};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::place::RegistryPlace;

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
    let mut named: Vec<_> = catalog_source::names(&catalogs).into_iter().zip(catalogs).collect();
    named.sort();
    for (name, catalog) in named {
        let image = image(catalog, registry, layout)?;
        let server = if catalog.from.is_some() { Server::Olm } else { Server::Own };
        let mut source = catalog_source::catalog_source(&name, &image, server);
        source["spec"]["displayName"] = json!(name);
        objects.push(object(&format!("catalogsource-{name}.yaml"), &source));
        let source = catalog_source::cluster_catalog(&name, &image);
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

fn object(file: &str, value: &Value) -> Object {
    // Each text on one line, so that scripts find it there.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options).expect("JSON is YAML");
    Object { file: file.to_owned(), text: format!("---\n{text}") }
}

#[cfg(test)]
mod tests;
