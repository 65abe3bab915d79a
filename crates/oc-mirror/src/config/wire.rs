//! The file as people write it. Nothing of it leaves this module.

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use airlift_spec::reference::{is_repository, is_tag};
use airlift_spec::stack::{Exclude, Expression, Pattern, Product, RELEASE_ARCHITECTURES};
use airlift_spec::{Finding, Platform};

use super::{
    AdditionalImage, Channel, Chart, ChartRepository, ConfigError, DEFAULT_ARCHIVE_GIB, Helm,
    ImageSet, Mistake, Operator, Package, Purpose, ReleaseChannel, ReleaseWish,
};
use crate::name::ImageName;
use crate::yaml;

/// The version of the format that is written.
pub const API_VERSION: &str = "mirror.openshift.io/v2alpha1";
const OLD_API_VERSION: &str = "mirror.openshift.io/v1alpha2";

/// The architecture of releases where none is written.
const DEFAULT_ARCHITECTURE: &str = "amd64";

type Text = Spanned<String>;
/// A field that once meant something; its value no longer does.
type Gone = Option<Spanned<Value>>;

/// A list, which YAML lets people leave empty.
type List<T> = Option<Vec<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileWire {
    kind: Option<Text>,
    api_version: Option<Text>,
    archive_size: Option<Spanned<i64>>,
    mirror: Option<Spanned<ContentWire>>,
    delete: Option<Spanned<ContentWire>>,
    storage_config: Gone,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ContentWire {
    platform: Option<Spanned<ReleaseWire>>,
    operators: List<OperatorWire>,
    additional_images: List<ImageWire>,
    helm: Option<HelmWire>,
    blocked_images: List<NameWire>,
    samples: List<NameWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameWire {
    name: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReleaseWire {
    #[serde(default)]
    graph: bool,
    channels: List<ReleaseChannelWire>,
    architectures: Option<Spanned<Vec<String>>>,
    platforms: List<PlatformWire>,
    release: Option<Text>,
    #[serde(default)]
    kube_virt_container: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReleaseChannelWire {
    name: Text,
    #[serde(rename = "type")]
    product: Option<Text>,
    min_version: Option<Text>,
    max_version: Option<Text>,
    #[serde(default)]
    shortest_path: bool,
    #[serde(default)]
    full: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformWire {
    os: Text,
    architecture: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OperatorWire {
    catalog: Text,
    target_catalog: Option<Text>,
    target_tag: Option<Text>,
    target_catalog_source_template: Option<String>,
    #[serde(default)]
    full: bool,
    skip_dependencies: Option<Spanned<bool>>,
    platforms: List<PlatformWire>,
    packages: List<PackageWire>,
    target_name: Gone,
    original_ref: Gone,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PackageWire {
    name: Text,
    default_channel: Option<String>,
    min_version: Option<String>,
    max_version: Option<String>,
    channels: List<ChannelWire>,
    min_bundle: Gone,
    bundles: Gone,
    selected_bundles: Gone,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ChannelWire {
    name: Text,
    min_version: Option<String>,
    max_version: Option<String>,
    min_bundle: Gone,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ImageWire {
    name: Text,
    target_repo: Option<Text>,
    target_tag: Option<Text>,
    platforms: List<PlatformWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HelmWire {
    repositories: List<RepositoryWire>,
    local: List<ChartWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositoryWire {
    name: Text,
    url: Text,
    charts: List<ChartWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ChartWire {
    name: Text,
    version: Option<String>,
    path: Option<String>,
    image_paths: List<String>,
    platforms: List<PlatformWire>,
}

/// Reads a file, and what in it does not hold.
pub(super) fn read(text: &str) -> Result<(ImageSet, Vec<Mistake>), ConfigError> {
    let file: FileWire = yaml::read(text).map_err(|reason| only(0, reason, None))?;
    let mut reader = Reader::default();
    let set = reader.file(file)?;
    Ok((set, reader.mistakes))
}

fn only(line: u64, message: String, help: Option<&str>) -> ConfigError {
    ConfigError { mistakes: vec![Mistake { line, message, help: help.map(str::to_owned) }] }
}

fn line<T>(spanned: &Spanned<T>) -> u64 {
    spanned.referenced.line()
}

/// What is noticed while a file becomes an [`ImageSet`].
#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
    warnings: Vec<Finding>,
}

impl Reader {
    fn file(&mut self, file: FileWire) -> Result<ImageSet, ConfigError> {
        let purpose = purpose(file.kind.as_ref())?;
        self.api_version(file.api_version.as_ref());
        self.gone("storageConfig", &file.storage_config, "what was mirrored stays in the store");
        let archive_size_gib = self.archive_size(file.archive_size);
        let (content, other, stanza, foreign) = match purpose {
            Purpose::Mirror => (file.mirror, file.delete, "mirror", "delete"),
            Purpose::Delete => (file.delete, file.mirror, "delete", "mirror"),
        };
        if let Some(other) = other {
            let kind = file.kind.map(|kind| kind.value).unwrap_or_default();
            let message = format!("{foreign}: is not allowed in {kind}");
            return Err(only(line(&other), message, Some("write it into a file of its own")));
        }
        let Some(content) = content else {
            let message = format!("configuration missing the `{stanza}` stanza");
            let help = format!("list what is meant below `{stanza}:`");
            return Err(only(0, message, Some(&help)));
        };
        let mut set = self.content(content.value);
        set.purpose = purpose;
        set.archive_size_gib = archive_size_gib;
        Ok(set)
    }

    /// The peer reads every version alike, so that one it has never heard of is no reason to stop.
    fn api_version(&mut self, written: Option<&Text>) {
        let Some(written) = written else { return };
        if ![API_VERSION, OLD_API_VERSION].contains(&written.value.as_str()) {
            let (line, version) = (line(written), &written.value);
            self.warnings.push(Finding::warning(
                "imageset-version",
                version,
                format!("line {line}: it is read as {API_VERSION}"),
            ));
        }
    }

    fn archive_size(&mut self, written: Option<Spanned<i64>>) -> u64 {
        let Some(size) = written.filter(|size| size.value != 0) else {
            return DEFAULT_ARCHIVE_GIB;
        };
        u64::try_from(size.value).unwrap_or_else(|_| {
            let message = format!("archiveSize {} is negative", size.value);
            self.mistake(line(&size), message, Some("give the GiB that one medium holds"));
            DEFAULT_ARCHIVE_GIB
        })
    }

    fn content(&mut self, content: ContentWire) -> ImageSet {
        for sample in content.samples.unwrap_or_default() {
            self.warnings.push(Finding::warning(
                "imageset-ignored",
                &sample.name.value,
                format!("line {}: samples are mirrored by no version", line(&sample.name)),
            ));
        }
        ImageSet {
            purpose: Purpose::Mirror,
            archive_size_gib: DEFAULT_ARCHIVE_GIB,
            platform: self.releases(content.platform),
            operators: each(content.operators, |wire| self.operator(wire)),
            additional_images: each(content.additional_images, |wire| self.image(wire)),
            helm: self.helm(content.helm),
            blocked: self.blocked(content.blocked_images),
            warnings: std::mem::take(&mut self.warnings),
        }
    }

    fn releases(&mut self, wire: Option<Spanned<ReleaseWire>>) -> ReleaseWish {
        let Some(wire) = wire else {
            let architectures = vec![DEFAULT_ARCHITECTURE.to_owned()];
            return ReleaseWish { architectures, ..ReleaseWish::default() };
        };
        let (line, wire) = (line(&wire), wire.value);
        let platforms = self.platforms(wire.platforms);
        let architectures = self.architectures(wire.architectures, &platforms);
        ReleaseWish {
            line,
            graph: wire.graph,
            channels: each(wire.channels, |wire| Some(self.release_channel(wire))),
            architectures,
            platforms,
            release: wire.release.and_then(|release| self.name(&release)),
            kube_virt_container: wire.kube_virt_container,
        }
    }

    /// Releases are published for each architecture, and as `multi` for several, which platforms thin out.
    fn architectures(
        &mut self,
        written: Option<Spanned<Vec<String>>>,
        platforms: &[Platform],
    ) -> Vec<String> {
        let written = written.filter(|list| !list.value.is_empty());
        let Some(list) = written else {
            let default = if platforms.is_empty() { DEFAULT_ARCHITECTURE } else { "multi" };
            return vec![default.to_owned()];
        };
        if !platforms.is_empty() {
            let message = "platform.platforms and platform.architectures cannot be used together";
            let help =
                "keep `platforms:` to thin out images, or `architectures:` to choose releases";
            self.mistake(line(&list), message.to_owned(), Some(help));
        }
        let is_known = |it: &&String| RELEASE_ARCHITECTURES.contains(&it.as_str());
        for odd in list.value.iter().filter(|it| !is_known(it)) {
            let help = format!("write one of {}", RELEASE_ARCHITECTURES.join(", "));
            let message = format!("no release is for the architecture {odd:?}");
            self.mistake(line(&list), message, Some(&help));
        }
        list.value
    }

    fn release_channel(&mut self, wire: ReleaseChannelWire) -> ReleaseChannel {
        // It becomes part of a file's name.
        if !is_tag(&wire.name.value) {
            let message = format!("release channel {:?} is no name", wire.name.value);
            let help = "write letters, digits, `.`, `_` and `-`";
            self.mistake(line(&wire.name), message, Some(help));
        }
        ReleaseChannel {
            line: line(&wire.name),
            product: self.product(wire.product.as_ref()),
            min: self.release_version("minVersion", wire.min_version),
            max: self.release_version("maxVersion", wire.max_version),
            name: wire.name.value,
            shortest_path: wire.shortest_path,
            full: wire.full,
        }
    }

    fn product(&mut self, written: Option<&Text>) -> Product {
        match written.map(|text| (text, text.value.as_str())) {
            None | Some((_, "ocp")) => Product::Ocp,
            Some((_, "okd")) => Product::Okd,
            Some((text, other)) => {
                let message = format!("release channel type {other:?} is not known");
                self.mistake(line(text), message, Some("write `ocp` or `okd`"));
                Product::Ocp
            }
        }
    }

    fn release_version(&mut self, field: &str, written: Option<Text>) -> Option<semver::Version> {
        let written = written.filter(|text| !text.value.is_empty())?;
        let version = written.value.parse().ok();
        if version.is_none() {
            let message = format!("{field} {:?} is not a version of a release", written.value);
            self.mistake(line(&written), message, Some("write all three numbers, as in `4.18.1`"));
        }
        version
    }

    fn operator(&mut self, wire: OperatorWire) -> Option<Operator> {
        self.gone("targetName", &wire.target_name, "write `targetCatalog:`");
        self.gone("originalRef", &wire.original_ref, "write the catalog as `catalog:`");
        if let Some(flag) = &wire.skip_dependencies {
            let line = line(flag);
            self.warnings.push(Finding::warning(
                "imageset-ignored",
                "skipDependencies",
                format!("line {line}: dependencies are never followed; list the packages needed"),
            ));
        }
        if wire.packages.as_ref().is_some_and(Vec::is_empty) {
            let line = line(&wire.catalog);
            self.warnings.push(Finding::warning(
                "imageset-every-package",
                &wire.catalog.value,
                format!("line {line}: `packages: []` lists none, which means all that it has"),
            ));
        }
        self.path("targetCatalog", wire.target_catalog.as_ref());
        self.tag(wire.target_tag.as_ref());
        let catalog = self.name(&wire.catalog)?;
        Some(Operator {
            line: line(&wire.catalog),
            written: wire.catalog.value,
            catalog,
            target_catalog: filled(wire.target_catalog),
            target_tag: filled(wire.target_tag),
            template: wire.target_catalog_source_template.filter(|path| !path.is_empty()),
            full: wire.full,
            skip_dependencies: wire.skip_dependencies.is_some_and(|flag| flag.value),
            platforms: self.platforms(wire.platforms),
            packages: each(wire.packages, |wire| Some(self.package(wire))),
        })
    }

    fn package(&mut self, wire: PackageWire) -> Package {
        let instead = "write the versions as `channels: [{name, minVersion, maxVersion}]`";
        self.gone("bundles", &wire.bundles, instead);
        self.gone("selectedBundles", &wire.selected_bundles, instead);
        self.gone("minBundle", &wire.min_bundle, "write `minVersion:`");
        Package {
            name: wire.name.value,
            default_channel: wire.default_channel.filter(|name| !name.is_empty()),
            min: wire.min_version.filter(|version| !version.is_empty()),
            max: wire.max_version.filter(|version| !version.is_empty()),
            channels: each(wire.channels, |wire| Some(self.channel(wire))),
        }
    }

    fn channel(&mut self, wire: ChannelWire) -> Channel {
        self.gone("minBundle", &wire.min_bundle, "write `minVersion:`");
        Channel {
            name: wire.name.value,
            min: wire.min_version.filter(|version| !version.is_empty()),
            max: wire.max_version.filter(|version| !version.is_empty()),
        }
    }

    /// The peer leaves out what it cannot read as an image and goes on; so do we, and say so.
    fn image(&mut self, wire: ImageWire) -> Option<AdditionalImage> {
        self.path("targetRepo", wire.target_repo.as_ref());
        self.tag(wire.target_tag.as_ref());
        match ImageName::parse(&wire.name.value) {
            Ok(image) => Some(AdditionalImage {
                line: line(&wire.name),
                written: wire.name.value,
                image,
                target_repo: filled(wire.target_repo),
                target_tag: filled(wire.target_tag),
                platforms: self.platforms(wire.platforms),
            }),
            Err(err) => {
                self.warnings.push(Finding::warning(
                    "imageset-image-left-out",
                    &wire.name.value,
                    format!("line {}: {err}", line(&wire.name)),
                ));
                None
            }
        }
    }

    fn helm(&mut self, wire: Option<HelmWire>) -> Helm {
        let Some(wire) = wire else { return Helm::default() };
        Helm {
            repositories: each(wire.repositories, |wire| Some(self.repository(wire))),
            local: each(wire.local, |wire| self.local_chart(wire)),
        }
    }

    fn repository(&mut self, wire: RepositoryWire) -> ChartRepository {
        ChartRepository {
            line: line(&wire.name),
            name: wire.name.value,
            url: wire.url.value,
            charts: each(wire.charts, |wire| Some(self.chart(wire))),
        }
    }

    fn local_chart(&mut self, wire: ChartWire) -> Option<Chart> {
        let chart = self.chart(wire);
        if chart.path.is_some() {
            return Some(chart);
        }
        let message = format!("the local chart `{}` has no path", chart.name);
        self.mistake(chart.line, message, Some("write where it lies as `path:`"));
        None
    }

    fn chart(&mut self, wire: ChartWire) -> Chart {
        Chart {
            line: line(&wire.name),
            name: wire.name.value,
            version: wire.version.filter(|version| !version.is_empty()),
            path: wire.path.filter(|path| !path.is_empty()),
            image_paths: wire.image_paths.unwrap_or_default(),
            platforms: self.platforms(wire.platforms),
        }
    }

    fn blocked(&mut self, list: List<NameWire>) -> Vec<Exclude> {
        let mut blocked = Vec::new();
        for NameWire { name } in list.unwrap_or_default() {
            match Expression::new(&name.value) {
                Ok(expression) => blocked.push(Exclude {
                    image: Pattern::Expression { expression },
                    why: "it stands in blockedImages".to_owned(),
                }),
                Err(reason) => {
                    let message = format!(
                        "blocked image {:?}: invalid regular expression: {reason}",
                        name.value
                    );
                    let help = "write a regular expression; `.*` stands for anything";
                    self.mistake(line(&name), message, Some(help));
                }
            }
        }
        blocked
    }

    fn platforms(&mut self, list: List<PlatformWire>) -> Vec<Platform> {
        each(list, |wire| {
            let text = format!("{}/{}", wire.os.value, wire.architecture.value);
            let platform = text.parse().ok();
            if platform.is_none() {
                let message = format!("`{text}` is no platform");
                let help = "write it like `{os: linux, architecture: amd64}`";
                self.mistake(line(&wire.os), message, Some(help));
            }
            platform
        })
    }

    fn name(&mut self, written: &Text) -> Option<ImageName> {
        match ImageName::parse(&written.value) {
            Ok(name) => Some(name),
            Err(err) => {
                let help = airlift_spec::Explain::help(&err);
                self.mistake(line(written), err.to_string(), help.as_deref());
                None
            }
        }
    }

    fn path(&mut self, field: &str, written: Option<&Text>) {
        let Some(text) = written.filter(|text| !text.value.is_empty()) else { return };
        if !is_repository(&text.value) {
            let message =
                format!("invalid {field} {:?}: it is no path of a repository", text.value);
            let help = "write lowercase parts joined by `/`, without tag and digest";
            self.mistake(line(text), message, Some(help));
        }
    }

    fn tag(&mut self, written: Option<&Text>) {
        let Some(text) = written.filter(|text| !text.value.is_empty()) else { return };
        if !is_tag(&text.value) {
            let message = format!("invalid targetTag {:?}", text.value);
            let help = "write 1 to 128 letters, digits, `_`, `.` or `-`";
            self.mistake(line(text), message, Some(help));
        }
    }

    fn gone(&mut self, field: &str, value: &Gone, instead: &str) {
        let Some(value) = value else { return };
        self.warnings.push(Finding::warning(
            "imageset-old-field",
            field,
            format!("line {}: it is of oc-mirror v1 and not read; {instead}", line(value)),
        ));
    }

    fn mistake(&mut self, line: u64, message: String, help: Option<&str>) {
        self.mistakes.push(Mistake { line, message, help: help.map(str::to_owned) });
    }
}

fn purpose(kind: Option<&Text>) -> Result<Purpose, ConfigError> {
    let help = "write `kind: ImageSetConfiguration`, or `kind: DeleteImageSetConfiguration`";
    match kind.map(|kind| (kind, kind.value.as_str())) {
        None => Err(only(0, "configuration missing `kind`".to_owned(), Some(help))),
        Some((_, "ImageSetConfiguration")) => Ok(Purpose::Mirror),
        Some((_, "DeleteImageSetConfiguration")) => Ok(Purpose::Delete),
        Some((kind, other)) => {
            Err(only(line(kind), format!("config kind {other:?} not supported"), Some(help)))
        }
    }
}

/// The peer takes an empty text for none.
fn filled(text: Option<Text>) -> Option<String> {
    text.map(|text| text.value).filter(|text| !text.is_empty())
}

fn each<T, U>(list: List<T>, read: impl FnMut(T) -> Option<U>) -> Vec<U> {
    list.unwrap_or_default().into_iter().filter_map(read).collect()
}
