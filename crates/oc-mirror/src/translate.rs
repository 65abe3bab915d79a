//! A configuration as a stack, which the rest of airlift resolves, fetches and loads.

use airlift_spec::reference::ParseReferenceError;
use airlift_spec::stack::{
    CatalogSource, ChannelWish, ChartPlace, ChartSource, Dependencies, Finder, FinderKind,
    ImageSource, Origin, PackageWish, Place, ReleaseSource, Releases, Rules, Selection, Switches,
    excluded_by,
};
use airlift_spec::{Platform, Platforms, Reference, Stack};

use crate::config::{
    AdditionalImage, Channel, Chart, ChartRepository, ConfigError, Helm, ImageSet, Mistake,
    Operator, Package, ReleaseChannel, ReleaseWish,
};
use crate::mapping::{CatalogItem, Filtered, Item, MIRROR};
use crate::name::Transport;

/// The host of what came from a disk and has none.
pub(crate) const NO_HOST: &str = "localhost";

/// A configuration in airlift's words.
#[derive(Debug, Clone)]
pub struct Translation {
    pub stack: Stack,
    /// Every chart of these is wanted; [`ChartRepository::finder_of`] makes a source of each that its index has.
    pub whole_repositories: Vec<ChartRepository>,
}

impl ImageSet {
    /// The stack `name` that wants what this set wants.
    ///
    /// Catalogs are to be filtered as oc-mirror does, and dependencies are said, not followed.
    pub fn translate(&self, name: &str) -> Result<Translation, ConfigError> {
        let images = self.additional_images.iter().map(image_source);
        let mut images = once_each(images.collect::<Result<_, _>>()?);
        for image in &mut images {
            // Of several names, those that are blocked are taken away; what has no other is left to the rule.
            let mut names = image.mirrored_as.clone();
            if excluded_by(&self.blocked, &image.reference, &mut names).is_none() {
                image.mirrored_as = names;
            }
        }
        let releases = release_finder(&self.platform).transpose();
        let finders = releases.into_iter().chain(self.operators.iter().map(catalog_finder));
        let mut finders = finders.collect::<Result<Vec<Finder>, _>>()?;
        finders.extend(self.helm.finders());
        let stack = Stack {
            name: name.to_owned(),
            platforms: Platforms::All,
            images,
            finders,
            exclude: self.blocked.clone(),
            knowledge: Vec::new(),
        };
        Ok(Translation { stack, whole_repositories: self.helm.whole() })
    }
}

/// The same image, twice in a file, is one, with the names of both.
fn once_each(images: Vec<ImageSource>) -> Vec<ImageSource> {
    let mut once: Vec<ImageSource> = Vec::new();
    for image in images {
        match once.iter_mut().find(|it| it.reference == image.reference) {
            Some(known) => known.mirrored_as.extend(image.mirrored_as),
            None => once.push(image),
        }
    }
    for image in &mut once {
        // Its own name goes without saying where it is the only one.
        if image.mirrored_as.iter().all(|name| is_own(name, &image.reference)) {
            image.mirrored_as.clear();
        }
    }
    once
}

fn is_own(name: &Reference, own: &Reference) -> bool {
    name.repository() == own.repository() && name.tag() == own.tag()
}

/// The name of an image in a mirror, by which the layout of oc-mirror places it.
fn mirrored_as(wanted: &AdditionalImage, own: &Reference) -> Result<Reference, ConfigError> {
    let image = &wanted.image;
    let path = wanted.target_repo.as_deref().unwrap_or(&image.path).trim_matches('/');
    // Where it keeps its path it is no stranger to images of the same repository.
    let host = if path == own.path() { own.host() } else { MIRROR };
    let name = match (wanted.target_tag.as_ref().or(image.tag.as_ref()), image.digest) {
        // A tag made of the digest is the name of what signs the image.
        (None, Some(digest)) => format!("{host}/{path}@{digest}"),
        (Some(tag), _) => format!("{host}/{path}:{tag}"),
        (None, None) => format!("{host}/{path}:{}", image.far_tag()),
    };
    reference(&name, wanted.line, "targetRepo")
}

fn image_source(wanted: &AdditionalImage) -> Result<ImageSource, ConfigError> {
    let image = &wanted.image;
    let (name, origin) = match image.transport {
        Transport::Docker => (image.reference(), Origin::Registry),
        Transport::Oci => {
            let path = wanted.target_repo.as_deref().unwrap_or(&image.path);
            let tag = wanted.target_tag.clone().unwrap_or_else(|| image.far_tag());
            let name = format!("{NO_HOST}/{}:{tag}", path.trim_matches('/'));
            (name, Origin::OciLayout { path: image.path.clone(), name: None })
        }
    };
    let reference = reference(&name, wanted.line, "targetRepo")?;
    let platforms = platforms(&wanted.platforms);
    let mut source =
        ImageSource::new(wanted.written.clone(), wanted.line, reference, origin, platforms);
    if image.transport == Transport::Docker {
        let name = mirrored_as(wanted, &source.reference)?;
        source.mirrored_as.insert(name);
    }
    Ok(source)
}

/// None where no release is wanted.
fn release_finder(wish: &ReleaseWish) -> Result<Option<Finder>, ConfigError> {
    if !wish.is_wanted() {
        return Ok(None);
    }
    let (written, releases) = if let Some(image) = &wish.release {
        let name = reference(&image.reference(), wish.line, "release")?;
        (image.reference(), Releases::Image(name))
    } else {
        let names: Vec<&str> = wish.channels.iter().map(|it| it.name.as_str()).collect();
        let wanted = wish.channels.iter().map(ReleaseChannel::wanted);
        (names.join(", "), Releases::Channels(wanted.collect()))
    };
    // The graph alone is of no channel.
    let written = if written.is_empty() { "graph".to_owned() } else { written };
    let kind = FinderKind::Release(ReleaseSource {
        releases,
        architectures: wish.architectures.clone(),
        graph: wish.graph,
        kube_virt: wish.kube_virt_container,
    });
    let own_platforms = platforms(&wish.platforms);
    Ok(Some(Finder { written, line: wish.line, kind, own_platforms }))
}

fn catalog_finder(operator: &Operator) -> Result<Finder, ConfigError> {
    let catalog = &operator.catalog;
    let (place, far) = match catalog.transport {
        Transport::Docker => (Place::Image(catalog.reference()), operator.unique_name()),
        Transport::Oci => {
            let path = operator.target_catalog.as_deref().unwrap_or(catalog.base());
            let tag = operator.target_tag.as_deref().unwrap_or("latest");
            (Place::Image(format!("oci:{}", catalog.path)), format!("{NO_HOST}/{path}:{tag}"))
        }
    };
    let is_renamed = operator.target_catalog.is_some() || operator.target_tag.is_some();
    let written = if is_renamed {
        // Else one catalog, carried under two names, would be one source.
        format!("{} as {}", operator.written, operator.unique_name())
    } else {
        operator.written.clone()
    };
    let kind = FinderKind::Catalog(CatalogSource {
        place,
        reference: reference(&far, operator.line, "targetCatalog")?,
        selection: operator.selection(),
        dependencies: operator.dependencies(),
        rules: Rules::OcMirror,
    });
    let own_platforms = platforms(&operator.platforms);
    Ok(Finder { written, line: operator.line, kind, own_platforms })
}

impl Operator {
    /// The name of its source in a lock's reasons; none where it can be no source.
    pub(crate) fn key(&self) -> Option<String> {
        catalog_finder(self).ok().map(|finder| finder.key())
    }

    /// oc-mirror brings nothing of what is required; who chose packages is told. In a catalog that is kept with all
    /// its packages there is nothing to add.
    fn dependencies(&self) -> Dependencies {
        if self.packages.is_empty() { Dependencies::Ignore } else { Dependencies::Report }
    }

    /// What of the catalog is kept.
    pub fn selection(&self) -> Selection {
        Selection { packages: self.packages.iter().map(package).collect(), full: self.full }
    }

    /// The catalog as an item of a mapping, with the catalog that was made of it.
    pub fn item(&self, filtered: Option<Filtered>) -> Item {
        Item::Catalog(CatalogItem {
            image: self.catalog.clone(),
            target_catalog: self.target_catalog.clone(),
            target_tag: self.target_tag.clone(),
            filtered,
        })
    }
}

impl AdditionalImage {
    pub fn item(&self) -> Item {
        Item::Additional {
            image: self.image.clone(),
            target_repo: self.target_repo.clone(),
            target_tag: self.target_tag.clone(),
        }
    }
}

fn package(wanted: &Package) -> PackageWish {
    PackageWish {
        name: wanted.name.clone(),
        channels: wanted.channels.iter().map(channel).collect(),
        default: wanted.default_channel.clone(),
        from: wanted.min.clone(),
        to: wanted.max.clone(),
        full: false,
        bundles: Vec::new(),
    }
}

fn channel(wanted: &Channel) -> ChannelWish {
    ChannelWish { name: wanted.name.clone(), from: wanted.min.clone(), to: wanted.max.clone() }
}

impl Helm {
    fn finders(&self) -> Vec<Finder> {
        let of = |repository: &ChartRepository| -> Vec<Finder> {
            repository.charts.iter().map(|chart| repository.finder(chart)).collect()
        };
        self.repositories.iter().flat_map(of).chain(self.local.iter().map(local_finder)).collect()
    }

    fn whole(&self) -> Vec<ChartRepository> {
        self.repositories.iter().filter(|it| it.charts.is_empty()).cloned().collect()
    }
}

impl ChartRepository {
    /// The source of one version of one chart of a repository that lists none.
    pub fn finder_of(&self, name: String, version: String) -> Finder {
        let (line, version) = (self.line, Some(version));
        let (path, image_paths, platforms) = (None, Vec::new(), Vec::new());
        self.finder(&Chart { line, name, version, path, image_paths, platforms })
    }

    /// The source of one chart of the repository.
    pub fn finder(&self, chart: &Chart) -> Finder {
        let place = match self.url.strip_prefix("oci://") {
            Some(base) => ChartPlace::Oci(format!("{}/{}", base.trim_end_matches('/'), chart.name)),
            None => ChartPlace::Repository { name: chart.name.clone(), url: self.url.clone() },
        };
        chart_finder(format!("{}/{}", self.name, chart.name), place, chart)
    }
}

fn local_finder(chart: &Chart) -> Finder {
    let path = chart.path.clone().unwrap_or_default();
    // The version of a chart on a disk is its own; what is written of it chooses nothing.
    let chart = Chart { version: None, ..chart.clone() };
    chart_finder(path.clone(), ChartPlace::Path(path), &chart)
}

/// Images that only a switch brings are not looked for: oc-mirror renders with the chart's own values.
fn chart_finder(written: String, place: ChartPlace, chart: &Chart) -> Finder {
    let kind = FinderKind::Chart(ChartSource {
        place,
        version: chart.version.clone(),
        values: Vec::new(),
        variants: Vec::new(),
        release: None,
        namespace: None,
        kube_version: None,
        api_versions: Vec::new(),
        switches: Switches::Ignore,
        image_paths: chart.image_paths.clone(),
    });
    Finder { written, line: chart.line, kind, own_platforms: platforms(&chart.platforms) }
}

fn platforms(list: &[Platform]) -> Option<Platforms> {
    (!list.is_empty()).then(|| Platforms::Only(list.iter().cloned().collect()))
}

fn reference(text: &str, line: u64, field: &str) -> Result<Reference, ConfigError> {
    text.parse().map_err(|err: ParseReferenceError| {
        let message = airlift_spec::error::chain(&err);
        let help = Some(format!("write the name that registries shall know it by as `{field}:`"));
        ConfigError { mistakes: vec![Mistake { line, message, help }] }
    })
}

#[cfg(test)]
mod tests;
