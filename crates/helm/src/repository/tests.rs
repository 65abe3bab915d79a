use airlift_spec::Explain as _;
use serde_json::json;

use super::*;

const INDEX: &str = "\
apiVersion: v1
entries:
  other:
  - name: other
    version: 9.0.0
    urls: [x.tgz]
  \"gpu-operator\":
    - name: gpu-operator
      version: v24.3.0
      appVersion: 1.10
      description: |
        other:
          says: things
      urls:
        - charts/gpu-operator-v24.3.0.tgz
    - {name: gpu-operator, version: v24.9.2, digest: sha256:0000000000000000000000000000000000000000000000000000000000000001, urls: ['https://cdn/x.tgz']}
    - {name: gpu-operator, version: v25.0.0-rc.1, urls: [y.tgz]}
    - {name: gpu-operator, version: nonsense, urls: [z.tgz]}
    - {name: gpu-operator, version: v24.9.10, deprecated: true, urls: [w.tgz]}
generated: \"2024-01-01T00:00:00Z\"
";

fn listing() -> Listing {
    Listing::read(INDEX.as_bytes(), "https://h/index.yaml", "gpu-operator").unwrap()
}

fn choose(wanted: &str) -> Result<String, ChartError> {
    let wanted = Wanted::Version(wanted.to_owned());
    listing().choose(&wanted).map(|entry| entry.version.clone())
}

#[test]
fn the_version_that_helm_would_choose_is_chosen() {
    let listing = listing();
    let newest = |wanted| listing.choose(&wanted).unwrap().version.clone();
    assert_eq!(newest(Wanted::Latest), "v24.9.10");
    assert_eq!(newest(Wanted::LatestWithPrereleases), "v25.0.0-rc.1");
    for (wanted, chosen) in [
        ("v24.9.2", "v24.9.2"),
        ("24.9.2", "v24.9.2"),
        ("24.3.x", "v24.3.0"),
        ("~24.9.0", "v24.9.10"),
        (">=25.0.0-0", "v25.0.0-rc.1"),
    ] {
        assert_eq!(choose(wanted).unwrap(), chosen, "{wanted}");
    }
    assert_eq!(listing.ignored, ["nonsense"]);
}

#[test]
fn a_part_of_the_index_says_the_same_as_all_of_it() {
    // The first can be cut, the second cannot.
    let flow = serde_json::to_string(&json!({"entries": entries(INDEX.as_bytes(), "i").unwrap()}));
    let whole = Listing::read(flow.unwrap().as_bytes(), "https://h/index.yaml", "gpu-operator");
    assert!(section(INDEX, "gpu-operator").is_some());
    assert_eq!(whole.unwrap(), listing());
}

#[test]
fn what_is_not_there_is_answered_with_what_is_near() {
    let err = Listing::read(INDEX.as_bytes(), "https://h/index.yaml", "gpu-operater").unwrap_err();
    assert_eq!(err.to_string(), "https://h/index.yaml has no chart `gpu-operater`");
    assert_eq!(err.help().unwrap(), "it has gpu-operator");
    let err = choose("v24.9.3").unwrap_err();
    assert!(err.help().unwrap().contains("v24.9.2"), "{:?}", err.help());
    assert!(matches!(choose("newest").unwrap_err(), ChartError::Constraint { .. }));
    let err = Listing::read(b"<html>", "https://h/index.yaml", "x").unwrap_err().to_string();
    assert!(err.contains("https://h/index.yaml"), "{err}");
}

#[test]
fn addresses_are_relative_to_the_index() {
    for (repository, url, address) in [
        ("https://h/charts", "a.tgz", "https://h/charts/a.tgz"),
        ("https://h/charts/", "./a.tgz", "https://h/charts/a.tgz"),
        ("https://h/charts", "/b/a.tgz", "https://h/b/a.tgz"),
        ("https://h/charts", "https://cdn/a.tgz", "https://cdn/a.tgz"),
        ("https://h/charts?token=1", "a.tgz", "https://h/charts/a.tgz?token=1"),
    ] {
        assert_eq!(absolute(repository, url), address);
    }
}

#[test]
fn what_is_written_can_be_read() {
    let package = |version: &str| {
        let chart = format!("name: app\nversion: {version}\nappVersion: 1.10\ndescription: 'a: b'");
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("Chart.yaml"), chart).unwrap();
        Chart::open(folder.path()).unwrap()
    };
    let [old, new] = ["1.2.0", "1.10.0"].map(package);
    let listed = [&old, &new].map(|chart| Listed::of(chart, chart.file_name()));
    let text = index(&listed);
    let listing = Listing::read(text.as_bytes(), "i", "app").unwrap();
    let entry = listing.choose(&Wanted::Latest).unwrap();
    assert_eq!(entry.version, "1.10.0");
    assert_eq!(entry.app_version.as_deref(), Some("1.1"));
    assert_eq!(entry.digest, Some(Digest::of(&new.package())));
    assert_eq!(entry.addresses("https://h"), ["https://h/app-1.10.0.tgz"]);
}

#[test]
fn an_index_of_nothing_is_one() {
    assert!(entries(index(&[]).as_bytes(), "i").unwrap().is_empty());
}

#[test]
fn an_index_says_all_that_it_has() {
    let all = Listing::all(INDEX.as_bytes(), "https://h/index.yaml").unwrap();
    let versions = |listing: &Listing| listing.entries.len();
    let said: Vec<_> = all.iter().map(|it| (it.name(), versions(it), it.ignored.len())).collect();
    assert_eq!(said, [("gpu-operator", 4, 1), ("other", 1, 0)]);
    assert!(Listing::all(b"[]", "https://h/index.yaml").is_err());
}
