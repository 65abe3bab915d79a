//! From the arguments to the exit code: the runtime, signals, and what is said at the end.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use airlift_spec::{Class, Failure};
use clap::{CommandFactory as _, Parser as _};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::app::{App, Exit};
use crate::args::{Cli, Global, Output};
use crate::environment::Environment;
use crate::error::CliError;
use crate::failure::FailureDocument;
use crate::limits;
use crate::verbs::Verb;

/// How long work that was told to stop may keep the process alive.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run() -> ExitCode {
    std::panic::set_hook(Box::new(say_bug));
    let Cli { global, verb } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return usage(&err),
    };
    let environment = Environment::of_this_process();
    log(&global, &environment);
    // The hook has said what happened; what is left is the exit code.
    let result = catch_unwind(AssertUnwindSafe(|| run_verb(verb, global, environment)));
    ExitCode::from(result.unwrap_or(Class::Bug.exit_code()))
}

/// `--help` and `--version` are answers; everything else is wrong input.
fn usage(err: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    let _ = err.print();
    let code = if is_for_peer() { airlift_oc_mirror::GENERIC } else { Class::Input.exit_code() };
    ExitCode::from(if err.use_stderr() { code } else { 0 })
}

/// Whether a command line that cannot be read was for `oc-mirror`, which has exit codes of its own.
fn is_for_peer() -> bool {
    let read = Cli::command().ignore_errors(true).try_get_matches();
    read.is_ok_and(|matches| matches.subcommand_name() == Some("oc-mirror"))
}

fn run_verb(verb: Verb, global: Global, environment: Environment) -> u8 {
    limits::raise();
    let app = App::new(global, environment);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.worker_threads(line_threads(&verb)).enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return end(&app, Err(CliError::Runtime { source }.into())),
    };
    let result = runtime.block_on(async {
        match Signals::new() {
            Ok(signals) => {
                let mut watch = JoinSet::new();
                watch.spawn(signals.watch(app.ctx.cancel.clone()));
                verb.run(&app).await
            }
            Err(source) => Err(CliError::Runtime { source }.into()),
        }
    });
    runtime.shutdown_timeout(GRACE);
    end(&app, result)
}

/// How many threads wait for lines. What a client brings is hashed and written on other threads, and those who fetch,
/// load, or check keep half of the cores busy with that; a server sends its bytes on these.
fn line_threads(verb: &Verb) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if matches!(verb, Verb::Serve(_)) { cores } else { cores.div_ceil(2) }
}

/// Says what came of it, and returns the exit code.
fn end(app: &App, result: Result<Exit, Failure>) -> u8 {
    app.progress.finish();
    app.progress.say_traffic(app.traffic());
    let failure = match result {
        Ok(exit) => return exit.code(),
        Err(failure) => failure,
    };
    let failure = FailureDocument::of(&*failure);
    app.progress.say_failure(&failure);
    if app.global.output == Output::Json && !app.has_printed() {
        // The run has failed already; that its document does not arrive either changes nothing.
        let _ = app.print_document(&ErrorDocument { error: &failure });
    }
    failure.exit_code
}

/// What a program reads that waits for the one document of a verb that could not do its work.
#[derive(Debug, Serialize)]
struct ErrorDocument<'a> {
    error: &'a FailureDocument,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Never waited for: that somebody listens turns a file that may not grow (`ulimit -f`) from a death without
    /// words into an error of the write.
    _file_size: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let file_size = rustix::process::Signal::XFSZ.as_raw();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _file_size: signal(SignalKind::from_raw(file_size))?,
        })
    }

    /// The first signal asks everybody to stop; the second does not ask.
    async fn watch(mut self, cancel: CancellationToken) {
        self.next().await;
        cancel.cancel();
        self.next().await;
        stop_at_once();
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

#[expect(
    clippy::exit,
    reason = "the second signal means now; what is on disk is safe at any moment"
)]
fn stop_at_once() -> ! {
    std::process::exit(i32::from(Class::Cancelled.exit_code()))
}

/// What `-v` and `AIRLIFT_LOG` ask for, on stderr.
fn log(global: &Global, environment: &Environment) {
    let level = match global.verbose {
        0 => "off",
        1 => "airlift=info",
        2 => "airlift=debug",
        _ => "airlift=trace,debug",
    };
    let filter = environment.log_filter().unwrap_or_else(|| level.to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .init();
}

#[expect(clippy::print_stderr, reason = "nothing else can be relied on here")]
fn say_bug(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!(" ({place})")).unwrap_or_default();
    let reason = panic.payload_as_str().unwrap_or("no reason given");
    eprintln!("error: this is a bug in airlift{place}: {reason}");
    eprintln!(
        "help: report it with the command line and `airlift --version`; what is in the store is safe"
    );
}
