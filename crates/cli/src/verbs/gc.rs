use airlift_spec::Failure;
use airlift_store::{GcReport, Store, StoreError};
use serde::Serialize;

use crate::app::{App, Exit, blocking};
use crate::output::{Report, counted};
use crate::size::human;

/// Remove from the store what nothing keeps any more
///
/// Stays: what any stack's lock reaches, what was pushed to `serve --writable`, what a bundle made from here
/// names, and downloads that are not finished. Nothing else may use the store meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bundle that need not be cut again from here; repeats
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    forget: Vec<String>,
    /// Stack whose artifacts need not be kept any longer; repeats
    #[arg(long, value_name = "STACK", conflicts_with = "dry_run")]
    forget_stack: Vec<String>,
    /// Say what would be removed, then stop
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let store = app.open_store()?;
    let ctx = app.ctx.clone();
    let dry_run = args.dry_run;
    let (unknown, report) = blocking(move || {
        let unknown = forget(&args, &store)?;
        Ok::<_, Failure>((unknown, store.gc(dry_run, &ctx)?))
    })
    .await??;
    app.print(&Swept::of(&report, unknown, dry_run))?;
    Ok(Exit::Success)
}

/// Forgets what is named, and says which of it the store does not know.
fn forget(args: &Args, store: &Store) -> Result<Vec<String>, StoreError> {
    let mut unknown = Vec::new();
    for name in &args.forget {
        if !store.forget_bundle(name)? {
            unknown.push(format!("bundle `{name}`"));
        }
    }
    for stack in &args.forget_stack {
        if !store.remove_root(stack)? {
            unknown.push(format!("stack `{stack}`"));
        }
    }
    Ok(unknown)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Swept {
    dry_run: bool,
    removed_blobs: u64,
    removed_bytes: u64,
    /// Downloads that were never finished and that nothing waits for.
    removed_staged: u64,
    removed_staged_bytes: u64,
    kept_blobs: u64,
    kept_bytes: u64,
    /// What was to be forgotten and is not known. No error: a run that was killed after it forgot may be repeated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
}

impl Swept {
    fn of(report: &GcReport, unknown: Vec<String>, dry_run: bool) -> Self {
        Self {
            dry_run,
            removed_blobs: report.removed_blobs,
            removed_bytes: report.removed_bytes,
            removed_staged: report.removed_staged,
            removed_staged_bytes: report.removed_staged_bytes,
            kept_blobs: report.kept_blobs,
            kept_bytes: report.kept_bytes,
            unknown,
        }
    }
}

impl Report for Swept {
    fn to_text(&self) -> String {
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let swept = format!(
            "{verb} {} ({}) and {} ({}), kept {} ({})",
            counted(self.removed_blobs, "blob"),
            human(self.removed_bytes),
            counted(self.removed_staged, "unfinished download"),
            human(self.removed_staged_bytes),
            counted(self.kept_blobs, "blob"),
            human(self.kept_bytes),
        );
        let unknown = self.unknown.iter();
        let unknown = unknown.map(|what| format!("the store keeps nothing for a {what}"));
        unknown.chain([swept]).collect::<Vec<_>>().join("\n")
    }
}
