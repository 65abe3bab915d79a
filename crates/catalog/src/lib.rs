//! OLM's file-based catalogs as values: read, filtered, completed, checked, and written again. No network.
//!
//! In the order of use: [`read`] makes a [`Catalog`] of a folder or of named streams; [`filter()`] says what of it
//! stays, a [`Choice`] of names; [`depend()`] adds what the chosen bundles require. The images to carry are those of
//! [`Choice::bundles`]. [`Choice::servable`] leaves out what OLM would refuse, [`Catalog::keep`] makes it so,
//! [`validate()`] holds OLM's own rules against the result, and [`write()`] makes files of it.

pub mod bundle;
pub mod catalog;
pub mod choice;
pub mod depend;
pub mod document;
pub mod filter;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod graph;
mod near;
pub mod read;
mod validate;
pub mod version;
mod write;

pub use bundle::{Gvk, ManifestError, RelatedImage};
pub use catalog::{Bundle, Catalog, Channel, Entry, Package};
pub use choice::{Choice, Kept};
pub use depend::{Addition, DependError, Link, Offer, Requirement, depend};
pub use document::Document;
pub use filter::{FilterError, Filtered, filter};
pub use read::{ReadError, Reader, Wanted};
pub use validate::validate;
pub use version::{ParseRangeError, Range};
pub use write::write;
