//! Real catalogs, charts and manifests against lists that others made of the same.
//!
//! The data lies beside the checkout and is no part of it; where it is absent, the tests are skipped and say so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use airlift_spec::lock::{Artifact, Evidence, Kind};
use airlift_spec::{Finding, Lock, Reference};
use airlift_testkit::need;
use airlift_upstream::resolve::ResolveOptions;
use serde_json::Value;

use airlift_testkit::data;

use crate::world::World;

/// What `resolve --offline` makes of these sources, whose paths start from the folder of the real data.
async fn offline(sources: &str, data: &Path, programs: Option<&Path>) -> Lock {
    let mut world = World::new();
    data.clone_into(&mut world.upstream.base);
    if let Some(program) = programs {
        world.upstream.programs = program.parent().unwrap().into();
    }
    let text = format!("version: 1\nname: truth\nsources:\n{sources}");
    let stack = airlift_spec::stack::parse(&text).unwrap();
    let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
    let resolution = world.resolve_from(&stack, None, &options).await.unwrap();
    assert!(resolution.failures.is_empty(), "{:?}", resolution.failures);
    assert!(world.registry.requests().is_empty(), "nobody is asked");
    resolution.lock
}

fn references(lock: &Lock) -> BTreeSet<Reference> {
    lock.artifacts.iter().map(|artifact| artifact.reference.clone()).collect()
}

fn text(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}

fn parse(text: &str) -> Reference {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err}"))
}

#[tokio::test]
async fn a_real_mirror_run_carries_what_the_same_choice_comes_to_here() {
    let Some(data) = data("") else { return };
    let run = data.join("olm/image-lists/ocmirror-dry-run");
    let mapping = text(&run.join("mapping.txt"));
    let theirs: BTreeSet<Reference> = mapping
        .lines()
        .map(|line| parse(line.trim_start_matches("docker://").split_once('=').unwrap().0))
        .collect();
    let mut sources = "  - catalog: ./olm/catalogs/rhoai-2.25/v4.19\n    \
        as: registry.redhat.io/redhat/redhat-operator-index:v4.19\n    \
        packages: [{name: rhods-operator, channel: stable-2.25, from: 2.25.0, to: 2.25.0, default: stable-2.25}]\n"
        .to_owned();
    let set = text(&run.join("isc-rhoai.yaml"));
    let listed = set.split("additionalImages:").nth(1).unwrap().lines();
    let listed: Vec<&str> =
        listed.filter_map(|line| line.trim().strip_prefix("- name: ")).collect();
    for image in &listed {
        writeln!(sources, "  - image: {image}").unwrap();
    }
    let lock = offline(&sources, &data, None).await;
    let ours = references(&lock);

    // Of Service Mesh, whose catalog is not here, is what its name says, except the proxy that the AI operator lists.
    let is_mesh = |it: &&Reference| {
        it.path().starts_with("openshift-service-mesh") && !it.path().ends_with("/proxyv2-rhel9")
    };
    let is_ours = |it: &&Reference| {
        !is_mesh(it) && it.host() != "localhost:55000" && !it.path().ends_with("-operator-index")
    };
    let expected: BTreeSet<Reference> = theirs.iter().filter(is_ours).cloned().collect();
    assert_eq!((theirs.len(), expected.len(), listed.len()), (178, 139, 42));
    assert_eq!(ours.len(), lock.artifacts.len(), "each is there once");
    assert_eq!(expected.difference(&ours).collect::<Vec<_>>(), Vec::<&Reference>::new());

    // More are the filtered catalog, which their run writes as well and under a name of its own, and what the release's
    // page lists by now: an image that their configuration has in a comment, and four that the page got later.
    let more = lock.artifacts.iter().filter(|artifact| !expected.contains(&artifact.reference));
    let (catalogs, known): (Vec<_>, Vec<_>) = more.partition(|it| it.kind == Kind::Catalog);
    let names: Vec<String> = catalogs.iter().map(|it| it.reference.to_string()).collect();
    assert_eq!(names, ["registry.redhat.io/redhat/redhat-operator-index:v4.19"]);
    assert!(known.iter().all(|it| it.because.iter().all(|why| why.evidence == Evidence::Known)));
    let mut paths: Vec<&str> = known.iter().map(|it| it.reference.path()).collect();
    paths.dedup();
    assert_eq!((known.len(), paths), (5, vec!["modh/ray", "rhelai1/instructlab-nvidia-rhel9"]));
}

/// A release, its newest catalog here, and its name in the lists of what is published.
const RELEASES: [(&str, &str, &str, &str); 3] = [
    ("3.0", "rhoai-3.0/v4.20", "3.0.0", "fast-3.x"),
    ("3.3", "rhoai-3.3/v4.20", "3.3.0", "fast-3.x"),
    ("3.4", "rhoai-3.4/v4.20", "3.4.0", "stable-3.4"),
];

async fn release(data: &Path, catalog: &str, version: &str, channel: &str) -> Lock {
    let sources = format!(
        "  - catalog: ./olm/catalogs/{catalog}\n    as: example.com/index:v1\n    \
           packages: [{{name: rhods-operator, channel: {channel}, from: {version}, to: {version}, default: {channel}}}]\n"
    );
    offline(&sources, data, None).await
}

#[tokio::test]
async fn a_release_brings_what_it_lists_and_what_is_published_beside_it() {
    let Some(data) = data("") else { return };
    let lists = text(&data.join("olm/image-lists/rhoai-additional-images.json"));
    let lists: BTreeMap<String, Value> = serde_json::from_str(&lists).unwrap();
    for (name, catalog, version, channel) in RELEASES {
        let ours = references(&release(&data, catalog, version, channel).await);
        let fields = ["relatedImages", "additionalImages", "unsupportedImages"];
        let published = fields.iter().filter_map(|field| lists[name][field].as_array()).flatten();
        let published: BTreeSet<Reference> =
            published.map(|image| parse(image.as_str().unwrap())).collect();
        let missed: Vec<_> = published.difference(&ours).collect();
        println!("{name}: {} published, {} in the lock", published.len(), ours.len());
        assert!(missed.is_empty(), "{name}: {missed:#?}");
        assert!(published.len() > 140);
    }
}

#[tokio::test]
async fn an_operator_that_reads_another_variable_than_is_set_is_known() {
    let Some(data) = data("") else { return };
    for (name, catalog, version, channel) in RELEASES {
        let lock = release(&data, catalog, version, channel).await;
        let fallback = lock.artifact(&parse("registry.redhat.io/openshift4/ose-cli:v4.17"));
        let said = lock.findings.iter().find(|it| {
            it.code == "unset-variable" && it.message.contains("`RELATED_IMAGE_OSE_CLI_IMAGE`")
        });
        assert_eq!(fallback.is_some(), name != "3.0", "{name}");
        assert_eq!(said.is_some(), name != "3.0", "{name}");
    }
}

/// Where the operator's own manifests name images that it does not ask for, and why.
const NOT_ASKED_FOR: [(&str, &str); 8] = [
    ("kserve/config/overlays/odh/params.env", "filled in with what the bundle's variables say"),
    ("odh-model-controller/config/base/params.env", "filled in the same way"),
    ("kserve/config/overlays/odh/accelerators/", "placeholders for those parameters"),
    ("kserve/config/llmisvcconfig/", "replaced by those parameters"),
    ("rhods-operator/config/manager/", "the operator's own deployment, which the bundle has"),
    ("rhods-operator/config/monitoring/", "run by the vendor's own service alone"),
    ("rstudio-buildconfig.yaml", "built on the cluster, which takes more than images"),
    ("notebooks/manifests/odh/", "the community's images, of another product"),
];

#[tokio::test]
async fn what_an_operator_carries_inside_is_in_the_lock_or_said() {
    let Some(data) = data("") else { return };
    for (name, catalog, version, channel) in RELEASES {
        let lock = release(&data, catalog, version, channel).await;
        let (mut seen, mut missed) = (0, Vec::new());
        for component in ["kserve", "notebooks", "odh-model-controller", "rhods-operator"] {
            let folder = data.join("olm/embedded").join(component).join(format!("rhoai-{name}"));
            for path in files(&folder) {
                let place =
                    format!("{component}/{}", path.strip_prefix(&folder).unwrap().display());
                if NOT_ASKED_FOR.iter().any(|(part, _)| place.contains(part)) {
                    continue;
                }
                for image in images(&path) {
                    seen += 1;
                    let is_said = |it: &Finding| it.message.contains(&*image.repository());
                    if lock.artifact(&image).is_none() && !lock.findings.iter().any(is_said) {
                        missed.push(format!("{place}: {image}"));
                    }
                }
            }
        }
        println!("{name}: {seen} images in the manifests inside, {} missed", missed.len());
        assert!(missed.is_empty(), "{name}: {missed:#?}");
        assert!(seen > 20, "{name}");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

/// The images that a file of manifests, or one of parameters, names.
fn images(path: &Path) -> BTreeSet<Reference> {
    let scans = match path.extension().and_then(|it| it.to_str()) {
        Some("yaml" | "yml") => {
            let documents = airlift_scan::documents(&fs_err::read(path).unwrap()).unwrap();
            documents.iter().map(|document| airlift_scan::scan(&document.object)).collect()
        }
        Some("env") => vec![airlift_scan::scan_text("parameters", &text(path))],
        _ => Vec::new(),
    };
    scans.into_iter().flat_map(|scan| scan.images).map(|found| found.reference).collect()
}

#[tokio::test]
async fn every_released_chart_brings_itself_and_all_its_images() {
    let helm = need!("helm");
    let Some(data) = data("") else { return };
    for entry in fs_err::read_dir(data.join("gpu-operator")).unwrap() {
        let entry = entry.unwrap();
        let version = entry.file_name().to_string_lossy().into_owned();
        let source = format!(
            "  - chart: ./gpu-operator/{version}/gpu-operator-{version}.tgz\n    switches: include\n"
        );
        let lock = offline(&source, &data, Some(&helm)).await;
        let truth = text(&entry.path().join("truth-images.json"));
        let truth: BTreeMap<String, Value> = serde_json::from_str(&truth).unwrap();
        let truth: BTreeSet<Reference> =
            truth.values().filter_map(|it| it["ref"].as_str()).map(parse).collect();
        let is_image = |artifact: &&Artifact| artifact.kind == Kind::Image;
        let ours: BTreeSet<Reference> =
            lock.artifacts.iter().filter(is_image).map(|it| it.reference.clone()).collect();
        assert_eq!(ours, truth, "{version}");
        assert_eq!(lock.artifacts.len(), ours.len() + 1, "{version}: and the chart itself");
        println!("{version}: {} images", ours.len());
    }
}

#[tokio::test]
async fn a_rendered_platform_has_every_image_and_hardly_another() {
    let Some(data) = data("") else { return };
    for version in ["v1.9.1", "v1.10-branch"] {
        let folder = data.join("kubeflow/manifests");
        let unpacked = tempfile::tempdir().unwrap();
        let packed = fs_err::read(folder.join(format!("example-{version}.yaml.gz"))).unwrap();
        let mut render = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut render).unwrap();
        fs_err::write(unpacked.path().join("all.yaml"), render).unwrap();
        let lock = offline("  - manifests: ./all.yaml\n", unpacked.path(), None).await;
        let ours = references(&lock);
        let truth = text(&folder.join(format!("truth-candidates-{version}.txt")));
        let truth: BTreeSet<Reference> = truth.lines().map(parse).collect();
        let right = ours.intersection(&truth).count();
        println!("{version}: {right} of {}, {} found", truth.len(), ours.len());
        assert_eq!(right, truth.len(), "{version}");
        assert!(right * 100 >= ours.len() * 95, "{version}: {} are wrong", ours.len() - right);
    }
}
