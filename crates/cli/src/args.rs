//! The command line: what every verb shares. What a verb takes itself stands in its own file.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;

use crate::progress;
use crate::size::Size;
use crate::verbs::Verb;

const HEADING: &str = "Global options";

/// Carry AI platforms across an air gap
///
/// On the connected side, `resolve` pins what `airlift.yaml` wants, `fetch` brings it into the store, and
/// `bundle create` writes it to volumes; `pack` is all three. On the far side, `verify` checks the volumes,
/// and `load` brings them into a registry or `serve` offers them as one; `land` is verify and load.
#[derive(Debug, Parser)]
#[command(name = "airlift", version, max_term_width = 100, disable_help_subcommand = false)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 a bug in airlift, 2 input, 3 access, 4 network, 5 integrity, 6 storage, 7 cluster, \
8 findings of severity error, 130 cancelled.";

/// Flags that every verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Global {
    /// Folder of the store [default: airlift/store in the XDG data home]
    #[arg(long, global = true, value_name = "DIR", env = "AIRLIFT_STORE", hide_env_values = true)]
    #[arg(help_heading = HEADING)]
    pub(crate) store: Option<PathBuf>,

    /// Folder for what one run leaves to the next [default: airlift in the XDG state home]
    #[arg(long, global = true, value_name = "DIR", env = "AIRLIFT_STATE", hide_env_values = true)]
    #[arg(help_heading = HEADING)]
    pub(crate) state: Option<PathBuf>,

    /// Public key that a bundle may be signed with; repeats [default: trust/*.pub in the config folder]
    #[arg(long, global = true, value_name = "KEY", help_heading = HEADING)]
    pub(crate) trust: Vec<PathBuf>,

    /// Take bundles that no trusted key has signed: anybody may have made them
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) insecure_trust_unsigned: bool,

    /// File with registry credentials [default: those of podman and docker]
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) authfile: Option<PathBuf>,

    /// Certificate of an authority to trust besides the system's; repeats
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) ca: Vec<PathBuf>,

    /// Certificate and key, both in one PEM file, to show to registries that ask for one
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) client_cert: Option<PathBuf>,

    /// Registry to speak plain HTTP to; repeats, and loopback needs no mention
    #[arg(long, global = true, value_name = "HOST", help_heading = HEADING)]
    pub(crate) plain_http: Vec<String>,

    /// Form of what is printed on stdout
    #[arg(long, global = true, value_enum, default_value_t, help_heading = HEADING)]
    pub(crate) output: Output,

    /// Form of what is printed on stderr meanwhile
    #[arg(long, global = true, value_enum, default_value_t, help_heading = HEADING)]
    pub(crate) progress: progress::Mode,

    /// Log what airlift does, more of it with each repetition
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = HEADING)]
    pub(crate) verbose: u8,
}

/// Flags of verbs that move bytes over the line.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Transfer {
    /// Transfers at once; fewer where a registry bears fewer
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<NonZeroUsize>,
    /// Bytes a second over all connections together, like `25MB`
    #[arg(long, value_name = "RATE")]
    pub(crate) limit_rate: Option<Size>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Output {
    /// Text for people
    #[default]
    Table,
    /// One versioned JSON document
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_and_flag_is_explained() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "`{}` is not explained", command.get_name());
            for arg in command.get_arguments() {
                let (verb, arg_name) = (command.get_name(), arg.get_id());
                assert!(arg.get_help().is_some(), "`{arg_name}` of `{verb}` is not explained");
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
    }
}
