//! What one repository holds.

use std::collections::BTreeMap;

use airlift_spec::oci::{Manifest, media_type, referrers_tag};
use airlift_spec::{Descriptor, Digest};
use bytes::Bytes;
use serde_json::json;

use crate::samples::{Sample, SampleManifest};

#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    pub(super) manifests: BTreeMap<Digest, SampleManifest>,
    pub(super) tags: BTreeMap<String, Digest>,
}

impl Repository {
    pub(super) fn put(&mut self, sample: &Sample) {
        self.blobs.extend(sample.blobs.clone());
        for manifest in &sample.manifests {
            self.manifests.insert(manifest.digest, manifest.clone());
        }
        self.tags.extend(sample.tags.clone());
    }

    /// What clients leave in a registry without the referrers API: an index under each subject's tag.
    pub(super) fn put_fallback_tags(&mut self, sample: &Sample) {
        for (_, subject) in sample.referrers() {
            let bytes = Bytes::from(index_of(&self.referrers(&subject, None)));
            let digest = Digest::of(&bytes);
            let media_type = media_type::OCI_INDEX.to_owned();
            self.manifests.insert(digest, SampleManifest { media_type, bytes, digest });
            self.tags.insert(referrers_tag(&subject), digest);
        }
    }

    /// By tag or digest.
    pub(super) fn manifest(&self, reference: &str) -> Option<&SampleManifest> {
        let digest = match reference.parse() {
            Ok(digest) => digest,
            Err(_) => *self.tags.get(reference)?,
        };
        self.manifests.get(&digest)
    }

    /// Takes the manifest away, and the tags that point to it. Says whether it was there.
    pub(super) fn remove_manifest(&mut self, digest: &Digest) -> bool {
        self.tags.retain(|_, to| to != digest);
        self.manifests.remove(digest).is_some()
    }

    pub(super) fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Vec<Descriptor> {
        let descriptor = |manifest: &SampleManifest| {
            let parsed = Manifest::parse(&manifest.bytes, None).ok()?;
            if parsed.subject?.digest != *subject {
                return None;
            }
            let size = manifest.bytes.len() as u64;
            let mut descriptor = Descriptor::new(&manifest.media_type, manifest.digest, size);
            descriptor.artifact_type = parsed.artifact_type;
            descriptor.annotations = parsed.annotations;
            Some(descriptor)
        };
        let wanted = |it: &Descriptor| {
            artifact_type.is_none_or(|wanted| it.artifact_type.as_deref() == Some(wanted))
        };
        self.manifests.values().filter_map(descriptor).filter(wanted).collect()
    }
}

/// An image index of `manifests`.
pub(super) fn index_of(manifests: &[Descriptor]) -> String {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests})
        .to_string()
}
