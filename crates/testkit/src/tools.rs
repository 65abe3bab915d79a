//! Real clients and servers: where they are, and running them without touching the user's own settings.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The program `name`, looked for in `$AIRLIFT_TOOLS_BIN` and then in `PATH`.
pub fn tool(name: &str) -> Option<PathBuf> {
    let first = variable("AIRLIFT_TOOLS_BIN").map(PathBuf::from);
    let path = variable("PATH").unwrap_or_default();
    // Network and disk tools lie where a plain user's PATH does not look.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut folders = first.into_iter().chain(std::env::split_paths(&path)).chain(system);
    folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
}

/// Says loudly that a test does not run, or fails it where `AIRLIFT_REQUIRE_TOOLS` is set.
///
/// # Panics
///
/// Where `AIRLIFT_REQUIRE_TOOLS` is set: there, a skipped test is a failed one.
#[expect(clippy::print_stderr, reason = "a test that does not run has to say so")]
pub fn skip(reason: &str) {
    assert!(variable("AIRLIFT_REQUIRE_TOOLS").is_none(), "this test {reason}");
    eprintln!("SKIPPED: {reason}");
}

#[expect(clippy::disallowed_methods, reason = "tests are configured from outside")]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The path of a tool; where it is absent, the test says `SKIPPED: needs NAME` and returns.
///
/// ```
/// # fn a_test() {
/// let skopeo = airlift_testkit::need!("skopeo");
/// # }
/// ```
#[macro_export]
macro_rules! need {
    ($name:expr) => {
        match $crate::tools::tool($name) {
            Some(path) => path,
            None => {
                $crate::tools::skip(&format!("needs {}", $name));
                return;
            }
        }
    };
}

/// Runs tools in a home folder of their own and captures what they say.
#[derive(Debug)]
pub struct Runner {
    home: TempDir,
}

/// How a program ended, and what it said.
#[derive(Debug, Clone)]
pub struct Ran {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Runner {
    pub fn new() -> io::Result<Self> {
        let home = TempDir::with_prefix("airlift-tools-")?;
        for folder in ["config", "data", "cache", "run", "tmp"] {
            fs_err::create_dir(home.path().join(folder))?;
        }
        Ok(Self { home })
    }

    /// The isolated home folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `program` with nothing of the caller's environment but `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        isolate(&mut command, self.home());
        command.current_dir(self.home());
        command
    }

    /// Runs `program` to its end.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> io::Result<Ran> {
        let output = self.command(program).args(args).stdin(Stdio::null()).output()?;
        Ok(Ran::from(output))
    }

    /// Runs `program` and returns its standard output.
    ///
    /// # Panics
    ///
    /// If it cannot be run, or does not end with 0.
    pub fn succeed<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> String {
        let program = program.as_ref();
        let ran =
            self.run(program, args).unwrap_or_else(|err| panic!("{}: {err}", program.display()));
        assert!(ran.is_success(), "{} failed:\n{ran}", program.display());
        ran.stdout
    }
}

/// Clears the environment of `command` and points every home at `home`.
pub(crate) fn isolate(command: &mut Command, home: &Path) {
    command
        .env_clear()
        .env("PATH", variable("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_STATE_HOME", home.join("data"))
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .env("TMPDIR", home.join("tmp"))
        .env("LC_ALL", "C.UTF-8");
}

impl Ran {
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// `exit: N`, then both outputs: what a snapshot of a command shows.
impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "exit: {code}")?,
            None => writeln!(f, "exit: killed")?,
        }
        write!(f, "----- stdout -----\n{}----- stderr -----\n{}", self.stdout, self.stderr)
    }
}
