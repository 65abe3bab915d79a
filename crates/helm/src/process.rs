//! Programs that are run to their end, within a time, a length, and what they may use of the machine.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use airlift_spec::Ctx;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

/// More than any chart renders to.
pub(crate) const MAX_OUTPUT_BYTES: u64 = 256 << 20;

/// How long it takes at most until a cancellation is noticed.
const NOTICE: Duration = Duration::from_millis(100);

/// The most memory of a program that renders. The whole of Kubeflow takes a sixth of it, no released chart known to us a
/// tenth.
const MAX_MEMORY_BYTES: u64 = 2 << 30;

/// How long a program works until that is said for the first time.
const SILENCE: Duration = Duration::from_secs(10);

/// What Go says where it gets no more memory.
const OUT_OF_MEMORY: &[&str] = &["out of memory", "cannot allocate memory"];

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
    /// It got no more memory.
    OutOfMemory,
    /// By the system, for what it used.
    Killed,
    Cancelled,
}

/// What a program that renders may use until it is stopped.
#[derive(Debug, Clone)]
pub struct Limits {
    pub elapsed: Duration,
    /// The system itself holds it to this, also where airlift was killed meanwhile.
    pub cpu: Duration,
    pub memory_bytes: u64,
    /// After this time it is said that it works, and after twice that again.
    pub silence: Duration,
}

impl Limits {
    /// So long, and what goes with it.
    pub fn within(elapsed: Duration) -> Self {
        Self { elapsed, cpu: elapsed, memory_bytes: MAX_MEMORY_BYTES, silence: SILENCE }
    }

    /// Holds a program to them that has just begun. Where the system cannot, its time is bounded all the same.
    fn hold(&self, child: &Child) {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        for (resource, bound) in
            [(Resource::Data, self.memory_bytes), (Resource::Cpu, self.cpu.as_secs().max(1))]
        {
            // More than airlift itself may use cannot be given away.
            let bound = Some(getrlimit(resource).maximum.map_or(bound, |own| own.min(bound)));
            let _ = prlimit(pid, resource, Rlimit { current: bound, maximum: bound });
        }
    }

    /// What is wrong with a program that was stopped because of them.
    pub(crate) fn problem(&self, stopped: &Stopped) -> Option<String> {
        match stopped {
            Stopped::TimedOut => {
                Some(format!("it takes longer than {} seconds", self.elapsed.as_secs()))
            }
            Stopped::TooMuch => {
                Some(format!("it comes to more than {} MiB", MAX_OUTPUT_BYTES >> 20))
            }
            Stopped::OutOfMemory => {
                Some(format!("it takes more than {} MiB of memory", self.memory_bytes >> 20))
            }
            Stopped::Killed => Some(format!(
                "the system ended it, as it does with what takes more than {} seconds of CPU time, or where memory is \
                 short",
                self.cpu.as_secs()
            )),
            Stopped::Failed(_) | Stopped::Cancelled => None,
        }
    }
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

/// Runs `command`, which does `what`, to its end. It is stopped at its limits, when it says too much, or `ctx` is cancelled.
pub(crate) fn run(
    command: &mut Command,
    what: &str,
    limits: &Limits,
    ctx: &Ctx,
) -> Result<Ran, Stopped> {
    let child = spawn(command)?;
    limits.hold(&child);
    let mut next = limits.silence;
    let say = |elapsed: Duration| {
        if elapsed >= next {
            next *= 2;
            let (now, most) = (elapsed.as_secs(), limits.elapsed.as_secs());
            ctx.events.note(format!("{what}: {now} seconds by now, and {most} at most"));
        }
        false
    };
    attend(child, limits.elapsed, say, ctx)
}

/// Runs `command` to its end. It is killed when `timeout` is over, it says too much, `ctx` is cancelled, or once
/// `is_too_much`, which is asked from time to time.
pub fn run_watched(
    command: &mut Command,
    timeout: Duration,
    is_too_much: impl Fn() -> bool,
    ctx: &Ctx,
) -> Result<Ran, Stopped> {
    attend(spawn(command)?, timeout, |_| is_too_much(), ctx)
}

fn spawn(command: &mut Command) -> Result<Child, Stopped> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(Stopped::Failed)
}

/// Reads what a program says until it ends. `is_too_much` is asked from time to time, with how long it has run.
fn attend(
    mut child: Child,
    timeout: Duration,
    is_too_much: impl FnMut(Duration) -> bool,
    ctx: &Ctx,
) -> Result<Ran, Stopped> {
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
    if status.signal() == Some(Signal::KILL.as_raw()) {
        return Err(Stopped::Killed);
    }
    if !status.success() && OUT_OF_MEMORY.iter().any(|words| stderr.contains(words)) {
        return Err(Stopped::OutOfMemory);
    }
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
    mut is_too_much: impl FnMut(Duration) -> bool,
    ctx: &Ctx,
) -> Result<(), Stopped> {
    let begin = Instant::now();
    loop {
        let elapsed = begin.elapsed();
        let left = timeout.saturating_sub(elapsed);
        match rx.recv_timeout(left.min(NOTICE)) {
            Err(RecvTimeoutError::Disconnected) | Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if ctx.is_cancelled() => return Err(Stopped::Cancelled),
            Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Stopped::TimedOut),
            Err(RecvTimeoutError::Timeout) if is_too_much(elapsed) => return Err(Stopped::TooMuch),
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
    use airlift_spec::{Event, Events};

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn run_within(script: &str, limits: &Limits, ctx: &Ctx) -> Result<Ran, Stopped> {
        run(&mut shell(script), "a script", limits, ctx)
    }

    fn minutes(minutes: u64) -> Limits {
        Limits::within(Duration::from_mins(minutes))
    }

    #[test]
    fn both_outputs_and_the_end_are_told() {
        let ran = run_within("echo out; echo err >&2; exit 3", &minutes(1), &Ctx::default());
        let ran = ran.unwrap();
        assert_eq!(
            (ran.is_success, ran.stdout.as_slice(), ran.stderr.as_str()),
            (false, &b"out\n"[..], "err\n")
        );
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let stopped = run_within("exec sleep 600", &minutes(0), &Ctx::default());
        assert!(matches!(stopped, Err(Stopped::TimedOut)));
        let ctx = Ctx::default();
        ctx.cancel.cancel();
        let stopped = run_within("exec sleep 600", &minutes(10), &ctx);
        assert!(matches!(stopped, Err(Stopped::Cancelled)));
    }

    #[test]
    fn what_works_without_an_end_is_ended_by_the_system_itself() {
        let limits = Limits { cpu: Duration::from_secs(1), ..minutes(10) };
        let stopped = run_within("while :; do :; done", &limits, &Ctx::default()).unwrap_err();
        assert!(matches!(stopped, Stopped::Killed), "{stopped:?}");
        let said = limits.problem(&stopped).unwrap();
        assert!(said.contains("more than 1 seconds of CPU time"), "{said}");
    }

    #[test]
    fn what_works_for_long_is_said_while_it_does() {
        let (tx, rx) = channel();
        let ctx = Ctx { events: Events::new(move |event| drop(tx.send(event))), ..Ctx::default() };
        let scratch = tempfile::tempdir().unwrap();
        let gate = scratch.path().join("gate");
        let script = format!("while ! [ -e {} ]; do :; done", gate.display());
        let limits = Limits { silence: Duration::ZERO, ..minutes(1) };
        thread::scope(|scope| {
            let ran = scope.spawn(move || run_within(&script, &limits, &ctx));
            // It ends only once this was said.
            let Event::Noted { message } = rx.recv().unwrap() else { panic!("no note") };
            fs_err::write(&gate, "").unwrap();
            assert!(message.starts_with("a script: ") && message.ends_with("60 at most"));
            assert!(ran.join().unwrap().unwrap().is_success);
        });
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
        let stopped = run_within("exec cat /dev/zero", &minutes(10), &Ctx::default());
        assert!(matches!(stopped, Err(Stopped::TooMuch)));
    }

    #[test]
    fn nothing_of_the_environment_leaks_in_and_no_network_is_reached() {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = isolated(Path::new("/usr/bin/env"), scratch.path());
        let ran = run(&mut command, "env", &minutes(1), &Ctx::default()).unwrap();
        let at = scratch.path().display().to_string();
        let lines = String::from_utf8(ran.stdout).unwrap();
        assert!(lines.lines().all(|line| line.contains(&at) || line.ends_with(NOWHERE)), "{lines}");
    }
}
