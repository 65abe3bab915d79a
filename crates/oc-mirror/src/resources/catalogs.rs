//! `CatalogSource` and `ClusterCatalog`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use airlift_spec::Finding;
use airlift_spec::catalog_source::{self, Server};

use super::{File, Mirrored, ResourcesError, annotations, parse};
use crate::config::Operator;
use crate::mapping::{Copy, OfferedCatalog};
use crate::name::ImageName;
use crate::yaml;

pub(super) fn files(mirrored: &Mirrored) -> Result<(Vec<File>, Vec<Finding>), ResourcesError> {
    let (mut files, mut findings, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (copy, offered) in mirrored.copies.iter().filter_map(offered) {
        let far = parse(&copy.destination)?;
        let plain = catalog_source::oc_mirror_name(far.base(), &far.far_tag());
        let (name, image) = (free_name(&plain, &taken), pulled(far, offered));
        if name != plain {
            findings.push(Finding::warning(
                "catalog-name-taken",
                &image,
                format!("`cs-{plain}` is another catalog's; this one is `cs-{name}`"),
            ));
        }
        taken.insert(name.clone());
        let mut source = catalog_source(&name, &image, offered.server);
        match template(mirrored, copy) {
            None => {}
            Some(Ok(template)) => source = from_template(template, source),
            Some(Err(reason)) => {
                findings.push(Finding::warning("template-not-used", &image, reason));
            }
        }
        files.push(File { name: format!("cs-{name}.yaml"), text: yaml::write(&source) });
        let catalog = cluster_catalog(&name, &image);
        files.push(File { name: format!("cc-{name}.yaml"), text: yaml::write(&catalog) });
    }
    Ok((files, findings))
}

fn offered(copy: &Copy) -> Option<(&Copy, &OfferedCatalog)> {
    copy.offered.as_ref().map(|offered| (copy, offered))
}

/// The name that a cluster pulls it by.
fn pulled(far: ImageName, offered: &OfferedCatalog) -> String {
    match offered.digest {
        None => far.reference(),
        // The tag that the mapping has for a digest is not in the registry.
        digest => ImageName { tag: None, digest, ..far }.reference(),
    }
}

/// The peer lets the second catalog of a name replace the first.
fn free_name(plain: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut names = std::iter::once(plain.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).expect("numbers do not end")
}

fn catalog_source(name: &str, image: &str, server: Server) -> Value {
    annotated(catalog_source::catalog_source(&format!("cs-{name}"), image, server))
}

fn cluster_catalog(name: &str, image: &str) -> Value {
    annotated(catalog_source::cluster_catalog(&format!("cc-{name}"), image))
}

fn annotated(mut object: Value) -> Value {
    object["metadata"]["annotations"] = annotations();
    object
}

/// The template that the catalog's entry names, or why it is none.
fn template(mirrored: &Mirrored, copy: &Copy) -> Option<Result<Map<String, Value>, String>> {
    let of_catalog = |operator: &&Operator| operator.catalog.to_string() == copy.origin;
    let goes_there = |operator: &&Operator| {
        operator.target_catalog.as_ref().is_none_or(|path| copy.destination.contains(path.as_str()))
    };
    let operator = mirrored.operators.iter().filter(of_catalog).find(goes_there)?;
    let path = operator.template.as_ref()?;
    let text = match mirrored.templates.get(path) {
        Some(Ok(text)) => text,
        Some(Err(reason)) => return Some(Err(format!("`{path}` is not read: {reason}"))),
        None => return Some(Err(format!("`{path}` is not there"))),
    };
    Some(read_template(text).map_err(|reason| format!("`{path}` {reason}")))
}

fn read_template(text: &str) -> Result<Map<String, Value>, String> {
    let value: Value = yaml::read(text).map_err(|reason| format!("is not YAML: {reason}"))?;
    let is = |place: &str, expected: &str| value.pointer(place).is_some_and(|it| it == expected);
    let is_absent = |place: &str| value.pointer(place).is_none_or(|it| it == "" || it.is_null());
    if !is("/apiVersion", "operators.coreos.com/v1alpha1") {
        return Err("is not of apiVersion operators.coreos.com/v1alpha1".to_owned());
    }
    if !is("/kind", "CatalogSource") {
        return Err("is not of kind CatalogSource".to_owned());
    }
    if !is_absent("/spec/sourceType") && !is("/spec/sourceType", "grpc") {
        return Err("is not of sourceType grpc".to_owned());
    }
    if !is_absent("/spec/configMap") {
        return Err("has a configMap, which a catalog in an image has not".to_owned());
    }
    match value {
        Value::Object(template) => Ok(template),
        _ => Err("is no object".to_owned()),
    }
}

/// The template with what only we know; what else it says stays.
fn from_template(mut template: Map<String, Value>, source: Value) -> Value {
    template.remove("status");
    if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
        metadata.remove("creationTimestamp");
    }
    let mut whole = Value::Object(template);
    let extracted = "/spec/grpcPodConfig/extractContent";
    if source.pointer(extracted).is_some()
        && let Some(theirs) = whole.pointer_mut(extracted)
    {
        // The folders of theirs are those of another image.
        *theirs = Value::Null;
    }
    overlay(&mut whole, source);
    whole
}

/// `ours` over `theirs`, map by map.
fn overlay(theirs: &mut Value, ours: Value) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in ours {
                overlay(theirs.entry(key).or_insert(Value::Null), value);
            }
        }
        (theirs, ours) => *theirs = ours,
    }
}
