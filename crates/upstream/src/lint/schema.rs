//! Objects against the definitions of their kinds, where the stack has those as well: beside them, or in the bundle of
//! an operator that it keeps.
//!
//! Rules in CEL, formats, and what combines schemas (`anyOf` and its like) are left to the cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use airlift_spec::Finding;
use serde_json::{Map, Value};

use super::{Configuration, Seen};

mod value;

/// Most fields of one object that are named.
const MAX_FIELDS: usize = 5;

/// The definition of a kind.
#[derive(Debug, Clone)]
struct Definition<'a> {
    /// Where it stands.
    place: String,
    object: &'a Value,
}

pub(super) fn lint(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let definitions = definitions(all);
    let mut named: BTreeMap<_, usize> = BTreeMap::new();
    for seen in all.objects {
        *named.entry(identity(seen)).or_default() += 1;
    }
    for seen in all.objects {
        let key = (seen.group(), seen.text("/kind"));
        let Some(definitions) = definitions.get(&key) else { continue };
        // A patch for another object has but some of the fields.
        let is_complete = named[&identity(seen)] == 1;
        // Of several, nothing says which the cluster will have; the last is the newest.
        let mut said = Vec::new();
        for definition in definitions {
            said = against(seen, definition, is_complete);
            if said.is_empty() {
                break;
            }
        }
        findings.extend(said);
    }
}

fn identity(seen: &Seen) -> (&str, &str, &str) {
    (seen.group(), seen.text("/kind"), seen.text("/metadata/name"))
}

/// By group and kind. Those that are applied with the objects count before those of operators.
fn definitions<'a>(all: &Configuration<'a>) -> BTreeMap<(&'a str, &'a str), Vec<Definition<'a>>> {
    let mut found: BTreeMap<_, Vec<Definition<'_>>> = BTreeMap::new();
    for seen in all.of("apiextensions.k8s.io", "CustomResourceDefinition") {
        let key = (seen.text("/spec/group"), seen.text("/spec/names/kind"));
        let definition = Definition { place: seen.place.clone(), object: &seen.object };
        found.entry(key).or_default().push(definition);
    }
    let mut of_bundles: BTreeMap<_, Vec<Definition<'_>>> = BTreeMap::new();
    for brought in all.brought {
        let Some(object) = &brought.definition else { continue };
        let place = format!("bundle {}", brought.bundle);
        let key = (brought.group.as_str(), brought.kind.as_str());
        of_bundles.entry(key).or_default().push(Definition { place, object });
    }
    of_bundles.append(&mut found);
    of_bundles
}

/// What a version of a definition says against an object.
#[derive(Debug, Default)]
struct Against {
    unknown: Vec<String>,
    refused: Vec<String>,
}

fn against(seen: &Seen, definition: &Definition<'_>, is_complete: bool) -> Vec<Finding> {
    let place = &definition.place;
    let Some((_, asked)) = seen.text("/apiVersion").split_once('/') else { return Vec::new() };
    let versions = definition.object.pointer("/spec/versions").and_then(Value::as_array);
    let served = versions.into_iter().flatten().filter(|it| it["served"] == true);
    let served: BTreeMap<&str, &Value> =
        served.filter_map(|it| Some((it["name"].as_str()?, it))).collect();
    if served.is_empty() {
        return Vec::new();
    }
    let Some(version) = served.get(asked) else {
        let names: Vec<&str> = served.into_keys().collect();
        let message = format!(
            "its kind is not served in version `{asked}`; {place} serves {}: write it for one of these",
            names.join(", ")
        );
        return vec![seen.said(Finding::warning("api-version-not-served", seen, message))];
    };
    let (Some(schema), Some(fields)) =
        (version.pointer("/schema/openAPIV3Schema"), seen.object.as_object())
    else {
        return Vec::new();
    };
    let mut found = Against::default();
    // These every object has, and definitions do not repeat.
    let is_own = |name: &str| !matches!(name, "apiVersion" | "kind" | "metadata" | "status");
    let own: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| is_own(name))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    value::check(&Value::Object(own), schema, "", is_complete, &mut found);
    let mut findings = Vec::new();
    if !found.unknown.is_empty() {
        let message = format!(
            "{place} knows no {} in version `{asked}`, and the cluster drops what is not known: it may be of another \
             release; correct it, or carry the definitions of that release",
            few(found.unknown)
        );
        findings.push(seen.said(Finding::warning("field-unknown", seen, message)));
    }
    if !found.refused.is_empty() {
        let message = format!(
            "{place} refuses it in version `{asked}`: {}; write what it takes",
            few(found.refused)
        );
        findings.push(seen.said(Finding::warning("value-refused", seen, message)));
    }
    findings
}

fn few(mut all: Vec<String>) -> String {
    let rest = all.len().saturating_sub(MAX_FIELDS);
    all.truncate(MAX_FIELDS);
    let mut text = all.join(", ");
    if rest > 0 {
        write!(text, " and {rest} more").expect("a text takes everything");
    }
    text
}
