//! The image with the update graph: its base as a registry has it, and the data in a layer of its own.

use std::collections::{BTreeMap, BTreeSet};

use airlift_oc_mirror::{GRAPH_BASE, Item, ReleaseError, graph_layer, on_graph_base};
use airlift_registry::client::Repository;
use airlift_spec::lock::{Artifact, Because, Child, Kind};
use airlift_spec::oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use airlift_spec::oci::{MAX_MANIFEST_BYTES, total_bytes};
use airlift_spec::{Ctx, Descriptor, Digest, Platform, Platforms, Reference};
use serde_json::json;

use crate::origin::{Manifests, Origin, Read};
use crate::releases::Lookup;
use crate::resolve::Upstream;
use crate::{UpstreamError, blocking};

/// How the `from` of a graph image begins. Behind it stand where the data was, ` on `, and the base, each with its
/// digest.
const GRAPH: &str = "graph:";
const ON: &str = " on ";

/// Makes the image for these architectures out of what is published now.
pub(crate) async fn graph(
    architectures: &[String],
    because: Vec<Because>,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Artifact, UpstreamError> {
    let lookup = Lookup { upstream, ctx };
    let (place, data) = lookup.graph_data().await?;
    let base: Reference = GRAPH_BASE.parse().expect("it is a reference");
    let base = Base::bring(&base, &platforms(architectures), upstream, ctx).await?;
    let from = format!("{GRAPH}{place}@{}{ON}{}", Digest::of(&data), base.name);
    let reference = Item::Graph.mirrored_as().expect("it is a reference");
    let plain = Artifact::new(Kind::Graph, reference);
    let labelled = Artifact { from: Some(from), because, ..plain };
    base.with(data.to_vec(), labelled, upstream).await
}

/// Makes it once more, out of what the lock says it was made of.
pub(super) async fn again(
    artifact: &Artifact,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Artifact, UpstreamError> {
    let from = artifact.from.as_deref().unwrap_or_default();
    let parts = from.strip_prefix(GRAPH).and_then(|from| from.rsplit_once(ON));
    let parts = parts.and_then(|(data, base)| {
        let (place, digest) = data.rsplit_once('@')?;
        Some((place, digest.parse::<Digest>().ok()?, base.parse::<Reference>().ok()?))
    });
    let Some((place, expected, base)) = parts else {
        return Err(UpstreamError::Local {
            path: artifact.reference.to_string(),
            problem: "has an origin in the lock that is none".to_owned(),
            help: Some("make the lock anew with `airlift resolve`".to_owned()),
        });
    };
    let data = Lookup { upstream, ctx }.graph_data_at(place).await?;
    if !expected.matches(&data) {
        let reference = artifact.reference.to_string();
        return Err(UpstreamError::Remade { reference, from: from.to_owned() });
    }
    let kept = artifact.children.iter().filter_map(|child| child.platform.clone());
    let kept: BTreeSet<Platform> = kept.collect();
    let platforms = if kept.is_empty() { Platforms::All } else { Platforms::Only(kept) };
    let base = Base::bring(&base, &platforms, upstream, ctx).await?;
    base.with(data.to_vec(), artifact.clone(), upstream).await
}

/// Those that the cluster may have: `multi` stands for all.
fn platforms(architectures: &[String]) -> Platforms {
    let parse = |it: &String| format!("linux/{it}").parse::<Platform>().ok();
    let some = architectures.iter().all(|it| it != "multi");
    let parsed = some.then(|| architectures.iter().filter_map(parse).collect());
    parsed.map_or(Platforms::All, Platforms::Only)
}

/// The base, with all its blobs in the store.
struct Base {
    /// With its digest: of what is kept of an index, that of the index.
    name: Reference,
    /// By their entries in the index, where it is one.
    images: Vec<(Option<Descriptor>, Read)>,
}

/// An image of the graph for one platform.
struct Made {
    manifest: Descriptor,
    /// Of all it leads to, by their digests.
    sizes: BTreeMap<Digest, u64>,
}

impl Base {
    async fn bring(
        reference: &Reference,
        platforms: &Platforms,
        upstream: &Upstream,
        ctx: &Ctx,
    ) -> Result<Self, UpstreamError> {
        let repository = Repository::from(reference);
        let origin = Origin::Registry { client: upstream.client.clone(), repository };
        let (name, store) = (reference.to_string(), &upstream.store);
        let manifests = Manifests { reference: &name, origin: &origin, store, ctx };
        let root = manifests.look_up(&reference.wanted()).await?;
        let root = root.ok_or_else(|| UpstreamError::Absent { reference: name.clone() })?;
        let mut images = Vec::new();
        for entry in root.manifest.manifests.iter().filter(|it| is_wanted(it, platforms)) {
            images.push((Some(entry.clone()), manifests.follow(entry).await?));
        }
        if root.manifest.manifests.is_empty() {
            images.push((None, root.clone()));
        }
        if images.is_empty() {
            let offered = root.manifest.manifests.iter().filter_map(Descriptor::platform);
            let offered: Vec<String> = offered.map(|platform| platform.to_string()).collect();
            let (wanted, offered) = (platforms.clone(), offered.join(", "));
            return Err(UpstreamError::Platform { reference: name, wanted, offered });
        }
        for blob in images.iter().flat_map(|(_, image)| &image.manifest.blobs) {
            origin.bring(blob, &name, store, ctx).await?;
        }
        Ok(Self { name: reference.pinned(root.descriptor.digest), images })
    }

    /// Puts the image into the store, and says on `labelled` what it is.
    async fn with(
        self,
        data: Vec<u8>,
        labelled: Artifact,
        upstream: &Upstream,
    ) -> Result<Artifact, UpstreamError> {
        let store = upstream.store.clone();
        let put = move |bytes: &[u8]| store.put(Digest::of(bytes), bytes);
        let put = move |bytes: &[u8]| put(bytes).map_err(UpstreamError::StoreItself);
        let store = upstream.store.clone();
        let read = move |digest: &Digest| {
            let found =
                store.read(digest, MAX_MANIFEST_BYTES).map_err(UpstreamError::StoreItself)?;
            Ok::<_, UpstreamError>(found.unwrap_or_default())
        };
        blocking(move || {
            let layer = graph_layer(&data).map_err(UpstreamError::Release)?;
            put(&layer)?;
            let (mut entries, mut children) = (Vec::new(), Vec::new());
            let mut sizes = BTreeMap::new();
            for (entry, image) in &self.images {
                let made = made(image, &layer, &read, &put)?;
                sizes.extend(made.sizes);
                let platform = entry.as_ref().and_then(Descriptor::platform);
                children.push(Child { digest: made.manifest.digest, platform });
                let Descriptor { media_type, digest, size, .. } = made.manifest;
                let entry = entry.clone().unwrap_or(Descriptor::new(&media_type, digest, size));
                entries.push(Descriptor { media_type, digest, size, ..entry });
            }
            let is_index = self.images.iter().any(|(entry, _)| entry.is_some());
            let top = if is_index {
                let index =
                    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
                let index = index.to_string().into_bytes();
                put(&index)?;
                Descriptor::of(OCI_INDEX, &index)
            } else {
                children.clear();
                entries.remove(0)
            };
            sizes.insert(top.digest, top.size);
            Ok(Artifact {
                digest: Some(top.digest),
                media_type: top.media_type,
                size: top.size,
                bytes: total_bytes(sizes.into_values()),
                children,
                ..labelled
            })
        })
        .await
    }
}

fn is_wanted(entry: &Descriptor, platforms: &Platforms) -> bool {
    entry.is_manifest() && entry.platform().is_some_and(|platform| platforms.wants(&platform))
}

/// Lays the data upon one image of the base.
fn made(
    base: &Read,
    layer: &[u8],
    read: &impl Fn(&Digest) -> Result<Vec<u8>, UpstreamError>,
    put: &impl Fn(&[u8]) -> Result<(), UpstreamError>,
) -> Result<Made, UpstreamError> {
    // Of an image, the configuration is the first.
    let Some((config, layers)) = base.manifest.blobs.split_first() else {
        let reason = "it has no configuration".to_owned();
        return Err(UpstreamError::Release(ReleaseError::GraphBase(reason)));
    };
    let made = on_graph_base(&read(&config.digest)?, layers, layer);
    let (config, manifest) = made.map_err(UpstreamError::Release)?;
    put(&config)?;
    put(&manifest)?;
    let mut sizes: BTreeMap<Digest, u64> =
        layers.iter().map(|layer| (layer.digest, layer.size)).collect();
    for bytes in [layer, &config, &manifest] {
        sizes.insert(Digest::of(bytes), bytes.len() as u64);
    }
    Ok(Made { manifest: Descriptor::of(OCI_MANIFEST, &manifest), sizes })
}
