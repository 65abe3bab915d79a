use airlift_catalog::{Catalog, Choice, Offer, Reader, Requirement, Wanted, depend, filter};
use airlift_spec::Explain;
use airlift_spec::stack::{Dependencies, PackageWish, Rules, Selection};
use serde_json::{Value, json};

use crate::data;

/// A package with one channel of the versions, each replacing the one before, and the newest's properties.
fn package(name: &str, versions: &[(&str, Value)]) -> String {
    let mut entries = Vec::new();
    let mut bundles = Vec::new();
    for (index, (version, properties)) in versions.iter().enumerate() {
        let mut entry = json!({"name": format!("{name}.v{version}")});
        if index > 0 {
            entry["replaces"] = json!(format!("{name}.v{}", versions[index - 1].0));
        }
        entries.push(entry);
        let mut all = vec![
            json!({"type": "olm.package", "value": {"packageName": name, "version": version}}),
        ];
        all.extend(properties.as_array().unwrap().iter().cloned());
        bundles.push(json!({"schema": "olm.bundle", "name": format!("{name}.v{version}"), "package": name, "image": "x", "properties": all}));
    }
    let mut documents = vec![
        json!({"schema": "olm.package", "name": name, "defaultChannel": "stable"}),
        json!({"schema": "olm.channel", "name": "stable", "package": name, "entries": entries}),
    ];
    documents.extend(bundles);
    documents.iter().map(Value::to_string).collect()
}

fn needs(name: &str, range: &str) -> Value {
    json!({"type": "olm.package.required", "value": {"packageName": name, "versionRange": range}})
}

fn api(what: &str, kind: &str) -> Value {
    json!({"type": what, "value": {"group": "g", "version": "v1", "kind": kind}})
}

fn constraint(value: &Value) -> Value {
    json!({"type": "olm.constraint", "value": value})
}

fn catalog(packages: &[String]) -> Catalog {
    let mut reader = Reader::new(Wanted::All);
    reader.file("all.json", packages.concat().as_bytes());
    reader.finish().unwrap()
}

fn offer<'a>(name: &str, catalog: &'a Catalog, heads: &[&str]) -> Offer<'a> {
    let package = |name: &&str| PackageWish { name: (*name).to_owned(), ..PackageWish::default() };
    let selection = Selection { packages: heads.iter().map(package).collect(), full: false };
    let choice = match heads {
        [] => Choice::default(),
        _ => filter(catalog, &selection, Rules::Own).unwrap().choice,
    };
    Offer { name: name.to_owned(), catalog, choice }
}

/// What is added for the heads of some packages, or the error and its help.
fn added(packages: &[String], heads: &[&str]) -> Result<Vec<String>, String> {
    let catalog = catalog(packages);
    let mut offers = [offer("one", &catalog, heads)];
    match depend(&mut offers, Dependencies::Include) {
        Ok((additions, _)) => Ok(additions.into_iter().map(|one| one.bundle).collect()),
        Err(err) => Err(match err.help() {
            Some(help) => format!("{err}; {help}"),
            None => err.to_string(),
        }),
    }
}

#[test]
fn requirements_are_followed_to_their_end_and_each_addition_says_why() {
    let packages = [
        package("a", &[("1.0.0", json!([needs("b", ">=1.0.0 <2.0.0")]))]),
        package(
            "b",
            &[
                ("1.0.0", json!([])),
                ("1.5.0", json!([api("olm.gvk.required", "C")])),
                ("2.0.0", json!([])),
            ],
        ),
        package(
            "c",
            &[("1.0.0", json!([api("olm.gvk", "C")])), ("1.1.0", json!([api("olm.gvk", "C")]))],
        ),
    ];
    let catalog = catalog(&packages);
    let mut offers = [offer("one", &catalog, &["a"])];
    let (additions, findings) = depend(&mut offers, Dependencies::Include).unwrap();
    assert!(findings.is_empty());
    let said: Vec<String> = additions
        .iter()
        .map(|one| {
            let because: Vec<String> = one.because.iter().map(ToString::to_string).collect();
            format!("{} from {}: {}", one.bundle, one.channel, because.join(", "))
        })
        .collect();
    assert_eq!(
        said,
        [
            "b.v1.5.0 from stable: a.v1.0.0 requires package b >=1.0.0 <2.0.0",
            "c.v1.1.0 from stable: a.v1.0.0 requires package b >=1.0.0 <2.0.0, b.v1.5.0 requires API g/v1 C",
        ]
    );
    let kept = &offers[0].choice.packages["b"];
    assert_eq!(kept.default_channel, "stable");
    assert_eq!(kept.bundles.iter().collect::<Vec<_>>(), ["b.v1.5.0"]);
    let (again, _) = depend(&mut offers, Dependencies::Include).unwrap();
    assert!(again.is_empty());
}

#[test]
fn the_version_that_suits_all_is_taken() {
    let packages = [
        package("a", &[("1.0.0", json!([needs("c", ">=1.0.0")]))]),
        package("b", &[("1.0.0", json!([needs("c", "<2.0.0")]))]),
        package("c", &[("1.0.0", json!([])), ("1.9.0", json!([])), ("2.0.0", json!([]))]),
    ];
    assert_eq!(added(&packages, &["a", "b"]).unwrap(), ["c.v1.9.0"]);
    // Kept already in another version: what lies between comes with it, or the channel had two heads.
    let packages = [
        package("a", &[("1.0.0", json!([needs("c", "<1.5.0")]))]),
        package("c", &[("1.0.0", json!([])), ("1.9.0", json!([])), ("2.0.0", json!([]))]),
    ];
    assert_eq!(added(&packages, &["a", "c"]).unwrap(), ["c.v1.0.0", "c.v1.9.0"]);
}

#[test]
fn what_cannot_be_fulfilled_names_who_requires_what() {
    let packages = [
        package("a", &[("1.0.0", json!([needs("b", ">=3.0.0")]))]),
        package("b", &[("2.0.0", json!([]))]),
        package("d", &[("1.0.0", json!([needs("bb", ">=1.0.0")]))]),
        package("e", &[("1.0.0", json!([api("olm.gvk.required", "X")]))]),
        package("f", &[("1.0.0", json!([needs("b", "latest")]))]),
    ];
    assert_eq!(
        added(&packages, &["a"]).unwrap_err(),
        "nothing fulfils this: a.v1.0.0 requires package b >=3.0.0; there is `b` up to 2.0.0 in one"
    );
    assert_eq!(
        added(&packages, &["d"]).unwrap_err(),
        "nothing fulfils this: d.v1.0.0 requires package bb >=1.0.0; there is `b` up to 2.0.0 in one"
    );
    assert_eq!(
        added(&packages, &["e"]).unwrap_err(),
        "nothing fulfils this: e.v1.0.0 requires API g/v1 X; add the catalog that has it, or say `dependencies: ignore`"
    );
    assert_eq!(
        added(&packages, &["f"]).unwrap_err(),
        "bundle `f.v1.0.0` has a requirement that cannot be read: `latest` is not a range of versions: `latest` is not understood"
    );
    let packages = [
        package("a", &[("1.0.0", json!([needs("c", "<2.0.0")]))]),
        package("b", &[("1.0.0", json!([needs("c", ">=2.0.0")]))]),
        package("c", &[("1.0.0", json!([])), ("2.0.0", json!([]))]),
    ];
    assert_eq!(
        added(&packages, &["a", "b"]).unwrap_err(),
        "no version of package `c` fulfils all of this: a.v1.0.0 requires package c <2.0.0, b.v1.0.0 requires package c >=2.0.0"
    );
}

#[test]
fn other_catalogs_help_out_after_ones_own() {
    let one = catalog(&[
        package("a", &[("1.0.0", json!([needs("b", ">=1.0.0"), needs("c", ">=1.0.0")]))]),
        package("b", &[("1.0.0", json!([]))]),
    ]);
    let two =
        catalog(&[package("b", &[("2.0.0", json!([]))]), package("c", &[("1.0.0", json!([]))])]);
    let mut offers = [offer("two", &two, &[]), offer("one", &one, &["a"])];
    let (additions, _) = depend(&mut offers, Dependencies::Include).unwrap();
    let from: Vec<(&str, &str)> =
        additions.iter().map(|one| (one.catalog.as_str(), one.bundle.as_str())).collect();
    assert_eq!(from, [("one", "b.v1.0.0"), ("two", "c.v1.0.0")]);
}

#[test]
fn compound_constraints_are_read_as_olm_reads_them() {
    let package_of =
        |name: &str, range: &str| json!({"package": {"packageName": name, "versionRange": range}});
    let not = json!({"not": {"constraints": [package_of("b", "1.5.0")]}});
    let all = constraint(
        &json!({"failureMessage": "x", "all": {"constraints": [package_of("b", ">=1.0.0"), not]}}),
    );
    let b = package("b", &[("1.0.0", json!([])), ("1.5.0", json!([]))]);
    let c = package("c", &[("1.0.0", json!([api("olm.gvk", "C")]))]);
    let a = |requires: Value| package("a", &[("1.0.0", json!([requires]))]);
    let with = |requires: Value| added(&[a(requires), b.clone(), c.clone()], &["a"]);
    assert_eq!(with(all).unwrap(), ["b.v1.0.0"]);
    let any = json!({"any": {"constraints": [package_of("z", "1.0.0"), {"gvk": {"group": "g", "version": "v1", "kind": "C"}}]}});
    assert_eq!(with(constraint(&any)).unwrap(), ["c.v1.0.0"]);
    let both =
        json!({"all": {"constraints": [package_of("b", ">=1.0.0"), package_of("c", ">=1.0.0")]}});
    assert_eq!(with(constraint(&both)).unwrap(), ["b.v1.5.0", "c.v1.0.0"]);
    assert!(
        with(constraint(&json!({"odd": {}})))
            .unwrap_err()
            .contains("`odd` is no kind of constraint")
    );
}

#[test]
fn what_only_olm_can_judge_is_a_finding() {
    let cel = constraint(&json!({"cel": {"rule": "properties.exists(p, p.type == 'x')"}}));
    let not = constraint(
        &json!({"not": {"constraints": [{"package": {"packageName": "b", "versionRange": ">0.1.0"}}]}}),
    );
    let catalog = catalog(&[
        package("a", &[("1.0.0", json!([cel, not]))]),
        package("b", &[("1.0.0", json!([]))]),
    ]);
    let mut offers = [offer("one", &catalog, &["a", "b"])];
    let (additions, findings) = depend(&mut offers, Dependencies::Include).unwrap();
    assert!(additions.is_empty());
    let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "it requires what only OLM can judge: properties.exists(p, p.type == 'x')",
            "it wants neither (package b >0.1.0), and `b.v1.0.0` is kept",
        ]
    );
}

#[test]
fn a_report_changes_nothing_and_ignoring_says_nothing() {
    let catalog = catalog(&[
        package("a", &[("1.0.0", json!([needs("b", ">=1.0.0")]))]),
        package("b", &[("1.0.0", json!([]))]),
    ]);
    let mut offers = [offer("one", &catalog, &["a"])];
    let before = offers[0].choice.clone();
    let (additions, findings) = depend(&mut offers, Dependencies::Report).unwrap();
    assert!(additions.is_empty());
    assert_eq!(findings[0].message, "not kept, though a.v1.0.0 requires package b >=1.0.0");
    assert_eq!(depend(&mut offers, Dependencies::Ignore).unwrap(), (Vec::new(), Vec::new()));
    assert_eq!(offers[0].choice, before);
}

#[test]
fn every_requirement_of_real_bundles_is_understood() {
    let mut count = 0;
    for root in data::catalogs() {
        let catalog = Catalog::read_dir(&root, &Wanted::All).unwrap();
        for (_, bundle) in catalog.bundles() {
            let requires: Vec<Requirement> = bundle.requires().unwrap();
            count += requires.len();
        }
    }
    println!("{count} requirements");
}
