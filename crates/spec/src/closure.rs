//! What an artifact reaches: the manifests and blobs that must be there for it to be whole.
//!
//! The walk is pure: where a manifest's bytes come from is the caller's business. Manifests are untrusted, so
//! each digest is walked once (a cycle ends by itself), nesting is bounded by [`MAX_DEPTH`], what is found by
//! [`MAX_LINKS`], what is larger than any manifest is not asked for, and what cannot be read is reported instead of
//! ending the walk.

use std::collections::{BTreeSet, HashSet, VecDeque};

use crate::digest::Digest;
use crate::oci::{Descriptor, MAX_MANIFEST_BYTES, Manifest};

/// How deep indexes may nest. Real ones nest twice at most.
pub const MAX_DEPTH: usize = 16;

/// How much one artifact may reach: a few hundred megabytes of descriptors, and more than one manifest can name.
pub const MAX_LINKS: usize = 1 << 18;

/// What an artifact reaches. No digest stands in it twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closure {
    /// Manifests and indexes, the root first, in order of first mention; those that could not be read included.
    pub manifests: Vec<Descriptor>,
    /// Other blobs, in order of first mention.
    pub blobs: Vec<Descriptor>,
    /// Manifests that `read` did not have: what they lead to is unknown.
    pub missing: Vec<Descriptor>,
    /// Manifests that are there but cannot be understood: what they lead to is unknown.
    pub unreadable: Vec<Unreadable>,
}

/// A manifest that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub manifest: Descriptor,
    pub reason: String,
}

impl Closure {
    /// Everything the artifact reaches, manifests first.
    pub fn all(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().chain(&self.blobs)
    }

    /// Whether every manifest on the way was there and understood.
    pub fn is_known(&self) -> bool {
        self.missing.is_empty() && self.unreadable.is_empty()
    }
}

/// Walks everything that `manifest` reaches; `read` gives a manifest's bytes, or none where it lacks them.
///
/// Children in `left_out` are neither followed nor listed. A manifest's subject is not part of it. An entry of
/// an index whose media type is no manifest's is a plain blob; a blob that is also a manifest stands with the
/// manifests.
///
/// # Errors
///
/// Only what `read` fails with.
pub fn closure<E>(
    manifest: &Descriptor,
    left_out: &BTreeSet<Digest>,
    mut read: impl FnMut(&Descriptor) -> Result<Option<Vec<u8>>, E>,
) -> Result<Closure, E> {
    let mut walk = Walk::default();
    walk.meet(manifest.clone(), 0);
    while let Some((next, depth)) = walk.ahead.pop_front() {
        walk.closure.manifests.push(next.clone());
        if let Err(reason) = admit(&next, depth) {
            walk.closure.unreadable.push(Unreadable { manifest: next, reason });
            continue;
        }
        let Some(bytes) = read(&next)? else {
            walk.closure.missing.push(next);
            continue;
        };
        match Manifest::parse(&bytes, Some(&next.media_type)) {
            Ok(parsed) if walk.has_room_for(&parsed) => walk.follow(parsed, depth, left_out),
            Ok(_) => {
                let reason =
                    format!("with it the artifact would lead to more than {MAX_LINKS} things");
                walk.closure.unreadable.push(Unreadable { manifest: next, reason });
            }
            Err(err) => {
                let reason = crate::error::chain(&err);
                walk.closure.unreadable.push(Unreadable { manifest: next, reason });
            }
        }
    }
    Ok(walk.finish())
}

fn admit(manifest: &Descriptor, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("it is nested more than {MAX_DEPTH} levels deep"));
    }
    if manifest.size > MAX_MANIFEST_BYTES {
        return Err(format!("it is {} bytes long, more than any manifest", manifest.size));
    }
    Ok(())
}

#[derive(Default)]
struct Walk {
    closure: Closure,
    ahead: VecDeque<(Descriptor, usize)>,
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Walk {
    fn meet(&mut self, manifest: Descriptor, depth: usize) {
        if self.manifests.insert(manifest.digest) {
            self.ahead.push_back((manifest, depth));
        }
    }

    fn has_room_for(&self, manifest: &Manifest) -> bool {
        self.manifests.len() + self.blobs.len() + manifest.links().count() <= MAX_LINKS
    }

    fn follow(&mut self, manifest: Manifest, depth: usize, left_out: &BTreeSet<Digest>) {
        for blob in manifest.blobs {
            self.note(blob);
        }
        for child in manifest.manifests {
            if left_out.contains(&child.digest) {
                continue;
            }
            if child.is_manifest() {
                self.meet(child, depth + 1);
            } else {
                self.note(child);
            }
        }
    }

    fn note(&mut self, blob: Descriptor) {
        if self.blobs.insert(blob.digest) {
            self.closure.blobs.push(blob);
        }
    }

    /// A manifest may have been met as a blob before it was met as a manifest.
    fn finish(mut self) -> Closure {
        self.closure.blobs.retain(|blob| !self.manifests.contains(&blob.digest));
        self.closure
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::fmt::Write as _;

    use super::*;
    use crate::oci::media_type::{OCI_INDEX, OCI_LAYER, OCI_MANIFEST};

    #[derive(Default)]
    struct Shelf(BTreeMap<Digest, Vec<u8>>);

    impl Shelf {
        fn put(&mut self, media_type: &str, text: String) -> Descriptor {
            let bytes = text.into_bytes();
            let descriptor =
                Descriptor::new(media_type, Digest::of(&bytes), bytes.len().try_into().unwrap());
            self.0.insert(descriptor.digest, bytes);
            descriptor
        }

        fn image(&mut self, layers: &[&Descriptor]) -> Descriptor {
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","layers":{}}}"#,
                serde_json::to_string(layers).unwrap()
            );
            self.put(OCI_MANIFEST, text)
        }

        fn index(&mut self, children: &[&Descriptor]) -> Descriptor {
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":{}}}"#,
                serde_json::to_string(children).unwrap()
            );
            self.put(OCI_INDEX, text)
        }

        fn closure(&self, root: &Descriptor, left_out: &[&Descriptor]) -> Closure {
            let left_out = left_out.iter().map(|child| child.digest).collect();
            let read =
                |wanted: &Descriptor| Ok::<_, Infallible>(self.0.get(&wanted.digest).cloned());
            closure(root, &left_out, read).unwrap()
        }
    }

    fn layer(fill: u8) -> Descriptor {
        Descriptor::new(OCI_LAYER, Digest::of(&[fill]), 1)
    }

    #[test]
    fn what_two_children_share_stands_once_and_the_root_stands_first() {
        let mut shelf = Shelf::default();
        let one = shelf.image(&[&layer(1), &layer(2)]);
        let two = shelf.image(&[&layer(2), &layer(3), &layer(3)]);
        let root = shelf.index(&[&one, &two, &one]);
        let closure = shelf.closure(&root, &[]);
        assert_eq!(closure.manifests, [root, one, two]);
        assert_eq!(closure.blobs, [layer(1), layer(2), layer(3)]);
        assert!(closure.is_known());
    }

    #[test]
    fn children_that_were_left_out_are_not_followed() {
        let mut shelf = Shelf::default();
        let one = shelf.image(&[&layer(1)]);
        let two = shelf.image(&[&layer(2)]);
        let root = shelf.index(&[&one, &two]);
        let closure = shelf.closure(&root, &[&two]);
        assert_eq!(closure.manifests, [root, one]);
        assert_eq!(closure.blobs, [layer(1)]);
    }

    #[test]
    fn a_missing_manifest_is_named_and_the_rest_is_walked() {
        let mut shelf = Shelf::default();
        let one = shelf.image(&[&layer(1)]);
        let lost = Descriptor::new(OCI_MANIFEST, Digest::of(b"lost"), 4);
        let root = shelf.index(&[&lost, &one]);
        let closure = shelf.closure(&root, &[]);
        assert_eq!(closure.missing, [lost]);
        assert_eq!(closure.blobs, [layer(1)]);
        assert!(!closure.is_known());
    }

    #[test]
    fn a_manifest_that_is_also_a_layer_stands_with_the_manifests_only() {
        let mut shelf = Shelf::default();
        let inner = shelf.image(&[&layer(1)]);
        let outer = shelf.image(&[&inner, &layer(2)]);
        // Once the layer is met first, once the manifest.
        for children in [[&outer, &inner], [&inner, &outer]] {
            let root = shelf.index(&children);
            let closure = shelf.closure(&root, &[]);
            assert!(closure.manifests.contains(&inner));
            assert!(!closure.blobs.iter().any(|blob| blob.digest == inner.digest));
            assert_eq!(closure.all().count(), 5);
        }
    }

    #[test]
    fn an_index_entry_that_is_no_manifest_is_a_blob() {
        let mut shelf = Shelf::default();
        let root = shelf.index(&[&layer(9)]);
        let closure = shelf.closure(&root, &[]);
        assert_eq!(closure.blobs, [layer(9)]);
        assert!(closure.is_known());
    }

    #[test]
    fn a_reader_that_goes_in_circles_does_not_trap_the_walk() {
        let a = Descriptor::new(OCI_INDEX, Digest::of(b"a"), 10);
        let b = Descriptor::new(OCI_INDEX, Digest::of(b"b"), 10);
        let read = |wanted: &Descriptor| {
            let other = if wanted.digest == a.digest { &b } else { &a };
            let text = serde_json::to_string(&[other, other]).unwrap();
            Ok::<_, Infallible>(Some(format!(r#"{{"manifests":{text}}}"#).into_bytes()))
        };
        let closure = closure(&a, &BTreeSet::new(), read).unwrap();
        assert_eq!(closure.manifests, [a, b]);
    }

    #[test]
    fn nesting_without_end_is_cut_and_named() {
        let mut made = 0_u64;
        let read = |_: &Descriptor| {
            made += 1;
            let child = Descriptor::new(OCI_INDEX, Digest::of(&made.to_le_bytes()), 10);
            let mut text = String::new();
            write!(text, r#"{{"manifests":[{}]}}"#, serde_json::to_string(&child).unwrap())
                .unwrap();
            Ok::<_, Infallible>(Some(text.into_bytes()))
        };
        let root = Descriptor::new(OCI_INDEX, Digest::of(b"root"), 10);
        let closure = closure(&root, &BTreeSet::new(), read).unwrap();
        assert_eq!(closure.manifests.len(), MAX_DEPTH + 2);
        assert_eq!(closure.unreadable.len(), 1);
    }

    #[test]
    fn an_artifact_that_leads_to_too_much_is_cut_and_named() {
        let wide = |seed: usize| {
            let links = (0..30_000)
                .map(|at| format!(r#"{{"digest":"sha256:{seed:032x}{at:032x}","size":1}}"#));
            let links: Vec<String> = links.collect();
            format!(r#"{{"manifests":[{}]}}"#, links.join(",")).into_bytes()
        };
        let mut made = 0;
        let read = |_: &Descriptor| {
            made += 1;
            Ok::<_, Infallible>((made <= 9).then(|| wide(made)))
        };
        let root = Descriptor::new(OCI_INDEX, Digest::of(b"root"), 10);
        let closure = closure(&root, &BTreeSet::new(), read).unwrap();
        assert_eq!(closure.manifests.len(), 1 + 8 * 30_000);
        assert_eq!(closure.unreadable.len(), 1);
    }

    #[test]
    fn what_is_no_manifest_is_named_and_what_is_too_large_is_not_asked_for() {
        let mut shelf = Shelf::default();
        let broken = shelf.put(OCI_MANIFEST, "{".to_owned());
        let huge = Descriptor::new(OCI_MANIFEST, Digest::of(b"huge"), MAX_MANIFEST_BYTES + 1);
        let root = shelf.index(&[&broken, &huge]);
        let closure = shelf.closure(&root, &[]);
        let named: Vec<_> = closure.unreadable.iter().map(|it| it.manifest.digest).collect();
        assert_eq!(named, [broken.digest, huge.digest]);
        assert!(closure.missing.is_empty());
    }
}
