//! `index.json`: derived from the roots, so that other tools can read the store as an OCI layout.

use std::collections::{BTreeMap, HashMap};

use airlift_spec::oci::media_type::OCI_INDEX;
use airlift_spec::{Descriptor, Digest};
use serde::Serialize;

use crate::layout::INDEX;
use crate::reach::Anchor;
use crate::{Store, StoreError, disk};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The index of a store without anything in it.
pub(crate) fn empty() -> Vec<u8> {
    render(Vec::new())
}

impl Store {
    /// Rewrites `index.json` from the roots: complete artifacts only, by name, those without a name last.
    ///
    /// Costs a `stat` for each blob that the roots reach.
    pub fn write_index(&self) -> Result<(), StoreError> {
        let _gate = self.enter();
        let mut entries = BTreeMap::new();
        let mut seen = Presence { store: self, known: HashMap::new() };
        for anchor in self.anchors()? {
            if seen.is_complete(&anchor)? {
                let key = (anchor.name.is_none(), anchor.name.clone(), anchor.manifest.digest);
                entries.insert(key, entry(anchor));
            }
        }
        let bytes = render(entries.into_values().collect());
        disk::replace(&self.staging_dir(), &self.root().join(INDEX), &bytes)
            .map_err(|err| self.write_error(bytes.len() as u64, err))
    }

    /// Everything that is kept whole, over all roots.
    pub(crate) fn anchors(&self) -> Result<Vec<Anchor>, StoreError> {
        let mut anchors: Vec<Anchor> =
            self.roots()?.iter().flat_map(crate::Root::anchors).collect();
        for repository in self.pushed_repositories()? {
            if let Some(pushed) = self.pushed(&repository)? {
                anchors.extend(pushed.anchors(&repository));
            }
        }
        Ok(anchors)
    }
}

/// Remembers what is here: artifacts share most of their blobs.
struct Presence<'a> {
    store: &'a Store,
    known: HashMap<Digest, bool>,
}

impl Presence<'_> {
    fn is_complete(&mut self, anchor: &Anchor) -> Result<bool, StoreError> {
        let closure = match self.store.reach(anchor) {
            Ok(closure) => closure,
            // A damaged manifest makes its artifact incomplete, and no other.
            Err(StoreError::DamagedBlob { .. } | StoreError::TooLarge { .. }) => return Ok(false),
            Err(err) => return Err(err),
        };
        let store = self.store;
        let known = &mut self.known;
        let mut is_here = |blob: &Descriptor| {
            *known.entry(blob.digest).or_insert_with(|| store.contains(&blob.digest))
        };
        Ok(closure.is_known() && closure.all().all(&mut is_here))
    }
}

fn entry(anchor: Anchor) -> Descriptor {
    let mut manifest = anchor.manifest;
    // Another tool may have named it otherwise in a root it wrote; the reference is what counts.
    manifest.annotations.remove(REF_NAME);
    if let Some(name) = anchor.name {
        manifest.annotations.insert(REF_NAME.to_owned(), name);
    }
    manifest
}

fn render(manifests: Vec<Descriptor>) -> Vec<u8> {
    serde_json::to_vec(&IndexWire { schema_version: 2, media_type: OCI_INDEX, manifests })
        .expect("descriptors are JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexWire {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}
