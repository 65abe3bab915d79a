//! Artifacts that are made here: charts that no registry has, filtered catalogs, and the image of an update graph.
//!
//! The same input gives the same bytes, so that a store that lacks them makes them again.

use airlift_catalog::{Catalog, write};
use airlift_helm::Chart;
use airlift_spec::lock::{Artifact, Kind};
use airlift_spec::oci::media_type::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use airlift_spec::{Ctx, Descriptor, Digest};

use crate::catalogs::{self, CATALOG, ROOT_LABEL};
use crate::charts::{CHART, Charts};
use crate::resolve::Upstream;
use crate::{UpstreamError, blocking};

pub(crate) mod graph;

/// Puts a chart into the store in its OCI form, and says on `labelled` what it is.
pub(crate) async fn chart(
    chart: &Chart,
    labelled: Artifact,
    upstream: &Upstream,
) -> Result<Artifact, UpstreamError> {
    let made = chart.oci(None);
    pinned([made.config, made.package.to_vec(), made.manifest], labelled, upstream).await
}

/// Puts a catalog into the store as an image that OLM can serve, and says on `labelled` what it is.
///
/// One layer of plain tar with nothing but the catalog: its bytes depend on no compressor's version.
pub(crate) async fn catalog(
    catalog: &Catalog,
    labelled: Artifact,
    upstream: &Upstream,
) -> Result<Artifact, UpstreamError> {
    let layer = layer(catalog);
    let diff_id = Digest::of(&layer);
    let config = serde_json::json!({
        "architecture": "amd64",
        "config": { "Labels": { ROOT_LABEL: format!("/{ROOT}") } },
        "os": "linux",
        "rootfs": { "diff_ids": [diff_id], "type": "layers" },
    });
    let config = config.to_string().into_bytes();
    // Not by spec's `image_manifest`, whose keys stand in another order: locks pin these bytes.
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor::of(OCI_CONFIG, &config),
        "layers": [Descriptor::of(OCI_LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    pinned([config, layer, manifest], labelled, upstream).await
}

/// The folder of the catalog in its image.
const ROOT: &str = "configs";

fn layer(catalog: &Catalog) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes).expect("memory takes everything");
    };
    add(ROOT, tar::EntryType::Directory, 0o755, &[]);
    for (name, text) in write(catalog) {
        let folder =
            name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("/{folder}"));
        if !folder.is_empty() {
            add(&format!("{ROOT}{folder}"), tar::EntryType::Directory, 0o755, &[]);
        }
        add(&format!("{ROOT}/{name}"), tar::EntryType::Regular, 0o644, &text);
    }
    tar.into_inner().expect("memory takes everything")
}

/// Whether the artifact is not found under its name, but made out of what its `from` names.
pub(crate) fn is_made(artifact: &Artifact) -> bool {
    let is_kind = matches!(artifact.kind, Kind::Catalog | Kind::Chart | Kind::Graph);
    is_kind && artifact.from.is_some()
}

/// Puts the blobs of an artifact into the store, its manifest last: what it leads to is there before it.
async fn pinned<const N: usize>(
    blobs: [Vec<u8>; N],
    labelled: Artifact,
    upstream: &Upstream,
) -> Result<Artifact, UpstreamError> {
    let manifest = blobs.last().expect("an artifact has a manifest");
    let artifact = Artifact {
        digest: Some(Digest::of(manifest)),
        media_type: OCI_MANIFEST.to_owned(),
        size: manifest.len() as u64,
        bytes: blobs.iter().map(|blob| blob.len() as u64).sum(),
        ..labelled
    };
    let store = upstream.store.clone();
    let put = move || blobs.iter().try_for_each(|bytes| store.put(Digest::of(bytes), bytes));
    blocking(put).await.map_err(UpstreamError::StoreItself)?;
    Ok(artifact)
}

/// Makes an artifact once more, for a store that does not have it.
///
/// # Errors
///
/// [`UpstreamError::Remade`] where it comes out different by now.
pub(crate) async fn again(
    artifact: &Artifact,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<(), UpstreamError> {
    let from = artifact.from.as_deref().unwrap_or_default();
    let again = match (from.strip_prefix(CHART), from.strip_prefix(CATALOG)) {
        _ if artifact.kind == Kind::Graph => graph::again(artifact, upstream, ctx).await?,
        (Some(place), _) => {
            let made = Charts { upstream, ctx }.again(place).await?;
            chart(&made, artifact.clone(), upstream).await?
        }
        (_, Some(place)) => {
            let opened = catalogs::again(place, upstream, ctx).await?;
            let kept = artifact.kept.clone();
            let kept = blocking(move || catalogs::kept_again(&opened, &kept)).await?;
            catalog(&kept, artifact.clone(), upstream).await?
        }
        (None, None) => return Err(UpstreamError::Kind { kind: "catalog" }),
    };
    if again.digest == artifact.digest {
        return Ok(());
    }
    Err(UpstreamError::Remade { reference: artifact.reference.to_string(), from: from.to_owned() })
}
