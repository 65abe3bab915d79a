//! The tools that `tools/go.mod` pins, and the Go toolchain that builds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::process::{find, output, root};
use crate::tools::{Row, debian};

/// How the tools are built. Part of the key, as the pins are.
const BUILD: &[&str] = &["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w"];

/// What the files in `tools/` pin.
#[derive(Debug)]
pub(super) struct Pins {
    tools: Vec<Tool>,
    /// The lowest Go version that builds them.
    go: Version,
    /// A hash of all that decides what the tools become.
    key: String,
    /// The same for the toolchain.
    go_key: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Tool {
    name: String,
    module: String,
    version: String,
}

type Version = [u32; 3];

impl Pins {
    pub(super) fn read() -> Result<Self> {
        let folder = root().join("tools");
        let [module, sums, toolchain] = ["go.mod", "go.sum", "requirements.txt"]
            .map(|name| fs_err::read_to_string(folder.join(name)));
        let (module, toolchain) = (module?, toolchain?);
        let (tools, go) = parse(&module)?;
        let arch = std::env::consts::ARCH;
        let key = hash(&[&module, &sums?, &BUILD.join(" "), arch]);
        Ok(Self { tools, go, key, go_key: hash(&[&toolchain, arch]) })
    }
}

/// The folder of the built tools. It is there only when they all are.
pub(super) fn bin(home: &Path, pins: &Pins) -> PathBuf {
    home.join(&pins.key).join("bin")
}

/// Builds the tools unless they are there.
pub(super) fn install(home: &Path, pins: &Pins) -> Result {
    let complete = home.join(&pins.key);
    if complete.is_dir() {
        return Ok(());
    }
    let go = toolchain(home, pins)?;
    let names: Vec<&str> = pins.tools.iter().map(|tool| tool.name.as_str()).collect();
    eprintln!("building with {}: {} (some minutes)", go.display(), names.join(" "));
    let partial = fresh(home, &pins.key)?;
    let mut target = partial.join("bin").into_os_string();
    // With a slash at its end, `-o` takes a folder.
    target.push("/");
    let mut build = Command::new(&go);
    build.current_dir(root().join("tools")).args(BUILD).arg("-o").arg(target).arg("tool");
    build.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    output(&mut build)?;
    for name in names {
        fs_err::metadata(partial.join("bin").join(name))?;
    }
    fs_err::rename(partial, complete)?;
    Ok(())
}

/// A Go that is new enough: the one on `PATH`, else the pinned one, which is installed.
fn toolchain(home: &Path, pins: &Pins) -> Result<PathBuf> {
    let usual = Path::new("/usr/local/go/bin/go").to_owned();
    let present = find("go").into_iter().chain([usual]);
    if let Some(go) = present.filter(|go| go.is_file()).find(|go| is_new_enough(go, pins.go)) {
        return Ok(go);
    }
    let folder = format!("go-{}", pins.go_key);
    let go = home.join(&folder).join("go/bin/go");
    if go.is_file() {
        return Ok(go);
    }
    let [major, minor, patch] = pins.go;
    eprintln!("installing a Go toolchain: none here is {major}.{minor}.{patch} or newer");
    if output(pip().arg("--version")).is_err() {
        debian::apt(&["python3-pip"])?;
    }
    let partial = fresh(home, &folder)?;
    let mut install = pip();
    install.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
    ]);
    install.arg("--target").arg(&partial).arg("-r").arg(root().join("tools/requirements.txt"));
    output(&mut install)?;
    fs_err::rename(partial, home.join(folder))?;
    Ok(go)
}

fn pip() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip"]);
    command
}

/// An empty folder beside `name`, without what a killed run left in it.
fn fresh(home: &Path, name: &str) -> Result<PathBuf> {
    let partial = home.join(format!("{name}.partial"));
    if partial.exists() {
        fs_err::remove_dir_all(&partial)?;
    }
    fs_err::create_dir_all(&partial)?;
    Ok(partial)
}

fn is_new_enough(go: &Path, wanted: Version) -> bool {
    // `local`: its own version, not that of a toolchain it would download.
    let asked = output(Command::new(go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"));
    let version = asked.ok().and_then(|text| version(text.trim().strip_prefix("go")?));
    version.is_some_and(|version| version >= wanted)
}

pub(super) fn rows(home: &Path, pins: &Pins) -> Vec<Row> {
    let bin = bin(home, pins);
    let row = |tool: &Tool| Row {
        tool: tool.name.clone(),
        version: tool.version.clone(),
        place: bin.join(&tool.name),
        source: format!("Go {}", tool.module),
    };
    pins.tools.iter().map(row).filter(|row| row.place.is_file()).collect()
}

/// The tools that a `go.mod` names, and the Go version that it asks for.
fn parse(text: &str) -> Result<(Vec<Tool>, Version)> {
    let directives = directives(text);
    let arguments = |name: &'static str| {
        directives.iter().filter(move |(directive, _)| *directive == name).map(|(_, words)| words)
    };
    let go = arguments("go").find_map(|words| version(words.first()?));
    let go = go.ok_or("tools/go.mod does not say which Go it needs")?;
    let tool = |words: &Vec<&str>| {
        let package = words.first()?;
        let requires =
            arguments("require").filter_map(|words| Some((*words.first()?, *words.get(1)?)));
        let within = |module: &str| {
            let rest = package.strip_prefix(module);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // Modules nest: the longest name is the one that holds the package.
        let (module, version) =
            requires.filter(|(module, _)| within(module)).max_by_key(|(module, _)| module.len())?;
        let name = program(package)?.to_owned();
        Some(Tool { name, module: module.to_owned(), version: version.to_owned() })
    };
    let tools: Option<Vec<Tool>> = arguments("tool").map(tool).collect();
    let tools = tools.ok_or("tools/go.mod names a tool whose module it does not require")?;
    Ok((tools, go))
}

/// What Go calls the program of `package`: its last part, unless that is only a major version.
fn program(package: &str) -> Option<&str> {
    let is_major = |part: &&str| {
        let digits = part.strip_prefix('v');
        digits
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    package.rsplit('/').find(|part| !is_major(part))
}

/// Each directive with its arguments, those in blocks included.
fn directives(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut block = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        let mut words = code.split_whitespace();
        match (block, words.next()) {
            (_, None) => {}
            (Some(_), Some(")")) => block = None,
            (Some(name), Some(first)) => {
                found.push((name, std::iter::once(first).chain(words).collect()));
            }
            (None, Some(name)) if code.trim_end().ends_with('(') => block = Some(name),
            (None, Some(name)) => found.push((name, words.collect())),
        }
    }
    found
}

/// `1.26.8`, `1.26` or `1.27rc1` (which counts as `1.27.0`), in numbers that compare.
fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
        digits.parse().ok()
    });
    let major = parts.next()??;
    let minor = parts.next()??;
    Some([major, minor, parts.next().flatten().unwrap_or(0)])
}

/// The first 16 digits of the SHA-256 of `parts`, each with its length before it.
fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hex::encode(&hasher.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO_MOD: &str = "\
module airlift/tools

go 1.25.7

tool example.com/alone/v3/cmd/registry

tool (
\texample.com/crane/cmd/crane
\texample.com/whole/whole/v5
)

require (
\texample.com/alone v1.0.0 // indirect
\texample.com/alone/v3 v3.1.1 // indirect
\texample.com/crane v0.21.9 // indirect
\texample.com/whole/whole/v5 v5.8.2 // indirect
)
";

    #[test]
    fn tools_get_the_version_of_the_innermost_module_that_holds_them() {
        let (tools, go) = parse(GO_MOD).unwrap();
        let found: Vec<_> =
            tools.iter().map(|tool| (&*tool.name, &*tool.module, &*tool.version)).collect();
        assert_eq!(
            found,
            [
                ("registry", "example.com/alone/v3", "v3.1.1"),
                ("crane", "example.com/crane", "v0.21.9"),
                ("whole", "example.com/whole/whole/v5", "v5.8.2")
            ]
        );
        assert_eq!(go, [1, 25, 7]);
    }

    #[test]
    fn a_tool_without_a_required_module_is_refused() {
        let text = GO_MOD.replace("example.com/crane v0.21.9", "example.com/craned v0.21.9");
        assert!(parse(&text).is_err());
    }

    #[test]
    fn go_versions_compare_by_number() {
        let parsed = ["1.9", "1.25.7", "1.26", "1.26.8", "1.27rc1"].map(version);
        assert_eq!(
            parsed,
            [
                Some([1, 9, 0]),
                Some([1, 25, 7]),
                Some([1, 26, 0]),
                Some([1, 26, 8]),
                Some([1, 27, 0])
            ]
        );
        assert!(parsed.is_sorted());
        assert_eq!(version("devel"), None);
    }

    #[test]
    fn the_committed_pins_name_every_tool_the_tests_call() {
        let pins = Pins::read().unwrap();
        let mut names: Vec<_> = pins.tools.iter().map(|tool| tool.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["crane", "helm", "kustomize", "oras", "regctl", "registry"]);
    }

    #[test]
    fn another_pin_or_another_border_between_two_pins_makes_another_key() {
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_ne!(hash(&["a", "b"]), hash(&["a", "c"]));
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }

    #[test]
    fn what_a_killed_build_left_is_cleared_away() {
        let home = tempfile::tempdir().unwrap();
        fs_err::write(fresh(home.path(), "key").unwrap().join("half"), "x").unwrap();
        let again = fresh(home.path(), "key").unwrap();
        assert_eq!(fs_err::read_dir(again).unwrap().count(), 0);
    }
}
