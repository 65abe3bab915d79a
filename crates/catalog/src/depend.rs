//! What the chosen bundles require of others, and what fulfils it.
//!
//! OLM looks for dependencies in every catalog of the cluster, the requiring bundle's own first, and prefers the head
//! of a package's default channel. What is added here is what it would then install.

mod requirement;

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::stack::Dependencies;
use airlift_spec::{Class, Explain, Finding};

use crate::graph::Graph;
use crate::near;
use crate::{Bundle, Catalog, Channel, Choice, Gvk, Kept, Package};
use requirement::Facts;

pub use requirement::Requirement;

/// A catalog, whole, and what is chosen of it.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// What it is called in messages.
    pub name: String,
    pub catalog: &'a Catalog,
    pub choice: Choice,
}

/// A bundle that is kept because another requires it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    pub catalog: String,
    pub package: String,
    pub channel: String,
    pub bundle: String,
    /// Who requires what, from what was asked for to this bundle.
    pub because: Vec<Link>,
}

/// One step of a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub bundle: String,
    pub requires: String,
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} requires {}", self.bundle, self.requires)
    }
}

/// Why the requirements cannot be fulfilled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DependError {
    #[error("bundle `{bundle}` has a requirement that cannot be read: {message}")]
    Malformed { bundle: String, message: String },
    #[error("nothing fulfils this: {}", chain(.because))]
    Unsatisfied {
        because: Vec<Link>,
        /// What there is instead, with the catalog that has it.
        near: Vec<String>,
    },
    #[error("no version of package `{package}` fulfils all of this: {}", chain(.demands))]
    Conflict { package: String, demands: Vec<Link> },
    #[error("channel `{channel}` of package `{package}` is no update graph: {message}")]
    Graph { package: String, channel: String, message: String },
}

fn chain(links: &[Link]) -> String {
    links.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Explain for DependError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Unsatisfied { near, .. } if !near.is_empty() => {
                Some(format!("there is {}", near.join(", ")))
            }
            Self::Unsatisfied { .. } => {
                Some("add the catalog that has it, or say `dependencies: ignore`".to_owned())
            }
            Self::Malformed { .. } | Self::Conflict { .. } | Self::Graph { .. } => None,
        }
    }
}

/// Adds to each choice what the chosen bundles require, and what that requires, until nothing is missing; or says only
/// what would be added.
///
/// # Errors
///
/// A requirement that nothing in any of the catalogs fulfils, or that contradicts another. Of
/// [`Dependencies::Report`], it is a finding.
pub fn depend(
    offers: &mut [Offer],
    dependencies: Dependencies,
) -> Result<(Vec<Addition>, Vec<Finding>), DependError> {
    match dependencies {
        Dependencies::Include => close(offers),
        Dependencies::Report => Ok((Vec::new(), report(offers))),
        Dependencies::Ignore => Ok((Vec::new(), Vec::new())),
    }
}

fn report(offers: &[Offer]) -> Vec<Finding> {
    let mut offers = offers.to_vec();
    let missing =
        |object: &str, message: String| Finding::warning("catalog-dependency", object, message);
    match close(&mut offers) {
        Ok((additions, findings)) => {
            let said = additions.iter().map(|addition| {
                let message = format!("not kept, though {}", chain(&addition.because));
                missing(&addition.bundle, message)
            });
            said.chain(findings).collect()
        }
        Err(err) => {
            let help = err.help().map(|help| format!("; {help}")).unwrap_or_default();
            vec![missing("dependencies", format!("{err}{help}"))]
        }
    }
}

fn close(offers: &mut [Offer]) -> Result<(Vec<Addition>, Vec<Finding>), DependError> {
    let mut closure = Closure::new(offers)?;
    while let Some((from, requirement)) = closure.missing() {
        let found = closure.find(from, &requirement)?;
        closure.add(found, from, &requirement, offers)?;
    }
    let findings = closure.unjudged();
    Ok((closure.additions, findings))
}

/// A bundle that somebody could install.
struct Candidate<'a> {
    offer: usize,
    package: &'a Package,
    bundle: &'a Bundle,
    provides: BTreeSet<Gvk>,
    /// Read when it is kept.
    requires: Vec<Requirement>,
    is_kept: bool,
    because: Option<(usize, String)>,
}

impl<'a> Candidate<'a> {
    fn meets(&self, requirement: &Requirement) -> bool {
        requirement.is_met_by(&Facts {
            package: &self.package.name,
            version: self.bundle.version.as_ref(),
            provides: &self.provides,
        })
    }

    fn is_entry(&self, channel: &Channel) -> bool {
        channel.entries.iter().any(|entry| entry.name == self.bundle.name)
    }

    /// The channel to install it from: one that is kept already, the default one, or one whose newest it is.
    fn channel(&self, kept: Option<&Kept>) -> Option<&'a Channel> {
        let package = self.package;
        let has = package.channels.values().filter(|channel| self.is_entry(channel));
        has.min_by_key(|channel| {
            let is_kept = kept.is_some_and(|kept| kept.channels.contains_key(&channel.name));
            let is_head = Graph::new(channel).is_ok_and(|graph| graph.head() == self.bundle.name);
            (!is_kept, channel.name != package.default_channel, !is_head)
        })
    }
}

fn requires(bundle: &Bundle) -> Result<Vec<Requirement>, DependError> {
    bundle
        .requires()
        .map_err(|message| DependError::Malformed { bundle: bundle.name.clone(), message })
}

struct Closure<'a> {
    names: Vec<String>,
    candidates: Vec<Candidate<'a>>,
    additions: Vec<Addition>,
}

impl<'a> Closure<'a> {
    fn new(offers: &[Offer<'a>]) -> Result<Self, DependError> {
        let mut candidates = Vec::new();
        for (offer, one) in offers.iter().enumerate() {
            for (package, bundle) in one.catalog.bundles() {
                let kept = one.choice.packages.get(&package.name);
                let is_kept = kept.is_some_and(|kept| kept.bundles.contains(&bundle.name));
                candidates.push(Candidate {
                    offer,
                    package,
                    bundle,
                    provides: bundle.provides().collect(),
                    requires: if is_kept { requires(bundle)? } else { Vec::new() },
                    is_kept,
                    because: None,
                });
            }
        }
        let names = offers.iter().map(|offer| offer.name.clone()).collect();
        Ok(Self { names, candidates, additions: Vec::new() })
    }

    fn kept(&self) -> impl Iterator<Item = (usize, &Candidate<'a>)> {
        self.candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_kept)
    }

    /// The first requirement of a kept bundle that no kept bundle fulfils.
    fn missing(&self) -> Option<(usize, Requirement)> {
        self.kept().find_map(|(index, candidate)| {
            let mut requires = candidate.requires.iter();
            requires.find_map(|one| self.unmet(one)).map(|one| (index, one.clone()))
        })
    }

    /// The part of a requirement that no kept bundle fulfils.
    fn unmet<'r>(&self, requirement: &'r Requirement) -> Option<&'r Requirement> {
        if self.kept().any(|(_, candidate)| candidate.meets(requirement)) {
            return None;
        }
        match requirement {
            Requirement::Not(_) | Requirement::Cel(_) => None,
            // OLM wants one bundle for all of it; where there is none, its authors meant one for each.
            Requirement::All(members)
                if !self.candidates.iter().any(|one| one.meets(requirement)) =>
            {
                members.iter().find_map(|member| self.unmet(member))
            }
            _ => Some(requirement),
        }
    }

    /// The best that fulfils it.
    fn find(&self, from: usize, requirement: &Requirement) -> Result<usize, DependError> {
        for package in requirement.packages() {
            self.refuse_conflict(package)?;
        }
        let meets = |index: &usize| {
            let candidate = &self.candidates[*index];
            candidate.meets(requirement) && candidate.channel(None).is_some()
        };
        let best = (0..self.candidates.len()).filter(meets).min_by(|a, b| {
            let rank = |index: usize| self.rank(from, &self.candidates[index]);
            let version = |index: usize| self.candidates[index].bundle.version.as_ref();
            rank(*a).cmp(&rank(*b)).then_with(|| version(*b).cmp(&version(*a)))
        });
        best.ok_or_else(|| DependError::Unsatisfied {
            because: self.because(from, requirement),
            near: self.near(requirement),
        })
    }

    /// Smaller is better: fulfils what others require of the package, is of the same catalog, has the default
    /// channel's head, is in the default channel.
    fn rank(&self, from: usize, candidate: &Candidate) -> (usize, bool, usize, bool, bool) {
        let package = candidate.package;
        let demands = self.demands(&package.name);
        let unfulfilled = demands.iter().filter(|(_, one)| !candidate.meets(one)).count();
        let default = package.channels.get(&package.default_channel);
        let is_head = |channel: &Channel| {
            Graph::new(channel).is_ok_and(|graph| graph.head() == candidate.bundle.name)
        };
        (
            unfulfilled,
            candidate.offer != self.candidates[from].offer,
            candidate.offer,
            !default.is_some_and(is_head),
            !default.is_some_and(|channel| candidate.is_entry(channel)),
        )
    }

    /// What kept bundles require of one package.
    fn demands(&self, package: &str) -> Vec<(usize, &Requirement)> {
        let of = |one: &&Requirement| matches!(one, Requirement::Package { name, .. } if name == package);
        self.kept()
            .flat_map(|(index, candidate)| {
                candidate.requires.iter().filter(of).map(move |one| (index, one))
            })
            .collect()
    }

    /// Of every requiring package, one kept bundle at least must get along with some version.
    fn refuse_conflict(&self, package: &str) -> Result<(), DependError> {
        let demands = self.demands(package);
        let mut by_package: BTreeMap<&str, Vec<&Requirement>> = BTreeMap::new();
        for (index, demand) in &demands {
            by_package.entry(&self.candidates[*index].package.name).or_default().push(demand);
        }
        let suits = |candidate: &&Candidate| {
            by_package.values().all(|any| any.iter().any(|one| candidate.meets(one)))
        };
        let mut versions =
            self.candidates.iter().filter(|candidate| candidate.package.name == package).peekable();
        if by_package.len() < 2 || versions.peek().is_none() || versions.any(|one| suits(&one)) {
            return Ok(());
        }
        let link = |(index, one): &(usize, &Requirement)| Link {
            bundle: self.candidates[*index].bundle.name.clone(),
            requires: one.to_string(),
        };
        Err(DependError::Conflict {
            package: package.to_owned(),
            demands: demands.iter().map(link).collect(),
        })
    }

    fn add(
        &mut self,
        found: usize,
        from: usize,
        requirement: &Requirement,
        offers: &mut [Offer],
    ) -> Result<(), DependError> {
        let candidate = &self.candidates[found];
        let (offer, package) = (candidate.offer, candidate.package);
        let packages = &mut offers[offer].choice.packages;
        let channel = candidate
            .channel(packages.get(&package.name))
            .expect("only what a channel has is found");
        let kept = packages
            .entry(package.name.clone())
            .or_insert_with(|| Kept { default_channel: channel.name.clone(), ..Kept::default() });
        let entries = kept.channels.entry(channel.name.clone()).or_default();
        entries.insert(candidate.bundle.name.clone());
        // Two entries without what lies between them would be two heads.
        let graph = Graph::new(channel).map_err(|message| DependError::Graph {
            package: package.name.clone(),
            channel: channel.name.clone(),
            message,
        })?;
        let piece = graph.piece(&|name| entries.contains(name));
        entries.extend(
            piece.into_iter().filter(|name| graph.entry(name).is_some()).map(str::to_owned),
        );
        kept.bundles.extend(entries.iter().cloned());
        let (bundles, channel) = (kept.bundles.clone(), channel.name.clone());
        for index in 0..self.candidates.len() {
            let candidate = &self.candidates[index];
            let is_here = candidate.offer == offer && candidate.package.name == package.name;
            if is_here && !candidate.is_kept && bundles.contains(&candidate.bundle.name) {
                self.keep(index, from, requirement, &channel)?;
            }
        }
        Ok(())
    }

    fn keep(
        &mut self,
        index: usize,
        from: usize,
        requirement: &Requirement,
        channel: &str,
    ) -> Result<(), DependError> {
        self.candidates[index].requires = requires(self.candidates[index].bundle)?;
        self.candidates[index].is_kept = true;
        self.candidates[index].because = Some((from, requirement.to_string()));
        self.additions.push(Addition {
            catalog: self.names[self.candidates[index].offer].clone(),
            package: self.candidates[index].package.name.clone(),
            channel: channel.to_owned(),
            bundle: self.candidates[index].bundle.name.clone(),
            because: self.because(from, requirement),
        });
        Ok(())
    }

    /// From what was asked for to the requirement.
    fn because(&self, from: usize, requirement: &Requirement) -> Vec<Link> {
        let bundle = |index: usize| self.candidates[index].bundle.name.clone();
        let mut links = vec![Link { bundle: bundle(from), requires: requirement.to_string() }];
        let mut at = from;
        while let Some((above, requires)) = &self.candidates[at].because {
            links.push(Link { bundle: bundle(*above), requires: requires.clone() });
            at = *above;
        }
        links.reverse();
        links
    }

    /// Other versions of the packages that are required, else packages with names like theirs.
    fn near(&self, requirement: &Requirement) -> Vec<String> {
        let mut found = BTreeSet::new();
        for wanted in requirement.packages() {
            let names = self.candidates.iter().map(|candidate| candidate.package.name.as_str());
            let names: BTreeSet<&str> = names.collect();
            let like = if names.contains(wanted) {
                vec![wanted.to_owned()]
            } else {
                near::names(wanted, names)
            };
            let is_like = |candidate: &&Candidate| like.contains(&candidate.package.name);
            let mut newest: BTreeMap<(usize, &str), &semver::Version> = BTreeMap::new();
            for candidate in self.candidates.iter().filter(is_like) {
                let Some(version) = &candidate.bundle.version else { continue };
                let slot =
                    newest.entry((candidate.offer, &candidate.package.name)).or_insert(version);
                *slot = version.max(slot);
            }
            found.extend(newest.into_iter().map(|((offer, name), version)| {
                format!("`{name}` up to {version} in {}", self.names[offer])
            }));
        }
        found.into_iter().collect()
    }

    /// What kept bundles say that this cannot judge, and what they do not get along with.
    fn unjudged(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (_, candidate) in self.kept() {
            let bundle = &candidate.bundle.name;
            for rule in candidate.requires.iter().flat_map(Requirement::rules) {
                let message = format!("it requires what only OLM can judge: {rule}");
                findings.push(Finding::warning("catalog-rule", bundle, message));
            }
            for not in candidate.requires.iter().filter(|one| matches!(one, Requirement::Not(_))) {
                if let Some((_, other)) = self.kept().find(|(_, other)| !other.meets(not)) {
                    let message = format!("it wants {not}, and `{}` is kept", other.bundle.name);
                    findings.push(Finding::warning("catalog-rule", bundle, message));
                }
            }
        }
        findings
    }
}
