//! What it takes to stand in for oc-mirror v2, as far as that is pure: no network, no disk, no clock.

mod mapping;
mod name;

pub use mapping::{
    CatalogItem, Copy, Filtered, Item, Kind, Mode, Routes, mapping, mapping_of_children,
    release_tag,
};
pub use name::{ImageName, NameError, Transport, digest_tag};
