//! A real third-party client: the Codex CLI gets its token from us, and its model from our test
//! server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use e2e::http::{self, Response};
use e2e::issuer::Issuer;
use e2e::sandbox::{Sandbox, binary, expired, write};
use serde_json::{Value, json};

const PROFILE: &str = "openai-codex:alice";

/// The program that the lock file of `tests/peers/codex` pins.
fn codex() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/codex/node_modules/@openai");
    let below = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let platforms = below(packages.clone()).map(|package| package.path().join("vendor"));
    let found = platforms.flat_map(below).map(|triple| triple.path().join("bin/codex"));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("no Codex for this machine in {}: run `cargo xtask setup`", packages.display())
    })
}

/// A model server that responds `pong` to any caller with a valid token of the issuer. Returns its
/// address, and the tokens it received.
fn model(issuer: &Issuer) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tokens, userinfo) = (Arc::clone(&seen), format!("{}/userinfo", issuer.url()));
    let url = http::serve(move |request| {
        let bearer = request.header("authorization").unwrap_or_default();
        if (request.method.as_str(), request.path()) != ("POST", "/v1/responses") {
            return Response::json(404, &json!({}));
        }
        tokens.lock().unwrap().push(bearer.trim_start_matches("Bearer ").to_owned());
        let whose = http::send("GET", &userinfo, &[("authorization", bearer)], &[]);
        if !whose.is_ok_and(|reply| reply.status == 200) {
            return Response::json(401, &json!({"error": {"code": "token_expired"}}));
        }
        Response::new(200, "text/event-stream", pong())
    });
    (url, seen)
}

/// A response of the Responses API, as its events.
fn pong() -> String {
    let content = json!([{"type": "output_text", "text": "pong", "annotations": []}]);
    let item = json!({"type": "message", "role": "assistant", "id": "m1", "content": content});
    let usage = json!({"input_tokens": 1, "input_tokens_details": null, "output_tokens": 1,
        "output_tokens_details": null, "total_tokens": 2});
    let events = [
        json!({"type": "response.created", "response": {"id": "r1"}}),
        json!({"type": "response.output_item.done", "item": item}),
        json!({"type": "response.completed", "response": {"id": "r1", "usage": usage}}),
    ];
    let line = |event: Value| {
        format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
    };
    events.into_iter().map(line).collect()
}

/// A home with an expired login, after `models auth configure codex`, with our test model server.
fn home(issuer: &Issuer, model: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let tokens = issuer.grant("alice");
    let profile = expired(issuer, "openai-codex", &tokens);
    sandbox.seed_store("main", &json!({"version": 1, "profiles": {PROFILE: profile}}));
    let settings = sandbox.home().join(".codex").join("config.toml");
    write(&settings, b"model = \"pong-1\"\n");
    sandbox.run(&["models", "auth", "configure", "codex", "--yes"]).expect_code(0);
    let text = fs::read_to_string(&settings).unwrap();
    let theirs = text.lines().find(|line| line.starts_with("base_url")).unwrap();
    let ours = format!("base_url = \"{model}/v1\"");
    write(&settings, text.replace(theirs, &ours).as_bytes());
    sandbox
}

/// Starts Codex; every other host is behind a proxy that does not exist.
fn start(sandbox: &Sandbox) -> Child {
    let mut command = Command::new(codex());
    command
        .args(["exec", "--skip-git-repo-check", "ping"])
        .current_dir(sandbox.home())
        .env_clear()
        .env("HOME", sandbox.home())
        .env("PATH", binary().parent().unwrap())
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("Codex: {error}"))
}

#[test]
fn two_codex_at_once_on_an_expired_login_share_one_refresh() {
    let issuer = Issuer::start();
    let (url, seen) = model(&issuer);
    let sandbox = home(&issuer, &url);
    let running = [start(&sandbox), start(&sandbox)];
    for codex in running {
        let output = codex.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("pong"), "{output:?}");
    }
    assert_eq!(issuer.requests("refresh_token"), 1);
    let access = sandbox.profile("main", PROFILE)["access"].as_str().unwrap().to_owned();
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 2 && seen.iter().all(|token| *token == access), "{seen:?}");
}
