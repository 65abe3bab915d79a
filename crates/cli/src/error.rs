//! What can go wrong between the command line and the libraries.

use std::io;
use std::path::PathBuf;

use airlift_spec::{Class, Explain, Failure};

/// Why a verb could not begin, or could not say what came of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    #[error("there is no home folder to keep things in: `HOME` is not set")]
    NoHome { flag: Option<&'static str> },
    #[error("failed to read {what}")]
    Read { what: &'static str, source: io::Error },
    #[error("there is no {what} `{}`", path.display())]
    Absent { what: &'static str, path: PathBuf, help: Option<&'static str> },
    #[error("failed to write {what}")]
    Write { what: &'static str, source: io::Error },
    #[error("nothing can be written into the working folder `{}`", folder.display())]
    Workspace { folder: PathBuf, help: &'static str, source: io::Error },
    /// A file that people or other tools wrote does not say what it should.
    #[error("{}: {message}", place(path, *line))]
    File { path: PathBuf, line: Option<usize>, message: String, help: Option<String> },
    /// The same, where a library knows the reason.
    #[error("`{}` cannot be used", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    #[error("{message}")]
    Usage { message: String, help: Option<String> },
    #[error("{message}")]
    Refused { message: String, help: Option<String> },
    #[error("{registry} does not take these credentials")]
    Credentials { registry: String },
    #[error("the operating system does not let airlift start its threads")]
    Runtime { source: io::Error },
    #[error("the demo stopped at `airlift {step}`: {problem}")]
    Demo { step: String, problem: String },
    #[error("a part of airlift stopped unexpectedly")]
    Stopped(#[source] tokio::task::JoinError),
}

/// A library's error as the source of one of ours; keeps its class and help.
#[derive(Debug)]
pub(crate) struct Cause(pub Failure);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

fn place(path: &std::path::Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    }
}

const FREE_ROOM: &str = "free room on that disk, then run it again";

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What helps where a file cannot be written.
fn write_help(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        kind if is_full(kind) => Some(FREE_ROOM),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Some("choose a place that may be written")
        }
        _ => None,
    }
}

impl CliError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: None }
    }

    /// Says which file a library's complaint is about.
    pub(crate) fn in_file(path: impl Into<PathBuf>) -> impl FnOnce(Failure) -> Self {
        let path = path.into();
        move |failure| Self::Unusable { path, source: Cause(failure) }
    }
}

impl Explain for CliError {
    fn class(&self) -> Class {
        match self {
            Self::NoHome { .. }
            | Self::Absent { .. }
            | Self::File { .. }
            | Self::Usage { .. }
            | Self::Refused { .. } => Class::Input,
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Class::Access
            }
            Self::Credentials { .. } => Class::Access,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Workspace { .. }
            | Self::Runtime { .. } => Class::Storage,
            Self::Unusable { source, .. } => source.0.class(),
            Self::Demo { .. } | Self::Stopped(_) => Class::Bug,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NoHome { flag: Some(flag) } => Some(format!("set `HOME`, or give `{flag} DIR`")),
            Self::NoHome { flag: None } => Some("set `HOME`".to_owned()),
            Self::Absent { help, .. } => help.map(str::to_owned),
            Self::File { help, .. } | Self::Usage { help, .. } | Self::Refused { help, .. } => {
                help.clone()
            }
            Self::Unusable { source, .. } => source.0.help(),
            Self::Write { source, .. } => write_help(source.kind()).map(str::to_owned),
            Self::Workspace { source, help, .. } => Some(match source.kind() {
                kind if is_full(kind) => FREE_ROOM.to_owned(),
                _ => (*help).to_owned(),
            }),
            Self::Read { .. }
            | Self::Credentials { .. }
            | Self::Runtime { .. }
            | Self::Demo { .. }
            | Self::Stopped(_) => None,
        }
    }
}
