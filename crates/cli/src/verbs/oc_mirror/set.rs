use std::collections::BTreeSet;
use std::path::Path;

use airlift_oc_mirror::{ArgumentError, ChartRepository, ImageSet, Transport, Workspace};
use airlift_spec::stack::Finder;
use airlift_spec::{Failure, Reference, Stack};
use airlift_store::Store;
use airlift_upstream::releases::ReleasePlaces;
use airlift_upstream::resolve::Upstream;
use airlift_upstream::{Indexes, UpstreamError, chart_index};

use super::NAME;
use super::flags::Common;
use crate::app::{App, Side};
use crate::error::CliError;
use crate::failure::FailedItem;
use crate::output::counted;
use crate::verbs::fetch::folder_of;

/// Most versions of charts that repositories without `charts:` may come to: each is fetched and rendered.
const MAX_VERSIONS: usize = 10_000;

/// An image set, and what it takes to look up what it means.
#[derive(Clone, Copy)]
pub(super) struct Set<'a> {
    pub(super) common: &'a Common,
    pub(super) app: &'a App,
    pub(super) config: &'a Path,
    pub(super) workspace: &'a Workspace,
    pub(super) content: &'a ImageSet,
}

impl Set<'_> {
    pub(super) fn upstream(&self) -> Result<Upstream, Failure> {
        let reach = self.common.reach(Side::Near, &self.hosts())?;
        Ok(Upstream {
            client: self.app.connect_by(Side::Near, &self.common.transfer(), &reach)?,
            store: store(self.common, self.app)?,
            base: folder_of(self.config),
            programs: self.app.environment.programs(),
            releases: ReleasePlaces {
                trust_without_signature: self.common.ignore_release_signature,
                answers: Some(self.workspace.graphs()),
                ..self.app.environment.release_places()
            },
            indexes: Indexes::default(),
        })
    }

    /// The registries that the set itself names.
    fn hosts(&self) -> BTreeSet<String> {
        let catalogs = self.content.operators.iter().map(|operator| &operator.catalog);
        let images = self.content.additional_images.iter().map(|image| &image.image);
        let in_registry = catalogs.chain(images).filter(|it| it.transport == Transport::Docker);
        let named = in_registry.filter_map(|image| image.reference().parse::<Reference>().ok());
        named.map(|reference| reference.host().to_owned()).collect()
    }

    /// The stack that the set is, with every chart of the repositories of which all are wanted, and which of these
    /// could not be asked.
    pub(super) async fn stack(
        &self,
        upstream: &Upstream,
    ) -> Result<(Stack, Vec<FailedItem>), Failure> {
        let translation = self.content.translate(NAME)?;
        let (mut stack, mut lost) = (translation.stack, Vec::new());
        let mut versions = 0;
        for repository in &translation.whole_repositories {
            let charts = match self.every_chart(repository, upstream).await {
                Ok(charts) => charts,
                Err(err) if err.stops_everything() => return Err(err.into()),
                Err(err) => {
                    let err = err.at(repository.line, &repository.name);
                    let item = format!("chart: {}", repository.name);
                    lost.push(FailedItem::of_source(item, &err, self.config));
                    continue;
                }
            };
            versions += charts.len();
            if versions > MAX_VERSIONS {
                return Err(too_many(repository, versions));
            }
            let count = counted(charts.len() as u64, "version");
            self.app.say(format!("{}: {count} of charts in its index", repository.name));
            stack.finders.extend(charts);
        }
        Ok((stack, lost))
    }

    async fn every_chart(
        &self,
        repository: &ChartRepository,
        upstream: &Upstream,
    ) -> Result<Vec<Finder>, UpstreamError> {
        let listed = chart_index(&repository.url, upstream, &self.app.ctx).await?;
        let finder = |(name, version): (String, String)| repository.finder_of(name, version);
        Ok(listed.into_iter().map(finder).collect())
    }

    /// The name of oc-mirror's cache in its mappings.
    pub(super) fn cache(&self) -> String {
        format!("localhost:{}", self.common.port)
    }
}

fn too_many(repository: &ChartRepository, versions: usize) -> Failure {
    CliError::Refused {
        message: format!(
            "with `{}`, {versions} versions of charts are wanted, more than the {MAX_VERSIONS} that are looked into",
            repository.name
        ),
        help: Some("list those that are needed under `charts:`".to_owned()),
    }
    .into()
}

/// The store, which `--cache-dir` or `OC_MIRROR_CACHE` puts beside oc-mirror's cache.
pub(super) fn store(common: &Common, app: &App) -> Result<Store, Failure> {
    let folder = match (&common.cache_dir, app.environment.oc_mirror_cache()) {
        (Some(_), Some(_)) => return Err(ArgumentError::TwoCaches.into()),
        (Some(folder), None) => folder.clone(),
        (None, Some(folder)) => folder,
        (None, None) => return app.create_store(),
    };
    Ok(Store::create(&Path::new(&folder).join("airlift"))?)
}
