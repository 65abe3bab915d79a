//! The knowledge of this repository against what products publish.

use std::collections::{BTreeMap, BTreeSet};

use airlift_scan::knowledge::{Gap, Knowledge, Product, Version};
use airlift_scan::{Evidence, documents, scan};
use serde_json::Value;

use crate::data::{canonical, data, files, measure};

fn rhods() -> Product {
    Product::Olm("rhods-operator".to_owned())
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn known(knowledge: &Knowledge, version: &Version) -> BTreeSet<String> {
    let images = knowledge.about(&rhods(), version).images;
    images.iter().map(|known| known.reference.to_string()).collect()
}

/// What the catalogs say of each bundle, by a search for lines.
fn related() -> BTreeMap<String, BTreeSet<String>> {
    let mut related: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for release in ["rhoai-2.25", "rhoai-3.0", "rhoai-3.3", "rhoai-3.4"] {
        let folder = data(&format!("olm/catalogs/{release}")).unwrap();
        for path in files(&folder, &["yaml"]) {
            let text = fs_err::read_to_string(path).unwrap();
            for document in text.split("\n---\n") {
                let Some((head, images)) = document.split_once("\nrelatedImages:\n") else {
                    continue;
                };
                let name = head.lines().find_map(|line| line.strip_prefix("name: ")).unwrap();
                let images = images
                    .lines()
                    .filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("image: "));
                related.entry(name.to_owned()).or_default().extend(images.map(canonical));
            }
        }
    }
    related
}

struct Release {
    version: Version,
    bundle: String,
    related: Vec<String>,
    additional: Vec<String>,
}

fn releases() -> Option<Vec<Release>> {
    let bytes = fs_err::read(data("olm/image-lists/rhoai-additional-images.json")?).unwrap();
    let lists: BTreeMap<String, Value> = serde_json::from_slice(&bytes).unwrap();
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|text| canonical(text.as_str().unwrap()))
            .collect()
    };
    let release = |(name, list): (&String, &Value)| Release {
        version: version(name),
        bundle: list["bundle"].as_str().unwrap_or_default().to_owned(),
        related: texts(&list["relatedImages"]),
        additional: [texts(&list["additionalImages"]), texts(&list["unsupportedImages"])].concat(),
    };
    Some(lists.iter().map(release).collect())
}

#[test]
fn the_plan_of_every_published_release_holds_all_that_its_page_and_its_bundle_list() {
    let Some(releases) = releases() else { return };
    let related = related();
    let knowledge = Knowledge::embedded();
    let (mut planned, mut wanted, mut without_catalog) = (BTreeSet::new(), BTreeSet::new(), 0);
    for release in &releases {
        let tag = |image: String| format!("{}: {image}", release.version);
        let bundle = related.get(&release.bundle);
        planned.extend(known(knowledge, &release.version).into_iter().map(tag));
        planned.extend(bundle.into_iter().flatten().cloned().map(tag));
        wanted.extend(release.additional.iter().cloned().map(tag));
        // Some bundles are in no catalog here, and cannot be planned without one.
        match bundle {
            Some(_) => wanted.extend(release.related.iter().cloned().map(tag)),
            None => without_catalog += 1,
        }
        // An image of a release that is known may be in doubt, but not all that it needs.
        let gaps = knowledge.about(&rhods(), &release.version).gaps;
        let is_of_one = |gap: &Gap| gap.message.starts_with("it needs an image of");
        assert!(gaps.iter().all(is_of_one), "{}: {gaps:?}", release.version);
    }
    println!("{} releases, {without_catalog} of them in no catalog here", releases.len());
    assert_eq!(measure("rhoai, all releases", &planned, &wanted).missed, Vec::<String>::new());
}

/// The bar above holds only if taking one away is seen.
#[test]
fn one_digest_less_is_missed() {
    let Some(releases) = releases() else { return };
    let text = include_str!("../../../../knowledge/rhods-operator.yaml");
    let digest = text.lines().rfind(|line| line.trim_start().starts_with("- sha256:")).unwrap();
    let (before, after) = text.rsplit_once(&format!("{digest}\n")).unwrap();
    let less = format!("{before}    - gone\n{after}");
    let knowledge = Knowledge::parse("rhods-operator.yaml", &less).unwrap();
    let misses = releases.iter().filter(|release| {
        let known = known(&knowledge, &release.version);
        release.additional.iter().any(|image| !known.contains(image))
    });
    assert!(misses.count() > 0);
}

#[test]
fn a_release_without_a_page_is_a_gap() {
    let advice = Knowledge::embedded().about(&rhods(), &version("3.4.4"));
    let message = "which images it needs beyond those it lists is not known; the last known before it is 3.4.2";
    assert_eq!(advice.gaps[0].message, message);
}

/// What the code reads is nowhere in the bundle, and what is set in its place is.
#[test]
fn aliases_of_variables_hold_for_the_bundles_that_are_here() {
    let Some(folder) = data("olm/bundles") else { return };
    let mut checked = 0;
    for release in ["rhoai-2.25", "rhoai-3.0", "rhoai-3.3", "rhoai-3.4"] {
        let path = format!("{release}/bundle/manifests/rhods-operator.clusterserviceversion.yaml");
        let text = fs_err::read_to_string(folder.join(path)).unwrap();
        let csv = documents(text.as_bytes()).unwrap().remove(0).object;
        let version = version(csv["spec"]["version"].as_str().unwrap());
        for alias in Knowledge::embedded().about(&rhods(), &version).env_aliases {
            let is_set = |name: &str| text.contains(&format!("name: {name}\n"));
            assert!(!is_set(&alias.reads), "{version} sets {}", alias.reads);
            assert!(
                alias.sets.iter().all(|name| is_set(name)),
                "{version} does not set {:?}",
                alias.sets
            );
            checked += 1;
        }
    }
    println!("{checked} aliases of variables hold");
    assert!(checked > 5);
}

/// The operator's deployment names the release of Istio; its embedded bundle, by annotations, the images of each.
#[test]
fn the_images_of_the_ingress_operator_are_those_its_branch_embeds() {
    let Some(folder) = data("olm/bundles/ocp-ingress-operator") else { return };
    for branch in ["4.20", "4.21", "4.22"] {
        let folder = folder.join(format!("release-{branch}"));
        let deployment =
            fs_err::read_to_string(folder.join("manifests/02-deployment.yaml")).unwrap();
        let istio = deployment.split("name: ISTIO_VERSION\n").nth(1).unwrap();
        let istio = istio.lines().next().unwrap().split_once("value: ").unwrap().1;
        let marks = format!("[\"images.{}.", istio.replace('.', "_"));
        let csv = files(&folder.join("vendor"), &["yaml"]).remove(0);
        let csv = documents(&fs_err::read(csv).unwrap()).unwrap().remove(0);
        let embedded: BTreeSet<String> = scan(&csv.object)
            .images
            .into_iter()
            .filter(|found| found.evidence == Evidence::Annotation && found.path.contains(&marks))
            .map(|found| found.reference.to_string())
            .collect();
        let product = Product::Platform("openshift".to_owned());
        let advice = Knowledge::embedded().about(&product, &version(&format!("{branch}.3")));
        let known: BTreeSet<String> =
            advice.images.iter().map(|known| known.reference.to_string()).collect();
        assert_eq!(known, embedded, "{branch}");
        assert_eq!(known.len(), 5);
        assert_eq!(advice.dependencies[0].package, "servicemeshoperator3");
    }
}
