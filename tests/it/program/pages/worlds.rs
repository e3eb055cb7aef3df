//! The test environments for the commands of the pages.

use e2e::issuer::CLIENT;
use e2e::now_ms;
use e2e::sandbox::{Sandbox, binary, set_mode, write};
use serde_json::{Value, json};

/// The home that a page uses: the program and those of the machine are on its PATH.
pub(crate) fn world(name: &str) -> Sandbox {
    let mut sandbox = Sandbox::new();
    std::os::unix::fs::symlink(binary(), sandbox.bin().join("clawdbot")).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", sandbox.bin().display());
    sandbox.set_env("PATH", path);
    match name {
        "new" => {}
        "accounts" => accounts(&mut sandbox),
        "agents" => {
            accounts(&mut sandbox);
            sandbox.run(&["agents", "add", "work", "--workspace", "~/clawd-work"]).expect_code(0);
        }
        "two agents" => {
            accounts(&mut sandbox);
            let profiles = json!({"openai-codex:work": login("openai-codex", "me@work.example")});
            sandbox.seed_store("work", &json!({"version": 1, "profiles": profiles}));
        }
        "limited" => limited(&mut sandbox),
        "open directory" => set_mode(&sandbox.state(), 0o755),
        "keys elsewhere" => {
            sandbox.set_env("WORK_OPENAI_KEY", "SECRET-work-key");
            let file = sandbox.home().join(".secrets/groq");
            write(&file, b"SECRET-groq-key\n");
            set_mode(&file, 0o600);
        }
        "plugin" => {
            let program = sandbox.home().join("clawdbot-provider-acme");
            let text = include_str!("../../../plugins/clawdbot-provider-good");
            write(&program, text.replace("\"id\": \"good\"", "\"id\": \"acme\"").as_bytes());
            set_mode(&program, 0o755);
            write(&sandbox.home().join("answers.json"), b"{}");
        }
        "broken config" => sandbox.write_config(
            "{\n  auth: {\n    order: {\n      anthropic: [\"anthropic:work\" \"anthropic:home\"],\n    },\n  },\n}\n",
        ),
        other => panic!("there is no world `{other}`"),
    }
    sandbox
}

/// Several accounts of several providers, in the agent `main`.
fn accounts(sandbox: &mut Sandbox) {
    let profiles = json!({
        "openai-codex:me@example.com": login("openai-codex", "me@example.com"),
        "openai-codex:work": login("openai-codex", "me@work.example"),
        "openai-codex:home": login("openai-codex", "me@home.example"),
        "openai:default": key("openai"),
        "openai:work": key("openai"),
        "openai:old": key("openai"),
        "anthropic:work": key("anthropic"),
    });
    sandbox.seed_store("main", &json!({"version": 1, "profiles": profiles}));
    sandbox.write_config(
        "{ agents: { defaults: { models: { 'anthropic/claude-opus-4-5': { alias: 'Opus' } } } } }",
    );
    write(&sandbox.home().join("token.txt"), b"SECRET-token\n");
    for (name, value) in [("HASH", "0".repeat(64)), ("token", "SECRET-old".to_owned())] {
        sandbox.set_env(name, value);
    }
    let file = sandbox.home().join("github.env");
    sandbox.set_env("GITHUB_ENV", file);
}

/// An order of two keys, the second of which has hit its rate limit.
fn limited(sandbox: &mut Sandbox) {
    accounts(sandbox);
    let order =
        ["models", "auth", "order", "set", "--provider", "openai", "openai:work", "openai:default"];
    sandbox.run(&order).expect_code(0);
    let response = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 400\r\n\r\n\
                    {\"error\": {\"code\": \"rate_limit_exceeded\", \"message\": \"Rate limit reached\"}}";
    let report = ["models", "auth", "report", "openai:work", "--from-response"];
    sandbox.run_with_input(&report, response).expect_code(0);
}

/// A login that is valid for hours.
fn login(provider: &str, email: &str) -> Value {
    json!({
        "type": "oauth",
        "provider": provider,
        "access": format!("SECRET-access-{email}"),
        "refresh": format!("SECRET-refresh-{email}"),
        "obtainedAt": now_ms(),
        "expires": now_ms() + 4 * 3_600_000,
        "email": email,
        "clientId": CLIENT,
    })
}

fn key(provider: &str) -> Value {
    json!({"type": "api_key", "provider": provider, "key": "SECRET-key"})
}
