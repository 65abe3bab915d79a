//! References: how people and manifests name an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, ParseDigestError};

/// The host that a reference without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// Longest repository name that distribution's grammar allows, host excluded.
const MAX_REPOSITORY_BYTES: usize = 255;

/// A canonical image reference: `host/path[:tag][@digest]`, with at least a tag or a digest.
///
/// What people leave out is spelled out when parsing: `nginx` is `docker.io/library/nginx:latest`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    #[error("`{text}` is not an image reference: {reason}")]
    Malformed { text: String, reason: &'static str },
    #[error("`{text}` is not an image reference")]
    Digest { text: String, source: ParseDigestError },
}

impl Reference {
    /// The registry's host, lower case, with its port if it has one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// `host/path`, the name without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// What to ask the registry for: the digest where there is one, since a tag may move.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => unreachable!("a reference has a tag or a digest"),
        }
    }

    /// The same repository by another tag, without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(malformed(tag, "a tag has 1 to 128 letters, digits, `_`, `.` or `-`"));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository by digest alone.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same reference pinned: its tag, if it has one, and `digest`.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;
    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => {
                let parsed = digest.parse().map_err(|source| ParseReferenceError::Digest {
                    text: text.to_owned(),
                    source,
                })?;
                (name, Some(parsed))
            }
        };
        let (name, tag) = split_tag(name);
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(malformed(text, "a tag has 1 to 128 letters, digits, `_`, `.` or `-`"));
        }
        let (host, path) = split_host(name);
        if !is_host(&host) {
            return Err(malformed(text, "its host is not a host name with an optional port"));
        }
        if !is_repository(&path) {
            return Err(malformed(
                text,
                "a repository is lowercase letters, digits, `.`, `_`, `-` and `/`",
            ));
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { host, path, tag, digest })
    }
}

fn malformed(text: &str, reason: &'static str) -> ParseReferenceError {
    ParseReferenceError::Malformed { text: text.to_owned(), reason }
}

/// A colon after the last slash begins a tag; one before it belongs to a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[last..].find(':') {
        Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..])),
        None => (name, None),
    }
}

/// Docker's rule: the first part is a host if it could not be anything else.
fn split_host(name: &str) -> (String, String) {
    let looks_like_host = |part: &str| part.contains(['.', ':', '[']) || part == "localhost";
    match name.split_once('/') {
        Some((host, path)) if looks_like_host(host) => {
            let host = host.to_ascii_lowercase();
            if matches!(host.as_str(), "docker.io" | "index.docker.io" | "registry-1.docker.io") {
                (DOCKER_HUB.to_owned(), hub_path(path))
            } else {
                (host, path.to_owned())
            }
        }
        _ => (DOCKER_HUB.to_owned(), hub_path(name)),
    }
}

fn hub_path(path: &str) -> String {
    if path.contains('/') { path.to_owned() } else { format!("library/{path}") }
}

/// Whether `text` is a tag by the distribution specification's grammar.
pub fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// Whether `text` is a repository name by the distribution specification's grammar.
pub fn is_repository(text: &str) -> bool {
    text.len() <= MAX_REPOSITORY_BYTES && text.split('/').all(is_component)
}

/// Runs of lowercase letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator =
        |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    text.starts_with(is_alphanumeric)
        && text.ends_with(is_alphanumeric)
        && text.split(is_alphanumeric).all(is_separator)
}

/// Whether `text` is a host name or address with an optional port.
pub fn is_host(text: &str) -> bool {
    let (name, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.len() <= 253 && name.split('.').all(is_label),
    };
    // Digits first: `u16` would take a plus sign.
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_name && port.is_none_or(is_port)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;
    fn try_from(text: String) -> Result<Self, ParseReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn check(input: &str, canonical: &str) {
        assert_eq!(input.parse::<Reference>().unwrap().to_string(), canonical, "{input}");
    }

    #[test]
    fn what_people_leave_out_is_spelled_out() {
        check("nginx", "docker.io/library/nginx:latest");
        check("nginx:1.25", "docker.io/library/nginx:1.25");
        check("bitnami/redis:7", "docker.io/bitnami/redis:7");
        check("index.docker.io/nginx:1", "docker.io/library/nginx:1");
        check("localhost/a:1", "localhost/a:1");
        check("localhost:5000/a", "localhost:5000/a:latest");
        check("Quay.IO/org/app:V1", "quay.io/org/app:V1");
        check("[::1]:5000/a:1", "[::1]:5000/a:1");
        check(&format!("quay.io/a/b@{DIGEST}"), &format!("quay.io/a/b@{DIGEST}"));
        check(&format!("quay.io/a/b:1@{DIGEST}"), &format!("quay.io/a/b:1@{DIGEST}"));
    }

    #[test]
    fn malformed_references_are_refused() {
        let long = format!("quay.io/{}", "a".repeat(256));
        for text in [
            "",
            ":1",
            "/a",
            "a/",
            "a//b",
            "A/b",
            "quay.io/A",
            "quay.io/a:",
            "quay.io/a:b/c",
            "quay.io/a:-b",
            "quay.io/-a",
            "quay.io/a_",
            "quay.io/a___b",
            "quay.io/../etc",
            "-x.io/a",
            "quay.io:99999/a",
            "quay.io:+80/a",
            "quay.io/a@sha256:abc",
            "quay.io/a@md5:abcd",
            "https://quay.io/a",
            "quay.io/a b",
            "quay.io/a\0",
            "quay.io/a:1\n",
            "quay.io/a\u{1b}[2J",
            "quay.io/\u{202e}a",
            "quay.io/\u{430}",
            "qu\u{430}y.io/a",
            "\u{ff51}uay.io/a",
            "quay.io/a:v\u{661}",
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_reference_parses_to_itself(
            text in "[a-z]{1,6}(\\.[a-z]{2,3})(:[1-9][0-9]{0,3})?(/[a-z0-9]{1,5}((__|\\.|-{1,3})[a-z0-9]{1,3})?){1,3}:[a-z0-9_][a-z0-9._-]{0,20}"
        ) {
            prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            let _ = text.parse::<Reference>();
        }
    }
}
