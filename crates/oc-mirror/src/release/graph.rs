//! The update graph of a channel, as the update service sends it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use semver::Version;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::ReleaseError;
use crate::name::ImageName;

/// Which releases a channel has, and which may be updated to which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
    /// By the release that is left, the newest goal first.
    edges: BTreeMap<usize, Vec<usize>>,
}

/// A release of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) version: Version,
    pub(super) image: ImageName,
}

#[derive(Deserialize)]
struct GraphWire {
    nodes: Vec<NodeWire>,
    edges: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct NodeWire {
    #[serde(deserialize_with = "version")]
    version: Version,
    payload: String,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(Error::custom)
}

impl Graph {
    /// Reads what the update service answers.
    pub fn parse(json: &[u8]) -> Result<Self, ReleaseError> {
        let wire: GraphWire =
            serde_json::from_slice(json).map_err(|source| ReleaseError::Graph { source })?;
        let node = |node: NodeWire| match ImageName::parse(&node.payload) {
            Ok(image) => Ok(Node { version: node.version, image }),
            Err(source) => Err(ReleaseError::Image { version: node.version, source }),
        };
        let nodes = wire.nodes.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
        let mut edges: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in wire.edges {
            if from.max(to) >= nodes.len() {
                return Err(ReleaseError::Edge { from, to, nodes: nodes.len() });
            }
            edges.entry(from).or_default().push(to);
        }
        for goals in edges.values_mut() {
            goals.sort_by(|a, b| nodes[*b].version.cmp_precedence(&nodes[*a].version));
        }
        Ok(Self { nodes, edges })
    }

    pub(super) fn node(&self, version: &Version) -> Option<&Node> {
        Some(&self.nodes[self.position(version)?])
    }

    pub(super) fn oldest(&self) -> Option<&Version> {
        self.nodes.iter().map(|node| &node.version).min_by(|a, b| a.cmp_precedence(b))
    }

    pub(super) fn newest(&self) -> Option<&Version> {
        self.nodes.iter().map(|node| &node.version).max_by(|a, b| a.cmp_precedence(b))
    }

    /// Releases from `min` to `max`, both included; those before a release count as older than it.
    pub(super) fn between(&self, min: &Version, max: &Version) -> Vec<&Node> {
        let is_within = |node: &&Node| {
            node.version.cmp_precedence(min) != Ordering::Less
                && node.version.cmp_precedence(max) != Ordering::Greater
        };
        self.nodes.iter().filter(is_within).collect()
    }

    /// The releases whose versions are next to this one, the older first.
    pub(super) fn near(&self, version: &Version) -> Vec<Version> {
        const EACH_WAY: usize = 3;
        let mut versions: Vec<&Version> = self.nodes.iter().map(|node| &node.version).collect();
        versions.sort_by(|a, b| a.cmp_precedence(b));
        let at = versions.partition_point(|it| it.cmp_precedence(version).is_lt());
        let (first, end) = (at.saturating_sub(EACH_WAY), versions.len().min(at + EACH_WAY));
        versions[first..end].iter().map(|version| (*version).clone()).collect()
    }

    /// The shortest way from one release to another; of several, the one by the newest.
    pub(super) fn path(&self, from: &Version, to: &Version) -> Option<Vec<&Node>> {
        let (start, end) = (self.position(from)?, self.position(to)?);
        let mut before = BTreeMap::from([(start, start)]);
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            if at == end {
                break;
            }
            for &next in self.edges.get(&at).into_iter().flatten() {
                before.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    at
                });
            }
        }
        let mut path = vec![end];
        let mut at = end;
        while at != start {
            at = *before.get(&at)?;
            path.push(at);
        }
        Some(path.into_iter().rev().map(|at| &self.nodes[at]).collect())
    }

    fn position(&self, version: &Version) -> Option<usize> {
        self.nodes.iter().position(|node| node.version.cmp_precedence(version).is_eq())
    }
}
