//! `.helmignore`: which files of a folder are no part of the chart.

/// The rules of a `.helmignore`, and those that Helm always has.
#[derive(Debug)]
pub(super) struct Ignored {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: String,
    /// `!pattern`: what does not match is left out.
    negated: bool,
    /// `pattern/`: matches folders alone.
    only_folders: bool,
    /// A pattern with a `/` in it speaks of the whole path, others of the last name.
    whole_path: bool,
}

impl Ignored {
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().chain(["templates/.?*"]);
        Self { rules: lines.filter_map(rule).collect() }
    }

    /// Whether `path`, relative to the chart, is left out.
    pub(super) fn matches(&self, path: &str, is_folder: bool) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.rules.iter().any(|rule| {
            let text = if rule.whole_path { path } else { name };
            if rule.only_folders && !is_folder {
                // Helm's negation has this corner: `!x/` leaves out every plain file.
                return rule.negated;
            }
            glob(rule.pattern.as_bytes(), text.as_bytes()) != rule.negated
        })
    }
}

fn rule(line: &str) -> Option<Rule> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (negated, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
    let (only_folders, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
    let whole_path = line.contains('/');
    let pattern = line.strip_prefix('/').unwrap_or(line).to_owned();
    Some(Rule { pattern, negated, only_folders, whole_path })
}

/// `*` and `?` stand for anything but `/`, `[a-z]` for a class, `\` takes the next letter as it is.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            let reach = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=reach).any(|taken| glob(rest, &text[taken..]))
        }
        ([b'?', rest @ ..], [byte, after @ ..]) => *byte != b'/' && glob(rest, after),
        ([b'[', class @ ..], [byte, after @ ..]) => {
            let Some(end) = class.iter().skip(1).position(|b| *b == b']').map(|at| at + 1) else {
                return false;
            };
            *byte != b'/' && in_class(&class[..end], *byte) && glob(&class[end + 1..], after)
        }
        ([b'\\', letter, rest @ ..] | [letter, rest @ ..], [byte, after @ ..]) => {
            letter == byte && glob(rest, after)
        }
        _ => false,
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        match class {
            [low, b'-', high, rest @ ..] => {
                found |= (*low..=*high).contains(&byte);
                class = rest;
            }
            [one, rest @ ..] => {
                found |= *one == byte;
                class = rest;
            }
            [] => return found != negated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_leave_out_what_helm_leaves_out() {
        let rules = Ignored::parse("# note\n\n.git/\n*.swp\n/ci\ndocs/*.md\n[Mm]akefile\n");
        for (path, is_folder, left_out) in [
            (".git", true, true),
            (".git", false, false),
            ("templates/a.swp", false, true),
            ("ci", false, true),
            ("docs/a.md", false, true),
            ("docs/deep/a.md", false, false),
            ("a.md", false, false),
            ("Makefile", false, true),
            ("templates/.hidden", false, true),
            ("values.yaml", false, false),
        ] {
            assert_eq!(rules.matches(path, is_folder), left_out, "{path}");
        }
    }

    #[test]
    fn a_class_may_be_a_range_or_what_is_not_in_it() {
        for (pattern, text, is_match) in [
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[a", "a", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), is_match, "{pattern} {text}");
        }
    }
}
