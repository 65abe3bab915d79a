use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use airlift_catalog::read;
use airlift_catalog::{Catalog, Document, Reader, Wanted};
use fs_err as fs;
use serde_json::{Value, json};

use crate::data;

pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The same file by the full parser alone.
fn naive(text: &str) -> Vec<Value> {
    let parts = text.split("\n---\n");
    parts
        .map(|part| part.strip_prefix("---\n").unwrap_or(part))
        .filter(|part| !part.trim().is_empty())
        .map(|part| serde_saphyr::from_str(part).unwrap())
        .collect()
}

fn streamed(path: &Path, wanted: &Wanted) -> Vec<Document> {
    let mut found = Vec::new();
    let mut each = |document| {
        found.push(document);
        Ok(())
    };
    read::documents("f", fs::File::open(path).unwrap(), wanted, &mut each).unwrap();
    found
}

#[test]
fn every_document_of_real_catalogs_is_what_the_full_parser_reads() {
    for root in data::catalogs() {
        let mut images = BTreeMap::new();
        for file in files(&root) {
            let naive = naive(&fs::read_to_string(&file).unwrap());
            let fast = streamed(&file, &Wanted::All);
            assert_eq!(fast.len(), naive.len(), "{}", file.display());
            for (fast, naive) in fast.iter().zip(naive) {
                assert_eq!(fast.value, naive, "{}:{}", file.display(), fast.line);
                if naive["schema"] == "olm.bundle" {
                    let count = naive["relatedImages"].as_array().unwrap().len();
                    images.insert(fast.name.clone(), count);
                }
            }
        }
        let catalog = Catalog::read_dir(&root, &Wanted::All).unwrap();
        let ours = catalog
            .bundles()
            .map(|(_, bundle)| (bundle.name.clone(), bundle.related_images().len()));
        assert_eq!(ours.collect::<BTreeMap<_, _>>(), images, "{}", root.display());
    }
}

#[test]
fn embedded_manifests_of_real_bundles_decode() {
    for root in data::catalogs() {
        let catalog = Catalog::read_dir(&root, &Wanted::All).unwrap();
        for (package, bundle) in catalog.bundles() {
            assert!(bundle.version.is_some(), "{} has no version", bundle.name);
            let manifests = bundle.manifests().unwrap();
            let is_csv = |value: &Value| value["kind"] == "ClusterServiceVersion";
            assert!(manifests.iter().any(is_csv) || bundle.csv_metadata().is_some());
            assert!(package.channels.contains_key(&package.default_channel), "{}", package.name);
        }
    }
}

#[test]
fn one_package_is_the_same_alone_as_among_the_others() {
    let Some(root) = data::data("olm/catalogs/certified/v4.20") else { return };
    let all = Catalog::read_dir(&root, &Wanted::All).unwrap();
    for name in all.packages.keys() {
        let one = Catalog::read_dir(&root, &Wanted::packages([name.as_str()])).unwrap();
        assert_eq!(one.packages.keys().collect::<Vec<_>>(), [name]);
        let values = |catalog: &Catalog| {
            let package = &catalog.packages[name];
            let bundles = package.bundles.values().map(|bundle| bundle.document.value.clone());
            let channels = package.channels.values().map(|channel| channel.document.value.clone());
            bundles.chain(channels).collect::<Vec<_>>()
        };
        assert_eq!(values(&one), values(&all));
    }
}

/// Gives a byte at a time, so that no separator arrives whole.
struct Drops<'a>(&'a [u8]);

impl std::io::Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
        buffer[0] = *first;
        self.0 = rest;
        Ok(1)
    }
}

fn values(text: &[u8]) -> Result<Vec<(u64, Value)>, String> {
    let mut found = Vec::new();
    let mut each = |document: Document| {
        found.push((document.line, document.value));
        Ok(())
    };
    read::documents("f", Drops(text), &Wanted::All, &mut each).map_err(|err| err.to_string())?;
    Ok(found)
}

#[test]
fn streams_of_either_kind_are_cut_where_their_documents_end() {
    let a = json!({"schema": "s", "a": 1});
    let b = json!({"schema": "s", "b": "---"});
    for (text, lines) in [
        ("schema: s\na: 1\n---\nschema: s\nb: '---'\n", [1, 4]),
        ("---\nschema: s\na: 1\n--- # more\nschema: s\nb: '---'", [2, 5]),
        (
            "\u{feff}---\n\n---\nschema: s\na: 1\n---\n# none\n---\nschema: s\nb: '---'\n---\n",
            [4, 9],
        ),
        ("  schema: s\n  a: 1\n---\n  schema: s\n  b: '---'\n", [1, 4]),
        (r#"{"schema": "s", "a": 1}{"schema": "s", "b": "---"}"#, [1, 1]),
        ("\n {\"schema\": \"s\",\n\"a\": 1}\n---\n{\"schema\": \"s\", \"b\": \"---\"}\n", [2, 5]),
        ("--- {schema: s, a: 1}\n---\nschema: s\nb: '---'\n", [1, 3]),
        ("schema: s\r\na: 1\r\n---\r\nschema: s\r\nb: '---'\r\n", [1, 4]),
    ] {
        let found = values(text.as_bytes()).unwrap_or_else(|err| panic!("{text:?}: {err}"));
        assert_eq!(found, [(lines[0], a.clone()), (lines[1], b.clone())], "{text:?}");
    }
}

#[test]
fn a_document_that_is_none_is_named_by_file_and_line() {
    for (text, message) in [
        (&b"schema: s\n---\nschema: s\na: [\n"[..], "f:"),
        (b"schema: s\n---\n\nschema: s\nb: \xff\n", "f:5: not UTF-8"),
        (b"schema: s\n---\n- a\n", "f:3: not a catalog's document: no mapping"),
        (b"schema: s\n---\na: b\n", "f:3: not a catalog's document: it has no `schema`"),
        (b"schema: s\nname: 1\n", "f:1: `name: 1` is not a text: quote it"),
        (b"\n{\"schema\": \"s\"", "f:2: a JSON document that begins here and never ends"),
        (b"schema: s\na: 1\na: 2\n", "f:3: duplicate mapping key: a"),
    ] {
        let found = values(text).unwrap_err();
        assert!(found.starts_with(message), "{found}, not {message}");
    }
}

#[test]
fn hostile_depth_and_aliases_end_in_an_error() {
    let open = "[".repeat(100_000);
    let braces = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    let level = |level: usize| {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("a{level}: &a{level} [{list}]\n")
    };
    let levels: String = (1..9).map(level).collect();
    let bomb = format!("schema: s\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{levels}");
    for text in [format!("schema: s\na: {open}\n"), braces, bomb] {
        let err = values(text.as_bytes()).unwrap_err();
        assert!(err.starts_with("f:") && err.len() < 500, "{err}");
    }
}

fn catalog(files: &[(&str, &str)]) -> Result<Catalog, String> {
    let mut reader = Reader::new(Wanted::All);
    for (name, text) in files {
        reader.file(name, text.as_bytes());
    }
    reader.finish().map_err(|err| err.to_string())
}

const PACKAGE: &str = "schema: olm.package\nname: thing\ndefaultChannel: stable\n";

#[test]
fn what_an_ignore_file_names_is_no_part_of_the_catalog_whenever_it_comes() {
    let readme = ("thing/README.md", "# Thing\n\nIt does things.\n");
    let ignore = (".indexignore", "*.md\n");
    let package = ("thing/catalog.yaml", PACKAGE);
    let err = catalog(&[package, readme]).unwrap_err();
    assert!(err.starts_with("thing/README.md:1: not a catalog's document"), "{err}");
    for files in [[package, readme, ignore], [ignore, readme, package]] {
        assert_eq!(catalog(&files).unwrap().packages.len(), 1);
    }
}

#[test]
fn later_layers_replace_and_remove() {
    let mut reader = Reader::new(Wanted::All);
    reader.file("a/x.yaml", "not: one\n".as_bytes());
    reader.file("a/x.yaml", PACKAGE.as_bytes());
    reader.file("b/x.yaml", "not: one\n".as_bytes());
    reader.remove("b");
    assert!(reader.finish().unwrap().packages.contains_key("thing"));
}

#[test]
fn two_documents_for_one_thing_and_orphans_are_errors() {
    let bundle = "schema: olm.bundle\nname: thing.v1\npackage: thing\nimage: x\n";
    let twin = catalog(&[("a", PACKAGE), ("b", bundle), ("c", bundle)]).unwrap_err();
    assert_eq!(twin, "c:1: olm.bundle `thing.v1` of package `thing` stands in b:1 already");
    let orphan = catalog(&[("b", bundle)]).unwrap_err();
    assert!(orphan.contains("which no `olm.package` document declares"), "{orphan}");
    let outside = catalog(&[("a", "schema: olm.package\nname: ../x\n")]).unwrap_err();
    assert_eq!(outside, "a:1: `../x` cannot be the name of a package");
}

#[test]
fn an_outline_has_packages_and_channels_and_no_bundles() {
    let text = "---\nschema: olm.package\nname: a\ndefaultChannel: s\n---\nschema: olm.channel\npackage: a\nname: s\nentries:\n- name: a.v1\n---\nschema: olm.bundle\npackage: a\nname: a.v1\nimage: r/a@sha256:0\n";
    let json = "{\"schema\": \"olm.package\", \"name\": \"b\"}\n{\"schema\": \"olm.bundle\", \"package\": \"b\", \"name\": \"b.v1\"}";
    let read = |wanted| {
        let mut reader = Reader::new(wanted);
        reader.file("a.yaml", text.as_bytes());
        reader.file("b.json", json.as_bytes());
        reader.finish().unwrap()
    };
    let outline = read(Wanted::Outline);
    assert_eq!(outline.packages.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!(outline.packages["a"].channels.contains_key("s"));
    assert_eq!(outline.bundles().count(), 0);
    assert_eq!(read(Wanted::All).bundles().count(), 2);
}
