//! The way through one object, and the rules that prove an image.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use airlift_spec::Reference;
use serde_json::{Map, Value};

use crate::names::{self, Says};
use crate::parts::{self, Hub, Parts};
use crate::shape::{self, Shape};
use crate::{Doubt, Evidence, Found, Scan, template, text};

/// What holds containers: there, a single word is an image.
const CONTAINERS: &[&str] = &[
    "containers",
    "initContainers",
    "ephemeralContainers",
    "container",
    "steps",
    "sidecars",
    "script",
];

/// What service meshes have people write where they put in the image themselves.
const WEBHOOKS: &str = "auto";

/// Where a complete reference without a scheme is no address: whatever is pulled from there is an artifact.
const ADDRESSES: &[&str] = &["url", "uri", "storageUri"];

/// Keys below which the name above still speaks: `image: {value: …, options: […]}`.
const SPEAKS_ON: &[&str] = &["value", "default", "options", "values", "reference", "url"];

/// Finds the images that `object`, one Kubernetes object, will ask for.
pub fn scan(object: &Value) -> Scan {
    let mut walk = Walk::new(label(object));
    match object {
        Value::Object(object) => walk.object(object),
        other => walk.value("", other, walk.place()),
    }
    walk.finish()
}

fn label(object: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let metadata = object.get("metadata");
    let name = text(metadata.and_then(|metadata| metadata.get("name")));
    let namespace = text(metadata.and_then(|metadata| metadata.get("namespace")));
    let full = match (namespace, name) {
        (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
        (_, name) => name,
    };
    let kind = text(object.get("kind"));
    let words: Vec<String> = kind.into_iter().chain(full).collect();
    if words.is_empty() { "document".to_owned() } else { words.join(" ") }
}

/// What holds for a value because of where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// What the names around it say.
    says: Says,
    hub: Hub<'a>,
    /// What a name that says image proves here.
    evidence: Evidence,
    /// Whether a complete reference needs no name here: in arguments, variables, and the lines of a ConfigMap.
    shape_proves: bool,
    /// Whether a single word is an image here: in containers.
    word_proves: bool,
    /// Whether it only tells of the object: the annotations of anything but pods, and of what makes pods.
    describes: bool,
}

pub(crate) struct Walk {
    label: String,
    path: String,
    scan: Scan,
    /// Where the walk is inside a text inside the object, what that text is.
    pub(crate) inside: Option<Evidence>,
    pub(crate) depth: u8,
    is_wasm: bool,
    /// Whether what this object's own annotations say makes something pull: a pod's do, others describe.
    is_pod: bool,
    /// The variables of all containers, which arguments name as `$(NAME)`.
    variables: BTreeMap<String, String>,
}

impl Place<'_> {
    /// The keys of a `ConfigMap` are file names: none of them says prose.
    fn is_data(&self) -> bool {
        self.shape_proves && !self.is_annotation()
    }

    pub(crate) fn is_annotation(&self) -> bool {
        self.evidence == Evidence::Annotation
    }
}

impl Walk {
    pub(crate) fn new(label: String) -> Self {
        Self {
            label,
            path: String::new(),
            scan: Scan::default(),
            inside: None,
            depth: 0,
            is_wasm: false,
            is_pod: false,
            variables: BTreeMap::new(),
        }
    }

    /// A doubt about what is proven elsewhere in the same object says nothing; nor does the same doubt again.
    pub(crate) fn finish(self) -> Scan {
        let Scan { mut images, mut doubts } = self.scan;
        images.extend(doubts.iter().filter_map(|doubt| filled(doubt, &self.variables)));
        let is_filled = |doubt: &Doubt| filled(doubt, &self.variables).is_some();
        let proven: BTreeSet<&str> = images.iter().map(|found| found.image.as_str()).collect();
        doubts.retain(|doubt| !proven.contains(doubt.text.as_str()) && !is_filled(doubt));
        let mut said = BTreeSet::new();
        doubts.retain(|doubt| said.insert((doubt.text.clone(), doubt.why)));
        Scan { images, doubts }
    }

    pub(crate) fn place<'a>(&self) -> Place<'a> {
        Place {
            says: Says::Nothing,
            hub: Hub::default(),
            evidence: self.inside.unwrap_or(Evidence::CustomField),
            shape_proves: false,
            word_proves: false,
            describes: false,
        }
    }

    /// An object, at the root or inside a text or a list.
    fn object(&mut self, object: &Map<String, Value>) {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let was_wasm = std::mem::replace(&mut self.is_wasm, kind == "WasmPlugin");
        let was_pod = std::mem::replace(&mut self.is_pod, kind == "Pod");
        if kind == "CustomResourceDefinition" {
            object.iter().for_each(|(key, value)| self.at(key, |walk| walk.schema(value, key)));
        } else if template::is_template(object) {
            self.fields(&template::resolve(object), kind);
        } else {
            self.fields(object, kind);
        }
        self.is_wasm = was_wasm;
        self.is_pod = was_pod;
    }

    /// A document inside a text. The name of the field that holds the text speaks on for a plain list in it.
    pub(crate) fn embedded_value(&mut self, value: &Value, place: Place<'_>) {
        match value {
            Value::Object(map) if map.contains_key("kind") => self.object(map),
            _ => self.value(
                "",
                value,
                Place { evidence: self.place().evidence, word_proves: false, ..place },
            ),
        }
    }

    /// A line `KEY=VALUE`.
    pub(crate) fn property(&mut self, says: Says, value: &str) {
        let evidence = self.inside.unwrap_or(Evidence::ConfigMapLine);
        self.text(value, Place { says, evidence, shape_proves: true, ..self.place() });
    }

    fn fields(&mut self, fields: &Map<String, Value>, kind: &str) {
        if !fields.contains_key("kind") || !fields.contains_key("apiVersion") {
            return self.map(fields, self.place());
        }
        for (key, value) in fields {
            match (key.as_str(), kind) {
                ("status" | "kind" | "apiVersion", _)
                | ("data", "Secret")
                | ("binaryData", "ConfigMap") => {}
                ("data", "ConfigMap") => {
                    self.at(key, |walk| {
                        walk.value(key, value, Place { shape_proves: true, ..walk.place() });
                    });
                }
                ("metadata", _) => {
                    let place = Place { describes: !self.is_pod, ..self.place() };
                    self.at(key, |walk| walk.value(key, value, place));
                }
                _ => self.at(key, |walk| walk.value(key, value, walk.place())),
            }
        }
    }

    /// Runs `look` with `key` at the end of the path.
    pub(crate) fn at(&mut self, key: &str, look: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        let is_plain =
            key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if is_plain {
            let dot = if self.path.is_empty() || self.path.ends_with(' ') { "" } else { "." };
            self.path.push_str(dot);
            self.path.push_str(key);
        } else {
            write!(self.path, "[{key:?}]").expect("a String takes any text");
        }
        look(self);
        self.path.truncate(length);
    }

    fn at_index(&mut self, index: usize, look: impl FnOnce(&mut Self)) {
        self.at_mark(&format!("[{index}]"), look);
    }

    pub(crate) fn at_mark(&mut self, mark: &str, look: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(mark);
        look(self);
        self.path.truncate(length);
    }

    fn value(&mut self, key: &str, value: &Value, place: Place<'_>) {
        match value {
            Value::String(text) => self.text(text, place),
            Value::Array(items) => self.list(key, items, place),
            Value::Object(map) => self.map(map, place),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn list(&mut self, key: &str, items: &[Value], place: Place<'_>) {
        let is_arguments = matches!(key, "args" | "command")
            || items.iter().any(|item| item.as_str().is_some_and(|text| text.starts_with('-')));
        if is_arguments {
            return self.arguments(items);
        }
        for (index, item) in items.iter().enumerate() {
            self.at_index(index, |walk| walk.value(key, item, place));
        }
    }

    /// `--flag=value`, `--flag value`, and images without a flag.
    fn arguments(&mut self, items: &[Value]) {
        let place = Place {
            evidence: self.inside.unwrap_or(Evidence::Arg),
            shape_proves: true,
            ..self.place()
        };
        let mut flag = Says::Nothing;
        for (index, item) in items.iter().enumerate() {
            let Value::String(text) = item else { continue };
            let (says, value) = match text.split_once('=') {
                Some((name, value)) if is_flag(name) => (names::says(name), value),
                _ if text.starts_with('-') && is_flag(text) => {
                    flag = names::says(text);
                    continue;
                }
                _ => (flag, text.as_str()),
            };
            flag = Says::Nothing;
            self.at_index(index, |walk| walk.text(value, Place { says, ..place }));
        }
    }

    fn map(&mut self, map: &Map<String, Value>, place: Place<'_>) {
        let is_object =
            map.contains_key("apiVersion") && map.get("kind").is_some_and(Value::is_string);
        if is_object && map.contains_key("metadata") {
            return self.object(map);
        }
        if let Some((name, key, value)) = named_value(map) {
            return self.variable(name, key, value, map);
        }
        let hub = place.hub.within(map);
        let joined = parts::join(map, place.says, place.hub);
        let is_joined = joined != Parts::None;
        self.joined(joined);
        for (key, value) in map {
            let is_prose = !place.is_data() && names::is_unread(key);
            if is_prose || (is_joined && value.is_string() && parts::takes_part(key)) {
                continue;
            }
            let inner = self.field(key, map, Place { hub, ..place });
            self.at(key, |walk| walk.value(key, value, inner));
        }
    }

    fn joined(&mut self, parts: Parts) {
        match parts {
            Parts::None => {}
            Parts::Whole(images) => {
                for image in images {
                    match shape::reference(&image) {
                        Some((reference, _)) => self.found(&image, reference, Evidence::Parts),
                        None => self.doubt(&image, "its parts make no reference"),
                    }
                }
            }
            Parts::Short { text, why } => self.doubt(&text, why),
        }
    }

    /// What holds for the value of `key` in `map`.
    fn field<'a>(&self, key: &str, map: &Map<String, Value>, around: Place<'a>) -> Place<'a> {
        let own = names::says(key);
        let is_container = key == "image" && around.word_proves;
        let origin =
            key == "name" && map.get("kind").and_then(Value::as_str) == Some("DockerImage");
        let says = match own {
            _ if origin => Says::Image,
            Says::Nothing if around.says > Says::Nothing && SPEAKS_ON.contains(&key) => around.says,
            Says::Nothing if around.says > Says::Nothing => Says::Something,
            own => own,
        };
        let evidence = match key {
            _ if self.inside.is_some() => around.evidence,
            "annotations" => Evidence::Annotation,
            "relatedImages" => Evidence::Related,
            _ if matches!(around.evidence, Evidence::Annotation | Evidence::Related) => {
                around.evidence
            }
            _ if is_container || origin => Evidence::Field,
            _ => Evidence::CustomField,
        };
        let word_proves = is_container || origin || CONTAINERS.contains(&key);
        let shape_proves =
            around.shape_proves || ADDRESSES.contains(&key) || evidence == Evidence::Annotation;
        Place { says, evidence, shape_proves, word_proves, ..around }
    }

    /// `{name: X, value: Y}`: a variable, a parameter, a setting.
    fn variable(&mut self, name: &str, key: &str, value: &str, map: &Map<String, Value>) {
        self.variables.insert(name.to_owned(), value.to_owned());
        let place = Place {
            says: names::says(name),
            evidence: self.inside.unwrap_or(Evidence::Env),
            shape_proves: true,
            ..self.place()
        };
        self.at(key, |walk| walk.text(value, place));
        let is_told = |other: &str| other == "name" || other == key || names::is_unread(other);
        for (key, value) in map.iter().filter(|(key, _)| !is_told(key)) {
            let inner = self.field(key, map, self.place());
            self.at(key, |walk| walk.value(key, value, inner));
        }
    }

    /// One text: a reference, a document, a script, or nothing of these.
    pub(crate) fn text(&mut self, whole: &str, place: Place<'_>) {
        let text = whole.trim();
        if text.is_empty() {
            return;
        }
        if whole.contains('\n') || text.starts_with(['{', '[']) {
            return text::embedded(self, whole, place);
        }
        let bare = shape::without_scheme(text);
        if let Some((reference, shape)) = shape::reference(bare) {
            return self.reference(text, bare, reference, shape, place);
        }
        if place.says == Says::Image && shape::is_variable(text) {
            return self.doubt(text, "a variable stands for the image");
        }
        if place.says == Says::Image && place.word_proves {
            return self.doubt(text, "it stands where an image must, and is none");
        }
        self.doubt_within(text);
    }

    fn reference(
        &mut self,
        text: &str,
        bare: &str,
        reference: Reference,
        shape: Shape,
        place: Place<'_>,
    ) {
        if text == WEBHOOKS && place.word_proves {
            return self.doubt(text, "a webhook of the cluster puts the image in");
        }
        let is_module = text.starts_with("oci://");
        let needed = match place.says {
            _ if place.describes => Shape::Pinned,
            Says::Image if place.word_proves => Shape::Word,
            Says::Image => Shape::Named,
            Says::Something => Shape::Tagged,
            Says::Nothing if place.shape_proves => Shape::Complete,
            Says::Nothing if is_module && self.is_wasm => Shape::Named,
            Says::Nothing => Shape::Pinned,
        };
        if shape >= needed {
            let is_wasm =
                is_module && (self.is_wasm || self.path.to_ascii_lowercase().contains("wasm"));
            let evidence = if is_wasm { Evidence::Wasm } else { place.evidence };
            return self.found(bare, reference, evidence);
        }
        let why = match (shape, place.says) {
            _ if is_module => "an OCI artifact, which may be an image, a model, or a chart",
            (Shape::Tagged | Shape::Complete, Says::Image) if place.describes => {
                "an annotation that describes the object, which pulls nothing"
            }
            (Shape::Complete, _) => "written like an image, where nothing says that it is one",
            (Shape::Word, Says::Image) => "its name says image, but a single word proves nothing",
            _ => return,
        };
        self.doubt(text, why);
    }

    pub(crate) fn found(&mut self, image: &str, reference: Reference, evidence: Evidence) {
        let path = self.full_path();
        self.scan.images.push(Found { image: image.to_owned(), reference, path, evidence });
    }

    pub(crate) fn doubt(&mut self, text: &str, why: &'static str) {
        let path = self.full_path();
        self.scan.doubts.push(Doubt { text: text.to_owned(), path, why });
    }

    pub(crate) fn doubt_within(&mut self, text: &str) {
        let images: Vec<&str> = shape::within(text).collect();
        for image in images {
            self.doubt(image, "it stands inside a longer text, such as a script");
        }
    }

    fn full_path(&self) -> String {
        if self.path.is_empty() {
            self.label.clone()
        } else {
            format!("{}: {}", self.label, self.path.trim())
        }
    }

    /// A schema is no object: of it, only defaults reach a cluster, and only where an object leaves the field out.
    fn schema(&mut self, value: &Value, key: &str) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.at_index(index, |walk| walk.schema(item, key));
                }
            }
            Value::Object(map) => {
                if let (Says::Image, Some(text)) =
                    (names::says(key), map.get("default").and_then(Value::as_str))
                {
                    let is_image =
                        shape::reference(text).is_some_and(|(_, shape)| shape >= Shape::Named);
                    if is_image {
                        self.at("default", |walk| {
                            walk.doubt(
                                text,
                                "the schema's default, for objects that leave the field out",
                            );
                        });
                    }
                }
                for (key, value) in map {
                    self.at(key, |walk| walk.schema(value, key));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// What `doubt` is about, where it is `$(NAME)` and a container of the same object has the variable.
fn filled(doubt: &Doubt, variables: &BTreeMap<String, String>) -> Option<Found> {
    let name = doubt.text.strip_prefix("$(")?.strip_suffix(')')?;
    let image = shape::without_scheme(variables.get(name)?.trim());
    let (reference, shape) = shape::reference(image)?;
    let found = || Found {
        image: image.to_owned(),
        reference,
        path: doubt.path.clone(),
        evidence: Evidence::Arg,
    };
    (shape >= Shape::Named).then(found)
}

fn is_flag(name: &str) -> bool {
    let name = name.trim_start_matches('-');
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The name, and the field that holds the value, of `{name: …, value: …}`.
fn named_value(map: &Map<String, Value>) -> Option<(&str, &'static str, &str)> {
    let (key, value) = ["value", "default"].iter().find_map(|key| Some((*key, map.get(*key)?)))?;
    Some((map.get("name")?.as_str()?, key, value.as_str()?))
}

#[cfg(test)]
mod tests;
