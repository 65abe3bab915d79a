//! Where things lie in the working folder.

use std::path::{Path, PathBuf};

use airlift_spec::Digest;

use crate::mapping::release_tag;
use crate::name::{ImageName, digest_tag};
use crate::pin::Pinned;
use crate::release::graph_answer;

const NAME: &str = "working-dir";

/// The folder `working-dir`, by its path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace(PathBuf);

impl Workspace {
    /// The one in `root`.
    pub fn below(root: &Path) -> Self {
        Self(root.join(NAME))
    }

    /// `path`, if it is one by its name, or else the one in it.
    pub fn at(path: &Path) -> Self {
        if path.file_name().is_some_and(|name| name == NAME) {
            Self(path.to_owned())
        } else {
            Self::below(path)
        }
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    /// What the cluster is to be given by the set that was mirrored last.
    pub fn cluster_resources(&self) -> PathBuf {
        self.0.join("cluster-resources")
    }

    /// Made anew by every dry run.
    pub fn dry_run(&self) -> PathBuf {
        self.0.join("dry-run")
    }

    pub fn mapping(&self) -> PathBuf {
        self.dry_run().join("mapping.txt")
    }

    pub fn missing(&self) -> PathBuf {
        self.dry_run().join("missing.txt")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// `time` as `YYYYMMDD_HHMMSS`.
    pub fn errors(&self, time: &str) -> PathBuf {
        self.logs().join(format!("mirroring_errors_{time}.txt"))
    }

    /// The list of what to delete.
    pub fn delete_images(&self, id: Option<&str>) -> PathBuf {
        self.0.join("delete").join(with_id("delete-images", id))
    }

    /// The configuration that the list was made of.
    pub fn delete_config(&self, id: Option<&str>) -> PathBuf {
        self.0.join("delete").join(with_id("delete-imageset-config", id))
    }

    /// The configuration with its catalogs pinned.
    pub fn pinned_config(&self, pinned: &Pinned) -> PathBuf {
        self.0.join(format!("isc_pinned_{}.yaml", pinned.id()))
    }

    /// The configuration that deletes what that one mirrors.
    pub fn pinned_delete_config(&self, pinned: &Pinned) -> PathBuf {
        self.0.join(format!("disc_pinned_{}.yaml", pinned.id()))
    }

    pub fn charts(&self) -> PathBuf {
        self.0.join("helm/charts")
    }

    pub fn chart_indexes(&self) -> PathBuf {
        self.0.join("helm/indexes")
    }

    /// What the update service said.
    pub fn graphs(&self) -> PathBuf {
        self.0.join("hold-release/cincinnati-graph-data")
    }

    /// What it said about a channel.
    pub fn graph(&self, architecture: &str, channel: &str) -> PathBuf {
        self.graphs().join(graph_answer(architecture, channel))
    }

    /// The manifests of a release.
    pub fn release_manifests(&self, release: &ImageName) -> PathBuf {
        let folder = self.0.join("hold-release").join(release.base());
        folder.join(release_tag(release)).join("release-manifests")
    }

    pub fn signatures(&self) -> PathBuf {
        self.0.join("signatures")
    }

    /// The signature of the release that `tag` names.
    pub fn signature(&self, tag: &str, release: Digest) -> PathBuf {
        self.signatures().join(format!("{tag}-{}", digest_tag(release)))
    }

    pub fn graph_preparation(&self) -> PathBuf {
        self.0.join("graph-preparation")
    }

    pub fn version(&self) -> PathBuf {
        self.0.join("internal/oc-mirror-version.json")
    }
}

fn with_id(name: &str, id: Option<&str>) -> String {
    match id {
        Some(id) if !id.is_empty() => format!("{name}-{id}.yaml"),
        _ => format!("{name}.yaml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_working_folder_is_not_put_into_itself() {
        assert_eq!(Workspace::at(Path::new("/a")).root(), Path::new("/a/working-dir"));
        assert_eq!(Workspace::at(Path::new("/a/working-dir/")).root(), Path::new("/a/working-dir"));
        assert_eq!(
            Workspace::below(Path::new("/working-dir")).root(),
            Path::new("/working-dir/working-dir")
        );
    }

    #[test]
    fn files_lie_where_the_peer_has_them() {
        let workspace = Workspace::below(Path::new("/a"));
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let release = ImageName::parse("quay.io/o/ocp-release:4.18.1-x86_64").unwrap();
        let paths = [
            workspace.mapping(),
            workspace.delete_images(Some("x")),
            workspace.delete_config(None),
            workspace.graph("amd64", "stable-4.18"),
            workspace.release_manifests(&release),
            workspace.signature("4.18.1-x86_64", digest),
        ];
        let within = paths
            .map(|path| path.strip_prefix("/a/working-dir").unwrap().to_str().unwrap().to_owned());
        assert_eq!(
            within,
            [
                "dry-run/mapping.txt",
                "delete/delete-images-x.yaml",
                "delete/delete-imageset-config.yaml",
                "hold-release/cincinnati-graph-data/amd64-stable-4.18.json",
                "hold-release/ocp-release/4.18.1-x86_64/release-manifests",
                &format!("signatures/4.18.1-x86_64-sha256-{}", "a".repeat(64)),
            ]
        );
    }
}
