//! Killed in the middle of a refresh: the foreground process, or all processes. The next run
//! recovers without the user.

use e2e::issuer::{Fault, Issuer};
use e2e::sandbox::{Sandbox, children_of, kill};

const PROFILE: &str = "demo:alice";
const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", "demo"];

/// A refresh whose request was carried out and whose response the issuer holds; then the foreground
/// process is killed, and with `all` also the process that does the work.
fn killed_while_the_response_is_held(issuer: &Issuer, all: bool) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.seed_expired(issuer, "demo", &["alice"]);
    issuer.inject(Fault::HoldAnswer);
    let run = sandbox.start(&TOKEN);
    issuer.wait_for_outcome("held");
    let children = children_of(run.id());
    assert!(!children.is_empty(), "the refresh runs in a child of its own");
    if all {
        children.into_iter().for_each(kill);
    }
    run.kill_only();
    sandbox
}

#[test]
fn a_killed_foreground_loses_nothing() {
    let issuer = Issuer::start();
    let sandbox = killed_while_the_response_is_held(&issuer, false);
    issuer.release();
    let next = sandbox.run(&TOKEN);
    assert_eq!(sandbox.profile("main", PROFILE)["access"], next.expect_code(0).line());
    assert_eq!(issuer.requests("refresh_token"), 1);
}

#[test]
fn a_refresh_killed_with_all_its_processes_is_replayed_where_there_is_grace() {
    let issuer = Issuer::start();
    issuer.set(|policy| policy.grace = true);
    let sandbox = killed_while_the_response_is_held(&issuer, true);
    issuer.release();
    let next = sandbox.run(&TOKEN);
    assert_eq!(sandbox.profile("main", PROFILE)["access"], next.expect_code(0).line());
    assert_eq!(issuer.requests("refresh_token"), 2);
    assert_eq!(issuer.outcomes("reuse"), 0);
}

/// The control: the kill did hit the work, since without grace the replay is refused.
#[test]
fn a_refresh_killed_with_all_its_processes_is_lost_where_there_is_no_grace() {
    let issuer = Issuer::start();
    let sandbox = killed_while_the_response_is_held(&issuer, true);
    issuer.release();
    sandbox.run(&TOKEN).expect_code(4);
    assert_eq!(issuer.outcomes("reuse"), 1);
}

#[test]
fn a_killed_refresh_that_was_not_carried_out_is_sent_again() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice"]);
    issuer.inject(Fault::HoldRequest);
    let run = sandbox.start(&TOKEN);
    issuer.wait_for_outcome("held");
    children_of(run.id()).into_iter().for_each(kill);
    run.kill_only();
    let herd = sandbox.run_many(16, &TOKEN);
    for run in &herd {
        assert_eq!(run.expect_code(0).line(), herd[0].line());
    }
    assert_eq!(issuer.requests("refresh_token"), 2);
}
