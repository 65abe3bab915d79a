//! A file cut into its documents, without more of it in memory than the largest of them.

use std::io::{self, Read};

use memchr::{memchr_iter, memmem};

use super::head::{self, Head};
use super::json;

/// How much is asked for at once.
const WINDOW: usize = 512 * 1024;

/// Larger than any operator bundle; what is larger is no catalog.
pub(super) const MAX_DOCUMENT: usize = 64 * 1024 * 1024;

/// The bytes of a file, and how far they are cut.
pub(super) struct Chunks<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    is_over: bool,
    /// The line on which the next document begins.
    line: u64,
}

pub(super) enum Style {
    Json,
    Yaml,
}

/// One document as it stands in its file.
pub(super) struct Raw<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) line: u64,
    pub(super) style: Style,
    /// What it is about, where that can be told without parsing.
    pub(super) head: Option<Head>,
}

#[derive(Debug)]
pub(super) enum CutError {
    Read(io::Error),
    TooLarge { line: u64 },
    Unfinished { line: u64 },
}

impl<R: Read> Chunks<R> {
    /// Cuts `input`, with the `buffer` of an earlier file.
    pub(super) fn new(input: R, mut buffer: Vec<u8>) -> Self {
        buffer.resize(buffer.len().max(WINDOW), 0);
        Self { input, buffer, start: 0, end: 0, is_over: false, line: 1 }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The next document.
    pub(super) fn next(&mut self) -> Result<Option<Raw<'_>>, CutError> {
        loop {
            self.pass_blanks()?;
            if self.at_separator()? {
                self.pass_separator()?;
            } else if self.start == self.end {
                return Ok(None);
            } else {
                break;
            }
        }
        let line = self.line;
        let (len, style, head) = if self.buffer[self.start] == b'{' {
            let mut scan = json::Scan::default();
            (self.json(&mut scan)?, Style::Json, scan.head())
        } else {
            (self.yaml()?, Style::Yaml, None)
        };
        let start = self.start;
        self.pass(len);
        let bytes = &self.buffer[start..start + len];
        let head = if matches!(style, Style::Yaml) { head::of_yaml(bytes) } else { head };
        Ok(Some(Raw { bytes, line, style, head }))
    }

    fn json(&mut self, scan: &mut json::Scan) -> Result<usize, CutError> {
        loop {
            if let Some(len) = scan.end(&self.buffer[self.start..self.end]) {
                return Ok(len);
            }
            if !self.fill()? {
                return Err(CutError::Unfinished { line: self.line });
            }
        }
    }

    /// Up to the next line that begins with `---`: such a line is inside no scalar.
    fn yaml(&mut self) -> Result<usize, CutError> {
        let mut seen = 0;
        loop {
            let bytes = &self.buffer[self.start..self.end];
            while let Some(found) = memmem::find(&bytes[seen..], b"\n---") {
                let after = seen + found + 4;
                match bytes.get(after) {
                    None if !self.is_over => break,
                    None | Some(b' ' | b'\n' | b'\r' | b'\t') => return Ok(after - 3),
                    Some(_) => seen = after,
                }
            }
            // The last bytes may be the beginning of a separator.
            seen = seen.max(bytes.len().saturating_sub(4));
            if !self.fill()? {
                return Ok(self.end - self.start);
            }
        }
    }

    fn pass_blanks(&mut self) -> Result<(), CutError> {
        // A mark that some editors put before everything.
        if self.line == 1
            && self.ensure(3)?
            && self.buffer[self.start..].starts_with("\u{feff}".as_bytes())
        {
            self.start += 3;
        }
        loop {
            let rest = &self.buffer[self.start..self.end];
            // Blanks before a text decide where it stands; only whole blank lines say nothing.
            let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let is_json = rest.get(blank) == Some(&b'{');
            let lines =
                rest[..blank].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let is_all = blank == rest.len();
            self.pass(if is_json { blank } else { lines });
            if !is_all {
                return Ok(());
            }
            if !self.fill()? {
                self.start = self.end;
                return Ok(());
            }
        }
    }

    fn at_separator(&mut self) -> Result<bool, CutError> {
        self.ensure(4)?;
        let rest = &self.buffer[self.start..self.end];
        let blank = |byte: &u8| byte.is_ascii_whitespace();
        Ok(rest.starts_with(b"---") && rest.get(3).is_none_or(blank))
    }

    /// Past the dashes. What stands behind them on the line belongs to the document.
    fn pass_separator(&mut self) -> Result<(), CutError> {
        self.pass(3);
        loop {
            let rest = &self.buffer[self.start..self.end];
            let blank = rest.iter().take_while(|byte| b" \t\r".contains(byte)).count();
            let found = rest.get(blank).copied();
            self.pass(blank);
            match found {
                None if self.fill()? => {}
                // A comment is no content, and would hide that the document is plain.
                Some(b'#') => return self.pass_line(),
                _ => return Ok(()),
            }
        }
    }

    fn pass_line(&mut self) -> Result<(), CutError> {
        loop {
            let rest = &self.buffer[self.start..self.end];
            let found = memchr::memchr(b'\n', rest);
            self.pass(found.unwrap_or(rest.len()));
            if found.is_some() || !self.fill()? {
                return Ok(());
            }
        }
    }

    fn pass(&mut self, len: usize) {
        let lines = memchr_iter(b'\n', &self.buffer[self.start..self.start + len]).count();
        self.line += lines as u64;
        self.start += len;
    }

    /// Whether there are `len` more bytes.
    fn ensure(&mut self, len: usize) -> Result<bool, CutError> {
        while self.end - self.start < len {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads on; `false` at the end of the file.
    fn fill(&mut self) -> Result<bool, CutError> {
        if self.is_over {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end > MAX_DOCUMENT {
            return Err(CutError::TooLarge { line: self.line });
        }
        if self.buffer.len() - self.end < WINDOW / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    self.is_over = count == 0;
                    return Ok(count > 0);
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(CutError::Read(err)),
            }
        }
    }
}
