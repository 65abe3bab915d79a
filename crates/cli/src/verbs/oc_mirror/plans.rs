//! What a dry run writes: which image would go where, and which are not here yet.

use std::collections::{BTreeMap, BTreeSet};

use airlift_oc_mirror::{Copy, ImageName, Kind, Workspace, mapping_of_children};
use airlift_registry::client::{Client, Repository};
use airlift_spec::lock::{self, Artifact};
use airlift_spec::{Digest, Failure, Lock, Manifest, Reference};
use airlift_store::Store;
use airlift_upstream::fetch::plan;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::write;
use crate::app::{App, LOCK, read_lock};

/// Requests at once; each holds one manifest.
const PARALLEL: usize = 8;

/// What the indexes hold that are copied, by the name that is asked for.
pub(super) type Children = BTreeMap<String, Vec<Digest>>;

/// `mapping.txt`, with what an index holds behind each that is known to be one.
pub(super) fn mapping(copies: &[Copy], children: &Children) -> String {
    let with_children = |copy: &Copy| {
        let own = airlift_oc_mirror::mapping([copy]);
        let below = children.get(&copy.origin).map(Vec::as_slice).unwrap_or_default();
        own + &mapping_of_children(copy, below)
    };
    copies.iter().map(with_children).collect()
}

/// Asks the registries that images come from what their indexes hold.
pub(super) async fn children_upstream(
    copies: &[Copy],
    client: &Client,
    app: &App,
) -> Result<Children, Failure> {
    let images: BTreeMap<&String, Reference> =
        copies.iter().filter_map(|copy| Some((&copy.origin, reference(copy)?))).collect();
    let asked = stream::iter(images).map(|(origin, reference)| async move {
        let (repository, wanted) = (Repository::from(&reference), reference.wanted());
        let found = client.manifest(&repository, &wanted, &app.ctx).await?;
        let manifest = found.and_then(|it| Manifest::parse(&it.bytes, Some(&it.media_type)).ok());
        let children = manifest.map(|it| it.manifests).unwrap_or_default();
        let digests = children.into_iter().map(|child| child.digest).collect();
        Ok::<_, Failure>((origin.clone(), digests))
    });
    asked.buffer_unordered(PARALLEL).try_collect().await
}

/// What the indexes of locks hold.
pub(super) fn children_of<'a>(
    locks: impl IntoIterator<Item = &'a Lock>,
    copies: &[Copy],
) -> Children {
    let artifacts = locks.into_iter().flat_map(|lock| &lock.artifacts);
    let known: BTreeMap<Reference, &Artifact> =
        artifacts.map(|artifact| (asked_for(artifact), artifact)).collect();
    let children = |copy: &Copy| {
        let artifact = known.get(&reference(copy)?)?;
        let digests = artifact.children.iter().map(|child| child.digest).collect();
        Some((copy.origin.clone(), digests))
    };
    copies.iter().filter_map(children).collect()
}

/// The image of a copy as airlift names it; none for what lies on a disk.
pub(super) fn reference(copy: &Copy) -> Option<Reference> {
    let origin = ImageName::parse(&copy.origin).ok()?;
    if origin.transport == airlift_oc_mirror::Transport::Oci {
        return None;
    }
    origin.reference().parse().ok()
}

/// The name by which a mapping asks for an artifact: of a release it is the tag, as its signature is for that.
fn asked_for(artifact: &Artifact) -> Reference {
    let by_tag = || {
        let tag = artifact.reference.tag().filter(|_| artifact.kind == lock::Kind::Release)?;
        format!("{}:{tag}", artifact.reference.repository()).parse().ok()
    };
    by_tag().unwrap_or_else(|| artifact.reference.clone())
}

/// Writes `missing.txt`, where the store has not all of what would be copied.
pub(super) fn write_missing(
    workspace: &Workspace,
    copies: &[Copy],
    found: &Lock,
    store: &Store,
) -> Result<(), Failure> {
    let here = here(workspace, found, store)?;
    // What is on this machine, or made here, need not come, and of a catalog no more than what was looked into.
    let is_missing = |copy: &&Copy| {
        !matches!(copy.kind, Kind::Catalog | Kind::Graph)
            && reference(copy).is_some_and(|it| !here.contains(&it))
    };
    let missing: Vec<&Copy> = copies.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    write(&workspace.missing(), airlift_oc_mirror::mapping(missing))
}

/// The images that the store has whole: as they are pinned by the run before, or by their own names.
fn here(
    workspace: &Workspace,
    found: &Lock,
    store: &Store,
) -> Result<BTreeSet<Reference>, Failure> {
    let file = workspace.root().join(LOCK);
    let before = file.is_file().then(|| read_lock(&file)).transpose()?;
    let pinned: BTreeMap<&Reference, &Artifact> = before
        .iter()
        .flat_map(|lock| &lock.artifacts)
        .filter(|artifact| artifact.digest.is_some())
        .map(|artifact| (&artifact.reference, artifact))
        .collect();
    let mut here = BTreeSet::new();
    for artifact in &found.artifacts {
        let Some(artifact) = pinned.get(&artifact.reference) else { continue };
        let alone = Lock { artifacts: vec![(*artifact).clone()], ..Lock::new(&found.stack) };
        let plan = plan(&alone, store)?;
        if plan.missing.is_empty() && plan.unread.is_empty() {
            here.insert(asked_for(artifact));
        }
    }
    Ok(here)
}
