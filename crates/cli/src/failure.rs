//! How an error looks: once, its causes once, and what to do about it.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use airlift_spec::Explain;
use airlift_spec::password::redacted;
use airlift_upstream::{ArtifactFailure, UpstreamError};
use serde::Serialize;

use crate::output::{Table, bounded};

/// An error as `--output json` and `--progress json` show it, without the passwords of addresses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureDocument {
    pub(crate) class: airlift_spec::Class,
    pub(crate) exit_code: u8,
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

impl FailureDocument {
    pub(crate) fn of(failure: &dyn Explain) -> Self {
        Self {
            class: failure.class(),
            exit_code: failure.class().exit_code(),
            message: redacted(&failure.to_string()),
            causes: causes(failure).iter().map(|cause| redacted(cause)).collect(),
            help: failure.help().map(|help| redacted(&help)),
        }
    }

    /// `error: …`, one `  cause: …` for each cause, and `help: …` where there is any.
    pub(crate) fn to_text(&self) -> String {
        let mut lines = vec![format!("error: {}", bounded(&self.message))];
        lines.extend(self.causes.iter().map(|cause| format!("  cause: {}", bounded(cause))));
        lines.extend(self.help.iter().map(|help| format!("help: {help}")));
        lines.join("\n")
    }
}

/// An item that could not be done while the others went on.
#[derive(Debug, Serialize)]
pub(crate) struct FailedItem {
    pub(crate) item: String,
    #[serde(flatten)]
    pub(crate) failure: FailureDocument,
}

impl FailedItem {
    pub(crate) fn of(item: impl Into<String>, failure: &dyn Explain) -> Self {
        Self { item: item.into(), failure: FailureDocument::of(failure) }
    }

    /// The same of what a stack names; a message that begins with a line says of which `file`.
    pub(crate) fn of_source(item: impl Into<String>, error: &UpstreamError, file: &Path) -> Self {
        let mut failed = Self::of(item, error);
        if error.line().is_some() {
            failed.failure.message = format!("{}: {}", file.display(), failed.failure.message);
        }
        failed
    }
}

/// All that failed of the stack in `file`.
pub(crate) fn failed_items(failures: &[ArtifactFailure], file: &Path) -> Vec<FailedItem> {
    let item = |it: &ArtifactFailure| FailedItem::of_source(&it.reference, &it.error, file);
    failures.iter().map(item).collect()
}

/// The table at the end: what failed and why, and each advice once. Nothing where nothing failed.
pub(crate) fn failed_items_text(items: &[FailedItem]) -> Option<String> {
    let mut table = Table::new(&["failed", "why"]);
    for FailedItem { item, failure } in items {
        let why = [&failure.message].into_iter().chain(&failure.causes);
        table.row([item.clone(), why.cloned().collect::<Vec<_>>().join(": ")]);
    }
    let advice: BTreeSet<&String> =
        items.iter().filter_map(|item| item.failure.help.as_ref()).collect();
    let advice = advice.into_iter().map(|help| format!("help: {help}"));
    let lines: Vec<String> = [table.to_text()].into_iter().chain(advice).collect();
    (!items.is_empty()).then(|| lines.join("\n"))
}

/// What each source adds. Libraries often repeat their source in their own message: that is said once.
fn causes(failure: &dyn Explain) -> Vec<String> {
    let mut said = failure.to_string();
    let mut causes = Vec::new();
    let mut next = failure.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !said.ends_with(&text) {
            said = first_part(&text, source.source());
            causes.push(said.clone());
        }
        next = source.source();
    }
    causes
}

/// `text` without the words of its own source at the end, which the next line says.
fn first_part(text: &str, source: Option<&(dyn Error + 'static)>) -> String {
    let repeated = source.and_then(|source| text.strip_suffix(&source.to_string()));
    let own = repeated.map(|own| own.trim_end().trim_end_matches(':').trim_end());
    own.filter(|own| !own.is_empty()).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use airlift_spec::Class;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("failed to read the lock")]
        Plain(#[source] io::Error),
        #[error("failed: {0}")]
        Repeating(#[source] io::Error),
        #[error("failed")]
        Nested(#[source] Middle),
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is gone: {0}")]
    struct Middle(#[source] io::Error);

    impl Explain for Outer {
        fn class(&self) -> Class {
            Class::Storage
        }
        fn help(&self) -> Option<String> {
            matches!(self, Self::Plain(_)).then(|| "plug it in".to_owned())
        }
    }

    fn text(outer: &Outer) -> String {
        FailureDocument::of(outer).to_text()
    }

    #[test]
    fn causes_are_said_once_and_help_comes_last() {
        let io = || io::Error::other("no such device");
        insta::assert_snapshot!(text(&Outer::Plain(io())), @r"
        error: failed to read the lock
          cause: no such device
        help: plug it in
        ");
        insta::assert_snapshot!(text(&Outer::Repeating(io())), @"error: failed: no such device");
        insta::assert_snapshot!(text(&Outer::Nested(Middle(io()))), @r"
        error: failed
          cause: the disk is gone
          cause: no such device
        ");
    }
}
