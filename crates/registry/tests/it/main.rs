//! The public API of the crate, against real disks and real connections.

mod server;
