//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use std::io::Cursor;
use std::path::Path;

use airlift_spec::{Manifest, Reference};

use super::archive::{self, Found};
use super::{Place, choose, entries, names};

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

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_bytes_are_an_archive_whose_members_lie_within_it_or_are_refused() {
        check("docker_archive", super::docker_archive);
    }

    #[test]
    fn any_bytes_are_a_layout_that_lists_what_is_meant_or_are_refused() {
        check("oci_layout", super::oci_layout);
    }
}
