//! Releases of OpenShift, as they are published: an image, a graph that names it, and what signs it.

use std::path::{Path, PathBuf};

use airlift_spec::Digest;
use serde_json::json;

use crate::samples::{self, File, Image, Layer, Sample};
use crate::tools::{Runner, skip, tool};
use crate::{FakeRegistry, World};

/// An image that says it is a release with these components, and with this machine for `KubeVirt`.
pub fn release(version: &str, components: &[(&str, String)], machine: Option<&str>) -> Sample {
    let tags: Vec<_> = components
        .iter()
        .map(|(name, image)| json!({"name": name, "from": {"kind": "DockerImage", "name": image}}))
        .collect();
    let references = json!({
        "kind": "ImageStream", "apiVersion": "image.openshift.io/v1",
        "metadata": {"name": version}, "spec": {"tags": tags},
    });
    let mut files = vec![
        File::new("release-manifests/image-references", references.to_string()),
        File::new("release-manifests/0000_10_other.yaml", "kind: ConfigMap\n"),
    ];
    if let Some(machine) = machine {
        let stream =
            json!({"architectures": {"x86_64": {"images": {"kubevirt": {"digest-ref": machine}}}}});
        let map = json!({"kind": "ConfigMap", "data": {"stream": stream.to_string()}});
        let name = "release-manifests/0000_50_installer_coreos-bootimages.yaml";
        files.push(File::new(name, map.to_string()));
    }
    // As those that are published: what runs first, what says what it is made of last.
    let layers = vec![Layer::noise(70, 4000), Layer::gzip(&files)];
    Image { layers, ..Image::default() }.build()
}

/// What the update service says of a channel with these releases, each of which leads to the next one.
pub fn graph(releases: &[(&str, String)]) -> String {
    let node = |(version, image): &(&str, String)| json!({"version": version, "payload": image, "metadata": {}});
    let nodes: Vec<_> = releases.iter().map(node).collect();
    let edges: Vec<_> = (1..releases.len()).map(|to| [to - 1, to]).collect();
    json!({"version": 1, "nodes": nodes, "edges": edges, "conditionalEdges": []}).to_string()
}

/// Somebody who signs releases, by a real `gpg` with a key of its own.
#[derive(Debug)]
pub struct Signer {
    gpg: PathBuf,
    runner: Runner,
}

impl Signer {
    /// Makes a key of `algorithm`, such as `rsa2048`.
    ///
    /// # Panics
    ///
    /// If `gpg` is no such program.
    pub fn new(gpg: &Path, algorithm: &str) -> Self {
        let signer = Self { gpg: gpg.to_owned(), runner: Runner::new().expect("there is room") };
        signer.gpg(&[
            "--quick-gen-key",
            "signer <signer@example.invalid>",
            algorithm,
            "sign",
            "never",
        ]);
        signer
    }

    /// The public key, armored, in a file that lives as long as this.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn key(&self) -> PathBuf {
        let path = self.runner.home().join("key.asc");
        self.gpg(&["--armor", "--yes", "--output", &path.display().to_string(), "--export"]);
        path
    }

    /// Revokes the key, by what `gpg` wrote for the day when that is needed.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn revoke(&self) {
        let folder = self.runner.home().join(".gnupg/openpgp-revocs.d");
        let mut files = fs_err::read_dir(folder).expect("gpg made it");
        let file = files.next().expect("there is a key").expect("it can be listed").path();
        let text = fs_err::read_to_string(&file).expect("it can be read");
        // A colon keeps people from doing this by mistake.
        fs_err::write(&file, text.replace(":-----BEGIN", "-----BEGIN")).expect("it can be written");
        self.gpg(&["--import", &file.display().to_string()]);
    }

    /// What signs `release` under `name`.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn sign(&self, release: &Digest, name: &str) -> Vec<u8> {
        let text = json!({
            "critical": {
                "image": {"docker-manifest-digest": release},
                "type": "atomic container signature",
                "identity": {"docker-reference": name},
            },
            "optional": {"creator": "a test"},
        });
        self.sign_text(&text.to_string())
    }

    /// A message that says `text`, signed.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn sign_text(&self, text: &str) -> Vec<u8> {
        let (input, output) = (self.runner.home().join("text"), self.runner.home().join("message"));
        fs_err::write(&input, text).expect("the home can be written to");
        let (from, to) = (input.display().to_string(), output.display().to_string());
        self.gpg(&["--yes", "--output", &to, "--sign", &from]);
        fs_err::read(output).expect("gpg wrote it")
    }

    /// Signs `release`, and puts that where `registry` has signatures below `/signatures`.
    pub fn publish(&self, registry: &FakeRegistry, release: &Digest, name: &str) {
        let place = release.to_string().replace(':', "=");
        registry.put_file(&format!("/signatures/{place}/signature-1"), self.sign(release, name));
    }

    fn gpg(&self, args: &[&str]) {
        let asks_nobody = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
        let ran = self.runner.run(&self.gpg, asks_nobody.iter().chain(args)).expect("it runs");
        assert!(ran.is_success(), "{ran}");
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // The agent would outlive the test. That it is gone already is no matter.
        let _ = self.runner.run("gpgconf", ["--kill", "gpg-agent"]);
    }
}

/// A registry that has two releases of one channel, what signs them, and the base of the graph image, and a world that
/// looks for them there.
#[derive(Debug)]
pub struct Published {
    pub registry: FakeRegistry,
    pub signer: Signer,
    pub newest: Digest,
    /// The releases with their images, as a graph names them.
    pub nodes: Vec<(&'static str, String)>,
    pub world: World,
}

impl Published {
    /// None, after saying so loudly, where there is no `gpg`.
    ///
    /// # Panics
    ///
    /// If there is no room.
    pub fn new(program: &str) -> Option<Self> {
        let Some(gpg) = tool("gpg") else {
            skip("needs gpg");
            return None;
        };
        let (registry, signer) = (FakeRegistry::start(), Signer::new(&gpg, "rsa2048"));
        let host = registry.host();
        let part = |seed: u64| {
            let image = samples::image(seed, &[500]);
            registry.put_untagged("dev/art", &image);
            format!("{host}/dev/art@{}", image.root.digest)
        };
        let (cli, etcd, machine) = (part(1), part(2), part(3));
        let mut nodes = Vec::new();
        let mut newest = None;
        for (version, etcd) in [("4.20.1", part(4)), ("4.20.2", etcd)] {
            let parts = [("cli", cli.clone()), ("etcd", etcd)];
            let image = release(version, &parts, Some(&machine));
            registry.put_untagged("dev/release", &image);
            let digest = image.root.digest;
            signer.publish(&registry, &digest, &format!("{host}/dev/release:{version}-x86_64"));
            nodes.push((version, format!("{host}/dev/release@{digest}")));
            newest = Some(digest);
        }
        registry.put_file("/v1/graph?arch=amd64&channel=stable-4.20", graph(&nodes));
        registry.put_file("/graph-data", graph_data());
        registry.put(
            "ubi9/ubi",
            "latest",
            &samples::index(9, &["linux/amd64", "linux/arm64"], 900),
        );
        let mut world = World::new(program).expect("there is room");
        world.set("UPDATE_URL_OVERRIDE", &format!("http://{host}/v1/graph"));
        world.set("OCP_SIGNATURE_URL", &format!("http://{host}/signatures/"));
        world.set("OCP_SIGNATURE_VERIFICATION_PK", &signer.key().display().to_string());
        let config = format!("[upstreams]\n\"registry.access.redhat.com\" = \"{host}\"\n");
        fs_err::create_dir_all(world.home().join("config/airlift")).expect("there is room");
        fs_err::write(world.home().join("config/airlift/config.toml"), config)
            .expect("there is room");
        Some(Self { registry, signer, newest: newest?, nodes, world })
    }

    /// Writes `isc.yaml` with this `platform:`.
    ///
    /// # Panics
    ///
    /// If there is no room.
    pub fn write_set(&self, platform: &str) {
        let text = format!(
            "kind: ImageSetConfiguration\napiVersion: mirror.openshift.io/v2alpha1\nmirror:\n  platform:\n{platform}"
        );
        self.world.write("isc.yaml", text).expect("there is room");
    }
}

/// The data of all graphs, as it is published.
pub fn graph_data() -> Vec<u8> {
    let files = [
        File::new("version", "1.2.0\n"),
        File::new("channels/stable-4.20.yaml", "name: stable-4.20\n"),
    ];
    samples::gzip(&samples::tar(&files))
}
