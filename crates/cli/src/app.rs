//! What every verb is handed: the context, and what the flags, the files and the environment say together.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use airlift_bundle::TrustRoots;
use airlift_registry::client::{Client, ClientOptions};
use airlift_spec::{Class, Ctx, Failure, Finding, Lock};
use airlift_store::Store;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::{Global, Output, Transfer};
use crate::config::{self, Config};
use crate::connect::Reach;
use crate::environment::Environment;
use crate::error::CliError;
use crate::failure::FailedItem;
use crate::output::{Report, document_text, harmless, has_errors};
use crate::progress::{Progress, Traffic};

/// The lock that is meant where none is named.
pub(crate) const LOCK: &str = "airlift.lock";

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) ctx: Ctx,
    pub(crate) global: Global,
    pub(crate) environment: Environment,
    pub(crate) progress: Progress,
    config: OnceLock<Config>,
    near: OnceLock<Client>,
    far: OnceLock<Client>,
    has_printed: AtomicBool,
}

/// Which registries a verb talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Upstream ones, for which mirrors may stand in.
    Near,
    /// The one that is loaded, served or checked, and no other in its place.
    Far,
}

/// How a verb ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    /// It did what it could, and what it printed says what went wrong.
    Failed(Class),
    /// The code of a tool that we stand in for.
    Peer(u8),
}

impl Exit {
    /// The exit for several things that went wrong, or for none.
    pub(crate) fn of(classes: impl IntoIterator<Item = Class>) -> Self {
        Class::gravest(classes).map_or(Self::Success, Self::Failed)
    }

    /// The exit for what failed while the rest went on, and for what was found.
    pub(crate) fn of_parts(failures: &[FailedItem], findings: &[Finding]) -> Self {
        let failed = failures.iter().map(|item| item.failure.class);
        Self::of(failed.chain(has_errors(findings).then_some(Class::Findings)))
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed(class) => class.exit_code(),
            Self::Peer(code) => code,
        }
    }
}

impl App {
    pub(crate) fn new(global: Global, environment: Environment) -> Self {
        let progress = Progress::new(global.progress, environment.is_dumb_terminal());
        let ctx = Ctx { events: progress.events(), cancel: CancellationToken::new() };
        Self {
            ctx,
            global,
            environment,
            progress,
            config: OnceLock::new(),
            near: OnceLock::new(),
            far: OnceLock::new(),
            has_printed: AtomicBool::new(false),
        }
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
        self.print_text(&document_text(body))
    }

    /// A document that is one by itself, such as a receipt: the same in both forms of output.
    pub(crate) fn print_as_is(&self, text: &str) -> Result<(), CliError> {
        self.progress.finish();
        self.print_text(text.trim_end())
    }

    fn print_text(&self, text: &str) -> Result<(), CliError> {
        self.has_printed.store(true, Relaxed);
        if text.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{}", harmless(text)).and_then(|()| stdout.flush()) {
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

    /// What `config.toml` says, read once.
    pub(crate) fn config(&self) -> Result<&Config, CliError> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let read = match self.config_folder() {
            Ok(folder) => config::read(&folder.join("config.toml"))?,
            Err(_) => Config::default(),
        };
        Ok(self.config.get_or_init(|| read))
    }

    pub(crate) fn store_folder(&self) -> Result<PathBuf, CliError> {
        match &self.global.store {
            Some(folder) => Ok(folder.clone()),
            None => self.environment.default_store(),
        }
    }

    pub(crate) fn state_folder(&self) -> Result<PathBuf, CliError> {
        match &self.global.state {
            Some(folder) => Ok(folder.clone()),
            None => self.environment.default_state(),
        }
    }

    /// The store, made where it is absent.
    pub(crate) fn create_store(&self) -> Result<Store, Failure> {
        Ok(Store::create(&self.store_folder()?)?)
    }

    /// The store, which must be there.
    pub(crate) fn open_store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.store_folder()?)?)
    }

    /// Everything airlift knows about reaching registries. Called once for each side by a verb that asks any.
    pub(crate) fn connect(&self, side: Side, transfer: &Transfer) -> Result<Client, Failure> {
        self.connect_by(side, transfer, &Reach::default())
    }

    pub(crate) fn connect_by(
        &self,
        side: Side,
        transfer: &Transfer,
        reach: &Reach,
    ) -> Result<Client, Failure> {
        let options = self.client_options_by(reach)?;
        let client = Client::new(ClientOptions {
            reads_from_mirrors: side == Side::Near,
            max_in_flight: transfer.parallel.unwrap_or(options.max_in_flight),
            limit_rate: transfer.limit_rate.map(|rate| rate.0).or(options.limit_rate),
            ..options
        })?;
        let of_side = match side {
            Side::Near => &self.near,
            Side::Far => &self.far,
        };
        Ok(of_side.get_or_init(|| client).clone())
    }

    /// Requests and bytes so far; none where nobody was asked.
    pub(crate) fn traffic(&self) -> Traffic {
        let clients = [&self.near, &self.far].into_iter().filter_map(OnceLock::get);
        clients.map(Client::counters).fold(Traffic::default(), |sum, counters| Traffic {
            requests: sum.requests + counters.requests,
            bytes_received: sum.bytes_received + counters.bytes_received,
            bytes_sent: sum.bytes_sent + counters.bytes_sent,
        })
    }

    /// The keys that `--trust` names, else those of the config folder.
    pub(crate) fn trust(&self) -> Result<TrustRoots, Failure> {
        if self.global.insecure_trust_unsigned {
            return Ok(TrustRoots::trust_without_signature());
        }
        let files = if self.global.trust.is_empty() {
            public_keys(&self.config_folder()?.join("trust"))?
        } else {
            self.global.trust.clone()
        };
        let texts =
            files.iter().map(|file| Ok((file.display().to_string(), read_text("key", file)?)));
        Ok(TrustRoots::parse(&texts.collect::<Result<Vec<_>, CliError>>()?)?)
    }
}

/// The `*.pub` files of a folder, by name; none where there is no folder.
fn public_keys(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let what = "the trusted keys";
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(CliError::Read { what, source }),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| CliError::Read { what, source })?.path();
        if path.extension().is_some_and(|extension| extension == "pub") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) fn read_lock(path: &Path) -> Result<Lock, Failure> {
    let help = "make it with `airlift resolve`";
    let bytes = read_file("lock", path, Some(help))?;
    let in_file = CliError::in_file(path);
    Ok(Lock::parse(&bytes).map_err(|err| in_file(err.into()))?)
}

/// Larger files are not read whole. A lock of 100,000 artifacts has 60 MB.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// A file that the user named.
pub(crate) fn read_file(
    what: &'static str,
    path: &Path,
    help: Option<&'static str>,
) -> Result<Vec<u8>, CliError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CliError::Absent { what, path: path.to_owned(), help },
        _ => CliError::Read { what, source },
    };
    let metadata = fs_err::metadata(path).map_err(failed)?;
    let kind = metadata.file_type();
    // A folder cannot be read, and a device may never end; a pipe is how shells hand over secrets.
    let is_readable = kind.is_file() || kind.is_fifo();
    if !is_readable || metadata.len() > MAX_FILE_BYTES {
        let path = path.display();
        return Err(CliError::usage(format!("`{path}` is no file that could be a {what}")));
    }
    fs_err::read(path).map_err(failed)
}

/// Larger files are no settings.
const MAX_SETTINGS_BYTES: u64 = 16 << 20;

/// The text of a file of settings, which need not be there.
///
/// Devices are read as well, as far as a file may be long: `/dev/null` is how people say that there are none.
pub(crate) fn settings_text(what: &'static str, path: &Path) -> Result<Option<String>, CliError> {
    let failed = |source: io::Error| CliError::Read { what, source };
    let file = match fs_err::File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_SETTINGS_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let is_short = bytes.len() as u64 <= MAX_SETTINGS_BYTES;
    let text = String::from_utf8(bytes).ok().filter(|_| is_short);
    text.map(Some).ok_or_else(|| CliError::File {
        path: path.to_owned(),
        line: None,
        message: "it is not text, or too long for settings".to_owned(),
        help: None,
    })
}

pub(crate) fn read_text(what: &'static str, path: &Path) -> Result<String, CliError> {
    String::from_utf8(read_file(what, path, None)?).map_err(|_| CliError::File {
        path: path.to_owned(),
        line: None,
        message: format!("it is not text, so it is no {what}"),
        help: None,
    })
}

/// Runs what waits for a disk, or computes for long, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(CliError::Stopped)
}
