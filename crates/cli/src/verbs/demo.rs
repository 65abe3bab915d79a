use std::path::Path;

use airlift_registry::client::{Client, Repository};
use airlift_spec::{Digest, Failure, Layout, Lock, Reference};

use crate::app::{App, Exit, Side, read_lock};
use crate::args::Transfer;

mod platform;
mod stage;

use stage::{Expect, Stage};

/// Show the whole way across an air gap on this machine
///
/// Makes a small platform, carries it from one registry to another through volumes, damages a volume and mends
/// it. Every step is an ordinary verb, run as you would run it. Talks to loopback only and leaves nothing
/// behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the folder with everything that was made, and say where it is
    #[arg(long)]
    keep: bool,
}

/// Small enough that the model's weights have to be split over several volumes.
const VOLUME_SIZE: &str = "96MiB";

/// Which volume is damaged, and where: in the middle of a piece of the weights.
const DAMAGED_VOLUME: u32 = 2;
const DAMAGED_BYTE: u64 = 20 << 20;

pub(crate) async fn run(args: &Args, app: &App) -> Result<Exit, Failure> {
    let client = app.connect(Side::Far, &Transfer::default())?;
    let mut stage = Stage::new(app, args.keep)?;
    let lock = near_side(&mut stage, app, &client).await?;
    far_side(&mut stage, app, &client, &lock).await?;
    mend(&mut stage).await?;
    app.print(&stage.finish())?;
    Ok(Exit::Success)
}

/// From a registry to signed volumes; afterwards the registry is gone.
async fn near_side(stage: &mut Stage<'_>, app: &App, client: &Client) -> Result<Lock, Failure> {
    stage.begin("an upstream registry with a small platform");
    let upstream = stage.serve(&["--writable", "upstream"]).await?;
    platform::publish(client, &upstream.host, &app.ctx).await?;
    stage.write("airlift.yaml", &platform::stack(&upstream.host))?;

    stage.begin("pin every image, with its signatures and SBOMs");
    stage.airlift(&["resolve"], Expect::Success).await?;
    stage.airlift(&["tree"], Expect::Success).await?;

    stage.begin("bring everything into the store");
    stage.airlift(&["fetch"], Expect::Success).await?;

    stage.begin("write signed volumes");
    stage.airlift(&["keygen"], Expect::Success).await?;
    stage.trust_own_key()?;
    stage
        .airlift(
            &["bundle", "create", "--to", "disk", "--volume-size", VOLUME_SIZE, "--no-binary"],
            Expect::Success,
        )
        .await?;

    stage.begin("cut the line: the upstream registry stops");
    upstream.stop().await?;
    read_lock(&stage.path("airlift.lock"))
}

/// From the volumes to clients and into a registry.
async fn far_side(
    stage: &mut Stage<'_>,
    app: &App,
    client: &Client,
    lock: &Lock,
) -> Result<(), Failure> {
    stage.begin("prove that the volumes arrived whole");
    stage.airlift(&["verify", "disk"], Expect::Success).await?;

    stage.begin("serve straight from the volumes, and pull everything back");
    let served = stage.serve(&["disk"]).await?;
    stage.write("pulled.lock", &moved_to(lock, &served.host)?.to_text())?;
    stage
        .airlift(&["fetch", "--lock", "pulled.lock", "--store", "pulled"], Expect::Success)
        .await?;
    check_tags(app, client, lock, &served.host).await?;
    served.stop().await?;

    stage.begin("load into a second registry");
    let registry = stage.serve(&["--writable", "registry"]).await?;
    stage.airlift(&["load", "disk", "--to", &registry.host], Expect::Success).await?;
    check_tags(app, client, lock, &registry.host).await?;

    stage.begin("load again: nothing moves");
    let again = stage
        .airlift(&["load", "disk", "--to", &registry.host, "--output", "json"], Expect::Success)
        .await?;
    stage.check_nothing_moved(&again)?;
    registry.stop().await
}

/// A byte of one volume turns; it is found, cut again, and proven.
async fn mend(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.begin("damage one byte of one volume");
    let volume = Path::new("disk").join(format!("demo.{DAMAGED_VOLUME:05}.tar"));
    stage.flip_byte(&volume, DAMAGED_BYTE)?;
    let said = stage.airlift(&["verify", "disk"], Expect::Findings).await?;

    stage.begin("cut that volume again, by the line that `verify` printed");
    let unsaid = || stage::problem("verify", "it did not say what to cut again".to_owned());
    let words = recut_line(&said).ok_or_else(unsaid)?;
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["--to", "disk"]).collect();
    stage.airlift(&words, Expect::Success).await?;
    stage.airlift(&["verify", "disk"], Expect::Success).await?;
    Ok(())
}

/// The arguments of the line `airlift bundle create --volumes …`, without the destination.
fn recut_line(said: &str) -> Option<Vec<String>> {
    let line = said.lines().find_map(|line| line.split_once("airlift bundle create --volumes "))?;
    let mut words = line.1.split_whitespace();
    let volumes = words.next()?.to_owned();
    let root = words.find(|word| word.parse::<Digest>().is_ok())?.to_owned();
    let fixed = ["bundle", "create", "--volumes"].map(str::to_owned);
    Some(fixed.into_iter().chain([volumes, "--root".to_owned(), root]).collect())
}

/// The same lock, its images named as a registry at `host` offers them.
fn moved_to(lock: &Lock, host: &str) -> Result<Lock, Failure> {
    let mut moved = lock.clone();
    for artifact in &mut moved.artifacts {
        artifact.reference = far_reference(&artifact.reference, host)?;
    }
    Ok(moved)
}

fn far_reference(near: &Reference, host: &str) -> Result<Reference, Failure> {
    let place = Layout::Host.place("", near)?;
    let tag = near.tag().unwrap_or_default();
    let far = format!("{host}/{place}:{tag}").parse();
    far.map_err(|err| stage::problem("serve", format!("{near} has no name there: {err}")))
}

/// Every tag leads to the digest that the lock pins.
async fn check_tags(app: &App, client: &Client, lock: &Lock, host: &str) -> Result<(), Failure> {
    for artifact in &lock.artifacts {
        let far = far_reference(&artifact.reference, host)?;
        let found = client.describe(&Repository::from(&far), &far.wanted(), &app.ctx).await?;
        if found.map(|found| found.digest) != artifact.digest {
            return Err(stage::problem("serve", format!("{far} is not what the lock pins")));
        }
    }
    app.say(format_args!("   {} tags lead to the digests in the lock", lock.artifacts.len()));
    Ok(())
}
