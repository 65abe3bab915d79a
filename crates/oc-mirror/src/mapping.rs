//! Which image goes where: oc-mirror's rules for names on the far side.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use airlift_spec::catalog_source::Server;
use airlift_spec::placement::nested;
use airlift_spec::reference::ParseReferenceError;
use airlift_spec::{Digest, Reference};

use crate::name::{ImageName, Transport, digest_tag};
use crate::translate::NO_HOST;

pub(crate) const RELEASE_IMAGES: &str = "openshift/release-images";
pub(crate) const RELEASE_CONTENT: &str = "openshift/release";
const GRAPH_IMAGE: &str = "openshift/graph-image:latest";

/// The host that a lock writes before a name which is the peer's alone.
pub(crate) const MIRROR: &str = "airlift.local";

/// What an image is, in the order in which oc-mirror copies: what others need comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    #[serde(rename = "ocpReleaseContent")]
    ReleaseContent,
    #[serde(rename = "ocpRelease")]
    Release,
    #[serde(rename = "cincinnatiGraph")]
    Graph,
    #[serde(rename = "operatorRelatedImage")]
    Related,
    #[serde(rename = "generic")]
    Additional,
    #[serde(rename = "helmImage")]
    Helm,
    #[serde(rename = "operatorBundle")]
    Bundle,
    #[serde(rename = "operatorCatalog")]
    Catalog,
}

/// An image of the set, with what decides about its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Release(ImageName),
    /// An image of a release: `name` is its component's, `release` the release's tag.
    ReleaseContent {
        image: ImageName,
        release: String,
        name: String,
    },
    /// The image with the update graph, which is built on the way.
    Graph,
    Related(ImageName),
    Additional {
        image: ImageName,
        target_repo: Option<String>,
        target_tag: Option<String>,
    },
    Helm(ImageName),
    Bundle(ImageName),
    Catalog(CatalogItem),
}

/// A catalog, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogItem {
    pub image: ImageName,
    pub target_catalog: Option<String>,
    pub target_tag: Option<String>,
    /// None where the catalog is carried as it is, and so brings what serves it.
    pub filtered: Option<Filtered>,
}

/// A catalog that was made anew with what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filtered {
    /// The tag that it has in the cache: [`filter_tag`](crate::filter_tag).
    pub tag: String,
    /// Its digest, once it is made.
    pub digest: Option<Digest>,
}

/// The ways of an image set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    MirrorToDisk,
    DiskToMirror,
    MirrorToMirror,
    Delete,
}

/// Where images come from and go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    pub mode: Mode,
    /// Host and port of the cache, like `localhost:55000`.
    pub cache: String,
    /// Host and path of the far registry, without `docker://`. Unused on the way to a disk.
    pub registry: String,
    /// The most parts that a repository may have there.
    pub max_nested_paths: Option<usize>,
}

/// One image on its way, all names with their transport.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copy {
    pub kind: Kind,
    pub source: String,
    pub destination: String,
    /// The name that the cluster will ask for.
    pub origin: String,
    /// How clusters are told of it, if it is a catalog on its way to the far registry.
    pub offered: Option<OfferedCatalog>,
}

/// A catalog in the far registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferedCatalog {
    pub server: Server,
    /// What names it where no tag does: the digest of what was pushed.
    pub digest: Option<Digest>,
}

impl Item {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Release(_) => Kind::Release,
            Self::ReleaseContent { .. } => Kind::ReleaseContent,
            Self::Graph => Kind::Graph,
            Self::Related(_) => Kind::Related,
            Self::Additional { .. } => Kind::Additional,
            Self::Helm(_) => Kind::Helm,
            Self::Bundle(_) => Kind::Bundle,
            Self::Catalog(_) => Kind::Catalog,
        }
    }

    fn image(&self) -> Option<&ImageName> {
        match self {
            Self::Graph => None,
            Self::Release(image)
            | Self::ReleaseContent { image, .. }
            | Self::Related(image)
            | Self::Additional { image, .. }
            | Self::Helm(image)
            | Self::Bundle(image)
            | Self::Catalog(CatalogItem { image, .. }) => Some(image),
        }
    }

    /// The name that is asked for. Of a release it is the tag, which its signature is for.
    fn asked_for(&self) -> Option<ImageName> {
        let image = self.image()?;
        let is_tagged_release = self.kind() == Kind::Release && image.tag.is_some();
        let digest = image.digest.filter(|_| !is_tagged_release);
        Some(ImageName { digest, ..image.clone() })
    }

    /// The name by which a lock says where the item lies in a mirror.
    pub fn mirrored_as(&self) -> Result<Reference, ParseReferenceError> {
        format!("{MIRROR}/{}", self.place()).parse()
    }

    /// The name by which a lock knows the item.
    pub(crate) fn reference(&self) -> Result<Reference, ParseReferenceError> {
        match self.image() {
            None => self.mirrored_as(),
            Some(image) if image.transport == Transport::Oci => {
                format!("{NO_HOST}/{}", self.place()).parse()
            }
            Some(image) if self.kind() == Kind::Catalog => {
                format!("{}/{}", image.host, self.place()).parse()
            }
            Some(image) => image.reference().parse(),
        }
    }

    /// Repository and tag, as they are in the cache and below the far registry.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Graph => GRAPH_IMAGE.to_owned(),
            Self::Release(image) => format!("{RELEASE_IMAGES}:{}", release_tag(image)),
            Self::ReleaseContent { release, name, .. } => {
                format!("{RELEASE_CONTENT}:{release}-{name}")
            }
            Self::Related(image) | Self::Helm(image) | Self::Bundle(image) => {
                format!("{}:{}", image.path.trim_start_matches('/'), image.far_tag())
            }
            Self::Additional { image, target_repo, target_tag } => {
                let repository = target_repo.as_deref().unwrap_or(&image.path);
                let tag = target_tag.clone().unwrap_or_else(|| image.far_tag());
                format!("{}:{tag}", repository.trim_start_matches('/'))
            }
            Self::Catalog(catalog) => format!("{}:{}", catalog.repository(), catalog.tag()),
        }
    }
}

/// The tag that a release has on the far side: its own, or the digits of its digest.
pub fn release_tag(image: &ImageName) -> String {
    let digits = |digest: Digest| {
        let text = digest.to_string();
        text.split_once(':').map_or(text.clone(), |(_, digits)| digits.to_owned())
    };
    image.tag.clone().or_else(|| image.digest.map(digits)).unwrap_or_else(|| image.far_tag())
}

impl CatalogItem {
    fn repository(&self) -> &str {
        match (&self.target_catalog, self.image.transport) {
            (Some(target), _) => target,
            (None, Transport::Oci) => self.image.base(),
            (None, Transport::Docker) => &self.image.path,
        }
    }

    /// The tag of the catalog as it came.
    fn tag(&self) -> String {
        self.target_tag.clone().unwrap_or_else(|| self.image.far_tag())
    }

    /// The tag on the far side. A catalog pinned by digest is another one once it is filtered.
    fn far_tag(&self) -> String {
        match &self.filtered {
            Some(filtered) if self.has_no_tag() => {
                filtered.digest.map_or_else(|| format!("sha256-{}", filtered.tag), digest_tag)
            }
            Some(_) | None => self.tag(),
        }
    }

    fn has_no_tag(&self) -> bool {
        self.target_tag.is_none() && self.image.is_by_digest_alone()
    }

    pub(crate) fn offered(&self) -> OfferedCatalog {
        let (server, digest) = match &self.filtered {
            Some(filtered) => (Server::Olm, filtered.digest),
            None => (Server::Own, self.image.digest),
        };
        OfferedCatalog { server, digest: digest.filter(|_| self.has_no_tag()) }
    }

    /// The tag in the cache of what goes to the far side.
    fn cached_tag(&self) -> String {
        self.filtered.as_ref().map_or_else(|| self.tag(), |filtered| filtered.tag.clone())
    }
}

impl Routes {
    /// What is copied for `items`: each copy once, in the order of their kinds and then of their names.
    pub fn copies<'a>(&self, items: impl IntoIterator<Item = &'a Item>) -> Vec<Copy> {
        let copies: BTreeSet<Copy> = items.into_iter().flat_map(|item| self.of(item)).collect();
        copies.into_iter().collect()
    }

    fn of(&self, item: &Item) -> Vec<Copy> {
        if let Item::Catalog(catalog) = item {
            return self.of_catalog(catalog);
        }
        let place = item.place();
        let (cached, far) = (self.in_cache(&place), self.in_registry(&place));
        // The graph image comes from no registry: it is built into where it is copied to.
        let outside = |built: &String| item.asked_for().map_or(built.clone(), |it| it.pulled());
        let (source, destination) = match self.mode {
            Mode::MirrorToDisk => (outside(&cached), cached),
            Mode::MirrorToMirror => (outside(&far), far),
            Mode::DiskToMirror | Mode::Delete => (cached, far),
        };
        let origin = match item {
            Item::Graph => source.clone(),
            Item::Related(image) | Item::Bundle(image) => image.to_string(),
            other => other.asked_for().map_or_else(String::new, |it| it.reference()),
        };
        vec![Copy { kind: item.kind(), source, destination, origin, offered: None }]
    }

    /// A catalog comes whole into the cache, and what is kept of it goes on from there.
    fn of_catalog(&self, catalog: &CatalogItem) -> Vec<Copy> {
        let place = |tag: &str| format!("{}:{tag}", catalog.repository());
        let copy = |source: String, destination: String, offered| Copy {
            kind: Kind::Catalog,
            source,
            destination,
            origin: catalog.image.to_string(),
            offered,
        };
        let into_cache =
            || copy(catalog.image.pulled(), self.in_cache(&place(&catalog.tag())), None);
        let far = |source: String| {
            let there = self.in_registry(&place(&catalog.far_tag()));
            copy(source, there, Some(catalog.offered()))
        };
        let cached = self.in_cache(&place(&catalog.cached_tag()));
        match self.mode {
            Mode::MirrorToDisk => vec![into_cache()],
            Mode::DiskToMirror => vec![far(cached)],
            Mode::MirrorToMirror if catalog.filtered.is_none() => {
                vec![into_cache(), far(catalog.image.pulled())]
            }
            Mode::MirrorToMirror => vec![into_cache(), far(cached)],
            // Other sets may still need the catalog.
            Mode::Delete => Vec::new(),
        }
    }

    fn in_cache(&self, place: &str) -> String {
        format!("docker://{}/{place}", self.cache)
    }

    fn in_registry(&self, place: &str) -> String {
        let whole = format!("{}/{place}", self.registry.trim_end_matches('/'));
        match (self.max_nested_paths, whole.split_once('/')) {
            (Some(most), Some((host, path))) => format!("docker://{host}/{}", nested(path, most)),
            _ => format!("docker://{whole}"),
        }
    }
}

/// `mapping.txt` of these copies, and `missing.txt` of those that the cache lacks.
pub fn mapping<'a>(copies: impl IntoIterator<Item = &'a Copy>) -> String {
    let lines = copies.into_iter().map(|copy| line(&copy.source, &copy.destination));
    lines.collect()
}

/// The lines that name each platform of an image's index as well.
pub fn mapping_of_children(copy: &Copy, children: &[Digest]) -> String {
    let source = copy.source.split('@').next().unwrap_or(&copy.source);
    let destination = without_tag(&copy.destination);
    let child_line =
        |child: &Digest| line(&format!("{source}@{child}"), &format!("{destination}@{child}"));
    children.iter().map(child_line).collect()
}

fn line(source: &str, destination: &str) -> String {
    format!("{source}={destination}\n")
}

fn without_tag(text: &str) -> &str {
    let text = text.split('@').next().unwrap_or(text);
    let last = text.rfind('/').unwrap_or(0);
    text[last..].find(':').map_or(text, |colon| &text[..last + colon])
}

#[cfg(test)]
mod tests;
