use std::path::{Path, PathBuf};

use airlift_bundle::TrustedBundle;
use airlift_bundle::list::{Difference, DifferentArtifact, diff};
use airlift_spec::Failure;

use crate::app::{App, Exit};
use crate::changes::change_line;
use crate::error::CliError;
use crate::output::{Report, counted, joined};
use crate::size::human;
use crate::sources::{Trusting, open_bundles};

/// Say what one bundle has otherwise than another
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the earlier one's volumes
    before: PathBuf,
    /// Folder of the later one's volumes
    after: PathBuf,
    #[command(flatten)]
    trusting: Trusting,
}

pub(crate) async fn run(args: &Args, app: &App) -> Result<Exit, Failure> {
    let before = one(&args.before, args.trusting, app).await?;
    let after = one(&args.after, args.trusting, app).await?;
    app.print(&diff(&before, &after))?;
    Ok(Exit::Success)
}

async fn one(folder: &Path, trusting: Trusting, app: &App) -> Result<TrustedBundle, Failure> {
    let mut bundles = open_bundles(vec![folder.to_owned()], trusting, app).await?;
    match (bundles.pop(), bundles.is_empty()) {
        (Some(bundle), true) => Ok(bundle),
        _ => Err(CliError::usage(format!("{} holds several bundles", folder.display())).into()),
    }
}

impl Report for Difference {
    fn to_text(&self) -> String {
        if self.is_empty() {
            return "no differences".to_owned();
        }
        let artifacts = self.removed.iter().chain(&self.added).chain(&self.changed);
        let artifacts: Vec<String> = artifacts.map(artifact).collect();
        let blobs = format!(
            "{} ({}) more, {} ({}) fewer",
            counted(self.added_blobs, "blob"),
            human(self.added_bytes),
            counted(self.removed_blobs, "blob"),
            human(self.removed_bytes)
        );
        joined([Some(artifacts.join("\n")), Some(blobs)])
    }
}

fn artifact(different: &DifferentArtifact) -> String {
    change_line(&different.reference, different.before.as_ref(), different.after.as_ref())
}
