use airlift_spec::Digest;

use super::*;
use crate::config::ImageSet;
use crate::mapping::{Filtered, Item, Mode};
use crate::name::ImageName;

const HEX: &str = "3a4f6de4ad8ca2232020e8475558d9e8327f415e121720ce03571d94f372a13f";

fn routes() -> Routes {
    Routes {
        mode: Mode::MirrorToMirror,
        cache: "localhost:55000".to_owned(),
        registry: "reg:5000/ns".to_owned(),
        max_nested_paths: None,
    }
}

fn name(text: &str) -> ImageName {
    ImageName::parse(text).unwrap()
}

fn additional(text: &str) -> Item {
    Item::Additional { image: name(text), target_repo: None, target_tag: None }
}

fn written(routes: &Routes, items: &[Item]) -> BTreeMap<String, String> {
    let mirrored = Mirrored {
        routes,
        copies: &routes.copies(items),
        operators: &[],
        templates: BTreeMap::new(),
        signatures: Vec::new(),
    };
    let (files, findings) = cluster_resources(&mirrored).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    files.into_iter().map(|file| (file.name, file.text)).collect()
}

#[test]
fn mirror_sets_are_sorted_and_say_what_was_mirrored() {
    let items = [
        additional("b.io/org/tool:v1"),
        additional(&format!("b.io/org/both:v1@sha256:{HEX}")),
        Item::Related(name(&format!("a.io/z/one@sha256:{HEX}"))),
        Item::Related(name(&format!("a.io/a/two@sha256:{HEX}"))),
        Item::Release(name("quay.io/o/release:4.18.1-x86_64")),
    ];
    let files = written(&routes(), &items);
    assert_eq!(
        files["idms-oc-mirror.yaml"],
        "---
apiVersion: config.openshift.io/v1
kind: ImageDigestMirrorSet
metadata:
  annotations:
    createdBy: airlift oc-mirror
  name: idms-release-0
spec:
  imageDigestMirrors:
  - mirrors:
    - reg:5000/ns/openshift/release-images
    source: quay.io/o/release
---
apiVersion: config.openshift.io/v1
kind: ImageDigestMirrorSet
metadata:
  annotations:
    createdBy: airlift oc-mirror
  name: idms-operator-0
spec:
  imageDigestMirrors:
  - mirrors:
    - reg:5000/ns/a
    source: a.io/a
  - mirrors:
    - reg:5000/ns/z
    source: a.io/z
---
apiVersion: config.openshift.io/v1
kind: ImageDigestMirrorSet
metadata:
  annotations:
    createdBy: airlift oc-mirror
  name: idms-generic-0
spec:
  imageDigestMirrors:
  - mirrors:
    - reg:5000/ns/org
    source: b.io/org
"
    );
    let tags = &files["itms-oc-mirror.yaml"];
    assert!(tags.contains("kind: ImageTagMirrorSet") && tags.contains("imageTagMirrors:"));
    assert!(tags.contains("name: itms-release-0") && tags.contains("name: itms-generic-0"));
    assert!(!tags.contains("itms-operator-0"));
}

#[test]
fn the_order_of_what_was_mirrored_does_not_matter() {
    let mut items =
        vec![additional("b.io/org/tool:v1"), additional("a.io/x/y:v1"), additional("a.io/y:v1")];
    let before = written(&routes(), &items);
    items.reverse();
    assert_eq!(before, written(&routes(), &items));
}

/// The only source and mirror of the only set.
fn redirect(routes: &Routes, item: Item) -> (String, String) {
    let files = written(routes, &[item]);
    let text = files.values().next().unwrap().trim_start_matches("---\n");
    let object: Value = serde_saphyr::from_str(text).unwrap();
    let entries = object["spec"].as_object().unwrap().values().next().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&entries[0]["source"]), text(&entries[0]["mirrors"][0]))
}

#[test]
fn namespaces_are_redirected_where_the_path_is_kept_and_else_the_repository() {
    let pair = |source: &str, mirror: &str| (source.to_owned(), mirror.to_owned());
    let plain = |text: &str| redirect(&routes(), additional(text));
    assert_eq!(plain("a.io/b/c/d:v1"), pair("a.io/b/c", "reg:5000/ns/b/c"));
    assert_eq!(plain("a.io/d:v1"), pair("a.io", "reg:5000/ns"));
    let moved = Item::Additional {
        image: name("a.io/b/c:v1"),
        target_repo: Some("own/place".to_owned()),
        target_tag: None,
    };
    assert_eq!(redirect(&routes(), moved), pair("a.io/b/c", "reg:5000/ns/own/place"));
    let flat = Routes { max_nested_paths: Some(2), ..routes() };
    assert_eq!(redirect(&flat, additional("a.io/b/c:v1")), pair("a.io/b/c", "reg:5000/ns/b-c"));
    let whole = Routes { registry: "reg:5000".to_owned(), ..routes() };
    assert_eq!(redirect(&whole, additional("a.io/d:v1")), pair("a.io", "reg:5000"));
}

#[test]
fn a_name_that_the_cluster_spells_out_is_redirected_as_it_spells_it() {
    assert_eq!(
        redirect(&routes(), additional("ubuntu:22.04")),
        ("docker.io/library/ubuntu".to_owned(), "reg:5000/ns/ubuntu".to_owned())
    );
    assert_eq!(
        redirect(&routes(), additional("bitnami/redis:7")),
        ("docker.io/bitnami/redis".to_owned(), "reg:5000/ns/redis".to_owned())
    );
}

/// Files and findings of these catalogs.
fn catalogs(
    operators: &str,
    templates: &[(&str, Result<&str, &str>)],
) -> (BTreeMap<String, String>, Vec<Finding>) {
    let text = format!("kind: ImageSetConfiguration\nmirror: {{operators: [{operators}]}}");
    let set = ImageSet::parse(&text).unwrap();
    let filtered = |it: &Operator| {
        (!it.full).then(|| Filtered { tag: "t".to_owned(), digest: Some(Digest::of(b"filtered")) })
    };
    let items: Vec<Item> = set.operators.iter().map(|it| it.item(filtered(it))).collect();
    let owned = |(path, text): &(&str, Result<&str, &str>)| {
        ((*path).to_owned(), text.map(str::to_owned).map_err(str::to_owned))
    };
    let routes = routes();
    let mirrored = Mirrored {
        routes: &routes,
        copies: &routes.copies(&items),
        operators: &set.operators,
        templates: templates.iter().map(owned).collect(),
        signatures: Vec::new(),
    };
    let (files, findings) = cluster_resources(&mirrored).unwrap();
    (files.into_iter().map(|file| (file.name, file.text)).collect(), findings)
}

#[test]
fn a_catalog_has_a_source_and_a_cluster_catalog() {
    let (files, findings) = catalogs("{catalog: 'a.io/redhat/redhat-operator-index:v4.18'}", &[]);
    assert!(findings.is_empty());
    assert_eq!(
        files["cs-redhat-operator-index-v4-18.yaml"],
        "apiVersion: operators.coreos.com/v1alpha1
kind: CatalogSource
metadata:
  annotations:
    createdBy: airlift oc-mirror
  name: cs-redhat-operator-index-v4-18
  namespace: openshift-marketplace
spec:
  grpcPodConfig:
    extractContent:
      catalogDir: /configs
  image: reg:5000/ns/redhat/redhat-operator-index:v4.18
  sourceType: grpc
"
    );
    let catalog = &files["cc-redhat-operator-index-v4-18.yaml"];
    assert!(catalog.contains("ref: reg:5000/ns/redhat/redhat-operator-index:v4.18"), "{catalog}");
    assert_eq!(files.len(), 2, "catalogs are in no mirror set: {:?}", files.keys());
}

#[test]
fn a_catalog_that_is_carried_as_it_is_serves_itself() {
    let (files, _) = catalogs("{catalog: 'a.io/i:v1', full: true}", &[]);
    assert!(!files["cs-i-v1.yaml"].contains("grpcPodConfig"), "{}", files["cs-i-v1.yaml"]);
}

#[test]
fn a_catalog_that_no_tag_leads_to_is_named_by_the_digest_of_what_was_pushed() {
    let image = |catalog: &str| {
        let (files, _) = catalogs(catalog, &[]);
        let file = |prefix: &str| {
            let text = files.iter().find(|(name, _)| name.starts_with(prefix)).unwrap().1;
            serde_saphyr::from_str::<Value>(text).unwrap()
        };
        let image = file("cs-")["spec"]["image"].clone();
        assert_eq!(file("cc-")["spec"]["source"]["image"]["ref"], image);
        image.as_str().unwrap().to_owned()
    };
    let pinned = format!("a.io/x/i@sha256:{HEX}");
    let made = Digest::of(b"filtered");
    assert_eq!(image(&format!("{{catalog: '{pinned}'}}")), format!("reg:5000/ns/x/i@{made}"));
    let whole = format!("{{catalog: '{pinned}', full: true}}");
    assert_eq!(image(&whole), format!("reg:5000/ns/x/i@sha256:{HEX}"));
    let tagged = format!("{{catalog: '{pinned}', targetTag: v9}}");
    assert_eq!(image(&tagged), "reg:5000/ns/x/i:v9");
    assert_eq!(image(&format!("{{catalog: 'a.io/x/i:v1@sha256:{HEX}'}}")), "reg:5000/ns/x/i:v1");
}

#[test]
fn names_of_catalogs_are_ones_that_a_cluster_takes() {
    let named = |image: &str| {
        let (files, _) = catalogs(&format!("{{catalog: '{image}'}}"), &[]);
        files.into_keys().last().unwrap()
    };
    assert_eq!(named(&format!("a.io/i@sha256:{HEX}")), "cs-i-sha256-13a30.yaml");
    assert_eq!(named("a.io/my.index_x:V1.2-long-enough"), "cs-my-index-x-v1-2-long-en.yaml");
    assert_eq!(named("a.io/i:v1.2.3-rc.1-"), "cs-i-v1-2-3-rc-1.yaml");
    assert!(named(&format!("a.io/{}:v1", "x".repeat(100))).len() <= 63 + ".yaml".len());
}

#[test]
fn two_catalogs_of_one_name_keep_a_file_each() {
    let (files, findings) = catalogs("{catalog: 'a.io/x/i:v1'}, {catalog: 'a.io/y/i:v1'}", &[]);
    assert!(files["cs-i-v1.yaml"].contains("ns/x/i:v1"));
    assert!(files["cs-i-v1-2.yaml"].contains("ns/y/i:v1"));
    assert_eq!(findings[0].code, "catalog-name-taken");
}

const TEMPLATED: &str = "{catalog: 'a.io/i:v1', targetCatalogSourceTemplate: /t.yaml}";

#[test]
fn a_template_keeps_what_it_says_beside_what_only_we_know() {
    let template = "apiVersion: operators.coreos.com/v1alpha1
kind: CatalogSource
metadata: {name: theirs, creationTimestamp: null, annotations: {a: b}}
spec: {image: theirs, updateStrategy: {registryPoll: {interval: 30m}}, secrets: ['true'], grpcPodConfig: {memoryTarget: 1Gi, extractContent: {cacheDir: /tmp/cache, catalogDir: /c}}}
status: {x: y}
";
    let (files, findings) = catalogs(TEMPLATED, &[("/t.yaml", Ok(template))]);
    assert!(findings.is_empty(), "{findings:?}");
    let object: Value = serde_saphyr::from_str(&files["cs-i-v1.yaml"]).unwrap();
    assert_eq!(
        object,
        json!({
            "apiVersion": "operators.coreos.com/v1alpha1",
            "kind": "CatalogSource",
            "metadata": {
                "annotations": { "a": "b", "createdBy": "airlift oc-mirror" },
                "name": "cs-i-v1",
                "namespace": "openshift-marketplace",
            },
            "spec": {
                "grpcPodConfig": { "extractContent": { "catalogDir": "/configs" }, "memoryTarget": "1Gi" },
                "image": "reg:5000/ns/i:v1",
                "secrets": ["true"],
                "sourceType": "grpc",
                "updateStrategy": { "registryPoll": { "interval": "30m" } },
            },
        })
    );
}

#[test]
fn a_template_says_how_a_whole_catalog_is_served() {
    let template = "apiVersion: operators.coreos.com/v1alpha1
kind: CatalogSource
spec: {grpcPodConfig: {extractContent: {cacheDir: /cache, catalogDir: /c}}}
";
    let whole = TEMPLATED.replace('}', ", full: true}");
    let (files, _) = catalogs(&whole, &[("/t.yaml", Ok(template))]);
    let object: Value = serde_saphyr::from_str(&files["cs-i-v1.yaml"]).unwrap();
    let extracted = &object["spec"]["grpcPodConfig"]["extractContent"];
    assert_eq!(*extracted, json!({ "cacheDir": "/cache", "catalogDir": "/c" }));
}

#[test]
fn a_template_that_is_none_is_said_and_not_used() {
    let head = "apiVersion: operators.coreos.com/v1alpha1\nkind: CatalogSource\n";
    let config_map = format!("{head}spec: {{configMap: x}}");
    let internal = format!("{head}spec: {{sourceType: internal}}");
    let cases = [
        (Ok("kind: CatalogSource"), "apiVersion"),
        (Ok("apiVersion: operators.coreos.com/v1alpha1\nkind: Pod"), "kind CatalogSource"),
        (Ok(config_map.as_str()), "configMap"),
        (Ok(internal.as_str()), "sourceType grpc"),
        (Ok("a: ["), "not YAML"),
        (Err("no permission"), "no permission"),
    ];
    for (template, expected) in cases {
        let (files, findings) = catalogs(TEMPLATED, &[("/t.yaml", template)]);
        assert!(files["cs-i-v1.yaml"].contains("sourceType: grpc"));
        assert_eq!(findings[0].code, "template-not-used");
        assert!(findings[0].message.contains(expected), "{findings:?}");
    }
    assert!(catalogs(TEMPLATED, &[]).1[0].message.contains("is not there"));
}

#[test]
fn the_update_service_needs_releases_and_their_graph() {
    let release = Item::Release(name("quay.io/o/release:4.18.1-x86_64"));
    let files = written(&routes(), &[release.clone(), Item::Graph]);
    let object: Value = serde_saphyr::from_str(&files["updateService.yaml"]).unwrap();
    assert_eq!(
        object["spec"],
        json!({
            "graphDataImage": "reg:5000/ns/openshift/graph-image:latest",
            "releases": "reg:5000/ns/openshift/release-images",
            "replicas": 2,
        })
    );
    assert_eq!(object["metadata"]["name"], "update-service-oc-mirror");
    assert!(!written(&routes(), &[release]).contains_key("updateService.yaml"));
}

#[test]
fn signatures_are_in_one_config_map_in_two_forms() {
    let signature = |hex: char, text: &str| Signature {
        release: format!("sha256:{}", hex.to_string().repeat(64)).parse().unwrap(),
        bytes: text.as_bytes().to_vec(),
    };
    let files =
        releases::signature_files(&[signature('b', "B"), signature('a', "A"), signature('b', "B")]);
    let json: Value = serde_json::from_str(&files[0].text).unwrap();
    let yaml: Value = serde_saphyr::from_str(&files[1].text).unwrap();
    assert_eq!(json, yaml);
    assert_eq!(
        json["binaryData"],
        json!({
            format!("sha256-{}-1", "a".repeat(64)): "QQ==",
            format!("sha256-{}-2", "b".repeat(64)): "Qg==",
        })
    );
    assert_eq!(json["metadata"]["labels"]["release.openshift.io/verification-signatures"], "");
    assert!(releases::signature_files(&[]).is_empty());
}
