//! Opens what `SOURCE` arguments name.

use std::path::PathBuf;
use std::sync::Arc;

use airlift_bundle::content::RegistryContent;
use airlift_bundle::{Content, Sources, TrustedBundle};
use airlift_spec::{Failure, Layout};
use airlift_store::Store;

use crate::app::{App, blocking};
use crate::args::Transfer;
use crate::place::Source;

/// Opens all of `sources` and joins them by digest.
pub(crate) async fn open(sources: &[Source], app: &App) -> Result<Sources, Failure> {
    let mut contents = bundles(sources, app)
        .await?
        .into_iter()
        .map(Arc::new)
        .map(Content::Volumes)
        .collect::<Vec<_>>();
    for source in sources {
        match source {
            Source::Volumes(_) => {}
            Source::Store(folder) => {
                let folder = folder.clone();
                let store = blocking(move || Store::open(&folder)).await??;
                contents.push(Content::Store(Arc::new(store)));
            }
            Source::Registry(place) => {
                let client = app.connect(&Transfer::default())?;
                let (host, prefix) = (place.host.clone(), place.prefix.clone());
                contents.push(Content::Registry(RegistryContent::new(
                    client,
                    host,
                    prefix,
                    Layout::Host,
                    Vec::new(),
                )));
            }
        }
    }
    Ok(Sources::open(contents, &app.ctx).await?)
}

/// The bundles among `sources`; one that lies in several folders is one bundle.
pub(crate) async fn bundles(sources: &[Source], app: &App) -> Result<Vec<TrustedBundle>, Failure> {
    let folders: Vec<PathBuf> = sources
        .iter()
        .filter_map(|source| match source {
            Source::Volumes(folder) => Some(folder.clone()),
            Source::Store(_) | Source::Registry(_) => None,
        })
        .collect();
    if folders.is_empty() {
        return Ok(Vec::new());
    }
    let roots = app.trust()?;
    Ok(blocking(move || TrustedBundle::open(&folders, &roots)).await??)
}
