use airlift_bundle::verify::Depth;
use airlift_spec::Failure;

use super::load::{Loading, end, load};
use super::verify::check;
use crate::app::{App, Exit, Side};
use crate::output::Report as _;
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
    /// Read everything once before anything is loaded
    #[arg(long)]
    verify_first: bool,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let client = app.connect(Side::Far, args.loading.transfer())?;
    let sources = args.source.open(&client, app).await?;
    if args.verify_first {
        let checked = check(&sources, Depth::Sums, app).await?;
        if checked.exit() != Exit::Success {
            app.print(&checked)?;
            return Ok(checked.exit());
        }
        app.say(checked.to_text());
    }
    end(&load(&args.loading, &sources, client, app).await?, app)
}
