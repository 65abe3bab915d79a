//! What verbs print on stdout: a text for people, or one JSON document for programs.

use std::borrow::Cow;
use std::fmt::Write as _;

use airlift_spec::error::turns_letters;
use airlift_spec::{Digest, Finding, Severity};
use serde::Serialize;

/// The version of the JSON documents. Fields are added, never changed.
pub(crate) const FORMAT: u32 = 1;

/// What a verb has to say, in both forms.
pub(crate) trait Report: Serialize {
    /// The text for people, without a newline at its end.
    fn to_text(&self) -> String;
}

/// A report with the version that every document carries.
#[derive(Debug, Serialize)]
struct Document<'a, T> {
    format: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// The text of a JSON document. What a library versions itself keeps its version.
pub(crate) fn document_text(body: &impl Serialize) -> String {
    let value = serde_json::to_value(body).expect("reports have only text keys");
    let text = if value.get("format").is_some() {
        serde_json::to_string_pretty(body)
    } else {
        serde_json::to_string_pretty(&Document { format: FORMAT, body })
    };
    text.expect("it could be made a value")
}

/// Rows under a header, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right_aligned: Vec<usize>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let header = header.iter().map(|cell| cell.to_uppercase()).collect();
        Self { rows: vec![header], right_aligned: Vec::new() }
    }

    /// Numbers and sizes are compared more easily with their ends in line.
    #[must_use]
    pub(crate) fn right(mut self, columns: &[usize]) -> Self {
        self.right_aligned = columns.to_vec();
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| bounded(&cell).into_owned()).collect());
    }

    pub(crate) fn to_text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let lines = self.rows.iter().map(|row| self.line(row, &widths));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let written = if self.right_aligned.contains(&column) {
                write!(line, "{gap}{cell:>width$}")
            } else {
                write!(line, "{gap}{cell:<width$}")
            };
            written.expect("a String takes any text");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A tree, drawn as `tree(1)` does.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) label: String,
    pub(crate) children: Vec<Tree>,
}

impl Tree {
    pub(crate) fn leaf(label: impl Into<String>) -> Self {
        Self { label: label.into(), children: Vec::new() }
    }

    pub(crate) fn to_text(&self) -> String {
        let mut lines = vec![self.label.clone()];
        self.draw("", &mut lines);
        lines.join("\n")
    }

    fn draw(&self, indent: &str, lines: &mut Vec<String>) {
        let last = self.children.len().saturating_sub(1);
        for (position, child) in self.children.iter().enumerate() {
            let (branch, below) =
                if position == last { ("└── ", "    ") } else { ("├── ", "│   ") };
            lines.push(format!("{indent}{branch}{}", child.label));
            child.draw(&format!("{indent}{below}"), lines);
        }
    }
}

/// `text` as a terminal may have it: what came across the gap must not move the cursor, write over other lines, or
/// turn the order of letters around.
pub(crate) fn harmless(text: &str) -> String {
    let is_harmful = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns_letters(c);
    text.replace(is_harmful, "\u{fffd}")
}

/// Most characters of one message that people are shown.
const MAX_SHOWN: usize = 2000;

/// `text` without its middle where it is longer than anybody reads: a chart may fail in as many words as it likes. What
/// it is about stands at the beginning, and what went wrong mostly at the end.
pub(crate) fn bounded(text: &str) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= MAX_SHOWN {
        return text.into();
    }
    let at = |count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    let (head, tail) = (&text[..at(MAX_SHOWN / 2)], &text[at(length - MAX_SHOWN / 2)..]);
    format!("{head} … {} characters … {tail}", length - MAX_SHOWN).into()
}

/// Findings, one a line, as compilers print theirs; the grave ones first.
pub(crate) fn findings_text(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.severity);
    let lines = sorted.into_iter().map(|finding| {
        let of = finding.reference.as_ref().map(|name| format!(" (of {name})")).unwrap_or_default();
        format!(
            "{}[{}] {}: {}{of}",
            finding.severity,
            finding.code,
            finding.object,
            bounded(&finding.message)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `3 errors, 1 warning`; nothing for no findings.
pub(crate) fn findings_summary(findings: &[Finding]) -> Option<String> {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let words: Vec<String> = [Severity::Error, Severity::Warning]
        .into_iter()
        .filter(|severity| count(*severity) > 0)
        .map(|severity| counted(count(severity) as u64, &severity.to_string()))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

pub(crate) fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// The parts that have something to say, one below the other.
pub(crate) fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}

/// Enough of a digest to find it, and to compare it by eye.
pub(crate) fn short(digest: &Digest) -> String {
    let hex: String = digest.hex().chars().take(12).collect();
    format!("{}:{hex}", digest.algorithm().name())
}

/// `1 blob`, `2 blobs`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let mut table = Table::new(&["name", "size", "why"]).right(&[1]);
        table.row(["a".into(), "1.0 MiB".into(), String::new()]);
        table.row(["longer".into(), "9 B".into(), "because".into()]);
        insta::assert_snapshot!(table.to_text(), @r"
        NAME       SIZE  WHY
        a       1.0 MiB
        longer      9 B  because
        ");
    }

    #[test]
    fn a_message_without_end_is_shown_without_its_middle() {
        let long = format!("begin {} end", "ü".repeat(70_000));
        let mut table = Table::new(&["item", "why"]);
        table.row([long.clone(), long.clone()]);
        table.row(["short".into(), "because".into()]);
        let text = table.to_text();
        assert!(text.contains(" … 68010 characters … ") && text.contains(" end"), "{text}");
        assert!(text.lines().last().unwrap().ends_with("because"));
        let finding = Finding::error("odd", "object", long);
        assert!(findings_text(&[finding]).chars().count() < 2 * MAX_SHOWN);
        assert_eq!(bounded(&"ü".repeat(MAX_SHOWN)), "ü".repeat(MAX_SHOWN));
    }

    #[test]
    fn a_tree_is_drawn_with_its_branches() {
        let inner = Tree { label: "b".into(), children: vec![Tree::leaf("c"), Tree::leaf("d")] };
        let tree = Tree { label: "a".into(), children: vec![inner, Tree::leaf("e")] };
        insta::assert_snapshot!(tree.to_text(), @r"
        a
        ├── b
        │   ├── c
        │   └── d
        └── e
        ");
    }

    #[test]
    fn a_terminal_gets_no_escapes() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\n\tc"), "a\u{fffd}[2Jb\u{fffd}\n\tc");
        assert_eq!(harmless("a\u{202e}tpircs"), "a\u{fffd}tpircs");
    }

    #[test]
    fn errors_come_before_warnings_and_are_counted() {
        let findings = [
            Finding::warning("sparse-index", "nginx", "left out 3 platforms"),
            Finding::error("damaged", "sha256:00", "4 bytes are missing").of("nginx:1"),
            Finding::error("absent", "sha256:11", "it is not there"),
        ];
        insta::assert_snapshot!(findings_text(&findings), @r"
        error[damaged] sha256:00: 4 bytes are missing (of nginx:1)
        error[absent] sha256:11: it is not there
        warning[sparse-index] nginx: left out 3 platforms
        ");
        assert_eq!(findings_summary(&findings).as_deref(), Some("2 errors, 1 warning"));
        assert_eq!(findings_summary(&[]), None);
    }
}
