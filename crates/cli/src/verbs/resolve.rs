use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use airlift_spec::oci::total_bytes;
use airlift_spec::{Digest, Failure, Finding, Lock, Reference, Stack, stack};
use airlift_upstream::resolve::{ResolveOptions, Update, Upstream, check_upstream, resolve};
use airlift_upstream::{Indexes, UpstreamError, inputs};
use serde::Serialize;

use super::fetch::folder_of;
use crate::app::{App, Exit, LOCK, Side, read_file, read_lock, read_text};
use crate::args::Transfer;
use crate::changes::{Change, changes, changes_text};
use crate::error::CliError;
use crate::failure::{FailedItem, failed_items, failed_items_text};
use crate::files;
use crate::output::{Report, counted, findings_text, joined};
use crate::size::human;

/// Pin everything that a stack wants, in a lock
///
/// Pins that a lock has already stay where they are, unless `--update` moves them.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag, and clap says which go together"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Only say whether the lock still answers the stack; asks nobody and needs no store
    #[arg(long, conflicts_with_all = ["update", "check_upstream", "offline"])]
    locked: bool,
    /// Move the pins of these references, or all pins where none is named
    #[arg(long, value_name = "REF", num_args = 0.., conflicts_with = "offline")]
    update: Option<Vec<Reference>>,
    /// Only say which tags and addresses lead elsewhere upstream than the lock does
    #[arg(long, conflicts_with_all = ["update", "offline"])]
    check_upstream: bool,
    /// Ask nobody: what no lock pins stays open
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    transfer: Transfer,
    /// Say what would change, and leave the lock as it is
    #[arg(long)]
    dry_run: bool,
}

/// The stack and its lock.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// The stack
    #[arg(short = 'f', long = "file", value_name = "FILE", default_value = "airlift.yaml")]
    pub(crate) stack: PathBuf,
    /// The lock
    #[arg(long, value_name = "FILE", default_value = LOCK)]
    pub(crate) lock: PathBuf,
}

/// A stack that was read.
pub(crate) struct Written {
    pub(crate) stack: Stack,
    pub(crate) file: PathBuf,
    /// What there is to say of the file itself, and so stands in no lock.
    pub(crate) warnings: Vec<Finding>,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let written = read_stack(&args.files.stack)?;
    if args.locked {
        return check_lock(&written, &args.files, app);
    }
    let upstream = Upstream {
        client: app.connect(Side::Near, &args.transfer)?,
        store: app.create_store()?,
        base: folder_of(&args.files.stack),
        programs: app.environment.programs(),
        releases: app.environment.release_places(),
        indexes: Indexes::default(),
    };
    if args.check_upstream {
        return look_upstream(&args.files, &upstream, app).await;
    }
    let update = update(&written.stack, args.update)?;
    let options = ResolveOptions { update, offline: args.offline, ..ResolveOptions::default() };
    let lock = &args.files.lock;
    let (_, resolved) = pin(&written, lock, &upstream, &options, args.dry_run, app).await?;
    app.print(&resolved)?;
    Ok(resolved.exit())
}

/// Resolves the stack, writes its lock if anything in it changed, and says what came of it.
pub(crate) async fn pin(
    written: &Written,
    lock: &Path,
    upstream: &Upstream,
    options: &ResolveOptions,
    dry_run: bool,
    app: &App,
) -> Result<(Lock, Resolved), Failure> {
    let before = read_lock_if_there(lock)?;
    let resolved = resolve(&written.stack, before.as_ref(), upstream, options, &app.ctx).await;
    let resolution = resolved.map_err(|err| of_file(err, &written.file))?;
    let failures = failed_items(&resolution.failures, &written.file);
    let mut resolved = Resolved::of(before.as_ref(), &resolution.lock, failures, dry_run);
    if !dry_run && resolved.is_changed {
        write_lock(lock, &resolution.lock)?;
    }
    resolved.findings.extend(written.warnings.iter().cloned());
    Ok((resolution.lock, resolved))
}

pub(crate) fn read_stack(path: &Path) -> Result<Written, Failure> {
    let help = "write one, or name it with `-f FILE`";
    read_file("stack", path, Some(help))?;
    let in_file = CliError::in_file(path);
    let text = read_text("stack", path)?;
    if let Some(written) = super::oc_mirror::as_stack(&text, path) {
        return written.map_err(|err| in_file(err).into());
    }
    let stack = stack::parse(&text).map_err(|err| in_file(err.into()))?;
    Ok(Written { stack, file: path.to_owned(), warnings: Vec::new() })
}

/// An error that names a line of the stack, with the file that it is of.
fn of_file(err: UpstreamError, file: &Path) -> Failure {
    if err.line().is_none() {
        return err.into();
    }
    CliError::in_file(file)(err.into()).into()
}

fn read_lock_if_there(path: &Path) -> Result<Option<Lock>, Failure> {
    let is_there =
        path.try_exists().map_err(|source| CliError::Read { what: "the lock", source })?;
    is_there.then(|| read_lock(path)).transpose()
}

fn write_lock(path: &Path, lock: &Lock) -> Result<(), CliError> {
    let text = lock.to_text();
    files::replace(path, text.as_bytes())
        .map_err(|source| CliError::Write { what: "the lock", source })
}

/// Which pins may move. A name without its tag means every reference that the stack has of it.
pub(crate) fn update(stack: &Stack, wanted: Option<Vec<Reference>>) -> Result<Update, CliError> {
    let Some(wanted) = wanted else { return Ok(Update::Nothing) };
    if wanted.is_empty() {
        return Ok(Update::Everything);
    }
    let known: Vec<&Reference> = stack.wanted_images().map(|source| &source.reference).collect();
    let mut chosen = BTreeSet::new();
    for reference in &wanted {
        let exact: Vec<_> = known.iter().filter(|known| **known == reference).collect();
        let named = known.iter().filter(|known| known.repository() == reference.repository());
        let found = if exact.is_empty() { named.collect() } else { exact };
        if found.is_empty() {
            return Err(CliError::usage(format!("`{reference}` is not in stack `{}`", stack.name)));
        }
        chosen.extend(found.into_iter().map(|reference| (*reference).clone()));
    }
    Ok(Update::Only(chosen))
}

/// `--locked`: a lock that is stale is a finding, not an error.
fn check_lock(written: &Written, files: &Files, app: &App) -> Result<Exit, Failure> {
    let (lock, stack) = (read_lock(&files.lock)?, &written.stack);
    let inputs = inputs(stack, &folder_of(&written.file));
    let inputs = inputs.map_err(|err| of_file(err, &written.file))?;
    let stale = lock.satisfies(stack, &inputs).err();
    let findings: Vec<Finding> = stale.iter().map(|stale| stale.finding(&stack.name)).collect();
    report(&Checked { stack: lock.stack, findings, failures: Vec::new() }, app)
}

async fn look_upstream(files: &Files, upstream: &Upstream, app: &App) -> Result<Exit, Failure> {
    let lock = read_lock(&files.lock)?;
    let options = ResolveOptions::default();
    let (findings, failures) = check_upstream(&lock, upstream, &options, &app.ctx).await?;
    let failures = failures.iter().map(|failed| FailedItem::of(&failed.reference, &failed.error));
    report(&Checked { stack: lock.stack, findings, failures: failures.collect() }, app)
}

fn report(checked: &Checked, app: &App) -> Result<Exit, Failure> {
    app.print(checked)?;
    Ok(Exit::of_parts(&checked.failures, &checked.findings))
}

/// What a look at the lock came to that changes nothing.
#[derive(Debug, Serialize)]
struct Checked {
    stack: String,
    findings: Vec<Finding>,
    failures: Vec<FailedItem>,
}

impl Report for Checked {
    fn to_text(&self) -> String {
        let is_well = self.findings.is_empty() && self.failures.is_empty();
        joined([
            Some(findings_text(&self.findings)),
            failed_items_text(&self.failures),
            is_well.then(|| format!("the lock of {} is up to date", self.stack)),
        ])
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resolved {
    stack: String,
    lock: Digest,
    dry_run: bool,
    is_changed: bool,
    artifacts: u64,
    bytes: u64,
    changes: Vec<Change>,
    findings: Vec<Finding>,
    failures: Vec<FailedItem>,
}

impl Resolved {
    fn of(before: Option<&Lock>, after: &Lock, failures: Vec<FailedItem>, dry_run: bool) -> Self {
        Self {
            stack: after.stack.clone(),
            lock: after.digest(),
            dry_run,
            is_changed: before.is_none_or(|before| before.to_text() != after.to_text()),
            artifacts: after.artifacts.len() as u64,
            bytes: total_bytes(after.artifacts.iter().map(|artifact| artifact.bytes)),
            changes: changes(before, after),
            findings: after.findings.clone(),
            failures,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        Exit::of_parts(&self.failures, &self.findings)
    }

    /// What came of it, without what was found and what failed.
    pub(crate) fn summary(&self) -> String {
        joined([Some(changes_text(&self.changes)), Some(self.line())])
    }

    fn line(&self) -> String {
        let verb = match (self.is_changed, self.dry_run) {
            (false, _) => "unchanged",
            (true, true) => "not written",
            (true, false) => "written",
        };
        format!(
            "{}: {}, {} at most, lock {verb}",
            self.stack,
            counted(self.artifacts, "artifact"),
            human(self.bytes)
        )
    }

    /// What was found, and what failed.
    pub(crate) fn remarks(&self) -> String {
        joined([Some(findings_text(&self.findings)), failed_items_text(&self.failures)])
    }

    pub(crate) fn into_failures(self) -> Vec<FailedItem> {
        self.failures
    }
}

impl Report for Resolved {
    fn to_text(&self) -> String {
        joined([Some(changes_text(&self.changes)), Some(self.remarks()), Some(self.line())])
    }
}
