//! A configuration whose catalogs are pinned, to mirror or to delete the same again.

use serde_json::{Value, json};

use airlift_spec::lock::{self, Artifact};
use airlift_spec::{Digest, Lock};

use crate::config::{ImageSet, Operator};
use crate::name::Transport;
use crate::yaml;

/// Both configurations, as YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// An `ImageSetConfiguration`.
    pub mirror: String,
    /// A `DeleteImageSetConfiguration` of the same content.
    pub delete: String,
}

impl Pinned {
    /// What tells it from one with other pins.
    pub(crate) fn id(&self) -> String {
        Digest::of(self.mirror.as_bytes()).hex()[..12].to_owned()
    }
}

/// The configuration `text`, which is `set`, with each catalog at the digest that `lock` has for it; none where it
/// has no catalogs to pin.
pub fn pinned(text: &str, set: &ImageSet, lock: &Lock) -> Option<Pinned> {
    let mut file: Value = yaml::read(text).ok()?;
    let operators = file["mirror"]["operators"].as_array_mut()?;
    let mut is_any = false;
    for (wire, operator) in operators.iter_mut().zip(&set.operators) {
        if let Some(catalog) = pinned_catalog(operator, lock) {
            wire["catalog"] = json!(catalog);
            is_any = true;
        }
    }
    is_any.then(|| {
        let mirror = yaml::write(&file);
        Pinned { mirror, delete: yaml::write(&to_delete(&file)) }
    })
}

/// The same content, to be deleted: what is blocked is not there, and nothing is archived.
fn to_delete(file: &Value) -> Value {
    let mut content = file["mirror"].clone();
    if let Some(fields) = content.as_object_mut() {
        fields.remove("blockedImages");
    }
    json!({
        "apiVersion": file["apiVersion"],
        "kind": "DeleteImageSetConfiguration",
        "delete": content,
    })
}

/// The catalog's name with tag and digest: it is pulled by the digest, and keeps its tag on the far side.
fn pinned_catalog(operator: &Operator, lock: &Lock) -> Option<String> {
    let catalog = &operator.catalog;
    if catalog.transport == Transport::Oci || catalog.digest.is_some() {
        return None;
    }
    let key = operator.key()?;
    let is_it = |artifact: &&Artifact| {
        artifact.kind == lock::Kind::Catalog && artifact.because.iter().any(|it| it.from == key)
    };
    let artifact = lock.artifacts.iter().find(is_it)?;
    let digest = match &artifact.from {
        // A filtered catalog has a digest of its own; what it was made of is written behind its place.
        Some(from) => from.rsplit_once('@')?.1.parse().ok()?,
        None => artifact.digest?,
    };
    Some(format!("{}@{digest}", catalog.reference()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_spec::lock::{Because, Evidence};

    const SET: &str = "kind: ImageSetConfiguration
apiVersion: mirror.openshift.io/v2alpha1
mirror:
  operators:
  - {catalog: 'a.io/ops/index:v1', packages: [{name: app}]}
  - {catalog: 'a.io/ops/whole:v1', full: true}
  - {catalog: 'oci:///mnt/catalog'}
  blockedImages: [{name: x}]
";

    fn lock() -> (Lock, Digest, Digest) {
        let (source, whole) = (Digest::of(b"source"), Digest::of(b"whole"));
        let catalog = |name: &str, from: Option<String>, digest: Digest| {
            let from_key = format!("catalog: {name}");
            let because =
                vec![Because { from: from_key, path: String::new(), evidence: Evidence::Declared }];
            let plain = Artifact::new(lock::Kind::Catalog, name.parse().unwrap());
            Artifact { because, from, digest: Some(digest), ..plain }
        };
        let mut lock = Lock::new("set");
        let from = format!("catalog:a.io/ops/index:v1@{source}");
        lock.artifacts = vec![
            catalog("a.io/ops/index:v1", Some(from), Digest::of(b"filtered")),
            catalog("a.io/ops/whole:v1", None, whole),
        ];
        (lock, source, whole)
    }

    #[test]
    fn catalogs_of_registries_are_pinned_to_what_they_were_made_of() {
        let set = ImageSet::parse(SET).unwrap();
        let (lock, source, whole) = lock();
        let pinned = pinned(SET, &set, &lock).unwrap();
        let again = ImageSet::parse(&pinned.mirror).unwrap();
        let catalogs: Vec<String> =
            again.operators.iter().map(|it| it.catalog.to_string()).collect();
        assert_eq!(
            catalogs,
            [
                format!("docker://a.io/ops/index:v1@{source}"),
                format!("docker://a.io/ops/whole:v1@{whole}"),
                "oci:///mnt/catalog".to_owned(),
            ]
        );
        assert_eq!(again.operators[0].packages, set.operators[0].packages);
        // The name on the far side is the same.
        assert_eq!(again.operators[0].catalog.far_tag(), "v1");
        let delete = ImageSet::parse(&pinned.delete).unwrap();
        assert_eq!(delete.purpose, crate::config::Purpose::Delete);
        assert_eq!(delete.operators[0].catalog, again.operators[0].catalog);
    }

    #[test]
    fn a_set_without_catalogs_has_nothing_to_pin() {
        let text =
            "kind: ImageSetConfiguration\nmirror: {additionalImages: [{name: 'a.io/b:1'}]}\n";
        let set = ImageSet::parse(text).unwrap();
        assert_eq!(pinned(text, &set, &lock().0), None);
    }
}
