//! The project's own chores: `cargo xtask VERB`, one module a verb.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

use std::process::ExitCode;

mod bench;
mod ci;
mod dist;
mod docs;
mod fuzz;
mod measure;
mod process;
mod scale;
mod soak;
mod test;
mod tools;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The verbs, for whoever wants to know whether one exists.
const CHORES: &[&str] = &["tools", "test", "fuzz", "ci", "docs", "dist", "bench", "soak", "scale"];

const USAGE: &str = "\
usage: cargo xtask VERB

  tools              installs what the tests need, pinned, into a cache outside the checkout
  test [FILTER…]     installs the tools, then runs every test, or those whose name holds a FILTER
  fuzz [TARGET…] [--seconds N]   builds the fuzz targets with nightly, runs all or those named, each a minute
  ci                 everything that must hold before a change lands
  docs [--write]     checks the documents' links and commands, and writes docs/cli.md anew
  dist               builds the one static binary and checks it
  bench [CASE…]      measures airlift beside its peers: fetch, line, small, bundle, load, serve
  soak [--minutes N] everything at once on one store, with faults and kills; then nothing may be wrong
  scale [PART…]      measures what the largest cost, against limits: blobs, vast, million, lock, pulls
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["tools"] => tools::run(),
        ["test", ref filters @ ..] => test::run(filters),
        ["fuzz", ref words @ ..] => fuzz::Plan::parse(words).and_then(|plan| fuzz::run(&plan)),
        ["ci"] => ci::run(),
        ["docs"] => docs::run(docs::Mode::Check),
        ["docs", "--write"] => docs::run(docs::Mode::Write),
        ["dist"] => dist::run(),
        ["bench", ref cases @ ..] => bench::run(cases),
        ["soak", ref words @ ..] => soak::run(words),
        ["scale", ref words @ ..] => scale::run(words),
        [] | ["help" | "-h" | "--help"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("error: no such verb: {}\n\n{USAGE}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_lists_every_chore() {
        let verbs =
            USAGE.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
        assert_eq!(verbs.collect::<Vec<_>>(), CHORES);
    }
}
