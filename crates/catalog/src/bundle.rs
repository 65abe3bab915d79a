//! What a bundle's document says.

use airlift_spec::{Class, Explain};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::Bundle;
use crate::read;

/// One image that the bundle needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelatedImage {
    /// What the bundle calls it; may be empty.
    pub name: String,
    pub image: String,
}

/// Group, version and kind of an API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub struct Gvk {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl std::fmt::Display for Gvk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.group, self.version, self.kind)
    }
}

/// A manifest that a catalog embeds and that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("manifest {number} of bundle `{bundle}`: {message}")]
pub struct ManifestError {
    bundle: String,
    /// Counted from 1 in the order of the properties.
    number: usize,
    message: String,
}

impl Explain for ManifestError {
    fn class(&self) -> Class {
        Class::Input
    }
}

impl Bundle {
    /// The properties of one type.
    pub fn properties<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Value> {
        let all = self.document.value.get("properties").and_then(Value::as_array);
        all.into_iter()
            .flatten()
            .filter(move |property| property.get("type").and_then(Value::as_str) == Some(wanted))
            .filter_map(|property| property.get("value"))
    }

    /// The version as the bundle writes it.
    pub fn version_text(&self) -> Option<&str> {
        self.properties("olm.package").next()?.get("version")?.as_str()
    }

    /// The images it needs, in the order of the document.
    pub fn related_images(&self) -> Vec<RelatedImage> {
        let text = |value: &Value, key| {
            value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all = self.document.value.get("relatedImages").and_then(Value::as_array);
        all.into_iter()
            .flatten()
            .map(|one| RelatedImage { name: text(one, "name"), image: text(one, "image") })
            .collect()
    }

    /// The APIs it brings.
    pub fn provides(&self) -> impl Iterator<Item = Gvk> {
        self.properties("olm.gvk").filter_map(|value| serde::Deserialize::deserialize(value).ok())
    }

    /// What catalogs for OpenShift 4.17 and later say of its `ClusterServiceVersion`.
    pub fn csv_metadata(&self) -> Option<&Value> {
        self.properties("olm.csv.metadata").next()
    }

    /// The manifests that catalogs for OpenShift 4.16 and earlier embed whole, the `ClusterServiceVersion` among them.
    ///
    /// # Errors
    ///
    /// The first that is neither JSON nor YAML in base64.
    pub fn manifests(&self) -> Result<Vec<Value>, ManifestError> {
        let decode = |(index, value)| {
            decode(value).map_err(|message| ManifestError {
                bundle: self.name.clone(),
                number: index + 1,
                message,
            })
        };
        self.properties("olm.bundle.object").enumerate().map(decode).collect()
    }
}

fn decode(value: &Value) -> Result<Value, String> {
    let data = value.get("data").and_then(Value::as_str).ok_or("it has no `data`")?;
    let bytes = STANDARD.decode(data).map_err(|err| format!("not base64: {err}"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "not UTF-8")?;
    read::manifest(text).map_err(|(line, message)| format!("line {line}: {message}"))
}
