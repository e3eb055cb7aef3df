//! The text of `sessions.json`: an object of objects, of which we change few members. All others
//! keep their exact text, down to the digits of a number and half a surrogate pair.

use auth_routing::session::Entry;
use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::json5;

/// The sessions by key, each with its original text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet(Members);

type Members = IndexMap<String, Box<RawValue>>;

impl Sheet {
    /// Reads JSON, or JSON5 written by hand; comments are not kept.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}');
        if let Ok(members) = serde_json::from_str(text) {
            return Ok(Self(members));
        }
        let value = json5::parse(text)?;
        let text = serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map(Self).map_err(|_| "it is not an object".to_owned())
    }

    /// The keys, in the order of the file.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The entry `key`, if it exists and is an object. A member that cannot be represented is null.
    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        let members = members(self.0.get(key)?)?;
        Some(members.iter().map(|(name, raw)| (name.clone(), value(raw))).collect())
    }

    /// Sets the entry `key`: unchanged members keep their text.
    pub(crate) fn set(&mut self, key: &str, entry: &Entry) {
        let mut written = self.0.get(key).and_then(|raw| members(raw)).unwrap_or_default();
        written.retain(|name, _| entry.contains_key(name));
        for (name, new) in entry {
            if written.get(name).is_none_or(|raw| value(raw) != *new)
                && let Ok(raw) = serde_json::value::to_raw_value(new)
            {
                written.insert(name.clone(), raw);
            }
        }
        if let Ok(raw) = RawValue::from_string(laid_out(&written, "  ")) {
            self.0.insert(key.to_owned(), raw);
        }
    }

    /// The file: two-space JSON without a final newline, as Clawdbot writes it.
    pub(crate) fn to_text(&self) -> String {
        laid_out(&self.0, "")
    }
}

fn members(raw: &RawValue) -> Option<Members> {
    serde_json::from_str(raw.get()).ok()
}

fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn laid_out(members: &Members, indent: &str) -> String {
    if members.is_empty() {
        return "{}".to_owned();
    }
    let lines = members.iter().map(|(name, raw)| {
        // Serializing a string always succeeds.
        let name = serde_json::to_string(name).unwrap_or_default();
        format!("{indent}  {name}: {}", raw.get())
    });
    format!("{{\n{}\n{indent}}}", lines.collect::<Vec<_>>().join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_its_members_and_no_other_byte() {
        let text = r#"{
  "a": {
    "sessionId": "s",
    "big": 12345678901234567890123,
    "cut": "\ud83d",
    "deep": {
      "x": [1.50, -0.0]
    },
    "old": true
  },
  "b": [1e999]
}"#;
        let mut sheet = Sheet::parse(text).unwrap();
        assert_eq!(sheet.to_text(), text);
        let mut entry = sheet.entry("a").unwrap();
        entry.shift_remove("old");
        entry.insert("sessionId".to_owned(), "t".into());
        entry.insert("new".to_owned(), 7.into());
        sheet.set("a", &entry);
        let want = text.replace("\"s\"", "\"t\"").replace("\"old\": true", "\"new\": 7");
        assert_eq!(sheet.to_text(), want);
        assert_eq!(sheet.entry("b"), None);
    }

    #[test]
    fn json5_is_read_and_what_is_no_object_is_refused() {
        let sheet = Sheet::parse("{ // comment\n 'k': { x: .5, }, }").unwrap();
        assert_eq!(sheet.to_text(), "{\n  \"k\": {\n    \"x\": 0.5\n  }\n}");
        for text in ["", "[]", "{", "1"] {
            assert!(Sheet::parse(text).is_err(), "{text}");
        }
    }
}
