//! `cargo xtask docs`: what the documents promise exists. Links lead somewhere, commands name verbs
//! and flags that the binary has, findings are explained, tests exist, and the command line reference is
//! what the binary prints.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::process::{built, cargo, root};
use crate::{CHORES, Result};

mod findings;
mod markdown;
mod promises;
mod reference;

use markdown::Page;

const REFERENCE: &str = "docs/cli.md";

/// What to do with the reference.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    Check,
    Write,
}

pub(crate) fn run(mode: Mode) -> Result {
    let binary =
        built(cargo().args(["build", "--package", "airlift-cli", "--bin", "airlift"]), "airlift")?;
    let verbs = reference::ask(&binary)?;
    let wanted = reference::render(&verbs);
    let mut found = Vec::new();
    match mode {
        Mode::Write => write(&root().join(REFERENCE), &wanted)?,
        Mode::Check => found.extend(stale(&root().join(REFERENCE), &wanted)),
    }
    let mut texts = BTreeMap::new();
    read(root(), "md", &mut texts)?;
    let mut sources = BTreeMap::new();
    read(&root().join("crates"), "rs", &mut sources)?;
    let text = |path: &str| texts.get(Path::new(path)).map_or("", String::as_str);
    found.extend(findings::disagreements(text(findings::TABLE), &sources));
    found.extend(promises::broken(text(promises::PAGE), &sources));
    let pages = texts.iter().map(|(path, text)| (path.clone(), markdown::parse(text))).collect();
    let exists = |path: &Path| root().join(path).exists();
    found.extend(dead_links(&pages, exists));
    for (path, page) in &pages {
        for (line, command) in &page.commands {
            let misuses = reference::misuses(command, &verbs, CHORES);
            found.extend(
                misuses.iter().map(|misuse| format!("{}:{line}: {misuse}", path.display())),
            );
        }
    }
    if found.is_empty() {
        println!("{} documents and {} verbs agree", pages.len(), verbs.len() - 1);
        return Ok(());
    }
    Err(format!("the documents promise what is not there:\n{}", found.join("\n")).into())
}

fn write(place: &Path, text: &str) -> Result {
    fs_err::create_dir_all(place.parent().expect("a file in a folder"))?;
    fs_err::write(place, text)?;
    println!("wrote {}", place.display());
    Ok(())
}

fn stale(place: &Path, wanted: &str) -> Option<String> {
    let is_current = fs_err::read_to_string(place).is_ok_and(|text| text == wanted);
    let remark =
        || format!("{REFERENCE} is not what the binary prints: run `cargo xtask docs --write`");
    (!is_current).then(remark)
}

/// Collects the files under `folder` whose names end in `.kind`, by their path in the checkout.
fn read(folder: &Path, kind: &str, texts: &mut BTreeMap<PathBuf, String>) -> Result {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            read(&path, kind, texts)?;
        } else if path.extension().is_some_and(|end| end == kind) {
            let text = fs_err::read_to_string(&path)?;
            texts.insert(path.strip_prefix(root())?.to_owned(), text);
        }
    }
    Ok(())
}

/// Relative links without a file, and anchors without a heading.
fn dead_links(pages: &BTreeMap<PathBuf, Page>, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, page) in pages {
        let local = page.links.iter().filter(|(_, target)| !is_elsewhere(target));
        for (line, target) in local {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let meant = if file.is_empty() { Some(path.clone()) } else { within(path, file) };
            let is_dead = match meant {
                None => true,
                Some(meant) if !exists(&meant) => true,
                Some(meant) => {
                    let other = pages.get(&meant);
                    !anchor.is_empty()
                        && other.is_some_and(|page| !page.anchors.iter().any(|it| it == anchor))
                }
            };
            if is_dead {
                found.push(format!("{}:{line}: `{target}` leads nowhere", path.display()));
            }
        }
    }
    found
}

/// Whether a link leaves the checkout: it has a scheme.
fn is_elsewhere(target: &str) -> bool {
    let scheme = target.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The path in the checkout that the link `target` in `page` means; none if it leads out of it.
fn within(page: &Path, target: &str) -> Option<PathBuf> {
    let mut path = page.parent()?.to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(texts: &[(&str, &str)]) -> Vec<String> {
        let pages: BTreeMap<PathBuf, Page> =
            texts.iter().map(|(path, text)| (PathBuf::from(path), markdown::parse(text))).collect();
        let names: Vec<PathBuf> = pages.keys().cloned().collect();
        dead_links(&pages, |path| names.iter().any(|name| name == path))
    }

    #[test]
    fn links_lead_from_the_page_that_holds_them() {
        let found = dead(&[
            ("README.md", "[a](docs/a.md) [b](docs/a.md#use) [c](#top)\n# Top\n"),
            ("docs/a.md", "## Use\n[up](../README.md) [self](./a.md)\n"),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_link_without_a_file_or_heading_is_named_with_its_line() {
        let found = dead(&[
            ("README.md", "text\n[a](docs/b.md) [b](docs/a.md#gone) [c](#gone)\n"),
            ("docs/a.md", "[a](a.md/../../../README.md) [root](/README.md)"),
        ]);
        assert_eq!(
            found,
            [
                "README.md:2: `docs/b.md` leads nowhere",
                "README.md:2: `docs/a.md#gone` leads nowhere",
                "README.md:2: `#gone` leads nowhere",
                "docs/a.md:1: `a.md/../../../README.md` leads nowhere",
                "docs/a.md:1: `/README.md` leads nowhere",
            ]
        );
    }

    #[test]
    fn links_to_elsewhere_are_not_followed() {
        assert_eq!(
            dead(&[("README.md", "[a](https://example.com/x) [b](mailto:a@example.com)")]),
            [""; 0]
        );
    }
}
