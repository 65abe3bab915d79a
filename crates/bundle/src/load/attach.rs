//! Referrers where the registry has no referrers API: the fallback index, merged and never carried.

use std::collections::BTreeSet;

use airlift_registry::client::{ClientError, Referrers};
use airlift_spec::oci::{Manifest, media_type, referrers_tag};
use airlift_spec::{Ctx, Descriptor, Digest};
use serde_json::{Value, json};

use super::{LoadError, Target};

/// Somebody who writes between our writing and our reading five times in a row will do so again.
const TRIES: usize = 5;

/// What the registry lists for a subject.
pub(super) enum Lacking {
    /// It has the referrers API: whatever was pushed is listed.
    Api,
    /// It has not; these are missing in the fallback index.
    Fallback(Vec<Digest>),
}

/// Which of `ours` the registry does not list for `subject`. `has_api` saves a question where it is known.
pub(super) async fn lacking(
    target: &Target,
    place: &str,
    subject: &Digest,
    ours: BTreeSet<Digest>,
    has_api: Option<bool>,
    ctx: &Ctx,
) -> Result<Lacking, ClientError> {
    let repository = target.repository(place);
    let listed: BTreeSet<Digest> = match has_api {
        Some(true) => return Ok(Lacking::Api),
        Some(false) => {
            let tag = referrers_tag(subject);
            let found = target.client.manifest(&repository, &tag, ctx).await?;
            found.map(|found| entries(&found.bytes)).unwrap_or_default()
        }
        None => match target.client.referrers(&repository, subject, ctx).await? {
            Referrers::Api(_) => return Ok(Lacking::Api),
            Referrers::FallbackTag(listed) => {
                listed.into_iter().map(|entry| entry.digest).collect()
            }
        },
    };
    Ok(Lacking::Fallback(ours.difference(&listed).copied().collect()))
}

/// The digests that an index lists.
pub(crate) fn entries(index: &[u8]) -> BTreeSet<Digest> {
    let index: Value = serde_json::from_slice(index).unwrap_or_default();
    let list = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect()
}

/// The entry under which a referrer is listed, as the referrers API would give it.
pub(super) fn entry(digest: Digest, bytes: &[u8], manifest: Manifest) -> Descriptor {
    let mut entry = Descriptor::new(&manifest.media_type, digest, bytes.len() as u64);
    entry.artifact_type = manifest.artifact_type;
    entry.annotations = manifest.annotations;
    entry
}

/// Adds `ours` to the fallback index of `subject`; what others added stays. Writes nothing where all are there.
pub(super) async fn write(
    target: &Target,
    place: &str,
    subject: &Digest,
    ours: &[Descriptor],
    ctx: &Ctx,
) -> Result<(), LoadError> {
    let (repository, tag) = (target.repository(place), referrers_tag(subject));
    let what = format!("{place}:{tag}");
    for _ in 0..TRIES {
        let found = target.client.manifest(&repository, &tag, ctx).await;
        let found = found.map_err(|source| target.asked(&what, source))?;
        let standing = found.as_ref().map(|found| found.bytes.as_slice());
        let merged = merge(standing, ours).map_err(|source| target.bad_manifest(&what, source))?;
        let Some(merged) = merged else { return Ok(()) };
        let kind = media_type::OCI_INDEX;
        let pushed = target.client.push_manifest(&repository, &tag, kind, &merged, ctx).await;
        pushed.map_err(|source| target.wrote(&what, source))?;
    }
    Err(LoadError::Contended { registry: target.host.clone(), what })
}

/// The index with `ours` added; none where it lists them all. Entries of others stay as they are, byte for byte
/// where JSON allows.
pub(crate) fn merge(
    standing: Option<&[u8]>,
    ours: &[Descriptor],
) -> Result<Option<Vec<u8>>, airlift_spec::oci::ManifestError> {
    let mut index = match standing {
        None => json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []}),
        Some(bytes) => {
            // What stands under this tag may be anything; only an index can be added to.
            let manifest = Manifest::parse(bytes, None)?;
            if !manifest.is_index() {
                let (inside, outside) = (manifest.media_type, media_type::OCI_INDEX.to_owned());
                return Err(airlift_spec::oci::ManifestError::TypeConflict { inside, outside });
            }
            serde_json::from_slice(bytes).map_err(airlift_spec::oci::ManifestError::Json)?
        }
    };
    let listed = standing.map(entries).unwrap_or_default();
    let new: Vec<Value> = ours
        .iter()
        .filter(|entry| !listed.contains(&entry.digest))
        .map(|entry| json!(entry))
        .collect();
    if new.is_empty() {
        return Ok(None);
    }
    match &mut index["manifests"] {
        Value::Array(list) => list.extend(new),
        other => *other = Value::Array(new),
    }
    Ok(Some(serde_json::to_vec(&index).expect("a JSON value has only text keys")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(name: &str) -> Descriptor {
        Descriptor::new(media_type::OCI_MANIFEST, Digest::of(name.as_bytes()), 3)
    }

    #[test]
    fn what_others_added_stays_with_every_field_they_wrote() {
        let theirs = Digest::of(b"theirs");
        let standing = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","x":1,"manifests":[{{"mediaType":"m","digest":"{theirs}","size":3,"surprise":[1]}}]}}"#,
            media_type::OCI_INDEX
        );
        let merged = merge(Some(standing.as_bytes()), &[descriptor("ours")]).unwrap().unwrap();
        let merged: Value = serde_json::from_slice(&merged).unwrap();
        assert_eq!(merged["x"], 1);
        assert_eq!(merged["manifests"][0]["surprise"], json!([1]));
        assert_eq!(merged["manifests"][1]["digest"], Digest::of(b"ours").to_string());
    }

    #[test]
    fn an_index_that_lists_all_is_not_written() {
        let first = merge(None, &[descriptor("a"), descriptor("b")]).unwrap().unwrap();
        assert_eq!(entries(&first).len(), 2);
        assert_eq!(merge(Some(&first), &[descriptor("b")]).unwrap(), None);
    }

    #[test]
    fn something_else_under_the_fallback_tag_is_not_overwritten() {
        assert!(merge(Some(b"[]"), &[descriptor("a")]).is_err());
        let image = format!(r#"{{"mediaType":"{}","layers":[]}}"#, media_type::OCI_MANIFEST);
        assert!(merge(Some(image.as_bytes()), &[descriptor("a")]).is_err());
    }
}
