//! Templates that ask a cluster: where there is none, as here and wherever `helm template` is used, they are told nothing.

use crate::Chart;

/// A place where a chart's template calls `lookup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The file, by its path in the chart, and the line.
    pub file: String,
    pub line: usize,
    /// The kind that is asked for; empty where it is not written there.
    pub kind: String,
}

impl Chart {
    /// Where templates of the chart and of those in it call `lookup`.
    pub fn lookups(&self) -> Vec<Lookup> {
        let mut all = Vec::new();
        self.lookups_below("", &mut all);
        all
    }

    fn lookups_below(&self, above: &str, all: &mut Vec<Lookup>) {
        for (path, bytes) in self.files().filter(|(path, _)| path.starts_with("templates/")) {
            let text = String::from_utf8_lossy(bytes);
            let mut inside = Inside::Text;
            for (number, line) in (1..).zip(text.lines()) {
                let file = format!("{above}{path}");
                let called = inside.calls(line);
                all.extend(called.map(|kind| Lookup { file, line: number, kind }));
            }
        }
        for subchart in &self.subcharts {
            subchart.lookups_below(&format!("{above}charts/{}/", subchart.metadata.name), all);
        }
    }
}

/// What the end of a line stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Text,
    Action,
    Comment,
}

impl Inside {
    /// Whether `line` calls `lookup`, and the kind that it asks for.
    fn calls(&mut self, line: &str) -> Option<String> {
        let mut rest = line;
        let mut called = None;
        while !rest.is_empty() {
            let end = match self {
                Self::Text => "{{",
                Self::Action => "}}",
                Self::Comment => "*/",
            };
            let (part, behind) = rest.split_once(end).unwrap_or((rest, ""));
            let is_ended = part.len() < rest.len();
            if *self == Self::Action {
                called = called.or_else(|| call(part));
            }
            if !is_ended {
                return called;
            }
            let begins_comment = behind.trim_start_matches(['-', ' ']).starts_with("/*");
            *self = match self {
                Self::Text if begins_comment => Self::Comment,
                Self::Text | Self::Comment => Self::Action,
                Self::Action => Self::Text,
            };
            rest = behind;
        }
        called
    }
}

/// The call in the inside of an action: the word `lookup` before its arguments.
fn call(action: &str) -> Option<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == '$' || c == '"';
    let mut before = 0;
    loop {
        let at = before + action[before..].find("lookup")?;
        let (ahead, behind) = (&action[..at], &action[at + "lookup".len()..]);
        if !ahead.ends_with(is_word) && behind.starts_with([' ', '\t']) {
            // The version, and then the kind.
            return Some(behind.split('"').nth(3).unwrap_or_default().to_owned());
        }
        before = at + "lookup".len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str]) -> Vec<(usize, String)> {
        let mut inside = Inside::Text;
        let lines = (1..).zip(lines);
        lines.filter_map(|(number, line)| Some((number, inside.calls(line)?))).collect()
    }

    #[test]
    fn a_call_is_told_from_the_word() {
        let secret = "Secret".to_owned();
        assert_eq!(
            found(&[
                "{{- $it := lookup \"v1\" \"Secret\" .Release.Namespace .Values.name -}}",
                "{{- with (lookup \"v1\" $kind \"\" \"\") }}",
                "# lookup \"v1\" \"Secret\"",
                "{{/* lookup \"v1\" \"Secret\" */}}",
                "{{- /*",
                "  {{ lookup \"v1\" \"Secret\" }}",
                "*/ -}}",
                "{{ .Values.lookup \"v1\" }} {{ include \"lookup \" . }} {{ $lookup }}",
                "{{ if eq .x",
                "  (lookup \"v1\" \"Secret\" \"a\" \"b\") }}",
            ]),
            [(1, secret.clone()), (2, String::new()), (10, secret)]
        );
    }

    #[test]
    fn lookups_are_found_in_all_templates_with_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("Chart.yaml", "name: app\nversion: 1.0.0\n"),
            ("values.yaml", "a: '{{ lookup }}'\n"),
            ("templates/a.yaml", "a: 1\nb: {{ lookup \"v1\" \"Secret\" \"\" \"x\" }}\n"),
            ("charts/sub/Chart.yaml", "name: sub\nversion: 1.0.0\n"),
            ("charts/sub/templates/_h.tpl", "{{ lookup \"v1\" \"Pod\" \"\" \"\" }}\n"),
        ] {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let found = Chart::open(folder.path()).unwrap().lookups();
        let found: Vec<String> =
            found.iter().map(|it| format!("{}:{} {}", it.file, it.line, it.kind)).collect();
        assert_eq!(found, ["templates/a.yaml:2 Secret", "charts/sub/templates/_h.tpl:1 Pod",]);
    }
}
