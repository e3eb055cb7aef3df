//! Targets for files that other programs write too: the store, its predecessors, locks, sessions,
//! the config.

use auth_store::{Credential, Document, LegacyEntries, ProfileId, Secret, holder_of_lock};
use serde_json::{Map, Value, json};

/// The content that was read is written again completely; a new profile changes no other.
pub(crate) fn store(bytes: &[u8]) {
    let Ok(mut document) = Document::parse(bytes) else { return };
    let before: Vec<_> = document.profiles().map(|profile| profile.id).collect();
    let _ = (document.malformed(), document.orders());
    for id in &before {
        let _ = document.credential(id);
    }
    let written = document.to_bytes();
    assert!(bytes.ends_with(&written), "reading changes nothing");
    let again = Document::parse(&written).expect("what is written can be read");
    assert_eq!(again.profiles().map(|profile| profile.id).collect::<Vec<_>>(), before);
    if !document.is_writable() {
        return;
    }
    let new = ProfileId::new("fuzz:new");
    if document.contains(&new) {
        return;
    }
    document.put(&new, "fuzz", &Credential::ApiKey(Secret::new("k")), &Map::new());
    let after = document.to_bytes();
    Document::parse(&after).expect("what is written can be read");
    assert!(only_adds(&written, &after), "an edit of one part leaves every other byte");
    // Half a surrogate pair and an infinite number stay unchanged, and strict parsers do not accept
    // those.
    let (Ok(after), Ok(start)) =
        (serde_json::from_slice::<Value>(&after), serde_json::from_slice::<Value>(&written))
    else {
        return;
    };
    for (id, entry) in start["profiles"].as_object().into_iter().flatten() {
        assert!(id == new.as_str() || after["profiles"][id] == *entry, "`{id}` has changed");
    }
    for (name, member) in start.as_object().into_iter().flatten() {
        assert!(name == "profiles" || after[name] == *member, "`{name}` has changed");
    }
}

/// Whether all bytes of `before` but white space are in `after`, with one place where something was put
/// in.
fn only_adds(before: &[u8], after: &[u8]) -> bool {
    let start = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    let rest = before.len().min(after.len()) - start;
    let ends = before.iter().rev().zip(after.iter().rev());
    let end = ends.take(rest).take_while(|(one, other)| one == other).count();
    before[start..before.len() - end].iter().all(u8::is_ascii_whitespace)
}

/// Legacy files become profiles, or an error.
pub(crate) fn legacy(bytes: &[u8]) {
    let all = [LegacyEntries::from_auth_json(bytes), LegacyEntries::from_oauth_json(bytes)];
    for entries in all.into_iter().flatten() {
        let mut document = Document::empty();
        let added = entries.add_to(&mut document);
        assert!(added.iter().all(|id| document.contains(id)));
        Document::parse(&document.to_bytes()).expect("what is written can be read");
    }
}

/// The lock file of a later OpenClaw.
pub(crate) fn lock_file(bytes: &[u8]) {
    let _ = holder_of_lock(bytes);
}

/// One entry is set; all others stay unchanged.
pub(crate) fn sessions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let entry = json!({ "authProfileOverride": "a:b" });
    let entry = entry.as_object().expect("an object");
    let Some(edited) = auth_cli::agent::sessions::edited_text(text, "fuzz", entry) else { return };
    let again = auth_cli::agent::sessions::edited_text(&edited, "fuzz", entry);
    assert_eq!(again.as_ref(), Some(&edited), "what is written can be read");
    // Half a surrogate pair stays unchanged, and strict parsers do not accept it.
    let Ok(after) = serde_json::from_str::<Value>(&edited) else { return };
    assert_eq!(after["fuzz"]["authProfileOverride"], "a:b");
    if let Ok(before) = serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) {
        for (key, value) in before.as_object().into_iter().flatten() {
            assert!(key == "fuzz" || after[key] == *value, "`{key}` has changed");
        }
    }
}

/// The edited text is still JSON5, and has only this change.
pub(crate) fn config_edit(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(before) = json5::from_str::<Value>(text.trim_start_matches('\u{feff}')) else {
        return;
    };
    let order = json!(["a:b", "it's \"quoted\"\n"]);
    for (names, value) in [
        (&["auth", "order", "fuzz"][..], Some(&order)),
        (&["fuzz new"][..], Some(&order)),
        (&["auth"][..], None),
    ] {
        // Removing a repeated key leaves one behind; the caller checks the result, and refuses it.
        if value.is_none() && text.matches("auth").count() > 1 {
            continue;
        }
        let Some(edited) = auth_cli::config::edit::edited_text(text, names, value) else {
            continue;
        };
        let after: Value = json5::from_str(edited.trim_start_matches('\u{feff}')).expect("JSON5");
        let mut wanted = before.clone();
        let (last, way) = names.split_last().expect("a name");
        let mut at = &mut wanted;
        for name in way {
            at = &mut at[*name];
        }
        match (value, at.as_object_mut()) {
            (Some(value), Some(object)) => {
                object.insert((*last).to_owned(), value.clone());
            }
            (None, Some(object)) => {
                object.remove(*last);
            }
            (_, None) => {}
        }
        assert_eq!(after, wanted, "{names:?}: {edited}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_that_loses_a_byte_is_found() {
        assert!(
            only_adds(b"{ }", b"{\n  \"a\": 1\n}") && only_adds(b"{\"a\":1}", b"{\"a\":1,\"b\":2}")
        );
        assert!(!only_adds(b"{\"a\":1}", b"{\"b\":2}"));
        assert!(!only_adds(b"[1,2,3]", b"[1,9,2,8]"));
    }
}
