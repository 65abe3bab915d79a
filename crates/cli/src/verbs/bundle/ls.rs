use airlift_bundle::list::{ListedVolume, Listing, list};
use airlift_spec::Failure;
use serde::Serialize;

use crate::app::{App, Exit};
use crate::output::{Report, Table, counted, joined, short};
use crate::size::human;
use crate::sources::BundleArgs;

/// List what bundles hold, and which of their volumes are there
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    bundles: BundleArgs,
}

pub(crate) async fn run(args: &Args, app: &App) -> Result<Exit, Failure> {
    let bundles = args.bundles.open(app).await?;
    app.print(&Listings { bundles: bundles.iter().map(list).collect() })?;
    Ok(Exit::Success)
}

#[derive(Debug, Serialize)]
struct Listings {
    bundles: Vec<Listing>,
}

impl Report for Listings {
    fn to_text(&self) -> String {
        let bundles: Vec<String> = self.bundles.iter().map(text).collect();
        bundles.join("\n\n")
    }
}

fn text(bundle: &Listing) -> String {
    let bytes = bundle.volumes.iter().map(|volume| volume.size).sum();
    let volumes = counted(bundle.volumes.len() as u64, "volume");
    let head = format!("{}  {}  {volumes}, {}", bundle.name, short(&bundle.root), human(bytes));
    let since = bundle.since.as_ref().map(|since| {
        let left_out = counted(bundle.left_out_blobs, "blob");
        let bytes = human(bundle.left_out_bytes);
        format!("made since {}, without {left_out} ({bytes})", short(&since.document))
    });
    let absent: Vec<&str> = bundle.volumes.iter().filter_map(absent).collect();
    let absent = (!absent.is_empty()).then(|| format!("not here: {}", absent.join(", ")));
    let missing = bundle.missing.iter().map(|item| format!("never fetched: {}", item.reference));
    let missing = missing.collect::<Vec<_>>().join("\n");
    joined([Some(head), since, absent, Some(missing), Some(table(bundle))])
}

fn absent(volume: &ListedVolume) -> Option<&str> {
    (!volume.is_here).then_some(volume.file.as_str())
}

fn table(bundle: &Listing) -> String {
    let mut table = Table::new(&["artifact", "digest", "size", "volumes"]).right(&[2]);
    for artifact in &bundle.artifacts {
        table.row([
            artifact.reference.to_string(),
            short(&artifact.digest),
            human(artifact.bytes),
            artifact.volumes.join(" "),
        ]);
    }
    table.to_text()
}
