//! YAML as Helm reads it, which takes more than the standard allows.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy, Options};

use crate::ChartError;

/// Most nodes of one file. The largest index of a repository known to us has a million.
const MAX_NODES: usize = 16_000_000;

/// Most events that aliases may repeat.
const MAX_FROM_ALIASES: usize = 100_000;

/// Deeper than any values file, and shallow enough for the small stack of a thread in an unoptimised build.
const MAX_DEPTH: usize = 64;

/// Reads the one document of a file. `file` is for messages; an empty file is null.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8], file: &str) -> Result<T, ChartError> {
    let broken = |problem: String| ChartError::Yaml { file: file.to_owned(), problem };
    let text = std::str::from_utf8(text)
        .map_err(|err| broken(format!("it is not UTF-8 from byte {} on", err.valid_up_to())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_str_with_options(&spaced(text), options())
        .map_err(|err| broken(err.without_snippet().to_string()))
}

/// The values of a chart: a mapping, or nothing at all.
pub(crate) fn values(text: &[u8], file: &str) -> Result<Value, ChartError> {
    match read(text, file)? {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        values @ Value::Object(_) => Ok(values),
        _ => Err(ChartError::Yaml {
            file: file.to_owned(),
            problem: "values have to be a mapping".to_owned(),
        }),
    }
}

/// Charts in use have `key: |# a comment`; Go takes it, the standard wants a space.
fn spaced(text: &str) -> Cow<'_, str> {
    let wants_space = |line: &str| header_end(line).is_some();
    if !text.lines().any(wants_space) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        let at = header_end(line).unwrap_or(0);
        out.push_str(&line[..at]);
        out.push_str(if at > 0 { " " } else { "" });
        out.push_str(&line[at..]);
    }
    Cow::Owned(out)
}

/// Where the `#` stands that touches the `|` or `>` of a block, if it does.
fn header_end(line: &str) -> Option<usize> {
    let at = line.find('#').filter(|at| *at > 0)?;
    let marks = line[..at].trim_end_matches(|c: char| matches!(c, '+' | '-' | '0'..='9'));
    let before = marks.strip_suffix(['|', '>'])?;
    (before.ends_with(": ") || before.trim_start() == "- ").then_some(at)
}

fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_events: 2 * MAX_NODES,
        max_total_scalar_bytes: usize::MAX,
        max_total_comment_bytes: usize::MAX,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        merge_keys: MergeKeyPolicy::Merge,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_FROM_ALIASES },
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        emit_comments: false,
        with_snippet: false,
    }
}

/// What Go makes of a value where it wants a text: `1.10` becomes `1.1`, as it does in Helm.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        // The shortest digits that read back as the same number; Go leaves out a `.0`, too.
        Value::Number(number) => {
            let digits = number.to_string();
            Some(digits.strip_suffix(".0").unwrap_or(&digits).to_owned())
        }
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_go_takes_is_read() {
        let text = b"a: |### <START\n  x: 1\nb: >-# note\n  y\nc: on\nc: 2\n";
        assert_eq!(values(text, "v").unwrap(), json!({"a": "x: 1\n", "b": "y", "c": 2}));
        assert_eq!(values(b"# nothing\n", "v").unwrap(), json!({}));
    }

    #[test]
    fn a_hash_in_a_text_stays_where_it_is() {
        for line in ["a: b|#c", "a: '|#'", "# |#", "a: x |# y", "url: http://h/#1"] {
            assert_eq!(spaced(line), line);
        }
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        let err = values(b"a: 1\nb: [\n", "charts/x/values.yaml").unwrap_err().to_string();
        assert!(err.contains("charts/x/values.yaml") && err.contains("line"), "{err}");
        let err = values(b"- a\n", "values.yaml").unwrap_err().to_string();
        assert!(err.contains("mapping"), "{err}");
    }

    #[test]
    fn aliases_cannot_make_much_of_little() {
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, before) in ('b'..='j').zip('a'..) {
            let of = vec![format!("*{before}"); 10].join(", ");
            bomb.extend([format!("{name}: &{name} [{of}]\n")]);
        }
        assert!(values(bomb.as_bytes(), "v").is_err());
    }

    #[test]
    fn what_nests_without_end_is_an_error() {
        for part in ["[", "{a: ", "- ", "<<: {", "a: {", "{? ", "[a: "] {
            assert!(values(part.repeat(10_000).as_bytes(), "v").is_err(), "{part}");
        }
    }

    #[test]
    fn numbers_become_the_text_that_go_writes() {
        for (yaml, written) in [("1.10", "1.1"), ("1.0", "1"), ("24", "24"), ("'1.10'", "1.10")] {
            let value: Value = read(yaml.as_bytes(), "v").unwrap();
            assert_eq!(text(&value).unwrap(), written);
        }
    }
}
