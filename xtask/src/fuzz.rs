//! `cargo xtask fuzz`: the parsers of untrusted bytes under libFuzzer.
//!
//! ```text
//! fuzz/targets/<target>.rs         one program a target; the function it runs is the crate's
//! fuzz/seeds/<target>/             inputs to begin with; `cargo test` runs them and mutations of them, too
//! fuzz/artifacts/<target>/         inputs that broke something, not committed
//! <target folder>/fuzz/            what nightly built
//! <target folder>/fuzz-corpus/     what was found on the way to more coverage, a folder a target
//! <cache>/cargo-fuzz-<version>/    cargo-fuzz, in the tools' cache
//! ```
//!
//! Nightly, because coverage is counted by what stable does not have. Without a sanitizer, because ours is all safe
//! code: what is looked for is a broken promise, a panic, a hang, or a parser that takes too much memory.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use crate::Result;
use crate::process::{find, output, root, run as execute, target_folder, unaware};
use crate::tools;

const CARGO_FUZZ: &str = "0.13.2";

/// Of inputs up to 64 KiB, none may take seconds or half a gigabyte. The timeout leaves room for a busy machine.
const LIMITS: &[&str] =
    &["-max_len=65536", "-timeout=5", "-rss_limit_mb=512", "-verbosity=0", "-print_final_stats=1"];

/// What to run, and for how long each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan<'a> {
    targets: Vec<&'a str>,
    seconds: u32,
    /// Begins at the seeds, whatever earlier runs found.
    is_fresh: bool,
}

impl<'a> Plan<'a> {
    /// Every target, briefly, and the same way each time.
    pub(crate) fn brief() -> Self {
        Self { targets: Vec::new(), seconds: 3, is_fresh: true }
    }

    /// `[TARGET…] [--seconds N]`; without targets, all of them.
    pub(crate) fn parse(words: &[&'a str]) -> Result<Self> {
        let mut plan = Self { targets: Vec::new(), seconds: 60, is_fresh: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if *word == "--seconds" {
                let number = words.next().ok_or("`--seconds` needs a number")?;
                plan.seconds = number.parse().map_err(|_| format!("`{number}` is no number"))?;
            } else {
                plan.targets.push(word);
            }
        }
        Ok(plan)
    }

    /// Those of `known` that are to run.
    fn choose(&self, known: Vec<String>) -> Result<VecDeque<String>> {
        if let Some(unknown) = self.targets.iter().find(|name| !known.iter().any(|it| it == *name))
        {
            let known = known.join(", ");
            return Err(format!("no such target: {unknown} (there are {known})").into());
        }
        let is_wanted =
            |name: &String| self.targets.is_empty() || self.targets.contains(&name.as_str());
        Ok(known.into_iter().filter(is_wanted).collect())
    }
}

/// What is missing on this machine and cannot be had: nightly, a C++ compiler, or cargo-fuzz.
pub(crate) fn obstacle() -> Option<String> {
    if let Err(err) = output(nightly("cargo").arg("--version")) {
        return Some(format!("a nightly toolchain is not on this machine ({err})"));
    }
    if find("c++").is_none() {
        return Some("libFuzzer is C++, and no `c++` is on this machine".to_owned());
    }
    cargo_fuzz().err().map(|err| format!("cargo-fuzz {CARGO_FUZZ} could not be installed ({err})"))
}

/// Builds all targets at once and runs the planned ones, as many at a time as there are cores.
pub(crate) fn run(plan: &Plan) -> Result {
    if let Some(obstacle) = obstacle() {
        return Err(obstacle.into());
    }
    let queue = Mutex::new(plan.choose(targets()?)?);
    let programs = build()?;
    let failed: Mutex<Vec<String>> = Mutex::default();
    let work = || {
        while let Some(name) = next(&queue) {
            match fuzz(&programs, &name, plan) {
                Ok(inputs) => println!("{name:16} {inputs} inputs in {} s", plan.seconds),
                Err(err) => {
                    println!("{err}");
                    failed.lock().expect("nobody panics").push(name);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            scope.spawn(work);
        }
    });
    match failed.into_inner()?.as_slice() {
        [] => Ok(()),
        failed => Err(format!("broken: {}", failed.join(", ")).into()),
    }
}

fn next(queue: &Mutex<VecDeque<String>>) -> Option<String> {
    queue.lock().expect("nobody panics").pop_front()
}

/// The names of all targets, sorted.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(root().join("fuzz/targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds every target and returns the folder they lie in.
fn build() -> Result<PathBuf> {
    let host = output(nightly("rustc").args(["--print", "host-tuple"]))?;
    let host = host.trim();
    let folder = target_folder()?.join("fuzz");
    let mut fetch = nightly("cargo");
    // cargo-fuzz would write the lock anew and say nothing.
    fetch.args(["fetch", "--locked", "--quiet", "--target", host, "--manifest-path"]);
    output(fetch.arg(root().join("fuzz/Cargo.toml")))?;
    let mut build = nightly(cargo_fuzz()?);
    build.args(["build", "--fuzz-dir"]).arg(root().join("fuzz")).args(["--sanitizer", "none"]);
    build.args(["--target", host]).arg("--target-dir").arg(&folder);
    execute(&mut build)?;
    Ok(folder.join(host).join("release"))
}

/// Runs one target and says how many inputs it took; an error tells how to go on from what it found.
fn fuzz(programs: &Path, name: &str, plan: &Plan) -> Result<String> {
    let corpus = target_folder()?.join("fuzz-corpus").join(name);
    if plan.is_fresh && corpus.exists() {
        fs_err::remove_dir_all(&corpus)?;
    }
    let artifacts = root().join("fuzz/artifacts").join(name);
    for folder in [&corpus, &artifacts] {
        fs_err::create_dir_all(folder)?;
    }
    let mut program = Command::new(programs.join(name));
    program.args(LIMITS).arg(format!("-max_total_time={}", plan.seconds));
    program.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // What is new goes into the first folder.
    program.arg(corpus).arg(root().join("fuzz/seeds").join(name));
    let ended = program.output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    if ended.status.success() {
        return Ok(statistic(&said, "number_of_executed_units").unwrap_or("no").to_owned());
    }
    Err(format!("{name} is broken:\n{}\n{}", last_lines(&said, 40), what_to_do(name, &said)).into())
}

fn what_to_do(name: &str, said: &str) -> String {
    let input = said.lines().find_map(|line| line.split_once("Test unit written to "));
    match input {
        None => format!("it ended without an input: run `cargo xtask fuzz {name}` again"),
        Some((_, path)) => format!(
            "the input is {path}\nto see it again without nightly: copy it into fuzz/seeds/{name}/ and run \
             `cargo test --workspace fuzzing`"
        ),
    }
}

/// A number that libFuzzer prints at its end.
fn statistic<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    let line = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
    Some(line.trim_start_matches(':').trim())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// cargo-fuzz, installed unless it is there.
fn cargo_fuzz() -> Result<PathBuf> {
    let folder = tools::home()?.join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    let program = folder.join("bin/cargo-fuzz");
    if !program.is_file() {
        eprintln!("installing cargo-fuzz {CARGO_FUZZ} (about a minute)");
        let mut install = nightly("cargo");
        install.args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"]);
        // cargo itself gives the program its name when it is whole.
        output(install.arg(&folder).arg("--target-dir").arg(target_folder()?.join("cargo-fuzz")))?;
    }
    Ok(program)
}

/// `program` under the nightly toolchain, whatever the checkout pins.
fn nightly(program: impl AsRef<OsStr>) -> Command {
    let mut command = unaware("rustup");
    command.args(["run", "nightly"]).arg(program);
    // Those of the toolchain that runs us.
    for ours in ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(ours);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [&str; 10] = [
        "crates/spec/src/fuzzing.rs",
        "crates/scan/src/fuzzing.rs",
        "crates/helm/src/fuzzing.rs",
        "crates/oc-mirror/src/fuzzing.rs",
        "crates/store/src/fuzzing.rs",
        "crates/registry/src/client/fuzzing.rs",
        "crates/registry/src/server/fuzzing.rs",
        "crates/bundle/src/fuzzing.rs",
        "crates/catalog/src/fuzzing.rs",
        "crates/upstream/src/fuzzing.rs",
    ];

    #[test]
    fn every_target_has_seeds_a_program_and_a_plain_test() {
        let manifest = fs_err::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let sources =
            SOURCES.map(|path| fs_err::read_to_string(root().join(path)).unwrap()).concat();
        let targets = targets().unwrap();
        assert!(targets.len() > 10);
        for name in &targets {
            assert!(root().join("fuzz/seeds").join(name).is_dir(), "{name} has no seeds");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not built");
            assert!(sources.contains(&format!("check(\"{name}\"")), "{name} has no plain test");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
        assert_eq!(sources.matches("        check(\"").count(), targets.len());
    }

    #[test]
    fn the_plan_is_read_from_the_command_line() {
        let plan = Plan::parse(&["stack", "--seconds", "5", "lock"]).unwrap();
        assert_eq!(plan, Plan { targets: vec!["stack", "lock"], seconds: 5, is_fresh: false });
        assert_eq!(Plan::parse(&[]).unwrap().targets, Vec::<&str>::new());
        let known = || ["lock", "range", "stack"].map(str::to_owned).to_vec();
        assert_eq!(plan.choose(known()).unwrap(), ["lock", "stack"]);
        assert_eq!(Plan::brief().choose(known()).unwrap().len(), 3);
        let unknown = Plan::parse(&["--second"]).unwrap().choose(known()).unwrap_err();
        assert_eq!(unknown.to_string(), "no such target: --second (there are lock, range, stack)");
        assert!(Plan::parse(&["--seconds"]).is_err());
        assert!(Plan::parse(&["--seconds", "soon"]).is_err());
    }

    #[test]
    fn what_libfuzzer_says_becomes_advice() {
        let said = "stat::number_of_executed_units: 1234\nstat::peak_rss_mb: 40\n";
        assert_eq!(statistic(said, "number_of_executed_units"), Some("1234"));
        assert_eq!(statistic(said, "absent"), None);
        let crash = "x\nartifact_prefix='a/'; Test unit written to a/crash-1\nBase64: YQ==";
        let advice = what_to_do("lock", crash);
        assert!(advice.contains("a/crash-1") && advice.contains("fuzz/seeds/lock/"), "{advice}");
        assert!(what_to_do("lock", "killed").contains("without an input"));
    }
}
