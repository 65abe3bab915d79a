//! What in a configuration contradicts itself, or will not do what it looks like.

use std::collections::BTreeSet;

use airlift_spec::Finding;

use super::{AdditionalImage, ImageSet, Mistake, Operator, Package, Purpose};

/// All contradictions of a set.
pub(super) fn mistakes(set: &ImageSet) -> Vec<Mistake> {
    let mut found = Vec::new();
    twins(&mut found, set.operators.iter().map(|it| (it.line, it.unique_name())), |name| {
        format!("catalog {name:?}: duplicate found in configuration")
    });
    let channels = set.platform.channels.iter();
    twins(&mut found, channels.map(|it| (it.line, it.name.clone())), |name| {
        format!("release channel {name:?}: duplicate found in configuration")
    });
    let repositories = set.helm.repositories.iter();
    twins(&mut found, repositories.map(|it| (it.line, it.name.clone())), |name| {
        format!("helm repository {name:?}: duplicate found in configuration")
    });
    for channel in &set.platform.channels {
        if channel.min.is_some() && channel.max.is_some() && channel.min > channel.max {
            let message =
                format!("release channel {:?}: minVersion is above maxVersion", channel.name);
            found.push(mistake(channel.line, message, "swap the two"));
        }
    }
    set.operators.iter().for_each(|operator| operator_mistakes(operator, &mut found));
    found
}

/// Images that a cluster asks for by a tag which the set does not give them there.
///
/// Who is redirected keeps the tag, and no mirror set can tell another one.
pub(super) fn renamed(set: &ImageSet) -> Vec<Finding> {
    if set.purpose == Purpose::Delete {
        return Vec::new();
    }
    let places: BTreeSet<String> =
        set.additional_images.iter().map(|image| image.item().place()).collect();
    let finding = |image: &AdditionalImage| {
        let tag = image.image.tag.as_ref().filter(|_| image.image.digest.is_none())?;
        let own = AdditionalImage { target_tag: None, ..image.clone() }.item().place();
        (!places.contains(&own)).then(|| {
            let (line, place) = (image.line, image.item().place());
            Finding::warning(
                "imageset-tag-renamed",
                &image.written,
                format!(
                    "line {line}: it is mirrored as `{place}` alone, and the ImageTagMirrorSet sends who asks for the \
                     tag `{tag}` to `{own}`; name it by its digest, or drop `targetTag:`"
                ),
            )
        })
    };
    set.additional_images.iter().filter_map(finding).collect()
}

fn operator_mistakes(operator: &Operator, found: &mut Vec<Mistake>) {
    let (line, catalog) = (operator.line, &operator.written);
    let packages = operator.packages.iter();
    twins(found, packages.map(|it| (line, it.name.clone())), |name| {
        format!("catalog {catalog:?}: duplicate package entry {name:?}")
    });
    for package in &operator.packages {
        let context = format!("catalog {catalog:?}: operator {:?}", package.name);
        let channels = package.channels.iter();
        twins(found, channels.map(|it| (line, it.name.clone())), |name| {
            format!("{context}: duplicate channel entry {name:?}")
        });
        let mut messages = versions(&context, package.min.as_ref(), package.max.as_ref());
        for channel in &package.channels {
            let context = format!("{context}: channel {:?}", channel.name);
            messages.extend(versions(&context, channel.min.as_ref(), channel.max.as_ref()));
        }
        let remedy = "write it like `1.2.3`";
        found.extend(messages.into_iter().map(|message| mistake(line, message, remedy)));
        range_mistakes(package, operator, &context, found);
    }
}

fn range_mistakes(package: &Package, operator: &Operator, context: &str, found: &mut Vec<Mistake>) {
    let is_ranged = package.min.is_some() || package.max.is_some();
    let has_ranged_channel = package.channels.iter().any(|it| it.min.is_some() || it.max.is_some());
    if is_ranged && has_ranged_channel {
        let message = format!(
            "{context}: mixing both filtering by minVersion/maxVersion and filtering by channel minVersion/maxVersion is not allowed"
        );
        found.push(mistake(operator.line, message, "keep the versions of the channels"));
    }
    if operator.full && (is_ranged || has_ranged_channel) {
        let message = format!("{context}: full: true cannot be mixed with versions");
        found.push(mistake(operator.line, message, "remove `full: true`"));
    }
}

fn versions(context: &str, min: Option<&String>, max: Option<&String>) -> Vec<String> {
    let wrong = |(field, version): (&str, Option<&String>)| {
        let version = version.filter(|version| !is_version(version))?;
        Some(format!("{context}: {field} {version:?} must respect semantic versioning notation"))
    };
    [("maxVersion", max), ("minVersion", min)].into_iter().filter_map(wrong).collect()
}

/// Whether it is a semantic version, of which the later numbers and a leading `v` are free.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let parts: Vec<&str> = numbers.split('.').collect();
    let is_number = |part: &&str| {
        !part.is_empty() && part.len() < 20 && part.bytes().all(|b| b.is_ascii_digit())
    };
    parts.len() <= 3
        && parts.iter().all(is_number)
        && format!("0.0.0{rest}").parse::<semver::Version>().is_ok()
}

/// Two entries of one name cannot both be right.
fn twins(
    found: &mut Vec<Mistake>,
    entries: impl Iterator<Item = (u64, String)>,
    message: impl Fn(&str) -> String,
) {
    let mut seen = BTreeSet::new();
    for (line, name) in entries {
        if seen.contains(&name) {
            found.push(mistake(line, message(&name), "keep one of the two"));
        }
        seen.insert(name);
    }
}

fn mistake(line: u64, message: String, help: &str) -> Mistake {
    Mistake { line, message, help: Some(help.to_owned()) }
}
