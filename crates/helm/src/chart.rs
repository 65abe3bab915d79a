//! A chart: read from a folder or a package, packed, and in its OCI form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{ChartError, yaml};

mod archive;
mod folder;
mod ignore;
mod oci;

pub use oci::{OciChart, media_type};

/// More than any chart has, and what Helm itself unpacks at most.
const MAX_BYTES: u64 = 100 << 20;
const MAX_FILES: usize = 20_000;

/// How deep charts lie within each other.
pub const MAX_CHART_DEPTH: usize = 8;

/// What lies in a chart, by its path with `/`, without the folder that a package begins with.
type Files = BTreeMap<String, Arc<[u8]>>;

/// A chart, whole in memory.
#[derive(Debug, Clone)]
pub struct Chart {
    pub metadata: Metadata,
    /// The charts in `charts/`, by the names they have of themselves.
    pub subcharts: Vec<Chart>,
    /// Where it was read from, for messages: `x.tgz`, `x.tgz: charts/y`.
    place: String,
    files: Files,
    /// The very bytes of the package that it was read from.
    package: Option<Arc<[u8]>>,
}

/// What `Chart.yaml` says, as far as airlift acts on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    pub name: String,
    pub version: String,
    pub app_version: Option<String>,
    /// `application` where nothing is said; `library` charts render nothing.
    pub kind: String,
    /// The versions of Kubernetes that it wants.
    pub kube_version: Option<String>,
    pub dependencies: Vec<Dependency>,
    pub annotations: BTreeMap<String, String>,
    /// All that the file says, unknown fields included.
    pub all: Map<String, Value>,
}

/// One of a chart's `dependencies:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    /// A version or a range.
    pub version: String,
    /// `https://…`, `oci://…`, `file://…`, `@alias`, or nothing where it lies in `charts/`.
    pub repository: String,
    /// Paths in the values; the first that is there switches it.
    pub condition: Vec<String>,
    pub tags: Vec<String>,
    pub alias: Option<String>,
}

impl Dependency {
    /// The key under which its values stand.
    pub fn key(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }
}

impl Chart {
    /// Reads a folder, or a `.tgz`.
    ///
    /// # Errors
    ///
    /// What is no chart, has links or names that lead out of it, or unpacks to more than a chart can be.
    pub fn open(path: &Path) -> Result<Self, ChartError> {
        let chart = path.display().to_string();
        let read = |source| ChartError::Read { chart: chart.clone(), source };
        if fs_err::metadata(path).map_err(read)?.is_dir() {
            return Self::of(folder::read(path)?, chart, 0);
        }
        Self::from_package(archive::load(path)?, chart)
    }

    /// Reads a package that is in memory. `place` is for messages.
    pub fn from_package(package: Vec<u8>, place: String) -> Result<Self, ChartError> {
        let files = archive::unpack(&package, &place, &mut archive::Budget::default())?;
        let chart = Self::of(files, place, 0)?;
        Ok(Self { package: Some(package.into()), ..chart })
    }

    fn of(files: Files, place: String, depth: usize) -> Result<Self, ChartError> {
        if depth > MAX_CHART_DEPTH {
            let problem = format!("charts lie more than {MAX_CHART_DEPTH} deep in each other");
            return Err(ChartError::Refused { chart: place, problem });
        }
        let metadata = metadata(&files, &place)?;
        let mut budget = archive::Budget::default();
        let mut subcharts = Vec::new();
        for (name, files) in within(&files, &place, &mut budget)? {
            subcharts.push(Self::of(files, format!("{place}: charts/{name}"), depth + 1)?);
        }
        Ok(Self { metadata, subcharts, place, files, package: None })
    }

    /// Where it was read from, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The content of a file, by its path in the chart.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(AsRef::as_ref)
    }

    /// All files with their paths, those of subcharts included, in order.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_ref()))
    }

    /// The files in `crds/`, which are installed as they are.
    pub fn crds(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files().filter(|(path, _)| path.starts_with("crds/"))
    }

    /// What its own `values.yaml` says.
    pub fn values(&self) -> Result<Value, ChartError> {
        let file = format!("{}: values.yaml", self.place);
        yaml::values(self.file("values.yaml").unwrap_or_default(), &file)
    }

    /// What its `values.schema.json` says, if it has one.
    pub(crate) fn schema(&self) -> Result<Option<Value>, ChartError> {
        let Some(text) = self.file("values.schema.json") else { return Ok(None) };
        serde_json::from_slice(text).map(Some).map_err(|err| ChartError::Yaml {
            file: format!("{}: values.schema.json", self.place),
            problem: err.to_string(),
        })
    }

    /// The values with those of its subcharts beneath them, each under its key, as Helm joins them.
    pub fn all_values(&self) -> Result<Value, ChartError> {
        let mut all = Value::Object(Map::new());
        for (key, subchart) in self.keyed_subcharts() {
            all[key] = subchart.all_values()?;
        }
        overlay(&mut all, self.values()?);
        Ok(all)
    }

    /// All values with these files over them, the later over the earlier.
    pub fn values_with(&self, files: &[PathBuf]) -> Result<Value, ChartError> {
        let mut all = self.all_values()?;
        for path in files {
            let file = path.display().to_string();
            let read = |source| ChartError::Values { file: file.clone(), source };
            overlay(&mut all, yaml::values(&fs_err::read(path).map_err(read)?, &file)?);
        }
        Ok(all)
    }

    /// The subcharts with the keys of their values; one that is listed by several aliases is there for each.
    pub fn keyed_subcharts(&self) -> impl Iterator<Item = (&str, &Chart)> {
        self.subcharts.iter().flat_map(|chart| {
            let name = chart.metadata.name.as_str();
            let listed = self.metadata.dependencies.iter();
            let mut keys: Vec<&str> =
                listed.filter(|entry| entry.name == name).map(Dependency::key).collect();
            if keys.is_empty() {
                keys.push(name);
            }
            keys.into_iter().map(move |key| (key, chart))
        })
    }

    /// The dependencies that `charts/` does not have: Helm refuses such a chart until they are put there.
    pub fn missing_dependencies(&self) -> Vec<&Dependency> {
        let is_here = |wanted: &Dependency| {
            self.subcharts.iter().any(|chart| chart.metadata.name == wanted.name)
        };
        self.metadata.dependencies.iter().filter(|wanted| !is_here(wanted)).collect()
    }

    /// The chart with the package of a dependency put into `charts/`.
    pub fn with_dependency(self, package: Vec<u8>) -> Result<Self, ChartError> {
        let place = format!("{}: a dependency", self.place);
        let Metadata { name, version, .. } = Self::from_package(package.clone(), place)?.metadata;
        let mut files = self.files;
        files.insert(format!("charts/{name}-{version}.tgz"), package.into());
        Self::of(files, self.place, 0)
    }

    /// The package as it is carried: the very bytes it came in, or the folder packed, always to the same bytes.
    pub fn package(&self) -> Arc<[u8]> {
        match &self.package {
            Some(package) => Arc::clone(package),
            None => self.packed().into(),
        }
    }

    /// The files, packed anew.
    pub(crate) fn packed(&self) -> Vec<u8> {
        archive::pack(&self.metadata.name, &self.files)
    }

    /// `NAME-VERSION.tgz`, as Helm calls a package.
    pub fn file_name(&self) -> String {
        format!("{}-{}.tgz", self.metadata.name, self.metadata.version)
    }
}

/// Lays `over` on `base`: mappings are joined, null takes away, anything else replaces.
fn overlay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(_) if value.is_null() => drop(base.remove(&key)),
                    Some(below) => overlay(below, value),
                    None => drop(base.insert(key, value)),
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// The subcharts' files: of each folder in `charts/` that has a `Chart.yaml`, and each package there.
fn within(
    files: &Files,
    place: &str,
    budget: &mut archive::Budget,
) -> Result<BTreeMap<String, Files>, ChartError> {
    let mut found: BTreeMap<String, Files> = BTreeMap::new();
    for (path, bytes) in files {
        let Some(inner) = path.strip_prefix("charts/") else { continue };
        match inner.split_once('/') {
            // Helm passes these by as well.
            _ if inner.starts_with(['_', '.']) => {}
            Some((name, rest)) => {
                found
                    .entry(name.to_owned())
                    .or_default()
                    .insert(rest.to_owned(), Arc::clone(bytes));
            }
            None if Path::new(inner).extension() == Some("tgz".as_ref()) => {
                let files = archive::unpack(bytes, &format!("{place}: {path}"), budget)?;
                found.insert(inner.to_owned(), files);
            }
            None => {}
        }
    }
    found.retain(|_, files| files.contains_key("Chart.yaml"));
    Ok(found)
}

fn metadata(files: &Files, place: &str) -> Result<Metadata, ChartError> {
    let wrong = |problem: String, help: &str| ChartError::NotAChart {
        chart: place.to_owned(),
        problem,
        help: Some(help.to_owned()),
    };
    let text = files.get("Chart.yaml").ok_or_else(|| {
        wrong("it has no `Chart.yaml`".to_owned(), "name the folder or the .tgz of a Helm chart")
    })?;
    let all: Map<String, Value> = yaml::read(text, &format!("{place}: Chart.yaml"))?;
    let field = |name: &str| all.get(name).and_then(yaml::text).filter(|text| !text.is_empty());
    let needed = |name: &str| {
        let missing = || wrong(format!("its `Chart.yaml` has no `{name}`"), "add it there");
        field(name).ok_or_else(missing)
    };
    let (name, version) = (needed("name")?, needed("version")?);
    if !is_name(&name) {
        let help = "a chart's name has letters, digits, `-`, `_` and `.`";
        return Err(wrong(format!("`{name}` is no name of a chart"), help));
    }
    if crate::version::parse(&version).is_none() {
        let help = "write it like 1.2.3 in its `Chart.yaml`";
        return Err(wrong(format!("its version `{version}` is no semantic version"), help));
    }
    Ok(Metadata {
        name,
        version,
        app_version: field("appVersion"),
        kind: field("type").unwrap_or_else(|| "application".to_owned()),
        kube_version: field("kubeVersion"),
        dependencies: dependencies(&all, files, place)?,
        annotations: texts(all.get("annotations")),
        all,
    })
}

/// What `Chart.yaml` lists or, in charts of Helm 2, `requirements.yaml`.
fn dependencies(
    all: &Map<String, Value>,
    files: &Files,
    place: &str,
) -> Result<Vec<Dependency>, ChartError> {
    let mut listed = all.get("dependencies").cloned();
    if let (None, Some(text)) = (&listed, files.get("requirements.yaml")) {
        let file: Value = yaml::read(text, &format!("{place}: requirements.yaml"))?;
        listed = file.get("dependencies").cloned();
    }
    let entries = listed.as_ref().and_then(Value::as_array);
    Ok(entries.into_iter().flatten().filter_map(dependency).collect())
}

fn dependency(entry: &Value) -> Option<Dependency> {
    let field = |name: &str| entry.get(name).and_then(yaml::text);
    let conditions = field("condition").unwrap_or_default();
    let tags = entry.get("tags").and_then(Value::as_array);
    Some(Dependency {
        name: field("name")?,
        version: field("version").unwrap_or_default(),
        repository: field("repository").unwrap_or_default(),
        condition: conditions
            .split(',')
            .map(|path| path.trim().to_owned())
            .filter(|path| !path.is_empty())
            .collect(),
        tags: tags.into_iter().flatten().filter_map(yaml::text).collect(),
        alias: field("alias").filter(|alias| !alias.is_empty()),
    })
}

fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), yaml::text(value)?))).collect()
}

/// A name becomes a folder and a part of a repository.
fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= 250 && name.bytes().all(is_word) && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests;
