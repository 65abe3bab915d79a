//! Bringing content into a registry or a store (sketch).
