//! YAML as people and clusters write it.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// How many parts of a file may come from aliases.
const MAX_FROM_ALIASES: usize = 50_000;

/// Reads a document, or says what is wrong with it and where.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let limits = serde_saphyr::alias_limits! { max_total_replayed_events: MAX_FROM_ALIASES };
    let options = serde_saphyr::options! { alias_limits: limits, with_snippet: false };
    let advice = ", set DuplicateKeyPolicy in Options if acceptable";
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|err| err.to_string().replace(advice, ""))
}

/// A document with each text on one line, so that scripts find it there.
pub(crate) fn write(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).expect("JSON is YAML")
}
