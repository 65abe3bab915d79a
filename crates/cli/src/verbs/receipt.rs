use std::path::PathBuf;

use airlift_bundle::load::Target;
use airlift_bundle::receipt::{self, Receipt};
use airlift_spec::{Failure, Layout};

use crate::app::{App, Exit, Side, read_lock};
use crate::args::Transfer;
use crate::error::CliError;
use crate::place::RegistryPlace;

/// Print the receipt of what arrived in a registry
///
/// The registry keeps one for each stack. Where it is lost, `--lock` rebuilds it by asking for everything
/// that the lock names, and puts it back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, with the prefix that was loaded under
    #[arg(value_name = "REGISTRY[/PREFIX]")]
    registry: RegistryPlace,
    /// Rebuild the receipt of this lock's stack
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// How names became repositories there: `host`, `oc-mirror`, `oc-mirror:N` or `flat:N`
    #[arg(long, value_name = "LAYOUT", default_value_t, requires = "lock")]
    layout: Layout,
    /// The stack, where the registry keeps receipts of several
    #[arg(long, value_name = "STACK", conflicts_with = "lock")]
    stack: Option<String>,
    /// Rebuild it without putting it back
    #[arg(long, requires = "lock")]
    dry_run: bool,
    #[command(flatten)]
    transfer: Transfer,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let target = Target {
        client: app.connect(Side::Far, &args.transfer)?,
        host: args.registry.host.clone(),
        prefix: args.registry.prefix.clone(),
        layout: args.layout,
    };
    let receipt = match &args.lock {
        Some(lock) => {
            let lock = read_lock(lock)?;
            let parallel = app.client_options()?.max_in_flight.get();
            let receipt = receipt::rebuild(&target, &lock, parallel, &app.ctx).await?;
            if !args.dry_run {
                Box::pin(receipt::write(&target, &receipt, &app.ctx)).await?;
            }
            receipt
        }
        None => kept(&target, args.stack.as_deref(), app).await?,
    };
    app.print_as_is(&receipt.to_text())?;
    Ok(Exit::Success)
}

/// The receipt that the registry keeps.
async fn kept(target: &Target, stack: Option<&str>, app: &App) -> Result<Receipt, Failure> {
    if let Some(stack) = stack {
        let kept = receipt::read(target, stack, &app.ctx).await?;
        return Ok(kept.ok_or_else(|| none_kept(target))?.receipt);
    }
    let mut all = receipt::others(target, "", &app.ctx).await?;
    match (all.pop(), all.is_empty()) {
        (None, _) => Err(none_kept(target).into()),
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            let names: Vec<&str> =
                all.iter().chain([&last]).map(|one| one.stack.as_str()).collect();
            Err(CliError::Usage {
                message: format!("{} keeps receipts of {}", target.host, names.join(", ")),
                help: Some("choose one with `--stack STACK`".to_owned()),
            }
            .into())
        }
    }
}

fn none_kept(target: &Target) -> CliError {
    CliError::Usage {
        message: format!("{} keeps no such receipt", target.host),
        help: Some("rebuild it with `--lock FILE`".to_owned()),
    }
}
