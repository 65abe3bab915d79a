//! `openshift:` sources: releases, the images that each is made of, and the image with the update graph.
//!
//! A release is an image that names its parts in files. Its layers are untrusted: members are only looked at, up to a
//! bound, and never written anywhere. No part of a release is taken before somebody who is trusted has signed it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};

use airlift_oc_mirror::{
    BOOT_IMAGES, Graphs, IMAGE_REFERENCES, ImageName, Item, Keyring, Payload, ReleaseError,
    channels, choose, component_path, kube_virt_images, release_tag,
};
use airlift_registry::client::Repository;
use airlift_spec::lock::{Artifact, Because, Evidence, Kind};
use airlift_spec::reference::ParseReferenceError;
use airlift_spec::stack::{Finder, ReleaseChannel, ReleaseSource, Releases, Stack};
use airlift_spec::{Ctx, Digest, Finding, Platforms, Reference, error};
use airlift_store::Store;
use futures::{StreamExt as _, TryStreamExt as _};

use super::Discovery;
use crate::catalogs::one_of;
use crate::layer::each_member;
use crate::made;
use crate::origin::{Manifests, Origin, Read};
use crate::releases::Lookup;
use crate::resolve::Upstream;
use crate::want::Want;
use crate::{UpstreamError, blocking};

/// The folder of a release's image that says what it is made of.
const MANIFESTS: &str = "release-manifests";

/// Most bytes of a file in it.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// Releases looked into at once: each unpacks a layer.
const RELEASES_IN_FLIGHT: usize = 4;

/// A release that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Chosen {
    image: ImageName,
    architecture: String,
    /// Its version, where a graph says so.
    version: String,
}

/// Looks into the graph, and into each release that is meant by it.
pub(super) async fn find(
    wanted: &ReleaseSource,
    finder: &Finder,
    stack: &Stack,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Discovery, UpstreamError> {
    let lookup = Lookup { upstream, ctx };
    let look = Look { wanted, key: finder.key(), platforms: finder.platforms(stack), lookup };
    let (chosen, findings) = look.choose().await?;
    let found: Vec<Discovery> = futures::stream::iter(&chosen)
        .map(|release| look.release(release))
        .buffered(RELEASES_IN_FLIGHT)
        .try_collect()
        .await?;
    // Its own manifests are not applied by anybody.
    let objects = Some(Vec::new());
    let mut discovery = Discovery { findings, objects, ..Discovery::default() };
    for release in found {
        discovery.wants.extend(release.wants);
        discovery.findings.extend(release.findings);
    }
    if wanted.graph {
        let because = vec![look.because("the update graph".to_owned())];
        let made = made::graph::graph(&wanted.architectures, because, upstream, ctx).await?;
        discovery.made.push(made);
    }
    let key = finder.key();
    discovery.findings = discovery.findings.into_iter().map(|it| it.of(&key)).collect();
    Ok(discovery)
}

/// Whether everything is signed that was found for `key` and has to be: a lock may have been written by others, and
/// keys are revoked.
pub(super) fn are_signed<'a>(
    mut artifacts: impl Iterator<Item = &'a Artifact>,
    key: &str,
    keys: &Keyring,
) -> bool {
    let is_signed = |artifact: &Artifact| {
        let digest = artifact.digest;
        digest.is_some_and(|digest| keys.check(&artifact.signature, digest).is_ok())
    };
    artifacts.all(|artifact| {
        let is_ours = artifact.because.iter().any(|because| because.from == key);
        artifact.kind != Kind::Release || !is_ours || is_signed(artifact)
    })
}

struct Look<'a> {
    wanted: &'a ReleaseSource,
    key: String,
    platforms: &'a Platforms,
    lookup: Lookup<'a>,
}

impl Look<'_> {
    /// The releases that are meant, and what is odd about them.
    async fn choose(&self) -> Result<(BTreeSet<Chosen>, Vec<Finding>), UpstreamError> {
        let (mut chosen, mut findings) = (BTreeSet::new(), Vec::new());
        for architecture in &self.wanted.architectures {
            let architecture = architecture.clone();
            match &self.wanted.releases {
                Releases::Image(image) => {
                    let image = ImageName::from(image);
                    chosen.insert(Chosen { image, architecture, version: String::new() });
                }
                Releases::Channels(channels) => {
                    let graphs = self.graphs(channels, &architecture).await?;
                    let (releases, odd) =
                        choose(channels, &architecture, &graphs).map_err(UpstreamError::Release)?;
                    findings.extend(odd);
                    chosen.extend(releases.into_iter().map(|release| Chosen {
                        image: release.image,
                        architecture: architecture.clone(),
                        version: release.version.to_string(),
                    }));
                }
            }
        }
        Ok((chosen, findings))
    }

    async fn graphs(
        &self,
        wanted: &[ReleaseChannel],
        architecture: &str,
    ) -> Result<Graphs, UpstreamError> {
        let mut graphs = Graphs::new();
        for (product, channel) in channels(wanted) {
            let graph = self.lookup.graph(product, architecture, &channel).await?;
            graphs.insert(channel, graph);
        }
        Ok(graphs)
    }

    /// A release, what signs it, and its parts.
    async fn release(&self, chosen: &Chosen) -> Result<Discovery, UpstreamError> {
        let mut discovery = Discovery::default();
        let place = reference(&chosen.image)?;
        let image = self.open(&place).await?;
        let mut name = ImageName { digest: Some(image.digest), ..chosen.image.clone() };
        let signature = match self.lookup.signature(&place.to_string(), image.digest).await {
            Ok(good) => {
                // Who asks for a release by its digest alone wants it under the name that was signed.
                let signed = good.signed.name.and_then(|signed| signed.tag);
                name.tag = name.tag.or(signed);
                good.bytes
            }
            Err(err) if err.is_about_a_signature() && self.trusts_without_signature() => {
                let message = format!("it is taken without a signature: {}", error::chain(&err));
                discovery.findings.push(Finding::warning("release-unsigned", &place, message));
                Vec::new()
            }
            Err(err) => return Err(err),
        };
        let files = self.files(&image, &place).await?;
        let payload = payload(&files, &place)?;
        let release = reference(&name)?;
        let want = Want::image(release.clone(), self.platforms.clone());
        discovery.wants.push(Want {
            kind: Kind::Release,
            version: payload.version.clone(),
            because: vec![self.because(chosen.reason())],
            mirrored_as: [mirrored(&Item::Release(name.clone()))?].into(),
            signature,
            ..want
        });
        let mut parts = payload.components;
        if self.wanted.kube_virt {
            let text = files.get(BOOT_IMAGES).ok_or_else(|| ReleaseError::Payload {
                file: BOOT_IMAGES,
                reason: "it is not there".to_owned(),
            });
            let images = text.and_then(|text| {
                kube_virt_images(&String::from_utf8_lossy(text), &chosen.architecture)
            });
            parts.extend(images.map_err(|source| answer(&place, source))?);
        }
        let tag = release_tag(&name);
        for (part, image) in parts {
            discovery.wants.push(self.part(&release, &tag, part, image)?);
        }
        Ok(discovery)
    }

    fn trusts_without_signature(&self) -> bool {
        self.lookup.upstream.releases.trust_without_signature
    }

    fn because(&self, path: String) -> Because {
        Because { from: self.key.clone(), path, evidence: Evidence::Declared }
    }

    fn part(
        &self,
        release: &Reference,
        tag: &str,
        part: String,
        image: ImageName,
    ) -> Result<Want, UpstreamError> {
        let because = Because {
            from: release.to_string(),
            path: component_path(&part),
            evidence: Evidence::Declared,
        };
        let want = Want::image(reference(&image)?, self.platforms.clone());
        let item = Item::ReleaseContent { image, release: tag.to_owned(), name: part };
        Ok(Want { because: vec![because], mirrored_as: [mirrored(&item)?].into(), ..want })
    }

    /// Reads the manifest of a release, and of an index the manifest of any image that is wanted: all say the same.
    async fn open(&self, place: &Reference) -> Result<Opened, UpstreamError> {
        let Lookup { upstream, ctx } = self.lookup;
        let repository = Repository::from(place);
        let origin = Origin::Registry { client: upstream.client.clone(), repository };
        let name = place.to_string();
        let store = &upstream.store;
        let manifests = Manifests { reference: &name, origin: &origin, store, ctx };
        let root = manifests.look_up(&place.wanted()).await?;
        let root = root.ok_or_else(|| UpstreamError::Absent { reference: name.clone() })?;
        let image = one_of(&root, self.platforms, &manifests).await?;
        Ok(Opened { digest: root.descriptor.digest, image, origin })
    }

    /// The files that say what a release is made of. They lie in its last layers, so that the first ones, which are
    /// the large ones, are brought only where that is not so.
    async fn files(
        &self,
        release: &Opened,
        place: &Reference,
    ) -> Result<BTreeMap<&'static str, Vec<u8>>, UpstreamError> {
        let Lookup { upstream, ctx } = self.lookup;
        let name = place.to_string();
        let boot_images = self.wanted.kube_virt.then_some(BOOT_IMAGES);
        let wanted: Vec<&'static str> = [IMAGE_REFERENCES].into_iter().chain(boot_images).collect();
        let mut files = BTreeMap::new();
        // Of an image, the configuration is the first.
        for layer in release.image.manifest.blobs.iter().skip(1).rev() {
            let open: Vec<&'static str> =
                wanted.iter().copied().filter(|name| !files.contains_key(name)).collect();
            if open.is_empty() {
                break;
            }
            release.origin.bring(layer, &name, &upstream.store, ctx).await?;
            let (store, digest) = (upstream.store.clone(), layer.digest);
            let read = blocking(move || read_files(&store, digest, &open)).await;
            let path = || format!("{name} {digest}");
            files.extend(read.map_err(|source| UpstreamError::Read { path: path(), source })?);
        }
        Ok(files)
    }
}

/// A release whose manifest has been read.
struct Opened {
    /// Of the manifest that its name leads to, which may be an index.
    digest: Digest,
    image: Read,
    origin: Origin,
}

impl Chosen {
    /// What of the source means it.
    fn reason(&self) -> String {
        let version =
            if self.version.is_empty() { self.image.reference() } else { self.version.clone() };
        format!("{version} for {}", self.architecture)
    }
}

/// The files of a layer that are wanted, by their names.
fn read_files(
    store: &Store,
    layer: Digest,
    wanted: &[&'static str],
) -> io::Result<BTreeMap<&'static str, Vec<u8>>> {
    let blob = store.open_blob(&layer).map_err(io::Error::other)?;
    let blob = blob.ok_or_else(|| io::Error::other("its layer is not in the store"))?;
    let mut files = BTreeMap::new();
    each_member(blob, |member| {
        let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").trim_start_matches('/');
        let inside = path.strip_prefix(MANIFESTS).and_then(|rest| rest.strip_prefix('/'));
        let Some(name) = wanted.iter().copied().find(|name| inside == Some(*name)) else {
            return Ok(());
        };
        let mut text = Vec::new();
        member.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("{path} is longer than {MAX_FILE_BYTES} bytes")));
        }
        files.insert(name, text);
        Ok(())
    })?;
    Ok(files)
}

fn payload(
    files: &BTreeMap<&'static str, Vec<u8>>,
    place: &Reference,
) -> Result<Payload, UpstreamError> {
    let Some(text) = files.get(IMAGE_REFERENCES) else {
        return Err(UpstreamError::Local {
            path: place.to_string(),
            problem: format!("is no release: it has no file {MANIFESTS}/{IMAGE_REFERENCES}"),
            help: Some(
                "name a release, such as `quay.io/openshift-release-dev/ocp-release`".to_owned(),
            ),
        });
    };
    Payload::parse(text).map_err(|source| answer(place, source))
}

fn answer(place: &Reference, source: ReleaseError) -> UpstreamError {
    UpstreamError::Answer { place: place.to_string(), source }
}

/// The name as a lock has it.
fn reference(image: &ImageName) -> Result<Reference, UpstreamError> {
    let text = image.reference();
    text.parse().map_err(|err| unnameable(&text, &err))
}

/// The name that an item has in a mirror.
fn mirrored(item: &Item) -> Result<Reference, UpstreamError> {
    item.mirrored_as().map_err(|err| unnameable(&format!("{item:?}"), &err))
}

fn unnameable(text: &str, err: &ParseReferenceError) -> UpstreamError {
    let problem = format!("is no name of an image: {err}");
    UpstreamError::Local { path: text.to_owned(), problem, help: None }
}
