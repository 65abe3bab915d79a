use proptest::prelude::*;

use super::super::yaml;
use super::*;

/// What the fast path takes, the full parser takes, and as the same thing.
fn agree(text: &str) -> bool {
    let Ok(fast) = parse(text) else { return false };
    match yaml::parse(text) {
        Ok(full) => assert_eq!(fast, full, "{text:?}"),
        Err((line, err)) => panic!("{text:?} is {fast}, but for the full parser: {line}: {err}"),
    }
    true
}

#[test]
fn the_style_of_gos_tools_is_taken() {
    for text in [
        "a: b\n",
        "a:\n- b\n- c: d\n  e:\n  - f\n  -\n- - g\n  - h\n",
        "a:\n    b:\n        - c\n    d: 1\ne:\n",
        "a: {}\nb: []\nc: \"\"\nd: ''\ne: true\nf: null\ng: -12\nh: 0\n",
        "a: b c\n  d\n\n\n  e\nf: g\n",
        "a: \"b \\\"c\\\" \\\n  d\\n\\u00e9\\x41 e\n  f\n\n  g\"\nh: i\n",
        "a: 'b ''c''\n  d\n\n  e'\n",
        "a: |\n  b\n   c\n\n  d\n\nb: |-\n  x\nc: |+\n  y\n\nd: |2-\n    z\n",
        "- a\n- |\n  b\n- c: |-\n    d\n- \"e\": f\n- 'g'\n",
        "a: 1.2.3\nb: 2024-01-01T00:00:00Z\nx: 1:30\nz: <1.0 >2\nu: 3.x\nv: --a\nc: https://x/y:z\nd: 1.0.0-rc1\ne: sha256:ab\n",
        "a: é ü\nb: (x) $y\n",
        "operators.openshift.io/x: yz\nalm-examples: |-\n  [\n    {}\n  ]\n",
    ] {
        assert!(agree(text), "{text:?}");
    }
}

#[test]
fn what_might_mean_something_else_is_the_full_parsers() {
    for value in [
        "yes",
        "No",
        "ON",
        "y",
        "~",
        "Null",
        "TRUE",
        "0o7",
        "0x1F",
        "012",
        "1_000",
        "1.5",
        "1e3",
        ".5",
        "+1",
        "-0",
        ".inf",
        "-.inf",
        ".nan",
        "NaN",
        "12345678901234567890",
        "&a b",
        "*a",
        "!!str x",
        "> x",
        ">\n  x",
        "[a]",
        "{a: b}",
        "a: b",
        "a #b",
        "a\tb",
        "%x",
        "@x",
        "`x`",
        "- x",
        "? x",
        "#x",
        "<<",
        "=",
        "\"a\" b",
        "'a' b",
        "\"\\q\"",
        "|2 #",
        "| x",
        ": x",
        ":",
        "a:",
        "\"a\"\"",
        "a\r",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{7f}",
        "\u{1}",
    ] {
        let text = format!("k: {value}\n");
        assert_eq!(parse(&text), Err(NotCanonical), "{text:?}");
    }
    for text in [
        "",
        "\n",
        "a",
        "a: b",
        "# x\na: b\n",
        "a: b\n# x\n",
        "a: b\n...\n",
        "a: b\na: c\n",
        "<<: b\n",
        "? a\n: b\n",
        "a\n",
        "a: b\n c: d\n",
        "a:\n  b: c\n d: e\n",
        "- a\nb: c\n",
        "a: b\n- c\n",
        "a b: c\n",
        "1: b\n",
        "yes: b\n",
        "a: |\n    b\n  c\n d\n",
        "a: |\n   \n  b\n",
        "a: \"b\nc\"\n",
        "a: 'b\nc'\n",
        "a: \"b\n",
        "a: x\n\tb\n",
        ": b\n",
        "\"a\\x41\": b\n",
        "a: \"b\\\n\n  c\"\n",
        "&a b: c\n",
        "a: !x\n  b: c\n",
    ] {
        assert_eq!(parse(text), Err(NotCanonical), "{text:?}");
    }
    let deep = (0..100).fold(String::new(), |text, depth| text + &" ".repeat(depth) + "a:\n");
    assert_eq!(parse(&deep), Err(NotCanonical));
}

/// Pieces of which documents are made, so that lines meet that nobody thought of together.
fn lines() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "key",
        ": ",
        ":",
        "\n",
        "\n",
        "\n  ",
        "\n    ",
        "\n- ",
        "\n  - ",
        "- ",
        " ",
        "  ",
        "'",
        "''",
        "\"",
        "\\",
        "\\n",
        "\\\n",
        "|",
        "|-",
        "|+",
        "|2",
        ">",
        "1",
        "0",
        ".",
        "-",
        "#",
        " #",
        "yes",
        "null",
        "{}",
        "[]",
        ",",
        "\t",
        "é",
        "~",
        "e",
        "\n\n",
        "x: y\n",
        "k: |\n  t\n",
        "k: \"q\"\n",
        "/",
        "_",
        "&",
        "*",
        "!",
        "?",
        "@",
        "%",
        "=",
        "+",
        "(",
        "<",
    ]);
    prop::collection::vec(piece, 1..24).prop_map(|pieces| pieces.concat() + "\n")
}

/// One scalar of many forms.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "[0-9a-fxobeE._:+-]{1,9}", "[yYnNoOtTfFuUlLaAsSeErR~.]{1,5}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_parsers_read_the_same_out_of_any_lines(text in lines()) {
        agree(&text);
    }

    #[test]
    fn both_parsers_read_the_same_out_of_any_scalar(text in scalar()) {
        agree(&format!("k: {text}\n"));
        agree(&format!("- {text}\n- z\n"));
        agree(&format!("{text}: z\n"));
        agree(&format!("k:\n  x: a {text}\n    {text}\n"));
        agree(&format!("k: |\n  {text}\n\n  {text}\n"));
    }
}
