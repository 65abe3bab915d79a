//! The command line as the binary itself tells it: what the reference shows and what the
//! documents' commands are held against.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::process::output;

/// Headings under which each verb lists what is its own.
const OWN: [&str; 3] = ["Arguments:", "Commands:", "Options:"];

/// Every verb that the help shows, by its words without `airlift`, with its help. The first entry,
/// without any word, is the program itself.
pub(super) type Verbs = BTreeMap<Vec<String>, String>;

/// Asks `binary` and each verb that it names for help.
pub(super) fn ask(binary: &Path) -> Result<Verbs> {
    let mut verbs = Verbs::new();
    let mut open = vec![Vec::new()];
    while let Some(words) = open.pop() {
        let help = help(binary, &words)?;
        for name in subcommands(&help) {
            open.push([words.clone(), vec![name.to_owned()]].concat());
        }
        verbs.insert(words, help);
    }
    Ok(verbs)
}

fn help(binary: &Path, words: &[String]) -> Result<String> {
    let mut command = Command::new(binary);
    // The help shows what the environment sets; here it must be the same for everybody.
    command.env_clear().env("HOME", "/home/user").env("COLUMNS", "100").args(words).arg("--help");
    let lines = output(&mut command)?;
    let lines: Vec<&str> = lines.trim_end().lines().map(str::trim_end).collect();
    Ok(lines.join("\n"))
}

/// The verbs that a help text lists under `Commands:`.
fn subcommands(help: &str) -> Vec<&str> {
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let section = section.take_while(|line| line.is_empty() || line.starts_with(' '));
    // What is indented further continues a description.
    let names =
        section.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

/// The reference as a page.
pub(super) fn render(verbs: &Verbs) -> String {
    let mut page = String::from(
        "# Command line reference\n\nWhat `airlift --help` and `airlift VERB --help` print, the options that a verb shares with \
         those below it, such as the global ones, only once. Written by `cargo xtask docs --write`.\n",
    );
    for (words, help) in verbs {
        let name = [&["airlift".to_owned()], words.as_slice()].concat().join(" ");
        let above = words.split_last().map_or("", |(_, above)| &verbs[above]);
        let own = shared(above).fold(help.clone(), |help, section| without_section(&help, section));
        write!(page, "\n## {name}\n\n```text\n{own}\n```\n").expect("a string takes everything");
    }
    page
}

/// The headings under which a help text lists what the verbs below it take as well.
fn shared(help: &str) -> impl Iterator<Item = &str> {
    let headings = help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' '));
    headings.filter(|heading| !OWN.contains(heading))
}

/// Leaves out the lines from the heading `section` to the next one.
fn without_section(help: &str, section: &str) -> String {
    let mut is_inside = false;
    let kept = help.lines().filter(|line| {
        if !line.is_empty() && !line.starts_with(' ') {
            is_inside = *line == section;
        }
        !is_inside
    });
    kept.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// What is wrong with a line of shell code, as far as `airlift` and `cargo xtask` go.
pub(super) fn misuses(line: &str, verbs: &Verbs, chores: &[&str]) -> Vec<String> {
    let calls = line.split(['|', ';', '&', '(', ')', '`']).map(|call| {
        let words = call.split_whitespace();
        words.skip_while(|word| *word == "sudo" || word.contains('=')).collect::<Vec<_>>()
    });
    calls.filter_map(|call| misuse(&call, verbs, chores)).collect()
}

fn misuse(call: &[&str], verbs: &Verbs, chores: &[&str]) -> Option<String> {
    match call {
        ["cargo", "xtask", chore, ..] if !chores.contains(chore) => {
            Some(format!("`cargo xtask {chore}` does not exist"))
        }
        ["cargo", "run", rest @ ..] => {
            let program = rest.iter().position(|word| *word == "--")?;
            verb_misuse(&rest[program + 1..], verbs)
        }
        [program, rest @ ..] if *program == "airlift" || program.ends_with("/airlift") => {
            verb_misuse(rest, verbs)
        }
        _ => None,
    }
}

fn verb_misuse(arguments: &[&str], verbs: &Verbs) -> Option<String> {
    let ours = arguments.iter().take_while(|word| **word != "--");
    let ours =
        ours.map(|word| word.trim_matches(['"', '\'', '[', ']'])).filter(|word| *word != "help");
    let (flags, words): (Vec<&str>, Vec<&str>) = ours.partition(|word| word.starts_with('-'));
    let mut verb = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let longer = [verb.clone(), vec![(*word).to_owned()]].concat();
        if verbs.contains_key(&longer) {
            verb = longer;
        } else if needs_another(&verbs[&verb]) && (place > 0 || arguments.first() == Some(word)) {
            // Behind a global flag, the first word may be that flag's value.
            return Some(format!("`airlift {}` does not exist", longer.join(" ")));
        }
    }
    let help = &verbs[&verb];
    let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
    let unknown =
        flags.into_iter().map(name).find(|flag| flag.starts_with("--") && !mentions(help, flag));
    unknown.map(|flag| {
        format!("`{}` has no `{flag}`", ["airlift", &verb.join(" ")].join(" ").trim_end())
    })
}

/// Whether a verb is nothing without one of those below it, as its usage says.
fn needs_another(help: &str) -> bool {
    help.lines().any(|line| line.starts_with("Usage: ") && line.contains("<COMMAND>"))
}

/// Whether `help` names `flag` as a whole word.
fn mentions(help: &str, flag: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-';
    help.match_indices(flag).any(|(start, _)| !help[start + flag.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "\
Carries platforms across an air gap

Usage: airlift [OPTIONS] <COMMAND>

Commands:
  fetch   Bring everything into the store,
            resuming
  bundle  Bundles
  help    Print this message

Options:
      --store <DIR>  Where the store is
  -h, --help         Print help";

    fn verbs() -> Verbs {
        let entry = |words: &[&str], help: &str| {
            (words.iter().map(|word| (*word).to_owned()).collect(), help.to_owned())
        };
        Verbs::from([
            entry(&[], HELP),
            entry(&["fetch"], "--store <DIR>\n--parallel <N>\n--help"),
            entry(&["bundle"], "Usage: airlift bundle [OPTIONS] <COMMAND>\n--help"),
            entry(&["bundle", "create"], "--to <DIR>\n--help"),
            entry(&["peer"], "Usage: airlift peer [DESTINATION] [COMMAND]\n--to\n\nOf all:\n  -c"),
            entry(&["peer", "list"], "--some\n\nOf all:\n  -c"),
        ])
    }

    fn check(line: &str, wanted: &[&str]) {
        assert_eq!(misuses(line, &verbs(), &["test"]), wanted, "{line}");
    }

    #[test]
    fn verbs_are_read_from_their_section_alone() {
        assert_eq!(subcommands(HELP), ["fetch", "bundle"]);
        assert_eq!(subcommands("Options:\n  -h, --help"), [""; 0]);
    }

    #[test]
    fn what_exists_passes() {
        for line in [
            "airlift fetch --parallel 4",
            "airlift fetch airlift.lock",
            "sudo ./airlift bundle create --to=out && airlift fetch",
            "AIRLIFT_STORE=x airlift fetch",
            "airlift --store x fetch",
            "airlift --help",
            "airlift help bundle create",
            "airlift peer -c file to",
            "airlift peer list --some",
            "cargo run --release -- fetch",
            "cargo xtask test",
            "echo airlift nonsense",
        ] {
            check(line, &[]);
        }
    }

    #[test]
    fn what_does_not_exist_is_named() {
        check("airlift fletch", &["`airlift fletch` does not exist"]);
        check("true | airlift bundle destroy", &["`airlift bundle destroy` does not exist"]);
        check("cargo run --release -- fletch", &["`airlift fletch` does not exist"]);
        check("cargo xtask frob", &["`cargo xtask frob` does not exist"]);
        check(
            "airlift bundle create --parallel 4",
            &["`airlift bundle create` has no `--parallel`"],
        );
        check("airlift --frob", &["`airlift` has no `--frob`"]);
        check("airlift fetch --par", &["`airlift fetch` has no `--par`"]);
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let help = "Usage: x\n\nGlobal options:\n  --store\n\n      Where\n\nMore:\n  --to";
        assert_eq!(without_section(help, "Global options:"), "Usage: x\n\nMore:\n  --to");
        assert_eq!(without_section(&help[..help.len() - 13], "Global options:"), "Usage: x");
    }

    #[test]
    fn the_page_has_a_section_a_verb() {
        let page = render(&verbs());
        let headings: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(
            headings,
            [
                "## airlift",
                "## airlift bundle",
                "## airlift bundle create",
                "## airlift fetch",
                "## airlift peer",
                "## airlift peer list"
            ]
        );
        assert!(page.contains("list\n\n```text\n--some\n```\n"), "what the one above has: {page}");
        assert!(page.contains("```text\n--to <DIR>\n--help\n```\n"), "{page}");
    }
}
