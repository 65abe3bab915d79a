//! `manifests:` sources: files, folders, and addresses of Kubernetes objects.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use airlift_helm::{Address, Kustomize, KustomizeError, Remote, is_kustomization};
use airlift_scan::{Document, documents};
use airlift_spec::lock::{Because, Evidence};
use airlift_spec::stack::{Finder, FinderKind, ManifestsSource, Place, Stack};
use airlift_spec::{Ctx, Finding, Reference};

use super::Discovery;
use crate::inputs::files_below;
use crate::lint::{Author, Seen, is_results_folder};
use crate::local::{read_whole, wrong};
use crate::remotes::Remotes;
use crate::resolve::Upstream;
use crate::want::Want;
use crate::{UpstreamError, blocking};

/// Looks into the objects of one source.
pub(super) async fn find(
    wanted: &ManifestsSource,
    finder: &Finder,
    stack: &Stack,
    remotes: &Remotes,
    upstream: &Upstream,
    ctx: &Ctx,
) -> Result<Discovery, UpstreamError> {
    let mut gathered = Gathered::new(finder, stack, Evidence::Referenced);
    let texts = match &wanted.place {
        Place::Path(path) | Place::Image(path) => {
            let path = upstream.base.join(path);
            let (programs, remotes) = (upstream.programs.clone(), remotes.clone());
            let cancel = ctx.clone();
            let texts = blocking(move || {
                if is_kustomization(&path) {
                    return Ok(vec![build(&path, &programs, &remotes, &cancel)?]);
                }
                read(&path)
            });
            texts.await?
        }
        Place::Url(url) => {
            let bytes = remotes.bring(url, &Address::File(url.clone())).await?;
            vec![parse(&bytes, url, String::new(), Lines::Counted)?]
        }
    };
    if texts.iter().all(|text| text.documents.is_empty()) {
        return Err(UpstreamError::Local {
            path: finder.written.clone(),
            problem: "holds no object".to_owned(),
            help: Some("name what holds Kubernetes objects, or take the source out".to_owned()),
        });
    }
    let mut objects = Vec::new();
    for text in texts {
        gathered.add(&text);
        objects.extend(text.seen(finder));
    }
    Ok(Discovery { objects: Some(objects), ..gathered.into_discovery() })
}

/// The objects of a source that has not changed, without asking anybody: what an address gave is in the store, or
/// not at hand.
pub(super) async fn again(
    wanted: &ManifestsSource,
    finder: &Finder,
    remotes: &Remotes,
    upstream: &Upstream,
) -> Result<Option<Vec<Seen>>, UpstreamError> {
    let texts = match &wanted.place {
        Place::Path(path) | Place::Image(path) => {
            let path = upstream.base.join(path);
            // A kustomization never stands.
            blocking(move || read(&path)).await?
        }
        Place::Url(url) => {
            let Some(bytes) = remotes.kept(url).await? else { return Ok(None) };
            vec![parse(&bytes, url, String::new(), Lines::Counted)?]
        }
    };
    Ok(Some(texts.into_iter().flat_map(|text| text.seen(finder)).collect()))
}

/// The objects of one file, and what to call it.
#[derive(Debug)]
pub(super) struct Read {
    /// Relative to the source; empty where the source is that file.
    pub(super) name: String,
    pub(super) documents: Vec<Document>,
    lines: Lines,
}

/// Whether the lines of the objects are those of a file that somebody can open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    Counted,
    /// They were built.
    Built,
}

impl Read {
    fn seen(self, finder: &Finder) -> impl Iterator<Item = Seen> {
        let (source, file) = (finder.key(), joined(&finder.written, &self.name));
        let author = match &finder.kind {
            FinderKind::Manifests(ManifestsSource { place: Place::Url(_) }) => Author::Elsewhere,
            _ => Author::Here,
        };
        let lines = self.lines;
        self.documents.into_iter().map(move |document| {
            let place = match lines {
                Lines::Counted => format!("{file}:{}", document.line),
                Lines::Built => file.clone(),
            };
            Seen { source: source.clone(), place, author, object: document.object }
        })
    }
}

/// What a kustomization is built to.
fn build(
    path: &Path,
    programs: &OsStr,
    remotes: &Remotes,
    ctx: &Ctx,
) -> Result<Read, UpstreamError> {
    let program = Kustomize::find(programs).map_err(UpstreamError::Kustomize)?;
    let network = tokio::runtime::Handle::current();
    let bring = |remote: &Remote, address: &Address| {
        network.block_on(remotes.bring(&remote.address, address)).map_err(NotBuilt)
    };
    let text = program.build(path, bring, ctx).map_err(|NotBuilt(err)| err)?;
    parse(text.as_bytes(), &path.display().to_string(), String::new(), Lines::Built)
}

/// Why a kustomization was not built: because of itself, or of what it names elsewhere.
struct NotBuilt(UpstreamError);

impl From<KustomizeError> for NotBuilt {
    fn from(source: KustomizeError) -> Self {
        Self(UpstreamError::Kustomize(source))
    }
}

fn read(path: &Path) -> Result<Vec<Read>, UpstreamError> {
    if !path.exists() && path.iter().any(|name| is_results_folder(&name.to_string_lossy())) {
        let help = "oc-mirror v2 and `airlift oc-mirror` write `working-dir/cluster-resources/`, not `results-…`";
        return Err(wrong(path, "is not there".to_owned(), Some(help.to_owned())));
    }
    if !path.is_dir() {
        return Ok(vec![read_file(path, String::new())?]);
    }
    if path.join("Chart.yaml").is_file() {
        let help = Some("name it as a `chart:` source".to_owned());
        return Err(wrong(path, "is a Helm chart".to_owned(), help));
    }
    // What is no file may stand for one, or for a folder of them: it is named when it is read.
    let is_read = |file: &PathBuf| is_objects(file) || !file.is_file();
    let files: Vec<PathBuf> = files_below(path)?.into_iter().filter(is_read).collect();
    if files.is_empty() {
        return Err(wrong(path, "holds no `.yaml`, `.yml` or `.json` file".to_owned(), None));
    }
    let name = |file: &Path| file.strip_prefix(path).unwrap_or(file).display().to_string();
    files.iter().map(|file| read_file(file, name(file))).collect()
}

fn is_objects(path: &Path) -> bool {
    let extension = path.extension().and_then(|it| it.to_str());
    extension.is_some_and(|it| matches!(it, "yaml" | "yml" | "json"))
}

fn read_file(path: &Path, name: String) -> Result<Read, UpstreamError> {
    let bytes = read_whole(path, airlift_scan::MAX_BYTES as u64)?;
    parse(&bytes, &path.display().to_string(), name, Lines::Counted)
}

fn parse(bytes: &[u8], path: &str, name: String, lines: Lines) -> Result<Read, UpstreamError> {
    let documents =
        documents(bytes).map_err(|source| UpstreamError::Scan { path: path.to_owned(), source })?;
    Ok(Read { name, documents, lines })
}

/// What the objects of one source name, each image once with all its reasons.
pub(super) struct Gathered<'a> {
    finder: &'a Finder,
    stack: &'a Stack,
    key: String,
    /// What it counts as when a field of an object names an image.
    evidence: Evidence,
    images: BTreeMap<Reference, Vec<Because>>,
    findings: Vec<Finding>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(finder: &'a Finder, stack: &'a Stack, evidence: Evidence) -> Self {
        let key = finder.key();
        Self { finder, stack, key, evidence, images: BTreeMap::new(), findings: Vec::new() }
    }

    pub(super) fn add(&mut self, read: &Read) {
        let place = joined(&self.finder.written, &read.name);
        for document in &read.documents {
            let remarks = document.remarks.iter();
            self.findings.extend(remarks.map(|remark| remark.finding(&place)));
            let scan = airlift_scan::scan(&document.object);
            self.findings.extend(scan.doubts.iter().map(|doubt| doubt.finding(&place)));
            for found in scan.images {
                let path = joined(&read.name, &found.path);
                let because = Because { from: self.key.clone(), path, evidence: self.evidence };
                self.images.entry(found.reference).or_default().push(because);
            }
        }
    }

    pub(super) fn into_discovery(self) -> Discovery {
        let Self { finder, stack, key, images, findings, .. } = self;
        let platforms = finder.platforms(stack);
        let want = |(reference, because): (Reference, Vec<Because>)| Want {
            because,
            ..Want::image(reference, platforms.clone())
        };
        Discovery {
            source: None,
            wants: images.into_iter().map(want).collect(),
            made: Vec::new(),
            objects: None,
            findings: findings.into_iter().map(|finding| finding.of(&key)).collect(),
        }
    }
}

fn joined(outer: &str, inner: &str) -> String {
    [outer, inner].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(": ")
}
