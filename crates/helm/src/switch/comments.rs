//! Choices that people list in the comments of a values file: `# one of "a", "b"`.

use serde_json::Value;

/// Words by which a comment says that it lists choices.
const HINTS: &[&str] = &[
    "one of",
    "either",
    "option",
    "possible",
    "valid",
    "allowed",
    "can be",
    "supported",
    "choice",
    "available",
    "must be",
];

/// The paths of the texts whose comments list choices, with these.
pub(crate) fn choices(text: &str) -> Vec<(Vec<String>, Vec<Value>)> {
    let mut found = Vec::new();
    let mut keys: Vec<(usize, String)> = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(words) = trimmed.strip_prefix('#') {
            comment.push_str(words);
            comment.push('\n');
            continue;
        }
        if let Some((key, rest)) = key(trimmed) {
            let indent = line.len() - trimmed.len();
            keys.retain(|(above, _)| *above < indent);
            keys.push((indent, key.to_owned()));
            let (value, aside) = scalar(rest);
            comment.push_str(aside);
            if let Some(listed) = listed(&comment, value) {
                found.push((keys.iter().map(|(_, key)| key.clone()).collect(), listed));
            }
        }
        comment.clear();
    }
    found
}

/// `key: rest`. Items of lists cannot be switched alone.
fn key(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.split_once(':')?;
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let key = key.trim_matches(['"', '\'']);
    let is_key = !key.is_empty() && !key.starts_with('-') && key.chars().all(is_word);
    (is_key && (rest.is_empty() || rest.starts_with(' '))).then_some((key, rest.trim()))
}

/// A plain or quoted text, and the comment behind it.
fn scalar(rest: &str) -> (&str, &str) {
    let (value, aside) = rest.split_once(" #").unwrap_or((rest, ""));
    (value.trim().trim_matches(['"', '\'']), aside)
}

/// The choices in a comment on a key that has `value`.
fn listed(comment: &str, value: &str) -> Option<Vec<Value>> {
    let lower = comment.to_lowercase();
    let words = match quoted(comment) {
        words if words.len() >= 2 => words,
        _ => plain(comment),
    };
    let names_value = words.contains(&value);
    // A list that lacks the present value speaks of something else, unless nothing is chosen yet.
    let is_open = value.is_empty() && HINTS.iter().any(|hint| lower.contains(hint));
    let is_list = words.len() >= 2 && (names_value || is_open);
    is_list.then(|| words.into_iter().map(Value::from).collect())
}

/// The words in quotes.
fn quoted(comment: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for mark in ['"', '\'', '`'] {
        let parts = comment.split(mark).skip(1).step_by(2);
        words.extend(parts.filter(|part| is_word(part)));
    }
    words
}

/// What is separated by `|` or `,` behind a colon or in parentheses.
fn plain(comment: &str) -> Vec<&str> {
    for line in comment.lines() {
        let list = line.rsplit([':', '(']).next().unwrap_or(line);
        let list = list.trim().trim_end_matches([')', '.', ']']).trim_start_matches('[');
        let separator = if list.contains('|') { '|' } else { ',' };
        let words: Vec<&str> = list.split(separator).map(str::trim).collect();
        if words.len() >= 2 && words.iter().all(|word| is_word(word)) {
            return words;
        }
    }
    Vec::new()
}

fn is_word(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=40).contains(&text.len()) && text.chars().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let describe = |(path, choices): (Vec<String>, Vec<Value>)| {
            let words: Vec<_> = choices.iter().filter_map(Value::as_str).collect();
            format!("{}: {}", path.join("."), words.join(" "))
        };
        choices(text).into_iter().map(describe).collect()
    }

    #[test]
    fn choices_are_found_above_and_beside_their_value() {
        for (text, expected) in [
            ("a:\n  # one of 'disk', \"cloud\"\n  mode: disk\n", "a.mode: cloud disk"),
            ("mode: disk # disk | cloud\n", "mode: disk cloud"),
            ("# Storage (disk, cloud)\nmode: 'disk'\n", "mode: disk cloud"),
            ("# Possible values: disk, cloud.\nmode: \"\"\n", "mode: disk cloud"),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
    }

    #[test]
    fn what_a_comment_says_of_something_else_is_no_choice() {
        for text in [
            "# \"a\" and \"b\" are not meant\nmode: c\n",
            "# one of 'a', 'b'\n\nmode: a\n",
            "# a long sentence, with a comma\nmode: a\n",
            "- mode: a # a | b\n",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }

    #[test]
    fn keys_stand_below_those_that_are_less_indented() {
        let text = "a:\n  b:\n    c: x\n  mode: x # x|y\nmode: y # x|y\n";
        assert_eq!(found(text), ["a.mode: x y", "mode: x y"]);
    }
}
