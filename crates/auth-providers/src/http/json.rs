//! A tolerant JSON reader for the members that we need.
//!
//! The tokens in a response exist nowhere else. So an unused member (half a surrogate pair, `NaN`,
//! `1e999`, a thousand levels of nesting) does not spoil the others, and a truncated text yields
//! the members before the cut. Of several members with the same name the last one counts, as in
//! JavaScript.

use std::iter::Peekable;
use std::str::CharIndices;

use serde_json::{Map, Number, Value};

/// An object, as far as its text goes.
#[derive(Debug)]
pub(crate) struct Object {
    /// The members. A value that is nested too deeply or is not valid JSON is `null`.
    pub(crate) members: Map<String, Value>,
    /// Whether the closing brace was found.
    pub(crate) is_whole: bool,
    /// The offset of its end in the text.
    pub(crate) end: usize,
}

/// The object at the start of `text`, after white space.
pub(crate) fn object(text: &str) -> Option<Object> {
    let mut reader = Reader { text, rest: text.char_indices().peekable(), left: MOST_VALUES };
    reader.skip_space();
    reader.rest.next_if(|(_, c)| *c == '{')?;
    let mut members = Map::new();
    let is_whole = reader.members(&mut members, DEEPEST).is_some();
    Some(Object { members, is_whole, end: reader.at() })
}

struct Reader<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    /// How many more values below the outermost object may be kept.
    left: usize,
}

impl Reader<'_> {
    /// Reads members up to the end of the object; the opening brace was read already. `None`: the
    /// end is missing, or there are more members than the limit.
    fn members(&mut self, members: &mut Map<String, Value>, depth: usize) -> Option<()> {
        loop {
            self.skip_space();
            match self.rest.peek()?.1 {
                '}' => {
                    self.rest.next();
                    return Some(());
                }
                ',' => {
                    self.rest.next();
                }
                '"' => {
                    let name = self.string()?;
                    self.skip_space();
                    self.rest.next_if(|(_, c)| *c == ':')?;
                    let value = self.value(depth)?;
                    if depth < DEEPEST {
                        if self.left > 0 {
                            self.left -= 1;
                            members.insert(name, value);
                        }
                    } else if members.len() < MOST_VALUES {
                        members.insert(name, value);
                    } else {
                        return None;
                    }
                }
                _ => return None,
            }
        }
    }

    /// `None`: the end of the value is missing.
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_space();
        match self.rest.peek()?.1 {
            '"' => self.string().map(Value::String),
            '{' | '[' if depth == 0 || self.left == 0 => self.skip_container(),
            '{' => {
                self.rest.next();
                let mut members = Map::new();
                self.members(&mut members, depth - 1)?;
                Some(Value::Object(members))
            }
            '[' => {
                self.rest.next();
                self.items(depth - 1)
            }
            _ => self.word(),
        }
    }

    fn items(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            match self.rest.peek()?.1 {
                ']' => {
                    self.rest.next();
                    return Some(Value::Array(items));
                }
                ',' => {
                    self.rest.next();
                }
                _ => {
                    let item = self.value(depth)?;
                    if self.left > 0 {
                        self.left -= 1;
                        items.push(item);
                    }
                }
            }
        }
    }

    /// A number, `true`, `false` or `null`. Any other word is `null`.
    fn word(&mut self) -> Option<Value> {
        let start = self.at();
        while self.rest.next_if(|(_, c)| !matches!(c, ',' | '}' | ']' | ':' | '"')).is_some() {}
        self.rest.peek()?;
        let word = self.text[start..self.at()].trim_end();
        if word.is_empty() {
            return None;
        }
        let number = || Number::from_f64(word.parse().ok()?);
        let value = serde_json::from_str(word).ok();
        Some(value.or_else(|| number().map(Value::Number)).unwrap_or_default())
    }

    /// A string; the opening quote was not read yet. Invalid characters become U+FFFD.
    fn string(&mut self) -> Option<String> {
        self.rest.next_if(|(_, c)| *c == '"')?;
        let mut out = String::new();
        loop {
            match self.rest.next()?.1 {
                '"' => return Some(out),
                '\\' => match self.rest.next()?.1 {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    'b' => out.push('\u{8}'),
                    'f' => out.push('\u{c}'),
                    'u' => out.push(self.escaped()),
                    other => out.push(other),
                },
                other => out.push(other),
            }
        }
    }

    /// The character of a `\u` escape, or of a surrogate pair of them.
    fn escaped(&mut self) -> char {
        let Some(first) = self.unit() else { return char::REPLACEMENT_CHARACTER };
        if let Some(character) = char::from_u32(first) {
            return character;
        }
        let mut ahead = Self { text: self.text, rest: self.rest.clone(), left: 0 };
        let second = match (ahead.rest.next(), ahead.rest.next()) {
            (Some((_, '\\')), Some((_, 'u'))) => ahead.unit(),
            _ => None,
        };
        match (first, second) {
            (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
                self.rest = ahead.rest;
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => char::REPLACEMENT_CHARACTER,
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.rest.next_if(|(_, c)| c.is_ascii_hexdigit())?.1.to_digit(16)?;
            unit = unit << 4 | digit;
        }
        Some(unit)
    }

    /// Skips an object or a list of any depth, without recursion and without keeping anything.
    fn skip_container(&mut self) -> Option<Value> {
        let mut depth = 0_usize;
        loop {
            match self.rest.peek()?.1 {
                '"' => self.skip_string()?,
                c => {
                    self.rest.next();
                    match c {
                        '{' | '[' => depth += 1,
                        '}' | ']' => depth -= 1,
                        _ => {}
                    }
                }
            }
            if depth == 0 {
                return Some(Value::Null);
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.rest.next();
        loop {
            match self.rest.next()?.1 {
                '"' => return Some(()),
                '\\' => {
                    self.rest.next();
                }
                _ => {}
            }
        }
    }

    fn skip_space(&mut self) {
        while self.rest.next_if(|(_, c)| c.is_whitespace() || *c == '\u{feff}').is_some() {}
    }

    fn at(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(at, _)| *at)
    }
}

/// The values that we read are at most three levels deep.
const DEEPEST: usize = 16;
/// No real response has this many values. Without the limit, a few megabytes of text would fill the
/// memory.
const MOST_VALUES: usize = 50_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn whole(text: &str) -> Value {
        let read = object(text).unwrap();
        assert!(read.is_whole, "{text}");
        Value::Object(read.members)
    }

    #[test]
    fn what_nobody_reads_spoils_nothing() {
        for odd in [
            r#""Team \ud83d""#,
            r#""\udc00\ud800x""#,
            r#""\uzz \x""#,
            "NaN",
            "-Infinity",
            "1e999",
            "undefined",
            "\"a raw \u{1} and a\nline\"",
            &format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)),
            &format!("{}1{}", "{\"]\":".repeat(100_000), "}".repeat(100_000)),
        ] {
            for text in [
                format!(r#"{{"odd":{odd},"token":"r2"}}"#),
                format!(r#"{{"token":"r2","odd":{{"account":[{odd}, 1]}}}}"#),
            ] {
                assert_eq!(whole(&text)["token"], "r2", "{}", &text[..60.min(text.len())]);
            }
        }
    }

    #[test]
    fn a_value_that_is_none_is_null() {
        assert_eq!(
            whole(r#" {"a":NaN,"b":[1e999,.5],"c":{"d":tru},"e":9007199254740993} tail"#),
            json!({"a": null, "b": [null, 0.5], "c": {"d": null}, "e": 9_007_199_254_740_993_i64})
        );
        assert_eq!(whole(r#"{"\u0061":"\ud83d\ude00 \u00e9\n\/","b":"\ud83d\u0041"}"#), {
            json!({"a": "😀 é\n/", "b": "\u{fffd}A"})
        });
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts() {
        assert_eq!(whole(r#"{"a":1,"b":2,"a":{"c":1,"c":3},}"#), json!({"a": {"c": 3}, "b": 2}));
    }

    #[test]
    fn a_text_that_is_cut_off_has_the_members_before_the_cut() {
        let text = r#"{"a":"b","c":[1,{"d":2}],"e":12}"#;
        for length in 1..text.len() {
            let read = object(&text[..length]).unwrap();
            assert!(!read.is_whole, "{length}");
            assert_eq!(read.members.contains_key("a"), length >= 8, "{length}");
            assert_eq!(read.members.contains_key("c"), length >= 24, "{length}");
            assert!(!read.members.contains_key("e"), "{length}: the number may go on");
        }
        assert_eq!(object(text).unwrap().end, text.len());
    }

    #[test]
    fn memory_has_a_limit() {
        let many = format!("{{\"a\":[{}0],\"token\":\"r2\"}}", "[],".repeat(400_000));
        let read = object(&many).unwrap();
        assert!(read.members["a"].as_array().unwrap().len() <= MOST_VALUES);
        assert_eq!((&read.members["token"], read.is_whole), (&json!("r2"), true));
        let names: Vec<_> = (0..=MOST_VALUES).map(|it| format!("\"{it}\":1")).collect();
        assert!(!object(&format!("{{{}}}", names.join(","))).unwrap().is_whole);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for text in ["", " ", "[1]", "\"a\"", "1", "null", "<html>"] {
            assert!(object(text).is_none(), "{text}");
        }
        for text in ["{", "{]}", "{a:1}", r#"{"a" "b"}"#, r#"{"a":}"#, r#"{"a":1"#] {
            assert!(!object(text).unwrap().is_whole, "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn proper_json_is_read_as_any_reader_does(
            members in proptest::collection::btree_map(any::<String>(), value(), 0..6),
        ) {
            let value = Value::Object(members.into_iter().collect());
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let wanted: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(whole(&text), wanted);
            }
        }

        #[test]
        fn no_text_takes_the_reader_down(text in "[\\[\\]{}\",:\\\\u0d8c a1]{0,80}") {
            let _ = object(&text);
            let _ = object(&format!("{{\"a\":{text}"));
        }
    }
}
