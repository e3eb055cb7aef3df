//! `serve` and `clients`: the real program between real clients and a provider of ours.

mod doors;
mod exec;
mod page;
mod proxy;
mod refresh;
mod remote;
mod rights;
mod tools;

use std::net::SocketAddr;

use e2e::http::{self, Response};
use e2e::now_ms;
use e2e::sandbox::{Finished, Running, Sandbox, kill_with};
use e2e::upstream::{Behaviour, Upstream};
use serde_json::{Value, json};

/// A home with keys of the provider `acme`, whose API is ours.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) upstream: Upstream,
}

impl World {
    /// Keys in this order; each profile is called after its key.
    pub(crate) fn with_keys(keys: &[&str]) -> Self {
        let (sandbox, upstream) = (Sandbox::new(), Upstream::start());
        sandbox.write_manifest("acme", &manifest(&upstream));
        let mut profiles = serde_json::Map::new();
        for key in keys {
            upstream.set(key, Behaviour::Serve);
            let profile = json!({"type": "api_key", "provider": "acme", "key": key, "destinations": [upstream.url()]});
            profiles.insert(format!("acme:{key}"), profile);
        }
        let order: Vec<String> = keys.iter().map(|key| format!("acme:{key}")).collect();
        sandbox.seed_store(
            "main",
            &json!({"version": 1, "profiles": profiles, "order": {"acme": order}}),
        );
        Self { sandbox, upstream }
    }

    pub(crate) fn run(&self, words: &str) -> Finished {
        self.sandbox.run(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// Adds a client, and returns its token.
    pub(crate) fn client(&self, words: &str) -> String {
        self.run(&format!("clients add {words}")).expect_code(0).line().to_owned()
    }

    /// Starts the server on a free port, and waits until it is ready.
    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        let mut running =
            self.sandbox.start(&[&["serve", "--listen", "127.0.0.1:0"], more].concat());
        let line = running.next_line().unwrap_or_default();
        let address = line.strip_prefix("listening on http://").and_then(|it| it.parse().ok());
        let address = address.unwrap_or_else(|| panic!("not listening: {line}"));
        Server { running, address }
    }

    /// When the cooldown of a profile ends, as the store has it.
    pub(crate) fn cooldown(&self, id: &str) -> Option<u64> {
        self.sandbox.read_store("main")["usageStats"][id]["cooldownUntil"].as_u64()
    }
}

/// The provider `acme`, whose API is `upstream`.
pub(crate) fn manifest(upstream: &Upstream) -> Value {
    json!({
        "id": "acme", "label": "Acme", "flows": ["api_key"],
        "api": {"base": format!("{}/v1", upstream.url())},
    })
}

/// A server that listens.
pub(crate) struct Server {
    running: Running,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// `POST /acme/chat/completions` with a client's token.
    pub(crate) fn ask(&self, token: &str) -> Response {
        self.post("/acme/chat/completions", token, &json!({"model": "m"}))
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> Response {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        http::send("POST", &self.url(path), &headers, body.to_string().as_bytes()).unwrap()
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Response {
        let bearer = format!("Bearer {token}");
        http::send("GET", &self.url(path), &[("authorization", &bearer)], &[]).unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        kill_with("TERM", self.running.id());
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Finished {
        self.running.finish()
    }

    /// Ends it, with everything written that waits.
    pub(crate) fn stop(self) -> Finished {
        self.terminate();
        self.finish()
    }

    /// Ends it at once, with nothing written any more.
    pub(crate) fn kill(self) {
        self.running.kill_only();
    }
}

/// The refusal of a limit that ends in so many seconds.
pub(crate) fn limited(seconds: &'static str) -> Behaviour {
    let body = json!({"error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"}});
    Behaviour::Refuse(429, vec![("retry-after", seconds)], body)
}

/// Milliseconds from now.
pub(crate) fn from_now(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap() - i64::try_from(now_ms()).unwrap()
}
