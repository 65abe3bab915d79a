//! What a request is about. Repository names hold slashes, so paths are taken apart from their end.
//!
//! Everything here is untrusted: names follow the specification's grammar or are refused, so no `..`, no NUL,
//! no absolute path, and no percent-encoded variant of them gets past this module.

use std::borrow::Cow;

use airlift_spec::Digest;
use airlift_spec::reference::{is_host, is_repository, is_tag};
use percent_encoding::percent_decode_str;

use super::backend::Asked;
use super::error::{Code, Refusal};

/// A request path under `/v2/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Repositories,
    Tags { repository: String },
    Manifest { repository: String, wanted: Wanted },
    Referrers { repository: String, subject: Digest },
    Blob { repository: String, digest: Digest },
    Uploads { repository: String },
    Upload { repository: String, id: String },
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Tag(String),
    Digest(Digest),
}

impl Wanted {
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Tag(tag) => Cow::Borrowed(tag),
            Self::Digest(digest) => Cow::Owned(digest.to_string()),
        }
    }
}

impl Route {
    /// Reads `path`, the part of the request path behind `/v2`, still percent-encoded.
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        let nowhere = || Refusal::not_found(Code::NameUnknown, "there is nothing under this path");
        let path = percent_decode_str(path).decode_utf8().map_err(|_| nowhere())?;
        match path.trim_start_matches('/') {
            "" => return Ok(Self::Ping),
            "_catalog" => return Ok(Self::Repositories),
            _ => {}
        }
        let path = path.strip_prefix('/').ok_or_else(nowhere)?;
        // `…/blobs/uploads` comes with and without the slash that the specification writes.
        let (rest, last) =
            path.strip_suffix('/').unwrap_or(path).rsplit_once('/').ok_or_else(nowhere)?;
        if let Some(name) = rest.strip_suffix("/blobs/uploads").filter(|_| !last.is_empty()) {
            return Ok(Self::Upload { repository: repository(name)?, id: last.to_owned() });
        }
        let (name, kind) = rest.rsplit_once('/').ok_or_else(nowhere)?;
        let name = || repository(name);
        match (kind, last) {
            ("tags", "list") => Ok(Self::Tags { repository: name()? }),
            ("blobs", "uploads") => Ok(Self::Uploads { repository: name()? }),
            ("blobs", text) => Ok(Self::Blob { repository: name()?, digest: digest(text)? }),
            ("manifests", text) => {
                Ok(Self::Manifest { repository: name()?, wanted: wanted(text)? })
            }
            ("referrers", text) => {
                Ok(Self::Referrers { repository: name()?, subject: digest(text)? })
            }
            _ => Err(nowhere()),
        }
    }
}

fn repository(name: &str) -> Result<String, Refusal> {
    if is_repository(name) {
        return Ok(name.to_owned());
    }
    Err(Refusal::bad_request(Code::NameInvalid, "this is not a repository name"))
}

pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|err| Refusal::bad_request(Code::DigestInvalid, format!("{err}")))
}

fn wanted(text: &str) -> Result<Wanted, Refusal> {
    // No tag holds a colon, so whatever has one was meant as a digest.
    if text.contains(':') {
        return digest(text).map(Wanted::Digest);
    }
    tag(text).map(Wanted::Tag)
}

pub(super) fn tag(text: &str) -> Result<String, Refusal> {
    if is_tag(text) {
        return Ok(text.to_owned());
    }
    let message = "a tag has 1 to 128 letters, digits, `_`, `.` or `-`";
    Err(Refusal::bad_request(Code::ManifestInvalid, message))
}

/// The query string, decoded. A name may come more than once.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Self {
        // Not every client encodes the plus of a media type, and no value here has a space.
        let text = text.unwrap_or_default().replace('+', "%2B");
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The repository as asked, with the host that containerd names beside it.
    pub(super) fn asked(&self, repository: String) -> Result<Asked, Refusal> {
        let ns = self.get("ns").filter(|ns| !ns.is_empty()).map(str::to_ascii_lowercase);
        if ns.as_deref().is_some_and(|ns| !is_host(ns)) {
            return Err(Refusal::bad_request(Code::NameInvalid, "`ns` is not a host"));
        }
        Ok(Asked { repository, ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn check(path: &str, expected: &Route) {
        assert_eq!(Route::parse(path).ok().as_ref(), Some(expected), "{path}");
    }

    fn owned(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn the_plus_of_a_media_type_may_come_as_it_is_or_encoded() {
        for text in ["artifactType=application/spdx+json", "artifactType=application%2Fspdx%2Bjson"]
        {
            assert_eq!(Query::parse(Some(text)).get("artifactType"), Some("application/spdx+json"));
        }
    }

    #[test]
    fn names_with_slashes_are_found_from_the_end() {
        let digest: Digest = DIGEST.parse().unwrap();
        check("", &Route::Ping);
        check("/", &Route::Ping);
        check("/_catalog", &Route::Repositories);
        check("/a/b/c/tags/list", &Route::Tags { repository: owned("a/b/c") });
        let wanted = Wanted::Tag(owned("v1"));
        check("/a/manifests/v1", &Route::Manifest { repository: owned("a"), wanted });
        let blob = Route::Blob { repository: owned("quay.io/org/app"), digest };
        check(&format!("/quay.io/org/app/blobs/{DIGEST}"), &blob);
        check(&format!("/quay.io/org/app/blobs/{}", DIGEST.replace(':', "%3A")), &blob);
        check("/a/b/blobs/uploads", &Route::Uploads { repository: owned("a/b") });
        check("/a/b/blobs/uploads/", &Route::Uploads { repository: owned("a/b") });
        check("/a/blobs/uploads/x1", &Route::Upload { repository: owned("a"), id: owned("x1") });
        let referrers = Route::Referrers { repository: owned("a"), subject: digest };
        check(&format!("/a/referrers/{DIGEST}"), &referrers);
    }

    #[test]
    fn words_of_the_protocol_may_be_part_of_a_name() {
        let wanted = Wanted::Tag(owned("v1"));
        let repository = owned("tags/blobs/uploads/manifests");
        check(
            "/tags/blobs/uploads/manifests/manifests/v1",
            &Route::Manifest { repository, wanted },
        );
        check("/manifests/tags/list", &Route::Tags { repository: owned("manifests") });
    }

    #[test]
    fn hostile_paths_are_refused() {
        for path in [
            "/../../etc/passwd/manifests/v1",
            "/a/%2e%2e/manifests/v1",
            "/a%00/manifests/v1",
            "/%ff/manifests/v1",
            "//a/manifests/v1",
            "/A/manifests/v1",
            "/a/manifests/-v",
            "/a/manifests/sha256:short",
            "/a/manifests/md5:d41d8cd98f00b204e9800998ecf8427e",
            "/a/blobs/nothing",
            "/a/referrers/v1",
            "/a",
            "/a/b",
            "/manifests/v1",
            "/a/blobs/uploads//",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        assert!(Route::parse(&format!("/{}/manifests/v1", "a/".repeat(200))).is_err());
    }

    #[test]
    fn the_host_beside_a_name_must_be_one() {
        let asked = |query: &str| Query::parse(Some(query)).asked(owned("a"));
        assert_eq!(asked("ns=Quay.io").unwrap().ns.as_deref(), Some("quay.io"));
        assert_eq!(asked("ns=localhost%3A5000").unwrap().ns.as_deref(), Some("localhost:5000"));
        assert_eq!(asked("ns=").unwrap().ns, None);
        assert!(asked("ns=../..").is_err());
    }
}
