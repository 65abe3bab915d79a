//! References that are split over the fields of one map: `repository`, `image`, and `version`; `registry`,
//! `repository`, and `tag`; `hub` and `tag` beside, or above, a bare `image`.

use serde_json::{Map, Value};

use crate::names::Says;
use crate::shape::{self, Shape};

const REGISTRIES: &[&str] = &["registry", "imageRegistry"];
const REPOSITORIES: &[&str] = &["repository", "repo", "imageRepository", "newName"];
const IMAGES: &[&str] = &["image", "imageName"];
/// Fields that can hold nothing but the tag of an image, where one is beside them.
const TAGS: &[&str] =
    &["tag", "imageTag", "newTag", "imageVersion", "defaultImageVersion", "defaultGpuImageVersion"];
const DIGESTS: &[&str] = &["digest", "imageDigest"];

/// What one map's fields make together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Nothing: each field speaks for itself.
    None,
    /// The references that they make.
    Whole(Vec<String>),
    /// They are the parts of one, and the rest is elsewhere.
    Short { text: String, why: &'static str },
}

/// A repository's prefix and tag that hold for bare images further inside.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hub<'a> {
    hub: Option<&'a str>,
    tag: Option<&'a str>,
}

impl<'a> Hub<'a> {
    /// What holds inside `map`. Helm's charts see `global` beside, as well as above.
    pub(crate) fn within(self, map: &'a Map<String, Value>) -> Self {
        let global = map.get("global").and_then(Value::as_object);
        let own = |key| first(map, &[key]).or_else(|| first(global?, &[key]));
        Self { hub: own("hub").or(self.hub), tag: own("tag").or(self.tag) }
    }
}

/// The fields that take part: they are not looked at again by themselves.
pub(crate) fn takes_part(key: &str) -> bool {
    [REGISTRIES, REPOSITORIES, IMAGES, TAGS, DIGESTS].iter().any(|keys| keys.contains(&key))
        || key == "version"
}

/// Puts the fields of `map` together; `says` is what the name of the map itself tells, `hub` what holds around it.
pub(crate) fn join(map: &Map<String, Value>, says: Says, hub: Hub<'_>) -> Parts {
    let is_number = |(key, value): &(&String, &Value)| takes_part(key) && value.is_number();
    if !map.iter().any(|field| is_number(&field)) {
        return join_texts(map, says, hub);
    }
    let is_rounded = map.iter().filter(is_number).any(|(_, value)| value.is_f64());
    let text = |value: &Value| {
        if value.is_number() { Value::String(value.to_string()) } else { value.clone() }
    };
    let texts = map.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    match join_texts(&texts, says, hub) {
        Parts::Whole(mut images) if is_rounded => {
            let why = "its tag is a number, which has lost its last zeros, if it had any";
            Parts::Short { text: images.swap_remove(0), why }
        }
        parts => parts,
    }
}

fn join_texts(map: &Map<String, Value>, says: Says, hub: Hub<'_>) -> Parts {
    let named = if says > Says::Nothing { first(map, &["name"]) } else { None };
    let is_link = |image: &&str| image.contains("://");
    let image = first(map, IMAGES).filter(|image| !is_link(image));
    if image.is_some_and(is_whole) {
        return Parts::None;
    }
    let repository = REPOSITORIES.iter().find(|key| map.contains_key(**key));
    match (repository, image) {
        (Some(key), Some(image)) => with_image(map, text(map, key), image),
        (Some(key), None) => match named.filter(|_| *key != "newName" && has_version(map)) {
            Some(name) => with_image(map, text(map, key), name),
            None => without_image(map, text(map, key), says),
        },
        (None, Some(image)) => bare(map, image, hub),
        (None, None) => by_name(map, named),
    }
}

fn has_version(map: &Map<String, Value>) -> bool {
    TAGS.iter().chain(DIGESTS).any(|key| map.contains_key(*key))
}

/// `repository`, `image`, and a version: all three or none.
fn with_image(map: &Map<String, Value>, repository: &str, image: &str) -> Parts {
    if repository.contains("://") {
        return Parts::None;
    }
    let name = [first(map, REGISTRIES).unwrap_or_default(), repository, image].join("/");
    let name = name.trim_start_matches('/');
    if repository.is_empty() && first(map, REGISTRIES).is_none() {
        // A full name beside a repository that is left empty stands for itself.
        let why = "its repository is left empty, and set elsewhere";
        return if image.contains('/') {
            Parts::None
        } else {
            Parts::Short { text: image.to_owned(), why }
        };
    }
    versioned(map, name, true)
}

/// `registry` and `repository`, or a repository in a map whose name says image.
fn without_image(map: &Map<String, Value>, repository: &str, says: Says) -> Parts {
    let registry = first(map, REGISTRIES);
    let is_image = says > Says::Nothing || registry.is_some();
    if repository.is_empty() || repository.contains("://") || !(is_image || has_version(map)) {
        return Parts::None;
    }
    // `repo` and `tag` alone also describe sources: only a name with a host is an image's.
    let name = registry
        .map_or_else(|| repository.to_owned(), |registry| format!("{registry}/{repository}"));
    if !(is_image || name.contains('.') && name.contains('/')) {
        return Parts::None;
    }
    versioned(map, &name, is_image)
}

/// A name without a tag beside a field that is one, or below a hub.
fn bare(map: &Map<String, Value>, image: &str, around: Hub<'_>) -> Parts {
    let inside = around.within(map);
    if let (false, Some(hub), Some(tag)) = (image.contains('/'), inside.hub, inside.tag) {
        return Parts::Whole(vec![put(&format!("{hub}/{image}"), tag)]);
    }
    if has_version(map) {
        return versioned(map, image, false);
    }
    if let (Some(registry), false) = (first(map, REGISTRIES), image.contains('/')) {
        return Parts::Short {
            text: format!("{registry}/{image}"),
            why: "its tag is set elsewhere",
        };
    }
    Parts::None
}

/// `name` and `tag` in a map whose name says image, or an entry of a kustomization's `images`, which has `newTag`.
fn by_name(map: &Map<String, Value>, named: Option<&str>) -> Parts {
    let is_entry = map.contains_key("newTag");
    let Some(name) = named.or_else(|| first(map, &["name"]).filter(|_| is_entry)) else {
        return Parts::None;
    };
    match first(map, REGISTRIES) {
        Some(registry) if has_version(map) => versioned(map, &format!("{registry}/{name}"), false),
        None if has_version(map) && name.contains('/') => versioned(map, name, false),
        _ => Parts::None,
    }
}

fn versioned(map: &Map<String, Value>, name: &str, takes_version: bool) -> Parts {
    let digest = first(map, DIGESTS);
    let version = if takes_version { first(map, &["version"]) } else { None };
    let tags: Vec<&str> =
        TAGS.iter().map(|key| text(map, key)).filter(|tag| !tag.is_empty()).collect();
    let tags = if tags.is_empty() { version.into_iter().collect() } else { tags };
    match (tags.as_slice(), digest) {
        ([], None) => {
            let why = "its tag or digest is left empty, and set elsewhere";
            Parts::Short { text: name.to_owned(), why }
        }
        ([], Some(digest)) => Parts::Whole(vec![put(name, digest)]),
        (tags, None) => Parts::Whole(tags.iter().map(|tag| put(name, tag)).collect()),
        (tags, Some(digest)) => {
            Parts::Whole(tags.iter().map(|tag| put(&put(name, tag), digest)).collect())
        }
    }
}

fn put(name: &str, version: &str) -> String {
    let version = version.trim_start_matches([':', '@']);
    if version.contains(':') { format!("{name}@{version}") } else { format!("{name}:{version}") }
}

fn is_whole(image: &str) -> bool {
    let (name, _) = image.split_once('@').unwrap_or((image, ""));
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    has_tag || shape::reference(image).is_some_and(|(_, shape)| shape == Shape::Pinned)
}

fn first<'a>(map: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().map(|key| text(map, key)).find(|text| !text.is_empty())
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, says: Says, expected: &[&str]) {
        let map: Map<String, Value> = serde_json::from_str(json).unwrap();
        let whole = match join(&map, says, Hub::default()) {
            Parts::Whole(whole) => whole,
            Parts::None => vec!["none".to_owned()],
            Parts::Short { text, .. } => vec![format!("short {text}")],
        };
        assert_eq!(whole, expected, "{json}");
    }

    #[test]
    fn fields_that_make_one_reference_are_put_together() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let nothing = |json: &str, expected: &[&str]| check(json, Says::Nothing, expected);
        let image = |json: &str, expected: &[&str]| check(json, Says::Image, expected);
        nothing(
            r#"{"repository":"nvcr.io/nvidia","image":"driver","version":"550"}"#,
            &["nvcr.io/nvidia/driver:550"],
        );
        nothing(
            &format!(r#"{{"repository":"nvcr.io/nvidia","image":"driver","version":"{digest}"}}"#),
            &[&format!("nvcr.io/nvidia/driver@{digest}")],
        );
        nothing(r#"{"registry":"quay.io","repository":"a/b","tag":"1"}"#, &["quay.io/a/b:1"]);
        image(r#"{"repository":"a/b","tag":"1"}"#, &["a/b:1"]);
        image(r#"{"repository":"a/b","tag":""}"#, &["short a/b"]);
        nothing(
            r#"{"hub":"docker.io/istio","tag":"1.2","image":"proxyv2"}"#,
            &["docker.io/istio/proxyv2:1.2"],
        );
        nothing(r#"{"image":"kserve/art","defaultImageVersion":"latest"}"#, &["kserve/art:latest"]);
        nothing(
            r#"{"name":"quay.io/a/b","newName":"quay.io/c/d","newTag":"2"}"#,
            &["quay.io/c/d:2"],
        );
        nothing(r#"{"name":"quay.io/a/b","newTag":"2"}"#, &["quay.io/a/b:2"]);
        image(r#"{"name":"a/b","newName":"quay.io/c/d","newTag":"2"}"#, &["quay.io/c/d:2"]);
        image(r#"{"name":"quay.io/a/b","tag":"2"}"#, &["quay.io/a/b:2"]);
        image(
            r#"{"registry":"quay.io","repository":"a","name":"b","tag":"2"}"#,
            &["quay.io/a/b:2"],
        );
        image(r#"{"repository":"a/b","tag":15}"#, &["a/b:15"]);
        image(r#"{"repository":"a/b","tag":1.1}"#, &["short a/b:1.1"]);
        nothing(r#"{"image":"quay.io/a/b","tag":""}"#, &["short quay.io/a/b"]);
    }

    #[test]
    fn fields_that_only_look_alike_are_left_alone() {
        let nothing = |json: &str, expected: &[&str]| check(json, Says::Nothing, expected);
        nothing(r#"{"repository":"https://charts.example","chart":"a","version":"1"}"#, &["none"]);
        nothing(r#"{"repository":"org/source","version":"1"}"#, &["none"]);
        nothing(r#"{"repo":"org/source","tag":"v1"}"#, &["none"]);
        nothing(r#"{"image":"quay.io/a/b:1","tag":"2"}"#, &["none"]);
        nothing(r#"{"image":"quay.io/a/b","version":"2"}"#, &["none"]);
        nothing(r#"{"repository":"","image":"driver","version":""}"#, &["short driver"]);
    }
}
