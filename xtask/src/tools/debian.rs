//! Debian's packages. A release keeps a package's upstream version for its whole life and drops old
//! revisions from its mirrors, so the upstream version is what is pinned; another one is named in
//! the table and does not stop anybody.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::process::{find, output, run};
use crate::tools::Row;

struct Package {
    name: &'static str,
    /// The program that the tests call.
    program: &'static str,
    /// The upstream version that the tests were written against.
    version: &'static str,
}

/// Brings a service that listens on all interfaces. It may start neither now nor at the next boot.
const REGISTRY: &str = "docker-registry";

const PACKAGES: &[Package] = &[
    // What the Go tools are fetched with.
    Package { name: "ca-certificates", program: "update-ca-certificates", version: "20230311" },
    Package { name: REGISTRY, program: "docker-registry", version: "2.8.2" },
    Package { name: "skopeo", program: "skopeo", version: "1.9.3" },
    Package { name: "podman", program: "podman", version: "4.3.1" },
    Package { name: "containerd", program: "containerd", version: "1.6.20" },
    Package { name: "runc", program: "runc", version: "1.1.5" },
    Package { name: "minisign", program: "minisign", version: "0.11" },
    Package { name: "gnupg", program: "gpg", version: "2.2.40" },
    Package { name: "git", program: "git", version: "1:2.39.5" },
    Package { name: "iproute2", program: "ip", version: "6.1.0" },
    Package { name: "nftables", program: "nft", version: "1.0.6" },
    Package { name: "curl", program: "curl", version: "7.88.1" },
    // What the benchmarks measure with.
    Package { name: "time", program: "time", version: "1.9" },
    Package { name: "util-linux", program: "prlimit", version: "2.38.1" },
];

/// The packages whose program is not there.
pub(super) fn missing() -> Vec<&'static str> {
    let absent = PACKAGES.iter().filter(|package| find(package.program).is_none());
    absent.map(|package| package.name).collect()
}

/// Installs what is missing and lets none of it start a service.
pub(super) fn install() -> Result {
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    apt(&packages)?;
    if packages.contains(&REGISTRY)
        && let Some(program) = find("update-rc.d")
    {
        output(Command::new(program).args([REGISTRY, "disable"]))?;
    }
    match missing() {
        absent if absent.is_empty() => Ok(()),
        absent => Err(format!("installed, but without a program: {}", absent.join(" ")).into()),
    }
}

/// Installs `packages` while a policy forbids the start of services.
pub(super) fn apt(packages: &[&str]) -> Result {
    let wanted = packages.join(" ");
    let unable = |why: &str| format!("{why}: install by hand: {wanted}");
    if find("apt-get").is_none() {
        return Err(unable("no apt-get here").into());
    }
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err(unable("Debian packages need root").into());
    }
    eprintln!("installing Debian packages: {wanted}");
    let _policy = NoServices::new()?;
    let mut apt = apt_get();
    // Lists may be stale or, in a container, absent. A mirror that fails here may still do below.
    if let Err(err) = output(apt.arg("update")) {
        eprintln!("warning: {err}");
    }
    output(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]);
    command.args(["-o", "Dpkg::Options::=--force-confold"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
    command
}

/// Debian's own way to say that installing must not start anything, for as long as this lives.
struct NoServices {
    is_ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str =
    "#!/bin/sh\n# cargo xtask tools: safe to delete when it does not run\nexit 101\n";

impl NoServices {
    /// A policy that somebody else made stays as it is; one that a killed run left is taken over.
    fn new() -> Result<Self> {
        let policy = Path::new(POLICY);
        let is_ours = !policy.exists() || fs_err::read(policy)? == POLICY_TEXT.as_bytes();
        if is_ours {
            fs_err::write(policy, POLICY_TEXT)?;
            run(Command::new("chmod").args(["755", POLICY]))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(err) = fs_err::remove_file(POLICY)
        {
            eprintln!("warning: {err}");
        }
    }
}

pub(super) fn rows() -> Vec<Row> {
    let names = PACKAGES.iter().map(|package| package.name);
    // Fails when a package is not known to dpkg (built by hand, another system), and says the rest.
    let asked = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${Version}\\n"])
        .args(names)
        .output();
    let listing = asked
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let installed = versions(&listing);
    let row = |package: &Package| {
        Some(Row {
            tool: package.program.to_owned(),
            version: described(installed.get(package.name).copied(), package.version),
            place: find(package.program)?,
            source: format!("Debian {}", package.name),
        })
    };
    PACKAGES.iter().filter_map(row).collect()
}

fn versions(listing: &str) -> BTreeMap<&str, &str> {
    listing.lines().filter_map(|line| line.split_once(' ')).collect()
}

/// The installed version, and a remark where the tests know another.
fn described(installed: Option<&str>, pinned: &str) -> String {
    match installed {
        None => format!("unknown (tests know {pinned})"),
        Some(version) if version.strip_prefix(pinned).is_some_and(ends_upstream) => {
            version.to_owned()
        }
        Some(version) => format!("{version} (tests know {pinned})"),
    }
}

/// Whether `rest` can follow a whole upstream version: a repack mark, a revision, or nothing.
fn ends_upstream(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['+', '~', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debian_revision_of_the_pinned_version_is_the_pinned_version() {
        for version in ["2.8.2", "2.8.2-1", "2.8.2+ds1-1", "2.8.2~ds1-1+deb12u3"] {
            assert_eq!(described(Some(version), "2.8.2"), version);
        }
    }

    #[test]
    fn another_version_is_named_with_the_one_the_tests_know() {
        assert_eq!(described(Some("2.8.20-1"), "2.8.2"), "2.8.20-1 (tests know 2.8.2)");
        assert_eq!(described(None, "2.8.2"), "unknown (tests know 2.8.2)");
    }

    #[test]
    fn versions_are_read_from_dpkg() {
        let installed = versions("runc 1.1.5+ds1-1\nskopeo 1.9.3+ds1-1\n");
        assert_eq!(installed.get("runc"), Some(&"1.1.5+ds1-1"));
        assert_eq!(installed.len(), 2);
    }
}
