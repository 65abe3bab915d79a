//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use std::io::Cursor;
use std::path::Path;

use airlift_catalog::{Reader, Wanted};
use airlift_spec::{Manifest, Reference};

use crate::catalogs::look;
use crate::layer::{Member, each_member};
use crate::local::archive::{self, Found};
use crate::local::{Place, choose, entries, names};

/// A `docker save` archive: what is found lies within it, is what its digest says, and is found again.
pub fn docker_archive(data: &[u8]) {
    let Some(found) = read(data) else { return };
    let manifest = Manifest::parse(&found.manifest, Some(&found.root.media_type));
    let manifest = manifest.expect("what we write we read");
    assert!(found.root.digest.matches(&found.manifest));
    for blob in manifest.links() {
        let place = found.places[&blob.digest];
        let bytes = cut_out(data, place).expect("it lies within the archive");
        assert!(blob.digest.matches(bytes));
        assert_eq!(blob.size, place.size);
    }
    let again = read(data).expect("it was read before");
    assert_eq!((again.root, again.manifest), (found.root, found.manifest));
}

fn read(data: &[u8]) -> Option<Found> {
    let reference: Reference = "my.lab/app:1".parse().expect("a reference");
    archive::understand(Path::new("app.tar"), &mut Cursor::new(data), &reference).ok()
}

fn cut_out(data: &[u8], Place { offset, size }: Place) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    data.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

/// The `index.json` of an OCI layout: the image that is meant is one that it lists.
pub fn oci_layout(data: &[u8]) {
    let path = Path::new("index.json");
    let Ok(listed) = entries(path, data) else { return };
    for name in [None, Some("v1"), Some("")] {
        if let Ok(root) = choose(path, &listed, name) {
            assert!(listed.contains(&root));
        }
    }
    names(&listed);
}

/// The layer of a catalog's image: its members are the same whether they are read or passed over, and what was read
/// is read again.
pub fn catalog_layer(data: &[u8]) {
    let mut passed = Vec::new();
    let is_whole = members(data, |member| passed.push(member.path_bytes().into_owned()));
    let mut read = Vec::new();
    let mut reader = Reader::new(Wanted::All);
    let is_read = members(data, |member| {
        read.push(member.path_bytes().into_owned());
        look(member, "configs", &Wanted::All, &mut reader);
    });
    assert_eq!((is_read, &read), (is_whole, &passed));
    let Ok(catalog) = reader.finish() else { return };
    let mut reader = Reader::new(Wanted::All);
    for (path, text) in airlift_catalog::write(&catalog) {
        reader.file(&path, text.as_slice());
    }
    let again = reader.finish().expect("what we write we read");
    assert_eq!(
        again.packages.keys().collect::<Vec<_>>(),
        catalog.packages.keys().collect::<Vec<_>>()
    );
}

/// Whether all members went by.
fn members(data: &[u8], mut show: impl FnMut(&mut Member<'_>)) -> bool {
    let shown = each_member(Cursor::new(data.to_vec()), |member| {
        show(member);
        Ok(())
    });
    shown.is_ok()
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_bytes_are_an_archive_whose_members_lie_within_it_or_are_refused() {
        check("docker_archive", super::docker_archive);
    }

    #[test]
    fn any_bytes_are_a_layer_that_reads_the_same_twice_or_are_refused() {
        check("catalog_layer", super::catalog_layer);
    }

    #[test]
    fn any_bytes_are_a_layout_that_lists_what_is_meant_or_are_refused() {
        check("oci_layout", super::oci_layout);
    }
}
