//! What is carried of a chart, as Helm itself receives it.

use std::path::{Path, PathBuf};

use airlift_helm::{Chart, Listed, RenderError, RenderOptions, index, media_type};
use airlift_spec::Ctx;
use airlift_testkit::need;
use airlift_testkit::real::{Kind, RealOptions, RealRegistry};
use airlift_testkit::tools::Runner;

use airlift_testkit::data;

use crate::world::{chart, helm};

/// Puts `chart` into a registry as airlift carries it: its blobs, then its manifest.
fn push(runner: &Runner, oras: &Path, registry: &RealRegistry, chart: &Chart) {
    let oci = chart.oci(Some(b"signed".to_vec()));
    let repository = format!("{}/charts/{}", registry.host(), chart.metadata.name);
    let file = |name: &str, bytes: &[u8]| {
        let name = format!("{name}.blob");
        fs_err::write(runner.home().join(&name), bytes).unwrap();
        name
    };
    for (name, bytes) in [
        ("config", oci.config.as_slice()),
        ("package", &oci.package),
        ("provenance", oci.provenance.as_deref().unwrap()),
    ] {
        let args = ["blob", "push", "--plain-http", &repository, &file(name, bytes)];
        runner.succeed(oras, args);
    }
    let tagged = format!("{repository}:{}", chart.tag());
    runner.succeed(
        oras,
        ["manifest", "push", "--plain-http", &tagged, &file("manifest", &oci.manifest)],
    );
}

#[test]
fn helm_pulls_the_very_package_from_a_registry() {
    let program = need!("helm");
    let (oras, server) = (need!("oras"), need!(Kind::Distribution3.program()));
    let registry = RealRegistry::start(&server, &RealOptions::default()).unwrap();
    let runner = Runner::new().unwrap();
    let chart = chart(&[
        (
            "Chart.yaml",
            "apiVersion: v2\nname: app\nversion: 1.2.3+4\nappVersion: 1.10\ndescription: x\n",
        ),
        ("templates/x.yaml", "a: {{ .Chart.AppVersion }}"),
    ]);
    push(&runner, &oras, &registry, &chart);
    let address = format!("oci://{}/charts/app", registry.host());
    let pull = ["pull", &address, "--version", "1.2.3+4", "--plain-http", "--prov"];
    runner.succeed(&program, pull);
    let pulled = fs_err::read(runner.home().join("app-1.2.3+4.tgz")).unwrap();
    assert_eq!(pulled, chart.package().as_ref());
    let signed = fs_err::read(runner.home().join("app-1.2.3+4.tgz.prov")).unwrap();
    assert_eq!(signed, b"signed");
    let shown = runner
        .succeed(&program, ["show", "chart", &address, "--version", "1.2.3+4", "--plain-http"]);
    assert!(shown.contains("appVersion: \"1.1\"") || shown.contains("appVersion: 1.1"), "{shown}");
    assert_eq!(media_type::PACKAGE, "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
}

#[test]
fn helm_reads_the_index_that_is_written() {
    let program = need!("helm");
    let runner = Runner::new().unwrap();
    let chart = chart(&[]);
    let text = index(&[Listed::of(&chart, "https://repo.test/app-1.2.3.tgz".to_owned())]);
    let repositories = runner.home().join("cache/helm/repository");
    fs_err::create_dir_all(&repositories).unwrap();
    fs_err::write(repositories.join("near-index.yaml"), text).unwrap();
    let listed = "apiVersion: v1\nrepositories: [{name: near, url: 'https://repo.test'}]\n";
    let config = runner.home().join("config/helm");
    fs_err::create_dir_all(&config).unwrap();
    fs_err::write(config.join("repositories.yaml"), listed).unwrap();
    let found = runner.succeed(&program, ["search", "repo", "near/", "--output", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found[0]["name"], "near/app");
    assert_eq!(found[0]["version"], "1.2.3");
    assert_eq!(found[0]["app_version"], "4.5");
}

/// All folders below `folder` that are charts.
fn charts(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("Chart.yaml").is_file() {
        found.push(folder.to_owned());
    }
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            charts(&entry.path(), found);
        }
    }
}

#[test]
fn a_packed_folder_renders_as_the_folder_does() {
    let helm = helm!();
    let program = need!("helm");
    let Some(installs) = data("olm/installs") else { return };
    let mut folders = Vec::new();
    charts(&installs, &mut folders);
    folders.sort();
    assert!(!folders.is_empty());
    let runner = Runner::new().unwrap();
    let mut refused = 0;
    for folder in &folders {
        let chart = Chart::open(folder).unwrap();
        let ours = helm.prepare(&chart).unwrap().render(&RenderOptions::default(), &Ctx::default());
        let at = folder.display().to_string();
        // Twice: some charts make passwords, which are others each time.
        let [theirs, again] = [(); 2].map(|()| {
            runner.run(&program, ["template", "release", &at, "--include-crds"]).unwrap()
        });
        match ours {
            Ok(ours) => {
                let [ours, theirs, again] =
                    [&ours.documents, &theirs.stdout, &again.stdout].map(|text| text.lines());
                assert_eq!(ours.clone().count(), theirs.clone().count(), "{at}");
                for ((ours, theirs), again) in ours.zip(theirs).zip(again) {
                    assert!(ours == theirs || theirs != again, "{at}: {ours}");
                }
            }
            Err(RenderError::Refused { message, .. }) => {
                refused += 1;
                assert!(!theirs.is_success() && !message.is_empty(), "{at}: {message}");
            }
            Err(err) => panic!("{at}: {err}"),
        }
    }
    eprintln!("{} charts, {refused} of which want values", folders.len());
}
