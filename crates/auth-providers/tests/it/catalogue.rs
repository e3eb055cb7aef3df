//! Each provider of the catalogue: its requests, to the byte, what is stored of its responses, and
//! its known errors. The servers are scripts, since a test cannot reach the real ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_providers::{
    DeviceLogin, Flow, Login, LoginError, Method, Provider, Providers, TargetError, TokenResponse,
    device_login, login,
};
use auth_store::{Credential, OAuthCredential, ProviderId};
use serde_json::{Value, json};

use crate::support::{Asked, Deeds, NOW, Responses, Time, Url, User, block_on, jwt, nobody};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

fn catalogue(id: &str, env: &[(&str, &str)]) -> Provider {
    let providers = Providers::load(None, &|name| {
        env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    });
    providers.find(&ProviderId::new(id)).unwrap().clone()
}

/// Logs in by device code; `answers` are the responses with the code and to the polls.
fn by_device(
    provider: &Provider,
    flow: Flow,
    responses: Vec<(u16, Value)>,
) -> (Result<Login, LoginError>, Vec<Asked>, Duration) {
    let (http, user, time) = (Responses::new(responses), nobody(), Time::default());
    let login = device_login(provider, flow, entropy(), &http, &user, &NOW, &time);
    let outcome = block_on(login);
    (outcome, http.asked(), auth_providers::Waiting::elapsed(&time))
}

/// Logs in by pasting the browser's final address, made of the redirect URI and the state.
fn by_paste(
    provider: &Provider,
    flow: Flow,
    responses: Vec<(u16, Value)>,
    pasted: impl Fn(&str, &str) -> String + Send + Sync + 'static,
) -> (Result<Login, LoginError>, Vec<Asked>, BTreeMap<String, String>, String) {
    let mut provider = provider.clone();
    if let Some(redirect) = &mut provider.redirect {
        // Tests run in parallel, and a developer's program may use the real port.
        redirect.ports = Vec::new();
    }
    let seen = Arc::new(Mutex::new((BTreeMap::new(), String::new())));
    let log = Arc::clone(&seen);
    let user = User::new(move |url: &Url, redirect: &str| {
        let fields = url.fields();
        let state = fields
            .get("state")
            .cloned()
            .unwrap_or_else(|| fields["callback_url"].rsplit_once("state=").unwrap().1.to_owned());
        *log.lock().unwrap() = (fields, redirect.to_owned());
        Deeds { paste: vec![pasted(redirect, &state)], ..Deeds::default() }
    });
    let http = Responses::new(responses);
    let outcome = block_on(login(&provider, flow, [2; 96], &http, &user, &NOW));
    let (fields, redirect) = seen.lock().unwrap().clone();
    (outcome.map(|finished| finished.login), http.asked(), fields, redirect)
}

fn entropy() -> [u8; 64] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

fn full(redirect: &str, state: &str) -> String {
    format!("{redirect}?code=the+code&state={state}")
}

fn check(asked: &Asked, url: &str, content_type: &str) {
    assert_eq!((asked.method, asked.url.as_str()), (Method::Post, url));
    assert_eq!(asked.header("content-type"), Some(content_type));
    assert_eq!(asked.header("accept"), Some(JSON));
    assert_eq!(asked.header("authorization"), None);
}

fn form(asked: &Asked, wanted: &[(&str, &str)]) {
    let wanted = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    assert_eq!(asked.fields(), wanted.collect());
}

fn oauth(login: &Login) -> &OAuthCredential {
    match &login.credential {
        Credential::OAuth(login) => login,
        other => panic!("{other:?}"),
    }
}

/// Checks the refresh request of that login, as fields of a form.
fn refresh(provider: &Provider, login: &OAuthCredential, wanted: &[(&str, &str)], url: &str) {
    let target = provider.refresh_target(login).unwrap();
    let request = target.request(&login.refresh, Duration::from_secs(12));
    let asked = Asked {
        method: request.method(),
        url: request.url().to_owned(),
        headers: request.headers().to_vec(),
        body: String::from_utf8(request.body().unwrap().to_vec()).unwrap(),
    };
    check(&asked, url, FORM);
    form(&asked, wanted);
}

/// The meaning of a refused refresh: `rejected`, `misconfigured`, `unavailable`.
fn refused(provider: &Provider, status: u16, body: &Value) -> &'static str {
    match provider.read_response(status, &[], body.to_string().as_bytes(), NOW) {
        TokenResponse::Tokens(_) => "tokens",
        TokenResponse::Rejected { .. } => "rejected",
        TokenResponse::LoginRequired { .. } => "login required",
        TokenResponse::Misconfigured { .. } => "misconfigured",
        TokenResponse::Unavailable { .. } => "unavailable",
        TokenResponse::Unread { .. } => "unread",
    }
}

mod openai {
    use super::*;

    const CLIENT: &str = "app_EMoamEEZ73f0CkXaXp7hrann";
    const TOKEN: &str = "https://auth.openai.com/oauth/token";

    fn access() -> String {
        jwt(&json!({
            "https://api.openai.com/auth": {"chatgpt_account_id": "acc-1", "chatgpt_plan_type": "plus"},
            "https://api.openai.com/profile": {"email": "me@example.com"},
            "exp": NOW.0 / 1000 + 864_000,
        }))
    }

    fn tokens() -> (u16, Value) {
        let response = json!({"access_token": access(), "refresh_token": "rt", "expires_in": 864_000,
            "id_token": "not.a.jwt"});
        (200, response)
    }

    #[test]
    fn in_a_browser() {
        let codex = catalogue("openai-codex", &[]);
        assert_eq!(codex.redirect.as_ref().unwrap().ports, [1455, 1457]);
        let flow = Flow::AuthorizationCode;
        let (login, asked, sent, redirect) = by_paste(&codex, flow, vec![tokens()], full);
        let login = login.unwrap();
        let state = sent["state"].clone();
        let challenge = sent["code_challenge"].clone();
        let wanted = [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", redirect.as_str()),
            ("scope", "openid profile email offline_access"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("id_token_add_organizations", "true"),
            ("codex_cli_simplified_flow", "true"),
            ("state", state.as_str()),
            ("originator", "token-sink"),
        ];
        assert_eq!(sent, wanted.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
        assert!(redirect.starts_with("http://localhost:") && redirect.ends_with("/auth/callback"));
        check(&asked[0], TOKEN, FORM);
        let verifier = asked[0].field("code_verifier").unwrap();
        form(
            &asked[0],
            &[
                ("grant_type", "authorization_code"),
                ("client_id", CLIENT),
                ("code", "the code"),
                ("code_verifier", &verifier),
                ("redirect_uri", &redirect),
            ],
        );
        let parsed = auth_pkce::Verifier::parse(&verifier).unwrap();
        assert_eq!(parsed.challenge().as_str(), challenge);
        assert_eq!(asked.len(), 1);

        assert_eq!(login.account_id.as_deref(), Some("acc-1"));
        assert_eq!(login.email.as_deref(), Some("me@example.com"));
        assert_eq!(login.fields["chatgptPlanType"], "plus");
        assert_eq!(oauth(&login).expires, Some(NOW.plus(Duration::from_hours(240))));
    }

    #[test]
    fn by_device_code() {
        let codex = catalogue("openai-codex", &[]);
        let code = json!({"device_auth_id": "dev", "user_code": "AB-12", "interval": "3"});
        let ready =
            json!({"authorization_code": "ac", "code_verifier": "cv", "code_challenge": "x"});
        let responses = vec![
            (200, code),
            (403, json!({"error": {"code": "deviceauth_authorization_unknown"}})),
            (404, json!("")),
            (200, ready),
            tokens(),
        ];
        let (login, asked, time) = by_device(&codex, Flow::DeviceCodeOpenai, responses);
        let login = login.unwrap();
        assert_eq!(time, Duration::from_secs(9));
        let base = "https://auth.openai.com/api/accounts/deviceauth";
        check(&asked[0], &format!("{base}/usercode"), JSON);
        assert_eq!(asked[0].body, format!(r#"{{"client_id":"{CLIENT}"}}"#));
        for poll in &asked[1..4] {
            check(poll, &format!("{base}/token"), JSON);
            assert_eq!(poll.body, r#"{"device_auth_id":"dev","user_code":"AB-12"}"#);
        }
        for own in &asked[..4] {
            assert_eq!(own.header("originator"), Some("token-sink"));
            assert_eq!(own.header("version"), Some(env!("CARGO_PKG_VERSION")));
        }
        check(&asked[4], TOKEN, FORM);
        form(
            &asked[4],
            &[
                ("grant_type", "authorization_code"),
                ("code", "ac"),
                ("redirect_uri", "https://auth.openai.com/deviceauth/callback"),
                ("client_id", CLIENT),
                ("code_verifier", "cv"),
            ],
        );
        assert_eq!(login.account_id.as_deref(), Some("acc-1"));
        let wanted =
            [("grant_type", "refresh_token"), ("refresh_token", "rt"), ("client_id", CLIENT)];
        refresh(&codex, oauth(&login), &wanted, TOKEN);
    }

    #[test]
    fn the_page_for_its_code_is_known_and_its_time_is_a_quarter_of_an_hour() {
        let codex = catalogue("openai-codex", &[]);
        let code = json!({"device_auth_id": "dev", "usercode": "AB-12"});
        let http = Responses::new([(200, code.clone())]);
        let flow = Flow::DeviceCodeOpenai;
        let login = block_on(DeviceLogin::begin(&codex, flow, entropy(), &http, &NOW)).unwrap();
        let prompt = login.prompt();
        assert_eq!(prompt.verification_uri, "https://auth.openai.com/codex/device");
        assert_eq!(prompt.openable, Some("https://auth.openai.com/codex/device"));
        assert_eq!((prompt.user_code, prompt.lifetime), ("AB-12", Duration::from_mins(15)));
        let mut responses = vec![(200, code)];
        responses.extend((0..179).map(|_| (403, json!(""))));
        let (outcome, asked, _) = by_device(&codex, flow, responses);
        assert!(matches!(outcome, Err(LoginError::CodeEnded)), "{outcome:?}");
        assert_eq!(asked.len(), 180);
    }

    #[test]
    fn where_device_codes_are_switched_off_that_is_said() {
        let codex = catalogue("openai-codex", &[]);
        let (outcome, ..) = by_device(&codex, Flow::DeviceCodeOpenai, vec![(404, json!(""))]);
        assert!(matches!(outcome, Err(LoginError::NoDeviceLogin { .. })), "{outcome:?}");
    }

    #[test]
    fn a_region_that_is_not_served_is_named() {
        let codex = catalogue("openai-codex", &[]);
        let refusal = json!({"error": {"code": "unsupported_country_region_territory",
            "message": "Country, region, or territory not supported"}});
        let flow = Flow::AuthorizationCode;
        let (outcome, ..) = by_paste(&codex, flow, vec![(403, refusal)], full);
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("unsupported_country_region_territory"), "{text}");
    }

    #[test]
    fn a_token_without_an_account_is_a_login_all_the_same() {
        let codex = catalogue("openai-codex", &[]);
        let bare =
            (200, json!({"access_token": "opaque", "refresh_token": "rt", "expires_in": 60}));
        let flow = Flow::AuthorizationCode;
        let (login, ..) = by_paste(&codex, flow, vec![bare], full);
        assert_eq!(login.unwrap().account_id, None);
    }

    #[test]
    fn every_form_of_paste_is_taken() {
        let codex = catalogue("openai-codex", &[]);
        for form in ["code1#state", "code=code1&state=state", "?code=code1&state=state", "code1"] {
            let paste = move |_: &str, state: &str| {
                form.replace("=state", &format!("={state}")).replace("#state", &format!("#{state}"))
            };
            let flow = Flow::AuthorizationCode;
            let (login, asked, ..) = by_paste(&codex, flow, vec![tokens()], paste);
            login.unwrap();
            assert_eq!(asked[0].field("code").as_deref(), Some("code1"), "{form}");
        }
    }

    #[test]
    fn its_refusals() {
        let codex = catalogue("openai-codex", &[]);
        for code in [
            "invalid_grant",
            "invalid_refresh_token",
            "refresh_token_expired",
            "refresh_token_invalidated",
            "refresh_token_reused",
        ] {
            assert_eq!(refused(&codex, 401, &json!({"error": {"code": code}})), "rejected");
            assert_eq!(refused(&codex, 400, &json!({"error": code})), "rejected");
        }
        assert_eq!(refused(&codex, 403, &json!("<html>")), "unavailable");
        assert_eq!(refused(&codex, 429, &json!({"error": {"code": "rate_limit"}})), "unavailable");
    }
}

mod github_copilot {
    use super::*;

    #[test]
    fn its_token_is_a_token_without_an_end() {
        let copilot = catalogue("github-copilot", &[]);
        let code = json!({"device_code": "dev", "user_code": "AB-12", "expires_in": 899,
            "interval": 5, "verification_uri": "https://github.com/login/device"});
        let granted =
            json!({"access_token": "ghu_x", "token_type": "bearer", "scope": "read:user"});
        let responses = vec![
            (200, code),
            (200, json!({"error": "authorization_pending", "error_description": "…"})),
            (200, json!({"error": "slow_down", "interval": 10})),
            (200, granted),
            (200, json!({"login": "me", "id": 583_231, "email": "not@asked.for"})),
        ];
        let (login, asked, time) = by_device(&copilot, Flow::DeviceCode, responses);
        let login = login.unwrap();
        assert_eq!(time, Duration::from_secs(20));
        let client = ("client_id", "Iv1.b507a08c87ecfe98");
        check(&asked[0], "https://github.com/login/device/code", FORM);
        form(&asked[0], &[client, ("scope", "read:user")]);
        assert_eq!(asked[4].url, "https://api.github.com/user");
        assert_eq!(asked[4].header("authorization"), Some("Bearer ghu_x"));
        for poll in &asked[1..4] {
            check(poll, "https://github.com/login/oauth/access_token", FORM);
            let grant = "urn:ietf:params:oauth:grant-type:device_code";
            form(poll, &[client, ("device_code", "dev"), ("grant_type", grant)]);
        }
        let Credential::Token { token, expires } = &login.credential else { panic!("{login:?}") };
        assert_eq!((token.expose(), *expires), ("ghu_x", None));
        assert_eq!((login.email, login.warnings), (None, Vec::new()));
        // The number, because the user can change the name.
        assert_eq!(login.account_id.as_deref(), Some("583231"));
        assert_eq!(copilot.profile_name.as_deref(), Some("github"));
        let oauth = OAuthCredential { refresh: "ghu_x".into(), ..OAuthCredential::default() };
        let target = copilot.refresh_target(&oauth);
        assert!(matches!(target, Err(TargetError::NotRefreshable { .. })), "{target:?}");
    }

    #[test]
    fn its_errors_come_with_status_200() {
        let copilot = catalogue("github-copilot", &[]);
        for (error, ends) in [("expired_token", true), ("access_denied", false)] {
            let code = json!({"device_code": "dev", "user_code": "AB-12", "expires_in": 899,
                "interval": 5, "verification_uri": "https://github.com/login/device"});
            let responses = vec![(200, code), (200, json!({"error": error}))];
            let outcome = by_device(&copilot, Flow::DeviceCode, responses).0.unwrap_err();
            assert_eq!(matches!(outcome, LoginError::CodeEnded), ends, "{outcome}");
            assert_eq!(matches!(outcome, LoginError::Refused { .. }), !ends, "{outcome}");
        }
    }
}

mod qwen_portal {
    use super::*;

    const CLIENT: (&str, &str) = ("client_id", "f0304373b74a44d2b584a3fb70ca9e56");
    const TOKEN: &str = "https://chat.qwen.ai/api/v1/oauth2/token";

    #[test]
    fn with_pkce_and_a_number_for_each_request() {
        let qwen = catalogue("qwen", &[]);
        let code = json!({"device_code": "dev", "user_code": "AB-12", "expires_in": 900,
            "verification_uri": "https://chat.qwen.ai/authorize",
            "verification_uri_complete": "https://chat.qwen.ai/authorize?user_code=AB-12"});
        let granted = json!({"access_token": "at", "refresh_token": "rt", "expires_in": 21600,
            "token_type": "Bearer", "resource_url": "portal.qwen.ai"});
        let responses =
            vec![(200, code), (400, json!({"error": "authorization_pending"})), (200, granted)];
        let (login, asked, time) = by_device(&qwen, Flow::DeviceCode, responses);
        let login = login.unwrap();
        assert_eq!(time, Duration::from_secs(4), "two seconds, where the server says nothing");
        check(&asked[0], "https://chat.qwen.ai/api/v1/oauth2/device/code", FORM);
        let challenge = asked[0].field("code_challenge").unwrap();
        form(
            &asked[0],
            &[
                CLIENT,
                ("scope", "openid profile email model.completion"),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ],
        );
        let id = asked[0].header("x-request-id").unwrap();
        assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");
        check(&asked[1], TOKEN, FORM);
        let verifier = asked[1].field("code_verifier").unwrap();
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        form(
            &asked[1],
            &[CLIENT, ("grant_type", grant), ("device_code", "dev"), ("code_verifier", &verifier)],
        );
        let verifier = auth_pkce::Verifier::parse(&verifier).unwrap();
        assert_eq!(verifier.challenge().as_str(), challenge);
        assert_eq!(login.fields["resourceUrl"], "portal.qwen.ai");
        assert_eq!(oauth(&login).expires, Some(NOW.plus(Duration::from_hours(6))));
        let wanted = [("grant_type", "refresh_token"), ("refresh_token", "rt"), CLIENT];
        refresh(&qwen, oauth(&login), &wanted, TOKEN);
    }

    #[test]
    fn a_400_refuses_its_refresh_token() {
        let qwen = catalogue("qwen-portal", &[]);
        for body in
            [json!({"error": "invalid_request"}), json!({"error": "invalid_grant"}), json!({})]
        {
            assert_eq!(refused(&qwen, 400, &body), "rejected", "{body}");
        }
        assert_eq!(refused(&qwen, 400, &json!({"error": "invalid_client"})), "misconfigured");
        assert_eq!(refused(&qwen, 400, &json!("<html>")), "unavailable");
        assert_eq!(refused(&qwen, 401, &json!({})), "unavailable");
        // The control: for other providers a 400 proves nothing.
        assert_eq!(refused(&catalogue("chutes", &[]), 400, &json!({})), "unavailable");
    }
}

mod minimax_portal {
    use super::*;

    const CLIENT: (&str, &str) = ("client_id", "78257093-7e40-4613-99e0-527b14b39113");
    const TOKEN: &str = "https://account.minimax.io/oauth2/token";

    /// Logs in at a server that repeats this state, or the correct one.
    fn run(
        state: Option<&str>,
        polls: Vec<(u16, Value)>,
    ) -> (Result<Login, LoginError>, Vec<Asked>, Duration) {
        let minimax = catalogue("minimax-portal", &[]);
        // The state is a function of the entropy, so one request reveals it.
        let probe = Responses::new([(503, json!(""))]);
        let flow = Flow::DeviceCodeMinimax;
        let _ = block_on(DeviceLogin::begin(&minimax, flow, entropy(), &probe, &NOW));
        let right = probe.asked()[0].field("state").unwrap();
        let code = json!({"user_code": "AB-12", "verification_uri": "https://account.minimax.io/go",
            "expired_in": NOW.0 + 600_000, "interval": 3000, "state": state.unwrap_or(&right)});
        by_device(&minimax, flow, std::iter::once((200, code)).chain(polls).collect())
    }

    #[test]
    fn its_user_code_is_also_what_is_polled_with() {
        let granted = json!({"status": "success", "access_token": "at", "refresh_token": "rt",
            "expired_in": 3600, "resource_url": "https://api.minimax.io", "notification_message": "hi"});
        let polls = vec![(200, json!({"status": "pending"})), (200, granted)];
        let (login, asked, time) = run(None, polls);
        let login = login.unwrap();
        assert_eq!(time, Duration::from_secs(6));
        check(&asked[0], "https://account.minimax.io/oauth2/device/code", FORM);
        let (challenge, state) =
            (asked[0].field("code_challenge").unwrap(), asked[0].field("state").unwrap());
        form(
            &asked[0],
            &[
                CLIENT,
                ("response_type", "code"),
                ("scope", "group_id profile model.completion"),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
                ("state", &state),
            ],
        );
        assert!(asked[0].header("x-request-id").is_some());
        check(&asked[1], TOKEN, FORM);
        let verifier = asked[1].field("code_verifier").unwrap();
        assert_ne!(verifier, state);
        let grant = "urn:ietf:params:oauth:grant-type:user_code";
        form(
            &asked[1],
            &[CLIENT, ("grant_type", grant), ("user_code", "AB-12"), ("code_verifier", &verifier)],
        );
        assert_eq!(login.fields["resourceUrl"], "https://api.minimax.io");
        assert_eq!(oauth(&login).expires, Some(NOW.plus(Duration::from_hours(1))));
        let wanted = [("grant_type", "refresh_token"), ("refresh_token", "rt"), CLIENT];
        refresh(&catalogue("minimax-portal", &[]), oauth(&login), &wanted, TOKEN);
    }

    #[test]
    fn another_state_aborts_the_login() {
        let (outcome, asked, _) = run(Some("another"), vec![]);
        assert!(matches!(outcome, Err(LoginError::Untrusted { .. })), "{outcome:?}");
        assert_eq!(asked.len(), 1);
    }

    #[test]
    fn an_error_ends_it_and_anything_else_is_pending() {
        let odd = vec![(200, json!({"status": "whatever"})), (200, json!({"status": "error"}))];
        let (outcome, _, time) = run(None, odd);
        assert!(matches!(outcome, Err(LoginError::Refused { .. })), "{outcome:?}");
        assert_eq!(time, Duration::from_secs(6));
        // The code expires at the time in its response, in absolute milliseconds.
        let (outcome, asked, _) =
            run(None, (0..199).map(|_| (200, json!({"status": "x"}))).collect());
        assert!(matches!(outcome, Err(LoginError::CodeEnded)), "{outcome:?}");
        assert_eq!(asked.len(), 200);
    }
}

mod chutes {
    use super::*;

    fn env() -> [(&'static str, &'static str); 2] {
        [("CHUTES_CLIENT_ID", "cid_me"), ("CHUTES_CLIENT_SECRET", "s3cret")]
    }

    #[test]
    fn as_the_users_own_client() {
        let chutes = catalogue("chutes", &env());
        let granted = json!({"access_token": "at", "refresh_token": "rt", "expires_in": 3600,
            "token_type": "Bearer"});
        let whose = json!({"sub": "u1", "username": "me"});
        let responses = vec![(200, granted), (200, whose)];
        let (login, asked, sent, redirect) =
            by_paste(&chutes, Flow::AuthorizationCode, responses, full);
        let login = login.unwrap();
        assert_eq!(sent["client_id"], "cid_me");
        assert_eq!(sent["scope"], "openid profile chutes:invoke");
        assert!(redirect.ends_with("/oauth-callback"), "{redirect}");
        let real = chutes.redirect.as_ref().unwrap();
        assert_eq!((real.host.as_str(), &real.ports[..]), ("127.0.0.1", &[1456][..]));
        check(&asked[0], "https://api.chutes.ai/idp/token", FORM);
        let verifier = asked[0].field("code_verifier").unwrap();
        form(
            &asked[0],
            &[
                ("grant_type", "authorization_code"),
                ("client_id", "cid_me"),
                ("client_secret", "s3cret"),
                ("code", "the code"),
                ("code_verifier", &verifier),
                ("redirect_uri", &redirect),
            ],
        );
        assert_eq!(
            (asked[1].method, asked[1].url.as_str()),
            (Method::Get, "https://api.chutes.ai/idp/userinfo")
        );
        assert_eq!(asked[1].header("authorization"), Some("Bearer at"));
        assert_eq!((login.account_id.as_deref(), login.email.as_deref()), (Some("u1"), Some("me")));
        assert_eq!(oauth(&login).client_id.as_deref(), Some("cid_me"));
        assert_eq!(oauth(&login).expires, Some(NOW.plus(Duration::from_hours(1))));
        let url = "https://api.chutes.ai/idp/token";
        let wanted = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "rt"),
            ("client_id", "cid_me"),
            ("client_secret", "s3cret"),
        ];
        refresh(&chutes, oauth(&login), &wanted, url);
        // Another shell, without the variables: the client is that of the login.
        let elsewhere = catalogue("chutes", &[]);
        refresh(&elsewhere, oauth(&login), &wanted[..3], url);
    }

    #[test]
    fn its_knobs_are_obeyed() {
        let knobs = [
            ("CHUTES_CLIENT_ID", "cid_me"),
            ("CHUTES_OAUTH_SCOPES", "openid  chutes:read"),
            ("CHUTES_OAUTH_REDIRECT_URI", "http://localhost:9999/back"),
        ];
        let chutes = catalogue("chutes", &knobs);
        assert_eq!(chutes.scopes, ["openid", "chutes:read"]);
        let redirect = chutes.redirect().unwrap();
        assert_eq!(redirect.uri(redirect.ports()[0]), "http://localhost:9999/back");
    }

    #[test]
    fn without_a_client_it_is_said_what_is_missing() {
        let (outcome, asked, ..) =
            by_paste(&catalogue("chutes", &[]), Flow::AuthorizationCode, vec![], full);
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("CHUTES_CLIENT_ID"), "{text}");
        assert_eq!(asked.len(), 0);
    }

    #[test]
    fn not_to_know_the_account_is_no_reason_to_fail() {
        let granted = json!({"access_token": "at", "refresh_token": "rt", "expires_in": 3600});
        let responses = vec![(200, granted), (500, json!(""))];
        let flow = Flow::AuthorizationCode;
        let (login, ..) = by_paste(&catalogue("chutes", &env()), flow, responses, full);
        let login = login.unwrap();
        assert_eq!((login.account_id, login.warnings.len()), (None, 1));
    }
}

mod openrouter {
    use super::*;

    const FLOW: Flow = Flow::AuthorizationCodeKey;

    #[test]
    fn its_login_yields_an_api_key() {
        let openrouter = catalogue("openrouter", &[]);
        let response = vec![(200, json!({"key": "sk-or-v1-x", "user_id": "user_1"}))];
        let (login, asked, sent, redirect) = by_paste(&openrouter, FLOW, response, full);
        let login = login.unwrap();
        assert_eq!(sent.len(), 3);
        let (callback, state) = sent["callback_url"].split_once("?state=").unwrap();
        assert_eq!((callback, state.len()), (redirect.as_str(), 43));
        assert_eq!(sent["code_challenge_method"], "S256");
        let real = openrouter.redirect().unwrap();
        assert_eq!(real.uri(3000), "http://localhost:3000/openrouter-oauth/callback");
        assert_eq!(real.ports(), [3000]);
        check(&asked[0], "https://openrouter.ai/api/v1/auth/keys", JSON);
        let body: Value = serde_json::from_str(&asked[0].body).unwrap();
        let verifier = body["code_verifier"].as_str().unwrap();
        let wanted = json!({"code": "the code", "code_verifier": verifier,
            "code_challenge_method": "S256"});
        assert_eq!(body, wanted);
        let verifier = auth_pkce::Verifier::parse(verifier).unwrap();
        assert_eq!(verifier.challenge().as_str(), sent["code_challenge"]);
        let Credential::ApiKey(key) = &login.credential else { panic!("{login:?}") };
        assert_eq!(key.expose(), "sk-or-v1-x");
        assert_eq!(login.account_id.as_deref(), Some("user_1"));
        let fields = json!({"authFlow": "oauth-pkce", "userId": "user_1", "accountId": "user_1",
            "destinations": ["https://openrouter.ai"]});
        assert_eq!(Value::Object(login.fields), fields);
    }

    #[test]
    fn a_code_without_its_state_is_not_taken() {
        let openrouter = catalogue("openrouter", &[]);
        let response = vec![(200, json!({"key": "k"}))];
        let (login, asked, ..) = by_paste(&openrouter, FLOW, response, full);
        login.unwrap();
        assert_eq!(asked.len(), 1);
        let attempt = auth_pkce::Attempt::new(
            [2; 96],
            "http://localhost:3000/openrouter-oauth/callback".to_owned(),
        );
        let authorization =
            auth_providers::PendingAuthorization::new(openrouter, FLOW, attempt).unwrap();
        for stateless in [
            "stolen",
            "http://localhost:3000/openrouter-oauth/callback?code=stolen",
            "?code=stolen",
        ] {
            assert!(authorization.accept(stateless).is_err(), "{stateless}");
        }
    }

    #[test]
    fn its_errors() {
        let openrouter = catalogue("openrouter", &[]);
        let outcome = |status: u16, body: Value| {
            by_paste(&openrouter, FLOW, vec![(status, body)], full).0.unwrap_err()
        };
        let refused = outcome(
            403,
            json!({"error": {"code": 403, "message": "Invalid code or code_verifier"}}),
        );
        let text = "the provider refused the code: 403 (Invalid code or code_verifier)";
        assert_eq!(refused.to_string(), text);
        for (status, body) in [
            (200, json!({})),
            (200, json!({"key": ""})),
            (200, json!({"key": "two words"})),
            (429, json!({"error": {"code": 429}})),
            (500, json!({"key": "k"})),
            (400, json!("<html>")),
        ] {
            let error = outcome(status, body.clone());
            assert!(matches!(error, LoginError::Unavailable { .. }), "{status} {body}: {error}");
        }
    }
}

mod xai {
    use super::*;

    const CLIENT: (&str, &str) = ("client_id", "b1a00492-073a-47ea-816f-4c329264a828");
    const TOKEN: &str = "https://auth.x.ai/oauth2/token";

    #[test]
    fn by_device_code_and_a_refresh_may_leave_out_the_refresh_token() {
        let xai = catalogue("grok", &[]);
        let code = json!({"device_code": "dev", "user_code": "AB-12", "expires_in": 900,
            "interval": 5, "verification_uri": "https://accounts.x.ai/device"});
        let granted = json!({"access_token": "at", "refresh_token": "rt", "expires_in": 21600,
            "id_token": jwt(&json!({"sub": "u1", "email": "me@example.com", "aud": CLIENT.1}))});
        let (login, asked, _) =
            by_device(&xai, Flow::DeviceCode, vec![(200, code), (200, granted)]);
        let login = login.unwrap();
        check(&asked[0], "https://auth.x.ai/oauth2/device/code", FORM);
        let scope = "openid profile email offline_access grok-cli:access api:access";
        form(&asked[0], &[CLIENT, ("scope", scope)]);
        check(&asked[1], TOKEN, FORM);
        assert_eq!(login.account_id.as_deref(), Some("u1"));
        let wanted = [("grant_type", "refresh_token"), ("refresh_token", "rt"), CLIENT];
        refresh(&xai, oauth(&login), &wanted, TOKEN);
        let body = json!({"access_token": "at2", "expires_in": 60}).to_string();
        let TokenResponse::Tokens(tokens) = xai.read_response(200, &[], body.as_bytes(), NOW)
        else {
            panic!("{body}");
        };
        assert_eq!(tokens.merge(oauth(&login), NOW).unwrap().refresh.expose(), "rt");
    }
}

mod kimi_code {
    use super::*;

    const CLIENT: (&str, &str) = ("client_id", "17e5f671-d194-4dfb-9706-5516cb48c098");
    const TOKEN: &str = "https://auth.kimi.com/api/oauth/token";

    #[test]
    fn by_device_code_without_a_scope() {
        let kimi = catalogue("kimi-code", &[]);
        let code = json!({"device_code": "dev", "user_code": "AB-12", "expires_in": 900,
            "verification_uri": "https://www.kimi.com/code/authorize_device"});
        let granted = json!({"access_token": "at", "refresh_token": "rt", "expires_in": 900});
        let (login, asked, _) =
            by_device(&kimi, Flow::DeviceCode, vec![(200, code), (200, granted)]);
        let login = login.unwrap();
        check(&asked[0], "https://auth.kimi.com/api/oauth/device_authorization", FORM);
        form(&asked[0], &[CLIENT]);
        let wanted = [("grant_type", "refresh_token"), ("refresh_token", "rt"), CLIENT];
        refresh(&kimi, oauth(&login), &wanted, TOKEN);
        assert_eq!(refused(&kimi, 401, &json!({})), "rejected");
        assert_eq!(refused(&kimi, 403, &json!({"error": "x"})), "rejected");
        assert_eq!(refused(&kimi, 400, &json!({"error": "x"})), "unavailable");
    }
}

mod github_copilot_ghe {
    use super::*;

    #[test]
    fn the_host_of_the_tenant_stands_in_every_address_and_in_the_profile() {
        let ghe = catalogue("github-copilot-ghe", &[]);
        for named in ["acme.ghe.com", " https://ACME.ghe.com/ "] {
            let acme = ghe.at_host(named).unwrap();
            let code = json!({"device_code": "dev", "user_code": "AB-12", "expires_in": 899,
                "interval": 5, "verification_uri": "https://acme.ghe.com/login/device"});
            let granted = json!({"access_token": "ghu_x", "token_type": "bearer", "scope": ""});
            let answers = vec![(200, code), (200, granted), (200, json!({"id": 7}))];
            let (login, asked, _) = by_device(&acme, Flow::DeviceCode, answers);
            let login = login.unwrap();
            check(&asked[0], "https://acme.ghe.com/login/device/code", FORM);
            check(&asked[1], "https://acme.ghe.com/login/oauth/access_token", FORM);
            assert_eq!(asked[2].url, "https://api.acme.ghe.com/user");
            assert_eq!(login.fields["enterpriseUrl"], "acme.ghe.com");
            assert_eq!(login.warnings, Vec::<String>::new());
        }
        for wrong in [
            "",
            "ghe.com",
            "acme.ghe.com.evil.example",
            "evilghe.com",
            "a/b.ghe.com",
            "u@a.ghe.com",
        ] {
            assert!(ghe.at_host(wrong).is_err(), "{wrong}");
        }
        // Without a host nothing is asked.
        let (outcome, asked, _) = by_device(&ghe, Flow::DeviceCode, vec![]);
        assert!(outcome.is_err() && asked.is_empty());
    }
}

mod google_gemini_cli {
    use super::*;

    const ENV: [(&str, &str); 1] = [("GEMINI_CLI_OAUTH_CLIENT_SECRET", "s3cret")];

    #[test]
    fn with_the_users_own_secret() {
        let gemini = catalogue("google-gemini-cli", &ENV);
        let granted = json!({"access_token": "at", "refresh_token": "rt", "expires_in": 3599,
            "scope": "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile"});
        let whose = json!({"id": "1", "email": "g@example.test"});
        let (login, asked, sent, redirect) =
            by_paste(&gemini, Flow::AuthorizationCode, vec![(200, granted), (200, whose)], full);
        let login = login.unwrap();
        assert_eq!(sent["access_type"], "offline");
        assert!(redirect.ends_with("/oauth2callback"), "{redirect}");
        check(&asked[0], "https://oauth2.googleapis.com/token", FORM);
        assert_eq!(asked[0].field("client_secret").as_deref(), Some("s3cret"));
        assert_eq!(login.email.as_deref(), Some("g@example.test"));
        // A login that an old Clawdbot left, without the record of its endpoint.
        let old = OAuthCredential { refresh: "rt".into(), ..OAuthCredential::default() };
        let target = gemini.refresh_target(&old).unwrap();
        assert_eq!(target.token_endpoint, "https://oauth2.googleapis.com/token");
    }

    #[test]
    fn without_it_nothing_is_sent_and_the_variable_is_named() {
        let gemini = catalogue("google-gemini-cli", &[]);
        let (outcome, asked, ..) = by_paste(&gemini, Flow::AuthorizationCode, vec![], full);
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("GEMINI_CLI_OAUTH_CLIENT_SECRET") && asked.is_empty(), "{text}");
        let old = OAuthCredential { refresh: "rt".into(), ..OAuthCredential::default() };
        let target = gemini.refresh_target(&old);
        assert!(matches!(target, Err(TargetError::Incomplete { .. })), "{target:?}");
    }
}

#[test]
fn a_logout_is_told_where_the_provider_listens_and_as_it_wants_to_hear_it() {
    let login = |client: Option<&str>| OAuthCredential {
        access: "at".into(),
        refresh: "rt".into(),
        client_id: client.map(str::to_owned),
        ..OAuthCredential::default()
    };
    let revoked = |id: &str, client: Option<&str>| {
        let http = Responses::new([(200, json!({})), (200, json!({}))]);
        let done = block_on(catalogue(id, &[]).revoke(&login(client), &http, NOW));
        assert_eq!(done, auth_providers::refresh::Revocation::Done);
        http.asked()
    };
    let asked = revoked("openai-codex", None);
    check(&asked[0], "https://auth.openai.com/oauth/revoke", JSON);
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    let wanted = json!({"token": "rt", "token_type_hint": "refresh_token",
        "client_id": "app_EMoamEEZ73f0CkXaXp7hrann"});
    assert_eq!(body, wanted);
    let asked = revoked("chutes", Some("cid_me"));
    check(&asked[0], "https://api.chutes.ai/idp/token/revoke", FORM);
    assert_eq!(asked[0].field("token").as_deref(), Some("rt"));
}

#[test]
fn a_page_of_what_stands_before_openai_is_not_somebody_who_has_not_entered_the_code() {
    let codex = catalogue("openai-codex", &[]);
    let code = json!({"device_auth_id": "dev", "user_code": "AB-12", "interval": "3"});
    let mut answers = vec![(200, code)];
    answers.extend((0..6).map(|_| (403, json!("<html><title>Just a moment...</title></html>"))));
    let (outcome, asked, _) = by_device(&codex, Flow::DeviceCodeOpenai, answers);
    assert!(matches!(outcome, Err(LoginError::Unavailable { .. })), "{outcome:?}");
    assert_eq!(asked.len(), 7);
}

mod anthropic {
    use super::*;

    #[test]
    fn it_has_no_login_and_no_refresh() {
        let anthropic = catalogue("anthropic", &[]);
        assert_eq!(anthropic.flows, [Flow::Token, Flow::ApiKey]);
        let login = OAuthCredential { refresh: "r".into(), ..OAuthCredential::default() };
        let target = anthropic.refresh_target(&login);
        assert!(matches!(target, Err(TargetError::NotRefreshable { .. })), "{target:?}");
        let (outcome, asked, ..) = by_paste(&anthropic, Flow::AuthorizationCode, vec![], full);
        assert!(matches!(outcome, Err(LoginError::NoSuchFlow { .. })), "{outcome:?}");
        assert_eq!(asked.len(), 0);
    }
}

/// A rotated refresh token is available, whatever else is wrong with a response.
#[test]
fn a_rotated_refresh_token_is_kept_by_every_provider() {
    let all = [
        "openai-codex",
        "qwen-portal",
        "minimax-portal",
        "minimax-portal-cn",
        "chutes",
        "xai",
        "kimi-code",
        "google-gemini-cli",
    ];
    for id in all {
        let provider = catalogue(id, &[]);
        for odd in [
            json!({"access_token": "at", "refresh_token": "new"}),
            json!({"access_token": "at", "refresh_token": "new", "expires_in": "x", "expired_in": []}),
            json!({"access_token": "at", "refresh_token": "new", "id_token": 7, "scope": {}}),
            json!({"access_token": "at", "refresh_token": "new", "error": null, "token_type": "bearer"}),
        ] {
            let body = odd.to_string();
            let TokenResponse::Tokens(tokens) =
                provider.read_response(200, &[], body.as_bytes(), NOW)
            else {
                panic!("{id}: {odd}");
            };
            let merged = tokens.merge(&OAuthCredential::default(), NOW).unwrap();
            assert_eq!(merged.refresh.expose(), "new", "{id}: {odd}");
        }
    }
}
