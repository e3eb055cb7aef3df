//! When another account is tried, and when it must not be.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::{Provider, Setup, http};

const GOOD: &str = "200\n\n{\"fine\":true}";
const LIMIT: &str = "429\nretry-after: 60\n\n{}";

/// Checks the client's status, and the accounts that were used, if the first account responds like
/// this.
#[track_caller]
fn check(first: &str, status: u16, asked: &[&str]) {
    let provider = Provider::by_secret(&[("a", first), ("b", GOOD), ("c", GOOD)]);
    let gateway = Setup::keys(&["a", "b", "c"]).start(provider.address);
    let got = gateway.ask("{\"model\":\"m\"}");
    assert_eq!(
        (got.status, provider.secrets()),
        (status, asked.iter().map(|it| (*it).to_owned()).collect()),
        "{first}"
    );
}

#[test]
fn a_profile_at_its_limit_is_followed_by_the_next_and_left_alone() {
    let provider = Provider::by_secret(&[("a", LIMIT), ("b", GOOD)]);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let got = gateway.ask("{}");
    assert_eq!((got.status, got.body.as_str()), (200, "{\"fine\":true}"));
    assert_eq!(provider.secrets(), ["a", "b"]);
    assert_eq!(gateway.ask("{}").status, 200);
    assert_eq!(provider.secrets(), ["a", "b", "b"]);
}

#[test]
fn answers_of_the_account_go_to_the_next_one() {
    for reply in [
        LIMIT,
        "429\n\n{\"error\":{\"code\":\"insufficient_quota\"}}",
        "402\n\n{\"error\":{\"message\":\"pay\"}}",
        "401\n\n{\"error\":{\"type\":\"authentication_error\"}}",
        "403\n\n{\"error\":{\"type\":\"permission_error\"}}",
        "429\nx-should-retry: true\n\n{}",
        "529\n\n{\"error\":{\"type\":\"overloaded_error\"}}",
        "503\n\n{}",
    ] {
        check(reply, 200, &["a", "b"]);
    }
}

#[test]
fn other_answers_pass_and_nothing_is_repeated() {
    for (reply, status) in [
        ("500\n\n{}", 500),
        ("502\n\n{}", 502),
        ("504\n\n{}", 504),
        ("408\n\n{}", 408),
        ("400\n\n{\"error\":{\"type\":\"invalid_request_error\"}}", 400),
        ("404\n\n{\"error\":{\"code\":\"model_not_found\"}}", 404),
        ("422\n\n{}", 422),
        ("403\ncontent-type: text/html\n\n<html>wall</html>", 403),
        ("429\ncontent-type: text/html\n\n<html>wall</html>", 429),
        ("503\n\n<!doctype html>", 503),
        ("302\nlocation: https://elsewhere.example\n\n", 302),
    ] {
        check(reply, status, &["a"]);
    }
}

#[test]
fn nobody_is_charged_for_a_wall_or_a_fault() {
    for reply in ["403\n\n<html>", "500\n\n{}", "400\n\n{}", "429\nx-should-retry: true\n\n{}"] {
        let provider = Provider::by_secret(&[("a", reply), ("b", GOOD)]);
        let gateway = Setup::keys(&["a", "b"]).start(provider.address);
        gateway.ask("{}");
        assert_eq!(gateway.gateway.accounts().usage("acme:a").cooldown_until, None, "{reply}");
        // Another conversation uses it first again: the control is the limit above.
        gateway.post("/acme/responses", "session-id: another\r\n", "{}");
        assert_eq!(provider.secrets().iter().filter(|it| *it == "a").count(), 2, "{reply}");
    }
}

#[test]
fn an_error_in_a_body_with_a_good_status_is_one_where_the_provider_does_that() {
    let refused = "200\ncontent-type: application/json\n\n{\"base_resp\":{\"status_code\":1008}}";
    for (looks, served) in [(true, "b"), (false, "a")] {
        let provider = Provider::by_secret(&[("a", refused), ("b", GOOD)]);
        let api = serde_json::json!({"error_in_success": looks});
        let gateway = Setup::keys(&["a", "b"]).api(api).start(provider.address);
        assert_eq!(gateway.ask("{}").status, 200);
        assert_eq!(provider.secrets().last().unwrap(), served);
    }
}

#[test]
fn only_paths_that_may_be_repeated_are() {
    let provider = Provider::by_secret(&[("a", LIMIT), ("b", GOOD)]);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.post("/acme/files", "", "{}").status, 429);
    assert_eq!(provider.secrets(), ["a"]);
}

#[test]
fn an_overloaded_provider_is_asked_once_more_and_not_by_everybody() {
    let busy = "529\n\n{\"error\":{\"type\":\"overloaded_error\"}}";
    let provider = Provider::by_secret(&[("a", busy), ("b", busy), ("c", GOOD)]);
    let gateway = Setup::keys(&["a", "b", "c"]).start(provider.address);
    assert_eq!(gateway.ask("{}").status, 529);
    assert_eq!(provider.secrets(), ["a", "b"]);
    // Seconds later it is tried again, no matter how often this happened.
    for _ in 0..5 {
        gateway.clock.advance(Duration::from_secs(6));
        gateway.ask("{}");
    }
    assert_eq!(provider.secrets()[2..4], ["a", "b"]);
    assert_eq!(provider.secrets().len(), 12);
    assert_eq!(gateway.gateway.accounts().usage("acme:a").error_count, None);
}

#[test]
fn a_refused_login_is_refreshed_once_and_the_request_repeated() {
    let refused = "401\n\n{\"error\":{\"type\":\"authentication_error\"}}";
    let provider = Provider::by_secret(&[("old", refused), ("new", GOOD)]);
    let gateway = Setup::logins(&[&["old", "new"], &["other"]]).start(provider.address);
    assert_eq!(gateway.ask("{}").status, 200);
    assert_eq!(provider.secrets(), ["old", "new"]);
}

#[test]
fn a_login_that_is_refused_twice_is_followed_by_the_next_without_a_second_refresh() {
    let refused = "401\n\n{\"error\":{\"type\":\"authentication_error\"}}";
    let provider = Provider::by_secret(&[
        ("old", refused),
        ("new", refused),
        ("other", refused),
        ("third", GOOD),
    ]);
    let logins: [&[&str]; 3] = [&["old", "new", "newer"], &["other", "unused"], &["third"]];
    let setup = Setup::logins(&logins).limits(|limits| limits.attempts = 9);
    assert_eq!(setup.start(provider.address).ask("{}").status, 200);
    assert_eq!(provider.secrets(), ["old", "new", "other", "third"]);
}

#[test]
fn a_refresh_that_yields_the_same_token_repeats_nothing() {
    let refused = "401\n\n{\"error\":{\"type\":\"authentication_error\"}}";
    let provider = Provider::by_secret(&[("old", refused), ("other", GOOD)]);
    let gateway = Setup::logins(&[&["old", "old"], &["other"]]).start(provider.address);
    assert_eq!(gateway.ask("{}").status, 200);
    assert_eq!(provider.secrets(), ["old", "other"]);
}

#[test]
fn three_attempts_are_the_most_and_the_last_error_goes_to_the_client() {
    let own = "429\nretry-after: 60\nx-request-id: r4\n\n{\"error\":{\"message\":\"own words\"}}";
    let provider = Provider::by_secret(&[("a", LIMIT), ("b", LIMIT), ("c", own), ("d", GOOD)]);
    let gateway = Setup::keys(&["a", "b", "c", "d"]).start(provider.address);
    let got = gateway.ask("{}");
    assert_eq!(provider.secrets(), ["a", "b", "c"]);
    assert_eq!((got.status, got.body.as_str()), (429, "{\"error\":{\"message\":\"own words\"}}"));
    assert_eq!(got.header("x-request-id"), Some("r4"));
    // The fourth is available: the client may retry at once.
    assert_eq!(got.header("retry-after"), Some("60"));
    assert_eq!(gateway.ask("{}").status, 200);
}

#[test]
fn where_all_are_in_cooldown_nothing_is_sent_and_the_soonest_end_is_told() {
    let (soon, late) = ("429\nretry-after: 30\n\n{}", "429\nretry-after: 90\n\n{}");
    let provider = Provider::by_secret(&[("a", soon), ("b", late)]);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let got = gateway.ask("{}");
    assert_eq!((got.status, got.header("retry-after")), (429, Some("30")));
    assert_eq!(provider.count(), 2);
    gateway.clock.advance(Duration::from_secs(10));
    let got = gateway.ask("{}");
    assert_eq!((got.status, got.header("retry-after")), (429, Some("20")));
    let body: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    assert_eq!(provider.count(), 2);
    // The control: after the end of the cooldown, it is used.
    gateway.clock.advance(Duration::from_secs(21));
    gateway.ask("{}");
    assert_eq!(provider.secrets()[2], "a");
}

#[test]
fn a_long_cooldown_is_tried_once_in_half_an_hour() {
    let days = "429\nretry-after: 500000\n\n{}";
    let provider = Provider::by_secret(&[("a", days)]);
    let gateway = Setup::keys(&["a"]).start(provider.address);
    gateway.ask("{}");
    gateway.clock.advance(Duration::from_mins(29));
    assert_eq!((gateway.ask("{}").status, provider.count()), (429, 1));
    gateway.clock.advance(Duration::from_mins(2));
    assert_eq!((gateway.ask("{}").status, provider.count()), (429, 2));
    assert_eq!((gateway.ask("{}").status, provider.count()), (429, 2));
}

#[test]
fn a_request_that_was_sent_and_cut_is_never_sent_again() {
    let provider = Provider::start(|_, stream| stream.shutdown(std::net::Shutdown::Both).unwrap());
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.ask("{}").status, 502);
    assert_eq!(provider.secrets(), ["a"]);
    assert_eq!(gateway.gateway.accounts().usage("acme:a").cooldown_until, None);
}

#[test]
fn a_pooled_connection_that_was_dead_costs_nothing() {
    let (tell, closed) = channel();
    let tell = std::sync::Mutex::new(tell);
    let provider = Provider::start(move |_, stream| {
        stream.write_all(http(GOOD).as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        let _ = tell.lock().unwrap().send(());
    });
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    for number in 1..=20 {
        assert_eq!(gateway.ask("{}").status, 200);
        closed.recv().unwrap();
        assert_eq!(provider.count(), number);
    }
}

#[test]
fn a_provider_that_cannot_be_reached_is_nobodys_fault() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Setup::keys(&["a", "b"]).start(address);
    let got = gateway.ask("{}");
    assert_eq!(got.status, 502);
    assert!(got.body.contains("nothing was sent"), "{}", got.body);
    assert_eq!(gateway.gateway.accounts().usage("acme:a").cooldown_until, None);
}

#[test]
fn no_attempt_begins_after_the_time_for_them() {
    let replies = [("a", LIMIT), ("b", GOOD)];
    let provider = Provider::by_secret(&replies);
    let setup = Setup::keys(&["a", "b"]).limits(|limits| limits.attempts_within = Duration::ZERO);
    assert_eq!(setup.start(provider.address).ask("{}").status, 429);
    assert_eq!(provider.secrets(), ["a"]);
}

#[test]
fn a_limit_of_one_model_leaves_the_others_alone() {
    let provider = Provider::start(|request, stream| {
        let is_big = request.body == b"{\"model\":\"big\"}" && request.secret() == "a";
        let limit = "429\nanthropic-ratelimit-unified-7d_oi-status: rejected\nanthropic-ratelimit-unified-7d_oi-reset: 1769652000\n\n{}";
        stream.write_all(http(if is_big { limit } else { GOOD }).as_bytes()).unwrap();
    });
    let gateway = Setup::keys(&["a", "b"])
        .api(serde_json::json!({"limits": "anthropic"}))
        .start(provider.address);
    for model in ["big", "big", "small"] {
        let session = format!("session-id: {model}\r\n");
        let body = format!("{{\"model\":\"{model}\"}}");
        assert_eq!(gateway.post("/acme/responses", &session, &body).status, 200);
    }
    assert_eq!(provider.secrets(), ["a", "b", "b", "a"]);
}

#[test]
fn the_windows_that_a_response_tells_of_are_kept() {
    let told = "200\nx-ratelimit-limit-tokens: 1000\nx-ratelimit-remaining-tokens: 400\nx-ratelimit-reset-tokens: 1m\n\n{}";
    let provider = Provider::by_secret(&[("a", told)]);
    let gateway = Setup::keys(&["a"]).start(provider.address);
    assert_eq!(gateway.ask("{}").header("x-ratelimit-remaining-tokens"), Some("400"));
    let seen =
        gateway.gateway.windows(&auth_store::ProviderId::new("acme"), &"acme:a".into()).unwrap();
    assert_eq!((seen.windows[0].name.as_str(), seen.windows[0].used), ("tokens", Some(0.6)));
}

#[test]
fn a_client_without_the_grant_for_it_never_gets_a_users_login() {
    let provider = Provider::by_secret(&[("login", GOOD), ("key", GOOD)]);
    let setup = Setup::logins(&[&["login"]]);
    let gateway = setup.client(|client| client.subscription = false).start(provider.address);
    let got = gateway.ask("{}");
    assert_eq!((got.status, provider.count()), (403, 0));
    assert!(got.body.contains("--subscription"), "{}", got.body);
    // The control.
    let setup = Setup::logins(&[&["login"]]);
    let gateway = setup.client(|client| client.subscription = true).start(provider.address);
    assert_eq!((gateway.ask("{}").status, provider.count()), (200, 1));
}
