//! The protocols of programs that ask us: OpenClaw, kubectl, git, Bazel, and whoever reads a pipe.

use std::process::Stdio;

use e2e::issuer::{Fault, Issuer};
use e2e::sandbox::{Finished, Sandbox};
use serde_json::{Value, json};

const KEY: &str = "key-0123456789abcdef";

fn with_key() -> Sandbox {
    let sandbox = Sandbox::new();
    let args = ["models", "auth", "paste-api-key", "--provider", "acme"];
    sandbox.run_with_input(&args, &format!("{KEY}\n")).expect_code(0);
    sandbox
}

fn asked(sandbox: &Sandbox, ids: &Value) -> Finished {
    let question = json!({"protocolVersion": 1, "provider": "clawdbot", "ids": ids});
    sandbox
        .run_with_input(&["models", "auth", "token", "--format", "openclaw"], &question.to_string())
}

#[test]
fn openclaw_gets_each_id_or_why_not_and_what_is_due_is_renewed_once() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice", "bob", "carol"]);
    sandbox.edit_store("main", |store| {
        store["profiles"]["acme:me@example.com"] =
            json!({"type": "api_key", "provider": "acme", "key": KEY});
    });
    let list = sandbox.run(&["models", "auth", "list", "--json"]).json();
    let name = |id: &str| {
        let all = list["profiles"].as_array().unwrap();
        all.iter().find(|it| it["id"] == id).unwrap()["secretRefId"].as_str().unwrap().to_owned()
    };
    let (alice, bob, acme) = (name("demo:alice"), name("demo:bob"), name("acme:me@example.com"));
    assert_eq!((alice.as_str(), acme.as_str()), ("demo/alice", "acme/me#40example.com"));
    let run =
        asked(&sandbox, &json!([alice, bob, acme, "acme", "acme/none", "nosuch", "demo/carol"]));
    let answer = run.expect_code(0).json();
    assert_eq!(answer["protocolVersion"], 1);
    let access = |id: &str| sandbox.profile("main", id)["access"].clone();
    assert_eq!(answer["values"][&alice], access("demo:alice"));
    assert_eq!(answer["values"][&bob], access("demo:bob"));
    assert_eq!((&answer["values"][&acme], &answer["values"]["acme"]), (&json!(KEY), &json!(KEY)));
    assert_eq!(answer["errors"]["acme/none"]["code"], "NOT_FOUND");
    assert_eq!(answer["errors"]["nosuch"]["code"], "NOT_FOUND");
    assert_eq!(issuer.requests("refresh_token"), 3);

    sandbox.expire("main", "demo:alice");
    sandbox.expire("main", "demo:bob");
    issuer.inject(Fault::status(400, r#"{"error":"invalid_grant"}"#));
    let answer = asked(&sandbox, &json!([alice])).expect_code(0).json();
    assert_eq!(answer["errors"][&alice]["code"], "LOGIN_NEEDED");
    assert_eq!(answer["values"], json!({}));
}

#[test]
fn what_is_no_question_of_openclaws_fails_as_a_whole() {
    let sandbox = with_key();
    let args = ["models", "auth", "token", "--format", "openclaw"];
    for question in [
        "",
        "{}",
        "hello",
        r#"{"protocolVersion":2,"provider":"clawdbot","ids":["acme"]}"#,
        r#"{"protocolVersion":1,"provider":"clawdbot","ids":"acme"}"#,
    ] {
        let run = sandbox.run_with_input(&args, question);
        run.expect_code(64);
        assert_eq!(run.stdout, "", "{question}");
    }
    // The control.
    asked(&sandbox, &json!([])).expect_code(0);
}

#[test]
fn kubectl_gets_the_version_it_asks_for() {
    let args = ["models", "auth", "token", "--provider", "acme", "--format", "exec-credential"];
    for version in ["v1", "v1beta1"] {
        let mut sandbox = with_key();
        let asked = format!("client.authentication.k8s.io/{version}");
        let info =
            json!({"kind": "ExecCredential", "apiVersion": asked, "spec": {"interactive": false}});
        sandbox.set_env("KUBERNETES_EXEC_INFO", info.to_string());
        let answer = sandbox.run(&args).expect_code(0).json();
        assert_eq!(
            (&answer["apiVersion"], &answer["status"]["token"]),
            (&json!(asked), &json!(KEY))
        );
    }
    let mut sandbox = with_key();
    sandbox.set_env(
        "KUBERNETES_EXEC_INFO",
        r#"{"apiVersion":"client.authentication.k8s.io/v1alpha1"}"#,
    );
    let run = sandbox.run(&args);
    assert!(run.expect_code(64).stderr.contains("v1alpha1") && run.stdout.is_empty(), "{run:#?}");
}

#[test]
fn what_git_erases_is_renewed_once_and_nothing_else_is() {
    let issuer = Issuer::start();
    let sandbox = Sandbox::new();
    sandbox.seed_expired(&issuer, "demo", &["alice"]);
    let git = |verb: &str, input: &str| {
        let args = [
            "models",
            "auth",
            "git-credential",
            "--provider",
            "demo",
            "--host",
            "git.example",
            verb,
        ];
        sandbox.run_with_input(&args, input).expect_code(0).clone()
    };
    let ask = "capability[]=authtype\nprotocol=https\nhost=git.example\n";
    let credential = |run: &Finished| {
        let line = run.stdout.lines().find_map(|line| line.strip_prefix("credential="));
        line.unwrap().to_owned()
    };
    let first = credential(&git("get", ask));
    assert_eq!(issuer.requests("refresh_token"), 1);
    assert_eq!(credential(&git("get", ask)), first, "the control: nothing was refused");
    let told = git("erase", &format!("{ask}authtype=Bearer\ncredential={first}\n"));
    assert_eq!(told.stdout, "");
    let second = credential(&git("get", ask));
    assert_ne!(second, first);
    assert_eq!(issuer.requests("refresh_token"), 2);
    // Told of the old one again, and of one on another host: nothing is due.
    git("erase", &format!("{ask}credential={first}\n"));
    git("erase", &format!("protocol=https\nhost=other.example\ncredential={second}\n"));
    assert_eq!(credential(&git("get", ask)), second);
    assert_eq!(issuer.requests("refresh_token"), 2);
    let named = [
        "models",
        "auth",
        "git-credential",
        "--provider",
        "demo",
        "--host",
        "git.example",
        "--username",
        "a\nb",
        "get",
    ];
    sandbox.run_with_input(&named, ask).expect_code(64);
}

#[test]
fn the_verbs_that_git_and_bazel_append_are_taken_and_another_host_is_refused() {
    let sandbox = with_key();
    let token = |format: &str, more: &[&str], input: &str| {
        let args = ["models", "auth", "token", "--provider", "acme", "--format", format];
        sandbox.run_with_input(&[&args[..], more].concat(), input)
    };
    assert!(token("git", &["get"], "").expect_code(0).stdout.contains(KEY));
    for verb in ["store", "erase"] {
        assert_eq!(token("git", &[verb], "").expect_code(0).stdout, "");
    }
    let bazel = |host: &str, uri: &str| {
        token("bazel", &["--host", host, "get"], &json!({"uri": uri}).to_string())
    };
    let answer = bazel("packages.example", "https://packages.example/a/b").expect_code(0).json();
    assert_eq!(answer["headers"]["Authorization"], json!([format!("Bearer {KEY}")]));
    for uri in [
        "https://evil.example/",
        "http://packages.example/",
        "https://packages.example.evil/",
        "https://packages.example@evil/",
        "",
    ] {
        let run = bazel("packages.example", uri);
        run.expect_code(64);
        assert!(!run.stdout.contains(KEY) && !run.stderr.contains(KEY), "{uri}");
    }
    token("raw", &["get"], "").expect_code(64);
}

#[test]
fn docker_gets_the_token_of_its_registry_and_of_no_other() {
    let sandbox = with_key();
    let docker = |more: &[&str], input: &str| {
        let args = ["models", "auth", "token", "--provider", "acme", "--format", "docker"];
        sandbox.run_with_input(&[&args[..], more].concat(), input)
    };
    let host = ["--host", "registry.example"];
    let answer =
        docker(&[&host[..], &["get"]].concat(), "registry.example\n").expect_code(0).json();
    let wanted = json!({"ServerURL": "registry.example", "Username": "<token>", "Secret": KEY});
    assert_eq!(answer, wanted);
    let named = [&host[..], &["--username", "me", "get"]].concat();
    let answer = docker(&named, "https://registry.example/v2/").expect_code(0).json();
    assert_eq!(answer["Username"], "me");
    for other in ["other.example", "registry.example.evil", ""] {
        let run = docker(&[&host[..], &["get"]].concat(), other);
        assert_eq!(run.stdout, "credentials not found in native keychain\n", "{run:#?}");
        assert_ne!(run.code, Some(0));
    }
    assert_eq!(docker(&[&host[..], &["list"]].concat(), "").expect_code(0).json(), json!({}));
    assert_eq!(docker(&[&host[..], &["store"]].concat(), "{}").expect_code(0).stdout, "");
    docker(&["get"], "registry.example").expect_code(64);
}

#[test]
fn a_reader_that_leaves_ends_us_quietly() {
    let sandbox = with_key();
    for words in [
        &["models", "auth", "token", "--provider", "acme"][..],
        &["models", "auth", "list"],
        &["--help"],
    ] {
        let mut command = sandbox.command(words);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child =
            command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    }
}
