//! OCI distribution: the client that talks to the outside, and the protocol half of our own registry.

mod buffers;
pub mod client;
pub mod server;

pub use buffers::Buffers;
