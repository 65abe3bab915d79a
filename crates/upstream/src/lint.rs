//! What is wrong in configurations that people write: objects that contradict each other, or what the stack carries.
//!
//! Pure. Only what the stack itself proves is said: a cluster may hold more than its manifests, so that what is merely
//! absent counts only where something else in the stack needs it to be there.

use std::collections::BTreeMap;
use std::fmt;

use airlift_scan::knowledge::Knowledge;
use airlift_spec::lock::{Artifact, KeptPackage, Kind};
use airlift_spec::stack::{Finder, FinderKind, Rules, Stack};
use airlift_spec::{Finding, Reference, Severity, catalog_source};
use serde_json::Value;

mod gateways;
mod mirrors;
mod order;
mod products;
mod schema;
mod subscriptions;

pub(crate) use mirrors::is_results_folder;

/// `kubectl apply` keeps an object's JSON in an annotation, and all annotations together may have as many bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// The codes of what is said here. A lock's are made anew each time: another source may have mended what they name.
pub(crate) const CODES: [&str; 23] = [
    "api-version-not-served",
    "authorino-too-late",
    "field-unknown",
    "gateway-not-carried",
    "kind-too-early",
    "kuadrant-too-early",
    "mirror-set-deprecated",
    "object-too-large",
    "operator-group-mode",
    "operator-group-twice",
    "operator-too-early",
    "operator-version",
    "results-of-v1",
    "subscription-channel",
    "subscription-namespace",
    "subscription-package",
    "subscription-source",
    "subscription-source-name",
    "subscription-version",
    "tag-not-mirrored",
    "value-refused",
    "wasm-past-mirrors",
    "wasm-without-secret",
];

/// An object that will be applied, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The key of its source.
    pub(crate) source: String,
    /// The source as it was written, and the file and line or the template in it.
    pub(crate) place: String,
    pub(crate) author: Author,
    pub(crate) object: Value,
}

/// Who can change an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// Whoever runs this.
    Here,
    /// Who published the chart, or what is at the address.
    Elsewhere,
}

/// A kind that an operator of the stack brings.
#[derive(Debug, Clone)]
pub(crate) struct Brought {
    pub(crate) package: String,
    /// The name of its bundle.
    pub(crate) bundle: String,
    pub(crate) group: String,
    pub(crate) kind: String,
    /// Its `CustomResourceDefinition`, where the bundle is at hand.
    pub(crate) definition: Option<Value>,
}

/// Everything that there is to look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) artifacts: &'a [Artifact],
    pub(crate) objects: &'a [Seen],
    pub(crate) brought: &'a [Brought],
    pub(crate) knowledge: &'a Knowledge,
    /// Whether the objects of all sources are among them: else nothing that is absent proves anything.
    pub(crate) is_whole: bool,
}

/// Everything that is held against each other.
#[derive(Debug)]
struct Configuration<'a> {
    objects: &'a [Seen],
    brought: &'a [Brought],
    is_whole: bool,
    /// Those that Helm makes for the charts of the stack.
    namespaces: Vec<&'a str>,
    catalogs: Vec<Carried<'a>>,
    /// Those that sources of the stack name, also where such a source failed this time.
    wanted: Vec<&'a Reference>,
    knowledge: &'a Knowledge,
    images: Vec<&'a Reference>,
}

/// A catalog of the stack.
#[derive(Debug, Clone)]
struct Carried<'a> {
    reference: &'a Reference,
    /// By package; nothing where it is carried whole.
    kept: &'a BTreeMap<String, KeptPackage>,
    /// What its `CatalogSource` will be called, and by whom.
    source_name: String,
    rules: Rules,
}

/// What there is to say about the objects in `sight`.
pub(crate) fn lint(sight: &Sight<'_>) -> Vec<Finding> {
    let images = sight.artifacts.iter().filter(|it| it.kind == Kind::Image);
    let all = Configuration {
        objects: sight.objects,
        brought: sight.brought,
        is_whole: sight.is_whole,
        namespaces: sight.stack.finders.iter().filter_map(namespace).collect(),
        catalogs: carried(sight),
        wanted: sight.stack.finders.iter().filter_map(catalog_of).collect(),
        knowledge: sight.knowledge,
        images: images.map(|it| &it.reference).collect(),
    };
    let mut findings = Vec::new();
    subscriptions::lint(&all, &mut findings);
    products::lint(&all, &mut findings);
    mirrors::lint(&all, &mut findings);
    gateways::lint(&all, &mut findings);
    schema::lint(&all, &mut findings);
    order::lint(&all, &mut findings);
    too_large(&all, &mut findings);
    findings
}

fn carried<'a>(sight: &Sight<'a>) -> Vec<Carried<'a>> {
    let of_kind = |it: &&Artifact| it.kind == Kind::Catalog;
    let catalogs: Vec<&Artifact> = sight.artifacts.iter().filter(of_kind).collect();
    let names = catalog_source::names(&catalogs);
    let one = |(artifact, name): (&'a Artifact, String)| {
        let reference = &artifact.reference;
        let rules = rules(reference, sight.stack);
        let base = reference.path().rsplit('/').next().unwrap_or_default();
        let source_name = match rules {
            Rules::Own => name,
            Rules::OcMirror => {
                let tag = reference.tag().unwrap_or_default();
                format!("cs-{}", catalog_source::oc_mirror_name(base, tag))
            }
        };
        Carried { reference, kept: &artifact.kept, source_name, rules }
    };
    catalogs.into_iter().zip(names).map(one).collect()
}

fn catalog_of(finder: &Finder) -> Option<&Reference> {
    match &finder.kind {
        FinderKind::Catalog(catalog) => Some(&catalog.reference),
        FinderKind::Chart(_) | FinderKind::Manifests(_) | FinderKind::Release(_) => None,
    }
}

fn namespace(finder: &Finder) -> Option<&str> {
    match &finder.kind {
        FinderKind::Chart(chart) => chart.namespace.as_deref(),
        FinderKind::Catalog(_) | FinderKind::Manifests(_) | FinderKind::Release(_) => None,
    }
}

fn rules(catalog: &Reference, stack: &Stack) -> Rules {
    let of = |kind: &FinderKind| match kind {
        FinderKind::Catalog(it) if it.reference == *catalog => Some(it.rules),
        FinderKind::Catalog(_)
        | FinderKind::Chart(_)
        | FinderKind::Manifests(_)
        | FinderKind::Release(_) => None,
    };
    stack.finders.iter().find_map(|finder| of(&finder.kind)).unwrap_or_default()
}

impl<'a> Configuration<'a> {
    /// The objects of a kind of an API group, whatever its version.
    fn of(&self, group: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Seen> {
        self.objects.iter().filter(move |it| it.group() == group && it.text("/kind") == kind)
    }

    /// Whether the definition of a kind is applied with the objects.
    fn is_defined(&self, group: &str, kind: &str) -> bool {
        self.of("apiextensions.k8s.io", "CustomResourceDefinition")
            .any(|it| it.text("/spec/group") == group && it.text("/spec/names/kind") == kind)
    }
}

impl Seen {
    /// A finding about it, which is but information to whom cannot change it.
    fn said(&self, mut finding: Finding) -> Finding {
        if self.author == Author::Elsewhere {
            finding.severity = Severity::Info;
        }
        finding.of(&self.source)
    }

    /// Its group and kind.
    pub(crate) fn key(&self) -> (String, String) {
        (self.group().to_owned(), self.text("/kind").to_owned())
    }

    fn is_of_chart(&self) -> bool {
        self.source.starts_with("chart: ")
    }

    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn group(&self) -> &str {
        self.text("/apiVersion").split_once('/').map_or("", |(group, _)| group)
    }

    fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// The texts of a list.
    fn texts(&self, pointer: &str) -> Vec<&str> {
        let list = self.object.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (self.text("/kind"), self.text("/metadata/name"));
        match self.namespace() {
            "" => write!(f, "{}: {kind} {name}", self.place),
            namespace => write!(f, "{}: {kind} {namespace}/{name}", self.place),
        }
    }
}

/// Objects that client-side apply cannot take.
fn too_large(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    // Helm keeps what it installed in a Secret of its own.
    for seen in all.objects.iter().filter(|it| !it.is_of_chart()) {
        let bytes = seen.object.to_string().len();
        if bytes > MAX_ANNOTATIONS {
            let message = format!(
                "its JSON has {bytes} bytes, and `kubectl apply` keeps it in an annotation, which takes \
                 {MAX_ANNOTATIONS}; use `kubectl apply --server-side`"
            );
            findings.push(seen.said(Finding::warning("object-too-large", seen, message)));
        }
    }
}

fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
