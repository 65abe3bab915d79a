//! What is left out although a source brings it.

use std::collections::BTreeSet;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::finding::Finding;
use crate::reference::Reference;

/// The most bytes that one expression may take when it is compiled.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// The code of findings that say so.
pub const EXCLUDED: &str = "excluded";

/// What is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclude {
    #[serde(deserialize_with = "glob_text")]
    pub image: Pattern,
    #[serde(default)]
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Pattern {
    /// `*` stands for anything. Held against the canonical reference and its repository.
    Glob(String),
    /// As a configuration of oc-mirror has it, held against the canonical reference, and the names in a mirror.
    Expression { expression: Expression },
}

/// A regular expression in the syntax that Go and this library share; it may match anywhere.
#[derive(Debug, Clone)]
pub struct Expression(Regex);

impl Exclude {
    pub fn finding(&self, reference: &Reference) -> Finding {
        let why = if self.why.is_empty() { "no reason is given" } else { &self.why };
        let message = format!("left out by `{}`: {why}", self.image.text());
        Finding::info("excluded", reference, message)
    }

    fn takes(&self, reference: &Reference) -> bool {
        let full = reference.to_string();
        match &self.image {
            Pattern::Glob(pattern) => {
                glob(pattern, &full) || glob(pattern, &reference.repository())
            }
            Pattern::Expression { expression } => expression.is_match(&full),
        }
    }

    /// Whether a name in a mirror is excluded. Globs are about what is carried, wherever it will lie.
    fn takes_place(&self, name: &Reference) -> bool {
        matches!(self.image, Pattern::Expression { .. }) && self.takes(name)
    }
}

/// Which rule takes out what is called `reference`, and has these names in a mirror beside it.
///
/// Where no rule is about the thing itself, names that one is about are taken away, and with the last of them the thing.
pub fn excluded_by<'a>(
    rules: &'a [Exclude],
    reference: &Reference,
    mirrored_as: &mut BTreeSet<Reference>,
) -> Option<&'a Exclude> {
    if let Some(rule) = rules.iter().find(|rule| rule.takes(reference)) {
        return Some(rule);
    }
    let mut last = None;
    mirrored_as.retain(|name| {
        let rule = rules.iter().find(|rule| rule.takes_place(name));
        last = last.or(rule);
        rule.is_none()
    });
    last.filter(|_| mirrored_as.is_empty())
}

impl Pattern {
    fn text(&self) -> &str {
        match self {
            Self::Glob(pattern) => pattern,
            Self::Expression { expression } => expression.0.as_str(),
        }
    }
}

impl Expression {
    /// Compiles it, or says on one line what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
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
        compiled.map(Self).map_err(reason)
    }

    fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Expression {}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.as_str())
    }
}

fn glob_text<'de, D: Deserializer<'de>>(from: D) -> Result<Pattern, D::Error> {
    String::deserialize(from).map(Pattern::Glob)
}

/// `*` stands for any run of characters, slashes included.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(pattern: &str) -> Exclude {
        let expression = Expression::new(pattern).unwrap();
        Exclude { image: Pattern::Expression { expression }, why: String::new() }
    }

    fn reference(name: &str) -> Reference {
        name.parse().unwrap()
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        assert!(glob("*/must-gather*", "quay.io/x/must-gather:1"));
        assert!(glob("quay.io/*/b:*", "quay.io/a/b:2"));
        assert!(!glob("quay.io/a", "quay.io/ab"));
        assert!(!glob("a*b*c", "acb"));
        assert!(glob("*", ""));
    }

    #[test]
    fn an_expression_holds_anywhere_in_the_reference() {
        let rules = [expression(r"must-gather|b:v\d$")];
        let is_out =
            |name: &str| excluded_by(&rules, &reference(name), &mut BTreeSet::new()).is_some();
        assert!(is_out("a.io/x/must-gather:1"));
        assert!(is_out("a.io/b:v1"));
        assert!(!is_out("a.io/b:v12"));
        let finding = rules[0].finding(&reference("a.io/b:v1"));
        assert_eq!(finding.message, r"left out by `must-gather|b:v\d$`: no reason is given");
    }

    #[test]
    fn a_thing_without_a_name_left_in_the_mirror_is_out() {
        let image = reference("a.io/b:v1");
        let names = |list: &[&str]| -> BTreeSet<Reference> {
            list.iter().map(|name| reference(name)).collect()
        };
        let rules = [expression("own/")];
        let mut both = names(&["airlift.local/own/b:v1", "airlift.local/team/b:v1"]);
        assert_eq!(excluded_by(&rules, &image, &mut both), None);
        assert_eq!(both, names(&["airlift.local/team/b:v1"]));
        let mut own = names(&["airlift.local/own/b:v1"]);
        assert_eq!(excluded_by(&rules, &image, &mut own), Some(&rules[0]));
        // A rule of a stack is about what is carried, whatever it will be called.
        let glob = Exclude { image: Pattern::Glob("*/own/*".to_owned()), why: String::new() };
        let mut own = names(&["airlift.local/own/b:v1"]);
        assert_eq!(excluded_by(&[glob], &image, &mut own), None);
        assert_eq!(own.len(), 1);
    }

    #[test]
    fn a_wrong_expression_says_what_is_wrong_on_one_line() {
        assert_eq!(Expression::new("a(b").unwrap_err(), "unclosed group");
        let reason = Expression::new("(a{999}){999}").unwrap_err();
        assert!(reason.contains("size"), "{reason}");
    }
}
