//! Catalogs read from a folder, or from one named stream after another.
//!
//! A file is cut into its documents, and a document whose head says that nobody asked for its package is passed over
//! without being parsed. Memory holds the documents that are wanted, and one more.

mod block;
mod chunks;
mod head;
mod ignore;
mod json;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use airlift_spec::{Class, Explain};
use fs_err as fs;
use serde_json::Value;

use crate::{Catalog, Document};
use chunks::{Chunks, CutError, Raw, Style};
use ignore::Ignores;

/// The file in which a folder names what is no part of the catalog, in git's words.
const IGNORE_FILE: &str = ".indexignore";

/// More rules than anybody writes.
const MAX_IGNORE: u64 = 1024 * 1024;

/// Deeper folders are a loop or an attack.
const MAX_FOLDERS: usize = 64;

/// More readers at once only cost memory.
const MAX_THREADS: usize = 4;

/// Most bytes of text that is wanted of one catalog: all of the largest have a tenth of it.
const MAX_WANTED: u64 = 512 * 1024 * 1024;

/// Most files that one catalog has.
const MAX_FILES: usize = 100_000;

/// Which packages are asked for. Documents of no package are always read.
#[derive(Debug, Clone)]
pub enum Wanted {
    All,
    Packages(BTreeSet<String>),
    /// Of every package itself and its channels: bundles, which are nearly all of a catalog, are passed over.
    Outline,
}

/// The schemas of an outline.
const OUTLINE: [&str; 2] = ["olm.package", "olm.channel"];

impl Wanted {
    pub fn packages<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::Packages(names.into_iter().map(Into::into).collect())
    }

    fn has(&self, document: &Document) -> bool {
        match self {
            Self::All => true,
            Self::Packages(names) => {
                document.package.is_empty() || names.contains(&document.package)
            }
            Self::Outline => OUTLINE.contains(&document.schema.as_str()),
        }
    }
}

/// Why a catalog cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("the catalog cannot be read")]
    Io(#[source] io::Error),
    #[error("{file} cannot be read")]
    File { file: String, source: io::Error },
    #[error("{file}:{line}: {message}")]
    Document { file: String, line: u64, message: String },
    #[error("{file}: folders more than {MAX_FOLDERS} deep")]
    TooDeep { file: String },
    #[error("{file}: with this file, the catalog has more than {most}")]
    TooLarge { file: String, most: String },
}

impl Explain for ReadError {
    fn class(&self) -> Class {
        match self {
            // What somebody named cannot be read, which is no fault of the store.
            Self::Io(_)
            | Self::File { .. }
            | Self::Document { .. }
            | Self::TooDeep { .. }
            | Self::TooLarge { .. } => Class::Input,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Document { file, .. } => Some(format!(
                "if {file} is no part of the catalog, name it in `{IGNORE_FILE}` beside it"
            )),
            _ => None,
        }
    }
}

/// Reads `input`, the file `name`, and hands on each document that is wanted.
///
/// # Errors
///
/// The first document that is none, with its line; what `each` says.
pub fn documents(
    name: &str,
    input: impl Read,
    wanted: &Wanted,
    each: &mut dyn FnMut(Document) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    with_buffer(name, input, wanted, &mut Vec::new(), &mut |document, _| each(document))
}

/// [`documents`] with a buffer that was used before; `each` is told how long a document's text is, too.
fn with_buffer(
    name: &str,
    input: impl Read,
    wanted: &Wanted,
    buffer: &mut Vec<u8>,
    each: &mut dyn FnMut(Document, u64) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let file: Arc<str> = name.into();
    let mut chunks = Chunks::new(input, std::mem::take(buffer));
    while let Some(raw) = chunks.next().map_err(|err| cut_error(name, err))? {
        if raw.head.as_ref().is_some_and(|head| wanted.skips(head)) {
            continue;
        }
        if let Some(document) = document(&file, &raw)?.filter(|document| wanted.has(document)) {
            each(document, raw.bytes.len() as u64)?;
        }
    }
    *buffer = chunks.into_buffer();
    Ok(())
}

fn cut_error(file: &str, err: CutError) -> ReadError {
    let wrong = |line, message| ReadError::Document { file: file.to_owned(), line, message };
    match err {
        CutError::Read(source) => ReadError::File { file: file.to_owned(), source },
        CutError::TooLarge { line } => {
            wrong(line, format!("a document larger than {} MiB", chunks::MAX_DOCUMENT >> 20))
        }
        CutError::Unfinished { line } => {
            wrong(line, "a JSON document that begins here and never ends".to_owned())
        }
    }
}

/// Parses one document; nothing if it is empty.
fn document(file: &Arc<str>, raw: &Raw) -> Result<Option<Document>, ReadError> {
    let wrong = |line, message: &str| ReadError::Document {
        file: file.to_string(),
        line,
        message: message.to_owned(),
    };
    let text = std::str::from_utf8(raw.bytes).map_err(|err| {
        let before = memchr::memchr_iter(b'\n', &raw.bytes[..err.valid_up_to()]).count();
        wrong(raw.line + before as u64, "not UTF-8")
    })?;
    let value = parse(text, &raw.style)
        .map_err(|(line, message)| wrong(raw.line + line.saturating_sub(1), &message))?;
    if value.is_null() {
        return Ok(None);
    }
    let Value::Object(fields) = &value else {
        return Err(wrong(raw.line, "not a catalog's document: no mapping"));
    };
    let field = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong(raw.line, &format!("`{key}: {other}` is not a text: quote it"))),
    };
    let (schema, name, package) = (field("schema")?, field("name")?, field("package")?);
    if schema.is_empty() {
        return Err(wrong(raw.line, "not a catalog's document: it has no `schema`"));
    }
    // A package is the one thing that says whose it is by its own name.
    let package = if schema == "olm.package" { name.clone() } else { package };
    Ok(Some(Document { schema, package, name, value, file: file.clone(), line: raw.line }))
}

/// The document, or a line in it and what is wrong there.
fn parse(text: &str, style: &Style) -> Result<Value, (u64, String)> {
    match style {
        Style::Json => serde_json::from_str(text).or_else(|err| {
            // Braces alone do not make it JSON: YAML has them, too.
            yaml::parse(text).map_err(|_| (err.line() as u64, err.to_string()))
        }),
        Style::Yaml => block::parse(text).or_else(|_| yaml::parse(text)),
    }
}

/// A manifest that a catalog embeds: JSON mostly, YAML where a person wrote it.
pub(crate) fn manifest(text: &str) -> Result<Value, (u64, String)> {
    let is_json = text.trim_start().starts_with('{');
    parse(text, if is_json { &Style::Json } else { &Style::Yaml })
}

/// Collects a catalog from its files, in any order.
#[derive(Debug)]
pub struct Reader {
    wanted: Wanted,
    files: BTreeMap<String, Result<Vec<Document>, ReadError>>,
    ignores: Ignores,
    buffer: Vec<u8>,
    /// What may still be kept.
    left: u64,
    /// Of more files, not even the names.
    too_many: Option<ReadError>,
}

impl Reader {
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            files: BTreeMap::new(),
            ignores: Ignores::default(),
            buffer: Vec::new(),
            left: MAX_WANTED,
            too_many: None,
        }
    }

    /// Reads one file, named as it lies under the catalog's root. A file of a name that was read before replaces it,
    /// as a later layer of an image does.
    ///
    /// What is wrong with a file is said by [`finish`](Self::finish): an ignore file that is yet to come may name it.
    pub fn file(&mut self, name: &str, input: impl Read) {
        let name = name.trim_start_matches("./").trim_start_matches('/');
        let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
        if base == IGNORE_FILE {
            let mut text = String::new();
            if let Err(source) = input.take(MAX_IGNORE).read_to_string(&mut text) {
                self.files.insert(
                    name.to_owned(),
                    Err(ReadError::File { file: name.to_owned(), source }),
                );
            }
            self.ignores.set(folder, &text);
            return;
        }
        if self.files.len() >= MAX_FILES {
            let most = format!("{MAX_FILES} files");
            self.too_many.get_or_insert(ReadError::TooLarge { file: name.to_owned(), most });
            return;
        }
        let (mut found, mut left) = (Vec::new(), self.left);
        let mut each = |document, bytes| {
            left = left.checked_sub(bytes).ok_or_else(|| ReadError::TooLarge {
                file: name.to_owned(),
                most: format!("{} MiB that is wanted", MAX_WANTED >> 20),
            })?;
            found.push(document);
            Ok(())
        };
        let read = with_buffer(name, input, &self.wanted, &mut self.buffer, &mut each);
        self.left = left;
        self.files.insert(name.to_owned(), read.map(|()| found));
    }

    /// Takes a file or a folder out again, as a whiteout of a later layer does.
    pub fn remove(&mut self, name: &str) {
        let inside = format!("{name}/");
        self.files.retain(|file, _| file != name && !file.starts_with(&inside));
        self.ignores.remove(name);
    }

    /// The catalog of all files that no ignore file names.
    ///
    /// # Errors
    ///
    /// The first file, by name, with something wrong in it; two documents that claim to be the same thing.
    pub fn finish(self) -> Result<Catalog, ReadError> {
        if let Some(err) = self.too_many {
            return Err(err);
        }
        let mut documents = Vec::new();
        for (name, read) in self.files {
            if !self.ignores.has(&name) {
                documents.extend(read?);
            }
        }
        Catalog::from_documents(documents)
    }

    fn merge(&mut self, other: Self) {
        self.files.extend(other.files);
        self.ignores.merge(other.ignores);
        self.too_many = self.too_many.take().or(other.too_many);
    }
}

impl Catalog {
    /// Reads the catalog whose root is the folder `root`, on as many cores as help.
    pub fn read_dir(root: &Path, wanted: &Wanted) -> Result<Self, ReadError> {
        let mut files = Vec::new();
        list(root, root, 0, &mut files)?;
        let next = AtomicUsize::new(0);
        let threads =
            thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS));
        let read = || {
            let mut reader = Reader::new(wanted.clone());
            while let Some((name, path)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                reader.file(name, fs::File::open(path).map_err(ReadError::Io)?);
            }
            reader.buffer = Vec::new();
            Ok(reader)
        };
        let parts: Vec<Result<Reader, ReadError>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(read)).collect();
            workers.into_iter().map(|worker| worker.join().expect("readers do not panic")).collect()
        });
        let mut whole = Reader::new(wanted.clone());
        for part in parts {
            whole.merge(part?);
        }
        whole.finish()
    }
}

/// Every file below `folder`, with its name under `root`. Links are followed, as opm does, so far as depth allows.
fn list(
    root: &Path,
    folder: &Path,
    depth: usize,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), ReadError> {
    if depth > MAX_FOLDERS {
        return Err(ReadError::TooDeep { file: folder.display().to_string() });
    }
    for entry in fs::read_dir(folder).map_err(ReadError::Io)? {
        let path = entry.map_err(ReadError::Io)?.path();
        let kind = fs::metadata(&path).map_err(ReadError::Io)?;
        if kind.is_dir() {
            list(root, &path, depth + 1, files)?;
        } else if kind.is_file() {
            let name = path.strip_prefix(root).expect("it was found below the root");
            files.push((name.to_string_lossy().into_owned(), path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: &str = "schema: olm.package\nname: thing\n";

    #[test]
    fn what_is_wanted_of_a_catalog_has_a_bound_and_what_is_not_costs_nothing() {
        let read = |wanted, left| {
            let mut reader = Reader { left, ..Reader::new(wanted) };
            reader.file("a", PACKAGE.as_bytes());
            reader.file("b", PACKAGE.as_bytes());
            reader.finish().map_err(|err| err.to_string())
        };
        let bytes = PACKAGE.len() as u64;
        let err = read(Wanted::All, 2 * bytes - 1).unwrap_err();
        assert_eq!(err, "b: with this file, the catalog has more than 512 MiB that is wanted");
        assert!(read(Wanted::packages(["other"]), bytes).unwrap().packages.is_empty());
    }

    #[test]
    fn a_catalog_of_files_without_end_is_refused_even_where_they_are_ignored() {
        let mut reader = Reader::new(Wanted::All);
        reader.file(IGNORE_FILE, "*".as_bytes());
        for at in 0..=MAX_FILES {
            reader.file(&at.to_string(), io::empty());
        }
        assert_eq!(reader.files.len(), MAX_FILES);
        let err = reader.finish().unwrap_err();
        assert_eq!(
            err.to_string(),
            "100000: with this file, the catalog has more than 100000 files"
        );
    }
}
