//! `cargo xtask scale`: what the program costs at sizes that no test has, beside what it may cost.
//!
//! Every corpus is made on this disk and removed afterwards; the program under test is the release build, run as a
//! user would run it, on a disk cache that is warm. By hand: the full size takes some minutes, a million files and
//! a quiet machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::measure::Timer;
use crate::process::{built, cargo, root};
use corpus::{Corpus, HOST, Kind, Shape};
use pull::{Server, pull, pull_at_once};

mod corpus;
mod pull;
mod table;
mod vast;

use table::{Limit, Table};

/// Makes a corpus and measures what it costs.
type Part = fn(&mut Scale) -> Result;

/// The parts of the whole, by the word that chooses them.
const PARTS: &[(&str, Part)] =
    &[("blobs", blobs), ("vast", vast), ("million", million), ("lock", lock), ("pulls", pulls)];

/// Runs the parts that `words` name, or all.
///
/// `--small` among them makes everything a hundredth of the size; `--keep` leaves the corpus of the last part on the
/// disk, for a profiler.
pub(crate) fn run(words: &[&str]) -> Result {
    let (flags, chosen): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| word.starts_with("--"));
    let known = |word: &&str| PARTS.iter().any(|(part, _)| part == word);
    let is_flag = |word: &&str| ["--small", "--keep"].contains(word);
    if let Some(unknown) =
        flags.iter().find(|it| !is_flag(it)).or_else(|| chosen.iter().find(|it| !known(it)))
    {
        let parts: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        return Err(format!("no such part: {unknown} (there are {})", parts.join(", ")).into());
    }
    let mut scale = Scale::new(if flags.contains(&"--small") { 100 } else { 1 })?;
    for (part, work) in PARTS {
        if chosen.is_empty() || chosen.contains(part) {
            eprintln!("{part} …");
            // A million files are enough for one disk.
            scale.clear()?;
            work(&mut scale)?;
        }
    }
    if !flags.contains(&"--keep") {
        scale.clear()?;
    }
    if scale.divisor > 1 {
        println!("at 1/{} of the sizes that the cases name", scale.divisor);
    }
    print!("{}", scale.table.to_text());
    if scale.table.is_met() { Ok(()) } else { Err("a limit was missed".into()) }
}

struct Scale {
    program: PathBuf,
    folder: PathBuf,
    /// What every count is divided by.
    divisor: u64,
    table: Table,
    timer: Timer,
}

impl Scale {
    fn new(divisor: u64) -> Result<Self> {
        let mut build = cargo();
        build.args(["build", "--release", "--locked", "--package", "airlift-cli"]);
        let program = built(&mut build, "airlift")?;
        let folder = root().join("target/scale");
        let timer = Timer::new(&folder)?;
        Ok(Self { program, folder, divisor, table: Table::default(), timer })
    }

    /// An empty folder to work in.
    fn clear(&self) -> Result {
        match fs_err::remove_dir_all(&self.folder) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(err.into()),
            _ => Ok(fs_err::create_dir_all(&self.folder)?),
        }
    }

    fn count(&self, full: u64) -> u64 {
        full / self.divisor
    }

    fn corpus(&self, name: &str, shape: Shape) -> Result<Corpus> {
        let corpus = corpus::write(&self.folder, name, shape)?;
        eprintln!("  {name}: {} blobs in {} images", shape.blobs(), shape.images);
        Ok(corpus)
    }

    /// The program, with what it costs.
    fn airlift(&self, words: &[&str]) -> Command {
        let mut command = self.timer.command();
        command.arg(&self.program).args(words);
        self.at_home(command)
    }

    /// The program as a server, after `prefix`, which is a program that runs programs.
    fn server(&self, prefix: &[&str], words: &[&str]) -> Command {
        let program = self.program.as_os_str();
        let mut all = prefix.iter().map(std::ffi::OsStr::new).chain([program]);
        let mut command = Command::new(all.next().unwrap_or(program));
        command.args(all).args(words).stdin(Stdio::null()).stderr(Stdio::null());
        self.at_home(command)
    }

    fn at_home(&self, mut command: Command) -> Command {
        command.env_clear().env("HOME", self.folder.join("home")).current_dir(&self.folder);
        command
    }

    /// Runs the program to its end and compares what it cost with `limit`.
    fn case(&mut self, name: &str, limit: Limit, command: &mut Command) -> Result {
        let cost = self.timer.run(command)?;
        self.table.row(name, limit, cost);
        Ok(())
    }

    /// Runs what has to be done before something can be measured.
    fn prepare(&self, command: &mut Command) -> Result {
        self.timer.run(command).map(drop)
    }
}

const SERVE_START: Limit = Limit { seconds: Some(1.0), mib: Some(150) };
const SERVE_PULL: Limit = Limit { seconds: None, mib: Some(150) };
const PLAN: Limit = Limit { seconds: Some(5.0), mib: None };

/// A bundle of 100,000 small blobs.
fn blobs(scale: &mut Scale) -> Result {
    let shape = Shape { images: scale.count(2_000), layers: 48, kind: Kind::Tiny };
    let corpus = scale.corpus("blobs", shape)?;
    fetch(scale, &corpus)?;
    plan(scale, "100,000 blobs: bundle create --dry-run", &corpus)?;
    let key = vast::keygen(&scale.folder)?;
    let mut create = create(scale, &corpus, &key);
    scale.case("100,000 blobs: bundle create", Limit::NONE, &mut create)?;
    let (server, start) = Server::start(&mut serve(scale, &[], "out"))?;
    scale.table.row("100,000 blobs: serve until it answers", SERVE_START, start);
    let cost = server.during(|| pull(server.address(), "team-01/app-00001", 4))?;
    scale.table.row("100,000 blobs: pull of one image", SERVE_PULL, cost);
    Ok(())
}

/// A bundle of 10 TB in 100,000 blobs, on volumes of the default size.
fn vast(scale: &mut Scale) -> Result {
    let shape = Shape { images: scale.count(2_000), layers: 48, kind: Kind::Zeros(80_000_000) };
    let corpus = scale.corpus("vast", shape)?;
    plan(scale, "10 TB: bundle create --dry-run", &corpus)?;
    fs_err::remove_dir_all(&corpus.store)?;
    let key = vast::keygen(&scale.folder)?;
    vast::write(&scale.folder.join("out"), shape, &key)?;
    let (server, start) = Server::start(&mut serve(scale, &[], "out"))?;
    scale.table.row("10 TB: serve until it answers", SERVE_START, start);
    let cost = server.during(|| pull(server.address(), "team-01/app-00001", 4))?;
    scale.table.row("10 TB: pull of one image", SERVE_PULL, cost);
    Ok(())
}

/// A million blobs in one store, reached by 20,000 images of one lock.
fn million(scale: &mut Scale) -> Result {
    let shape = Shape { images: scale.count(20_000), layers: 48, kind: Kind::Tiny };
    let corpus = scale.corpus("million", shape)?;
    fetch(scale, &corpus)?;
    let with_store = |scale: &Scale, words: &[&str]| {
        let mut command = scale.airlift(words);
        command.arg("--store").arg(&corpus.store);
        command
    };
    let seconds = |seconds| Limit { seconds: Some(seconds), mib: None };
    let mut again = with_store(scale, &["fetch"]);
    again.arg("--lock").arg(&corpus.lock);
    scale.case("1,000,000 blobs: fetch, nothing to do", seconds(3.0), &mut again)?;
    let mut gc = with_store(scale, &["gc"]);
    scale.case("1,000,000 blobs: gc, nothing to free", seconds(10.0), &mut gc)?;
    let mut fsck = with_store(scale, &["fsck", "--quick"]);
    scale.case("1,000,000 blobs: fsck --quick", seconds(10.0), &mut fsck)
}

/// 2,000 images in one lock, resolved from a registry that another airlift serves.
fn lock(scale: &mut Scale) -> Result {
    let shape = Shape { images: scale.count(2_000), layers: 48, kind: Kind::Tiny };
    let corpus = scale.corpus("upstream", shape)?;
    fetch(scale, &corpus)?;
    let source = format!("store:{}", corpus.store.display());
    let (upstream, _) = Server::start(&mut serve(scale, &[], &source))?;
    let config = scale.folder.join("home/.config/airlift");
    fs_err::create_dir_all(&config)?;
    let upstreams = format!("[upstreams]\n\"{HOST}\" = \"{}\"\n", upstream.address());
    fs_err::write(config.join("config.toml"), upstreams)?;
    let resolve = |scale: &Scale, more: &[&str]| {
        let mut command = scale.airlift(&["resolve", "--store", "near", "--lock", "near.lock"]);
        command.arg("--file").arg(&corpus.stack).args(more);
        command
    };
    let bounded = Limit { seconds: None, mib: Some(150) };
    scale.case("2,000 images: resolve", bounded, &mut resolve(scale, &[]))?;
    scale.case("2,000 images: resolve again", bounded, &mut resolve(scale, &[]))?;
    scale.case("2,000 images: resolve --locked", bounded, &mut resolve(scale, &["--locked"]))?;
    let second = Limit { seconds: Some(1.0), mib: Some(150) };
    let image = format!("{HOST}/team-01/app-00001:1.0");
    for words in [&["tree"][..], &["why", &image]] {
        let mut command = scale.airlift(words);
        scale.case(
            &format!("2,000 images: {}", words[0]),
            second,
            command.args(["--lock", "near.lock"]),
        )?;
    }
    Ok(())
}

/// 500 clients that pull one image at once: the morning after a cluster restarts.
fn pulls(scale: &mut Scale) -> Result {
    const CLIENTS: usize = 500;
    let shape = Shape { images: 1, layers: 4, kind: Kind::Noise(6 << 20) };
    let corpus = scale.corpus("image", shape)?;
    fetch(scale, &corpus)?;
    let key = vast::keygen(&scale.folder)?;
    scale.prepare(&mut create(scale, &corpus, &key))?;
    let store = format!("store:{}", corpus.store.display());
    let few_files = ["sh", "-c", r#"ulimit -n 256; exec "$0" "$@""#];
    for (name, prefix, source) in [
        ("500 pulls from volumes", &[][..], "out"),
        ("500 pulls from a store", &[], &store),
        ("500 pulls from volumes, 256 files", &few_files, "out"),
        ("500 pulls from a store, 256 files", &few_files, &store),
    ] {
        let (server, _) = Server::start(&mut serve(scale, prefix, source))?;
        let outcome =
            server.during(|| pull_at_once(server.address(), "team-00/app-00000", CLIENTS));
        match outcome {
            Ok(cost) => scale.table.row(name, Limit { seconds: None, mib: Some(1024) }, cost),
            Err(err) => scale.table.failed(name, &err.to_string()),
        }
    }
    Ok(())
}

/// Writes the root of a corpus, as whoever filled the store would have.
fn fetch(scale: &Scale, corpus: &Corpus) -> Result {
    let mut command = scale.airlift(&["fetch", "--store"]);
    scale.prepare(command.arg(&corpus.store).arg("--lock").arg(&corpus.lock))
}

fn plan(scale: &mut Scale, name: &str, corpus: &Corpus) -> Result {
    let mut command = scale.airlift(&["bundle", "create", "--dry-run", "--to", "out"]);
    command.arg("--store").arg(&corpus.store).arg("--lock").arg(&corpus.lock);
    scale.case(name, PLAN, &mut command)
}

fn create(scale: &Scale, corpus: &Corpus, key: &Path) -> Command {
    let mut command = scale.airlift(&["bundle", "create", "--no-binary", "--to", "out", "--sign"]);
    command.arg(key).arg("--store").arg(&corpus.store).arg("--lock").arg(&corpus.lock);
    command
}

fn serve(scale: &Scale, prefix: &[&str], source: &str) -> Command {
    let trust = scale.folder.join(vast::PUBLIC_KEY);
    let mut command = scale.server(prefix, &["serve", source, "--listen", "127.0.0.1:0"]);
    if trust.is_file() {
        command.arg("--trust").arg(trust);
    }
    command
}
