//! `blockedImages:`, which are regular expressions.

use regex::bytes::{Regex, RegexBuilder};

/// The most bytes that one expression may take when it is compiled.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Images that are left out, whatever brings them.
#[derive(Debug, Clone, Default)]
pub struct Blocked {
    patterns: Vec<Regex>,
}

impl Blocked {
    /// Adds an expression in the syntax that Go and this library share, or says what is wrong with it.
    pub(crate) fn add(&mut self, pattern: &str) -> Result<(), String> {
        // `\d` and `\w` mean ASCII, as they do in Go.
        let compiled =
            RegexBuilder::new(pattern).unicode(false).size_limit(MAX_COMPILED_BYTES).build();
        let reason = |err: regex::Error| match err {
            // The parser's own words span lines, with a marker below the pattern.
            regex::Error::Syntax(text) => {
                let last = text.lines().last().unwrap_or(&text);
                last.trim_start_matches("error: ").to_owned()
            }
            other => other.to_string(),
        };
        self.patterns.push(compiled.map_err(reason)?);
        Ok(())
    }

    /// The expression that blocks an image, by the name it comes from or goes to.
    pub fn blocks(&self, origin: &str, destination: &str) -> Option<&str> {
        let name = |text| str::split_once(text, "://").map_or(text, |(_, name)| name);
        let (origin, destination) = (name(origin), name(destination));
        let is_match = |pattern: &&Regex| {
            pattern.is_match(origin.as_bytes()) || pattern.is_match(destination.as_bytes())
        };
        self.patterns.iter().find(is_match).map(Regex::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(pattern: &str) -> Blocked {
        let mut blocked = Blocked::default();
        blocked.add(pattern).unwrap();
        blocked
    }

    #[test]
    fn an_expression_holds_anywhere_in_either_name_but_not_in_the_transport() {
        let blocked = blocked(r"must-gather|ns/b:v\d$|^docker");
        assert!(blocked.blocks("a.io/x/must-gather@sha256:1", "docker://r/y:1").is_some());
        assert!(blocked.blocks("docker://a.io/b:v1", "docker://r/ns/b:v1").is_some());
        assert_eq!(blocked.blocks("docker://a.io/b:v1", "docker://r/b:v1"), None);
        assert_eq!(blocked.blocks("a.io/b:v1", "docker://r/ns/b:v12"), None);
        assert_eq!(blocked.blocks("a.io/b:v1", "docker://r/ns/b:v\u{663}"), None);
    }

    #[test]
    fn a_wrong_expression_says_what_is_wrong_on_one_line() {
        let reason = Blocked::default().add("a(b").unwrap_err();
        assert_eq!(reason, "unclosed group");
        let reason = Blocked::default().add("(a{999}){999}").unwrap_err();
        assert!(reason.contains("size"), "{reason}");
    }
}
