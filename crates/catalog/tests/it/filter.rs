use std::collections::{BTreeMap, BTreeSet};

use airlift_catalog::{Catalog, Choice, FilterError, Filtered, Reader, Wanted, filter};
use airlift_spec::Explain;
use airlift_spec::stack::{ChannelWish, PackageWish, Rules, Selection};
use fs_err as fs;
use serde_json::Value;

use crate::data;

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(str::to_owned)
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}

fn selection(case: &Value) -> Selection {
    let channel = |value: &Value| ChannelWish {
        name: text(value, "name").unwrap(),
        from: text(value, "minVersion"),
        to: text(value, "maxVersion"),
    };
    let package = |value: &Value| PackageWish {
        name: text(value, "name").unwrap(),
        default: text(value, "defaultChannel"),
        channels: list(&value["channels"]).into_iter().map(channel).collect(),
        from: text(value, "minVersion"),
        to: text(value, "maxVersion"),
        full: false,
        bundles: Vec::new(),
    };
    Selection {
        packages: list(&case["packages"]).into_iter().map(package).collect(),
        full: case["full"] == true,
    }
}

/// The catalog of a file of the data.
fn read(file: &str, wanted: &Wanted) -> Option<Catalog> {
    let path = data::data("olm")?.join(file);
    let mut reader = Reader::new(wanted.clone());
    reader.file(file, fs::File::open(path).unwrap());
    Some(reader.finish().unwrap())
}

fn images(catalog: &Catalog, choice: &Choice) -> BTreeSet<String> {
    let kept = catalog.clone().keep(choice);
    kept.bundles()
        .flat_map(|(_, bundle)| bundle.related_images())
        .map(|image| image.image)
        .collect()
}

fn names(value: &Value) -> BTreeSet<String> {
    list(value).into_iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Whether the error is the one that the words of the library mean.
fn is_meant(err: &FilterError, words: &str) -> bool {
    match err {
        FilterError::Contradiction { .. } => {
            words.contains("exclusive") || words.contains("cannot be mixed")
        }
        FilterError::Empty { channel, .. } => {
            words.contains("empty after range")
                && words.contains(&format!("default channel {channel} "))
        }
        FilterError::DefaultGone { channel, .. } => {
            words.contains("filtered out") && words.contains(&format!("\"{channel}\""))
        }
        FilterError::NoDefault { channel, .. } => {
            words.contains("does not exist in the filtered output")
                && words.contains(&format!("\"{channel}\""))
        }
        FilterError::NoVersion { version, .. } => {
            words.contains(&format!("version {version} not found"))
        }
        FilterError::Several(errors) => errors.iter().any(|err| is_meant(err, words)),
        _ => false,
    }
}

fn check(catalog: &Catalog, filtered: &Filtered, name: &str, expected: &Value, case: &str) {
    let kept = &filtered.choice.packages[name];
    assert_eq!(kept.default_channel, expected["defaultChannel"], "{case}");
    let channels: BTreeMap<&String, &BTreeSet<String>> =
        kept.channels.iter().filter(|(_, entries)| !entries.is_empty()).collect();
    let expected_channels: BTreeMap<&String, BTreeSet<String>> = expected["channels"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, entries)| (name, names(entries)))
        .collect();
    let expected_channels: BTreeMap<&String, &BTreeSet<String>> =
        expected_channels.iter().map(|(name, entries)| (*name, entries)).collect();
    assert_eq!(channels, expected_channels, "{case}");
    assert_eq!(kept.bundles, names(&expected["bundles"]), "{case}");
    assert_eq!(images(catalog, &filtered.choice).len() as u64, expected["imageCount"], "{case}");
}

fn cases() -> Vec<Value> {
    let Some(path) = data::data("olm/image-lists/filter-cases.json") else { return Vec::new() };
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_known_answers_of_oc_mirrors_library_are_ours() {
    for case in cases() {
        let words = case["case"].as_str().unwrap();
        let catalog = read(case["catalog"].as_str().unwrap(), &Wanted::All).unwrap();
        for (name, expected) in case["expect"].as_object().unwrap() {
            match (filter(&catalog, &selection(&case), Rules::OcMirror), expected["error"].as_str())
            {
                (Ok(filtered), None) => check(&catalog, &filtered, name, expected, words),
                // The filter gives nothing and warns; that nothing is left is for the run to say.
                (Ok(filtered), Some("no related images found")) => {
                    assert!(filtered.choice.packages.is_empty(), "{words}");
                    assert_eq!(filtered.findings[0].code, "catalog-package-absent");
                }
                (Err(err), Some(meant)) => {
                    assert!(is_meant(&err, meant), "{words}: {err}, not {meant}");
                }
                (Ok(_), Some(meant)) => panic!("{words}: no error, not {meant}"),
                (Err(err), None) => panic!("{words}: {err}"),
            }
        }
    }
}

#[test]
fn strict_takes_the_same_bundles_or_says_what_is_silently_not_so() {
    let mut errors = Vec::new();
    for case in cases() {
        let words = case["case"].as_str().unwrap();
        let catalog = read(case["catalog"].as_str().unwrap(), &Wanted::All).unwrap();
        for (name, expected) in case["expect"].as_object().unwrap() {
            match filter(&catalog, &selection(&case), Rules::Own) {
                Ok(filtered) => {
                    assert!(expected["error"].is_null(), "{words}");
                    check(&catalog, &filtered, name, expected, words);
                }
                Err(err) if expected["error"].is_null() => {
                    errors.push((words.to_owned(), err.to_string()));
                }
                Err(_) => {}
            }
        }
    }
    let silent: Vec<&str> = errors.iter().map(|(case, _)| case.as_str()).collect();
    if !silent.is_empty() {
        assert_eq!(
            silent,
            [
                "min = max at package level, all channels: one bundle, the others' channels stay without entries",
                "min = max, version only in another channel",
                "overriding default channel empty after range, another channel not",
                "absent channel beside the default one",
            ]
        );
    }
}

#[test]
fn a_real_run_of_oc_mirror_took_the_same_images() {
    let Some(path) = data::data("olm/image-lists/ocmirror-dry-run/mapping.txt") else { return };
    let mapping = fs::read_to_string(path).unwrap();
    let mapped: BTreeSet<&str> = mapping
        .lines()
        .filter_map(|line| line.strip_prefix("docker://")?.split_once("=docker://"))
        .map(|(source, _)| source)
        .collect();
    let catalog =
        read("catalogs/rhoai-2.25/v4.19/rhods-operator/catalog.yaml", &Wanted::All).unwrap();
    let version = || Some("2.25.0".to_owned());
    let channel = ChannelWish { name: "stable-2.25".to_owned(), from: version(), to: version() };
    let package = PackageWish {
        name: "rhods-operator".to_owned(),
        default: Some("stable-2.25".to_owned()),
        channels: vec![channel],
        ..PackageWish::default()
    };
    let selection = Selection { packages: vec![package], full: false };
    let images = images(&catalog, &filter(&catalog, &selection, Rules::Own).unwrap().choice);
    assert_eq!(images.len(), 97);
    let missing: Vec<&String> =
        images.iter().filter(|image| !mapped.contains(image.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A package `thing` of a few channels: each entry is `VERSION`, `VERSION<REPLACED`, with `!SKIPPED` behind it.
pub(crate) fn thing(channels: &[(&str, &[&str])]) -> Catalog {
    let mut text = vec!["schema: olm.package\nname: thing\ndefaultChannel: stable\n".to_owned()];
    let mut versions = BTreeSet::new();
    for (channel, entries) in channels {
        let head =
            format!("---\nschema: olm.channel\nname: {channel:?}\npackage: thing\nentries:\n");
        text.push(head);
        for entry in *entries {
            let mut skips = entry.split('!');
            let edge = skips.next().unwrap();
            let (version, below) = edge.split_once('<').unwrap_or((edge, ""));
            text.push(format!("- name: thing.v{version}\n"));
            if !below.is_empty() {
                text.push(format!("  replaces: thing.v{below}\n"));
            }
            let skips: Vec<String> = skips.map(|skip| format!("  - thing.v{skip}\n")).collect();
            if !skips.is_empty() {
                text.push(format!("  skips:\n{}", skips.concat()));
            }
            versions.insert(version);
        }
    }
    text.extend(versions.into_iter().map(|version| {
        format!(
            "---\nschema: olm.bundle\nname: thing.v{version}\npackage: thing\nimage: quay.io/thing/bundle:v{version}\nproperties:\n\
             - type: olm.package\n  value:\n    packageName: thing\n    version: {version:?}\n\
             relatedImages:\n- name: \"\"\n  image: quay.io/thing/bundle:v{version}\n"
        )
    }));
    let mut reader = Reader::new(Wanted::All);
    reader.file("thing.yaml", text.concat().as_bytes());
    reader.finish().unwrap()
}

/// What stays of `thing` in each channel, or the error and its help.
fn strict(catalog: &Catalog, asked: PackageWish) -> Result<String, String> {
    let asked = PackageWish { name: "thing".to_owned(), ..asked };
    run(catalog, asked, Rules::Own)
}

fn run(catalog: &Catalog, asked: PackageWish, mode: Rules) -> Result<String, String> {
    let selection = Selection { packages: vec![asked], full: false };
    let filtered = filter(catalog, &selection, mode).map_err(|err| match err.help() {
        Some(help) => format!("{err}; {help}"),
        None => err.to_string(),
    })?;
    let Some(kept) = filtered.choice.packages.get("thing") else { return Ok(String::new()) };
    let channels = kept.channels.iter().map(|(name, entries)| {
        let entries: Vec<&str> =
            entries.iter().map(|name| name.trim_start_matches("thing.v")).collect();
        format!("{name}: {}", entries.join(" "))
    });
    Ok(channels.collect::<Vec<_>>().join("; "))
}

fn channel(name: &str) -> ChannelWish {
    ChannelWish { name: name.to_owned(), ..ChannelWish::default() }
}

const CHANNELS: &[(&str, &[&str])] = &[
    ("stable", &["1.0.0", "1.1.0<1.0.0", "1.2.0<1.1.0!1.1.1", "1.1.1<1.1.0", "2.0.0-ea.1<1.2.0"]),
    ("old", &["1.0.0"]),
];

#[test]
fn what_is_not_there_is_an_error_with_what_is() {
    let catalog = thing(CHANNELS);
    let none = PackageWish::default;
    let error = |asked| strict(&catalog, asked).unwrap_err();
    let asked = PackageWish { name: "thinx".to_owned(), ..none() };
    assert_eq!(
        run(&catalog, asked.clone(), Rules::Own).unwrap_err(),
        "the catalog has no package `thinx`; there is `thing`"
    );
    assert_eq!(run(&catalog, asked, Rules::OcMirror).unwrap(), "");
    assert_eq!(
        error(PackageWish { channels: vec![channel("stable-1"), channel("stable")], ..none() }),
        "package `thing` has no channel `stable-1`; there is `stable`"
    );
    assert_eq!(
        error(PackageWish { channels: vec![channel("old")], ..none() }),
        "the filter takes out `stable`, the default channel of package `thing`; \
         set the package's `default` to one that is kept: `old`"
    );
    let oc_mirror = |channels| {
        run(&catalog, PackageWish { name: "thing".to_owned(), channels, ..none() }, Rules::OcMirror)
    };
    assert_eq!(
        oc_mirror(vec![channel("old"), channel("stabel")]).unwrap_err(),
        "package `thing` has no channel `stabel` (there is `stable`); the filter takes out `stable`, the default \
         channel of package `thing` (set the package's `defaultChannel` to one that is kept: `old`)"
    );
    assert_eq!(
        oc_mirror(vec![channel("stabel"), channel("stable")]).unwrap(),
        "stable: 2.0.0-ea.1"
    );
    let selection = Selection {
        packages: ["thinx", "other"]
            .map(|name| PackageWish { name: name.to_owned(), ..none() })
            .into(),
        full: false,
    };
    assert_eq!(
        filter(&catalog, &selection, Rules::Own).unwrap_err().to_string(),
        "the catalog has no package `other`; the catalog has no package `thinx` (there is `thing`)"
    );
    assert_eq!(
        error(PackageWish {
            from: Some("1.2.0".to_owned()),
            to: Some("1.0.0".to_owned()),
            ..none()
        }),
        "the filter of package `thing` contradicts itself: `>=1.2.0 <=1.0.0` ends before it begins"
    );
    assert_eq!(
        error(PackageWish { from: Some("2.0.0".to_owned()), ..none() }),
        "nothing in channel `stable` of package `thing` is in the range `>=2.0.0`; there is `1.2.0`, `2.0.0-ea.1`"
    );
    assert_eq!(
        error(PackageWish { from: Some("1.3.0".to_owned()), ..none() }),
        "nothing in channel `stable` of package `thing` is in the range `>=1.3.0`; `>=1.3.0` takes no prereleases \
         (`thing.v2.0.0-ea.1`), since none of its bounds is one; end a bound in `-0`, as in `1.2.0-0`, to take them"
    );
    let exact = |version: &str| PackageWish {
        from: Some(version.to_owned()),
        to: Some(version.to_owned()),
        channels: vec![channel("old")],
        default: Some("old".to_owned()),
        ..none()
    };
    assert_eq!(
        error(exact("1.2.0")),
        "nothing in channel `old` of package `thing` is in the range `>=1.2.0 <=1.2.0`; the range has bundles in `stable`"
    );
    assert_eq!(
        error(exact("1.3.0")),
        "package `thing` has no bundle of version 1.3.0; there is `1.1.1`, `1.2.0`, `2.0.0-ea.1`"
    );
    assert_eq!(
        error(PackageWish { bundles: vec!["thing.v1.2".to_owned()], ..none() }),
        "package `thing` has no bundle `thing.v1.2`; there is `thing.v1.2.0`, `thing.v1.0.0`, `thing.v1.1.0`"
    );
    assert_eq!(
        error(PackageWish { from: Some("latest".to_owned()), ..none() }),
        "the filter of package `thing` contradicts itself: `latest` is not a version; write \
         numbers alone, like `1.2` or `1.2.0`"
    );
}

#[test]
fn ranges_keep_one_chain_and_the_skipped_bundles_in_range() {
    let catalog = thing(CHANNELS);
    let range = |from: &str, to: &str| PackageWish {
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
        ..PackageWish::default()
    };
    let kept = |min, max| strict(&catalog, range(min, max)).unwrap();
    assert_eq!(kept("1.1.0", "1.2.0"), "stable: 1.1.0 1.1.1 1.2.0");
    assert_eq!(kept("1.1.1", "1.1.5"), "stable: 1.1.1 1.2.0");
    assert_eq!(kept("1.0.0", "2.0.0-zz"), "old: 1.0.0; stable: 1.0.0 1.1.0 1.1.1 1.2.0 2.0.0-ea.1");
    assert_eq!(strict(&catalog, PackageWish::default()).unwrap(), "old: 1.0.0; stable: 2.0.0-ea.1");
    let bundles = vec!["thing.v1.2.0".to_owned(), "thing.v1.1.0".to_owned()];
    let listed = PackageWish { bundles, ..PackageWish::default() };
    assert_eq!(strict(&catalog, listed).unwrap(), "stable: 1.1.0 1.2.0");
}

#[test]
fn channels_that_are_no_graph_are_named() {
    for (entries, message) in [
        (&["1.0.0", "1.1.0"][..], "it has several heads: thing.v1.0.0, thing.v1.1.0"),
        (&["1.0.0<1.1.0", "1.1.0<1.0.0"], "it has no head: every entry is replaced or skipped"),
        (
            &["1.0.0<1.1.0", "1.1.0<1.0.0", "2.0.0"],
            "its entries replace each other in a circle, `thing.v1.0.0` among them",
        ),
        (&["1.0.0<1.0.0"], "`thing.v1.0.0` replaces or skips itself"),
        (&["1.0.0", "1.0.0"], "`thing.v1.0.0` stands in it twice"),
    ] {
        let err = strict(&thing(&[("stable", entries)]), PackageWish::default()).unwrap_err();
        assert_eq!(
            err,
            format!("channel `stable` of package `thing` is no update graph: {message}")
        );
    }
}

#[test]
fn contradictions_are_refused_in_both_modes() {
    let catalog = thing(CHANNELS);
    let min = || Some("1.0.0".to_owned());
    let ranged = ChannelWish { from: min(), ..channel("stable") };
    let none = PackageWish::default;
    for (asked, full) in [
        (PackageWish { from: min(), channels: vec![ranged.clone()], ..none() }, false),
        (PackageWish { from: min(), ..none() }, true),
        (PackageWish { channels: vec![ranged], ..none() }, true),
        (PackageWish { bundles: vec!["thing.v1.0.0".to_owned()], from: min(), ..none() }, false),
        (PackageWish { bundles: vec!["thing.v1.0.0".to_owned()], ..none() }, true),
        (PackageWish { channels: vec![channel("stable"), channel("stable")], ..none() }, false),
        (PackageWish { channels: vec![channel("")], ..none() }, false),
    ] {
        let asked = PackageWish { name: "thing".to_owned(), ..asked };
        let selection = Selection { packages: vec![asked], full };
        for mode in [Rules::Own, Rules::OcMirror] {
            let err = filter(&catalog, &selection, mode).unwrap_err();
            assert!(matches!(err, FilterError::Contradiction { .. }), "{err}");
        }
    }
}
