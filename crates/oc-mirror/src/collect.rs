//! From what was found for a set to what is copied.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::lock::{self, Artifact, Because};
use airlift_spec::stack::{Exclude, excluded_by};
use airlift_spec::{Finding, Lock, Reference};

use crate::config::{ImageSet, Operator};
use crate::filter::filter_tag;
use crate::mapping::{Copy, Filtered, Item, Routes, release_tag};
use crate::name::ImageName;
use crate::release::component;

/// The artifacts that bring others, by their names.
type Parents<'a> = BTreeMap<String, &'a Artifact>;

impl ImageSet {
    /// The images of this set, by a lock of its [`translate`](Self::translate)d stack, pinned or not.
    ///
    /// Charts stay where they are: the peer brings none to a registry.
    pub fn items(&self, lock: &Lock) -> Vec<Item> {
        let parents: Parents =
            lock.artifacts.iter().map(|it| (it.reference.to_string(), it)).collect();
        let found = lock.artifacts.iter().flat_map(|artifact| match artifact.kind {
            lock::Kind::Catalog => self.catalog(artifact).into_iter().collect(),
            lock::Kind::Bundle => vec![Item::Bundle(ImageName::from(&artifact.reference))],
            lock::Kind::Release => vec![Item::Release(ImageName::from(&artifact.reference))],
            lock::Kind::Graph => vec![Item::Graph],
            lock::Kind::Image => brought(artifact, &parents),
            _ => Vec::new(),
        });
        let own = self.additional_images.iter().map(crate::AdditionalImage::item);
        let items: BTreeSet<Item> = own.chain(found).collect();
        items.into_iter().collect()
    }

    /// The copies of these items, without those that are blocked, which are named.
    pub fn copies(&self, items: &[Item], routes: &Routes) -> (Vec<Copy>, Vec<Finding>) {
        let (blocked, wanted): (Vec<&Item>, Vec<&Item>) =
            items.iter().partition(|item| self.blocked_by(item).is_some());
        let remain: BTreeSet<Reference> =
            wanted.iter().filter_map(|item| item.reference().ok()).collect();
        let finding = |item: &Item| {
            let (rule, reference) = (self.blocked_by(item)?, item.reference().ok()?);
            // Of an image that goes there under another name, this one is what is blocked.
            let is_name = remain.contains(&reference);
            let object = if is_name { item.mirrored_as().ok()? } else { reference };
            Some(rule.finding(&object))
        };
        let findings = blocked.into_iter().filter_map(finding).collect();
        (routes.copies(wanted), findings)
    }

    /// What blocks an item, by the names under which the translated stack has it.
    fn blocked_by(&self, item: &Item) -> Option<&Exclude> {
        let mut names = item.mirrored_as().into_iter().collect();
        excluded_by(&self.blocked, &item.reference().ok()?, &mut names)
    }

    fn catalog(&self, artifact: &Artifact) -> Option<Item> {
        let is_meant = |operator: &&Operator| {
            operator.key().is_some_and(|key| artifact.because.iter().any(|it| it.from == key))
        };
        let operator = self.operators.iter().find(is_meant)?;
        // The peer's releases differ in whether the catalog's digest is part of it; all find one without.
        let tag = filter_tag(operator, None);
        // Who kept all of it, and calls it by another name, has it made anew as well.
        let is_made = artifact.from.is_some();
        Some(operator.item(is_made.then_some(Filtered { tag, digest: artifact.digest })))
    }
}

/// An image in each part that it has: of a release, of an operator, of a chart.
fn brought(artifact: &Artifact, parents: &Parents) -> Vec<Item> {
    let part = |because: &Because| {
        let parent = parents.get(&because.from)?;
        match parent.kind {
            lock::Kind::Bundle | lock::Kind::Catalog => {
                Some(Item::Related(ImageName::from(&artifact.reference)))
            }
            lock::Kind::Chart => Some(Item::Helm(ImageName::from(&artifact.reference))),
            lock::Kind::Release => Some(Item::ReleaseContent {
                image: ImageName::from(&artifact.reference),
                release: release_tag(&ImageName::from(&parent.reference)),
                name: component(&because.path)?.to_owned(),
            }),
            _ => None,
        }
    };
    let parts: BTreeSet<Item> = artifact.because.iter().filter_map(part).collect();
    parts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Kind, Mode, OfferedCatalog};
    use airlift_spec::Digest;
    use airlift_spec::catalog_source::Server;
    use airlift_spec::lock::Evidence;

    const SET: &str = "kind: ImageSetConfiguration
mirror:
  operators: [{catalog: 'a.io/redhat/index:v4.19'}]
  additionalImages: [{name: 'ubuntu:22.04', targetRepo: own/ubuntu}, {name: 'b.io/shared:v1'}]
  blockedImages: [{name: must-gather}]
";

    fn artifact(kind: lock::Kind, reference: &str, because: &[&str]) -> Artifact {
        let reason = |from: &&str| Because {
            from: (*from).to_owned(),
            path: String::new(),
            evidence: Evidence::Declared,
        };
        Artifact {
            because: because.iter().map(reason).collect(),
            ..Artifact::new(kind, reference.parse().unwrap())
        }
    }

    fn found() -> Lock {
        let (catalog, bundle, chart) =
            ("a.io/redhat/index:v4.19", "a.io/op/bundle:v1", "charts.io/c:1.0.0");
        let mut lock = Lock::new("set");
        lock.artifacts = vec![
            artifact(lock::Kind::Catalog, catalog, &["catalog: a.io/redhat/index:v4.19"]),
            artifact(lock::Kind::Bundle, bundle, &[catalog]),
            artifact(lock::Kind::Chart, chart, &["chart: r/c 1.0.0"]),
            artifact(lock::Kind::Image, "a.io/op/one:v1", &[bundle]),
            artifact(lock::Kind::Image, "a.io/op/must-gather:v1", &[bundle]),
            artifact(
                lock::Kind::Image,
                "b.io/shared:v1",
                &["image: b.io/shared:v1", bundle, chart],
            ),
            artifact(lock::Kind::Image, "docker.io/library/ubuntu:22.04", &["image: ubuntu:22.04"]),
        ];
        lock
    }

    #[test]
    fn a_catalog_is_offered_as_what_became_of_it() {
        let text = format!(
            "kind: ImageSetConfiguration\nmirror: {{operators: [{{catalog: 'a.io/i@{}'}}]}}",
            Digest::of(b"source")
        );
        let set = ImageSet::parse(&text).unwrap();
        let key = set.operators[0].key().unwrap();
        let name = format!("a.io/i@{}", Digest::of(b"source"));
        let mut lock = Lock::new("set");
        lock.artifacts = vec![artifact(lock::Kind::Catalog, &name, &[&key])];
        let offered = |lock: &Lock| {
            let [Item::Catalog(item)] = &set.items(lock)[..] else { panic!() };
            item.offered()
        };
        let (server, digest) = (Server::Own, Some(Digest::of(b"source")));
        assert_eq!(offered(&lock), OfferedCatalog { server, digest });
        lock.artifacts[0].from = Some(format!("catalog:{name}"));
        lock.artifacts[0].digest = Some(Digest::of(b"made"));
        let (server, digest) = (Server::Olm, Some(Digest::of(b"made")));
        assert_eq!(offered(&lock), OfferedCatalog { server, digest });
    }

    #[test]
    fn each_artifact_is_copied_for_every_part_that_it_has() {
        let set = ImageSet::parse(SET).unwrap();
        let items = set.items(&found());
        let routes = Routes {
            mode: Mode::MirrorToMirror,
            cache: "localhost:55000".to_owned(),
            registry: "reg".to_owned(),
            max_nested_paths: None,
        };
        let (copies, findings) = set.copies(&items, &routes);
        let lines: Vec<(Kind, &str)> =
            copies.iter().map(|copy| (copy.kind, copy.destination.as_str())).collect();
        assert_eq!(
            lines,
            [
                (Kind::Related, "docker://reg/op/one:v1"),
                (Kind::Related, "docker://reg/shared:v1"),
                (Kind::Additional, "docker://reg/shared:v1"),
                (Kind::Additional, "docker://reg/own/ubuntu:22.04"),
                (Kind::Helm, "docker://reg/shared:v1"),
                (Kind::Bundle, "docker://reg/op/bundle:v1"),
                (Kind::Catalog, "docker://localhost:55000/redhat/index:v4.19"),
                (Kind::Catalog, "docker://reg/redhat/index:v4.19"),
            ]
        );
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].object, "a.io/op/must-gather:v1");
    }
}
