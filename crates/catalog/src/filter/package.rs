//! One package on its way through the filter.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::Finding;
use airlift_spec::stack::{PackageWish, Rules};

use super::FilterError;
use super::error::prerelease_help;
use crate::graph::Graph;
use crate::near;
use crate::version::Bounds;
use crate::{Channel, Kept, Package};

/// What came of a package.
pub(super) struct Done {
    pub(super) kept: Result<Kept, FilterError>,
    /// What was asked for by a name that nothing has.
    pub(super) absent: Vec<FilterError>,
    pub(super) findings: Vec<Finding>,
}

pub(super) struct Work<'a> {
    package: &'a Package,
    asked: &'a PackageWish,
    full: bool,
    rules: Rules,
    kept: Kept,
    findings: Vec<Finding>,
    /// What was asked for by a name that nothing has.
    absent: Vec<FilterError>,
    /// Channels nobody named that have nothing to keep.
    emptied: Vec<&'a str>,
    /// Bundles that a range leaves out for being prereleases, and the range.
    prereleases: BTreeMap<&'a str, String>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        package: &'a Package,
        asked: &'a PackageWish,
        full: bool,
        rules: Rules,
    ) -> Self {
        Self {
            package,
            asked,
            full,
            rules,
            kept: Kept::default(),
            findings: Vec::new(),
            absent: Vec::new(),
            emptied: Vec::new(),
            prereleases: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self) -> Done {
        let kept = self.keep();
        Done { kept: kept.map(|()| self.kept), absent: self.absent, findings: self.findings }
    }

    fn keep(&mut self) -> Result<(), FilterError> {
        self.refuse_unversioned()?;
        self.listed_bundles();
        let channels = self.channels();
        if self.rules == Rules::Own && !self.absent.is_empty() {
            // What follows would only repeat it.
            return Ok(());
        }
        self.kept.default_channel = self.default_channel(&channels)?;
        for channel in channels {
            self.channel(channel)?;
        }
        self.name_what_is_gone();
        Ok(())
    }

    fn name(&self) -> String {
        self.package.name.clone()
    }

    /// Without versions the graph could not be judged, and oc-mirror refuses as well.
    fn refuse_unversioned(&self) -> Result<(), FilterError> {
        match self.package.bundles.values().find(|bundle| bundle.version.is_none()) {
            None => Ok(()),
            Some(bundle) => Err(FilterError::Unversioned {
                package: self.name(),
                bundle: bundle.name.clone(),
                version: bundle.version_text().unwrap_or_default().to_owned(),
            }),
        }
    }

    fn listed_bundles(&mut self) {
        let all = &self.package.bundles;
        for bundle in &self.asked.bundles {
            if all.contains_key(bundle) {
                self.kept.bundles.insert(bundle.clone());
                continue;
            }
            let near = near::names(bundle, all.keys().map(String::as_str));
            let (package, bundle) = (self.name(), bundle.clone());
            self.absent.push(FilterError::NoBundle { package, bundle, near });
        }
    }

    /// The channels that were asked for and are there.
    fn channels(&mut self) -> Vec<&'a Channel> {
        let all = &self.package.channels;
        if self.asked.channels.is_empty() {
            return all.values().collect();
        }
        let mut found = Vec::new();
        for asked in &self.asked.channels {
            if let Some(channel) = all.get(&asked.name) {
                found.push(channel);
                continue;
            }
            let near = near::names(&asked.name, all.keys().map(String::as_str));
            let (package, channel) = (self.name(), asked.name.clone());
            self.absent.push(FilterError::NoChannel { package, channel, near });
        }
        found
    }

    fn default_channel(&self, channels: &[&Channel]) -> Result<String, FilterError> {
        let is_kept = |name: &str| channels.iter().any(|channel| channel.name == name);
        let kept = || channels.iter().map(|channel| channel.name.clone()).collect();
        let own = &self.package.default_channel;
        let field = match self.rules {
            Rules::Own => "default",
            Rules::OcMirror => "defaultChannel",
        };
        match self.new_default() {
            Some(asked) if is_kept(asked) => Ok(asked.to_owned()),
            Some(asked) => Err(FilterError::NoDefault {
                package: self.name(),
                channel: asked.to_owned(),
                kept: kept(),
                field,
            }),
            None if own.is_empty() || is_kept(own) => Ok(own.clone()),
            None => Err(FilterError::DefaultGone {
                package: self.name(),
                channel: own.clone(),
                kept: kept(),
                field,
            }),
        }
    }

    fn new_default(&self) -> Option<&'a str> {
        self.asked.default.as_deref().filter(|name| !name.is_empty())
    }

    fn channel(&mut self, channel: &'a Channel) -> Result<(), FilterError> {
        let bounds = self.bounds(channel)?;
        let taken = self.taken(channel, bounds.as_ref())?;
        let is_entry = |name: &String| channel.entries.iter().any(|entry| entry.name == *name);
        let entries: BTreeSet<String> =
            taken.iter().filter(|name| is_entry(name)).cloned().collect();
        // What the filter takes from outside of the channel, oc-mirror keeps beside a channel without entries.
        if entries.is_empty() {
            self.emptied(channel, bounds.as_ref(), taken.is_empty())?;
        }
        if !entries.is_empty() || (self.rules == Rules::OcMirror && !taken.is_empty()) {
            self.kept.channels.insert(channel.name.clone(), entries);
        }
        let exists = |name: &String| self.package.bundles.contains_key(name);
        self.kept.bundles.extend(taken.into_iter().filter(exists));
        Ok(())
    }

    /// The channel's range, else the package's.
    fn bounds(&self, channel: &Channel) -> Result<Option<Bounds>, FilterError> {
        let own = self.asked.channels.iter().find(|asked| asked.name == channel.name);
        let own = own.filter(|own| own.from.is_some() || own.to.is_some());
        let (min, max) = own.map_or((&self.asked.from, &self.asked.to), |own| (&own.from, &own.to));
        let contradiction = |message| FilterError::Contradiction { package: self.name(), message };
        let bounds = Bounds::new(min.as_deref(), max.as_deref()).map_err(|wrong| {
            let message = "is not a version; write numbers alone, like `1.2` or `1.2.0`";
            contradiction(format!("`{wrong}` {message}"))
        })?;
        match &bounds {
            // oc-mirror finds nothing in it, and goes on.
            Some(range) if range.is_empty() && self.rules == Rules::Own => {
                Err(contradiction(format!("`{range}` ends before it begins")))
            }
            _ => Ok(bounds),
        }
    }

    /// The bundles that a channel contributes, among them such as are no entries of it.
    fn taken(
        &mut self,
        channel: &'a Channel,
        bounds: Option<&Bounds>,
    ) -> Result<BTreeSet<String>, FilterError> {
        if !self.asked.bundles.is_empty() {
            return self.listed(channel);
        }
        if self.full {
            return Ok(channel.entries.iter().map(|entry| entry.name.clone()).collect());
        }
        match bounds {
            None => Ok(BTreeSet::from([self.graph(channel)?.head().to_owned()])),
            Some(bounds) if bounds.exact().is_some() => self.exactly(bounds),
            Some(bounds) => self.in_range(channel, bounds),
        }
    }

    /// The listed bundles in the channel, which must have one head without the others, too.
    fn listed(&self, channel: &Channel) -> Result<BTreeSet<String>, FilterError> {
        let mut rest = channel.clone();
        rest.entries.retain(|entry| self.asked.bundles.contains(&entry.name));
        if !rest.entries.is_empty() {
            self.graph(&rest)?;
        }
        Ok(rest.entries.into_iter().map(|entry| entry.name).collect())
    }

    /// The bundle of one version, wherever in the package it is.
    fn exactly(&self, bounds: &Bounds) -> Result<BTreeSet<String>, FilterError> {
        let wanted = bounds.exact().expect("both bounds are one version");
        let versions =
            || self.package.bundles.values().filter_map(|bundle| bundle.version.as_ref());
        let is_it = |name: &&String| {
            self.version(name).is_some_and(|version| version.cmp_precedence(wanted).is_eq())
        };
        match self.package.bundles.keys().find(is_it) {
            Some(name) => Ok(BTreeSet::from([name.clone()])),
            None => Err(FilterError::NoVersion {
                package: self.name(),
                version: wanted.to_string(),
                near: near::versions(wanted, versions()),
            }),
        }
    }

    fn in_range(
        &mut self,
        channel: &'a Channel,
        bounds: &Bounds,
    ) -> Result<BTreeSet<String>, FilterError> {
        let is_wanted = |name: &str| self.version(name).is_some_and(|version| bounds.has(version));
        let piece = self.graph(channel)?.piece(&is_wanted);
        let between: Vec<&str> = piece.iter().copied().filter(|name| !is_wanted(name)).collect();
        if !between.is_empty() {
            let message = format!(
                "channel `{}` keeps {}, outside of `{bounds}`: the updates in the range go through them",
                channel.name,
                near::listed(&between)
            );
            self.findings.push(Finding::warning("catalog-out-of-range", self.name(), message));
        }
        let prereleases = self.prereleases(channel, bounds);
        self.prereleases.extend(prereleases.into_iter().map(|name| (name, bounds.to_string())));
        Ok(piece.into_iter().map(str::to_owned).collect())
    }

    /// Entries of the channel that only their being prereleases keeps out of the range.
    fn prereleases(&self, channel: &'a Channel, bounds: &Bounds) -> Vec<&'a str> {
        let names = channel.entries.iter().map(|entry| entry.name.as_str());
        names
            .filter(|name| self.version(name).is_some_and(|version| bounds.leaves_out(version)))
            .collect()
    }

    fn version(&self, bundle: &str) -> Option<&'a semver::Version> {
        self.package.bundles.get(bundle)?.version.as_ref()
    }

    fn graph<'c>(&self, channel: &'c Channel) -> Result<Graph<'c>, FilterError> {
        Graph::new(channel).map_err(|message| FilterError::Graph {
            package: self.name(),
            channel: channel.name.clone(),
            message,
        })
    }

    /// A channel that was asked for and has no entry to keep. Where one version is asked for, `is_bare` is false: the
    /// bundle is kept, and oc-mirror minds in no case.
    fn emptied(
        &mut self,
        channel: &'a Channel,
        bounds: Option<&Bounds>,
        is_bare: bool,
    ) -> Result<(), FilterError> {
        let is_default = is_bare && channel.name == self.package.default_channel;
        let is_named = self.asked.channels.iter().any(|asked| asked.name == channel.name)
            || channel.name == self.kept.default_channel;
        if is_default || (is_named && self.rules == Rules::Own) {
            return Err(self.empty(channel, bounds));
        }
        if is_named {
            let left = if is_bare { "is left out" } else { "stays without entries" };
            let message =
                format!("channel `{}` has nothing of what was asked for and {left}", channel.name);
            self.findings.push(Finding::warning("catalog-channel-emptied", self.name(), message));
        } else {
            self.emptied.push(&channel.name);
        }
        Ok(())
    }

    fn empty(&self, channel: &'a Channel, bounds: Option<&Bounds>) -> FilterError {
        let has = |channel: &Channel| {
            let mut names = channel.entries.iter().map(|entry| &entry.name);
            names.any(|name| match bounds {
                Some(bounds) => self.version(name).is_some_and(|version| bounds.has(version)),
                None => self.asked.bundles.contains(name),
            })
        };
        let versions = channel.entries.iter().filter_map(|entry| self.version(&entry.name));
        let text = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        FilterError::Empty {
            package: self.name(),
            channel: channel.name.clone(),
            range: bounds.map_or_else(|| self.asked.bundles.join(", "), ToString::to_string),
            near: bounds
                .and_then(Bounds::one)
                .map(|at| near::versions(at, versions))
                .unwrap_or_default(),
            prereleases: bounds
                .map(|bounds| text(self.prereleases(channel, bounds)))
                .unwrap_or_default(),
            others: self
                .package
                .channels
                .values()
                .filter(|other| has(other))
                .map(|other| other.name.clone())
                .collect(),
        }
    }

    fn name_what_is_gone(&mut self) {
        if !self.emptied.is_empty() {
            let message = format!(
                "channels with nothing of what was asked for: {}",
                near::listed(&self.emptied)
            );
            self.findings.push(Finding::info("catalog-channel-emptied", self.name(), message));
        }
        let gone: Vec<&str> = self
            .prereleases
            .keys()
            .copied()
            .filter(|name| !self.kept.bundles.contains(*name))
            .collect();
        if let Some(range) = gone.first().map(|name| &self.prereleases[name]) {
            let message = prerelease_help(range, &gone);
            self.findings.push(Finding::warning("catalog-prerelease", self.name(), message));
        }
    }
}
