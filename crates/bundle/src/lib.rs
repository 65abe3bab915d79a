//! What crosses the gap (API sketch; being built).

pub mod content;
pub mod create;
pub mod load;
pub mod receipt;
pub mod root;
pub mod trust;
pub mod verify;

mod error;

pub use content::{Availability, Content, Sources};
pub use error::BundleError;
pub use trust::{TrustRoots, TrustedBundle};
