use std::path::Path;

use airlift_helm::{Chart, Helm};
use airlift_spec::Ctx;
use tempfile::TempDir;

/// Helm, or the test says `SKIPPED` and returns.
macro_rules! helm {
    () => {{
        let program = airlift_testkit::need!("helm");
        let found = airlift_helm::Helm::find(Some(&program), "".as_ref(), &Default::default());
        found.unwrap()
    }};
}
pub(crate) use helm;

pub(crate) fn find(program: &Path) -> Result<Helm, airlift_helm::RenderError> {
    Helm::find(Some(program), "".as_ref(), &Ctx::default())
}

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    folder
}

/// A chart of these files, `Chart.yaml` added.
pub(crate) fn chart(files: &[(&str, &str)]) -> Chart {
    let mut all =
        vec![("Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.2.3\nappVersion: '4.5'\n")];
    all.extend(files);
    Chart::open(folder(&all).path()).unwrap()
}
