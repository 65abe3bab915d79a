//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use std::path::Component;

use airlift_spec::{Digest, Manifest};

use crate::mapping::{Mode, Routes};
use crate::{
    Filtered, Graph, Graphs, ImageName, ImageSet, Item, Keyring, Payload, ReleaseChannel,
    Workspace, choose, filter_tag, graph_layer, mapping, on_graph_base, read_delete_list,
};

const REGISTRY: &str = "reg.example/ns";

/// A configuration, or a list to delete by: mistakes have lines of the text, what is wanted goes to the one registry
/// on a line of its own, and a list deletes nowhere else.
pub fn image_set(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(items) = read_delete_list(text, REGISTRY) {
        assert!(
            items.iter().all(|item| item.reference.repository().starts_with("reg.example/ns/"))
        );
    }
    match ImageSet::parse(text) {
        Ok(set) => is_mirrored_to_one_place(&set),
        Err(err) => {
            let lines = text.split(['\n', '\r']).count() as u64;
            assert!(!err.mistakes.is_empty());
            assert!(err.mistakes.iter().all(|mistake| mistake.line <= lines), "{err} of {lines}");
        }
    }
}

fn is_mirrored_to_one_place(set: &ImageSet) {
    if let Ok(translation) = set.translate("fuzz") {
        assert!(translation.stack.images.len() <= set.additional_images.len());
        assert!(translation.stack.finders.len() >= set.operators.len());
    }
    let filtered = |operator| Filtered { tag: filter_tag(operator, None), digest: None };
    let catalogs = set.operators.iter().map(|operator| operator.item(Some(filtered(operator))));
    let images = set.additional_images.iter().map(crate::AdditionalImage::item);
    let items: Vec<Item> = catalogs.chain(images).collect();
    let routes = Routes {
        mode: Mode::DiskToMirror,
        cache: "localhost:55000".to_owned(),
        registry: REGISTRY.to_owned(),
        max_nested_paths: None,
    };
    let (copies, blocked) = set.copies(&items, &routes);
    assert!(copies.len() + blocked.len() <= items.len());
    assert_eq!(mapping(&copies).lines().count(), copies.len());
    assert!(copies.iter().all(|it| it.destination.starts_with("docker://reg.example/ns/")));
    let workspace = Workspace::below("/root".as_ref());
    for channel in &set.platform.channels {
        for architecture in &set.platform.architectures {
            stays_within(&workspace.graph(architecture, &channel.name));
        }
    }
}

fn stays_within(path: &std::path::Path) {
    assert!(path.starts_with("/root"), "{}", path.display());
    assert!(!path.components().any(|part| part == Component::ParentDir), "{}", path.display());
}

/// A release's images, or the graph of a channel: what is chosen is in the graph, and names stay in their folders.
pub fn release(data: &[u8]) {
    let workspace = Workspace::below("/root".as_ref());
    let wish = ImageSet::parse(
        "{kind: ImageSetConfiguration, mirror: {platform: {channels: [{name: c, full: true}]}}}",
    );
    if let (Ok(graph), Ok(set)) = (Graph::parse(data), wish) {
        let graphs = Graphs::from([("c".to_owned(), graph)]);
        let wanted: Vec<_> = set.platform.channels.iter().map(ReleaseChannel::wanted).collect();
        let chosen = choose(&wanted, "amd64", &graphs).map(|(releases, _)| releases);
        for release in chosen.unwrap_or_default() {
            stays_within(&workspace.release_manifests(&release.image));
        }
    }
    if let Ok(payload) = Payload::parse(data) {
        let release = ImageName::parse("a.io/release:v1").expect("it is a name");
        assert_eq!(payload.items(&release).len(), payload.components.len());
    }
}

/// What signs a release, or a file of keys: nothing is signed by a key that has not signed it.
pub fn release_signature(data: &[u8]) {
    let release = Digest::of(b"no signature is for this");
    assert!(Keyring::red_hat().check(data, release).is_err());
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(keys) = Keyring::parse(text) {
        assert!(keys.fingerprints().all(|it| it.len() == 40), "{keys:?}");
        assert!(keys.fingerprints().count() <= data.len());
    }
}

/// The data of the update graph, or the configuration of the image it is laid upon: nothing leads out of its folder.
pub fn graph_data(data: &[u8]) {
    if let Ok(layer) = graph_layer(data) {
        assert_eq!(graph_layer(data).expect("it was read before"), layer);
        let mut archive = tar::Archive::new(layer.as_slice());
        for entry in archive.entries().expect("what we write we read") {
            let path = entry.expect("what we write we read").path().expect("UTF-8").into_owned();
            assert!(path.starts_with("var/lib/cincinnati-graph-data"), "{}", path.display());
            assert!(!path.components().any(|part| part == Component::ParentDir));
        }
    }
    if let Ok((config, manifest)) = on_graph_base(data, &[], b"layer") {
        let manifest = Manifest::parse(&manifest, None).expect("what we write we read");
        assert_eq!(manifest.blobs[0].digest, Digest::of(&config));
    }
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_configuration_is_read_or_refused() {
        check("image_set", super::image_set);
    }

    #[test]
    fn any_signature_or_key_is_read_or_refused() {
        check("release_signature", super::release_signature);
    }

    #[test]
    fn any_data_of_a_graph_stays_in_its_folder_or_is_refused() {
        check("graph_data", super::graph_data);
    }

    #[test]
    fn any_graph_or_payload_is_read_or_refused() {
        check("release", super::release);
    }
}
