//! `cargo xtask test`: every test, with the real parts in reach.

use crate::Result;
use crate::process::{cargo, run as execute};
use crate::tools;

/// Runs all tests, or those whose name holds one of `filters`.
pub(crate) fn run(filters: &[&str]) -> Result {
    let toolbox = tools::install()?;
    if !toolbox.missing().is_empty() {
        eprintln!("warning: the tests that need these will fail:\n{}", toolbox.missing());
    }
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.env("PATH", toolbox.path()?);
    command.env("AIRLIFT_TOOLS_BIN", &toolbox.bin);
    // Without it a test that lacks its part says so and passes; here that would be a hole.
    command.env("AIRLIFT_REQUIRE_TOOLS", "1");
    if !filters.is_empty() {
        command.arg("--").args(filters);
    }
    execute(&mut command)
}
