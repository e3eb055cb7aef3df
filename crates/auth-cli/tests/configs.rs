//! Edits of hand-written configs: an edit changes only the necessary bytes, and the values of the
//! other keys stay the same. `configs.jsonl` has the configs, one per line: `name`, `files` (the
//! first is the config, the others are its includes) and, if the position of an edit is ambiguous,
//! `refuses`.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use auth_cli::config::edit::{Change, Missing, edit};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const EDITS: [&str; 5] = ["insert", "push", "set", "remove", "item"];

/// The keys of an edit, and the edit.
fn change(name: &str) -> (Vec<&'static str>, Change) {
    match name {
        "insert" => {
            let path = vec!["auth", "profiles", "acme:new"];
            let change = Change::set(&path, json!({"provider": "acme", "mode": "oauth"}));
            (path, change)
        }
        "push" => {
            let path = vec!["agents", "defaults", "model", "fallbacks"];
            let change = Change::push(&path, json!("new/model"));
            (path, change)
        }
        "set" => {
            let path = vec!["agents", "defaults", "model", "primary"];
            let change = Change::set(&path, json!("new/model"));
            (path, change)
        }
        "remove" => {
            let path = vec!["auth", "profiles", "acme:old"];
            let change = Change::remove(&path);
            (path, change)
        }
        _ => {
            let path = vec!["agents", "list"];
            let change = Change::push(&path, json!({"id": "new", "workspace": "/ws"}));
            (path, change)
        }
    }
}

/// The same edit on a value.
fn changed(name: &str, mut value: Value) -> Value {
    let (path, _) = change(name);
    let (last, to) = path.split_last().unwrap();
    if name == "remove" {
        let object = to.iter().try_fold(&mut value, |value, step| value.get_mut(step));
        object.and_then(Value::as_object_mut).and_then(|it| it.shift_remove(*last));
        return value;
    }
    let mut place = &mut value;
    for step in path {
        if place.is_null() {
            *place = json!({});
        }
        place = place.as_object_mut().unwrap().entry(step).or_insert(Value::Null);
    }
    match name {
        "insert" => *place = json!({"provider": "acme", "mode": "oauth"}),
        "set" => *place = json!("new/model"),
        _ => {
            if place.is_null() {
                *place = json!([]);
            }
            let item = match name {
                "push" => json!("new/model"),
                _ => json!({"id": "new", "workspace": "/ws"}),
            };
            place.as_array_mut().unwrap().push(item);
        }
    }
    value
}

type Files = BTreeMap<PathBuf, String>;

/// Makes one edit of a config; returns the result, and the files after it.
fn run(name: &str, main: &str, files: &Files) -> (Result<bool, String>, Files) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("state");
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        auth_store::write_atomic(&path, text.as_bytes()).unwrap();
    }
    let (_, change) = change(name);
    let result = edit(&root.join(main), Missing::Create, |_| vec![change.clone()]);
    let result = result.map_err(|error| format!("{} {:?}", error.message, error.hint));
    let after =
        files.keys().map(|path| (path.clone(), std::fs::read_to_string(root.join(path)).unwrap()));
    (result, after.collect())
}

/// The value of the config, from a parser and a merge that are independent of the edit.
fn value(file: &Path, files: &Files) -> Value {
    let text = files[file].trim_start_matches('\u{feff}');
    let is_nothing = |text: &str| {
        let comment = |line: &str| line.trim_start().starts_with("//") || line.contains("*/");
        text.lines().all(|line| line.trim().is_empty() || comment(line)) && !text.contains('{')
    };
    if is_nothing(text)
        || text.trim().starts_with("// written by hand") && !text.contains(['}', ']'])
    {
        return json!({});
    }
    let value = json5::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    with_parts(value, file, files)
}

fn with_parts(value: Value, file: &Path, files: &Files) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|it| with_parts(it, file, files)).collect(),
        Value::Object(mut members) => {
            let include = members.shift_remove("$include");
            let own = members.into_iter().map(|(name, it)| (name, with_parts(it, file, files)));
            let own: Map<_, _> = own.collect();
            let names = match include {
                None => return Value::Object(own),
                Some(Value::Array(names)) => names,
                Some(name) => vec![name],
            };
            let parts = names.iter().map(|name| {
                let mut path = file.parent().unwrap().to_owned();
                for step in name.as_str().unwrap().split('/') {
                    match step {
                        "." => {}
                        ".." if path.pop() => {}
                        step => path.push(step),
                    }
                }
                crate::value(&path, files)
            });
            let all = parts.reduce(merge).unwrap();
            if own.is_empty() { all } else { merge(all, Value::Object(own)) }
        }
        other => other,
    }
}

fn merge(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Array(base), Value::Array(over)) => base.into_iter().chain(over).collect(),
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let value = match base.get(&name) {
                    Some(below) => merge(below.clone(), value),
                    None => value,
                };
                base.insert(name, value);
            }
            Value::Object(base)
        }
        (_, over) => over,
    }
}

/// The parts of two texts without their common start and end.
fn difference<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str) {
    let alike = |mut one: Box<dyn Iterator<Item = char> + 'a>,
                 mut other: Box<dyn Iterator<Item = char> + 'a>| {
        let mut length = 0;
        while let (Some(one), Some(other)) = (one.next(), other.next()) {
            if one != other {
                break;
            }
            length += one.len_utf8();
        }
        length
    };
    let start = alike(Box::new(before.chars()), Box::new(after.chars()));
    let (before, after) = (&before[start..], &after[start..]);
    let end = alike(Box::new(before.chars().rev()), Box::new(after.chars().rev()));
    (&before[..before.len() - end], &after[..after.len() - end])
}

/// Whether `text` is white space and comments.
fn is_blank(text: &str) -> bool {
    json5::from_str::<Value>(&format!("0{text}\n")).is_ok()
}

/// Checks that only the necessary bytes were changed.
fn check_bytes(name: &str, was_there: bool, before: &str, after: &str) -> Result<(), String> {
    let (gone, new) = difference(before, after);
    let fine = match name {
        // The value and nothing around it.
        "set" if was_there => !gone.contains(['\n', ',', ':', '/']) || gone.len() < 10,
        // The entry, and its comma or the one before it; only white space and comments remain
        // between them.
        "remove" => is_blank(new) && gone.len() > new.len(),
        // One insertion, or a comma, the existing text, and the rest.
        _ => {
            gone.is_empty() || {
                let rest = new.strip_prefix(',').and_then(|new| new.strip_prefix(gone));
                rest.is_some() && is_blank(gone) || gone.trim().is_empty() && gone.len() < 8
            }
        }
    };
    if fine { Ok(()) } else { Err(format!("{name}: `{gone}` became `{new}` in\n{after}")) }
}

/// Makes every edit of a config, and checks the results; returns the number of edits.
fn check(main: &str, files: &Files, refuses: &[&str]) -> Result<usize, String> {
    let mut made = 0;
    let before = value(Path::new(main), files);
    for name in EDITS {
        let (result, after) = run(name, main, files);
        let path = change(name).0;
        let was_there = path.iter().try_fold(&before, |value, step| value.get(step)).is_some();
        if refuses.contains(&name) {
            if result.is_ok() || after != *files {
                return Err(format!("{name} should be refused: {result:?} {after:?}"));
            }
            continue;
        }
        let is_changed = result.map_err(|error| format!("{name}: {error}"))?;
        if is_changed == (name == "remove" && !was_there) {
            return Err(format!("{name}: {is_changed}"));
        }
        let (expected, found) = (changed(name, before.clone()), value(Path::new(main), &after));
        if expected != found {
            return Err(format!("{name}: {found} instead of {expected}: {after:?}"));
        }
        let written = files.iter().filter(|(path, text)| after[*path] != **text);
        let written: Vec<_> = written.collect();
        if written.len() != usize::from(is_changed) {
            return Err(format!("{name}: {} files were written", written.len()));
        }
        for (path, text) in written {
            check_bytes(name, was_there, text, &after[path])?;
        }
        made += usize::from(is_changed);
    }
    Ok(made)
}

#[test]
fn edits_of_handwritten_configs_change_only_what_they_should() {
    let lines = include_str!("configs.jsonl").lines();
    let (mut configs, mut edits, mut wrong) = (0, 0, Vec::new());
    for line in lines {
        let case: Value = serde_json::from_str(line).unwrap();
        let named = case["files"].as_object().unwrap();
        let files: Files =
            named.iter().map(|(path, text)| (path.into(), text.as_str().unwrap().into())).collect();
        let refuses = case["refuses"].as_array().into_iter().flatten();
        let refuses: Vec<_> = refuses.filter_map(Value::as_str).collect();
        match check("clawdbot.json", &files, &refuses) {
            Ok(made) => edits += made,
            Err(error) => wrong.push(format!("{}: {error}", case["name"])),
        }
        configs += 1;
    }
    assert!(wrong.is_empty(), "{} of {configs}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(configs >= 200 && edits >= 900, "{configs} configs, {edits} edits");
    println!("{configs} configs, {edits} edits");
}

#[test]
fn the_check_of_the_bytes_sees_a_lost_comment_and_a_changed_quote() {
    let before = "{ a: 'x', /* why */ b: 1 }";
    assert!(check_bytes("insert", false, before, "{ a: 'x', /* why */ b: 1, c: 2 }").is_ok());
    assert!(check_bytes("insert", false, before, "{ a: 'x', b: 1, c: 2 }").is_err());
    assert!(check_bytes("insert", false, before, "{ a: \"x\", /* why */ b: 1, c: 2 }").is_err());
    assert!(check_bytes("remove", true, before, "{ a: 'x' /* why */  }").is_ok());
    assert!(check_bytes("remove", true, before, "{ a: 'y' }").is_err());
}

/// White space and comments, in any place.
fn blank() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        4 => Just(" ".to_owned()),
        1 => "[ \t]{0,3}\n[ \t]{0,4}",
        1 => Just("\r\n\t".to_owned()),
        1 => " /\\*[ a-z{}\\[\\],:'\"]{0,6}\\*/ ?",
        1 => " //[ a-z{}\\[\\],:'\"*/]{0,6}\n *",
    ]
}

fn text() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        "'[a-z /,{}:\\[]{0,5}'",
        "\"[a-z /,{}:'\\]]{0,5}\"",
        "'(\\\\n|\\\\'|\\\\\n|é){0,3}'"
    ];
    let word = prop_oneof![
        Just("null"),
        Just("true"),
        Just("0x1F"),
        Just("-.5"),
        Just("+1e3"),
        Just("7.")
    ];
    prop_oneof![plain, word.prop_map(str::to_owned)]
}

/// A value other than those we edit.
fn other() -> impl Strategy<Value = String> {
    text().prop_recursive(3, 12, 4, |inner| {
        let list = proptest::collection::vec((blank(), inner.clone(), blank()), 0..4);
        let members = proptest::collection::vec((name(), blank(), inner, blank()), 0..4);
        prop_oneof![
            (list, any::<bool>(), blank()).prop_map(|(items, comma, end)| {
                let items = items.into_iter().map(|(a, item, b)| format!("{a}{item}{b}"));
                bracketed('[', &items.collect::<Vec<_>>(), comma, &end, ']')
            }),
            (members, any::<bool>(), blank()).prop_map(|(members, comma, end)| {
                let members = members.into_iter().map(|(n, a, v, b)| format!("{n}{a}:{a}{v}{b}"));
                bracketed('{', &members.collect::<Vec<_>>(), comma, &end, '}')
            }),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_$][a-z0-9]{1,3}", "'[a-z .:@]{0,4}'", "\"[a-z/]{0,4}\""]
}

fn bracketed(open: char, entries: &[String], comma: bool, end: &str, close: char) -> String {
    let comma = if comma && !entries.is_empty() { "," } else { "" };
    format!("{open}{}{comma}{end}{close}", entries.join(","))
}

/// An object with those members that have a value, and other members between them.
fn object(
    members: Vec<(&'static str, BoxedStrategy<Option<String>>)>,
) -> BoxedStrategy<Option<String>> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(name, value)| {
            let name = prop_oneof![Just(format!("'{name}'")), Just(format!("\"{name}\""))];
            let entry = (blank(), name, blank(), value, blank(), proptest::option::of(other()));
            entry.prop_map(move |(a, name, b, value, c, other)| {
                let own = value.map(|value| format!("{a}{name}{b}:{b}{value}{c}"));
                let other = other.map(|other| format!("{a}x{}:{b}{other}{c}", name.len()));
                own.into_iter().chain(other).collect::<Vec<_>>()
            })
        })
        .collect();
    (members, any::<bool>(), blank())
        .prop_map(|(entries, comma, end)| {
            Some(bracketed(
                '{',
                &entries.into_iter().flatten().collect::<Vec<_>>(),
                comma,
                &end,
                '}',
            ))
        })
        .boxed()
}

fn maybe(value: BoxedStrategy<Option<String>>) -> BoxedStrategy<Option<String>> {
    (any::<bool>(), value).prop_map(|(is_there, value)| value.filter(|_| is_there)).boxed()
}

fn config() -> impl Strategy<Value = String> {
    let text = || text().prop_map(Some).boxed();
    let list = || {
        let items = proptest::collection::vec((blank(), other(), blank()), 0..3);
        let list = (items, any::<bool>(), blank()).prop_map(|(items, comma, end)| {
            let items = items.into_iter().map(|(a, item, b)| format!("{a}{item}{b}"));
            Some(bracketed('[', &items.collect::<Vec<_>>(), comma, &end, ']'))
        });
        list.boxed()
    };
    let profiles = object(vec![("acme:old", maybe(other().prop_map(Some).boxed())), ("b", text())]);
    let auth = object(vec![("profiles", maybe(profiles))]);
    let model = object(vec![("primary", maybe(text())), ("fallbacks", maybe(list()))]);
    let defaults = object(vec![("model", maybe(model))]);
    let agents = object(vec![("defaults", maybe(defaults)), ("list", maybe(list()))]);
    let root = object(vec![("auth", maybe(auth)), ("agents", maybe(agents))]);
    (blank(), root, blank()).prop_map(|(a, root, b)| format!("{a}{}{b}", root.unwrap_or_default()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn edits_of_any_config_change_only_what_they_should(text in config()) {
        let files = Files::from([("clawdbot.json".into(), text.clone())]);
        prop_assert!(json5::from_str::<Value>(&text).is_ok(), "{}", text);
        let checked = check("clawdbot.json", &files, &[]);
        prop_assert!(checked.is_ok(), "{}\n{}", checked.unwrap_err(), text);
    }
}
