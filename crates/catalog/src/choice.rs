//! What of a catalog stays: names, until [`Catalog::keep`] makes it so.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::Finding;
use serde_json::Value;

use crate::{Bundle, Catalog, Package};

/// What stays, by package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    pub packages: BTreeMap<String, Kept>,
}

/// What stays of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub default_channel: String,
    /// The entries of each channel that stays.
    pub channels: BTreeMap<String, BTreeSet<String>>,
    /// The bundles: those of all entries, and others that the filter takes.
    pub bundles: BTreeSet<String>,
}

impl Choice {
    /// Everything.
    pub fn all(catalog: &Catalog) -> Self {
        let kept = |package: &Package| Kept {
            default_channel: package.default_channel.clone(),
            channels: package
                .channels
                .iter()
                .map(|(name, channel)| {
                    (name.clone(), channel.entries.iter().map(|entry| entry.name.clone()).collect())
                })
                .collect(),
            bundles: package.bundles.keys().cloned().collect(),
        };
        let packages = catalog.packages.iter().map(|(name, package)| (name.clone(), kept(package)));
        Self { packages: packages.collect() }
    }

    /// The chosen bundles, with their packages.
    pub fn bundles<'a>(
        &'a self,
        catalog: &'a Catalog,
    ) -> impl Iterator<Item = (&'a Package, &'a Bundle)> {
        let is_kept = |package: &Package, bundle: &Bundle| {
            self.packages.get(&package.name).is_some_and(|kept| kept.bundles.contains(&bundle.name))
        };
        catalog.bundles().filter(move |(package, bundle)| is_kept(package, bundle))
    }

    /// Leaves out what OLM would refuse the whole catalog for: channels without entries, and bundles that are entries
    /// of no channel. Nobody could install either; says what was left out.
    pub fn servable(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (package, kept) in &mut self.packages {
            kept.channels.retain(|_, entries| !entries.is_empty());
            let entries: BTreeSet<&String> = kept.channels.values().flatten().collect();
            kept.bundles.retain(|bundle| {
                let is_entry = entries.contains(bundle);
                if !is_entry {
                    findings.push(Finding::warning(
                        "catalog-outside-channel",
                        bundle,
                        format!("no channel of package `{package}` that is kept has it, so the written catalog goes without it"),
                    ));
                }
                is_entry
            });
        }
        findings
    }
}

impl Catalog {
    /// The part that was chosen. What was written of a kept thing stays as it was, but for entries that are gone and a
    /// default channel that is another.
    #[must_use]
    pub fn keep(mut self, choice: &Choice) -> Self {
        self.packages.retain(|name, _| choice.packages.contains_key(name));
        for (name, package) in &mut self.packages {
            package.keep(&choice.packages[name]);
        }
        self
    }
}

impl Package {
    fn keep(&mut self, kept: &Kept) {
        if self.default_channel != kept.default_channel {
            self.default_channel.clone_from(&kept.default_channel);
            self.document.value["defaultChannel"] = Value::from(kept.default_channel.as_str());
        }
        self.bundles.retain(|name, _| kept.bundles.contains(name));
        self.channels.retain(|name, _| kept.channels.contains_key(name));
        for (name, channel) in &mut self.channels {
            let entries = &kept.channels[name];
            channel.entries.retain(|entry| entries.contains(&entry.name));
            let named =
                |entry: &Value| entry["name"].as_str().is_some_and(|name| entries.contains(name));
            if let Some(Value::Array(written)) = channel.document.value.get_mut("entries") {
                written.retain(named);
            }
        }
        self.keep_deprecations(kept);
    }

    /// A deprecation of what is gone would be refused.
    fn keep_deprecations(&mut self, kept: &Kept) {
        let Some(document) = &mut self.deprecations else { return };
        let Some(Value::Array(entries)) = document.value.get_mut("entries") else { return };
        entries.retain(|entry| {
            let reference = &entry["reference"];
            let name = reference["name"].as_str().unwrap_or_default();
            match reference["schema"].as_str() {
                Some("olm.bundle") => kept.bundles.contains(name),
                Some("olm.channel") => kept.channels.contains_key(name),
                _ => true,
            }
        });
        if entries.is_empty() {
            self.deprecations = None;
        }
    }
}
