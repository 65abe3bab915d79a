use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use airlift_bundle::load::Target;
use airlift_bundle::remove::{Removal, RemoveOptions, Removed, Wish, remove};
use airlift_oc_mirror::{
    DeleteArguments, DeleteItem, Deletion, GENERIC, ImageName, Mode, Purpose, Routes, Signatures,
    delete_list, read_delete_list,
};
use airlift_spec::{Failure, Finding, Layout};
use airlift_upstream::resolve::{ResolveOptions, discover};
use serde::Serialize;

use super::flags::{Common, warn};
use super::{NAME, OTHER_WORKSPACE, Set, check_writable, read_set, write};
use crate::app::{App, Exit, Side, read_text};
use crate::args::Transfer;
use crate::error::CliError;
use crate::failure::{FailedItem, failed_items, failed_items_text};
use crate::output::{Report, Table, counted, findings_text, joined};
use crate::place::RegistryPlace;

/// Delete what a `DeleteImageSetConfiguration` names from the far registry
///
/// In two steps, so that somebody can read the list in between: `--generate` writes it, `--delete-yaml-file` deletes
/// what it names. A manifest stays where something else leads to it. Blobs are for the registry to collect.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of oc-mirror")]
pub(super) struct Args {
    /// `docker://REGISTRY[/NAMESPACE]`
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
    /// Write the list of what to delete, and delete nothing
    #[arg(long)]
    generate: bool,
    /// Part of the names of the files that `--generate` writes
    #[arg(long, value_name = "ID")]
    delete_id: Option<String>,
    /// The list that `--generate` wrote
    #[arg(long, value_name = "FILE")]
    delete_yaml_file: Option<String>,
    /// With `--generate`: list the signatures of images that are known by digest, too
    #[arg(long)]
    delete_signatures: bool,
    /// Refused: images of version 1 have other names, which nothing tells
    #[arg(long)]
    delete_v1_images: bool,
    /// Without effect, which is said: `airlift gc` frees the store
    #[arg(long)]
    force_cache_delete: bool,
    /// Only say what would be deleted, and what would stay
    #[arg(long, conflicts_with = "generate")]
    dry_run: bool,
}

pub(super) async fn run(args: &Args, common: &Common, app: &App) -> Result<Exit, Failure> {
    let arguments = DeleteArguments {
        destination: args.destination.clone(),
        generate: args.generate,
        config: common.config.clone(),
        workspace: common.workspace.clone(),
        delete_yaml_file: args.delete_yaml_file.clone(),
        delete_id: args.delete_id.clone(),
        delete_v1_images: args.delete_v1_images,
    };
    let deletion = arguments.deletion()?;
    args.check(app)?;
    match deletion {
        Deletion::Generate { config, workspace, id, registry } => {
            let set = read_set(Path::new(&config), Purpose::Delete)?;
            let (config, content) = (Path::new(&config), &set);
            let set = Set { common, app, config, workspace: &workspace, content };
            generate(args, set, &registry, id.as_deref()).await
        }
        Deletion::Delete { list, registry } => {
            delete(args, common, Path::new(&list), &registry, app).await
        }
    }
}

impl Args {
    fn check(&self, app: &App) -> Result<(), CliError> {
        if self.delete_v1_images {
            return Err(CliError::Refused {
                message: "what version 1 of oc-mirror named cannot be deleted by airlift"
                    .to_owned(),
                help: Some("give the images to the registry's own tools".to_owned()),
            });
        }
        if self.force_cache_delete {
            let instead = "the store keeps what was mirrored last; mirror without these images, then run `airlift gc`";
            warn(app, "--force-cache-delete", instead);
        }
        if self.delete_signatures && !self.generate {
            let instead = "what is deleted stands in the list; give it with `--generate`";
            warn(app, "--delete-signatures", instead);
        }
        Ok(())
    }
}

/// Looks up what the configuration means, as a mirror run does, and writes down what that is in the registry.
async fn generate(
    args: &Args,
    set: Set<'_>,
    registry: &str,
    id: Option<&str>,
) -> Result<Exit, Failure> {
    let Set { app, workspace, content, .. } = set;
    let text = read_text("configuration", set.config)?;
    check_writable(workspace, OTHER_WORKSPACE)?;
    let upstream = set.upstream()?;
    let (stack, mut failures) = set.stack(&upstream).await?;
    let found = discover(&stack, &upstream, &ResolveOptions::default(), &app.ctx).await?;
    failures.extend(failed_items(&found.failures, set.config));
    let routes = Routes {
        mode: Mode::Delete,
        cache: set.cache(),
        registry: registry.to_owned(),
        max_nested_paths: set.common.nested_paths(),
    };
    let (copies, mut findings) = content.copies(&content.items(&found.lock), &routes);
    findings.extend(found.lock.findings);
    findings.extend(content.warnings.iter().cloned());
    // Half a list would be taken for a whole one.
    let (list, is_whole) = (workspace.delete_images(id), failures.is_empty());
    if is_whole {
        let signatures = if args.delete_signatures { Signatures::Delete } else { Signatures::Keep };
        write(&list, delete_list(&copies, signatures))?;
        write(&workspace.delete_config(id), text)?;
        findings.push(Finding::info(
            "image-sets-are-one",
            registry,
            "all sets that were mirrored to this path count as one: what another of them still needs is on the list, \
             but for catalogs, which never are",
        ));
    }
    let list = is_whole.then_some(list);
    let names: BTreeSet<&String> = copies.iter().map(|copy| &copy.destination).collect();
    app.print(&Generated { images: names.len() as u64, list, findings, failures })?;
    Ok(if is_whole { Exit::Success } else { Exit::Peer(GENERIC) })
}

/// Deletes what a list names.
async fn delete(
    args: &Args,
    common: &Common,
    list: &Path,
    registry: &str,
    app: &App,
) -> Result<Exit, Failure> {
    let in_file = CliError::in_file(list);
    let text = read_text("list of images to delete", list)?;
    let items = read_delete_list(&text, registry).map_err(|err| in_file(err.into()))?;
    let wishes: Vec<Wish> = items.iter().map(wish).collect();
    let place: RegistryPlace = registry.parse().map_err(|err| CliError::usage(format!("{err}")))?;
    let reach = common.reach(Side::Far, &[place.host.clone()].into())?;
    let client = app.connect_by(Side::Far, &Transfer::default(), &reach)?;
    let (host, prefix) = (place.host, place.prefix);
    let target = Target { client, host, prefix, layout: Layout::OcMirror };
    let parallel = NonZeroUsize::new(common.images() as usize).unwrap_or(NonZeroUsize::MIN);
    let options = RemoveOptions { parallel, dry_run: args.dry_run, stack: NAME.to_owned() };
    let images = remove(&wishes, &target, &options, &app.ctx).await?;
    let deleted = Deleted { registry: registry.to_owned(), dry_run: args.dry_run, images };
    app.print(&deleted)?;
    Ok(if deleted.has_failures() { Exit::Peer(GENERIC) } else { Exit::Success })
}

/// An item of the list: its place in the registry, and which image is meant, where its name says it.
fn wish(item: &DeleteItem) -> Wish {
    let named = ImageName::parse(&item.name).ok().and_then(|name| name.digest);
    Wish {
        repository: item.reference.path.clone(),
        tag: item.reference.tag.clone(),
        digest: item.reference.digest.or(named),
    }
}

/// What the first step came to.
#[derive(Debug, Serialize)]
struct Generated {
    images: u64,
    /// None where something could not be looked up.
    list: Option<PathBuf>,
    findings: Vec<Finding>,
    failures: Vec<FailedItem>,
}

impl Report for Generated {
    fn to_text(&self) -> String {
        let images = counted(self.images, "image");
        let summary = match &self.list {
            Some(list) => {
                format!("{images} to delete, see {}; nothing is deleted yet", list.display())
            }
            None => "no list is written, since not all can be looked up".to_owned(),
        };
        joined([
            Some(findings_text(&self.findings)),
            failed_items_text(&self.failures),
            Some(summary),
        ])
    }
}

/// What the second step came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    registry: String,
    dry_run: bool,
    images: Vec<Removal>,
}

impl Deleted {
    fn has_failures(&self) -> bool {
        self.images.iter().any(|image| matches!(image.result, Removed::Failed(_)))
    }

    /// What did not go, and why. Of what is gone, the number is enough.
    fn table(&self) -> Option<String> {
        let mut table = Table::new(&["image", "result", "why"]);
        let mut is_empty = true;
        for image in &self.images {
            let (result, why) = match &image.result {
                Removed::Deleted | Removed::Gone => continue,
                Removed::Kept { why, untagged: true } => ("kept, tag deleted", why),
                Removed::Kept { why, untagged: false } => ("kept", why),
                Removed::Failed(failure) => ("failed", &failure.reason),
            };
            is_empty = false;
            table.row([image.name(), result.to_owned(), why.clone()]);
        }
        (!is_empty).then(|| table.to_text())
    }

    /// Each advice once.
    fn advice(&self) -> String {
        let help = |image: &Removal| match &image.result {
            Removed::Failed(failure) => failure.help.clone(),
            Removed::Deleted | Removed::Gone | Removed::Kept { .. } => None,
        };
        let advice: BTreeSet<String> = self.images.iter().filter_map(help).collect();
        advice.iter().map(|help| format!("help: {help}")).collect::<Vec<_>>().join("\n")
    }

    fn summary(&self) -> String {
        let count = |wanted: fn(&Removed) -> bool| {
            self.images.iter().filter(|image| wanted(&image.result)).count()
        };
        let deleted = count(|result| matches!(result, Removed::Deleted));
        let gone = count(|result| matches!(result, Removed::Gone));
        let kept = count(|result| matches!(result, Removed::Kept { .. }));
        let failed = self.images.len() - deleted - gone - kept;
        let verb = if self.dry_run { "to delete" } else { "deleted" };
        format!(
            "{}: {deleted} {verb}, {gone} not there, {kept} kept, {failed} failed; the registry's own \
             garbage collection frees the space",
            self.registry
        )
    }
}

impl Report for Deleted {
    fn to_text(&self) -> String {
        joined([self.table(), Some(self.advice()), Some(self.summary())])
    }
}
