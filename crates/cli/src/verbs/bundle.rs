use airlift_spec::Failure;
use clap::Subcommand;

use crate::app::{App, Exit};

pub(crate) mod create;
mod diff;
mod ls;

/// Make bundles, and look into them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Args),
    Ls(ls::Args),
    Diff(diff::Args),
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Create(args) => create::run(args, app).await,
        Verb::Ls(args) => ls::run(&args, app).await,
        Verb::Diff(args) => diff::run(&args, app).await,
    }
}
