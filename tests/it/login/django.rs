//! The whole program against another third-party authorization server, in another language and with
//! another reading of the standards. Its issuer has a path, its ID token has no e-mail address, and
//! it needs no `offline_access`.

use e2e::peer::{LOGIN, Peer, TOKEN};
use e2e::sandbox::Sandbox;
use e2e::user::User;
use serde_json::{Value, json};

const PROFILE: &str = "peer:default";

/// How often the token endpoint responded with this status.
fn replies(server: &Peer, status: u16) -> u64 {
    server.counters()[format!("POST /o/token/ {status}")].as_u64().unwrap_or_default()
}

fn refresh_token(sandbox: &Sandbox) -> String {
    sandbox.profile("main", PROFILE)["refresh"].as_str().unwrap().to_owned()
}

#[test]
fn a_login_by_callback_or_by_paste_gives_a_token_the_server_takes() {
    let server = Peer::django(&[]);
    let sandbox = server.home_of_alice();
    let whose = server.userinfo(sandbox.run(&TOKEN).expect_code(0).line()).unwrap();
    let profile = sandbox.profile("main", PROFILE);
    assert_eq!((&whose["sub"], &profile["issuer"]), (&profile["accountId"], &json!(server.url())));

    let sandbox = server.home();
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    let redirect = User::named("alice").walk(&url).unwrap();
    login.type_in(&format!("{redirect}\n"));
    login.finish().expect_code(0);
    assert!(server.userinfo(sandbox.run(&TOKEN).line()).is_some());
}

#[test]
fn a_login_in_two_steps_works_and_a_refused_consent_stores_nothing() {
    let server = Peer::django(&[]);
    let sandbox = server.home();
    let start = ["models", "auth", "login", "--provider", "peer", "--start", "--json"];
    let begun = sandbox.run(&start).expect_code(0).json();
    let redirect = User::named("alice").walk(begun["url"].as_str().unwrap()).unwrap();
    let finish = ["models", "auth", "login", "--finish", "-"];
    sandbox.run_with_input(&finish, &redirect).expect_code(0);
    assert!(server.userinfo(sandbox.run(&TOKEN).line()).is_some());

    let sandbox = server.home();
    let mut login = sandbox.start(&LOGIN);
    let url = login.authorization_url();
    User::named("alice").who_refuses().visit(&url).unwrap();
    let login = login.finish();
    assert!(login.expect_code(4).stderr.contains("access_denied"), "{login:#?}");
    assert!(!sandbox.store_path("main").exists());
}

#[test]
fn a_login_by_device_code_gives_a_token_the_server_takes() {
    let server = Peer::django(&[]);
    let sandbox = Sandbox::new();
    let mut manifest = server.manifest("peer");
    manifest["flows"] = json!(["device_code"]);
    manifest["client_id"] = "tokensink-device".into();
    // Neither of its two metadata documents names this endpoint.
    let endpoint = format!("{}/device-authorization/", server.url());
    manifest["endpoints"] = json!({"device_authorization": endpoint});
    sandbox.write_manifest("peer", &manifest);
    let mut login = sandbox.start(&LOGIN);
    let (address, code) = login.device_code();
    User::named("alice").enter_code(&address, &code).unwrap();
    login.finish().expect_code(0);
    assert!(server.userinfo(sandbox.run(&TOKEN).expect_code(0).line()).is_some());
}

#[test]
fn every_refresh_rotates_and_many_processes_send_one() {
    let server = Peer::django(&[]);
    let sandbox = server.home_of_alice();
    let before = replies(&server, 200);
    let mut refresh_tokens = vec![refresh_token(&sandbox)];
    for _ in 0..2 {
        sandbox.expire("main", PROFILE);
        let run = sandbox.run(&TOKEN);
        assert!(server.userinfo(run.expect_code(0).line()).is_some());
        let next = refresh_token(&sandbox);
        assert!(!refresh_tokens.contains(&next), "the refresh token did not change");
        refresh_tokens.push(next);
    }
    sandbox.expire("main", PROFILE);
    let runs = sandbox.run_many(16, &TOKEN);
    let first = runs[0].expect_code(0).line();
    assert!(runs.iter().all(|run| run.code == Some(0) && run.line() == first));
    assert_eq!((replies(&server, 200) - before, replies(&server, 400)), (3, 0));
}

/// The control of the test above: this server, too, ends a login when a used-up token is sent
/// again.
#[test]
fn a_spent_token_sent_by_hand_ends_the_login() {
    let server = Peer::django(&[]);
    let sandbox = server.home_of_alice();
    let spent = refresh_token(&sandbox);
    sandbox.expire("main", PROFILE);
    sandbox.run(&TOKEN).expect_code(0);
    assert_eq!(server.refresh_by_hand(&spent), 400);
    sandbox.expire("main", PROFILE);
    sandbox.run(&TOKEN).expect_code(4);
    assert!(sandbox.profile("main", PROFILE).is_object());
}

#[test]
fn a_logout_revokes_the_login_and_removes_the_profile() {
    let server = Peer::django(&[]);
    let sandbox = server.home_of_alice();
    let (refresh, access) = (refresh_token(&sandbox), sandbox.run(&TOKEN).line().to_owned());
    // The control: it is valid before.
    assert!(server.userinfo(&access).is_some());
    sandbox.run(&["models", "auth", "logout", PROFILE]).expect_code(0);
    assert_eq!(sandbox.profile("main", PROFILE), Value::Null);
    assert_eq!(server.refresh_by_hand(&refresh), 400);
    assert!(server.userinfo(&access).is_none());
}
