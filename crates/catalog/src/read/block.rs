//! The block style that Go's tools write, read a line at a time.
//!
//! Whatever is not plainly of that style is [`NotCanonical`]: the caller then asks the full parser. A wrong guess
//! here would be silent, so every rule refuses rather than interprets; tests hold both parsers against each other.

use memchr::{memchr, memchr2, memchr3};
use serde_json::{Map, Number, Value};

/// Not plainly of the canonical style; says nothing about whether it is YAML.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotCanonical;

type Parsed<T> = Result<T, NotCanonical>;

/// Deeper documents are the full parser's, which has limits of its own.
const MAX_DEPTH: usize = 64;

/// YAML's own limit for a key on one line.
const MAX_KEY: usize = 1024;

/// Reads one document without its `---`.
pub(crate) fn parse(text: &str) -> Parsed<Value> {
    if !text.ends_with('\n') || !is_printable(text) {
        return Err(NotCanonical);
    }
    let mut block = Block { text, at: 0, seen: None, inner: None, depth: 0 };
    let Some(first) = block.peek()? else { return Err(NotCanonical) };
    let value = block.node(first)?;
    if block.peek()?.is_some() { Err(NotCanonical) } else { Ok(value) }
}

/// Line breaks and control characters mean different things to different parsers, except `\n`.
fn is_printable(text: &str) -> bool {
    let is_odd = |byte: u8| (byte < b' ' && byte != b'\n' && byte != b'\t') || byte == 0x7f;
    // Without an early exit the compiler makes this a few instructions for each 32 bytes.
    let odd = |chunk: &[u8]| chunk.iter().fold(0, |odd, &byte| odd | u8::from(is_odd(byte))) != 0;
    if text.as_bytes().chunks(4096).any(odd) {
        return false;
    }
    let odd = |c: char| matches!(c, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}'..);
    text.is_ascii() || !text.chars().any(odd)
}

/// What is left of a line: where its text begins, and the column of that.
#[derive(Clone, Copy)]
struct Line<'a> {
    indent: usize,
    start: usize,
    text: &'a str,
}

impl Line<'_> {
    fn is_item(&self) -> bool {
        self.text == "-" || self.text.starts_with("- ")
    }
}

struct Block<'a> {
    text: &'a str,
    /// Where the next line begins.
    at: usize,
    /// That line, once it was looked at: lines may be megabytes long.
    seen: Option<Line<'a>>,
    /// The rest of a line whose `- ` is read.
    inner: Option<Line<'a>>,
    depth: usize,
}

impl<'a> Block<'a> {
    /// The next line that says something.
    fn peek(&mut self) -> Parsed<Option<Line<'a>>> {
        if self.inner.is_some() {
            return Ok(self.inner);
        }
        while let Some(line) = self.raw() {
            match line.text.as_bytes().first() {
                None => self.skip(&line),
                Some(b'#' | b'\t') => return Err(NotCanonical),
                Some(_) => return Ok(Some(line)),
            }
        }
        Ok(None)
    }

    /// The next line, blank or not.
    fn raw(&mut self) -> Option<Line<'a>> {
        if let Some(line) = self.seen
            && line.start - line.indent == self.at
        {
            return Some(line);
        }
        let rest = &self.text[self.at..];
        let end = memchr(b'\n', rest.as_bytes())?;
        let indent = rest.as_bytes()[..end].iter().take_while(|byte| **byte == b' ').count();
        self.seen = Some(Line { indent, start: self.at + indent, text: &rest[indent..end] });
        self.seen
    }

    /// The line is read.
    fn skip(&mut self, line: &Line) {
        self.inner = None;
        self.at = line.start + line.text.len() + 1;
    }

    fn node(&mut self, line: Line<'a>) -> Parsed<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(NotCanonical);
        }
        let value =
            if line.is_item() { self.sequence(line.indent) } else { self.mapping(line.indent) };
        self.depth -= 1;
        value
    }

    fn mapping(&mut self, indent: usize) -> Parsed<Value> {
        let mut map = Map::new();
        while let Some(line) = self.peek()? {
            if line.indent != indent || line.is_item() {
                break;
            }
            let (key, value) = key(line)?.ok_or(NotCanonical)?;
            let value = match value.text {
                "" => {
                    self.skip(&line);
                    self.below(indent, indent)?
                }
                _ => self.scalar(value, indent)?,
            };
            if map.insert(key.to_owned(), value).is_some() {
                return Err(NotCanonical);
            }
        }
        self.ends(indent)?;
        Ok(Value::Object(map))
    }

    fn sequence(&mut self, indent: usize) -> Parsed<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.peek()? {
            if line.indent != indent || !line.is_item() {
                break;
            }
            items.push(self.item(line)?);
        }
        self.ends(indent)?;
        Ok(Value::Array(items))
    }

    fn item(&mut self, line: Line<'a>) -> Parsed<Value> {
        let text = line.text[1..].trim_start_matches(' ');
        let step = line.text.len() - text.len();
        let inner = Line { indent: line.indent + step, start: line.start + step, text };
        if text.is_empty() {
            self.skip(&line);
            // The next item stands where this one does.
            return self.below(line.indent, line.indent + 1);
        }
        if inner.is_item() || key(inner)?.is_some() {
            self.inner = Some(inner);
            return self.node(inner);
        }
        self.scalar(inner, line.indent)
    }

    /// What stands below a key or a `-`: something deeper, a list from column `items` on, or nothing.
    fn below(&mut self, indent: usize, items: usize) -> Parsed<Value> {
        match self.peek()? {
            Some(line) if line.indent > indent || (line.indent >= items && line.is_item()) => {
                self.node(line)
            }
            _ => Ok(Value::Null),
        }
    }

    /// Nothing deeper may follow a finished mapping or list.
    fn ends(&mut self, indent: usize) -> Parsed<()> {
        match self.peek()? {
            Some(line) if line.indent > indent => Err(NotCanonical),
            _ => Ok(()),
        }
    }

    /// A value that begins on this line, inside something at column `indent`.
    fn scalar(&mut self, line: Line<'a>, indent: usize) -> Parsed<Value> {
        match line.text.as_bytes()[0] {
            b'|' => self.literal(line, indent),
            b'"' => self.double_quoted(line, indent),
            b'\'' => self.single_quoted(line, indent),
            b'{' if line.text == "{}" => {
                self.skip(&line);
                Ok(Value::Object(Map::new()))
            }
            b'[' if line.text == "[]" => {
                self.skip(&line);
                Ok(Value::Array(Vec::new()))
            }
            b'{' | b'}' | b'[' | b']' | b',' | b'#' | b'&' | b'*' | b'!' | b'>' | b'%' | b'@'
            | b'`' | b'?' | b':' | b'\t' => Err(NotCanonical),
            _ if line.is_item() => Err(NotCanonical),
            _ => self.plain(line, indent),
        }
    }

    fn plain(&mut self, line: Line<'a>, indent: usize) -> Parsed<Value> {
        let first = plain_line(line.text)?;
        self.skip(&line);
        let mut folded: Option<String> = None;
        while let Some((blank, next)) = self.continuation(indent)? {
            let text = folded.get_or_insert_with(|| first.to_owned());
            fold(text, blank);
            text.push_str(plain_line(next.text)?);
            self.skip(&next);
        }
        folded.map_or_else(|| resolve(first), |text| Ok(Value::String(text)))
    }

    /// The next line of a scalar of several lines, and how many blank ones stand before it.
    fn continuation(&mut self, indent: usize) -> Parsed<Option<(usize, Line<'a>)>> {
        let (start, mut blank) = (self.at, 0);
        while let Some(line) = self.raw() {
            match line.text.as_bytes().first() {
                None => blank += 1,
                Some(b'#' | b'\t') => return Err(NotCanonical),
                Some(_) if line.indent > indent => return Ok(Some((blank, line))),
                Some(_) => break,
            }
            self.skip(&line);
        }
        self.at = start;
        Ok(None)
    }

    fn literal(&mut self, line: Line<'a>, indent: usize) -> Parsed<Value> {
        let header = Header::parse(line.text)?;
        self.skip(&line);
        let mut column = header.indent.map(|extra| indent + extra);
        let mut text = String::new();
        let mut blank = 0;
        while let Some(line) = self.raw() {
            let whole = line.indent + line.text.len();
            if line.text.is_empty() && column.is_none_or(|column| whole <= column) {
                // Spaces before the first line of text decide nothing, unless they are too many.
                if column.is_none() && whole > indent {
                    return Err(NotCanonical);
                }
                blank += 1;
            } else {
                let column = *column.get_or_insert(line.indent);
                if column <= indent || line.indent < column {
                    break;
                }
                text.extend(std::iter::repeat_n('\n', blank));
                blank = 0;
                text.push_str(&self.text[line.start - line.indent + column..][..whole - column]);
                text.push('\n');
            }
            self.skip(&line);
        }
        header.chomp.end(&mut text, blank);
        Ok(Value::String(text))
    }

    fn single_quoted(&mut self, line: Line<'a>, indent: usize) -> Parsed<Value> {
        let mut quoted = Quoted::new(self.text, line, indent);
        loop {
            let found = memchr2(b'\'', b'\n', quoted.rest()).ok_or(NotCanonical)?;
            let byte = quoted.take(found)?;
            match byte {
                b'\n' => quoted.fold()?,
                _ if quoted.rest().first() == Some(&b'\'') => quoted.push('\'', 1),
                _ => return self.end(quoted),
            }
        }
    }

    fn double_quoted(&mut self, line: Line<'a>, indent: usize) -> Parsed<Value> {
        let mut quoted = Quoted::new(self.text, line, indent);
        loop {
            let found = memchr3(b'"', b'\\', b'\n', quoted.rest()).ok_or(NotCanonical)?;
            match quoted.take(found)? {
                b'\n' => quoted.fold()?,
                b'\\' => quoted.escape()?,
                _ => return self.end(quoted),
            }
        }
    }

    /// Nothing but the line's end may follow a closing quote.
    fn end(&mut self, quoted: Quoted<'a>) -> Parsed<Value> {
        let blanks = memchr(b'\n', quoted.rest()).ok_or(NotCanonical)?;
        if quoted.rest()[..blanks].iter().any(|byte| *byte != b' ') {
            return Err(NotCanonical);
        }
        self.inner = None;
        self.at = quoted.at + blanks + 1;
        Ok(Value::String(quoted.out))
    }
}

/// A line break inside a scalar is a space, and blank lines are line breaks.
fn fold(text: &mut String, blank: usize) {
    match blank {
        0 => text.push(' '),
        _ => text.extend(std::iter::repeat_n('\n', blank)),
    }
}

/// The inside of quotes, as far as it is read.
struct Quoted<'a> {
    text: &'a str,
    at: usize,
    indent: usize,
    out: String,
    /// Up to here nothing is trimmed: it was written as an escape.
    kept: usize,
}

impl<'a> Quoted<'a> {
    fn new(text: &'a str, line: Line, indent: usize) -> Self {
        Self { text, at: line.start + 1, indent, out: String::new(), kept: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Takes what stands before the special byte at `found`, and that byte.
    fn take(&mut self, found: usize) -> Parsed<u8> {
        let plain = &self.text[self.at..self.at + found];
        if memchr(b'\t', plain.as_bytes()).is_some() {
            return Err(NotCanonical);
        }
        self.out.push_str(plain);
        self.at += found + 1;
        Ok(self.text.as_bytes()[self.at - 1])
    }

    fn push(&mut self, c: char, bytes: usize) {
        self.out.push(c);
        self.kept = self.out.len();
        self.at += bytes;
    }

    /// After a line break.
    fn fold(&mut self) -> Parsed<()> {
        let trimmed = self.out.trim_end_matches(' ').len();
        self.out.truncate(trimmed.max(self.kept));
        let mut blank = 0;
        loop {
            let spaces = self.rest().iter().take_while(|byte| **byte == b' ').count();
            match self.rest().get(spaces) {
                Some(b'\n') => blank += 1,
                Some(_) if spaces > self.indent => {
                    self.at += spaces;
                    fold(&mut self.out, blank);
                    return Ok(());
                }
                _ => return Err(NotCanonical),
            }
            self.at += spaces + 1;
        }
    }

    /// After a backslash.
    fn escape(&mut self) -> Parsed<()> {
        let digits = match self.rest().first() {
            Some(b'\n') => return self.join(),
            Some(&byte) if let Some(c) = short(byte) => {
                self.push(c, 1);
                return Ok(());
            }
            Some(b'x') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => return Err(NotCanonical),
        };
        let hex = self.text.get(self.at + 1..=self.at + digits).ok_or(NotCanonical)?;
        if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotCanonical);
        }
        let code = u32::from_str_radix(hex, 16).map_err(|_| NotCanonical)?;
        self.push(char::from_u32(code).ok_or(NotCanonical)?, digits + 1);
        Ok(())
    }

    /// After a backslash at a line's end: the text goes on at the next line's first letter.
    fn join(&mut self) -> Parsed<()> {
        self.kept = self.out.len();
        let spaces = self.rest()[1..].iter().take_while(|byte| **byte == b' ').count();
        self.at += 1 + spaces;
        match self.rest().first() {
            Some(b'\n' | b'\t') | None => Err(NotCanonical),
            Some(_) if spaces <= self.indent => Err(NotCanonical),
            Some(_) => Ok(()),
        }
    }
}

/// Escapes of one letter.
fn short(byte: u8) -> Option<char> {
    match byte {
        b'n' => Some('\n'),
        b't' => Some('\t'),
        b'r' => Some('\r'),
        b'"' | b'\\' | b' ' => Some(char::from(byte)),
        _ => None,
    }
}

/// What follows the `|` of a literal.
struct Header {
    indent: Option<usize>,
    chomp: Chomp,
}

#[derive(Clone, Copy)]
enum Chomp {
    Strip,
    Clip,
    Keep,
}

impl Header {
    fn parse(text: &str) -> Parsed<Self> {
        let (indent, chomp) = match text.as_bytes() {
            [b'|'] => (None, Chomp::Clip),
            [b'|', b'-'] => (None, Chomp::Strip),
            [b'|', b'+'] => (None, Chomp::Keep),
            [b'|', digit @ b'1'..=b'9'] => (Some(digit - b'0'), Chomp::Clip),
            [b'|', digit @ b'1'..=b'9', b'-'] => (Some(digit - b'0'), Chomp::Strip),
            [b'|', digit @ b'1'..=b'9', b'+'] => (Some(digit - b'0'), Chomp::Keep),
            _ => return Err(NotCanonical),
        };
        Ok(Self { indent: indent.map(usize::from), chomp })
    }
}

impl Chomp {
    /// `text` ends with a line break if there is any, and `blank` more lines follow it.
    fn end(self, text: &mut String, blank: usize) {
        match self {
            Self::Strip => text.truncate(text.strip_suffix('\n').map_or(text.len(), str::len)),
            Self::Clip => {}
            Self::Keep => text.extend(std::iter::repeat_n('\n', blank)),
        }
    }
}

/// The key that a line begins with, and what stands behind its colon; nothing if the line is a scalar.
fn key(line: Line<'_>) -> Parsed<Option<(&str, Line<'_>)>> {
    let found = match line.text.as_bytes()[0] {
        quote @ (b'"' | b'\'') => quoted_key(line.text, quote)?,
        _ => plain_key(line.text)?,
    };
    let Some((key, after)) = found else { return Ok(None) };
    let value = &line.text[after + 1..];
    if key.len() > MAX_KEY || !(value.is_empty() || value.starts_with(' ')) {
        return Err(NotCanonical);
    }
    let text = value.trim_start_matches(' ');
    let step = line.text.len() - text.len();
    Ok(Some((key, Line { indent: line.indent + step, start: line.start + step, text })))
}

/// The key, and where its colon stands.
fn quoted_key(text: &str, quote: u8) -> Parsed<Option<(&str, usize)>> {
    let Some(end) = memchr(quote, &text.as_bytes()[1..]) else { return Ok(None) };
    let (key, after) = (&text[1..=end], end + 2);
    // A scalar, or a key with a quote in it, which is told apart by whoever reads quotes.
    if !text[after..].starts_with(':') {
        return Ok(None);
    }
    match memchr2(b'\\', b'\t', key.as_bytes()) {
        None => Ok(Some((key, after))),
        Some(_) => Err(NotCanonical),
    }
}

/// The key, and where its colon stands.
fn plain_key(text: &str) -> Parsed<Option<(&str, usize)>> {
    let Some(end) = colon(text) else { return Ok(None) };
    let key = &text[..end];
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    let is_text =
        !key.is_empty() && key.bytes().all(simple) && matches!(resolve(key)?, Value::String(_));
    if is_text { Ok(Some((key, end))) } else { Err(NotCanonical) }
}

/// Where a colon ends a key: before a space, or at the line's end.
fn colon(text: &str) -> Option<usize> {
    memchr::memchr_iter(b':', text.as_bytes())
        .find(|at| matches!(text.as_bytes().get(at + 1), None | Some(b' ')))
}

/// One line of a plain scalar without the spaces behind it.
fn plain_line(text: &str) -> Parsed<&str> {
    let bytes = text.as_bytes();
    if bytes.ends_with(b":") {
        return Err(NotCanonical);
    }
    // Long values are base64, without a single space.
    let mut at = 0;
    while let Some(found) = memchr2(b' ', b'\t', &bytes[at..]) {
        at += found;
        let before = at > 0 && bytes[at - 1] == b':';
        if bytes[at] == b'\t' || before || bytes.get(at + 1) == Some(&b'#') {
            return Err(NotCanonical);
        }
        at += 1;
    }
    Ok(text.trim_end_matches(' '))
}

/// What a plain scalar of one line stands for.
fn resolve(text: &str) -> Parsed<Value> {
    match text.as_bytes() {
        [b'a'..=b'z' | b'A'..=b'Z', ..] => word(text),
        [b'0'..=b'9', ..] => number(text),
        [b'-', b'1'..=b'9', ..] if text[1..].bytes().all(|byte| byte.is_ascii_digit()) => {
            number(text)
        }
        [b'-', b'-', b'a'..=b'z', ..] => Ok(Value::String(text.to_owned())),
        [b'+' | b'-' | b'.' | b'~' | b'=' | b'_', ..] | b"<<" => Err(NotCanonical),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// What begins like a number. Versions and dates are none; what might be one is the full parser's, except integers.
fn number(text: &str) -> Parsed<Value> {
    let digits = text.trim_start_matches('-');
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let is_plain = digits.len() <= 18 && (digits == "0" || !digits.starts_with('0'));
        let number: i64 = text.parse().ok().filter(|_| is_plain).ok_or(NotCanonical)?;
        return Ok(Value::Number(Number::from(number)));
    }
    let is_prefixed =
        matches!(digits.as_bytes(), [b'0', second, ..] if second.is_ascii_alphanumeric());
    if is_prefixed || text.contains('_') || text.parse::<f64>().is_ok() {
        return Err(NotCanonical);
    }
    Ok(Value::String(text.to_owned()))
}

/// Words that some YAML reads as something else are the full parser's.
fn word(text: &str) -> Parsed<Value> {
    const AMBIGUOUS: [&str; 11] =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan"];
    match text {
        "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        "null" => Ok(Value::Null),
        _ if text.len() <= 5 && AMBIGUOUS.iter().any(|word| word.eq_ignore_ascii_case(text)) => {
            Err(NotCanonical)
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
