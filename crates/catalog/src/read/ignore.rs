//! `.indexignore`: what is no part of a catalog, in the words of git's ignore files.

use std::collections::BTreeMap;

/// The ignore files of a catalog, by folder.
#[derive(Debug, Default)]
pub(super) struct Ignores(BTreeMap<String, Vec<Rule>>);

#[derive(Debug)]
struct Rule {
    /// Takes back what an earlier rule said.
    keeps: bool,
    folders_only: bool,
    /// Held against the whole path below the folder, else against one name of it.
    is_anchored: bool,
    pattern: Vec<String>,
}

impl Ignores {
    pub(super) fn set(&mut self, folder: &str, text: &str) {
        self.0.insert(folder.to_owned(), text.lines().filter_map(Rule::parse).collect());
    }

    pub(super) fn remove(&mut self, name: &str) {
        let inside = format!("{name}/");
        let file = |folder: &str| {
            let parent = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            format!("{parent}{}", super::IGNORE_FILE)
        };
        self.0.retain(|folder, _| {
            folder != name && !folder.starts_with(&inside) && file(folder) != name
        });
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether the file is named, itself or with a folder that it lies in.
    pub(super) fn has(&self, file: &str) -> bool {
        let slashes = file.match_indices('/').map(|(at, _)| at);
        slashes.chain([file.len()]).any(|end| self.names(&file[..end], end < file.len()))
    }

    /// What the rules say of one path. The deepest folder's last rule wins.
    fn names(&self, path: &str, is_folder: bool) -> bool {
        let applies = |folder: &str| match folder {
            "" => Some(path),
            _ => path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
        };
        // A folder's name is a beginning of the names of those in it, so they come in the order of depth.
        let rules = self.0.iter().filter_map(|(folder, rules)| Some((applies(folder)?, rules)));
        let said = rules.flat_map(|(rest, rules)| {
            rules.iter().filter(move |rule| rule.matches(rest, is_folder))
        });
        said.last().is_some_and(|rule| !rule.keeps)
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (keeps, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (folders_only, line) =
            line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        let is_anchored = line.contains('/');
        let parts = line.trim_start_matches('/').split('/').map(str::to_owned);
        Some(Self { keeps, folders_only, is_anchored, pattern: parts.collect() })
    }

    fn matches(&self, path: &str, is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        let names: Vec<&str> = path.split('/').collect();
        if self.is_anchored {
            path_matches(&self.pattern, &names)
        } else {
            names.last().is_some_and(|name| name_matches(&self.pattern[0], name))
        }
    }
}

fn path_matches(pattern: &[String], names: &[&str]) -> bool {
    match (pattern.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            // At the end it is what lies in the folder, not the folder.
            let from = usize::from(rest.is_empty());
            (from..=names.len())
                .any(|skipped| rest.is_empty() || path_matches(rest, &names[skipped..]))
                && names.len() >= from
        }
        (Some((first, rest)), Some((name, names))) => {
            name_matches(first, name) && path_matches(rest, names)
        }
        _ => false,
    }
}

/// One name against a pattern with `*`, `?`, `[a-z]` and `\`.
fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // What each `*` takes is found from left to right; only the last one has to be reconsidered.
    let (mut at, mut to, mut star) = (0, 0, None);
    while to < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, to));
                at += 1;
                continue;
            }
            Some(_) => {
                if let Some(len) = letter_matches(&pattern[at..], name[to]) {
                    at += len;
                    to += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some((back, taken)) = star else { return false };
        star = Some((back, taken + 1));
        (at, to) = (back + 1, taken + 1);
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// How much of the pattern says this letter, if it does.
fn letter_matches(pattern: &[char], letter: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == letter).then_some(2),
        ['[', class @ ..] => {
            let end = class.iter().skip(1).position(|c| *c == ']')? + 1;
            let (negated, set) = match &class[..end] {
                ['!' | '^', set @ ..] => (true, set),
                set => (false, set),
            };
            (in_class(set, letter) != negated).then_some(end + 2)
        }
        [plain, ..] => (*plain == letter).then_some(1),
        [] => None,
    }
}

fn in_class(set: &[char], letter: char) -> bool {
    match set {
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&letter) || in_class(rest, letter),
        [one, rest @ ..] => *one == letter || in_class(rest, letter),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignores(text: &str, file: &str) -> bool {
        let mut ignores = Ignores::default();
        ignores.set("", text);
        ignores.has(file)
    }

    #[test]
    fn rules_mean_what_they_mean_to_git() {
        let named = [
            ("*.md", "a/README.md"),
            ("README.md", "README.md"),
            ("/README.md", "README.md"),
            ("docs/", "a/docs/x.yaml"),
            ("docs", "docs/deep/x.yaml"),
            ("a/*.yaml", "a/x.yaml"),
            ("a/**/x.yaml", "a/x.yaml"),
            ("a/**/x.yaml", "a/b/c/x.yaml"),
            ("**/x.yaml", "a/b/x.yaml"),
            ("a/**", "a/b/x.yaml"),
            ("x?.y[a-c]ml", "x1.yaml"),
            ("\\!x", "!x"),
            ("[!a]x", "bx"),
            ("*\n!keep.yaml", "other.yaml"),
        ];
        for (text, file) in named {
            assert!(ignores(text, file), "{text:?} {file}");
        }
        let kept = [
            ("/README.md", "a/README.md"),
            ("docs/", "docs"),
            ("a/*.yaml", "a/b/x.yaml"),
            ("a/*.yaml", "b/a/x.yaml"),
            ("[!a]x", "ax"),
            ("# x", "x"),
            ("*.yaml\n!keep.yaml", "keep.yaml"),
            ("", "x"),
        ];
        for (text, file) in kept {
            assert!(!ignores(text, file), "{text:?} {file}");
        }
    }

    #[test]
    fn a_deeper_file_has_the_last_word_in_its_folder() {
        let mut ignores = Ignores::default();
        ignores.set("", "*.txt");
        ignores.set("a", "!x.txt");
        assert!(ignores.has("x.txt") && ignores.has("b/x.txt"));
        assert!(!ignores.has("a/x.txt"));
        ignores.remove("a");
        assert!(ignores.has("a/x.txt"));
    }
}
