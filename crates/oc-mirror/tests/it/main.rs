//! Against what oc-mirror and OpenShift themselves say, where that lies beside the checkout.

#![expect(clippy::unwrap_used, reason = "tests")]

mod crds;
mod data;
mod mapping;
mod signature;
