//! `cargo xtask ci`: everything that must hold before a change lands. Goes on after a failure, so
//! that one run shows them all.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{cache, cargo, output, run as execute, variable};
use crate::{Result, fuzz};

type Step = fn() -> Result<Outcome>;

const STEPS: &[(&str, Step)] = &[
    ("format", format),
    ("lints", lints),
    ("tests", tests),
    ("fuzz targets", fuzz_targets),
    ("documents", documents),
    ("code documentation", code_documentation),
    ("static binary", static_binary),
];

/// How a step that did not fail ended.
enum Outcome {
    Done,
    /// What it needs is not on this machine, and nothing that we may install.
    Skipped(String),
}

pub(crate) fn run() -> Result {
    if let Some(folder) = target_folder() {
        return in_folder(&folder);
    }
    let mut ends = Vec::new();
    for (name, step) in STEPS {
        println!("\n==== {name}");
        let start = Instant::now();
        let outcome = step();
        if let Err(err) = &outcome {
            println!("error: {err}");
        }
        let line = summary(name, &outcome, start.elapsed());
        println!("==== {line}");
        ends.push((outcome.is_err(), line));
    }
    println!("\n==== summary");
    for (_, line) in &ends {
        println!("{line}");
    }
    match ends.iter().filter(|(failed, _)| *failed).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} steps failed", ends.len()).into()),
    }
}

/// The folder in which a CI machine keeps what cargo built, from one checkout to the next.
fn target_folder() -> Option<String> {
    let is_ci = variable("CI").is_some_and(|value| value == "true");
    if !is_ci || variable("CARGO_TARGET_DIR").is_some() {
        return None;
    }
    let folder = cache("airlift-target").ok()?;
    fs_err::create_dir_all(&folder).ok()?;
    folder.to_str().map(str::to_owned)
}

/// Starts this program again with `folder` as cargo's target folder, so that every step has it.
fn in_folder(folder: &str) -> Result {
    println!("target folder: {folder}");
    execute(Command::new(std::env::current_exe()?).arg("ci").env("CARGO_TARGET_DIR", folder))
}

fn format() -> Result<Outcome> {
    if let Some(skipped) = lacks("fmt") {
        return Ok(skipped);
    }
    done(execute(cargo().args(["fmt", "--all", "--check"])))
}

fn lints() -> Result<Outcome> {
    if let Some(skipped) = lacks("clippy") {
        return Ok(skipped);
    }
    done(execute(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])))
}

/// With the doctests, and with xtask's own: the table of dependencies and what each may bring.
fn tests() -> Result<Outcome> {
    done(crate::test::run(&[]))
}

/// Each for a few seconds: enough to see that they run and that nothing breaks at the first push.
fn fuzz_targets() -> Result<Outcome> {
    if let Some(obstacle) = fuzz::obstacle() {
        return Ok(Outcome::Skipped(obstacle));
    }
    done(fuzz::run(&fuzz::Plan::brief()))
}

/// Links and commands in the documents, and the command line reference.
fn documents() -> Result<Outcome> {
    done(crate::docs::run(crate::docs::Mode::Check))
}

/// Links between the comments in the code.
fn code_documentation() -> Result<Outcome> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    done(execute(command.env("RUSTDOCFLAGS", "-D warnings")))
}

fn static_binary() -> Result<Outcome> {
    done(crate::dist::run())
}

fn done(result: Result) -> Result<Outcome> {
    result.map(|()| Outcome::Done)
}

/// rustfmt and clippy come with the toolchain or not at all.
fn lacks(component: &str) -> Option<Outcome> {
    let missing = output(cargo().args([component, "--version"])).err()?;
    Some(Outcome::Skipped(format!("cargo {component} is not on this machine ({missing})")))
}

fn summary(name: &str, outcome: &Result<Outcome>, took: Duration) -> String {
    let seconds = took.as_secs();
    match outcome {
        Ok(Outcome::Done) => format!("ok       {name} ({seconds} s)"),
        Ok(Outcome::Skipped(why)) => format!("SKIPPED  {name}: {why}"),
        Err(_) => format!("FAILED   {name} ({seconds} s)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_done_skipped_and_failed_apart() {
        let took = Duration::from_millis(1_999);
        assert_eq!(summary("lints", &Ok(Outcome::Done), took), "ok       lints (1 s)");
        let skipped = Ok(Outcome::Skipped("no clippy".to_owned()));
        assert_eq!(summary("lints", &skipped, took), "SKIPPED  lints: no clippy");
        assert_eq!(summary("lints", &Err("x".into()), took), "FAILED   lints (1 s)");
    }
}
