//! A knowledge pack as it is written.

use std::collections::BTreeMap;

use airlift_spec::Reference;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::version::{Range, Version};
use super::{
    Advice, Companion, Dependency, EnvAlias, Gap, KnowledgeError, Known, LateKind, Origin, Product,
};

/// The format this version reads.
pub(super) const FORMAT: u32 = 1;

/// One file: what is known about one product.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) product: Product,
    /// The releases whose images are known in full.
    pub(super) covers: Vec<Version>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    versions: Vec<Range>,
    origin: Origin,
    images: Vec<Reference>,
    dependencies: Vec<DependencyWire>,
    env_aliases: Vec<(EnvAliasWire, Option<Reference>)>,
    companions: Vec<Companion>,
    late_kinds: Vec<LateKind>,
    unknown: Vec<String>,
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PackWire {
    #[expect(dead_code, reason = "`Header` read it; here it is only a known field")]
    format: u32,
    product: Spanned<BTreeMap<String, String>>,
    source: Option<String>,
    why: Option<String>,
    #[serde(default)]
    covers: Vec<Spanned<String>>,
    entries: Vec<Spanned<EntryWire>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct EntryWire {
    versions: Vec<Spanned<String>>,
    source: Option<String>,
    why: Option<String>,
    /// Tags and digests by repository.
    #[serde(default)]
    images: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    dependencies: Vec<DependencyWire>,
    #[serde(default)]
    env_aliases: Vec<EnvAliasWire>,
    #[serde(default)]
    companions: Vec<CompanionWire>,
    #[serde(default)]
    late_kinds: Vec<LateKindWire>,
    /// Repositories that are known to be asked for, by a tag or digest that is not known.
    #[serde(default)]
    unknown: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DependencyWire {
    package: String,
    catalog: Option<String>,
    r#for: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvAliasWire {
    reads: String,
    sets: Option<String>,
    fallback: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompanionWire {
    package: String,
    #[serde(default)]
    versions: Vec<Spanned<String>>,
    #[serde(default)]
    first: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct LateKindWire {
    group: String,
    kind: String,
    after: String,
}

impl EntryWire {
    fn has_facts(&self) -> bool {
        self.images.values().any(|versions| !versions.is_empty())
            || !self.dependencies.is_empty()
            || !self.env_aliases.is_empty()
            || !self.companions.is_empty()
            || !self.late_kinds.is_empty()
            || !self.unknown.is_empty()
    }
}

impl Pack {
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, KnowledgeError> {
        let malformed = |reason| KnowledgeError::Malformed { pack: name.to_owned(), reason };
        // Version before content: a newer file must say "too new", not "unknown field".
        let yaml = |err: serde_saphyr::Error| malformed(err.without_snippet().to_string());
        let Header { format } = serde_saphyr::from_str(text).map_err(yaml)?;
        if format > FORMAT {
            return Err(KnowledgeError::TooNew { pack: name.to_owned(), found: format });
        }
        let wire: PackWire = serde_saphyr::from_str(text).map_err(yaml)?;
        read(name, wire).map_err(malformed)
    }

    pub(super) fn catalog_of(&self, package: &str) -> Option<&str> {
        let mut dependencies = self.entries.iter().flat_map(|entry| &entry.dependencies);
        dependencies.find(|it| it.package == package)?.catalog.as_deref()
    }

    pub(super) fn advise(&self, version: &Version, advice: &mut Advice) {
        let holds = |entry: &&Entry| entry.versions.iter().any(|range| range.contains(version));
        for entry in self.entries.iter().filter(holds) {
            let origin = || entry.origin.clone();
            let fallbacks = entry.env_aliases.iter().filter_map(|(_, fallback)| fallback.as_ref());
            let images = entry.images.iter().chain(fallbacks);
            advice.images.extend(
                images.map(|reference| Known { reference: reference.clone(), origin: origin() }),
            );
            advice.dependencies.extend(entry.dependencies.iter().cloned().map(|wire| Dependency {
                package: wire.package,
                catalog: wire.catalog,
                needed_for: wire.r#for,
                origin: origin(),
            }));
            advice.env_aliases.extend(entry.env_aliases.iter().cloned().map(|(wire, fallback)| {
                EnvAlias { reads: wire.reads, sets: wire.sets, fallback, origin: origin() }
            }));
            advice.companions.extend(entry.companions.iter().cloned());
            advice.late_kinds.extend(entry.late_kinds.iter().cloned());
            advice.gaps.extend(entry.unknown.iter().map(|repository| Gap {
                product: self.product.clone(),
                version: version.clone(),
                repository: Some(repository.clone()),
                message: format!(
                    "it needs an image of `{repository}`, and which is not known: {}",
                    entry.origin.why
                ),
            }));
        }
    }
}

fn read(name: &str, wire: PackWire) -> Result<Pack, String> {
    let product = on_line(&wire.product, self::product)?;
    let version =
        |text: &String| text.parse().map_err(|err| format!("`{text}` is no version: {err}"));
    let covers = wire.covers.iter().map(|text| on_line(text, version)).collect::<Result<_, _>>()?;
    let default = |own: &Option<String>, all: &Option<String>| own.clone().or_else(|| all.clone());
    let read = |entry: &EntryWire| {
        if entry.versions.is_empty() || !entry.has_facts() {
            return Err(
                "the entry needs `versions`, and something that holds for them: `images`, \
                        `dependencies`, `envAliases`, `companions`, `lateKinds`, or `unknown`"
                    .to_owned(),
            );
        }
        let source = default(&entry.source, &wire.source);
        let why = default(&entry.why, &wire.why);
        let (Some(source), Some(why)) = (source, why) else {
            return Err(
                "the entry has no `source` or no `why`, and neither has the file".to_owned()
            );
        };
        Ok(Origin { pack: name.to_owned(), why, source })
    };
    let mut entries = Vec::new();
    for entry in wire.entries {
        let origin = on_line(&entry, read)?;
        entries.push(read_entry(entry.value, origin)?);
    }
    Ok(Pack { product, covers, entries })
}

/// What `read` makes of a value; why it cannot, with the value's line.
fn on_line<T, V>(value: &Spanned<V>, read: impl Fn(&V) -> Result<T, String>) -> Result<T, String> {
    read(&value.value).map_err(|reason| format!("line {}: {reason}", value.referenced.line()))
}

fn product(wire: &BTreeMap<String, String>) -> Result<Product, String> {
    let mut wire = wire.iter();
    let (Some((kind, name)), None) = (wire.next(), wire.next()) else {
        return Err("`product` has one field: olm, chart, manifests, or platform".to_owned());
    };
    let name = name.clone();
    match kind.as_str() {
        "olm" => Ok(Product::Olm(name)),
        "chart" => Ok(Product::Chart(name)),
        "manifests" => Ok(Product::Manifests(name)),
        "platform" => Ok(Product::Platform(name)),
        _ => Err(format!("`{kind}` is no kind of product: olm, chart, manifests, or platform")),
    }
}

fn read_entry(wire: EntryWire, origin: Origin) -> Result<Entry, String> {
    let range = |text: &Spanned<String>| on_line(text, |text| text.parse());
    let ranges = |texts: &[Spanned<String>]| texts.iter().map(range).collect();
    let versions: Vec<Range> = ranges(&wire.versions)?;
    let mut images = Vec::new();
    for (repository, versions) in &wire.images {
        let image = |version: &String| {
            let is_digest = version.starts_with("sha256:") || version.starts_with("sha512:");
            let sign = if is_digest { '@' } else { ':' };
            reference(&format!("{repository}{sign}{version}"))
        };
        for version in versions {
            images.push(on_line(version, image)?);
        }
    }
    let alias = |wire: EnvAliasWire| {
        let fallback = wire.fallback.as_ref();
        let fallback = fallback.map(|text| on_line(text, |text| reference(text))).transpose()?;
        Ok::<_, String>((wire, fallback))
    };
    let env_aliases = wire.env_aliases.into_iter().map(alias).collect::<Result<_, _>>()?;
    let companion = |wire: CompanionWire| {
        let CompanionWire { package, versions, first } = wire;
        let versions: Result<Vec<Range>, String> = ranges(&versions);
        Ok::<_, String>(Companion { package, versions: versions?, first, origin: origin.clone() })
    };
    let companions = wire.companions.into_iter().map(companion).collect::<Result<_, _>>()?;
    let late_kind = |LateKindWire { group, kind, after }| LateKind {
        group,
        kind,
        after,
        origin: origin.clone(),
    };
    Ok(Entry {
        versions,
        companions,
        late_kinds: wire.late_kinds.into_iter().map(late_kind).collect(),
        origin,
        images,
        dependencies: wire.dependencies,
        env_aliases,
        unknown: wire.unknown,
    })
}

/// Spelled out in full: what Docker leaves out is no fact.
fn reference(text: &str) -> Result<Reference, String> {
    let reference: Reference = text.parse().map_err(|err| format!("{err}"))?;
    if reference.to_string() == text {
        return Ok(reference);
    }
    Err(format!("`{text}` is not written in full, as `{reference}`"))
}
