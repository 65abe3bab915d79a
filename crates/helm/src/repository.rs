//! `index.yaml`, the list of a classic chart repository.

use std::fmt;
use std::fmt::Write as _;

use airlift_spec::{Algorithm, Digest};
use semver::Version;
use serde_json::{Map, Value};

use crate::{Chart, ChartError, Constraint, version, yaml};

/// How many near misses an error names.
const MAX_SIMILAR: usize = 5;

/// What an index says about one chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    name: String,
    /// Where the index is, for messages.
    index: String,
    /// The newest version first.
    pub entries: Vec<Entry>,
    /// Entries without a name, a version or an address: Helm passes them by as well.
    pub ignored: Vec<String>,
}

/// One version of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub version: String,
    pub app_version: Option<String>,
    pub kube_version: Option<String>,
    /// As they are written; see [`Entry::addresses`].
    pub urls: Vec<String>,
    /// The SHA-256 of the package, where the index has one.
    pub digest: Option<Digest>,
    pub is_deprecated: bool,
    parsed: Version,
}

/// Which version of a chart is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The newest that is no prerelease.
    Latest,
    /// The newest, prereleases included.
    LatestWithPrereleases,
    /// A version as it is written in the index, or a range of which the newest is taken.
    Version(String),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("no prerelease"),
            Self::LatestWithPrereleases => f.write_str("a semantic version"),
            Self::Version(text) => write!(f, "`{text}`"),
        }
    }
}

impl Listing {
    /// What the index `text` says about the chart `name`. `index` is its address, for messages.
    ///
    /// Of a large index only the lines about that chart are parsed, where they can be told apart.
    pub fn read(text: &[u8], index: &str, name: &str) -> Result<Self, ChartError> {
        let whole = String::from_utf8_lossy(text);
        let cut = section(&whole, name).and_then(|lines| yaml::read(lines.as_bytes(), index).ok());
        let charts: Map<String, Value> = match cut {
            Some(charts) => charts,
            None => entries(text, index)?,
        };
        let Some(listed) = charts.get(name) else {
            let names: Vec<String> = charts.keys().cloned().collect();
            let similar = similar(name, &names);
            let (index, name) = (index.to_owned(), name.to_owned());
            return Err(ChartError::NoChart { index, name, similar });
        };
        Ok(Self::of(listed, index, name))
    }

    /// What the index `text` says about each of its charts.
    pub fn all(text: &[u8], index: &str) -> Result<Vec<Self>, ChartError> {
        let charts = entries(text, index)?;
        Ok(charts.iter().map(|(name, listed)| Self::of(listed, index, name)).collect())
    }

    /// The chart's name, as it is written in the index.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn of(listed: &Value, index: &str, name: &str) -> Self {
        let (mut found, mut ignored) = (Vec::new(), Vec::new());
        for value in listed.as_array().into_iter().flatten() {
            match entry(value) {
                Some(entry) => found.push(entry),
                None => ignored.push(described(value)),
            }
        }
        found.sort_by(|a: &Entry, b| b.parsed.cmp(&a.parsed));
        Self { name: name.to_owned(), index: index.to_owned(), entries: found, ignored }
    }

    /// The version that Helm would choose.
    pub fn choose(&self, wanted: &Wanted) -> Result<&Entry, ChartError> {
        let constraint = match wanted {
            Wanted::Latest => "*".parse()?,
            Wanted::LatestWithPrereleases => Constraint::any_version(),
            Wanted::Version(text) => {
                // Written the same is the same, even where a range would mean something else.
                if let Some(entry) = self.entries.iter().find(|entry| entry.version == *text) {
                    return Ok(entry);
                }
                text.parse()?
            }
        };
        let chosen = self.entries.iter().find(|entry| constraint.takes(&entry.parsed));
        chosen.ok_or_else(|| {
            let versions: Vec<String> =
                self.entries.iter().map(|entry| entry.version.clone()).collect();
            let similar = match wanted {
                Wanted::Version(text) => similar(text, &versions),
                Wanted::Latest | Wanted::LatestWithPrereleases => {
                    versions.into_iter().take(MAX_SIMILAR).collect()
                }
            };
            ChartError::NoVersion {
                index: self.index.clone(),
                name: self.name.clone(),
                wanted: wanted.to_string(),
                similar,
            }
        })
    }
}

impl Entry {
    /// Where the package is, in the order to try. `repository` is the address of the index without `index.yaml`.
    pub fn addresses(&self, repository: &str) -> Vec<String> {
        self.urls.iter().map(|url| absolute(repository, url)).collect()
    }
}

/// A relative address stands beside the index, and one with a leading `/` at the root of its host.
fn absolute(repository: &str, url: &str) -> String {
    if url.contains("://") {
        return url.to_owned();
    }
    // A token in the query of the index is wanted for its charts, too.
    let (base, query) = repository.split_once('?').unwrap_or((repository, ""));
    let base = base.trim_end_matches('/');
    let host = base.find("://").map_or(0, |at| at + 3);
    let root = base[host..].find('/').map_or(base, |end| &base[..host + end]);
    let joined = match url.strip_prefix('/') {
        Some(path) => format!("{root}/{path}"),
        None => format!("{base}/{}", url.trim_start_matches("./")),
    };
    if query.is_empty() || joined.contains('?') { joined } else { format!("{joined}?{query}") }
}

/// A package as an index is to list it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What its `Chart.yaml` says.
    pub metadata: Map<String, Value>,
    /// The digest of the package, where it is known.
    pub digest: Option<Digest>,
    /// The address at which the package is.
    pub url: String,
}

impl Listed {
    pub fn of(chart: &Chart, url: String) -> Self {
        let digest = Some(Digest::of(&chart.package()));
        Self { metadata: chart.metadata.all.clone(), digest, url }
    }

    fn text(&self, name: &str) -> String {
        self.metadata.get(name).and_then(yaml::text).unwrap_or_default()
    }

    fn entry(&self) -> Value {
        let mut entry = self.metadata.clone();
        // Helm reads these as texts, whatever they look like.
        for name in ["version", "appVersion", "kubeVersion", "apiVersion", "name"] {
            if let Some(text) = entry.get(name).and_then(yaml::text) {
                entry.insert(name.to_owned(), Value::String(text));
            }
        }
        entry.remove("digest");
        if let Some(digest) = self.digest.filter(|it| it.algorithm() == Algorithm::Sha256) {
            entry.insert("digest".to_owned(), Value::from(digest.hex()));
        }
        entry.insert("urls".to_owned(), Value::from(vec![self.url.as_str()]));
        Value::Object(entry)
    }
}

/// An `index.yaml` of the carried charts: the same charts give the same bytes.
pub fn index(charts: &[Listed]) -> String {
    let version = |chart: &Listed| version::parse(&chart.text("version"));
    let mut all: Vec<(String, &Listed)> =
        charts.iter().map(|chart| (chart.text("name"), chart)).collect();
    all.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| version(other).cmp(&version(one))));
    // Helm insists on entries, be they none.
    let none = if all.is_empty() { " {}" } else { "" };
    let mut text = format!("apiVersion: v1\nentries:{none}\n");
    let mut last = None;
    for (name, chart) in &all {
        if last != Some(name) {
            writeln!(text, "  {}:", Value::from(name.as_str())).expect("a String takes any text");
        }
        last = Some(name);
        // JSON is YAML, and leaves no doubt about what is a text.
        writeln!(text, "  - {}", chart.entry()).expect("a String takes any text");
    }
    // Helm wants a time here, and there is none to give.
    text + "generated: \"1970-01-01T00:00:00Z\"\n"
}

fn entries(text: &[u8], index: &str) -> Result<Map<String, Value>, ChartError> {
    let mut all: Value = match serde_json::from_slice(text) {
        Ok(all) => all,
        Err(_) => yaml::read(text, index)?,
    };
    match all.get_mut("entries").map(Value::take) {
        Some(Value::Object(charts)) => Ok(charts),
        _ => Err(ChartError::Yaml {
            file: index.to_owned(),
            problem: "it is no index of a chart repository: it has no `entries`".to_owned(),
        }),
    }
}

/// The lines of `entries:` about one chart, if the text is laid out in blocks as all generators do.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let entries = text.find("\nentries:\n").map(|at| at + "\nentries:\n".len())?;
    let body = &text[entries..];
    let indent = body.len() - body.trim_start_matches(' ').len();
    let is_key = |line: &str| {
        let key = line.get(indent..).unwrap_or_default().trim_end();
        let blank = line.bytes().take_while(|byte| *byte == b' ').count();
        blank == indent && key.strip_suffix(':').is_some_and(|key| !key.starts_with(['-', '#']))
    };
    let mut offset = entries;
    let mut begin = None;
    for line in body.split_inclusive('\n') {
        let outer = !line.starts_with([' ', '-', '\n', '\r', '#']);
        if let Some(begin) = begin
            && (outer || is_key(line))
        {
            return Some(&text[begin..offset]);
        }
        if is_key(line) && line.trim().trim_end_matches(':').trim_matches(['"', '\'']) == name {
            begin = Some(offset);
        }
        if outer {
            return None;
        }
        offset += line.len();
    }
    begin.map(|begin| &text[begin..])
}

fn entry(value: &Value) -> Option<Entry> {
    let field = |name: &str| value.get(name).and_then(yaml::text).filter(|text| !text.is_empty());
    let urls = value.get("urls").and_then(Value::as_array)?;
    let version = field("version")?;
    let digest = field("digest").and_then(|digest| {
        let digest = digest.strip_prefix("sha256:").unwrap_or(&digest).to_ascii_lowercase();
        format!("sha256:{digest}").parse().ok()
    });
    Some(Entry {
        parsed: version::parse(&version)?,
        app_version: field("appVersion"),
        kube_version: field("kubeVersion"),
        urls: urls.iter().filter_map(yaml::text).collect(),
        digest,
        is_deprecated: value.get("deprecated") == Some(&Value::Bool(true)),
        version,
    })
}

fn described(value: &Value) -> String {
    let version = value.get("version").and_then(yaml::text);
    version.unwrap_or_else(|| "an entry without a version".to_owned())
}

/// Those of `all` that somebody who wrote `text` may have meant, the nearest first.
fn similar(text: &str, all: &[String]) -> Vec<String> {
    let mut near: Vec<(usize, usize, &String)> = Vec::new();
    for (place, other) in all.iter().enumerate() {
        let distance = distance(text, other);
        let is_near = distance <= 2 + text.len() / 4 || other.contains(text);
        near.extend(is_near.then_some((distance, place, other)));
    }
    near.sort();
    near.into_iter().take(MAX_SIMILAR).map(|(_, _, other)| other.clone()).collect()
}

/// How many letters to change, add or take away. Names are short, an index is not: cut at 100 letters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(100).enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = before + usize::from(from != *to);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
