//! The loop around a token: reports by reason, by response and by model; fallbacks; explanations.

use e2e::now_ms;
use e2e::sandbox::{Finished, Sandbox};
use serde_json::{Value, json};

/// A home with keys of two unknown providers, and models of both.
fn home() -> Sandbox {
    let sandbox = Sandbox::new();
    let key = |provider: &str, name: &str| json!({"type": "api_key", "provider": provider, "key": format!("key-{name}-0123456789abcdef")});
    let profiles = json!({
        "acme:a": key("acme", "a"), "acme:b": key("acme", "b"), "zeta:z": key("zeta", "z"),
    });
    sandbox.seed_store("main", &json!({"version": 1, "profiles": profiles}));
    sandbox.write_config(
        "{ agents: { defaults: {
            model: { primary: 'acme/big', fallbacks: ['Little', 'zeta/deep'] },
            models: { 'acme/little': { alias: 'Little' }, 'acme/big': { alias: 'Big' } },
        } } }",
    );
    sandbox
}

fn run(sandbox: &Sandbox, words: &str) -> Finished {
    sandbox.run(&words.split_whitespace().collect::<Vec<_>>())
}

fn token(sandbox: &Sandbox, words: &str) -> Value {
    run(sandbox, &format!("models auth token --json {words}")).expect_code(0).json()
}

fn report(sandbox: &Sandbox, words: &str) -> Value {
    run(sandbox, &format!("models auth report --json {words}")).expect_code(0).json()
}

#[test]
fn a_rest_of_one_model_does_not_touch_the_others() {
    let sandbox = home();
    let before = std::fs::read(sandbox.store_path("main")).unwrap();
    for profile in ["acme:a", "acme:b"] {
        let said = report(
            &sandbox,
            &format!("{profile} --failed rate_limit --model big --retry-after 1h"),
        );
        assert_eq!(said["model"], "acme/big", "{said}");
    }
    // The other models, by name and without one.
    assert_eq!(token(&sandbox, "--model acme/little")["profileId"], "acme:a");
    assert_eq!(token(&sandbox, "--provider acme")["profileId"], "acme:a");
    assert_eq!(std::fs::read(sandbox.store_path("main")).unwrap(), before, "the store was touched");

    let in_cooldown = run(&sandbox, "models auth cooldown list --json").expect_code(0).json();
    let models: Vec<_> =
        in_cooldown["profiles"].as_array().unwrap().iter().map(|it| &it["model"]).collect();
    assert_eq!(models, ["acme/big", "acme/big"], "{in_cooldown}");
    let plan = run(&sandbox, "models auth explain --model Big --json").expect_code(0).json();
    assert_eq!(plan["candidates"][0]["why"], "in cooldown", "{plan}");
    assert_eq!(plan["candidates"][0]["model"], "acme/big", "{plan}");
    let list = run(&sandbox, "models auth list --provider acme --json").expect_code(0).json();
    assert_eq!(list["profiles"][0]["models"][0]["model"], "acme/big", "{list}");

    // A problem with the account affects all models.
    report(&sandbox, "acme:a --failed billing --model little");
    assert_eq!(token(&sandbox, "--provider acme")["profileId"], "acme:b");
    let file = sandbox.agent_dir("main").join(".auth-models.json");
    assert!(!std::fs::read_to_string(file).unwrap().contains("key-"));
}

#[test]
fn success_and_clearing_end_the_rest_of_their_model() {
    let sandbox = home();
    let rest = |words: &str| {
        report(&sandbox, &format!("acme:a --failed rate_limit --retry-after 1h {words}"))
    };
    let first = |words: &str| token(&sandbox, words)["profileId"].clone();
    rest("--model big");
    rest("--model little");
    assert_eq!(first("--model big"), "acme:b");
    report(&sandbox, "acme:a --ok --model big");
    report(&sandbox, "acme:b --ok");
    assert_eq!(first("--model big"), "acme:a");
    assert_eq!(first("--model little"), "acme:b");
    let cleared = run(&sandbox, "models auth cooldown clear acme:a --model little --json");
    let want = json!([{"profileId": "acme:a", "model": "acme/little"}]);
    assert_eq!(cleared.expect_code(0).json()["clearedModels"], want);
    assert_eq!(first("--model little"), "acme:a");
    // A new key does not inherit the cooldown of the old one.
    rest("--model little");
    let paste = ["models", "auth", "paste-api-key", "--provider", "acme", "--profile-id", "acme:a"];
    let paste = [&paste[..], &["--force"]].concat();
    sandbox.run_with_input(&paste, "key-new-0123456789abcdef\n").expect_code(0);
    assert_eq!(first("--model little"), "acme:a");
}

#[test]
fn a_model_whose_profiles_all_rest_falls_back_and_says_so() {
    let sandbox = home();
    let token_of = |words: &str| run(&sandbox, &format!("models auth token --json {words}"));
    let got = token(&sandbox, "--model Big");
    assert_eq!((&got["model"], &got["fallbackFor"]), (&json!("acme/big"), &Value::Null));

    report(&sandbox, "acme:a --failed rate_limit --model big");
    report(&sandbox, "acme:b --failed rate_limit --model big");
    let run = token_of("--model Big");
    let got = run.expect_code(0).json();
    assert_eq!((&got["model"], &got["fallbackFor"]), (&json!("acme/little"), &json!("acme/big")));
    assert!(
        run.stderr.contains("all profiles of acme are in cooldown")
            && run.stderr.contains("acme/little"),
        "{run:#?}"
    );

    report(&sandbox, "acme:a --failed billing");
    report(&sandbox, "acme:b --failed billing");
    let got = token(&sandbox, "--model Big");
    assert_eq!((&got["model"], &got["profileId"]), (&json!("zeta/deep"), &json!("zeta:z")));
    // A request with a provider gets no other provider.
    token_of("--model Big --provider acme").expect_code(6);

    report(&sandbox, "zeta:z --failed billing");
    let error = token_of("--model Big").expect_code(6).json();
    assert!(error["error"]["message"].as_str().unwrap().contains("acme/big"), "{error}");
    token_of("--model acme/").expect_code(64);
}

#[test]
fn an_agents_own_models_go_before_the_default_ones() {
    let sandbox = home();
    sandbox.write_config(
        "{ agents: {
            defaults: { model: { primary: 'acme/big', fallbacks: ['acme/little'] } },
            list: [{ id: 'main', model: { primary: 'zeta/deep', fallbacks: [] } }],
        } }",
    );
    assert_eq!(token(&sandbox, "")["profileId"], "zeta:z");
    report(&sandbox, "acme:a --failed billing");
    report(&sandbox, "acme:b --failed billing");
    assert_eq!(token(&sandbox, "--model acme/big")["model"], "zeta/deep");
}

#[test]
fn a_response_of_the_provider_is_judged_and_its_words_are_kept_without_the_key() {
    let sandbox = home();
    let args = ["models", "auth", "report", "acme:a", "--from-response", "--json"];
    let reply = "HTTP/2 429\r\nretry-after: 3600\r\n\r\n{\"error\":{\"type\":\"rate_limit_error\",\
        \"message\":\"Slow\\u001b[31m down, key-a-0123456789abcdef\"}}";
    let said = sandbox.run_with_input(&args, reply).expect_code(0).json();
    assert_eq!(said["reason"], "rate_limit", "{said}");
    assert_eq!(said["raw"], "429 rate_limit_error: Slow [31m down, …", "{said}");
    let wait = said["restsUntil"].as_u64().unwrap() - now_ms();
    assert!((3_590_000..=3_600_000).contains(&wait), "{wait}");
    let stats = &sandbox.read_store("main")["usageStats"]["acme:a"];
    assert_eq!(stats["lastFailureRaw"], said["raw"], "{stats}");
    assert_eq!(stats["failureCounts"]["rate_limit"], 1, "{stats}");
    let explained =
        run(&sandbox, "models auth explain --provider acme").expect_code(0).stdout.clone();
    assert!(explained.contains("429 rate_limit_error"), "{explained}");
    assert!(explained.contains("clawdbot models auth cooldown clear acme:a"), "{explained}");

    let worked = sandbox.run_with_input(&args, r#"{"status": 200, "body": {"id": 1}}"#);
    assert_eq!(worked.expect_code(0).json()["outcome"], "ok");
    let stats = &sandbox.read_store("main")["usageStats"]["acme:a"];
    assert_eq!((&stats["lastFailureRaw"], &stats["cooldownUntil"]), (&Value::Null, &Value::Null));

    let before = sandbox.read_store("main");
    for nothing in ["", "curl: (28) Operation timed out"] {
        sandbox.run_with_input(&args, nothing).expect_code(64);
    }
    assert_eq!(sandbox.read_store("main"), before);
}

#[test]
fn a_known_end_counts_and_no_report_moves_it_earlier() {
    let sandbox = home();
    let until = |words: &str| {
        report(&sandbox, &format!("acme:a --failed rate_limit {words}"))["restsUntil"].clone()
    };
    let end = 4_102_444_800_000_i64;
    assert_eq!(until("--reset-at 2100-01-01T00:00:00Z"), end);
    assert_eq!(until("--reset-at 4000000000"), end, "seconds");
    assert_eq!(until("--reset-at 4000000000000"), end, "milliseconds");
    assert_eq!(until(""), end);
    let stats = &sandbox.read_store("main")["usageStats"]["acme:a"];
    assert_eq!(
        (&stats["errorCount"], &stats["failureCounts"]["rate_limit"]),
        (&json!(4), &json!(4))
    );
    for wrong in ["--reset-at soon", "--reset-at 2100-01-01 --retry-after 1s", "--ok"] {
        run(&sandbox, &format!("models auth report acme:a --failed timeout {wrong}"))
            .expect_code(64);
    }
    run(&sandbox, "models auth report acme:a --failed timeout --model zeta/deep").expect_code(64);
    run(&sandbox, "models auth report acme:none --ok").expect_code(3);
}

#[test]
fn explain_names_the_remedy_for_each_profile_that_is_left_out() {
    let sandbox = home();
    sandbox.edit_store("main", |store| {
        store["profiles"]["acme:old"] =
            json!({"type": "token", "provider": "acme", "token": "t", "expires": 5});
        store["profiles"]["acme:void"] = json!({"type": "api_key", "provider": "acme", "key": ""});
        store["order"] =
            json!({"acme": ["acme:a", "acme:old", "acme:void", "acme:gone", "zeta:z"]});
    });
    let plan = run(&sandbox, "models auth explain --provider acme --json").expect_code(0).json();
    let excluded = plan["excluded"].as_array().unwrap();
    let codes: Vec<_> = excluded.iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(
        codes,
        ["expired", "no_secret", "unknown_profile", "foreign_provider", "not_listed"]
    );
    assert!(
        excluded.iter().all(|it| it["fix"].as_str().unwrap().contains("clawdbot models auth")),
        "{plan}"
    );
    assert_eq!(plan["candidates"][0]["charge"], "metered", "{plan}");
    // The fix for an unlisted profile works.
    let fix = excluded[4]["fix"].as_str().unwrap();
    let words: Vec<_> = fix.split(' ').skip(1).collect();
    sandbox.run(&words).expect_code(0);
    let plan = run(&sandbox, "models auth explain --provider acme --json").expect_code(0).json();
    assert_eq!(plan["candidates"][1]["id"], "acme:b", "{plan}");
}

#[test]
fn a_key_that_costs_by_the_use_in_the_place_of_a_subscription_is_told() {
    let sandbox = Sandbox::new();
    let far = now_ms() + 3_600_000_000;
    sandbox.seed_store("main", &json!({"version": 1, "profiles": {
        "anthropic:key": {"type": "api_key", "provider": "anthropic", "key": "key-0123456789abcdef"},
        "anthropic:plan": {"type": "token", "provider": "anthropic", "token": "tok-0123456789abcdef", "expires": far},
    }}));
    let token = ["models", "auth", "token", "--provider", "anthropic"];
    let run = sandbox.run(&token);
    assert_eq!((run.line(), run.stderr.as_str()), ("tok-0123456789abcdef", ""));
    sandbox
        .run(&["models", "auth", "report", "anthropic:plan", "--failed", "rate_limit"])
        .expect_code(0);
    let run = sandbox.run(&token);
    assert_eq!(run.expect_code(0).line(), "key-0123456789abcdef");
    assert!(
        run.stderr.contains("anthropic:plan") && run.stderr.contains("billed by usage"),
        "{run:#?}"
    );
}

#[test]
fn every_report_of_many_processes_counts() {
    let sandbox = home();
    let args = ["models", "auth", "report", "acme:a", "--failed", "timeout"];
    let (rounds, at_once) = (4, 8);
    for _ in 0..rounds {
        for run in sandbox.run_many(at_once, &args) {
            run.expect_code(0);
        }
    }
    let store = sandbox.read_store("main");
    let stats = &store["usageStats"]["acme:a"];
    assert_eq!(stats["errorCount"], rounds * at_once, "{stats}");
    assert_eq!(stats["failureCounts"]["timeout"], rounds * at_once, "{stats}");
    assert_eq!(store["profiles"]["acme:a"]["key"], "key-a-0123456789abcdef");
}
