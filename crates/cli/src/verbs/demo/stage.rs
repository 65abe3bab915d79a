//! Where the demo plays: a folder of its own, and the verbs as child processes in it.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use airlift_spec::{Class, Failure};
use clap::ValueEnum as _;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::app::App;
use crate::error::CliError;
use crate::output::{Report, Table};

/// Variables that would let the user's own set-up, or a proxy, into the demo.
const FOREIGN: [&str; 12] = [
    "AIRLIFT_STORE",
    "AIRLIFT_STATE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "CONTAINERS_REGISTRIES_CONF",
    "XDG_RUNTIME_DIR",
];

pub(super) struct Stage<'a> {
    app: &'a App,
    folder: TempDir,
    keep: bool,
    steps: Vec<Step>,
    step_started: Instant,
}

#[derive(Debug, Serialize)]
struct Step {
    title: &'static str,
    seconds: f64,
}

/// How a verb is meant to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Success,
    /// It finds something wrong.
    Findings,
}

/// A registry that runs as a child process.
pub(super) struct Served {
    pub(super) host: String,
    child: Child,
}

impl<'a> Stage<'a> {
    pub(super) fn new(app: &'a App, keep: bool) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("airlift-demo-").tempdir();
        let folder =
            folder.map_err(|source| CliError::Write { what: "a folder for the demo", source })?;
        Ok(Self { app, folder, keep, steps: Vec::new(), step_started: Instant::now() })
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends the step before, and says what comes.
    pub(super) fn begin(&mut self, title: &'static str) {
        self.end_step();
        self.app.say(format_args!("\n{}. {title}", self.steps.len() + 1));
        self.steps.push(Step { title, seconds: 0.0 });
        self.step_started = Instant::now();
    }

    fn end_step(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.seconds = self.step_started.elapsed().as_secs_f64();
        }
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let written = fs_err::write(self.path(name), text);
        Ok(written.map_err(|source| CliError::Write { what: "a file of the demo", source })?)
    }

    /// Runs a verb, shows what it says, and returns what it printed.
    pub(super) async fn airlift(&self, words: &[&str], expect: Expect) -> Result<String, Failure> {
        let line = words.join(" ");
        self.app.say(format_args!("   $ airlift {line}"));
        let output = self.command(words)?.stderr(Stdio::inherit()).output().await;
        let output = output.map_err(|source| CliError::Runtime { source })?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !words.contains(&"json") {
            said.lines().for_each(|line| self.app.say(format_args!("   {line}")));
        }
        let wanted = match expect {
            Expect::Success => 0,
            Expect::Findings => i32::from(Class::Findings.exit_code()),
        };
        if output.status.code() == Some(wanted) {
            return Ok(said);
        }
        Err(problem(&line, format!("it ended with {}, not with exit code {wanted}", output.status)))
    }

    /// Starts a registry and waits until it says where it is.
    pub(super) async fn serve(&self, words: &[&str]) -> Result<Served, Failure> {
        let line = format!("serve {}", words.join(" "));
        self.app.say(format_args!("   $ airlift {line} &"));
        let words = [&["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends"], words].concat();
        let mut command = self.command(&words)?;
        // A demo that is killed takes its servers with it: nobody holds the other end then.
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| CliError::Runtime { source })?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut said).await;
            read.map_err(|source| CliError::Runtime { source })?;
        }
        let host = said.trim().strip_prefix("http://").map(str::to_owned);
        let host =
            host.ok_or_else(|| problem(&line, "it did not say where it listens".to_owned()))?;
        Ok(Served { host, child })
    }

    fn command(&self, words: &[&str]) -> Result<Command, Failure> {
        let exe = std::env::current_exe().map_err(|source| CliError::Runtime { source })?;
        let mut command = Command::new(exe);
        for name in FOREIGN {
            command.env_remove(name);
        }
        for (name, folder) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "near"),
            ("XDG_STATE_HOME", "state"),
        ] {
            command.env(name, self.path(folder));
        }
        command.current_dir(self.folder.path()).args(words).stdin(Stdio::null());
        if let Some(mode) = self.app.global.progress.to_possible_value() {
            command.args(["--progress", mode.get_name()]);
        }
        Ok(command)
    }

    /// Puts the public half of the signing key where the far side looks for keys it trusts.
    pub(super) fn trust_own_key(&self) -> Result<(), Failure> {
        let config = self.path("config/airlift");
        let copied = fs_err::create_dir_all(config.join("trust"))
            .and_then(|()| fs_err::copy(config.join("signing.pub"), config.join("trust/near.pub")));
        copied.map_err(|source| CliError::Write { what: "the trusted key", source })?;
        Ok(())
    }

    /// A load's report says that the registry was given nothing.
    pub(super) fn check_nothing_moved(&self, report: &str) -> Result<(), Failure> {
        let report: Value = serde_json::from_str(report).unwrap_or_default();
        let moved = ["bytesSent", "blobsSent", "blobsMounted", "manifestsPushed", "tagsSet"];
        if moved.iter().all(|what| report["totals"][what] == 0) {
            self.app.say("   0 bytes, 0 blobs, 0 manifests and 0 tags were sent");
            return Ok(());
        }
        Err(problem("load", format!("it moved things the second time: {}", report["totals"])))
    }

    pub(super) fn flip_byte(&self, file: &Path, offset: u64) -> Result<(), Failure> {
        self.app.say(format_args!("   byte {offset} of {} turns", file.display()));
        let flip = || {
            let mut file =
                fs_err::OpenOptions::new().read(true).write(true).open(self.path(file))?;
            let mut byte = [0];
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut byte)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&[byte[0] ^ 0x10])
        };
        Ok(flip().map_err(|source| CliError::Write { what: "the damage", source })?)
    }

    /// The summary; the folder goes unless it is to stay.
    pub(super) fn finish(mut self) -> Summary {
        self.end_step();
        let kept = self.keep.then(|| self.folder.keep());
        Summary { steps: self.steps, kept }
    }
}

impl Served {
    /// Asks it to stop, as a service manager would, and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)
                .map_err(|err| CliError::Runtime { source: err.into() })?;
        }
        let status = self.child.wait().await.map_err(|source| CliError::Runtime { source })?;
        if status.success() {
            Ok(())
        } else {
            Err(problem("serve", format!("it ended with {status}")))
        }
    }
}

pub(super) fn problem(step: &str, problem: String) -> Failure {
    CliError::Demo { step: step.to_owned(), problem }.into()
}

/// What the demo did.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<PathBuf>,
}

impl Report for Summary {
    fn to_text(&self) -> String {
        let mut table = Table::new(&["step", "seconds"]).right(&[1]);
        for (number, step) in self.steps.iter().enumerate() {
            table.row([format!("{}. {}", number + 1, step.title), format!("{:.1}", step.seconds)]);
        }
        let total: Duration =
            self.steps.iter().map(|step| Duration::from_secs_f64(step.seconds)).sum();
        table.row(["everything held".to_owned(), format!("{:.1}", total.as_secs_f64())]);
        match &self.kept {
            Some(folder) => format!("{}\neverything is in {}", table.to_text(), folder.display()),
            None => table.to_text(),
        }
    }
}
