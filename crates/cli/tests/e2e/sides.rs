//! The two sides of an air gap: a namespace each, and a world for the commands there.

use std::path::{Path, PathBuf};

use airlift_spec::Digest;
use airlift_testkit::World;
use airlift_testkit::netns::Namespace;
use airlift_testkit::real::{RealOptions, RealRegistry};
use airlift_testkit::samples::{self, Sample};
use airlift_testkit::tools::{Runner, skip, tool};
use serde_json::Value;

/// Small enough that the platform takes several, and that one layer does not fit into any.
pub(crate) const VOLUME_SIZE: &str = "1MiB";
const LARGE_LAYER_BYTES: usize = 5 << 19;

/// An image as it stands in the stack.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) repository: &'static str,
    pub(crate) tag: &'static str,
    /// What somebody gets who pulls the tag.
    pub(crate) pulled: Sample,
    /// That, and what is said about it.
    pub(crate) whole: Sample,
}

impl Image {
    fn new(repository: &'static str, tag: &'static str, sample: Sample) -> Self {
        Self { repository, tag, pulled: sample.clone(), whole: sample }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// The image that [`runtimes`](crate::runtimes) run.
pub(crate) const RUNNABLE: &str = "quay.io/platform/hello:1";

/// One of each kind that carriers have stumbled over.
pub(crate) fn platform() -> Vec<Image> {
    let both = ["linux/amd64", "linux/arm64"];
    let [gateway, worker] = samples::sharing_layers(2, 2, 400_000, 30_000).try_into().unwrap();
    let plain = samples::image(3, &[20_000, 900]);
    let signed = samples::cosigned(&samples::signed(&plain));
    vec![
        Image::new("quay.io/platform/runtime", "1.0", samples::index(1, &both, 60_000)),
        Image::new("quay.io/platform/gateway", "2.1", gateway),
        Image::new("quay.io/platform/worker", "2.1", worker),
        Image { whole: signed, ..Image::new("quay.io/platform/signed", "1", plain) },
        Image::new("docker.io/library/legacy", "7", samples::docker_list(4, &both, 10_000)),
        Image::new("quay.io/platform/model", "7b", samples::image(5, &[LARGE_LAYER_BYTES, 100])),
        Image::new("quay.io/platform/hello", "1", samples::runnable_here(50_000)),
    ]
}

/// A month later: the worker has a new layer on the old one, and nothing else has moved.
pub(crate) fn next_month() -> Vec<Image> {
    let [_, _, worker] = samples::sharing_layers(2, 3, 400_000, 30_000).try_into().unwrap();
    let mut images = platform();
    let newer = Image::new("quay.io/platform/worker", "2.2", worker);
    let place = images.iter().position(|image| image.repository == newer.repository).unwrap();
    images[place] = newer;
    images
}

/// One side: what happens in `namespace` happens in `world`.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) namespace: Namespace,
    pub(crate) world: World,
}

impl Side {
    /// None, after saying so, where this machine permits no namespaces.
    pub(crate) fn new(label: &str) -> Option<Self> {
        let namespace = Namespace::new(label).unwrap()?;
        let world = World::new(env!("CARGO_BIN_EXE_airlift")).unwrap();
        Some(Self { namespace, world })
    }

    pub(crate) fn registry(&self, program: &Path) -> RealRegistry {
        let start = || RealRegistry::start(program, &RealOptions::default());
        self.namespace.enter(start).unwrap().unwrap()
    }

    /// Runs airlift to its end and returns its one document.
    pub(crate) fn airlift(&self, exit: i32, args: &[&str]) -> Value {
        let args = ["--output", "json"].iter().chain(args);
        let ran = self.namespace.enter(|| self.world.run(args)).unwrap().unwrap();
        assert_eq!(ran.code, Some(exit), "{ran}");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|err| panic!("{err}\n{ran}"))
    }

    pub(crate) fn assert_sealed(&self) {
        assert_eq!(self.namespace.leaked_packets().unwrap(), 0, "{}", self.namespace.name());
    }
}

/// The near side: a registry that plays `quay.io` and `docker.io`, and a signing key.
#[derive(Debug)]
pub(crate) struct Near {
    pub(crate) side: Side,
    upstream: RealRegistry,
    runner: Runner,
    oras: PathBuf,
}

impl Near {
    pub(crate) fn new(side: Side, registry: &Path, oras: PathBuf) -> Self {
        let upstream = side.registry(registry);
        let host = upstream.host();
        let stands_in = |prefix: &str| {
            format!(
                "[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{host}/{prefix}\"\ninsecure = true\n"
            )
        };
        let config = side.world.home().join("config/containers");
        fs_err::create_dir_all(&config).unwrap();
        let text = ["quay.io", "docker.io"].map(stands_in).concat();
        fs_err::write(config.join("registries.conf"), text).unwrap();
        side.airlift(0, &["keygen"]);
        Self { side, upstream, runner: Runner::new().unwrap(), oras }
    }

    /// Publishes `images` upstream, with their signatures, and writes the stack that wants them.
    pub(crate) fn publish(&self, images: &[Image]) {
        for image in images {
            let layout = tempfile::tempdir_in(self.runner.home()).unwrap();
            image.whole.write_layout(layout.path(), image.tag).unwrap();
            for tag in image.whole.tags.keys().map(String::as_str).chain([image.tag]) {
                let from = format!("{}:{tag}", layout.path().display());
                let to = format!("{}/{}:{tag}", self.upstream.host(), image.repository);
                let args = ["cp", "-r", "--from-oci-layout", &from, "--to-plain-http", &to];
                self.side.namespace.enter(|| self.runner.succeed(&self.oras, args)).unwrap();
            }
        }
        let names: Vec<String> = images.iter().map(Image::name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.side.world.write_stack("platform", &names).unwrap();
    }

    /// The public key, as somebody copies it by hand.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        fs_err::read(self.side.world.home().join("config/airlift/signing.pub")).unwrap()
    }
}

/// The far side: a registry, and trust in one key.
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) side: Side,
}

impl Far {
    pub(crate) fn trusting(side: Side, key: &[u8]) -> Self {
        let trust = side.world.home().join("config/airlift/trust");
        fs_err::create_dir_all(&trust).unwrap();
        fs_err::write(trust.join("near.pub"), key).unwrap();
        Self { side }
    }

    /// Carries a folder of volumes across: the only thing that crosses.
    pub(crate) fn receive(&self, near: &Near, folder: &str) {
        copy_folder(&near.side.world.path().join(folder), &self.side.world.path().join(folder));
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs_err::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The digests of all blobs that a bundle's table names, but for its own documents.
pub(crate) fn blobs_in(folder: &Path, name: &str) -> std::collections::BTreeSet<Digest> {
    let table = fs_err::read_to_string(folder.join(format!("{name}.blobs"))).unwrap();
    let members = table.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let blobs = members.filter(|member| member["name"].is_null());
    blobs.map(|member| member["digest"].as_str().unwrap().parse().unwrap()).collect()
}

/// Every digest of `sample`.
pub(crate) fn digests(sample: &Sample) -> std::collections::BTreeSet<Digest> {
    let manifests = sample.manifests.iter().map(|manifest| manifest.digest);
    sample.blobs.keys().copied().chain(manifests).collect()
}

/// Both sides, or none where a part is missing.
pub(crate) fn both_sides() -> Option<(Near, Side)> {
    let (outside, oras) = (found("registry")?, found("oras")?);
    let (near, far) = (Side::new("outside")?, Side::new("inside")?);
    Some((Near::new(near, &outside, oras), far))
}

/// The path of a tool; none, after saying so, where it is missing.
pub(crate) fn found(name: &str) -> Option<PathBuf> {
    let path = tool(name);
    if path.is_none() {
        skip(&format!("needs {name}"));
    }
    path
}
