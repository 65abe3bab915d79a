//! The values airlift speaks in: pure, without I/O, shared by every other crate.
//!
//! Read in this order: [`digest`], [`platform`], [`mod@reference`] and [`oci`] are what the field already has;
//! [`stack`] is what is wanted, [`lock`] the same pinned; [`placement`] says where a thing lives on the far
//! side, and [`catalog_source`] how a catalog is offered there; [`finding`], [`event`] and [`error`] are how every verb talks about its work.

pub mod catalog_source;
pub mod closure;
pub mod digest;
pub mod error;
pub mod event;
pub mod finding;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod lock;
pub mod oci;
pub mod password;
pub mod placement;
pub mod platform;
pub mod reference;
pub mod secret;
pub mod stack;

pub use closure::{Closure, closure};
pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Class, Explain, Failure};
pub use event::{Ctx, Event, Events};
pub use finding::{Finding, Severity};
pub use lock::Lock;
pub use oci::{Descriptor, Manifest};
pub use placement::Layout;
pub use platform::{Platform, Platforms};
pub use reference::Reference;
pub use secret::Secret;
pub use stack::Stack;

/// The version of airlift that is running, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
