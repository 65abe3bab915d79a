//! A value against a structural schema.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value};

use super::Against;

/// Largest program that a pattern may become. Those of the definitions known to us need a hundredth of it.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Most characters of a value that are repeated.
const MAX_SHOWN: usize = 60;

/// Notes what `schema` does not know of `value`, and what it refuses. What is missing counts where the value
/// `is_complete`.
pub(super) fn check(
    value: &Value,
    schema: &Value,
    path: &str,
    is_complete: bool,
    found: &mut Against,
) {
    // The cluster takes a null away before it looks.
    if value.is_null() || is_filled_later(value) {
        return;
    }
    if let Some(problem) = refused(value, schema) {
        found.refused.push(format!("`{path}` {problem}"));
        return;
    }
    match value {
        Value::Object(fields) => {
            if is_complete {
                missing(fields, schema, path, found);
            }
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                field(name, value, schema, &path, is_complete, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check(item, &schema["items"], &format!("{path}[{index}]"), is_complete, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether somebody puts the value in before it is applied: `${DOMAIN}`.
fn is_filled_later(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.contains("${") || text.contains("$(") || text.contains("{{")
}

fn field(
    name: &str,
    value: &Value,
    schema: &Value,
    path: &str,
    is_complete: bool,
    found: &mut Against,
) {
    let known = schema["properties"].as_object();
    if let Some(schema) = known.and_then(|known| known.get(name)) {
        check(value, schema, path, is_complete, found);
    } else if schema["additionalProperties"].is_object() {
        check(value, &schema["additionalProperties"], path, is_complete, found);
    } else if known.is_some_and(|known| is_closed(schema, known)) {
        found.unknown.push(format!("`{path}`"));
    }
}

/// Whether a cluster drops what the schema does not name.
fn is_closed(schema: &Value, known: &Map<String, Value>) -> bool {
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema["x-kubernetes-embedded-resource"] == true
        || schema["additionalProperties"] == true;
    !known.is_empty() && !is_open
}

/// Fields that must be there and for which there is no default.
fn missing(fields: &Map<String, Value>, schema: &Value, path: &str, found: &mut Against) {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        let is_there = fields.contains_key(name);
        let has_default = !schema["properties"][name]["default"].is_null();
        // Every object has these, and they were left out of what is looked at.
        let is_own =
            path.is_empty() && matches!(name, "apiVersion" | "kind" | "metadata" | "status");
        if !is_there && !has_default && !is_own {
            let dot = if path.is_empty() { "" } else { "." };
            found.refused.push(format!("`{path}{dot}{name}` is missing"));
        }
    }
}

/// What is wrong with a value by itself.
fn refused(value: &Value, schema: &Value) -> Option<String> {
    if let Some(kind) = wrong_kind(value, schema) {
        return Some(format!("is {}, and not of type {kind}", shown(value)));
    }
    if let Some(values) = schema["enum"].as_array().filter(|it| !it.contains(value)) {
        let values: Vec<String> = values.iter().map(shown).collect();
        return Some(format!("is {}, and not one of {}", shown(value), values.join(", ")));
    }
    match value {
        Value::String(text) => text_refused(text, schema),
        Value::Number(number) => number_refused(number, schema),
        Value::Array(items) => length_refused(items.len(), schema, "Items", "items"),
        Value::Object(fields) => length_refused(fields.len(), schema, "Properties", "fields"),
        Value::Null | Value::Bool(_) => None,
    }
}

/// The type that the value should have.
fn wrong_kind<'a>(value: &Value, schema: &'a Value) -> Option<&'a str> {
    if schema["x-kubernetes-int-or-string"] == true {
        let is_either = value.is_string() || is_whole(value);
        return (!is_either).then_some("integer or string");
    }
    let kind = schema["type"].as_str()?;
    let is_it = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_whole(value),
        "number" => value.is_number(),
        _ => true,
    };
    (!is_it).then_some(kind)
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0)
}

fn text_refused(text: &str, schema: &Value) -> Option<String> {
    let length = length_refused(text.chars().count(), schema, "Length", "characters");
    length.or_else(|| {
        let pattern = schema["pattern"].as_str()?;
        // Byte by byte, as the cluster's own do with ASCII; what is no pattern here is left to the cluster.
        let matches = !text.is_ascii() || compiled(pattern)?.is_match(text.as_bytes());
        (!matches).then(|| format!("is `{}`, which does not match `{pattern}`", cut(text)))
    })
}

fn compiled(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).unicode(false).size_limit(MAX_PATTERN_BYTES).build().ok()
}

fn number_refused(number: &Number, schema: &Value) -> Option<String> {
    let value = number.as_f64()?;
    let bound = |name: &str| schema[name].as_f64();
    let is_open = |name: &str| schema[name] == true;
    if let Some(least) = bound("minimum")
        && (value < least || (is_open("exclusiveMinimum") && value <= least))
    {
        return Some(format!("is {number}, below {least}"));
    }
    let most = bound("maximum")?;
    let is_above = value > most || (is_open("exclusiveMaximum") && value >= most);
    is_above.then(|| format!("is {number}, above {most}"))
}

/// How many there are of something whose bounds are `min…` and `max…`.
fn length_refused(length: usize, schema: &Value, what: &str, unit: &str) -> Option<String> {
    let length = length as u64;
    let bound = |end: &str| schema[format!("{end}{what}")].as_u64();
    if let Some(least) = bound("min").filter(|least| length < *least) {
        return Some(format!("has {length} {unit}, fewer than {least}"));
    }
    let most = bound("max").filter(|most| length > *most)?;
    Some(format!("has {length} {unit}, more than {most}"))
}

fn shown(value: &Value) -> String {
    format!("`{}`", cut(&value.to_string()))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
