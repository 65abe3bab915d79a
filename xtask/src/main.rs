//! The project's own chores: `cargo xtask VERB`, one module a verb.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

use std::process::ExitCode;

mod ci;
mod dist;
mod process;
mod test;
mod tools;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: cargo xtask VERB

  tools              installs what the tests need, pinned, into a cache outside the checkout
  test [FILTER…]     installs the tools, then runs every test, or those whose name holds a FILTER
  ci                 everything that must hold before a change lands
  dist               builds the one static binary and checks it
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["tools"] => tools::run(),
        ["test", ref filters @ ..] => test::run(filters),
        ["ci"] => ci::run(),
        ["dist"] => dist::run(),
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
