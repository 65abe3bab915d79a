use airlift_bundle::TrustedBundle;
use airlift_bundle::root::{Artifact, Missing, Since, StackLock};
use airlift_spec::{Digest, Failure};
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
    app.print(&Listing { bundles: bundles.iter().map(Listed::of).collect() })?;
    Ok(Exit::Success)
}

#[derive(Debug, Serialize)]
struct Listing<'a> {
    bundles: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: &'a str,
    root: Digest,
    stacks: &'a [StackLock],
    since: Option<&'a Since>,
    volumes: Vec<ListedVolume<'a>>,
    artifacts: &'a [Artifact],
    missing: &'a [Missing],
    left_out_blobs: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedVolume<'a> {
    ordinal: u32,
    file: &'a str,
    bytes: u64,
    is_here: bool,
}

impl<'a> Listed<'a> {
    fn of(bundle: &'a TrustedBundle) -> Self {
        let root = bundle.root();
        let volumes = bundle.volumes().iter().map(|volume| ListedVolume {
            ordinal: volume.ordinal(),
            file: volume.name(),
            bytes: volume.size_bytes(),
            is_here: volume.is_here(),
        });
        Self {
            name: &root.name,
            root: bundle.digest(),
            stacks: &root.stacks,
            since: root.since.as_ref(),
            volumes: volumes.collect(),
            artifacts: &root.artifacts,
            missing: &root.missing,
            left_out_blobs: root.left_out.len(),
        }
    }

    fn to_text(&self) -> String {
        let bytes = self.volumes.iter().map(|volume| volume.bytes).sum();
        let volumes = counted(self.volumes.len() as u64, "volume");
        let head = format!("{}  {}  {volumes}, {}", self.name, short(&self.root), human(bytes));
        let since = self.since.map(|since| {
            let left_out = counted(self.left_out_blobs as u64, "blob");
            format!("made since {}, without {left_out}", short(&since.document))
        });
        let absent = self.volumes.iter().filter(|volume| !volume.is_here);
        let absent: Vec<&str> = absent.map(|volume| volume.file).collect();
        let absent = (!absent.is_empty()).then(|| format!("not here: {}", absent.join(", ")));
        let missing = self.missing.iter().map(|item| format!("never fetched: {}", item.reference));
        let missing = missing.collect::<Vec<_>>().join("\n");
        joined([Some(head), since, absent, Some(missing), Some(self.table())])
    }

    fn table(&self) -> String {
        let mut table = Table::new(&["artifact", "digest", "size", "volumes"]).right(&[2]);
        for artifact in self.artifacts {
            table.row([
                artifact.reference.to_string(),
                short(&artifact.digest),
                human(artifact.bytes),
                ranges(&artifact.volumes),
            ]);
        }
        table.to_text()
    }
}

impl Report for Listing<'_> {
    fn to_text(&self) -> String {
        let bundles = self.bundles.iter().map(Listed::to_text);
        bundles.collect::<Vec<_>>().join("\n\n")
    }
}

/// `1-3,7`, as `--volumes` takes it.
pub(super) fn ranges(ordinals: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for ordinal in ordinals {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*ordinal) => *last = *ordinal,
            _ => runs.push((*ordinal, *ordinal)),
        }
    }
    let run = |(first, last): (u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_in_a_row_are_said_as_a_range() {
        let table: [(&[u32], &str); 4] =
            [(&[], ""), (&[3], "3"), (&[1, 2, 3, 7], "1-3,7"), (&[0, 2, 4, 5], "0,2,4-5")];
        for (ordinals, text) in table {
            assert_eq!(ranges(ordinals), text);
        }
    }
}
