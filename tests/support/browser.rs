//! A real headless Chromium, driven by `WebDriver` (<https://www.w3.org/TR/webdriver2/>).

use crate::http;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A browser with a fresh profile. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser. It makes no network requests of its own: no updates, synchronization or
    /// reports.
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts; is it installed? cargo xtask setup");
        let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
        let port = loop {
            let line = lines.next().expect("the driver says its port").expect("a line of text");
            if let Some(rest) = line.split("started successfully on port ").nth(1) {
                break rest.trim_end_matches('.').to_owned();
            }
        };
        let profile = tempfile::tempdir().expect("a temporary directory");
        let options = json!({ "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=800,600",
            format!("--user-data-dir={}", profile.path().display()),
        ]});
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let all = format!("http://127.0.0.1:{port}/session");
        let begun = ask("POST", &all, &wanted);
        let id = begun["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {begun}"));
        let browser = Self { driver, session: format!("{all}/{id}"), _profile: profile };
        browser.post("timeouts", &json!({ "implicit": 30_000 }));
        browser
    }

    fn post(&self, what: &str, body: &Value) -> Value {
        ask("POST", &format!("{}/{what}", self.session), body)
    }

    /// Goes to an address.
    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// The address of the page.
    pub fn address(&self) -> String {
        let reply = ask("GET", &format!("{}/url", self.session), &Value::Null);
        reply.as_str().unwrap_or_default().to_owned()
    }

    /// Waits for an element, and returns its `WebDriver` handle.
    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|it| it.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no {selector} on {}: {found}", self.address())).to_owned()
    }

    /// Types into a field.
    #[track_caller]
    pub fn type_into(&self, selector: &str, text: &str) {
        let id = self.element(selector);
        self.post(&format!("element/{id}/value"), &json!({ "text": text }));
    }

    /// Clicks an element.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let id = self.element(selector);
        self.post(&format!("element/{id}/click"), &json!({}));
    }

    /// The visible text of an element.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let id = self.element(selector);
        let text = ask("GET", &format!("{}/element/{id}/text", self.session), &Value::Null);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The result of a script.
    pub fn evaluate(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Sets the user's preferred color scheme: `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let command =
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.post("goog/cdp/execute", &command);
    }

    /// A screenshot of the window, as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let reply = ask("GET", &format!("{}/screenshot", self.session), &Value::Null);
        STANDARD.decode(reply.as_str().unwrap_or_default()).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = http::send("DELETE", &self.session, &[], &[]);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Sends a `WebDriver` command; returns the value of its response, which may be an error.
fn ask(method: &str, url: &str, body: &Value) -> Value {
    let body = if method == "GET" { String::new() } else { body.to_string() };
    let kind = [("content-type", "application/json")];
    let reply = http::send(method, url, &kind, body.as_bytes()).expect("the driver answers");
    let reply: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    reply["value"].clone()
}
