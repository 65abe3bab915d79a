//! What a registry is known to hold (sketch).
