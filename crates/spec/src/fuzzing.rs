//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::str::FromStr;

use crate::oci::{cosign_subject, cosign_tags, media_type, referrers_subject, referrers_tag};
use crate::reference::{is_host, is_repository, is_tag};
use crate::{Closure, Descriptor, Digest, Layout, Lock, Manifest, Platform, Reference, stack};

/// Names: references, digests, platforms, tags. What parses prints as a text that parses to itself, and nothing that
/// parses leads out of a folder or moves a cursor.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    prints_as_it_parses::<Digest>(text);
    prints_as_it_parses::<Platform>(text);
    prints_as_it_parses::<Layout>(text);
    if let Some(digest) = referrers_subject(text) {
        assert_eq!(referrers_tag(&digest), text);
    }
    if let Some(digest) = cosign_subject(text) {
        assert!(cosign_tags(&digest).iter().any(|tag| tag == text), "{text}");
    }
    if let Some(reference) = prints_as_it_parses::<Reference>(text) {
        is_safe(&reference);
        is_placed_safely(&reference);
    }
}

fn prints_as_it_parses<T: FromStr + ToString + PartialEq>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let printed = value.to_string();
    assert!(printed.parse::<T>().is_ok_and(|again| again == value), "{text:?} printed {printed:?}");
    Some(value)
}

fn is_safe(reference: &Reference) {
    let printed = reference.to_string();
    assert!(printed.bytes().all(|byte| byte.is_ascii_graphic()), "{printed:?}");
    assert!(is_host(reference.host()), "{printed}");
    assert!(is_repository(reference.path()), "{printed}");
    assert!(reference.path().split('/').all(|word| !word.starts_with('.')), "{printed}");
    assert!(reference.tag().is_none_or(is_tag), "{printed}");
    assert!(reference.tag().is_some() || reference.digest().is_some(), "{printed}");
}

fn is_placed_safely(reference: &Reference) {
    for layout in ["host", "oc-mirror", "flat:1", "flat:3"] {
        let layout: Layout = layout.parse().expect("a layout");
        if let Ok(repository) = layout.place("team/ai", reference) {
            assert!(is_repository(&repository), "{repository}");
            assert!(repository.starts_with("team/ai/"), "{repository}");
        }
    }
}

/// A stack: what parses has names that are safe as files, and says where its sources stand.
pub fn stack(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(stack) = stack::parse(text) else { return };
    assert!(stack::is_name(&stack.name), "{}", stack.name);
    let lines = text.split(['\n', '\r']).count() as u64;
    let mut seen = HashSet::new();
    for source in &stack.images {
        assert!((1..=lines).contains(&source.line), "line {} of {lines}", source.line);
        is_safe(&source.reference);
        assert!(seen.insert(&source.reference), "{} stands twice", source.reference);
        assert!(!source.because().is_empty());
        if let Some(from) = source.from_text() {
            assert_eq!(stack::origin(&from), source.origin);
        }
    }
    assert!(stack.wanted_images().count() <= stack.images.len());
}

/// A lock: what parses is written as a text that parses to the same lock and is written the same again.
pub fn lock(data: &[u8]) {
    let Ok(mut lock) = Lock::parse(data) else { return };
    assert!(stack::is_name(&lock.stack), "{}", lock.stack);
    let text = lock.to_text();
    let again = Lock::parse(text.as_bytes()).expect("what we write we read");
    lock.sort();
    assert_eq!(again, lock);
    assert_eq!(again.to_text(), text);
    assert_eq!(again.digest(), Digest::of(text.as_bytes()));
}

/// Manifests, several with a NUL between them: links are bounded by what was read, platforms read back from a lock, and
/// a walk through all of them ends.
pub fn manifest(data: &[u8]) {
    let texts: Vec<&[u8]> = data.split(|byte| *byte == 0).take(8).collect();
    for text in &texts {
        for outside in [None, Some(media_type::OCI_INDEX), Some("text/plain")] {
            if let Ok(manifest) = Manifest::parse(text, outside) {
                is_bounded(&manifest, text.len());
            }
        }
    }
    walk_ends(&texts);
}

fn is_bounded(manifest: &Manifest, bytes: usize) {
    // A digest alone is longer, and every link has one.
    const LEAST: usize = 64;
    assert!(manifest.links().count() * LEAST <= bytes);
    assert!(!media_type::is_schema1(&manifest.media_type));
    for link in manifest.links().chain(&manifest.subject) {
        let text = serde_json::to_vec(link).expect("a descriptor has only text keys");
        assert_eq!(&serde_json::from_slice::<Descriptor>(&text).expect("it was written"), link);
        if let Some(platform) = link.platform() {
            // It goes into the lock as one word.
            assert_eq!(platform.to_string().parse().as_ref(), Ok(&platform));
        }
    }
}

/// Whatever is asked for, one of `texts` is the answer: a store that lies about every digest.
fn walk_ends(texts: &[&[u8]]) {
    let mut times: BTreeMap<Digest, u32> = BTreeMap::new();
    let mut asked = 0;
    let read = |wanted: &Descriptor| {
        *times.entry(wanted.digest).or_default() += 1;
        // Not always the same one, sometimes none, and none once the walk has seen them all a few times.
        let text = texts.get(asked % (texts.len() + 1)).filter(|_| asked < 32);
        let text = text.map(|text| text.to_vec());
        asked += 1;
        Ok::<_, Infallible>(text)
    };
    let root = Descriptor::new(media_type::OCI_INDEX, Digest::of(b"root"), 1);
    let Ok(closure) = crate::closure(&root, &BTreeSet::new(), read);
    assert!(times.values().all(|times| *times == 1), "a manifest was asked for twice");
    is_a_set(&closure);
    assert!(closure.missing.len() + closure.unreadable.len() <= closure.manifests.len());
    assert!(asked <= closure.manifests.len());
}

fn is_a_set(closure: &Closure) {
    let mut seen = HashSet::new();
    assert!(closure.all().all(|link| seen.insert(link.digest)), "a digest stands twice");
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_text_is_a_name_that_prints_as_it_parses_or_is_refused() {
        check("reference", super::reference);
    }

    #[test]
    fn any_text_is_a_stack_with_safe_names_or_is_refused() {
        check("stack", super::stack);
    }

    #[test]
    fn any_bytes_are_a_lock_that_is_written_the_same_again_or_are_refused() {
        check("lock", super::lock);
    }

    #[test]
    fn any_bytes_are_a_manifest_with_bounded_links_or_are_refused() {
        check("manifest", super::manifest);
    }
}
