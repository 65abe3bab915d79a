//! References as oc-mirror reads them, which decides what they are called on the far side.

use std::fmt;

use airlift_spec::reference::{is_host, is_repository, is_tag};
use airlift_spec::{Class, Digest, Explain, Reference};

/// The longest tag that registries take.
const MAX_TAG_CHARS: usize = 128;

/// An image's name, read by oc-mirror's rule: the first part is the host whatever it looks like, and nothing is
/// filled in. So `ubuntu:22.04` has no host, and `bitnami/redis:7` is at the host `bitnami`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    pub transport: Transport,
    /// Empty where the name has but one part, and for what lies on a disk.
    pub host: String,
    /// The repository; for what lies on a disk, its path.
    pub path: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

/// Where an image lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Docker,
    /// An OCI layout on a disk.
    Oci,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    #[error("{0} unable to parse image correctly : tag and digest are empty")]
    Unpinned(String),
    #[error("{0} unable to parse image correctly : invalid digest")]
    Digest(String),
    #[error("unknown image : reference name is empty")]
    Empty,
    #[error("{0} unable to parse image correctly : it is not written like a reference")]
    Malformed(String),
    #[error("{0} unable to parse image correctly : it is neither docker:// nor oci://")]
    Transport(String),
}

impl Explain for NameError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Unpinned(text) => {
                Some(format!("add a tag or a digest, as in `{text}:v1` or `{text}@sha256:…`"))
            }
            Self::Digest(_) => {
                Some("write the digest as `sha256:` and 64 lowercase hex digits".to_owned())
            }
            Self::Empty | Self::Malformed(_) | Self::Transport(_) => {
                Some("write it like `registry.example/org/app:v1`".to_owned())
            }
        }
    }
}

impl From<&Reference> for ImageName {
    /// The name as a lock has it, spelled out.
    fn from(reference: &Reference) -> Self {
        Self {
            transport: Transport::Docker,
            host: reference.host().to_owned(),
            path: reference.path().to_owned(),
            tag: reference.tag().map(str::to_owned),
            digest: reference.digest(),
        }
    }
}

impl ImageName {
    /// Reads a reference with or without `docker://`, or `oci://PATH`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.split_once("://") {
            None => Self::of_registry(text, text),
            Some(("docker", rest)) => Self::of_registry(text, rest),
            Some(("oci", path)) => Self::of_layout(text, path),
            Some(_) => Err(NameError::Transport(text.to_owned())),
        }
    }

    fn of_registry(text: &str, reference: &str) -> Result<Self, NameError> {
        let (name, digest) = split_digest(text, reference)?;
        let after_host = name.find('/').unwrap_or(0);
        let (name, tag) = match name.rfind(':') {
            Some(colon) if colon >= after_host => (&name[..colon], Some(&name[colon + 1..])),
            _ => (name, None),
        };
        let tag = tag.filter(|tag| !tag.is_empty()).map(str::to_owned);
        let (host, path) = name.split_once('/').unwrap_or(("", name));
        if path.is_empty() {
            return Err(NameError::Empty);
        }
        if tag.is_none() && digest.is_none() {
            return Err(NameError::Unpinned(text.to_owned()));
        }
        // These become names of folders and lines of files, where more than a registry would stumble.
        let is_reference = (host.is_empty() || is_host(host))
            && is_repository(path)
            && tag.as_deref().is_none_or(is_tag);
        if !is_reference {
            return Err(NameError::Malformed(text.to_owned()));
        }
        Ok(Self {
            transport: Transport::Docker,
            host: host.to_owned(),
            path: path.to_owned(),
            tag,
            digest,
        })
    }

    fn of_layout(text: &str, reference: &str) -> Result<Self, NameError> {
        let (path, digest) = split_digest(text, reference)?;
        if path.trim_matches('/').is_empty() {
            return Err(NameError::Empty);
        }
        if path.contains(char::is_control) {
            return Err(NameError::Malformed(text.to_owned()));
        }
        Ok(Self {
            transport: Transport::Oci,
            host: String::new(),
            path: path.to_owned(),
            tag: None,
            digest,
        })
    }

    /// Host and path, without tag and digest.
    pub fn repository(&self) -> String {
        if self.host.is_empty() {
            self.path.clone()
        } else {
            format!("{}/{}", self.host, self.path)
        }
    }

    /// The last part of the path.
    pub fn base(&self) -> &str {
        let path = self.path.trim_end_matches('/');
        path.rsplit_once('/').map_or(path, |(_, base)| base)
    }

    /// Whether nothing but a digest says which image is meant.
    pub fn is_by_digest_alone(&self) -> bool {
        self.tag.is_none() && self.digest.is_some()
    }

    /// The reference to pull by: of a tag and a digest, the digest.
    pub fn pulled(&self) -> String {
        let tag = self.tag.clone().filter(|_| self.digest.is_none());
        Self { tag, ..self.clone() }.to_string()
    }

    /// The tag it has in a registry of the far side.
    pub fn far_tag(&self) -> String {
        match (&self.tag, self.digest) {
            (Some(tag), _) => tag.clone(),
            (None, Some(digest)) => digest_tag(digest),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The text without its transport.
    pub fn reference(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{}{tag}{digest}", self.repository())
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Docker => "docker",
            Transport::Oci => "oci",
        };
        write!(f, "{transport}://{}", self.reference())
    }
}

/// The tag that stands for a digest. One of SHA-512 is longer than a tag may be and loses its end.
pub fn digest_tag(digest: Digest) -> String {
    let mut tag = digest.to_string().replace(':', "-");
    if tag.len() > MAX_TAG_CHARS {
        tag.truncate(MAX_TAG_CHARS - 1);
    }
    tag
}

fn split_digest<'a>(
    text: &str,
    reference: &'a str,
) -> Result<(&'a str, Option<Digest>), NameError> {
    match reference.split_once('@') {
        None => Ok((reference, None)),
        Some((name, digest)) => {
            let digest = digest.parse().map_err(|_| NameError::Digest(text.to_owned()))?;
            Ok((name, Some(digest)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, Option<String>, bool) {
        let name = ImageName::parse(text).unwrap();
        (name.host, name.path, name.tag, name.digest.is_some())
    }

    #[test]
    fn the_first_part_is_the_host_and_nothing_is_filled_in() {
        let digest = format!("@sha256:{}", "a".repeat(64));
        let owned = |host: &str, path: &str, tag: Option<&str>, pinned| {
            (host.to_owned(), path.to_owned(), tag.map(str::to_owned), pinned)
        };
        assert_eq!(parts("ubuntu:22.04"), owned("", "ubuntu", Some("22.04"), false));
        assert_eq!(parts("bitnami/redis:7"), owned("bitnami", "redis", Some("7"), false));
        assert_eq!(parts("docker://h:5000/a/b:v1"), owned("h:5000", "a/b", Some("v1"), false));
        assert_eq!(parts(&format!("h:5000/a{digest}")), owned("h:5000", "a", None, true));
        assert_eq!(parts(&format!("h/a:v1{digest}")), owned("h", "a", Some("v1"), true));
        assert_eq!(parts("oci:///mnt/a:b"), owned("", "/mnt/a:b", None, false));
    }

    #[test]
    fn what_names_no_image_is_refused_in_the_words_of_the_peer() {
        let said = |text: &str| ImageName::parse(text).unwrap_err().to_string();
        assert!(said("h/a").ends_with("tag and digest are empty"));
        assert!(said("h:5000/a").ends_with("tag and digest are empty"));
        assert!(said("h/a@sha256:12").ends_with("invalid digest"));
        assert!(said("h/:v1").contains("is empty"));
        assert!(said("dir:///x").contains("neither"));
        for text in [
            "h/A:v1",
            "h/../a:v1",
            "h/a b:v1",
            "h/a:v1/../b",
            "h/a\n:v1",
            "h h/a:v1",
            "oci:///a\nb",
        ] {
            assert!(said(text).contains("not written like a reference"), "{text}");
        }
    }

    #[test]
    fn a_digest_wins_over_its_tag_when_pulling_and_loses_when_storing() {
        let text = format!("h/a:v1@sha256:{}", "a".repeat(64));
        let name = ImageName::parse(&text).unwrap();
        assert_eq!(name.pulled(), format!("docker://h/a@sha256:{}", "a".repeat(64)));
        assert_eq!(name.far_tag(), "v1");
    }

    #[test]
    fn a_tag_of_a_long_digest_is_cut_to_what_registries_take() {
        let long: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(digest_tag(long).len(), 127);
    }
}
