//! Any text that JavaScript's `JSON.parse` accepts is read with the same result, and an edit of one
//! part leaves every other byte unchanged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashMap;
use std::ops::Range;

use auth_store::{Credential, Document, ProfileId, ProviderId, Timestamp, Usage};
use proptest::prelude::*;
use serde_json::Map;

/// A value, as written.
#[derive(Clone, Debug)]
enum Json {
    /// The text of any value except an array or an object.
    Plain(String),
    Array(Vec<Self>),
    Object(Vec<(Name, Self)>),
}

/// A name: its text, and its decoded form (half of a surrogate pair stays an escape).
type Name = (&'static str, &'static str);

impl Json {
    /// The value that `JSON.parse` sees: the last member of that name.
    fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|((_, said), _)| *said == name).map(|(_, value)| value)
    }

    fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Plain(text) if text == "null")
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => text.strip_prefix('"')?.strip_suffix('"'),
            _ => None,
        }
    }
}

/// The text of a file, and the positions of the members of its first two levels.
#[derive(Clone, Debug, Default)]
struct Text {
    written: String,
    /// The last of each name counts.
    places: HashMap<String, Range<usize>>,
    spaces: Vec<&'static str>,
    spaced: usize,
}

impl Text {
    fn from_file(file: &Json, spaces: Vec<&'static str>) -> Self {
        let mut text = Self { spaces, ..Self::default() };
        text.space();
        text.write(file, "", 2);
        text.space();
        text
    }

    fn space(&mut self) {
        self.written.push_str(self.spaces[self.spaced % self.spaces.len()]);
        self.spaced += 1;
    }

    fn write(&mut self, value: &Json, path: &str, levels: usize) {
        let (open, close, count) = match value {
            Json::Plain(text) => return self.written.push_str(text),
            Json::Array(list) => ('[', ']', list.len()),
            Json::Object(members) => ('{', '}', members.len()),
        };
        self.written.push(open);
        for at in 0..count {
            if at > 0 {
                self.space();
                self.written.push(',');
            }
            self.space();
            match value {
                Json::Object(members) => {
                    let ((written, said), member) = &members[at];
                    self.written.push_str(written);
                    self.space();
                    self.written.push(':');
                    self.space();
                    let (path, start) = (format!("{path}/{said}"), self.written.len());
                    // Members of an earlier object with that name do not count.
                    self.places.retain(|known, _| !known.starts_with(&format!("{path}/")));
                    self.write(member, &path, levels.saturating_sub(1));
                    if levels > 0 {
                        self.places.insert(path, start..self.written.len());
                    }
                }
                Json::Array(list) => self.write(&list[at], "-", 0),
                Json::Plain(_) => {}
            }
        }
        self.space();
        self.written.push(close);
    }

    /// Asserts that `after` differs from this text at `path` only, or by an insertion if nothing is
    /// there.
    fn assert_changed_only(&self, after: &[u8], path: &[&str]) -> Result<(), TestCaseError> {
        let text = self.written.as_bytes();
        let path = |length: usize| format!("/{}", path[..length].join("/"));
        let place = self.places.get(&path(2)).or_else(|| self.places.get(&path(1)));
        let shown = String::from_utf8_lossy(after).into_owned();
        if let Some(place) = place {
            prop_assert!(after.starts_with(&text[..place.start]), "{}\n{shown}", self.written);
            prop_assert!(after.ends_with(&text[place.end..]), "{}\n{shown}", self.written);
            return Ok(());
        }
        let same = |pair: &(&u8, &u8)| pair.0 == pair.1;
        let start = text.iter().zip(after).take_while(same).count();
        let end = text.iter().rev().zip(after.iter().rev()).take_while(same).count();
        prop_assert!(start + end >= text.len(), "{}\n{shown}", self.written);
        Ok(())
    }
}

const IDS: [Name; 7] = [
    (r#""acme:a""#, "acme:a"),
    (r#""acme:\u0061""#, "acme:a"),
    (r#""acme:b""#, "acme:b"),
    (r#""x\ud83d""#, r"x\ud83d"),
    (r#""x\ud83e""#, r"x\ud83e"),
    (r#""7""#, "7"),
    (r#""""#, ""),
];
const FIELDS: [Name; 9] = [
    (r#""type""#, "type"),
    (r#""provider""#, "provider"),
    (r#""key""#, "key"),
    (r#""errorCount""#, "errorCount"),
    (r#""errorCoun\u0074""#, "errorCount"),
    (r#""disabledUntil""#, "disabledUntil"),
    (r#""x""#, "x"),
    (r#""\udead""#, r"\udead"),
    (r#""__proto__""#, "__proto__"),
];
const SECTIONS: [Name; 7] = [
    (r#""version""#, "version"),
    (r#""profiles""#, "profiles"),
    (r#""order""#, "order"),
    (r#""lastGood""#, "lastGood"),
    (r#""usageStats""#, "usageStats"),
    (r#""usage\u0053tats""#, "usageStats"),
    (r#""foreign""#, "foreign"),
];

fn plain() -> impl Strategy<Value = Json> {
    let piece = prop_oneof![
        4 => "[^\"\\\\\u{0}-\u{1f}]{0,3}",
        1 => prop::sample::select(vec!["\\n", "\\\\", "\\\"", "\\/", "\\u0041", "\\ud83d", "\\uDE00", "\\ud83d\\ude00"])
            .prop_map(str::to_owned),
    ];
    let string = prop::collection::vec(piece, 0..4).prop_map(|it| format!("\"{}\"", it.concat()));
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?";
    let odd = ["null", "true", "false", "1e999", "-0", "1.0", "1E400", "-1e-999", "[[[[]]]]"];
    prop_oneof![
        string,
        number.prop_map(Into::into),
        prop::sample::select(odd.to_vec()).prop_map(str::to_owned)
    ]
    .prop_map(Json::Plain)
}

fn object(
    names: &'static [Name],
    value: impl Strategy<Value = Json>,
    most: usize,
) -> impl Strategy<Value = Json> {
    let member = (prop::sample::select(names), value);
    prop::collection::vec(member, 0..most).prop_map(Json::Object)
}

fn value() -> impl Strategy<Value = Json> {
    plain().prop_recursive(4, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array);
        prop_oneof![list, object(&FIELDS, inner, 4)]
    })
}

/// A usable entry, with any additional members.
fn profile() -> impl Strategy<Value = Json> {
    object(&FIELDS[3..], value(), 4).prop_flat_map(|others| {
        let own = ["\"api_key\"", "\"acme\"", "\"k\""].map(|text| Json::Plain(text.to_owned()));
        let own = FIELDS[..3].iter().copied().zip(own);
        let Json::Object(others) = others else { unreachable!("it is one") };
        Just(own.chain(others).collect::<Vec<_>>()).prop_shuffle().prop_map(Json::Object)
    })
}

/// A file in which every member may be repeated, and any value may be in an unexpected place.
fn file() -> impl Strategy<Value = (Json, Text)> {
    let entry = prop_oneof![profile(), value()].boxed();
    let section = prop_oneof![
        6 => object(&IDS, entry, 5).boxed(),
        1 => value().boxed(),
    ];
    let section = section.boxed();
    let members = prop::collection::vec((prop::sample::select(&SECTIONS[1..]), section), 0..7);
    let space = prop::sample::select(vec!["", " ", "\n  ", "\r\n\t", "\t "]);
    (members, prop::collection::vec(space, 1..9)).prop_map(|(members, spaces)| {
        let version = (SECTIONS[0], Json::Plain("1".to_owned()));
        let file = Json::Object(std::iter::once(version).chain(members).collect());
        let text = Text::from_file(&file, spaces);
        (file, text)
    })
}

/// A member of a member that is an object, as `JSON.parse` sees it.
fn below<'f>(file: &'f Json, section: &str, id: &str) -> Option<&'f Json> {
    file.get(section).and_then(|section| section.get(id))
}

/// Whether a section has a value that cannot be read as one.
fn is_odd(value: Option<&Json>) -> bool {
    value.is_some_and(|value| !value.is_object() && !value.is_null())
}

/// The number of failures that JavaScript reads in an entry.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn errors(entry: Option<&Json>) -> Option<u64> {
    let Json::Plain(text) = entry?.get("errorCount")? else { return None };
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    // An integer is read exactly.
    let whole = text.parse::<i64>().map(|number| number.max(0).cast_unsigned());
    is_number.then(|| whole.unwrap_or_else(|_| text.parse::<f64>().unwrap().max(0.0) as i64 as u64))
}

/// An edit: the section, the entry, and the action.
type Edit<'e> = (&'static str, &'e str, &'e dyn Fn(&mut Document));

proptest! {
    #[test]
    fn what_json_parse_sees_is_what_is_read((file, text) in file()) {
        let read = Document::parse(text.written.as_bytes());
        if is_odd(file.get("profiles")) {
            // It is not a store, but it is not damaged either.
            prop_assert!(read.is_err_and(|error| error.is_json));
            return Ok(());
        }
        let document = read.unwrap();
        prop_assert_eq!(document.to_bytes(), text.written.as_bytes());
        prop_assert!(document.is_writable() && !document.is_changed());
        for (_, id) in IDS {
            let entry = below(&file, "profiles", id);
            let id = ProfileId::from(id);
            prop_assert_eq!(document.contains(&id), entry.is_some());
            let field = |name| entry.and_then(|it| it.get(name)).and_then(Json::text);
            let is_usable = field("type") == Some("api_key") && field("provider") == Some("acme");
            if is_usable {
                let key = field("key").filter(|key| !key.contains('\\'));
                let credential = document.credential(&id);
                let read = credential.as_ref().map(|it| it.bearer().expose());
                prop_assert!(key.is_none() || read == key, "{:?} {:?}", read, key);
                prop_assert!(document.profile(&id).is_some());
            }
            let usage = below(&file, "usageStats", id.as_str());
            prop_assert_eq!(document.usage(&id).error_count, errors(usage));
            let last_good = below(&file, "lastGood", id.as_str()).and_then(Json::text);
            if let Some(good) = last_good.filter(|good| !good.contains('\\')) {
                let read = document.last_good(&ProviderId::new(id.as_str()));
                let written = id.as_str() == ProviderId::new(id.as_str()).as_str();
                prop_assert!(!written || read == Some(good.into()));
            }
        }
    }

    #[test]
    fn an_edit_of_one_part_leaves_every_other_byte((file, text) in file(), id in prop::sample::select(&IDS)) {
        if is_odd(file.get("profiles")) {
            return Ok(());
        }
        let document = Document::parse(text.written.as_bytes()).unwrap();
        let id = ProfileId::from(id.1);
        let provider = ProviderId::new(id.as_str());
        let usage = Usage { error_count: Some(u64::MAX), disabled_until: Some(Timestamp(-5)), ..document.usage(&id) };
        let key = || Credential::ApiKey("new".into());
        let edits: [Edit<'_>; 5] = [
            ("usageStats", id.as_str(), &|it| it.set_usage(&id, &usage)),
            ("profiles", id.as_str(), &|it| it.put(&id, "acme", &key(), &Map::new())),
            ("profiles", id.as_str(), &|it| { it.renew(&id, &key()); }),
            ("order", provider.as_str(), &|it| it.set_order(&provider, Some(std::slice::from_ref(&id)))),
            ("lastGood", provider.as_str(), &|it| it.set_last_good(&provider, &id)),
        ];
        for (section, entry, edit) in edits {
            // Another spelling of the provider is removed with it.
            if section == "order" && provider.as_str() != id.as_str() {
                continue;
            }
            let mut changed = document.clone();
            edit(&mut changed);
            let is_refused = changed.check_writable(std::path::Path::new("file")).is_err();
            let entry_of_it = below(&file, section, entry);
            let is_odd = is_odd(file.get(section)) || section == "usageStats" && is_odd(entry_of_it);
            prop_assert_eq!(is_refused, is_odd, "{} {}", section, &text.written);
            let bytes = changed.to_bytes();
            if is_refused {
                prop_assert_eq!(&bytes, text.written.as_bytes());
                continue;
            }
            if file.get("profiles").is_none() && section != "profiles" {
                // Without these it is not a store; they are added with it.
                continue;
            }
            text.assert_changed_only(&bytes, &[section, entry])?;
            let read = Document::parse(&bytes).unwrap();
            if section == "usageStats" {
                prop_assert_eq!(read.usage(&id).error_count, Some(i64::MAX as u64));
                prop_assert_eq!(read.usage(&id).disabled_until, Some(Timestamp(-5)));
            } else if section == "profiles" && changed.touched().len() > 0 {
                let key = read.field(&id, "key");
                prop_assert_eq!(key.unwrap(), "new");
            } else if section == "order" {
                let ids = read.order(&provider).unwrap_or_default();
                prop_assert!(id.as_str().is_empty() || ids == [id.clone()]);
            } else if section == "lastGood" {
                prop_assert_eq!(read.last_good(&provider), Some(id.clone()));
            }
        }
    }

    #[test]
    fn what_is_removed_is_nowhere((file, text) in file(), id in prop::sample::select(&IDS)) {
        if is_odd(file.get("profiles")) {
            return Ok(());
        }
        let mut document = Document::parse(text.written.as_bytes()).unwrap();
        let id = ProfileId::from(id.1);
        let was_there = document.contains(&id);
        prop_assert_eq!(document.remove(&id), was_there);
        let read = Document::parse(&document.to_bytes()).unwrap();
        prop_assert!(!read.contains(&id));
        for (_, other) in IDS.iter().filter(|(_, other)| *other != id.as_str()) {
            let other = ProfileId::from(*other);
            prop_assert_eq!(read.contains(&other), below(&file, "profiles", other.as_str()).is_some());
            prop_assert_eq!(read.usage(&other), Document::parse(text.written.as_bytes()).unwrap().usage(&other));
        }
    }
}

#[test]
fn nothing_is_too_deep() {
    let depth = 200_000;
    let deep = format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
    let text = format!(r#"{{"version":1,"profiles":{{"a":{{"x":{deep}}}}},"x":{deep}}}"#);
    let mut document = Document::parse(text.as_bytes()).unwrap();
    assert!(document.contains(&"a".into()));
    document.set_last_good(&ProviderId::new("p"), &"a".into());
    assert!(document.to_bytes().starts_with(&text.as_bytes()[..text.len() - 1]));
    // The control: a bracket is missing.
    assert!(Document::parse(text.replacen("}]", "]", 1).as_bytes()).is_err());
}

#[test]
fn a_report_on_one_profile_keeps_what_is_odd_about_another() {
    let text = r#"{"version":1,"profiles":{},"usageStats":{"openai:a":{"disabledUntil":9999999999999},"x\ud83d":{}}}"#;
    let mut document = Document::parse(text.as_bytes()).unwrap();
    let disabled = document.usage(&"openai:a".into()).disabled_until;
    assert_eq!(disabled, Some(Timestamp(9_999_999_999_999)));
    document.set_usage(&"b".into(), &Usage { error_count: Some(1), ..Usage::default() });
    let written = String::from_utf8(document.to_bytes()).unwrap();
    assert_eq!(written, text.replace("{}}}", r#"{},"b":{"errorCount":1}}}"#));
}

#[test]
fn a_section_that_is_no_object_is_not_replaced() {
    for odd in ["[]", r#"["a"]"#, r#""x""#, "5", "true"] {
        let text = format!(
            r#"{{"version":1,"profiles":{{"a":{{}}}},"usageStats":{odd},"order":{odd},"lastGood":{odd}}}"#
        );
        let edits: [Edit<'_>; 3] = [
            ("usageStats", "a", &|it| {
                it.set_usage(&"a".into(), &Usage { error_count: Some(1), ..Usage::default() });
            }),
            ("order", "p", &|it| it.set_order(&ProviderId::new("p"), Some(&["a".into()]))),
            ("lastGood", "p", &|it| it.set_last_good(&ProviderId::new("p"), &"a".into())),
        ];
        for (section, _, edit) in edits {
            let mut document = Document::parse(text.as_bytes()).unwrap();
            assert_eq!(document.unusable().len(), 3);
            edit(&mut document);
            assert!(document.is_changed());
            let refused =
                document.check_writable(std::path::Path::new("/file")).unwrap_err().to_string();
            assert!(refused.contains("/file") && refused.contains(section), "{refused}");
        }
        // Removing something that does not exist still works.
        let mut document = Document::parse(text.as_bytes()).unwrap();
        assert!(document.remove(&"a".into()));
        document.check_writable(std::path::Path::new("/file")).unwrap();
        assert_eq!(document.to_bytes(), text.replace(r#"{"a":{}}"#, "{}").as_bytes());
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_no_damage() {
    let text = b"{\"version\":1,\"profiles\":{\"Zo\xeb\":{\"type\":\"api_key\",\"provider\":\"p\",\"key\":\"k\",\"email\":\"\xff\"}}}";
    let mut document = Document::parse(text).unwrap();
    let id = ProfileId::from("Zo\u{fffd}");
    assert_eq!(document.profile(&id).unwrap().email.as_deref(), Some("\u{fffd}"));
    document.renew(&id, &Credential::ApiKey("n".into()));
    let wanted = [&text[..text.len() - 18], b"\"n\",\"email\":\"\xff\"}}}"].concat();
    assert_eq!(document.to_bytes(), wanted);
}

#[test]
fn a_change_elsewhere_is_found() {
    let file = Json::Object(vec![
        (SECTIONS[1], Json::Object(vec![(IDS[0], Json::Plain("1".to_owned()))])),
        (SECTIONS[6], Json::Plain("1.50".to_owned())),
    ]);
    let text = Text::from_file(&file, vec![" "]);
    let changed = |from: &str, to: &str| {
        let after = text.written.replacen(from, to, 1);
        text.assert_changed_only(after.as_bytes(), &["profiles", "acme:a"])
    };
    assert!(changed(": 1 ", ": {\"a\": 2} ").is_ok());
    for (from, to) in
        [("1.50", "1.5"), ("{ ", "{"), ("\"foreign\"", "\"foreigm\""), ("acme:a", "acme:b")]
    {
        assert!(changed(from, to).is_err(), "{from} {to}");
    }
}
