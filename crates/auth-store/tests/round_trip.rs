//! Any JSON that other programs write into the file survives our edits; reading arbitrary bytes
//! does not panic.

use auth_store::{Credential, Document, ProfileId};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any JSON value, not too large.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn file(foreign: &Value, entry: &Value) -> Value {
    json!({
        "version": 1,
        "foreign": foreign,
        "profiles": {
            "acme:old": {"type": "oauth", "provider": "acme", "access": "a", "refresh": "r", "x": entry},
            "acme:odd": entry,
        },
        "usageStats": {"acme:old": {"lastUsed": 1, "x": entry}},
        "later": foreign,
    })
}

proptest! {
    #[test]
    fn an_edit_changes_nothing_else(foreign in value(), entry in value()) {
        let mut expected = file(&foreign, &entry);
        let bytes = serde_json::to_vec(&expected).unwrap();
        let mut document = Document::parse(&bytes).unwrap();

        let (old, new) = (ProfileId::from("acme:old"), ProfileId::from("acme:new"));
        let mut login = match document.credential(&old) {
            Some(Credential::OAuth(login)) => login,
            other => panic!("{other:?}"),
        };
        login.access = "b".into();
        document.renew(&old, &Credential::OAuth(login));
        document.put(&new, "acme", &Credential::ApiKey("k".into()), &Map::new());
        let mut usage = document.usage(&old);
        usage.error_count = Some(3);
        document.set_usage(&old, &usage);

        expected["profiles"]["acme:old"]["access"] = json!("b");
        expected["profiles"]["acme:new"] = json!({"type": "api_key", "provider": "acme", "key": "k"});
        expected["usageStats"]["acme:old"]["errorCount"] = json!(3);
        // Both are read by the same parser, which rounds some numbers; the file keeps their digits.
        let expected: Value = serde_json::from_str(&expected.to_string()).unwrap();
        let written: Value = serde_json::from_slice(&document.to_bytes()).unwrap();
        prop_assert_eq!(&written, &expected);
        // The order of the names is part of the file.
        prop_assert_eq!(written.to_string(), expected.to_string());
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&bytes);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_and_never_an_empty_store(foreign in value(), cut in 0.0..1.0_f64) {
        let text = serde_json::to_string(&file(&foreign, &json!(1))).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in the text")]
        let cut = (text.len() as f64 * cut) as usize;
        prop_assert!(Document::parse(&text.as_bytes()[..cut]).is_err());
        prop_assert!(Document::parse(text.as_bytes()).is_ok());
    }
}
