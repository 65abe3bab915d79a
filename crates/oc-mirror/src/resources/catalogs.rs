//! `CatalogSource` and `ClusterCatalog`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use airlift_spec::{Finding, catalog_source};

use super::{File, Mirrored, ResourcesError, annotations, parse, reference};
use crate::config::Operator;
use crate::mapping::Copy;
use crate::yaml;

pub(super) fn files(mirrored: &Mirrored) -> Result<(Vec<File>, Vec<Finding>), ResourcesError> {
    let (mut files, mut findings, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
    for copy in mirrored.far_catalogs() {
        let plain = base_name(&copy.destination)?;
        let name = free_name(&plain, &taken);
        if name != plain {
            findings.push(Finding::warning(
                "catalog-name-taken",
                reference(&copy.destination),
                format!("`cs-{plain}` is another catalog's; this one is `cs-{name}`"),
            ));
        }
        taken.insert(name.clone());
        let image = reference(&copy.destination);
        let source = match template(mirrored, copy) {
            None => catalog_source(&name, image),
            Some(Ok(template)) => from_template(template, &name, image),
            Some(Err(reason)) => {
                findings.push(Finding::warning("template-not-used", image, reason));
                catalog_source(&name, image)
            }
        };
        files.push(File { name: format!("cs-{name}.yaml"), text: yaml::write(&source) });
        let catalog = cluster_catalog(&name, image);
        files.push(File { name: format!("cc-{name}.yaml"), text: yaml::write(&catalog) });
    }
    Ok((files, findings))
}

fn base_name(destination: &str) -> Result<String, ResourcesError> {
    let image = parse(destination)?;
    Ok(catalog_source::oc_mirror_name(image.base(), &image.far_tag()))
}

/// The peer lets the second catalog of a name replace the first.
fn free_name(plain: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut names = std::iter::once(plain.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).expect("numbers do not end")
}

fn catalog_source(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "CatalogSource",
        "metadata": {
            "annotations": annotations(),
            "name": format!("cs-{name}"),
            "namespace": "openshift-marketplace",
        },
        "spec": { "image": image, "sourceType": "grpc" },
    })
}

fn cluster_catalog(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "olm.operatorframework.io/v1",
        "kind": "ClusterCatalog",
        "metadata": { "annotations": annotations(), "name": format!("cc-{name}") },
        "spec": { "source": { "image": { "ref": image }, "type": "Image" } },
    })
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
fn from_template(mut template: Map<String, Value>, name: &str, image: &str) -> Value {
    let Value::Object(ours) = catalog_source(name, image) else {
        unreachable!("it is written as an object")
    };
    template.remove("status");
    for (key, value) in ours {
        overlay(template.entry(key).or_insert(Value::Null), value);
    }
    if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
        metadata.remove("creationTimestamp");
    }
    Value::Object(template)
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
