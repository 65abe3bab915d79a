//! One machine for fault tests: an upstream that can be made to fail, and a world with a stack that wants all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use airlift_spec::Digest;
use airlift_testkit::openshift::{Published, Signer, graph, graph_data};
use airlift_testkit::samples::{self, Sample};
use airlift_testkit::sources;
use airlift_testkit::tools::Ran;
use airlift_testkit::world::Running;
use airlift_testkit::{FakeRegistry, World};
use serde_json::Value;

/// An upstream with one image under `team/app:1`, and a world whose lock pins it.
pub(crate) struct Plant {
    pub(crate) upstream: FakeRegistry,
    pub(crate) world: World,
    pub(crate) image: Sample,
}

impl Plant {
    pub(crate) fn new(layer_bytes: &[usize]) -> Self {
        Self::with(samples::image(1, layer_bytes))
    }

    pub(crate) fn with(image: Sample) -> Self {
        let upstream = FakeRegistry::start();
        upstream.put("team/app", "1", &image);
        let world = World::new(env!("CARGO_BIN_EXE_airlift")).unwrap();
        world.write_stack("plant", &[&upstream.reference("team/app", "1")]).unwrap();
        let plant = Self { upstream, world, image };
        plant.airlift(0, &["resolve"]);
        plant.trust_own_key();
        plant.upstream.forget_requests();
        plant
    }

    /// One with an image set in `isc.yaml`: an operator, an index, and `image` as one more.
    pub(crate) fn of_image_set(image: Sample) -> Self {
        let upstream = FakeRegistry::start();
        sources::publish_images(&upstream);
        sources::publish_catalog(&upstream);
        upstream.put("team/large", "1", &image);
        let world = World::new(env!("CARGO_BIN_EXE_airlift")).unwrap();
        let large = format!("  - name: {}\n", upstream.reference("team/large", "1"));
        world.write("isc.yaml", sources::image_set(&upstream.host()) + &large).unwrap();
        let plant = Self { upstream, world, image };
        plant.trust_own_key();
        plant
    }

    /// One whose stack has a source of every kind, and who signs its releases.
    pub(crate) fn of_sources(published: Published, programs: &[PathBuf; 3]) -> (Self, Signer) {
        let Published { registry, signer, nodes, mut world, .. } = published;
        let host = registry.host();
        sources::publish_images(&registry);
        sources::publish_catalog(&registry);
        sources::publish_charts(&registry);
        for (seed, name) in [(31, "base"), (32, "crds"), (33, "objects")] {
            let image = format!("kube/{name}");
            registry.put(&image, "1", &samples::image(seed, &[40_000]));
            let pod = sources::pod(&registry.reference(&image, "1"))
                .replace("name: app", &format!("name: {name}"));
            registry.put_file(&format!("/{name}.yaml"), pod.clone());
            world.write(&format!("repo/base/{name}.yaml"), pod).unwrap();
        }
        world.write("repo/base/kustomization.yaml", "resources: [base.yaml]\n").unwrap();
        let repository = world.path().join("repo");
        sources::commit_all(&programs[0], &repository);
        let base = format!("file://{}//base?ref=main", repository.display());
        let deploy = format!("resources: ['{base}', 'http://{host}/crds.yaml']\n");
        world.write("deploy/kustomization.yaml", deploy).unwrap();
        world.write("graphs/amd64-stable-4.20.json", graph(&nodes)).unwrap();
        world.write("graphs/graph-data.tar.gz", graph_data()).unwrap();
        let graphs = format!("file://{}", world.path().join("graphs").display());
        world.set("UPDATE_URL_OVERRIDE", &graphs);
        let folders = programs.iter().map(|it| it.parent().unwrap());
        world.set("PATH", std::env::join_paths(folders).unwrap().to_str().unwrap());
        let stack = format!(
            "version: 1\nname: plant\nsources:\n- manifests: ./deploy\n- manifests: http://{host}/objects.yaml\n- {{chart: app, repository: 'http://{host}/charts'}}\n- {{openshift: stable-4.20, graph: true}}\n- {{catalog: '{host}/ops/index:v4.20', packages: [{{name: app}}]}}\n"
        );
        world.write("airlift.yaml", stack).unwrap();
        let image = samples::image(31, &[40_000]);
        let plant = Self { upstream: registry, world, image };
        plant.trust_own_key();
        (plant, signer)
    }

    fn trust_own_key(&self) {
        self.airlift(0, &["keygen"]);
        let config = self.world.home().join("config/airlift");
        fs_err::create_dir_all(config.join("trust")).unwrap();
        fs_err::copy(config.join("signing.pub"), config.join("trust/own.pub")).unwrap();
    }

    /// The same with all of it fetched.
    pub(crate) fn fetched(layer_bytes: &[usize]) -> Self {
        let plant = Self::new(layer_bytes);
        plant.airlift(0, &["fetch"]);
        plant
    }

    /// The same with a bundle of it in `out`.
    pub(crate) fn bundled(layer_bytes: &[usize], volume_size: &str) -> Self {
        let plant = Self::fetched(layer_bytes);
        plant.airlift(0, &create("out", volume_size));
        plant
    }

    /// Runs airlift to its end and returns its one document.
    pub(crate) fn airlift(&self, exit: i32, args: &[&str]) -> Value {
        let args = ["--output", "json"].iter().chain(args);
        let ran = self.world.run(args).unwrap();
        assert_eq!(ran.code, Some(exit), "{ran}");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|err| panic!("{err}\n{ran}"))
    }

    /// Starts airlift with its events on stderr.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.world.spawn(["--progress", "json"].iter().chain(args)).unwrap()
    }

    /// Airlift with its events on stderr, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.world.command(["--progress", "json"].iter().chain(args))
    }

    /// Kills airlift with no warning once `is_there` holds; the run must not have ended before.
    pub(crate) fn kill_when(&self, args: &[&str], is_there: impl FnMut(&Running) -> bool) -> Ran {
        let mut running = self.start(args);
        assert!(running.wait_until(is_there).unwrap(), "ended too early:\n{}", running.stderr());
        let ran = running.kill().unwrap();
        assert_eq!(ran.code, None, "the run was over before it was killed:\n{ran}");
        ran
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.world.path().join(name).display().to_string()
    }
}

/// A plant whose stack has a source of every kind, and who signs its releases. None where a program is missing.
macro_rules! plant_of_sources {
    () => {{
        let programs = [
            airlift_testkit::need!("git"),
            airlift_testkit::need!("kustomize"),
            airlift_testkit::need!("helm"),
        ];
        let Some(published) =
            airlift_testkit::openshift::Published::new(env!("CARGO_BIN_EXE_airlift"))
        else {
            return;
        };
        $crate::plant::Plant::of_sources(published, &programs)
    }};
}

pub(crate) use plant_of_sources;

pub(crate) fn create<'a>(to: &'a str, volume_size: &'a str) -> [&'a str; 7] {
    ["bundle", "create", "--to", to, "--volume-size", volume_size, "--no-binary"]
}

/// What events of this name say under `key`, in their order. A line that is being written is left out.
pub(crate) fn said(stderr: &str, event: &str, key: &str) -> Vec<String> {
    let events = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = events.filter(|line| line["event"] == event);
    events.map(|line| line[key].as_str().unwrap_or_default().to_owned()).collect()
}

/// How often each blob was asked for.
pub(crate) fn blob_requests(registry: &FakeRegistry) -> BTreeMap<Digest, usize> {
    let mut requests = BTreeMap::new();
    for request in registry.requests().iter().filter(|request| request.method == "GET") {
        if let Some((_, digest)) = request.path.split_once("/blobs/") {
            *requests.entry(digest.parse().unwrap()).or_default() += 1;
        }
    }
    requests
}

/// The blobs of a store, each hashed.
pub(crate) fn stored_blobs(store: &Path) -> BTreeSet<Digest> {
    let files = fs_err::read_dir(store.join("blobs/sha256")).unwrap();
    let hash = |path: PathBuf| {
        let digest = Digest::of(&fs_err::read(&path).unwrap());
        assert!(path.ends_with(digest.hex()), "{} has the digest {digest}", path.display());
        digest
    };
    files.map(|entry| hash(entry.unwrap().path())).collect()
}

/// Every file below a folder by its path there, but for those that a kill left under a name that is only theirs.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let (path, name) = entry.map(|it| (it.path(), it.file_name())).unwrap();
        let name = name.to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(
                self::files(&path).into_iter().map(|(below, it)| (name.clone() + "/" + &below, it)),
            );
        } else if !name.starts_with(".airlift-") {
            files.insert(name, fs_err::read(&path).unwrap());
        }
    }
    files
}
