//! What a document is about, found without parsing it.

use memchr::memchr;

use super::Wanted;

/// The three keys that say what a document is. `None` is a key that is surely absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) schema: Option<String>,
    pub(super) package: Option<String>,
    pub(super) name: Option<String>,
}

impl Head {
    pub(super) fn set(&mut self, key: &str, value: &str) -> bool {
        let field = match key {
            "schema" => &mut self.schema,
            "package" => &mut self.package,
            "name" => &mut self.name,
            _ => return true,
        };
        field.replace(value.to_owned()).is_none()
    }
}

impl Wanted {
    /// Whether a document of this head is certainly of no use.
    pub(super) fn skips(&self, head: &Head) -> bool {
        let wanted = match self {
            Self::All => return false,
            Self::Outline => {
                let schema = head.schema.as_deref();
                return schema.is_some_and(|schema| !super::OUTLINE.contains(&schema));
            }
            Self::Packages(wanted) => wanted,
        };
        let package = match head.schema.as_deref() {
            Some("olm.package") => &head.name,
            Some(_) => &head.package,
            None => return false,
        };
        package.as_ref().is_some_and(|name| !name.is_empty() && !wanted.contains(name))
    }
}

/// The head of a YAML document in block style; nothing if only the parser can tell.
pub(super) fn of_yaml(document: &[u8]) -> Option<Head> {
    let mut head = Head::default();
    let mut rest = document;
    while let Some(first) = rest.first() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        match first {
            b' ' | b'\n' | b'#' | b'-' => {}
            b's' | b'p' | b'n' => read(&rest[..end], &mut head)?,
            byte if byte.is_ascii_alphabetic() => {}
            _ => return None,
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    Some(head)
}

fn read(line: &[u8], head: &mut Head) -> Option<()> {
    for key in ["schema", "package", "name"] {
        let Some(value) = line.strip_prefix(key.as_bytes()) else { continue };
        // `name : x` and `name:` with its value below are rare enough for the parser.
        let value = std::str::from_utf8(value.strip_prefix(b": ")?).ok()?;
        return head.set(key, simple(value.trim_end_matches(' '))?).then_some(());
    }
    Some(())
}

/// A value that every parser reads as the same text.
fn simple(value: &str) -> Option<&str> {
    let quoted = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let is_name = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte))
    };
    if let Some(inner) = quoted('"').or_else(|| quoted('\'')) {
        return is_name(inner).then_some(inner);
    }
    // Six letters are more than `false`, and what begins with a letter is no number.
    let is_text = value.len() > 5 && value.as_bytes()[0].is_ascii_alphabetic();
    (is_text && is_name(value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(schema: &str, package: Option<&str>, name: &str) -> Head {
        let text = |text: &str| Some(text.to_owned());
        Head { schema: text(schema), package: package.map(str::to_owned), name: text(name) }
    }

    #[test]
    fn a_head_is_found_wherever_it_stands() {
        let text =
            b"entries:\n- name: inner\nname: \"4.1\"\npackage: thing-a\nschema: olm.channel\n";
        assert_eq!(of_yaml(text), Some(head("olm.channel", Some("thing-a"), "4.1")));
        let text = b"# a\nname: thing-a\nproperties:\n  name: inner\nschema: olm.package\n";
        assert_eq!(of_yaml(text), Some(head("olm.package", None, "thing-a")));
    }

    #[test]
    fn a_head_that_only_a_parser_can_tell_is_left_to_it() {
        for text in [
            "name: yes\n",
            "name: 1.0\n",
            "name: |\n  thing-a\n",
            "name:\n  thing-a\n",
            "name: &a thing-a\n",
            "name: thing-a # or so\n",
            "name: thing-a\nname: thing-b\n",
            "name : thing-a\n",
            "\"name\": thing-a\n",
            "{name: thing-a}\n",
            "? name\n: thing-a\n",
            "name: \"thing\\x2da\"\n",
            "%YAML 1.2\n",
            "text: \"\nname: thing-a\n\"\n",
        ] {
            assert_eq!(of_yaml(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn only_what_is_surely_of_another_package_is_skipped() {
        let wanted = Wanted::packages(["thing-a"]);
        assert!(wanted.skips(&head("olm.bundle", Some("thing-b"), "x")));
        assert!(wanted.skips(&head("olm.package", None, "thing-b")));
        assert!(!wanted.skips(&head("olm.bundle", Some("thing-a"), "x")));
        assert!(!wanted.skips(&head("custom", None, "thing-b")));
        assert!(!wanted.skips(&Head { name: Some("thing-b".to_owned()), ..Head::default() }));
        assert!(!Wanted::All.skips(&head("olm.bundle", Some("thing-b"), "x")));
    }
}
