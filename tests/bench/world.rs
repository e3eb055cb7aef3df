//! The test data: homes with stores and configs, and an empty Rust program for comparison.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::now_ms;
use e2e::sandbox::{Sandbox, binary};
use serde_json::{Map, Value, json};

pub(crate) const PROVIDER: &str = "openai-codex";

/// The request of the hot path.
pub(crate) const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", PROVIDER];

/// The id of the `number`th profile.
pub(crate) fn id(number: usize) -> String {
    format!("{PROVIDER}:person{number:05}@example.com")
}

/// A store with this many fresh logins of realistic size.
pub(crate) fn store(profiles: usize) -> Value {
    let (now, day) = (now_ms(), 86_400_000);
    let login = |number: usize| {
        let access = format!("eyJhbGciOiJSUzI1NiJ9.{}.{}", "p".repeat(900), "s".repeat(342));
        json!({
            "type": "oauth", "provider": PROVIDER, "access": access,
            "refresh": format!("rt_{number:08}{}", "r".repeat(52)),
            "expires": now + 10 * day, "obtainedAt": now - 1_000,
            "accountId": format!("account-{number}"), "email": format!("person{number:05}@example.com"),
        })
    };
    let used = |number: usize| json!({ "lastUsed": now - 1_000 * number as u64, "errorCount": 0 });
    let all = 0..profiles;
    json!({
        "version": 1,
        "profiles": all.clone().map(|it| (id(it), login(it))).collect::<Map<_, _>>(),
        "usageStats": all.map(|it| (id(it), used(it))).collect::<Map<_, _>>(),
    })
}

/// A home with such a store.
pub(crate) fn home(profiles: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.seed_store("main", &store(profiles));
    sandbox
}

/// A commented config of 20 kB that determines the first profile.
pub(crate) fn config() -> String {
    let mut text = String::from("{\n  // Which account goes first.\n  auth: {\n");
    text += &format!("    order: {{ '{PROVIDER}': ['{}', '{}'] }},\n  }},\n", id(1), id(0));
    text +=
        "  agents: { defaults: { model: { primary: 'openai-codex/gpt-5' } } },\n  channels: {\n";
    let mut number = 0;
    while text.len() < 20_000 {
        number += 1;
        text += &format!(
            "    // Channel {number}: who may write to us, and where the answers go.\n    channel{number}: {{ enabled: true, allowFrom: ['+4915{number:08}', '*'], groups: {{ '*': {{ requireMention: true }} }} }},\n"
        );
    }
    text + "  },\n}\n"
}

/// The binary in a user's home: only `HOME` and `PATH` are set.
pub(crate) fn at_home(sandbox: &Sandbox, program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(sandbox.home()).env_clear();
    command.env("HOME", sandbox.home()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.stdin(Stdio::null());
    command
}

/// The command of the hot path.
pub(crate) fn token(sandbox: &Sandbox) -> Command {
    at_home(sandbox, &binary(), &TOKEN)
}

/// Compiles a Rust program with the binary's release profile.
pub(crate) fn program(name: &str, source: &str, directory: &Path, more: &[&str]) -> PathBuf {
    let (input, output) = (directory.join(format!("{name}.rs")), directory.join(name));
    e2e::sandbox::write(&input, source.as_bytes());
    let profile = ["opt-level=s", "lto=fat", "codegen-units=1", "panic=abort", "strip=symbols"];
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-o"]).arg(&output).arg(&input);
    for option in profile {
        rustc.args(["-C", option]);
    }
    let status = rustc.args(more).status().expect("rustc");
    assert!(status.success(), "rustc {name}");
    output
}
