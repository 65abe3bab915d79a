use std::sync::Arc;

use airlift_bundle::verify::{Depth, Verified, VerifyOptions, verify};
use airlift_bundle::{Availability, Content, Sources, TrustedBundle};
use airlift_spec::{Digest, Failure, Finding, Lock};
use airlift_store::{Fsck, Store};
use serde::Serialize;

use crate::app::{App, Exit, Side, blocking};
use crate::args::Transfer;
use crate::output::{Report, counted, findings_summary, findings_text, joined, short};
use crate::size::human;
use crate::sources::SourceArgs;

/// Prove that what crossed the gap arrived whole
///
/// Reads every byte that is there on all cores, and names what is missing or damaged, the artifacts that it
/// hurts, and the line that cuts it again on the near side. Of a registry it only asks whether things are there,
/// unless told to go deep.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Compare the digest of every blob as well, not the signed sums alone
    #[arg(long)]
    deep: bool,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let client = app.connect(Side::Far, &Transfer::default())?;
    let sources = args.source.open(&client, app).await?;
    let depth = if args.deep { Depth::Digests } else { Depth::Sums };
    let checked = check(&sources, depth, app).await?;
    app.print(&checked)?;
    Ok(checked.exit())
}

/// Checks every source by itself, so that a damaged one is named although another has the same bytes.
pub(crate) async fn check(sources: &Sources, depth: Depth, app: &App) -> Result<Checked, Failure> {
    let mut checked = Checked::default();
    for content in sources.contents() {
        match content {
            Content::Volumes(bundle) => checked.bundles.push(of_bundle(bundle, depth, app).await?),
            Content::Store(store) => checked.findings.extend(of_store(store, app).await?),
            Content::Registry(registry) => {
                let alone = vec![Content::Registry(registry.clone())];
                let alone = Sources::open(alone, &app.ctx).await?;
                checked.findings.extend(of_registry(&alone, registry.host()).await?);
                if depth == Depth::Digests {
                    checked.findings.extend(registry.read_all(&app.ctx).await?);
                }
            }
        }
    }
    Ok(checked)
}

async fn of_bundle(
    bundle: &Arc<TrustedBundle>,
    depth: Depth,
    app: &App,
) -> Result<Verified, Failure> {
    let (bundle, ctx) = (bundle.clone(), app.ctx.clone());
    let options = VerifyOptions { depth, ..VerifyOptions::default() };
    Ok(blocking(move || verify(&bundle, &options, &ctx)).await??)
}

async fn of_store(store: &Arc<Store>, app: &App) -> Result<Vec<Finding>, Failure> {
    let (store, ctx) = (store.clone(), app.ctx.clone());
    Ok(blocking(move || store.fsck(Fsck::Deep, &ctx)).await??)
}

/// Asks for every manifest: registries take none whose blobs they lack.
async fn of_registry(registry: &Sources, host: &str) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for (reference, digest) in registry.locks().iter().flat_map(manifests) {
        if !matches!(registry.availability(&digest).await?, Availability::Here { .. }) {
            let message = format!("{host} does not have it");
            findings.push(Finding::error("absent", digest, message).of(reference));
        }
    }
    Ok(findings)
}

/// Every manifest that a lock pins, with the artifact it belongs to.
fn manifests(lock: &Lock) -> Vec<(String, Digest)> {
    let of_artifact = |artifact: &airlift_spec::lock::Artifact| {
        let children = artifact.children.iter().map(|child| child.digest);
        let referrers = artifact.referrers.iter().map(|referrer| referrer.digest);
        let digests: Vec<_> =
            artifact.digest.into_iter().chain(children).chain(referrers).collect();
        let reference = artifact.reference.to_string();
        digests.into_iter().map(move |digest| (reference.clone(), digest))
    };
    lock.artifacts.iter().flat_map(of_artifact).collect()
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Checked {
    bundles: Vec<Verified>,
    /// Of stores and registries.
    findings: Vec<Finding>,
}

impl Checked {
    fn all_findings(&self) -> Vec<Finding> {
        let of_bundles = self.bundles.iter().flat_map(|bundle| &bundle.findings);
        of_bundles.chain(&self.findings).cloned().collect()
    }

    pub(crate) fn exit(&self) -> Exit {
        Exit::of_parts(&[], &self.all_findings())
    }
}

impl Report for Checked {
    fn to_text(&self) -> String {
        let findings = self.all_findings();
        let bundles = self.bundles.iter().map(|bundle| {
            let what = format!(
                "{}  {}  {}, {} read",
                bundle.name,
                short(&bundle.root),
                counted(bundle.volumes, "volume"),
                human(bundle.bytes)
            );
            let cut_again = bundle.cut_again.as_ref();
            let cut_again = cut_again.map(|line| format!("on the near side, run: {line}"));
            joined([Some(what), cut_again])
        });
        let bundles: Vec<String> = bundles.collect();
        let summary = findings_summary(&findings).unwrap_or_else(|| "all is well".to_owned());
        joined([Some(findings_text(&findings)), Some(bundles.join("\n")), Some(summary)])
    }
}
