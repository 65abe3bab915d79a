//! What the roots reach: the one walk that `gc`, `fsck` and `index.json` share.

use std::collections::BTreeSet;

use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Closure, Descriptor, Digest, closure};

use crate::{Pushed, Root, Store, StoreError};

/// Something that is kept whole: an artifact of a root, or a manifest that was pushed.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    /// As it stands in `ref.name`.
    pub(crate) name: Option<String>,
    pub(crate) manifest: Descriptor,
    pub(crate) left_out: BTreeSet<Digest>,
}

impl Root {
    pub(crate) fn anchors(&self) -> impl Iterator<Item = Anchor> {
        self.artifacts.iter().map(|artifact| Anchor {
            name: artifact.reference.clone(),
            manifest: artifact.manifest.clone(),
            left_out: artifact.left_out.clone(),
        })
    }
}

impl Pushed {
    /// One for each tag, and one for each manifest that has none.
    pub(crate) fn anchors(&self, repository: &str) -> Vec<Anchor> {
        let anchor = |name: Option<String>, digest: &Digest| {
            let manifest = self.manifests.get(digest)?;
            let manifest = Descriptor::new(&manifest.media_type, *digest, manifest.size);
            Some(Anchor { name, manifest, left_out: BTreeSet::new() })
        };
        let tagged: BTreeSet<_> = self.tags.values().collect();
        let by_tag = self
            .tags
            .iter()
            .map(|(tag, digest)| anchor(Some(format!("{repository}:{tag}")), digest));
        let untagged = self.manifests.keys().filter(|digest| !tagged.contains(digest));
        by_tag.chain(untagged.map(|digest| anchor(None, digest))).flatten().collect()
    }
}

impl Store {
    /// What `anchor` reaches. A damaged manifest is an error: what it leads to is unknown.
    pub(crate) fn reach(&self, anchor: &Anchor) -> Result<Closure, StoreError> {
        closure(&anchor.manifest, &anchor.left_out, |wanted| {
            self.read(&wanted.digest, MAX_MANIFEST_BYTES)
        })
    }
}
