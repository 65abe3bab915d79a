//! Objects against the definitions of their kinds, where the stack has those as well.

use std::collections::BTreeMap;

use airlift_spec::Finding;
use serde_json::{Map, Value};

use super::{Configuration, Seen};

/// Most fields of one object that are named.
const MAX_FIELDS: usize = 5;

pub(super) fn lint(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let definitions: Vec<&Seen> =
        all.of("apiextensions.k8s.io", "CustomResourceDefinition").collect();
    let mut by_kind: BTreeMap<(&str, &str), Vec<&Seen>> = BTreeMap::new();
    for definition in definitions {
        let key = (definition.text("/spec/group"), definition.text("/spec/names/kind"));
        by_kind.entry(key).or_default().push(definition);
    }
    for seen in all.objects {
        // Of two definitions of one kind, nothing says which is applied last.
        if let Some([definition]) =
            by_kind.get(&(seen.group(), seen.text("/kind"))).map(Vec::as_slice)
        {
            findings.extend(against(seen, definition));
        }
    }
}

fn against(seen: &Seen, definition: &Seen) -> Option<Finding> {
    let asked = seen.text("/apiVersion").split_once('/')?.1;
    let versions = definition.object.pointer("/spec/versions")?.as_array()?;
    let served = versions.iter().filter(|it| it["served"] == true);
    let served: BTreeMap<&str, &Value> =
        served.filter_map(|it| Some((it["name"].as_str()?, it))).collect();
    let Some(version) = served.get(asked) else {
        let names: Vec<&str> = served.into_keys().collect();
        let message = format!(
            "its kind is not served in version `{asked}`; {} serves {}: write it for one of these",
            definition.place,
            names.join(", ")
        );
        return Some(Finding::warning("api-version-not-served", seen, message).of(&seen.source));
    };
    let mut unknown = Vec::new();
    let schema = version.pointer("/schema/openAPIV3Schema")?;
    for (name, value) in seen.object.as_object()? {
        // These every object has, and definitions do not repeat.
        if !matches!(&**name, "apiVersion" | "kind" | "metadata" | "status") {
            field(name, value, schema, name, &mut unknown);
        }
    }
    if unknown.is_empty() {
        return None;
    }
    let rest = unknown.len().saturating_sub(MAX_FIELDS);
    unknown.truncate(MAX_FIELDS);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let message = format!(
        "{} knows no {}{more} in version `{asked}`, and the cluster drops what is not known: it may be of another \
         release; correct it, or carry the definitions of that release",
        definition.place,
        unknown.join(", ")
    );
    Some(Finding::warning("field-unknown", seen, message).of(&seen.source))
}

/// Looks for fields that a schema does not know.
fn unknown(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                field(name, value, schema, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                unknown(item, &schema["items"], &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn field(name: &str, value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    let known = schema["properties"].as_object();
    if let Some(schema) = known.and_then(|known| known.get(name)) {
        unknown(value, schema, path, found);
    } else if known.is_some_and(|known| is_closed(schema, known)) {
        found.push(format!("`{path}`"));
    }
}

/// Whether a cluster drops what the schema does not name.
fn is_closed(schema: &Value, known: &Map<String, Value>) -> bool {
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema["x-kubernetes-embedded-resource"] == true
        || !matches!(schema["additionalProperties"], Value::Null | Value::Bool(false));
    !known.is_empty() && !is_open
}
