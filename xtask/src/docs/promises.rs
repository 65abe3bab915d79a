//! `docs/reliability.md`: each promise in its tables names tests that exist.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) const PAGE: &str = "docs/reliability.md";

/// Tests that the page names and no source has.
pub(super) fn broken(page: &str, sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        for name in tests_of(line) {
            let test = format!("fn {name}(");
            if !sources.values().any(|source| source.contains(&test)) {
                found.push(format!("{PAGE}:{number}: there is no test `{name}`"));
            }
        }
    }
    found
}

/// The names in the last column of a row.
fn tests_of(line: &str) -> impl Iterator<Item = &str> {
    let cells = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |"));
    let last = cells.and_then(|cells| cells.rsplit(" | ").next()).unwrap_or_default();
    last.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_without_its_test_is_named() {
        let page = "| fault | promise | shown by |\n|---|---|---|\n| `x` | y | `a_b`, `c_d` |\n";
        let source = "#[test]\nfn a_b() {}\n// fn c_d is gone".to_owned();
        let sources = BTreeMap::from([(PathBuf::from("crates/a/tests/it/main.rs"), source)]);
        let found = broken(page, &sources);
        assert_eq!(found, ["docs/reliability.md:3: there is no test `c_d`"]);
    }
}
