//! What a check has to say: data, not errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::password::redacted;

/// One thing that a check found. Codes are kebab case, stable, and listed in `docs/findings.md`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    pub code: String,
    pub severity: Severity,
    /// What it is about: a reference, a digest, a volume's file name.
    pub object: String,
    pub message: String,
    /// The artifact concerned, where that is another thing than `object`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Error,
    Warning,
    Info,
}

impl Finding {
    pub fn error(code: &str, object: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, object, message)
    }

    pub fn warning(code: &str, object: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, object, message)
    }

    pub fn info(code: &str, object: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, object, message)
    }

    fn new(
        severity: Severity,
        code: &str,
        object: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code: code.to_owned(),
            severity,
            object: redacted(&object.to_string()),
            message: redacted(&message.into()),
            reference: None,
        }
    }

    /// The same finding, said of the artifact `reference`.
    #[must_use]
    pub fn of(mut self, reference: impl fmt::Display) -> Self {
        self.reference = Some(reference.to_string());
        self
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}
