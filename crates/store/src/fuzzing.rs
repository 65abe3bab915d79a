//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use std::path::{Component, Path};

use airlift_spec::reference::is_repository;

use crate::pieces::Pieces;
use crate::pushed::{PushedWire, path_of, repository_of};
use crate::roots::{RootWire, is_stack_name, parse_json};
use crate::upload::algorithm_of;
use crate::{Pushed, Root};

/// A `.pieces` file: what it says is there lies within the blob, is written the same again, and with the gaps makes up
/// the blob.
pub fn pieces(data: &[u8]) {
    let claimed = serde_json::from_slice::<serde_json::Value>(data).ok();
    let size = claimed.and_then(|text| text["size"].as_u64()).unwrap_or_default();
    let pieces = Pieces::from_file(data, size);
    assert_eq!(Pieces::from_file(&pieces.to_file(size), size), pieces);
    assert!(pieces.end() <= size);
    let mut whole = pieces.clone();
    for gap in pieces.gaps(size) {
        assert!(gap.start < gap.end && gap.end <= size, "{gap:?} of {size}");
        assert!(!pieces.covers(&gap), "{gap:?} is there");
        whole.insert(gap);
    }
    assert!(whole.gaps(size).is_empty() && whole.covers(&(0..size)));
}

/// The files under `roots/`, and the names that become paths there.
pub fn store_root(data: &[u8]) {
    let path = Path::new("root.json");
    if let Ok(wire) = parse_json::<RootWire>(path, data) {
        let root = Root::from(wire);
        let text = serde_json::to_vec(&RootWire::from(&root)).expect("a root is JSON");
        let again = parse_json::<RootWire>(path, &text).expect("what we write we read");
        assert_eq!(Root::from(again), root);
    }
    if let Ok(wire) = parse_json::<PushedWire>(path, data) {
        let pushed = Pushed::from(wire);
        let text = serde_json::to_vec(&PushedWire::new("a", &pushed)).expect("a root is JSON");
        let again = parse_json::<PushedWire>(path, &text).expect("what we write we read");
        assert_eq!(Pushed::from(again), pushed);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        names_stay_in_their_folder(text);
    }
}

fn names_stay_in_their_folder(text: &str) {
    let is_one_word = |text: &str| {
        let words: Vec<Component> = Path::new(text).components().collect();
        matches!(words[..], [Component::Normal(word)] if word == text)
    };
    assert!(!is_stack_name(text) || is_one_word(text), "{text:?}");
    assert!(algorithm_of(text).is_none() || is_one_word(text), "{text:?}");
    let folder = Path::new("/pushed");
    if let Some(path) = path_of(text) {
        assert!(path.components().all(|word| matches!(word, Component::Normal(_))), "{text:?}");
        assert_eq!(repository_of(folder, &folder.join(path)).as_deref(), Some(text));
    } else {
        assert!(!is_repository(text) || text.split('/').any(|word| word.len() > 250), "{text:?}");
    }
    if let Some(repository) = repository_of(folder, &folder.join(text)) {
        assert_eq!(path_of(&repository).map(|path| folder.join(path)), Some(folder.join(text)));
    }
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_bytes_are_notes_on_pieces_within_the_blob_or_say_that_nothing_is_there() {
        check("pieces", super::pieces);
    }

    #[test]
    fn any_bytes_are_a_root_that_is_written_the_same_again_or_are_refused() {
        check("store_root", super::store_root);
    }
}
