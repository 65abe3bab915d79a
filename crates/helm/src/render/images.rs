//! The images in what a chart renders to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use airlift_scan::{Document, Doubt, Evidence, Found, Remark, ScanError, documents, scan};
use airlift_spec::{Ctx, Digest, Reference};
use serde_json::Value;
use tempfile::TempDir;

use super::path::FieldPath;
use super::{RenderError, RenderOptions, Rendered, Renderer};
use crate::process;

/// A chart that reads one file with Helm's own YAML, and writes it as JSON.
const READER: &str = "{{ .Files.Get \"document.yaml\" | fromYaml | toJson }}\n";
const READER_CHART: &str = "apiVersion: v2\nname: reader\nversion: 0.0.0\n";

/// What a render says about images, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    pub images: Vec<Image>,
    pub doubts: Vec<Doubt>,
    pub remarks: Vec<Remark>,
}

/// An image that an object of the chart will ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    pub reference: Reference,
    /// As it is written, put together where it was split.
    pub written: String,
    /// The object and the field, as `airlift-scan` names them.
    pub path: String,
    pub evidence: Evidence,
    /// The template that the object comes from, like `app/templates/job.yaml`.
    pub template: Option<String>,
    /// Where the object is a hook: of what, like `pre-delete` or `test`.
    pub hook: Option<String>,
}

/// An object of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The template that it comes from, like `app/templates/job.yaml`.
    pub template: String,
    pub object: Value,
}

impl Images {
    pub fn references(&self) -> BTreeSet<&Reference> {
        self.images.iter().map(|image| &image.reference).collect()
    }

    fn extend(&mut self, more: &Self) {
        self.images.extend_from_slice(&more.images);
        self.doubts.extend_from_slice(&more.doubts);
        self.remarks.extend_from_slice(&more.remarks);
    }
}

impl Renderer<'_> {
    /// The same chart, in whose objects every text that `paths` lead to is an image as well.
    #[must_use]
    pub fn looking_at(self, paths: Vec<FieldPath>) -> Self {
        Self { paths, seen: Mutex::default(), ..self }
    }

    /// The objects that were rendered, in the order in which Helm installs them.
    pub fn objects(&self, rendered: &Rendered, ctx: &Ctx) -> Result<Vec<Object>, RenderError> {
        let mut all = Vec::new();
        for part in parts(&rendered.documents) {
            let template = template(part);
            let objects = self.documents(part, ctx)?.into_iter();
            all.extend(
                objects.map(|it| Object { template: template.to_owned(), object: it.object }),
            );
        }
        Ok(all)
    }

    /// Finds the images in what was rendered.
    pub fn images(&self, rendered: &Rendered, ctx: &Ctx) -> Result<Images, RenderError> {
        let mut all = Images::default();
        for part in parts(&rendered.documents) {
            all.extend(&*self.images_of(part, ctx)?);
        }
        Ok(all)
    }

    /// Most documents are the same whatever is switched, and are looked through once.
    fn images_of(&self, part: &str, ctx: &Ctx) -> Result<Arc<Images>, RenderError> {
        let key = Digest::of(part.as_bytes());
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen().get(&key) {
            return Ok(Arc::clone(known));
        }
        let template = Some(template(part)).filter(|it| !it.is_empty());
        let mut images = Images::default();
        for document in self.documents(part, ctx)? {
            look(document, template, &self.paths, &mut images);
        }
        let images = Arc::new(images);
        seen().insert(key, Arc::clone(&images));
        Ok(images)
    }

    /// Go reads YAML that the standard forbids; what only Helm can read is read by Helm.
    fn documents(&self, part: &str, ctx: &Ctx) -> Result<Vec<Document>, RenderError> {
        match documents(part.as_bytes()) {
            Ok(read) => Ok(read),
            Err(err) => self.read_by_helm(part, err, ctx),
        }
    }

    fn read_by_helm(
        &self,
        part: &str,
        source: ScanError,
        ctx: &Ctx,
    ) -> Result<Vec<Document>, RenderError> {
        let failed = |source| RenderError::Scratch { chart: self.place(), source };
        let reader = TempDir::new_in(self.scratch.path()).map_err(failed)?;
        let write = |name: &str, text: &str| fs_err::write(reader.path().join(name), text);
        fs_err::create_dir(reader.path().join("templates")).map_err(failed)?;
        write("Chart.yaml", READER_CHART).map_err(failed)?;
        write("templates/document.json", READER).map_err(failed)?;
        write("document.yaml", part).map_err(failed)?;
        let mut command = process::isolated(&self.helm.program, self.scratch.path());
        command.args(["template", "reader"]).arg(reader.path());
        let ran = self.run(&mut command, &RenderOptions::default().limits, ctx)?;
        // `fromYaml` tells its errors as a mapping.
        let read = documents(&ran.stdout).ok().filter(|read| {
            ran.is_success && !read.iter().any(|document| document.object.get("Error").is_some())
        });
        read.ok_or_else(|| RenderError::Unreadable { chart: self.place(), source })
    }
}

/// The template that a document comes from; empty where nothing says so.
fn template(part: &str) -> &str {
    part.lines().find_map(|line| line.strip_prefix("# Source: ")).unwrap_or_default()
}

/// The documents of a render, each with the comment that names its template. `---` begins no line of a text in them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix("---\n").unwrap_or(text);
    text.split("\n---\n").filter(|part| !part.trim().is_empty())
}

fn look(document: Document, template: Option<&str>, paths: &[FieldPath], images: &mut Images) {
    let hook = hook(&document.object);
    let mut found = scan(&document.object);
    for path in paths {
        let texts = path.texts(&document.object).into_iter();
        let named: Vec<Found> = texts.filter_map(|text| named(path, text)).collect();
        let is_new = |it: &Found| !found.images.iter().any(|known| known.image == it.image);
        let named: Vec<Found> = named.into_iter().filter(is_new).collect();
        found.images.extend(named);
    }
    let image = |found: Found| Image {
        reference: found.reference,
        written: found.image,
        path: found.path,
        evidence: found.evidence,
        template: template.map(str::to_owned),
        hook: hook.clone(),
    };
    images.images.extend(found.images.into_iter().map(image));
    images.doubts.extend(found.doubts);
    images.remarks.extend(document.remarks);
}

/// What somebody says is an image, where it can be one.
fn named(path: &FieldPath, text: &str) -> Option<Found> {
    let reference = text.parse().ok()?;
    let path = path.written().to_owned();
    Some(Found { reference, image: text.to_owned(), path, evidence: Evidence::Field })
}

fn hook(object: &Value) -> Option<String> {
    let annotations = object.get("metadata")?.get("annotations")?;
    Some(annotations.get("helm.sh/hook")?.as_str()?.to_owned())
}
