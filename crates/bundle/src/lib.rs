//! What crosses the gap: bundles, from making one to reading it on the far side.
//!
//! In the order of their use: [`gather`](create) and [`plan`] decide what goes where, [`create`] writes it, [`trust`]
//! says who vouches for it, [`TrustedBundle`] finds it on media, [`verify()`] proves that it arrived, [`content`] is how
//! everything else reads it, [`load`] brings it into a registry, [`receipt`] remembers what did arrive, and [`remove`]
//! takes it out again.

pub mod content;
pub mod create;
pub mod list;
pub mod load;
pub mod plan;
pub mod receipt;
pub mod remove;
pub mod root;
pub mod trust;
pub mod verify;

mod cut;
mod disk;
mod earlier;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod keep;
mod media;
mod medium;
mod tar;
mod volume;

pub use content::{Availability, Content, Sources};
pub use create::{CreateOptions, Created, Prepared, cut_again, prepare};
pub use earlier::Earlier;
pub use error::{BundleError, FormatError};
pub use gather::Delivered;
pub use medium::TrustedBundle;
pub use root::Root;
pub use trust::{SigningKey, TrustRoots};
pub use verify::{Depth, Verified, VerifyOptions, verify};
pub use volume::{Presence, Volume};
