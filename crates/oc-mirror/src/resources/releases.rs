//! What a cluster needs for its own updates: the update service and the signatures of releases.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use airlift_spec::{Digest, Lock, lock};

use super::{File, Mirrored, annotations, reference};
use crate::mapping::{Kind, release_tag};
use crate::name::{ImageName, digest_tag};
use crate::yaml;

/// An `OpenPGP` signature of a release, as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub release: Digest,
    pub bytes: Vec<u8>,
}

impl Signature {
    /// Those of the releases in a lock, with the tag that each has in a mirror.
    pub fn of_lock(lock: &Lock) -> Vec<(String, Self)> {
        let releases = lock.artifacts.iter().filter(|it| it.kind == lock::Kind::Release);
        let signed = releases.filter(|release| !release.signature.is_empty());
        let signature = |release: &lock::Artifact| {
            let tag = release_tag(&ImageName::from(&release.reference));
            Some((tag, Self { release: release.digest?, bytes: release.signature.clone() }))
        };
        signed.filter_map(signature).collect()
    }
}

/// The update service serves the releases by the graph; without both there is none.
pub(super) fn update_service(mirrored: &Mirrored) -> Option<File> {
    let far = |kind: Kind| {
        let copy = mirrored.copies.iter().find(|copy| copy.kind == kind)?;
        Some(reference(&copy.destination))
    };
    let (Some(release), Some(graph)) = (far(Kind::Release), far(Kind::Graph)) else {
        return None;
    };
    let releases = release.rsplit_once(':').map_or(release, |(repository, _)| repository);
    let object = json!({
        "apiVersion": "updateservice.operator.openshift.io/v1",
        "kind": "UpdateService",
        "metadata": {
            "annotations": annotations(),
            "name": "update-service-oc-mirror",
            "namespace": "openshift-update-service",
        },
        "spec": { "graphDataImage": graph, "releases": releases, "replicas": 2 },
    });
    Some(File { name: "updateService.yaml".to_owned(), text: yaml::write(&object) })
}

/// The config map by which a cluster trusts releases without a line to where they are signed.
pub(super) fn signature_files(signatures: &[Signature]) -> Vec<File> {
    let by_release: BTreeMap<String, &Signature> =
        signatures.iter().map(|it| (digest_tag(it.release), it)).collect();
    if by_release.is_empty() {
        return Vec::new();
    }
    let entry = |((release, signature), number): ((&String, &&Signature), usize)| {
        (format!("{release}-{number}"), Value::from(STANDARD.encode(&signature.bytes)))
    };
    let data: serde_json::Map<String, Value> = by_release.iter().zip(1..).map(entry).collect();
    let object = json!({
        "apiVersion": "v1",
        "binaryData": data,
        "kind": "ConfigMap",
        "metadata": {
            "annotations": annotations(),
            "labels": { "release.openshift.io/verification-signatures": "" },
            "name": "mirrored-release-signatures",
            "namespace": "openshift-config-managed",
        },
    });
    let file = |kind: &str, text| File { name: format!("signature-configmap.{kind}"), text };
    vec![file("json", object.to_string()), file("yaml", yaml::write(&object))]
}
