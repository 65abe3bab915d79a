//! Finds the images that Kubernetes objects will ask for, with proof of each. Pure: no network, no disk.
//!
//! [`documents()`] reads what Helm, kustomize and people write; [`scan()`] looks through one object. What is proven to
//! be an image is [`Found`]. What only looks like one is a [`Doubt`], which becomes a warning: never a guess, and
//! never silence. The rules know shapes (a container, a flag, a repository beside a tag), and no product by name.
//!
//! Never looked at, on purpose: `status`, which a cluster wrote; prose (`description`, `example`); and the base64 of
//! a `Secret`, which holds credentials.

mod documents;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod knowledge;
mod mend;
mod names;
mod parts;
mod shape;
mod template;
mod text;
mod walk;

use std::fmt;

use airlift_spec::{Finding, Reference, lock};

pub use documents::{Document, MAX_BYTES, Remark, documents};
pub use error::ScanError;
pub use knowledge::Knowledge;
pub use text::scan_text;
pub use walk::scan;

/// What one object, or one text, says about images, in the order in which it says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    pub images: Vec<Found>,
    pub doubts: Vec<Doubt>,
}

/// An image that something will ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// As it is written, put together where it was split. It always parses as `reference`.
    pub image: String,
    pub reference: Reference,
    /// `Deployment kubeflow/ml-pipeline: spec.template.spec.containers[0].image`; ` > ` enters a text that holds
    /// another document.
    pub path: String,
    pub evidence: Evidence,
}

/// What looks like an image and cannot be proven to be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doubt {
    pub text: String,
    pub path: String,
    pub why: &'static str,
}

/// What proves that a text is an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// The object lists it as what it needs: `relatedImages`.
    Related,
    /// The `image` of a container, or an `ImageStream`'s origin.
    Field,
    /// The value of an environment variable.
    Env,
    /// A command line argument.
    Arg,
    /// An annotation, or a document inside one.
    Annotation,
    /// A YAML text, or a template of one, inside another object.
    ConfigMapYaml,
    /// A JSON text inside another object.
    ConfigMapJson,
    /// A line `KEY=VALUE` of a text inside another object.
    ConfigMapLine,
    /// A field, of any object, whose name says image.
    CustomField,
    /// Several fields that make one reference: a registry, a repository, a tag.
    Parts,
    /// A WebAssembly module that a proxy pulls by itself.
    Wasm,
}

impl From<Evidence> for lock::Evidence {
    fn from(evidence: Evidence) -> Self {
        match evidence {
            Evidence::Related => Self::Declared,
            Evidence::Field
            | Evidence::Env
            | Evidence::Arg
            | Evidence::Annotation
            | Evidence::ConfigMapYaml
            | Evidence::ConfigMapJson
            | Evidence::ConfigMapLine
            | Evidence::CustomField
            | Evidence::Parts
            | Evidence::Wasm => Self::Referenced,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Related => "related image",
            Self::Field => "container",
            Self::Env => "environment variable",
            Self::Arg => "argument",
            Self::Annotation => "annotation",
            Self::ConfigMapYaml => "YAML in a text",
            Self::ConfigMapJson => "JSON in a text",
            Self::ConfigMapLine => "line of a text",
            Self::CustomField => "field",
            Self::Parts => "several fields",
            Self::Wasm => "WebAssembly module",
        })
    }
}

impl Doubt {
    /// The doubt as a warning about `from`, the file or chart that was scanned.
    pub fn finding(&self, from: impl fmt::Display) -> Finding {
        let Self { text, path, why } = self;
        Finding::warning("unproven-image", from, format!("{path}: `{text}`: {why}"))
    }
}
