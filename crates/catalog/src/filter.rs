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
/// Everything that cannot be had as it was asked for. What is merely absent is a warning by the rules of oc-mirror, and
/// is told with the errors where there are others.
pub fn filter(
    catalog: &Catalog,
    selection: &Selection,
    rules: Rules,
) -> Result<Filtered, FilterError> {
    let mut errors = Vec::new();
    let asked = asked(selection, &mut errors);
    let mut filtered = Filtered { choice: Choice::default(), findings: Vec::new() };
    let absent = asked.values().filter(|asked| !catalog.packages.contains_key(&asked.name));
    let mut absent: Vec<FilterError> = absent.map(|asked| no_package(asked, catalog)).collect();
    for (name, package) in &catalog.packages {
        let asked = asked.get(name.as_str()).copied();
        if asked.is_none() && !selection.packages.is_empty() {
            continue;
        }
        let nothing = PackageWish::default();
        let asked = asked.unwrap_or(&nothing);
        let full = selection.full || asked.full;
        let done = package::Work::new(package, asked, full, rules).run();
        match done.kept {
            Ok(kept) => drop(filtered.choice.packages.insert(name.clone(), kept)),
            Err(err) => errors.push(err),
        }
        absent.extend(done.absent);
        filtered.findings.extend(done.findings);
    }
    if rules == Rules::OcMirror && errors.is_empty() {
        filtered.findings.extend(absent.iter().filter_map(FilterError::warning));
        return Ok(filtered);
    }
    absent.extend(errors);
    FilterError::all(absent).map_or(Ok(filtered), Err)
}

fn no_package(asked: &PackageWish, catalog: &Catalog) -> FilterError {
    let near = near::names(&asked.name, catalog.packages.keys().map(String::as_str));
    FilterError::NoPackage { package: asked.name.clone(), near, elsewhere: None }
}

/// The selection by package, without what contradicts itself.
fn asked<'a>(
    selection: &'a Selection,
    errors: &mut Vec<FilterError>,
) -> BTreeMap<&'a str, &'a PackageWish> {
    let mut found = BTreeMap::new();
    for asked in &selection.packages {
        let mut message = contradiction(asked, selection.full || asked.full);
        if message.is_none() && found.insert(asked.name.as_str(), asked).is_some() {
            message = Some("it is listed twice".to_owned());
        }
        let package = asked.name.clone();
        errors.extend(message.map(|message| FilterError::Contradiction { package, message }));
    }
    found
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
