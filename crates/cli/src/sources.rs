//! Opening what `SOURCE…` names, joined into one.

use std::path::PathBuf;
use std::sync::Arc;

use airlift_bundle::content::RegistryContent;
use airlift_bundle::load::Target;
use airlift_bundle::{Content, Sources, TrustRoots, TrustedBundle, receipt};
use airlift_registry::client::Client;
use airlift_spec::{Failure, Layout, Lock};
use airlift_store::Store;

use crate::app::{App, blocking, read_lock};
use crate::error::CliError;
use crate::place::{RegistryPlace, Source};

/// Flags of verbs that read what crossed the gap.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SourceArgs {
    /// Folder of volumes, `store:DIR`, or `registry://HOST[/PREFIX]`; several are joined
    #[arg(value_name = "SOURCE", required = true)]
    pub(crate) sources: Vec<Source>,
    /// Lock that says what a registry among the sources holds; repeats [default: those of the others]
    #[arg(long, value_name = "FILE")]
    lock: Vec<PathBuf>,
    #[command(flatten)]
    trusting: Trusting,
}

#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Trusting {
    /// Take bundles that nobody trusted has signed
    #[arg(long)]
    insecure_trust_unsigned: bool,
}

impl Trusting {
    pub(crate) fn roots(self, app: &App) -> Result<TrustRoots, Failure> {
        if self.insecure_trust_unsigned {
            Ok(TrustRoots::trust_without_signature())
        } else {
            app.trust()
        }
    }
}

impl SourceArgs {
    /// One source by itself.
    pub(crate) fn of(source: Source) -> Self {
        Self { sources: vec![source], lock: Vec::new(), trusting: Trusting::default() }
    }

    /// Opens all of them. `client` is for the registries among them.
    pub(crate) async fn open(&self, client: &Client, app: &App) -> Result<Sources, Failure> {
        open(&self.sources, read_locks(&self.lock)?, self.trusting, client, app).await
    }
}

/// Flags of verbs that look into bundles alone.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BundleArgs {
    /// Folder of volumes; repeats
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    trusting: Trusting,
}

impl BundleArgs {
    pub(crate) async fn open(&self, app: &App) -> Result<Vec<TrustedBundle>, Failure> {
        open_bundles(self.folders.clone(), self.trusting, app).await
    }
}

pub(crate) fn read_locks(files: &[PathBuf]) -> Result<Vec<Lock>, Failure> {
    files.iter().map(|file| read_lock(file)).collect()
}

/// Opens `sources` as one. `locks` say what registries among them hold; if there are none, the other sources do.
pub(crate) async fn open(
    sources: &[Source],
    locks: Vec<Lock>,
    trusting: Trusting,
    client: &Client,
    app: &App,
) -> Result<Sources, Failure> {
    let mut contents = local(sources, trusting, app).await?;
    let registries: Vec<_> = sources.iter().filter_map(registry).collect();
    if !registries.is_empty() {
        let known = Sources::open(contents.clone(), &app.ctx).await?.locks().to_vec();
        let locks = if locks.is_empty() { known } else { locks };
        for place in registries {
            contents.push(loaded(place, &locks, client, app).await?);
        }
    }
    Ok(Sources::open(contents, &app.ctx).await?)
}

/// Volumes and stores.
async fn local(sources: &[Source], trusting: Trusting, app: &App) -> Result<Vec<Content>, Failure> {
    let mut contents = Vec::new();
    let folders: Vec<PathBuf> = sources.iter().filter_map(folder).collect();
    if !folders.is_empty() {
        // All folders at once: the volumes of one bundle may lie in several of them.
        let bundles = open_bundles(folders, trusting, app).await?;
        contents.extend(bundles.into_iter().map(|bundle| Content::Volumes(Arc::new(bundle))));
    }
    for source in sources {
        if let Source::Store(folder) = source {
            contents.push(Content::Store(Arc::new(Store::open(folder)?)));
        }
    }
    Ok(contents)
}

/// A registry, read under the layout that was recorded when it was loaded.
async fn loaded(
    place: &RegistryPlace,
    locks: &[Lock],
    client: &Client,
    app: &App,
) -> Result<Content, Failure> {
    if locks.is_empty() {
        return Err(CliError::Usage {
            message: format!("nothing says what {} holds", place.host),
            help: Some("name the lock with `--lock FILE`".to_owned()),
        }
        .into());
    }
    let (host, prefix) = (place.host.clone(), place.prefix.clone());
    let layout = Layout::default();
    let target = Target { client: client.clone(), host, prefix, layout };
    let mut layout = layout;
    for lock in locks {
        if let Some(kept) = receipt::read(&target, &lock.stack, &app.ctx).await? {
            layout = kept.receipt.layout;
        }
    }
    let Target { client, host, prefix, .. } = target;
    let locks = locks.to_vec();
    Ok(Content::Registry(RegistryContent::new(client, host, prefix, layout, locks)))
}

fn folder(source: &Source) -> Option<PathBuf> {
    match source {
        Source::Volumes(folder) => Some(folder.clone()),
        Source::Store(_) | Source::Registry(_) => None,
    }
}

fn registry(source: &Source) -> Option<&RegistryPlace> {
    match source {
        Source::Registry(place) => Some(place),
        Source::Volumes(_) | Source::Store(_) => None,
    }
}

pub(crate) async fn open_bundles(
    folders: Vec<PathBuf>,
    trusting: Trusting,
    app: &App,
) -> Result<Vec<TrustedBundle>, Failure> {
    let roots = trusting.roots(app)?;
    Ok(blocking(move || TrustedBundle::open(&folders, &roots)).await??)
}
