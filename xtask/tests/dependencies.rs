//! What each crate may depend on, and what may come in from outside.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates in the order the data flows, each with those that it may use. No cycle can be
/// written down here: a crate may name only those above it, which a test below checks.
const LAYERS: &[(&str, &[&str])] = &[
    ("airlift-spec", &[]),
    ("airlift-scan", &["airlift-spec"]),
    ("airlift-helm", &["airlift-spec", "airlift-scan"]),
    ("airlift-catalog", &["airlift-spec"]),
    ("airlift-oc-mirror", &["airlift-spec"]),
    ("airlift-store", &["airlift-spec"]),
    ("airlift-registry", &["airlift-spec", "airlift-store"]),
    ("airlift-bundle", &["airlift-spec", "airlift-store", "airlift-registry"]),
    (
        "airlift-upstream",
        &[
            "airlift-spec",
            "airlift-scan",
            "airlift-helm",
            "airlift-catalog",
            "airlift-oc-mirror",
            "airlift-store",
            "airlift-registry",
        ],
    ),
    (
        "airlift-serve",
        &["airlift-spec", "airlift-helm", "airlift-store", "airlift-registry", "airlift-bundle"],
    ),
    (
        "airlift-cli",
        &[
            "airlift-spec",
            "airlift-catalog",
            "airlift-oc-mirror",
            "airlift-store",
            "airlift-registry",
            "airlift-bundle",
            "airlift-upstream",
            "airlift-serve",
        ],
    ),
    ("airlift-testkit", &["airlift-spec"]),
    ("airlift-fuzzkit", &[]),
    ("xtask", &["airlift-spec", "airlift-testkit"]),
];

/// Any crate may use these in its tests, and none in the product; xtask is no part of that.
const KITS: [&str; 2] = ["airlift-testkit", "airlift-fuzzkit"];

/// What draws, parses arguments or collects logs: the business of the program, not of a library.
const ONLY_CLI: &[&str] =
    &["clap", "clap_complete", "clap_mangen", "indicatif", "tracing-subscriber"];

/// Lints that keep printing and exiting in `cli`; a library that lifts one has left its place.
const ONLY_CLI_LINTS: &[&str] = &["clippy::print_stdout", "clippy::print_stderr", "clippy::exit"];

const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// What the source of a package that is fetched from a registry begins with; git and others have their own word.
const REGISTRY: &str = "registry+";

#[test]
fn crates_depend_only_on_those_above_them() {
    let found = layer_violations(&metadata());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The README begins with `cargo run`, which asks for a name where several programs could be meant.
#[test]
fn cargo_run_means_the_product() {
    let metadata = metadata();
    let ours = packages(&metadata).filter(|package| package["source"].is_null());
    let named: Vec<&str> = ours.filter_map(|package| package["default_run"].as_str()).collect();
    assert_eq!(named, ["airlift"]);
}

#[test]
fn the_table_reads_from_top_to_bottom() {
    let mut above = BTreeSet::new();
    for (name, allowed) in LAYERS {
        for other in *allowed {
            assert!(above.contains(other), "{name} may use {other}, which is not above it");
        }
        above.insert(name);
    }
}

#[test]
fn what_comes_from_outside_has_a_known_source_and_licence() {
    let found = origin_violations(&metadata());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_the_program_prints_and_exits() {
    let library = |name: &str| !["cli", "testkit"].contains(&name);
    let crates = entries(&root().join("crates"));
    let libraries = crates.iter().filter(|folder| library(&file_name(folder)));
    let sources: Vec<PathBuf> =
        libraries.flat_map(|folder| rust_files(&folder.join("src"))).collect();
    assert!(sources.len() > 5, "the libraries' sources were not found");
    for source in sources {
        let text = fs_err::read_to_string(&source).unwrap();
        for lint in ONLY_CLI_LINTS {
            assert!(!text.contains(lint), "{} lifts {lint}", source.display());
        }
    }
}

#[test]
fn a_crate_that_reaches_down_is_named() {
    let metadata = package("airlift-store", &[("airlift-registry", Value::Null)]);
    assert_eq!(layer_violations(&metadata), ["airlift-store must not use airlift-registry"]);
}

#[test]
fn a_crate_that_reaches_down_in_its_tests_is_named() {
    let metadata = package("airlift-store", &[("airlift-registry", "dev".into())]);
    assert_eq!(layer_violations(&metadata), ["airlift-store must not use airlift-registry"]);
}

#[test]
fn the_kits_are_welcome_in_tests_and_nowhere_else() {
    for kit in KITS {
        assert!(layer_violations(&package("airlift-store", &[(kit, "dev".into())])).is_empty());
        for kind in [Value::Null, "build".into()] {
            let found = layer_violations(&package("airlift-store", &[(kit, kind)]));
            assert_eq!(found, [format!("airlift-store must not use {kit}")]);
        }
    }
}

#[test]
fn a_library_that_parses_arguments_is_named() {
    let found = layer_violations(&package("airlift-serve", &[("clap", Value::Null)]));
    assert_eq!(found, ["airlift-serve must leave clap to the program"]);
    assert!(layer_violations(&package("airlift-cli", &[("clap", Value::Null)])).is_empty());
}

#[test]
fn a_crate_without_a_line_in_the_table_is_named() {
    let found = layer_violations(&package("airlift-extra", &[]));
    assert_eq!(found, ["airlift-extra is not in the table of crates"]);
}

#[test]
fn licence_expressions_are_judged_as_written() {
    let cases = [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("MIT OR (GPL-3.0 AND ISC)", true),
        ("(MIT AND GPL-3.0) OR (ISC AND GPL-3.0)", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0 WITH Classpath-exception-2.0", false),
        ("", false),
        ("(MIT", false),
        ("MIT MIT", false),
    ];
    for (expression, wanted) in cases {
        assert_eq!(is_allowed(expression), wanted, "{expression}");
    }
}

#[test]
fn a_source_that_is_no_registry_is_named() {
    let mut metadata = package("left-pad", &[]);
    metadata["packages"][0]["source"] = "git+https://example.com/left-pad".into();
    let found = origin_violations(&metadata);
    assert_eq!(found, ["left-pad comes from git+https://example.com/left-pad"]);
}

/// Everything that the table does not allow, in words.
fn layer_violations(metadata: &Value) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let mut found = Vec::new();
    for package in packages(metadata).filter(|package| package["source"].is_null()) {
        let name = text(package, "name");
        let Some(allowed) = table.get(name) else {
            found.push(format!("{name} is not in the table of crates"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = text(dependency, "name");
            let in_tests = dependency["kind"] == "dev";
            let is_ours = table.contains_key(other);
            if is_ours && !allowed.contains(&other) && !(in_tests && KITS.contains(&other)) {
                found.push(format!("{name} must not use {other}"));
            }
            // A test may collect the logs of a library, to see that no secret is in them.
            if ONLY_CLI.contains(&other) && name != "airlift-cli" && !in_tests {
                found.push(format!("{name} must leave {other} to the program"));
            }
        }
    }
    found
}

/// Packages from elsewhere than the registry or under licences that nobody has agreed to.
fn origin_violations(metadata: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages(metadata) {
        let (name, licence) = (text(package, "name"), package["license"].as_str().unwrap_or(""));
        match package["source"].as_str() {
            None => {}
            Some(source) if source.starts_with(REGISTRY) => {}
            Some(source) => found.push(format!("{name} comes from {source}")),
        }
        if !is_allowed(licence) {
            found.push(format!("{name} has licence `{licence}`"));
        }
    }
    found
}

/// Whether an SPDX expression leaves a choice that [`LICENCES`] holds. The slash is old for `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    matches!(any(&words), Some((true, [])))
}

type Judged<'a, 'w> = Option<(bool, &'a [&'w str])>;

fn any<'a, 'w>(words: &'a [&'w str]) -> Judged<'a, 'w> {
    let (mut allowed, mut rest) = all(words)?;
    while let ["OR", after @ ..] = rest {
        let next = all(after)?;
        (allowed, rest) = (allowed | next.0, next.1);
    }
    Some((allowed, rest))
}

fn all<'a, 'w>(words: &'a [&'w str]) -> Judged<'a, 'w> {
    let (mut allowed, mut rest) = one(words)?;
    while let ["AND", after @ ..] = rest {
        let next = one(after)?;
        (allowed, rest) = (allowed & next.0, next.1);
    }
    Some((allowed, rest))
}

fn one<'a, 'w>(words: &'a [&'w str]) -> Judged<'a, 'w> {
    match words {
        ["(", inner @ ..] => match any(inner)? {
            (allowed, [")", rest @ ..]) => Some((allowed, rest)),
            _ => None,
        },
        // An exception only adds to what the licence permits.
        [name, "WITH", _, rest @ ..] | [name, rest @ ..] => Some((LICENCES.contains(name), rest)),
        [] => None,
    }
}

/// What cargo knows of this workspace. For this host alone: other platforms' packages may not be
/// downloaded here.
fn metadata() -> Value {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host()]);
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn host() -> String {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().unwrap().iter()
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("cargo's metadata has no {key} in {object}"))
}

/// Metadata of one package of this workspace with these dependencies and their kinds.
fn package(name: &str, dependencies: &[(&str, Value)]) -> Value {
    let dependency = |(name, kind): &(&str, Value)| serde_json::json!({"name": name, "kind": kind});
    let dependencies: Vec<Value> = dependencies.iter().map(dependency).collect();
    let package = serde_json::json!({
        "name": name, "source": null, "license": "Apache-2.0", "dependencies": dependencies,
    });
    serde_json::json!({"packages": [package]})
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) =
        entries(folder).into_iter().partition(|path| path.is_dir());
    let own = files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
    own.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
