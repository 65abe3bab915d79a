//! Which values may switch something: booleans, choices that a schema or a comment lists, and flags that templates
//! ask for although no values file has them.

use serde_json::Value;

use super::{NAMES, Switch, comments};
use crate::{Chart, ChartError};

/// How many choices of one value are tried.
const MAX_CHOICES: usize = 8;

/// How deep values are searched.
const MAX_DEPTH: usize = 32;

/// All switches of `chart`, each with the value that `values`, the present ones, do not have. Those whose names say
/// that they switch something come first.
pub(super) fn candidates(chart: &Chart, values: &Value) -> Result<Vec<Switch>, ChartError> {
    let mut found = Vec::new();
    flags(values, &mut Vec::new(), &mut found);
    of_chart(chart, &mut Vec::new(), values, &mut found)?;
    let mut all: Vec<Switch> = Vec::new();
    for switch in found {
        if !all.contains(&switch) {
            all.push(switch);
        }
    }
    all.sort_by_key(|switch| (rank(switch), switch.to_string()));
    Ok(all)
}

fn rank(switch: &Switch) -> u8 {
    let says_so = switch.path.last().is_some_and(|name| NAMES.contains(&name.as_str()));
    match (says_so, &switch.value) {
        (true, _) => 0,
        (false, Value::Bool(_)) => 1,
        (false, _) => 2,
    }
}

/// Booleans, the words for them, and flags that are left open.
fn flags(value: &Value, path: &mut Vec<String>, found: &mut Vec<Switch>) {
    let other = match value {
        Value::Bool(flag) => Some(Value::Bool(!flag)),
        Value::String(text) if text == "true" => Some(Value::from("false")),
        Value::String(text) if text == "false" => Some(Value::from("true")),
        Value::Null if path.last().is_some_and(|name| NAMES.contains(&name.as_str())) => {
            Some(Value::Bool(true))
        }
        _ => None,
    };
    found.extend(other.map(|value| Switch { path: path.clone(), value }));
    if let Value::Object(map) = value
        && path.len() < MAX_DEPTH
    {
        for (key, below) in map {
            path.push(key.clone());
            flags(below, path, found);
            path.pop();
        }
    }
}

/// What the files of a chart and of its subcharts say beyond the values.
fn of_chart(
    chart: &Chart,
    path: &mut Vec<String>,
    values: &Value,
    found: &mut Vec<Switch>,
) -> Result<(), ChartError> {
    asked_for(chart, path, values, found);
    if let Some(text) = chart.file("values.yaml") {
        for (below, choices) in comments::choices(&String::from_utf8_lossy(text)) {
            choose(&joined(path, &below), &choices, values, found);
        }
    }
    if let Some(schema) = chart.schema()? {
        listed(&schema, path, values, found);
    }
    for (key, subchart) in chart.keyed_subcharts() {
        path.push(key.to_owned());
        of_chart(subchart, path, values, found)?;
        path.pop();
    }
    Ok(())
}

/// Flags in templates, like `.Values.a.enabled`, that the values do not have.
fn asked_for(chart: &Chart, path: &[String], values: &Value, found: &mut Vec<Switch>) {
    let templates = chart.files().filter(|(name, _)| name.starts_with("templates/"));
    for (_, text) in templates {
        let text = String::from_utf8_lossy(text);
        for part in text.split(".Values.").skip(1) {
            // `(.Values.a).enabled` is how templates ask where `a` itself may be absent.
            let is_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ')');
            let end = part.find(|c| !is_key(c)).unwrap_or(part.len());
            let keys = part[..end].split('.').map(|key| key.trim_matches(')').to_owned());
            let keys: Vec<String> = keys.collect();
            let says_so = keys.last().is_some_and(|name| NAMES.contains(&name.as_str()));
            // All charts share what is global.
            let path = if keys[0] == "global" { keys } else { joined(path, &keys) };
            if says_so && at(values, &path).is_none() && can_have(values, &path) {
                found.push(Switch { path, value: Value::Bool(true) });
            }
        }
    }
}

/// What a schema lists: the values of an `enum`, and booleans that the values do not have.
fn listed(schema: &Value, path: &mut Vec<String>, values: &Value, found: &mut Vec<Switch>) {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        choose(path, choices, values, found);
    }
    let is_flag = schema.get("type").is_some_and(|kind| kind == "boolean");
    if is_flag && at(values, path).is_none() && can_have(values, path) {
        found.push(Switch { path: path.clone(), value: Value::Bool(true) });
    }
    let below = schema.get("properties").and_then(Value::as_object);
    if path.len() < MAX_DEPTH {
        for (key, schema) in below.into_iter().flatten() {
            path.push(key.clone());
            listed(schema, path, values, found);
            path.pop();
        }
    }
}

/// The choices that a value has beside the present one.
fn choose(path: &[String], choices: &[Value], values: &Value, found: &mut Vec<Switch>) {
    let present = at(values, path);
    let is_other =
        |choice: &&Value| Some(*choice) != present && (choice.is_string() || choice.is_boolean());
    let others = choices.iter().filter(is_other).take(MAX_CHOICES);
    let is_plain = !matches!(present, Some(Value::Object(_) | Value::Array(_)));
    if !path.is_empty() && is_plain && can_have(values, path) {
        found.extend(others.map(|value| Switch { path: path.to_vec(), value: value.clone() }));
    }
}

fn at<'a>(values: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(values, |value, key| value.get(key))
}

/// Whether all on the way to it are mappings: a text or a list there would be replaced.
fn can_have(values: &Value, path: &[String]) -> bool {
    let mut value = values;
    for key in &path[..path.len().saturating_sub(1)] {
        match value.get(key) {
            Some(below @ Value::Object(_)) => value = below,
            Some(Value::Null) | None => return true,
            Some(_) => return false,
        }
    }
    true
}

fn joined(path: &[String], below: &[String]) -> Vec<String> {
    path.iter().chain(below).cloned().collect()
}
