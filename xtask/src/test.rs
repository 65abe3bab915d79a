//! `cargo xtask test`: every test, with the real parts in reach.

use std::ffi::OsString;

use crate::Result;
use crate::process::{cargo, run as execute, search_path};
use crate::tools::{self, Toolbox};

/// Runs all tests, or those whose name holds one of `filters`.
pub(crate) fn run(filters: &[&str]) -> Result {
    let toolbox = tools::install()?;
    if !toolbox.missing().is_empty() {
        eprintln!("warning: the tests that need these will fail:\n{}", toolbox.missing());
    }
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.env("PATH", path(&toolbox)?);
    command.env("AIRLIFT_TOOLS_BIN", &toolbox.bin);
    // Without it a test that lacks its part says so and passes; here that would be a hole.
    command.env("AIRLIFT_REQUIRE_TOOLS", "1");
    if !filters.is_empty() {
        command.arg("--").args(filters);
    }
    execute(&mut command)
}

fn path(toolbox: &Toolbox) -> Result<OsString> {
    let folders = std::iter::once(toolbox.bin.clone()).chain(search_path());
    Ok(std::env::join_paths(folders)?)
}
