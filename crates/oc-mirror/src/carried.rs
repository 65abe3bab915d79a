//! What of a bundle a set asks for: the far side pushes that and no more.

use airlift_spec::stack::{Finder, ImageSource, excluded_by};
use airlift_spec::{Finding, Lock, Reference};

use crate::config::{ConfigError, ImageSet};
use crate::exit::failed_kind;
use crate::mapping::Kind;
use crate::translate::Translation;

/// The part of some locks that a set asks for.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    pub locks: Vec<Lock>,
    pub findings: Vec<Finding>,
    /// Kinds of what the set asks for and no lock has.
    pub lacking: Vec<Kind>,
}

impl ImageSet {
    /// Of `locks`, what this set asks for; and what it asks for that they do not have, or have by other words.
    pub fn carried(&self, locks: &[Lock], name: &str) -> Result<Carried, ConfigError> {
        let wish = Wish { translation: self.translate(name)? };
        let mut carried = Carried::default();
        for lock in locks {
            let part = wish.part_of(lock, &mut carried.findings);
            carried.locks.extend((!part.artifacts.is_empty()).then_some(part));
        }
        for lacking in wish.lacking(locks) {
            carried.lacking.push(failed_kind(&lacking, &Lock::new(name)));
            let message = "it is not in the bundle; mirror it to the disk by this configuration, and carry that over";
            carried.findings.push(Finding::error("imageset-not-carried", lacking, message));
        }
        for changed in wish.changed(locks) {
            let message = "the bundle was made by a configuration that asks for something else here; all that it has of it is pushed";
            carried.findings.push(Finding::warning("imageset-changed", changed, message));
        }
        Ok(carried)
    }
}

struct Wish {
    translation: Translation,
}

impl Wish {
    fn part_of(&self, lock: &Lock, findings: &mut Vec<Finding>) -> Lock {
        let found = lock.brought_by(|key| self.is_key(key));
        let mut part = lock.clone();
        part.artifacts.retain_mut(|artifact| {
            let is_found = found.contains(&artifact.reference.to_string());
            if let Some(source) = self.image(&artifact.reference) {
                // By other reasons it has other names as well.
                let others = std::mem::take(&mut artifact.mirrored_as);
                artifact.mirrored_as.clone_from(&source.mirrored_as);
                artifact.mirrored_as.extend(others.into_iter().filter(|_| is_found));
            } else if !is_found {
                return false;
            }
            let rules = &self.translation.stack.exclude;
            let rule = excluded_by(rules, &artifact.reference, &mut artifact.mirrored_as);
            findings.extend(rule.map(|rule| rule.finding(&artifact.reference)));
            rule.is_none()
        });
        part
    }

    fn image(&self, reference: &Reference) -> Option<&ImageSource> {
        self.translation.stack.images.iter().find(|image| image.reference == *reference)
    }

    fn is_key(&self, key: &str) -> bool {
        let finders = &self.translation.stack.finders;
        finders.iter().any(|finder| finder.key() == key)
            || self.repositories().any(|repository| key.starts_with(&repository))
    }

    /// How the keys of all charts begin that are of a repository without a list of them.
    fn repositories(&self) -> impl Iterator<Item = String> {
        self.translation.whole_repositories.iter().map(|it| format!("chart: {}/", it.name))
    }

    fn lacking(&self, locks: &[Lock]) -> Vec<String> {
        let stack = &self.translation.stack;
        let has_source = |is_it: &dyn Fn(&str) -> bool| {
            locks.iter().any(|lock| lock.sources.keys().any(|key| is_it(key)))
        };
        let images = stack.wanted_images().map(|image| &image.reference);
        let images = images.filter(|it| locks.iter().all(|lock| lock.artifact(it).is_none()));
        let finders = stack.finders.iter().map(Finder::key);
        let finders = finders.filter(|key| !has_source(&|it| it == key));
        let repositories = self.repositories();
        let repositories = repositories.filter(|begin| !has_source(&|it| it.starts_with(begin)));
        images.map(Reference::to_string).chain(finders).chain(repositories).collect()
    }

    /// Sources that the locks have, and that asked for something else when these were made.
    fn changed(&self, locks: &[Lock]) -> Vec<String> {
        let wanted = self.translation.stack.finders();
        let differs = |key: &String, digest| {
            let mut known = locks.iter().filter_map(|lock| lock.sources.get(key)).peekable();
            known.peek().is_some() && known.all(|it| it != digest)
        };
        let changed = wanted.iter().filter(|(key, digest)| differs(key, *digest));
        changed.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_spec::Digest;
    use airlift_spec::lock::{Artifact, Because, Evidence, Kind as ArtifactKind};

    fn artifact(kind: ArtifactKind, name: &str, from: &[&str]) -> Artifact {
        let because = |from: &&str| Because {
            from: (*from).to_owned(),
            path: String::new(),
            evidence: Evidence::Declared,
        };
        let because = from.iter().map(because).collect();
        Artifact { because, ..Artifact::new(kind, name.parse().unwrap()) }
    }

    /// A lock with an operator, two charts of one repository, and an image that goes to two places.
    fn lock() -> Lock {
        let mut own = artifact(ArtifactKind::Image, "a.io/own:1", &["image: a.io/own:1"]);
        own.mirrored_as =
            ["airlift.local/there:1", "a.io/own:1"].map(|it| it.parse().unwrap()).into();
        let artifacts = vec![
            artifact(ArtifactKind::Catalog, "a.io/index:1", &["catalog: a.io/index:1"]),
            artifact(ArtifactKind::Bundle, "a.io/bundle:1", &["a.io/index:1"]),
            artifact(ArtifactKind::Image, "a.io/op:1", &["a.io/bundle:1"]),
            artifact(ArtifactKind::Chart, "c.io/one:1.0.0", &["chart: r/one 1.0.0"]),
            artifact(ArtifactKind::Image, "a.io/of-chart:1", &["c.io/one:1.0.0"]),
            own,
        ];
        let keys = ["catalog: a.io/index:1", "chart: r/one 1.0.0"];
        let sources = keys.map(|key| (key.to_owned(), Digest::of(b"asked"))).into();
        Lock { artifacts, sources, ..Lock::new("set") }
    }

    fn carried(mirror: &str) -> (Vec<String>, Carried) {
        let set = format!("kind: ImageSetConfiguration\nmirror:\n{mirror}");
        let carried = ImageSet::parse(&set).unwrap().carried(&[lock()], "set").unwrap();
        let artifacts = carried.locks.iter().flat_map(|lock| &lock.artifacts);
        let paths = artifacts.map(|artifact| artifact.reference.path().to_owned()).collect();
        (paths, carried)
    }

    #[test]
    fn what_a_source_found_comes_with_all_that_it_brought() {
        let (paths, carried) = carried("  operators: [{catalog: 'a.io/index:1'}]\n");
        assert_eq!(paths, ["index", "bundle", "op"]);
        assert!(carried.lacking.is_empty());
        // These words have another digest than those that the lock was made by.
        assert_eq!(carried.findings.len(), 1);
        assert_eq!(carried.findings[0].code, "imageset-changed");
    }

    #[test]
    fn a_repository_without_a_list_has_all_of_its_charts() {
        let (paths, with) = carried("  helm: {repositories: [{name: r, url: 'https://c.io'}]}\n");
        assert_eq!(paths, ["one", "of-chart"]);
        assert!(with.findings.is_empty(), "{:?}", with.findings);
        let (paths, without) =
            carried("  helm: {repositories: [{name: s, url: 'https://c.io'}]}\n");
        assert_eq!(paths, [""; 0]);
        assert_eq!(without.lacking, [Kind::Helm]);
        assert_eq!(without.findings[0].object, "chart: s/");
    }

    #[test]
    fn an_image_goes_where_this_set_says() {
        let (paths, carried) = carried("  additionalImages: [{name: 'a.io/own:1'}]\n");
        assert_eq!(paths, ["own"]);
        assert!(carried.locks[0].artifacts[0].mirrored_as.is_empty());
    }

    #[test]
    fn what_this_set_blocks_stays_behind_and_is_said() {
        let set = "  operators: [{catalog: 'a.io/index:1'}]\n  blockedImages: [{name: op}]\n";
        let (paths, carried) = carried(set);
        assert_eq!(paths, ["index", "bundle"]);
        assert!(
            carried.findings.iter().any(|it| it.code == "excluded" && it.object == "a.io/op:1")
        );
    }
}
