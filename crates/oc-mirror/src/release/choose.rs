//! Which releases a wish means.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use airlift_spec::Finding;
use airlift_spec::stack::{Product, ReleaseChannel};

use super::graph::{Graph, Node};
use super::{ReleaseError, published};
use crate::name::ImageName;

/// The graphs of one architecture, by their channels.
pub type Graphs = BTreeMap<String, Graph>;

/// A release to mirror.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    pub version: Version,
    /// By its digest, and by the tag that it is published under.
    pub image: ImageName,
}

/// A channel with both its ends.
struct Span<'a> {
    channel: &'a ReleaseChannel,
    min: Version,
    max: Version,
}

/// The channels whose graphs [`choose`] needs: those that are wanted, and those between.
pub fn channels(wanted: &[ReleaseChannel]) -> Vec<(Product, String)> {
    let named = wanted.iter().map(|channel| (channel.product, channel.name.clone()));
    let ocp = wanted.iter().filter(|channel| channel.product == Product::Ocp);
    let minors: Vec<(&str, Stream)> = ocp
        .filter_map(|channel| Some((channel.name.as_str(), Stream::of(&channel.name)?)))
        .collect();
    // Which of them is the first, only the graphs can tell; so each pair may be it.
    let between = minors.iter().flat_map(|(_, from)| {
        minors.iter().flat_map(move |(_, to)| from.up_to(to)).map(|name| (Product::Ocp, name))
    });
    let mut seen = BTreeSet::new();
    named.chain(between).filter(|(_, name)| seen.insert(name.clone())).collect()
}

/// The releases of one architecture that channels mean, and what is odd about them.
///
/// A channel without versions means its newest release, or with `full:` all of them. With several channels, releases
/// that a cluster passes on its way from the first to the last are meant as well.
pub fn choose(
    wanted: &[ReleaseChannel],
    architecture: &str,
    graphs: &Graphs,
) -> Result<(Vec<Release>, Vec<Finding>), ReleaseError> {
    let mut chooser = Chooser { graphs, nodes: Vec::new(), findings: Vec::new() };
    let mut spans = Vec::new();
    for channel in wanted {
        let span = span(channel, chooser.graph(&channel.name)?)?;
        chooser.channel(&span)?;
        spans.push(span);
    }
    let is_ocp = |span: &Span| span.channel.product == Product::Ocp;
    let ocp: Vec<Span> = spans.into_iter().filter(is_ocp).collect();
    if wanted.len() > 1 {
        chooser.across(&ocp)?;
    }
    let release = |node: &&Node| Release {
        version: node.version.clone(),
        image: name_of(node, architecture),
    };
    let releases: BTreeSet<Release> = chooser.nodes.iter().map(release).collect();
    Ok((releases.into_iter().collect(), chooser.findings))
}

/// OKD publishes its releases with tags; those of OCP have digests in the graph.
fn name_of(node: &Node, architecture: &str) -> ImageName {
    if node.image.is_by_digest_alone() {
        published(&node.image, &node.version, architecture)
    } else {
        node.image.clone()
    }
}

/// What is left out of a channel, filled in from its graph.
fn span<'a>(channel: &'a ReleaseChannel, graph: &Graph) -> Result<Span<'a>, ReleaseError> {
    let none = || ReleaseError::NoVersions { channel: channel.name.clone() };
    let newest = graph.newest().ok_or_else(none)?;
    let oldest = graph.oldest().ok_or_else(none)?;
    let max = channel.to.as_ref().unwrap_or(newest);
    let is_head_alone = channel.to.is_none() && !channel.full;
    let min = match &channel.from {
        Some(min) => min,
        None if is_head_alone => newest,
        None => oldest,
    };
    Ok(Span { channel, min: min.clone(), max: max.clone() })
}

struct Chooser<'a> {
    graphs: &'a Graphs,
    nodes: Vec<&'a Node>,
    findings: Vec<Finding>,
}

impl<'a> Chooser<'a> {
    fn graph(&self, channel: &str) -> Result<&'a Graph, ReleaseError> {
        let none = || ReleaseError::NoGraph { channel: channel.to_owned() };
        self.graphs.get(channel).ok_or_else(none)
    }

    fn channel(&mut self, span: &Span) -> Result<(), ReleaseError> {
        let name = &span.channel.name;
        if span.channel.shortest_path {
            return self.update(name, &span.min, &span.max);
        }
        let graph = self.graph(name)?;
        let found = graph.between(&span.min, &span.max);
        if found.is_empty() {
            let (min, max) = (span.min.clone(), span.max.clone());
            let (channel, near) = (name.clone(), graph.near(&min));
            return Err(ReleaseError::EmptyRange { channel, min, max, near });
        }
        self.nodes.extend(found);
        Ok(())
    }

    /// Both releases, and those between them on the shortest way.
    fn update(&mut self, channel: &str, from: &Version, to: &Version) -> Result<(), ReleaseError> {
        let graph = self.graph(channel)?;
        let find = |version: &Version| {
            let none = || ReleaseError::NoVersion {
                version: version.clone(),
                channel: channel.to_owned(),
                near: graph.near(version),
            };
            graph.node(version).ok_or_else(none)
        };
        let ends = [find(from)?, find(to)?];
        if let Some(path) = graph.path(from, to) {
            self.nodes.extend(path);
        } else {
            self.nodes.extend(ends);
            self.no_path(channel, from, to);
        }
        Ok(())
    }

    /// The way of a cluster from the oldest release of all channels to the newest.
    fn across(&mut self, spans: &[Span]) -> Result<(), ReleaseError> {
        let first = spans.iter().min_by(|a, b| a.min.cmp_precedence(&b.min));
        let last = spans.iter().max_by(|a, b| a.max.cmp_precedence(&b.max));
        let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
        let (from, to) = (&first.channel.name, &last.channel.name);
        if from == to {
            return self.update(to, &first.min, &last.max);
        }
        let no_channels = || ReleaseError::NoChannels { from: from.clone(), to: to.clone() };
        let minors = Stream::of(from).zip(Stream::of(to)).ok_or_else(no_channels)?;
        if minors.0.is_same(&minors.1) {
            return self.onward(to, &first.min, &last.max, to, &last.max).map(|_| ());
        }
        if !minors.0.is_before(&minors.1) {
            return Err(no_channels());
        }
        self.climb(first, last, &minors.0.up_to(&minors.1))
    }

    /// To the newest release of each channel, and from there on in the next one.
    fn climb(&mut self, first: &Span, last: &Span, between: &[String]) -> Result<(), ReleaseError> {
        let mut at = self.newest(&first.channel.name)?;
        self.update(&first.channel.name, &first.min, &at)?;
        for channel in between {
            let goal = self.newest(channel)?;
            if !self.onward(channel, &at, &goal, &last.channel.name, &last.max)? {
                return Ok(());
            }
            at = goal;
        }
        let channel = &last.channel.name;
        self.onward(channel, &at, &last.max, channel, &last.max).map(|_| ())
    }

    /// On to `goal` in `channel`, unless the way is blocked: then the last release is all there is to go on with.
    fn onward(
        &mut self,
        channel: &str,
        at: &Version,
        goal: &Version,
        last_channel: &str,
        last: &Version,
    ) -> Result<bool, ReleaseError> {
        if self.graph(channel)?.node(at).is_some() {
            self.update(channel, at, goal)?;
            return Ok(true);
        }
        self.no_path(channel, at, goal);
        self.update(last_channel, last, last)?;
        Ok(false)
    }

    fn newest(&self, channel: &str) -> Result<Version, ReleaseError> {
        let none = || ReleaseError::NoVersions { channel: channel.to_owned() };
        self.graph(channel)?.newest().cloned().ok_or_else(none)
    }

    fn no_path(&mut self, channel: &str, from: &Version, to: &Version) {
        self.findings.push(Finding::warning(
            "no-upgrade-path",
            channel,
            format!("no way of updates leads from {from} to {to}"),
        ));
    }
}

/// What a channel's name says of its releases, like `stable-4.18`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stream {
    prefix: String,
    major: u64,
    minor: u64,
}

impl Stream {
    fn of(channel: &str) -> Option<Self> {
        let (prefix, version) = channel.rsplit_once('-')?;
        let (major, minor) = version.split_once('.')?;
        let prefix = prefix.to_owned();
        Some(Self { prefix, major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }

    fn is_before(&self, other: &Self) -> bool {
        self.major == other.major && self.minor < other.minor
    }

    /// The channels between, by the name that this one begins with. Nobody skips a hundred.
    fn up_to(&self, other: &Self) -> Vec<String> {
        if !self.is_before(other) {
            return Vec::new();
        }
        let minors = (self.minor + 1)..other.minor;
        minors.take(100).map(|minor| format!("{}-{}.{minor}", self.prefix, self.major)).collect()
    }
}
