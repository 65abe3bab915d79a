//! airlift.
