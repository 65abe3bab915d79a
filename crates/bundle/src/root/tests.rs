use serde_json::{Value, json};

use super::*;
use crate::plan::{Plan, for_tests};

/// A change to a file, and what it is called in a message.
type Edit<T> = (&'static str, fn(&mut T));

fn good() -> Plan {
    for_tests()
}

fn edited(edit: impl Fn(&mut Value)) -> Result<Root, FormatError> {
    let mut value: Value = serde_json::from_slice(&good().root_bytes).unwrap();
    edit(&mut value);
    Root::parse(&serde_json::to_vec(&value).unwrap())
}

#[test]
fn what_is_written_reads_back_and_says_the_same_bytes() {
    let plan = good();
    let root = Root::parse(&plan.root_bytes).unwrap();
    assert_eq!(root, plan.root);
    assert_eq!(root.to_bytes(), plan.root_bytes);
    assert_eq!(Table::parse(&plan.table_bytes, &root).unwrap(), plan.table);
}

#[test]
fn unknown_fields_are_ignored_and_unknown_needs_refused_by_version() {
    assert!(edited(|root| root["later"] = json!({"a": [1]})).is_ok());
    let err = edited(|root| root["needs"] = json!(["parity@0.9"])).unwrap_err();
    assert_eq!(
        err.to_string(),
        format!(
            "it needs `parity`, which airlift has since 0.9; this is {}",
            airlift_spec::VERSION
        )
    );
    let newer = edited(|root| *root = json!({"format": 2, "everything": "else"}));
    assert!(matches!(newer, Err(FormatError::TooNew { found: 2, known: 1 })));
}

#[test]
fn hostile_roots_are_refused() {
    let edits: [Edit<Value>; 10] = [
        ("traversal in the name", |root| root["name"] = json!("../../etc")),
        ("a stack that is a path", |root| {
            root["stacks"] = json!([{"name": "a/b", "lock": Digest::of(b"")}]);
        }),
        ("no volumes", |root| root["volumes"] = json!([])),
        ("too many volumes", |root| root["volumes"] = json!(vec![1; 100_001])),
        ("a volume beyond all media", |root| root["volumes"][1] = json!(u64::MAX)),
        ("a negative size", |root| root["volumes"][1] = json!(-1)),
        ("a table without end", |root| root["blobs"]["size"] = json!(u64::MAX)),
        ("an artifact on a volume that is none", |root| {
            root["artifacts"][0]["volumes"] = json!([99]);
        }),
        ("unsorted blobs left out", |root| {
            let blob = json!({"digest": Digest::of(b""), "size": 1, "repository": "a.b/c"});
            root["leftOut"] = json!([blob, blob]);
        }),
        ("a repository that is none", |root| {
            root["leftOut"] =
                json!([{"digest": Digest::of(b""), "size": 1, "repository": "../x y"}]);
        }),
    ];
    for (what, edit) in edits {
        assert!(edited(edit).is_err(), "{what}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in ["", "null", "{", "{\"format\":1}", deep.as_str()] {
        assert!(Root::parse(text.as_bytes()).is_err(), "{}", &text[..text.len().min(20)]);
    }
}

/// The table of [`good`] with its lines changed, against the root as it is.
fn table(edit: impl Fn(&mut Vec<Value>)) -> Result<Table, FormatError> {
    let plan = good();
    let lines = plan.table_bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    edit(&mut lines);
    let text: String = lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect();
    Table::parse(text.as_bytes(), &plan.root)
}

fn ordinary(lines: &mut [Value]) -> &mut Value {
    lines.iter_mut().find(|line| line["name"].is_null()).unwrap()
}

fn named(lines: &mut [Value]) -> &mut Value {
    lines.iter_mut().find(|line| !line["name"].is_null()).unwrap()
}

#[test]
fn hostile_tables_are_refused() {
    assert!(table(|_| ()).is_ok());
    let edits: [Edit<Vec<Value>>; 14] = [
        ("traversal", |lines| named(lines)["name"] = json!("../../root/x")),
        ("an absolute name", |lines| named(lines)["name"] = json!("/etc/passwd")),
        ("a hidden name", |lines| named(lines)["name"] = json!("a/.ssh")),
        ("a blob by another name", |lines| named(lines)["name"] = json!("blobs/sha256/00")),
        ("a name with a newline", |lines| named(lines)["name"] = json!("a\nb")),
        ("a named member among the blobs", |lines| ordinary(lines)["name"] = json!("x")),
        ("a blob among the named members", |lines| named(lines)["name"] = Value::Null),
        ("an offset before the header", |lines| ordinary(lines)["pieces"][0]["offset"] = json!(0)),
        ("an offset that overflows", |lines| {
            ordinary(lines)["pieces"][0]["offset"] = json!(u64::MAX);
        }),
        ("a sparse bomb", |lines| {
            ordinary(lines)["size"] = json!(1_u64 << 60);
            ordinary(lines)["pieces"][0]["length"] = json!(1_u64 << 60);
        }),
        ("a volume that is none", |lines| ordinary(lines)["pieces"][0]["volume"] = json!(77)),
        ("pieces that do not make up the blob", |lines| ordinary(lines)["size"] = json!(1)),
        ("no pieces", |lines| ordinary(lines)["pieces"] = json!([])),
        ("lines out of order", |lines| lines.reverse()),
    ];
    for (what, edit) in edits {
        assert!(table(edit).is_err(), "{what}");
    }
    let overlap = table(|lines| {
        let on_first = |line: &&mut Value| line["pieces"][0]["volume"] == 1;
        let mut two: Vec<&mut Value> = lines.iter_mut().filter(on_first).collect();
        let taken = two[0]["pieces"][0]["offset"].clone();
        assert_ne!(two[1]["pieces"][0]["offset"], taken);
        two[1]["pieces"][0]["offset"] = taken;
    });
    assert!(overlap.is_err(), "two blobs on one place");
    assert!(table(|lines| drop(lines.pop())).is_err(), "a member that is not told");
    assert!(table(|lines| lines.push(lines[0].clone())).is_err(), "a member told twice");
}

#[test]
fn sums_of_another_volume_bundle_or_length_are_refused() {
    let digest = Digest::of(b"root");
    let size = 2 * CHUNK_BYTES + 1;
    let sums = Sums::new(digest, 3, size, vec![[7; 32]; 3]);
    let bytes = sums.to_bytes();
    assert_eq!(Sums::parse(&bytes, &digest, 3, size).unwrap(), sums);
    assert!(Sums::parse(&bytes, &Digest::of(b"other"), 3, size).is_err());
    assert!(Sums::parse(&bytes, &digest, 4, size).is_err());
    assert!(Sums::parse(&bytes, &digest, 3, size + 1).is_err());
    let short = Sums::new(digest, 3, size, vec![[7; 32]; 2]).to_bytes();
    assert!(Sums::parse(&short, &digest, 3, size).is_err());
    let odd = String::from_utf8(bytes).unwrap().replace(&"07".repeat(32), "0707");
    assert!(Sums::parse(odd.as_bytes(), &digest, 3, size).is_err());
}

#[test]
fn what_is_read_is_bounded_by_the_length_that_was_signed() {
    let bytes = vec![b' '; usize::try_from(max_sums_bytes(0)).unwrap() + 1];
    let long = Sums::parse(&bytes, &Digest::of(b""), 0, 0);
    assert!(matches!(long, Err(FormatError::TooLarge { .. })));
}
