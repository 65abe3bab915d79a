//! What it takes to stand in for oc-mirror v2, as far as that is pure: no network, no disk, no clock.

mod blocked;
mod config;
mod filter;
mod mapping;
mod name;
mod resources;
mod translate;

pub use blocked::Blocked;
pub use config::{
    API_VERSION, AdditionalImage, Channel, Chart, ChartRepository, ConfigError, Helm, ImageSet,
    Mistake, Operator, Package, Product, Purpose, ReleaseChannel, ReleaseWish,
};
pub use filter::filter_tag;
pub use mapping::{
    CatalogItem, Copy, Filtered, Item, Kind, Mode, Routes, mapping, mapping_of_children,
    release_tag,
};
pub use name::{ImageName, NameError, Transport, digest_tag};
pub use resources::{File, Mirrored, ResourcesError, Signature, cluster_resources};
pub use translate::Translation;
