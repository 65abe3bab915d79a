//! Reading what Helm, kustomize and people write: streams of YAML or JSON documents.
//!
//! Go's tools accept more than YAML allows, and so must we: of a key that stands twice the last one counts, as it does
//! for Kubernetes; it is remarked upon. Hostile input: aliases, depth and nodes have bounds for each document, and a
//! stream has one in bytes, so that what is made of it is bounded as well.

use std::fmt;

use airlift_spec::Finding;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy, Options};

use crate::ScanError;
use crate::mend::mend;

/// What a gzip stream begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Most bytes of one stream. The largest render known to us has ten million.
pub const MAX_BYTES: usize = 256 << 20;

/// Deeper than any schema known to us, and shallow enough for the stack of a thread: the reader calls itself.
const MAX_DEPTH: usize = 64;

/// Nodes and events of one document. A catalog's largest object has a hundredth of it.
const MAX_NODES: usize = 4_000_000;

/// Most events that aliases may repeat in one document.
const MAX_FROM_ALIASES: usize = 100_000;

/// One object of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The line at which what its document holds begins, from 1.
    pub line: u64,
    pub object: Value,
    pub remarks: Vec<Remark>,
}

/// What is odd about a document that could be read all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub line: u64,
    pub message: String,
}

impl Remark {
    /// The remark as a warning about `from`, the file that was read.
    pub fn finding(&self, from: impl fmt::Display) -> Finding {
        Finding::warning("odd-yaml", from, format!("line {}: {}", self.line, self.message))
    }
}

/// Reads all objects of `bytes`, in order. Empty documents are passed over, and `List` objects unfolded.
///
/// # Errors
///
/// When any of it cannot be read: half of a stream would be half of the images.
pub fn documents(bytes: &[u8]) -> Result<Vec<Document>, ScanError> {
    if bytes.len() > MAX_BYTES {
        return Err(ScanError::TooLarge { bytes: bytes.len(), limit: MAX_BYTES });
    }
    if bytes.starts_with(&GZIP) {
        return Err(ScanError::Packed);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|err| ScanError::Encoding { offset: err.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    for (line, value, remarks) in values(text)? {
        unfold(line, value, remarks, &mut documents)?;
    }
    Ok(documents)
}

pub(crate) type Read = (u64, Value, Vec<Remark>);

/// What the documents of a stream are, objects or not, each with its line.
///
/// JSON is YAML as well, but `serde_json` is many times as fast, and alone takes objects without a separator.
pub(crate) fn values(text: &str) -> Result<Vec<Read>, ScanError> {
    if text.trim_start().starts_with(['{', '[']) {
        match json(text) {
            Ok(values) => return Ok(values),
            // A flow mapping, perhaps. Where it is none, what JSON said is the better message.
            Err(err) => {
                return yaml(text).map_err(|other| match other {
                    ScanError::Template { .. } => other,
                    _ => err,
                });
            }
        }
    }
    yaml(text)
}

fn json(text: &str) -> Result<Vec<Read>, ScanError> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut values = Vec::new();
    loop {
        let rest = &text[stream.byte_offset()..];
        let begin = text.len() - rest.trim_start().len();
        match stream.next() {
            None => return Ok(values),
            Some(Ok(value)) => values.push((line_at(text, begin), value, Vec::new())),
            Some(Err(err)) => {
                let line = u64::try_from(err.line()).unwrap_or(u64::MAX);
                return Err(ScanError::Json { line, reason: err.to_string() });
            }
        }
    }
}

fn line_at(text: &str, offset: usize) -> u64 {
    1 + text[..offset].bytes().filter(|byte| *byte == b'\n').count() as u64
}

fn yaml(text: &str) -> Result<Vec<Read>, ScanError> {
    split(text).into_iter().map(|(line, text)| yaml_document(line, text)).collect()
}

/// The documents of a stream, each with the line it begins at. No scalar can hold `---` in its first column.
fn split(text: &str) -> Vec<(u64, &str)> {
    let (mut parts, mut begin, mut first, mut offset) = (Vec::new(), 0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if behind_marker(line).is_some() && offset > begin {
            parts.push((first, &text[begin..offset]));
            (begin, first) = (offset, number);
        }
        offset += line.len();
    }
    parts.push((first, &text[begin..]));
    parts
}

/// What stands on the line on which a document begins, behind its marker; none where it is another line.
fn behind_marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("---")?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])).then_some(rest)
}

fn yaml_document(first: u64, text: &str) -> Result<Read, ScanError> {
    let err = match lenient(first, text) {
        Ok(read) => return Ok(read),
        Err(err) => err,
    };
    if let Some(Ok(read)) = mend(text).map(|mended| lenient(first, &mended)) {
        return Ok(read);
    }
    let line = line(first, &err);
    if is_tab_at(text, line - first) {
        return Err(ScanError::Tab { line });
    }
    if text.contains("{{") {
        return Err(ScanError::Template { line });
    }
    Err(ScanError::Yaml { line, reason: err.without_snippet().to_string() })
}

/// Kubernetes' own reader takes the last of several values; whoever applies this file meets the same object.
fn lenient(first: u64, text: &str) -> Result<Read, serde_saphyr::Error> {
    let read = |keys| serde_saphyr::from_str_with_options(text, options(keys));
    let err = match read(DuplicateKeyPolicy::Error) {
        Ok(value) => return Ok((first + lead(text), value, Vec::new())),
        Err(err) => err,
    };
    let serde_saphyr::Error::DuplicateMappingKey { key, .. } = err.without_snippet() else {
        return Err(err);
    };
    let key = key.as_deref().unwrap_or("a key");
    let message = format!("`{key}` stands twice; the last one counts");
    let remark = Remark { line: line(first, &err), message };
    Ok((first + lead(text), read(DuplicateKeyPolicy::LastWins)?, vec![remark]))
}

/// How many lines of a document stand before what it holds: its marker, comments, and empty ones.
fn lead(text: &str) -> u64 {
    let is_lead = |line: &&str| {
        let rest = behind_marker(line).unwrap_or(line).trim_start();
        rest.is_empty() || rest.starts_with(['#', '%'])
    };
    text.lines().take_while(is_lead).count() as u64
}

fn line(first: u64, err: &serde_saphyr::Error) -> u64 {
    first - 1 + err.location().map_or(1, |place| place.line().max(1))
}

fn is_tab_at(text: &str, line: u64) -> bool {
    let line = usize::try_from(line).ok().and_then(|line| text.lines().nth(line));
    line.is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'))
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    let budget = serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_events: 2 * MAX_NODES,
        max_total_scalar_bytes: MAX_BYTES,
        max_total_comment_bytes: MAX_BYTES,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: duplicate_keys,
        merge_keys: MergeKeyPolicy::Merge,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_FROM_ALIASES },
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        emit_comments: false,
        with_snippet: false,
    }
}

fn unfold(
    line: u64,
    value: Value,
    remarks: Vec<Remark>,
    documents: &mut Vec<Document>,
) -> Result<(), ScanError> {
    match value {
        Value::Null => Ok(()),
        Value::Array(items) => unfold_all(line, items, remarks, documents),
        Value::Object(mut object) => {
            let kind = object.get("kind").and_then(Value::as_str);
            let is_list = kind.is_some_and(|kind| kind.ends_with("List"));
            match object.remove("items") {
                Some(Value::Array(items)) if is_list => unfold_all(line, items, remarks, documents),
                items => {
                    object.extend(items.map(|items| ("items".to_owned(), items)));
                    documents.push(Document { line, object: Value::Object(object), remarks });
                    Ok(())
                }
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(ScanError::NotAnObject { line })
        }
    }
}

/// What is odd about a list is said with its first object.
fn unfold_all(
    line: u64,
    items: Vec<Value>,
    mut remarks: Vec<Remark>,
    documents: &mut Vec<Document>,
) -> Result<(), ScanError> {
    items
        .into_iter()
        .try_for_each(|item| unfold(line, item, std::mem::take(&mut remarks), documents))
}

#[cfg(test)]
mod tests;
