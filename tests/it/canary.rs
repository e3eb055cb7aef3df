//! Marked secrets through every command and every failure, at the highest log level: what the program says, keeps,
//! passes on or leaves behind is searched for the marks, and they may be in the files that are there to hold them only.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use e2e::http::{self, Request, Response};
use e2e::now_ms;
use e2e::sandbox::{Finished, Running, Sandbox, set_mode, write};
use serde_json::{Value, json};

/// In the middle of every secret: a mask shows the beginning and the end.
const MARK: &str = "CANARY";
const PROFILE: &str = "acme:alice";
const LOGIN: [&str; 6] = ["models", "auth", "login", "--provider", "acme", "--no-browser"];
const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", "acme"];

/// A home, a provider that knows only marked secrets, and what was found where it should not be.
struct World {
    sandbox: Sandbox,
    issuer: String,
    script: Arc<Mutex<Script>>,
    leaks: Vec<String>,
}

/// What the provider answers, and what it came to know.
#[derive(Default)]
struct Script {
    /// The next answers of the token endpoint, before it grants everything.
    answers: VecDeque<Answer>,
    made: usize,
    /// Secrets that are no words of ours: verifiers.
    learned: Vec<String>,
    /// Where the sandbox is, by which its processes are known.
    home: PathBuf,
    leaks: Vec<String>,
    /// How many processes of ours were looked at while they waited for an answer.
    looked_at: usize,
}

/// An answer; those with a text have all that was asked in it.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Error(u16, &'static str),
    Nested(u16, &'static str),
    Text(u16, &'static str),
    Redirect,
    OtherAccount,
    NoAccess,
    WrongType,
}

impl World {
    fn new() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        let issuer = http::serve(move |request| shared.lock().unwrap().respond(request));
        let mut sandbox = Sandbox::new();
        sandbox.allow_scripts();
        sandbox.set_env("CLAWDBOT_LOG", "trace");
        sandbox.set_env("RUST_BACKTRACE", "full");
        sandbox.set_env("TMPDIR", sandbox.home().join("tmp"));
        sandbox.set_env("CLAWDBOT_LOCK_TIMEOUT", "1");
        for name in ["ACME_CLIENT_SECRET", "OTHER_API_KEY", "GH_TOKEN", "DB_PASSWORD"] {
            sandbox.set_env(name, secret(&name.to_lowercase()));
        }
        fs::create_dir(sandbox.home().join("tmp")).unwrap();
        script.lock().unwrap().home = sandbox.home();
        let manifest = json!({
            "id": "acme", "label": "Acme", "flows": ["authorization_code", "device_code", "token", "api_key"],
            "endpoints": {
                "authorization": format!("{issuer}/authorize"), "token": format!("{issuer}/token"),
                "device_authorization": format!("{issuer}/code"),
                "revocation": format!("{issuer}/revoke"), "userinfo": format!("{issuer}/who"),
            },
            "client_id": "client", "client_secret_env": ["ACME_CLIENT_SECRET"], "scopes": ["email"],
            "redirect": {"host": "127.0.0.1", "ports": [], "path": "/callback"},
            "identity": {"source": "access_token", "account": "/sub", "email": "/email"},
        });
        sandbox.write_manifest("acme", &manifest);
        Self { sandbox, issuer, script, leaks: Vec::new() }
    }

    /// The next answers of the token endpoint.
    fn next(&self, answers: &[Answer]) {
        self.script.lock().unwrap().answers = answers.iter().copied().collect();
    }

    /// Runs a command that has no reason to print a secret.
    fn run(&mut self, args: &[&str], input: &str) -> Finished {
        let run = self.sandbox.run_with_input(&verbose(args), input);
        self.check(&run, false);
        run
    }

    /// Runs a command whose output is a secret, and says nothing of it elsewhere.
    fn hand_out(&mut self, args: &[&str], input: &str) -> Finished {
        let run = self.sandbox.run_with_input(&verbose(args), input);
        self.check(&run, true);
        run
    }

    fn check(&mut self, run: &Finished, hands_out: bool) {
        let learned = self.script.lock().unwrap().learned.clone();
        let found = |text: &str| finds(text.as_bytes(), &learned);
        if found(&run.stderr) || (!hands_out && found(&run.stdout)) {
            self.leaks.push(format!("said by {run:#?}"));
        }
        if run.code.is_none_or(|code| code == 101) || run.stderr.contains("panicked") {
            self.leaks.push(format!("not ended as it should: {run:#?}"));
        }
    }

    /// Begins a login. The program, and the address that ends it with this query.
    fn begin_login(&self) -> (Running, impl Fn(&str) -> String + use<>) {
        let mut login = self.sandbox.start(&verbose(&LOGIN));
        let url = login.authorization_url();
        let query = http::decode(url.split_once('?').unwrap().1);
        let get = |name| http::find(&query, name).unwrap().to_owned();
        let (redirect, state) = (get("redirect_uri"), get("state"));
        (login, move |query| format!("{redirect}?{}", query.replace("STATE", &state)))
    }

    /// Opens an address of the listener; the page must say nothing of what was asked.
    fn browse(&mut self, url: &str) {
        let page = http::get(url).unwrap();
        let all = format!("{:?} {}", page.headers, page.text());
        if finds(all.as_bytes(), &[]) {
            self.leaks.push(format!("on the page of {url}: {all}"));
        }
    }

    /// An expired login, as this program would have stored it.
    fn seed(&self) {
        let mut script = self.script.lock().unwrap();
        let (access, refresh) = (script.access("alice"), script.name("refresh"));
        let profile = json!({
            "type": "oauth", "provider": "acme", "access": access, "refresh": refresh,
            "expires": now_ms() - 60_000, "obtainedAt": now_ms() - 3_660_000, "accountId": "alice",
            "clientId": "client", "tokenEndpoint": format!("{}/token", self.issuer),
        });
        self.sandbox.seed_store("main", &json!({"version": 1, "profiles": {PROFILE: profile}}));
    }

    /// All that was found, at last in what the sandbox holds now.
    fn leaks(mut self) -> Vec<String> {
        let script = self.script.lock().unwrap();
        self.leaks.extend(script.leaks.iter().cloned());
        let root = self.sandbox.home().parent().unwrap().to_owned();
        self.leaks.extend(search(&root, &script.learned));
        self.leaks
    }
}

impl Script {
    fn respond(&mut self, request: &Request) -> Response {
        self.look_at_processes();
        let fields = request.fields();
        self.learned.extend(http::find(&fields, "code_verifier").map(str::to_owned));
        let everything = format!("{fields:?} {:?}", request.headers);
        match request.path() {
            "/token" => match self.answers.pop_front() {
                Some(answer) => self.play(answer, &everything),
                None => Response::json(200, &self.grant("alice")),
            },
            "/code" => Response::json(
                200,
                &json!({
                    "device_code": self.name("device"), "user_code": "ABCD-EFGH", "interval": 1,
                    "verification_uri": "https://acme.example/device", "expires_in": 600,
                }),
            ),
            _ => Response::json(503, &json!({"error": "no", "error_description": everything})),
        }
    }

    fn play(&mut self, answer: Answer, asked: &str) -> Response {
        match answer {
            Answer::Error(status, code) => {
                let body = json!({"error": code, "error_description": format!("no: {asked}")});
                Response::json(status, &body)
            }
            Answer::Nested(status, code) => {
                let body = json!({"error": {"code": code, "message": asked, "type": asked}});
                Response::json(status, &body)
            }
            Answer::Text(status, kind) => Response::new(status, kind, asked),
            Answer::Redirect => {
                Response::redirect(&format!("http://127.0.0.1:9/?{}", secret("redirect")))
            }
            Answer::OtherAccount => Response::json(200, &self.grant("mallory")),
            Answer::NoAccess => {
                Response::json(200, &json!({"refresh_token": self.name("refresh")}))
            }
            Answer::WrongType => {
                let body =
                    json!({"access_token": {"token": self.name("access")}, "expires_in": asked});
                Response::json(200, &body)
            }
        }
    }

    fn grant(&mut self, account: &str) -> Value {
        json!({
            "access_token": self.access(account), "refresh_token": self.name("refresh"),
            "id_token": self.access(account), "token_type": "Bearer", "expires_in": 3600,
        })
    }

    fn access(&mut self, account: &str) -> String {
        let claims = json!({"sub": account, "email": format!("{account}@example.test")});
        format!("e30.{}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()), self.name("access"))
    }

    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        secret(&format!("{kind}-{:04}", self.made))
    }

    /// While we are asked something, a process of the sandbox waits for the answer.
    fn look_at_processes(&mut self) {
        let home = self.home.to_str().unwrap().to_owned();
        let (looked_at, leaks) = look_at_processes(&home);
        self.looked_at += looked_at;
        self.leaks.extend(leaks);
    }
}

/// The processes of the sandbox: none has a secret among its arguments, and the one that refreshes only the secret of
/// the environment that it needs.
fn look_at_processes(home: &str) -> (usize, Vec<String>) {
    let (mut looked_at, mut leaks) = (0, Vec::new());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let text = |name: &str| String::from_utf8_lossy(&read(name)).replace('\0', " ");
        let (arguments, environment) = (text("cmdline"), text("environ"));
        if !arguments.contains(home) && !environment.contains(home) {
            continue;
        }
        looked_at += 1;
        if finds(arguments.as_bytes(), &[]) {
            leaks.push(format!("an argument: {arguments}"));
        }
        let needed = environment.replace(&secret("acme_client_secret"), "");
        if arguments.contains("__refresh") && finds(needed.as_bytes(), &[]) {
            leaks.push(format!("in the environment of {arguments}: {environment}"));
        }
    }
    (looked_at, leaks)
}

fn secret(kind: &str) -> String {
    format!("{kind}-first-{MARK}-last-{kind}")
}

fn verbose<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let (ours, theirs) =
        args.split_at(args.iter().position(|it| *it == "--").unwrap_or(args.len()));
    [ours, &["--verbose"], theirs].concat()
}

/// Whether one of the marks is in there, as it is, in other letters, or encoded.
fn finds(bytes: &[u8], learned: &[String]) -> bool {
    let mut needles = vec![MARK.to_owned(), MARK.to_lowercase()];
    // The middle of its three forms in base64, by where it begins.
    for start in 0..3 {
        let encoded = STANDARD_NO_PAD.encode(format!("{}{MARK}", &"xx"[..start.min(2)]));
        needles.push(encoded[[0, 2, 3][start]..[8, 8, 9][start]].to_owned());
    }
    needles.push("43414e415259".to_owned());
    needles.extend(learned.iter().cloned());
    needles.iter().any(|it| bytes.windows(it.len()).any(|part| part == it.as_bytes()))
}

/// The files below `root` that have a mark in their name or content and may not.
fn search(root: &Path, learned: &[String]) -> Vec<String> {
    let mut leaks = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let shown = path.display().to_string();
        if finds(entry.file_name().to_string_lossy().as_bytes(), &[]) {
            leaks.push(format!("the name {shown}"));
        }
        if path.is_dir() {
            leaks.extend(search(&path, learned));
            continue;
        }
        let content = fs::read(&path).unwrap_or_default();
        if finds(&content, learned) && !may_hold_secrets(&path) {
            leaks.push(format!("in {shown}: {}", String::from_utf8_lossy(&content)));
        }
    }
    leaks
}

/// The files that are there to hold secrets, and what the tests themselves put into the home.
fn may_hold_secrets(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    let folder = path.parent().unwrap().file_name().unwrap().to_string_lossy();
    match folder.as_ref() {
        "agent" => {
            let of_a_refresh = name.starts_with(".auth-refresh.") && name.ends_with(".answer");
            let damaged = name.starts_with("auth-profiles.json.corrupt.");
            ["auth-profiles.json", ".auth-profiles.json.bak", "auth.json"].contains(&name.as_ref())
                || of_a_refresh
                || damaged
        }
        "logins" => name.ends_with(".json"),
        "by-hand" | ".codex" => true,
        _ => false,
    }
}

#[track_caller]
fn expect_none(leaks: &[String]) {
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// The control: a secret that is put where it should not be is found there, whatever the place.
#[test]
fn a_planted_secret_is_found_wherever_it_is() {
    let mut world = World::new();
    let planted = secret("planted");
    let encoded = STANDARD_NO_PAD.encode(format!("user:{planted}"));
    for (place, text) in [
        ("home/tmp/left", planted.as_str()),
        ("home/.clawdbot/locks/refresh/record", encoded.as_str()),
        ("home/.clawdbot/agents/main/agent/.auth-profiles.flock", planted.as_str()),
        ("home/core", &format!("\0\0{planted}\0")),
    ] {
        write(&world.sandbox.home().parent().unwrap().join(place), text.as_bytes());
    }
    write(&world.sandbox.home().join("tmp").join(&planted), b"");
    let said = |stdout: &str, stderr: &str, code| Finished {
        args: Vec::new(),
        code: Some(code),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    };
    world.check(&said("", &planted, 0), true);
    world.check(&said(&planted, "", 0), false);
    world.check(&said(&planted, "", 0), true);
    world.check(&said("", "thread 'main' panicked", 101), false);
    assert_eq!(world.leaks.len(), 3);
    if cfg!(target_os = "linux") {
        // A process of the sandbox that has the secret among its arguments and in its environment.
        let mut careless = Command::new("sh");
        careless.args(["-c", "read line", "__refresh", &planted]).env("HOME", world.sandbox.home());
        let mut child = careless.env("X", &planted).stdin(Stdio::piped()).spawn().unwrap();
        let home = world.sandbox.home().to_str().unwrap().to_owned();
        let (looked_at, leaks) = look_at_processes(&home);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((looked_at, leaks.len()), (1, 2), "{leaks:#?}");
    }
    let all = world.leaks();
    assert_eq!(all.len(), 3 + 5, "{all:#?}");
}

#[test]
fn no_login_leaks_a_secret_however_it_ends() {
    let mut world = World::new();
    let code = secret("code");

    // Refused by the person.
    let (login, ends_on) = world.begin_login();
    let url = ends_on(&format!("error=access_denied&error_description={code}&state=wrong"));
    world.browse(&url);
    world.browse(&ends_on("error=access_denied&error_description=no&state=STATE"));
    let run = login.finish();
    world.check(&run, false);
    run.expect_code(4);

    // Wrong states and half answers, in the browser and pasted; then an exchange that fails.
    for answer in [
        Answer::Error(400, "invalid_grant"),
        Answer::Nested(401, "invalid_client"),
        Answer::Text(200, "text/html"),
        Answer::Redirect,
        Answer::WrongType,
    ] {
        world.next(&[answer]);
        let (mut login, ends_on) = world.begin_login();
        world.browse(&ends_on(&format!("code={code}&state=wrong")));
        world.browse(&ends_on(&format!("code={code}&code={code}&state=STATE")));
        login.type_in(&format!("{}\n", ends_on(&format!("code={code}&state=wrong"))));
        login.type_in(&format!("{code}\nhttps://evil.example/?code={code}&state=x\n"));
        world.browse(&ends_on(&format!("code={code}&state=STATE")));
        let run = login.finish();
        world.check(&run, false);
        assert_ne!(run.code, Some(0), "{answer:?}: {run:#?}");
    }

    // In two steps: a wrong address, a failing exchange, and a last one that works.
    let start = ["models", "auth", "login", "--provider", "acme", "--start", "--json"];
    for answers in [&[Answer::Error(400, "invalid_grant")][..], &[]] {
        world.next(answers);
        let begun = world.run(&start, "").json();
        let url = begun["url"].as_str().unwrap();
        let query = http::decode(url.split_once('?').unwrap().1);
        let state = http::find(&query, "state").unwrap().to_owned();
        let redirect = begun["redirectUri"].as_str().unwrap().to_owned();
        let finish = ["models", "auth", "login", "--provider", "acme", "--finish", "-"];
        world.run(&finish, &format!("{redirect}?code={code}&state=wrong"));
        let run = world.run(&finish, &format!("{redirect}?code={code}&state={state}"));
        assert_eq!(run.code == Some(0), answers.is_empty(), "{run:#?}");
    }

    // By the browser, and by a code on another device.
    let (login, ends_on) = world.begin_login();
    world.browse(&ends_on(&format!("code={code}&state=STATE")));
    let run = login.finish();
    world.check(&run, false);
    run.expect_code(0);
    for answers in [&[Answer::Error(400, "access_denied")][..], &[]] {
        world.next(answers);
        world.run(&["models", "auth", "login", "--provider", "acme", "--device-code"], "");
    }
    assert!(world.script.lock().unwrap().learned.len() > 5, "no verifier was seen");
    expect_none(&world.leaks());
}

#[test]
fn no_refresh_leaks_a_secret_however_it_ends() {
    let mut world = World::new();
    let refresh = ["models", "auth", "refresh", PROFILE, "--force"];
    for answer in [
        Answer::Error(400, "invalid_grant"),
        Answer::Nested(401, "refresh_token_reused"),
        Answer::Error(400, "invalid_client"),
        Answer::Error(503, "temporarily_unavailable"),
        Answer::Error(418, "something_new"),
        Answer::Text(200, "text/html"),
        Answer::Text(200, "application/json"),
        Answer::Text(429, "text/plain"),
        Answer::Redirect,
        Answer::OtherAccount,
        Answer::NoAccess,
        Answer::WrongType,
    ] {
        world.seed();
        world.next(&[answer]);
        let run = world.run(&refresh, "");
        assert_ne!(run.code, Some(0), "{answer:?}: {run:#?}");
        world.next(&[]);
        let _ = world.hand_out(&[&TOKEN[..], &["--json", "--no-refresh"]].concat(), "");
        world.run(&["models", "status"], "");
        world.run(&["models", "auth", "list", "--json"], "");
        world.run(&["doctor"], "");
    }
    world.next(&[]);
    world.seed();
    world.hand_out(&TOKEN, "").expect_code(0);
    let looked_at = world.script.lock().unwrap().looked_at;
    assert!(looked_at > 0 || !cfg!(target_os = "linux"), "no process was looked at");
    expect_none(&world.leaks());
}

#[test]
fn no_command_leaks_a_secret() {
    let mut world = World::new();
    world.seed();
    world.hand_out(&TOKEN, "").expect_code(0);
    let key = secret("key");
    world.run(&["models", "auth", "paste-api-key", "--provider", "other"], &key).expect_code(0);
    world.run(&["models", "auth", "paste-token", "--provider", "third"], &key).expect_code(0);
    world.run(&["models", "auth", "setup-token", "--yes"], &key);

    // Somebody types a key where a name belongs.
    world
        .run(&["models", "auth", "paste-api-key", "--provider", "other", &key], "")
        .expect_code(64);
    world.run(&["models", "auth", "paste-token", &format!("--token={key}")], "").expect_code(64);

    let elsewhere = world.sandbox.home().join("by-hand");
    let helper = elsewhere.join("helper");
    write(&helper, format!("#!/bin/sh\necho {key} >&2\necho {key}\nexit ${{1:-0}}\n").as_bytes());
    set_mode(&helper, 0o755);
    for end in ["0", "3"] {
        let command = format!("{} {end}", helper.display());
        let args = ["models", "auth", "paste-api-key", "--provider", "kept", "--from-command"];
        world.run(&[&args[..], &[&command]].concat(), "");
        world.hand_out(&["models", "auth", "token", "--provider", "kept"], "");
    }

    for args in [
        "models status",
        "models status --json",
        "models status --check",
        "models status --probe --probe-timeout 2s",
        "models status --probe --json",
        "models auth list",
        "models auth list --json",
        "models auth explain",
        "models auth explain --json",
        "models auth order get --provider acme",
        "models auth order set --provider acme acme:alice",
        "models auth report acme:alice --failed rate_limit",
        "models auth cooldown list",
        "models auth cooldown clear",
        "channels list --json",
        "agents list --json",
        "agents add work --workspace ws --non-interactive",
        "agents share work --from main",
        "models auth list --agent work",
        "agents share work --none",
        "models auth token --agent work --provider acme",
        "sessions list",
        "plugins list",
        "doctor",
        "doctor --json",
        "doctor --fix",
    ] {
        world.run(&args.split(' ').collect::<Vec<_>>(), "");
    }
    for args in [
        &["models", "auth", "token", "--provider", "acme", "--format", "header"][..],
        &["models", "auth", "token", "--provider", "acme", "--format", "exec-credential"],
        &["models", "auth", "env", "--provider", "other"],
        &["models", "auth", "exec", "--provider", "other", "--", "sh", "-c", "echo $OTHER_API_KEY"],
    ] {
        world.hand_out(args, "");
    }

    // What providers say about a failure, with the key in it.
    let body = json!({"error": {"code": "x", "message": format!("bad key {key} ({key})")}});
    let answer = format!("HTTP/1.1 401 No\r\nx-key: {key}\r\n\r\n{body}");
    world.run(&["models", "auth", "report", "other:default", "--from-response"], &answer);
    world.run(&["models", "auth", "report", "other:default", "--from-response"], &key);
    world.run(&["models", "auth", "list"], "");
    world.run(&["models", "auth", "explain", "--provider", "other"], "");

    // Logins of other tools, whole and damaged.
    let codex = world.sandbox.home().join(".codex/auth.json");
    let tokens = json!({"access_token": key, "refresh_token": key, "account_id": "a"});
    let whole = json!({"tokens": tokens, "OPENAI_API_KEY": key}).to_string();
    for text in [&whole[..whole.len() - 5], &whole, &format!("{{\"tokens\": \"{key}\"}}")] {
        write(&codex, text.as_bytes());
        world.run(&["models", "auth", "import", "--from", "codex"], "");
        world.run(&["models", "auth", "import", "--from", "codex", "--access-only"], "");
        world.run(&["doctor"], "");
    }

    // Logouts that cannot be revoked: the issuer repeats all it was asked.
    world.run(&["models", "auth", "logout", PROFILE], "").expect_code(5);
    world.run(&["models", "auth", "remove", "other:default"], "").expect_code(0);
    expect_none(&world.leaks());
}

#[test]
fn no_damaged_file_makes_us_repeat_a_secret() {
    let mut world = World::new();
    let key = secret("key");
    let store = world.sandbox.store_path("main");
    let profile =
        |more: &str| format!(r#"{{"type":"api_key","provider":"acme","key":"{key}"{more}}}"#);
    let whole = format!(r#"{{"version":1,"profiles":{{"acme:a":{}}}}}"#, profile(""));
    let odd = |profile: &str| format!(r#"{{"version":1,"profiles":{{"acme:a":{profile}}}}}"#);
    for text in [
        whole[..whole.len() - 9].to_owned(),
        format!("{whole}{key}"),
        whole.replace("\"key\"", &format!("\"{key}\"")),
        odd(&profile(&format!(r#","key":"{key}""#))),
        odd(&format!("\"{key}\"")),
        odd(&format!(r#"{{"type":"{key}","provider":"acme"}}"#)),
        odd(&format!(
            r#"{{"type":"oauth","provider":"acme","access":["{key}"],"refresh":{{"{key}":1}}}}"#
        )),
        odd(&profile(&format!(r#","expires":"{key}","email":5"#))),
        format!(r#"{{"version":"{key}","profiles":{{}}}}"#),
        format!("\"{key}\""),
        key.clone(),
    ] {
        write(&store, text.as_bytes());
        for args in [
            "models auth list",
            "models auth list --json",
            "models auth token --provider acme --json",
            "doctor",
            "doctor --json",
            "models auth order set --provider acme acme:a",
        ] {
            let hands_out = args.contains(" token ");
            let args: Vec<&str> = args.split(' ').collect();
            let run = world.sandbox.run(&verbose(&args));
            world.check(&run, hands_out && run.code == Some(0));
        }
    }
    write(&store, whole.as_bytes());
    fs::create_dir(world.sandbox.agent_dir("main").join("auth-profiles.json.lock")).unwrap();
    world.run(&["models", "auth", "remove", "acme:a"], "").expect_code(7);
    expect_none(&world.leaks());
}

/// A plugin that says all it is told, wherever it can, and ends in every way.
#[cfg(unix)]
#[test]
fn no_plugin_makes_us_repeat_a_secret() {
    let plugin = r#"#!/bin/sh
echo '{"type":"hello","versions":[1],"id":"loud","operations":["login","refresh","revoke"]}'
read -r line
env > "$HOME/tmp/environment-of-the-plugin"
echo "$line" >&2
token=$(printf %s "$line" | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')
END
"#;
    let mut world = World::new();
    for end in [
        r#"echo "{\"type\":\"error\",\"kind\":\"rejected\",\"message\":\"no $token\"}""#,
        r#"echo "{\"type\":\"error\",\"kind\":\"unavailable\",\"message\":\"$token\"}""#,
        r#"echo "{\"type\":\"$token\"}""#,
        r#"echo "$line""#,
        r#"echo "not json $token""#,
        "exit 9",
        "kill -9 $$",
    ] {
        world.sandbox.install_plugin("loud", plugin.replace("END", end).as_bytes());
        world.seed();
        world.sandbox.edit_store("main", |store| {
            let profile = &mut store["profiles"][PROFILE];
            profile["provider"] = "loud".into();
            profile["tokenEndpoint"] = "plugin:loud".into();
        });
        let run = world.run(&["models", "auth", "refresh", PROFILE, "--force"], "");
        assert_ne!(run.code, Some(0), "{end}: {run:#?}");
        world.run(&["models", "auth", "logout", PROFILE], "");
    }
    assert!(world.sandbox.home().join("tmp/environment-of-the-plugin").exists());
    expect_none(&world.leaks());
}
