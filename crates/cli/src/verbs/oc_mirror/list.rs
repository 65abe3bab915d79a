use airlift_catalog::{Package, Wanted};
use airlift_oc_mirror::GENERIC;
use airlift_registry::client::{Client, Repository};
use airlift_spec::{Failure, Reference};
use airlift_upstream::resolve::Upstream;
use airlift_upstream::{Indexes, read_catalog};
use clap::Subcommand;
use serde::Serialize;

use super::flags::Common;
use super::set::store;
use crate::app::{App, Exit, Side};
use crate::error::CliError;
use crate::failure::{FailedItem, failed_items_text};
use crate::output::{Report, Table, joined};

/// Where Red Hat publishes the catalogs of `OpenShift`.
const REGISTRY: &str = "registry.redhat.io";

/// The catalogs that there are for every version of it.
const INDEXES: [&str; 4] = [
    "redhat-operator-index",
    "certified-operator-index",
    "community-operator-index",
    "redhat-marketplace-index",
];

/// Say what there is to mirror
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Operators(Operators),
    /// Refused: what releases there are, the update service says
    Releases(Releases),
}

/// Say which packages, channels or versions a catalog has
#[derive(Debug, clap::Args)]
struct Operators {
    /// The catalog: an index image, or `oci:DIR[:NAME]`
    #[arg(long, value_name = "IMAGE")]
    catalog: Option<String>,
    /// Say which channels this package has, and what each offers
    #[arg(long, value_name = "NAME", requires = "catalog")]
    package: Option<String>,
    /// Say which versions this channel of the package has
    #[arg(long, value_name = "NAME", requires = "package")]
    channel: Option<String>,
    /// Version of `OpenShift`, like `4.20`
    #[arg(long, value_name = "VERSION", requires = "catalogs")]
    version: Option<String>,
    /// Say which of the usual catalogs there are for that version
    #[arg(long, requires = "version", conflicts_with = "catalog")]
    catalogs: bool,
}

#[derive(Debug, clap::Args)]
struct Releases {
    /// Taken, and refused with the rest
    #[arg(long, hide = true)]
    version: Option<String>,
    /// Taken, and refused with the rest
    #[arg(long, hide = true)]
    channel: Option<String>,
    /// Taken, and refused with the rest
    #[arg(long, hide = true)]
    channels: bool,
    /// Taken, and refused with the rest
    #[arg(long, hide = true)]
    filter_by_archs: Option<String>,
}

pub(super) async fn run(args: &Args, common: &Common, app: &App) -> Result<Exit, Failure> {
    match &args.what {
        What::Releases(_) => Err(CliError::Refused {
            message: "releases cannot be listed by this version of airlift".to_owned(),
            help: Some("name the channel and the versions in `platform:`".to_owned()),
        }
        .into()),
        What::Operators(wanted) => operators(wanted, common, app).await,
    }
}

async fn operators(wanted: &Operators, common: &Common, app: &App) -> Result<Exit, Failure> {
    match (&wanted.catalog, &wanted.version) {
        (Some(catalog), _) => of_catalog(catalog, wanted, common, app).await,
        (None, Some(version)) => usual_catalogs(version, common, app).await,
        (None, None) => Err(CliError::Usage {
            message: "it is not said what to list".to_owned(),
            help: Some("give `--catalog IMAGE`, or `--catalogs --version 4.20`".to_owned()),
        }
        .into()),
    }
}

/// What one catalog has.
async fn of_catalog(
    catalog: &str,
    wanted: &Operators,
    common: &Common,
    app: &App,
) -> Result<Exit, Failure> {
    let reference = catalog.parse::<Reference>().ok();
    let upstream = Upstream {
        client: connect(reference.as_ref().map(Reference::host), common, app)?,
        store: store(common, app)?,
        base: ".".into(),
        programs: app.environment.programs(),
        releases: app.environment.release_places(),
        indexes: Indexes::default(),
    };
    let part = match &wanted.package {
        Some(package) => Wanted::packages([package]),
        None => Wanted::Outline,
    };
    let found = read_catalog(catalog, part, &upstream, &app.ctx).await?;
    let Some(name) = &wanted.package else {
        let packages = found.packages.values().map(Listed::of).collect();
        app.print(&Packages { catalog: catalog.to_owned(), packages })?;
        return Ok(Exit::Success);
    };
    let absent = |what: String| CliError::Refused {
        message: format!("`{catalog}` has no {what}"),
        help: Some("see what it has with fewer of these flags".to_owned()),
    };
    let package = found.packages.get(name).ok_or_else(|| absent(format!("package `{name}`")))?;
    let Some(channel) = &wanted.channel else {
        let channels = package.channels.keys().map(|it| Offered::of(package, it)).collect();
        app.print(&Channels { package: Listed::of(package), channels })?;
        return Ok(Exit::Success);
    };
    let entries = package.channels.get(channel);
    let entries = entries.ok_or_else(|| absent(format!("channel `{channel}` of `{name}`")))?;
    let bundles = entries.entries.iter().filter_map(|entry| package.bundles.get(&entry.name));
    let mut bundles: Vec<_> = bundles.collect();
    bundles.sort_by(|a, b| a.version.cmp(&b.version).then_with(|| a.name.cmp(&b.name)));
    let bundles = bundles.into_iter().map(|bundle| Versioned {
        version: bundle.version_text().unwrap_or_default().to_owned(),
        bundle: bundle.name.clone(),
        image: bundle.image.clone(),
    });
    app.print(&Versions {
        package: name.clone(),
        channel: channel.clone(),
        bundles: bundles.collect(),
    })?;
    Ok(Exit::Success)
}

/// Asks which of the usual catalogs there are.
async fn usual_catalogs(version: &str, common: &Common, app: &App) -> Result<Exit, Failure> {
    let tag = format!("v{}", version.trim_start_matches('v'));
    let client = connect(Some(REGISTRY), common, app)?;
    let (mut catalogs, mut failures) = (Vec::new(), Vec::new());
    for index in INDEXES {
        let name = format!("{REGISTRY}/redhat/{index}:{tag}");
        let reference: Reference = name.parse().map_err(|_| {
            CliError::usage(format!("`{version}` is no version; write it like `4.20`"))
        })?;
        match client.describe(&Repository::from(&reference), &tag, &app.ctx).await {
            Ok(Some(_)) => catalogs.push(name),
            Ok(None) => {}
            Err(err) => failures.push(FailedItem::of(name, &err)),
        }
    }
    let exit = if failures.is_empty() { Exit::Success } else { Exit::Peer(GENERIC) };
    app.print(&Usual { version: version.to_owned(), catalogs, failures })?;
    Ok(exit)
}

fn connect(host: Option<&str>, common: &Common, app: &App) -> Result<Client, Failure> {
    let reach = common.reach(Side::Near, &host.into_iter().map(str::to_owned).collect())?;
    app.connect_by(Side::Near, &common.transfer(), &reach)
}

#[derive(Debug, Serialize)]
struct Usual {
    version: String,
    catalogs: Vec<String>,
    failures: Vec<FailedItem>,
}

impl Report for Usual {
    fn to_text(&self) -> String {
        let are_none = self.catalogs.is_empty() && self.failures.is_empty();
        joined([
            failed_items_text(&self.failures),
            Some(self.catalogs.join("\n")),
            are_none.then(|| format!("there are no catalogs for version {}", self.version)),
        ])
    }
}

#[derive(Debug, Serialize)]
struct Packages {
    catalog: String,
    packages: Vec<Listed>,
}

/// A package at a glance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    /// Known only where its bundles were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    default_channel: String,
    channels: Vec<String>,
}

impl Listed {
    fn of(package: &Package) -> Self {
        Self {
            name: package.name.clone(),
            display_name: package.display_name(),
            default_channel: package.default_channel.clone(),
            channels: package.channels.keys().cloned().collect(),
        }
    }
}

impl Report for Packages {
    fn to_text(&self) -> String {
        let mut table = Table::new(&["name", "default channel", "channels"]);
        for package in &self.packages {
            let Listed { name, default_channel, channels, .. } = package;
            table.row([name.clone(), default_channel.clone(), channels.join(", ")]);
        }
        table.to_text()
    }
}

#[derive(Debug, Serialize)]
struct Channels {
    #[serde(flatten)]
    package: Listed,
    #[serde(rename = "heads")]
    channels: Vec<Offered>,
}

/// What a channel offers to who has nothing yet.
#[derive(Debug, Serialize)]
struct Offered {
    channel: String,
    head: Option<String>,
}

impl Offered {
    fn of(package: &Package, channel: &str) -> Self {
        let head = package.head(channel).map(|bundle| bundle.name.clone());
        Self { channel: channel.to_owned(), head }
    }
}

impl Report for Channels {
    fn to_text(&self) -> String {
        let Listed { name, display_name, default_channel, .. } = &self.package;
        let mut about = Table::new(&["name", "display name", "default channel"]);
        let display_name = display_name.clone().unwrap_or_default();
        about.row([name.clone(), display_name, default_channel.clone()]);
        let mut table = Table::new(&["package", "channel", "head"]);
        for Offered { channel, head } in &self.channels {
            table.row([name.clone(), channel.clone(), head.clone().unwrap_or_default()]);
        }
        joined([Some(about.to_text()), Some(table.to_text())])
    }
}

#[derive(Debug, Serialize)]
struct Versions {
    package: String,
    channel: String,
    bundles: Vec<Versioned>,
}

#[derive(Debug, Serialize)]
struct Versioned {
    version: String,
    bundle: String,
    image: String,
}

impl Report for Versions {
    fn to_text(&self) -> String {
        let mut table = Table::new(&["version", "bundle"]);
        for Versioned { version, bundle, .. } in &self.bundles {
            table.row([version.clone(), bundle.clone()]);
        }
        table.to_text()
    }
}
