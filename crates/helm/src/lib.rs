//! Helm charts, as far as that needs no network: reading and packing them, their OCI form, the index of a chart
//! repository, what they render to by Helm's own engine, and which values bring further images.
//!
//! Everything blocks, on the disk or on a process: call it off the async threads.

mod chart;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod kustomize;
mod lookup;
pub mod process;
mod render;
mod repository;
mod scratch;
mod switch;
mod unrendered;
mod version;
mod yaml;

pub use chart::{Chart, Dependency, MAX_CHART_DEPTH, Metadata, OciChart, media_type};
pub use error::ChartError;
pub use kustomize::{
    Address, Kustomize, KustomizeError, MAX_TREE_BYTES, MAX_TREE_FILES, Remote, Repository,
    is_kustomization, pack,
};
pub use lookup::Lookup;
pub use render::{
    FieldPath, Helm, Image, Images, Object, ParsePathError, RenderError, RenderOptions, Rendered,
    Renderer,
};
pub use repository::{Entry, Listed, Listing, Wanted, index};
pub use scratch::Scratch;
pub use switch::{ExploreOptions, Explored, Gated, Switch};
pub use unrendered::Unrendered;
pub use version::{Constraint, parse as parse_version};
