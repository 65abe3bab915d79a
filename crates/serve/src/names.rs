//! Which repositories and tags a content offers, by the names that clients use.
//!
//! A repository answers to its host form (`quay.io/org/app`), to `org/app` with containerd's `?ns=quay.io`, and to
//! the bare `org/app` where only one host has it.

use std::collections::{BTreeMap, BTreeSet};

use airlift_registry::server::Asked;
use airlift_spec::lock::{Artifact, Referrer};
use airlift_spec::{Digest, Layout, Lock, Reference};

/// Everything that some locks offer.
#[derive(Debug, Default)]
pub(crate) struct Names {
    repositories: BTreeMap<String, Offered>,
    /// Host forms by what they are without their host.
    bare: BTreeMap<String, BTreeSet<String>>,
}

/// What one repository offers.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    pub(crate) tags: BTreeMap<String, Digest>,
    /// Media types of the manifests that the locks name.
    pub(crate) manifests: BTreeMap<Digest, Option<String>>,
    /// What is said about each manifest, by OCI 1.1.
    pub(crate) referrers: BTreeMap<Digest, Vec<Referrer>>,
}

impl Names {
    /// The names in `locks`. Where two stacks pin one tag differently, the first stack by name has it.
    pub(crate) fn new(locks: &[Lock]) -> Self {
        let mut sorted: Vec<&Lock> = locks.iter().collect();
        sorted.sort_by(|a, b| a.stack.cmp(&b.stack));
        let mut names = Self::default();
        for artifact in sorted.into_iter().flat_map(|lock| &lock.artifacts) {
            names.add(artifact);
        }
        names
    }

    fn add(&mut self, artifact: &Artifact) {
        let Some(digest) = artifact.digest else { return };
        let Some(name) = host_form(&artifact.reference) else { return };
        let bare = self.bare.entry(artifact.reference.path().to_owned()).or_default();
        bare.insert(name.clone());
        self.repositories.entry(name).or_default().add(artifact, digest);
    }

    /// The repository that a client means, if it is offered.
    pub(crate) fn find(&self, asked: &Asked) -> Option<&Offered> {
        if let Some(host) = &asked.ns {
            let reference: Option<Reference> = format!("{host}/{}", asked.repository).parse().ok();
            let named =
                reference.and_then(|reference| self.repositories.get(&host_form(&reference)?));
            // A client that reaches us by another name says that name, and asks for the host form behind it. The
            // bare path is not looked at: it may be another host's.
            return named.or_else(|| self.repositories.get(&asked.repository));
        }
        if let Some(offered) = self.repositories.get(&asked.repository) {
            return Some(offered);
        }
        let mut hosts = self.bare.get(&asked.repository)?.iter();
        let only = hosts.next()?;
        // Of two hosts, neither is meant more than the other.
        if hosts.next().is_some() { None } else { self.repositories.get(only) }
    }

    pub(crate) fn repositories(&self) -> Vec<String> {
        self.repositories.keys().cloned().collect()
    }
}

impl Offered {
    fn add(&mut self, artifact: &Artifact, digest: Digest) {
        if let Some(tag) = artifact.reference.tag() {
            self.tags.entry(tag.to_owned()).or_insert(digest);
        }
        self.manifests.insert(digest, Some(artifact.media_type.clone()));
        for child in &artifact.children {
            self.manifests.entry(child.digest).or_insert(None);
        }
        for referrer in &artifact.referrers {
            self.manifests.insert(referrer.digest, Some(referrer.media_type.clone()));
            match &referrer.tag {
                Some(tag) => drop(self.tags.entry(tag.clone()).or_insert(referrer.digest)),
                None => self.add_referrer(referrer),
            }
        }
    }

    /// Two artifacts of one repository may share a manifest, and with it what is said about it.
    fn add_referrer(&mut self, referrer: &Referrer) {
        let known = self.referrers.entry(referrer.subject).or_default();
        if !known.contains(referrer) {
            known.push(referrer.clone());
        }
    }
}

fn host_form(reference: &Reference) -> Option<String> {
    Layout::Host.place("", reference).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_spec::lock::Kind;

    fn lock(stack: &str, images: &[(&str, &str)]) -> Lock {
        let artifact = |(reference, content): &(&str, &str)| Artifact {
            digest: Some(Digest::of(content.as_bytes())),
            size: 1,
            bytes: 1,
            ..Artifact::new(Kind::Image, reference.parse().unwrap())
        };
        let artifacts = images.iter().map(artifact).collect();
        Lock { artifacts, ..Lock::new(stack) }
    }

    fn find<'a>(names: &'a Names, repository: &str, ns: Option<&str>) -> Option<&'a Offered> {
        names.find(&Asked { repository: repository.to_owned(), ns: ns.map(str::to_owned) })
    }

    #[test]
    fn a_repository_answers_to_all_its_names() {
        let names = Names::new(&[lock("a", &[("quay.io/org/app:1", "one"), ("nginx:1", "two")])]);
        assert!(find(&names, "quay.io/org/app", None).is_some());
        assert!(find(&names, "org/app", Some("quay.io")).is_some());
        assert!(find(&names, "org/app", None).is_some());
        assert!(find(&names, "library/nginx", Some("docker.io")).is_some());
        assert!(find(&names, "docker.io/library/nginx", None).is_some());
        assert!(find(&names, "quay.io/org/app", Some("registry.internal:5000")).is_some());
        assert!(find(&names, "org/app", Some("ghcr.io")).is_none());
        assert!(find(&names, "org/other", None).is_none());
    }

    #[test]
    fn a_bare_name_that_two_hosts_have_is_not_guessed() {
        let names =
            Names::new(&[lock("a", &[("quay.io/org/app:1", "one"), ("ghcr.io/org/app:1", "two")])]);
        assert!(find(&names, "org/app", None).is_none());
        assert!(find(&names, "ghcr.io/org/app", None).is_some());
    }

    #[test]
    fn the_first_stack_by_name_has_a_tag_that_two_pin_and_both_digests_answer() {
        let names = Names::new(&[
            lock("b", &[("quay.io/org/app:1", "of b")]),
            lock("a", &[("quay.io/org/app:1", "of a")]),
        ]);
        let offered = find(&names, "quay.io/org/app", None).unwrap();
        assert_eq!(offered.tags["1"], Digest::of(b"of a"));
        assert!(offered.manifests.contains_key(&Digest::of(b"of b")));
    }
}
