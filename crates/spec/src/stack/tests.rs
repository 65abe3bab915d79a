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
        stack.sources.iter().map(|source| source.reference.to_string()).collect();
    assert_eq!(names, ["docker.io/library/nginx:1.27", "quay.io/a/b:latest"]);
    assert_eq!(stack.sources[0].platforms(&stack), &Platforms::All);
    assert_eq!(stack.sources[1].platforms(&stack).to_string(), "linux/arm64");
    assert_eq!(stack.sources[1].line, 5);
}

#[test]
fn images_that_people_built_have_an_origin_and_a_name() {
    let stack = parsed(
        "sources:\n  - {image: 'oci:./out:v1', as: 'example.com/app:1'}\n  - {image: 'docker-archive:a.tar', as: 'example.com/b:1'}\n",
    );
    assert_eq!(
        stack.sources[0].origin,
        Origin::OciLayout { path: "./out".into(), name: Some("v1".into()) }
    );
    assert_eq!(stack.sources[1].from_text().as_deref(), Some("docker-archive:a.tar"));
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
    refused(&format!("{HEAD}sources:\n  - chart: gpu-operator\n"), "line 4: `chart:`");
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
    let kept: Vec<&str> = stack.wanted_sources().map(|source| source.reference.path()).collect();
    assert_eq!(kept, ["a/b"]);
}

#[test]
fn every_stack_ever_written_still_reads() {
    let stack = parse(include_str!("../../../../fixtures/stack/v1/images.yaml")).unwrap();
    assert_eq!(stack.sources.len(), 4);
    assert_eq!(stack.sources[3].because().len(), 2);
    assert_eq!(stack.exclude.len(), 1);
}
