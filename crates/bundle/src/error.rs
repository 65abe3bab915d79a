//! Why a bundle could not be made or read.

use std::io;
use std::path::PathBuf;

use airlift_registry::client::ClientError;
use airlift_spec::oci::ManifestError;
use airlift_spec::{Class, Digest, Explain, VERSION};
use airlift_store::StoreError;

/// Why a bundle could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    #[error("no trusted key has signed {}", file.display())]
    Untrusted { file: PathBuf },
    #[error("{} has a bad signature by the trusted key {key}", file.display())]
    BadSignature { file: PathBuf, key: String },
    #[error("`{name}` is not a key in minisign's format: {reason}")]
    Key { name: String, reason: &'static str },
    #[error("the system gives no random numbers for a new key")]
    Random,
    #[error("there is no bundle in {}", folder.display())]
    NoBundle { folder: PathBuf },
    #[error("{} cannot be used", file.display())]
    Format { file: PathBuf, source: FormatError },
    #[error("{} is not the file that the root of the bundle names", file.display())]
    TableMismatch { file: PathBuf },
    #[error("{}, which the root of the bundle names, is missing", file.display())]
    TableMissing { file: PathBuf },
    #[error("{doing}")]
    Disk { doing: String, source: io::Error },
    #[error("`{0}` is no name for a bundle (lowercase letters, digits and `-`, at most 40)")]
    Name(String),
    #[error("volumes of {size} bytes are too small; {least} bytes are the least")]
    VolumeSize { size: u64, least: u64 },
    #[error("the bundle would need more than {most} volumes")]
    TooManyVolumes { most: u32 },
    #[error("the bundle cannot be made as the findings stand")]
    Findings,
    #[error("no key to sign the bundle with")]
    NoKey,
    #[error("{volume} was never finished, so there is nothing to check it against")]
    NeverFinished { volume: String },
    #[error("two locks of the stack `{0}` were given")]
    StackTwice(String),
    #[error("{reference} is not pinned")]
    Unpinned { reference: String },
    #[error("{} holds another bundle named `{name}`", folder.display())]
    OtherRoot { folder: PathBuf, name: String },
    #[error("another process is writing a bundle into {}", folder.display())]
    Busy { folder: PathBuf },
    #[error("the media have no room: {needed} bytes are needed, {free} bytes are free")]
    NoRoom { needed: u64, free: u64 },
    #[error("{digest} in the store is damaged; it was taken out")]
    BlobDamaged { digest: Digest },
    #[error("the store has no {digest}")]
    BlobMissing { digest: Digest },
    #[error("the store keeps no bundle with the root {root}")]
    NotKept { root: String },
    #[error("the bundle has no volume {ordinal}")]
    NoSuchVolume { ordinal: u32 },
    #[error("{volume} came out unlike the first time")]
    CutDiffers { volume: String },
    #[error("{volume}: chunk {chunk} is damaged")]
    Damaged { volume: String, chunk: u64 },
    #[error("{volume}: {digest} is damaged")]
    MemberDamaged { volume: String, digest: Digest },
    #[error("{digest} lies on volumes that are not here: {}", volumes.join(", "))]
    Absent { digest: Digest, volumes: Vec<String> },
    #[error("no source has {digest}")]
    Unknown { digest: Digest },
    #[error("bytes {start} to {end} of {digest} were asked for; it has {size}")]
    Range { digest: Digest, start: u64, end: u64, size: u64 },
    #[error("{digest} has {size} bytes; at most {limit} are read at once")]
    TooLarge { digest: Digest, size: u64, limit: u64 },
    #[error("the source sent bytes that are not {digest}")]
    Mismatch { digest: Digest },
    #[error("the manifest {digest} cannot be read")]
    Manifest { digest: Digest, source: ManifestError },
    #[error("a lock in {place} cannot be used")]
    Lock { place: String, source: airlift_spec::lock::LockError },
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Client(ClientError),
    #[error("stopped")]
    Cancelled,
}

/// Why bytes that somebody signed are still no root, table or sums that this version can use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    #[error("it is not JSON of the expected shape")]
    Json(#[source] serde_json::Error),
    #[error("it has {found} bytes; at most {most} are read")]
    TooLarge { found: u64, most: u64 },
    #[error("it has format {found}; this version ({VERSION}) reads up to {known}")]
    TooNew { found: u32, known: u32 },
    #[error("it needs `{need}`, which airlift has since {since}; this is {VERSION}")]
    Needs { need: String, since: String },
    #[error("line {line} is not a member")]
    Line { line: usize, source: serde_json::Error },
    #[error("{0}")]
    Wrong(String),
}

impl BundleError {
    /// Whether the bytes on a medium are at fault: another copy of the volume would help.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::MemberDamaged { .. } | Self::Disk { .. })
    }

    /// An error of the disk, said with what was being done.
    pub(crate) fn disk(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Disk { doing, source }
    }
}

impl From<StoreError> for BundleError {
    fn from(err: StoreError) -> Self {
        Self::Store(err)
    }
}

impl From<ClientError> for BundleError {
    fn from(err: ClientError) -> Self {
        Self::Client(err)
    }
}

/// What helps against a disk that refuses.
fn disk_help(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free room on that disk, then run it again: what is finished stays")
        }
        // FAT32 takes no file of 4 GiB.
        io::ErrorKind::FileTooLarge => Some("choose smaller volumes with `--volume-size`"),
        io::ErrorKind::ReadOnlyFilesystem => Some("mount that file system writable"),
        _ => None,
    }
}

impl Explain for BundleError {
    fn class(&self) -> Class {
        match self {
            Self::Untrusted { .. }
            | Self::BadSignature { .. }
            | Self::TableMismatch { .. }
            | Self::TableMissing { .. }
            | Self::BlobDamaged { .. }
            | Self::CutDiffers { .. }
            | Self::Damaged { .. }
            | Self::MemberDamaged { .. }
            | Self::TooLarge { .. }
            | Self::Mismatch { .. } => Class::Integrity,
            Self::Format { source, .. } => match source {
                FormatError::TooNew { .. } | FormatError::Needs { .. } => Class::Input,
                _ => Class::Integrity,
            },
            Self::Key { .. }
            | Self::NoBundle { .. }
            | Self::Name(_)
            | Self::VolumeSize { .. }
            | Self::TooManyVolumes { .. }
            | Self::StackTwice(_)
            | Self::Unpinned { .. }
            | Self::OtherRoot { .. }
            | Self::NotKept { .. }
            | Self::NoKey
            | Self::NeverFinished { .. }
            | Self::NoSuchVolume { .. }
            | Self::Range { .. } => Class::Input,
            Self::Findings
            | Self::Absent { .. }
            | Self::Unknown { .. }
            | Self::BlobMissing { .. } => Class::Findings,
            Self::Disk { .. } | Self::NoRoom { .. } | Self::Busy { .. } => Class::Storage,
            Self::Random => Class::Bug,
            Self::Manifest { source, .. } => source.class(),
            Self::Lock { source, .. } => source.class(),
            Self::Store(source) => source.class(),
            Self::Client(source) => source.class(),
            Self::Cancelled => Class::Cancelled,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Untrusted { .. } => {
                "name the public key of whoever made the bundle with `--trust`"
            }
            Self::NoBundle { .. } => "name the folder that holds the volumes",
            Self::BadSignature { .. } | Self::TableMismatch { .. } | Self::TableMissing { .. } => {
                "copy the file again from another disk of this bundle, or from where it was made"
            }
            Self::Key { .. } | Self::NoKey => "make a key with `airlift keygen`",
            Self::OtherRoot { .. } => "choose another folder, or another name with `--name`",
            Self::Busy { .. } => "run it again when that one is done: what it finished is kept",
            Self::NoRoom { .. } => "free room on them, or name more media with `--to`",
            Self::Disk { source, .. } => return disk_help(source.kind()).map(str::to_owned),
            Self::TooManyVolumes { .. } | Self::VolumeSize { .. } => {
                "choose larger volumes with `--volume-size`"
            }
            Self::BlobDamaged { .. } | Self::BlobMissing { .. } => {
                "bring it again with `airlift fetch`"
            }
            Self::Unpinned { .. } => "pin it with `airlift resolve`",
            Self::NotKept { .. } | Self::NeverFinished { .. } => {
                "make the bundle again with `airlift bundle create`, into an empty folder: from the same lock, with the \
                 same options and key, it is the same"
            }
            Self::Damaged { .. } | Self::MemberDamaged { .. } => {
                "run `airlift verify`, which says what to cut again"
            }
            Self::Format {
                source: FormatError::TooNew { .. } | FormatError::Needs { .. }, ..
            } => "use a newer version of airlift",
            Self::Manifest { source, .. } => return source.help(),
            Self::Lock { source, .. } => return source.help(),
            Self::Store(source) => return source.help(),
            Self::Client(source) => return source.help(),
            _ => return None,
        };
        Some(help.to_owned())
    }
}
