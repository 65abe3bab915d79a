//! What is wrong in configurations that people write: objects that contradict each other, or what the stack carries.
//!
//! Pure. Only what the stack itself proves is said: a cluster may hold more than its manifests, so that what is merely
//! absent counts only where something else in the stack needs it to be there.

use std::collections::BTreeMap;
use std::fmt;

use airlift_spec::lock::{Artifact, KeptPackage, Kind};
use airlift_spec::{Finding, Reference};
use serde_json::Value;

mod mirrors;
mod schema;
mod subscriptions;

/// `kubectl apply` keeps an object's JSON in an annotation, and all annotations together may have as many bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// The codes of what is said here. A lock's are made anew each time: another source may have mended what they name.
pub(crate) const CODES: [&str; 14] = [
    "api-version-not-served",
    "field-unknown",
    "kuadrant-too-early",
    "mirror-set-deprecated",
    "object-too-large",
    "operator-group-mode",
    "operator-group-twice",
    "subscription-channel",
    "subscription-namespace",
    "subscription-package",
    "subscription-source",
    "subscription-version",
    "tag-not-mirrored",
    "wasm-past-mirrors",
];

/// An object of a `manifests:` source, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The key of its source.
    pub(crate) source: String,
    /// The source as it was written, and the file in it.
    pub(crate) place: String,
    pub(crate) object: Value,
}

/// Everything that is held against each other.
#[derive(Debug)]
struct Configuration<'a> {
    objects: &'a [Seen],
    catalogs: Vec<(&'a Reference, &'a BTreeMap<String, KeptPackage>)>,
    images: Vec<&'a Reference>,
}

/// What there is to say about `objects`, in a stack that carries `artifacts`.
pub(crate) fn lint(objects: &[Seen], artifacts: &[Artifact]) -> Vec<Finding> {
    let catalogs = artifacts.iter().filter(|it| it.kind == Kind::Catalog);
    let images = artifacts.iter().filter(|it| it.kind == Kind::Image);
    let all = Configuration {
        objects,
        catalogs: catalogs.map(|it| (&it.reference, &it.kept)).collect(),
        images: images.map(|it| &it.reference).collect(),
    };
    let mut findings = Vec::new();
    subscriptions::lint(&all, &mut findings);
    mirrors::lint(&all, &mut findings);
    schema::lint(&all, &mut findings);
    too_large(&all, &mut findings);
    before_gateways(&all, &mut findings);
    findings
}

impl<'a> Configuration<'a> {
    /// The objects of a kind of an API group, whatever its version.
    fn of(&self, group: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Seen> {
        self.objects.iter().filter(move |it| it.group() == group && it.text("/kind") == kind)
    }
}

impl Seen {
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
    for seen in all.objects {
        let bytes = seen.object.to_string().len();
        if bytes > MAX_ANNOTATIONS {
            let message = format!(
                "its JSON has {bytes} bytes, and `kubectl apply` keeps it in an annotation, which takes \
                 {MAX_ANNOTATIONS}; use `kubectl apply --server-side`"
            );
            findings.push(Finding::warning("object-too-large", seen, message).of(&seen.source));
        }
    }
}

/// Kuadrant's operator looks for what provides gateways when it starts, and never again.
fn before_gateways(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let place = |it: &Seen| all.objects.iter().position(|other| std::ptr::eq(it, other));
    let gateways: Vec<&Seen> = all.of("gateway.networking.k8s.io", "GatewayClass").collect();
    for kuadrant in all.of("kuadrant.io", "Kuadrant") {
        let mut beside = gateways.iter().filter(|it| it.source == kuadrant.source).peekable();
        if beside.peek().is_some() && beside.all(|it| place(it) > place(kuadrant)) {
            let message = "it is applied before any GatewayClass, and stays in `MissingDependency`: its operator \
                           looks for a gateway provider when it starts; put the GatewayClass before it, or restart \
                           the operator once the GatewayClass is accepted";
            findings.push(
                Finding::warning("kuadrant-too-early", kuadrant, message).of(&kuadrant.source),
            );
        }
    }
}

#[cfg(test)]
mod tests;
