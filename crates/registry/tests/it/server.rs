//! The server, asked over real connections. `blobs`, `manifests` and `discovery` follow what the conformance
//! suite of the distribution specification asks of a registry, case by case.

mod access;
mod blobs;
mod child;
mod clients;
mod discovery;
mod faults;
mod hostile;
mod manifests;
mod read_only;
mod tls;
mod world;
