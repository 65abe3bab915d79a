//! `chart:` sources: the chart itself, and the images of what it renders to.

use std::collections::BTreeSet;
use std::path::PathBuf;

use airlift_helm::{
    Chart, ExploreOptions, Explored, Helm, Image, Images, Lookup, Object, RenderError,
    RenderOptions, Unrendered,
};
use airlift_scan::Doubt;
use airlift_scan::knowledge::{Advice, Knowledge, Product};
use airlift_spec::lock::{Artifact, Because, Evidence, Kind};
use airlift_spec::stack::{ChartPlace, ChartSource, Finder, Stack, Switches};
use airlift_spec::{Ctx, Finding, Reference};

use super::{Discovery, known};
use crate::charts::{Charts, kept};
use crate::lint::{Author, Seen};
use crate::local::open_regular;
use crate::made;
use crate::resolve::Upstream;
use crate::want::Want;
use crate::{UpstreamError, blocking};

/// Looks into one chart.
pub(super) async fn find(
    wanted: &ChartSource,
    finder: &Finder,
    stack: &Stack,
    knowledge: &Knowledge,
    charts: Charts<'_>,
) -> Result<Discovery, UpstreamError> {
    let Charts { upstream, ctx, .. } = charts;
    let values = wanted.values.iter().chain(wanted.variants.iter().flatten());
    let values: Vec<PathBuf> = values.map(|name| upstream.base.join(name)).collect();
    blocking(move || values.iter().try_for_each(|path| open_regular(path).map(drop))).await?;
    let got = charts.get(&wanted.place, wanted.version.as_deref()).await?;
    let chart = got.chart;
    let (name, version) = (chart.metadata.name.clone(), chart.metadata.version.clone());
    let advice = version.parse().map_or_else(
        |_| Advice::default(),
        |version| knowledge.about(&Product::Chart(name.clone()), &version),
    );
    let declared =
        Because { from: finder.key(), path: String::new(), evidence: Evidence::Declared };
    let mut discovery = Discovery::default();
    let because = vec![declared];
    if let Some(from) = got.from {
        let from = Some(from);
        let plain = Artifact::new(Kind::Chart, got.reference.clone());
        let labelled = Artifact { name, version, from, because, ..plain };
        discovery.made.push(made::chart(&chart, labelled, upstream).await?);
    } else {
        let want = Want::image(got.reference.clone(), finder.platforms(stack).clone());
        discovery.wants.push(Want { kind: Kind::Chart, name, version, because, ..want });
    }
    let render = Render::new(wanted, upstream);
    let (programs, cancel) = (upstream.programs.clone(), ctx.clone());
    let home = Home::of(wanted, finder);
    discovery.findings.extend(home.lookups(&chart));
    let found = blocking(move || match Helm::find(None, &programs, &cancel) {
        Ok(helm) => {
            let found = render.run(&helm, &chart, &cancel)?;
            Ok(Found { objects: Some(render.objects(&helm, &chart, &home, &cancel)?), ..found })
        }
        // Nothing of it is proven then.
        Err(RenderError::Absent { .. }) => {
            Ok(Found { unrendered: render.unrendered(&chart)?, ..Found::default() })
        }
        Err(err) => Err(err),
    });
    let found = found.await.map_err(UpstreamError::Render)?;
    let parent = got.reference.to_string();
    discovery.findings.extend(found.findings(&finder.key()));
    discovery.objects = found.objects;
    let packages = known::packages_of(stack);
    let said = known::findings(&advice, &parent, &packages);
    discovery.findings.extend(said.map(|finding| finding.of(finder.key())));
    for known in advice.images {
        let want = Want::image(known.reference.clone(), finder.platforms(stack).clone());
        discovery.wants.push(Want { because: vec![known.because(&parent)], ..want });
    }
    for (image, note) in found.images {
        let because = Because {
            from: parent.clone(),
            path: place(&image, &note),
            evidence: Evidence::Rendered,
        };
        let want = Want::image(image.reference, finder.platforms(stack).clone());
        discovery.wants.push(Want { because: vec![because], ..want });
    }
    Ok(discovery)
}

/// The objects of a chart that has not changed, rendered once more without asking anybody: none where the chart, or
/// Helm, is not at hand.
pub(super) async fn again(
    wanted: &ChartSource,
    before: Option<&Artifact>,
    finder: &Finder,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Option<Vec<Seen>>, UpstreamError> {
    let Some(chart) = kept(before, upstream).await? else { return Ok(None) };
    let (render, home) = (Render::new(wanted, upstream), Home::of(wanted, finder));
    let (programs, cancel) = (upstream.programs.clone(), ctx.clone());
    let objects = blocking(move || match Helm::find(None, &programs, &cancel) {
        Ok(helm) => render.objects(&helm, &chart, &home, &cancel).map(Some),
        Err(RenderError::Absent { .. }) => Ok(None),
        Err(err) => Err(err),
    });
    objects.await.map_err(UpstreamError::Render)
}

/// Where the objects of a chart stand, and who wrote them.
struct Home {
    source: String,
    written: String,
    author: Author,
}

impl Home {
    fn of(wanted: &ChartSource, finder: &Finder) -> Self {
        // A package was made by others, or is made anew from a folder.
        let author = match &wanted.place {
            ChartPlace::Path(path) if !is_package(path) => Author::Here,
            ChartPlace::Path(_) | ChartPlace::Oci(_) | ChartPlace::Repository { .. } => {
                Author::Elsewhere
            }
        };
        Self { source: finder.key(), written: finder.written.clone(), author }
    }

    fn seen(&self, object: Object) -> Seen {
        let Object { template, object } = object;
        let author = if template.contains("/charts/") { Author::Elsewhere } else { self.author };
        let parts = [self.written.as_str(), &template];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Seen { source: self.source.clone(), place: parts.join(": "), author, object }
    }

    /// What is not known of templates that ask the cluster.
    fn lookups(&self, chart: &Chart) -> Option<Finding> {
        let lookups = chart.lookups();
        let named = lookups.iter().take(MAX_LOOKUPS).map(|Lookup { file, line, kind }| {
            let kind = if kind.is_empty() { String::new() } else { format!(" ({kind})") };
            format!("{file}:{line}{kind}")
        });
        let named: Vec<String> = named.collect();
        let more = lookups.len().saturating_sub(MAX_LOOKUPS);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let message = format!(
            "its templates ask the cluster with `lookup`, and are told nothing here, by `helm template`, and by Argo \
             CD: {}{more}; objects, values, and images that hang on the answer differ from those of `helm install`: \
             set the values that take its place",
            named.join(", ")
        );
        let finding = match self.author {
            Author::Here => Finding::warning("chart-lookup", &self.source, message),
            Author::Elsewhere => Finding::info("chart-lookup", &self.source, message),
        };
        (!lookups.is_empty()).then_some(finding)
    }
}

fn is_package(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(".tgz")
}

/// The template, the object and the field, with what had to be done to see it.
fn place(image: &Image, note: &str) -> String {
    let parts = [image.template.as_deref().unwrap_or(""), &image.path];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if note.is_empty() { parts.join(": ") } else { format!("{} ({note})", parts.join(": ")) }
}

/// How a chart is rendered.
struct Render {
    options: RenderOptions,
    /// Further renders, each with more values files.
    variants: Vec<RenderOptions>,
    switches: Switches,
    image_paths: Vec<String>,
}

/// Most calls of `lookup` that are named.
const MAX_LOOKUPS: usize = 5;

/// What the renders show.
#[derive(Default)]
struct Found {
    /// None where nothing was rendered.
    objects: Option<Vec<Seen>>,
    /// Each with what had to be done to see it.
    images: Vec<(Image, String)>,
    /// What the switches show, where they were thrown.
    explored: Option<Explored>,
    doubts: Vec<Doubt>,
    /// What the chart's files name, and no render shows.
    unrendered: Vec<Unrendered>,
    is_rendered: bool,
}

impl Render {
    fn new(wanted: &ChartSource, upstream: &Upstream) -> Self {
        let files = |names: &[String]| -> Vec<PathBuf> {
            names.iter().map(|name| upstream.base.join(name)).collect()
        };
        let base = RenderOptions::default();
        let options = RenderOptions {
            release: wanted.release.clone().unwrap_or(base.release),
            namespace: wanted.namespace.clone().unwrap_or(base.namespace),
            values: files(&wanted.values),
            kube_version: wanted.kube_version.clone(),
            api_versions: wanted.api_versions.clone(),
            ..RenderOptions::default()
        };
        let variant = |names: &Vec<String>| RenderOptions {
            values: options.values.iter().cloned().chain(files(names)).collect(),
            ..options.clone()
        };
        let variants = wanted.variants.iter().map(variant).collect();
        let image_paths = wanted.image_paths.clone();
        Self { options, variants, switches: wanted.switches, image_paths }
    }

    fn run(&self, helm: &Helm, chart: &Chart, ctx: &Ctx) -> Result<Found, RenderError> {
        let paths = self.image_paths.iter().map(|path| path.parse().map_err(RenderError::Path));
        let renderer = helm.prepare(chart)?.looking_at(paths.collect::<Result<_, _>>()?);
        let limits = ExploreOptions::default();
        let mut found = Found::default();
        if self.switches == Switches::Ignore {
            let objects = renderer.render(&self.options, ctx)?;
            found.add(renderer.images(&objects, ctx)?, "");
        } else {
            let mut explored = renderer.explore(&self.options, &limits, ctx)?;
            found.add(std::mem::take(&mut explored.images), "");
            if self.switches == Switches::Include {
                let gated = explored.gated.drain(..);
                found
                    .images
                    .extend(gated.map(|it| (it.image.clone(), format!("with {}", it.gate()))));
            }
            found.explored = Some(explored);
        }
        for (number, variant) in (1..).zip(renderer.variants(&self.variants, &limits, ctx)) {
            found.add(variant?, &format!("variant {number}"));
        }
        found.unrendered = self.unrendered(chart)?;
        found.forget_rendered();
        Ok(found)
    }

    /// What the chart comes to as its values are.
    fn objects(
        &self,
        helm: &Helm,
        chart: &Chart,
        home: &Home,
        ctx: &Ctx,
    ) -> Result<Vec<Seen>, RenderError> {
        let renderer = helm.prepare(chart)?;
        let objects = renderer.objects(&renderer.render(&self.options, ctx)?, ctx)?;
        Ok(objects.into_iter().map(|object| home.seen(object)).collect())
    }

    /// What the chart's files name.
    fn unrendered(&self, chart: &Chart) -> Result<Vec<Unrendered>, RenderError> {
        let values = chart.values_with(&self.options.values).map_err(RenderError::Chart)?;
        chart.unrendered(&values).map_err(RenderError::Chart)
    }
}

impl Found {
    /// What a render shows needs no other proof.
    fn forget_rendered(&mut self) {
        self.is_rendered = true;
        let gated = self.explored.iter().flat_map(|explored| &explored.gated);
        let known: BTreeSet<&Reference> = self
            .images
            .iter()
            .map(|(image, _)| &image.reference)
            .chain(gated.map(|gated| &gated.image.reference))
            .collect();
        self.unrendered.retain(|it| !known.contains(&it.reference));
    }

    fn add(&mut self, images: Images, note: &str) {
        self.images.extend(images.images.into_iter().map(|image| (image, note.to_owned())));
        self.doubts.extend(images.doubts);
    }

    /// What is worth telling about the source with the key `key`.
    fn findings(&self, key: &str) -> Vec<Finding> {
        let switched = self.explored.iter().flat_map(|explored| explored.findings(key));
        let doubts = self.doubts.iter().map(|doubt| doubt.finding(key).of(key));
        let unrendered = self.unrendered.iter().map(|it| it.finding(key));
        let message = "there is no `helm` program on the PATH, so that nothing proves which images it \
                       asks for; install Helm 4 (or 3), and resolve with `--update`";
        let not_rendered =
            (!self.is_rendered).then(|| Finding::error("not-rendered", key, message));
        switched.chain(doubts).chain(unrendered).chain(not_rendered).collect()
    }
}
