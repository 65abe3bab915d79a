use std::io;

use airlift_spec::Failure;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::app::Exit;
use crate::args::Cli;
use crate::error::CliError;

/// Print a shell's completion script
///
/// For bash: `airlift completions bash > /etc/bash_completion.d/airlift`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell it is for
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "airlift", &mut script);
    let written = io::Write::write_all(&mut io::stdout().lock(), &script);
    written.map_err(|source| CliError::Write { what: "to stdout", source })?;
    Ok(Exit::Success)
}
