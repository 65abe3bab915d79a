use std::collections::BTreeSet;

use airlift_catalog::{Catalog, Choice, Reader, Wanted, filter, validate, write};
use airlift_spec::stack::{ChannelWish, PackageWish, Rules, Selection};

use crate::data;
use crate::filter::thing;

fn read(text: &str) -> Catalog {
    let mut reader = Reader::new(Wanted::All);
    reader.file("x", text.as_bytes());
    reader.finish().unwrap()
}

fn written(catalog: &Catalog) -> String {
    let file = |(path, bytes)| [path, "\n".to_owned(), String::from_utf8(bytes).unwrap()];
    write(catalog).flat_map(file).collect()
}

#[test]
fn real_catalogs_are_valid_and_come_back_from_what_is_written() {
    for root in data::catalogs() {
        let catalog = Catalog::read_dir(&root, &Wanted::All).unwrap();
        let found = validate(&catalog);
        assert!(found.is_empty(), "{}: {found:?}", root.display());
        let mut again = Reader::new(Wanted::All);
        for (path, bytes) in write(&catalog) {
            again.file(&path, &*bytes);
        }
        assert_eq!(written(&again.finish().unwrap()), written(&catalog), "{}", root.display());
        let everything = Choice::all(&catalog);
        assert_eq!(written(&catalog.clone().keep(&everything)), written(&catalog));
    }
}

#[test]
fn heads_and_ranges_of_real_catalogs_are_valid_when_written() {
    for root in data::catalogs() {
        let catalog = Catalog::read_dir(&root, &Wanted::All).unwrap();
        let heads = filter(&catalog, &Selection::default(), Rules::Own).unwrap().choice;
        assert!(validate(&catalog.clone().keep(&heads)).is_empty(), "{}", root.display());
        for package in catalog.packages.values() {
            let middle = package.bundles.values().filter_map(|bundle| bundle.version.as_ref());
            let mut versions: Vec<_> = middle.collect();
            versions.sort();
            let asked = PackageWish {
                name: package.name.clone(),
                from: Some(versions[versions.len() / 2].to_string()),
                ..PackageWish::default()
            };
            let selection = Selection { packages: vec![asked], full: false };
            let packages = [(package.name.clone(), package.clone())].into();
            let alone = Catalog { packages, others: Vec::new() };
            let Ok(filtered) = filter(&alone, &selection, Rules::Own) else { continue };
            let mut choice = filtered.choice;
            choice.servable();
            let found = validate(&alone.keep(&choice));
            assert!(found.is_empty(), "{}: {found:?}", package.name);
        }
    }
}

#[test]
fn packages_of_real_catalogs_have_heads_and_names() {
    for root in data::catalogs() {
        let catalog = Catalog::read_dir(&root, &Wanted::All).unwrap();
        for package in catalog.packages.values() {
            assert!(package.head(&package.default_channel).is_some(), "{}", package.name);
            assert!(
                package.display_name().is_some_and(|name| !name.is_empty()),
                "{}",
                package.name
            );
        }
    }
}

const SOURCE: &str = r#"
{"schema": "custom.note", "package": "thing", "text": ["b", 1.5, {"x": null}]}
{"schema": "olm.package", "name": "thing", "defaultChannel": "old", "icon": {"z": 1}}
{"schema": "olm.deprecations", "package": "thing", "entries": [
  {"reference": {"schema": "olm.package"}, "message": "p"},
  {"reference": {"schema": "olm.channel", "name": "old"}, "message": "c"},
  {"reference": {"schema": "olm.bundle", "name": "thing.v1"}, "message": "b"}]}
{"schema": "olm.channel", "package": "thing", "name": "old", "entries": [{"name": "thing.v1"}]}
{"schema": "olm.channel", "package": "thing", "name": "new", "entries": [
  {"name": "thing.v1"}, {"name": "thing.v2", "replaces": "thing.v1", "skipRange": "<2.0.0", "later": 1}]}
{"schema": "olm.bundle", "package": "thing", "name": "thing.v1", "image": "quay.io/a/b:v1", "properties": [
  {"type": "olm.package", "value": {"packageName": "thing", "version": "1.0.0"}}]}
{"schema": "olm.bundle", "package": "thing", "name": "thing.v2", "image": "quay.io/a/b:v2", "properties": [
  {"type": "olm.package", "value": {"packageName": "thing", "version": "2.0.0"}}]}
{"schema": "custom.global", "text": "a"}
"#;

#[test]
fn what_is_kept_is_written_as_it_was_and_what_points_to_the_rest_is_gone() {
    let asked = PackageWish {
        name: "thing".to_owned(),
        default: Some("new".to_owned()),
        channels: vec![ChannelWish { name: "new".to_owned(), ..Default::default() }],
        ..PackageWish::default()
    };
    let selection = Selection { packages: vec![asked], full: false };
    let catalog = read(SOURCE);
    assert!(validate(&catalog).is_empty());
    let filtered = filter(&catalog, &selection, Rules::Own).unwrap();
    let kept = catalog.keep(&filtered.choice);
    assert!(validate(&kept).is_empty());
    assert_eq!(
        written(&kept),
        r#"__global/catalog.json
{"schema":"custom.global","text":"a"}
thing/catalog.json
{"defaultChannel":"new","icon":{"z":1},"name":"thing","schema":"olm.package"}
{"entries":[{"later":1,"name":"thing.v2","replaces":"thing.v1","skipRange":"<2.0.0"}],"name":"new","package":"thing","schema":"olm.channel"}
{"image":"quay.io/a/b:v2","name":"thing.v2","package":"thing","properties":[{"type":"olm.package","value":{"packageName":"thing","version":"2.0.0"}}],"schema":"olm.bundle"}
{"entries":[{"message":"p","reference":{"schema":"olm.package"}}],"package":"thing","schema":"olm.deprecations"}
{"package":"thing","schema":"custom.note","text":["b",1.5,{"x":null}]}
"#
    );
}

#[test]
fn each_broken_rule_is_named() {
    let breaks = |from: &str, to: &str| {
        assert!(SOURCE.contains(from), "{from}");
        let found = validate(&read(&SOURCE.replacen(from, to, 1)));
        let said: BTreeSet<String> = found
            .into_iter()
            .map(|finding| format!("{}: {}", finding.object, finding.message))
            .collect();
        said.into_iter().collect::<Vec<_>>().join("; ")
    };
    for (from, to, message) in [
        (
            r#""defaultChannel": "old""#,
            r#""defaultChannel": "x""#,
            "thing: the default channel `x` is not there; there is `new`, `old` (package `thing`)",
        ),
        (
            r#""replaces": "thing.v1""#,
            r#""replaces": "thing.v0""#,
            "new: the channel is no update graph: it has several heads: thing.v1, thing.v2 (package `thing`)",
        ),
        (r#""replaces": "thing.v1""#, r#""replaces": "thing.v0", "skips": ["thing.v1"]"#, ""),
        (
            r#"[{"name": "thing.v1"}]}"#,
            r#"[{"name": "thing.v3"}]}"#,
            "old: entries of the channel have no bundle: `thing.v3` (package `thing`)",
        ),
        (
            r#"[{"name": "thing.v1"}]}"#,
            "[]}",
            "old: the channel is no update graph: it has no entries (package `thing`)",
        ),
        (
            r#""version": "2.0.0""#,
            r#""version": "2.0""#,
            "thing.v2: `2.0` is not a version like 1.2.3 (package `thing`)",
        ),
        (
            r#""version": "2.0.0""#,
            r#""version": "1.0.0""#,
            "thing.v2: `thing.v1` is of the same version, 1.0.0 (package `thing`)",
        ),
        (
            r#""packageName": "thing""#,
            r#""packageName": "other""#,
            "thing.v1: its property says package \"other\" (package `thing`)",
        ),
        (
            r#""type": "olm.package""#,
            r#""type": "x""#,
            "thing.v1: it has 0 properties `olm.package`, not one (package `thing`)",
        ),
        (
            r#""image": "quay.io/a/b:v1""#,
            r#""image": """#,
            "thing.v1: it has neither an image nor manifests (package `thing`)",
        ),
        (
            r#""name": "old"}, "message""#,
            r#""name": "older"}, "message""#,
            "olm.deprecations: it deprecates `older` (olm.channel), which is not there (package `thing`)",
        ),
    ] {
        assert_eq!(breaks(from, to), message);
    }
    assert!(
        breaks("quay.io/a/b:v1", "quay.io/A b")
            .starts_with("thing.v1: `quay.io/A b` is no image: ")
    );
    let orphan = breaks(
        r#", {"name": "thing.v2", "replaces": "thing.v1", "skipRange": "<2.0.0", "later": 1}"#,
        "",
    );
    assert_eq!(orphan, "thing.v2: the bundle is in no channel (package `thing`)");
}

#[test]
fn a_chain_that_runs_into_a_skipped_entry_strands_what_is_below() {
    let stranded = thing(&[("stable", &["1.0.0", "1.1.0<1.0.0", "1.2.0<1.1.0!1.1.0"])]);
    let found = validate(&stranded);
    assert_eq!(
        found[0].message,
        "no update leads from these entries to the head: `thing.v1.0.0` (package `thing`)"
    );
}

#[test]
fn what_olm_would_refuse_is_left_out_and_named() {
    let catalog = thing(&[("stable", &["1.0.0"]), ("old", &["0.9.0"])]);
    let mut choice = Choice::all(&catalog);
    let kept = choice.packages.get_mut("thing").unwrap();
    kept.channels.get_mut("old").unwrap().clear();
    let found = choice.servable();
    assert_eq!(found[0].object, "thing.v0.9.0");
    assert!(validate(&catalog.keep(&choice)).is_empty());
}
