//! What we write, held against the schemas of the real resource definitions.

use std::collections::BTreeMap;
use std::path::Path;

use airlift_oc_mirror::{
    Filtered, ImageName, ImageSet, Item, Mirrored, Mode, Operator, Routes, cluster_resources,
};
use airlift_spec::Digest;
use regex::Regex;
use serde_json::Value;

use crate::data::{data, text};

#[test]
fn real_definitions_take_what_we_write() {
    let Some(folder) = data("crds") else { return };
    let mirrors = "openshift-api/config/v1/zz_generated.crd-manifests/0000_10_config-operator_01_";
    let mut checked = 0;
    for (definition, prefix) in [
        (format!("{mirrors}imagedigestmirrorsets.crd.yaml"), "idms-"),
        (format!("{mirrors}imagetagmirrorsets.crd.yaml"), "itms-"),
        ("olm/crds/operators.coreos.com_catalogsources.yaml".to_owned(), "cs-"),
        ("olmv1/manifests/standard.yaml".to_owned(), "cc-"),
    ] {
        for object in written().iter().filter(|(name, _)| name.starts_with(prefix)) {
            for object in documents(object.1) {
                let schema = schema(&folder.join(&definition), &object);
                assert_eq!(problems(&object, &schema, ""), [""; 0]);
                checked += 1;
            }
        }
    }
    println!("{checked} objects agree with their definitions");
    assert_eq!(checked, 3 + 3 + 4 + 4);
}

#[test]
fn the_comparison_with_a_schema_sees_what_is_wrong() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"],
        "properties": {
            "a": {"type": "string", "enum": ["x"]},
            "b": {"type": "array", "items": {"type": "string", "pattern": "^y$"}},
        },
    });
    let found = |object| problems(&object, &schema, "").len();
    assert_eq!(found(serde_json::json!({"a": "x", "b": ["y"]})), 0);
    assert_eq!(found(serde_json::json!({"b": ["z"]})), 2);
    assert_eq!(found(serde_json::json!({"a": 1, "c": 1})), 3);
}

/// Files for an image of every sort.
fn written() -> BTreeMap<String, String> {
    let hex = "3a4f6de4ad8ca2232020e8475558d9e8327f415e121720ce03571d94f372a13f";
    let set = ImageSet::parse(&format!(
        "kind: ImageSetConfiguration
mirror:
  operators:
  - {{catalog: 'registry.redhat.io/redhat/redhat-operator-index:v4.18', targetCatalogSourceTemplate: t}}
  - {{catalog: 'oci:///mnt/own', targetTag: v1}}
  - {{catalog: 'quay.io/own/whole:v1', full: true}}
  - {{catalog: 'quay.io/own/pinned@sha256:{hex}'}}
  additionalImages: [{{name: 'ubuntu:22.04'}}, {{name: 'quay.io/a/b:v1'}}]
"
    ))
    .unwrap();
    let name = |text: &str| ImageName::parse(text).unwrap();
    let filtered = |it: &Operator| {
        (!it.full).then(|| Filtered { tag: "t".to_owned(), digest: Some(Digest::of(b"filtered")) })
    };
    let mut items: Vec<Item> = set.operators.iter().map(|it| it.item(filtered(it))).collect();
    items.extend(set.additional_images.iter().map(airlift_oc_mirror::AdditionalImage::item));
    items.extend([
        Item::Related(name(&format!("registry.redhat.io/x/y@sha256:{hex}"))),
        Item::Bundle(name("registry.redhat.io/x/bundle:v1")),
        Item::Helm(name(&format!("quay.io/c/d@sha256:{hex}"))),
        Item::Release(name("quay.io/o/release:4.18.1-x86_64")),
        Item::Graph,
    ]);
    let routes = Routes {
        mode: Mode::MirrorToMirror,
        cache: "localhost:55000".to_owned(),
        registry: "reg.example:5000/ns".to_owned(),
        max_nested_paths: None,
    };
    let template = "apiVersion: operators.coreos.com/v1alpha1\nkind: CatalogSource\nspec: {updateStrategy: {registryPoll: {interval: 30m}}}";
    let mirrored = Mirrored {
        routes: &routes,
        copies: &routes.copies(&items),
        operators: &set.operators,
        templates: BTreeMap::from([("t".to_owned(), Ok(template.to_owned()))]),
        signatures: Vec::new(),
    };
    let (files, findings) = cluster_resources(&mirrored).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    files.into_iter().map(|file| (file.name, file.text)).collect()
}

fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("---\n").filter(|part| !part.trim().is_empty());
    parts.map(|part| serde_saphyr::from_str(part).unwrap()).collect()
}

/// The schema of the object's kind and version, from a file of definitions.
fn schema(path: &Path, object: &Value) -> Value {
    let text = text(path);
    let definitions: Vec<Value> = text
        .split("\n---\n")
        .filter(|part| part.contains("kind: CustomResourceDefinition"))
        .map(|part| serde_saphyr::from_str(part).unwrap())
        .collect();
    let version = object["apiVersion"].as_str().unwrap().rsplit('/').next().unwrap();
    let definition = definitions
        .iter()
        .find(|it| it["spec"]["names"]["kind"] == object["kind"])
        .unwrap_or_else(|| panic!("no definition of {object}"));
    let versions = definition["spec"]["versions"].as_array().unwrap();
    let version = versions.iter().find(|it| it["name"] == version).unwrap();
    version["schema"]["openAPIV3Schema"].clone()
}

/// Where an object disagrees with its schema: types, required and unknown fields, enumerations and patterns.
fn problems(value: &Value, schema: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !is_type {
        found.push(format!("{at} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        found.push(format!("{at} may not be {value}"));
    }
    let pattern = schema["pattern"].as_str().map(|pattern| Regex::new(pattern).unwrap());
    if pattern.is_some_and(|it| value.as_str().is_some_and(|text| !it.is_match(text))) {
        found.push(format!("{at} may not be {value}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{at} lacks {name}"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(problems(item, &schema["items"], &format!("{at}[{index}]")));
    }
    let properties = schema["properties"].as_object();
    for (name, item) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match properties.map(|properties| properties.get(name)) {
            Some(Some(schema)) => found.extend(problems(item, schema, &at)),
            Some(None) => found.push(format!("{at} is unknown")),
            None => {}
        }
    }
    found
}
