use std::fs::File;

use serde_json::json;

use super::*;

const CHART: &str = "name: app\nversion: 1.2.3+4\nappVersion: 1.10\n";

fn files(list: &[(&str, &str)]) -> Files {
    list.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().into())).collect()
}

fn package(list: &[(&str, &str)]) -> Vec<u8> {
    archive::pack("app", &files(list))
}

fn folder(list: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in list {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    folder
}

fn open(package: Vec<u8>) -> Result<Chart, ChartError> {
    Chart::from_package(package, "app.tgz".to_owned())
}

/// A package with one entry that no packer would write.
fn hostile(edit: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("app/Chart.yaml").unwrap();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(CHART.len() as u64);
    edit(&mut header);
    header.set_cksum();
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    archive.append(&header, CHART.as_bytes()).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

fn named(name: &str) -> Vec<u8> {
    hostile(|header| {
        let field = &mut header.as_old_mut().name;
        field.fill(0);
        field[..name.len()].copy_from_slice(name.as_bytes());
    })
}

#[test]
fn a_folder_and_its_package_are_the_same_chart() {
    let folder = folder(&[
        ("Chart.yaml", CHART),
        ("values.yaml", "a: 1"),
        ("templates/x.yaml", "kind: X"),
        (".helmignore", "secret*\n"),
        ("secret.txt", "no part of it"),
    ]);
    let opened = Chart::open(folder.path()).unwrap();
    let again = open(opened.package().to_vec()).unwrap();
    assert_eq!(again.metadata, opened.metadata);
    assert!(again.files().eq(opened.files()));
    assert!(again.file("secret.txt").is_none() && again.file(".helmignore").is_some());
    assert_eq!(again.file_name(), "app-1.2.3+4.tgz");
}

#[test]
fn a_folder_packs_to_the_same_bytes_whenever_it_was_written() {
    let list = [("Chart.yaml", CHART), ("values.yaml", "a: 1")];
    let [first, second] = [folder(&list), folder(&list)];
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(77);
    let file: File =
        fs_err::File::options().write(true).open(second.path().join("values.yaml")).unwrap().into();
    file.set_modified(later).unwrap();
    let [first, second] = [first, second].map(|at| Chart::open(at.path()).unwrap().package());
    assert_eq!(first, second);
}

#[test]
fn a_package_is_carried_as_it_came() {
    let mut bytes = package(&[("Chart.yaml", CHART)]);
    // The system that wrote it: nothing that unpacking would notice.
    bytes[9] = 0;
    assert_eq!(open(bytes.clone()).unwrap().package().as_ref(), bytes);
}

#[test]
fn what_leads_out_of_the_chart_is_refused() {
    for name in
        ["../app/Chart.yaml", "app/../../Chart.yaml", "/app/Chart.yaml", "Chart.yaml", "a\\b/c"]
    {
        let err = open(named(name)).unwrap_err();
        assert!(matches!(err, ChartError::Refused { .. }), "{name}: {err}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        let err = open(hostile(|header| header.set_entry_type(kind))).unwrap_err();
        assert!(err.to_string().contains("not a plain file"), "{err}");
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let huge = hostile(|header| header.set_size(MAX_BYTES + 1));
    let err = open(huge).unwrap_err().to_string();
    assert!(err.contains("unpacks to more than"), "{err}");

    let mut zeros = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzEncoder::new(
            std::io::Read::take(std::io::repeat(0), MAX_BYTES / 2),
            flate2::Compression::fast(),
        ),
        &mut zeros,
    )
    .unwrap();
    assert!(open(zeros).is_err());
}

#[test]
fn a_cut_package_is_no_chart() {
    let whole = package(&[("Chart.yaml", CHART), ("values.yaml", &"a: 1\n".repeat(500))]);
    for length in [0, 1, 2, 10, 40, whole.len() / 2, whole.len() - 9] {
        assert!(open(whole[..length].to_vec()).is_err(), "{length}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_only_within_the_folder() {
    let folder = folder(&[("Chart.yaml", CHART), ("files/a", "A")]);
    let link =
        |from: &str, to: &str| std::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
    link("b", "files/a");
    assert_eq!(Chart::open(folder.path()).unwrap().file("b"), Some(&b"A"[..]));
    link("c", "/etc/hostname");
    let err = Chart::open(folder.path()).unwrap_err().to_string();
    assert!(err.contains("`c` is a link"), "{err}");
    fs_err::remove_file(folder.path().join("c")).unwrap();
    link("files/up", "..");
    assert!(Chart::open(folder.path()).is_err(), "a link to its own parent never ends");
}

#[test]
fn what_is_wrong_with_a_chart_is_said_with_the_file() {
    for (list, words) in [
        (&[("values.yaml", "")][..], "no `Chart.yaml`"),
        (&[("Chart.yaml", "version: 1.0.0")], "no `name`"),
        (&[("Chart.yaml", "name: a")], "no `version`"),
        (&[("Chart.yaml", "name: a\nversion: one")], "no semantic version"),
        (&[("Chart.yaml", "name: ../a\nversion: 1.0.0")], "no name of a chart"),
        (&[("Chart.yaml", "name: [")], "app.tgz: Chart.yaml"),
    ] {
        let err = airlift_spec::error::chain(&open(package(list)).unwrap_err());
        assert!(err.contains(words) && err.contains("app.tgz"), "{err}");
    }
}

#[test]
fn numbers_are_the_texts_that_helm_reads() {
    let chart = open(package(&[("Chart.yaml", CHART)])).unwrap();
    assert_eq!(chart.metadata.app_version.as_deref(), Some("1.1"));
}

fn with_subcharts() -> Chart {
    let inner = archive::pack(
        "deep",
        &files(&[
            ("Chart.yaml", "name: deep\nversion: 0.1.0"),
            ("values.yaml", "image: {tag: a}\nport: 1\ngone: 1"),
        ]),
    );
    let mut all = files(&[
        (
            "Chart.yaml",
            "name: app\nversion: 1.0.0\ndependencies:\n\
             - {name: deep, version: 0.x, alias: one, condition: 'one.enabled, all'}\n\
             - {name: absent, version: ^2, repository: 'https://h'}",
        ),
        ("values.yaml", "one: {image: {tag: b}, gone: null}\nplain: {x: 2}"),
        ("charts/plain/Chart.yaml", "name: plain\nversion: 0.2.0"),
        ("charts/plain/values.yaml", "x: 1\ny: 1"),
        ("charts/README.md", "no chart"),
    ]);
    all.insert("charts/deep-0.1.0.tgz".to_owned(), inner.into());
    open(archive::pack("app", &all)).unwrap()
}

#[test]
fn subcharts_are_read_from_folders_and_packages() {
    let chart = with_subcharts();
    let names: Vec<_> = chart.subcharts.iter().map(|sub| sub.metadata.name.as_str()).collect();
    assert_eq!(names, ["deep", "plain"]);
    assert_eq!(chart.subcharts[0].place(), "app.tgz: charts/deep-0.1.0.tgz");
    assert_eq!(chart.metadata.dependencies[0].condition, ["one.enabled", "all"]);
}

#[test]
fn values_of_a_chart_lie_over_those_of_its_subcharts() {
    let values = with_subcharts().all_values().unwrap();
    assert_eq!(
        values,
        json!({"one": {"image": {"tag": "b"}, "port": 1}, "plain": {"x": 2, "y": 1}})
    );
}

#[test]
fn a_missing_dependency_is_named_and_can_be_put_in() {
    let chart = with_subcharts();
    let missing: Vec<_> = chart.missing_dependencies().into_iter().map(Dependency::key).collect();
    assert_eq!(missing, ["absent"]);
    let dependency =
        archive::pack("absent", &files(&[("Chart.yaml", "name: absent\nversion: 2.1.0")]));
    let chart = chart.with_dependency(dependency).unwrap();
    assert!(chart.missing_dependencies().is_empty());
    assert!(chart.file("charts/absent-2.1.0.tgz").is_some());
}

#[test]
fn charts_within_charts_have_an_end() {
    let mut inner = package(&[("Chart.yaml", CHART)]);
    for _ in 0..=MAX_CHART_DEPTH {
        let mut all = files(&[("Chart.yaml", CHART)]);
        all.insert("charts/inner.tgz".to_owned(), inner.into());
        inner = archive::pack("app", &all);
    }
    assert!(open(inner).unwrap_err().to_string().contains("deep"));
}

#[test]
fn the_oci_form_leads_to_the_very_package() {
    let chart = open(package(&[("Chart.yaml", CHART)])).unwrap();
    let oci = chart.oci(Some(b"signed".to_vec()));
    let manifest: Value = serde_json::from_slice(&oci.manifest).unwrap();
    let config: Value = serde_json::from_slice(&oci.config).unwrap();
    assert_eq!(config["appVersion"], "1.1");
    assert_eq!(manifest["config"]["mediaType"], media_type::CONFIG);
    assert_eq!(manifest["layers"][0]["mediaType"], media_type::PACKAGE);
    assert_eq!(manifest["layers"][0]["digest"], airlift_spec::Digest::of(&oci.package).to_string());
    assert_eq!(manifest["layers"][1]["mediaType"], media_type::PROVENANCE);
    assert_eq!(chart.tag(), "1.2.3_4");
    assert_eq!(chart.oci(None).provenance, None);
}
