//! As much of Markdown as the checks need: links, headings and code blocks, with their lines.

/// What a check wants to know of a Markdown file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Targets of links and images, with the number of their line.
    pub(super) links: Vec<(usize, String)>,
    /// What can be linked to within the page, without the `#`.
    pub(super) anchors: Vec<String>,
    /// Lines in blocks of shell code, joined where one ends in a backslash.
    pub(super) commands: Vec<(usize, String)>,
}

/// Where in the file we are.
enum Place {
    Prose,
    /// Shell code: everything in a script, what follows a prompt in a console.
    Script,
    Console,
    OtherCode,
}

pub(super) fn parse(text: &str) -> Page {
    let mut page = Page::default();
    let mut place = Place::Prose;
    let mut fence = "";
    let mut open_command = None;
    for (number, line) in (1..).zip(text.lines()) {
        let marks = fence_of(line);
        match (&place, marks) {
            (Place::Prose, Some(opening)) => {
                fence = opening;
                place = code(line.trim_start()[opening.len()..].trim());
            }
            (Place::Prose, None) => page.read_prose(number, line),
            (_, Some(closing)) if closing.starts_with(fence) => {
                place = Place::Prose;
                page.commands.extend(open_command.take());
            }
            (Place::OtherCode, _) => {}
            (Place::Script | Place::Console, _) => {
                let is_console = matches!(place, Place::Console);
                open_command = page.read_code(number, line, open_command, is_console);
            }
        }
    }
    page
}

impl Page {
    fn read_prose(&mut self, number: usize, line: &str) {
        let prose = without_code_spans(line);
        if let Some(heading) = heading(line) {
            let slug = slug(heading);
            // The second heading of a name gets a number.
            let same = |anchor: &&String| {
                let rest = anchor.strip_prefix(&slug);
                rest.is_some_and(|rest| rest.is_empty() || is_counter(rest))
            };
            let twins = self.anchors.iter().filter(same).count();
            self.anchors.push(if twins == 0 { slug } else { format!("{slug}-{twins}") });
        }
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let definition = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        let definition = definition.and_then(|(_, target)| target.split_whitespace().next());
        let targets = inline.chain(definition).map(|target| target.trim_matches(['<', '>']));
        self.links.extend(targets.map(|target| (number, target.to_owned())));
    }

    /// Takes a line of shell code. Gives back a command that the next line continues.
    fn read_code(
        &mut self,
        number: usize,
        line: &str,
        open: Option<(usize, String)>,
        is_console: bool,
    ) -> Option<(usize, String)> {
        let line = line.trim();
        let prompted = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "));
        let (number, before, code) = match (open, prompted) {
            (Some((first, before)), _) => (first, before, line),
            (None, Some(code)) if is_console => (number, String::new(), code),
            (None, _) if is_console || line.starts_with('#') => return None,
            (None, _) => (number, String::new(), line),
        };
        let code = code.split(" # ").next().unwrap_or_default().trim_end();
        if let Some(unfinished) = code.strip_suffix('\\') {
            return Some((number, before + unfinished));
        }
        self.commands.push((number, before + code));
        None
    }
}

/// The backticks or tildes that open or close a block of code.
fn fence_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|mark| ['`', '~'].contains(mark))?;
    let length = line.len() - line.trim_start_matches(mark).len();
    (length >= 3).then(|| &line[..length])
}

fn code(language: &str) -> Place {
    match language {
        "sh" | "bash" | "shell" => Place::Script,
        "console" => Place::Console,
        _ => Place::OtherCode,
    }
}

fn without_code_spans(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let depth = line.len() - text.len();
    ((1..=6).contains(&depth) && text.starts_with(' ')).then(|| text.trim())
}

/// The name under which forges let a heading be linked.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

fn is_counter(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|number| number.parse::<usize>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(text: &str) -> Vec<(usize, String)> {
        parse(text).links
    }

    fn commands(text: &str) -> Vec<(usize, String)> {
        parse(text).commands
    }

    #[test]
    fn links_images_and_definitions_are_found_with_their_lines() {
        let found =
            links("see [a](docs/a.md#x \"title\")\n\n![b](<b.png>) and [c](c.md)\n\n[d]: d.md\n");
        let found: Vec<_> = found.iter().map(|(line, target)| (*line, target.as_str())).collect();
        assert_eq!(found, [(1, "docs/a.md#x"), (3, "b.png"), (3, "c.md"), (5, "d.md")]);
    }

    #[test]
    fn code_holds_no_links() {
        assert_eq!(links("`[a](b)` and\n```text\n[a](b)\n```\n~~~~\n```\n[a](b)\n~~~~\n"), []);
        assert_eq!(links("```\n```\n[a](b)\n").len(), 1, "the block was closed");
    }

    #[test]
    fn headings_become_anchors_as_forges_make_them() {
        let page = parse(
            "# What it `is`: a *tool*\n## Use\n## Use\n### Use\n#no heading\n```sh\n# comment\n```\n",
        );
        assert_eq!(page.anchors, ["what-it-is-a-tool", "use", "use-1", "use-2"]);
    }

    #[test]
    fn a_script_is_code_but_for_its_comments() {
        let found = commands(
            "```sh\n# first\nairlift fetch   # second\nairlift bundle create \\\n  --to out\n```\n",
        );
        let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, [(3, "airlift fetch"), (4, "airlift bundle create --to out")]);
    }

    #[test]
    fn a_console_is_code_only_after_a_prompt() {
        let found = commands(
            "```console\n$ airlift fetch\n3 blobs to fetch\n$ airlift verify \\\n    out\nok\n```\n",
        );
        let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, [(2, "airlift fetch"), (4, "airlift verify out")]);
    }

    #[test]
    fn a_command_that_its_block_cuts_off_is_still_seen() {
        assert_eq!(commands("```sh\nairlift fetch \\\n```\n"), [(2, "airlift fetch ".to_owned())]);
        assert_eq!(commands("```yaml\nairlift fetch\n```\n"), []);
    }
}
