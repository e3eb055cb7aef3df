//! JSON5 text as a tree with positions: for edits that leave the rest of the text unchanged, and
//! for errors that name the position. It accepts a little more than JSON5; the values themselves
//! are read by the `json5` crate.

use std::fmt;
use std::ops::Range;

use serde_json::Value;

/// A value and its byte range in the text.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) shape: Shape,
}

/// The content of a value.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Object(Vec<Entry>),
    Array(Vec<Entry>),
    Text(String),
    Other,
}

/// A member of an object or an item of an array.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The member's name and its byte range.
    pub(crate) name: Option<(String, Range<usize>)>,
    pub(crate) node: Node,
    /// The position of the comma after it, if there is one.
    pub(crate) comma: Option<usize>,
}

impl Entry {
    /// The start of the entry.
    pub(crate) fn start(&self) -> usize {
        self.name.as_ref().map_or(self.node.span.start, |(_, span)| span.start)
    }
}

/// One step of a path: a member name or an index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A path as people write it: `auth.order.anthropic[1]`.
pub(crate) struct Key<'a>(pub(crate) &'a [Step]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if is_plain(name) && place == 0 => write!(formatter, "{name}")?,
                Step::Name(name) if is_plain(name) => write!(formatter, ".{name}")?,
                Step::Name(name) => {
                    let name: String = name.chars().flat_map(char::escape_debug).collect();
                    write!(formatter, "[\"{name}\"]")?;
                }
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Whether `name` needs no quotes as the name of a member.
pub(crate) fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
}

/// Why text is not JSON5, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) offset: usize,
    pub(crate) reason: &'static str,
    /// The path of the value that was being read.
    pub(crate) path: Vec<Step>,
}

impl Node {
    /// The tree of `text`; `None` if it has only white space and comments.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, Fault> {
        let mut reader = Reader { text, at: 0, path: Vec::new() };
        reader.skip()?;
        if reader.rest().is_empty() {
            return Ok(None);
        }
        let node = reader.value()?;
        reader.skip()?;
        if reader.rest().is_empty() { Ok(Some(node)) } else { Err(reader.fault(TRAILING)) }
    }

    /// The entries of an object or array.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.shape {
            Shape::Object(entries) | Shape::Array(entries) => entries,
            Shape::Text(_) | Shape::Other => &[],
        }
    }

    /// The index of the entry for `step`. Of several members with one name the last one counts.
    pub(crate) fn position(&self, step: &Step) -> Option<usize> {
        match (&self.shape, step) {
            (Shape::Object(entries), Step::Name(name)) => entries
                .iter()
                .rposition(|entry| entry.name.as_ref().is_some_and(|(own, _)| own == name)),
            (Shape::Array(entries), Step::Index(index)) => {
                (*index < entries.len()).then_some(*index)
            }
            _ => None,
        }
    }

    /// The value at `path`.
    pub(crate) fn at(&self, path: &[Step]) -> Option<&Self> {
        path.iter().try_fold(self, |node, step| {
            node.position(step).map(|place| &node.entries()[place].node)
        })
    }

    /// The value at `path`, or the deepest existing one on the way there.
    pub(crate) fn nearest(&self, path: &[Step]) -> &Self {
        (0..=path.len()).rev().find_map(|length| self.at(&path[..length])).unwrap_or(self)
    }
}

/// Whether brackets are nested too deeply for a recursive parser. Brackets in strings and comments
/// count too: no real config has that many.
pub(crate) fn is_too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}

/// Line and column of a byte, both starting at 1; the column is counted in characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().filter(|c| *c != '\u{feff}').count() + 1)
}

/// The value of JSON5 text; a byte order mark is accepted. The error has the line, the column and
/// the key that was being read.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let at = |line, column, path: &[Step]| match path {
        [] => format!("at line {line}, column {column}"),
        path => format!("at line {line}, column {column}, in `{}`", Key(path)),
    };
    let fault = |fault: Fault| {
        let (line, column) = line_and_column(text, fault.offset);
        format!("{} {}", fault.reason, at(line, column, &fault.path))
    };
    if is_too_deep(text) {
        return Err("nested deeper than 128".to_owned());
    }
    json5::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        // Our parser knows the key, but accepts a little more than JSON5.
        match (Node::parse(text), error.position()) {
            (Err(known), _) => fault(known),
            (Ok(_), Some(place)) => {
                format!("{} {}", reason(&error), at(place.line + 1, place.column + 1, &[]))
            }
            (Ok(_), None) => reason(&error),
        }
    })
}

/// The parser's message without its position.
fn reason(error: &json5::Error) -> String {
    let text = error.to_string();
    let end = text.find(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// The end of the white space and comments that begin at `at`.
pub(crate) fn after_blanks(text: &str, at: usize) -> usize {
    let mut reader = Reader { text, at, path: Vec::new() };
    match reader.skip() {
        Ok(()) => reader.at,
        Err(_) => text.len(),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    path: Vec<Step>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fault(&self, reason: &'static str) -> Fault {
        Fault { offset: self.at, reason, path: self.path.clone() }
    }

    /// Skips white space and comments.
    fn skip(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches(is_blank).len();
            self.at += blank;
            let rest = &rest[blank..];
            if let Some(comment) = rest.strip_prefix("//") {
                let length = comment.find(is_line_end).unwrap_or(comment.len());
                self.at += 2 + length;
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let length = comment.find("*/").ok_or_else(|| self.fault(OPEN_COMMENT))?;
                self.at += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self) -> Result<Node, Fault> {
        if self.path.len() > DEEPEST {
            return Err(self.fault("nested deeper than 128"));
        }
        let start = self.at;
        let shape = match self.rest().chars().next() {
            None => return Err(self.fault("the text ends where a value is expected")),
            Some('{') => Shape::Object(self.entries('}')?),
            Some('[') => Shape::Array(self.entries(']')?),
            Some(quote @ ('"' | '\'')) => Shape::Text(self.string(quote)?),
            Some(_) => {
                let rest = self.rest();
                let end = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
                if !is_word(&rest[..end]) {
                    return Err(self.fault("a value is expected"));
                }
                self.at += end;
                Shape::Other
            }
        };
        Ok(Node { span: start..self.at, shape })
    }

    /// The entries up to `close`; the next character is the opening bracket.
    fn entries(&mut self, close: char) -> Result<Vec<Entry>, Fault> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            self.skip()?;
            match self.rest().chars().next() {
                None => return Err(self.fault("the text ends before the closing bracket")),
                Some(c) if c == close => {
                    self.at += 1;
                    return Ok(entries);
                }
                Some(_) if entries.last().is_some_and(|last| last.comma.is_none()) => {
                    return Err(self.fault("a comma or the closing bracket is expected"));
                }
                Some(_) => {}
            }
            let name = if close == '}' { Some(self.name()?) } else { None };
            self.path.push(match &name {
                Some((name, _)) => Step::Name(name.clone()),
                None => Step::Index(entries.len()),
            });
            if name.is_some() {
                self.skip()?;
                if !self.rest().starts_with(':') {
                    return Err(self.fault("a colon is expected"));
                }
                self.at += 1;
                self.skip()?;
            }
            let node = self.value()?;
            let end = self.at;
            self.skip()?;
            let comma = self.rest().starts_with(',').then_some(self.at);
            self.at = comma.map_or(end, |comma| comma + 1);
            self.path.pop();
            entries.push(Entry { name, node, comma });
        }
    }

    fn name(&mut self) -> Result<(String, Range<usize>), Fault> {
        let start = self.at;
        if let Some(quote @ ('"' | '\'')) = self.rest().chars().next() {
            return Ok((self.string(quote)?, start..self.at));
        }
        let mut name = String::new();
        while let Some(c) = self.rest().chars().next() {
            if c == '\\' {
                self.at += 1;
                self.escape(&mut name)?;
            } else if is_of_name(c) {
                name.push(c);
                self.at += c.len_utf8();
            } else {
                break;
            }
        }
        if name.is_empty() {
            return Err(self.fault("a name is expected"));
        }
        Ok((name, start..self.at))
    }

    fn string(&mut self, quote: char) -> Result<String, Fault> {
        let opened = self.fault("the string is not closed");
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else { return Err(opened) };
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(text),
                '\\' => self.escape(&mut text)?,
                '\n' | '\r' => return Err(opened),
                c => text.push(c),
            }
        }
    }

    /// The character after a backslash.
    fn escape(&mut self, out: &mut String) -> Result<(), Fault> {
        let Some(c) = self.rest().chars().next() else {
            return Err(self.fault("the text ends in a string"));
        };
        self.at += c.len_utf8();
        match c {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            '0' => out.push('\0'),
            '\r' if self.rest().starts_with('\n') => self.at += 1,
            '\r' | '\n' | '\u{2028}' | '\u{2029}' => {}
            'x' => {
                let code = self.hexadecimal(2)?;
                out.extend(char::from_u32(code));
            }
            'u' => {
                let mut code = self.hexadecimal(4)?;
                if (0xd800..0xdc00).contains(&code) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    let low = self.hexadecimal(4)?;
                    code = 0x10000 + ((code - 0xd800) << 10) + (low & 0x3ff);
                }
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => out.push(other),
        }
        Ok(())
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u32, Fault> {
        let code = self.rest().get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        self.at += if code.is_some() { digits } else { 0 };
        code.ok_or_else(|| self.fault("hexadecimal digits are expected"))
    }
}

/// White space of JSON5, including line ends.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\u{85}' || c == '\u{feff}'
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '\u{200c}' | '\u{200d}') || {
        // Combining marks are also allowed in names; the `json5` crate decides which are valid.
        !c.is_ascii() && !is_blank(c)
    }
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '$')
}

/// Whether it may be a number or a literal such as `true`.
fn is_word(word: &str) -> bool {
    let number = word.trim_start_matches(['+', '-']);
    matches!(number, "true" | "false" | "null" | "Infinity" | "NaN")
        || number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

const DEEPEST: usize = 128;
const TRAILING: &str = "the value has ended, and there is more";
const OPEN_COMMENT: &str = "the comment is not closed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_knows_where_everything_is() {
        let text =
            "\u{feff}// a\n{ one: [0x1F, 'two\\\n', +.5e3,], /* b */ \"thr\\u0065e\": {} }\n";
        let root = Node::parse(text).unwrap().unwrap();
        let at = |path: &[Step]| root.at(path).map(|node| &text[node.span.clone()]);
        assert_eq!(at(&["one".into(), 0.into()]), Some("0x1F"));
        assert_eq!(at(&["one".into(), 2.into()]), Some("+.5e3"));
        assert_eq!(at(&["three".into()]), Some("{}"));
        assert_eq!(at(&["one".into(), 3.into()]), None);
        assert!(root.at(&["one".into()]).unwrap().entries()[2].comma.is_some());
        assert!(Node::parse(" // nothing").unwrap().is_none());
    }

    #[test]
    fn a_fault_names_the_key_it_was_reading() {
        let fault = |text: &str| {
            let fault = Node::parse(text).unwrap_err();
            (line_and_column(text, fault.offset), Key(&fault.path).to_string())
        };
        assert_eq!(
            fault("{ auth: {\n  order: { 'z.ai': ['a', 'b c\n'] } } }"),
            ((2, 26), "auth.order[\"z.ai\"][1]".to_owned())
        );
        assert_eq!(fault("{ a: 1 b: 2 }"), ((1, 8), String::new()));
        assert_eq!(fault("{ a: [1, }"), ((1, 10), "a[1]".to_owned()));
        assert_eq!(fault(&"[".repeat(5000)).0, (1, 130));
    }

    #[test]
    fn the_last_of_two_members_of_one_name_counts() {
        let root = Node::parse("{a: 1, a: 2}").unwrap().unwrap();
        assert_eq!(root.position(&"a".into()), Some(1));
    }
}
