//! `catalog:` sources: operators, and everything that they need.
//!
//! Of each operator bundle that the filter keeps: the bundle itself, the images that it lists, those that its embedded
//! manifests name besides, and those that a knowledge pack knows of. The filtered catalog is made here.

use std::collections::{BTreeMap, BTreeSet};

use airlift_catalog::{
    Addition, Bundle, Catalog, Choice, FilterError, Filtered, Offer, Wanted, filter, validate,
};
use airlift_scan::knowledge::{Knowledge, Product, Version};
use airlift_spec::lock::{Artifact, Because, Evidence, Kind};
use airlift_spec::stack::{CatalogSource, Dependencies, Finder, PackageWish, Place, Rules, Stack};
use airlift_spec::{Ctx, Explain as _, Finding, Platforms, Reference, error};
use futures::StreamExt as _;

use super::{Discovery, known};
use crate::catalogs::{self, Opened};
use crate::made;
use crate::resolve::{ResolveOptions, Upstream};
use crate::want::Want;
use crate::{UpstreamError, blocking};

/// Looks into all catalogs together: what a bundle of one requires, another may have.
pub(super) async fn find(
    finders: &[(&CatalogSource, &Finder)],
    stack: &Stack,
    knowledge: &Knowledge,
    upstream: &Upstream,
    options: &ResolveOptions,
    ctx: &Ctx,
) -> Vec<Result<Discovery, UpstreamError>> {
    let open = |&(wanted, finder)| Work::open(wanted, finder, stack, upstream, ctx);
    let mut works = futures::future::join_all(finders.iter().map(open)).await;
    let others = works.iter().filter_map(|work| work.as_ref().ok());
    let others: Vec<_> = others.map(|it| (it.finder.written.clone(), it.opened.clone())).collect();
    for work in &mut works {
        let Err(UpstreamError::Filter(err)) = work else { continue };
        for absent in err.each_mut() {
            if let FilterError::NoPackage { package, elsewhere, .. } = absent {
                *elsewhere = whose(package, &others, knowledge).await;
            }
        }
    }
    for mode in [Dependencies::Include, Dependencies::Report] {
        let of_mode = works.iter_mut().filter_map(|work| work.as_mut().ok());
        let mut of_mode: Vec<&mut Work> =
            of_mode.filter(|work| work.wanted.dependencies == mode).collect();
        depend(&mut of_mode, mode).await;
    }
    let mut discoveries = Vec::new();
    for work in works {
        discoveries.push(match work {
            Ok(work) => work.discover(stack, knowledge, upstream, options, ctx).await,
            Err(err) => Err(err),
        });
    }
    discoveries
}

/// The catalog that has a package: one of the stack's, or the one that usually has it.
async fn whose(
    package: &str,
    others: &[(String, Opened)],
    knowledge: &Knowledge,
) -> Option<String> {
    for (written, opened) in others {
        let (opened, name) = (opened.clone(), package.to_owned());
        let read = blocking(move || opened.read(&Wanted::packages([name]))).await;
        if read.is_ok_and(|catalog| catalog.packages.contains_key(package)) {
            return Some(format!("`{written}` of this stack"));
        }
    }
    Some(format!("the catalog of `{}`", knowledge.catalog_of(package)?))
}

/// A catalog of nothing would look like success.
fn no_packages(written: &str) -> UpstreamError {
    UpstreamError::Local {
        path: written.to_owned(),
        problem: "holds no package".to_owned(),
        help: Some("name the folder or the image that holds the catalog".to_owned()),
    }
}

/// A catalog, and what is chosen of it so far.
struct Work<'a> {
    wanted: &'a CatalogSource,
    finder: &'a Finder,
    opened: Opened,
    catalog: Catalog,
    choice: Choice,
    additions: Vec<Addition>,
    findings: Vec<Finding>,
}

impl<'a> Work<'a> {
    async fn open(
        wanted: &'a CatalogSource,
        finder: &'a Finder,
        stack: &Stack,
        upstream: &Upstream,
        ctx: &Ctx,
    ) -> Result<Self, UpstreamError> {
        let platforms = finder.platforms(stack);
        let opened = catalogs::open(&wanted.place, None, platforms, upstream, ctx).await?;
        let (place, selection) = (opened.clone(), wanted.selection.clone());
        let (rules, written) = (wanted.rules, finder.written.clone());
        let read = move || {
            let mut catalog = place.read(&catalogs::wanted(&selection))?;
            let is_there = |asked: &PackageWish| catalog.packages.contains_key(&asked.name);
            if !selection.packages.iter().all(is_there) {
                // What is absent is told with the names that are like it.
                let outline = place.read(&Wanted::Outline)?.packages;
                for (name, package) in outline {
                    catalog.packages.entry(name).or_insert(package);
                }
            }
            if catalog.packages.is_empty() {
                return Err(no_packages(&written));
            }
            let filtered = filter(&catalog, &selection, rules);
            Ok((catalog, filtered.map_err(UpstreamError::Filter)?))
        };
        let (catalog, Filtered { choice, findings }) = blocking(read).await?;
        Ok(Self { wanted, finder, opened, catalog, choice, additions: Vec::new(), findings })
    }

    /// Whether the catalog is carried as it is: what signs it stays true.
    fn is_untouched(&self) -> bool {
        let whole = self.wanted.selection.packages.is_empty() && self.wanted.selection.full;
        match &self.wanted.place {
            Place::Image(written) => {
                whole && written.parse().ok().as_ref() == Some(&self.wanted.reference)
            }
            Place::Path(_) | Place::Url(_) => false,
        }
    }

    fn offer(&self) -> Offer<'_> {
        let name = self.finder.written.clone();
        Offer { name, catalog: &self.catalog, choice: self.choice.clone() }
    }

    fn requires_others(&self) -> bool {
        self.catalog.bundles().any(|(package, bundle)| {
            let kept = self.choice.packages.get(&package.name);
            kept.is_some_and(|kept| kept.bundles.contains(&bundle.name)) && requires_others(bundle)
        })
    }

    async fn discover(
        mut self,
        stack: &Stack,
        knowledge: &Knowledge,
        upstream: &Upstream,
        options: &ResolveOptions,
        ctx: &Ctx,
    ) -> Result<Discovery, UpstreamError> {
        let (asked, is_untouched) = (self.choice.clone(), self.is_untouched());
        self.findings.extend(self.choice.servable());
        // oc-mirror carries the images of bundles that no channel has, too.
        let outside = (self.wanted.rules == Rules::OcMirror && asked != self.choice)
            .then(|| self.catalog.clone().keep(&asked));
        let kept = self.catalog.keep(&self.choice);
        self.findings.extend(validate(&kept));
        let key = self.finder.key();
        let declared =
            Because { from: key.clone(), path: String::new(), evidence: Evidence::Declared };
        let reference = self.wanted.reference.clone();
        let platforms = self.finder.platforms(stack);
        let mut gathered = Gathered::new(reference.to_string(), platforms, &key);
        let mut made = Vec::new();
        if is_untouched {
            let want = Want::image(reference, platforms.clone());
            gathered.add(Want { kind: Kind::Catalog, ..want }, declared);
        } else {
            let labelled = Artifact {
                from: Some(self.opened.from),
                kept: catalogs::locked(&self.choice, &kept),
                because: vec![declared],
                ..Artifact::new(Kind::Catalog, reference)
            };
            made.push(made::catalog(&kept, labelled, upstream).await?);
        }
        gathered.listed(outside.as_ref().unwrap_or(&kept), &self.additions);
        if self.wanted.rules == Rules::Own {
            gathered.besides(&kept, &known::packages_of(stack), knowledge);
            if !options.offline {
                gathered.look_into_bundles(&kept, upstream, options, ctx).await;
            }
        }
        gathered.findings.extend(self.findings.into_iter().map(|finding| finding.of(&key)));
        Ok(gathered.into_discovery(made))
    }
}

/// Adds to what is chosen of each catalog what the chosen bundles require of any, or says what that is.
async fn depend(works: &mut [&mut Work<'_>], mode: Dependencies) {
    if !works.iter().any(|work| work.requires_others()) {
        return;
    }
    for work in works.iter_mut() {
        let opened = work.opened.clone();
        match blocking(move || opened.read(&Wanted::All)).await {
            Ok(catalog) => work.catalog = catalog,
            Err(err) => {
                let message = format!("not all of it can be read: {}", error::chain(&err));
                let key = work.finder.key();
                work.findings.push(match mode {
                    Dependencies::Include => Finding::error("unfulfilled-dependency", key, message),
                    _ => Finding::warning("catalog-dependency", key, message),
                });
                return;
            }
        }
    }
    let mut offers: Vec<Offer> = works.iter().map(|work| work.offer()).collect();
    let done = airlift_catalog::depend(&mut offers, mode);
    let choices: Vec<Choice> = offers.into_iter().map(|offer| offer.choice).collect();
    match done {
        Ok((additions, findings)) => {
            for (work, choice) in works.iter_mut().zip(choices) {
                work.choice = choice;
                let is_here = |it: &&Addition| it.catalog == work.finder.written;
                work.additions = additions.iter().filter(is_here).cloned().collect();
            }
            works[0].findings.extend(findings);
        }
        // What was asked for is carried all the same; nobody will take it for complete.
        Err(err) => {
            let help = err.help().map(|help| format!("; {help}")).unwrap_or_default();
            let key = works[0].finder.key();
            let finding = Finding::error("unfulfilled-dependency", key, format!("{err}{help}"));
            works[0].findings.push(finding);
        }
    }
}

fn requires_others(bundle: &Bundle) -> bool {
    ["olm.package.required", "olm.gvk.required", "olm.constraint"]
        .iter()
        .any(|kind| bundle.properties(kind).next().is_some())
}

/// What the bundles of one catalog need.
struct Gathered<'a> {
    /// The catalog's reference.
    catalog: String,
    platforms: &'a Platforms,
    key: &'a str,
    wants: BTreeMap<Reference, Want>,
    findings: Vec<Finding>,
}

impl<'a> Gathered<'a> {
    fn new(catalog: String, platforms: &'a Platforms, key: &'a str) -> Self {
        Self { catalog, platforms, key, wants: BTreeMap::new(), findings: Vec::new() }
    }

    /// The bundles, and the images that they list.
    fn listed(&mut self, kept: &Catalog, additions: &[Addition]) {
        for (package, bundle) in kept.bundles() {
            let because = self.because(kept, &package.name, bundle, additions);
            self.bundle(bundle, because);
        }
    }

    /// What the bundles do not list: images of manifests that the catalog embeds, and what is known of them.
    fn besides(&mut self, kept: &Catalog, packages: &BTreeSet<&str>, knowledge: &Knowledge) {
        for (package, bundle) in kept.bundles() {
            let Ok(parent) = bundle.image.parse::<Reference>() else { continue };
            self.embedded(bundle, &parent.to_string());
            let version = bundle.version_text().and_then(|it| it.parse::<Version>().ok());
            if let Some(version) = version {
                let advice = knowledge.about(&Product::Olm(package.name.clone()), &version);
                for known in &advice.images {
                    let because = known.because(&parent.to_string());
                    self.add(Want::image(known.reference.clone(), self.platforms.clone()), because);
                }
                known::findings(&advice, &bundle.name, packages).for_each(|it| self.say(it));
            }
        }
    }

    /// Why a bundle is kept: it was asked for, or another bundle requires it.
    fn because(
        &self,
        kept: &Catalog,
        package: &str,
        bundle: &Bundle,
        additions: &[Addition],
    ) -> Because {
        let addition = additions.iter().find(|addition| addition.bundle == bundle.name);
        let link = addition.and_then(|addition| addition.because.last());
        let Some(link) = link else {
            let path = format!("package {package}: {}", bundle.name);
            return Because { from: self.catalog.clone(), path, evidence: Evidence::Declared };
        };
        let parent = kept.bundles().find(|(_, parent)| parent.name == link.bundle);
        let parent = parent.and_then(|(_, parent)| parent.image.parse::<Reference>().ok());
        let from = parent.map_or_else(|| self.catalog.clone(), |parent| parent.to_string());
        let path = format!("package {package}: {link}");
        Because { from, path, evidence: Evidence::Declared }
    }

    fn bundle(&mut self, bundle: &Bundle, because: Because) {
        let Some(reference) = self.parsed(&bundle.image, &bundle.name, "image") else { return };
        let parent = reference.to_string();
        let want = Want {
            kind: Kind::Bundle,
            name: bundle.name.clone(),
            version: bundle.version_text().unwrap_or_default().to_owned(),
            ..Want::image(reference.clone(), self.platforms.clone())
        };
        self.add(want, because);
        for related in bundle.related_images() {
            // A bundle lists itself as well.
            let path = format!("relatedImages[{}]", related.name);
            let image = self.parsed(&related.image, &bundle.name, &path);
            if let Some(image) = image.filter(|image| *image != reference) {
                self.image(image, &parent, path, Evidence::Declared);
            }
        }
    }

    /// Newer catalogs hold no manifests, so the bundles' own images are looked into.
    async fn look_into_bundles(
        &mut self,
        kept: &Catalog,
        upstream: &Upstream,
        options: &ResolveOptions,
        ctx: &Ctx,
    ) {
        let platforms = self.platforms;
        let closed = kept.bundles().map(|(_, bundle)| bundle);
        let closed = closed.filter(|it| it.properties("olm.bundle.object").next().is_none());
        let named = closed.filter_map(|it| Some((it.name.clone(), it.image.parse().ok()?)));
        let named: Vec<(String, Reference)> = named.collect();
        let mut answers = futures::stream::iter(named)
            .map(|(name, image)| async move {
                let files = catalogs::bundle(&image, platforms, upstream, ctx).await;
                (name, image.to_string(), files)
            })
            .buffered(options.max_in_flight.get());
        while let Some((name, parent, files)) = answers.next().await {
            match files {
                Ok(files) => files.iter().for_each(|file| self.file(&name, &parent, file)),
                Err(err) => {
                    let message = format!(
                        "its image was not looked into, and may need more than it lists: {}",
                        error::chain(&err)
                    );
                    self.say(Finding::warning("bundle-not-read", &name, message));
                }
            }
        }
    }

    fn file(&mut self, bundle: &str, parent: &str, (name, text): &(String, Vec<u8>)) {
        match airlift_scan::documents(text) {
            Ok(documents) => {
                for document in &documents {
                    self.object(bundle, parent, &document.object);
                }
            }
            Err(err) => {
                let message = format!("{name}: {}", error::chain(&err));
                self.say(Finding::warning("odd-manifest", bundle, message));
            }
        }
    }

    /// The images that an object of a bundle names.
    fn object(&mut self, bundle: &str, parent: &str, object: &serde_json::Value) {
        let scan = airlift_scan::scan(object);
        for found in scan.images {
            self.image(found.reference, parent, found.path, found.evidence.into());
        }
        scan.doubts.iter().for_each(|doubt| self.say(doubt.finding(bundle)));
    }

    fn say(&mut self, finding: Finding) {
        self.findings.push(finding.of(self.key));
    }

    /// Older catalogs hold the manifests of a bundle whole.
    fn embedded(&mut self, bundle: &Bundle, parent: &str) {
        let manifests = match bundle.manifests() {
            Ok(manifests) => manifests,
            Err(err) => {
                let finding = Finding::warning("odd-manifest", &bundle.name, err.to_string());
                return self.say(finding);
            }
        };
        for object in &manifests {
            self.object(&bundle.name, parent, object);
        }
    }

    fn image(&mut self, image: Reference, parent: &str, path: String, evidence: Evidence) {
        let because = Because { from: parent.to_owned(), path, evidence };
        self.add(Want::image(image, self.platforms.clone()), because);
    }

    fn add(&mut self, want: Want, because: Because) {
        let known = self.wants.entry(want.reference.clone()).or_insert(want);
        known.because.push(because);
    }

    /// What a catalog calls an image; one that is none is said, and the others are carried.
    fn parsed(&mut self, text: &str, bundle: &str, path: &str) -> Option<Reference> {
        match text.parse::<Reference>() {
            Ok(reference) => {
                if !text.starts_with(&format!("{}/", reference.host())) {
                    let message = format!(
                        "{path}: `{text}` names no registry; it is carried as `{reference}`, and a \
                         node may look for it elsewhere"
                    );
                    self.say(Finding::warning("short-image-name", bundle, message));
                }
                Some(reference)
            }
            Err(_) if text.is_empty() => None,
            Err(err) => {
                let message = format!("{path}: `{text}` is no image: {err}");
                self.say(Finding::warning("odd-image", bundle, message));
                None
            }
        }
    }

    fn into_discovery(self, made: Vec<Artifact>) -> Discovery {
        Discovery {
            source: None,
            wants: self.wants.into_values().collect(),
            made,
            findings: self.findings,
            objects: Some(Vec::new()),
        }
    }
}
