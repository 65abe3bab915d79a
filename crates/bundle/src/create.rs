//! Planning and writing volumes (sketch).
