//! What a text can be, by its shape alone.

use airlift_spec::Reference;

/// Longer than any reference: 255 bytes of repository, a host, a tag, and a digest.
const MAX_REFERENCE_BYTES: usize = 900;

/// Endings of files that stand where images could: pictures, disks, documents.
const FILES: &[&str] = &[
    ".gif", ".gz", ".htm", ".html", ".ico", ".iso", ".jpeg", ".jpg", ".js", ".json", ".md", ".png",
    ".py", ".qcow2", ".raw", ".sh", ".svg", ".tar", ".tgz", ".txt", ".vmdk", ".webp", ".yaml",
    ".yml",
];

/// How surely a text that parses as a reference is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Any word is: `nginx`, `always`.
    Word,
    /// `ubuntu:22.04`, `org/app`, `host.name/path`.
    Named,
    /// `org/app:v1`: named, with a tag.
    Tagged,
    /// `host.name/path:tag`; nothing else is written so.
    Complete,
    /// `…@sha256:…`, which no other thing can be.
    Pinned,
}

/// Words that stand in fields named after images and are settings.
const SETTINGS: &[&str] = &["true", "false", "yes", "no", "null", "none", "default"];

/// The reference that `text` is, whole, and how surely.
pub(crate) fn reference(text: &str) -> Option<(Reference, Shape)> {
    if text.len() > MAX_REFERENCE_BYTES
        || text.starts_with('.')
        || is_file(text)
        || SETTINGS.contains(&text)
    {
        return None;
    }
    let reference: Reference = text.parse().ok()?;
    let shape = shape(text, &reference);
    Some((reference, shape))
}

fn shape(text: &str, reference: &Reference) -> Shape {
    if reference.digest().is_some() {
        return Shape::Pinned;
    }
    let has_path = text.contains('/');
    let tag = text.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
    // `host:8080` and `host/path:8080` are endpoints as often as images.
    let is_port = |tag: &str| tag.bytes().all(|byte| byte.is_ascii_digit());
    match tag {
        Some(tag) if has_path && !is_port(tag) && has_domain(text) => Shape::Complete,
        Some(_) if has_path => Shape::Tagged,
        None if !has_path => Shape::Word,
        _ => Shape::Named,
    }
}

/// Whether the first component is a host that could be asked over the internet.
fn has_domain(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let top = name.rsplit('.').next().unwrap_or_default();
    name.contains('.') && top.len() > 1 && top.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_file(text: &str) -> bool {
    FILES.iter().any(|ending| text.ends_with(ending))
}

/// `text` without the scheme that some fields write before an image.
pub(crate) fn without_scheme(text: &str) -> &str {
    let schemes = ["oci://", "docker://"];
    schemes.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text)
}

/// Whether something else is to be put in: `$(IMAGE)`, `${IMAGE}`, `{{ .Image }}`, `%s`.
pub(crate) fn is_variable(text: &str) -> bool {
    text.contains('$') || text.contains("{{") || text.contains('%')
}

/// The references that stand in a longer text, such as a script: complete ones and pinned ones alone.
pub(crate) fn within(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || "._-/:@".contains(c));
    // `:-` comes before what a shell takes where a variable is empty.
    text.split(":-")
        .flat_map(move |part| part.split(ends))
        .map(|word| word.trim_matches(['.', ':', '-', '/', '@']))
        .filter(|word| !word.contains("://"))
        .filter(|word| reference(word).is_some_and(|(_, shape)| shape >= Shape::Complete))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_shape_of_a_text_says_how_surely_it_is_an_image() {
        let pinned = format!("org/app@{DIGEST}");
        for (text, expected) in [
            ("nginx", Some(Shape::Word)),
            ("nginx:1.25", Some(Shape::Named)),
            ("org/app", Some(Shape::Named)),
            ("org/app:v1", Some(Shape::Tagged)),
            ("quay.io/org/app:v1", Some(Shape::Complete)),
            ("reg.example:5000/app:v1", Some(Shape::Complete)),
            ("svc.example/path:8080", Some(Shape::Tagged)),
            ("10.0.0.1/path:v1", Some(Shape::Tagged)),
            (pinned.as_str(), Some(Shape::Pinned)),
            ("https://quay.io/org/app:v1", None),
            ("static/logo.svg", None),
            ("./a/b:c", None),
            ("/var/lib/a", None),
            ("IfNotPresent", None),
            ("", None),
        ] {
            assert_eq!(reference(text).map(|(_, shape)| shape), expected, "{text}");
        }
    }

    #[test]
    fn a_script_gives_up_its_complete_references_and_no_links() {
        let script = format!(
            "IMG=${{X:-quay.io/a/b:v1}}; curl https://example.com/a/b:v1 'ghcr.io/c@{DIGEST}', a:b org/app:v1."
        );
        let found: Vec<&str> = within(&script).collect();
        assert_eq!(found, ["quay.io/a/b:v1", &format!("ghcr.io/c@{DIGEST}")]);
    }
}
