//! Programs that are run to their end, within a time and a length.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use airlift_spec::Ctx;

/// More than any chart renders to.
pub(crate) const MAX_OUTPUT_BYTES: u64 = 256 << 20;

/// How long it takes at most until a cancellation is noticed.
const NOTICE: Duration = Duration::from_millis(100);

/// A proxy that takes no connections: no server listens on this port.
const NOWHERE: &str = "http://127.0.0.1:1";

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    pub is_success: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// Why a program was not run to its end.
#[derive(Debug)]
pub enum Stopped {
    Failed(io::Error),
    TimedOut,
    TooMuch,
    Cancelled,
}

/// What helps where what went wrong, in the words of a program or of the system, is that a disk is full: the one on which
/// programs are given what they need, and write.
pub fn no_room(said: &str) -> Option<String> {
    let said = said.to_lowercase();
    let is_full =
        ["no space left on device", "no storage space"].iter().any(|it| said.contains(it));
    let folder = std::env::temp_dir();
    is_full.then(|| format!("free room in {}, or let TMPDIR name another folder", folder.display()))
}

/// A command that sees nothing of the user's environment: its homes are folders in `scratch`.
pub(crate) fn isolated(program: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(scratch);
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TMPDIR"] {
        command.env(name, scratch);
    }
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_PLUGINS"] {
        command.env(name, scratch);
    }
    // Neither a cluster nor the network is asked, even if a version of the program would. Go takes no proxy for addresses
    // of this machine: what would lead there is refused before a kustomization is built.
    command.env("KUBECONFIG", scratch.join("no-cluster"));
    command.env("HTTP_PROXY", NOWHERE).env("HTTPS_PROXY", NOWHERE);
    command
}

/// Runs `command` to its end. It is killed when `timeout` is over, it says too much, or `ctx` is cancelled.
pub fn run(command: &mut Command, timeout: Duration, ctx: &Ctx) -> Result<Ran, Stopped> {
    run_watched(command, timeout, || false, ctx)
}

/// The same, for a program that is killed as well once `is_too_much`, which is asked from time to time.
pub fn run_watched(
    command: &mut Command,
    timeout: Duration,
    is_too_much: impl Fn() -> bool,
    ctx: &Ctx,
) -> Result<Ran, Stopped> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Stopped::Failed)?;
    let (tx, rx) = channel();
    let stdout = read(child.stdout.take().expect("it is piped"), tx.clone());
    let stderr = read(child.stderr.take().expect("it is piped"), tx);
    let waited = wait(&rx, timeout, is_too_much, ctx);
    if waited.is_err() {
        kill(&mut child);
    }
    let status = child.wait().map_err(Stopped::Failed)?;
    waited?;
    let said = |reader: JoinHandle<io::Result<Vec<u8>>>| {
        reader.join().expect("a reader does not panic").map_err(Stopped::Failed)
    };
    let (stdout, stderr) = (said(stdout)?, said(stderr)?);
    if [&stdout, &stderr].iter().any(|bytes| bytes.len() as u64 > MAX_OUTPUT_BYTES) {
        return Err(Stopped::TooMuch);
    }
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    Ok(Ran { is_success: status.success(), stdout, stderr })
}

/// Reads a pipe to its end, or one byte too far, and drops `done` then.
fn read(
    pipe: impl Read + Send + 'static,
    done: std::sync::mpsc::Sender<()>,
) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut bytes);
        drop(done);
        read.map(|_| bytes)
    })
}

/// Waits until both readers are done.
fn wait(
    rx: &Receiver<()>,
    timeout: Duration,
    is_too_much: impl Fn() -> bool,
    ctx: &Ctx,
) -> Result<(), Stopped> {
    let begin = Instant::now();
    loop {
        let left = timeout.saturating_sub(begin.elapsed());
        match rx.recv_timeout(left.min(NOTICE)) {
            Err(RecvTimeoutError::Disconnected) | Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if ctx.is_cancelled() => return Err(Stopped::Cancelled),
            Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Stopped::TimedOut),
            Err(RecvTimeoutError::Timeout) if is_too_much() => return Err(Stopped::TooMuch),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn kill(child: &mut Child) {
    // It may have ended by itself a moment ago, which is as good.
    drop(child.kill());
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_and_the_end_are_told() {
        let ran = run(
            &mut shell("echo out; echo err >&2; exit 3"),
            Duration::from_mins(1),
            &Ctx::default(),
        )
        .unwrap();
        assert_eq!(
            (ran.is_success, ran.stdout.as_slice(), ran.stderr.as_str()),
            (false, &b"out\n"[..], "err\n")
        );
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let stopped = run(&mut shell("exec sleep 600"), Duration::ZERO, &Ctx::default());
        assert!(matches!(stopped, Err(Stopped::TimedOut)));
        let ctx = Ctx::default();
        ctx.cancel.cancel();
        let stopped = run(&mut shell("exec sleep 600"), Duration::from_mins(10), &ctx);
        assert!(matches!(stopped, Err(Stopped::Cancelled)));
    }

    #[test]
    fn what_becomes_too_much_is_ended() {
        let stopped = run_watched(
            &mut shell("exec sleep 600"),
            Duration::from_mins(10),
            || true,
            &Ctx::default(),
        );
        assert!(matches!(stopped, Err(Stopped::TooMuch)));
    }

    #[test]
    fn what_says_too_much_is_ended() {
        let stopped =
            run(&mut shell("exec cat /dev/zero"), Duration::from_mins(10), &Ctx::default());
        assert!(matches!(stopped, Err(Stopped::TooMuch)));
    }

    #[test]
    fn nothing_of_the_environment_leaks_in_and_no_network_is_reached() {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = isolated(Path::new("/usr/bin/env"), scratch.path());
        let ran = run(&mut command, Duration::from_mins(1), &Ctx::default()).unwrap();
        let at = scratch.path().display().to_string();
        let lines = String::from_utf8(ran.stdout).unwrap();
        assert!(lines.lines().all(|line| line.contains(&at) || line.ends_with(NOWHERE)), "{lines}");
    }
}
