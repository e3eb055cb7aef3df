//! The browser login: callback, paste, refusals, identity.

use std::sync::{Arc, Mutex};

use auth_pkce::CallbackError;
use auth_providers::{Finished, Flow, HttpClient, LoginError, LoginUi, Provider};
use auth_store::{Clock, Credential, OAuthCredential, Timestamp};
use serde_json::{Value, json};

use crate::support::{Deeds, Issuer, NOW, Url, User, acme, block_on, jwt, provider};

/// Responds to token requests with these tokens, whose ID token has these claims and the nonce of
/// the login.
fn issuer(
    claims: Value,
    nonce: Arc<Mutex<String>>,
) -> Issuer<impl Fn(&str, &str) -> (u16, String) + Send + Sync> {
    Issuer::new(move |url, _| {
        assert_eq!(url, "https://acme.example/token");
        let mut claims = claims.clone();
        if claims.get("nonce").is_none() {
            claims["nonce"] = nonce.lock().unwrap().as_str().into();
        }
        let response = json!({
            "access_token": "a", "refresh_token": "r", "expires_in": 600, "token_type": "Bearer",
            "id_token": jwt(&claims)
        });
        (200, response.to_string())
    })
}

fn claims() -> Value {
    json!({"iss": "https://acme.example", "aud": "acme-cli", "sub": "u1", "email": "me@acme.example",
        "exp": NOW.0 / 1000 + 60})
}

/// A user whose browser returns with a code; the nonce is passed to the issuer.
fn visitor(nonce: &Arc<Mutex<String>>) -> User {
    let nonce = Arc::clone(nonce);
    User::new(move |url: &Url, redirect: &str| {
        let sent = url.fields().remove("nonce");
        *nonce.lock().unwrap() = sent.unwrap_or_default();
        let target = format!("{redirect}?code=c&state={}", url.get("state"));
        Deeds { browse: Some(target), ..Deeds::default() }
    })
}

fn entropy() -> [u8; 96] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

/// A login by authorization code.
async fn login(
    provider: &Provider,
    entropy: [u8; 96],
    http: &dyn HttpClient,
    ui: &dyn LoginUi,
    clock: &dyn Clock,
) -> Result<Finished, LoginError> {
    auth_providers::login(provider, Flow::AuthorizationCode, entropy, http, ui, clock).await
}

fn oauth(finished: &Finished) -> &OAuthCredential {
    match &finished.login.credential {
        Credential::OAuth(login) => login,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_login_by_callback_yields_the_credential_and_the_browser_waits_for_the_save() {
    let nonce = Arc::default();
    let (issuer, user) = (issuer(claims(), Arc::clone(&nonce)), visitor(&nonce));
    block_on(async {
        let finished = login(&provider(&acme()), entropy(), &issuer, &user, &NOW).await.unwrap();
        let credential = oauth(&finished);
        assert_eq!(credential.access.expose(), "a");
        assert_eq!(credential.refresh.expose(), "r");
        assert_eq!(credential.expires, Some(Timestamp(NOW.0 + 600_000)));
        assert_eq!(credential.obtained_at, Some(NOW));
        assert_eq!(credential.token_endpoint.as_deref(), Some("https://acme.example/token"));
        assert_eq!(credential.client_id.as_deref(), Some("acme-cli"));
        assert_eq!(credential.issuer.as_deref(), Some("https://acme.example"));
        assert_eq!(credential.account_id.as_deref(), Some("u1"));
        assert_eq!(finished.login.email.as_deref(), Some("me@acme.example"));
        assert_eq!(finished.login.fields["email"], "me@acme.example");
        assert_eq!(finished.login.warnings, Vec::<String>::new());
        assert!(!user.is_shown_something());
        finished.succeed().await;
    });
    let page = user.page();
    assert!(page.contains("signed in"), "{page}");
}

#[test]
fn the_exchange_is_the_same_to_the_byte_and_repeats_the_redirect() {
    let nonce = Arc::default();
    let (issuer, user) = (issuer(claims(), Arc::clone(&nonce)), visitor(&nonce));
    block_on(async {
        let finished = login(&provider(&acme()), entropy(), &issuer, &user, &NOW).await.unwrap();
        finished.succeed().await;
    });
    user.page();
    let url = Url::parse(&user.url.lock().unwrap());
    let redirect: String =
        url::form_urlencoded::byte_serialize(url.get("redirect_uri").as_bytes()).collect();
    assert_eq!(
        issuer.asked(),
        [(
            "https://acme.example/token".to_owned(),
            format!(
                "grant_type=authorization_code&code=c&redirect_uri={redirect}\
                 &code_verifier=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8&client_id=acme-cli"
            )
        )]
    );
}

#[test]
fn a_failed_exchange_is_shown_in_the_browser() {
    let issuer = Issuer::new(|_, _| {
        (400, r#"{"error":"invalid_grant","error_description":"late c"}"#.to_owned())
    });
    let user = visitor(&Arc::default());
    let error = block_on(login(&provider(&acme()), entropy(), &issuer, &user, &NOW)).unwrap_err();
    assert!(error.to_string().contains("invalid_grant"), "{error}");
    let page = user.page();
    assert!(!page.contains("You are signed in"), "{page}");
    assert_eq!(issuer.asked().len(), 1);
}

#[test]
fn a_login_that_is_not_saved_is_not_shown_as_done() {
    let nonce = Arc::default();
    let (issuer, user) = (issuer(claims(), Arc::clone(&nonce)), visitor(&nonce));
    block_on(async {
        let finished = login(&provider(&acme()), entropy(), &issuer, &user, &NOW).await.unwrap();
        finished.fail().await;
    });
    let page = user.page();
    assert!(!page.contains("You are signed in"), "{page}");
}

#[test]
fn a_paste_wins_the_race_and_wrong_pastes_do_not_end_it() {
    let nonce = Arc::new(Mutex::new(String::new()));
    let issuer = issuer(claims(), Arc::clone(&nonce));
    let user = User::new(move |url: &Url, redirect: &str| {
        url.get("nonce").clone_into(&mut nonce.lock().unwrap());
        let state = url.get("state");
        Deeds {
            paste: vec![
                "nonsense ".to_owned(),
                "c".to_owned(),
                format!("{redirect}?code=c&state=another"),
                format!("  {redirect}?code=c&\n  state={state} "),
            ],
            ..Deeds::default()
        }
    });
    let finished = block_on(login(&provider(&acme()), entropy(), &issuer, &user, &NOW)).unwrap();
    assert!(finished.browser.is_none());
    let refused = user.refused.lock().unwrap();
    assert_eq!(refused.len(), 3);
    assert_eq!(refused[2], CallbackError::StateMismatch);
    assert_eq!(issuer.asked().len(), 1);
}

#[test]
fn the_end_of_what_can_be_pasted_does_not_end_a_login() {
    let nonce: Arc<Mutex<String>> = Arc::default();
    let issuer = issuer(claims(), Arc::clone(&nonce));
    let user = User::new(move |url: &Url, redirect: &str| {
        url.get("nonce").clone_into(&mut nonce.lock().unwrap());
        let target = format!("{redirect}?code=c&state={}", url.get("state"));
        Deeds { browse: Some(target), gone: true, ..Deeds::default() }
    });
    block_on(async {
        let finished = login(&provider(&acme()), entropy(), &issuer, &user, &NOW).await.unwrap();
        finished.succeed().await;
    });
    user.page();
}

#[test]
fn a_port_that_is_taken_leaves_the_paste_and_without_it_the_login_ends_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut manifest = acme();
    manifest["redirect"] = json!({"host": "127.0.0.1", "ports": [port], "path": "/cb"});
    let acme = provider(&manifest);

    let nonce = Arc::new(Mutex::new(String::new()));
    let issuer = issuer(claims(), Arc::clone(&nonce));
    let user = User::new(move |url: &Url, redirect: &str| {
        url.get("nonce").clone_into(&mut nonce.lock().unwrap());
        let response = format!("{redirect}?code=c&state={}", url.get("state"));
        Deeds { paste: vec![response], ..Deeds::default() }
    });
    block_on(login(&acme, entropy(), &issuer, &user, &NOW)).unwrap();
    assert!(*user.was_unbound.lock().unwrap());

    let nobody = User::new(|_, _| Deeds { gone: true, ..Deeds::default() });
    let error = block_on(login(&acme, entropy(), &issuer, &nobody, &NOW)).unwrap_err();
    assert!(matches!(error, LoginError::ListenerUnavailable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[test]
fn a_denied_consent_ends_the_login_and_nothing_is_exchanged() {
    let issuer = Issuer::new(|_, _| panic!("nothing is sent"));
    let user = User::new(|url: &Url, redirect: &str| {
        let target = format!(
            "{redirect}?error=access_denied&error_description=no%1b%5bm&state={}",
            url.get("state")
        );
        Deeds { browse: Some(target), ..Deeds::default() }
    });
    let error = block_on(login(&provider(&acme()), entropy(), &issuer, &user, &NOW)).unwrap_err();
    assert!(matches!(&error, LoginError::Callback(CallbackError::Denied { .. })), "{error}");
    assert!(!error.to_string().contains('\u{1b}'));
    assert!(!user.page().contains("You are signed in"));
}

/// The result of a login whose ID token has `change` in its claims.
fn with_claims(change: &Value) -> Result<Finished, LoginError> {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let nonce = Arc::default();
    let (issuer, user) = (issuer(claims, Arc::clone(&nonce)), visitor(&nonce));
    block_on(login(&provider(&acme()), entropy(), &issuer, &user, &NOW))
}

#[test]
fn an_account_that_is_not_named_is_no_reason_to_fail() {
    let finished = with_claims(&json!({"sub": null, "email": null})).unwrap();
    assert_eq!(finished.login.account_id, None);
    assert_eq!(finished.login.email, None);

    let issuer = Issuer::new(|_, _| {
        (
            200,
            json!({"access_token": "a", "id_token": "not a token", "scope": "openid"}).to_string(),
        )
    });
    let finished =
        block_on(login(&provider(&acme()), entropy(), &issuer, &visitor(&Arc::default()), &NOW))
            .unwrap();
    assert_eq!(finished.login.account_id, None);
    let warnings = finished.login.warnings.join("\n");
    assert!(
        warnings.contains("no refresh token") && warnings.contains("offline_access"),
        "{warnings}"
    );
}

#[test]
fn the_account_can_come_from_the_userinfo_endpoint() {
    let mut manifest = acme();
    manifest["identity"] = json!({"source": "userinfo", "account": "/sub", "email": "/username"});
    manifest["scopes"] = json!(["profile"]);
    let acme = provider(&manifest);
    let ask = |userinfo: (u16, Value), id_sub: &'static str| {
        let issuer = Issuer::new(move |url, _| {
            if url == "https://acme.example/userinfo" {
                (userinfo.0, userinfo.1.to_string())
            } else {
                let id_token = jwt(&json!({"sub": id_sub}));
                (
                    200,
                    json!({"access_token": "a", "refresh_token": "r", "id_token": id_token})
                        .to_string(),
                )
            }
        });
        let user = User::new(|url: &Url, redirect: &str| Deeds {
            paste: vec![format!("{redirect}?code=c&state={}", url.get("state"))],
            ..Deeds::default()
        });
        block_on(login(&acme, entropy(), &issuer, &user, &NOW)).unwrap().login
    };
    let login = ask((200, json!({"sub": "u1", "username": "me"})), "u1");
    assert_eq!((login.account_id.as_deref(), login.email.as_deref()), (Some("u1"), Some("me")));
    for (userinfo, sub) in [((500, json!({})), "u1"), ((200, json!({"sub": "u1"})), "u2")] {
        let login = ask(userinfo, sub);
        assert_eq!(login.account_id, None);
        assert_eq!(login.warnings.len(), 1);
    }
}

#[test]
fn an_issuer_alone_is_enough_and_one_without_pkce_is_refused() {
    let mut manifest = acme();
    manifest["endpoints"] = json!({});
    let discover = |manifest: &Value, methods: Value| {
        let nonce = Arc::new(Mutex::new(String::new()));
        let known = Arc::clone(&nonce);
        let issuer = Issuer::new(move |url, _| {
            if url.contains("/.well-known/") {
                let document = json!({"issuer": "https://acme.example",
                    "authorization_endpoint": "https://acme.example/auth",
                    "token_endpoint": "https://acme.example/token",
                    "code_challenge_methods_supported": methods});
                return (200, document.to_string());
            }
            assert_eq!(url, "https://acme.example/token");
            let mut claims = claims();
            claims["nonce"] = known.lock().unwrap().as_str().into();
            (200, json!({"access_token": "a", "id_token": jwt(&claims)}).to_string())
        });
        let user = visitor(&nonce);
        block_on(login(&provider(manifest), entropy(), &issuer, &user, &NOW))
    };
    let finished = discover(&manifest, json!(["S256"])).unwrap();
    assert_eq!(oauth(&finished).token_endpoint.as_deref(), Some("https://acme.example/token"));
    for methods in [json!(null), json!(["plain"])] {
        let error = discover(&manifest, methods.clone()).unwrap_err();
        assert!(error.to_string().contains("assume_pkce"), "{error}");
        let mut sure = manifest.clone();
        sure["assume_pkce"] = json!(true);
        discover(&sure, methods).unwrap();
    }
}

#[test]
fn a_provider_without_a_browser_login_says_so() {
    let anthropic = auth_providers::Providers::load(None, &|_| None);
    let anthropic = anthropic.find(&auth_store::ProviderId::new("anthropic")).unwrap();
    let issuer = Issuer::new(|_, _| panic!("nothing is sent"));
    let user = User::new(|_, _| panic!("nothing begins"));
    let error = block_on(login(anthropic, entropy(), &issuer, &user, &NOW)).unwrap_err();
    assert!(matches!(error, LoginError::NoSuchFlow { .. }), "{error}");
}

/// The result of a login with this token response and this userinfo response.
fn received(tokens: &'static str, userinfo: (u16, &'static str)) -> Result<Finished, LoginError> {
    let mut manifest = acme();
    manifest["identity"] = json!({"source": "userinfo", "account": "/sub"});
    let issuer = Issuer::new(move |url, _| {
        if url == "https://acme.example/userinfo" {
            (userinfo.0, userinfo.1.to_owned())
        } else {
            (200, tokens.to_owned())
        }
    });
    let user = visitor(&Arc::default());
    block_on(login(&provider(&manifest), entropy(), &issuer, &user, &NOW))
}

#[test]
fn the_responses_to_a_login_are_read_as_servers_write_them() {
    for (tokens, userinfo) in [
        ("access_token=a&refresh_token=r&expires_in=600", "{\"sub\":\"u1\"}"),
        (
            r#"{"access_token":"a","refresh_token":"r","expires_in":600,"team":"\ud83d","n":1e999}"#,
            "\u{feff}{\"sub\":\"u1\",\"name\":\"Team \\ud83d\",\"n\":NaN}",
        ),
        (
            "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_in\":600,\"token_type\":\"bearer \"}",
            "{\"sub\":\"u0\",\"sub\":\"u1\"}",
        ),
    ] {
        for status in [200, 203, 206] {
            let finished = received(tokens, (status, userinfo)).unwrap();
            let credential = oauth(&finished);
            assert_eq!(
                (credential.access.expose(), credential.refresh.expose()),
                ("a", "r"),
                "{tokens}"
            );
            assert_eq!(credential.account_id.as_deref(), Some("u1"), "{userinfo}");
            assert_eq!(credential.expires, Some(Timestamp(NOW.0 + 600_000)));
        }
    }
    let odd = received(r#"{"access_token":"a"}"#, (200, "<html>")).unwrap();
    assert!(odd.login.warnings.join(" ").contains("with a web page"), "{:?}", odd.login.warnings);
}

#[test]
fn tokens_that_need_a_proof_end_a_login_before_anybody_is_asked_whose_it_is() {
    for kind in ["DPoP", " mac", "pop"] {
        let asked = Issuer::new(move |url, _| {
            assert_eq!(url, "https://acme.example/token", "the token was used");
            (
                200,
                json!({"access_token": "a", "refresh_token": "r", "token_type": kind}).to_string(),
            )
        });
        let mut manifest = acme();
        manifest["identity"] = json!({"source": "userinfo", "account": "/sub"});
        let user = visitor(&Arc::default());
        let error = block_on(login(&provider(&manifest), entropy(), &asked, &user, &NOW));
        let error = error.unwrap_err();
        assert!(matches!(error, LoginError::Misconfigured { .. }), "{kind}: {error}");
        let told = error.to_string();
        assert!(told.contains(&format!("`{}`", kind.trim().to_lowercase())), "{told}");
    }
}

#[test]
fn a_web_page_in_the_place_of_tokens_is_called_one() {
    let error = received("<!DOCTYPE html><p>Welcome", (200, "{}")).unwrap_err();
    assert!(matches!(error, LoginError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("the server answered with a web page"), "{error}");
}
