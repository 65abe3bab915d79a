//! The full YAML parser, for what is not plainly canonical.

use serde_json::Value;

/// Reads one document. On failure, the line in it and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Value, (u64, String)> {
    // Catalogs have no use for aliases, bombs have; Go reads `0644` as octal.
    let limits = serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 };
    let options = serde_saphyr::options! {
        alias_limits: limits,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|err| {
        let line = err.location().map_or(1, |location| location.line());
        (line, without_advice(&err.to_string()))
    })
}

/// The parser's words without what only a programmer can follow.
fn without_advice(message: &str) -> String {
    message
        .replace(", set DuplicateKeyPolicy in Options if acceptable", "")
        .replace("; use from_str_multiple or from_str_multiple_with_options", "")
        .replace("recursive references require weak recursion types", "it refers to itself")
        .replace("budget breached: ", "larger than a document may be: ")
        .replace("alias replay limit exceeded: ", "larger than a document may be: ")
}
