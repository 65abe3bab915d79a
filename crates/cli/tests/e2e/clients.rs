//! What real clients get from a registry, byte by byte.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use airlift_spec::Digest;
use airlift_testkit::tools::Runner;

use crate::sides::{Image, Side, digests, found};

/// skopeo, crane and oras, each pulling in its own way.
#[derive(Debug)]
pub(crate) struct Clients {
    skopeo: PathBuf,
    crane: PathBuf,
    oras: PathBuf,
    runner: Runner,
}

impl Clients {
    /// None, after saying so, where one of them is missing.
    pub(crate) fn new() -> Option<Self> {
        let (skopeo, crane, oras) = (found("skopeo")?, found("crane")?, found("oras")?);
        Some(Self { skopeo, crane, oras, runner: Runner::new().unwrap() })
    }

    /// Pulls each of `images` from `host` with each client, and compares every digest.
    pub(crate) fn pull_everything(&self, side: &Side, host: &str, images: &[Image]) {
        let pull = || images.iter().for_each(|image| self.pull(host, image));
        side.namespace.enter(pull).unwrap();
    }

    fn pull(&self, host: &str, image: &Image) {
        let name = format!("{host}/{}", image.name());
        let asked = self.runner.succeed(&self.crane, ["--insecure", "digest", &name]);
        assert_eq!(asked.trim(), image.pulled.root.digest.to_string(), "{name}");
        let pulled = digests(&image.pulled);
        assert_eq!(self.by_skopeo(&name), pulled, "skopeo, {name}");
        assert_eq!(self.by_crane(&name), pulled, "crane, {name}");
        self.pull_what_is_said(host, image);
    }

    fn by_skopeo(&self, name: &str) -> BTreeSet<Digest> {
        let folder = self.folder();
        let (from, to) = (format!("docker://{name}"), format!("dir:{}", folder.path().display()));
        let copy = ["--insecure-policy", "copy", "--all", "--preserve-digests"];
        let args = copy.into_iter().chain(["--src-tls-verify=false", &from, &to]);
        self.runner.succeed(&self.skopeo, args);
        files(folder.path()).iter().filter(|path| !path.ends_with("version")).map(hash).collect()
    }

    fn by_crane(&self, name: &str) -> BTreeSet<Digest> {
        let folder = self.folder();
        let to = folder.path().display().to_string();
        self.runner.succeed(&self.crane, ["--insecure", "pull", "--format=oci", name, &to]);
        files(&folder.path().join("blobs/sha256")).iter().map(hash).collect()
    }

    /// Signatures and SBOMs: those found by subject, and those under cosign's tags.
    fn pull_what_is_said(&self, host: &str, image: &Image) {
        let mut got = BTreeSet::new();
        for tag in image.whole.tags.keys().map(String::as_str).chain([image.tag]) {
            let folder = self.folder();
            let from = format!("{host}/{}:{tag}", image.repository);
            let to = format!("{}:{tag}", folder.path().display());
            let args = ["cp", "-r", "--from-plain-http", &from, "--to-oci-layout", &to];
            self.runner.succeed(&self.oras, args);
            got.extend(files(&folder.path().join("blobs/sha256")).iter().map(hash));
        }
        let expected = digests(&image.whole);
        let lost: Vec<&Digest> = expected.difference(&got).collect();
        assert!(lost.is_empty(), "oras, {}: without {lost:?}", image.name());
    }

    fn folder(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(self.runner.home()).unwrap()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn hash(path: &PathBuf) -> Digest {
    Digest::of(&fs_err::read(path).unwrap())
}
