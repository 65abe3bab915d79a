//! Charts on the far side: what the real Helm finds and pulls, from whatever holds them.

use std::collections::BTreeMap;
use std::path::Path;

use airlift_bundle::Sources;
use airlift_helm::{Chart, Listing, Wanted};
use airlift_registry::server::Metrics;
use airlift_serve::charts::Charts;
use airlift_serve::content::ContentBackend;
use airlift_spec::oci::media_type::OCI_MANIFEST;
use airlift_spec::{Ctx, Descriptor, Digest};
use airlift_testkit::need;
use airlift_testkit::samples::{Sample, SampleManifest};
use airlift_testkit::tools::Runner;

use crate::world::{LARGE, SMALL, Served, World, flip, largest, loaded, place_of, serve, volumes};

const REFERENCE: &str = "oci.example/charts/app:1.2.3_4";

/// A chart whose package takes several small volumes, with a signature.
fn chart(version: &str) -> (Chart, Sample) {
    let folder = tempfile::tempdir().unwrap();
    let about = format!(
        "apiVersion: v2\nname: app\nversion: {version}\nappVersion: 1.10\ndescription: 'does: things'\n"
    );
    fs_err::write(folder.path().join("Chart.yaml"), about).unwrap();
    let noise: String = (0..10_000_u32).map(|n| Digest::of(&n.to_le_bytes()).hex()).collect();
    fs_err::write(folder.path().join("noise.txt"), noise).unwrap();
    let chart = Chart::open(folder.path()).unwrap();
    let sample = sample(&chart);
    assert!(largest(&sample).1.len() as u64 > 2 * SMALL);
    (chart, sample)
}

fn sample(chart: &Chart) -> Sample {
    let oci = chart.oci(Some(b"signed".to_vec()));
    let blobs = [oci.config, oci.package.to_vec(), oci.provenance.unwrap()];
    let digest = Digest::of(&oci.manifest);
    let root = Descriptor::new(OCI_MANIFEST, digest, oci.manifest.len() as u64);
    let (media_type, bytes) = (OCI_MANIFEST.to_owned(), oci.manifest.into());
    Sample {
        blobs: blobs.into_iter().map(|bytes| (Digest::of(&bytes), bytes.into())).collect(),
        manifests: vec![SampleManifest { media_type, bytes, digest }],
        root,
        tags: BTreeMap::new(),
    }
}

/// A world with the chart `app` in version 1.2.3+4.
fn world() -> (World, Chart, Sample) {
    let (chart, sample) = chart("1.2.3+4");
    let mut world = World::new();
    world.pin_chart(REFERENCE, "app", "1.2.3+4", &sample);
    (world, chart, sample)
}

async fn index(served: &Served) -> String {
    String::from_utf8(served.get("/charts/index.yaml").await.expect(200).body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_adds_the_repository_searches_it_and_pulls_the_very_package() {
    let helm = need!("helm");
    let (world, chart, _) = world();
    let served = serve(vec![volumes(&world.cut("out", SMALL))]).await;
    let runner = Runner::new().unwrap();
    let run = |args: &[&str]| runner.succeed(&helm, args.iter().copied());
    run(&["repo", "add", "far", &format!("http://{}/charts", served.address)]);
    let found = run(&["search", "repo", "far/", "--output", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&found[0]["name"], &found[0]["version"]), (&"far/app".into(), &"1.2.3+4".into()));
    assert_eq!(found[0]["description"], "does: things");
    run(&["pull", "far/app", "--version", "1.2.3+4", "--prov"]);
    has_pulled(runner.home(), &chart);
    assert!(run(&["show", "chart", "far/app"]).contains("version: 1.2.3+4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_pulls_the_very_package_as_oci() {
    let helm = need!("helm");
    let (world, chart, _) = world();
    let served = serve(vec![volumes(&world.cut("out", SMALL))]).await;
    let runner = Runner::new().unwrap();
    let address = format!("oci://{}/oci.example/charts/app", served.address);
    runner.succeed(&helm, ["pull", &address, "--version", "1.2.3+4", "--plain-http", "--prov"]);
    has_pulled(runner.home(), &chart);
}

fn has_pulled(folder: &Path, chart: &Chart) {
    let pulled = fs_err::read(folder.join(chart.file_name())).unwrap();
    assert!(pulled == chart.package().as_ref(), "another package");
    let signature = fs_err::read(folder.join(format!("{}.prov", chart.file_name()))).unwrap();
    assert_eq!(signature, b"signed");
}

#[tokio::test]
async fn whatever_holds_the_charts_the_repository_is_the_same() {
    let (world, chart, sample) = world();
    let of_volumes = serve(vec![volumes(&world.cut("out", SMALL))]).await;
    let of_store = serve(vec![world.kept("demo")]).await;
    let registry = loaded(of_store.address.to_string(), "", world.lock("demo"));
    let of_registry = serve(vec![registry]).await;
    let expected = index(&of_store).await;
    for served in [of_volumes, of_registry, of_store] {
        assert_eq!(index(&served).await, expected);
        let listing = Listing::read(expected.as_bytes(), "index.yaml", "app").unwrap();
        let entry = listing.choose(&Wanted::Version("1.2.3+4".to_owned())).unwrap();
        assert_eq!(entry.digest, Some(largest(&sample).0));
        assert_eq!(entry.urls, ["app-1.2.3+4.tgz"]);
        for target in ["/charts/app-1.2.3+4.tgz", "/charts/app-1.2.3%2B4.tgz"] {
            let got = served.get(target).await.expect(200);
            assert!(got.body == chart.package().as_ref(), "{target}");
            assert_eq!(got.header("content-length"), Some(got.body.len().to_string().as_str()));
        }
        served.has_all("oci.example/charts/app", &sample).await;
    }
}

#[tokio::test]
async fn what_is_no_chart_is_not_there() {
    let (world, _, _) = world();
    let served = serve(vec![world.kept("demo")]).await;
    for target in ["/charts/app-1.2.3.tgz", "/charts/..%2Findex.yaml", "/charts/", "/charts/app"] {
        served.get(target).await.expect(404);
    }
    served.get("/").await.expect(200);
    served.request("PUT", "/charts/app-1.2.3+4.tgz").send().await.expect(405);
    let none = serve(vec![World::new().kept("none")]).await;
    assert!(index(&none).await.contains("entries: {}"));
}

#[tokio::test]
async fn a_package_on_an_absent_volume_is_listed_and_names_it() {
    let (world, _, sample) = world();
    let folder = world.cut("out", SMALL);
    let (volume, _) = place_of(&folder, &largest(&sample).0);
    fs_err::remove_file(&volume).unwrap();
    let served = serve(vec![volumes(&folder)]).await;
    assert!(index(&served).await.contains("\"version\":\"1.2.3+4\""));
    let refused = served.get("/charts/app-1.2.3+4.tgz").await.expect(404);
    let message = String::from_utf8(refused.body).unwrap();
    assert!(message.contains(volume.file_name().unwrap().to_str().unwrap()), "{message}");
}

#[tokio::test]
async fn a_chart_none_of_which_is_there_is_listed_by_its_name() {
    let (world, _, _) = world();
    let folder = world.cut("out", LARGE);
    fs_err::remove_file(folder.join("demo.00001.tar")).unwrap();
    let served = serve(vec![volumes(&folder)]).await;
    let text = index(&served).await;
    let listing = Listing::read(text.as_bytes(), "index.yaml", "app").unwrap();
    assert_eq!((listing.entries.len(), listing.entries[0].digest), (1, None), "{text}");
    served.get("/charts/app-1.2.3+4.tgz").await.expect(404);
}

#[tokio::test]
async fn a_damaged_package_is_sent_to_nobody() {
    let (world, _, sample) = world();
    let folder = world.cut("out", LARGE);
    let (file, offset) = place_of(&folder, &largest(&sample).0);
    flip(&file, offset + 1000);
    let served = serve(vec![volumes(&folder)]).await;
    served.get("/charts/app-1.2.3+4.tgz").await.expect(500);
    assert_eq!(served.notes(), ["demo.00001.tar: chunk 0 is damaged"]);
}

#[tokio::test]
async fn of_two_charts_of_one_name_the_first_has_it_and_that_is_said() {
    let (mut world, first, sample) = world();
    let folder = tempfile::tempdir().unwrap();
    let about = "apiVersion: v2\nname: app\nversion: 1.2.3+4\ndescription: another\n";
    fs_err::write(folder.path().join("Chart.yaml"), about).unwrap();
    let other = self::sample(&Chart::open(folder.path()).unwrap());
    world.pin_chart("other.example/app:1.2.3_4", "app", "1.2.3+4", &other);
    // The same chart under another name is no other.
    world.pin_chart("zz.example/app:1.2.3_4", "app", "1.2.3+4", &sample);
    let content = world.kept("demo");
    let sources = Sources::open(vec![content.clone()], &Ctx::default()).await.unwrap();
    let (_, findings) = Charts::new(&ContentBackend::new(sources, &Metrics::default()));
    let said: Vec<_> = findings.iter().map(|it| (it.code.as_str(), it.object.as_str())).collect();
    assert_eq!(said, [("chart-name-taken", "other.example/app:1.2.3_4")]);
    let served = serve(vec![content]).await;
    assert!(served.get("/charts/app-1.2.3+4.tgz").await.body == first.package().as_ref());
    served.has_all("other.example/app", &other).await;
}
