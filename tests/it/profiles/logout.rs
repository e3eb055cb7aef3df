//! Logout: revoked if the issuer supports it, always removed, and other holders of the login are
//! named.

use e2e::issuer::{Fault, Issuer, TokenState};
use e2e::sandbox::Sandbox;

const PROFILE: &str = "demo:alice";
const LOGOUT: [&str; 4] = ["models", "auth", "logout", PROFILE];

fn home(issuer: &Issuer) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let tokens = sandbox.seed_expired(issuer, "demo", &["alice", "bob"]);
    (sandbox, tokens[0].refresh.clone())
}

#[test]
fn a_logout_revokes_the_login_and_leaves_the_others_alone() {
    let issuer = Issuer::start();
    let (sandbox, token) = home(&issuer);
    let bob = sandbox.profile("main", "demo:bob");
    sandbox.run(&LOGOUT).expect_code(0);
    assert_eq!(issuer.state_of(&token), TokenState::Revoked);
    assert!(sandbox.profile("main", PROFILE).is_null());
    assert_eq!(sandbox.profile("main", "demo:bob"), bob);
}

#[test]
fn a_logout_that_could_not_be_revoked_removes_all_the_same_and_says_so() {
    let issuer = Issuer::start();
    let (sandbox, token) = home(&issuer);
    for _ in 0..4 {
        issuer.inject_at("/revoke", Fault::status(503, "{}"));
    }
    let run = sandbox.run(&LOGOUT);
    assert!(run.expect_code(5).stderr.contains("not revoked"), "{run:#?}");
    assert_eq!(issuer.state_of(&token), TokenState::Live);
    assert!(sandbox.profile("main", PROFILE).is_null());
}

#[test]
fn an_issuer_without_revocation_is_no_failure() {
    let issuer = Issuer::start();
    issuer.set(|policy| policy.revocation = false);
    let (sandbox, _) = home(&issuer);
    sandbox.run(&LOGOUT).expect_code(0);
    assert!(sandbox.profile("main", PROFILE).is_null());
}

#[test]
fn a_logout_names_the_other_agents_that_hold_the_login() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    sandbox.seed_store("work", &sandbox.read_store("main"));
    let run = sandbox.run(&LOGOUT);
    assert!(run.expect_code(0).stderr.contains("agents/work"), "{run:#?}");
    assert!(sandbox.profile("work", PROFILE).is_object());
    let token = ["models", "auth", "token", "--profile", PROFILE, "--agent", "work"];
    sandbox.run(&token).expect_code(4);
    assert_eq!(issuer.requests("refresh_token"), 0, "a revoked token was sent");
}

#[test]
fn a_login_after_a_logout_works() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    sandbox.run(&LOGOUT).expect_code(0);
    sandbox.log_in("demo", &["--profile-id", PROFILE]).expect_code(0);
    sandbox.run(&["models", "auth", "token", "--profile", PROFILE]).expect_code(0);
}

#[test]
fn a_logout_of_nothing_is_exit_3() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    sandbox.run(&["models", "auth", "logout", "demo:nobody"]).expect_code(3);
}
