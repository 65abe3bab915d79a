//! `index.json`: derived from the roots, so that other tools can read the store as an OCI layout.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use airlift_spec::oci::media_type::OCI_INDEX;
use airlift_spec::{Descriptor, Digest};
use serde::Serialize;

use crate::layout::INDEX;
use crate::reach::Anchor;
use crate::{Listing, RootArtifact, Store, StoreError, cores, disk};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The index of a store without anything in it.
pub(crate) fn empty() -> Vec<u8> {
    render(Vec::new())
}

impl Store {
    /// Rewrites `index.json` from the roots: complete artifacts only, by name, those without a name last.
    ///
    /// `complete` are artifacts that the caller has walked himself and found whole. For others, the folder of blobs is
    /// read once, and their manifests.
    pub fn write_index(&self, complete: &[RootArtifact]) -> Result<(), StoreError> {
        let _gate = self.enter();
        let anchors = self.kept(|_, err| Err(err))?.anchors;
        let complete: HashSet<_> =
            complete.iter().map(|it| (it.manifest.digest, &it.left_out)).collect();
        let is_known = |it: &Anchor| complete.contains(&(it.manifest.digest, &it.left_out));
        let listing = if anchors.iter().all(is_known) { Listing::default() } else { self.list()? };
        let presence = Presence { store: self, listing, complete };
        let check = |share: Range<usize>| {
            anchors[share].iter().map(|anchor| presence.is_complete(anchor)).collect()
        };
        let shares = cores::share(anchors.len(), self.tuning().threads, check);
        let is_complete = shares.into_iter().collect::<Result<Vec<Vec<bool>>, _>>()?.concat();
        let mut entries = BTreeMap::new();
        for (anchor, _) in anchors.into_iter().zip(is_complete).filter(|(_, it)| *it) {
            let key = (anchor.name.is_none(), anchor.name.clone(), anchor.manifest.digest);
            entries.insert(key, entry(anchor));
        }
        let bytes = render(entries.into_values().collect());
        disk::replace(&self.staging_dir(), &self.root().join(INDEX), &bytes)
            .map_err(|err| self.write_error(bytes.len() as u64, err))
    }
}

/// What is known to be here.
struct Presence<'a> {
    store: &'a Store,
    listing: Listing,
    /// Manifests that are here with all they lead to, apart from the children that were left out.
    complete: HashSet<(Digest, &'a BTreeSet<Digest>)>,
}

impl Presence<'_> {
    fn is_complete(&self, anchor: &Anchor) -> Result<bool, StoreError> {
        if self.complete.contains(&(anchor.manifest.digest, &anchor.left_out)) {
            return Ok(true);
        }
        let closure = match self.store.reach(anchor) {
            Ok(closure) => closure,
            // A damaged manifest makes its artifact incomplete, and no other.
            Err(StoreError::DamagedBlob { .. } | StoreError::TooLarge { .. }) => return Ok(false),
            Err(err) => return Err(err),
        };
        Ok(closure.is_known() && closure.all().all(|blob| self.listing.contains(&blob.digest)))
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
