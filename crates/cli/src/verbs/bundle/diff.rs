use std::path::PathBuf;

use airlift_spec::Failure;
use serde::Serialize;

use crate::app::{App, Exit};
use crate::args::Transfer;
use crate::changes::{Change, changes, changes_text};
use crate::output::Report;
use crate::place::Source;
use crate::sources::{Trusting, open, read_locks};

/// Say which artifacts differ between two sources
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The earlier one: a folder of volumes, `store:DIR`, or `registry://HOST[/PREFIX]`
    before: Source,
    /// The later one
    after: Source,
    /// Lock that says what a registry holds; repeats
    #[arg(long, value_name = "FILE")]
    lock: Vec<PathBuf>,
    #[command(flatten)]
    trusting: Trusting,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let client = app.connect(&Transfer::default())?;
    let given = read_locks(&args.lock)?;
    let mut locks = Vec::new();
    for source in [args.before, args.after] {
        let opened = open(&[source], given.clone(), args.trusting, &client, app).await?;
        locks.push(opened.locks().to_vec());
    }
    app.print(&Differences { changes: changes(&locks[0], &locks[1]) })?;
    Ok(Exit::Success)
}

#[derive(Debug, Serialize)]
struct Differences {
    changes: Vec<Change>,
}

impl Report for Differences {
    fn to_text(&self) -> String {
        if self.changes.is_empty() {
            "no differences".to_owned()
        } else {
            changes_text(&self.changes)
        }
    }
}
