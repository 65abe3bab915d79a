//! The rim of this program: the checkout it works in, its environment, and the programs it runs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Result;

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies one level below the root")
}

/// An environment variable, if it is set to something.
#[expect(clippy::disallowed_methods, reason = "a program, like `cli`: it has an environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The folder `name` in the user's cache.
pub(crate) fn cache(name: &str) -> Result<PathBuf> {
    let base = match (variable("XDG_CACHE_HOME"), variable("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => return Err("neither XDG_CACHE_HOME nor HOME is set".into()),
    };
    Ok(base.join(name))
}

/// The cargo that runs us, in the checkout.
pub(crate) fn cargo() -> Command {
    unaware(variable("CARGO").unwrap_or_else(|| "cargo".to_owned()))
}

/// `program`, in the checkout, that does not know of the cargo that runs us.
pub(crate) fn unaware(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // `cargo run` tells us about ourselves. Build scripts, ring's among them, would take that for a
    // change of theirs and run again, and with them everything that is built on top.
    let ours = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| is_about_us(&name.to_string_lossy()));
    for name in ours {
        command.env_remove(name);
    }
    command
}

/// Whether cargo sets `name` for the program that it runs.
fn is_about_us(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
        .iter()
        .any(|ours| name.starts_with(ours))
}

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let folder =
        metadata["target_directory"].as_str().ok_or("cargo does not say where it builds")?;
    Ok(PathBuf::from(folder))
}

/// Runs `command` to its end, its output going where ours goes.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|err| format!("{}: {err}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", line(command)).into()) }
}

/// What `command` prints on stdout; what it prints on stderr is shown only if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|err| format!("{}: {err}", line(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}\n{}", line(command), output.status, said.trim_end()).into())
}

/// Runs the `cargo build` that `command` is and says where the program `name` lies after it.
pub(crate) fn built(command: &mut Command, name: &str) -> Result<PathBuf> {
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let messages = output(command)?;
    executable(&messages, name).ok_or_else(|| format!("cargo built no program `{name}`").into())
}

/// The program `name` among cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ours = messages.filter(|message| message["target"]["name"] == name);
    ours.find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

/// Where the program `name` lies, looked for in `PATH` and where Debian keeps root's programs.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    search_path().into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// `PATH` and, at its end, the folders that a plain user's `PATH` lacks.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let root_only = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(root_only).collect()
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}
{"reason":"compiler-artifact","target":{"name":"airlift"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"airlift"},"executable":"/t/airlift"}
not json"#;
        assert_eq!(executable(messages, "airlift"), Some(PathBuf::from("/t/airlift")));
        assert_eq!(executable(messages, "absent"), None);
    }

    #[test]
    fn a_failing_program_is_reported_with_its_words() {
        let mut command = Command::new("sh");
        let err = output(command.args(["-c", "echo because >&2; exit 3"])).unwrap_err().to_string();
        assert!(err.contains("exit status: 3") && err.ends_with("because"), "{err}");
    }
}
