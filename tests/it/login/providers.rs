//! The catalogue's providers through the whole program, each against a script with its responses:
//! login, stored name and type, token output, refresh, refusal. The requests to each, to the byte,
//! are in `crates/auth-providers/tests/it/catalogue.rs`.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::http::{self, Request, Response};
use e2e::sandbox::{Finished, Sandbox};
use serde_json::{Value, json};

/// A server that sends the responses for a path in turn, repeating the last one.
struct Script {
    url: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Script {
    fn new(pages: &[(&'static str, Vec<(u16, Value)>)]) -> Self {
        let asked = Arc::new(Mutex::new(Vec::<Request>::new()));
        let (log, pages) = (Arc::clone(&asked), pages.to_vec());
        let url = http::serve(move |request| {
            let mut log = log.lock().unwrap();
            let turn = log.iter().filter(|before| before.path() == request.path()).count();
            log.push(request.clone());
            let page = pages.iter().find(|(path, _)| *path == request.path());
            match page.and_then(|(_, replies)| replies.get(turn).or(replies.last())) {
                Some((status, body)) => Response::json(*status, body),
                None => Response::json(404, &json!({})),
            }
        });
        Self { url, asked }
    }

    fn count(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|request| request.path() == path).count()
    }

    /// A home in which the endpoints of this built-in provider lead to this server.
    fn home(&self, provider: &str) -> Sandbox {
        let at = |path: &str| format!("{}{path}", self.url);
        let sandbox = Sandbox::new();
        let manifest = json!({
            "id": provider,
            "extends": provider,
            "endpoints": {
                "authorization": at("/authorize"), "token": at("/token"),
                "device_authorization": at("/code"), "userinfo": at("/who"),
            },
            "device": {"poll": if provider == "openai-codex" { at("/poll").into() } else { Value::Null }},
        });
        sandbox.write_manifest(provider, &manifest);
        sandbox
    }
}

/// A token with these claims.
fn jwt(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn log_in(sandbox: &Sandbox, provider: &str) -> Finished {
    let args =
        ["models", "auth", "login", "--provider", provider, "--no-browser", "--method", "device"];
    sandbox.run(&args)
}

fn token(sandbox: &Sandbox, provider: &str) -> Finished {
    sandbox.run(&["models", "auth", "token", "--provider", provider])
}

fn code(more: &Value) -> (u16, Value) {
    let mut code = json!({"device_code": "dev-1", "user_code": "ABCD-1234", "interval": 1,
        "expires_in": 60, "verification_uri": "https://example.com/go"});
    code.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (200, code)
}

#[test]
fn github_copilot_keeps_its_token_under_its_name() {
    let granted = |token: &str| {
        (200, json!({"access_token": token, "token_type": "bearer", "scope": "read:user"}))
    };
    let who = |id: u64| (200, json!({"login": "me", "id": id}));
    let pending = (200, json!({"error": "authorization_pending"}));
    let script = Script::new(&[
        ("/code", vec![code(&json!({}))]),
        ("/token", vec![pending, granted("ghu_1"), granted("ghu_2"), granted("ghu_3")]),
        ("/who", vec![who(1), who(1), who(2)]),
    ]);
    let sandbox = script.home("github-copilot");
    let words = ["models", "auth", "login-github-copilot", "--yes"];
    let login = sandbox.run(&words);
    login.expect_code(0);
    let lines: Vec<_> = login.stderr.lines().collect();
    assert!(
        lines.contains(&"ABCD-1234") && lines.contains(&"https://example.com/go"),
        "{login:#?}"
    );
    let mut stored = sandbox.profile("main", "github-copilot:github");
    assert!(stored.as_object_mut().unwrap().remove("destinations").is_some());
    let wanted = json!({"type": "token", "provider": "github-copilot", "token": "ghu_1",
        "accountId": "1", "scope": "read:user"});
    assert_eq!(stored, wanted);
    assert_eq!(token(&sandbox, "github-copilot").expect_code(0).line(), "ghu_1");
    assert!(!format!("{}{}", login.stdout, login.stderr).contains("ghu_1"));
    // A login of the same account replaces it; one of another account does not.
    sandbox.run(&words).expect_code(0);
    sandbox.run(&words).expect_code(0);
    assert_eq!(sandbox.profile("main", "github-copilot:github")["token"], "ghu_2");
    assert_eq!(sandbox.profile("main", "github-copilot:github-2")["token"], "ghu_3");
}

#[test]
fn codex_by_device_code_is_named_after_its_account() {
    let claims = json!({"https://api.openai.com/auth": {"chatgpt_account_id": "acc-1"},
        "https://api.openai.com/profile": {"email": "me@example.com"}});
    let tokens = json!({"access_token": jwt(&claims), "refresh_token": "rt-1", "expires_in": 3600});
    let renewed = json!({"access_token": "at-2", "refresh_token": "rt-2", "expires_in": 3600});
    let script = Script::new(&[
        (
            "/code",
            vec![(200, json!({"device_auth_id": "d", "user_code": "ABCD-1234", "interval": "1"}))],
        ),
        (
            "/poll",
            vec![
                (403, json!({})),
                (200, json!({"authorization_code": "ac", "code_verifier": "cv"})),
            ],
        ),
        (
            "/token",
            vec![
                (200, tokens),
                (200, renewed),
                (400, json!({"error": {"code": "refresh_token_reused"}})),
            ],
        ),
    ]);
    let sandbox = script.home("openai-codex");
    log_in(&sandbox, "codex").expect_code(0);
    let id = "openai-codex:me@example.com";
    let stored = sandbox.profile("main", id);
    assert_eq!((&stored["type"], &stored["accountId"]), (&json!("oauth"), &json!("acc-1")));
    assert_eq!(stored["tokenEndpoint"], format!("{}/token", script.url));
    sandbox.expire("main", id);
    assert_eq!(token(&sandbox, "openai-codex").expect_code(0).line(), "at-2");
    assert_eq!(sandbox.profile("main", id)["refresh"], "rt-2");
    sandbox.expire("main", id);
    let refused = token(&sandbox, "openai-codex");
    refused.expect_code(4);
    assert!(refused.stderr.contains("refresh_token_reused"), "{refused:#?}");
    assert_eq!(sandbox.profile("main", id)["refresh"], "rt-2");
    assert_eq!(script.count("/token"), 3);
}

#[test]
fn qwen_by_device_code_is_renewed_and_a_400_ends_it() {
    let tokens = |n: u8| {
        (
            200,
            json!({"access_token": format!("at-{n}"), "refresh_token": format!("rt-{n}"),
            "expires_in": 3600, "resource_url": "portal.qwen.ai"}),
        )
    };
    let script = Script::new(&[
        ("/code", vec![code(&json!({}))]),
        ("/token", vec![tokens(1), tokens(2), (400, json!({"error": "invalid_request"}))]),
    ]);
    let sandbox = script.home("qwen-portal");
    log_in(&sandbox, "qwen").expect_code(0);
    let id = "qwen-portal:default";
    assert_eq!(sandbox.profile("main", id)["resourceUrl"], "portal.qwen.ai");
    sandbox.expire("main", id);
    assert_eq!(token(&sandbox, "qwen-portal").expect_code(0).line(), "at-2");
    sandbox.expire("main", id);
    let refused = token(&sandbox, "qwen-portal");
    refused.expect_code(4);
    assert!(refused.stderr.contains("models auth login --provider qwen-portal"), "{refused:#?}");
    assert_eq!(sandbox.profile("main", id)["refresh"], "rt-2");
    // Sent once, and not again.
    token(&sandbox, "qwen-portal").expect_code(4);
    assert_eq!(script.count("/token"), 3);
}

#[test]
fn minimax_without_its_state_stores_nothing() {
    let script = Script::new(&[("/code", vec![code(&json!({"state": "another"}))])]);
    let sandbox = script.home("minimax-portal");
    let login = log_in(&sandbox, "minimax-portal");
    login.expect_code(4);
    assert!(login.stderr.contains("does not repeat the state"), "{login:#?}");
    assert!(!sandbox.store_path("main").exists());
}

#[test]
fn openrouter_yields_an_api_key_in_two_steps() {
    let script =
        Script::new(&[("/token", vec![(200, json!({"key": "sk-or-v1-abc", "user_id": "u1"}))])]);
    let sandbox = script.home("openrouter");
    let start = ["models", "auth", "login", "--provider", "openrouter", "--start", "--json"];
    let begun = sandbox.run(&start).expect_code(0).json();
    let url = begun["url"].as_str().unwrap();
    let callback = http::decode(url.split_once('?').unwrap().1);
    let callback = http::find(&callback, "callback_url").unwrap().to_owned();
    let finish = ["models", "auth", "login", "--finish", "-"];
    let without_state = callback.split('?').next().unwrap();
    sandbox.run_with_input(&finish, &format!("{without_state}?code=c")).expect_code(64);
    sandbox.run_with_input(&finish, &format!("{callback}&code=c")).expect_code(0);
    let mut stored = sandbox.profile("main", "openrouter:default");
    assert!(stored.as_object_mut().unwrap().remove("destinations").is_some());
    let wanted = json!({"type": "api_key", "provider": "openrouter", "key": "sk-or-v1-abc",
        "authFlow": "oauth-pkce", "userId": "u1", "accountId": "u1"});
    assert_eq!(stored, wanted);
    assert_eq!(token(&sandbox, "openrouter").expect_code(0).line(), "sk-or-v1-abc");
}

#[test]
fn a_key_that_somebody_pasted_is_not_replaced_by_a_login() {
    let script =
        Script::new(&[("/token", vec![(200, json!({"key": "sk-or-new", "user_id": "u1"}))])]);
    let sandbox = script.home("openrouter");
    let paste = ["models", "auth", "paste-api-key", "--provider", "openrouter"];
    sandbox.run_with_input(&paste, "sk-or-pasted\n").expect_code(0);
    let start = ["models", "auth", "login", "--provider", "openrouter", "--start", "--json"];
    let begun = sandbox.run(&start).expect_code(0).json();
    let callback = http::decode(begun["url"].as_str().unwrap().split_once('?').unwrap().1);
    let callback = http::find(&callback, "callback_url").unwrap().to_owned();
    let finish = ["models", "auth", "login", "--finish", "-"];
    sandbox.run_with_input(&finish, &format!("{callback}&code=c")).expect_code(0);
    assert_eq!(sandbox.profile("main", "openrouter:default")["key"], "sk-or-pasted");
    assert_eq!(sandbox.profile("main", "openrouter:default-u1")["key"], "sk-or-new");
}

#[test]
fn device_logins_say_why_they_ended() {
    for (reply, exit, says) in [
        (json!({"error": "access_denied"}), 4, "access_denied"),
        (json!({"error": "expired_token"}), 4, "was not entered in time"),
        (json!({"error": "incorrect_client_credentials"}), 4, "incorrect_client_credentials"),
    ] {
        let script =
            Script::new(&[("/code", vec![code(&json!({}))]), ("/token", vec![(200, reply)])]);
        let sandbox = script.home("github-copilot");
        let login = log_in(&sandbox, "github-copilot");
        login.expect_code(exit);
        assert!(login.stderr.contains(says), "{login:#?}");
        assert!(!sandbox.store_path("main").exists());
    }
    let script = Script::new(&[]);
    let sandbox = script.home("openai-codex");
    let login = log_in(&sandbox, "openai-codex");
    login.expect_code(64);
    assert!(login.stderr.contains("security settings"), "{login:#?}");
}

#[test]
fn without_a_provider_or_a_terminal_the_list_is_the_response() {
    let sandbox = Sandbox::new();
    for args in [&["models", "auth", "login"][..], &["models", "auth", "add"]] {
        let run = sandbox.run(args);
        run.expect_code(64);
        for id in ["openai-codex", "qwen-portal", "openrouter", "groq"] {
            assert!(run.stderr.contains(id), "{run:#?}");
        }
    }
    let run = sandbox.run(&["models", "auth", "login", "--provider", "groq"]);
    run.expect_code(64);
    assert!(run.stderr.contains("paste-api-key --provider groq"), "{run:#?}");
    let named = ["models", "auth", "login", "--provider", "groq", "--method", "api-key"];
    sandbox.run_with_input(&named, "gsk_0123456789abcdef\n").expect_code(0);
    assert_eq!(sandbox.profile("main", "groq:default")["type"], "api_key");
}

#[test]
fn a_refused_key_is_told_by_the_probe_and_by_the_exit_code() {
    let script = Script::new(&[(
        "/models",
        vec![(200, json!({"data": []})), (401, json!({"error": {"code": "invalid_api_key"}}))],
    )]);
    let sandbox = Sandbox::new();
    let manifest = json!({"id": "acme", "flows": ["api_key"],
        "probe": {"url": format!("{}/models", script.url), "key_header": "x-acme-key"}});
    sandbox.write_manifest("acme", &manifest);
    let paste = ["models", "auth", "paste-api-key", "--provider", "acme"];
    sandbox.run_with_input(&paste, "acme-key-0123456789\n").expect_code(0);
    let probe = ["models", "status", "--probe", "--probe-provider", "acme", "--json"];
    let told = sandbox.run(&probe).expect_code(0).json();
    let probes = &told["auth"]["probes"];
    assert_eq!(probes["totalTargets"], 1);
    let options = json!({"provider": "acme", "profileIds": [], "timeoutMs": 8000, "concurrency": 2,
        "maxTokens": 8});
    assert_eq!(probes["options"], options);
    assert_eq!(probes["results"][0]["status"], "ok");
    assert!(probes["results"][0]["latencyMs"].is_u64());
    let asked = script.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.method.as_str(), asked.header("x-acme-key")),
        ("GET", Some("acme-key-0123456789"))
    );

    let check = [&probe[..5], &["--check"]].concat();
    let refused = sandbox.run(&check);
    refused.expect_code(1);
    assert!(
        refused.stdout.contains("acme:default") && refused.stdout.contains("auth"),
        "{refused:#?}"
    );
    assert!(!refused.stdout.contains("acme-key-0123456789"));
}

/// Sends the signal of Ctrl-C.
#[cfg(unix)]
fn interrupt(process: u32) {
    let kill = std::process::Command::new("kill").args(["-INT", &process.to_string()]).status();
    assert!(kill.unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_device_login_stores_nothing() {
    let pending = json!({"error": "authorization_pending"});
    let script = Script::new(&[
        ("/code", vec![code(&json!({"interval": 5}))]),
        ("/token", vec![(400, pending)]),
    ]);
    let sandbox = script.home("github-copilot");
    let mut login = sandbox.start(&["models", "auth", "login-github-copilot"]);
    while login.next_line().expect("a code").as_str() != "ABCD-1234" {}
    // It handles Ctrl-C from its first pause on, which begins right after the last line.
    while !login.next_line().expect("a last line").starts_with("The code is good") {}
    interrupt(login.id());
    let login = login.finish();
    assert!(matches!(login.code, Some(130) | None), "{login:#?}");
    assert!(!sandbox.store_path("main").exists());
}

#[cfg(unix)]
#[test]
fn tokens_that_are_on_their_way_when_somebody_interrupts_are_saved() {
    let (arrived, arrival) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let url = http::serve(move |request| {
        if request.path() == "/code" {
            let (status, body) = code(&json!({}));
            return Response::json(status, &body);
        }
        arrived.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Response::json(200, &json!({"access_token": "ghu_1", "token_type": "bearer"}))
    });
    let script = Script { url, asked: Arc::default() };
    let sandbox = script.home("github-copilot");
    let mut login = sandbox.start(&["models", "auth", "login-github-copilot"]);
    arrival.recv().unwrap();
    interrupt(login.id());
    while !login.next_line().expect("a word about it").starts_with("Waiting for") {}
    release.send(()).unwrap();
    login.finish().expect_code(0);
    assert_eq!(sandbox.profile("main", "github-copilot:github")["token"], "ghu_1");
}
