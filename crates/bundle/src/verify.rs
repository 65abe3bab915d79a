//! Checking what arrived (sketch).
