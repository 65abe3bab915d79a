//! Small artifacts, and what lies in a store's folders.

use airlift_spec::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use airlift_spec::{Descriptor, Digest};
use airlift_store::{Root, RootArtifact, Store};
use fs_err as fs;

pub(crate) fn put(store: &Store, media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(bytes);
    store.put(digest, bytes).unwrap();
    Descriptor::new(media_type, digest, bytes.len() as u64)
}

pub(crate) fn layer(store: &Store, text: &str) -> Descriptor {
    put(store, OCI_LAYER, text.as_bytes())
}

pub(crate) fn image(store: &Store, layers: &[&Descriptor]) -> Descriptor {
    let config = put(store, OCI_CONFIG, br#"{"architecture":"amd64","os":"linux"}"#);
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{},"layers":{}}}"#,
        json(&config),
        json(&layers)
    );
    put(store, OCI_MANIFEST, text.as_bytes())
}

pub(crate) fn index(store: &Store, children: &[&Descriptor]) -> Descriptor {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":{}}}"#,
        json(&children)
    );
    put(store, OCI_INDEX, text.as_bytes())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

pub(crate) fn root(stack: &str, artifacts: &[(&str, &Descriptor, &[&Descriptor])]) -> Root {
    let artifact =
        |(reference, manifest, left_out): &(&str, &Descriptor, &[&Descriptor])| RootArtifact {
            reference: (!reference.is_empty()).then(|| (*reference).to_owned()),
            manifest: (*manifest).clone(),
            left_out: left_out.iter().map(|child| child.digest).collect(),
        };
    Root {
        stack: stack.to_owned(),
        artifacts: artifacts.iter().map(artifact).collect(),
        blobs: Vec::new(),
    }
}

pub(crate) fn staged(store: &Store) -> Vec<String> {
    let entries = fs::read_dir(store.root().join("staging")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
