//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path};

use airlift_spec::{Descriptor, Digest, Reference};

use crate::load::attach::{entries, merge};
use crate::receipt::Receipt;
use crate::root::{
    CHUNK_BYTES, Member, Root, Sums, Table, is_bundle_name, max_sums_bytes, member_name,
};
use crate::tar::{self, MARKER_BYTES};
use crate::trust::{SigningKey, TrustRoots};

/// `NAME.bundle.json`: names are safe as files, everything it counts is there, and it is written the same again.
pub fn bundle_root(data: &[u8]) {
    let Ok(root) = Root::parse(data) else { return };
    assert!(is_bundle_name(&root.name), "{}", root.name);
    for file in [root.file_name(), root.table_file(), root.volume_file(0), root.sums_file(99_999)] {
        is_one_word(&file);
    }
    let ordinals = root.ordinals();
    let needed = root.artifacts.iter().flat_map(|artifact| &artifact.volumes);
    assert!(needed.copied().all(|ordinal| ordinals.contains(&ordinal)));
    assert!(root.volumes.iter().try_fold(0_u64, |sum, size| sum.checked_add(*size)).is_some());
    assert!(root.left_out.iter().all(|blob| root.left_out(&blob.digest) == Some(blob)));
    let bytes = root.to_bytes();
    let again = Root::parse(&bytes).expect("what we write we read");
    assert_eq!(again, root);
    assert_eq!(again.to_bytes(), bytes);
}

fn is_one_word(name: &str) {
    let words: Vec<Component> = Path::new(name).components().collect();
    assert!(matches!(words[..], [Component::Normal(word)] if word == name), "{name:?}");
}

/// `NAME.blobs`, with its root and a NUL before it: no member leaves the folder, no two lie on one place, and it is
/// written the same again.
pub fn bundle_table(data: &[u8]) {
    let Some(at) = data.iter().position(|byte| *byte == 0) else { return };
    let Ok(root) = Root::parse(&data[..at]) else { return };
    let Ok(table) = Table::parse(&data[at + 1..], &root) else { return };
    let mut names = HashSet::new();
    let mut ends: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    for member in table.members() {
        assert!(table.find(&member.digest).is_some_and(|found| found.digest == member.digest));
        for (part, piece) in member.pieces.iter().enumerate() {
            let name = member_name(member, part);
            is_inside(&name);
            assert!(names.insert((piece.volume, name.clone())), "{name} stands twice");
            let before = tar::header_len(&name, piece.length);
            assert_eq!(before, tar::header(&name, piece.length).len() as u64);
            ends.entry(piece.volume).or_default().push((piece.offset - before, piece.end()));
        }
        is_whole(member);
    }
    for (volume, mut places) in ends {
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "members overlap");
        assert!(places.iter().all(|(_, end)| *end <= root.volumes[volume as usize]));
    }
    let bytes = table.to_bytes();
    let again = Table::parse(&bytes, &root).expect("what we write we read");
    assert_eq!(again, table);
    assert_eq!(again.to_bytes(), bytes);
}

fn is_inside(name: &str) {
    let is_plain = |word| matches!(word, Component::Normal(_));
    assert!(Path::new(name).components().all(is_plain), "{name:?}");
    assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
}

fn is_whole(member: &Member) {
    let total: u64 = member.pieces.iter().map(|piece| piece.length).sum();
    assert_eq!(total, member.size);
}

/// The start of a volume, and its sums: only what we would have written ourselves counts.
pub fn bundle_volume(data: &[u8]) {
    let start = &data[..data.len().min(MARKER_BYTES)];
    if let Some(marked) = tar::read_marker(start) {
        assert!(is_bundle_name(&marked.bundle), "{}", marked.bundle);
        let bytes = tar::marker(&marked.bundle, &marked.root, marked.ordinal);
        assert_eq!(bytes.len() as u64, tar::marker_len(&marked.bundle));
        assert!(start.starts_with(&bytes));
    }
    // Sums must be about a volume that the root names: here, the one that they claim to be about.
    let Ok(claimed) = serde_json::from_slice::<Sums>(data) else { return };
    let Sums { root, volume, size, .. } = claimed;
    if let Ok(sums) = Sums::parse(data, &root, volume, size) {
        assert_eq!(sums.sha256.len() as u64, size.div_ceil(CHUNK_BYTES));
        assert!(sums.to_bytes().len() as u64 <= max_sums_bytes(size));
        let bytes = sums.to_bytes();
        assert_eq!(Sums::parse(&bytes, &root, volume, size).expect("what we write we read"), sums);
        assert!(Sums::parse(data, &Digest::of(b"another"), volume, size).is_err());
    }
}

/// Signatures and keys: nothing vouches for bytes but the signature that was made of them.
pub fn signature(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let ours = SigningKey::new([1; 8], [1; 32]);
    let trusted = TrustRoots::parse(&[("ours".to_owned(), ours.public_text())]);
    let trusted = trusted.expect("a key of ours");
    let file = Path::new("file");
    let is_good = |bytes: &[u8]| trusted.check_one(file, bytes, text).is_ok_and(|good| good);
    // The seeds hold a good signature on `signed`.
    assert!(!is_good(b"other"), "{text:?}");
    // What is a key of somebody else's does not vouch for what ours signed.
    if let Ok(strangers) = TrustRoots::parse(&[("theirs".to_owned(), text.to_owned())]) {
        let made = ours.sign(b"signed", &Digest::of(b"root"));
        // The first letters name the algorithm, of which minisign knows two for the same key.
        let key = ours.public_text();
        let is_ours = text.contains(&key.lines().nth(1).unwrap_or_default()[4..]);
        let vouched = strangers.check_one(file, b"signed", &made).is_ok_and(|good| good);
        assert!(!vouched || is_ours, "{text:?}");
    }
    if let Ok(key) = SigningKey::parse("key", text) {
        let again = SigningKey::parse("key", &key.secret_text()).expect("what we write we read");
        assert_eq!(again.public_text(), key.public_text());
        assert!(!format!("{key:?}").contains(key.secret_text().lines().nth(1).unwrap_or_default()));
    }
}

/// A receipt: repositories are canonical, it is written the same again, and adding it to itself adds nothing.
pub fn receipt(data: &[u8]) {
    let Ok(receipt) = Receipt::parse(data) else { return };
    for repository in receipt.manifests.keys().chain(receipt.tags.keys()) {
        let name = format!("{repository}:x").parse::<Reference>().map(|name| name.repository());
        assert_eq!(name.as_ref(), Ok(repository));
    }
    let text = receipt.to_text();
    let again = Receipt::parse(text.as_bytes()).expect("what we write we read");
    assert_eq!(again.to_text(), text);
    assert_eq!(again, receipt);
    assert_eq!(again.merged_with(&receipt), receipt);
    receipt.claims("mirror/quay.io/org/app", "1");
}

/// What stands under the fallback tag of a registry: what it lists stays, ours is added once.
pub fn referrers_index(data: &[u8]) {
    let ours =
        [Descriptor::new("application/vnd.oci.image.manifest.v1+json", Digest::of(b"ours"), 4)];
    let Ok(Some(merged)) = merge(Some(data), &ours) else { return };
    let (before, after) = (entries(data), entries(&merged));
    assert!(before.is_subset(&after) && after.contains(&ours[0].digest));
    assert_eq!(after.len(), before.len() + 1);
    let again = merge(Some(&merged), &ours).expect("what we write we read");
    assert!(again.is_none(), "it is added twice");
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_bytes_are_an_index_that_keeps_what_it_lists_or_are_refused() {
        check("referrers_index", super::referrers_index);
    }

    #[test]
    fn any_bytes_are_a_root_that_is_written_the_same_again_or_are_refused() {
        check("bundle_root", super::bundle_root);
    }

    #[test]
    fn any_bytes_are_a_table_without_overlap_or_traversal_or_are_refused() {
        check("bundle_table", super::bundle_table);
    }

    #[test]
    fn any_bytes_open_a_volume_as_we_would_have_written_it_or_none() {
        check("bundle_volume", super::bundle_volume);
    }

    #[test]
    fn no_text_vouches_for_bytes_that_were_not_signed() {
        check("signature", super::signature);
    }

    #[test]
    fn any_bytes_are_a_receipt_with_canonical_names_or_are_refused() {
        check("receipt", super::receipt);
    }
}
