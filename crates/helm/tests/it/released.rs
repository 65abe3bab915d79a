//! The charts of a real operator, of several years, against what is known about them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use airlift_helm::{Chart, RenderOptions};
use airlift_scan::documents;
use airlift_spec::Ctx;
use serde_json::Value;

use crate::world::{data, helm};

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
    let Some(data) = data() else {
        airlift_testkit::tools::skip("needs the released charts beside the repository");
        return Vec::new();
    };
    let mut all = Vec::new();
    for entry in fs_err::read_dir(data.join("gpu-operator")).unwrap() {
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
