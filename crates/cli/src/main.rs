//! The `airlift` binary: arguments in, one library call, words out.

use std::process::ExitCode;

mod app;
mod args;
mod changes;
mod config;
mod connect;
mod elf;
mod environment;
mod error;
mod failure;
mod files;
mod limits;
mod output;
mod place;

mod progress;
mod run;
mod size;
mod sources;
mod verbs;

fn main() -> ExitCode {
    run::run()
}
