//! OLM's file-based catalogs as values: read, filtered, completed, checked, and written again. No network.
//!
//! [`read`] makes a [`Catalog`] of a folder or of named streams.

pub mod bundle;
pub mod catalog;
pub mod document;
pub mod read;

pub use bundle::{Gvk, ManifestError, RelatedImage};
pub use catalog::{Bundle, Catalog, Channel, Entry, Package};
pub use document::Document;
pub use read::{ReadError, Reader, Wanted};
