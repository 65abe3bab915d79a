//! The images in what a chart renders to.

use std::collections::BTreeSet;

use airlift_scan::{Doubt, Evidence, Found, Remark, documents, scan};
use airlift_spec::Reference;
use serde_json::Value;

use super::{RenderError, Rendered, Renderer};

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

impl Images {
    pub fn references(&self) -> BTreeSet<&Reference> {
        self.images.iter().map(|image| &image.reference).collect()
    }
}

impl Renderer<'_> {
    /// Finds the images in what was rendered.
    pub fn images(&self, rendered: &Rendered) -> Result<Images, RenderError> {
        let objects = documents(rendered.documents.as_bytes())
            .map_err(|source| RenderError::Unreadable { chart: self.place(), source })?;
        let lines: Vec<&str> = rendered.documents.lines().collect();
        let mut all = Images::default();
        for document in objects {
            let template = template(&lines, document.line);
            let hook = hook(&document.object);
            let found = scan(&document.object);
            let image = |found: Found| Image {
                reference: found.reference,
                written: found.image,
                path: found.path,
                evidence: found.evidence,
                template: template.clone(),
                hook: hook.clone(),
            };
            all.images.extend(found.images.into_iter().map(image));
            all.doubts.extend(found.doubts);
            all.remarks.extend(document.remarks);
        }
        Ok(all)
    }
}

/// Helm writes `# Source: …` behind the `---` of each document.
fn template(lines: &[&str], document: u64) -> Option<String> {
    let begin = usize::try_from(document).ok()?.checked_sub(1)?;
    let mut near = lines.get(begin..)?.iter().take(3);
    near.find_map(|line| line.strip_prefix("# Source: ")).map(str::to_owned)
}

fn hook(object: &Value) -> Option<String> {
    let annotations = object.get("metadata")?.get("annotations")?;
    Some(annotations.get("helm.sh/hook")?.as_str()?.to_owned())
}
