//! Charts, from wherever they are: a folder, a package, a repository, a registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use airlift_helm::{
    Chart, Constraint, Dependency, Entry, Listing, MAX_CHART_DEPTH, Wanted, media_type,
    parse_version,
};
use airlift_registry::client::Repository;
use airlift_spec::lock::Artifact;
use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::stack::ChartPlace;
use airlift_spec::{Ctx, Digest, Manifest, Reference};
use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};

use crate::local::read_error;
use crate::resolve::Upstream;
use crate::{UpstreamError, blocking};

/// How the `from` of a chart begins that no registry has.
pub(crate) const CHART: &str = "chart:";

/// Most bytes of a repository's index. The largest known to us have some 30 million.
const MAX_INDEX_BYTES: usize = 256 << 20;

/// Most bytes of a package, which Helm itself bounds as well.
const MAX_PACKAGE_BYTES: usize = 100 << 20;

/// Where a chart has its name that comes from this machine.
const LOCAL: &str = "airlift.local/charts";

/// A chart with all that it depends on, and where it came from.
pub(crate) struct Got {
    pub(crate) chart: Chart,
    pub(crate) reference: Reference,
    /// As the lock writes it; none where a registry has the chart under its reference.
    pub(crate) from: Option<String>,
}

/// Where the charts are that lead to one, each of which depends on the next.
#[derive(Debug, Clone, Default)]
struct Way(Vec<String>);

impl Way {
    /// The way to one more chart. One that is on it already would lead to itself for ever.
    fn down(&self, place: &str) -> Result<Self, UpstreamError> {
        let refused = |problem: String, help: &str| UpstreamError::Local {
            path: place.to_owned(),
            problem,
            help: Some(help.to_owned()),
        };
        if let Some(at) = self.0.iter().position(|above| above == place) {
            let between: Vec<String> =
                self.0[at + 1..].iter().map(|place| format!("`{place}`")).collect();
            let through = if between.is_empty() { "" } else { " through " };
            let problem = format!("depends on itself{through}{}", between.join(", "));
            return Err(refused(problem, "take the way back out of the `dependencies:` there"));
        }
        if self.0.len() > MAX_CHART_DEPTH {
            let problem =
                format!("is a dependency of a dependency, more than {MAX_CHART_DEPTH} deep");
            return Err(refused(problem, "put the charts that it depends on into `charts/`"));
        }
        Ok(Self(self.0.iter().cloned().chain([place.to_owned()]).collect()))
    }
}

/// Brings charts.
#[derive(Clone, Copy)]
pub(crate) struct Charts<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) ctx: &'a Ctx,
}

/// The indexes of repositories that were read, by their addresses: one repository has many charts.
#[derive(Debug, Clone, Default)]
pub struct Indexes(Arc<Mutex<BTreeMap<String, Arc<OnceCell<Bytes>>>>>);

impl Indexes {
    async fn read(
        &self,
        address: &str,
        upstream: &Upstream,
        ctx: &Ctx,
    ) -> Result<Bytes, UpstreamError> {
        let cell = Arc::clone(self.0.lock().await.entry(address.to_owned()).or_default());
        let read = || file(address, MAX_INDEX_BYTES, upstream, ctx);
        cell.get_or_try_init(read).await.cloned()
    }
}

/// Where the index of a repository is; what stands behind a `?` is for it as well.
fn index_of(url: &str) -> String {
    let base = base_of(url);
    url.replacen(base, &format!("{base}/index.yaml"), 1).trim_end_matches('/').to_owned()
}

fn base_of(url: &str) -> &str {
    url.split('?').next().unwrap_or(url).trim_end_matches('/')
}

/// Name and version of every chart that the index of a classic repository has.
///
/// # Errors
///
/// Where the repository is an `oci://` one: it has no index.
pub async fn chart_index(
    url: &str,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Vec<(String, String)>, UpstreamError> {
    if url.starts_with("oci://") {
        return Err(UpstreamError::Local {
            path: url.to_owned(),
            problem: "has no index that says which charts it has".to_owned(),
            help: Some("list the charts".to_owned()),
        });
    }
    let index = index_of(url);
    let text = upstream.indexes.read(&index, upstream, ctx).await?;
    let listings = blocking(move || Listing::all(&text, &index)).await;
    let versions = |listing: Listing| {
        let name = listing.name().to_owned();
        listing.entries.into_iter().map(move |entry| (name.clone(), entry.version))
    };
    Ok(listings.map_err(UpstreamError::Chart)?.into_iter().flat_map(versions).collect())
}

impl Charts<'_> {
    pub(crate) async fn get(
        &self,
        place: &ChartPlace,
        version: Option<&str>,
    ) -> Result<Got, UpstreamError> {
        match place {
            ChartPlace::Path(path) => self.on_disk(path, &Way::default()).await,
            ChartPlace::Oci(repository) => self.in_registry(repository, version).await,
            ChartPlace::Repository { name, url } => {
                self.in_repository(name, url, version, &Way::default()).await
            }
        }
    }

    /// The chart that the lock's `from` names, to be made once more.
    pub(crate) async fn again(&self, from: &str) -> Result<Chart, UpstreamError> {
        if from.contains("://") {
            return self.package(from, None, &Way::default()).await;
        }
        Ok(self.on_disk(from, &Way::default()).await?.chart)
    }

    async fn on_disk(&self, path: &str, way: &Way) -> Result<Got, UpstreamError> {
        let (base, path) = (self.upstream.base.clone(), path.to_owned());
        let (whole, way) = (base.join(&path), way.clone());
        let open = move || {
            let place = without_detours(&whole, &base)?;
            let way = way.down(&place.display().to_string())?;
            Ok((Chart::open(&whole).map_err(UpstreamError::Chart)?, way))
        };
        let (chart, way) = blocking(open).await?;
        let chart = self.with_dependencies(chart, Some(&path), &way).await?;
        let reference = named(LOCAL, &chart)?;
        Ok(Got { chart, reference, from: Some(format!("{CHART}{path}")) })
    }

    async fn in_repository(
        &self,
        name: &str,
        url: &str,
        version: Option<&str>,
        way: &Way,
    ) -> Result<Got, UpstreamError> {
        let (base, index) = (base_of(url), index_of(url));
        let text = self.upstream.indexes.read(&index, self.upstream, self.ctx).await?;
        let (listed, wanted) = (name.to_owned(), asked(version));
        let entry = blocking(move || {
            let listing = Listing::read(&text, &index, &listed)?;
            listing.choose(&wanted).cloned()
        });
        let entry = entry.await.map_err(UpstreamError::Chart)?;
        let mut failed = None;
        for address in entry.addresses(url) {
            if let Some(oci) = address.strip_prefix("oci://") {
                let (repository, tag) = oci.rsplit_once(':').unwrap_or((oci, &entry.version));
                let got = Box::pin(self.in_registry(repository, Some(tag))).await?;
                check_listed(&got.chart, name, &entry, &address)?;
                return Ok(got);
            }
            match self.package(&address, Some((name, &entry)), way).await {
                Ok(chart) => {
                    let reference = named(base, &chart)?;
                    return Ok(Got { chart, reference, from: Some(format!("{CHART}{address}")) });
                }
                Err(err) if err.stops_everything() => return Err(err),
                Err(err) => failed = failed.or(Some(err)),
            }
        }
        Err(failed.unwrap_or_else(|| UpstreamError::Absent { reference: url.to_owned() }))
    }

    /// The package at an address, which is what the index lists under a name, where that led to it.
    async fn package(
        &self,
        address: &str,
        listed: Option<(&str, &Entry)>,
        way: &Way,
    ) -> Result<Chart, UpstreamError> {
        let way = way.down(address)?;
        let bytes = self.file(address, MAX_PACKAGE_BYTES).await?;
        let digest = listed.and_then(|(_, entry)| entry.digest);
        if let Some(expected) = digest.filter(|digest| !digest.matches(&bytes)) {
            return Err(UpstreamError::Package {
                address: address.to_owned(),
                expected,
                actual: Digest::of(&bytes),
            });
        }
        let place = address.to_owned();
        let read = blocking(move || Chart::from_package(bytes.to_vec(), place));
        let chart = read.await.map_err(UpstreamError::Chart)?;
        if let Some((name, entry)) = listed {
            check_listed(&chart, name, entry, address)?;
        }
        self.with_dependencies(chart, None, &way).await
    }

    async fn in_registry(
        &self,
        repository: &str,
        version: Option<&str>,
    ) -> Result<Got, UpstreamError> {
        let reference = self.tagged(repository, version).await?;
        let client_error =
            |source| UpstreamError::Client { reference: reference.to_string(), source };
        let absent = || UpstreamError::Absent { reference: format!("oci://{reference}") };
        let from = Repository::from(&reference);
        let client = &self.upstream.client;
        let found = client.manifest(&from, &reference.wanted(), self.ctx).await;
        let found = found.map_err(client_error)?.ok_or_else(absent)?;
        let manifest =
            Manifest::parse(&found.bytes, Some(&found.media_type)).map_err(|source| {
                let (reference, digest) = (reference.to_string(), found.digest);
                UpstreamError::Manifest { reference, digest, source }
            })?;
        let is_package =
            |layer: &&airlift_spec::Descriptor| layer.media_type == media_type::PACKAGE;
        let package = manifest.blobs.iter().find(is_package).ok_or_else(|| {
            let problem = "is no Helm chart: it has no layer of that type".to_owned();
            UpstreamError::Local { path: format!("oci://{reference}"), problem, help: None }
        })?;
        let brought = client.fetch_into(&from, package, &self.upstream.store, self.ctx).await;
        brought.map_err(client_error)?;
        let (store, digest) = (self.upstream.store.clone(), package.digest);
        let bytes = blocking(move || store.read(&digest, MAX_PACKAGE_BYTES as u64)).await;
        let bytes = bytes.map_err(UpstreamError::StoreItself)?.ok_or_else(absent)?;
        let place = format!("oci://{reference}");
        let read = blocking(move || Chart::from_package(bytes, place));
        let chart = read.await.map_err(UpstreamError::Chart)?;
        Ok(Got { chart, reference, from: None })
    }

    /// The reference of the version that Helm would choose.
    async fn tagged(
        &self,
        repository: &str,
        version: Option<&str>,
    ) -> Result<Reference, UpstreamError> {
        let parse = |text: &str| {
            text.parse::<Reference>().map_err(|err| UpstreamError::Local {
                path: format!("oci://{text}"),
                problem: format!("is no place of a chart: {err}"),
                help: None,
            })
        };
        // A whole version is its own tag, and nobody need be asked.
        if let Some(exact) = version.filter(|version| parse_version(version).is_some()) {
            return parse(&format!("{repository}:{}", exact.replace('+', "_")));
        }
        let named = parse(repository)?;
        let tags = self.upstream.client.tags(&Repository::from(&named), self.ctx).await;
        let tags =
            tags.map_err(|source| UpstreamError::Client { reference: named.to_string(), source })?;
        let constraint: Constraint =
            version.unwrap_or("*").parse().map_err(UpstreamError::Chart)?;
        let versions = tags
            .unwrap_or_default()
            .into_iter()
            .filter_map(|tag| parse_version(&tag.replace('_', "+")).map(|version| (version, tag)));
        let newest = versions.filter(|(version, _)| constraint.takes(version)).max();
        let (_, tag) = newest.ok_or_else(|| UpstreamError::Absent {
            reference: format!("oci://{repository} in version {}", version.unwrap_or("*")),
        })?;
        parse(&format!("{repository}:{tag}"))
    }

    /// The chart with the charts that it names and does not bring. `folder` is where it lies on this machine, and `way`
    /// leads to it.
    async fn with_dependencies(
        &self,
        mut chart: Chart,
        folder: Option<&str>,
        way: &Way,
    ) -> Result<Chart, UpstreamError> {
        let missing: Vec<Dependency> = chart.missing_dependencies().into_iter().cloned().collect();
        for wanted in missing {
            let got = Box::pin(self.dependency(&wanted, chart.place(), folder, way)).await?;
            let package = got.chart.package().to_vec();
            chart = chart.with_dependency(package).map_err(UpstreamError::Chart)?;
        }
        Ok(chart)
    }

    async fn dependency(
        &self,
        wanted: &Dependency,
        of: &str,
        folder: Option<&str>,
        way: &Way,
    ) -> Result<Got, UpstreamError> {
        let Dependency { name, version, repository, .. } = wanted;
        let version = Some(version.as_str()).filter(|version| !version.is_empty());
        if let Some(oci) = repository.strip_prefix("oci://") {
            return self.in_registry(&format!("{oci}/{name}"), version).await;
        }
        if let (Some(path), Some(folder)) = (repository.strip_prefix("file://"), folder) {
            let path = Path::new(folder).join(path).display().to_string();
            return self.on_disk(&path, way).await;
        }
        if repository.contains("://") && !repository.starts_with("file:") {
            return self.in_repository(name, repository, version, way).await;
        }
        Err(UpstreamError::Local {
            path: of.to_owned(),
            problem: format!("needs the chart `{name}` from `{repository}`, which is no address"),
            help: Some("run `helm dependency build` in its folder".to_owned()),
        })
    }

    async fn file(&self, address: &str, limit: usize) -> Result<Bytes, UpstreamError> {
        file(address, limit, self.upstream, self.ctx).await
    }
}

/// The chart of an artifact, where the store has it.
pub(crate) async fn kept(
    artifact: Option<&Artifact>,
    upstream: &Upstream,
) -> Result<Option<Chart>, UpstreamError> {
    let Some(Artifact { digest: Some(digest), reference, .. }) = artifact else { return Ok(None) };
    let (store, digest, place) = (upstream.store.clone(), *digest, format!("oci://{reference}"));
    let read = move || {
        let Some(text) = store.read(&digest, MAX_MANIFEST_BYTES)? else { return Ok(None) };
        let Ok(manifest) = Manifest::parse(&text, None) else { return Ok(None) };
        match manifest.blobs.iter().find(|blob| blob.media_type == media_type::PACKAGE) {
            Some(package) => store.read(&package.digest, MAX_PACKAGE_BYTES as u64),
            None => Ok(None),
        }
    };
    let Some(bytes) = blocking(read).await.map_err(UpstreamError::StoreItself)? else {
        return Ok(None);
    };
    let chart = blocking(move || Chart::from_package(bytes, place)).await;
    chart.map(Some).map_err(UpstreamError::Chart)
}

/// A file of a web server, which must be there.
pub(crate) async fn file(
    address: &str,
    limit: usize,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Bytes, UpstreamError> {
    let found = upstream.client.file(address, limit, ctx).await;
    let reference = || address.to_owned();
    let found = found.map_err(|source| UpstreamError::Client { reference: reference(), source })?;
    found.ok_or_else(|| UpstreamError::Absent { reference: reference() })
}

/// Where a file or folder of this machine is, seen from `base` where it lies below, so that it is the same place whatever
/// links and `..` lead there. Blocks on the disk.
fn without_detours(path: &Path, base: &Path) -> Result<PathBuf, UpstreamError> {
    let whole = fs_err::canonicalize(path).map_err(|source| read_error(path, source))?;
    let base = fs_err::canonicalize(base).map_err(|source| read_error(base, source))?;
    Ok(whole.strip_prefix(&base).map_or(whole.clone(), Path::to_owned))
}

/// Refuses another chart than the one that the index lists at `address`.
fn check_listed(
    chart: &Chart,
    name: &str,
    entry: &Entry,
    address: &str,
) -> Result<(), UpstreamError> {
    let given = &chart.metadata;
    if given.name == name && parse_version(&given.version) == parse_version(&entry.version) {
        return Ok(());
    }
    Err(UpstreamError::OtherChart {
        address: address.to_owned(),
        given: format!("{} {}", given.name, given.version),
        listed: format!("{name} {}", entry.version),
    })
}

fn asked(version: Option<&str>) -> Wanted {
    version.map_or(Wanted::Latest, |version| Wanted::Version(version.to_owned()))
}

/// The name of a chart on the far side: below the address of its repository.
fn named(base: &str, chart: &Chart) -> Result<Reference, UpstreamError> {
    let base = base.split_once("://").map_or(base, |(_, rest)| rest).to_lowercase();
    let name = format!("{base}/{}:{}", chart.metadata.name.to_lowercase(), chart.tag());
    name.parse().map_err(|err| UpstreamError::Local {
        path: name.clone(),
        problem: format!("cannot be the name of a chart on the far side: {err}"),
        help: None,
    })
}
