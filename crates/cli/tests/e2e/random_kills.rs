//! Every verb is killed at random moments of its life, and run again: the same result as if nothing had happened,
//! and nothing that was safe is brought a second time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use airlift_spec::Digest;
use airlift_testkit::registry::{Auth, Credentials, FakeOptions, FakeRegistry};
use airlift_testkit::world::Running;
use airlift_testkit::{World, samples};

use crate::dice::Life;
use crate::plant::{Plant, blob_requests, create, files, said, stored_blobs};
use crate::sides::digests;

/// Two platforms, a signature and an SBOM: blobs and manifests of every kind.
fn plant() -> Plant {
    let both = ["linux/amd64", "linux/arm64"];
    Plant::with(samples::signed(&samples::index(1, &both, 200_000)))
}

fn fetched() -> Plant {
    let plant = plant();
    plant.airlift(0, &["fetch"]);
    plant
}

fn bundled() -> Plant {
    let plant = fetched();
    plant.airlift(0, &create("out", "128KiB"));
    plant
}

/// What is complete in a store, as far as there is one.
pub(crate) fn there(store: &Path) -> BTreeSet<Digest> {
    if store.join("blobs/sha256").is_dir() { stored_blobs(store) } else { BTreeSet::new() }
}

/// Everything in a store that other runs and other tools see.
fn visible(store: &Path) -> (BTreeSet<Digest>, BTreeMap<String, Vec<u8>>, Vec<u8>) {
    let index = fs_err::read(store.join("index.json")).unwrap();
    (stored_blobs(store), files_of(&store.join("roots")), index)
}

/// The files of a folder, without folders in it.
fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let entries = entries.filter(|entry| entry.path().is_file());
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs_err::read(entry.path()).unwrap())
        })
        .collect()
}

/// What a run left in a folder, which need not be there.
pub(crate) fn left(plant: &Plant, case: &str, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = plant.at(case, folder);
    if folder.is_dir() { files(&folder) } else { BTreeMap::new() }
}

/// Each file that a kill left under its own name is the one of the whole run.
pub(crate) fn nothing_is_half(
    killed: &BTreeMap<String, Vec<u8>>,
    whole: &BTreeMap<String, Vec<u8>>,
) {
    for (name, bytes) in killed.iter().filter(|(name, _)| !name.ends_with(".partial")) {
        assert!(whole.get(name) == Some(bytes), "`{name}` is half, or of no whole run");
    }
}

/// Nothing that the store had is asked for again.
pub(crate) fn nothing_came_twice(plant: &Plant, there: &BTreeSet<Digest>) {
    let upstream = &plant.upstream;
    let again = blob_requests(upstream);
    for digest in there {
        let manifests = upstream.count("GET", &format!("/manifests/{digest}"));
        let asked = manifests > 0 || again.contains_key(digest);
        assert!(!asked, "{digest} came twice:\n{}", upstream.transcript());
    }
}

impl Plant {
    /// Kills `args`, in which `CASE` stands for a folder of the case's own that `prepare` fills.
    pub(crate) fn kill_often(
        &self,
        verb: &'static str,
        args: &[&str],
        prepare: impl Fn(&str),
        mut check: impl FnMut(&str, &[&str]),
    ) {
        let command = |case: &str| {
            fs_err::create_dir(self.world.path().join(case)).unwrap();
            prepare(case);
            let args: Vec<String> = args.iter().map(|arg| arg.replace("CASE", case)).collect();
            self.command(&args.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let life = Life::of(verb, command("whole"));
        life.kill_often(command, |case| {
            let args: Vec<String> = args.iter().map(|arg| arg.replace("CASE", case)).collect();
            check(case, &args.iter().map(String::as_str).collect::<Vec<_>>());
            fs_err::remove_dir_all(self.world.path().join(case)).unwrap();
        });
    }

    pub(crate) fn at(&self, case: &str, name: &str) -> std::path::PathBuf {
        self.world.path().join(case).join(name)
    }

    pub(crate) fn is_sound(&self, store: &Path) {
        self.airlift(0, &["--store", store.to_str().unwrap(), "fsck"]);
    }
}

#[test]
fn resolve_killed_at_any_moment_pins_the_same_and_asks_for_no_manifest_twice() {
    let plant = plant();
    let args = ["--store", "CASE/store", "resolve", "--lock", "CASE/lock"];
    // The moment between the two steps of writing is too short to be met by chance.
    let left = |case: &str| fs_err::write(plant.at(case, ".airlift-killed.tmp"), "half").unwrap();
    plant.kill_often("resolve", &args, left, |case, args| {
        let whole = fs_err::read(plant.at("whole", "lock")).unwrap();
        let written = fs_err::read(plant.at(case, "lock"));
        assert!(written.is_err() || written.unwrap() == whole, "half a lock");
        let there = there(&plant.at(case, "store"));
        plant.upstream.forget_requests();
        plant.airlift(0, args);
        assert_eq!(fs_err::read(plant.at(case, "lock")).unwrap(), whole);
        let beside = files_of(&plant.world.path().join(case)).into_keys();
        assert_eq!(beside.collect::<Vec<_>>(), ["lock"], "something half done is left");
        for digest in there {
            let again = plant.upstream.count("GET", &format!("/manifests/{digest}"));
            assert_eq!(again, 0, "{}", plant.upstream.transcript());
        }
        plant.is_sound(&plant.at(case, "store"));
    });
}

#[test]
fn fetch_killed_at_any_moment_ends_with_the_same_store_and_brings_no_blob_twice() {
    let plant = plant();
    let args = ["--store", "CASE/store", "fetch"];
    plant.kill_often(
        "fetch",
        &args,
        |_| (),
        |case, args| {
            let store = plant.at(case, "store");
            let there = there(&store);
            plant.upstream.forget_requests();
            plant.airlift(0, args);
            let again = blob_requests(&plant.upstream);
            assert!(there.iter().all(|blob| !again.contains_key(blob)), "{again:#?}");
            assert_eq!(visible(&store), visible(&plant.at("whole", "store")));
            plant.is_sound(&store);
        },
    );
}

#[test]
fn bundle_create_killed_at_any_moment_writes_the_same_bytes_and_no_volume_twice() {
    let plant = fetched();
    let args = create("CASE/out", "128KiB");
    plant.kill_often(
        "bundle create",
        &args,
        |_| (),
        |case, args| {
            same_volumes_in_the_end(&plant, case, args);
        },
    );
}

#[test]
fn volumes_whose_cutting_is_killed_at_any_moment_are_the_same_bytes() {
    let plant = bundled();
    let args = ["bundle", "create", "--volumes", "0-3", "--root", "out/plant.bundle.json"];
    let args = [&args[..], &["--to", "CASE/out"]].concat();
    let prepare = |case: &str| fs_err::create_dir(plant.at(case, "out")).unwrap();
    plant.kill_often("bundle create --volumes", &args, prepare, |case, args| {
        same_volumes_in_the_end(&plant, case, args);
    });
}

/// What fetches into `store` and makes volumes brings nothing a second time, and leaves the same volumes and a sound store.
pub(crate) fn whole_in_the_end(plant: &Plant, case: &str, store: &str, args: &[&str]) {
    let store = plant.at(case, store);
    let there = there(&store);
    plant.upstream.forget_requests();
    same_volumes_in_the_end(plant, case, args);
    nothing_came_twice(plant, &there);
    plant.is_sound(&store);
}

/// A volume that has its sums beside it is finished: the next run leaves it alone.
fn same_volumes_in_the_end(plant: &Plant, case: &str, args: &[&str]) {
    let out = plant.at(case, "out");
    let finished = || {
        let names = if out.is_dir() { files(&out) } else { BTreeMap::new() }.into_keys();
        let volumes = names.filter_map(|name| Some(out.join(name.strip_suffix(".sums")?)));
        let volumes = volumes.map(|stem| stem.with_added_extension("tar"));
        let inode = |path| std::os::unix::fs::MetadataExt::ino(&fs_err::metadata(path).unwrap());
        volumes.map(|path| (path.clone(), inode(path))).collect::<BTreeMap<_, _>>()
    };
    let before = finished();
    plant.airlift(0, args);
    let after = finished();
    assert!(before.iter().all(|(path, inode)| after[path] == *inode), "a volume was written twice");
    assert!(files(&out) == files(&plant.at("whole", "out")), "{:?}", files(&out).keys());
}

#[test]
fn pack_killed_at_any_moment_makes_the_same_bundle() {
    let plant = plant();
    let args = ["--store", "CASE/store", "pack", "--lock", "CASE/lock", "--to", "CASE/out"];
    let args = [&args[..], &["--volume-size", "128KiB", "--no-binary"]].concat();
    plant.kill_often(
        "pack",
        &args,
        |_| (),
        |case, args| whole_in_the_end(&plant, case, "store", args),
    );
}

#[test]
fn load_into_a_store_killed_at_any_moment_ends_with_the_same_store_and_writes_no_blob_twice() {
    let plant = bundled();
    let args = ["load", "out", "--to", "store:CASE/store"];
    plant.kill_often(
        "load --to store:",
        &args,
        |_| (),
        |case, args| {
            let store = plant.at(case, "store");
            let there = there(&store);
            let ran = plant.start(args).wait().unwrap();
            assert_eq!(ran.code, Some(0), "{ran}");
            let again = said(&ran.stderr, "transfer-started", "blob").into_iter();
            let again: BTreeSet<Digest> = again.map(|blob| blob.parse().unwrap()).collect();
            assert_eq!(there.intersection(&again).next(), None, "it was written again");
            assert_eq!(visible(&store), visible(&plant.at("whole", "store")));
            plant.is_sound(&store);
        },
    );
}

/// A verb that writes into a registry, in whose arguments `FAR` stands for a registry of the case's own.
pub(crate) struct IntoARegistry<'a> {
    pub(crate) verb: &'static str,
    pub(crate) args: &'a [&'a str],
    /// Where the plant's image gets there, with its tag `1`.
    pub(crate) repository: &'a str,
}

impl IntoARegistry<'_> {
    fn args(&self, case: &str, far: &FakeRegistry) -> Vec<String> {
        let spelled = |arg: &&str| arg.replace("CASE", case).replace("FAR", &far.host());
        self.args.iter().map(spelled).collect()
    }

    /// Kills it again and again. `prepare` fills the folder of a case, `killed` sees what the kill left, and `done` what
    /// came of the run after it.
    pub(crate) fn kill_often(
        &self,
        plant: &Plant,
        prepare: impl Fn(&str),
        mut killed: impl FnMut(&str, &FakeRegistry),
        mut done: impl FnMut(&str, &FakeRegistry),
    ) {
        let far = RefCell::new(FakeRegistry::start());
        let command = |case: &str| {
            fs_err::create_dir(plant.world.path().join(case)).unwrap();
            prepare(case);
            *far.borrow_mut() = FakeRegistry::start();
            let args = self.args(case, &far.borrow());
            plant.command(&args.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let life = Life::of(self.verb, command("whole"));
        let whole = tags(&far.borrow());
        done("whole", &far.borrow());
        life.kill_often(command, |case| {
            let far = far.borrow();
            killed(case, &far);
            let args = self.args(case, &far);
            self.goes_on(plant, &args.iter().map(String::as_str).collect::<Vec<_>>(), &far);
            assert_eq!(tags(&far), whole);
            done(case, &far);
            fs_err::remove_dir_all(plant.world.path().join(case)).unwrap();
        });
    }

    /// Runs it to its end, and once more.
    fn goes_on(&self, plant: &Plant, args: &[&str], far: &FakeRegistry) {
        let (repository, image) = (self.repository, &plant.image);
        let held = |digest: &&Digest| far.blob(repository, digest).is_some();
        let there: BTreeSet<Digest> = image.blobs.keys().filter(held).copied().collect();
        let is_tagged = far.tags(repository).contains_key("1");
        assert!(!is_tagged || far.holds(repository, image), "visible before it is whole");
        far.forget_requests();
        plant.airlift(0, args);
        // The registry may have finished a blob whose last byte was on its way when the client was killed.
        let sent = sent_blobs(far, repository);
        assert!(sent.len() <= image.blobs.len() - there.len(), "{}", far.transcript());
        assert_eq!(there.intersection(&sent).next(), None, "{}", far.transcript());
        assert!(far.holds(repository, image));
        far.forget_requests();
        plant.airlift(0, args);
        assert_eq!(far.count("PUT", "/blobs/uploads/"), 0, "{}", far.transcript());
    }
}

/// The blobs that uploads into a repository were ended with.
fn sent_blobs(far: &FakeRegistry, repository: &str) -> BTreeSet<Digest> {
    let uploads = format!("/v2/{repository}/blobs/uploads/");
    let requests = far.requests().into_iter().filter(|it| it.path.starts_with(&uploads));
    let digests = requests.filter_map(|it| {
        let (_, digest) = it.path.split_once("digest=")?;
        digest.replace("%3A", ":").split('&').next()?.parse().ok()
    });
    digests.collect()
}

/// The repositories of a registry, with their tags.
pub(crate) fn tags(far: &FakeRegistry) -> Vec<(Vec<String>, String)> {
    let repositories = far.repositories().into_iter();
    repositories.map(|name| (far.tags(&name).into_keys().collect(), name)).collect()
}

fn kill_often_into_a_registry(verb: &'static str, args: &[&str]) {
    let plant = bundled();
    let repository = format!("{}/team/app", plant.upstream.host().replace(':', "_"));
    let into = IntoARegistry { verb, args, repository: &repository };
    into.kill_often(&plant, |_| (), |_, _| (), |_, _| ());
}

#[test]
fn load_killed_at_any_moment_ends_with_the_same_registry_and_sends_no_blob_twice() {
    kill_often_into_a_registry("load", &["load", "out", "--to", "FAR"]);
}

#[test]
fn land_killed_at_any_moment_ends_with_the_same_registry_and_sends_no_blob_twice() {
    let args = ["land", "out", "--to", "FAR", "--verify-first", "--receipts", "CASE"];
    kill_often_into_a_registry("land", &args);
}

/// A store of two stacks, one of which nothing needs any more.
fn crowded() -> (Plant, BTreeSet<Digest>) {
    let plant = fetched();
    let kept = digests(&plant.image);
    let other = samples::image(9, &[100_000; 8]);
    plant.upstream.put("team/other", "1", &other);
    plant.world.write_stack("other", &[&plant.upstream.reference("team/other", "1")]).unwrap();
    plant.airlift(0, &["--store", "crowded", "fetch"]);
    plant.airlift(0, &["--store", "crowded", "resolve", "--lock", "other.lock"]);
    plant.airlift(0, &["--store", "crowded", "fetch", "--lock", "other.lock"]);
    (plant, kept)
}

/// Copies a store, folders and all.
fn copy_store(from: &Path, to: &Path) {
    for folder in ["blobs/sha256", "roots", "staging", "bundles"] {
        fs_err::create_dir_all(to.join(folder)).unwrap();
        if from.join(folder).is_dir() {
            for (name, bytes) in files_of(&from.join(folder)) {
                fs_err::write(to.join(folder).join(name), bytes).unwrap();
            }
        }
    }
    for (name, bytes) in files_of(from) {
        fs_err::write(to.join(name), bytes).unwrap();
    }
}

#[test]
fn gc_killed_at_any_moment_keeps_what_is_wanted_and_frees_the_rest() {
    let (plant, kept) = crowded();
    let args = ["--store", "CASE/store", "gc", "--forget-stack", "other"];
    let crowded = plant.world.path().join("crowded");
    let prepare = |case: &str| copy_store(&crowded, &plant.at(case, "store"));
    plant.kill_often("gc", &args, prepare, |case, args| {
        let store = plant.at(case, "store");
        assert!(stored_blobs(&store).is_superset(&kept), "what is wanted was removed");
        plant.airlift(0, args);
        assert_eq!(stored_blobs(&store), stored_blobs(&plant.at("whole", "store")));
        plant.is_sound(&store);
    });
}

#[test]
fn fsck_killed_while_it_repairs_takes_out_what_is_damaged_and_nothing_else() {
    let plant = fetched();
    let intact = plant.world.path().join("intact");
    plant.airlift(0, &["--store", "intact", "fetch"]);
    let damaged: Vec<Digest> =
        plant.image.blobs_by_size().iter().map(|blob| blob.0).take(3).collect();
    let args = ["--store", "CASE/store", "fsck", "--repair"];
    let prepare = |case: &str| {
        let store = plant.at(case, "store");
        copy_store(&intact, &store);
        for digest in &damaged {
            fs_err::write(store.join("blobs").join(digest.path()), "damaged").unwrap();
        }
    };
    // It ends with findings, which is no success: the life to measure is that of a look at an intact store.
    let life = Life::of("fsck", plant.command(&["--store", "intact", "fsck"]));
    let command = |case: &str| {
        prepare(case);
        let args = args.map(|arg| arg.replace("CASE", case));
        plant.command(&args.each_ref().map(String::as_str))
    };
    let sound = &digests(&plant.image) - &damaged.iter().copied().collect();
    life.kill_often(command, |case| {
        let args = args.map(|arg| arg.replace("CASE", case));
        plant.airlift(8, &args.each_ref().map(String::as_str));
        let store = plant.at(case, "store");
        assert!(stored_blobs(&store).is_superset(&sound));
        assert!(damaged.iter().all(|digest| !store.join("blobs").join(digest.path()).exists()));
        plant.upstream.forget_requests();
        plant.airlift(0, &["--store", store.to_str().unwrap(), "fetch"]);
        let again: Vec<Digest> = blob_requests(&plant.upstream).into_keys().collect();
        assert_eq!(again.len(), damaged.len(), "{again:?}");
        plant.is_sound(&store);
        fs_err::remove_dir_all(plant.world.path().join(case)).unwrap();
    });
}

#[test]
fn verbs_that_only_look_change_nothing_however_they_end() {
    let plant = bundled();
    let far = FakeRegistry::start();
    plant.airlift(0, &["load", "out", "--to", &far.host()]);
    let (out, reference) =
        (files(&plant.world.path().join("out")), plant.upstream.reference("team/app", "1"));
    let host = far.host();
    let verbs: [(&str, &[&str]); 13] = [
        ("verify", &["verify", "out"]),
        ("verify --deep", &["verify", "--deep", "out"]),
        ("bundle ls", &["bundle", "ls", "out"]),
        ("bundle diff", &["bundle", "diff", "out", "out"]),
        ("receipt", &["receipt", &host]),
        ("tree", &["tree"]),
        ("why", &["why", &reference]),
        ("fsck", &["fsck"]),
        ("gc --dry-run", &["gc", "--dry-run"]),
        ("fetch --dry-run", &["fetch", "--dry-run"]),
        ("export", &["export", "--format", "cyclonedx"]),
        ("oc-mirror version", &["oc-mirror", "version"]),
        ("completions", &["completions", "bash"]),
    ];
    let store = plant.world.home().join("data/airlift/store");
    let before = visible(&store);
    for (verb, args) in verbs {
        let whole = plant.world.run(args).unwrap();
        let life = Life::of(verb, plant.command(args));
        life.kill_often(
            |_| plant.command(args),
            |_| {
                let again = plant.world.run(args).unwrap();
                assert_eq!((again.code, &again.stdout), (Some(0), &whole.stdout), "{verb}");
            },
        );
    }
    assert!(files(&plant.world.path().join("out")) == out);
    assert_eq!(visible(&store), before);
}

#[test]
fn keygen_killed_at_any_moment_leaves_no_half_key_and_the_next_run_completes_it() {
    let plant = plant();
    let args = ["keygen", "--to", "CASE/key"];
    plant.kill_often(
        "keygen",
        &args,
        |_| (),
        |case, args| {
            let is_there = |name: &str| plant.at(case, name).exists();
            let secret = fs_err::read(plant.at(case, "key")).ok();
            if !is_there("key.pub") {
                plant.airlift(0, args);
            }
            if let Some(secret) = secret {
                assert_eq!(
                    fs_err::read(plant.at(case, "key")).unwrap(),
                    secret,
                    "a key was replaced"
                );
            }
            plant.airlift(2, args);
            // The halves belong together: what one signs, the other vouches for.
            let [key, public, out] = ["key", "key.pub", "out"].map(|name| format!("{case}/{name}"));
            plant.airlift(0, &["fetch"]);
            let create = [&create(&out, "128KiB")[..], &["--sign", &key]].concat();
            plant.airlift(0, &create);
            plant.airlift(0, &["--trust", &public, "bundle", "ls", &out]);
        },
    );
}

#[test]
fn login_killed_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let plant = plant();
    let auth = Auth::Basic(Credentials::new("ann", "right"));
    let registry = FakeRegistry::with(FakeOptions { auth, ..FakeOptions::default() });
    let before = r#"{"auths": {"quay.io": {"auth": "eDp5"}}}"#;
    let password = plant.world.write("password", "right").unwrap();
    let command = |case: &str| -> Command {
        let file = plant.world.write(&format!("{case}/auth.json"), before).unwrap();
        let args = ["login", &registry.host(), "-u", "ann", "--password-stdin", "--authfile"];
        let mut command = plant.command(&[&args[..], &[file.to_str().unwrap()]].concat());
        command.stdin(fs_err::File::open(&password).unwrap().into_file());
        command
    };
    let life = Life::of("login", command("whole"));
    let whole = fs_err::read(plant.at("whole", "auth.json")).unwrap();
    life.kill_often(command, |case| {
        let file = plant.at(case, "auth.json");
        let found = fs_err::read(&file).unwrap();
        assert!(
            found == before.as_bytes() || found == whole,
            "{}",
            String::from_utf8_lossy(&found)
        );
        assert!(command(case).output().unwrap().status.success());
        assert_eq!(fs_err::read(&file).unwrap(), whole);
        let beside = files_of(&plant.world.path().join(case)).into_keys();
        assert_eq!(beside.collect::<Vec<_>>(), ["auth.json"], "something half done is left");
    });
}

#[test]
fn a_server_killed_at_any_moment_of_an_upload_has_what_it_said_to_have() {
    let plant = bundled();
    let servers = RefCell::new(Vec::new());
    let serve = |case: &str| {
        let store = plant.path(case);
        let args = ["serve", "--writable", &store, "--listen", "127.0.0.1:0"];
        let mut server = plant.world.spawn(args).unwrap();
        assert!(
            server.wait_until(|it| it.stdout().ends_with('\n')).unwrap(),
            "{}",
            server.stderr()
        );
        let host = server.stdout().trim().strip_prefix("http://").unwrap().to_owned();
        (server, host)
    };
    // It is the client whose life is measured, and with it that of the server.
    let command = |case: &str| {
        let (server, host) = serve(case);
        servers.borrow_mut().push(server);
        plant.command(&["load", "out", "--to", &host])
    };
    let life = Life::of("serve --writable", command("whole"));
    servers.borrow_mut().clear();
    let kill_server = || drop(servers.borrow_mut().pop());
    life.kill_often_with(command, kill_server, |case| {
        let store = plant.world.path().join(case);
        let there = stored_blobs(&store);
        let (server, host) = serve(case);
        let loaded = plant.airlift(0, &["load", "out", "--to", &host]);
        let missing = plant.image.blobs.keys().filter(|digest| !there.contains(digest)).count();
        assert_eq!(loaded["totals"]["blobsSent"], missing, "{loaded:#}");
        assert_eq!(server.terminate().unwrap().code, Some(0));
        assert!(stored_blobs(&store).is_superset(&digests(&plant.image)));
        plant.is_sound(&store);
        fs_err::remove_dir_all(store).unwrap();
    });
}

#[test]
fn a_demo_that_is_killed_leaves_no_server_behind() {
    let world = World::new(env!("CARGO_BIN_EXE_airlift")).unwrap();
    // Its processes run in a folder below this one.
    let folder = world.home().join("tmp");
    let running = || {
        let processes = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
        let folders = processes.filter_map(|it| fs_err::read_link(it.path().join("cwd")).ok());
        folders.filter(|it| it.starts_with(&folder)).count()
    };
    let mut demo = world.spawn(["demo", "--progress", "plain"]).unwrap();
    let serves = |it: &Running| it.stderr().contains("airlift resolve");
    assert!(demo.wait_until(serves).unwrap(), "{}", demo.stderr());
    assert!(running() > 0, "a server runs there");
    demo.kill().unwrap();
    while running() > 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
