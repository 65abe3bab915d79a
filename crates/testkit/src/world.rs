//! A small world for a command: a folder, a home of its own, an empty environment, and what came out.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::tools::{Ran, isolate};

/// Where a binary runs as if nothing else existed.
///
/// ```no_run
/// # use airlift_testkit::World;
/// let world = World::new(env!("CARGO_PKG_NAME")).unwrap();
/// world.write("airlift.yaml", "version: 1\n").unwrap();
/// let outcome = world.run(["resolve"]).unwrap();
/// assert_eq!(outcome.code, Some(0), "{outcome}");
/// ```
#[derive(Debug)]
pub struct World {
    program: PathBuf,
    root: TempDir,
    variables: Vec<(String, String)>,
    /// Texts that vary between runs, and what is shown for them.
    filters: Vec<(String, String)>,
}

/// A command that runs beside the test. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl World {
    /// A world for `program`; the command line's tests pass `env!("CARGO_BIN_EXE_airlift")`.
    pub fn new(program: impl Into<PathBuf>) -> io::Result<Self> {
        let root = TempDir::with_prefix("airlift-world-")?;
        for folder in ["work", "home/config", "home/data", "home/cache", "home/run", "home/tmp"] {
            fs_err::create_dir_all(root.path().join(folder))?;
        }
        let filters = vec![(root.path().join("work").display().to_string(), "[WORK]".to_owned())];
        let mut world = Self { program: program.into(), root, variables: Vec::new(), filters };
        world.filter(&world.home().display().to_string(), "[HOME]");
        Ok(world)
    }

    /// The folder that commands run in.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// `$HOME`; `$XDG_CONFIG_HOME` is `config` in it.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Sets an environment variable for all commands to come.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Shows `shown` wherever `text` stands in an output: an address, a digest.
    pub fn filter(&mut self, text: &str, shown: &str) {
        self.filters.push((text.to_owned(), shown.to_owned()));
    }

    /// Writes a file, and the folders on its way.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        let path = self.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        fs_err::write(&path, content)?;
        Ok(path)
    }

    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs_err::read(self.path().join(path))
    }

    /// Writes `airlift.yaml` for the stack `name` of these images.
    pub fn write_stack(&self, name: &str, images: &[&str]) -> io::Result<PathBuf> {
        let mut text = format!("version: 1\nname: {name}\nsources:\n");
        for image in images {
            text += "  - image: ";
            text += image;
            text += "\n";
        }
        self.write("airlift.yaml", text)
    }

    /// The program with `args`, not started yet.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        isolate(&mut command, &self.home());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.path()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end; what it said is filtered, ready for a snapshot.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> io::Result<Ran> {
        let ran = Ran::from(self.command(args).output()?);
        Ok(self.filtered(ran))
    }

    /// Starts the program and lets it run.
    pub fn spawn<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> io::Result<Running> {
        let outputs = tempfile::tempdir_in(self.root.path())?.keep();
        let (stdout, stderr) = (outputs.join("stdout"), outputs.join("stderr"));
        let mut command = self.command(args);
        command.stdout(fs_err::File::create(&stdout)?.into_file());
        command.stderr(fs_err::File::create(&stderr)?.into_file());
        Ok(Running { child: command.spawn()?, stdout, stderr })
    }

    /// `ran` with this world's filters applied, and times and loopback ports made the same in every run.
    pub fn filtered(&self, ran: Ran) -> Ran {
        let filter = |text: String| {
            let text = self.filters.iter().fold(text, |text, (from, to)| text.replace(from, to));
            without_times(&without_ports(&text))
        };
        Ran { stdout: filter(ran.stdout), stderr: filter(ran.stderr), ..ran }
    }
}

/// `127.0.0.1:38123` as `127.0.0.1:[PORT]`.
fn without_ports(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, after) = rest.split_at(at + "127.0.0.1:".len());
        shown += before;
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        shown += if rest.len() < after.len() { "[PORT]" } else { "" };
    }
    shown + rest
}

/// Durations such as `1.4 s`, `250 ms`, `0.05s` as `[TIME]`.
fn without_times(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        shown += before;
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        let is_word = before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':');
        if let Some(length) = unit(after).filter(|_| !is_word) {
            shown += "[TIME]";
            rest = &after[length..];
        } else {
            shown += number;
            rest = after;
        }
    }
    shown + rest
}

/// The length of the unit of time that `text` begins with.
fn unit(text: &str) -> Option<usize> {
    [" ms", "ms", " s", "s", " min"].into_iter().find_map(|unit| {
        let after = text.strip_prefix(unit)?;
        let ends = !after.starts_with(|c: char| c.is_ascii_alphanumeric());
        ends.then_some(unit.len())
    })
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard output so far.
    pub fn stdout(&self) -> String {
        fs_err::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it has said on standard error so far.
    pub fn stderr(&self) -> String {
        fs_err::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Waits until `is_there` holds, which is asked again and again while the program runs.
    ///
    /// Says whether it held before the program ended.
    pub fn wait_until(&mut self, mut is_there: impl FnMut(&Self) -> bool) -> io::Result<bool> {
        loop {
            if is_there(self) {
                return Ok(true);
            }
            if self.child.try_wait()?.is_some() {
                return Ok(is_there(self));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// `kill -9`: no handler of the program runs.
    pub fn kill(mut self) -> io::Result<Ran> {
        self.child.kill()?;
        self.finish()
    }

    /// Waits until the program ends by itself.
    pub fn wait(mut self) -> io::Result<Ran> {
        self.finish()
    }

    /// Asks the program to end (SIGTERM) and waits until it does.
    pub fn terminate(self) -> io::Result<Ran> {
        self.signal("TERM")?;
        self.wait()
    }

    /// Sends a signal by its name, such as `INT`; the program goes on as it sees fit.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-s", name, &id]).status().map(drop)
    }

    fn finish(&mut self) -> io::Result<Ran> {
        let status = self.child.wait()?;
        Ok(Ran { code: status.code(), stdout: self.stdout(), stderr: self.stderr() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
