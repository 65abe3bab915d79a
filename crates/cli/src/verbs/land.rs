use airlift_spec::Failure;

use super::load::{Loading, load};
use crate::app::{App, Exit};
use crate::sources::SourceArgs;

/// Take what crossed the gap into use: check its signatures, and load it
///
/// Looks at signatures and at what is there; every byte is checked while it is loaded.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    loading: Loading,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let client = app.connect(args.loading.transfer())?;
    let sources = args.source.open(&client, app).await?;
    load(&args.loading, &sources, client, app).await
}
