//! Bundles on real disks: made, broken, and read again.

mod create;
mod load;
mod tools;
mod verify;
mod world;
