//! One refresh in all circumstances: rotation, refusals, failures, lost responses, many processes,
//! other agents.

use e2e::issuer::{CLIENT, Fault, Issuer, Shape, TokenState};
use e2e::sandbox::{Sandbox, expired};
use e2e::{http, now_ms, sha256_hex};
use serde_json::json;

const PROFILE: &str = "demo:alice";
const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", "demo"];

/// A home with one expired profile, and its refresh token.
fn home(issuer: &Issuer) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let tokens = sandbox.seed_expired(issuer, "demo", &["alice"]);
    (sandbox, tokens[0].refresh.clone())
}

#[test]
fn an_expired_token_is_refreshed_once_and_its_successor_stored() {
    let issuer = Issuer::start();
    let (sandbox, old) = home(&issuer);
    sandbox.edit_store("main", |store| store["profiles"][PROFILE]["ours"] = json!({"n": 1.50}));
    let first = sandbox.run(&TOKEN);
    let second = sandbox.run(&TOKEN);
    assert_eq!(first.expect_code(0).line(), second.expect_code(0).line());
    let profile = sandbox.profile("main", PROFILE);
    assert_eq!(
        issuer.state_of(&old),
        TokenState::Spent { successor: profile["refresh"].as_str().unwrap().to_owned() }
    );
    assert_eq!(profile["access"], first.line());
    assert_eq!(profile["ours"], json!({"n": 1.5}), "an unknown field was lost");
    assert!(profile["expires"].as_u64().unwrap() > now_ms());
    assert_eq!(issuer.requests("refresh_token"), 1);
}

#[test]
fn a_fresh_token_is_handed_out_without_a_request() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    sandbox.edit_store("main", |store| {
        store["profiles"][PROFILE]["expires"] = (now_ms() + 3_000_000).into();
    });
    sandbox.run(&TOKEN).expect_code(0);
    assert_eq!(issuer.requests("refresh_token"), 0);
}

#[test]
fn an_issuer_that_does_not_rotate_leaves_the_refresh_token_as_it_is() {
    let issuer = Issuer::start();
    issuer.set(|policy| policy.rotate = false);
    let (sandbox, token) = home(&issuer);
    for _ in 0..2 {
        sandbox.expire("main", PROFILE);
        sandbox.run(&TOKEN).expect_code(0);
        assert_eq!(sandbox.profile("main", PROFILE)["refresh"], token);
    }
    assert_eq!(issuer.requests("refresh_token"), 2);
}

#[test]
fn a_herd_on_one_expired_token_sends_exactly_one_request() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    let runs = sandbox.run_many(256, &TOKEN);
    let first = runs[0].expect_code(0).line();
    for run in &runs {
        assert_eq!(run.expect_code(0).line(), first);
    }
    assert_eq!(issuer.requests("refresh_token"), 1);
    assert_eq!(issuer.outcomes("reuse"), 0);
}

/// The control of the herd test: this issuer detects two processes that do not coordinate.
#[test]
fn two_homes_with_one_token_are_caught_by_the_issuer() {
    let issuer = Issuer::start();
    let tokens = issuer.grant("alice");
    let codes: Vec<_> = (0..2)
        .map(|_| {
            let sandbox = Sandbox::new();
            sandbox.write_manifest("demo", &issuer.manifest("demo"));
            let profile = expired(&issuer, "demo", &tokens);
            sandbox.seed_store("main", &json!({"version": 1, "profiles": {PROFILE: profile}}));
            sandbox.run(&TOKEN).code
        })
        .collect();
    assert_eq!(codes, [Some(0), Some(4)]);
    assert_eq!(issuer.outcomes("reuse"), 1);
}

#[test]
fn a_refused_token_is_recorded_and_never_sent_again() {
    let issuer = Issuer::start();
    let (sandbox, token) = home(&issuer);
    revoke(&issuer, &token);
    let first = sandbox.run(&TOKEN);
    assert!(
        first.expect_code(4).stderr.contains("models auth login --provider demo"),
        "{first:#?}"
    );
    sandbox.run(&TOKEN).expect_code(4);
    assert_eq!(issuer.requests("refresh_token"), 1);
    assert!(sandbox.record_path(&issuer.token_endpoint(), CLIENT, &token).exists());
    assert_eq!(sandbox.profile("main", PROFILE)["refresh"], token, "the credential is kept");

    let forced = ["models", "auth", "refresh", PROFILE, "--force"];
    sandbox.run(&forced).expect_code(4);
    assert_eq!(issuer.requests("refresh_token"), 2, "--force sends once");
}

#[test]
fn a_failing_server_is_asked_at_most_twice_however_many_ask() {
    let issuer = Issuer::start();
    let (sandbox, token) = home(&issuer);
    for _ in 0..64 {
        issuer.inject(Fault::status(503, r#"{"error":"temporarily_unavailable"}"#));
    }
    for run in sandbox.run_many(64, &TOKEN) {
        run.expect_code(5);
    }
    let requests = issuer.requests("refresh_token");
    assert!((1..=2).contains(&requests), "{requests} requests");
    assert_eq!(issuer.state_of(&token), TokenState::Live);
    assert_eq!(sandbox.profile("main", PROFILE)["refresh"], token);
}

#[test]
fn retry_after_is_kept_by_everyone_and_passed_once_by_force() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    let headers = vec![("retry-after".to_owned(), "600".to_owned())];
    issuer.inject(Fault::Status { status: 429, headers, body: "{}".to_owned() });
    sandbox.run(&TOKEN).expect_code(5);
    sandbox.run(&TOKEN).expect_code(5);
    assert_eq!(issuer.requests("refresh_token"), 1);
    sandbox.run(&[&TOKEN[..], &["--force-refresh"]].concat()).expect_code(0);
    assert_eq!(issuer.requests("refresh_token"), 2);
}

#[test]
fn a_token_still_valid_is_used_while_the_server_fails() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    // Inside the margin, which is 5 minutes for a token of an hour, but not expired.
    sandbox.edit_store("main", |store| {
        store["profiles"][PROFILE]["expires"] = (now_ms() + 200_000).into();
        store["profiles"][PROFILE]["obtainedAt"] = (now_ms() - 3_400_000).into();
    });
    issuer.inject(Fault::status(503, "{}"));
    let access = sandbox.profile("main", PROFILE)["access"].clone();
    assert_eq!(access, sandbox.run(&TOKEN).expect_code(0).line());
    assert_eq!(issuer.requests("refresh_token"), 1);
}

#[test]
fn a_request_that_was_not_carried_out_is_sent_again() {
    for fault in [Fault::DropBeforeRead, Fault::DropAfterRead] {
        let issuer = Issuer::start();
        let (sandbox, _) = home(&issuer);
        issuer.inject(fault);
        sandbox.run(&TOKEN).expect_code(0);
        assert_eq!(issuer.outcomes("success"), issuer.log().len() - 1, "{:#?}", issuer.log());
        assert_eq!(issuer.outcomes("reuse"), 0);
    }
}

#[test]
fn a_lost_response_is_asked_for_again_where_the_issuer_gives_grace() {
    for fault in [Fault::DropAfterCommit, Fault::HalfBody] {
        let issuer = Issuer::start();
        issuer.set(|policy| policy.grace = true);
        let (sandbox, token) = home(&issuer);
        issuer.inject(fault);
        sandbox.run(&TOKEN).expect_code(0);
        assert_eq!((issuer.requests("refresh_token"), issuer.outcomes("grace")), (2, 1));
        let TokenState::Spent { successor } = issuer.state_of(&token) else { panic!("not spent") };
        assert_eq!(sandbox.profile("main", PROFILE)["refresh"], successor);
    }
}

/// The control of the test above, and the one loss that is unavoidable: no grace, and the response
/// is lost.
#[test]
fn a_lost_response_without_grace_ends_in_a_clear_request_to_log_in() {
    let issuer = Issuer::start();
    let (sandbox, token) = home(&issuer);
    issuer.inject(Fault::DropAfterCommit);
    sandbox.run(&TOKEN).expect_code(4);
    assert_eq!(issuer.state_of(&token), TokenState::Revoked);
}

#[test]
fn a_response_that_proves_nothing_is_no_refusal() {
    let portals = [
        Fault::Html,
        Fault::Garbage,
        Fault::Redirect { to: "http://127.0.0.1:1/elsewhere".to_owned() },
        Fault::status(400, ""),
        Fault::status(500, r#"{"error":"invalid_grant"}"#),
    ];
    for fault in portals {
        let issuer = Issuer::start();
        let (sandbox, token) = home(&issuer);
        let name = format!("{fault:?}");
        for _ in 0..3 {
            issuer.inject(fault.clone());
        }
        let run = sandbox.run(&TOKEN);
        assert_eq!(run.code, Some(5), "{name}: {run:#?}");
        assert_eq!(sandbox.profile("main", PROFILE)["refresh"], token, "{name}");
        issuer.clear_faults();
        let later = sandbox.run(&[&TOKEN[..], &["--force-refresh"]].concat());
        assert_eq!(later.code, Some(0), "{name}: {later:#?}");
    }
}

#[test]
fn a_response_in_another_shape_is_understood() {
    for shape in [Shape::Gzip, Shape::Form, Shape::Surrogate] {
        let issuer = Issuer::start();
        let (sandbox, old) = home(&issuer);
        issuer.inject(Fault::Reshaped { shape });
        let run = sandbox.run(&TOKEN);
        assert_eq!(run.code, Some(0), "{shape:?}: {run:#?}");
        let new = sandbox.profile("main", PROFILE)["refresh"].as_str().unwrap().to_owned();
        assert_eq!(issuer.state_of(&old), TokenState::Spent { successor: new }, "{shape:?}");
        sandbox.expire("main", PROFILE);
        sandbox.run(&TOKEN).expect_code(0);
        assert_eq!(issuer.outcomes("success"), 2, "{shape:?}");
    }
}

#[test]
fn a_response_that_nobody_can_read_is_kept_and_told_and_merged_on_request() {
    for (shape, is_mergeable) in
        [(Shape::Wrapped, true), (Shape::Failed, true), (Shape::Page, true), (Shape::Zstd, false)]
    {
        let issuer = Issuer::start();
        let (sandbox, old) = home(&issuer);
        issuer.inject(Fault::Reshaped { shape });
        let retry = ["models", "auth", "refresh", PROFILE, "--retry-merge"];
        let command = format!("clawdbot {}", retry.join(" "));
        let first = sandbox.run(&TOKEN);
        assert_eq!(first.code, Some(4), "{shape:?}: {first:#?}");
        assert!(first.stderr.contains(&command), "{}", first.stderr);
        let json = sandbox.run(&[&TOKEN[..], &["--json", "--force-refresh"]].concat());
        assert_eq!((json.code, &json.json()["error"]["code"]), (Some(4), &json!("unmerged")));
        assert_eq!(issuer.requests("refresh_token"), 1, "{shape:?}: the old token was sent again");

        let status = sandbox.run(&["models", "status"]);
        assert!(status.stderr.contains(&command), "{}", status.stderr);
        let status = sandbox.run(&["models", "status", "--json"]).json();
        let kept = &status["auth"]["unmergedAnswers"][0];
        assert_eq!((&kept["profileId"], &kept["command"]), (&json!(PROFILE), &json!(command)));
        assert_eq!(status["auth"]["pendingAnswers"], json!([kept["path"]]));
        let file = std::fs::read(kept["path"].as_str().unwrap()).unwrap();
        let doctor = sandbox.run(&["doctor", "--json"]).json();
        let findings = doctor["findings"].as_array().unwrap();
        let finding = findings.iter().find(|it| it["code"] == "unmerged_answer").unwrap();
        assert_eq!((&finding["command"], &finding["path"]), (&json!(command), &kept["path"]));

        let TokenState::Spent { successor } = issuer.state_of(&old) else { panic!("{shape:?}") };
        let merged = sandbox.run(&retry);
        for run in [&first, &merged] {
            assert!(!format!("{run:?}").contains(&successor), "{run:#?}");
        }
        if is_mergeable {
            assert_eq!(merged.code, Some(0), "{merged:#?}");
            assert_eq!(sandbox.profile("main", PROFILE)["refresh"], successor);
            sandbox.run(&TOKEN).expect_code(0);
            assert_eq!(issuer.requests("refresh_token"), 1);
            let status = sandbox.run(&["models", "status", "--json"]).json();
            assert_eq!(status["auth"]["pendingAnswers"], json!([]));
            assert!(sandbox.run(&retry).expect_code(0).stdout.contains("no response is kept"));
        } else {
            assert_eq!(merged.code, Some(4), "{merged:#?}");
            assert!(merged.stderr.contains("--force"), "{}", merged.stderr);
            assert_eq!(std::fs::read(kept["path"].as_str().unwrap()).unwrap(), file);
        }
    }
}

#[test]
fn a_web_page_is_called_one_and_nothing_of_it_is_kept() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    issuer.inject(Fault::Html);
    let run = sandbox.run(&TOKEN);
    assert_eq!(run.code, Some(5), "{run:#?}");
    assert!(run.stderr.contains("the server answered with a web page"), "{}", run.stderr);
    let status = sandbox.run(&["models", "status", "--json"]).json();
    assert_eq!(status["auth"]["pendingAnswers"], json!([]));
}

#[test]
fn a_refused_client_is_not_a_refused_token() {
    let issuer = Issuer::start();
    let (sandbox, token) = home(&issuer);
    issuer.inject(Fault::status(401, r#"{"error":"invalid_client"}"#));
    let run = sandbox.run(&TOKEN);
    assert_ne!(run.code, Some(0));
    assert_ne!(run.code, Some(4), "{run:#?}");
    assert_eq!(issuer.state_of(&token), TokenState::Live);
}

#[test]
fn a_response_for_another_account_is_never_stored() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    sandbox.edit_store("main", |store| store["profiles"][PROFILE]["accountId"] = "bob".into());
    sandbox.run(&TOKEN).expect_code(4);
    let profile = sandbox.profile("main", PROFILE);
    assert_eq!(profile["accountId"], "bob");
    let kept = std::fs::read_dir(sandbox.agent_dir("main"))
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".answer"));
    assert!(kept, "the answer was dropped");
}

#[test]
fn a_forced_refresh_of_a_token_that_already_changed_sends_nothing() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    sandbox.run(&TOKEN).expect_code(0);
    let forced = ["--force-refresh", "--if-token-sha256", &"0".repeat(64)];
    sandbox.run(&[&TOKEN[..], &forced].concat()).expect_code(0);
    assert_eq!(issuer.requests("refresh_token"), 1);
}

#[test]
fn a_refused_access_token_is_renewed_once_by_its_hash() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    let old = sandbox.run(&TOKEN);
    let hash = sha256_hex(old.expect_code(0).line());
    let forced = [&TOKEN[..], &["--force-refresh", "--if-token-sha256", &hash]].concat();
    let runs = sandbox.run_many(16, &forced);
    for run in &runs {
        assert_eq!(run.expect_code(0).line(), runs[0].line());
    }
    assert_ne!(runs[0].line(), old.line());
    assert_eq!(issuer.requests("refresh_token"), 2);
}

#[test]
fn an_agent_sees_its_own_profiles_only() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    std::fs::create_dir_all(sandbox.agent_dir("work")).unwrap();
    let run = sandbox.run(&[&TOKEN[..], &["--agent", "work"]].concat());
    run.expect_code(3);
    assert!(run.stderr.contains("the agent `main` has one"), "{run:#?}");
    assert_eq!(issuer.requests("refresh_token"), 0);
    assert!(!sandbox.store_path("work").exists() || sandbox.profile("work", PROFILE).is_null());
}

#[test]
fn copies_of_one_token_in_two_agents_are_refreshed_once_and_both_updated() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    sandbox.seed_store("work", &sandbox.read_store("main"));
    let main = sandbox.run(&TOKEN);
    let work = sandbox.run(&[&TOKEN[..], &["--agent", "work"]].concat());
    assert_eq!(main.expect_code(0).line(), work.expect_code(0).line());
    assert_eq!(issuer.requests("refresh_token"), 1);
    assert_eq!(
        sandbox.profile("main", PROFILE)["refresh"],
        sandbox.profile("work", PROFILE)["refresh"]
    );
}

#[test]
fn a_refresh_token_goes_to_the_endpoint_it_came_from_and_nowhere_else() {
    let (old, new) = (Issuer::start(), Issuer::start());
    let (sandbox, token) = home(&old);
    sandbox.write_manifest("demo", &new.manifest("demo"));
    sandbox.run(&TOKEN);
    assert_eq!(new.requests("refresh_token"), 0, "{:#?}", new.log());
    assert_ne!(old.state_of(&token), TokenState::Revoked);
}

fn revoke(issuer: &Issuer, token: &str) {
    let fields = [("token", token), ("client_id", CLIENT)];
    http::post_form(&format!("{}/revoke", issuer.url()), &fields).unwrap();
}

#[test]
fn two_agents_with_logins_of_their_own_refresh_apart() {
    let issuer = Issuer::start();
    let (sandbox, _) = home(&issuer);
    let tokens = issuer.grant("bob");
    let profile = expired(&issuer, "demo", &tokens);
    sandbox.seed_store("work", &json!({"version": 1, "profiles": {"demo:bob": profile}}));
    let work = [&TOKEN[..], &["--agent", "work"]].concat();
    let (first, second) = std::thread::scope(|scope| {
        let main = scope.spawn(|| sandbox.run_many(8, &TOKEN));
        let work = scope.spawn(|| sandbox.run_many(8, &work));
        (main.join().unwrap(), work.join().unwrap())
    });
    for runs in [&first, &second] {
        assert!(runs.iter().all(|run| run.expect_code(0).line() == runs[0].line()));
    }
    assert_ne!(first[0].line(), second[0].line());
    assert_eq!((issuer.requests("refresh_token"), issuer.outcomes("reuse")), (2, 0));
    assert!(sandbox.profile("main", "demo:bob").is_null());
    assert!(sandbox.profile("work", PROFILE).is_null());
}

#[test]
fn a_stale_copy_is_told_with_every_way_out_and_each_of_them_works() {
    let issuer = Issuer::start();
    let (sandbox, old) = home(&issuer);
    sandbox.seed_store("work", &sandbox.read_store("main"));
    // A Clawdbot refreshed the login in `main`, without a record.
    let tokens = issuer.grant("alice");
    let mut newer = expired(&issuer, "demo", &tokens);
    newer["expires"] = (now_ms() + 3_000_000).into();
    sandbox.edit_store("main", |store| store["profiles"][PROFILE] = newer);
    let work = [&TOKEN[..], &["--agent", "work"]].concat();
    let refused = sandbox.run(&work);
    let talk = &refused.expect_code(4).stderr;
    let share = "clawdbot agents share work --from main";
    let force = "clawdbot models auth refresh demo:alice --agent work --force";
    assert!(talk.contains(share) && talk.contains(force), "{talk}");
    assert!(talk.contains("models auth login --provider demo"), "{talk}");
    assert_eq!((issuer.requests("refresh_token"), issuer.state_of(&old)), (0, TokenState::Live));

    let run = |command: &str| sandbox.run(&command.split(' ').skip(1).collect::<Vec<_>>());
    run(share).expect_code(0);
    assert_eq!(sandbox.run(&work).expect_code(0).line(), tokens.access);
    run("clawdbot agents share work --none").expect_code(0);
    run(force).expect_code(0);
    sandbox.run(&work).expect_code(0);
    assert_eq!((issuer.requests("refresh_token"), issuer.outcomes("success")), (1, 1));
}
