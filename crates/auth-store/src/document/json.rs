//! JSON objects whose members keep their order and their exact text.
//!
//! The store belongs to other programs and to people too: what we do not understand must survive
//! an edit, down to the digits of a number. So an object is a list of names and raw texts, and
//! only the members we set are written anew.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The deepest nesting we read. Nothing that is written here comes near it.
pub(crate) const DEEPEST: usize = 64;

/// An object: its members in order, each with its own text, which is borrowed where it was read
/// until it is set. A name that occurs twice is an error, since whatever we kept we would lose
/// the other. Its `Debug` shows the names only: some of the texts are secrets.
#[derive(Clone, Default)]
pub(crate) struct Object<'a>(Members<'a>);

type Members<'a> = IndexMap<Cow<'a, str>, Cow<'a, RawValue>, BuildHasherDefault<NameHasher>>;

/// FNV-1a, eight bytes at a time: the names are short and the user's own, so what counts is that
/// nothing has to be seeded (a system call) and little has to be computed.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            let mixed = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 = mixed ^ (mixed >> 32);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<'a> Object<'a> {
    /// The object in `raw`, or an empty one if that is something else.
    pub(crate) fn from_raw(raw: Option<&'a RawValue>) -> Self {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// The same with texts of its own.
    pub(crate) fn into_owned(self) -> Object<'static> {
        let owned = |(name, raw): (Cow<'_, str>, Cow<'_, RawValue>)| {
            (Cow::Owned(name.into_owned()), Cow::Owned(raw.into_owned()))
        };
        Object(self.0.into_iter().map(owned).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name).map(|raw| &**raw)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, raw)| (&**name, &**raw))
    }

    /// Sets the member `name`: in its place if it is there, at the end if it is new.
    pub(crate) fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        // Only a map with keys that are not strings, or a failing `Serialize`, could fail here;
        // nothing of ours is either.
        if let Ok(raw) = serde_json::value::to_raw_value(value) {
            self.0.insert(Cow::Owned(name.to_owned()), Cow::Owned(raw));
        }
    }

    pub(crate) fn set_raw(&mut self, name: &str, raw: &RawValue) {
        self.0.insert(Cow::Owned(name.to_owned()), Cow::Owned(raw.to_owned()));
    }

    /// Sets the member `name`: in its place if it is there, else before the first of `later`.
    pub(crate) fn set_before(&mut self, name: &str, value: &impl Serialize, later: &[&str]) {
        let place = self.0.keys().position(|known| later.contains(&&**known));
        match (self.0.contains_key(name), place, serde_json::value::to_raw_value(value)) {
            (false, Some(place), Ok(raw)) => {
                self.0.shift_insert(place, Cow::Owned(name.to_owned()), Cow::Owned(raw));
            }
            _ => self.set(name, value),
        }
    }

    /// Sets the member if there is a value, removes it if there is none.
    pub(crate) fn set_or_remove(&mut self, name: &str, value: Option<impl Serialize>) {
        match value {
            Some(value) => self.set(name, &value),
            None => {
                self.remove(name);
            }
        }
    }

    /// Removes the member; whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.0.shift_remove(name).is_some()
    }
}

impl fmt::Debug for Object<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Members::default();
                while let Some((Name(name), raw)) = map.next_entry::<_, &RawValue>()? {
                    if let Some(_first) = members.insert(name, Cow::Borrowed(raw)) {
                        return Err(A::Error::custom("a name occurs twice"));
                    }
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// A string, borrowed unless there are escapes in it.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a JSON string, if `raw` is one.
pub(crate) fn string(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// A JSON number as milliseconds or a count, if `raw` is one: fractions are cut, what is too
/// large is the largest.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what we want")]
pub(crate) fn integer(raw: Option<&RawValue>) -> Option<i64> {
    let raw = raw?.get();
    raw.parse().ok().or_else(|| serde_json::from_str::<f64>(raw).ok().map(|number| number as i64))
}

/// Whether brackets nest deeper than [`DEEPEST`] anywhere in `text`; a cheap scan, so that no
/// parser has to recurse into it.
pub(crate) fn is_too_deep(text: &str) -> bool {
    let (mut depth, mut rest) = (0_usize, text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(after),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

/// What follows the string whose opening quote is just before `text`. Most strings are long
/// tokens without an escape, so this looks for quotes only, and then back.
fn after_string(text: &[u8]) -> &[u8] {
    let mut end = 0;
    loop {
        let Some(quote) = text[end..].iter().position(|byte| *byte == b'"') else { return &[] };
        let before = &text[..end + quote];
        end += quote + 1;
        if before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0 {
            return &text[end..];
        }
    }
}

/// Valid JSON `text`, laid out as JavaScript's `JSON.stringify(value, null, 2)` does it; strings
/// and numbers are copied as they are.
pub(crate) fn indent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    let mut depth = 0_usize;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for c in rest.by_ref() {
                    out.push(c);
                    match c {
                        _ if escaped => escaped = false,
                        '\\' => escaped = true,
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                if rest.peek().is_some_and(|next| matches!(next, '}' | ']')) {
                    out.extend(rest.next());
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ if c.is_ascii_whitespace() => {}
            _ => out.push(c),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_leaves_the_other_members_as_they_were() {
        let mut object: Object<'_> =
            serde_json::from_str(r#"{"a":1.50,"b":{"x":1e3},"c":"\u0041"}"#).unwrap();
        object.set("a", &2);
        object.set("d", &true);
        assert_eq!(
            serde_json::to_string(&object).unwrap(),
            r#"{"a":2,"b":{"x":1e3},"c":"\u0041","d":true}"#
        );
    }

    #[test]
    fn an_object_prints_without_its_texts() {
        let object: Object<'_> = serde_json::from_str(r#"{"key":"s3cret"}"#).unwrap();
        assert_eq!(format!("{object:?}"), r#"{"key"}"#);
    }

    #[test]
    fn a_name_that_occurs_twice_is_an_error() {
        assert!(serde_json::from_str::<Object<'_>>(r#"{"a":1,"a":2}"#).is_err());
    }

    #[test]
    fn indentation_is_that_of_javascript() {
        let text = r#"{"a":[1,{"b":"}\"{"}],"c":{ },"d":[ ],"e":null}"#;
        assert_eq!(
            indent(text),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"}\\\"{\"\n    }\n  ],\n  \"c\": {},\n  \"d\": [],\n  \"e\": null\n}"
        );
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert!(!is_too_deep(&format!("\"{}\"", "[".repeat(100))));
        assert!(is_too_deep(&"[".repeat(65)));
        assert!(!is_too_deep(&"[]".repeat(100)));
        assert!(!is_too_deep(&format!(r#""\"{}""#, "[".repeat(100))));
        assert!(is_too_deep(&format!(r#""\\"{}"#, "[".repeat(100))));
        assert!(!is_too_deep(&format!("\"{}", "[".repeat(100))));
    }

    #[test]
    fn integers_saturate() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(integer(Some(&raw("1e300"))), Some(i64::MAX));
        assert_eq!(integer(Some(&raw("-2.9"))), Some(-2));
        assert_eq!(integer(Some(&raw("\"5\""))), None);
    }
}
