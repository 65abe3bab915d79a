//! OLM catalogs, from wherever they are: a folder, or an image in a registry or a layout.
//!
//! Layers are untrusted, see [`crate::layer`]. They are unpacked in their order, so that a later layer replaces and
//! takes out what an earlier one has.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use airlift_catalog::{Bundle, Catalog, Choice, Kept, Reader, Wanted};
use airlift_registry::client::Repository;
use airlift_spec::lock::KeptPackage;
use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::stack::{self, Place, Selection};
use airlift_spec::{Ctx, Descriptor, Digest, Platforms, Reference};
use airlift_store::Store;
use serde::Deserialize;
use serde_json::Value;

use crate::layer::{Member, each_member};
use crate::local::{LocalImage, read_error, wrong};
use crate::origin::{Manifests, Origin, Read as Manifest};
use crate::resolve::Upstream;
use crate::{UpstreamError, blocking};

/// How the `from` of a filtered catalog begins.
pub(crate) const CATALOG: &str = "catalog:";

/// Says in an image where its catalog lies.
pub(crate) const ROOT_LABEL: &str = "operators.operatorframework.io.index.configs.v1";

/// Says in a bundle's image where its manifests lie.
const MANIFESTS_LABEL: &str = "operators.operatorframework.io.bundle.manifests.v1";

/// Most bytes that the manifests of a bundle have together. What is larger no cluster would take.
const MAX_MANIFESTS_BYTES: u64 = 64 << 20;

/// A catalog that can be read, any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    bytes: Bytes,
    /// As a lock writes it: where it is, and its digest where that is an image.
    pub(crate) from: String,
}

#[derive(Debug, Clone)]
enum Bytes {
    Folder(PathBuf),
    Image { image: Image, root: String },
}

/// What of an image's configuration says where its catalog is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ImageConfig {
    config: Labelled,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Labelled {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// Opens the catalog at `place`, at the digest `pin` where there is one.
pub(crate) async fn open(
    place: &Place,
    pin: Option<Digest>,
    platforms: &Platforms,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Opened, UpstreamError> {
    match place {
        Place::Path(path) => {
            let folder = upstream.base.join(path);
            if !folder.is_dir() {
                return Err(no_folder(&folder));
            }
            let folder = root_of(&folder);
            Ok(Opened { bytes: Bytes::Folder(folder), from: format!("{CATALOG}{path}") })
        }
        Place::Image(written) => open_image(written, pin, platforms, upstream, ctx).await,
        Place::Url(_) => Err(UpstreamError::Kind { kind: "catalog: URL" }),
    }
}

/// The catalog `written`, an index image or `oci:DIR[:NAME]`, so far as it is `wanted`.
pub async fn read_catalog(
    written: &str,
    wanted: Wanted,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Catalog, UpstreamError> {
    let opening = Box::pin(open_image(written, None, &Platforms::All, upstream, ctx));
    let opened =
        ctx.cancel.run_until_cancelled(opening).await.ok_or(UpstreamError::Cancelled)??;
    blocking(move || opened.read(&wanted)).await
}

/// Opens what a lock's `from` names.
pub(crate) async fn again(
    place: &str,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Opened, UpstreamError> {
    match place.rsplit_once('@') {
        Some((written, digest)) => {
            open_image(written, digest.parse().ok(), &Platforms::All, upstream, ctx).await
        }
        None => open(&Place::Path(place.to_owned()), None, &Platforms::All, upstream, ctx).await,
    }
}

/// A folder that is a catalog, or that holds one as an index image does.
fn root_of(folder: &Path) -> PathBuf {
    let inside = folder.join("configs");
    if inside.is_dir() { inside } else { folder.to_owned() }
}

async fn open_image(
    written: &str,
    pin: Option<Digest>,
    platforms: &Platforms,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Opened, UpstreamError> {
    let (origin, reference) = origin(written, upstream).await?;
    let image = Image::bring(&origin, &reference, pin, platforms, upstream, ctx).await?;
    let root = image.labels.get(ROOT_LABEL).ok_or_else(|| no_catalog(&image.name))?;
    let root = root.trim_matches('/').to_owned();
    let pinned = written.split('@').next().unwrap_or(written);
    let from = format!("{CATALOG}{pinned}@{}", image.digest);
    Ok(Opened { bytes: Bytes::Image { image, root }, from })
}

/// The objects in a bundle's image: its `ClusterServiceVersion`, CRDs, and all else that it installs, by file.
pub(crate) async fn bundle(
    reference: &Reference,
    platforms: &Platforms,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Vec<(String, Vec<u8>)>, UpstreamError> {
    let repository = Repository::from(reference);
    let origin = Origin::Registry { client: upstream.client.clone(), repository };
    let image = Image::bring(&origin, reference, None, platforms, upstream, ctx).await?;
    blocking(move || image.manifests()).await
}

/// The catalog of an image that the store has, if it has it. Blocks on the disk.
pub(crate) fn stored(digest: Digest, store: &Store) -> Result<Option<Opened>, UpstreamError> {
    let Some(image) = Image::stored(digest, store)? else { return Ok(None) };
    let Some(root) = image.labels.get(ROOT_LABEL) else { return Ok(None) };
    let root = root.trim_matches('/').to_owned();
    let from = format!("{CATALOG}{digest}");
    Ok(Some(Opened { bytes: Bytes::Image { image, root }, from }))
}

/// The same as [`bundle`], of an image that the store has; nothing where it does not. Blocks on the disk.
pub(crate) fn stored_bundle(
    digest: Digest,
    store: &Store,
) -> Result<Vec<(String, Vec<u8>)>, UpstreamError> {
    Image::stored(digest, store)?.map_or(Ok(Vec::new()), |image| image.manifests())
}

/// An image whose layers are in the store.
#[derive(Debug, Clone)]
struct Image {
    name: String,
    /// Of the manifest that its reference leads to, which may be an index.
    digest: Digest,
    labels: BTreeMap<String, String>,
    layers: Vec<Digest>,
    store: Store,
}

impl Image {
    async fn bring(
        origin: &Origin,
        reference: &Reference,
        pin: Option<Digest>,
        platforms: &Platforms,
        upstream: &Upstream,
        ctx: &Ctx,
    ) -> Result<Self, UpstreamError> {
        let name = reference.to_string();
        let store = &upstream.store;
        let manifests = Manifests { reference: &name, origin, store, ctx };
        let asked = match (origin, pin) {
            (_, Some(pin)) => pin.to_string(),
            (Origin::Local(image), None) => image.root().digest.to_string(),
            (Origin::Registry { .. }, None) => reference.wanted(),
        };
        let root = manifests.look_up(&asked).await?;
        let root = root.ok_or_else(|| UpstreamError::Absent { reference: name.clone() })?;
        let image = one_of(&root, platforms, &manifests).await?;
        for blob in &image.manifest.blobs {
            origin.bring(blob, &name, store, ctx).await?;
        }
        // Of an image, the configuration is the first.
        let (config, layers) = match image.manifest.blobs.split_first() {
            Some((config, layers)) => (Some(config.digest), layers),
            None => (None, [].as_slice()),
        };
        let layers = layers.iter().map(|layer| layer.digest).collect();
        let labels = labels(config, store).await?;
        Ok(Self { digest: root.descriptor.digest, labels, layers, store: store.clone(), name })
    }

    /// The image, where the store has all of it. Blocks on the disk.
    fn stored(digest: Digest, store: &Store) -> Result<Option<Self>, UpstreamError> {
        let read = |digest: &Digest| -> Result<Option<airlift_spec::Manifest>, UpstreamError> {
            let text =
                store.read(digest, MAX_MANIFEST_BYTES).map_err(UpstreamError::StoreItself)?;
            Ok(text.and_then(|text| airlift_spec::Manifest::parse(&text, None).ok()))
        };
        let Some(mut manifest) = read(&digest)? else { return Ok(None) };
        // Of an index, any image will do.
        let children = std::mem::take(&mut manifest.manifests);
        let is_index = !children.is_empty();
        let mut images = children.iter().filter(|it| it.is_manifest() && it.attests().is_none());
        if is_index {
            let Some(child) = images.find(|it| store.contains(&it.digest)) else { return Ok(None) };
            let Some(image) = read(&child.digest)? else { return Ok(None) };
            manifest = image;
        }
        let Some((config, layers)) = manifest.blobs.split_first() else { return Ok(None) };
        if !layers.iter().all(|layer| store.contains(&layer.digest)) {
            return Ok(None);
        }
        let text = store.read(&config.digest, MAX_MANIFEST_BYTES);
        let text = text.map_err(UpstreamError::StoreItself)?.unwrap_or_default();
        Ok(Some(Self {
            name: digest.to_string(),
            digest,
            labels: labels_in(&text),
            layers: layers.iter().map(|layer| layer.digest).collect(),
            store: store.clone(),
        }))
    }

    /// The files of a bundle, by their names. Blocks on the disk.
    fn manifests(&self) -> Result<Vec<(String, Vec<u8>)>, UpstreamError> {
        let folder = self.labels.get(MANIFESTS_LABEL).map_or("manifests", String::as_str);
        let folder = folder.trim_matches('/');
        let (mut files, mut left) = (BTreeMap::new(), MAX_MANIFESTS_BYTES);
        self.each_member(|member| {
            let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_matches('/');
            let Some(name) = below(path, folder) else { return Ok(()) };
            if member.header().entry_type().is_file() {
                let mut text = Vec::new();
                member.take(left + 1).read_to_end(&mut text)?;
                left = left.checked_sub(text.len() as u64).ok_or_else(|| {
                    let limit = MAX_MANIFESTS_BYTES >> 20;
                    io::Error::other(format!("its manifests have more than {limit} MiB"))
                })?;
                files.insert(name.to_owned(), text);
            }
            Ok(())
        })?;
        Ok(files.into_iter().collect())
    }

    /// Shows each member of all layers, in their order. Blocks on the disk.
    fn each_member(
        &self,
        mut show: impl FnMut(&mut Member<'_>) -> io::Result<()>,
    ) -> Result<(), UpstreamError> {
        for layer in &self.layers {
            let blob = self.store.open_blob(layer).map_err(UpstreamError::StoreItself)?;
            let blob = blob.ok_or_else(|| UpstreamError::Missing {
                reference: self.name.clone(),
                what: "the layer",
                digest: *layer,
            })?;
            each_member(blob, &mut show).map_err(|source| UpstreamError::Read {
                path: format!("{} {layer}", self.name),
                source,
            })?;
        }
        Ok(())
    }
}

async fn labels(
    config: Option<Digest>,
    store: &Store,
) -> Result<BTreeMap<String, String>, UpstreamError> {
    let Some(config) = config else { return Ok(BTreeMap::new()) };
    let store = store.clone();
    let text = blocking(move || store.read(&config, MAX_MANIFEST_BYTES)).await;
    let text = text.map_err(UpstreamError::StoreItself)?.unwrap_or_default();
    Ok(labels_in(&text))
}

fn labels_in(config: &[u8]) -> BTreeMap<String, String> {
    let config: ImageConfig = serde_json::from_slice(config).unwrap_or_default();
    config.config.labels.unwrap_or_default()
}

fn no_folder(path: &Path) -> UpstreamError {
    match fs_err::metadata(path) {
        Ok(_) => {
            let help = "name the folder that holds the catalog".to_owned();
            wrong(path, "is no folder".to_owned(), Some(help))
        }
        Err(source) => read_error(path, source),
    }
}

fn no_catalog(name: &str) -> UpstreamError {
    UpstreamError::Local {
        path: name.to_owned(),
        problem: format!("is no catalog: it has no label `{ROOT_LABEL}`"),
        help: Some(
            "name an index image, such as `registry.redhat.io/redhat/redhat-operator-index:v4.20`"
                .to_owned(),
        ),
    }
}

async fn origin(written: &str, upstream: &Upstream) -> Result<(Origin, Reference), UpstreamError> {
    let parse = |text: &str| {
        text.parse::<Reference>().map_err(|err| UpstreamError::Local {
            path: written.to_owned(),
            problem: format!("is no image: {err}"),
            help: None,
        })
    };
    let place = stack::origin(written);
    if place == stack::Origin::Registry {
        let reference = parse(written)?;
        let repository = Repository::from(&reference);
        return Ok((Origin::Registry { client: upstream.client.clone(), repository }, reference));
    }
    let (reference, base) = (parse("airlift.local/catalog")?, upstream.base.clone());
    let named = reference.clone();
    let image = blocking(move || LocalImage::open(&place, &named, &base)).await?;
    let image = image.expect("what is in no registry is on this machine");
    Ok((Origin::Local(Arc::new(image)), reference))
}

/// A catalog is the same for every platform: any that is wanted will do, and the first that is there.
pub(crate) async fn one_of(
    root: &Manifest,
    platforms: &Platforms,
    manifests: &Manifests<'_>,
) -> Result<Manifest, UpstreamError> {
    let children = &root.manifest.manifests;
    let is_image = |child: &&Descriptor| child.is_manifest() && child.attests().is_none();
    let wanted = |child: &&Descriptor| child.platform().is_none_or(|it| platforms.wants(&it));
    let mut images = children.iter().filter(is_image);
    let chosen = images.clone().find(wanted).or_else(|| images.next());
    match chosen {
        Some(child) => manifests.follow(child).await,
        None => Ok(root.clone()),
    }
}

impl Opened {
    /// Reads what is wanted of it. Blocks on the disk.
    pub(crate) fn read(&self, wanted: &Wanted) -> Result<Catalog, UpstreamError> {
        let failed = |source| UpstreamError::Catalog { place: self.from.clone(), source };
        match &self.bytes {
            Bytes::Folder(folder) => Catalog::read_dir(folder, wanted).map_err(failed),
            Bytes::Image { image, root } => {
                let mut reader = Reader::new(wanted.clone());
                image.each_member(|member| {
                    look(member, root, wanted, &mut reader);
                    Ok(())
                })?;
                reader.finish().map_err(failed)
            }
        }
    }
}

/// One member of a layer: a file of the catalog, or a whiteout that takes one out.
pub(crate) fn look(member: &mut Member<'_>, root: &str, wanted: &Wanted, reader: &mut Reader) {
    const WHITEOUT: &str = ".wh.";
    const OPAQUE: &str = ".wh..wh..opq";
    let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
    let path = path.trim_start_matches("./").trim_matches('/');
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(gone) = name.strip_prefix(WHITEOUT) {
        let gone = match (name == OPAQUE, folder.is_empty()) {
            (true, _) => folder.to_owned(),
            (false, true) => gone.to_owned(),
            (false, false) => format!("{folder}/{gone}"),
        };
        match below(&gone, root) {
            Some(inside) => reader.remove(inside),
            // The catalog's folder itself, or one above it.
            None if root == gone || root.starts_with(&format!("{gone}/")) => {
                *reader = Reader::new(wanted.clone());
            }
            None => {}
        }
    } else if let Some(inside) =
        below(path, root).filter(|_| member.header().entry_type().is_file())
    {
        reader.file(inside, member);
    }
}

fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    if root.is_empty() { Some(path) } else { path.strip_prefix(root)?.strip_prefix('/') }
}

/// What of a catalog was chosen, as the lock has it.
pub(crate) fn locked(choice: &Choice, catalog: &Catalog) -> BTreeMap<String, KeptPackage> {
    let locked = |(name, kept): (&String, &Kept)| {
        let bundles = catalog.packages.get(name).map(|package| &package.bundles);
        let bundles = bundles.into_iter().flat_map(BTreeMap::values);
        let package = KeptPackage {
            default_channel: kept.default_channel.clone(),
            channels: kept.channels.clone(),
            install_modes: bundles
                .filter(|it| kept.bundles.contains(&it.name))
                .flat_map(install_modes)
                .collect(),
        };
        (name.clone(), package)
    };
    choice.packages.iter().map(locked).collect()
}

/// The install modes that a bundle supports, as its metadata or its embedded `ClusterServiceVersion` says.
fn install_modes(bundle: &Bundle) -> BTreeSet<String> {
    let listed = match bundle.csv_metadata() {
        Some(metadata) => metadata.get("installModes").cloned(),
        // What cannot be read is said where the manifests are looked into.
        None => bundle.manifests().unwrap_or_default().into_iter().find_map(|object| {
            (object["kind"] == "ClusterServiceVersion")
                .then(|| object["spec"]["installModes"].clone())
        }),
    };
    let listed = listed.as_ref().and_then(Value::as_array);
    let supported = listed.into_iter().flatten().filter(|mode| mode["supported"] == true);
    supported.filter_map(|mode| mode["type"].as_str()).map(str::to_owned).collect()
}

/// The part of a catalog that a lock says is kept. Blocks on the disk.
pub(crate) fn kept_again(
    opened: &Opened,
    locked: &BTreeMap<String, KeptPackage>,
) -> Result<Catalog, UpstreamError> {
    let catalog = opened.read(&Wanted::packages(locked.keys()))?;
    let kept = |package: &KeptPackage| Kept {
        default_channel: package.default_channel.clone(),
        channels: package.channels.clone(),
        bundles: package.channels.values().flatten().cloned().collect(),
    };
    let packages = locked.iter().map(|(name, package)| (name.clone(), kept(package)));
    Ok(catalog.keep(&Choice { packages: packages.collect() }))
}

/// What has to be read of a catalog for a selection.
pub(crate) fn wanted(selection: &Selection) -> Wanted {
    if selection.packages.is_empty() {
        return Wanted::All;
    }
    Wanted::packages(selection.packages.iter().map(|package| package.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_whose_manifests_have_no_end_is_refused() {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        for name in ["a", "b", "c"] {
            let half = io::repeat(b'#').take(MAX_MANIFESTS_BYTES / 2);
            let mut header = tar::Header::new_gnu();
            header.set_size(MAX_MANIFESTS_BYTES / 2);
            tar.append_data(&mut header, format!("manifests/{name}.yaml"), half).unwrap();
        }
        let layer = tar.into_inner().unwrap().finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let digest = Digest::of(&layer);
        store.put(digest, &layer).unwrap();
        let name = "quay.io/a/bundle:v1".to_owned();
        let (labels, layers) = (BTreeMap::new(), vec![digest]);
        let bundle = Image { name, digest, labels, layers, store };
        let err = airlift_spec::error::chain(&bundle.manifests().unwrap_err());
        assert!(err.contains("its manifests have more than 64 MiB"), "{err}");
    }
}
