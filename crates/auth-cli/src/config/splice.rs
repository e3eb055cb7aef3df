//! Local changes of JSON5 text: every comment, quote, indentation, comma and line end around a
//! change stays, and new text follows the existing style.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::Value;

use crate::config::json5::{Entry, Node, Shape, Step, after_blanks, is_plain};

/// The action at one position of a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Replace the value, or add the member to the existing object.
    Set(Value),
    /// Remove the entry.
    Remove,
    /// Append an item to the array.
    Push(Value),
}

/// The text after `action` at `path`. All steps of the path must exist, except the last one of a
/// `Set`.
pub(crate) fn spliced(text: &str, path: &[Step], action: &Action) -> Option<String> {
    let style = Style::from_text(text);
    let Some(root) = Node::parse(text).ok()? else {
        // Only comments: the value is added after them.
        let Action::Set(value) = action else { return None };
        let value = nested(path, value);
        let newline = style.newline;
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { newline };
        let value = style.print(&value, "", true);
        return Some(format!("{text}{gap}{value}{newline}"));
    };
    let edits = match action {
        Action::Set(value) => {
            if let Some(node) = root.at(path) {
                let indent = style.indent_at(node.span.start);
                let old = &text[node.span.clone()];
                let quote = old.chars().next().filter(|_| matches!(node.shape, Shape::Text(_)));
                let style = Style { quote: quote.unwrap_or(style.quote), ..style };
                let is_tall = style.is_tall || old.contains('\n');
                vec![(node.span.clone(), style.print(value, indent, is_tall))]
            } else {
                let (last, to) = path.split_last()?;
                let Step::Name(name) = last else { return None };
                let object = root.at(to).filter(|it| matches!(it.shape, Shape::Object(_)))?;
                style.insert(object, Some(name), value)
            }
        }
        Action::Push(value) => {
            let array = root.at(path).filter(|it| matches!(it.shape, Shape::Array(_)))?;
            style.insert(array, None, value)
        }
        Action::Remove => {
            let (last, to) = path.split_last()?;
            let container = root.at(to)?;
            style.remove(container.entries(), container.position(last)?)
        }
    };
    Some(apply(text, edits))
}

/// `value` inside nested objects with the names of `path`.
pub(crate) fn nested(path: &[Step], value: &Value) -> Value {
    path.iter().rev().fold(value.clone(), |value, step| match step {
        Step::Name(name) => Value::Object([(name.clone(), value)].into_iter().collect()),
        Step::Index(_) => Value::Array(vec![value]),
    })
}

type Edit = (Range<usize>, String);

fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(span, _)| std::cmp::Reverse((span.start, span.end)));
    let mut text = text.to_owned();
    for (span, new) in edits {
        text.replace_range(span, &new);
    }
    text
}

/// The formatting style of the text.
struct Style<'a> {
    text: &'a str,
    newline: &'static str,
    /// One level of indentation.
    unit: &'a str,
    quote: char,
    /// Whether names are quoted even if they need no quotes.
    quotes_names: bool,
    /// Whether there are line ends between the values.
    is_tall: bool,
}

impl<'a> Style<'a> {
    fn from_text(text: &'a str) -> Self {
        let mut style = Self {
            text,
            newline: if text.contains("\r\n") { "\r\n" } else { "\n" },
            unit: "",
            quote: '"',
            quotes_names: true,
            is_tall: true,
        };
        if let Ok(Some(root)) = Node::parse(text) {
            let mut habits = Habits::default();
            habits.note(&root, &style);
            style.unit = habits.unit.unwrap_or_default();
            style.quote = if habits.single > habits.double { '\'' } else { '"' };
            style.quotes_names = habits.quoted >= habits.unquoted;
            style.is_tall = root.entries().is_empty() || text[root.span.clone()].contains('\n');
        }
        if style.unit.is_empty() {
            style.unit = "  ";
        }
        style
    }

    /// The indentation of the line that contains `at`.
    fn indent_at(&self, at: usize) -> &'a str {
        let start = self.line_start(at);
        let line = &self.text[start..];
        let mark = line.len() - line.trim_start_matches('\u{feff}').len();
        let end = line[mark..].find(|c| c != ' ' && c != '\t').unwrap_or(line.len() - mark);
        &line[mark..mark + end]
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    fn is_first_on_its_line(&self, at: usize) -> bool {
        let start = self.line_start(at);
        start > 0 && self.text[start..at].chars().all(|c| c == ' ' || c == '\t')
    }

    /// Adds an entry at the end of `container`.
    fn insert(&self, container: &Node, name: Option<&str>, value: &Value) -> Vec<Edit> {
        match container.entries().last() {
            Some(last) => self.insert_after(last, name, value),
            None => self.insert_first(container, name, value),
        }
    }

    fn insert_after(&self, last: &Entry, name: Option<&str>, value: &Value) -> Vec<Edit> {
        let end = last.comma.map_or(last.node.span.end, |comma| comma + 1);
        if !self.is_first_on_its_line(last.start()) {
            let new = self.entry(
                name,
                value,
                self.indent_at(last.start()),
                false,
                is_tight(self.text, last),
            );
            let space = if is_tight(self.text, last) { "" } else { " " };
            return vec![match last.comma {
                Some(_) => (end..end, format!("{space}{new},")),
                None => (end..end, format!(",{space}{new}")),
            }];
        }
        let indent = self.indent_at(last.start());
        let new = self.entry(name, value, indent, true, false);
        let (newline, at) = (self.newline, self.end_of_line(end));
        match last.comma {
            Some(_) => vec![(at..at, format!("{newline}{indent}{new},"))],
            None if at == end => vec![(at..at, format!(",{newline}{indent}{new}"))],
            None => vec![(end..end, ",".to_owned()), (at..at, format!("{newline}{indent}{new}"))],
        }
    }

    fn insert_first(&self, container: &Node, name: Option<&str>, value: &Value) -> Vec<Edit> {
        let (open, close) = (container.span.start + 1, container.span.end - 1);
        let inner = &self.text[open..close];
        let outer = self.indent_at(container.span.start);
        let indent = format!("{outer}{}", self.unit);
        let newline = self.newline;
        let content = inner.trim_end_matches(crate::config::json5::is_blank).len();
        if inner[content..].contains('\n') {
            // The brackets are on lines of their own, perhaps with comments between them.
            let new = self.entry(name, value, &indent, true, false);
            let at = open + content;
            return vec![(at..at, format!("{newline}{indent}{new}"))];
        }
        if content > 0 {
            let new = self.entry(name, value, outer, false, false);
            let at = open + content;
            return vec![(at..at, format!(" {new}"))];
        }
        let is_small = name.is_none() && !value.is_object();
        if self.is_tall && !is_small {
            let new = self.entry(name, value, &indent, true, false);
            return vec![(open..close, format!("{newline}{indent}{new}{newline}{outer}"))];
        }
        let new = self.entry(name, value, outer, false, false);
        let space = if name.is_some() { " " } else { "" };
        vec![(open..close, format!("{space}{new}{space}"))]
    }

    /// The end of the line that contains `at`, comments included; or `at`, if something else
    /// follows.
    fn end_of_line(&self, at: usize) -> usize {
        let mut end = at;
        loop {
            let rest = &self.text[end..];
            let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            let rest = &rest[blank..];
            let comment = if rest.starts_with("//") {
                rest.find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |length| length + 2)
            } else {
                return end;
            };
            end += blank + comment;
        }
    }

    /// Removes an entry, its comma, and its line if it had one for itself. Comments beside it stay.
    fn remove(&self, entries: &[Entry], place: usize) -> Vec<Edit> {
        let entry = &entries[place];
        let start = entry.start();
        let mut end = entry.node.span.end;
        let mut edits = Vec::new();
        match entry.comma {
            // There is only a comment, or nothing, between the value and its comma.
            Some(comma) if self.text[end..comma].trim().is_empty() => end = comma + 1,
            Some(comma) => edits.push((comma..comma + 1, String::new())),
            None => {}
        }
        let before = entries[..place].last();
        let comma_before = before.and_then(|it| it.comma).filter(|_| entry.comma.is_none());
        let rest = &self.text[end..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let line_end = ["\r\n", "\n"].iter().find(|it| rest[blank..].starts_with(**it));
        if self.is_first_on_its_line(start) {
            edits.push(match line_end {
                Some(line_end) => {
                    (self.line_start(start)..end + blank + line_end.len(), String::new())
                }
                None => (start..end + blank, String::new()),
            });
            edits.extend(comma_before.map(|comma| (comma..comma + 1, String::new())));
            return edits;
        }
        match comma_before {
            // The white space before the entry is removed with the unneeded comma.
            Some(comma) if self.text[comma + 1..start].trim().is_empty() => {
                edits.push((comma..end, String::new()));
            }
            Some(comma) => {
                edits.push((comma..comma + 1, String::new()));
                edits.push((start..end, String::new()));
            }
            None => edits.push((start..end + blank, String::new())),
        }
        edits
    }

    fn entry(
        &self,
        name: Option<&str>,
        value: &Value,
        indent: &str,
        is_tall: bool,
        is_tight: bool,
    ) -> String {
        let value = self.print(value, indent, is_tall);
        match name {
            Some(name) if is_tight => format!("{}:{value}", self.name(name)),
            Some(name) => format!("{}: {value}", self.name(name)),
            None => value,
        }
    }

    /// A value in the text's style: objects on lines of their own if `is_tall`.
    fn print(&self, value: &Value, indent: &str, is_tall: bool) -> String {
        match value {
            Value::String(text) => self.quoted(text),
            Value::Array(items) => {
                let has_objects = items.iter().any(Value::is_object);
                let items: Vec<_> = items
                    .iter()
                    .map(|item| {
                        let deeper = format!("{indent}{}", self.unit);
                        self.print(item, &deeper, is_tall && has_objects)
                    })
                    .collect();
                self.bracketed(['[', ']'], "", &items, indent, is_tall && has_objects)
            }
            Value::Object(members) => {
                let deeper = format!("{indent}{}", self.unit);
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| self.entry(Some(name), value, &deeper, is_tall, false))
                    .collect();
                self.bracketed(['{', '}'], " ", &members, indent, is_tall)
            }
            other => other.to_string(),
        }
    }

    fn bracketed(
        &self,
        [open, close]: [char; 2],
        space: &str,
        entries: &[String],
        indent: &str,
        is_tall: bool,
    ) -> String {
        if entries.is_empty() {
            return format!("{open}{close}");
        }
        if !is_tall {
            return format!("{open}{space}{}{space}{close}", entries.join(", "));
        }
        let (newline, unit) = (self.newline, self.unit);
        let between = format!(",{newline}{indent}{unit}");
        let entries = entries.join(&between);
        format!("{open}{newline}{indent}{unit}{entries}{newline}{indent}{close}")
    }

    fn name(&self, name: &str) -> String {
        if is_plain(name) && !self.quotes_names { name.to_owned() } else { self.quoted(name) }
    }

    fn quoted(&self, text: &str) -> String {
        let mut out = String::from(self.quote);
        for c in text.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c == self.quote => out.extend(['\\', c]),
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        out.push(self.quote);
        out
    }
}

/// Whether the text has no space after a colon.
fn is_tight(text: &str, entry: &Entry) -> bool {
    match &entry.name {
        Some((_, span)) => text[span.end..entry.node.span.start] == *":",
        None => entry.comma.is_some_and(|comma| after_blanks(text, comma + 1) == comma + 1),
    }
}

/// Counts of the style choices in the text.
#[derive(Default)]
struct Habits<'a> {
    unit: Option<&'a str>,
    single: usize,
    double: usize,
    quoted: usize,
    unquoted: usize,
}

impl<'a> Habits<'a> {
    fn note(&mut self, node: &Node, style: &Style<'a>) {
        if let Shape::Text(_) = node.shape {
            self.note_quote(style.text, node.span.start);
        }
        let outer = style.indent_at(node.span.start);
        for entry in node.entries() {
            if let Some((name, span)) = &entry.name {
                let is_quoted = self.note_quote(style.text, span.start);
                match is_quoted {
                    true if is_plain(name) => self.quoted += 1,
                    true => {}
                    false => self.unquoted += 1,
                }
            }
            if self.unit.is_none() && style.is_first_on_its_line(entry.start()) {
                let inner = style.indent_at(entry.start());
                self.unit = inner.strip_prefix(outer).filter(|unit| !unit.is_empty());
            }
            self.note(&entry.node, style);
        }
    }

    fn note_quote(&mut self, text: &str, at: usize) -> bool {
        match text.as_bytes().get(at) {
            Some(b'\'') => self.single += 1,
            Some(b'"') => self.double += 1,
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, path: &[&str], action: &Action, expected: &str) {
        let path: Vec<Step> = path
            .iter()
            .map(|step| step.parse::<usize>().map_or_else(|_| Step::from(*step), Step::from))
            .collect();
        assert_eq!(spliced(text, &path, action).as_deref(), Some(expected));
    }

    #[test]
    fn a_new_member_looks_like_the_last_one() {
        let set = &Action::Set(json!("v"));
        check("{ a: 1 }", &["b"], set, "{ a: 1, b: \"v\" }");
        check("{\"a\":'1',}", &["b"], set, "{\"a\":'1',\"b\":\"v\",}");
        check("{\n\ta: 'x' // why\n}\n", &["b"], set, "{\n\ta: 'x', // why\n\tb: 'v'\n}\n");
        check("{\r\n  a: 1, // why\r\n}", &["b"], set, "{\r\n  a: 1, // why\r\n  b: \"v\",\r\n}");
        check("{}", &["b"], set, "{\n  \"b\": \"v\"\n}");
        check("{a: {}}", &["a", "b"], set, "{a: { b: \"v\" }}");
        check("{ // none\n}", &["b"], set, "{ // none\n  \"b\": \"v\"\n}");
        check("{ /* none */ }", &["b"], set, "{ /* none */ \"b\": \"v\" }");
        check("// only\n", &["b", "c"], set, "// only\n{\n  \"b\": {\n    \"c\": \"v\"\n  }\n}\n");
        check("{\n a: {\n  b: 1\n } }", &["c"], set, "{\n a: {\n  b: 1\n },\n c: \"v\" }");
    }

    #[test]
    fn a_value_is_replaced_where_it_is() {
        let set = &Action::Set(json!(["it's", 2]));
        check("{ a: [1, /* in */ 2], // b\n}", &["a"], set, "{ a: [\"it's\", 2], // b\n}");
        check(
            "{ a: \"x\", b: 'y', c: 'z' }",
            &["a"],
            &Action::Set(json!("n")),
            "{ a: \"n\", b: 'y', c: 'z' }",
        );
        check("{'a': 'x', 'it\\'s': 1}", &["a"], set, "{'a': ['it\\'s', 2], 'it\\'s': 1}");
    }

    #[test]
    fn an_item_is_added_at_the_end() {
        let push = &Action::Push(json!("n"));
        check("{ a: ['x'] }", &["a"], push, "{ a: ['x', 'n'] }");
        check(
            "[\n  1, // one\n  2 // two\n]",
            &[],
            push,
            "[\n  1, // one\n  2, // two\n  \"n\"\n]",
        );
        check("[1,2]", &[], push, "[1,2, \"n\"]");
        check("{a: []}", &["a"], push, "{a: [\"n\"]}");
    }

    #[test]
    fn a_removed_entry_takes_its_comma_and_its_own_line_along() {
        let gone = &Action::Remove;
        check("{ a: 1, b: 2, c: 3 }", &["b"], gone, "{ a: 1, c: 3 }");
        check("{ a: 1, b: 2 }", &["b"], gone, "{ a: 1 }");
        check("{ a: 1, /* x */ b: 2 }", &["b"], gone, "{ a: 1 /* x */  }");
        check("{ a: 1 }", &["a"], gone, "{ }");
        check(
            "{\n  // of a\n  a: {\n    x: 1,\n  },\n  b: 2\n}",
            &["a"],
            gone,
            "{\n  // of a\n  b: 2\n}",
        );
        check("{\n  a: 1,\n  b: 2\n}", &["b"], gone, "{\n  a: 1\n}");
        check("{\n  a: 1,\n  b: 2 // why\n}", &["b"], gone, "{\n  a: 1\n  // why\n}");
        check("['a', 'b',]", &["1"], gone, "['a', ]");
    }
}
