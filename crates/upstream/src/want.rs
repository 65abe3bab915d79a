//! What is to be pinned: what the sources name, and what was found in them.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::lock::{Artifact, Because, Kind};
use airlift_spec::stack::{Exclude, ImageSource, Origin, Stack, excluded_by};
use airlift_spec::{Finding, Platforms, Reference};

use crate::find::Discovery;

/// One thing to pin.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) kind: Kind,
    pub(crate) reference: Reference,
    /// Name and version of a bundle or chart; empty for an image.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) platforms: Platforms,
    pub(crate) because: Vec<Because>,
    /// Its names in a mirror, where these are not its own.
    pub(crate) mirrored_as: BTreeSet<Reference>,
    /// What signs it, where that is no manifest.
    pub(crate) signature: Vec<u8>,
    /// The entry of the stack that names it, if one does.
    pub(crate) source: Option<ImageSource>,
}

impl Want {
    pub(crate) fn image(reference: Reference, platforms: Platforms) -> Self {
        Self {
            kind: Kind::Image,
            reference,
            name: String::new(),
            version: String::new(),
            platforms,
            because: Vec::new(),
            mirrored_as: BTreeSet::new(),
            signature: Vec::new(),
            source: None,
        }
    }

    fn of(source: &ImageSource, stack: &Stack) -> Self {
        Self {
            because: source.because(),
            mirrored_as: source.mirrored_as.clone(),
            source: Some(source.clone()),
            ..Self::image(source.reference.clone(), source.platforms(stack).clone())
        }
    }

    /// The origin as the lock writes it; none where that is the registry that the reference names.
    pub(crate) fn written_origin(&self) -> Option<String> {
        self.source.as_ref().and_then(ImageSource::from_text)
    }

    pub(crate) fn origin(&self) -> &Origin {
        self.source.as_ref().map_or(&Origin::Registry, |source| &source.origin)
    }

    /// The artifact as the lock has it while nothing pins it.
    pub(crate) fn unpinned(&self) -> Artifact {
        let mut artifact = Artifact::new(self.kind, self.reference.clone());
        self.label(&mut artifact);
        artifact
    }

    /// Says on an artifact what this knows of it beside its pin.
    pub(crate) fn label(&self, artifact: &mut Artifact) {
        artifact.kind = self.kind;
        artifact.name.clone_from(&self.name);
        artifact.version.clone_from(&self.version);
        artifact.because.clone_from(&self.because);
        artifact.mirrored_as.clone_from(&self.mirrored_as);
        artifact.signature.clone_from(&self.signature);
        artifact.from = self.written_origin();
    }

    /// The same thing wanted twice, for all the reasons of both.
    fn join(&mut self, other: Self) {
        if other.kind != Kind::Image {
            (self.kind, self.name, self.version) = (other.kind, other.name, other.version);
        }
        // Who knows of no other name asks for it under its own.
        if self.mirrored_as.is_empty() != other.mirrored_as.is_empty() {
            self.mirrored_as.insert(self.reference.clone());
        }
        self.mirrored_as.extend(other.mirrored_as);
        if self.signature.is_empty() {
            self.signature = other.signature;
        }
        self.platforms = std::mem::take(&mut self.platforms).and(&other.platforms);
        self.because.extend(other.because);
        self.because.sort();
        self.because.dedup();
        self.source = self.source.take().or(other.source);
    }
}

/// All that is to be pinned, each once; and which images of the stack's own `exclude:` took out.
pub(crate) fn wants(stack: &Stack, discoveries: &mut [Discovery]) -> (Vec<Want>, Vec<Finding>) {
    let mut wants: BTreeMap<Reference, Want> = BTreeMap::new();
    let (mut named, mut findings) = (Vec::new(), Vec::new());
    for source in &stack.images {
        let mut want = Want::of(source, stack);
        match excluded_by(&stack.exclude, &want.reference, &mut want.mirrored_as) {
            Some(rule) => findings.push(rule.finding(&want.reference)),
            None => named.push(want),
        }
    }
    let found = discoveries.iter_mut().flat_map(|discovery| {
        leave_out(&stack.exclude, discovery);
        std::mem::take(&mut discovery.wants)
    });
    for want in named.into_iter().chain(found) {
        match wants.entry(want.reference.clone()) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(want);
            }
            std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().join(want),
        }
    }
    (wants.into_values().collect(), findings)
}

/// Takes out of what a source found, or had made, what a rule excludes.
///
/// What hung on it hangs on what it hung on itself then: the lock has no reasons that lead to nothing. What is said of it
/// belongs to the source, and stays while that stands.
fn leave_out(rules: &[Exclude], discovery: &mut Discovery) {
    let mut gone: BTreeMap<String, Vec<Because>> = BTreeMap::new();
    let mut said = Vec::new();
    let mut stays =
        |reference: &Reference, names: &mut BTreeSet<Reference>, because: &[Because]| {
            let Some(rule) = excluded_by(rules, reference, names) else { return true };
            said.push(rule.finding(reference));
            gone.insert(reference.to_string(), because.to_vec());
            false
        };
    discovery.wants.retain_mut(|want| stays(&want.reference, &mut want.mirrored_as, &want.because));
    discovery.made.retain_mut(|made| stays(&made.reference, &mut made.mirrored_as, &made.because));
    let wants = discovery.wants.iter_mut().map(|want| &mut want.because);
    let made = discovery.made.iter_mut().map(|made| &mut made.because);
    for because in wants.chain(made) {
        let lifted = because.drain(..).flat_map(|it| lifted(it, &gone));
        *because = lifted.collect();
    }
    let key = discovery.source.as_ref().map(|(key, _)| key);
    discovery.findings.extend(said.into_iter().map(|finding| match key {
        Some(key) => finding.of(key),
        None => finding,
    }));
}

/// A reason that leads to something that is gone, as reasons that lead to what that hung on.
fn lifted(because: Because, gone: &BTreeMap<String, Vec<Because>>) -> Vec<Because> {
    let (mut open, mut lifted, mut seen) = (vec![because], Vec::new(), BTreeSet::new());
    while let Some(because) = open.pop() {
        let Some(parents) = gone.get(&because.from) else {
            lifted.push(because);
            continue;
        };
        // Two that require each other may both be gone.
        if seen.insert(because.from.clone()) {
            let path = format!("{}: {}", because.from, because.path);
            let through = |parent: &Because| Because { path: path.clone(), ..parent.clone() };
            let evidence = because.evidence;
            open.extend(parents.iter().map(|it| Because { evidence, ..through(it) }));
        }
    }
    lifted.sort();
    lifted.dedup();
    lifted
}
