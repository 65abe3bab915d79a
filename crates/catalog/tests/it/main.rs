//! Against real catalogs, where they lie.

mod data;
mod measure;
mod read;
