//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use airlift_spec::Reference;

use crate::knowledge::{Knowledge, Product};
use crate::mend::mend;
use crate::{Scan, documents, scan, scan_text};

/// Objects: what is found is a reference as it is written, and is found again by a second look; lines are lines of the
/// text, and what is found is bounded by its length.
pub fn objects(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        holds(&scan_text("text", text), data.len());
        if let Some(mended) = mend(text) {
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&mended), words(text), "only spaces are added");
        }
    }
    let Ok(documents) = documents(data) else { return };
    // For YAML, a lone carriage return ends a line, too.
    let lines = data.split(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    for document in documents {
        assert!((1..=lines).contains(&document.line), "line {} of {lines}", document.line);
        assert!(document.remarks.iter().all(|remark| (1..=lines).contains(&remark.line)));
        let found = scan(&document.object);
        holds(&found, document.object.to_string().len());
        assert_eq!(found, scan(&document.object));
    }
}

fn holds(scan: &Scan, bytes: usize) {
    for found in &scan.images {
        assert_eq!(found.image.parse::<Reference>().as_ref(), Ok(&found.reference));
        assert!(!found.path.is_empty());
    }
    assert!(scan.images.len() + scan.doubts.len() <= bytes, "more is found than is written");
}

/// Knowledge: what parses says the same when it is asked twice, and each image has a source and a reason.
pub fn knowledge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(knowledge) = Knowledge::parse("a.yaml", text) else { return };
    let product = Product::Olm("a".to_owned());
    for version in ["1.0.0", "1.1.0-ea.1", "2.0.0"] {
        let version = version.parse().expect("a version");
        let advice = knowledge.about(&product, &version);
        assert_eq!(advice, knowledge.about(&product, &version));
        for known in &advice.images {
            assert_eq!(known.reference.to_string().parse().as_ref(), Ok(&known.reference));
        }
    }
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_bytes_are_objects_whose_images_are_references_or_are_refused() {
        check("objects", super::objects);
    }

    #[test]
    fn any_text_is_knowledge_with_a_source_or_is_refused() {
        check("knowledge", super::knowledge);
    }
}
