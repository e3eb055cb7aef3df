//! Whose login it is: what the ID token must say to be believed, and what is asked instead. None of it
//! costs the login, but a nonce of another one.

use std::sync::{Arc, Mutex};

use auth_providers::{Finished, Flow, LoginError};
use auth_store::Credential;
use serde_json::{Value, json};

use crate::support::{Deeds, Issuer, NOW, Url, User, acme, block_on, jwt, provider};

const TOKEN: &str = "https://acme.example/token";
const USERINFO: &str = "https://acme.example/userinfo";

/// What becomes of a login with `manifest`, whose ID token has `change` in its claims, and whose
/// userinfo endpoint gives `userinfo`; and whether a nonce was sent.
fn logged_in(
    manifest: &Value,
    change: &Value,
    userinfo: Option<Value>,
) -> (Result<Finished, LoginError>, bool) {
    let nonce = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&nonce);
    let change = change.clone();
    let issuer = Issuer::new(move |url, _| match (url, &userinfo) {
        (TOKEN, _) => {
            let mut claims = json!({"iss": "https://acme.example", "aud": "acme-cli", "sub": "u1",
                "email": "me@acme.example", "exp": NOW.0 / 1000 + 60});
            if let Some(sent) = &*seen.lock().unwrap() {
                claims["nonce"] = Value::from(String::clone(sent));
            }
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            let tokens = json!({"access_token": "a", "refresh_token": "r", "expires_in": 600,
                "token_type": "Bearer", "id_token": jwt(&claims)});
            (200, tokens.to_string())
        }
        (USERINFO, Some(claims)) => (200, claims.to_string()),
        (_, Some(_)) if url.contains("/.well-known/") => {
            let document = json!({"issuer": "https://acme.example", "token_endpoint": TOKEN,
                "userinfo_endpoint": USERINFO});
            (200, document.to_string())
        }
        _ => (404, String::new()),
    });
    let sent = Arc::clone(&nonce);
    let user = User::new(move |url: &Url, redirect: &str| {
        *sent.lock().unwrap() = url.fields().remove("nonce");
        let target = format!("{redirect}?code=c&state={}", url.get("state"));
        Deeds { browse: Some(target), ..Deeds::default() }
    });
    let acme = provider(manifest);
    let entropy = [7; 96];
    let flow = Flow::AuthorizationCode;
    let outcome = block_on(auth_providers::login(&acme, flow, entropy, &issuer, &user, &NOW));
    let has_nonce = nonce.lock().unwrap().is_some();
    (outcome, has_nonce)
}

/// All that is wrong with an ID token and costs nothing, with the word for it.
fn doubtful() -> [(Value, &'static str); 11] {
    [
        (json!({"nonce": null}), "`nonce`"),
        (json!({"iss": "https://acme.example/"}), "`iss`"),
        (json!({"iss": null}), "`iss`"),
        (json!({"aud": []}), "`aud`"),
        (json!({"aud": null}), "`aud`"),
        (json!({"aud": "another"}), "`aud`"),
        (json!({"aud": ["another"]}), "`aud`"),
        (json!({"aud": {"a": 1}}), "`aud`"),
        (json!({"aud": ["another", "acme-cli"], "azp": "another"}), "`azp`"),
        (json!({"exp": NOW.0 / 1000 - 3600}), "`exp`"),
        (json!({"exp": (NOW.0 / 1000 - 3600).to_string()}), "`exp`"),
    ]
}

#[test]
fn a_doubtful_id_token_names_nobody_and_costs_no_login() {
    let mut manifest = acme();
    manifest["endpoints"]["userinfo"] = json!(null);
    for (change, word) in doubtful() {
        let login = logged_in(&manifest, &change, None).0.unwrap().login;
        assert!(matches!(login.credential, Credential::OAuth(_)), "{change}");
        assert_eq!((&login.account_id, &login.email), (&None, &None), "{change}");
        let warnings = login.warnings.join("\n");
        let setting = "`\"identity\": {\"source\": \"userinfo\"}`";
        assert!(warnings.contains(word) && warnings.contains(setting), "{change}: {warnings}");
    }
    // The controls: what is right is believed, and so is what servers leave open.
    for change in [
        json!({}),
        json!({"azp": null}),
        json!({"aud": ["x", "acme-cli"], "azp": "acme-cli"}),
        json!({"exp": NOW.0 / 1000 - 60}),
    ] {
        let login = logged_in(&manifest, &change, None).0.unwrap().login;
        assert_eq!(login.account_id.as_deref(), Some("u1"), "{change}");
        let warnings = login.warnings.join("\n");
        assert!(!warnings.contains("ID token"), "{change}: {warnings}");
    }
}

#[test]
fn the_server_is_asked_where_the_id_token_is_doubtful() {
    let mut elsewhere = acme();
    elsewhere["endpoints"]["userinfo"] = json!(null);
    for manifest in [acme(), elsewhere] {
        for (change, word) in doubtful() {
            let userinfo = json!({"sub": "u2", "email": "you@acme.example"});
            let login = logged_in(&manifest, &change, Some(userinfo)).0.unwrap().login;
            assert_eq!(login.account_id.as_deref(), Some("u2"), "{change}");
            assert_eq!(login.email.as_deref(), Some("you@acme.example"), "{change}");
            let warnings = login.warnings.join("\n");
            assert!(warnings.contains(word), "{change}: {warnings}");
            assert!(warnings.contains("comes from the userinfo endpoint"), "{change}: {warnings}");
        }
    }
}

#[test]
fn the_setting_that_a_doubt_names_makes_it_go() {
    let mut manifest = acme();
    manifest["identity"] = json!({"source": "userinfo"});
    for (change, _) in doubtful() {
        let userinfo = json!({"sub": "u1", "email": "me@acme.example"});
        let login = logged_in(&manifest, &change, Some(userinfo)).0.unwrap().login;
        assert_eq!(login.account_id.as_deref(), Some("u1"), "{change}");
        assert_eq!(login.email.as_deref(), Some("me@acme.example"), "{change}");
        let warnings = login.warnings.join("\n");
        assert!(!warnings.contains("ID token"), "{change}: {warnings}");
    }
}

#[test]
fn a_nonce_of_another_login_refuses_this_one() {
    for nonce in [json!("another"), json!(7), json!("")] {
        let (outcome, _) = logged_in(&acme(), &json!({"nonce": nonce}), None);
        assert!(matches!(outcome, Err(LoginError::Untrusted { .. })), "{nonce}: {outcome:?}");
    }
}

#[test]
fn a_nonce_is_sent_only_where_the_id_token_names_the_account() {
    let sends = |identity: Value, scopes: Value| {
        let mut manifest = acme();
        (manifest["identity"], manifest["scopes"]) = (identity, scopes);
        let userinfo = json!({"sub": "u1"});
        let (outcome, sent) = logged_in(&manifest, &json!({"nonce": "any"}), Some(userinfo));
        // A nonce that nobody sent is nobody's.
        assert_eq!(outcome.is_err(), sent);
        sent
    };
    let openid = || json!(["openid"]);
    assert!(sends(json!({"source": "id_token", "account": "/sub"}), openid()));
    assert!(sends(json!(null), openid()));
    assert!(!sends(json!({"source": "userinfo", "account": "/sub"}), openid()));
    assert!(!sends(json!({"source": "access_token", "account": "/sub"}), openid()));
    assert!(!sends(json!({"source": "id_token", "account": "/sub"}), json!(["profile"])));
}
