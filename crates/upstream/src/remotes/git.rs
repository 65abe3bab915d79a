//! Git repositories, by the `git` program.
//!
//! What a server gives is checked out in a folder of its own, and nothing of it is run:
//!
//! - No hooks, no configuration or attributes of the user's or the machine's, no filters, since only those define some, no
//!   submodules. Of the environment Git sees what it needs, by name.
//! - Nobody is asked for a password, and no program that would ask is run. What an address starts with is the one protocol that is spoken, redirects included.
//! - A transfer is stopped once it is too large, and files are counted before they are written.
//! - A revision and an address cannot be taken for options: they stand behind `--`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use airlift_helm::process::{self, Stopped};
use airlift_helm::{KustomizeError, MAX_TREE_FILES, Repository, Scratch, pack};
use airlift_spec::lock::Commit;
use airlift_spec::{Class, Ctx, Explain};

/// Most bytes of one commit, packed and unpacked.
const MAX_BYTES: u64 = 2 << 30;

/// The longest that one step may take.
const TIMEOUT: Duration = Duration::from_mins(15);

/// Bytes for which a disk that is not full has room.
const PROBE_BYTES: usize = 1 << 20;

/// The longest that a server may be silent, in seconds.
const SILENCE: u32 = 30;

/// What Git says where the line is at fault, or the server for now.
const PASSING: &[&str] = &[
    "hung up",
    "disconnect",
    "early EOF",
    "RPC failed",
    "too slow",
    "timed out",
    "Failed to connect",
    "Could not resolve",
    "Connection reset",
    "Recv failure",
    "Empty reply",
];

/// Variables of the user's that Git needs: for its way out, for certificates, and for SSH. Others could name programs that
/// are run, or change the bytes of a commit.
const KEPT: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "SSH_AUTH_SOCK",
];

type Environment = Vec<(OsString, OsString)>;

/// Why a repository gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("there is no `git` program")]
    Absent,
    #[error("failed to run `git`")]
    Run(#[source] io::Error),
    #[error("git says: {0}")]
    Refused(String),
    #[error(
        "its commit {0} is larger than {MAX_BYTES} bytes or has more than {MAX_TREE_FILES} files"
    )]
    TooLarge(String),
    #[error("it takes longer than a quarter of an hour")]
    TimedOut,
    #[error(transparent)]
    Tree(KustomizeError),
    #[error("cancelled")]
    Cancelled,
}

impl Explain for GitError {
    fn class(&self) -> Class {
        match self {
            Self::Absent | Self::TooLarge(_) => Class::Input,
            Self::Refused(_) | Self::TimedOut => Class::Network,
            Self::Run(_) => Class::Storage,
            Self::Tree(source) => source.class(),
            Self::Cancelled => Class::Cancelled,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Absent => Some("install git and put it on the PATH".to_owned()),
            Self::TooLarge(_) => Some("keep a copy of the folder beside the stack".to_owned()),
            Self::Refused(said) if said.contains("remote ref") => Some(
                "name a branch, a tag, or a whole commit that it has, as in `?ref=main`".to_owned(),
            ),
            Self::Run(source) => process::no_room(&source.to_string()),
            Self::Tree(source) => source.help(),
            _ => None,
        }
    }
}

impl GitError {
    /// Whether the next try may bring what this one did not.
    pub(super) fn is_passing(&self) -> bool {
        let Self::Refused(said) = self else { return false };
        match said.split_once("URL returned error: ") {
            Some((_, status)) => status.starts_with(['5']) || status.starts_with("429"),
            None => PASSING.iter().any(|words| said.contains(words)),
        }
    }
}

/// The commit that a repository's revision leads to, or `pinned`, and the archive of what is used of it.
pub(super) fn tree(
    repository: &Repository,
    pinned: Option<&Commit>,
    programs: &OsStr,
    ctx: &Ctx,
) -> Result<(Commit, Vec<u8>), GitError> {
    // Nothing is decided by it here: a program that is run has it from whoever runs it.
    let environment = std::env::vars_os().collect();
    tree_within(&Limits::default(), repository, pinned, programs, environment, ctx)
}

/// What a server may cost.
struct Limits {
    max_bytes: u64,
    /// In seconds, which is how Git counts.
    max_silence: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: MAX_BYTES, max_silence: SILENCE }
    }
}

fn tree_within(
    limits: &Limits,
    repository: &Repository,
    pinned: Option<&Commit>,
    programs: &OsStr,
    environment: Environment,
    ctx: &Ctx,
) -> Result<(Commit, Vec<u8>), GitError> {
    let scratch = Scratch::new();
    // The whole error has the name of the folder, which is another one each time.
    let scratch = scratch.map_err(|err| GitError::Run(err.kind().into()))?;
    let (program, path) = (find(programs)?, programs.to_owned());
    // `git@host:path` is SSH.
    let scheme = repository.url.split_once("://").map_or("ssh", |(scheme, _)| scheme);
    let folder = scratch.path().to_owned();
    let git = Git { program, path, environment, folder, scheme, limits, ctx };
    git.run(&["init", "--quiet", "--template="])?;
    let revision = pinned.map(ToString::to_string).or_else(|| repository.revision.clone());
    let revision = revision.unwrap_or_else(|| "HEAD".to_owned());
    let fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--"];
    git.run(&[fetch.as_slice(), &[&repository.url, &revision]].concat())?;
    let commit = git.run(&["rev-parse", "--verify", "FETCH_HEAD^{commit}"])?;
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    let commit = Commit::try_from(commit).map_err(GitError::Refused)?;
    git.measure(&commit)?;
    git.run(&["checkout", "--quiet", "--detach", &commit.to_string()])?;
    fs_err::remove_dir_all(scratch.path().join(".git")).map_err(GitError::Run)?;
    Ok((commit, pack(scratch.path(), &repository.folder).map_err(GitError::Tree)?))
}

struct Git<'a> {
    program: PathBuf,
    /// Where Git looks for `ssh`.
    path: OsString,
    /// The user's own, of which little is handed on.
    environment: Environment,
    folder: PathBuf,
    scheme: &'a str,
    limits: &'a Limits,
    ctx: &'a Ctx,
}

fn find(programs: &OsStr) -> Result<PathBuf, GitError> {
    let mut places = std::env::split_paths(programs).map(|folder| folder.join("git"));
    places.find(|place| place.is_file()).ok_or(GitError::Absent)
}

impl Git<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let kept = self.environment.iter().filter(|(name, _)| KEPT.iter().any(|it| name == it));
        command
            .current_dir(&self.folder)
            .env_clear()
            .envs(kept.map(|(name, value)| (name, value)))
            .env("PATH", &self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("GIT_ALLOW_PROTOCOL", self.scheme)
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
            .env("GIT_CEILING_DIRECTORIES", self.folder.parent().unwrap_or(&self.folder))
            .env("LC_ALL", "C");
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.askPass=",
            // One commit is the same bytes on every machine.
            "core.attributesFile=/dev/null",
            "core.autocrlf=false",
            // One growing file, which can be measured.
            "fetch.unpackLimit=1",
            "gc.auto=0",
        ] {
            command.args(["-c", setting]);
        }
        let silence = format!("http.lowSpeedTime={}", self.limits.max_silence);
        command.args(["-c", "http.lowSpeedLimit=1", "-c", &silence]);
        command
    }

    fn run(&self, args: &[&str]) -> Result<Vec<u8>, GitError> {
        let mut command = self.command();
        command.args(args);
        let packs = self.folder.join(".git/objects/pack");
        let ran = process::run_watched(
            &mut command,
            TIMEOUT,
            || size(&packs) > self.limits.max_bytes,
            self.ctx,
        );
        match ran {
            Ok(ran) if ran.is_success => Ok(ran.stdout),
            Ok(ran) if process::no_room(&ran.stderr).is_some() || self.is_full() => {
                Err(GitError::Run(io::ErrorKind::StorageFull.into()))
            }
            Ok(ran) => Err(GitError::Refused(self.own_words(&ran.stderr))),
            Err(Stopped::Failed(source)) => Err(GitError::Run(source)),
            Err(Stopped::TimedOut) => Err(GitError::TimedOut),
            Err(Stopped::TooMuch) => {
                Err(GitError::TooLarge(args.last().unwrap_or(&"").to_string()))
            }
            Err(Stopped::OutOfMemory | Stopped::Killed) => {
                Err(GitError::Refused("the system ended it, or had no memory left".to_owned()))
            }
            Err(Stopped::Cancelled) => Err(GitError::Cancelled),
        }
    }

    /// Whether there is no room, for which Git has many words.
    fn is_full(&self) -> bool {
        let probed = fs_err::write(self.folder.join("probe"), vec![0; PROBE_BYTES]);
        probed.is_err_and(|err| err.kind() == io::ErrorKind::StorageFull)
    }

    /// What it says, without the name of the folder, which is another one each time.
    fn own_words(&self, stderr: &str) -> String {
        let folder = format!("{}/", self.folder.display());
        stderr.trim().replace("fatal: ", "").replace(&folder, "")
    }

    /// Refuses a commit with more than may lie on the disk.
    fn measure(&self, commit: &Commit) -> Result<(), GitError> {
        let listed = self.run(&["ls-tree", "-r", "-l", "-z", &commit.to_string()])?;
        let (mut files, mut bytes) = (0, 0_u64);
        for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            // `<mode> <type> <object> <size>`, a tab, and the path; a submodule has `-` for a size.
            let head = entry.split(|byte| *byte == b'\t').next().unwrap_or_default();
            let head = String::from_utf8_lossy(head);
            let size = head.split_whitespace().nth(3).and_then(|size| size.parse().ok());
            files += 1;
            bytes = bytes.saturating_add(size.unwrap_or(0));
        }
        if files > MAX_TREE_FILES || bytes > self.limits.max_bytes {
            return Err(GitError::TooLarge(commit.to_string()));
        }
        Ok(())
    }
}

/// Bytes of the files in a folder; nothing where there is none yet.
fn size(folder: &Path) -> u64 {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with one commit, of this kustomization.
    fn repository(program: &Path, kustomization: &str) -> (tempfile::TempDir, Repository) {
        let top = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let mut command = Command::new(program);
            let name = ["-c", "user.name=a", "-c", "user.email=a@b.test"];
            let done = command.args(name).args(args).current_dir(top.path()).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        };
        git(&["init", "--quiet"]);
        fs_err::write(top.path().join("kustomization.yaml"), kustomization).unwrap();
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message=m"]);
        let url = format!("file://{}", top.path().display());
        (top, Repository { url, folder: String::new(), revision: None })
    }

    /// A home with attributes, and an environment with a program that gives a password.
    fn odd_user(home: &Path) -> Environment {
        let attributes = home.join(".config/git/attributes");
        fs_err::create_dir_all(attributes.parent().unwrap()).unwrap();
        fs_err::write(attributes, "*.yaml text eol=crlf\n").unwrap();
        let ask = home.join("ask");
        let text = format!("#!/bin/sh\ntouch {}\necho secret\n", home.join("asked").display());
        fs_err::write(&ask, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&ask, mode).unwrap();
        [("HOME", home), ("SSH_ASKPASS", &ask), ("GIT_ASKPASS", &ask)]
            .map(|(name, value)| (name.into(), value.into()))
            .into()
    }

    #[test]
    fn a_commit_is_the_same_bytes_whoever_asks() {
        let program = airlift_testkit::need!("git");
        let (_top, repository) = repository(&program, "resources: []\n");
        let programs = program.parent().unwrap().as_os_str();
        let home = tempfile::tempdir().unwrap();
        let [plain, odd] = [Vec::new(), odd_user(home.path())].map(|environment| {
            let ctx = Ctx::default();
            tree_within(&Limits::default(), &repository, None, programs, environment, &ctx).unwrap()
        });
        assert_eq!(plain, odd);
    }

    #[test]
    fn no_program_is_asked_for_a_password() {
        use std::io::{Read as _, Write as _};
        let program = airlift_testkit::need!("git");
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/o/r.git", server.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                drop(stream.read(&mut [0; 4096]));
                let answer = "HTTP/1.1 401 no\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\
                              Content-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let home = tempfile::tempdir().unwrap();
        let environment = odd_user(home.path());
        let repository = Repository { url, folder: String::new(), revision: None };
        let programs = program.parent().unwrap().as_os_str();
        let ctx = Ctx::default();
        let tree = tree_within(&Limits::default(), &repository, None, programs, environment, &ctx);
        assert!(matches!(tree, Err(GitError::Refused(_))), "{tree:?}");
        assert!(!home.path().join("asked").exists());
    }

    #[test]
    fn a_commit_that_is_too_large_is_refused_before_its_files_are_written() {
        let program = airlift_testkit::need!("git");
        // Ten megabytes that pack to almost nothing.
        let (_top, repository) = repository(&program, &"#".repeat(10_000_000));
        let programs = program.parent().unwrap().as_os_str();
        let up_to = |max_bytes| {
            let limits = Limits { max_bytes, ..Limits::default() };
            tree_within(&limits, &repository, None, programs, Vec::new(), &Ctx::default())
        };
        assert!(up_to(10_000_000).is_ok());
        let err = up_to(9_999_999).unwrap_err();
        assert!(matches!(err, GitError::TooLarge(_)), "{err}");
        assert!(matches!(
            tree(&repository, None, "".as_ref(), &Ctx::default()),
            Err(GitError::Absent)
        ));
    }

    #[test]
    fn a_server_that_falls_silent_is_left() {
        use std::io::{Read as _, Write as _};
        let program = airlift_testkit::need!("git");
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/o/r.git", server.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            drop(stream.read(&mut [0; 4096]));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n001e# ").unwrap();
            // Until the client leaves.
            drop(stream.read(&mut [0; 1]));
        });
        let repository = Repository { url, folder: String::new(), revision: None };
        let programs = program.parent().unwrap().as_os_str();
        let limits = Limits { max_silence: 1, ..Limits::default() };
        let tree = tree_within(&limits, &repository, None, programs, Vec::new(), &Ctx::default());
        let err = tree.unwrap_err();
        assert!(err.to_string().contains("too slow") && err.is_passing(), "{err}");
    }
}
