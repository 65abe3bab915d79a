//! OLM's own rules, held against what is about to be written: `opm` refuses a whole catalog for one broken package.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::{Finding, Reference};
use serde_json::Value;

use crate::graph::Graph;
use crate::near::listed;
use crate::{Bundle, Catalog, Channel, Package};

/// The most that OLM reads of one constraint.
const MAX_CONSTRAINT: usize = 128 * 1024;

/// What `opm validate` would refuse. That names are unique is so by construction.
pub fn validate(catalog: &Catalog) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in catalog.packages.values() {
        let mut rules = Rules { package, found: &mut found };
        rules.package();
        package.channels.values().for_each(|channel| rules.channel(channel));
        package.bundles.values().for_each(|bundle| rules.bundle(bundle));
        rules.versions();
        rules.orphans();
        rules.deprecations();
    }
    found
}

struct Rules<'a> {
    package: &'a Package,
    found: &'a mut Vec<Finding>,
}

impl Rules<'_> {
    fn broken(&mut self, object: &str, message: impl Into<String>) {
        let place = format!("{} (package `{}`)", message.into(), self.package.name);
        self.found.push(Finding::error("catalog-invalid", object, place));
    }

    fn package(&mut self) {
        let package = self.package;
        if !is_label(&package.name) {
            self.broken(
                &package.name,
                "the name is no DNS label: lower case letters, digits and `-`, at most 63",
            );
        }
        if package.channels.is_empty() {
            self.broken(&package.name, "it has no channel");
        } else if !package.channels.contains_key(&package.default_channel) {
            let names: Vec<&String> = package.channels.keys().collect();
            self.broken(
                &package.name,
                format!(
                    "the default channel `{}` is not there; there is {}",
                    package.default_channel,
                    listed(&names)
                ),
            );
        }
    }

    fn channel(&mut self, channel: &Channel) {
        let object = &channel.name;
        let graph = match Graph::new(channel) {
            Ok(graph) => graph,
            Err(message) => {
                return self.broken(object, format!("the channel is no update graph: {message}"));
            }
        };
        let absent = |name: &&str| !self.package.bundles.contains_key(*name);
        let entries = || channel.entries.iter().map(|entry| entry.name.as_str());
        let absent: Vec<&str> = entries().filter(absent).collect();
        if !absent.is_empty() {
            self.broken(
                object,
                format!("entries of the channel have no bundle: {}", listed(&absent)),
            );
        }
        let reached = reached(channel, &graph);
        let stranded: Vec<&str> = entries().filter(|name| !reached.contains(name)).collect();
        if !stranded.is_empty() {
            self.broken(
                object,
                format!("no update leads from these entries to the head: {}", listed(&stranded)),
            );
        }
    }

    fn bundle(&mut self, bundle: &Bundle) {
        let packages: Vec<&Value> = bundle.properties("olm.package").collect();
        match packages[..] {
            [one] if one["packageName"] != self.package.name.as_str() => {
                self.broken(
                    &bundle.name,
                    format!("its property says package {}", one["packageName"]),
                );
            }
            [_] if bundle.version.is_none() => {
                let text = bundle.version_text().unwrap_or_default();
                self.broken(&bundle.name, format!("`{text}` is not a version like 1.2.3"));
            }
            [_] => {}
            _ => self.broken(
                &bundle.name,
                format!("it has {} properties `olm.package`, not one", packages.len()),
            ),
        }
        if let Err(message) = bundle.requires() {
            self.broken(&bundle.name, format!("a requirement cannot be read: {message}"));
        }
        if bundle.properties("olm.constraint").any(|one| one.to_string().len() > MAX_CONSTRAINT) {
            self.broken(&bundle.name, "a constraint is larger than 128 KiB");
        }
        if bundle.image.is_empty() && bundle.properties("olm.bundle.object").next().is_none() {
            self.broken(&bundle.name, "it has neither an image nor manifests");
        }
        let related = bundle.related_images().into_iter().map(|related| related.image);
        for image in related.chain([bundle.image.clone()]).filter(|image| !image.is_empty()) {
            if let Err(err) = image.parse::<Reference>() {
                self.broken(&bundle.name, format!("`{image}` is no image: {err}"));
            }
        }
    }

    fn versions(&mut self) {
        let mut first: BTreeMap<String, &str> = BTreeMap::new();
        for bundle in self.package.bundles.values() {
            let Some(version) = &bundle.version else { continue };
            if let Some(other) = first.insert(version.to_string(), &bundle.name) {
                self.broken(&bundle.name, format!("`{other}` is of the same version, {version}"));
            }
        }
    }

    fn orphans(&mut self) {
        let channels = self.package.channels.values();
        let entries: BTreeSet<&str> = channels
            .flat_map(|channel| &channel.entries)
            .map(|entry| entry.name.as_str())
            .collect();
        let orphans: Vec<&String> =
            self.package.bundles.keys().filter(|name| !entries.contains(name.as_str())).collect();
        for bundle in orphans {
            self.broken(bundle, "the bundle is in no channel");
        }
    }

    fn deprecations(&mut self) {
        let Some(document) = &self.package.deprecations else { return };
        let mut seen = BTreeSet::new();
        let mut messages = Vec::new();
        for entry in document.value["entries"].as_array().into_iter().flatten() {
            let reference = &entry["reference"];
            let text = |key: &str| reference[key].as_str().unwrap_or_default().to_owned();
            let (schema, name) = (text("schema"), text("name"));
            let is_there = match schema.as_str() {
                "olm.package" => name.is_empty(),
                "olm.channel" => self.package.channels.contains_key(&name),
                "olm.bundle" => self.package.bundles.contains_key(&name),
                _ => false,
            };
            if !is_there {
                messages.push(format!("it deprecates `{name}` ({schema}), which is not there"));
            }
            if !seen.insert((schema, name.clone())) {
                messages.push(format!("it deprecates `{name}` twice"));
            }
        }
        for message in messages {
            self.broken("olm.deprecations", message);
        }
    }
}

/// What updates lead away from: the chain from the head as far as no entry skips it, and all that any entry skips.
fn reached<'a>(channel: &'a Channel, graph: &Graph<'a>) -> BTreeSet<&'a str> {
    let skips = channel.entries.iter().flat_map(|entry| entry.skips.iter().map(String::as_str));
    let skipped: BTreeSet<&str> = skips.collect();
    let chain = graph.chain().into_iter().take_while(|name| !skipped.contains(name)).collect();
    &skipped | &chain
}

fn is_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
