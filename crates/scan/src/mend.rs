//! What Go's tools read, and write, and a strict reader of YAML refuses: a quoted text that goes on in a line that is
//! not indented, and a comment glued to the sign of a block. Both are mended without a change of what they mean, and
//! only where the text could not be read as it is.

/// A quoted text that is still open.
struct Quote {
    mark: char,
    /// The column of what holds it; its lines have to stand behind.
    column: usize,
}

/// `text` with such places put right, or none where it has no such place.
pub(crate) fn mend(text: &str) -> Option<String> {
    let mut mended = String::with_capacity(text.len() + 64);
    let mut open: Option<Quote> = None;
    let mut block: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let is_blank = line.trim().is_empty();
        if let Some(Quote { mark, column }) = open {
            if !is_blank && indent <= column {
                mended.extend(std::iter::repeat_n(' ', column + 1 - indent));
            }
            mended.push_str(line);
            open = (!closes(line, mark)).then_some(Quote { mark, column });
            continue;
        }
        if block.is_some_and(|column| is_blank || indent > column) {
            mended.push_str(line);
            continue;
        }
        block = None;
        let value = value(line);
        let (before, rest) = line.split_at(value);
        mended.push_str(before);
        match rest.chars().next() {
            Some(mark @ ('"' | '\'')) if !closes(&rest[1..], mark) => {
                open = Some(Quote { mark, column: column(before) });
                mended.push_str(rest);
            }
            Some('|' | '>') => {
                block = Some(indent);
                mended.push_str(&apart(rest));
            }
            _ => mended.push_str(rest),
        }
    }
    (mended != text).then_some(mended)
}

/// Where the value of `- - key: value` begins.
fn value(line: &str) -> usize {
    let begin = column(line);
    let key = &line[begin..];
    // A key in quotes, or with a colon inside, is left alone: a place not mended is a message, as before.
    let behind = key.find(": ").map_or(0, |colon| colon + 2);
    let is_key = !key.starts_with(['"', '\'', '{', '[', '#']);
    if is_key { begin + behind + spaces(&key[behind..]) } else { begin }
}

/// Where a key, or an item, begins behind its spaces and dashes.
fn column(line: &str) -> usize {
    let mut column = spaces(line);
    while line[column..].starts_with("- ") {
        column += 1 + spaces(&line[column + 1..]);
    }
    column
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// Whether a text that began with `mark` ends in `rest`.
fn closes(rest: &str, mark: char) -> bool {
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if mark == '"' => drop(chars.next()),
            '\'' if mark == '\'' && chars.peek() == Some(&'\'') => drop(chars.next()),
            _ if c == mark => return true,
            _ => {}
        }
    }
    false
}

/// `|-#why` as `|- #why`.
fn apart(sign: &str) -> String {
    let end =
        1 + sign[1..].find(|c: char| !matches!(c, '+' | '-' | '0'..='9')).unwrap_or(sign.len() - 1);
    let (sign, rest) = sign.split_at(end);
    let space = if rest.starts_with('#') { " " } else { "" };
    format!("{sign}{space}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_reads_is_put_right_without_a_change_of_meaning() {
        let check = |text: &str, expected: &str| {
            assert_eq!(mend(text).as_deref(), Some(expected), "{text}");
        };
        check("a:\n  b: 'c\n  it''s d'\n  e: f\n", "a:\n  b: 'c\n   it''s d'\n  e: f\n");
        check("- a: \"b\\\"\n\n  c\"\n- d\n", "- a: \"b\\\"\n\n   c\"\n- d\n");
        check("a: |##x\n  b: 'c\n d\n", "a: | ##x\n  b: 'c\n d\n");
        check("a: |-2#x\n    b\n", "a: |-2 #x\n    b\n");
    }

    #[test]
    fn what_is_right_is_left_alone() {
        for text in [
            "a: 'b'\n",
            "a: 'b\n   c'\n",
            "a: |\n  b: 'c\n  d'\n",
            "a: it's\nb: 1\n",
            "# it's: 'x\nb: 1\n",
            "",
        ] {
            assert_eq!(mend(text), None, "{text}");
        }
    }
}
