//! What of a catalog stays, as oc-mirror v2 decides it.
//!
//! One engine with two tempers. [`Rules::OcMirror`] does what that tool does, and warns where it is silent.
//! [`Rules::Own`] takes the same bundles, and makes an error of what is silently not what was asked for.

mod error;
mod package;

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::Finding;
use airlift_spec::stack::{PackageWish, Rules, Selection};

use crate::near;
use crate::{Catalog, Choice};

pub use error::FilterError;

/// What stays, and what there is to say about it.
#[derive(Debug)]
pub struct Filtered {
    pub choice: Choice,
    pub findings: Vec<Finding>,
}

/// Says what of `catalog` stays.
///
/// # Errors
///
/// The first package, by name, that cannot be had as it was asked for.
pub fn filter(
    catalog: &Catalog,
    selection: &Selection,
    rules: Rules,
) -> Result<Filtered, FilterError> {
    let asked = asked(selection)?;
    let mut filtered = Filtered { choice: Choice::default(), findings: Vec::new() };
    for (name, asked) in &asked {
        if !catalog.packages.contains_key(*name) {
            let near = near::names(name, catalog.packages.keys().map(String::as_str));
            if rules == Rules::Own {
                return Err(FilterError::NoPackage { package: asked.name.clone(), near });
            }
            let message = format!("the catalog has no such package; {}", meant(&near));
            filtered.findings.push(Finding::warning("catalog-package-absent", name, message));
        }
    }
    for (name, package) in &catalog.packages {
        let asked = asked.get(name.as_str()).copied();
        if asked.is_none() && !selection.packages.is_empty() {
            continue;
        }
        let nothing = PackageWish::default();
        let asked = asked.unwrap_or(&nothing);
        let full = selection.full || asked.full;
        let work = package::Work::new(package, asked, full, rules);
        let (kept, findings) = work.run()?;
        filtered.choice.packages.insert(name.clone(), kept);
        filtered.findings.extend(findings);
    }
    Ok(filtered)
}

fn meant(near: &[String]) -> String {
    if near.is_empty() {
        return "nothing has a name like it".to_owned();
    }
    format!("it has {}", near::listed(near))
}

/// The selection by package, if it does not contradict itself.
fn asked(selection: &Selection) -> Result<BTreeMap<&str, &PackageWish>, FilterError> {
    let mut found = BTreeMap::new();
    for asked in &selection.packages {
        if let Some(message) = contradiction(asked, selection.full || asked.full) {
            return Err(FilterError::Contradiction { package: asked.name.clone(), message });
        }
        if found.insert(asked.name.as_str(), asked).is_some() {
            let message = "it is listed twice".to_owned();
            return Err(FilterError::Contradiction { package: asked.name.clone(), message });
        }
    }
    Ok(found)
}

fn contradiction(asked: &PackageWish, full: bool) -> Option<String> {
    let has_range = asked.from.is_some() || asked.to.is_some();
    let ranged =
        asked.channels.iter().find(|channel| channel.from.is_some() || channel.to.is_some());
    let mut names = BTreeSet::new();
    if asked.name.is_empty() || asked.channels.iter().any(|channel| channel.name.is_empty()) {
        return Some("a name is empty".to_owned());
    }
    if let Some(twin) = asked.channels.iter().find(|channel| !names.insert(&channel.name)) {
        return Some(format!("channel `{}` is listed twice", twin.name));
    }
    if let Some(channel) = ranged.filter(|_| has_range) {
        let name = &channel.name;
        return Some(format!("both the package and its channel `{name}` have a range of versions"));
    }
    let has_range = has_range || ranged.is_some();
    if full && has_range {
        return Some("`full` takes every version, and there is a range of versions".to_owned());
    }
    if !asked.bundles.is_empty() && (full || has_range || !asked.channels.is_empty()) {
        return Some("listed bundles go with neither channels, ranges nor `full`".to_owned());
    }
    None
}
