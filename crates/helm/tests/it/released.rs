//! The charts of a real operator, of several years, against what is known about them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use airlift_helm::{Chart, ExploreOptions, Gated, RenderOptions};
use airlift_scan::documents;
use airlift_spec::{Ctx, Reference};
use serde_json::{Map, Value};

use airlift_testkit::data;

use crate::world::helm;

/// A released chart and the answers that lie beside it.
struct Release {
    name: String,
    folder: PathBuf,
    chart: Chart,
}

impl Release {
    fn text(&self, file: &str) -> String {
        fs_err::read_to_string(self.folder.join(file)).unwrap()
    }
}

fn releases() -> Vec<Release> {
    let Some(charts) = data("gpu-operator") else { return Vec::new() };
    let mut all = Vec::new();
    for entry in fs_err::read_dir(charts).unwrap() {
        let folder = entry.unwrap().path();
        let is_package = |path: &PathBuf| path.extension() == Some("tgz".as_ref());
        let mut files = fs_err::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let chart = Chart::open(&files.find(is_package).unwrap()).unwrap();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        all.push(Release { name, folder, chart });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// As the answers were made, but for the CRDs.
fn options() -> RenderOptions {
    RenderOptions {
        release: "rel".to_owned(),
        namespace: "ns".to_owned(),
        ..RenderOptions::default()
    }
}

fn objects(text: &str) -> BTreeMap<String, Value> {
    let key = |object: &Value| {
        let field = |path: &str| object.pointer(path).map(ToString::to_string).unwrap_or_default();
        format!("{} {} {}", field("/apiVersion"), field("/kind"), field("/metadata/name"))
    };
    let documents = documents(text.as_bytes()).unwrap();
    documents.into_iter().map(|document| (key(&document.object), document.object)).collect()
}

#[test]
fn every_object_is_the_one_that_helm_renders_for_its_user() {
    let helm = helm!();
    for release in releases() {
        let ready = helm.prepare(&release.chart).unwrap();
        let rendered = ready.render(&options(), &Ctx::default()).unwrap();
        let (ours, theirs) =
            (objects(&rendered.documents), objects(&release.text("rendered-by-helm.yaml")));
        for (key, object) in &theirs {
            assert_eq!(ours.get(key), Some(object), "{}: {key}", release.name);
        }
        let crds = release.chart.crds().count() + subchart_crds(&release.chart);
        let more: Vec<_> = ours.keys().filter(|key| !theirs.contains_key(*key)).collect();
        assert!(more.iter().all(|key| key.contains("CustomResourceDefinition")), "{more:?}");
        eprintln!(
            "{}: {} objects agree, {} CRDs of {crds} files besides",
            release.name,
            theirs.len(),
            more.len()
        );
    }
}

fn subchart_crds(chart: &Chart) -> usize {
    chart.subcharts.iter().map(|sub| sub.crds().count() + subchart_crds(sub)).sum()
}

/// What is known about the images of a release: reference, how a default install stands to it, its switches.
struct Truth {
    reference: Reference,
    is_rendered: bool,
    gates: Vec<String>,
}

fn truth(release: &Release) -> Vec<Truth> {
    let all: Map<String, Value> = serde_json::from_str(&release.text("truth-images.json")).unwrap();
    let entry = |value: &Value| {
        let gates = value["gate"].as_str().unwrap_or_default().split(", ");
        Some(Truth {
            reference: value["ref"].as_str()?.parse().unwrap(),
            is_rendered: value["default"] != "absent",
            gates: gates.map(str::to_owned).collect(),
        })
    };
    all.values().filter_map(entry).collect()
}

#[test]
fn every_image_of_a_release_is_found_and_none_is_invented() {
    let helm = helm!();
    for release in releases() {
        let (name, truth) = (&release.name, truth(&release));
        let ready = helm.prepare(&release.chart).unwrap();
        let found = ready.explore(&options(), &ExploreOptions::default(), &Ctx::default()).unwrap();
        let rendered = found.images.references();
        for known in &truth {
            let Truth { reference, gates, .. } = known;
            let gated = found.gated.iter().find(|gated| gated.image.reference == *reference);
            if known.is_rendered {
                assert!(rendered.contains(reference), "{name}: {reference} is not found");
            } else if !rendered.contains(reference) {
                let gate = gated.map(Gated::gate).unwrap_or_default();
                assert!(
                    gates.iter().any(|name| gate.contains(name)),
                    "{name}: {reference}: {gate}"
                );
            }
        }
        let gated = found.gated.iter().map(|gated| &gated.image.reference);
        for reference in rendered.iter().copied().chain(gated) {
            let is_known = truth.iter().any(|known| known.reference == *reference);
            assert!(is_known, "{name}: {reference} is invented");
        }
        assert!(
            found.untried.is_empty() && found.refused.is_empty(),
            "{name}: {:?}",
            found.refused
        );
        eprintln!(
            "{name}: {} images, {} more by switches, {} renders",
            rendered.len(),
            found.gated.len(),
            found.renders
        );
    }
}

#[test]
fn every_image_field_of_a_render_is_found() {
    let helm = helm!();
    for release in releases() {
        let ready = helm.prepare(&release.chart).unwrap();
        let rendered = ready.render(&options(), &Ctx::default()).unwrap();
        let images = ready.images(&rendered, &Ctx::default()).unwrap();
        let found = images.references();
        for line in release.text("rendered-by-helm.yaml").lines() {
            let field = line.trim().trim_start_matches("- ").strip_prefix("image: ");
            let Some(text) = field.map(|text| text.trim_matches('"')) else { continue };
            // Without a registry it is one part of several, which the test above is about.
            if text.contains('/') {
                let reference: Reference = text.parse().unwrap();
                assert!(found.contains(&reference), "{}: {text}", release.name);
            }
        }
    }
}

#[test]
fn values_alone_name_every_image_of_a_release() {
    for release in releases() {
        let values = release.chart.all_values().unwrap();
        let found = release.chart.unrendered(&values).unwrap();
        let truth = truth(&release);
        for Truth { reference, .. } in &truth {
            let names = found.iter().any(|image| image.reference == *reference);
            assert!(names, "{}: {reference} is not named", release.name);
        }
        for image in found {
            let is_known = truth.iter().any(|known| known.reference == image.reference);
            assert!(is_known, "{}: {image:?} is invented", release.name);
        }
    }
}
