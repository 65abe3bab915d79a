//! Artifacts that are made here: charts that no registry has, and filtered catalogs.
//!
//! The same input gives the same bytes, so that a store that lacks them makes them again.

use airlift_helm::Chart;
use airlift_spec::lock::{Artifact, Kind};
use airlift_spec::oci::media_type::OCI_MANIFEST;
use airlift_spec::{Ctx, Digest};

use crate::charts::{CHART, Charts};
use crate::resolve::Upstream;
use crate::{UpstreamError, blocking};

/// Puts a chart into the store in its OCI form, and says on `labelled` what it is.
pub(crate) async fn chart(
    chart: &Chart,
    labelled: Artifact,
    upstream: &Upstream,
) -> Result<Artifact, UpstreamError> {
    let made = chart.oci(None);
    let blobs = [made.config.clone(), made.package.to_vec(), made.manifest.clone()];
    put(blobs, upstream).await?;
    let bytes = made.config.len() + made.package.len() + made.manifest.len();
    Ok(Artifact {
        digest: Some(Digest::of(&made.manifest)),
        media_type: OCI_MANIFEST.to_owned(),
        size: made.manifest.len() as u64,
        bytes: bytes as u64,
        ..labelled
    })
}

/// The manifest comes last: what is there before it, is reached by it.
async fn put<const N: usize>(
    blobs: [Vec<u8>; N],
    upstream: &Upstream,
) -> Result<(), UpstreamError> {
    let store = upstream.store.clone();
    let put = move || blobs.iter().try_for_each(|bytes| store.put(Digest::of(bytes), bytes));
    blocking(put).await.map_err(UpstreamError::StoreItself)
}

/// Whether the artifact is not found under its name, but made out of what its `from` names.
pub(crate) fn is_made(artifact: &Artifact) -> bool {
    matches!(artifact.kind, Kind::Catalog | Kind::Chart) && artifact.from.is_some()
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
    let Some(place) = from.strip_prefix(CHART) else {
        return Err(UpstreamError::Kind { kind: "catalog" });
    };
    let made = Charts { upstream, ctx }.again(place).await?;
    let again = chart(&made, artifact.clone(), upstream).await?;
    if again.digest == artifact.digest {
        return Ok(());
    }
    Err(UpstreamError::Remade { reference: artifact.reference.to_string(), from: from.to_owned() })
}
