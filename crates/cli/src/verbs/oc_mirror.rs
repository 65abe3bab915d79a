use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airlift_bundle::Sources;
use airlift_oc_mirror::{
    Arguments, Carried, ConfigError, Copy, File, GENERIC, ImageSet, Item, Mirrored, Mode, Purpose,
    Routes, Signature, Way, Workspace, cluster_resources,
};
use airlift_registry::client::Client;
use airlift_spec::lock::Artifact;
use airlift_spec::{Failure, Finding, Lock};
use airlift_upstream::resolve::{ResolveOptions, Update, discover};
use clap::Subcommand;
use serde::Serialize;

use super::bundle::create::{Making, create};
use super::fetch::bring;
use super::load::{Loading, load};
use super::resolve::{Written, pin};
use crate::app::{App, Exit, LOCK, Side, read_text};
use crate::error::CliError;
use crate::failure::{FailureDocument, failed_items};
use crate::files;
use crate::output::Report;
use crate::place::{RegistryPlace, Source};
use crate::sources::SourceArgs;
use flags::Common;
use plans::Children;
use report::Done;
use set::Set;

mod delete;
mod flags;
mod list;
mod plans;
mod records;
mod remedies;
mod report;
mod set;

/// Names of the bundle and of the stack that an image set becomes.
const NAME: &str = "mirror";

/// What helps where the working folder may not be written.
const OTHER_WORKSPACE: &str = "name a folder that may be written with `--workspace file://DIR`";

/// Take an oc-mirror configuration through, with oc-mirror's flags, files and exit codes
///
/// To `file://DIR` it fetches and writes volumes, `--from file://DIR` loads them into `docker://REGISTRY`, and with
/// `--workspace file://DIR` alone it goes straight there. With `--dry-run` it writes which image would go where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    common: Common,
    /// `file://DIR` or `docker://REGISTRY[/NAMESPACE]`
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
    /// `file://DIR` with the volumes that were carried over
    #[arg(long, value_name = "DIR")]
    from: Option<String>,
    /// Write which image would go where, and stop
    #[arg(long)]
    dry_run: bool,
    /// The same, with every platform of each image
    #[arg(long, conflicts_with = "dry_run")]
    dry_run_manifest_lists: bool,
    /// Secret key to sign the volumes with; repeats [default: the one that `airlift keygen` made]
    #[arg(long, value_name = "KEY")]
    sign: Vec<PathBuf>,
    /// Where one platform of an index is kept, point the tag at it, for registries that refuse sparse indexes
    #[arg(long)]
    single_platform_tags: bool,
    #[command(flatten)]
    accepted: Accepted,
}

/// What oc-mirror does beside mirroring.
#[derive(Debug, Subcommand)]
enum Verb {
    Delete(delete::Args),
    List(list::Args),
    /// Say which version this is
    Version,
}

/// What scripts give, and what does nothing here.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of oc-mirror")]
struct Accepted {
    /// Checked, and else without effect
    #[arg(long, value_name = "yyyy-MM-dd", hide = true)]
    since: Option<String>,
    /// Without effect: silence ends a transfer, not its length
    #[arg(long, value_name = "TIME", value_parser = flags::time, hide = true)]
    image_timeout: Option<Duration>,
    /// Without effect: volumes are never larger than asked for
    #[arg(long, hide = true)]
    strict_archive: bool,
    /// Without effect, which is said: signatures travel with what they sign
    #[arg(long, hide = true)]
    remove_signatures: bool,
    /// Without effect, which is said: digests and bundles are checked, by no policy
    #[arg(long, hide = true)]
    secure_policy: bool,
    /// Without effect
    #[arg(long, value_name = "DIR", hide = true)]
    rootless_storage_path: Option<PathBuf>,
    /// Without effect
    #[arg(short, long, hide = true)]
    quiet: bool,
    /// Without effect
    #[arg(short, long, hide = true)]
    force: bool,
}

/// What it came to, in oc-mirror's bits: any of its failures is no reason for the shell to think of another.
pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    match Box::pin(dispatch(&args, app)).await {
        Ok(exit) => Ok(exit),
        Err(failure) => {
            let failure = remedies::worded(failure);
            app.progress.finish();
            app.progress.say_failure(&FailureDocument::of(&*failure));
            Ok(Exit::Peer(GENERIC))
        }
    }
}

async fn dispatch(args: &Args, app: &App) -> Result<Exit, Failure> {
    args.common.check(app)?;
    args.check_place_of_flags()?;
    match &args.verb {
        None => mirror(args, app).await,
        Some(Verb::Delete(delete)) => delete::run(delete, &args.common, app).await,
        Some(Verb::List(list)) => list::run(list, &args.common, app).await,
        Some(Verb::Version) => {
            app.print(&Version { version: airlift_spec::VERSION, stands_in_for: "oc-mirror v2" })?;
            Ok(Exit::Success)
        }
    }
}

async fn mirror(args: &Args, app: &App) -> Result<Exit, Failure> {
    args.accepted.say(app);
    let way = args.arguments(app).way()?;
    let config = PathBuf::from(args.common.config.clone().unwrap_or_default());
    let set = read_set(&config, Purpose::Mirror)?;
    let run = Run { args, app, way, set, config };
    match run.way.mode {
        Mode::DiskToMirror => run.on_the_far_side().await,
        _ if args.is_dry() => run.dry().await,
        _ => run.bring().await,
    }
}

/// Reads an image set for what it is to be used for.
fn read_set(path: &Path, purpose: Purpose) -> Result<ImageSet, Failure> {
    let in_file = CliError::in_file(path);
    let text = read_text("configuration", path)?;
    let read = || -> Result<ImageSet, ConfigError> {
        let set = ImageSet::parse(&text)?;
        // A name that no registry takes is found out before anything is asked, and said with its file.
        set.translate(NAME)?;
        Ok(set)
    };
    let mut set = read().map_err(|err| in_file(err.into()))?;
    if set.purpose == purpose {
        say_file(&mut set.warnings, path);
        return Ok(set);
    }
    let (kind, verb) = match set.purpose {
        Purpose::Delete => ("DeleteImageSetConfiguration", "oc-mirror delete --generate"),
        Purpose::Mirror => ("ImageSetConfiguration", "oc-mirror"),
    };
    Err(CliError::File {
        path: path.to_owned(),
        line: None,
        message: format!("it is of kind `{kind}`"),
        help: Some(format!("give it to `airlift {verb}`")),
    }
    .into())
}

/// Says of which file the lines in warnings are.
fn say_file(warnings: &mut [Finding], path: &Path) {
    for warning in warnings {
        warning.message = format!("{}: {}", path.display(), warning.message);
    }
}

/// The stack that the image set in `file` is, where `text` is one.
pub(crate) fn as_stack(text: &str, file: &Path) -> Option<Result<Written, Failure>> {
    let is_set = text.lines().any(|line| line.trim_end() == "kind: ImageSetConfiguration");
    is_set.then(|| stack_alone(ImageSet::parse(text)?, file))
}

/// The stack that a set is without asking anybody.
fn stack_alone(mut set: ImageSet, file: &Path) -> Result<Written, Failure> {
    let translation = set.translate(NAME)?;
    if let Some(repository) = translation.whole_repositories.first() {
        return Err(CliError::Refused {
            message: format!(
                "`{}` names no charts, so that only its index says which",
                repository.name
            ),
            help: Some("list them under `charts:`, or use `airlift oc-mirror`".to_owned()),
        }
        .into());
    }
    say_file(&mut set.warnings, file);
    Ok(Written { stack: translation.stack, file: file.to_owned(), warnings: set.warnings })
}

struct Run<'a> {
    args: &'a Args,
    app: &'a App,
    way: Way,
    set: ImageSet,
    config: PathBuf,
}

impl Run<'_> {
    async fn dry(&self) -> Result<Exit, Failure> {
        self.check_workspace()?;
        let upstream = self.set().upstream()?;
        let (stack, lost) = self.set().stack(&upstream).await?;
        let found = discover(&stack, &upstream, &ResolveOptions::default(), &self.app.ctx).await?;
        let (copies, mut done) = self.begun(&found.lock);
        done.add_failures(lost, &found.lock);
        done.add_failures(failed_items(&found.failures, &self.config), &found.lock);
        let children = if self.args.dry_run_manifest_lists {
            plans::children_upstream(&copies, &upstream.client, self.app).await?
        } else {
            Children::new()
        };
        self.write_mapping(&copies, &children)?;
        match self.way.mode {
            Mode::MirrorToMirror => {
                let locks = std::slice::from_ref(&found.lock);
                done.findings.extend(self.write_resources(&copies, locks)?);
            }
            _ => plans::write_missing(&self.way.workspace, &copies, &found.lock, &upstream.store)?,
        }
        self.end(done)
    }

    /// The near side: everything into the store, and from there onto the disk or into the registry.
    async fn bring(&self) -> Result<Exit, Failure> {
        self.check_workspace()?;
        let upstream = self.set().upstream()?;
        let (stack, lost) = self.set().stack(&upstream).await?;
        // What the set itself gives reason to say is said at the end.
        let written = Written { stack, file: self.config.clone(), warnings: Vec::new() };
        // As the peer does, each run looks up anew where tags lead.
        let options = ResolveOptions { update: Update::Everything, ..ResolveOptions::default() };
        let file = self.way.workspace.root().join(LOCK);
        let (lock, resolved) = pin(&written, &file, &upstream, &options, false, self.app).await?;
        self.app.say(resolved.summary());
        let pinned = without(&lock, |artifact| artifact.digest.is_none());
        let fetched = bring(&pinned, &upstream, &self.args.common.transfer(), self.app).await?;
        self.app.say(fetched.summary());

        let (copies, mut done) = self.begun(&lock);
        done.findings.extend(fetched.findings);
        let is_absent: BTreeSet<String> =
            fetched.failures.iter().map(|failed| failed.item.clone()).collect();
        done.add_failures(lost, &lock);
        done.add_failures(resolved.into_failures(), &lock);
        done.add_failures(fetched.failures, &lock);
        if !done.has_failed() {
            records::write_pinned(&self.config, &self.set, &lock, &self.way.workspace)?;
        }
        if self.way.mode == Mode::MirrorToMirror {
            let here = without(&pinned, |it| is_absent.contains(&it.reference.to_string()));
            let source = Source::Store(upstream.store.root().to_owned());
            let client = self.far_client()?;
            let sources = SourceArgs::of(source).open(&client, self.app).await?;
            return self.load(&sources.with_locks(vec![here]), client, &copies, done).await;
        }
        done.is_withheld = done.has_failed();
        if !done.is_withheld {
            let (size, sign) = (self.set.archive_size_gib, self.args.sign.clone());
            let making = Making::of_image_set(&self.way.root, size, NAME, sign);
            done.bundle = Some(create(making, vec![lock], upstream.store, false, self.app).await?);
        }
        self.end(done)
    }

    /// The far side: what was carried over goes into the registry.
    async fn on_the_far_side(&self) -> Result<Exit, Failure> {
        let (source, client) = (Source::Volumes(self.way.root.clone()), self.far_client()?);
        let sources = SourceArgs::of(source).open(&client, self.app).await?;
        self.check_workspace()?;
        let without_lock = sources.without_lock();
        if !without_lock.is_empty() {
            // Nobody knows what the bundle has of the set, and so what it lacks.
            return self.end(Done::new(0, without_lock.to_vec()));
        }
        let Carried { locks, mut findings, lacking } = self.set.carried(sources.locks(), NAME)?;
        let sources = sources.with_locks(locks);
        let items: BTreeSet<Item> =
            sources.locks().iter().flat_map(|lock| self.set.items(lock)).collect();
        let items: Vec<Item> = items.into_iter().collect();
        let (copies, blocked) = self.set.copies(&items, &self.routes());
        findings.extend(blocked);
        let mut done = Done::new(self.arriving(&copies), findings);
        done.add_lacking(lacking);
        if !self.args.is_dry() {
            return self.load(&sources, client, &copies, done).await;
        }
        let children = if self.args.dry_run_manifest_lists {
            plans::children_of(sources.locks(), &copies)
        } else {
            Children::new()
        };
        self.write_mapping(&copies, &children)?;
        done.findings.extend(self.write_resources(&copies, sources.locks())?);
        self.end(done)
    }

    async fn load(
        &self,
        sources: &Sources,
        client: Client,
        copies: &[Copy],
        mut done: Done,
    ) -> Result<Exit, Failure> {
        let request = self.way.workspace.root().join("missing.airlift.yaml");
        let transfer = self.args.common.transfer();
        let nested = self.args.common.nested_paths();
        let mut loading = Loading::of_image_set(self.far()?, nested, request, transfer);
        loading.single_platform_tags = self.args.single_platform_tags;
        let loaded = load(&loading, sources, client, self.app).await?;
        done.add_load(loaded, sources.locks());
        done.findings.extend(self.write_resources(copies, sources.locks())?);
        self.end(done)
    }

    /// Before anything is asked or pushed.
    fn check_workspace(&self) -> Result<(), CliError> {
        let help = match self.way.mode {
            Mode::MirrorToDisk => "choose a destination that may be written",
            _ => OTHER_WORKSPACE,
        };
        check_writable(&self.way.workspace, help)
    }

    fn far(&self) -> Result<RegistryPlace, CliError> {
        let registry = self.way.registry.as_deref().unwrap_or_default();
        registry.parse().map_err(|err| CliError::usage(format!("{err}")))
    }

    fn far_client(&self) -> Result<Client, Failure> {
        let (common, host) = (&self.args.common, self.far()?.host);
        let reach = common.reach(Side::Far, &[host].into())?;
        self.app.connect_by(Side::Far, &common.transfer(), &reach)
    }

    fn set(&self) -> Set<'_> {
        let (common, app) = (&self.args.common, self.app);
        let workspace = &self.way.workspace;
        Set { common, app, config: &self.config, workspace, content: &self.set }
    }

    fn routes(&self) -> Routes {
        Routes {
            mode: self.way.mode,
            cache: self.set().cache(),
            registry: self.way.registry.clone().unwrap_or_default(),
            max_nested_paths: self.args.common.nested_paths(),
        }
    }

    /// What goes where of all that a lock holds, and what is blocked.
    fn copies(&self, lock: &Lock) -> (Vec<Copy>, Vec<Finding>) {
        self.set.copies(&self.set.items(lock), &self.routes())
    }

    /// What goes where, and a report that begins with what is known of the lock.
    fn begun(&self, lock: &Lock) -> (Vec<Copy>, Done) {
        let (copies, mut findings) = self.copies(lock);
        findings.extend(lock.findings.iter().cloned());
        let done = Done::new(self.arriving(&copies), findings);
        (copies, done)
    }

    /// How many of the copies end where the run leads: straight to a registry, a catalog goes into the cache as well.
    fn arriving(&self, copies: &[Copy]) -> u64 {
        let cache = format!("docker://{}/", self.set().cache());
        let is_stop = |copy: &&Copy| {
            self.way.mode != Mode::MirrorToDisk && copy.destination.starts_with(&cache)
        };
        copies.iter().filter(|copy| !is_stop(copy)).count() as u64
    }

    /// Which image would go where, in a folder that is made anew.
    fn write_mapping(&self, copies: &[Copy], children: &Children) -> Result<(), Failure> {
        let folder = self.way.workspace.dry_run();
        match fs_err::remove_dir_all(&folder) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                return Err(CliError::Write { what: "the working folder", source: err }.into());
            }
            _ => {}
        }
        write(&self.way.workspace.mapping(), plans::mapping(copies, children))
    }

    fn write_resources(&self, copies: &[Copy], locks: &[Lock]) -> Result<Vec<Finding>, Failure> {
        let templates = self.set.operators.iter().filter_map(|operator| operator.template.clone());
        let read = |path: String| {
            let text = fs_err::read_to_string(&path).map_err(|err| err.to_string());
            (path, text)
        };
        let signatures: Vec<_> = locks.iter().flat_map(Signature::of_lock).collect();
        for (tag, signature) in &signatures {
            let path = self.way.workspace.signature(tag, signature.release);
            write(&path, &signature.bytes)?;
        }
        let routes = self.routes();
        let mirrored = Mirrored {
            routes: &routes,
            copies,
            operators: &self.set.operators,
            templates: templates.map(read).collect(),
            signatures: signatures.into_iter().map(|(_, signature)| signature).collect(),
        };
        let (resources, findings) = cluster_resources(&mirrored)?;
        let folder = self.way.workspace.cluster_resources();
        for file in &resources {
            write(&folder.join(&file.name), &file.text)?;
        }
        // What an earlier set wanted of the cluster, this one does not.
        if !self.args.is_dry() {
            remove_others(&folder, &resources)?;
        }
        Ok(findings)
    }
}

impl Args {
    fn is_dry(&self) -> bool {
        self.dry_run || self.dry_run_manifest_lists
    }

    fn arguments(&self, app: &App) -> Arguments {
        let common = &self.common;
        Arguments {
            config: common.config.clone(),
            destination: self.destination.clone().unwrap_or_default(),
            from: self.from.clone(),
            workspace: common.workspace.clone(),
            since: self.accepted.since.clone(),
            cache_dir: common.cache_dir.clone(),
            cache_variable: app.environment.oc_mirror_cache(),
            log_level: common.log_level.clone(),
            parallel_images: common.images(),
            parallel_layers: common.layers(),
            max_nested_paths: self.common.nested_paths(),
        }
    }

    /// What is said of mirroring before the name of another verb would be dropped: a `--dry-run` that deletes.
    fn check_place_of_flags(&self) -> Result<(), CliError> {
        let flags = [
            ("--dry-run", self.dry_run),
            ("--dry-run-manifest-lists", self.dry_run_manifest_lists),
            ("--from", self.from.is_some()),
        ];
        match flags.into_iter().find(|(_, is_given)| *is_given && self.verb.is_some()) {
            None => Ok(()),
            Some((flag, _)) => Err(CliError::Usage {
                message: format!("`{flag}` before the name of a verb is of mirroring alone"),
                help: Some("write it behind the verb, if that has such a flag".to_owned()),
            }),
        }
    }
}

impl Accepted {
    /// Says of what somebody may count on that it does nothing.
    fn say(&self, app: &App) {
        if self.remove_signatures {
            flags::warn(app, "--remove-signatures", "signatures travel with what they sign");
        }
        if self.secure_policy {
            flags::warn(app, "--secure-policy", flags::NO_POLICY);
        }
    }
}

/// The lock without some of its artifacts.
fn without(lock: &Lock, is_out: impl Fn(&Artifact) -> bool) -> Lock {
    let mut rest = lock.clone();
    rest.artifacts.retain(|artifact| !is_out(artifact));
    rest
}

/// Removes the files of a folder that are none of `kept`.
fn remove_others(folder: &Path, kept: &[File]) -> Result<(), CliError> {
    let failed = |source| CliError::Write { what: "the working folder", source };
    let entries = match fs_err::read_dir(folder) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_kept = kept.iter().any(|file| entry.file_name() == file.name.as_str());
        if !is_kept && entry.file_type().map_err(failed)?.is_file() {
            fs_err::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn check_writable(workspace: &Workspace, help: &'static str) -> Result<(), CliError> {
    let folder = workspace.root();
    let failed = |source| CliError::Workspace { folder: folder.to_owned(), help, source };
    files::check_writable(folder).map_err(failed)
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    let failed = |source| CliError::Write { what: "the working folder", source };
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder).map_err(failed)?;
    }
    Ok(files::replace(path, content.as_ref()).map_err(failed)?)
}

/// Which version stands in for which tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    stands_in_for: &'static str,
}

impl Report for Version {
    fn to_text(&self) -> String {
        format!("airlift {}, in the place of {}", self.version, self.stands_in_for)
    }
}
