//! One entry of `sources:` as it is written.

use std::fmt;

use semver::Version;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_saphyr::Spanned;

use super::finder::{
    CatalogSource, ChannelWish, ChartPlace, ChartSource, Dependencies, Finder, FinderKind,
    ManifestsSource, PackageWish, Place, Product, RELEASE_ARCHITECTURES, ReleaseChannel,
    ReleaseSource, Releases, Rules, Selection, Switches,
};
use super::{
    ImageSource, Origin, PlatformsWire, StackError, line, origin, platforms, refuse_password,
};
use crate::lock::Because;
use crate::reference::{Reference, is_tag};

/// What one entry of `sources:` comes to.
pub(super) enum Source {
    Image(ImageSource),
    Finder(Finder),
}

/// The fields of all kinds of entries. Which of them an entry may have, the first field of its kind says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SourceWire {
    image: Option<Spanned<String>>,
    catalog: Option<Spanned<String>>,
    chart: Option<Spanned<String>>,
    manifests: Option<Spanned<String>>,
    openshift: Option<Spanned<String>>,
    model: Option<Spanned<serde_json::Value>>,
    juju: Option<Spanned<serde_json::Value>>,
    file: Option<Spanned<serde_json::Value>>,

    #[serde(rename = "as")]
    named: Option<Spanned<String>>,
    platforms: Option<Spanned<PlatformsWire>>,
    because: Option<Spanned<Vec<Because>>>,
    packages: Option<Spanned<PackagesWire>>,
    full: Option<Spanned<bool>>,
    dependencies: Option<Spanned<Dependencies>>,
    repository: Option<Spanned<String>>,
    version: Option<Spanned<String>>,
    values: Option<Spanned<Vec<String>>>,
    variants: Option<Spanned<Vec<Vec<String>>>>,
    release: Option<Spanned<String>>,
    namespace: Option<Spanned<String>>,
    kube_version: Option<Spanned<String>>,
    api_versions: Option<Spanned<Vec<String>>>,
    switches: Option<Spanned<Switches>>,
    product: Option<Spanned<Product>>,
    from: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
    shortest_path: Option<Spanned<bool>>,
    architectures: Option<Spanned<Vec<String>>>,
    graph: Option<Spanned<bool>>,
    kubevirt: Option<Spanned<bool>>,
}

/// Fields that several kinds have.
const PLATFORMS: &str = "platforms";
const AS: &str = "as";

impl SourceWire {
    /// `at` is the line of the entry.
    pub(super) fn read(self, at: u64) -> Result<Source, StackError> {
        self.refuse_unsupported()?;
        self.refuse_passwords()?;
        let kinds = [
            ("image", self.image.clone()),
            ("catalog", self.catalog.clone()),
            ("chart", self.chart.clone()),
            ("manifests", self.manifests.clone()),
            ("openshift", self.openshift.clone()),
        ];
        let mut kinds = kinds.into_iter().filter_map(|(kind, value)| Some((kind, value?)));
        let Some((kind, value)) = kinds.next() else {
            let message = "an entry of `sources:` has no `image:`, `catalog:`, `chart:`, `manifests:` or `openshift:`";
            return Err(StackError::Value { line: at, message: message.to_owned() });
        };
        if let Some((other, value)) = kinds.next() {
            let message = format!("`{other}:` stands in an entry that has `{kind}:` already");
            return Err(StackError::Value { line: line(&value), message });
        }
        match kind {
            "image" => self.image_source(value).map(Source::Image),
            "catalog" => self.catalog_source(value).map(Source::Finder),
            "chart" => self.chart_source(value).map(Source::Finder),
            "openshift" => self.release_source(value).map(Source::Finder),
            _ => self.manifests_source(value).map(Source::Finder),
        }
    }

    fn refuse_passwords(&self) -> Result<(), StackError> {
        let one = [
            ("image", &self.image),
            ("catalog", &self.catalog),
            ("chart", &self.chart),
            ("manifests", &self.manifests),
            ("openshift", &self.openshift),
            (AS, &self.named),
            ("repository", &self.repository),
        ];
        for (field, text) in one.into_iter().filter_map(|(field, it)| Some((field, it.as_ref()?))) {
            refuse_password(field, line(text), &text.value)?;
        }
        if let Some(list) = &self.values {
            list.value.iter().try_for_each(|it| refuse_password("values", line(list), it))?;
        }
        if let Some(list) = &self.variants {
            let mut files = list.value.iter().flatten();
            files.try_for_each(|it| refuse_password("variants", line(list), it))?;
        }
        Ok(())
    }

    /// The kinds of source that the format knows and this version does not.
    fn refuse_unsupported(&self) -> Result<(), StackError> {
        let has_catalog = self.catalog.is_some();
        let packages = self.packages.as_ref().filter(|_| !has_catalog);
        let kinds = [
            ("model", self.model.as_ref().map(line)),
            ("juju", self.juju.as_ref().map(line)),
            ("packages", packages.map(line)),
            ("file", self.file.as_ref().map(line)),
        ];
        let found = kinds.into_iter().find_map(|(kind, line)| Some((kind.to_owned(), line?)));
        found.map_or(Ok(()), |(kind, line)| Err(StackError::Unsupported { line, kind }))
    }

    /// Refuses a field that says nothing in an entry of this kind: whoever wrote it expects something of it.
    fn only(&self, kind: &str, known: &[&str]) -> Result<(), StackError> {
        let fields = [
            (AS, self.named.as_ref().map(line)),
            (PLATFORMS, self.platforms.as_ref().map(line)),
            ("because", self.because.as_ref().map(line)),
            ("packages", self.packages.as_ref().map(line)),
            ("full", self.full.as_ref().map(line)),
            ("dependencies", self.dependencies.as_ref().map(line)),
            ("repository", self.repository.as_ref().map(line)),
            ("version", self.version.as_ref().map(line)),
            ("values", self.values.as_ref().map(line)),
            ("variants", self.variants.as_ref().map(line)),
            ("release", self.release.as_ref().map(line)),
            ("namespace", self.namespace.as_ref().map(line)),
            ("kubeVersion", self.kube_version.as_ref().map(line)),
            ("apiVersions", self.api_versions.as_ref().map(line)),
            ("switches", self.switches.as_ref().map(line)),
            ("product", self.product.as_ref().map(line)),
            ("from", self.from.as_ref().map(line)),
            ("to", self.to.as_ref().map(line)),
            ("shortestPath", self.shortest_path.as_ref().map(line)),
            ("architectures", self.architectures.as_ref().map(line)),
            ("graph", self.graph.as_ref().map(line)),
            ("kubevirt", self.kubevirt.as_ref().map(line)),
        ];
        for (field, line) in fields {
            if let Some(line) = line.filter(|_| !known.contains(&field)) {
                let colon = if kind.contains(':') { "" } else { ":" };
                let message = format!("`{field}:` means nothing in a `{kind}{colon}` source");
                return Err(StackError::Value { line, message });
            }
        }
        Ok(())
    }

    fn image_source(self, image: Spanned<String>) -> Result<ImageSource, StackError> {
        self.only("image", &[AS, PLATFORMS, "because"])?;
        let line = line(&image);
        let written = image.value;
        let origin = origin(&written);
        let name = match (&origin, self.named) {
            (Origin::Registry, None) => written.clone(),
            (Origin::Registry, Some(_)) => {
                let message = "`as:` names images that come from a folder or file; a registry's image keeps its name";
                return Err(StackError::Value { line, message: message.to_owned() });
            }
            (_, Some(name)) => name.value,
            (_, None) => return Err(nameless(&written, line)),
        };
        Ok(ImageSource {
            reference: reference(&name, line)?,
            written,
            line,
            origin,
            mirrored_as: [].into(),
            own_platforms: self.platforms.map(platforms).transpose()?,
            requested: self.because.map(|because| because.value).unwrap_or_default(),
        })
    }

    fn catalog_source(self, catalog: Spanned<String>) -> Result<Finder, StackError> {
        self.only("catalog", &[AS, PLATFORMS, "packages", "full", "dependencies"])?;
        let (line, written) = (line(&catalog), catalog.value);
        let place = place(&written);
        let is_in_a_registry = matches!(place, Place::Image(_)) && !written.starts_with("oci:");
        let name = match self.named {
            Some(name) => name.value,
            None if is_in_a_registry => written.clone(),
            None => return Err(nameless(&written, line)),
        };
        let packages = self.packages.map_or(Ok(Vec::new()), catalog_packages)?;
        let kind = FinderKind::Catalog(CatalogSource {
            place,
            reference: reference(&name, line)?,
            selection: Selection { packages, full: self.full.is_some_and(|full| full.value) },
            dependencies: self.dependencies.map(|it| it.value).unwrap_or_default(),
            rules: Rules::Own,
        });
        Ok(Finder {
            written,
            line,
            kind,
            own_platforms: self.platforms.map(platforms).transpose()?,
        })
    }

    fn chart_source(self, chart: Spanned<String>) -> Result<Finder, StackError> {
        self.only(
            "chart",
            &[
                PLATFORMS,
                "repository",
                "version",
                "values",
                "variants",
                "release",
                "namespace",
                "kubeVersion",
                "apiVersions",
                "switches",
            ],
        )?;
        let (line, written) = (line(&chart), chart.value);
        let kind = FinderKind::Chart(ChartSource {
            place: chart_place(&written, self.repository, line)?,
            version: self.version.map(|it| it.value),
            values: self.values.map(|it| it.value).unwrap_or_default(),
            variants: self.variants.map(|it| it.value).unwrap_or_default(),
            release: self.release.map(|it| it.value),
            namespace: self.namespace.map(|it| it.value),
            kube_version: self.kube_version.map(|it| it.value),
            api_versions: self.api_versions.map(|it| it.value).unwrap_or_default(),
            switches: self.switches.map(|it| it.value).unwrap_or_default(),
            image_paths: Vec::new(),
        });
        Ok(Finder {
            written,
            line,
            kind,
            own_platforms: self.platforms.map(platforms).transpose()?,
        })
    }

    fn manifests_source(self, manifests: Spanned<String>) -> Result<Finder, StackError> {
        self.only("manifests", &[PLATFORMS])?;
        let (line, written) = (line(&manifests), manifests.value);
        let place = match place(&written) {
            Place::Image(path) => Place::Path(path),
            place => place,
        };
        let kind = FinderKind::Manifests(ManifestsSource { place });
        Ok(Finder {
            written,
            line,
            kind,
            own_platforms: self.platforms.map(platforms).transpose()?,
        })
    }
}

/// How a source is called that names a release by its image.
const ONE_RELEASE: &str = "openshift: IMAGE";

/// What of a channel an entry means, and so nothing that can be said of one release.
const OF_A_CHANNEL: [&str; 5] = ["product", "from", "to", "shortestPath", "full"];

impl SourceWire {
    fn release_source(self, openshift: Spanned<String>) -> Result<Finder, StackError> {
        let (line, written) = (line(&openshift), openshift.value);
        // A channel has no slash, and every image of a registry has.
        let is_image = written.contains('/');
        let of_channel = if is_image { [].as_slice() } else { &OF_A_CHANNEL };
        let known = [&[PLATFORMS, "architectures", "graph", "kubevirt"], of_channel].concat();
        self.only(if is_image { ONE_RELEASE } else { "openshift" }, &known)?;
        let releases = if is_image {
            Releases::Image(reference(&written, line)?)
        } else {
            Releases::Channels(vec![self.release_channel(&written, line)?])
        };
        let is_set = |flag: Option<&Spanned<bool>>| flag.is_some_and(|flag| flag.value);
        let (graph, kube_virt) = (is_set(self.graph.as_ref()), is_set(self.kubevirt.as_ref()));
        let own_platforms = self.platforms.map(platforms).transpose()?;
        let architectures = architectures(self.architectures, own_platforms.is_some())?;
        let kind = FinderKind::Release(ReleaseSource { releases, architectures, graph, kube_virt });
        Ok(Finder { written, line, kind, own_platforms })
    }

    fn release_channel(&self, name: &str, at: u64) -> Result<ReleaseChannel, StackError> {
        if !is_tag(name) {
            let message = format!("`{name}` is no channel, such as `stable-4.20`");
            return Err(StackError::Value { line: at, message });
        }
        let (from, to) = (release_version(self.from.as_ref())?, release_version(self.to.as_ref())?);
        if from.is_some() && to.is_some() && from > to {
            let message = "`from:` is above `to:`".to_owned();
            return Err(StackError::Value { line: at, message });
        }
        Ok(ReleaseChannel {
            name: name.to_owned(),
            product: self.product.as_ref().map(|it| it.value).unwrap_or_default(),
            from,
            to,
            shortest_path: self.shortest_path.as_ref().is_some_and(|it| it.value),
            full: self.full.as_ref().is_some_and(|it| it.value),
        })
    }
}

fn release_version(written: Option<&Spanned<String>>) -> Result<Option<Version>, StackError> {
    let parse = |text: &Spanned<String>| {
        text.value.parse().map_err(|_| StackError::Value {
            line: line(text),
            message: format!(
                "`{}` is no version of a release; write all three numbers, like `4.20.1`",
                text.value
            ),
        })
    };
    written.map(parse).transpose()
}

/// Releases are published for each architecture, and as `multi` for several, which `platforms:` thins out.
fn architectures(
    written: Option<Spanned<Vec<String>>>,
    has_platforms: bool,
) -> Result<Vec<String>, StackError> {
    let Some(list) = written else {
        return Ok(vec![if has_platforms { "multi" } else { "amd64" }.to_owned()]);
    };
    let is_known = |it: &&String| RELEASE_ARCHITECTURES.contains(&it.as_str());
    let odd = list.value.iter().find(|it| !is_known(it));
    let message = match odd {
        _ if list.value.is_empty() => "`architectures:` is an empty list".to_owned(),
        Some(odd) => {
            format!("no release is for `{odd}`; expected {}", RELEASE_ARCHITECTURES.join(", "))
        }
        None => return Ok(list.value),
    };
    Err(StackError::Value { line: line(&list), message })
}

fn reference(name: &str, line: u64) -> Result<Reference, StackError> {
    name.parse().map_err(|source| StackError::Reference { line, text: name.to_owned(), source })
}

fn nameless(written: &str, line: u64) -> StackError {
    let message =
        format!("`{written}` needs `as: HOST/PATH:TAG`, the name it will have on the far side");
    StackError::Value { line, message }
}

fn is_url(written: &str) -> bool {
    written.starts_with("https://") || written.starts_with("http://")
}

/// Whether it is the path of a file: it has to look like one, since `a/b` may be an image or a chart as well.
fn is_path(written: &str) -> bool {
    matches!(written, "." | "..")
        || ["./", "../", "/"].iter().any(|start| written.starts_with(start))
}

fn place(written: &str) -> Place {
    if is_url(written) {
        Place::Url(written.to_owned())
    } else if is_path(written) {
        Place::Path(written.to_owned())
    } else {
        Place::Image(written.to_owned())
    }
}

fn chart_place(
    written: &str,
    repository: Option<Spanned<String>>,
    line: u64,
) -> Result<ChartPlace, StackError> {
    if let Some(url) = repository {
        return Ok(ChartPlace::Repository { name: written.to_owned(), url: url.value });
    }
    let is_package =
        std::path::Path::new(written).extension().is_some_and(|extension| extension == "tgz");
    if let Some(repository) = written.strip_prefix("oci://") {
        Ok(ChartPlace::Oci(repository.to_owned()))
    } else if is_path(written) || is_package {
        Ok(ChartPlace::Path(written.to_owned()))
    } else {
        let message = format!(
            "`chart: {written}` needs `repository: URL`; a chart without one begins with `./`, `/` or `oci://`, or ends in `.tgz`"
        );
        Err(StackError::Value { line, message })
    }
}

fn catalog_packages(written: Spanned<PackagesWire>) -> Result<Vec<PackageWish>, StackError> {
    let line = line(&written);
    let wrong = |message: String| StackError::Value { line, message };
    let PackagesWire::Catalog(packages) = written.value else {
        return Err(wrong("`packages:` of a catalog is a list like `[{name: nfd}]`".to_owned()));
    };
    let packages: Vec<_> = packages.into_iter().map(PackageWire::read).collect();
    for (at, package) in packages.iter().enumerate() {
        if packages[..at].iter().any(|earlier| earlier.name == package.name) {
            return Err(wrong(format!("package `{}` is listed twice", package.name)));
        }
    }
    Ok(packages)
}

/// `packages:` is a list of operators in a `catalog:` source, and else a kind of source by itself.
enum PackagesWire {
    Catalog(Vec<PackageWire>),
    Other,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackageWire {
    name: String,
    channel: Option<String>,
    #[serde(default)]
    channels: Vec<ChannelWire>,
    default: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    full: bool,
}

impl PackageWire {
    /// With `channel:` the range is that channel's, as whoever wrote it would expect.
    fn read(self) -> PackageWish {
        let mut channels: Vec<_> = self.channels.into_iter().map(|channel| channel.0).collect();
        let (mut from, mut to) = (self.from, self.to);
        if let Some(name) = self.channel {
            channels.push(ChannelWish { name, from: from.take(), to: to.take() });
        }
        PackageWish {
            name: self.name,
            channels,
            default: self.default,
            from,
            to,
            full: self.full,
            bundles: Vec::new(),
        }
    }
}

/// A channel's name, or its name and a range.
struct ChannelWire(ChannelWish);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangedChannelWire {
    name: String,
    from: Option<String>,
    to: Option<String>,
}

impl<'de> Deserialize<'de> for ChannelWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChannelVisitor)
    }
}

struct ChannelVisitor;

impl<'de> Visitor<'de> for ChannelVisitor {
    type Value = ChannelWire;

    fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str("a channel's name, or `{name: …, from: …, to: …}`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<ChannelWire, E> {
        Ok(ChannelWire(ChannelWish { name: name.to_owned(), ..ChannelWish::default() }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ChannelWire, A::Error> {
        let wire = RangedChannelWire::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ChannelWire(ChannelWish { name: wire.name, from: wire.from, to: wire.to }))
    }
}

impl<'de> Deserialize<'de> for PackagesWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PackagesVisitor)
    }
}

struct PackagesVisitor;

impl<'de> Visitor<'de> for PackagesVisitor {
    type Value = PackagesWire;

    fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str("a list of packages like `[{name: nfd, channel: stable}]`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PackagesWire, A::Error> {
        let mut packages = Vec::new();
        while let Some(package) = list.next_element()? {
            packages.push(package);
        }
        Ok(PackagesWire::Catalog(packages))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PackagesWire, A::Error> {
        serde_json::Value::deserialize(MapAccessDeserializer::new(map))?;
        Ok(PackagesWire::Other)
    }
}
