//! What all actors share: one world, one upstream, one store, what happened so far, and when to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use airlift_testkit::tools::Ran;
use airlift_testkit::{FakeRegistry, World};

use super::dice::Dice;
use crate::Result;

/// A verb that fails so often in a row does not do what it says: a run goes on where the last one stopped.
const MAX_RUNS: usize = 40;
/// What refuses a run goes on at its own pace: a server that starts, a fetch that waits for a busy registry, or that is
/// killed again and again. All runs together wait for longer than a silent line is waited for.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// The longest life of a run that is to be killed; most are over sooner.
const MAX_LIFE_MS: u64 = 600;

/// The ground on which everything happens.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) upstream: FakeRegistry,
    /// Held by clients while they pull, and alone by who counts what the server holds.
    pub(crate) quiet: RwLock<()>,
    stop: AtomicBool,
    failures: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Site {
    pub(crate) fn new(program: PathBuf) -> Result<Self> {
        Ok(Self {
            world: World::new(program)?,
            upstream: FakeRegistry::start(),
            quiet: RwLock::default(),
            stop: AtomicBool::new(false),
            failures: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    pub(crate) fn count(&self, what: &'static str, by: u64) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += by;
    }

    /// `3 bundles, 12 fetches, …`
    pub(crate) fn summary(&self) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<String> =
            counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        parts.join(", ")
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// After everything has stopped: what is done now is done to its end again.
    pub(crate) fn resume(&self) {
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Does `round` again and again until everything stops; the first failure stops everything.
    pub(crate) fn keep_going(
        &self,
        actor: &str,
        mut dice: Dice,
        mut round: impl FnMut(&mut Dice) -> Result,
    ) {
        while !self.is_stopped() {
            if let Err(err) = round(&mut dice) {
                let failed = format!("{actor}: {err}");
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failed);
                self.stop();
            }
        }
    }

    /// What went wrong so far.
    pub(crate) fn verdict(&self) -> Result {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
    }

    /// Waits, or less where everything stops.
    pub(crate) fn pause(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        let steps = time.as_millis() / STEP.as_millis();
        (0..steps).take_while(|_| !self.is_stopped()).for_each(|_| std::thread::sleep(STEP));
    }

    /// Runs airlift, and kills it at a moment that the dice choose, until a run ends well. Others may end with one
    /// of `excused`. False where everything stops: what it talks to may be gone, and it is left as it is.
    pub(crate) fn until_done(
        &self,
        dice: &mut Dice,
        args: &[&str],
        excused: &[i32],
    ) -> Result<bool> {
        let mut last = String::new();
        for _ in 0..MAX_RUNS {
            let ran = if dice.once_in(3) {
                self.run_for(Duration::from_millis(dice.below(MAX_LIFE_MS)), args)?
            } else {
                self.run(args)?
            };
            match ran.code {
                Some(0) => return Ok(true),
                None => self.count("kills", 1),
                Some(code) if excused.contains(&code) => {
                    self.count("refusals", 1);
                    last = ran.to_string();
                    self.pause(REFUSED_PAUSE);
                }
                Some(_) => return Err(unexpected(args, &ran)),
            }
            if self.is_stopped() {
                return Ok(false);
            }
        }
        let words = args.join(" ");
        Err(format!("`airlift {words}` was not done after {MAX_RUNS} runs, lastly:\n{last}").into())
    }

    /// Runs airlift, which must end with one of `codes`.
    pub(crate) fn expect(&self, args: &[&str], codes: &[i32]) -> Result<Ran> {
        let ran = self.run(args)?;
        match ran.code {
            Some(code) if codes.contains(&code) => Ok(ran),
            _ => Err(unexpected(args, &ran)),
        }
    }

    fn run(&self, args: &[&str]) -> Result<Ran> {
        Ok(Ran::from(self.world.command(with_plain(args)).output()?))
    }

    /// Runs airlift, and kills it after `life`.
    fn run_for(&self, life: Duration, args: &[&str]) -> Result<Ran> {
        let mut command = self.world.command(with_plain(args));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        std::thread::sleep(life);
        child.kill()?;
        Ok(Ran::from(child.wait_with_output()?))
    }
}

fn with_plain<'a>(args: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    args.iter().copied().chain(["--progress", "none"])
}

fn unexpected(args: &[&str], ran: &Ran) -> Box<dyn std::error::Error> {
    format!("`airlift {}` ended otherwise than it may:\n{ran}", args.join(" ")).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A site whose airlift does what `script` says.
    fn site(script: &str) -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("airlift");
        fs_err::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        (dir, Site::new(program).unwrap())
    }

    #[test]
    fn an_end_that_is_not_excused_is_a_failure_and_stops_everything() {
        let (_dir, site) = site("echo 'error[damaged-blob] sha256:00'; exit 8");
        let err = site.expect(&["fsck"], &[0]).unwrap_err().to_string();
        assert!(err.contains("`airlift fsck` ended otherwise") && err.contains("damaged-blob"));
        site.keep_going("fetch", Dice::new(1, 1), |dice| {
            site.until_done(dice, &["fetch"], &[4]).map(drop)
        });
        let verdict = site.verdict().unwrap_err().to_string();
        assert!(site.is_stopped() && verdict.starts_with("fetch: "), "{verdict}");
    }

    #[test]
    fn a_verb_that_is_never_done_is_a_failure() {
        let (_dir, site) = site("exit 4");
        let err = site.until_done(&mut Dice::new(1, 1), &["fetch"], &[4]).unwrap_err();
        assert!(err.to_string().contains("was not done"), "{err}");
        assert!(site.summary().contains("refusals"), "{}", site.summary());
    }
}
