use airlift_spec::{Failure, Reference};
use airlift_upstream::Indexes;
use airlift_upstream::resolve::{ResolveOptions, Upstream};
use serde::Serialize;

use super::bundle::create::{Made, Making, create};
use super::fetch::{Brought, bring, folder_of};
use super::resolve::{Files, Resolved, pin, read_stack, update};
use crate::app::{App, Exit, Side};
use crate::args::Transfer;
use crate::output::{Report, joined};

/// Take a stack all the way to volumes: resolve, fetch, and bundle create in one
///
/// Each step does only what is left to do, so it may be interrupted and repeated at any time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,
    /// Move the pins of these references, or all pins where none is named
    #[arg(long, value_name = "REF", num_args = 0..)]
    update: Option<Vec<Reference>>,
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    transfer: Transfer,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    args.making.check()?;
    let written = read_stack(&args.files.stack)?;
    let upstream = Upstream {
        client: app.connect(Side::Near, &args.transfer)?,
        store: app.create_store()?,
        base: folder_of(&args.files.stack),
        programs: app.environment.programs(),
        releases: app.environment.release_places(),
        indexes: Indexes::default(),
    };
    let update = update(&written.stack, args.update)?;
    let options = ResolveOptions { update, ..ResolveOptions::default() };
    let (lock, resolved) = pin(&written, &args.files.lock, &upstream, &options, false, app).await?;
    if resolved.exit() != Exit::Success {
        return end(&Packed { resolved, fetched: None, bundle: None }, app);
    }
    app.say(resolved.summary());
    let fetched = bring(&lock, &upstream, &args.transfer, app).await?;
    let may_go_on = fetched.exit() == Exit::Success || args.making.allow_missing;
    if !may_go_on {
        return end(&Packed { resolved, fetched: Some(fetched), bundle: None }, app);
    }
    app.say(fetched.summary());
    let made = create(args.making, vec![lock], upstream.store, false, app).await?;
    end(&Packed { resolved, fetched: Some(fetched), bundle: Some(made) }, app)
}

fn end(packed: &Packed, app: &App) -> Result<Exit, Failure> {
    app.print(packed)?;
    let last = packed.bundle.as_ref().map(Made::exit);
    let last = last.or_else(|| packed.fetched.as_ref().map(Brought::exit));
    Ok(last.unwrap_or_else(|| packed.resolved.exit()))
}

/// How far it came; a step that failed is the last one.
#[derive(Debug, Serialize)]
struct Packed {
    resolved: Resolved,
    fetched: Option<Brought>,
    bundle: Option<Made>,
}

impl Report for Packed {
    /// What was found on the way, and what came of the last step; what came of the earlier ones was said.
    fn to_text(&self) -> String {
        match (&self.bundle, &self.fetched) {
            (Some(made), fetched) => joined([
                Some(self.resolved.remarks()),
                fetched.as_ref().map(Brought::remarks),
                Some(made.to_text()),
            ]),
            (None, Some(fetched)) => {
                joined([Some(self.resolved.remarks()), Some(fetched.to_text())])
            }
            (None, None) => self.resolved.to_text(),
        }
    }
}
