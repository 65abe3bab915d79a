use airlift_spec::{Failure, Finding};
use airlift_store::Fsck;
use serde::Serialize;

use crate::app::{App, Exit, blocking};
use crate::output::{Report, findings_summary, findings_text};

/// Check that the store holds what it should, undamaged
///
/// Reads every byte, unless told to be quick. Changes nothing, unless told to repair.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look only whether things are there and as long as they should be
    #[arg(long)]
    quick: bool,
    /// Take damaged blobs out, so that the next `fetch` brings them again
    #[arg(long, conflicts_with = "quick")]
    repair: bool,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let store = app.open_store()?;
    let ctx = app.ctx.clone();
    let depth = match (args.quick, args.repair) {
        (true, _) => Fsck::Quick,
        (false, true) => Fsck::Repair,
        (false, false) => Fsck::Deep,
    };
    let findings = blocking(move || store.fsck(depth, &ctx)).await??;
    let checked = Checked { findings };
    app.print(&checked)?;
    Ok(Exit::of_parts(&[], &checked.findings))
}

#[derive(Debug, Serialize)]
struct Checked {
    findings: Vec<Finding>,
}

impl Report for Checked {
    fn to_text(&self) -> String {
        match findings_summary(&self.findings) {
            Some(summary) => format!("{}\n{summary}", findings_text(&self.findings)),
            None => "the store is sound".to_owned(),
        }
    }
}
