//! What it takes to stand in for oc-mirror v2, as far as that is pure: no network, no disk, no clock.
//!
//! In the order in which a verb needs it: [`Arguments::way`] says what is meant, [`ImageSet::parse`] what is wanted,
//! and [`ImageSet::translate`] says it as a stack. Resolving it, [`choose`] finds releases in a graph, [`Keyring`]
//! checks what signs them, and [`Payload`] says what they are made of. Then [`ImageSet::items`] are all images under the
//! peer's rules, [`ImageSet::carried`] what of a
//! bundle they ask for, and [`ImageSet::copies`] what is copied from where to where; [`mapping()`], [`cluster_resources`] and [`delete_list`] write them down. Where these
//! files lie, [`Workspace`] knows, and what the exit code is, [`exit_code`].

mod arguments;
mod carried;
mod collect;
mod config;
mod delete;
mod exit;
mod filter;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod mapping;
mod name;
mod openpgp;
mod pin;
mod release;
mod resources;
mod translate;
mod workspace;
mod yaml;

pub use arguments::{ArgumentError, Arguments, DeleteArguments, Deletion, Way, check_parallel};
pub use carried::Carried;
pub use config::{
    API_VERSION, AdditionalImage, Channel, Chart, ChartRepository, ConfigError, Helm, ImageSet,
    Mistake, Operator, Package, Purpose, ReleaseChannel, ReleaseWish,
};
pub use delete::{DeleteError, DeleteItem, Signatures, delete_list, read_delete_list};
pub use exit::{GENERIC, exit_code, failed_kind};
pub use filter::filter_tag;
pub use mapping::{
    CatalogItem, Copy, Filtered, Item, Kind, Mode, OfferedCatalog, Routes, mapping,
    mapping_of_children, release_tag,
};
pub use name::{ImageName, NameError, Transport, digest_tag};
pub use pin::{Pinned, pinned};
pub use release::{
    BOOT_IMAGES, GRAPH_BASE, GRAPH_DATA, Graph, Graphs, IMAGE_REFERENCES, Keyring, Payload,
    Release, ReleaseError, SIGNATURES, SignatureError, Signed, channels, choose, component,
    component_path, graph_answer, graph_data_url, graph_layer, graph_url, kube_virt_images,
    on_graph_base, signature_url,
};
pub use resources::{File, Mirrored, ResourcesError, Signature, cluster_resources};
pub use translate::Translation;
pub use workspace::Workspace;
