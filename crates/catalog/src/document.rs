//! One document of a catalog, as it was written.

use std::sync::Arc;

use serde_json::Value;

/// One document and where it stood. What airlift does not understand of it survives.
#[derive(Debug, Clone)]
pub struct Document {
    pub schema: String,
    /// The package it belongs to; empty where it belongs to none.
    pub package: String,
    pub name: String,
    pub value: Value,
    pub file: Arc<str>,
    pub line: u64,
}

impl Document {
    /// What is said of it in messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.value.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}
