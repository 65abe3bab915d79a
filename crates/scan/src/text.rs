//! Texts inside objects: JSON, YAML, templates of YAML, lines of `KEY=VALUE`, and scripts.

use serde_json::Value;

use crate::names::{self, Says};
use crate::shape::{self, Shape};
use crate::walk::{Place, Walk};
use crate::{Evidence, Scan, documents};

/// Texts in texts in texts. `alm-examples` with a ConfigMap with JSON is three deep.
const MAX_DEPTH: u8 = 4;

/// Finds the images in a text that is no object: a `params.env`, a script. `label` begins each path.
pub fn scan_text(label: &str, text: &str) -> Scan {
    let mut walk = Walk::new(label.to_owned());
    lines(&mut walk, text);
    walk.finish()
}

/// Looks into a text that stands in a field.
pub(crate) fn embedded(walk: &mut Walk, text: &str, place: Place<'_>) {
    if walk.depth == MAX_DEPTH {
        let begin: String = text.chars().take(80).collect();
        return walk.doubt(&begin, "a text in a text in a text, deeper than anybody looks");
    }
    let (values, evidence) = read(text);
    let evidence = if place.is_annotation() { Evidence::Annotation } else { evidence };
    walk.depth += 1;
    if values.is_empty() {
        lines(walk, text);
    } else {
        let was_inside = walk.inside.replace(evidence);
        walk.at_mark(" > ", |walk| {
            for value in &values {
                walk.embedded_value(value, place);
            }
        });
        walk.inside = was_inside;
    }
    walk.depth -= 1;
}

/// The maps and lists that the text is made of; none where it is something else.
fn read(text: &str) -> (Vec<Value>, Evidence) {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return (vec![value], Evidence::ConfigMapJson);
    }
    let values = documents::values(text).unwrap_or_default();
    let is_made = |value: &Value| value.is_object() || value.is_array();
    let values: Vec<Value> = values.into_iter().map(|(_, value, _)| value).collect();
    let is_whole = values.iter().all(|value| value.is_null() || is_made(value));
    (if is_whole { values } else { Vec::new() }, Evidence::ConfigMapYaml)
}

fn lines(walk: &mut Walk, text: &str) {
    let is_template = text.contains("{{");
    let is_properties = is_properties(text);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.starts_with(['#', '/']) {
            continue;
        }
        walk.at_mark(&format!(" line {number}"), |walk| match () {
            () if is_properties => property(walk, line),
            () if is_template => template_line(walk, line),
            () => walk.doubt_within(line),
        });
    }
}

/// Whether every line that says anything is `KEY=VALUE`.
fn is_properties(text: &str) -> bool {
    let is_key = |key: &str| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        !key.is_empty() && key.bytes().all(is_word)
    };
    let mut said = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';', '[']));
    said.all(|line| line.split_once('=').is_some_and(|(key, _)| is_key(key.trim())))
}

fn property(walk: &mut Walk, line: &str) {
    let Some((key, value)) = line.split_once('=') else { return };
    let value = value.trim().trim_matches(['"', '\'']);
    walk.property(names::says(key), value);
}

/// `image: X` in a template of YAML, which only its engine could read as YAML.
fn template_line(walk: &mut Walk, line: &str) {
    let Some((key, value)) = line.trim_start_matches("- ").split_once(':') else {
        return walk.doubt_within(line);
    };
    let value = value.trim().trim_matches(['"', '\'']);
    if names::says(key.trim()) != Says::Image {
        return walk.doubt_within(line);
    }
    match shape::reference(value) {
        Some((reference, shape)) if shape >= Shape::Named => {
            walk.found(value, reference, Evidence::ConfigMapYaml);
        }
        None if shape::is_variable(value) => walk.doubt(value, "a template makes the image"),
        _ => {}
    }
}
