//! Where one JSON document of a stream ends, and what its outermost keys say.

use memchr::memchr2;

use super::head::Head;

/// A document as far as it has been seen. Bytes are handed in as they come, always from the document's first on.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// What is read.
    at: usize,
    depth: usize,
    /// Where the string began that is being read.
    string: Option<usize>,
    /// Of the outermost object: the key whose value comes next.
    key: Option<String>,
    after_colon: bool,
    /// The last byte outside of strings that is no blank.
    last: u8,
    head: Head,
    /// Something that only the parser can tell.
    is_odd: bool,
}

impl Scan {
    /// Where the document ends, once that is seen.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.at < bytes.len() {
            if self.string.is_some() {
                self.string(bytes)?;
                continue;
            }
            let byte = bytes[self.at];
            match byte {
                b'"' => {
                    self.string = Some(self.at + 1);
                    // In YAML, quotes may stand inside of a word.
                    self.is_odd |= !b"{[,:".contains(&self.last);
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b':' if self.depth == 1 => self.after_colon = true,
                b',' if self.depth == 1 => (self.after_colon, self.key) = (false, None),
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                self.last = byte;
            }
            self.at += 1;
            if self.depth == 0 {
                return Some(self.at);
            }
        }
        None
    }

    /// The head, if it can be told without parsing.
    pub(super) fn head(self) -> Option<Head> {
        if self.is_odd { None } else { Some(self.head) }
    }

    /// Goes to the end of the string; nothing if that has not come yet.
    fn string(&mut self, bytes: &[u8]) -> Option<()> {
        let found = memchr2(b'"', b'\\', &bytes[self.at..]);
        self.at = found.map_or(bytes.len(), |found| self.at + found);
        if found.is_some() && bytes[self.at] == b'\\' {
            // The escaped byte may not be here yet.
            bytes.get(self.at + 1)?;
            self.at += 2;
            return Some(());
        }
        found?;
        let start = self.string.take().expect("a string is being read");
        if self.depth == 1 {
            self.outermost(&bytes[start..self.at]);
        }
        self.at += 1;
        Some(())
    }

    fn outermost(&mut self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else {
            self.is_odd = true;
            return;
        };
        if !self.after_colon {
            // An escape may spell any key.
            self.is_odd |= text.contains('\\');
            self.key = Some(text.to_owned());
            return;
        }
        let Some(key) = self.key.take() else { return };
        if matches!(&*key, "schema" | "package" | "name") {
            self.is_odd |= text.contains('\\') || !self.head.set(&key, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> (Option<usize>, Option<Head>) {
        let mut scan = Scan::default();
        // Byte by byte: nothing may depend on where a read ended.
        let end = (1..=text.len()).find_map(|end| scan.end(&text.as_bytes()[..end]));
        (end, scan.head())
    }

    #[test]
    fn a_document_ends_with_its_outermost_brace() {
        let text = r#"{"a": "}\"}", "b": [{"name": "x"}], "name": "y"}{"#;
        let (end, head) = scan(text);
        assert_eq!(end, Some(text.len() - 1));
        assert_eq!(head.unwrap().name.as_deref(), Some("y"));
        assert_eq!(scan(r#"{"a": "}\"#).0, None);
    }

    #[test]
    fn keys_inside_and_values_that_look_like_keys_are_no_head() {
        let (_, head) =
            scan(r#"{"a": "name", "b": {"schema": "x"}, "package": "p", "c": ["name"]}"#);
        let head = head.unwrap();
        assert_eq!((head.schema, head.package.as_deref(), head.name), (None, Some("p"), None));
    }

    #[test]
    fn escapes_and_twins_are_left_to_the_parser() {
        assert_eq!(scan(r#"{"n\u0061me": "x"}"#).1, None);
        assert_eq!(scan(r#"{"name": "\u0061"}"#).1, None);
        assert_eq!(scan(r#"{"name": "a", "name": "b"}"#).1, None);
        assert_eq!(scan(r#"{"name": x"a"}"#).1, None);
        assert_eq!(scan(r#"{"name": 1, package: "a"}"#).1, Some(Head::default()));
    }
}
