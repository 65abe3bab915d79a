use super::*;

const HEAD: &str = "version: 1\nname: demo\n";

fn parsed(sources: &str) -> Stack {
    parse(&format!("{HEAD}{sources}")).unwrap()
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let message = crate::error::chain(&parse(text).unwrap_err());
    assert!(message.contains(expected), "{message}");
}

#[test]
fn images_are_named_canonically() {
    let stack = parsed(
        "sources:\n  - image: nginx:1.27\n  - {image: quay.io/a/b, platforms: [linux/arm64]}\n",
    );
    let names: Vec<String> =
        stack.images.iter().map(|source| source.reference.to_string()).collect();
    assert_eq!(names, ["docker.io/library/nginx:1.27", "quay.io/a/b:latest"]);
    assert_eq!(stack.images[0].platforms(&stack), &Platforms::All);
    assert_eq!(stack.images[1].platforms(&stack).to_string(), "linux/arm64");
    assert_eq!(stack.images[1].line, 5);
}

#[test]
fn images_that_people_built_have_an_origin_and_a_name() {
    let stack = parsed(
        "sources:\n  - {image: 'oci:./out:v1', as: 'example.com/app:1'}\n  - {image: 'docker-archive:a.tar', as: 'example.com/b:1'}\n",
    );
    assert_eq!(
        stack.images[0].origin,
        Origin::OciLayout { path: "./out".into(), name: Some("v1".into()) }
    );
    assert_eq!(stack.images[1].from_text().as_deref(), Some("docker-archive:a.tar"));
}

#[test]
fn a_newer_file_is_told_from_a_wrong_one() {
    refused("version: 2\nname: demo\nnovelty: 1\n", "newer");
    refused("version: 1\nname: demo\nnovelty: 1\n", "novelty");
}

#[test]
fn a_stack_that_wants_nothing_is_refused() {
    for sources in ["", "sources:\n", "sources: []\n"] {
        refused(&format!("{HEAD}{sources}"), "wants nothing");
    }
}

#[test]
fn mistakes_name_their_line() {
    refused(&format!("{HEAD}sources:\n  - image: UPPER/case\n"), "line 4");
    refused(
        &format!("{HEAD}sources:\n  - image: a:1\n  - image: docker.io/library/a:1\n"),
        "line 5",
    );
    refused(&format!("{HEAD}sources:\n  - juju: bundle.yaml\n"), "line 4: `juju:`");
    refused(&format!("{HEAD}sources:\n  - {{image: 'oci:dir'}}\n"), "`as: HOST/PATH:TAG`");
    refused(&format!("{HEAD}platforms: some\n"), "neither `all` nor a list");
    refused(&format!("{HEAD}platforms: [linux]\n"), "`linux` is not a platform");
    refused("version: 1\nname: Demo\n", "line 2: `Demo` is not a stack name");
    refused("", "");
}

#[test]
fn advice_to_programmers_is_not_passed_on() {
    let told = |text: &str| crate::error::chain(&parse(text).unwrap_err());
    let twice = told(&format!("{HEAD}name: other\n"));
    assert!(twice.contains("duplicate mapping key: name") && !twice.contains("Options"), "{twice}");
    let several = told(&format!("{HEAD}---\n{HEAD}"));
    assert!(several.contains("multiple YAML documents"), "{several}");
    assert!(!several.contains("from_str"), "{several}");
    refused(&format!("{HEAD}sources: &a [*a]\n"), "it refers to itself");
    let unknown = told(&format!("{HEAD}sources:\n- {{imge: a:1}}\n"));
    assert!(unknown.starts_with("line 4 column 4: unknown field `imge`"), "{unknown}");
    assert_eq!(unknown.lines().count(), 1, "{unknown}");
}

#[test]
fn aliases_that_make_much_of_little_are_refused() {
    let bomb = |(inner, outer): (char, char)| {
        let aliases = vec![format!("*{inner}"); 8].join(", ");
        format!("{outer}: &{outer} [{aliases}]\n")
    };
    let lines: String = "abcde".chars().zip("bcdef".chars()).map(bomb).collect();
    let text = format!("{HEAD}a: &a [x, x, x, x, x, x, x, x]\n{lines}");
    refused(&text, "larger than a stack may be: total_replayed_events=50001");
}

#[test]
fn a_reference_with_a_scheme_is_told_to_lose_it() {
    for scheme in ["https", "http", "docker"] {
        let text = format!("{HEAD}sources:\n  - image: {scheme}://quay.io/a/b:1\n");
        let help = crate::Explain::help(&parse(&text).unwrap_err());
        assert_eq!(help, Some(format!("leave out `{scheme}://`")));
    }
}

#[test]
fn names_that_become_files_are_safe_ones() {
    for name in ["a", "llm-platform", "0", &"a".repeat(40)] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", "-a", "A", "a_b", "a.b", "con", "com1", "lpt9", "nul", "../x", &"a".repeat(41)]
    {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn an_exclude_rule_takes_images_out() {
    let stack = parsed(
        "sources: [{image: quay.io/a/must-gather:1}, {image: quay.io/a/b:1}]\nexclude: [{image: '*/must-gather*', why: support}]\n",
    );
    let kept: Vec<&str> = stack.wanted_images().map(|source| source.reference.path()).collect();
    assert_eq!(kept, ["a/b"]);
}

#[test]
fn knowledge_of_ones_own_is_part_of_what_its_sources_ask_for() {
    let with = |knowledge: &str| parsed(&format!("sources: [{{manifests: ./a}}]\n{knowledge}"));
    let (none, one) = (with(""), with("knowledge: [./ours]\n"));
    assert_eq!(one.knowledge, [Pack { path: "./ours".to_owned(), line: 4 }]);
    assert_eq!(none.finders(), with("knowledge: []\n").finders());
    assert_ne!(none.finders(), one.finders());
    assert_ne!(one.finders(), with("knowledge: [./theirs]\n").finders());
    refused(
        &format!("{HEAD}sources: [{{image: a}}]\nknowledge:\n- ./a\n- ./a\n"),
        "line 6: `./a` stands on line 5 already",
    );
}

#[test]
fn every_stack_ever_written_still_reads() {
    let stack = parse(include_str!("../../../../fixtures/stack/v1/images.yaml")).unwrap();
    assert_eq!(stack.images.len(), 4);
    assert_eq!(stack.images[3].because().len(), 2);
    assert_eq!(stack.exclude.len(), 1);
    let stack = parse(include_str!("../../../../fixtures/stack/v1/releases.yaml")).unwrap();
    assert_eq!(stack.finders.len(), 3);
}

#[test]
fn catalogs_say_what_is_kept_of_them() {
    let stack = parsed(
        "sources:
  - catalog: registry.example/redhat/operators:v4.20
    packages:
      - {name: rhods, channel: stable-3.4, from: 3.4.1, to: 3.4.4}
      - name: mesh
        channels: [tech, {name: stable, from: 3.2.0}]
        default: stable
  - {catalog: ./catalog, as: 'example.com/own/catalog:v1', full: true, dependencies: ignore}
",
    );
    let FinderKind::Catalog(first) = &stack.finders[0].kind else { panic!("{stack:?}") };
    let rhods = first.selection.package("rhods").unwrap();
    let range = |channel: &ChannelWish| (channel.from.clone(), channel.to.clone());
    assert_eq!(range(&rhods.channels[0]), (Some("3.4.1".into()), Some("3.4.4".into())));
    assert_eq!((&rhods.from, &rhods.to), (&None, &None));
    let mesh = first.selection.package("mesh").unwrap();
    assert_eq!(
        mesh.channels.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(),
        ["tech", "stable"]
    );
    assert_eq!(first.dependencies, Dependencies::Include);
    let FinderKind::Catalog(second) = &stack.finders[1].kind else { panic!("{stack:?}") };
    assert_eq!(second.place, Place::Path("./catalog".into()));
    assert_eq!(second.reference.to_string(), "example.com/own/catalog:v1");
    assert!(second.selection.full && second.dependencies == Dependencies::Ignore);
    assert_eq!(stack.finders[0].key(), "catalog: registry.example/redhat/operators:v4.20");
}

#[test]
fn charts_come_from_repositories_registries_folders_and_packages() {
    let stack = parsed(
        "sources:
  - {chart: gpu-operator, repository: 'https://charts.example/nvidia', version: v24.9.2, values: [a.yaml]}
  - {chart: 'oci://charts.example/org/app', version: 1.2.0, switches: include}
  - {chart: ./deploy/chart, variants: [[gpu.yaml], [cpu.yaml, big.yaml]]}
  - {chart: app-1.0.tgz}
",
    );
    let places = stack.finders.iter().map(|finder| match &finder.kind {
        FinderKind::Chart(chart) => chart.place.clone(),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        places.collect::<Vec<_>>(),
        [
            ChartPlace::Repository {
                name: "gpu-operator".into(),
                url: "https://charts.example/nvidia".into()
            },
            ChartPlace::Oci("charts.example/org/app".into()),
            ChartPlace::Path("./deploy/chart".into()),
            ChartPlace::Path("app-1.0.tgz".into()),
        ]
    );
    assert_eq!(stack.finders[0].key(), "chart: gpu-operator v24.9.2");
}

#[test]
fn what_a_finder_asks_for_has_a_digest_that_only_its_meaning_changes() {
    let digest = |text: &str| parsed(text).finders().into_values().next().unwrap();
    let plain = digest("sources: [{manifests: ./deploy}]");
    assert_eq!(plain, digest("sources:\n\n  # why\n  - manifests: ./deploy\n"));
    assert_ne!(plain, digest("platforms: [linux/amd64]\nsources: [{manifests: ./deploy}]"));
    assert_ne!(plain, digest("exclude: [{image: '*'}]\nsources: [{manifests: ./deploy}]"));
    let chart = |more: &str| digest(&format!("sources: [{{chart: ./a, {more}}}]"));
    assert_ne!(chart("values: [a.yaml]"), chart("values: [b.yaml]"));
}

#[test]
fn fields_of_another_kind_are_refused_with_their_line() {
    let entry = |text: &str| format!("{HEAD}sources:\n  - {text}\n");
    refused(&entry("image: a:1\n    version: 1"), "line 5: `version:` means nothing in a `image:`");
    refused(&entry("{manifests: ./a, full: true}"), "line 4: `full:` means nothing");
    refused(&entry("{image: a:1, chart: b}"), "line 4: `chart:` stands in an entry");
    refused(&entry("{catalog: a:1, packages: [{name: b, chanel: c}]}"), "chanel");
    refused(&entry("{catalog: a:1, packages: {apt: x}}"), "line 4: `packages:` of a catalog");
    refused(&entry("{catalog: a:1, packages: [{name: b}, {name: b}]}"), "`b` is listed twice");
    refused(&entry("{catalog: a:1, packages: [{name: b, channels: [{nme: c}]}]}"), "nme");
    refused(&entry("{catalog: ./a}"), "needs `as: HOST/PATH:TAG`");
    refused(&entry("{packages: {apt: x}}"), "line 4: `packages:` sources are not supported");
    refused(&entry("{platforms: all}"), "line 4: an entry of `sources:` has no `image:`");
}

#[test]
fn releases_are_those_of_a_channel_or_one_by_its_image() {
    let release = |entry: &str| {
        let text = format!("version: 1\nname: demo\nsources: [{{openshift: {entry}}}]");
        let finder = parse(&text).unwrap().finders.remove(0);
        let FinderKind::Release(release) = finder.kind.clone() else { panic!("{finder:?}") };
        (finder.key(), release)
    };
    let (key, newest) = release("stable-4.20");
    assert_eq!(key, "openshift: stable-4.20");
    assert_eq!(newest.architectures, ["amd64"]);
    let Releases::Channels(channels) = &newest.releases else { panic!("{newest:?}") };
    assert_eq!((&*channels[0].name, &channels[0].from), ("stable-4.20", &None));
    let (_, ranged) =
        release("eus-4.20, from: 4.18.3, to: 4.20.6, shortestPath: true, graph: true");
    let Releases::Channels(channels) = &ranged.releases else { panic!("{ranged:?}") };
    assert!(channels[0].shortest_path && ranged.graph);
    assert_eq!(channels[0].to.as_ref().unwrap().to_string(), "4.20.6");
    let (_, one) = release("'quay.io/o/ocp-release:4.20.1-multi', architectures: [multi]");
    assert!(matches!(&one.releases, Releases::Image(it) if it.tag() == Some("4.20.1-multi")));
    let (_, thinned) = release("stable-4.20, platforms: [linux/arm64]");
    assert_eq!(thinned.architectures, ["multi"]);
}

#[test]
fn what_an_openshift_source_cannot_mean_is_refused_with_its_line() {
    let refused = |entry: &str, expected: &str| {
        let text = format!("version: 1\nname: demo\nsources:\n  - openshift: {entry}\n");
        let message = parse(&text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    refused(
        "quay.io/o/r:1\n    full: true",
        "line 5: `full:` means nothing in a `openshift: IMAGE`",
    );
    refused("stable-4.20\n    values: [a]", "line 5: `values:` means nothing in a `openshift:`");
    refused("stable-4.20\n    from: 4.20", "line 5: `4.20` is no version of a release");
    refused("stable-4.20\n    from: 4.20.2\n    to: 4.20.1", "line 4: `from:` is above `to:`");
    refused("stable-4.20\n    architectures: []", "line 5: `architectures:` is an empty list");
    refused(
        "stable-4.20\n    architectures: [amd64, x86]",
        "line 5: no release is for `x86`; expected amd64, arm64, ppc64le, s390x, multi",
    );
    refused("'stable 4'", "line 4: `stable 4` is no channel");
    refused("quay.io/o/R:1", "line 4: `quay.io/o/R:1` is not an image reference");
}
