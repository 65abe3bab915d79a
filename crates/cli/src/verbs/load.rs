use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use airlift_bundle::load::{
    ArtifactPlan, Fate, Lack, LoadOptions, LoadPlan, LoadReport, Missing, Outcome, SparsePolicy,
    TagPolicy, Target, Totals, lacking, load_to_store, plan, run as push,
};
use airlift_bundle::{Sources, receipt};
use airlift_registry::client::Client;
use airlift_spec::{Class, Failure, Finding, Layout};
use airlift_store::Store;
use serde::Serialize;

use crate::app::{App, Exit, Side};
use crate::args::Transfer;
use crate::error::CliError;
use crate::files;
use crate::output::{Report, Table, counted, findings_text, joined};
use crate::place::{Destination, RegistryPlace};
use crate::size::human;
use crate::sources::SourceArgs;

/// What helps against volumes that are not here as they should be.
const LOOK_AT_VOLUMES: &str = "bring these volumes as well; where they are there already, run `airlift verify`, which says what is \
     wrong with them, and what to cut again";

/// Bring what crossed the gap into a registry or a store
///
/// Moves what is missing there and nothing else, tags last, so it may be interrupted and repeated at any time.
/// The registry keeps a receipt of what arrived. Into a store it takes every blob that is there, so that disks
/// can be loaded one after the other.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) loading: Loading,
    /// Say what would be pushed, then stop
    #[arg(long)]
    dry_run: bool,
}

/// Flags that say where things go, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Loading {
    /// Where to: `REGISTRY[/PREFIX]` or `store:DIR`
    #[arg(long, value_name = "DESTINATION")]
    pub(crate) to: Destination,
    /// How names become repositories there: `host`, `oc-mirror`, `oc-mirror:N` or `flat:N`
    #[arg(long, value_name = "LAYOUT", default_value_t)]
    layout: Layout,
    /// Move tags that point to what this stack did not set
    #[arg(long)]
    move_tags: bool,
    /// Where one platform of an index is kept, point the tag at it, for registries that refuse sparse indexes
    #[arg(long)]
    pub(super) single_platform_tags: bool,
    /// Folder for the receipts, for a delta with `--since`; the registry keeps them in any case
    #[arg(long, value_name = "DIR")]
    receipts: Option<PathBuf>,
    /// File for what has to come across again, where a delta counts on what is not there
    #[arg(long, value_name = "FILE", default_value = "missing.airlift.yaml")]
    request: PathBuf,
    #[command(flatten)]
    transfer: Transfer,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let client = app.connect(Side::Far, args.loading.transfer())?;
    let sources = args.source.open(&client, app).await?;
    if args.dry_run {
        return say_plan(&args.loading, &sources, client, app).await;
    }
    end(&load(&args.loading, &sources, client, app).await?, app)
}

/// Says what came of a load.
pub(crate) fn end(loaded: &Loaded, app: &App) -> Result<Exit, Failure> {
    app.print(loaded)?;
    Ok(loaded.exit())
}

pub(crate) async fn load(
    loading: &Loading,
    sources: &Sources,
    client: Client,
    app: &App,
) -> Result<Loaded, Failure> {
    let options = loading.options();
    let (report, receipts) = match &loading.to {
        Destination::Store(folder) => {
            let store = Store::create(folder)?;
            (load_to_store(sources, &store, &options, &app.ctx).await?, Vec::new())
        }
        Destination::Registry(place) => {
            let target = loading.target(place, client);
            let plan = plan(sources, &target, &options, &app.ctx).await?;
            let report = Box::pin(push(&plan, sources, &target, &options, &app.ctx)).await?;
            (report, write_receipts(loading, sources, &target, app).await?)
        }
    };
    let request = write_request(&loading.request, &report)?;
    Ok(Loaded::of(&loading.to, report, request, receipts))
}

impl Loading {
    /// As an image set is loaded: under the names that oc-mirror gives.
    pub(crate) fn of_image_set(
        to: RegistryPlace,
        max_nested_paths: Option<usize>,
        request: PathBuf,
        transfer: Transfer,
    ) -> Self {
        let nested = |most| Layout::OcMirrorNested(u8::try_from(most).unwrap_or(u8::MAX));
        let layout = max_nested_paths.map_or(Layout::OcMirror, nested);
        Self {
            to: Destination::Registry(to),
            layout,
            move_tags: true,
            single_platform_tags: false,
            receipts: None,
            request,
            transfer,
        }
    }

    pub(crate) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    fn options(&self) -> LoadOptions {
        let defaults = LoadOptions::default();
        LoadOptions {
            parallel: self.transfer.parallel.unwrap_or(defaults.parallel),
            tags: if self.move_tags { TagPolicy::MoveAny } else { defaults.tags },
            sparse: if self.single_platform_tags {
                SparsePolicy::SinglePlatformTags
            } else {
                defaults.sparse
            },
        }
    }

    fn target(&self, place: &RegistryPlace, client: Client) -> Target {
        let (host, prefix) = (place.host.clone(), place.prefix.clone());
        Target { client, host, prefix, layout: self.layout }
    }
}

async fn say_plan(
    loading: &Loading,
    sources: &Sources,
    client: Client,
    app: &App,
) -> Result<Exit, Failure> {
    let Destination::Registry(place) = &loading.to else {
        return Err(CliError::usage("`--dry-run` works for a registry, not for a store").into());
    };
    let target = loading.target(place, client);
    let plan = plan(sources, &target, &loading.options(), &app.ctx).await?;
    app.print(&Planned::of(&plan))?;
    Ok(Exit::Success)
}

/// Writes the state of each stack as it stands in the registry now, for the way back.
async fn write_receipts(
    loading: &Loading,
    sources: &Sources,
    target: &Target,
    app: &App,
) -> Result<Vec<PathBuf>, Failure> {
    let Some(folder) = &loading.receipts else { return Ok(Vec::new()) };
    let mut written = Vec::new();
    for lock in sources.locks() {
        let Some(kept) = receipt::read(target, &lock.stack, &app.ctx).await? else { continue };
        let file = folder.join(format!("{}.receipt.json", lock.stack));
        write(&file, "the receipt", &kept.receipt.to_text())?;
        written.push(file);
    }
    Ok(written)
}

fn write_request(file: &Path, report: &LoadReport) -> Result<Option<PathBuf>, CliError> {
    let Some(request) = &report.request else { return Ok(None) };
    write(file, "the request file", &request.to_yaml())?;
    Ok(Some(file.to_owned()))
}

fn write(file: &Path, what: &'static str, text: &str) -> Result<(), CliError> {
    files::replace(file, text.as_bytes()).map_err(|source| CliError::Write { what, source })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned<'a> {
    dry_run: bool,
    registry: &'a str,
    prefix: &'a str,
    layout: Layout,
    bytes_to_send: u64,
    artifacts: &'a [ArtifactPlan],
    findings: &'a [Finding],
    #[serde(skip)]
    plan: &'a LoadPlan,
}

impl<'a> Planned<'a> {
    fn of(plan: &'a LoadPlan) -> Self {
        Self {
            dry_run: true,
            registry: &plan.registry,
            prefix: &plan.prefix,
            layout: plan.layout,
            bytes_to_send: plan.bytes_to_send(),
            artifacts: &plan.artifacts,
            findings: &plan.findings,
            plan,
        }
    }
}

impl Report for Planned<'_> {
    fn to_text(&self) -> String {
        let plan = self.plan.to_string().trim_end().to_owned();
        joined([Some(findings_text(self.findings)), Some(plan)])
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Loaded {
    to: String,
    artifacts: Vec<Outcome>,
    findings: Vec<Finding>,
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<PathBuf>,
    receipts: Vec<PathBuf>,
    /// The class that decides the exit code; none where all went well.
    #[serde(skip)]
    class: Option<Class>,
}

impl Loaded {
    fn of(
        to: &Destination,
        report: LoadReport,
        request: Option<PathBuf>,
        receipts: Vec<PathBuf>,
    ) -> Self {
        let (to, class) = (to.to_string(), report.class());
        let LoadReport { artifacts, findings, totals, .. } = report;
        Self { to, artifacts, findings, totals, request, receipts, class }
    }

    pub(crate) fn exit(&self) -> Exit {
        Exit::of(self.class)
    }

    /// What did not arrive, and why.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (&Outcome, String)> {
        self.artifacts.iter().filter_map(|outcome| Some((outcome, why(&outcome.result)?)))
    }

    fn table(&self) -> Option<String> {
        let mut table = Table::new(&["failed", "why"]);
        let mut is_empty = true;
        for (outcome, why) in self.lost() {
            is_empty = false;
            table.row([outcome.reference.to_string(), why]);
        }
        (!is_empty).then(|| table.to_text())
    }

    /// Each advice once.
    fn advice(&self) -> String {
        let help = |outcome: &Outcome| match &outcome.result {
            Fate::Failed(failure) => failure.help.clone(),
            Fate::Incomplete { missing } => {
                let is_on_volumes = |it: &Missing| matches!(it.lack, Lack::Volumes { .. });
                missing.iter().any(is_on_volumes).then(|| LOOK_AT_VOLUMES.to_owned())
            }
            Fate::Present | Fate::Pushed | Fate::NotTried => None,
        };
        let advice: BTreeSet<String> = self.artifacts.iter().filter_map(help).collect();
        let lines: Vec<String> = advice.into_iter().map(|help| format!("help: {help}")).collect();
        lines.join("\n")
    }

    fn summary(&self) -> String {
        let count = |wanted: fn(&Fate) -> bool| {
            self.artifacts.iter().filter(|outcome| wanted(&outcome.result)).count()
        };
        let here = count(|fate| matches!(fate, Fate::Present));
        let pushed = count(|fate| matches!(fate, Fate::Pushed));
        format!(
            "{}: {}: {pushed} brought, {here} there before, {} missing; {} ({}) sent, {} mounted",
            self.to,
            counted(self.artifacts.len() as u64, "artifact"),
            self.artifacts.len() - here - pushed,
            counted(self.totals.blobs_sent, "blob"),
            human(self.totals.bytes_sent),
            self.totals.blobs_mounted,
        )
    }
}

/// Why an artifact did not arrive; none where it did.
fn why(fate: &Fate) -> Option<String> {
    match fate {
        Fate::Present | Fate::Pushed => None,
        Fate::Incomplete { missing } => Some(lacking(missing)),
        Fate::Failed(failure) => Some(failure.reason.clone()),
        Fate::NotTried => Some("its turn did not come".to_owned()),
    }
}

impl Report for Loaded {
    fn to_text(&self) -> String {
        let request = self.request.as_ref().map(|file| {
            format!("carry {} back: it lists what has to come across again", file.display())
        });
        joined([
            Some(findings_text(&self.findings)),
            self.table(),
            Some(self.advice()),
            Some(self.summary()),
            request,
        ])
    }
}
