use super::*;

#[track_caller]
fn objects(text: &str) -> Vec<(u64, String)> {
    let documents = documents(text.as_bytes()).unwrap();
    documents.into_iter().map(|document| (document.line, document.object.to_string())).collect()
}

#[track_caller]
fn refused(text: &str) -> String {
    documents(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_stream_is_read_document_by_document_with_their_lines() {
    let text = "\u{feff}# Source: a\na: 1\n---\n# only a comment\n---\nb: |\n  ---\n  c\n--- # why\nc: on\n...\n";
    let expected = [(2, r#"{"a":1}"#), (6, r#"{"b":"---\nc\n"}"#), (10, r#"{"c":true}"#)];
    assert_eq!(objects(text), expected.map(|(line, text)| (line, text.to_owned())));
}

#[test]
fn json_is_read_with_and_without_separators() {
    assert_eq!(
        objects("{\"a\": 1}\n{\"b\": 2}"),
        [(1, r#"{"a":1}"#.into()), (2, r#"{"b":2}"#.into())]
    );
    assert_eq!(objects("{a: 1}\n---\n{b: 2}").len(), 2);
}

#[test]
fn lists_of_objects_are_unfolded() {
    let text = "kind: List\napiVersion: v1\nitems:\n- kind: ConfigMapList\n  items: [{kind: A}, {kind: B}]\n- kind: C\n";
    let kinds: Vec<String> = objects(text).into_iter().map(|(_, text)| text).collect();
    assert_eq!(kinds, [r#"{"kind":"A"}"#, r#"{"kind":"B"}"#, r#"{"kind":"C"}"#]);
    assert_eq!(objects("kind: Menu\nitems: [a]")[0].1, r#"{"items":["a"],"kind":"Menu"}"#);
}

#[test]
fn a_key_that_stands_twice_is_remarked_upon_and_the_last_one_counts() {
    let documents = documents(b"a: 1\n---\nb:\n  c: 1\n  d: 2\n  c: 3\n").unwrap();
    assert_eq!(documents[1].object.to_string(), r#"{"b":{"c":3,"d":2}}"#);
    let remark = Remark { line: 6, message: "`c` stands twice; the last one counts".to_owned() };
    assert_eq!(documents[1].remarks, [remark]);
    assert!(documents[0].remarks.is_empty());
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    assert_eq!(refused("a: 1\n---\nb:\n\tc: 1\n"), "line 4 is indented by a tab");
    assert!(
        refused("a: 1\n---\nb: [1\n").starts_with("line 3 is not YAML: "),
        "{}",
        refused("a: 1\n---\nb: [1\n")
    );
    assert!(refused("{\"a\": 1}\n{\"b\": ").starts_with("line 2 is not JSON: "));
    assert_eq!(refused("a: 1\n---\njust words\n"), "the document at line 3 is not an object");
    assert_eq!(
        documents(b"a: \xff").unwrap_err().to_string(),
        "it is not text: byte 3 is not UTF-8"
    );
    assert_eq!(
        documents(b"\x1f\x8b\x08 more").unwrap_err().to_string(),
        "it is packed with gzip, and not text"
    );
}

#[test]
fn an_alias_bomb_is_refused() {
    let tens =
        |name: &str, before: &str| format!("{name}: &{name} [{}]\n", [before; 10].join(", "));
    let names = [("b", "*a"), ("c", "*b"), ("d", "*c"), ("e", "*d"), ("f", "*e"), ("g", "*f")];
    let more = names.map(|(name, before)| tens(name, before));
    let text = tens("a", "x") + &more.concat();
    assert!(refused(&text).contains("not YAML"), "{}", refused(&text));
}

#[test]
fn what_go_reads_and_a_strict_reader_refuses_is_read_all_the_same() {
    let text = "a:\n  b: 'more\n  words'\n  c: |##why\n    d\n";
    assert_eq!(objects(text), [(1, r#"{"a":{"b":"more words","c":"d\n"}}"#.to_owned())]);
}

#[test]
fn a_large_text_that_aliases_repeat_is_refused() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(50_000));
    assert!(refused(&text).contains("not YAML"), "{}", refused(&text));
}
