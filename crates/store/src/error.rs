//! Why the store could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use airlift_spec::{Class, Digest, Explain};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    // `fs_err` names the path in the source of these two.
    #[error("failed to read from the store")]
    Read { source: io::Error },
    #[error("failed to write to the store")]
    Write { source: io::Error },
    #[error("no space is left for {needed_bytes} bytes in {path}, where {free_bytes} are free")]
    Full { path: PathBuf, needed_bytes: u64, free_bytes: u64, source: io::Error },
    #[error("{path} takes no file of {size_bytes} bytes")]
    FileLimit { path: PathBuf, size_bytes: u64, source: io::Error },
    #[error("expected {expected}, got {actual}")]
    Mismatch { expected: Digest, actual: Digest },
    #[error("the stored bytes of {expected} have the digest {actual}")]
    DamagedBlob { expected: Digest, actual: Digest },
    #[error("{digest} is longer than the {size_bytes} bytes it was said to be")]
    TooLong { digest: Digest, size_bytes: u64 },
    #[error("{missing_bytes} bytes of {digest} have not been written")]
    Incomplete { digest: Digest, missing_bytes: u64 },
    #[error("{digest} is {size_bytes} bytes long; {limit_bytes} at most are read here")]
    TooLarge { digest: Digest, size_bytes: u64, limit_bytes: u64 },
    #[error("another process or request is writing `{name}`")]
    Busy { name: String },
    #[error("{path} does not exist")]
    Absent { path: PathBuf },
    #[error("{path} is not an airlift store: {reason}")]
    NotAStore { path: PathBuf, reason: &'static str },
    #[error("a store cannot live on {name}, which {path} is on")]
    FileSystem { path: PathBuf, name: &'static str },
    #[error("the store {path} is in use")]
    InUse { path: PathBuf },
    #[error("`{name}` cannot name a root")]
    RootName { name: String },
    #[error("{path} cannot be read as what the store keeps there")]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{path} is larger than the {limit_bytes} bytes that are read of such a file")]
    Oversized { path: PathBuf, limit_bytes: u64 },
    #[error("{path} was written by a newer airlift: it needs {needs}")]
    TooNew { path: PathBuf, needs: String },
    #[error("the work on the store was cancelled")]
    Cancelled,
}

impl Explain for StoreError {
    fn class(&self) -> Class {
        match self {
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Full { .. }
            | Self::FileLimit { .. }
            | Self::Busy { .. }
            | Self::InUse { .. }
            | Self::Damaged { .. }
            | Self::Oversized { .. } => Class::Storage,
            Self::Mismatch { .. }
            | Self::DamagedBlob { .. }
            | Self::TooLong { .. }
            | Self::Incomplete { .. }
            | Self::TooLarge { .. } => Class::Integrity,
            Self::Absent { .. }
            | Self::NotAStore { .. }
            | Self::FileSystem { .. }
            | Self::RootName { .. }
            | Self::TooNew { .. } => Class::Input,
            Self::Cancelled => Class::Cancelled,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Full { path, needed_bytes, .. } => Some(format!(
                "free at least {needed_bytes} bytes on the disk that holds {}, or use a store on another disk",
                path.display()
            )),
            Self::FileLimit { .. } => Some(
                "raise the limit on the size of files (`ulimit -f`), or use a store on another file system".to_owned(),
            ),
            Self::Absent { .. } => Some("name the folder of a store with `--store`".to_owned()),
            Self::NotAStore { .. } => Some("name an empty folder or a store".to_owned()),
            Self::FileSystem { .. } => Some(
                "put the store on a disk with a Linux file system such as ext4 or xfs, and only bundles on this one"
                    .to_owned(),
            ),
            Self::InUse { path } => {
                Some(format!("end the other airlift processes that use {}, then run it again", path.display()))
            }
            Self::RootName { .. } => Some(
                "use 1 to 40 lowercase letters, digits and `-` for a stack, and a repository name for a push"
                    .to_owned(),
            ),
            Self::DamagedBlob { .. } => Some(
                "take it out with `airlift fsck --repair`, then bring it again with `airlift fetch`"
                    .to_owned(),
            ),
            Self::Damaged { path, .. } | Self::Oversized { path, .. } => {
                Some(format!("restore {} or delete it, then write it again with `airlift fetch`", path.display()))
            }
            Self::TooNew { .. } => Some("use the airlift that wrote it, or a newer one".to_owned()),
            Self::Write { source } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("mount the file system that holds the store writable".to_owned())
            }
            Self::Write { source } | Self::Read { source } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run airlift as the user who owns the store".to_owned())
            }
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Mismatch { .. }
            | Self::TooLong { .. }
            | Self::Incomplete { .. }
            | Self::TooLarge { .. }
            | Self::Busy { .. }
            | Self::Cancelled => None,
        }
    }
}

impl StoreError {
    pub(crate) fn read(source: io::Error) -> Self {
        Self::Read { source }
    }

    /// A failed write below `root` that wanted `needed_bytes` of room.
    pub(crate) fn write(root: &Path, needed_bytes: u64, source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded => Self::Full {
                path: root.to_owned(),
                needed_bytes,
                free_bytes: crate::disk::free_bytes(root),
                source,
            },
            // Room there may be plenty.
            FileTooLarge => {
                Self::FileLimit { path: root.to_owned(), size_bytes: needed_bytes, source }
            }
            _ => Self::Write { source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_grow_is_not_called_a_full_disk() {
        let limit = io::Error::from(io::ErrorKind::FileTooLarge);
        let err = StoreError::write(Path::new("store"), 5, limit);
        assert_eq!(err.to_string(), "store takes no file of 5 bytes");
        assert!(err.help().unwrap().contains("ulimit"));
        assert_eq!(err.class(), Class::Storage);
    }
}
