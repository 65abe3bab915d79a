use insta::assert_snapshot;

use super::*;
use crate::verbs::export::sample;

fn registry() -> RegistryPlace {
    "mirror.internal:5000/far".parse().unwrap()
}

fn exported(lock: &Lock) -> String {
    let objects = objects(lock, &registry(), Layout::Host).unwrap();
    let objects = objects.iter().map(|object| format!("# {}\n{}", object.file, object.text));
    objects.collect::<Vec<_>>().concat()
}

#[test]
fn a_catalog_is_offered_under_the_name_that_subscriptions_expect() {
    assert_snapshot!(exported(&sample::lock()), @r"
    # catalogsource-redhat-operators.yaml
    ---
    apiVersion: operators.coreos.com/v1alpha1
    kind: CatalogSource
    metadata:
      name: redhat-operators
      namespace: openshift-marketplace
    spec:
      displayName: redhat-operators
      grpcPodConfig:
        extractContent:
          catalogDir: /configs
      image: mirror.internal:5000/far/registry.redhat.io/redhat/redhat-operator-index@sha256:32ee39659d1db75980ff1981b7bd51fec8557ed6c8b5e44a375229460fa1a6fd
      sourceType: grpc
    # clustercatalog-redhat-operators.yaml
    ---
    apiVersion: olm.operatorframework.io/v1
    kind: ClusterCatalog
    metadata:
      name: redhat-operators
    spec:
      source:
        image:
          ref: mirror.internal:5000/far/registry.redhat.io/redhat/redhat-operator-index@sha256:32ee39659d1db75980ff1981b7bd51fec8557ed6c8b5e44a375229460fa1a6fd
        type: Image
    ");
}

#[test]
fn what_is_not_pinned_or_not_there_is_an_error() {
    let refused = |lock: &Lock| objects(lock, &registry(), Layout::Host).unwrap_err().to_string();
    let mut lock = Lock::new("demo");
    assert_snapshot!(refused(&lock), @"the lock of `demo` holds no catalog");
    lock.artifacts = vec![Artifact { digest: None, ..sample::catalog("a.io/x-index:1") }];
    assert_snapshot!(refused(&lock), @"`a.io/x-index:1` is not pinned");
}

#[test]
fn two_that_would_be_one_on_the_far_side_are_an_error() {
    let mut lock = Lock::new("demo");
    lock.artifacts = ["a.io/x-index:1", "b.io/x-index:1"].map(sample::catalog).to_vec();
    assert!(objects(&lock, &registry(), Layout::OcMirror).is_err());
    assert!(objects(&lock, &registry(), Layout::Host).is_ok());
}

/// The schema of a CRD of the real inputs, which lie beside the checkout and are no part of it.
fn schema(file: &str, crd: &str, version: &str) -> Option<Value> {
    let text = fs_err::read_to_string(airlift_testkit::data(file)?).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let crd = documents.iter().find(|it| it["metadata"]["name"] == crd).unwrap();
    let mut versions = crd["spec"]["versions"].as_array().unwrap().iter();
    let version = versions.find(|it| it["name"] == version).unwrap();
    Some(version["schema"]["openAPIV3Schema"].clone())
}

/// What a cluster would refuse in `value`, or drop without a word.
fn mistakes(value: &Value, schema: &Value, place: &str) -> Vec<String> {
    let texts = |key: &str| schema[key].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    let kind = match value {
        Value::Object(_) => "object",
        Value::String(_) => "string",
        other => panic!("{place}: {other}"),
    };
    if schema["type"] != kind {
        found.push(format!("{place} is no {}", schema["type"]));
    }
    if !texts("enum").is_empty() && !texts("enum").contains(value) {
        found.push(format!("{place} is {value}"));
    }
    let fields = value.as_object().cloned().unwrap_or_default();
    let missing =
        texts("required").into_iter().filter(|it| !fields.contains_key(it.as_str().unwrap()));
    found.extend(missing.map(|name| format!("{place}.{name} is missing")));
    let known = schema["properties"].as_object().cloned().unwrap_or_default();
    // The schema of metadata is Kubernetes' own.
    for (name, below) in fields.iter().filter(|_| !known.is_empty()) {
        let place = format!("{place}.{name}");
        match known.get(name) {
            Some(schema) => found.extend(mistakes(below, schema, &place)),
            None => found.push(format!("{place} is not known")),
        }
    }
    found
}

#[test]
fn the_real_crds_take_what_is_exported() {
    let olm = "crds/olm/crds/operators.coreos.com_catalogsources.yaml";
    let v0 = schema(olm, "catalogsources.operators.coreos.com", "v1alpha1");
    let v1 = "crds/olmv1/manifests/standard.yaml";
    let v1 = schema(v1, "clustercatalogs.olm.operatorframework.io", "v1");
    let (Some(v0), Some(v1)) = (v0, v1) else { return };
    let objects = objects(&sample::lock(), &registry(), Layout::Host).unwrap();
    for (object, schema) in objects.iter().zip([&v0, &v1]) {
        let value: Value = serde_saphyr::from_str(&object.text).unwrap();
        assert_eq!(mistakes(&value, schema, "object"), Vec::<String>::new(), "{}", object.text);
        let mut wrong = value.clone();
        wrong["spec"]["sourcetype"] = json!("grpc");
        wrong["spec"]["secrets"] = json!({});
        assert!(mistakes(&wrong, schema, "object").len() >= 2, "{}", object.text);
    }
}
