//! `sink set`: a machine without logins of its own takes its tokens from another one.

use std::process::Command;

use e2e::sandbox::{Finished, Sandbox};
use serde_json::json;

use super::{Server, World, limited};

/// A second machine that asks the server.
fn machine(address: &str, token: &str, more: &[&str]) -> (Sandbox, Finished) {
    let machine = Sandbox::new();
    let set = machine.run_with_input(&[&["sink", "set", address], more].concat(), token);
    (machine, set)
}

fn run(machine: &Sandbox, words: &str) -> Finished {
    machine.run(&words.split_whitespace().collect::<Vec<_>>())
}

/// Everything below a directory, as text.
fn all_files(directory: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            all += &all_files(&entry.path());
        } else {
            all += &String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

#[test]
fn tokens_reports_and_lists_come_from_the_other_machine() {
    let world = World::with_keys(&["key-one", "key-two"]);
    let token = world.client("laptop --provider acme --may token,report,status");
    let server = world.serve(&[]);
    let (laptop, set) = machine(&server.url(""), &token, &[]);
    set.expect_code(0);
    assert!(run(&laptop, "sink show").line().starts_with("http://127.0.0.1:"));
    assert_eq!(run(&laptop, "models auth token --provider acme").expect_code(0).line(), "key-one");
    let list = run(&laptop, "models auth list --json").expect_code(0).json();
    assert_eq!(list["providers"][0]["profiles"][0]["profileId"], "acme:key-one");
    run(&laptop, "models auth report acme:key-one --failed rate_limit --retry-after 400s")
        .expect_code(0);
    assert_eq!(run(&laptop, "models auth token --provider acme").expect_code(0).line(), "key-two");
    let json = run(&laptop, "models auth token --provider acme --json").expect_code(0).json();
    assert_eq!(json["profileId"], "acme:key-two");
    let refused = run(&laptop, "models auth login --provider acme");
    assert!(refused.expect_code(64).stderr.contains("sink unset"));
    // It works while the sink is away, with what was given.
    server.kill();
    assert_eq!(run(&laptop, "models auth token --provider acme").expect_code(0).line(), "key-two");
    run(&laptop, "models auth token --provider acme --force-refresh").expect_code(5);
    run(&laptop, "sink unset").expect_code(0);
    run(&laptop, "models auth token --provider acme").expect_code(3);
    assert!(!all_files(&laptop.home()).contains("key-two"));
}

#[test]
fn what_goes_wrong_has_its_own_exit_code() {
    let world = World::with_keys(&["key-one"]);
    let token = world.client("laptop --provider acme --may token");
    let server = world.serve(&[]);
    let url = server.url("");
    let (_, wrong) = machine(&url, "clawd_nobody", &[]);
    wrong.expect_code(4);
    let (_, plain) = machine("http://sink.example:8460", &token, &[]);
    plain.expect_code(64);
    let (laptop, set) = machine(&url, &token, &[]);
    set.expect_code(0);
    run(&laptop, "models auth token --provider openai").expect_code(3);
    run(&laptop, "models auth report acme:key-one --ok").expect_code(3);
    run(&laptop, "models auth list").expect_code(3);
    world.run("models auth report acme:key-one --failed rate_limit").expect_code(0);
    run(&laptop, "models auth token --provider acme").expect_code(6);
    world.run("clients revoke laptop").expect_code(0);
    run(&laptop, "models auth token --provider acme").expect_code(4);
    server.kill();
    run(&laptop, "models auth token --provider acme").expect_code(5);
    let (_, gone) = machine(&url, &token, &[]);
    gone.expect_code(5);
    // A machine with profiles of its own is a sink itself.
    let own = world.sandbox.run_with_input(&["sink", "set", &url], &token);
    assert!(own.expect_code(64).stderr.contains("models auth list"), "{own:?}");
}

#[test]
fn a_login_is_used_elsewhere_and_its_refresh_token_stays_here() {
    let issuer = e2e::issuer::Issuer::start();
    let world = World::with_keys(&[]);
    let mut manifest = issuer.manifest("acme");
    manifest["api"] = json!({"base": format!("{}/v1", world.upstream.url())});
    let tokens = world.sandbox.seed_expired(&issuer, "acme", &["alice"]);
    world.sandbox.write_manifest("acme", &manifest);
    let token = world.client("laptop --provider acme --may token,status");
    let server = world.serve(&[]);
    let (laptop, set) = machine(&server.url(""), &token, &[]);
    set.expect_code(0);
    let given = run(&laptop, "models auth token --provider acme").expect_code(0).line().to_owned();
    let stored = world.sandbox.profile("main", "acme:alice");
    assert_eq!(stored["access"], given.as_str());
    assert_ne!(given, tokens[0].access);
    assert_eq!(issuer.requests("refresh_token"), 1);
    // Ten more, and a herd of both machines: still one.
    for finished in laptop.run_many(8, &["models", "auth", "token", "--provider", "acme"]) {
        assert_eq!(finished.expect_code(0).line(), given);
    }
    assert_eq!(issuer.requests("refresh_token"), 1);
    let refresh = stored["refresh"].as_str().unwrap();
    let there = all_files(&laptop.home());
    assert!(there.contains(&given), "the control: access tokens are kept");
    assert!(!there.contains(refresh) && !there.contains(&tokens[0].refresh), "{there}");
}

/// An authority and a certificate of this machine, by openssl.
fn certificate(folder: &std::path::Path) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \
        -subj /CN=test-authority -keyout ca.key -out ca.pem 2>/dev/null && \
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
        -keyout key.pem -out request.pem 2>/dev/null && \
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names && \
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 \
        -extfile names -out cert.pem 2>/dev/null";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).status();
    assert!(made.is_ok_and(|status| status.success()), "openssl makes a certificate");
}

#[test]
fn other_machines_come_in_with_tls_and_a_token() {
    let world = World::with_keys(&["key-one", "key-two"]);
    world.upstream.set("key-one", limited("400"));
    let folder = world.sandbox.home();
    certificate(&folder);
    let token = world.client("laptop --provider acme --may token,proxy");
    let mut running = world.sandbox.start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-listen",
        "127.0.0.1:0",
        "--tls-cert",
        "cert.pem",
        "--tls-key",
        "key.pem",
    ]);
    let lines: Vec<String> = std::iter::from_fn(|| running.next_line()).take(2).collect();
    let url = lines[1].trim_start_matches("listening on ").to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{lines:?}");
    let ca = folder.join("ca.pem");
    let (laptop, set) = machine(&url, &token, &["--ca", ca.to_str().unwrap()]);
    set.expect_code(0);
    assert_eq!(run(&laptop, "models auth token --provider acme").expect_code(0).line(), "key-one");
    // The control: a machine that does not trust the authority says so, and sends nothing.
    let (_, refused) = machine(&url, &token, &[]);
    assert!(refused.expect_code(5).stderr.contains("certificate"), "{refused:?}");
    // The proxy behind the same door fails over.
    let asked = Command::new("curl")
        .args(["-sS", "--cacert", ca.to_str().unwrap(), "-d", "{\"model\":\"m\"}"])
        .args(["-H", "content-type: application/json", "-H"])
        .arg(format!("x-api-key: {token}"))
        .arg(format!("{url}/acme/chat/completions"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&asked.stdout).contains("pong"), "{asked:?}");
    drop(running);
    for wrong in [["--tls-cert", "key.pem"], ["--tls-cert", "nothing.pem"]] {
        let refused = world.sandbox.run(&[
            "serve",
            "--tls-listen",
            "127.0.0.1:0",
            wrong[0],
            wrong[1],
            "--tls-key",
            "key.pem",
        ]);
        refused.expect_code(64);
    }
}

#[test]
fn a_socket_in_a_container_is_a_sink_too() {
    let world = World::with_keys(&["key-one"]);
    world.client("box --provider acme --may token,proxy");
    let path = world.sandbox.home().join("box.sock");
    let server: Server = world.serve(&["--socket", path.to_str().unwrap(), "--client", "box"]);
    let (inside, set) = machine(&format!("unix:{}", path.display()), "", &[]);
    set.expect_code(0);
    assert_eq!(run(&inside, "models auth token --provider acme").expect_code(0).line(), "key-one");
    drop(server);
}
