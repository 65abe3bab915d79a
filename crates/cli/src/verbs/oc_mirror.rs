use std::path::{Path, PathBuf};

use airlift_oc_mirror::{
    Arguments, Copy, GENERIC, ImageSet, Kind, Mirrored, Mode, Purpose, Routes, Signature, Way,
    cluster_resources, exit_code, failed_kind, mapping,
};
use airlift_spec::{Failure, Finding, Lock, Stack};
use airlift_upstream::releases::ReleasePlaces;
use airlift_upstream::resolve::{ResolveOptions, Upstream, discover};
use serde::Serialize;

use super::bundle::create::{Making, create};
use super::fetch::bring;
use super::load::{Loading, load};
use super::resolve::pin;
use crate::app::{App, Exit, Side, read_text};
use crate::args::Transfer;
use crate::error::CliError;
use crate::failure::{FailedItem, FailureDocument, failed_items_text};
use crate::files;
use crate::output::{Report, counted, findings_text, joined};
use crate::place::Source;
use crate::sources::SourceArgs;

/// Names of the bundle and of the stack that an image set becomes.
const NAME: &str = "mirror";

/// Take an oc-mirror configuration through, with oc-mirror's flags, files and exit codes
///
/// To `file://DIR` it fetches and writes volumes, `--from file://DIR` loads them into `docker://REGISTRY`, and with
/// `--workspace file://DIR` it goes straight there. With `--dry-run` it writes which image would go where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `file://DIR` or `docker://REGISTRY[/NAMESPACE]`
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// The `ImageSetConfiguration`
    #[arg(short, long, value_name = "FILE")]
    config: Option<String>,
    /// `file://DIR` with the volumes that were carried over
    #[arg(long, value_name = "DIR")]
    from: Option<String>,
    /// `file://DIR` for what is written on the way straight to a registry
    #[arg(long, value_name = "DIR")]
    workspace: Option<String>,
    /// Write which image would go where, and stop
    #[arg(long)]
    dry_run: bool,
    /// The most parts that a repository may have in the registry
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_nested_paths: usize,
    /// Folder for the store
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<String>,
    /// Port of oc-mirror's cache, which its names of images have
    #[arg(short, long, default_value_t = 55000)]
    port: u16,
    /// Images at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    parallel_images: u32,
    /// Take releases that no trusted key has signed, and say so
    #[arg(long, hide = true)]
    ignore_release_signature: bool,
    #[command(flatten)]
    accepted: Accepted,
}

/// What scripts give, and what does nothing here.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of oc-mirror")]
struct Accepted {
    /// The version whose rules are kept to, which is always 2
    #[arg(long)]
    v2: bool,
    /// Refused: version 1 is gone
    #[arg(long, conflicts_with = "v2")]
    v1: bool,
    /// Checked, and else without effect
    #[arg(long, value_name = "yyyy-MM-dd", hide = true)]
    since: Option<String>,
    /// Checked, and else without effect: see `-v`
    #[arg(long, default_value = "info", hide = true)]
    log_level: String,
    /// Checked, and else without effect
    #[arg(long, default_value_t = 5, hide = true)]
    parallel_layers: u32,
    /// Without effect: silence ends a transfer, not its length
    #[arg(long, hide = true)]
    image_timeout: Option<String>,
    /// Without effect: what can be tried again is
    #[arg(long, hide = true)]
    retry_times: Option<u32>,
    /// Without effect
    #[arg(long, hide = true)]
    retry_delay: Option<String>,
    /// Without effect: volumes are never larger than asked for
    #[arg(long, hide = true)]
    strict_archive: bool,
    /// Without effect: signatures travel with what they sign
    #[arg(long, hide = true)]
    remove_signatures: bool,
}

/// What it came to, in oc-mirror's bits: any of its failures is no reason for the shell to think of another.
pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    match Box::pin(mirror(&args, app)).await {
        Ok(exit) => Ok(exit),
        Err(failure) => {
            app.progress.finish();
            app.progress.say_failure(&FailureDocument::of(&*failure));
            Ok(Exit::Peer(GENERIC))
        }
    }
}

async fn mirror(args: &Args, app: &App) -> Result<Exit, Failure> {
    if args.accepted.v1 {
        return Err(CliError::usage("version 1 of oc-mirror is gone; use `--v2`").into());
    }
    let way = args.arguments().way()?;
    let config = args.config.clone().unwrap_or_default();
    let set = read_set(Path::new(&config))?;
    let stack = translated(&set)?;
    if set.platform.is_wanted() && args.nested_paths().is_some() {
        return Err(CliError::Refused {
            message: "`--max-nested-paths` cannot be kept to for releases yet".to_owned(),
            help: Some("mirror `platform:` by a configuration of its own, without it".to_owned()),
        }
        .into());
    }
    let run = Run { args, app, way, set, stack, config: PathBuf::from(config) };
    match run.way.mode {
        Mode::DiskToMirror => run.on_the_far_side().await,
        _ if args.dry_run => run.dry().await,
        _ => run.bring().await,
    }
}

/// Reads an image set, and says what its writer may expect in vain.
fn read_set(path: &Path) -> Result<ImageSet, Failure> {
    let in_file = CliError::in_file(path);
    let text = read_text("configuration", path)?;
    Ok(ImageSet::parse(&text).map_err(|err| in_file(err.into()))?)
}

/// The stack that an image set is, where `text` is one.
pub(crate) fn as_stack(text: &str) -> Option<Result<Stack, Failure>> {
    let is_set = text.lines().any(|line| line.trim_end() == "kind: ImageSetConfiguration");
    is_set.then(|| translated(&ImageSet::parse(text)?))
}

/// The stack that a set is. What cannot be carried yet is refused, never left out.
fn translated(set: &ImageSet) -> Result<Stack, Failure> {
    if set.purpose == Purpose::Delete {
        return Err(not_yet("a `DeleteImageSetConfiguration`"));
    }
    let translation = set.translate(NAME)?;
    if let Some(repository) = translation.whole_repositories.first() {
        return Err(not_yet(&format!(
            "a Helm repository without `charts:`, `{}`,",
            repository.name
        )));
    }
    Ok(translation.stack)
}

fn not_yet(what: &str) -> Failure {
    CliError::Refused {
        message: format!("{what} cannot be carried by this version of airlift"),
        help: Some("take it out of the file, and bring it with oc-mirror".to_owned()),
    }
    .into()
}

struct Run<'a> {
    args: &'a Args,
    app: &'a App,
    way: Way,
    set: ImageSet,
    stack: Stack,
    config: PathBuf,
}

impl Run<'_> {
    async fn dry(&self) -> Result<Exit, Failure> {
        let upstream = self.upstream()?;
        let found =
            discover(&self.stack, &upstream, &ResolveOptions::default(), &self.app.ctx).await?;
        let (copies, mut findings) = self.copies(&found.lock);
        findings.extend(found.lock.findings.iter().cloned());
        let failures = found.failures.iter();
        let failures: Vec<_> =
            failures.map(|failed| FailedItem::of(&failed.reference, &failed.error)).collect();
        self.write_mapping(&copies)?;
        if self.way.mode == Mode::MirrorToMirror {
            self.write_resources(&copies, std::slice::from_ref(&found.lock))?;
        }
        let kinds = failed_kinds(&failures, &found.lock);
        self.end(findings, failures, kinds, copies.len())
    }

    /// The near side: everything into the store, and from there onto the disk or into the registry.
    async fn bring(&self) -> Result<Exit, Failure> {
        let upstream = self.upstream()?;
        let options = ResolveOptions::default();
        let lock = self.way.workspace.root().join("airlift.lock");
        let (lock, resolved) =
            pin(&self.stack, &lock, &upstream, &options, false, self.app).await?;
        self.app.say(resolved.to_text());
        if resolved.exit() != Exit::Success {
            return self.failed(resolved.into_failures(), &lock);
        }
        let fetched = bring(&lock, &upstream, &Transfer::default(), self.app).await?;
        self.app.say(fetched.to_text());
        if fetched.exit() != Exit::Success {
            return self.failed(fetched.failures, &lock);
        }
        if self.way.mode == Mode::MirrorToDisk {
            let making = Making::of_image_set(&self.way.root, self.set.archive_size_gib, NAME);
            let made = create(making, vec![lock], upstream.store, false, self.app).await?;
            self.app.print(&made)?;
            return Ok(made.exit());
        }
        let (copies, _) = self.copies(&lock);
        let store = Source::Store(upstream.store.root().to_owned());
        self.load(store, &copies).await
    }

    /// The end of a run that did not come to what it was for.
    fn failed(&self, failures: Vec<FailedItem>, lock: &Lock) -> Result<Exit, Failure> {
        let (copies, mut findings) = self.copies(lock);
        findings.extend(lock.findings.iter().cloned());
        let kinds = failed_kinds(&failures, lock);
        let exit = self.end(findings, failures, kinds, copies.len())?;
        // An error that is a finding alone is of no kind of content.
        Ok(if exit == Exit::Success { Exit::Peer(GENERIC) } else { exit })
    }

    /// The far side: what was carried over goes into the registry.
    async fn on_the_far_side(&self) -> Result<Exit, Failure> {
        let source = Source::Volumes(self.way.root.clone());
        let client = self.app.connect(Side::Far, &Transfer::default())?;
        let sources = SourceArgs::of(source.clone()).open(&client, self.app).await?;
        let mut copies = Vec::new();
        for lock in sources.locks() {
            copies.extend(self.copies(lock).0);
        }
        if self.args.dry_run {
            self.write_mapping(&copies)?;
            self.write_resources(&copies, sources.locks())?;
            return self.end(Vec::new(), Vec::new(), Vec::new(), copies.len());
        }
        self.load(source, &copies).await
    }

    async fn load(&self, source: Source, copies: &[Copy]) -> Result<Exit, Failure> {
        let registry = self.way.registry.as_deref().unwrap_or_default();
        let place = registry.parse().map_err(|err| CliError::usage(format!("{err}")))?;
        let request = self.way.workspace.root().join("missing.airlift.yaml");
        let loading = Loading::of_image_set(place, self.args.nested_paths(), request);
        let client = self.app.connect(Side::Far, loading.transfer())?;
        let sources = SourceArgs::of(source).open(&client, self.app).await?;
        let exit = load(&loading, &sources, client, self.app).await?;
        self.write_resources(copies, sources.locks())?;
        Ok(if exit == Exit::Success { exit } else { Exit::Peer(GENERIC) })
    }

    fn upstream(&self) -> Result<Upstream, Failure> {
        let store = match &self.args.cache_dir {
            Some(folder) => airlift_store::Store::create(&Path::new(folder).join("airlift"))?,
            None => self.app.create_store()?,
        };
        Ok(Upstream {
            client: self.app.connect(Side::Near, &Transfer::default())?,
            store,
            base: super::fetch::folder_of(&self.config),
            programs: self.app.environment.programs(),
            releases: ReleasePlaces {
                trust_without_signature: self.args.ignore_release_signature,
                answers: Some(self.way.workspace.graphs()),
                ..self.app.environment.release_places()
            },
        })
    }

    fn routes(&self) -> Routes {
        Routes {
            mode: self.way.mode,
            cache: format!("localhost:{}", self.args.port),
            registry: self.way.registry.clone().unwrap_or_default(),
            max_nested_paths: self.args.nested_paths(),
        }
    }

    /// What goes where of all that a lock holds, and what is blocked.
    fn copies(&self, lock: &Lock) -> (Vec<Copy>, Vec<Finding>) {
        self.set.copies(&self.set.items(lock), &self.routes())
    }

    fn write_mapping(&self, copies: &[Copy]) -> Result<(), Failure> {
        write(&self.way.workspace.mapping(), mapping(copies))
    }

    fn write_resources(&self, copies: &[Copy], locks: &[Lock]) -> Result<(), Failure> {
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
        for file in resources {
            write(&folder.join(file.name), file.text)?;
        }
        if !findings.is_empty() {
            self.app.say(findings_text(&findings));
        }
        Ok(())
    }

    fn end(
        &self,
        mut findings: Vec<Finding>,
        failures: Vec<FailedItem>,
        kinds: Vec<Kind>,
        images: usize,
    ) -> Result<Exit, Failure> {
        findings.extend(self.set.warnings.iter().cloned());
        let workspace = self.way.workspace.root().to_owned();
        let done = Done { images: images as u64, workspace, findings, failures };
        self.app.print(&done)?;
        Ok(if kinds.is_empty() { Exit::Success } else { Exit::Peer(exit_code(kinds)) })
    }
}

impl Args {
    fn arguments(&self) -> Arguments {
        Arguments {
            config: self.config.clone(),
            destination: self.destination.clone(),
            from: self.from.clone(),
            workspace: self.workspace.clone(),
            since: self.accepted.since.clone(),
            cache_dir: self.cache_dir.clone(),
            cache_variable: None,
            log_level: self.accepted.log_level.clone(),
            parallel_images: self.parallel_images,
            parallel_layers: self.accepted.parallel_layers,
            max_nested_paths: self.nested_paths(),
        }
    }

    fn nested_paths(&self) -> Option<usize> {
        Some(self.max_nested_paths).filter(|most| *most > 0)
    }
}

fn failed_kinds(failures: &[FailedItem], lock: &Lock) -> Vec<Kind> {
    failures.iter().map(|failed| failed_kind(&failed.item, lock)).collect()
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    let failed = |source| CliError::Write { what: "the working folder", source };
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder).map_err(failed)?;
    }
    Ok(files::replace(path, content.as_ref()).map_err(failed)?)
}

/// What a run came to.
#[derive(Debug, Serialize)]
struct Done {
    images: u64,
    workspace: PathBuf,
    findings: Vec<Finding>,
    failures: Vec<FailedItem>,
}

impl Report for Done {
    fn to_text(&self) -> String {
        let images = counted(self.images, "image");
        joined([
            Some(findings_text(&self.findings)),
            failed_items_text(&self.failures),
            Some(format!("{images}, see {}", self.workspace.display())),
        ])
    }
}
