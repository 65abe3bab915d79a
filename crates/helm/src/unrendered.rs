//! What a chart's values and templates say by themselves, where there is no Helm to render it, or a switch that it does
//! not take: likely, and not proven.

use airlift_scan::{Found, documents, scan, scan_text};
use airlift_spec::{Finding, Reference};
use serde_json::{Map, Value};

use crate::switch::{NAMES, Switch};
use crate::{Chart, ChartError};

/// Fields that hold the version of an image.
const VERSIONS: &[&str] = &["version", "tag", "digest", "sha", "imageTag"];

/// An image that the chart names, without proof that any object asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrendered {
    pub reference: Reference,
    /// As it is written, put together where it was split.
    pub written: String,
    /// The file of the chart, and the path or line in it: `values.yaml: driver.manager`.
    pub path: String,
    /// Switches that are off, and without which nothing asks for it.
    pub gate: Vec<Switch>,
    /// Nothing names its version, which is then the chart's `appVersion` by custom.
    pub is_versioned_by_chart: bool,
}

impl Unrendered {
    /// What is to be told of it where it is not carried for another reason.
    pub fn finding(&self, from: &str) -> Finding {
        let gates: Vec<String> = self.gate.iter().map(Switch::to_string).collect();
        let gate =
            if gates.is_empty() { String::new() } else { format!(", with {}", gates.join(", ")) };
        let message = format!("{} names it{gate}, and no render proves that", self.path);
        Finding::warning("unrendered-image", from, message).of(&self.reference)
    }
}

impl Chart {
    /// The images that the chart's files name, with `values` as its values. No template is run.
    pub fn unrendered(&self, values: &Value) -> Result<Vec<Unrendered>, ChartError> {
        let mut filled = values.clone();
        let mut by_chart = Vec::new();
        fill(self, &mut filled, &mut Vec::new(), &mut by_chart);
        let found = scan(&filled).images.into_iter();
        let mut all: Vec<Unrendered> =
            found.map(|found| in_values(self, found, values, &by_chart)).collect();
        self.in_files("", &mut all);
        Ok(all)
    }

    /// What stands in templates and CRDs whole.
    fn in_files(&self, above: &str, all: &mut Vec<Unrendered>) {
        for (path, bytes) in self.files() {
            let file = format!("{above}{path}");
            if path.starts_with("templates/") {
                let text = String::from_utf8_lossy(bytes);
                all.extend(scan_text(&file, &text).images.into_iter().map(whole));
            } else if path.starts_with("crds/") {
                let objects = documents(bytes).unwrap_or_default();
                let found = objects.iter().flat_map(|document| scan(&document.object).images);
                all.extend(found.map(|found| {
                    let path = format!("{file}: {}", found.path);
                    Unrendered { path, ..whole(found) }
                }));
            }
        }
        for subchart in &self.subcharts {
            subchart.in_files(&format!("{above}charts/{}/", subchart.metadata.name), all);
        }
    }
}

fn whole(found: Found) -> Unrendered {
    Unrendered {
        reference: found.reference,
        written: found.image,
        path: found.path,
        gate: Vec::new(),
        is_versioned_by_chart: false,
    }
}

fn in_values(chart: &Chart, found: Found, values: &Value, by_chart: &[Vec<String>]) -> Unrendered {
    let path = found.path.split_once(": ").map_or(found.path.as_str(), |(_, path)| path);
    let keys = keys(values, path);
    Unrendered {
        path: format!("values.yaml: {path}"),
        gate: gate(chart, values, &keys),
        is_versioned_by_chart: by_chart.iter().any(|filled| keys.starts_with(filled)),
        ..whole(found)
    }
}

/// Gives images without a version the chart's own, as their templates do by custom.
fn fill(chart: &Chart, values: &mut Value, path: &mut Vec<String>, filled: &mut Vec<Vec<String>>) {
    let version = chart.metadata.app_version.as_ref().unwrap_or(&chart.metadata.version);
    let Value::Object(map) = values else { return };
    if let Some(field) = lacks_version(map, path.last().map(String::as_str)) {
        map.insert(field.to_owned(), Value::from(version.as_str()));
        filled.push(path.clone());
    }
    for (key, below) in map {
        let subchart = chart.keyed_subcharts().find(|(name, _)| name == key);
        path.push(key.clone());
        fill(subchart.map_or(chart, |(_, subchart)| subchart), below, path, filled);
        path.pop();
    }
}

/// Where the version of an image would stand, if the map is an image and has none.
fn lacks_version(map: &Map<String, Value>, name: Option<&str>) -> Option<&'static str> {
    let has = |key: &str| map.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let is_versioned =
        VERSIONS.iter().any(|key| has(key) || map.get(*key).is_some_and(Value::is_number));
    if !has("repository") || is_versioned {
        return None;
    }
    if has("image") {
        return Some("version");
    }
    let is_named = name.is_some_and(|name| name.to_lowercase().contains("image"));
    let is_image =
        is_named || ["tag", "pullPolicy", "registry"].iter().any(|key| map.contains_key(*key));
    is_image.then_some("tag")
}

/// The keys of `a.b.c`, of which some may have dots themselves.
fn keys(values: &Value, path: &str) -> Vec<String> {
    let (mut value, mut rest, mut keys) = (values, path, Vec::new());
    while let Value::Object(map) = value {
        let begins = |key: &&String| {
            let after = rest.strip_prefix(key.as_str());
            after.is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
        };
        let Some(key) = map.keys().filter(begins).max_by_key(|key| key.len()) else { break };
        rest = rest[key.len()..].trim_start_matches('.');
        keys.push(key.clone());
        value = &map[key];
    }
    keys
}

/// The switches on the way to a value that are off.
fn gate(chart: &Chart, values: &Value, keys: &[String]) -> Vec<Switch> {
    let mut gate = conditions(chart, values, keys);
    let mut value = values;
    for (depth, key) in keys.iter().enumerate() {
        let Some(below) = value.get(key) else { break };
        let off = NAMES.iter().find(|name| below.get(**name) == Some(&Value::Bool(false)));
        gate.extend(off.map(|name| {
            let path = keys[..=depth].iter().cloned().chain([(*name).to_owned()]).collect();
            Switch { path, value: Value::Bool(true) }
        }));
        value = below;
    }
    gate.dedup();
    gate
}

/// The conditions of the subchart that the keys lead into, where they are off.
fn conditions(chart: &Chart, values: &Value, keys: &[String]) -> Vec<Switch> {
    let listed = chart.metadata.dependencies.iter();
    let Some(entry) =
        listed.into_iter().find(|entry| Some(entry.key()) == keys.first().map(String::as_str))
    else {
        return Vec::new();
    };
    let parts = |path: &String| path.split('.').map(str::to_owned).collect::<Vec<_>>();
    let present = entry.condition.iter().map(parts).find_map(|path| {
        let value = path.iter().try_fold(values, |value, key| value.get(key))?;
        Some((path, value))
    });
    match present {
        Some((path, Value::Bool(false))) => vec![Switch { path, value: Value::Bool(true) }],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let chart = Chart::open(folder.path()).unwrap();
        let found = chart.unrendered(&chart.all_values().unwrap()).unwrap();
        let describe = |image: &Unrendered| {
            let gates: Vec<_> = image.gate.iter().map(Switch::to_string).collect();
            let by_chart = if image.is_versioned_by_chart { " by the chart" } else { "" };
            format!("{} {} [{}]{by_chart}", image.reference, image.path, gates.join(", "))
        };
        found.iter().map(describe).collect()
    }

    const CHART: (&str, &str) = ("Chart.yaml", "name: app\nversion: 1.0.0\nappVersion: v7\n");

    #[test]
    fn an_image_without_a_version_has_that_of_its_chart() {
        let found = named(&[
            CHART,
            (
                "values.yaml",
                "operator: {repository: reg.io/o, image: op}\n\
                 image: {repository: reg.io/app, tag: ''}\n\
                 fixed: {repository: reg.io/o, image: x, version: '2'}\n\
                 git: {repository: 'https://h.test/r', branch: main}\n",
            ),
            ("charts/sub/Chart.yaml", "name: sub\nversion: 3.0.0\n"),
            ("charts/sub/values.yaml", "image: {repository: reg.io/sub, pullPolicy: Always}\n"),
        ]);
        assert_eq!(
            found,
            [
                "reg.io/o/x:2 values.yaml: fixed [] ",
                "reg.io/app:v7 values.yaml: image [] by the chart",
                "reg.io/o/op:v7 values.yaml: operator [] by the chart",
                "reg.io/sub:3.0.0 values.yaml: sub.image [] by the chart",
            ]
            .map(str::trim_end)
        );
    }

    #[test]
    fn what_is_switched_off_is_named_with_its_switches() {
        let listed = "name: app\nversion: 1.0.0\n\
                      dependencies: [{name: sub, version: 1, condition: 'parts.sub'}]\n";
        let found = named(&[
            ("Chart.yaml", listed),
            ("values.yaml", "parts: {sub: false}\na: {enabled: false, image: 'reg.io/a:1'}\n"),
            ("charts/sub/Chart.yaml", "name: sub\nversion: 1.0.0\n"),
            ("charts/sub/values.yaml", "b: {create: false, image: 'reg.io/b:1'}\n"),
        ]);
        assert_eq!(
            found,
            [
                "reg.io/a:1 values.yaml: a.image [a.enabled=true]",
                "reg.io/b:1 values.yaml: sub.b.image [parts.sub=true, sub.b.create=true]",
            ]
        );
    }

    #[test]
    fn what_templates_and_crds_name_whole_is_found_with_the_file() {
        let found = named(&[
            CHART,
            ("templates/x.yaml", "spec:\n  image: reg.io/t:1\n  name: {{ .Values.x }}\n"),
            ("templates/NOTES.txt", "see https://h.test/docs:1\n"),
            (
                "crds/c.yaml",
                "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: reg.io/c:1}]}\n",
            ),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("reg.io/c:1 crds/c.yaml: Pod p"), "{found:?}");
        assert!(found[1].starts_with("reg.io/t:1 templates/x.yaml"), "{found:?}");
    }
}
