//! Programs that nobody here wrote, in front of a provider that fails: each finishes its job on the
//! second account, or shows the provider's own error, and nothing is carried out twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::peer::node;
use e2e::sandbox::binary;
use e2e::upstream::{Behaviour, Upstream};
use serde_json::{Value, json};

use super::{Server, World, limited};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/tools")
}

/// The API of a dialect, and the base that its SDK is given.
fn api(dialect: &str, upstream: &Upstream) -> Value {
    if dialect.starts_with("messages") {
        json!({
            "base": upstream.url(), "paths": ["/v1/"], "error_shape": "anthropic",
            "repeatable": ["POST /v1/messages"], "limits": "anthropic",
            "headers": {"api_key": "x-api-key: {}"},
        })
    } else {
        json!({"base": format!("{}/v1", upstream.url())})
    }
}

/// A world whose provider speaks a dialect, with two keys, and a server with one client.
fn world(dialect: &str, first: Behaviour) -> (World, Server, String) {
    let world = World::with_keys(&["key-one-0123", "key-two-0123"]);
    let manifest = json!({"id": "acme", "label": "Acme", "flows": ["api_key"],
        "api": api(dialect, &world.upstream)});
    world.sandbox.write_manifest("acme", &manifest);
    world.upstream.set("key-one-0123", first);
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    (world, server, token)
}

/// Asks once by the SDK of the dialect's provider.
fn ask(dialect: &str, server: &Server, token: &str) -> Output {
    let folder = folder();
    assert!(folder.join("node_modules").is_dir(), "not installed: run `cargo xtask setup`");
    let mut command = Command::new(node(&folder));
    command.arg("ask.mjs").args([dialect, &server.url("/acme"), token]).current_dir(folder);
    command.env_remove("HTTP_PROXY").env_remove("http_proxy").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

const DIALECTS: [&str; 6] =
    ["chat", "chat-stream", "responses", "responses-stream", "messages", "messages-stream"];

/// The error of a dialect's provider.
fn error(dialect: &str, kind: &str) -> Value {
    if dialect.starts_with("messages") {
        json!({"type": "error", "error": {"type": kind, "message": "told by the provider"}})
    } else {
        json!({"error": {"code": kind, "type": kind, "message": "told by the provider"}})
    }
}

#[test]
fn each_sdk_finishes_on_the_second_account_whatever_the_first_says() {
    for dialect in DIALECTS {
        for (status, kind) in
            [(429, "rate_limit_exceeded"), (401, "authentication_error"), (529, "overloaded_error")]
        {
            let refusal = Behaviour::Refuse(status, Vec::new(), error(dialect, kind));
            let (world, server, token) = world(dialect, refusal);
            let output = ask(dialect, &server, &token);
            assert_eq!(said(&output), "pong", "{dialect} {status}: {output:?}");
            assert_eq!(world.upstream.secrets(), ["key-one-0123", "key-two-0123"]);
            assert_eq!(world.upstream.began(), 1, "{dialect} {status}");
        }
    }
}

#[test]
fn each_sdk_sees_an_error_behind_a_good_status_on_no_account_but_the_second() {
    for dialect in ["responses-stream", "messages-stream"] {
        let inside = match dialect {
            "messages-stream" => error(dialect, "overloaded_error"),
            _ => json!({"type": "response.failed", "response": {
                "error": {"code": "rate_limit_exceeded", "message": "told by the provider"}}}),
        };
        let (world, server, token) = world(dialect, Behaviour::FailInside(inside));
        let output = ask(dialect, &server, &token);
        assert_eq!(said(&output), "pong", "{dialect}: {output:?}");
        assert_eq!(world.upstream.secrets(), ["key-one-0123", "key-two-0123"], "{dialect}");
    }
}

#[test]
fn what_began_is_never_sent_again_and_the_sdk_is_told() {
    for dialect in DIALECTS {
        for first in [Behaviour::Cut, Behaviour::Vanish] {
            if matches!(first, Behaviour::Cut) && !dialect.ends_with("stream") {
                continue;
            }
            let (world, server, token) = world(dialect, first.clone());
            let output = ask(dialect, &server, &token);
            assert_eq!(world.upstream.secrets(), ["key-one-0123"], "{dialect} {first:?}");
            if matches!(first, Behaviour::Vanish) {
                assert!(!output.status.success() && said(&output).contains("502"), "{output:?}");
            }
            assert_eq!(world.cooldown("acme:key-one-0123"), None);
        }
    }
}

#[test]
fn the_providers_own_error_is_shown_where_no_account_is_left() {
    for dialect in DIALECTS {
        let refusal = || Behaviour::Refuse(429, Vec::new(), error(dialect, "rate_limit_exceeded"));
        let (world, server, token) = world(dialect, refusal());
        world.upstream.set("key-two-0123", refusal());
        let output = ask(dialect, &server, &token);
        let said = said(&output);
        assert!(said.starts_with("429") && said.contains("told by the provider"), "{said}");
        let refused = ask(dialect, &server, "clawd_nobody");
        assert!(self::said(&refused).contains("a client's token is needed"), "{refused:?}");
        assert_eq!(world.upstream.began(), 0);
    }
}

/// A program whose home is the sandbox's; whatever is not on this machine is behind a proxy that
/// is not there.
fn start(world: &World, program: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(world.sandbox.home())
        .env_clear()
        .env("HOME", world.sandbox.home())
        .env("PATH", format!("{}:/usr/bin:/bin", binary().parent().unwrap().display()))
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// A file of an installed package whose name depends on the machine.
fn of_a_package(folder: &Path, scope: &str, inside: &[&str]) -> PathBuf {
    let scope = folder.join("node_modules").join(scope);
    let packages = fs::read_dir(&scope).into_iter().flatten().flatten();
    let found = packages.flat_map(|it| inside.iter().map(move |inside| it.path().join(inside)));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("nothing for this machine in {}: run `cargo xtask setup`", scope.display())
    })
}

#[test]
fn codex_and_claude_code_finish_on_the_second_account() {
    for status in [429, 401, 529] {
        let refusal =
            Behaviour::Refuse(status, vec![("retry-after", "400")], error("responses", "limit"));
        let (world, server, token) = world("responses", refusal);
        let settings = world.sandbox.home().join(".codex/config.toml");
        let text = format!(
            "model = \"pong-1\"\nmodel_provider = \"sink\"\n[model_providers.sink]\n\
             name = \"sink\"\nbase_url = \"{}\"\nwire_api = \"responses\"\n\
             env_key = \"SINK_TOKEN\"\nsupports_websockets = false\n",
            server.url("/acme")
        );
        e2e::sandbox::write(&settings, text.as_bytes());
        let program = codex();
        let args = ["exec", "--skip-git-repo-check", "ping"];
        let output = start(&world, &program, &args, &[("SINK_TOKEN", &token)]);
        assert!(output.status.success() && said(&output).contains("pong"), "{status} {output:?}");
        assert_eq!(world.upstream.secrets(), ["key-one-0123", "key-two-0123"], "{status}");

        let kind = error("messages", "rate_limit_error");
        let refusal = Behaviour::Refuse(status, vec![("retry-after", "400")], kind);
        let (world, server, token) = self::world("messages", refusal);
        let program = of_a_package(&folder(), "@anthropic-ai", &["claude"]);
        let base = server.url("/acme");
        let env = [
            ("ANTHROPIC_BASE_URL", base.as_str()),
            ("ANTHROPIC_AUTH_TOKEN", &token),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
        ];
        let output = start(&world, &program, &["-p", "ping", "--model", "pong-1"], &env);
        assert!(output.status.success() && said(&output).contains("pong"), "{status} {output:?}");
        let secrets = world.upstream.secrets();
        assert_eq!(secrets[0], "key-one-0123", "{status}");
        assert!(secrets[1..].iter().all(|it| it == "key-two-0123"), "{status} {secrets:?}");
        assert_eq!(secrets.len() - 1, world.upstream.began(), "{status}");
    }
}

/// The program that the lock file of `peers/codex` pins.
fn codex() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/codex");
    let inside = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
    let inside: Vec<String> =
        inside.iter().map(|triple| format!("vendor/{triple}/bin/codex")).collect();
    of_a_package(&folder, "@openai", &inside.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_limited_key_is_not_asked_again_by_any_tool() {
    let (world, server, token) = world("chat", limited("400"));
    for dialect in ["chat", "chat-stream"] {
        assert_eq!(said(&ask(dialect, &server, &token)), "pong");
    }
    assert_eq!(world.upstream.secrets(), ["key-one-0123", "key-two-0123", "key-two-0123"]);
}
