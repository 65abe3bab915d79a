//! What kustomizations and sources name on the network: pinned, kept, moved, refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use airlift_spec::{Ctx, Digest, Lock, Stack};
use airlift_testkit::{need, samples};
use airlift_upstream::resolve::{ResolveOptions, Update, check_upstream};

use crate::world::{World, codes};

/// A world with kustomize and git, `ai/app` and `ai/tool`, a repository `repo` whose folder `over` leads to an object
/// that names the first, and a file `/extra.yaml` that does so too.
struct Remote {
    world: World,
    git: PathBuf,
}

macro_rules! world {
    () => {
        Remote::new(&need!("kustomize"), need!("git"))
    };
}

const EXTRA: &str = "/extra.yaml";

impl Remote {
    fn new(kustomize: &Path, git: PathBuf) -> Self {
        let mut world = World::new();
        let folders = [kustomize, &git].map(|program| program.parent().unwrap().to_owned());
        world.upstream.programs = std::env::join_paths(folders).unwrap();
        for (seed, name) in (1..).zip(["ai/app", "ai/tool", "ai/extra"]) {
            world.registry.put(name, "1", &samples::image(seed, &[1000]));
        }
        let remote = Self { world, git };
        remote.git(&["init", "--quiet", "--initial-branch=main", "."]);
        remote.write("repo/over/kustomization.yaml", "resources: [../base]\n");
        remote.write("repo/base/kustomization.yaml", "resources: [pod.yaml]\n");
        remote.write("repo/other/kustomization.yaml", "resources: [../base]\nnamePrefix: o-\n");
        remote.commit("ai/app");
        remote.world.registry.put_file(EXTRA, remote.pod("extra", "ai/extra"));
        remote
    }

    fn git(&self, args: &[&str]) -> String {
        let folder = self.world.folder().join("repo");
        fs_err::create_dir_all(&folder).unwrap();
        let done = Command::new(&self.git)
            .args(["-c", "user.name=a", "-c", "user.email=a@b.test"])
            .args(args)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.world.folder().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn pod(&self, name: &str, image: &str) -> String {
        let host = self.world.registry.host();
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
             spec: {{containers: [{{name: a, image: '{host}/{image}:1'}}]}}\n"
        )
    }

    /// Lets `main` lead to an object that names the image.
    fn commit(&self, image: &str) {
        self.write("repo/base/pod.yaml", &self.pod("pod", image));
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=m"]);
    }

    fn address(&self, folder: &str, revision: &str) -> String {
        let repository = self.world.folder().join("repo");
        format!("file://{}//{folder}?ref={revision}", repository.display())
    }

    fn extra(&self) -> String {
        format!("{}{EXTRA}", self.world.registry.url())
    }

    /// A stack of the kustomization `deploy`, which names these.
    fn stack(&self, names: &[&str]) -> Stack {
        let names: Vec<String> = names.iter().map(|name| format!("- '{name}'\n")).collect();
        self.write("deploy/kustomization.yaml", &format!("resources:\n{}", names.concat()));
        airlift_spec::stack::parse("version: 1\nname: demo\nsources: [{manifests: ./deploy}]\n")
            .unwrap()
    }

    async fn again(&self, stack: &Stack, before: &Lock, options: &ResolveOptions) -> Lock {
        let resolution = self.world.resolve_from(stack, Some(before), options).await.unwrap();
        assert!(resolution.failures.is_empty(), "{:?}", resolution.failures);
        resolution.lock
    }

    /// The lock of a stack whose source fails.
    async fn failed(&self, stack: &Stack) -> Lock {
        let options = ResolveOptions::default();
        let resolution = self.world.resolve_from(stack, None, &options).await.unwrap();
        assert!(codes(&resolution.lock).contains(&"not-looked-into"), "{:?}", resolution.lock);
        resolution.lock
    }

    /// Why the source fails; the pins that it had stay.
    async fn failure(&self, stack: &Stack, before: Option<&Lock>, offline: bool) -> String {
        let options = ResolveOptions { offline, ..ResolveOptions::default() };
        let resolution = self.world.resolve_from(stack, before, &options).await.unwrap();
        assert!(codes(&resolution.lock).contains(&"not-looked-into"), "{:?}", resolution.lock);
        if let Some(before) = before {
            assert_eq!(resolution.lock.remotes, before.remotes);
        }
        airlift_spec::error::chain(&resolution.failures[0].error)
    }
}

fn paths(lock: &Lock) -> Vec<&str> {
    lock.artifacts.iter().map(|artifact| artifact.reference.path()).collect()
}

fn everything() -> ResolveOptions {
    ResolveOptions { update: Update::Everything, ..ResolveOptions::default() }
}

fn offline() -> ResolveOptions {
    ResolveOptions { offline: true, ..ResolveOptions::default() }
}

#[tokio::test]
async fn a_pin_stays_where_it_is_until_it_is_moved() {
    let remote = world!();
    let (address, extra) = (remote.address("over", "main"), remote.extra());
    let stack = remote.stack(&[&address, &extra]);
    let lock = remote.world.lock(&stack).await;
    assert_eq!(paths(&lock), ["ai/app", "ai/extra"]);
    let commit = lock.remotes[&address].commit.as_ref().unwrap().to_string();
    assert_eq!(commit, remote.git(&["rev-parse", "main"]));
    let file = remote.pod("extra", "ai/extra");
    assert_eq!(lock.remotes[&extra].digest, Digest::of(file.as_bytes()));
    assert_eq!(lock.remotes[&extra].commit, None);

    remote.commit("ai/tool");
    remote.world.registry.put_file(EXTRA, remote.pod("extra", "ai/tool"));
    for options in [ResolveOptions::default(), offline()] {
        let again = remote.again(&stack, &lock, &options).await;
        assert_eq!(again.to_text(), lock.to_text());
    }
    let (said, failures) =
        check_upstream(&lock, &remote.world.upstream, &offline(), &Ctx::default()).await.unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    let said: Vec<_> = said.iter().map(|it| (it.code.as_str(), it.object.as_str())).collect();
    assert_eq!(said, [("upstream-moved", address.as_str()), ("upstream-moved", extra.as_str())]);

    let moved = remote.again(&stack, &lock, &everything()).await;
    assert_eq!(paths(&moved), ["ai/tool"]);
    let now = moved.remotes[&address].commit.as_ref().unwrap().to_string();
    assert_eq!(now, remote.git(&["rev-parse", "main"]));
    assert_ne!(moved.remotes[&extra], lock.remotes[&extra]);
}

#[tokio::test]
async fn another_machine_gets_the_same_commit_or_says_that_it_is_gone() {
    let mut remote = world!();
    let (address, extra) = (remote.address("over", "main"), remote.extra());
    let (of_git, of_both) = (remote.stack(&[&address]), [address.as_str(), &extra]);
    let lock = remote.world.lock(&of_git).await;
    remote.commit("ai/tool");
    remote.world.start_over();
    assert_eq!(remote.again(&of_git, &lock, &ResolveOptions::default()).await, lock);

    let stack = remote.stack(&of_both);
    let lock = remote.again(&stack, &lock, &ResolveOptions::default()).await;
    fs_err::remove_dir_all(remote.world.upstream.store.root()).unwrap();
    remote.world.start_over();
    let said = remote.failure(&stack, Some(&lock), true).await;
    assert!(said.contains("is not in the store, and nobody was asked"), "{said}");
    remote.world.registry.put_file(EXTRA, remote.pod("extra", "ai/tool"));
    let said = remote.failure(&stack, Some(&lock), false).await;
    assert!(said.contains(&extra) && said.contains("by now, and the lock pins"), "{said}");
}

#[tokio::test]
async fn one_name_of_a_repository_is_one_commit() {
    let remote = world!();
    let (over, other) = (remote.address("over", "main"), remote.address("other", "main"));
    let lock = remote.world.lock(&remote.stack(&[&over])).await;
    remote.commit("ai/tool");
    let stack = remote.stack(&[&over, &other]);
    let both = remote.again(&stack, &lock, &ResolveOptions::default()).await;
    assert_eq!(both.remotes[&over], lock.remotes[&over]);
    assert_eq!(both.remotes[&other].commit, lock.remotes[&over].commit);
    assert_eq!(paths(&both), ["ai/app"]);
    let one = remote.again(&remote.stack(&[&other]), &both, &ResolveOptions::default()).await;
    assert_eq!(one.remotes.keys().collect::<Vec<_>>(), [&other], "what nobody names is dropped");
}

#[tokio::test]
async fn tags_commits_and_what_a_base_names_in_turn_are_followed() {
    let remote = world!();
    remote.git(&["tag", "--annotate", "--message=m", "v1"]);
    let commit = remote.git(&["rev-parse", "main"]);
    let inner = format!("resources: ['{}', '{}']\n", remote.address("over", "v1"), remote.extra());
    remote.write("repo/outer/kustomization.yaml", &inner);
    remote.commit("ai/tool");
    let tagged = remote.world.lock(&remote.stack(&[&remote.address("over", &commit)])).await;
    assert_eq!(paths(&tagged), ["ai/app"]);
    let stack = remote.stack(&[&remote.address("outer", "main")]);
    let lock = remote.world.lock(&stack).await;
    assert_eq!(paths(&lock), ["ai/app", "ai/extra"]);
    assert_eq!(lock.remotes.len(), 3);
    assert_eq!(
        lock.remotes[&remote.address("over", "v1")].commit.as_ref().unwrap().to_string(),
        commit
    );
}

#[tokio::test]
async fn what_is_kept_in_the_store_is_checked_and_survives_gc() {
    let remote = world!();
    let (address, extra) = (remote.address("over", "main"), remote.extra());
    let stack = remote.stack(&[&address, &extra]);
    let lock = remote.world.lock(&stack).await;
    let fetched = remote.world.fetch(&lock).await;
    assert!(fetched.failures.is_empty(), "{:?}", fetched.failures);
    let store = &remote.world.upstream.store;
    store.gc(false, &Ctx::default()).unwrap();
    assert!(lock.remotes.values().all(|pin| store.contains(&pin.digest)));

    let digest = lock.remotes[&address].digest;
    let path = store.root().join("blobs").join(digest.path());
    let whole = fs_err::read(&path).unwrap();
    let tampered = String::from_utf8(whole.clone()).unwrap().replace("ai/app", "ai/xpp");
    fs_err::remove_file(&path).unwrap();
    fs_err::write(&path, &tampered).unwrap();
    let said = remote.failure(&stack, Some(&lock), true).await;
    assert!(said.contains("is not in the store"), "{said}");
    fs_err::write(&path, &tampered).unwrap();
    assert_eq!(remote.again(&stack, &lock, &ResolveOptions::default()).await, lock);
    assert_eq!(fs_err::read(&path).unwrap(), whole, "it is mended");
}

#[tokio::test]
async fn a_fetch_elsewhere_does_not_ask_for_what_only_resolve_needs() {
    let mut remote = world!();
    let stack = remote.stack(&[&remote.address("over", "main")]);
    let lock = remote.world.lock(&stack).await;
    remote.world.start_over();
    let fetched = remote.world.fetch(&lock).await;
    assert!(fetched.failures.is_empty(), "{:?}", fetched.failures);
    let findings = remote.world.upstream.store.fsck(airlift_store::Fsck::Deep, &Ctx::default());
    assert_eq!(findings.unwrap(), []);
}

#[tokio::test]
async fn what_is_hostile_or_not_there_fails_its_source_alone() {
    let remote = world!();
    let (over, gone) = (remote.address("over", "main"), remote.address("over", "gone"));
    let said = remote.failure(&remote.stack(&[&gone]), None, false).await;
    assert!(said.contains("git says:") && said.contains("gone"), "{said}");
    let said = remote.failure(&remote.stack(&[&remote.address("no", "main")]), None, false).await;
    assert!(said.contains("`no` has no kustomization"), "{said}");

    remote.world.registry.put_file(EXTRA, "<html>sign in</html>");
    let said = remote.failure(&remote.stack(&[&remote.extra()]), None, false).await;
    assert!(said.contains("is a web page"), "{said}");
    remote.world.registry.put_file(EXTRA, vec![0; 1 + (256 << 20)]);
    let said = remote.failure(&remote.stack(&[&remote.extra()]), None, false).await;
    assert!(said.contains("bytes that are read of the file"), "{said}");
    let plain = "http://h.test/o/r.git//a?ref=v1";
    let said = remote.failure(&remote.stack(&[plain]), None, false).await;
    assert!(said.contains("is not encrypted"), "{said}");

    let base = remote.world.folder().join("repo/base");
    fs_err::os::unix::fs::symlink("/etc/passwd", base.join("passwd.yaml")).unwrap();
    remote.commit("ai/app");
    let said = remote.failure(&remote.stack(&[&over]), None, false).await;
    assert!(said.contains("its link `base/passwd.yaml` leads out of the repository"), "{said}");
}

/// What is said of a source stands in the lock, which is the same on every run and on every machine.
#[tokio::test]
async fn what_fails_elsewhere_is_said_in_the_words_of_the_stack() {
    let remote = world!();
    let outer = "resources: ['ADDRESS']\n".replace("ADDRESS", &remote.address("over", "main"));
    remote.write("repo/outer/kustomization.yaml", &outer);
    let up = "../".repeat(20);
    for (kustomization, why) in [
        ("helmCharts: [{name: c}]\n".to_owned(), "base/kustomization.yaml` wants the chart `c`"),
        (format!("resources: [{up}tmp]\n"), "tmp` lies outside of the repository"),
        ("resources: [\n".to_owned(), "base/kustomization.yaml"),
        ("resources: [gone.yaml]\n".to_owned(), "gone.yaml"),
        (format!("resources: ['{}']\n", "http://127.0.0.1:1/x.yaml"), "http://127.0.0.1:1/x.yaml"),
    ] {
        remote.write("repo/base/kustomization.yaml", &kustomization);
        remote.commit("ai/app");
        for folder in ["base", "over", "outer"] {
            let stack = remote.stack(&[&remote.address(folder, "main"), &remote.extra()]);
            let [one, other] =
                [remote.failed(&stack).await, remote.failed(&stack).await].map(|it| it.to_text());
            assert!(one.contains(why), "{folder}: {why}: {one}");
            assert!(!one.contains("/airlift-") && !one.contains(".airlift-"), "{folder}: {one}");
            assert!(!one.contains("elsewhere/"), "{folder}: {one}");
            assert_eq!(one, other);
        }
    }
}

#[tokio::test]
async fn nothing_of_a_repository_is_run() {
    let remote = world!();
    let ran = remote.world.folder().join("ran");
    let hook = format!("#!/bin/sh\ntouch {}\n", ran.display());
    remote.write("repo/.gitattributes", "*.yaml filter=evil\n");
    remote.write(
        "repo/.gitconfig",
        &format!("[filter \"evil\"]\nsmudge = touch {}\n", ran.display()),
    );
    remote.write("repo/.githooks/post-checkout", &hook);
    remote.write("repo/.git/hooks/post-checkout", &hook);
    remote.commit("ai/app");
    remote.world.lock(&remote.stack(&[&remote.address("over", "main")])).await;
    assert!(!ran.exists());
}

#[tokio::test]
async fn an_address_of_objects_is_pinned_too() {
    let remote = world!();
    let extra = remote.extra();
    let text =
        |more: &str| format!("version: 1\nname: demo\nsources: [{{manifests: '{extra}'}}]\n{more}");
    let stack = airlift_spec::stack::parse(&text("")).unwrap();
    let lock = remote.world.lock(&stack).await;
    assert_eq!(lock.remotes.keys().collect::<Vec<_>>(), [&extra]);
    remote.world.registry.put_file(EXTRA, remote.pod("extra", "ai/tool"));
    assert_eq!(remote.again(&stack, &lock, &ResolveOptions::default()).await, lock);
    let excluding = text("exclude: [{image: '*/nothing'}]\n");
    let excluding = airlift_spec::stack::parse(&excluding).unwrap();
    let again = remote.again(&excluding, &lock, &ResolveOptions::default()).await;
    assert_eq!((paths(&again), &again.remotes), (vec!["ai/extra"], &lock.remotes));
    let moved = remote.again(&stack, &lock, &everything()).await;
    assert_eq!(paths(&moved), ["ai/tool"]);
}
