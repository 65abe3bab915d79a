//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use serde_json::Value;

use crate::version::Bounds;
use airlift_spec::stack::{Rules, Selection};

use crate::{Catalog, Document, Range, ReadError, Wanted, filter, read, validate, write};

/// A file of a catalog: skipping finds what parsing finds, and what is written is read as the same thing.
pub fn catalog(data: &[u8]) {
    let Ok(all) = documents(data, &Wanted::All) else { return };
    for package in ["thing", "other"] {
        let of = |document: &&Document| document.package.is_empty() || document.package == package;
        let expected: Vec<&Value> = all.iter().filter(of).map(|document| &document.value).collect();
        let found =
            documents(data, &Wanted::packages([package])).expect("fewer documents are wanted");
        assert_eq!(found.iter().map(|document| &document.value).collect::<Vec<_>>(), expected);
    }
    let Ok(catalog) = Catalog::from_documents(all) else { return };
    validate(&catalog);
    for mode in [Rules::Own, Rules::OcMirror] {
        if let Ok(filtered) = filter(&catalog, &Selection::default(), mode) {
            let _ = validate(&catalog.clone().keep(&filtered.choice));
        }
    }
    for (path, bytes) in write(&catalog) {
        assert!(!path.contains("..") && !path.starts_with('/'), "{path}");
        let again = documents(&bytes, &Wanted::All).expect("what is written is a catalog");
        assert_eq!(again.len(), memchr::memchr_iter(b'\n', &bytes).count());
    }
}

fn documents(data: &[u8], wanted: &Wanted) -> Result<Vec<Document>, ReadError> {
    let mut found = Vec::new();
    let mut each = |document| {
        found.push(document);
        Ok(())
    };
    read::documents("fuzz", data, wanted, &mut each)?;
    Ok(found)
}

/// Ranges and bounds: what is read prints as what is read as the same thing.
pub fn catalog_range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(range) = text.parse::<Range>() {
        assert_eq!(range.to_string().parse::<Range>().expect("it was read once"), range);
    }
    if let Ok(Some(bounds)) = Bounds::new(Some(text), Some(text)) {
        let version = bounds.exact().expect("both are written alike");
        assert!(bounds.has(version), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_bytes_are_a_catalog_that_is_written_the_same_again_or_are_refused() {
        check("catalog", super::catalog);
    }

    #[test]
    fn any_bytes_are_a_range_that_prints_as_itself_or_are_refused() {
        check("catalog_range", super::catalog_range);
    }
}
