//! The update graph of a channel: from its head down, by what replaces what.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Channel, Entry};

/// A channel with exactly one head and no cycle.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    entries: BTreeMap<&'a str, &'a Entry>,
    head: &'a str,
}

impl<'a> Graph<'a> {
    /// What is wrong with the channel, otherwise.
    pub(crate) fn new(channel: &'a Channel) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        let mut above: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        if channel.entries.is_empty() {
            return Err("it has no entries".to_owned());
        }
        for entry in &channel.entries {
            if entries.insert(entry.name.as_str(), entry).is_some() {
                return Err(format!("`{}` stands in it twice", entry.name));
            }
            for below in below(entry) {
                if below == entry.name {
                    return Err(format!("`{below}` replaces or skips itself"));
                }
                above.entry(below).or_default().insert(&entry.name);
            }
        }
        let heads: Vec<&str> =
            entries.keys().filter(|name| !above.contains_key(*name)).copied().collect();
        let head = match heads[..] {
            [head] => head,
            [] => return Err("it has no head: every entry is replaced or skipped".to_owned()),
            _ => return Err(format!("it has several heads: {}", heads.join(", "))),
        };
        let graph = Self { entries, head };
        graph.refuse_cycles(above)?;
        Ok(graph)
    }

    pub(crate) fn head(&self) -> &'a str {
        self.head
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.entries.get(name).copied()
    }

    /// Takes entries away from the head down; where nothing is left to take though entries are, they go in a circle.
    fn refuse_cycles(&self, mut above: BTreeMap<&str, BTreeSet<&str>>) -> Result<(), String> {
        let mut free = vec![self.head];
        while let Some(name) = free.pop() {
            for below in self.entry(name).into_iter().flat_map(below) {
                if let Some(left) = above.get_mut(below) {
                    left.remove(name);
                    if left.is_empty() {
                        above.remove(below);
                        free.push(below);
                    }
                }
            }
        }
        match above.keys().next() {
            Some(name) => {
                Err(format!("its entries replace each other in a circle, `{name}` among them"))
            }
            None => Ok(()),
        }
    }

    /// From the head along `replaces`, to a bundle that is no entry at the most.
    pub(crate) fn chain(&self) -> Vec<&'a str> {
        let next = |name: &&'a str| {
            self.entry(name).map(|entry| entry.replaces.as_str()).filter(|name| !name.is_empty())
        };
        std::iter::successors(Some(self.head), next).collect()
    }

    /// The least that holds every bundle that `is_wanted` and lies in reach of the head, without a second head: a
    /// piece of the chain, and the wanted bundles that it skips.
    pub(crate) fn piece(&self, is_wanted: &dyn Fn(&str) -> bool) -> BTreeSet<&'a str> {
        let chain = self.chain();
        let mut seen = BTreeSet::new();
        // How many wanted bundles are new with each link, counted from the bottom.
        let mut new: Vec<usize> = chain
            .iter()
            .rev()
            .map(|name| {
                let wanted = std::iter::once(*name).chain(self.skips(name));
                wanted.filter(|name| is_wanted(name) && seen.insert(*name)).count()
            })
            .collect();
        new.reverse();
        let is_new = |count: &usize| *count > 0;
        let (Some(top), Some(bottom)) = (new.iter().position(is_new), new.iter().rposition(is_new))
        else {
            return BTreeSet::new();
        };
        let links = &chain[top..=bottom];
        let skipped = links.iter().flat_map(|name| self.skips(name)).filter(|name| is_wanted(name));
        links.iter().copied().chain(skipped).collect()
    }

    fn skips(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.entry(name).into_iter().flat_map(|entry| entry.skips.iter().map(String::as_str))
    }
}

fn below(entry: &Entry) -> impl Iterator<Item = &str> {
    let replaces = Some(entry.replaces.as_str()).filter(|name| !name.is_empty());
    replaces.into_iter().chain(entry.skips.iter().map(String::as_str))
}
