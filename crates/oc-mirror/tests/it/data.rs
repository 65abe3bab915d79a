//! Real inputs, which lie beside the checkout and are no part of it.

use std::path::Path;

pub(crate) use airlift_testkit::data;

pub(crate) fn text(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}
