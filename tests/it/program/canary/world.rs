//! A home and a provider in which every secret is marked, and the search for the marks.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use e2e::http::{self, Request, Response};
use e2e::now_ms;
use e2e::sandbox::{Finished, Running, Sandbox};
use serde_json::{Value, json};

/// A home, a provider that accepts only marked secrets, and the leaks found so far.
pub(super) struct World {
    pub(super) sandbox: Sandbox,
    issuer: String,
    pub(super) script: Arc<Mutex<Script>>,
    pub(super) leaks: Vec<String>,
}

/// The provider's responses, and the secrets it received.
#[derive(Default)]
pub(super) struct Script {
    /// The next responses of the token endpoint; after them it grants everything.
    replies: VecDeque<Reply>,
    made: usize,
    /// Secrets that we generate without a mark: PKCE verifiers.
    pub(super) learned: Vec<String>,
    /// The path of the sandbox, which identifies its processes.
    home: PathBuf,
    leaks: Vec<String>,
    /// How many of our processes were inspected while they waited for a response.
    pub(super) looked_at: usize,
}

/// A response; those with a text repeat the whole request in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Error(u16, &'static str),
    Nested(u16, &'static str),
    Text(u16, &'static str),
    Redirect,
    OtherAccount,
    NoAccess,
    WrongType,
}

impl World {
    pub(super) fn new() -> Self {
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

    /// The next responses of the token endpoint.
    pub(super) fn next(&self, replies: &[Reply]) {
        self.script.lock().unwrap().replies = replies.iter().copied().collect();
    }

    /// Runs a command that must not print a secret.
    pub(super) fn run(&mut self, args: &[&str], input: &str) -> Finished {
        let run = self.sandbox.run_with_input(&verbose(args), input);
        self.check(&run, false);
        run
    }

    /// Runs a command that outputs a secret, and must not reveal it elsewhere.
    pub(super) fn token_output(&mut self, args: &[&str], input: &str) -> Finished {
        let run = self.sandbox.run_with_input(&verbose(args), input);
        self.check(&run, true);
        run
    }

    pub(super) fn check(&mut self, run: &Finished, hands_out: bool) {
        let learned = self.script.lock().unwrap().learned.clone();
        let found = |text: &str| finds(text.as_bytes(), &learned);
        if found(&run.stderr) || (!hands_out && found(&run.stdout)) {
            self.leaks.push(format!("said by {run:#?}"));
        }
        if run.code.is_none_or(|code| code == 101) || run.stderr.contains("panicked") {
            self.leaks.push(format!("not ended as it should: {run:#?}"));
        }
    }

    /// Begins a login. Returns the program, and the redirect URL with a given query.
    pub(super) fn begin_login(&self) -> (Running, impl Fn(&str) -> String + use<>) {
        let mut login = self.sandbox.start(&verbose(&LOGIN));
        let url = login.authorization_url();
        let query = http::decode(url.split_once('?').unwrap().1);
        let get = |name| http::find(&query, name).unwrap().to_owned();
        let (redirect, state) = (get("redirect_uri"), get("state"));
        (login, move |query| format!("{redirect}?{}", query.replace("STATE", &state)))
    }

    /// Opens an address of the listener; the page must not repeat the request.
    pub(super) fn browse(&mut self, url: &str) {
        let page = http::get(url).unwrap();
        let all = format!("{:?} {}", page.headers, page.text());
        if finds(all.as_bytes(), &[]) {
            self.leaks.push(format!("on the page of {url}: {all}"));
        }
    }

    /// An expired login, as this program would have stored it.
    pub(super) fn seed(&self) {
        let mut script = self.script.lock().unwrap();
        let (access, refresh) = (script.access("alice"), script.name("refresh"));
        let profile = json!({
            "type": "oauth", "provider": "acme", "access": access, "refresh": refresh,
            "expires": now_ms() - 60_000, "obtainedAt": now_ms() - 3_660_000, "accountId": "alice",
            "clientId": "client", "tokenEndpoint": format!("{}/token", self.issuer),
        });
        self.sandbox.seed_store("main", &json!({"version": 1, "profiles": {PROFILE: profile}}));
    }

    /// All leaks, finally including those in the sandbox's files.
    pub(super) fn leaks(mut self) -> Vec<String> {
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
            "/token" => match self.replies.pop_front() {
                Some(reply) => self.play(reply, &everything),
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

    fn play(&mut self, reply: Reply, asked: &str) -> Response {
        match reply {
            Reply::Error(status, code) => {
                let body = json!({"error": code, "error_description": format!("no: {asked}")});
                Response::json(status, &body)
            }
            Reply::Nested(status, code) => {
                let body = json!({"error": {"code": code, "message": asked, "type": asked}});
                Response::json(status, &body)
            }
            Reply::Text(status, kind) => Response::new(status, kind, asked),
            Reply::Redirect => {
                Response::redirect(&format!("http://127.0.0.1:9/?{}", secret("redirect")))
            }
            Reply::OtherAccount => Response::json(200, &self.grant("mallory")),
            Reply::NoAccess => Response::json(200, &json!({"refresh_token": self.name("refresh")})),
            Reply::WrongType => {
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

    /// During a request to the provider, a process of the sandbox waits for the response.
    fn look_at_processes(&mut self) {
        let home = self.home.to_str().unwrap().to_owned();
        let (looked_at, leaks) = look_at_processes(&home);
        self.looked_at += looked_at;
        self.leaks.extend(leaks);
    }
}

/// Inspects the processes of the sandbox: none has a secret among its arguments, and the one that
/// refreshes has only the environment secret that it needs.
pub(super) fn look_at_processes(home: &str) -> (usize, Vec<String>) {
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

pub(super) fn secret(kind: &str) -> String {
    format!("{kind}-first-{MARK}-last-{kind}")
}

pub(super) fn verbose<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let (ours, theirs) =
        args.split_at(args.iter().position(|it| *it == "--").unwrap_or(args.len()));
    [ours, &["--verbose"], theirs].concat()
}

/// Whether one of the marks occurs: unchanged, in another letter case, or encoded.
fn finds(bytes: &[u8], learned: &[String]) -> bool {
    let mut needles = vec![MARK.to_owned(), MARK.to_lowercase()];
    // The middle of its three base64 forms, which depend on the start position.
    for start in 0..3 {
        let encoded = STANDARD_NO_PAD.encode(format!("{}{MARK}", &"xx"[..start.min(2)]));
        needles.push(encoded[[0, 2, 3][start]..[8, 8, 9][start]].to_owned());
    }
    needles.push("43414e415259".to_owned());
    needles.extend(learned.iter().cloned());
    needles.iter().any(|it| bytes.windows(it.len()).any(|part| part == it.as_bytes()))
}

/// The files below `root` with a mark in their name or content that must not have one.
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

/// The files that store secrets, and the files that the tests themselves put into the home.
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

/// In the middle of every secret: a mask shows the beginning and the end.
const MARK: &str = "CANARY";
pub(super) const PROFILE: &str = "acme:alice";
const LOGIN: [&str; 6] = ["models", "auth", "login", "--provider", "acme", "--no-browser"];
