//! Raw entries of a store, so that a profile can move to another store together with members that
//! we do not know.

use std::fmt;

use crate::document::Document;
use crate::document::credential::{self, Credential};
use crate::document::json::Object;
use crate::id::ProfileId;

/// The text of a profile in a store. Its `Debug` shows nothing, because it contains secrets.
#[derive(Clone)]
pub struct Entry(Vec<u8>);

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Entry(REDACTED)")
    }
}

impl Document {
    /// The entry of the profile `id`, usable or not.
    pub fn entry(&self, id: &ProfileId) -> Option<Entry> {
        self.raw(id).map(|raw| Entry(raw.to_owned()))
    }

    /// Replaces the entry of `id`, if any, with `entry`: unchanged, or with `credential` in place
    /// of its own. All other members keep their text.
    pub fn put_copy(&mut self, id: &ProfileId, entry: &Entry, credential: Option<&Credential>) {
        let mut members = Object::from_raw(Some(&entry.0)).into_owned();
        // Where secrets may be sent to is recorded here, at a login, and never believed of a file.
        let has_record = members.remove(Credential::DESTINATIONS);
        if credential.is_none() && !has_record {
            return self.put_raw(id, &entry.0);
        }
        if let Some(credential) = credential {
            for name in OF_A_CREDENTIAL {
                members.remove(name);
            }
            credential::write_over(&mut members, credential);
        }
        self.put_raw(id, &members.to_text());
    }
}

/// The members that exist for some kinds of credential only.
const OF_A_CREDENTIAL: [&str; 10] = [
    "key",
    "keyRef",
    "token",
    "access",
    "refresh",
    "expires",
    "obtainedAt",
    "clientId",
    "tokenEndpoint",
    "issuer",
];

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = r#"{"profiles":{"a:b":{"type":"oauth","provider":"A","access":"a","refresh":"r","label":"mine","email":"e","x":1.50,"metadata":{"n":10000000000000000000001}}}}"#;

    fn copied(credential: Option<&Credential>) -> String {
        let from = Document::parse(STORE.as_bytes()).unwrap();
        let entry = from.entry(&"a:b".into()).unwrap();
        assert!(!format!("{entry:?}").contains("mine"));
        let mut to = Document::empty();
        to.put_copy(&"c:d".into(), &entry, credential);
        String::from_utf8(to.to_bytes()).unwrap().split_whitespace().collect()
    }

    #[test]
    fn an_entry_moves_as_it_is_written() {
        let entry = STORE.split_once(r#""a:b":"#).unwrap().1.trim_end_matches("}}");
        assert!(copied(None).contains(&format!(r#""c:d":{entry}"#)), "{}", copied(None));
    }

    #[test]
    fn a_record_of_destinations_does_not_move() {
        let from = STORE.replace(r#""label""#, r#""destinations":["https://evil"],"label""#);
        let entry = Document::parse(from.as_bytes()).unwrap().entry(&"a:b".into()).unwrap();
        let mut to = Document::empty();
        to.put_copy(&"c:d".into(), &entry, None);
        assert_eq!(to.destinations(&"c:d".into()), None);
        assert_eq!(to.field(&"c:d".into(), "label"), Some("mine".into()));
    }

    #[test]
    fn an_entry_that_gets_another_credential_keeps_nothing_of_the_old_one_and_all_else() {
        let text = copied(Some(&Credential::Token { token: "t".into(), expires: None }));
        assert!(!text.contains("refresh") && !text.contains("access"), "{text}");
        for kept in [
            r#""type":"token""#,
            r#""token":"t""#,
            r#""label":"mine""#,
            r#""email":"e""#,
            r#""x":1.50"#,
            r#""metadata":{"n":10000000000000000000001}"#,
        ] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }
}
