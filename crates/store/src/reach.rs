//! What the roots keep and reach: what `gc`, `fsck` and `index.json` share.

use std::collections::BTreeSet;
use std::sync::Arc;

use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Closure, Descriptor, Digest, closure};

use crate::roots::read_root;
use crate::{Pushed, Root, Store, StoreError};

/// Everything that is kept, over all roots.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) anchors: Vec<Anchor>,
    /// Kept besides, without what they may lead to.
    pub(crate) blobs: Vec<Digest>,
    /// The same of what clients push. It is announced before it comes, and so may be absent.
    pub(crate) pushed_blobs: Vec<Digest>,
}

/// Something that is kept whole: an artifact of a root, or a manifest that was pushed.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    /// As it stands in `ref.name`.
    pub(crate) name: Option<String>,
    pub(crate) manifest: Descriptor,
    pub(crate) left_out: BTreeSet<Digest>,
    /// The repository in which a client pushed it, if no tag there leads to it.
    pub(crate) untagged_in: Option<Arc<str>>,
}

impl Kept {
    fn add_root(&mut self, root: Root) {
        self.blobs.extend(root.blobs);
        self.anchors.extend(root.artifacts.into_iter().map(|artifact| Anchor {
            name: artifact.reference,
            manifest: artifact.manifest,
            left_out: artifact.left_out,
            untagged_in: None,
        }));
    }

    fn add_pushed(&mut self, repository: &str, pushed: &Pushed) {
        self.anchors.extend(pushed.anchors(repository));
        self.pushed_blobs.extend(pushed.blobs.iter().chain(pushed.tags.values()));
    }
}

impl Pushed {
    /// One for each tag, and one for each manifest that has none.
    fn anchors(&self, repository: &str) -> Vec<Anchor> {
        let anchor = |name: Option<String>, digest: &Digest| {
            let manifest = self.manifests.get(digest)?;
            let manifest = Descriptor::new(&manifest.media_type, *digest, manifest.size);
            let untagged_in = name.is_none().then(|| repository.into());
            Some(Anchor { name, manifest, left_out: BTreeSet::new(), untagged_in })
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
    /// Everything that is kept. `bad` is told of a root that cannot be read, by name, and says whether that is the end.
    pub(crate) fn kept(
        &self,
        mut bad: impl FnMut(String, StoreError) -> Result<(), StoreError>,
    ) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        for path in self.root_files()? {
            match read_root(&path) {
                Ok(root) => root.into_iter().for_each(|root| kept.add_root(root)),
                Err(err) => bad(path.display().to_string(), err)?,
            }
        }
        for repository in self.pushed_repositories()? {
            match self.pushed(&repository) {
                Ok(Some(pushed)) => kept.add_pushed(&repository, &pushed),
                Ok(None) => {}
                Err(err) => bad(repository, err)?,
            }
        }
        Ok(kept)
    }

    /// What `anchor` reaches. A damaged manifest is an error: what it leads to is unknown.
    pub(crate) fn reach(&self, anchor: &Anchor) -> Result<Closure, StoreError> {
        self.reach_anew(anchor, |_| true)
    }

    /// The same, without what lies below the manifests that are not `new`.
    pub(crate) fn reach_anew(
        &self,
        anchor: &Anchor,
        new: impl Fn(&Digest) -> bool,
    ) -> Result<Closure, StoreError> {
        closure(&anchor.manifest, &anchor.left_out, |wanted| {
            let is_new = new(&wanted.digest);
            if is_new { self.read(&wanted.digest, MAX_MANIFEST_BYTES) } else { Ok(None) }
        })
    }
}
