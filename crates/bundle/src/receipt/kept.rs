//! Receipts as the registry keeps them: reading, writing, and rebuilding a lost one.

use std::collections::{BTreeMap, BTreeSet};

use airlift_registry::client::{BlobSource, ClientError};
use airlift_spec::lock::Artifact;
use airlift_spec::oci::{Manifest, media_type};
use airlift_spec::placement::state_repository;
use airlift_spec::{Ctx, Descriptor, Digest, Lock, Reference, stack};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{FORMAT, MAX_RECEIPT_BYTES, Receipt, ReceiptError};
use crate::load::{LoadError, Target};

const STATE_TYPE: &str = "application/vnd.airlift.state.v1+json";
const RECEIPT_TYPE: &str = "application/vnd.airlift.receipt.v1+json";
/// The config of an artifact that has none, by the OCI specification.
const EMPTY: &[u8] = b"{}";
/// Somebody who writes between our writing and our reading five times in a row will do so again.
const TRIES: usize = 5;

/// A receipt and the manifest under which it lies in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub receipt: Receipt,
    pub manifest: Digest,
}

/// The state of `stack` under the target's prefix; none where the registry holds none.
pub async fn read(target: &Target, stack: &str, ctx: &Ctx) -> Result<Option<Kept>, LoadError> {
    let place = state_repository(&target.prefix);
    let repository = target.repository(&place);
    let what = format!("{place}:{stack}");
    let asked = target.client.manifest(&repository, stack, ctx).await;
    let Some(found) = asked.map_err(|source| target.asked(&what, source))? else { return Ok(None) };
    let wrong = |source| target.bad_manifest(&what, source);
    let manifest = Manifest::parse(&found.bytes, Some(&found.media_type)).map_err(wrong)?;
    let unusable = |source| target.bad_state(stack, source);
    let layer = manifest.blobs.iter().find(|blob| blob.media_type == RECEIPT_TYPE);
    let Some(layer) = layer.filter(|layer| layer.size <= MAX_RECEIPT_BYTES) else {
        return Err(unusable(ReceiptError::TooLarge));
    };
    // A registry that lost the bytes has lost the receipt: then nothing is known, which is always safe.
    let Some(bytes) = read_whole(target, &place, layer, ctx).await? else { return Ok(None) };
    if !layer.digest.matches(&bytes) {
        return Err(unusable(ReceiptError::Damaged(layer.digest)));
    }
    let receipt = Receipt::parse(&bytes).map_err(unusable)?;
    Ok(Some(Kept { receipt, manifest: found.digest }))
}

/// No more than the descriptor promises is read, whatever the registry sends.
async fn read_whole(
    target: &Target,
    place: &str,
    blob: &Descriptor,
    ctx: &Ctx,
) -> Result<Option<Vec<u8>>, LoadError> {
    let what = format!("{place}@{}", blob.digest);
    let failed = |source: ClientError| target.asked(&what, source);
    let repository = target.repository(place);
    let answer = target.client.read_blob(&repository, &blob.digest, None, ctx).await;
    let Some(mut stream) = answer.map_err(failed)? else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(frame) = stream.try_next().await.map_err(failed)? {
        bytes.extend_from_slice(&frame);
        if bytes.len() as u64 > blob.size {
            break;
        }
    }
    Ok(Some(bytes))
}

/// The states of all other stacks under the target's prefix.
pub async fn others(target: &Target, stack: &str, ctx: &Ctx) -> Result<Vec<Receipt>, LoadError> {
    let place = state_repository(&target.prefix);
    let tags = target.client.tags(&target.repository(&place), ctx).await;
    let tags = tags.map_err(|source| target.asked(&place, source))?.unwrap_or_default();
    let mut found = Vec::new();
    for name in tags.iter().filter(|name| *name != stack && stack::is_name(name)) {
        found.extend(read(target, name, ctx).await?.map(|kept| kept.receipt));
    }
    Ok(found)
}

/// Adds `receipt` to what stands in the registry; writes nothing where that says it all already.
///
/// # Errors
///
/// [`ReceiptError::Layout`] where the stack lies there under another layout.
pub async fn write(target: &Target, receipt: &Receipt, ctx: &Ctx) -> Result<(), LoadError> {
    let stack = &receipt.stack;
    for attempt in 0..TRIES {
        let standing = read(target, stack, ctx).await?;
        let merged = match &standing {
            None => receipt.clone(),
            Some(kept) => {
                let checked = kept.receipt.check_layout(receipt.layout);
                checked.map_err(|source| target.bad_state(stack, source))?;
                receipt.clone().merged_with(&kept.receipt)
            }
        };
        // Once ours was written, another load's lock may stand there: what counts is that nothing is lost.
        let is_kept = |there: &Receipt| {
            let same = there.manifests == merged.manifests && there.tags == merged.tags;
            same && (attempt > 0 || there.lock == merged.lock)
        };
        if standing.is_some_and(|kept| is_kept(&kept.receipt)) {
            return Ok(());
        }
        Box::pin(put(target, &merged, ctx)).await?;
    }
    let what = format!("{}:{stack}", state_repository(&target.prefix));
    Err(LoadError::Contended { registry: target.host.clone(), what })
}

async fn put(target: &Target, receipt: &Receipt, ctx: &Ctx) -> Result<(), LoadError> {
    let place = state_repository(&target.prefix);
    let repository = target.repository(&place);
    let what = format!("{place}:{}", receipt.stack);
    let failed = |source: ClientError| target.wrote(&what, source);
    let text = receipt.to_text().into_bytes();
    let config = Descriptor::of(media_type::OCI_EMPTY, EMPTY);
    let layer = Descriptor::of(RECEIPT_TYPE, &text);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": STATE_TYPE,
        "config": config,
        "layers": [layer],
    });
    for (blob, bytes) in [(&config, Bytes::from_static(EMPTY)), (&layer, Bytes::from(text))] {
        let source = InMemory(bytes);
        target.client.push_blob(&repository, blob, &source, ctx).await.map_err(failed)?;
    }
    let bytes = serde_json::to_vec(&manifest).expect("a JSON value has only text keys");
    let (tag, kind) = (receipt.stack.as_str(), media_type::OCI_MANIFEST);
    target.client.push_manifest(&repository, tag, kind, &bytes, ctx).await.map_err(failed)?;
    Ok(())
}

/// Makes a lost receipt anew by asking the registry for everything that `lock` names.
///
/// Tags count as set by this stack where they point to what the lock pins.
pub async fn rebuild(
    target: &Target,
    lock: &Lock,
    parallel: usize,
    ctx: &Ctx,
) -> Result<Receipt, LoadError> {
    let placed = lock
        .artifacts
        .iter()
        .flat_map(|artifact| artifact.placed_as(target.layout).map(move |name| (artifact, name)));
    let placed: Vec<(&Artifact, &Reference)> = placed.collect();
    let questions = placed.iter().map(|(artifact, name)| found_of(target, artifact, name, ctx));
    let found: Vec<Found> = stream::iter(questions).buffered(parallel.max(1)).try_collect().await?;
    let mut receipt = empty(target, &lock.stack, lock.digest());
    for ((_, name), found) in placed.iter().zip(found) {
        let home = name.repository();
        for digest in found.manifests {
            receipt.add_manifest(&home, digest);
        }
        for (tag, digest) in found.tags {
            receipt.add_tag(&home, &tag, digest);
        }
    }
    Ok(receipt)
}

/// A receipt of nothing yet.
pub(crate) fn empty(target: &Target, stack: &str, lock: Digest) -> Receipt {
    Receipt {
        format: FORMAT,
        needs: Vec::new(),
        registry: target.host.clone(),
        prefix: target.prefix.clone(),
        layout: target.layout,
        stack: stack.to_owned(),
        lock,
        manifests: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

#[derive(Default)]
struct Found {
    manifests: BTreeSet<Digest>,
    tags: Vec<(String, Digest)>,
}

/// What of an artifact lies where `name` is placed.
async fn found_of(
    target: &Target,
    artifact: &Artifact,
    name: &Reference,
    ctx: &Ctx,
) -> Result<Found, LoadError> {
    let placed = target.layout.place(&target.prefix, name);
    let place = placed.map_err(LoadError::Placement)?;
    let mut found = Found::default();
    let mut wanted: BTreeSet<Digest> = artifact.digest.into_iter().collect();
    wanted.extend(artifact.children.iter().map(|child| child.digest));
    wanted.extend(artifact.referrers.iter().map(|referrer| referrer.digest));
    let cosign = artifact.referrers.iter().filter_map(|referrer| referrer.tag.as_deref());
    for tag in name.tag().into_iter().chain(cosign) {
        let Some(mut digest) = ask(target, &place, tag, ctx).await? else { continue };
        // A registry may name what a tag points to by another algorithm than the lock does.
        if let Some(own) = artifact.digest.filter(|own| own.algorithm() != digest.algorithm())
            && is_under(target, &place, tag, &own, ctx).await?
        {
            digest = own;
        }
        if wanted.contains(&digest) {
            found.tags.push((tag.to_owned(), digest));
            found.manifests.insert(digest);
        }
    }
    for digest in wanted {
        if !found.manifests.contains(&digest)
            && ask(target, &place, &digest.to_string(), ctx).await?.is_some()
        {
            found.manifests.insert(digest);
        }
    }
    Ok(found)
}

/// Whether `tag` leads to the very bytes that `digest` names.
async fn is_under(
    target: &Target,
    place: &str,
    tag: &str,
    digest: &Digest,
    ctx: &Ctx,
) -> Result<bool, LoadError> {
    let answer = target.client.manifest(&target.repository(place), tag, ctx).await;
    let what = format!("{place} {tag}");
    let found = answer.map_err(|source| target.asked(&what, source))?;
    Ok(found.is_some_and(|found| digest.matches(&found.bytes)))
}

async fn ask(
    target: &Target,
    place: &str,
    wanted: &str,
    ctx: &Ctx,
) -> Result<Option<Digest>, LoadError> {
    let answer = target.client.describe(&target.repository(place), wanted, ctx).await;
    let what = format!("{place} {wanted}");
    Ok(answer.map_err(|source| target.asked(&what, source))?.map(|found| found.digest))
}

/// A small blob that we made ourselves.
#[derive(Debug)]
struct InMemory(Bytes);

impl BlobSource for InMemory {
    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> futures::future::BoxFuture<'_, std::io::Result<Bytes>> {
        let size = self.0.len();
        let start = usize::try_from(offset).unwrap_or(size).min(size);
        let end = start.saturating_add(length).min(size);
        Box::pin(std::future::ready(Ok(self.0.slice(start..end))))
    }
}
