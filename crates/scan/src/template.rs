//! OpenShift templates: objects with `${PARAMETERS}`, which stand beside them with their values.

use std::collections::BTreeMap;

use serde_json::Value;

/// Whether `object` is a `Template` of objects.
pub(crate) fn is_template(object: &Value) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    text("kind") == Some("Template")
        && text("apiVersion")
            .is_some_and(|version| version == "v1" || version.starts_with("template.openshift.io/"))
        && object.get("objects").is_some_and(Value::is_array)
}

/// Puts the values that its parameters have by default into the template's objects. What has none stays as it is.
pub(crate) fn resolve(template: &Value) -> Value {
    let mut resolved = template.clone();
    let parameters = parameters(template);
    if let Some(objects) = resolved.get_mut("objects") {
        replace(objects, &parameters);
    }
    resolved
}

fn parameters(template: &Value) -> BTreeMap<&str, &str> {
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

fn replace(value: &mut Value, parameters: &BTreeMap<&str, &str>) {
    match value {
        Value::String(text) if text.contains("${") => *text = filled(text, parameters),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, parameters)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, parameters)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One pass: a value that itself holds `${…}` is not filled again, so nothing can grow without end.
fn filled(text: &str, parameters: &BTreeMap<&str, &str>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let (before, from) = rest.split_at(begin);
        filled.push_str(before);
        let doubled = from.strip_prefix("${{").and_then(|name| name.split_once("}}"));
        let single = from.strip_prefix("${").and_then(|name| name.split_once('}'));
        let hit =
            doubled.or(single).and_then(|(name, after)| Some((*parameters.get(name)?, after)));
        let (value, after) = hit.unwrap_or(from.split_at(2));
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}
