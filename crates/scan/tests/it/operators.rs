//! Operators: their bundles, and the manifests that they carry inside.

use std::collections::BTreeSet;

use airlift_scan::{Evidence, Scan, documents, scan, scan_text};
use serde_json::Value;

use crate::data::{canonical, data, files, images};

fn texts(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if name == key => drop(found.insert(text.clone())),
                    _ => texts(value, key, found),
                }
            }
        }
        _ => {}
    }
}

/// What a cluster service version lists, runs, and hands to its operator by the convention of variables' names.
fn declared(csv: &Value) -> BTreeSet<String> {
    let mut declared = BTreeSet::new();
    texts(&csv["spec"]["relatedImages"], "image", &mut declared);
    texts(&csv["spec"]["install"], "image", &mut declared);
    declared
}

#[test]
fn every_image_that_a_bundle_declares_or_runs_is_found() {
    let Some(folder) = data("olm/bundles") else { return };
    let (mut versions, mut declared_images) = (0, 0);
    let mut hidden = BTreeSet::new();
    for path in files(&folder, &["yaml"]) {
        let Ok(documents) = documents(&fs_err::read(&path).unwrap()) else { continue };
        let is_csv = |object: &&Value| object["kind"] == "ClusterServiceVersion";
        for csv in documents.iter().map(|document| &document.object).filter(is_csv) {
            let Scan { images: found, doubts } = scan(csv);
            let all: BTreeSet<&str> = found.iter().map(|found| found.image.as_str()).collect();
            let doubted: BTreeSet<&str> = doubts.iter().map(|doubt| doubt.text.as_str()).collect();
            let declared = declared(csv);
            for image in &declared {
                let is_said = all.contains(image.trim_start_matches("oci://"))
                    || doubted.contains(image.as_str());
                assert!(is_said, "{}: `{image}`", path.display());
            }
            versions += 1;
            declared_images += declared.len();
            let is_hidden =
                |evidence| matches!(evidence, Evidence::Env | Evidence::Arg | Evidence::Parts);
            hidden.extend(
                found
                    .iter()
                    .filter(|found| is_hidden(found.evidence) && !declared.contains(&found.image))
                    .map(|found| found.reference.to_string()),
            );
        }
    }
    println!(
        "bundles: {versions} versions declare {declared_images} images, all found; {} more hide in variables, arguments, and parts",
        hidden.len()
    );
    assert!(versions > 50 && !hidden.is_empty());
}

#[test]
fn an_operand_that_only_a_variable_names_is_found() {
    let Some(folder) = data("olm/bundles/nfd") else { return };
    let path = folder.join("manifests/stable/manifests/nfd.clusterserviceversion.yaml");
    let documents = documents(&fs_err::read(path).unwrap()).unwrap();
    let found = scan(&documents[0].object).images;
    let in_variables: Vec<&str> = found
        .iter()
        .filter(|found| found.evidence == Evidence::Env)
        .map(|found| found.reference.path())
        .collect();
    assert_eq!(in_variables, ["openshift/origin-node-feature-discovery"], "{found:#?}");
}

#[test]
fn embedded_manifests_are_read_to_the_end_and_every_line_of_parameters_is_found() {
    let Some(folder) = data("olm/embedded") else { return };
    for release in ["rhoai-3.0", "rhoai-3.3", "rhoai-3.4"] {
        let (mut found, mut objects, mut doubts) = (BTreeSet::new(), 0, 0);
        for component in ["kserve", "notebooks", "odh-model-controller", "rhods-operator"] {
            let folder = folder.join(component).join(release);
            for path in files(&folder, &["yaml", "yml"]) {
                let documents = documents(&fs_err::read(&path).unwrap())
                    .unwrap_or_else(|err| panic!("{}: {err}", path.display()));
                for document in documents {
                    let scan = scan(&document.object);
                    found.extend(images(&scan));
                    doubts += scan.doubts.len();
                    objects += 1;
                }
            }
            for path in files(&folder, &["env"]) {
                let text = fs_err::read_to_string(&path).unwrap();
                let scan = scan_text("parameters", &text);
                let here = images(&scan);
                for (_, value) in text.lines().filter_map(|line| line.split_once('=')) {
                    if value.contains("@sha256:") {
                        assert!(here.contains(&canonical(value)), "{}: {value}", path.display());
                    }
                }
                found.extend(here);
            }
        }
        println!(
            "embedded {release}: {} images in {objects} objects, {doubts} doubts",
            found.len()
        );
        assert!(found.len() > 50);
    }
}

/// Generators write them, some with a line that a strict reader refuses; nothing in a schema is an image.
#[test]
fn definitions_of_resources_are_read_and_hold_no_images() {
    let Some(folder) = data("crds") else { return };
    let (mut definitions, mut doubts) = (0, BTreeSet::new());
    for path in files(&folder, &["yaml"]) {
        let documents = documents(&fs_err::read(&path).unwrap())
            .unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let is_definition = |object: &&Value| object["kind"] == "CustomResourceDefinition";
        for object in documents.iter().map(|document| &document.object).filter(is_definition) {
            let scan = scan(object);
            assert_eq!(scan.images, [], "{}", path.display());
            doubts.extend(scan.doubts.into_iter().map(|doubt| doubt.text));
            definitions += 1;
        }
    }
    println!("{definitions} definitions without an image; defaults in doubt: {doubts:?}");
    assert!(definitions > 300);
}
