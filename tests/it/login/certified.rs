//! The whole program against a third-party, certified authorization server.

use e2e::peer::{LOGIN, Peer, TOKEN};
use e2e::user::User;
use serde_json::json;

const PROFILE: &str = "peer:alice@example.test";

#[test]
fn a_login_by_callback_gives_a_token_the_server_takes() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home_of_alice();
    let run = sandbox.run(&TOKEN);
    let whose = server.userinfo(run.expect_code(0).line()).unwrap();
    assert_eq!(whose["sub"], sandbox.profile("main", PROFILE)["accountId"]);
}

#[test]
fn a_login_by_paste_works_there_too() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home();
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    let redirect = User::named("alice").walk(&url).unwrap();
    login.type_in(&format!("{redirect}\n"));
    login.finish().expect_code(0);
    assert!(server.userinfo(sandbox.run(&TOKEN).line()).is_some());
}

#[test]
fn a_login_in_two_steps_works_there_too() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home();
    let start = ["models", "auth", "login", "--provider", "peer", "--start", "--json"];
    let start = sandbox.run(&start).expect_code(0).json();
    let redirect = User::named("alice").walk(start["url"].as_str().unwrap()).unwrap();
    let finish = ["models", "auth", "login", "--finish", "-"];
    sandbox.run_with_input(&finish, &redirect).expect_code(0);
    assert!(server.userinfo(sandbox.run(&TOKEN).line()).is_some());
}

#[test]
fn a_refused_consent_stores_nothing() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home();
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    User::named("alice").who_refuses().visit(&url).unwrap();
    let login = login.finish();
    login.expect_code(4);
    assert!(login.stderr.contains("access_denied"), "{login:#?}");
    assert_eq!(server.counters()["success"], json!({}));
}

const DEVICE: [&str; 7] =
    ["models", "auth", "login", "--provider", "peer", "--device-code", "--no-browser"];

#[test]
fn a_login_by_device_code_gives_a_token_the_server_takes_and_renews() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home();
    let mut login = sandbox.start(&DEVICE);
    let (address, code) = login.device_code();
    User::named("alice").enter_code(&address, &code).unwrap();
    login.finish().expect_code(0);
    let run = sandbox.run(&TOKEN);
    let whose = server.userinfo(run.expect_code(0).line()).unwrap();
    assert_eq!(whose["sub"], sandbox.profile("main", PROFILE)["accountId"]);
    sandbox.expire("main", PROFILE);
    assert!(server.userinfo(sandbox.run(&TOKEN).expect_code(0).line()).is_some());
    let counters = server.counters();
    assert_eq!(counters["success"]["refresh_token"], 1, "{counters}");
}

#[test]
fn a_device_login_in_two_steps_is_finished_by_its_id() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home();
    let start = [&DEVICE[..], &["--start", "--json"]].concat();
    let begun = sandbox.run(&start).expect_code(0).json();
    let (address, code) = (&begun["verificationUri"], &begun["userCode"]);
    User::named("alice").enter_code(address.as_str().unwrap(), code.as_str().unwrap()).unwrap();
    let id = begun["loginId"].as_str().unwrap();
    sandbox.run(&["models", "auth", "login", "--finish", id]).expect_code(0);
    assert!(server.userinfo(sandbox.run(&TOKEN).line()).is_some());
    sandbox.run(&["models", "auth", "login", "--finish", id]).expect_code(64);
}

#[test]
fn a_refused_device_code_stores_nothing() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home();
    let mut login = sandbox.start(&DEVICE);
    let (address, code) = login.device_code();
    let _page = User::named("alice").who_refuses().enter_code(&address, &code);
    let login = login.finish();
    login.expect_code(4);
    assert!(login.stderr.contains("access_denied"), "{login:#?}");
    assert!(!sandbox.store_path("main").exists());
}

#[test]
fn a_device_code_that_nobody_enters_ends() {
    let server = Peer::oidc_provider(&["--device-ttl", "4"]);
    let sandbox = server.home();
    let login = sandbox.run(&DEVICE);
    login.expect_code(4);
    assert!(login.stderr.contains("was not entered in time"), "{login:#?}");
}

#[test]
fn a_probe_asks_who_it_is_and_renews_nothing() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home_of_alice();
    let probe = ["models", "status", "--probe", "--json"];
    let told = sandbox.run(&probe).expect_code(0).json();
    let result = &told["auth"]["probes"]["results"][0];
    assert_eq!((&result["profileId"], &result["status"]), (&json!(PROFILE), &json!("ok")));
    sandbox.expire("main", PROFILE);
    let told = sandbox.run(&probe).expect_code(0).json();
    assert_eq!(told["auth"]["probes"]["results"][0]["status"], "unknown");
    assert_eq!(server.counters()["success"]["refresh_token"], json!(null));
}

/// RFC 9207: a response that names another issuer, or none although the metadata promised one, is
/// not believed.
#[test]
fn the_issuer_names_itself_in_its_response_and_another_name_is_refused() {
    let server = Peer::oidc_provider(&[]);
    let encoded = server.url().replace(':', "%3A").replace('/', "%2F");
    let own = format!("iss={encoded}");
    let others = ["iss=https%3A%2F%2Fevil.example", "x=y"];
    for instead in [own.as_str()].into_iter().chain(others) {
        let is_own = instead == own;
        let sandbox = server.home();
        let mut login = sandbox.start(&LOGIN);
        let redirect = User::named("alice").walk(&login.authorization_url()).unwrap();
        assert!(redirect.contains(&own), "{redirect}");
        login.type_in(&format!("{}\n", redirect.replace(&own, instead)));
        if is_own {
            login.finish().expect_code(0);
        } else {
            // It is no response to this login, which goes on.
            while !login.next_line().expect("it is refused").contains("did not work") {}
            login.kill_only();
        }
        assert_eq!(sandbox.store_path("main").exists(), is_own);
    }
}

#[test]
fn every_refresh_rotates_and_reuse_is_never_detected() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home_of_alice();
    let mut refresh_tokens = vec![sandbox.profile("main", PROFILE)["refresh"].clone()];
    for _ in 0..3 {
        sandbox.expire("main", PROFILE);
        let run = sandbox.run(&TOKEN);
        assert!(server.userinfo(run.expect_code(0).line()).is_some());
        let next = sandbox.profile("main", PROFILE)["refresh"].clone();
        assert!(!refresh_tokens.contains(&next), "the refresh token did not change");
        refresh_tokens.push(next);
    }
    let counters = server.counters();
    assert_eq!(counters["success"]["refresh_token"], 3);
    assert_eq!((&counters["error"], &counters["grants_revoked"]), (&json!({}), &json!(0)));
}

#[test]
fn many_processes_on_one_expired_token_send_one_request() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home_of_alice();
    sandbox.expire("main", PROFILE);
    server.configure(&json!({"delayMs": 300}));
    let runs = sandbox.run_many(32, &TOKEN);
    let first = runs[0].expect_code(0).line();
    assert!(runs.iter().all(|run| run.code == Some(0) && run.line() == first));
    let counters = server.counters();
    assert_eq!(counters["success"]["refresh_token"], 1, "{counters}");
    assert_eq!(counters["token_inflight_max"], 1, "{counters}");
    assert_eq!(counters["grants_revoked"], 0, "{counters}");
}

/// The control of the two tests above: the server does revoke everything when a used-up token is
/// sent again.
#[test]
fn a_spent_token_sent_by_hand_revokes_the_grant() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home_of_alice();
    let spent = sandbox.profile("main", PROFILE)["refresh"].as_str().unwrap().to_owned();
    sandbox.expire("main", PROFILE);
    sandbox.run(&TOKEN).expect_code(0);
    assert_eq!(server.refresh_by_hand(&spent), 400);
    assert_eq!(server.counters()["grants_revoked"], 1);
    sandbox.expire("main", PROFILE);
    sandbox.run(&TOKEN).expect_code(4);
}

#[test]
fn a_logout_revokes_the_grant_and_removes_the_profile() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home_of_alice();
    let refresh = sandbox.profile("main", PROFILE)["refresh"].as_str().unwrap().to_owned();
    sandbox.run(&["models", "auth", "logout", PROFILE]).expect_code(0);
    assert!(sandbox.profile("main", PROFILE).is_null());
    assert_eq!(server.refresh_by_hand(&refresh), 400);
    sandbox.run(&TOKEN).expect_code(3);
}

/// The control of the test above: before a logout the same request succeeds.
#[test]
fn a_live_token_sent_by_hand_is_granted() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home_of_alice();
    let refresh = sandbox.profile("main", PROFILE)["refresh"].as_str().unwrap().to_owned();
    assert_eq!(server.refresh_by_hand(&refresh), 200);
}
