//! What stacks name besides images: a catalog of operators, a repository of charts, a Git repository.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::FakeRegistry;
use crate::samples::{self, File, Image, Layer};

const ROOT_LABEL: &str = "operators.operatorframework.io.index.configs.v1";

/// Publishes `team/app:v1`, an image, and `team/multi:v2`, an index, which share nothing.
pub fn publish_images(registry: &FakeRegistry) {
    registry.put("team/app", "v1", &samples::image(1, &[10_000, 200]));
    let platforms = ["linux/amd64", "linux/arm64"];
    registry.put("team/multi", "v2", &samples::index(2, &platforms, 3_000));
}

/// Publishes the catalog `ops/index:v4.20`, whose package `app` needs `team/app:v1`.
pub fn publish_catalog(registry: &FakeRegistry) {
    let host = registry.host();
    let text = format!(
        "---\nschema: olm.package\nname: app\ndefaultChannel: stable\n---\nschema: olm.channel\npackage: app\nname: stable\nentries:\n- name: app.v1.0.0\n---\nschema: olm.bundle\npackage: app\nname: app.v1.0.0\nimage: {host}/ops/app-bundle:v1\nproperties:\n- type: olm.package\n  value: {{packageName: app, version: 1.0.0}}\nrelatedImages:\n- {{name: app, image: '{host}/team/app:v1'}}\n"
    );
    let file = File::new("configs/app/catalog.yaml", text);
    let image = Image {
        layers: vec![Layer::gzip(&[file])],
        labels: [(ROOT_LABEL.to_owned(), "/configs".to_owned())].into(),
        ..Image::default()
    };
    registry.put("ops/index", "v4.20", &image.build());
    registry.put("ops/app-bundle", "v1", &samples::image(9, &[1000]));
}

/// An image set of the operator of [`publish_catalog`] and one image of [`publish_images`] more.
pub fn image_set(host: &str) -> String {
    format!(
        "kind: ImageSetConfiguration\napiVersion: mirror.openshift.io/v2alpha1\nmirror:\n  operators:\n  - catalog: {host}/ops/index:v4.20\n    packages: [{{name: app}}]\n  additionalImages:\n  - name: {host}/team/multi:v2\n"
    )
}

/// Publishes two versions of the chart `app` below `/charts`, each with an image of its own.
pub fn publish_charts(registry: &FakeRegistry) {
    let host = registry.host();
    let mut index = "apiVersion: v1\nentries:\n  app:\n".to_owned();
    for version in ["1.0.0", "1.1.0"] {
        let files = [
            File::new("app/Chart.yaml", format!("apiVersion: v2\nname: app\nversion: {version}\n")),
            File::new("app/templates/app.yaml", pod(&format!("{host}/ai/app:{version}"))),
        ];
        registry.put_file(&format!("/charts/app-{version}.tgz"), Layer::gzip(&files).bytes);
        registry.put("ai/app", version, &samples::image(9, &[900]));
        writeln!(index, "  - {{name: app, version: {version}, urls: [app-{version}.tgz]}}")
            .expect("a text takes all");
    }
    registry.put_file("/charts/index.yaml", index);
}

/// An object that asks for `image`.
pub fn pod(image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: app}}\nspec: {{containers: [{{name: a, image: '{image}'}}]}}\n"
    )
}

/// Makes a Git repository of `folder`, with all that is in it as one commit.
///
/// # Panics
///
/// If `git` is no such program.
pub fn commit_all(git: &Path, folder: &Path) {
    for args in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["-c", "user.name=a", "-c", "user.email=a@b.test", "commit", "--quiet", "--message=m"],
    ] {
        let mut command = Command::new(git);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let done = command.args(args).current_dir(folder).output().expect("it runs");
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
