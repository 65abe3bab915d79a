//! The files that point a cluster at the far registry, under the names and in the shape of oc-mirror.
//!
//! Unlike the peer's they are sorted and carry no time, so that the same images give the same bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use airlift_spec::{Class, Explain, Finding};

use crate::config::Operator;
use crate::mapping::{Copy, Routes};
use crate::name::{ImageName, NameError};

mod catalogs;
mod mirrors;
mod releases;

pub use releases::Signature;

/// A file of the folder `cluster-resources`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub text: String,
}

/// What cluster resources are made of.
#[derive(Debug, Clone)]
pub struct Mirrored<'a> {
    pub routes: &'a Routes,
    pub copies: &'a [Copy],
    pub operators: &'a [Operator],
    /// The text of each [`template`](Operator::template) by its path, or why it could not be read.
    pub templates: BTreeMap<String, Result<String, String>>,
    /// Signatures of the releases that were mirrored.
    pub signatures: Vec<Signature>,
}

/// What was mirrored has a name that is none: a mistake of whoever made the copies.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is mirrored and names no image")]
pub struct ResourcesError {
    text: String,
    source: NameError,
}

impl Explain for ResourcesError {
    fn class(&self) -> Class {
        Class::Bug
    }
}

/// All files, in the order of their names, and what was not done as it was asked.
pub fn cluster_resources(mirrored: &Mirrored) -> Result<(Vec<File>, Vec<Finding>), ResourcesError> {
    let (mut files, findings) = catalogs::files(mirrored)?;
    files.extend(mirrors::files(mirrored)?);
    files.extend(releases::update_service(mirrored));
    files.extend(releases::signature_files(&mirrored.signatures));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((files, findings))
}

/// The annotations of every object.
fn annotations() -> Value {
    json!({ "createdBy": "airlift oc-mirror" })
}

fn parse(text: &str) -> Result<ImageName, ResourcesError> {
    ImageName::parse(text).map_err(|source| ResourcesError { text: text.to_owned(), source })
}

/// The reference without `docker://`.
fn reference(text: &str) -> &str {
    text.split_once("://").map_or(text, |(_, reference)| reference)
}

#[cfg(test)]
mod tests;
