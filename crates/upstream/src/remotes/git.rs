//! Git repositories, by the `git` program.
//!
//! What a server gives is checked out in a folder of its own, and nothing of it is run:
//!
//! - No hooks, no configuration of the user's or the machine's, no filters, since only those define some, no submodules.
//! - Nobody is asked for a password. What an address starts with is the one protocol that is spoken, redirects included.
//! - A transfer is stopped once it is too large, and files are counted before they are written.
//! - A revision and an address cannot be taken for options: they stand behind `--`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use airlift_helm::process::{self, Stopped};
use airlift_helm::{KustomizeError, MAX_TREE_FILES, Repository, pack};
use airlift_spec::lock::Commit;
use airlift_spec::{Class, Ctx, Explain};
use tempfile::TempDir;

/// Most bytes of one commit, packed and unpacked.
const MAX_BYTES: u64 = 2 << 30;

/// The longest that one step may take.
const TIMEOUT: Duration = Duration::from_mins(15);

/// Variables by which a user tells Git of other places.
const ELSEWHERE: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_TEMPLATE_DIR",
    "GIT_ASKPASS",
    "GIT_EXTERNAL_DIFF",
    "GIT_TRACE",
];

/// Why a repository gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("there is no `git` program")]
    Absent,
    #[error("failed to run `git`")]
    Run(#[source] std::io::Error),
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
            Self::Tree(source) => source.help(),
            _ => None,
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
    tree_up_to(MAX_BYTES, repository, pinned, programs, ctx)
}

fn tree_up_to(
    max_bytes: u64,
    repository: &Repository,
    pinned: Option<&Commit>,
    programs: &OsStr,
    ctx: &Ctx,
) -> Result<(Commit, Vec<u8>), GitError> {
    let scratch = TempDir::with_prefix("airlift-git-").map_err(GitError::Run)?;
    let git = Git::new(programs, &repository.url, scratch.path().to_owned(), max_bytes, ctx)?;
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
    folder: PathBuf,
    scheme: &'a str,
    max_bytes: u64,
    ctx: &'a Ctx,
}

impl<'a> Git<'a> {
    fn new(
        programs: &OsStr,
        url: &'a str,
        folder: PathBuf,
        max_bytes: u64,
        ctx: &'a Ctx,
    ) -> Result<Self, GitError> {
        let mut places = std::env::split_paths(programs).map(|folder| folder.join("git"));
        let program = places.find(|place| place.is_file()).ok_or(GitError::Absent)?;
        // `git@host:path` is SSH.
        let scheme = url.split_once("://").map_or("ssh", |(scheme, _)| scheme);
        Ok(Self { program, folder, scheme, max_bytes, ctx })
    }

    /// Whoever runs this has proxies, certificates and an SSH agent in his environment perhaps, so that it stays.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder);
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", self.scheme)
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
            .env("GIT_CEILING_DIRECTORIES", self.folder.parent().unwrap_or(&self.folder))
            .env("LC_ALL", "C");
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            // One growing file, which can be measured.
            "fetch.unpackLimit=1",
            "gc.auto=0",
        ] {
            command.args(["-c", setting]);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Result<Vec<u8>, GitError> {
        let mut command = self.command();
        command.args(args);
        let packs = self.folder.join(".git/objects/pack");
        let ran =
            process::run_watched(&mut command, TIMEOUT, || size(&packs) > self.max_bytes, self.ctx);
        match ran {
            Ok(ran) if ran.is_success => Ok(ran.stdout),
            Ok(ran) => Err(GitError::Refused(ran.stderr.trim().replace("fatal: ", ""))),
            Err(Stopped::Failed(source)) => Err(GitError::Run(source)),
            Err(Stopped::TimedOut) => Err(GitError::TimedOut),
            Err(Stopped::TooMuch) => {
                Err(GitError::TooLarge(args.last().unwrap_or(&"").to_string()))
            }
            Err(Stopped::Cancelled) => Err(GitError::Cancelled),
        }
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
        if files > MAX_TREE_FILES || bytes > self.max_bytes {
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

    #[test]
    fn a_commit_that_is_too_large_is_refused_before_its_files_are_written() {
        let program = airlift_testkit::need!("git");
        let top = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let mut command = Command::new(&program);
            let name = ["-c", "user.name=a", "-c", "user.email=a@b.test"];
            let done = command.args(name).args(args).current_dir(top.path()).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        };
        git(&["init", "--quiet"]);
        // Ten megabytes that pack to almost nothing.
        fs_err::write(top.path().join("kustomization.yaml"), "#".repeat(10_000_000)).unwrap();
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message=m"]);
        let url = format!("file://{}", top.path().display());
        let repository = Repository { url, folder: String::new(), revision: None };
        let programs = program.parent().unwrap().as_os_str();
        let up_to = |bytes| tree_up_to(bytes, &repository, None, programs, &Ctx::default());
        assert!(up_to(10_000_000).is_ok());
        let err = up_to(9_999_999).unwrap_err();
        assert!(matches!(err, GitError::TooLarge(_)), "{err}");
        assert!(matches!(
            tree(&repository, None, "".as_ref(), &Ctx::default()),
            Err(GitError::Absent)
        ));
    }
}
