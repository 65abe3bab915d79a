//! The codes of findings: each that a crate says is explained in `docs/findings.md`, and each there is said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) const TABLE: &str = "docs/findings.md";

/// What the table and the sources, by their path in the checkout, disagree about.
pub(super) fn disagreements(table: &str, sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let listed = listed(table);
    let mut said = BTreeSet::new();
    let mut found = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| is_product(path)) {
        for (line, code) in codes(text) {
            let place = format!("{}:{line}", path.display());
            match code {
                Some(code) if listed.contains(code) => drop(said.insert(code)),
                Some(code) => found.push(format!("{place}: `{code}` is not in {TABLE}")),
                None => found.push(format!("{place}: write the code of a finding out here")),
            }
        }
    }
    let unsaid = listed.difference(&said);
    found.extend(unsaid.map(|code| format!("{TABLE}: no crate says `{code}`")));
    found
}

/// The codes in the first column of the table, which may hold several.
fn listed(table: &str) -> BTreeSet<&str> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    rows.flat_map(|cell| cell.split(", ").map(|code| code.trim_matches('`'))).collect()
}

/// Tests and what only tests use may say what they like.
fn is_product(path: &Path) -> bool {
    let has = |name: &str| path.iter().any(|part| part == name);
    has("src") && !has("testkit") && !has("tests.rs")
}

/// Where findings are made, by line, and their codes; none where the code is no literal.
fn codes(source: &str) -> Vec<(usize, Option<&str>)> {
    let product = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let makers = ["Finding::error(", "Finding::warning(", "Finding::info("];
    let places = makers.iter().flat_map(|maker| product.match_indices(maker));
    let read = |(at, maker): (usize, &str)| {
        let line = 1 + product[..at].matches('\n').count();
        let literal = product[at + maker.len()..].trim_start().strip_prefix('"');
        (line, literal.and_then(|rest| rest.split('"').next()))
    };
    places.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# Findings\n\n| code | means |\n|---|---|\n| `a-b` | x |\n| `c`, `d` | y |\n";

    fn check(path: &str, source: &str) -> Vec<String> {
        disagreements(PAGE, &BTreeMap::from([(PathBuf::from(path), source.to_owned())]))
    }

    const ALL: &str =
        r#"Finding::error("a-b", x); Finding::info("c", x); Finding::warning( "d", x)"#;

    #[test]
    fn a_table_that_lists_what_is_said_is_right() {
        assert_eq!(check("crates/a/src/lib.rs", ALL), [""; 0]);
    }

    #[test]
    fn a_code_that_only_one_side_knows_is_named() {
        let found = check("crates/a/src/lib.rs", &ALL.replace("\"d\"", "\n\"e\""));
        assert_eq!(
            found,
            [
                "crates/a/src/lib.rs:1: `e` is not in docs/findings.md",
                "docs/findings.md: no crate says `d`",
            ]
        );
    }

    #[test]
    fn a_code_that_cannot_be_looked_up_is_refused() {
        let found = check("crates/a/src/lib.rs", &format!("{ALL}\nFinding::error(code, x)"));
        assert_eq!(found, ["crates/a/src/lib.rs:2: write the code of a finding out here"]);
    }

    #[test]
    fn tests_say_what_they_like() {
        let more = format!("{ALL}\n#[cfg(test)]\nmod tests {{ Finding::error(\"z\", x); }}");
        assert_eq!(check("crates/a/src/lib.rs", &more), [""; 0]);
        let missing = check("crates/testkit/src/lib.rs", ALL).len();
        assert_eq!(missing, 3, "what testkit says does not count");
    }
}
