//! Device login: when it polls, and what ends it (RFC 8628 §3.5).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_providers::{DeviceLogin, Flow, Login, LoginError, device_login};
use auth_store::Credential;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{NOW, Responses, Time, acme, block_on, nobody, provider};

/// `acme` with a device endpoint, without an account in its responses.
fn manifest() -> Value {
    let mut manifest = acme();
    manifest["flows"] = json!(["device_code"]);
    manifest["endpoints"]["device_authorization"] = json!("https://acme.example/device");
    manifest["scopes"] = json!(["a", "b c"]);
    manifest["identity"] = json!(null);
    manifest
}

fn code() -> Value {
    json!({"device_code": "Zk3", "user_code": "WDJB-MJHT", "expires_in": 1800, "interval": 5,
        "verification_uri": "https://acme.example/go"})
}

fn pending() -> (u16, Value) {
    (400, json!({"error": "authorization_pending"}))
}

fn slow_down() -> (u16, Value) {
    (400, json!({"error": "slow_down"}))
}

fn tokens() -> (u16, Value) {
    (
        200,
        json!({"access_token": "a", "refresh_token": "r", "expires_in": 600, "token_type": "bearer"}),
    )
}

/// Logs in with these responses to polls; returns when each poll was sent, in seconds since the
/// code.
fn run(code: Value, polls: Vec<(u16, Value)>) -> (Result<Login, LoginError>, Vec<u64>) {
    let time = Time::default();
    let sent_at = Arc::new(Mutex::new(Vec::new()));
    let mut http = Responses::new(std::iter::once((200, code)).chain(polls));
    let (clock, log) = (time.clone(), Arc::clone(&sent_at));
    http.on_request = Box::new(move || {
        log.lock().unwrap().push(auth_providers::Waiting::elapsed(&clock).as_secs());
    });
    let acme = provider(&manifest());
    let user = nobody();
    let login = device_login(&acme, Flow::DeviceCode, [1; 64], &http, &user, &NOW, &time);
    let outcome = block_on(login);
    let polls = sent_at.lock().unwrap()[1..].to_vec();
    (outcome, polls)
}

fn times(polls: Vec<(u16, Value)>) -> Vec<u64> {
    let (outcome, times) = run(code(), polls);
    outcome.unwrap();
    times
}

#[test]
fn the_first_poll_waits_for_the_interval_and_so_does_each_later_one() {
    assert_eq!(times(vec![tokens()]), [5]);
    assert_eq!(times(vec![pending(), pending(), tokens()]), [5, 10, 15]);
}

#[test]
fn without_an_interval_it_is_five_seconds() {
    let mut code = code();
    code.as_object_mut().unwrap().remove("interval");
    assert_eq!(run(code.clone(), vec![pending(), tokens()]).1, [5, 10]);
    for odd in [json!(0), json!(-3), json!("soon"), json!(null)] {
        code["interval"] = odd;
        assert_eq!(run(code.clone(), vec![tokens()]).1, [5], "{code}");
    }
    code["interval"] = json!("7");
    assert_eq!(run(code, vec![tokens()]).1, [7]);
}

#[test]
fn slow_down_adds_five_seconds_to_this_and_all_later_pauses() {
    let polls = vec![slow_down(), pending(), slow_down(), pending(), tokens()];
    assert_eq!(times(polls), [5, 15, 25, 40, 55]);
}

#[test]
fn a_server_that_wants_more_than_five_seconds_gets_more() {
    let polls = vec![(200, json!({"error": "slow_down", "interval": 30})), tokens()];
    assert_eq!(times(polls), [5, 35]);
}

#[test]
fn a_connection_in_trouble_is_tried_less_and_less_often_until_it_responses() {
    let lost = || (0, json!(null));
    let polls = vec![lost(), lost(), lost(), lost(), lost(), lost(), pending(), tokens()];
    assert_eq!(times(polls), [5, 15, 35, 75, 135, 195, 255, 260]);
}

#[test]
fn a_server_in_trouble_is_asked_again_and_one_that_makes_no_sense_only_for_a_while() {
    let down = || (503, json!("<html>"));
    assert_eq!(times(vec![down(), down(), tokens()]), [5, 15, 35]);
    let busy = (500, json!({"error": "server_error"}));
    assert_eq!(times(vec![busy, tokens()]), [5, 15]);
    let (outcome, polls) = run(code(), (0..6).map(|_| (404, json!("<html>"))).collect());
    assert!(matches!(outcome, Err(LoginError::Unavailable { .. })), "{outcome:?}");
    assert_eq!(polls.len(), 6);
}

#[test]
fn what_is_final_ends_the_login_at_once() {
    for (status, error, is_end) in [
        (400, "expired_token", true),
        (200, "expired_token", true),
        (400, "access_denied", false),
        (403, "access_denied", false),
        (200, "incorrect_device_code", false),
        (400, "invalid_grant", false),
        (401, "invalid_client", false),
        (400, "something_new", false),
    ] {
        let (outcome, polls) = run(code(), vec![pending(), (status, json!({"error": error}))]);
        let error_seen = outcome.unwrap_err();
        let is_right = match &error_seen {
            LoginError::CodeEnded => is_end,
            LoginError::Refused { code, .. } => !is_end && code == error,
            _ => false,
        };
        assert!(is_right, "{error}: {error_seen}");
        assert_eq!(polls, [5, 10]);
    }
}

#[test]
fn nobody_is_asked_after_the_code_has_ended() {
    let mut code = code();
    code["expires_in"] = json!(17);
    let (outcome, polls) = run(code, (0..9).map(|_| pending()).collect());
    assert!(matches!(outcome, Err(LoginError::CodeEnded)), "{outcome:?}");
    assert_eq!(polls, [5, 10, 15]);
}

#[test]
fn the_request_and_the_polls_are_the_same_to_the_byte() {
    let http = Responses::new([(200, code()), tokens()]);
    let mut manifest = manifest();
    manifest["authorize_params"] = json!({"audience": "api"});
    manifest["token_params"] = json!({"resource": "r"});
    let (acme, user, time) = (provider(&manifest), nobody(), Time::default());
    let login = device_login(&acme, Flow::DeviceCode, [1; 64], &http, &user, &NOW, &time);
    let login = block_on(login).unwrap();
    let asked = http.asked();
    assert_eq!(asked[0].url, "https://acme.example/device");
    assert_eq!(asked[0].body, "scope=a+b+c&client_id=acme-cli&audience=api");
    assert_eq!(asked[1].url, "https://acme.example/token");
    assert_eq!(
        asked[1].body,
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=Zk3\
         &client_id=acme-cli&resource=r"
    );
    for asked in asked {
        assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(asked.header("accept"), Some("application/json"));
        assert_eq!(asked.header("accept-encoding"), Some("identity"));
        assert_eq!(asked.headers.len(), 3);
    }
    let Credential::OAuth(oauth) = login.credential else { panic!() };
    assert_eq!((oauth.access.expose(), oauth.refresh.expose()), ("a", "r"));
    assert_eq!(oauth.token_endpoint.as_deref(), Some("https://acme.example/token"));
    assert_eq!(oauth.expires, Some(NOW.plus(Duration::from_mins(10))));
}

#[test]
fn a_code_without_what_a_user_needs_is_none() {
    for missing in ["device_code", "user_code", "verification_uri"] {
        let mut code = code();
        code.as_object_mut().unwrap().remove(missing);
        let outcome = run_code(&code);
        assert!(matches!(outcome, Err(LoginError::Unavailable { .. })), "{missing}: {outcome:?}");
    }
    for hostile in ["http://acme.example/go", "javascript:alert(1)", "https://u:p@acme.example/"] {
        let mut code = code();
        code["verification_uri"] = json!(hostile);
        assert!(run_code(&code).is_err(), "{hostile}");
    }
    let refused = run_response(400, &json!({"error": "unauthorized_client"}));
    assert!(matches!(refused, Err(LoginError::Refused { .. })), "{refused:?}");
    let down = run_response(503, &json!("down"));
    assert!(matches!(down, Err(LoginError::Unavailable { .. })), "{down:?}");
}

fn run_code(code: &Value) -> Result<DeviceLogin, LoginError> {
    run_response(200, code)
}

fn run_response(status: u16, body: &Value) -> Result<DeviceLogin, LoginError> {
    let http = Responses::new([(status, body.clone())]);
    let acme = provider(&manifest());
    block_on(DeviceLogin::begin(&acme, Flow::DeviceCode, [1; 64], &http, &NOW))
}

#[test]
fn a_code_cannot_write_to_the_terminal_and_only_the_providers_own_pages_are_opened() {
    let mut code = code();
    code["user_code"] = json!("AB\u{1b}[31m-12\u{202e}");
    code["verification_uri_complete"] = json!("https://acme.example/go?c=AB-12");
    let login = run_code(&code).unwrap();
    let prompt = login.prompt();
    assert_eq!(prompt.user_code, "AB[31m-12");
    assert_eq!(prompt.openable, Some("https://acme.example/go?c=AB-12"));
    code["verification_uri_complete"] = json!("https://evil.example/go?c=AB-12");
    let login = run_code(&code).unwrap();
    assert_eq!(login.prompt().openable, None);
    assert_eq!(login.prompt().verification_uri_complete, Some("https://evil.example/go?c=AB-12"));
}

#[test]
fn a_provider_without_that_flow_has_no_such_login() {
    let http = Responses::new([]);
    let acme = provider(&acme());
    let login = DeviceLogin::begin(&acme, Flow::DeviceCode, [1; 64], &http, &NOW);
    assert!(matches!(block_on(login), Err(LoginError::NoSuchFlow { .. })));
}

#[test]
fn the_device_code_is_in_no_message() {
    let polls = vec![(400, json!({"error": "dev_gone", "error_description": "no CANARY"}))];
    let mut code = code();
    code["device_code"] = json!("CANARY");
    let error = run(code.clone(), polls).0.unwrap_err();
    assert_eq!(error.to_string(), "the provider refused the code: dev_gone (no REDACTED)");
    assert!(!format!("{:?}", run_code(&code).unwrap()).contains("CANARY"));
}

proptest! {
    /// Whatever the server responds, no poll is sent before the interval, or after the code
    /// expired.
    #[test]
    fn polls_keep_their_distance(
        interval in 1_u64..20,
        kinds in proptest::collection::vec(0_u8..4, 0..12),
    ) {
        let mut code = code();
        code["interval"] = json!(interval);
        code["expires_in"] = json!(600);
        let mut wanted = interval;
        let mut shortest = vec![interval];
        let polls: Vec<_> = kinds.iter().map(|kind| {
            let response = match kind {
                0 => pending(),
                1 => { wanted += 5; slow_down() }
                2 => (0, json!(null)),
                _ => (503, json!("")),
            };
            shortest.push(wanted);
            response
        }).chain(std::iter::once(tokens())).collect();
        let (_, times) = run(code, polls);
        let mut before = 0;
        for (time, distance) in times.iter().zip(shortest) {
            prop_assert!(time - before >= distance, "{times:?}");
            prop_assert!(*time < 600);
            before = *time;
        }
    }
}

#[test]
fn responses_in_the_form_of_a_form_are_understood() {
    let code = "device_code=Zk3&user_code=WDJB-MJHT&expires_in=1800&interval=5\
        &verification_uri=https%3A%2F%2Facme.example%2Fgo";
    let polls = vec![
        (200, json!("error=authorization_pending&error_description=not+yet")),
        (200, json!("error=slow_down&interval=10")),
        (203, json!("access_token=a&refresh_token=r&expires_in=600&token_type=bearer")),
    ];
    let (login, times) = run(json!(code), polls);
    let Credential::OAuth(credential) = login.unwrap().credential else { panic!() };
    assert_eq!((credential.access.expose(), credential.refresh.expose()), ("a", "r"));
    assert_eq!(times, [5, 10, 20]);
}

#[test]
fn a_web_page_is_called_one_wherever_it_comes() {
    let page = || json!("<html><body>Sign in to our hotel</body></html>");
    let says = |error: LoginError, status: u16| {
        assert!(matches!(error, LoginError::Unavailable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("with a web page (status {status})")), "{text}");
    };
    for status in [200, 302, 403, 503] {
        // In the place of the code, and of all polls.
        let http = Responses::new([(status, page())]);
        let (acme, time, user) = (provider(&manifest()), Time::default(), nobody());
        let login = device_login(&acme, Flow::DeviceCode, [1; 64], &http, &user, &NOW, &time);
        says(block_on(login).unwrap_err(), status);
        let polls = std::iter::repeat_with(|| (status, page())).take(6).collect();
        says(run(code(), polls).0.unwrap_err(), status);
        // One that passes costs nothing.
        run(code(), vec![(status, page()), pending(), tokens()]).0.unwrap();
    }
}
