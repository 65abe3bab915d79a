//! The kinds that operators of the stack bring, out of the catalogs and bundles that the store has. Nobody is asked.

use std::collections::{BTreeMap, BTreeSet};

use airlift_catalog::{Bundle, Package, Wanted};
use airlift_spec::Digest;
use airlift_spec::lock::{Artifact, Kind};
use airlift_store::Store;
use serde_json::Value;

use crate::lint::{Brought, Seen};
use crate::resolve::Upstream;
use crate::{UpstreamError, blocking, catalogs};

/// Most definitions that are held at once. The largest known has a million bytes.
const MAX_DEFINITIONS: usize = 256;

/// A group and a kind.
type Key = (String, String);

/// What the kept bundles bring of the kinds that `objects` are of, in the order of their versions.
pub(crate) async fn by(
    objects: &[Seen],
    artifacts: &[Artifact],
    upstream: &Upstream,
) -> Result<Vec<Brought>, UpstreamError> {
    let wanted: BTreeSet<Key> = objects.iter().map(Seen::key).collect();
    let is_filtered = |it: &&Artifact| it.kind == Kind::Catalog && !it.kept.is_empty();
    let filtered = artifacts.iter().filter(is_filtered).filter_map(|it| it.digest);
    let filtered: Vec<Digest> = filtered.collect();
    if wanted.is_empty() || filtered.is_empty() {
        return Ok(Vec::new());
    }
    let bundles = artifacts.iter().filter(|it| it.kind == Kind::Bundle);
    let digest = |it: &Artifact| it.digest.or_else(|| it.reference.digest());
    let bundles = bundles.filter_map(|it| Some((it.name.clone(), digest(it)?))).collect();
    let work = Work { wanted, bundles, store: upstream.store.clone() };
    blocking(move || work.run(&filtered)).await
}

struct Work {
    wanted: BTreeSet<Key>,
    /// The digests of bundles' images, by the bundles' names.
    bundles: BTreeMap<String, Digest>,
    store: Store,
}

impl Work {
    fn run(&self, catalogs: &[Digest]) -> Result<Vec<Brought>, UpstreamError> {
        let mut found = Vec::new();
        for digest in catalogs {
            let Some(opened) = catalogs::stored(*digest, &self.store)? else { continue };
            let catalog = opened.read(&Wanted::All)?;
            let mut bundles: Vec<(&Package, &Bundle)> = catalog.bundles().collect();
            bundles.sort_by_key(|(package, bundle)| (&package.name, version(bundle)));
            for (package, bundle) in bundles {
                found.extend(self.of_bundle(&package.name, bundle)?);
                if found.len() > MAX_DEFINITIONS {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    fn of_bundle(&self, package: &str, bundle: &Bundle) -> Result<Vec<Brought>, UpstreamError> {
        let kinds: BTreeSet<Key> = bundle.provides().map(|it| (it.group, it.kind)).collect();
        let kinds: Vec<&Key> = kinds.intersection(&self.wanted).collect();
        if kinds.is_empty() {
            return Ok(Vec::new());
        }
        let mut definitions = self.definitions(bundle)?;
        let brought = |key: &Key| Brought {
            package: package.to_owned(),
            bundle: bundle.name.clone(),
            group: key.0.clone(),
            kind: key.1.clone(),
            definition: definitions.remove(key),
        };
        Ok(kinds.into_iter().map(brought).collect())
    }

    /// The definitions that a bundle has, embedded in its catalog or in its image.
    fn definitions(&self, bundle: &Bundle) -> Result<BTreeMap<Key, Value>, UpstreamError> {
        // What cannot be read is said where bundles are looked into.
        let mut objects = bundle.manifests().unwrap_or_default();
        if objects.is_empty()
            && let Some(digest) = self.bundles.get(&bundle.name)
        {
            let files = catalogs::stored_bundle(*digest, &self.store)?;
            let read = files.iter().filter_map(|(_, text)| airlift_scan::documents(text).ok());
            objects = read.flatten().map(|document| document.object).collect();
        }
        objects.retain(|it| it["kind"] == "CustomResourceDefinition");
        Ok(objects.into_iter().filter_map(|it| Some((key(&it)?, it))).collect())
    }
}

fn key(definition: &Value) -> Option<Key> {
    let text = |pointer: &str| Some(definition.pointer(pointer)?.as_str()?.to_owned());
    Some((text("/spec/group")?, text("/spec/names/kind")?))
}

fn version(bundle: &Bundle) -> Option<airlift_scan::knowledge::Version> {
    bundle.version_text()?.parse().ok()
}
