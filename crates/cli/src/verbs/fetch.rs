use std::path::{Path, PathBuf};

use airlift_spec::oci::total_bytes;
use airlift_spec::{Failure, Finding, Lock};
use airlift_store::{Store, StoreError};
use airlift_upstream::Indexes;
use airlift_upstream::fetch::{FetchOptions, FetchPlan, Fetched, fetch, plan};
use airlift_upstream::resolve::Upstream;
use serde::Serialize;

use crate::app::{App, Exit, LOCK, Side, blocking, read_lock};
use crate::args::Transfer;
use crate::failure::{FailedItem, failed_items_text};
use crate::output::{Report, counted, findings_text, joined};
use crate::size::human;

/// Bring everything that a lock names into the store
///
/// Skips what is there and goes on with what is half there, so it may be interrupted and repeated at any time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lock to fetch
    #[arg(long, value_name = "FILE", default_value = LOCK)]
    lock: PathBuf,
    #[command(flatten)]
    transfer: Transfer,
    /// Say what would be downloaded, then stop
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let lock = read_lock(&args.lock)?;
    if args.dry_run {
        let planned = blocking({
            let (lock, store) = (lock.clone(), app.store_folder()?);
            move || look(&lock, &store)
        });
        app.print(&Planned::of(&lock, planned.await??.as_ref()))?;
        return Ok(Exit::Success);
    }
    let upstream = Upstream {
        client: app.connect(Side::Near, &args.transfer)?,
        store: app.create_store()?,
        base: folder_of(&args.lock),
        programs: app.environment.programs(),
        releases: app.environment.release_places(),
        indexes: Indexes::default(),
    };
    let brought = bring(&lock, &upstream, &args.transfer, app).await?;
    app.print(&brought)?;
    Ok(brought.exit())
}

/// Fetches the lock, and says what came of it.
pub(crate) async fn bring(
    lock: &Lock,
    upstream: &Upstream,
    transfer: &Transfer,
    app: &App,
) -> Result<Brought, Failure> {
    let defaults = FetchOptions::default();
    let max_in_flight = transfer.parallel.unwrap_or(defaults.max_in_flight);
    let fetched = fetch(lock, upstream, &FetchOptions { max_in_flight }, &app.ctx).await?;
    Ok(Brought::of(lock, fetched))
}

/// The folder that relative paths in a file start from.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// What is missing; none where there is no store yet, and saying so must not make one.
fn look(lock: &Lock, store: &Path) -> Result<Option<FetchPlan>, Failure> {
    match Store::open(store) {
        Ok(store) => Ok(Some(plan(lock, &store)?)),
        Err(StoreError::Absent { .. }) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    stack: String,
    dry_run: bool,
    artifacts: u64,
    missing_blobs: u64,
    missing_bytes: u64,
    present_blobs: u64,
    present_bytes: u64,
    /// Manifests that are missing: what they lead to is counted only by the lock's sums.
    unread_manifests: u64,
    lock_bytes: u64,
}

impl Planned {
    fn of(lock: &Lock, plan: Option<&FetchPlan>) -> Self {
        let artifacts = lock.artifacts.len() as u64;
        let count = |pick: fn(&FetchPlan) -> &Vec<airlift_spec::Descriptor>| {
            let blobs = plan.map(pick).map(Vec::as_slice).unwrap_or_default();
            (blobs.len() as u64, total_bytes(blobs.iter().map(|blob| blob.size)))
        };
        let (missing_blobs, missing_bytes) = count(|plan| &plan.missing);
        let (present_blobs, present_bytes) = count(|plan| &plan.present);
        let (unread, _) = count(|plan| &plan.unread);
        Self {
            stack: lock.stack.clone(),
            dry_run: true,
            artifacts,
            missing_blobs,
            missing_bytes,
            present_blobs,
            present_bytes,
            unread_manifests: if plan.is_some() { unread } else { artifacts },
            lock_bytes: total_bytes(lock.artifacts.iter().map(|artifact| artifact.bytes)),
        }
    }
}

impl Report for Planned {
    fn to_text(&self) -> String {
        let missing = format!(
            "{} ({}) to fetch, {} ({}) in the store",
            counted(self.missing_blobs, "blob"),
            human(self.missing_bytes),
            counted(self.present_blobs, "blob"),
            human(self.present_bytes),
        );
        if self.unread_manifests == 0 {
            return missing;
        }
        let unread = counted(self.unread_manifests, "manifest");
        format!("{missing}, and what {unread} lead to ({} in all at most)", human(self.lock_bytes))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Brought {
    stack: String,
    artifacts: u64,
    fetched_blobs: u64,
    fetched_bytes: u64,
    present_blobs: u64,
    present_bytes: u64,
    pub(crate) findings: Vec<Finding>,
    pub(crate) failures: Vec<FailedItem>,
}

impl Brought {
    fn of(lock: &Lock, fetched: Fetched) -> Self {
        let failures = fetched.failures.iter();
        let failures = failures.map(|failed| FailedItem::of(&failed.reference, &failed.error));
        Self {
            stack: lock.stack.clone(),
            artifacts: fetched.artifacts,
            fetched_blobs: fetched.blobs,
            fetched_bytes: fetched.bytes,
            present_blobs: fetched.present_blobs,
            present_bytes: fetched.present_bytes,
            failures: failures.collect(),
            findings: fetched.findings,
        }
    }

    /// What came of it, without what was found and what failed.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{}: {} of {} complete, {} ({}) fetched, {} ({}) there before",
            self.stack,
            self.artifacts - self.failures.len() as u64,
            counted(self.artifacts, "artifact"),
            counted(self.fetched_blobs, "blob"),
            human(self.fetched_bytes),
            counted(self.present_blobs, "blob"),
            human(self.present_bytes),
        )
    }

    /// What was found, and what failed.
    pub(crate) fn remarks(&self) -> String {
        joined([Some(findings_text(&self.findings)), failed_items_text(&self.failures)])
    }

    pub(crate) fn exit(&self) -> Exit {
        Exit::of_parts(&self.failures, &self.findings)
    }
}

impl Report for Brought {
    fn to_text(&self) -> String {
        joined([Some(self.remarks()), Some(self.summary())])
    }
}
