//! `doctor`: it finds each fault that is injected here, one at a time, and nothing in a healthy
//! home.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use e2e::issuer::Issuer;
use e2e::now_ms;
use e2e::sandbox::{Sandbox, write};
use serde_json::{Value, json};

/// A home with a login, a key, an order and a pin, made by the program itself.
struct House {
    sandbox: Sandbox,
    issuer: Issuer,
}

const LOGIN: &str = "acme:work";
const SESSION: &str = "agent:main:main";

impl House {
    fn healthy() -> Self {
        let (sandbox, issuer) = (Sandbox::new(), Issuer::start());
        fs::set_permissions(sandbox.state(), Permissions::from_mode(0o700)).unwrap();
        sandbox.write_manifest("acme", &issuer.manifest("acme"));
        fs::set_permissions(sandbox.state().join("providers"), Permissions::from_mode(0o700))
            .unwrap();
        sandbox.log_in("acme", &["--profile-id", LOGIN]).expect_code(0);
        let key = ["models", "auth", "paste-api-key", "--provider", "openai"];
        sandbox.run_with_input(&key, "sk-0123456789abcdefghij\n").expect_code(0);
        sandbox
            .run(&["models", "auth", "order", "set", "--provider", "acme", LOGIN])
            .expect_code(0);
        sandbox.run(&["sessions", "model", SESSION, &format!("acme/m@{LOGIN}")]).expect_code(0);
        Self { sandbox, issuer }
    }

    fn store(&self) -> std::path::PathBuf {
        self.sandbox.store_path("main")
    }

    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        self.sandbox.edit_store("main", edit);
        fs::set_permissions(self.store(), Permissions::from_mode(0o600)).unwrap();
    }

    /// Overwrites the store in place with invalid content.
    fn damage(&self, text: &str) {
        write(&self.store(), text.as_bytes());
    }

    fn text(&self) -> String {
        fs::read_to_string(self.store()).unwrap()
    }

    /// The codes of the findings, and the run itself.
    fn findings(&self, more: &[&str]) -> (Vec<String>, e2e::sandbox::Finished) {
        let run = self.sandbox.run(&[&["doctor", "--json"][..], more].concat());
        let found = run.json()["findings"].as_array().unwrap().clone();
        let codes = found.iter().filter(|it| it["fixed"] == false);
        (codes.map(|it| it["code"].as_str().unwrap().to_owned()).collect(), run)
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Makes a file look last changed this long ago.
fn age(path: &Path, age: Duration) {
    let file = fs::File::open(path).unwrap();
    let then = Duration::from_millis(now_ms()).checked_sub(age).unwrap();
    file.set_modified(UNIX_EPOCH + then).unwrap();
}

#[test]
fn nothing_is_found_in_a_healthy_house() {
    let house = House::healthy();
    let (codes, run) = house.findings(&[]);
    assert_eq!(codes, [""; 0], "{run:#?}");
    run.expect_code(0);
    assert_eq!(house.sandbox.run(&["doctor"]).expect_code(0).line(), "Nothing is wrong.");
}

#[test]
fn an_agent_that_does_not_exist_is_an_error() {
    let run = House::healthy().sandbox.run(&["doctor", "--agent", "nobody"]);
    assert!(run.expect_code(64).stderr.contains("nobody"), "{run:#?}");
}

#[test]
fn looking_changes_nothing() {
    let house = House::healthy();
    house.damage("{");
    mode(&house.sandbox.state(), 0o755);
    house.findings(&[]).1.expect_code(1);
    assert_eq!(house.text(), "{");
    assert_eq!(fs::metadata(house.sandbox.state()).unwrap().permissions().mode() & 0o777, 0o755);
}

type Plant = (&'static str, fn(&mut House));

/// The faults that `--fix` fixes, and those that it must not touch.
const FIXED: [Plant; 8] = [
    ("state_mode", |house| mode(&house.sandbox.state(), 0o755)),
    ("agent_mode", |house| mode(&house.sandbox.agent_dir("main"), 0o777)),
    ("locks_mode", |house| mode(&house.sandbox.state().join("locks/refresh"), 0o755)),
    ("file_mode", |house| mode(&house.store(), 0o644)),
    ("leftover", |house| {
        let path = house.sandbox.agent_dir("main").join(".auth-profiles.json.new");
        write(&path, b"{");
        mode(&path, 0o600);
    }),
    ("stale_lock", |house| {
        let lock = house.store().with_file_name("auth-profiles.json.lock");
        fs::create_dir(&lock).unwrap();
        age(&lock, Duration::from_secs(90));
    }),
    ("store_damaged", |house| house.damage(&house.text()[..40])),
    ("old_login", |house| {
        let args = ["models", "auth", "login", "--provider", "acme", "--start", "--json"];
        house.sandbox.run(&args).expect_code(0);
        for entry in fs::read_dir(house.sandbox.state().join("logins")).unwrap() {
            age(&entry.unwrap().path(), Duration::from_mins(20));
        }
    }),
];

const FOUND: [Plant; 35] = [
    ("agent_dir_missing", |house| {
        let list = "[{ id: 'main' }, { id: 'far', agentDir: '~/far/agent' }]";
        house.sandbox.write_config(&format!("{{ agents: {{ list: {list} }} }}"));
    }),
    ("dangling_link", |house| {
        fs::remove_file(house.store()).unwrap();
        symlink("/nowhere/at/all", house.store()).unwrap();
    }),
    ("hard_link", |house| {
        fs::hard_link(house.store(), house.sandbox.home().join("other-name")).unwrap();
    }),
    ("odd_lock", |house| {
        let lock = house.store().with_file_name("auth-profiles.json.lock");
        write(&lock.join("something"), b"");
    }),
    ("directory_unreadable", |house| {
        let agents = house.sandbox.state().join("agents");
        fs::rename(&agents, house.sandbox.home().join("agents")).unwrap();
        symlink("agents", &agents).unwrap();
    }),
    ("store_superseded", |house| {
        write(&house.sandbox.agent_dir("main").join("openclaw-agent.sqlite"), b"");
    }),
    ("runtime_cache", |house| {
        let path = house.sandbox.agent_dir("main").join("auth.json");
        write(&path, br#"{"acme": {"type": "oauth", "refresh": "r"}}"#);
        mode(&path, 0o600);
    }),
    ("store_damaged", |house| {
        fs::remove_file(house.sandbox.agent_dir("main").join(".auth-profiles.json.bak")).unwrap();
        house.damage("");
    }),
    ("store_newer", |house| house.edit(|store| store["version"] = 2.into())),
    ("store_unusable", |house| house.edit(|store| store["version"] = "x".into())),
    ("store_unusable", |house| house.edit(|store| store["lastGood"] = json!(["x"]))),
    ("unreadable_time", |house| {
        house.edit(|store| store["profiles"][LOGIN]["obtainedAt"] = "soon".into());
    }),
    ("damaged_copy", |house| {
        let path = house.store().with_file_name("auth-profiles.json.corrupt.1.00000000");
        write(&path, b"{");
        mode(&path, 0o600);
    }),
    ("malformed_entry", |house| house.edit(|store| store["profiles"]["x:y"] = json!("odd"))),
    ("unmerged_answer", |house| {
        let name = format!(".auth-refresh.{}.answer", "ab".repeat(32));
        let path = house.sandbox.agent_dir("main").join(name);
        write(&path, b"{}");
        mode(&path, 0o600);
    }),
    ("needs_login", |house| {
        house.sandbox.expire("main", LOGIN);
        mode(&house.store(), 0o600);
        house.issuer.inject(e2e::issuer::Fault::status(400, r#"{"error":"invalid_grant"}"#));
        house.sandbox.run(&["models", "auth", "token", "--profile", LOGIN]).expect_code(4);
    }),
    ("no_refresh_token", |house| {
        house.edit(|store| store["profiles"][LOGIN]["refresh"] = "".into());
    }),
    ("ended", |house| {
        house.edit(|store| {
            store["profiles"]["acme:old"] =
                json!({"type": "token", "provider": "acme", "token": "t-0123456789", "expires": 1});
        });
    }),
    ("unknown_provider", |house| {
        fs::remove_file(house.sandbox.state().join("providers/acme.json")).unwrap();
    }),
    ("order_stale", |house| {
        house.edit(|store| store["order"]["acme"] = json!([LOGIN, "acme:gone"]));
    }),
    ("order_empty", |house| house.sandbox.write_config("{ auth: { order: { acme: [] } } }")),
    ("config_unreadable", |house| house.sandbox.write_config("{ auth: ")),
    ("config_warning", |house| {
        house.sandbox.write_config("{ auth: { order: { acme: ['${NOT_SET_ANYWHERE}'] } } }");
    }),
    ("profile_missing", |house| {
        house.sandbox.write_config(
            "{ auth: { profiles: { 'acme:x': { provider: 'acme', mode: 'api_key' } } } }",
        );
    }),
    ("mode_mismatch", |house| {
        let profile =
            json!({"auth": {"profiles": {LOGIN: {"provider": "acme", "mode": "api_key"}}}});
        house.sandbox.write_config(&profile.to_string());
    }),
    ("legacy_id", |house| {
        house.sandbox.write_config(
            "{ auth: { profiles: { 'acme:default': { provider: 'acme', mode: 'oauth' } } } }",
        );
    }),
    ("manifest", |house| {
        house.sandbox.write_manifest("wrong", &json!({"id": "wrong", "flows": 7}));
    }),
    ("pin_missing", |house| {
        let path = house.sandbox.state().join("agents/main/sessions/sessions.json");
        write(&path, br#"{"s": {"authProfileOverride": "acme:gone"}}"#);
    }),
    ("shared_token", |house| {
        let store = house.sandbox.read_store("main");
        house.sandbox.seed_store("work", &store);
        mode(&house.sandbox.store_path("work"), 0o600);
        mode(&house.sandbox.agent_dir("work"), 0o700);
    }),
    ("shared_with_tool", |house| {
        let refresh = house.sandbox.profile("main", LOGIN)["refresh"].clone();
        let codex = json!({"tokens": {"refresh_token": refresh}});
        write(&house.sandbox.home().join(".codex/auth.json"), codex.to_string().as_bytes());
    }),
    ("second_state", |house| {
        fs::create_dir_all(house.sandbox.home().join(".moltbot/agents")).unwrap();
    }),
    ("reference", |house| {
        house.edit(|store| {
            let reference = json!({"source": "env", "id": "NO_SUCH_KEY"});
            store["profiles"]["acme:key"] =
                json!({"type": "api_key", "provider": "acme", "keyRef": reference});
        });
    }),
    ("unusable_key", |house| {
        house.edit(|store| {
            store["profiles"]["acme:key"] =
                json!({"type": "api_key", "provider": "acme", "key": "Bearer k-0123456789"});
        });
    }),
    ("agent_dir_ignored", |house| {
        let pi = house.sandbox.home().join(".pi/agent");
        house.sandbox.set_env("PI_CODING_AGENT_DIR", pi);
    }),
    ("long_rest", |house| {
        house.edit(|store| {
            store["usageStats"][LOGIN] = json!({"disabledUntil": now_ms() + 30 * 86_400_000});
        });
    }),
];

const OF_THE_WORLD: [Plant; 4] = [
    ("ca_file", |house| house.sandbox.set_env("CLAWDBOT_CA_FILE", "/no/such/file")),
    ("proxy", |house| house.sandbox.set_env("HTTPS_PROXY", "http://")),
    ("unreachable", |house| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        move_endpoint(house, port);
    }),
    ("clock_skew", |house| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        move_endpoint(house, listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let date = "Date: Mon, 01 Jan 2001 00:00:00 GMT";
                let _ = write!(
                    stream,
                    "HTTP/1.1 405 No\r\n{date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            }
        });
    }),
];

/// Moves the login to another endpoint on this machine.
fn move_endpoint(house: &mut House, port: u16) {
    let url = format!("http://127.0.0.1:{port}/token");
    let path = house.sandbox.state().join("providers/acme.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["endpoints"]["token"] = url.clone().into();
    write(&path, manifest.to_string().as_bytes());
    house.edit(|store| {
        store["profiles"][LOGIN]["destinations"] = json!([format!("http://127.0.0.1:{port}")]);
        store["profiles"][LOGIN]["tokenEndpoint"] = url.into();
    });
}

#[test]
fn every_planted_fault_is_found_with_its_cost_and_a_command() {
    for (code, plant) in FIXED.iter().chain(&FOUND).chain(&OF_THE_WORLD) {
        let mut house = House::healthy();
        let refresh = house.sandbox.profile("main", LOGIN)["refresh"].clone();
        let refresh = refresh.as_str().unwrap().to_owned();
        plant(&mut house);
        let (codes, run) = house.findings(&[]);
        assert!(codes.iter().any(|found| found == code), "{code} is not found: {run:#?}");
        for finding in run.json()["findings"].as_array().unwrap() {
            assert_ne!(finding["cost"], "", "{finding}");
        }
        let text = house.sandbox.run(&["doctor"]);
        assert_eq!(text.code, run.code, "{text:#?}");
        for secret in ["sk-0123456789abcdefghij", refresh.as_str()] {
            assert!(!run.stdout.contains(secret) && !text.stdout.contains(secret), "{code}");
        }
    }
}

#[test]
fn a_stored_key_that_cannot_be_one_is_named_with_the_command_that_replaces_it() {
    for (kind, member, odd) in [
        ("api_key", "key", "${ACME_KEY}"),
        ("api_key", "key", "\"k-0123456789\""),
        ("api_key", "key", "k-0123\u{200b}456789"),
        ("token", "token", "export ACME=k-0123456789"),
        ("token", "token", "k-01234\n56789"),
    ] {
        let house = House::healthy();
        house.edit(|store| {
            store["profiles"]["acme:key"] = json!({"type": kind, "provider": "acme", member: odd});
        });
        let (codes, run) = house.findings(&[]);
        assert!(codes.contains(&"unusable_key".to_owned()), "{odd}: {run:#?}");
        assert!(!run.stdout.contains("0123"), "{odd}: {run:#?}");
        let found = run.json()["findings"].clone();
        let found = found.as_array().unwrap().iter().find(|it| it["code"] == "unusable_key");
        let command = found.unwrap()["command"].as_str().unwrap().to_owned();
        let words: Vec<_> = command.split(' ').skip(1).collect();
        house.sandbox.run_with_input(&words, "k-good-0123456789").expect_code(0);
        assert_eq!(house.sandbox.profile("main", "acme:key")[member], "k-good-0123456789");
        let (codes, run) = house.findings(&[]);
        assert!(!codes.contains(&"unusable_key".to_owned()), "{odd}: {run:#?}");
    }
}

#[test]
fn what_is_safe_is_fixed_and_nothing_is_lost_by_it() {
    for (code, plant) in &FIXED {
        let mut house = House::healthy();
        let before = house.sandbox.read_store("main")["profiles"].clone();
        plant(&mut house);
        let run = house.sandbox.run(&["doctor", "--fix", "--json"]);
        let found = run.expect_code(0).json();
        let found = found["findings"].as_array().unwrap();
        assert!(
            found.iter().any(|it| it["code"] == *code && it["fixed"] == true),
            "{code}: {run:#?}"
        );
        // The damaged file is kept for the user.
        let kept: Vec<_> = found.iter().filter(|it| it["fixed"] == false).collect();
        let is_kept =
            *code == "store_damaged" && kept.iter().all(|it| it["code"] == "damaged_copy");
        assert!(kept.is_empty() || is_kept, "{code}: {run:#?}");
        assert_eq!(house.sandbox.read_store("main")["profiles"], before, "{code}");
    }
}

#[test]
fn what_is_not_safe_is_left_to_the_user() {
    for (code, plant) in &FOUND {
        let mut house = House::healthy();
        plant(&mut house);
        let store = fs::read(house.store()).ok();
        let (codes, run) = house.findings(&["--fix"]);
        assert!(codes.iter().any(|found| found == code), "{code} is gone: {run:#?}");
        assert_eq!(fs::read(house.store()).ok(), store, "{code}");
    }
}

/// Findings whose way out is not one command, and why.
const BY_HAND: [(&str, &str); 18] = [
    ("order_empty", "an editor: the order is in the config"),
    (
        "unmerged_answer",
        "what is planted is no token response; real ones are merged in it/profiles/crash.rs",
    ),
    ("dangling_link", "only the user knows what it should lead to"),
    ("hard_link", "the command finds the other name; which one goes is the user's choice"),
    ("directory_unreadable", "it shows what lies there"),
    ("store_superseded", "another program owns the file"),
    ("store_newer", "this program is updated"),
    ("store_unusable", "an editor"),
    ("unreadable_time", "an editor"),
    ("malformed_entry", "an editor"),
    ("unknown_provider", "a manifest is written"),
    ("config_unreadable", "an editor"),
    ("config_warning", "an editor"),
    ("mode_mismatch", "an editor"),
    ("legacy_id", "an editor"),
    ("manifest", "an editor"),
    ("second_state", "the user chooses one of two directories"),
    ("agent_dir_ignored", "a note: nothing is wrong"),
];

/// The command in what a finding says, if it has one that can be run as it stands.
fn runnable(said: &str) -> Option<String> {
    let starts = ["clawdbot ", "chmod ", "rm ", "mv ", "mkdir "];
    let at = starts.iter().filter_map(|start| said.find(start)).min()?;
    let command = said[at..].split(", then clawdbot").collect::<Vec<_>>().join(" && clawdbot");
    let command = command.split("; or ").next()?.split(", and log in").next()?;
    Some(command.trim_end_matches('`').to_owned())
}

/// Runs a command of a finding as a user would: they log in in a browser, and paste what is asked for.
fn follow(house: &House, command: &str) {
    let sandbox = &house.sandbox;
    let binary = e2e::sandbox::binary();
    let script = format!("clawdbot() {{ '{}' \"$@\"; }}\n{command}", binary.display());
    let words: Vec<_> = command.split(' ').collect();
    if words.starts_with(&["clawdbot", "models", "auth", "login"]) {
        let more: Vec<_> = words[4..].iter().copied().chain(["--no-browser"]).collect();
        let mut login = sandbox.start(&[&["models", "auth", "login"], &more[..]].concat());
        let url = login.authorization_url();
        e2e::user::User::named("anybody").visit(&url).unwrap();
        login.finish();
    } else if command.contains("paste-") {
        sandbox.run_with_input(&words[1..], "key-0123456789abcdef\n");
    } else {
        // Whether it helped is seen by looking again.
        sandbox.shell(&script);
    }
}

#[test]
fn every_command_of_a_finding_makes_it_go_or_is_named_as_no_command() {
    let (mut followed, mut by_hand) = (0, 0);
    let mut complaints = Vec::new();
    for (code, plant) in FIXED.into_iter().chain(FOUND) {
        let mut house = House::healthy();
        house.sandbox.allow_scripts();
        plant(&mut house);
        let (_, run) = house.findings(&["--offline"]);
        let findings = run.json()["findings"].as_array().unwrap().clone();
        let finding = findings
            .iter()
            .find(|it| it["code"] == code)
            .unwrap_or_else(|| panic!("{code}: {run:#?}"));
        let said = finding["command"].as_str().unwrap_or_default().to_owned();
        if BY_HAND.iter().any(|(known, _)| *known == code) {
            by_hand += 1;
            continue;
        }
        let Some(command) = runnable(&said) else {
            complaints.push(format!("{code}: no command in: {said}"));
            continue;
        };
        follow(&house, &command);
        let what = finding["what"].as_str().unwrap();
        let (_, after) = house.findings(&["--offline"]);
        let is_there =
            after.json()["findings"].as_array().unwrap().iter().any(|it| it["what"] == what);
        if is_there {
            complaints.push(format!("{code}: {command} did not help"));
        }
        followed += 1;
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(followed + by_hand, FIXED.len() + FOUND.len());
    assert!(followed > by_hand, "{followed} followed, {by_hand} by hand");
}
