//! A catalog, its packages, channels and bundles.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use crate::graph::Graph;
use crate::{Document, ReadError};

/// What was read of a catalog, by package.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub packages: BTreeMap<String, Package>,
    /// Documents that belong to no package.
    pub others: Vec<Document>,
}

#[derive(Debug, Clone)]
pub struct Package {
    pub name: String,
    pub default_channel: String,
    pub channels: BTreeMap<String, Channel>,
    pub bundles: BTreeMap<String, Bundle>,
    pub deprecations: Option<Document>,
    /// Documents of schemas that airlift does not know.
    pub others: Vec<Document>,
    pub document: Document,
}

#[derive(Debug, Clone)]
pub struct Channel {
    pub name: String,
    pub entries: Vec<Entry>,
    pub document: Document,
}

/// A bundle's place in the update graph of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub replaces: String,
    #[serde(deserialize_with = "nullable")]
    pub skips: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub skip_range: String,
}

#[derive(Debug, Clone)]
pub struct Bundle {
    pub name: String,
    pub image: String,
    /// Of its `olm.package` property. Nothing if that is absent or no version.
    pub version: Option<Version>,
    pub document: Document,
}

/// `null` is what Go writes for nothing.
fn nullable<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Catalog {
    /// Puts documents together, in any order.
    ///
    /// # Errors
    ///
    /// Two documents that claim to be the same thing, and one of a package that no document declares.
    pub fn from_documents(documents: Vec<Document>) -> Result<Self, ReadError> {
        let mut catalog = Self::default();
        let (packages, rest): (Vec<_>, Vec<_>) =
            documents.into_iter().partition(|document| document.schema == "olm.package");
        for document in packages {
            let package = package(document)?;
            match catalog.packages.entry(package.name.clone()) {
                Slot::Vacant(slot) => slot.insert(package),
                Slot::Occupied(slot) => return Err(twin(&package.document, &slot.get().document)),
            };
        }
        for document in rest {
            catalog.add(document)?;
        }
        Ok(catalog)
    }

    fn add(&mut self, document: Document) -> Result<(), ReadError> {
        if document.package.is_empty() && !is_olm(&document.schema) {
            self.others.push(document);
            return Ok(());
        }
        let Some(package) = self.packages.get_mut(&document.package) else {
            let message = format!(
                "`{}` ({}) is of package `{}`, which no `olm.package` document declares",
                document.name, document.schema, document.package
            );
            return Err(wrong(&document, message));
        };
        match &*document.schema {
            "olm.channel" => {
                let channel = channel(document)?;
                put(&mut package.channels, channel.name.clone(), channel, |kept| &kept.document)
            }
            "olm.bundle" => {
                let bundle = bundle(document)?;
                put(&mut package.bundles, bundle.name.clone(), bundle, |kept| &kept.document)
            }
            "olm.deprecations" => {
                if let Some(first) = &package.deprecations {
                    return Err(twin(&document, first));
                }
                package.deprecations = Some(document);
                Ok(())
            }
            _ => {
                package.others.push(document);
                Ok(())
            }
        }
    }

    /// Every bundle, with its package.
    pub fn bundles(&self) -> impl Iterator<Item = (&Package, &Bundle)> {
        self.packages
            .values()
            .flat_map(|package| package.bundles.values().map(move |bundle| (package, bundle)))
    }
}

impl Package {
    pub fn description(&self) -> &str {
        self.document.text("description")
    }

    /// The bundle that a channel offers; nothing if the channel has not exactly one head.
    pub fn head(&self, channel: &str) -> Option<&Bundle> {
        let channel = self.channels.get(channel)?;
        self.bundles.get(Graph::new(channel).ok()?.head())
    }

    /// The name for people, as the default channel's head says it.
    pub fn display_name(&self) -> Option<String> {
        let head = self.head(&self.default_channel)?;
        let text = |value: &Value| value.get("displayName")?.as_str().map(str::to_owned);
        if let Some(metadata) = head.csv_metadata() {
            return text(metadata);
        }
        let manifests = head.manifests().ok()?;
        let csv = manifests.iter().find(|one| one["kind"] == "ClusterServiceVersion")?;
        text(&csv["spec"])
    }
}

fn is_olm(schema: &str) -> bool {
    matches!(schema, "olm.channel" | "olm.bundle" | "olm.deprecations")
}

fn put<T>(
    map: &mut BTreeMap<String, T>,
    name: String,
    value: T,
    document: fn(&T) -> &Document,
) -> Result<(), ReadError> {
    match map.entry(name) {
        Slot::Vacant(slot) => {
            slot.insert(value);
            Ok(())
        }
        Slot::Occupied(slot) => Err(twin(document(&value), document(slot.get()))),
    }
}

fn package(document: Document) -> Result<Package, ReadError> {
    let name = document.name.clone();
    // It becomes a folder's name.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_plain) {
        return Err(wrong(&document, format!("`{name}` cannot be the name of a package")));
    }
    Ok(Package {
        default_channel: document.text("defaultChannel").to_owned(),
        channels: BTreeMap::new(),
        bundles: BTreeMap::new(),
        deprecations: None,
        others: Vec::new(),
        name,
        document,
    })
}

fn channel(document: Document) -> Result<Channel, ReadError> {
    let entries = document.value.get("entries").unwrap_or(&Value::Null);
    let entries = Option::<Vec<Entry>>::deserialize(entries).map_err(|err| {
        wrong(&document, format!("the entries of channel `{}`: {err}", document.name))
    })?;
    Ok(Channel { name: document.name.clone(), entries: entries.unwrap_or_default(), document })
}

fn bundle(document: Document) -> Result<Bundle, ReadError> {
    let mut bundle = Bundle {
        name: document.name.clone(),
        image: document.text("image").to_owned(),
        version: None,
        document,
    };
    for list in ["properties", "relatedImages"] {
        if let Some(found) = bundle.document.value.get(list)
            && !(found.is_array() || found.is_null())
        {
            return Err(wrong(
                &bundle.document,
                format!("`{list}` of bundle `{}` is no list", bundle.name),
            ));
        }
    }
    bundle.version = bundle.version_text().and_then(|text| text.parse().ok());
    Ok(bundle)
}

fn wrong(document: &Document, message: String) -> ReadError {
    ReadError::Document { file: document.file.to_string(), line: document.line, message }
}

fn twin(second: &Document, first: &Document) -> ReadError {
    let message = format!(
        "{} `{}` of package `{}` stands in {} already",
        second.schema,
        second.name,
        second.package,
        first.place()
    );
    wrong(second, message)
}
