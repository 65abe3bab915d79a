//! Servers that are no registries and misbehave: what is not whole is never taken, what passes is asked for again, and
//! the other sources are pinned all the same.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use airlift_registry::client::{Client, ClientOptions, Tuning};
use airlift_spec::{Class, Explain as _, Lock, Stack};
use airlift_testkit::openshift::{Published, Signer};
use airlift_testkit::proxy::Line;
use airlift_testkit::{FakeRegistry, Fault, FaultProxy, GitServer, On, need, samples, sources};
use airlift_upstream::releases::ReleasePlaces;
use airlift_upstream::resolve::Resolution;

use crate::world::{World, codes};

/// A source, and one of the files that it asks for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// As it stands in the stack, with `URL` for the server.
    source: &'static str,
    path: &'static str,
    /// What is said where it is not there, or is something else.
    wrong: Class,
    /// What is said where it ends early by its own account. Half of a YAML file without a digest is one, too.
    half: Option<Class>,
}

const GRAPH: &str = "{openshift: stable-4.20, graph: true}";
const CHART: &str = "{chart: app, repository: 'URL/charts'}";
const OBJECTS: &str = "{manifests: 'URL/objects.yaml'}";
const BUILT: &str = "{manifests: ./deploy}";

const ALL: [Asked; 7] = [
    asked(GRAPH, "/v1/graph", Class::Input, Some(Class::Input)),
    asked(GRAPH, "/signatures/", Class::Integrity, Some(Class::Integrity)),
    asked(GRAPH, "/graph-data", Class::Input, Some(Class::Input)),
    asked(CHART, "/charts/index.yaml", Class::Input, None),
    asked(CHART, "/charts/app-1.1.0.tgz", Class::Input, Some(Class::Integrity)),
    asked(OBJECTS, "/objects.yaml", Class::Input, None),
    asked(BUILT, "/crds.yaml", Class::Input, None),
];

const fn asked(
    source: &'static str,
    path: &'static str,
    wrong: Class,
    half: Option<Class>,
) -> Asked {
    Asked { source, path, wrong, half }
}

/// A world in which every source of [`ALL`] can be resolved, and who signs its releases.
struct Faulty {
    world: World,
    _signer: Signer,
}

macro_rules! faulty {
    () => {{
        let programs = [need!("kustomize"), need!("helm")];
        let Some(published) = Published::new("no program is run") else { return };
        Faulty::new(published, &programs)
    }};
}

/// A client that neither dwells nor waits for long, and has the base of graph images from `host`.
fn client(host: String) -> Client {
    let pause = Duration::from_millis(1);
    let tuning = Tuning {
        backoff_first: pause,
        backoff_max: pause,
        retry_after_max: pause,
        ..Tuning::default()
    };
    let attempts = NonZeroUsize::new(3).unwrap();
    let stall_timeout = Duration::from_millis(500);
    let upstreams = [("registry.access.redhat.com".to_owned(), host)].into();
    let options =
        ClientOptions { tuning, attempts, stall_timeout, upstreams, ..ClientOptions::default() };
    Client::new(options).unwrap()
}

impl Faulty {
    fn new(published: Published, programs: &[std::path::PathBuf; 2]) -> Self {
        let Published { registry, signer, .. } = published;
        let url = registry.url();
        sources::publish_images(&registry);
        sources::publish_charts(&registry);
        for path in ["/objects.yaml", "/crds.yaml"] {
            registry.put_file(path, sources::pod(&registry.reference("team/multi", "v2")));
        }
        let mut world = World::new();
        world.registry = registry;
        let folders = programs.iter().map(|it| it.parent().unwrap());
        world.upstream.programs = std::env::join_paths(folders).unwrap();
        world.upstream.releases = ReleasePlaces {
            graph: Some(format!("{url}/v1/graph")),
            signatures: Some(format!("{url}/signatures/")),
            keys: Some(signer.key()),
            ..ReleasePlaces::default()
        };
        let deploy = world.folder().join("deploy");
        fs_err::create_dir(&deploy).unwrap();
        let text = format!("resources: ['{url}/crds.yaml']\n");
        fs_err::write(deploy.join("kustomization.yaml"), text).unwrap();
        Self { world, _signer: signer }
    }

    /// A stack of an image in line 4, and of this source in line 5.
    fn stack(&self, asked: &Asked) -> Stack {
        let registry = &self.world.registry;
        let source = asked.source.replace("URL", &registry.url());
        let image = registry.reference("team/app", "v1");
        let text = format!("version: 1\nname: demo\nsources:\n- image: {image}\n- {source}\n");
        airlift_spec::stack::parse(&text).unwrap()
    }

    /// Resolves into an empty store, by a client that remembers nothing.
    async fn resolve(&mut self, stack: &Stack) -> Resolution {
        fs_err::remove_dir_all(self.world.upstream.store.root()).unwrap();
        self.world.start_over();
        self.world.upstream.client = client(self.world.registry.host());
        self.world.resolve(stack).await
    }

    /// Makes `fault` lasting: the source fails with this class and in its line, and leaves no trace but that.
    async fn fails(&mut self, asked: &Asked, fault: &Fault, class: Class) {
        let shown = format!("{fault:?}").chars().take(60).collect::<String>();
        let stack = self.stack(asked);
        self.world.registry.fail_always(On::get(asked.path), fault.clone());
        let Resolution { lock, failures, .. } = self.resolve(&stack).await;
        let case = format!("{} {shown}", asked.path);
        let said: Vec<String> =
            failures.iter().map(|it| airlift_spec::error::chain(&it.error)).collect();
        assert_eq!(failures.len(), 1, "{case}: {said:?}");
        assert_eq!(failures[0].error.class(), class, "{case}: {said:?}");
        assert_eq!(failures[0].error.line(), Some(5), "{case}: {said:?}");
        assert_eq!(paths(&lock), ["team/app"], "{case}");
        assert!(lock.remotes.is_empty(), "{case}: {:?}", lock.remotes);
        assert!(codes(&lock).contains(&"not-looked-into"), "{case}: {:?}", codes(&lock));
        self.world.registry.heal();
    }
}

fn paths(lock: &Lock) -> Vec<&str> {
    lock.artifacts.iter().map(|artifact| artifact.reference.path()).collect()
}

/// What a better line, or a little patience, mends.
fn passing() -> Vec<Fault> {
    vec![
        Fault::CutAfter(10),
        Fault::WrongContentLength(5),
        Fault::StallAfter(10),
        Fault::Hang,
        Fault::RetryAfter(1),
        Fault::Status(503, vec![("retry-after", "1".to_owned())]),
        Fault::Status(502, Vec::new()),
    ]
}

#[tokio::test]
async fn a_fault_that_passes_costs_another_try_and_changes_nothing() {
    let mut faulty = faulty!();
    for asked in ALL {
        let stack = faulty.stack(&asked);
        let whole = faulty.resolve(&stack).await;
        assert!(whole.failures.is_empty(), "{asked:?}: {:?}", whole.failures);
        for fault in passing() {
            faulty.world.registry.fail_once(On::get(asked.path), fault.clone());
            let resolved = faulty.resolve(&stack).await;
            assert!(resolved.failures.is_empty(), "{asked:?} {fault:?}: {:?}", resolved.failures);
            assert_eq!(faulty.world.registry.faults_left(), 0, "{asked:?} {fault:?}");
            assert_eq!(resolved.lock, whole.lock, "{asked:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_fault_that_lasts_is_the_line_of_its_source_and_spares_the_others() {
    let mut faulty = faulty!();
    for asked in ALL {
        // One that is cut off, one that is silent, one that is busy.
        for fault in [Fault::CutAfter(10), Fault::StallAfter(10), Fault::RetryAfter(1)] {
            faulty.fails(&asked, &fault, Class::Network).await;
            let tries = faulty.world.registry.count("GET", asked.path);
            assert_eq!(tries, 3, "{asked:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_for_good_absent_or_without_end_is_asked_for_once() {
    let mut faulty = faulty!();
    let denied = |status| Fault::Status(status, Vec::new());
    for asked in ALL {
        for (fault, class) in [
            (denied(404), asked.wrong),
            (denied(410), asked.wrong),
            (denied(403), Class::Access),
            (denied(400), Class::Input),
            (Fault::Endless, Class::Input),
        ] {
            faulty.fails(&asked, &fault, class).await;
            let tries = faulty.world.registry.count("GET", asked.path);
            assert_eq!(tries, 1, "{asked:?} {fault:?}");
        }
    }
}

/// What a proxy gives in place of a file, under 200.
#[tokio::test]
async fn noise_and_pages_are_not_taken_for_what_was_asked_for() {
    let mut faulty = faulty!();
    for asked in ALL {
        for bytes in [b"<html>sign in</html>".to_vec(), samples::noise(1, 3000), Vec::new()] {
            faulty.fails(&asked, &Fault::Instead(bytes), asked.wrong).await;
        }
    }
}

/// Where the server says that half of it is all, only what is in it tells.
#[tokio::test]
async fn what_ends_early_by_its_own_account_is_told_by_what_is_in_it() {
    let mut faulty = faulty!();
    for asked in ALL {
        let Some(class) = asked.half else { continue };
        for missing_bytes in [1, 9, 60] {
            faulty.fails(&asked, &Fault::TooShort(missing_bytes), class).await;
        }
    }
}

#[tokio::test]
async fn a_redirect_is_followed_where_it_is_safe_and_told_where_it_is_not() {
    let mut faulty = faulty!();
    for asked in ALL {
        let stack = faulty.stack(&asked);
        let whole = faulty.resolve(&stack).await;
        let to = |place: &str| Fault::Status(302, vec![("location", place.to_owned())]);
        let requests = faulty.world.registry.requests();
        let path = &requests.iter().find(|it| it.path.contains(asked.path)).unwrap().path;
        let elsewhere = format!("http://{}{path}", faulty.world.registry.elsewhere());
        faulty.world.registry.fail_once(On::get(asked.path), to(&elsewhere));
        let resolved = faulty.resolve(&stack).await;
        assert!(resolved.failures.is_empty(), "{asked:?}: {:?}", resolved.failures);
        assert_eq!(resolved.lock, whole.lock, "{asked:?}");
        let in_a_circle = to(&path.clone());
        faulty.fails(&asked, &in_a_circle, Class::Network).await;
    }
}

/// A world, and a repository in it behind a line that can fail.
fn with_repository(git: &Path, kustomize: &Path) -> (World, GitServer, FaultProxy) {
    let mut world = World::new();
    let folders = [git, kustomize].map(|program| program.parent().unwrap());
    world.upstream.programs = std::env::join_paths(folders).unwrap();
    sources::publish_images(&world.registry);
    let repository = world.folder().join("r.git");
    fs_err::create_dir_all(&repository).unwrap();
    let pod = sources::pod(&world.registry.reference("team/app", "v1"));
    fs_err::write(repository.join("kustomization.yaml"), "resources: [pod.yaml]\n").unwrap();
    fs_err::write(repository.join("pod.yaml"), pod).unwrap();
    fs_err::write(repository.join("noise"), samples::noise(1, 200_000)).unwrap();
    sources::commit_all(git, &repository);
    let server = GitServer::start(git, world.folder()).unwrap();
    let line = FaultProxy::to(server.address()).unwrap();
    (world, server, line)
}

/// A stack of an image, and in line 5 of a kustomization whose base is `address`.
fn built_on(world: &World, address: &str) -> Stack {
    let deploy = world.folder().join("deploy");
    fs_err::create_dir_all(&deploy).unwrap();
    let text = format!("resources: ['{address}']\n");
    fs_err::write(deploy.join("kustomization.yaml"), text).unwrap();
    let image = world.registry.reference("team/multi", "v2");
    let text =
        format!("version: 1\nname: demo\nsources:\n- image: {image}\n- manifests: ./deploy\n");
    airlift_spec::stack::parse(&text).unwrap()
}

#[tokio::test]
async fn a_repository_behind_a_bad_line_is_asked_again_and_never_taken_by_half() {
    let (mut world, _server, line) = with_repository(&need!("git"), &need!("kustomize"));
    let stack = built_on(&world, &format!("http://{}/r.git?ref=main", line.host()));
    let whole = world.lock(&stack).await;
    assert_eq!(paths(&whole), ["team/app", "team/multi"]);
    // In the head of the first answer, in its body, and in the middle of the pack.
    for at in [0, 20, 300, 100_000] {
        fs_err::remove_dir_all(world.upstream.store.root()).unwrap();
        world.start_over();
        line.once(Line { cut_after: Some(at), ..Line::default() });
        assert_eq!(world.lock(&stack).await, whole, "cut after {at}");
    }
    for at in [20, 300, 100_000] {
        fs_err::remove_dir_all(world.upstream.store.root()).unwrap();
        world.start_over();
        line.set(Line { cut_after: Some(at), ..Line::default() });
        let Resolution { lock, failures, .. } = world.resolve(&stack).await;
        let error = &failures[0].error;
        assert_eq!((error.class(), error.line()), (Class::Network, Some(5)), "{at}: {error:?}");
        assert_eq!(paths(&lock), ["team/multi"]);
        assert!(lock.remotes.is_empty(), "{:?}", lock.remotes);
    }
}

#[tokio::test]
async fn a_repository_that_is_refused_or_noise_is_asked_for_once_and_a_busy_one_thrice() {
    let (world, _server, _line) = with_repository(&need!("git"), &need!("kustomize"));
    let fake = FakeRegistry::start();
    let stack = built_on(&world, &format!("{}/r.git?ref=main", fake.url()));
    let (refs, status) = ("/r.git/info/refs", |status| Fault::Status(status, Vec::new()));
    fake.put_file(&format!("{refs}?service=git-upload-pack"), "<html>sign in</html>");
    for (fault, tries) in [
        (None, 1),
        (Some(status(404)), 1),
        (Some(status(403)), 1),
        (Some(status(503)), 3),
        (Some(Fault::RetryAfter(1)), 3),
    ] {
        if let Some(fault) = &fault {
            fake.fail_always(On::get(refs), fault.clone());
        }
        let Resolution { lock, failures, .. } = world.resolve(&stack).await;
        let error = &failures[0].error;
        assert_eq!((error.class(), error.line()), (Class::Network, Some(5)), "{error:?}");
        assert_eq!(paths(&lock), ["team/multi"]);
        let asked = fake.count("GET", "service=git-upload-pack");
        assert_eq!(asked, tries, "{fault:?}: {}\n{error:?}", fake.transcript());
        fake.heal();
        fake.forget_requests();
    }
}
