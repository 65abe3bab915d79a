//! OpenShift templates: objects with `${PARAMETERS}`, which stand beside them with their values.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Most bytes that parameters add to one template: a few large ones in many places would fill the memory.
const MAX_FILLED_BYTES: usize = 64 << 20;

/// Whether `object` is a `Template` of objects.
pub(crate) fn is_template(object: &Map<String, Value>) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    text("kind") == Some("Template")
        && text("apiVersion")
            .is_some_and(|version| version == "v1" || version.starts_with("template.openshift.io/"))
        && object.get("objects").is_some_and(Value::is_array)
}

/// Puts the values that its parameters have by default into the template's objects. What has none stays as it is.
pub(crate) fn resolve(template: &Map<String, Value>) -> Map<String, Value> {
    let mut resolved = template.clone();
    let mut budget = Budget { parameters: parameters(template), left: MAX_FILLED_BYTES };
    if let Some(objects) = resolved.get_mut("objects") {
        replace(objects, &mut budget);
    }
    resolved
}

/// What is put in, and how many bytes may still be.
struct Budget<'a> {
    parameters: BTreeMap<&'a str, &'a str>,
    left: usize,
}

fn parameters(template: &Map<String, Value>) -> BTreeMap<&str, &str> {
    let parameters = template.get("parameters").and_then(Value::as_array);
    parameters
        .into_iter()
        .flatten()
        .filter_map(|parameter| {
            let name = parameter.get("name")?.as_str()?;
            let value = parameter.get("value")?.as_str()?;
            Some((name, value))
        })
        .collect()
}

fn replace(value: &mut Value, budget: &mut Budget<'_>) {
    match value {
        Value::String(text) if text.contains("${") => *text = filled(text, budget),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, budget)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, budget)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One pass: a value that itself holds `${…}` is not filled again.
fn filled(text: &str, budget: &mut Budget<'_>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let (before, from) = rest.split_at(begin);
        filled.push_str(before);
        let doubled = from.strip_prefix("${{").and_then(|name| name.split_once("}}"));
        let single = from.strip_prefix("${").and_then(|name| name.split_once('}'));
        let value = |(name, after)| Some((*budget.parameters.get(name)?, after));
        let hit =
            doubled.or(single).and_then(value).filter(|(value, _)| value.len() <= budget.left);
        budget.left -= hit.map_or(0, |(value, _)| value.len());
        let (value, after) = hit.unwrap_or(from.split_at(2));
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}
