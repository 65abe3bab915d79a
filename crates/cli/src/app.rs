//! What every verb is handed: the context, and what the flags, the files and the environment say together.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use airlift_spec::{Class, Ctx, Failure, Lock};
use airlift_store::Store;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::{Global, Output};
use crate::environment::Environment;
use crate::error::CliError;
use crate::output::{Document, Report};
use crate::progress::Progress;

/// The lock that is meant where none is named.
pub(crate) const LOCK: &str = "airlift.lock";

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) ctx: Ctx,
    pub(crate) global: Global,
    pub(crate) environment: Environment,
    pub(crate) progress: Progress,
    has_printed: AtomicBool,
}

/// How a verb ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    /// It did what it could, and what it printed says what went wrong.
    Failed(Class),
}

impl Exit {
    /// The exit for several things that went wrong, or for none.
    pub(crate) fn of(classes: impl IntoIterator<Item = Class>) -> Self {
        Class::gravest(classes).map_or(Self::Success, Self::Failed)
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed(class) => class.exit_code(),
        }
    }
}

impl App {
    pub(crate) fn new(global: Global, environment: Environment) -> Self {
        let progress = Progress::new(global.progress, environment.is_dumb_terminal());
        let ctx = Ctx { events: progress.events(), cancel: CancellationToken::new() };
        Self { ctx, global, environment, progress, has_printed: AtomicBool::new(false) }
    }

    /// Words for people, on stderr.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        self.progress.say(&text.to_string());
    }

    /// What the verb was asked for, on stdout. Called once by each verb.
    pub(crate) fn print(&self, report: &impl Report) -> Result<(), CliError> {
        self.progress.finish();
        match self.global.output {
            Output::Table => self.print_text(&report.to_text()),
            Output::Json => self.print_document(report),
        }
    }

    /// The one JSON document.
    pub(crate) fn print_document(&self, body: &impl Serialize) -> Result<(), CliError> {
        let document = Document::of(body);
        let text = serde_json::to_string_pretty(&document).expect("reports have only text keys");
        self.print_text(&text)
    }

    fn print_text(&self, text: &str) -> Result<(), CliError> {
        self.has_printed.store(true, Relaxed);
        if text.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            // `airlift tree | head` has seen enough.
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|source| CliError::Write { what: "to stdout", source }),
        }
    }

    pub(crate) fn has_printed(&self) -> bool {
        self.has_printed.load(Relaxed)
    }

    pub(crate) fn config_folder(&self) -> Result<PathBuf, CliError> {
        self.environment.config_folder()
    }

    pub(crate) fn store_folder(&self) -> Result<PathBuf, CliError> {
        match &self.global.store {
            Some(folder) => Ok(folder.clone()),
            None => self.environment.default_store(),
        }
    }

    /// The store, which must be there.
    pub(crate) fn open_store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.store_folder()?)?)
    }
}

pub(crate) fn read_lock(path: &Path) -> Result<Lock, Failure> {
    let help = "make it with `airlift resolve`";
    let bytes = read_file("lock", path, Some(help))?;
    let in_file = CliError::in_file(path);
    Ok(Lock::parse(&bytes).map_err(|err| in_file(err.into()))?)
}

/// A file that the user named.
pub(crate) fn read_file(
    what: &'static str,
    path: &Path,
    help: Option<&'static str>,
) -> Result<Vec<u8>, CliError> {
    fs_err::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CliError::Absent { what, path: path.to_owned(), help },
        _ => CliError::Read { what, source },
    })
}

/// Runs what waits for a disk, or computes for long, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(CliError::Stopped)
}
