//! The layout of a JSON text, so that additions look like the rest.

/// The white space around the members of an object.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The line break before a member, and its indentation. Empty if everything is on one line.
    line: Vec<u8>,
    /// The additional indentation of the next level.
    step: Vec<u8>,
    /// The line break before the closing bracket, and its indentation.
    end: Vec<u8>,
    /// Whether a space follows a colon; on one line, also a comma.
    has_space: bool,
}

impl Layout {
    /// The layout of JavaScript's `JSON.stringify(value, null, 2)`.
    pub(crate) fn javascript() -> Self {
        Self { line: b"\n  ".to_vec(), step: b"  ".to_vec(), end: b"\n".to_vec(), has_space: true }
    }

    /// The layout of an object with these three pieces of text: before its first member, from the
    /// first name to its value, and after its last member.
    pub(crate) fn from_text(before: &[u8], colon: &[u8], after: &[u8]) -> Self {
        let line = last_line(before).to_vec();
        let end = last_line(after).to_vec();
        let step = line.strip_prefix(&*end).filter(|step| !step.is_empty() && !end.is_empty());
        Self {
            step: step.unwrap_or(b"  ").to_vec(),
            end: if line.is_empty() { Vec::new() } else { end },
            line,
            has_space: colon.last() != Some(&b':'),
        }
    }

    /// The layout one level deeper.
    pub(crate) fn inner(&self) -> Self {
        if self.line.is_empty() {
            return self.clone();
        }
        let line = [&self.line[..], &self.step].concat();
        Self { line, end: self.line.clone(), step: self.step.clone(), has_space: self.has_space }
    }

    /// Before the first member.
    pub(crate) fn before(&self) -> &[u8] {
        &self.line
    }

    /// Between two members.
    pub(crate) fn between(&self) -> Vec<u8> {
        let space: &[u8] = if self.has_space { b" " } else { b"" };
        [&b","[..], if self.line.is_empty() { space } else { &self.line }].concat()
    }

    /// After a name.
    pub(crate) fn colon(&self) -> &'static [u8] {
        if self.has_space { b": " } else { b":" }
    }

    /// After the last member.
    pub(crate) fn after(&self) -> &[u8] {
        &self.end
    }

    /// Writes the value `text` of a member in this layout; strings and numbers are copied
    /// unchanged.
    pub(crate) fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        let (mut levels, mut rest) = (Vec::<Self>::new(), text);
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'"' => {
                    let length = string_length(rest);
                    out.push(b'"');
                    out.extend_from_slice(&rest[..length]);
                    rest = &rest[length..];
                }
                b'{' | b'[' => {
                    out.push(byte);
                    rest = rest.trim_ascii_start();
                    if let [closing @ (b'}' | b']'), after @ ..] = rest {
                        out.push(*closing);
                        rest = after;
                    } else {
                        let inner = levels.last().unwrap_or(self).inner();
                        out.extend_from_slice(inner.before());
                        levels.push(inner);
                    }
                }
                b'}' | b']' => {
                    if let Some(inner) = levels.pop() {
                        out.extend_from_slice(inner.after());
                    }
                    out.push(byte);
                }
                b',' => out.extend_from_slice(&levels.last().unwrap_or(self).between()),
                b':' => out.extend_from_slice(self.colon()),
                _ if byte.is_ascii_whitespace() => {}
                _ => out.push(byte),
            }
        }
    }
}

/// The length of a string after its opening quote, closing quote included.
fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 1)
}

/// The last line break in white space, and what follows it; empty if there is none.
fn last_line(space: &[u8]) -> &[u8] {
    let Some(at) = space.iter().rposition(|byte| *byte == b'\n') else { return b"" };
    let at = if at > 0 && space[at - 1] == b'\r' { at - 1 } else { at };
    &space[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(layout: &Layout, text: &str) -> String {
        let mut out = Vec::new();
        layout.write(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_is_laid_out_as_javascript_does_it() {
        let text = r#"[1, {"b":"}\"{\\"},{ } ,[ ],1.50,"\u0041"]"#;
        assert_eq!(
            written(&Layout::javascript(), text),
            "[\n    1,\n    {\n      \"b\": \"}\\\"{\\\\\"\n    },\n    {},\n    [],\n    1.50,\n    \"\\u0041\"\n  ]"
        );
    }

    #[test]
    fn what_is_added_looks_like_what_was_there() {
        let text = "{\n  \"a\": [1, 2]\n}";
        assert_eq!(written(&Layout::from_text(b"", b":", b""), text), r#"{"a":[1,2]}"#);
        assert_eq!(written(&Layout::from_text(b" ", b": ", b" "), text), r#"{"a": [1, 2]}"#);
        let tabs = Layout::from_text(b"\r\n\t\t", b": ", b"\r\n\t");
        assert_eq!(
            written(&tabs, text),
            "{\r\n\t\t\t\"a\": [\r\n\t\t\t\t1,\r\n\t\t\t\t2\r\n\t\t\t]\r\n\t\t}"
        );
    }
}
