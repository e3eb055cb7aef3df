//! `resolve`: the result of requesting a profile, refreshed through a token endpoint with the
//! responses of the case.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_providers::refresh::{RefreshError, Wanted};
use auth_providers::token_source::{Flights, TokenSink, Warm};
use auth_providers::{HttpError, HttpRequest, HttpResponse, Method, Providers, RefreshTarget};
use auth_routing::health::repair;
use auth_routing::{Config, Pin, Routing, plan};
use auth_store::{Credential, Document, ProfileId, ProviderId, StateDirectory, Store, trim};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::reference::{On, coerced, merged};
use crate::routing::{document, now, text};

pub(crate) fn run(input: &Value) -> Result<Value, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = |agent: &str| folder.path().join(agent).join("auth-profiles.json");
    for agent in AGENTS {
        let directory = folder.path().join(agent);
        std::fs::create_dir(directory).map_err(|error| error.to_string())?;
        if input[agent].is_object() {
            let text = without_margin(&input[agent], &input["now"]).to_string();
            auth_store::write_atomic(&path(agent), text.as_bytes())
                .map_err(|error| error.to_string())?;
        }
    }
    let own = if input["agent"] == "sub" { "sub" } else { "main" };
    let store = Store::at(path(own));
    let document = store.read().map_err(|error| error.to_string())?;
    let (endpoint, requests) = endpoint(input);
    let sink = TokenSink {
        store,
        siblings: Vec::new(),
        records: StateDirectory::at(folder.path()).records(),
        providers: Providers::load(None, &|name| input["env"][name].as_str().map(str::to_owned)),
        http: Box::new(endpoint),
        clock: Arc::new(now(input)),
        timeout: Duration::from_secs(1),
        flights: Flights::default(),
        warm: Warm::default(),
    };
    let mut reply = resolved(input, &document, sink)?;
    reply["requests"] = requests.lock().unwrap_or_else(PoisonError::into_inner).clone().into();
    for agent in AGENTS.into_iter().filter(|agent| *agent == "main" || *agent == own) {
        let file = std::fs::read(path(agent)).ok();
        let file = file.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        reply["files"][agent] = file.map_or(Value::Null, |file| without_ours(&file));
    }
    Ok(reply)
}

/// The profile's result, if routing allows it.
fn resolved(input: &Value, stored: &Document, sink: TokenSink) -> Result<Value, String> {
    let id = ProfileId::from(text(&input["profileId"]));
    let nothing = json!({ "result": null });
    let Some(profile) = stored.profile(&id) else { return Ok(nothing) };
    let config = Config::from_json(&input["config"]);
    let routing =
        Routing { provider: profile.provider.clone(), stored_order: None, config: &config };
    let profiles: Vec<_> = stored.profiles().collect();
    let plan = plan(&profiles, &routing, Some(&Pin::Require(id.clone())), now(input));
    if plan.candidates.is_empty() {
        return Ok(nothing);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    match runtime.block_on(Arc::new(sink).credential(Wanted::now(id))) {
        Ok(credential) => {
            let mut result = json!({
                "apiKey": auth_cli::profiles::token_output::sent(&profile.provider, &credential).expose(),
                "provider": profile.provider_text,
            });
            if let Some(email) = profile.email {
                result["email"] = email.into();
            }
            Ok(json!({ "result": result }))
        }
        Err(error) => match *error {
            RefreshError::UnknownProfile { .. } => Ok(nothing),
            _ => Ok(json!({ "throws": true })),
        },
    }
}

/// A token endpoint that returns the responses of the case, one after the other, and its requests.
type Requests = Arc<Mutex<Vec<Value>>>;

fn endpoint(
    input: &Value,
) -> (impl Fn(HttpRequest) -> Result<HttpResponse, HttpError> + Send + Sync + 'static, Requests) {
    let responses = input["responses"].as_array().cloned().unwrap_or_default();
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    let client = move |request: HttpRequest| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let body = String::from_utf8_lossy(request.body().unwrap_or_default());
        let method = if request.method() == Method::Post { "POST" } else { "GET" };
        seen.push(asked(request.url(), method, &body));
        let without_reply = || HttpError::NoResponse("fetch failed".to_owned());
        let response = responses.get(seen.len() - 1).ok_or_else(without_reply)?;
        if response["networkError"] == true {
            return Err(without_reply());
        }
        Ok(HttpResponse {
            status: response["status"].as_u64().and_then(|it| it.try_into().ok()).unwrap_or(0),
            headers: Vec::new(),
            body: text(&response["body"]).as_bytes().to_vec(),
        })
    };
    (client, requests)
}

/// A request in canonical form, because the order of its parameters is irrelevant.
fn asked(url: &str, method: &str, body: &str) -> Value {
    let mut body: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    body.sort();
    json!({ "url": url, "method": method, "body": body })
}

/// The recorded result, without the texts of its errors and the order of its parameters.
pub(crate) fn normalised(expected: &Value) -> Value {
    let mut reply = match expected.get("throws") {
        Some(_) => json!({ "throws": true }),
        None => json!({ "result": expected["result"] }),
    };
    let requests = expected["requests"].as_array().into_iter().flatten();
    reply["requests"] = requests
        .map(|it| asked(text(&it["url"]), text(&it["method"]), text(&it["body"])))
        .collect::<Vec<_>>()
        .into();
    for (agent, file) in expected["files"].as_object().into_iter().flatten() {
        reply["files"][agent] = without_ours(file);
    }
    reply
}

/// A store whose logins are refreshed at their expiry, not before: they were obtained just now, so
/// the remaining time is their whole lifetime, and the margin is a part of it.
fn without_margin(store: &Value, now: &Value) -> Value {
    let mut store = store.clone();
    for (_, profile) in store["profiles"].as_object_mut().into_iter().flatten() {
        if profile["type"] == "oauth" && profile["expires"].is_number() {
            let is_ended = profile["expires"].as_f64() <= now.as_f64();
            profile["obtainedAt"] = if is_ended { &profile["expires"] } else { now }.clone();
        }
    }
    store
}

/// A store without the fields that Clawdbot does not have.
fn without_ours(store: &Value) -> Value {
    let mut store = store.clone();
    for (_, profile) in store["profiles"].as_object_mut().into_iter().flatten() {
        if let Some(fields) = profile.as_object_mut() {
            fields.shift_remove("obtainedAt");
        }
    }
    store
}

const AGENTS: [&str; 2] = ["main", "sub"];

/// Clawdbot's result, with these of our differences.
pub(crate) fn reference(input: &Value, on: On<'_>) -> Value {
    let own = if input["agent"] == "sub" { "sub" } else { "main" };
    let mut files = json!({ "main": input["main"] });
    if own == "sub" {
        files["sub"] = input.get("sub").cloned().unwrap_or_default();
    }
    let inherits = own == "sub" && !on("isolation");
    if inherits && files["sub"].is_null() && !is_empty(&input["main"]["profiles"]) {
        files["sub"] = coerced(&input["main"]);
    }
    let mut original = Original { input, on, own, inherits, files, asked: Vec::new() };
    let mut reply = match original.resolve(text(&input["profileId"])) {
        Ok(result) => json!({ "result": result }),
        Err(Failed) => json!({ "throws": true }),
    };
    reply["requests"] = original.asked.into();
    for (agent, file) in original.files.as_object().into_iter().flatten() {
        reply["files"][agent] = file.clone();
    }
    reply
}

/// Writes the issuer's response for one refresh token to all profiles that hold the same token.
fn renew_copies(store: &mut Value, old: &Value, renewed: &Value) {
    let names = |it: &Value| {
        let client = trim(text(&it["clientId"])).to_owned();
        (it["type"].clone(), it["provider"].clone(), it["refresh"].clone(), client)
    };
    for (_, profile) in store["profiles"].as_object_mut().into_iter().flatten() {
        if names(profile) == names(old) {
            for field in ["access", "refresh", "expires"] {
                profile[field] = renewed[field].clone();
            }
        }
    }
}

fn is_empty(members: &Value) -> bool {
    members.as_object().is_none_or(Map::is_empty)
}

/// The refresh failed.
struct Failed;

/// Clawdbot, and its actions.
struct Original<'a> {
    input: &'a Value,
    on: On<'a>,
    own: &'a str,
    inherits: bool,
    files: Value,
    asked: Vec<Value>,
}

impl Original<'_> {
    fn store(&self) -> Value {
        let own = coerced(&self.files[self.own]);
        if self.inherits { merged(&coerced(&self.files["main"]), &own) } else { own }
    }

    fn now(&self) -> f64 {
        self.input["now"].as_f64().unwrap_or(0.0)
    }

    fn is_live(&self, profile: &Value) -> bool {
        profile["expires"].as_f64().is_some_and(|end| self.now() < end)
    }

    fn resolve(&mut self, id: &str) -> Result<Value, Failed> {
        let store = self.store();
        let profile = &store["profiles"][id];
        if profile.is_null() || !self.is_declared(id, profile) {
            return Ok(Value::Null);
        }
        match text(&profile["type"]) {
            "api_key" => {
                if (self.on)("blank") && trim(text(&profile["key"])).is_empty() {
                    return Ok(Value::Null);
                }
                Ok(self.result(profile, profile.get("key").cloned()))
            }
            "token" => {
                let token = trim(text(&profile["token"]));
                let end = profile["expires"].as_f64().filter(|end| *end > 0.0);
                if token.is_empty() || end.is_some_and(|end| self.now() >= end) {
                    return Ok(Value::Null);
                }
                Ok(self.result(profile, Some(token.into())))
            }
            _ => self.login(id, profile),
        }
    }

    /// Whether the config allows it.
    fn is_declared(&self, id: &str, profile: &Value) -> bool {
        let declared = &self.input["config"]["auth"]["profiles"][id];
        if declared.is_null() {
            return true;
        }
        let (wanted, given) = (text(&declared["provider"]), text(&profile["provider"]));
        let is_same = if (self.on)("aliases") {
            ProviderId::new(wanted) == ProviderId::new(given)
        } else {
            wanted == given
        };
        let (mode, kind) = (text(&declared["mode"]), text(&profile["type"]));
        is_same && (mode == kind || mode == "oauth" && kind == "token")
    }

    fn login(&mut self, id: &str, profile: &Value) -> Result<Value, Failed> {
        let is_blank = |name: &str| trim(text(&profile[name])).is_empty();
        let is_empty = (self.on)("blank") && is_blank("access");
        if is_empty && is_blank("refresh") {
            return Ok(Value::Null);
        }
        if self.is_live(profile) && !is_empty {
            return Ok(self.result(profile, profile.get("access").cloned()));
        }
        match self.refresh(profile) {
            Ok(renewed) => {
                let result = self.result(&renewed, renewed.get("access").cloned());
                let mut saved = self.store();
                if (self.on)("copies") {
                    renew_copies(&mut saved, profile, &renewed);
                }
                saved["profiles"][id] = renewed;
                self.files[self.own] = saved;
                Ok(result)
            }
            Err(Failed) => self.instead(id, profile),
        }
    }

    /// Clawdbot's fallback after a failed refresh.
    fn instead(&mut self, id: &str, profile: &Value) -> Result<Value, Failed> {
        let provider = text(&profile["provider"]);
        if !(self.on)("another") {
            let store = self.store();
            let profiles: Vec<_> =
                document(&store).map(|it| it.profiles().collect()).unwrap_or_default();
            let suggested = repair::suggestion(
                &self.input["config"],
                &profiles,
                store["lastGood"][provider].as_str().map(ProfileId::from).as_ref(),
                &ProviderId::new(provider),
                &ProfileId::from(id),
            );
            if let Some(other) = suggested.filter(|other| other.as_str() != id) {
                let other = other.to_string();
                let fallback = store["profiles"][&other].clone();
                if fallback["type"] == "oauth" && self.is_declared(&other, &fallback) {
                    let found = if self.is_live(&fallback) {
                        Ok(self.result(&fallback, fallback.get("access").cloned()))
                    } else {
                        self.refresh(&fallback).map(|renewed| {
                            let result = self.result(&renewed, renewed.get("access").cloned());
                            let mut saved = self.store();
                            saved["profiles"][&other] = renewed;
                            self.files[self.own] = saved;
                            result
                        })
                    };
                    if let Ok(result) = found {
                        return Ok(result);
                    }
                }
            }
        }
        if self.inherits {
            let main = coerced(&self.files["main"])["profiles"][id].clone();
            if main["type"] == "oauth" && self.is_live(&main) {
                let mut saved = self.store();
                saved["profiles"][id] = main.clone();
                self.files["sub"] = saved;
                return Ok(self.result(&main, main.get("access").cloned()));
            }
        }
        Err(Failed)
    }

    /// Sends a request, and returns the response; `null` if none came.
    fn ask(&mut self, url: &str, body: &str) -> Value {
        let attempts = if (self.on)("again") { 3 } else { 1 };
        for _ in 0..attempts {
            let reply = &self.input["responses"][self.asked.len()];
            self.asked.push(asked(url, "POST", body));
            if reply["status"].is_number() {
                return reply.clone();
            }
        }
        Value::Null
    }

    fn refresh(&mut self, old: &Value) -> Result<Value, Failed> {
        let is_chutes = old["provider"] == "chutes";
        let refresh = text(&old["refresh"]);
        if trim(refresh).is_empty() {
            return Err(Failed);
        }
        if !is_chutes && old["provider"] != "qwen-portal" {
            // No case of Clawdbot's has another one. Ours arrives here with a blank access token.
            let target = target(old).ok_or(Failed)?;
            let request = target.request(&refresh.into(), Duration::ZERO);
            let body = String::from_utf8_lossy(request.body().unwrap_or_default());
            self.ask(request.url(), &body);
            return Err(Failed);
        }
        let env = |name: &str| trim(text(&self.input["env"][name])).to_owned();
        let mut body = vec![("grant_type", "refresh_token".to_owned())];
        let (url, client) = if is_chutes {
            let stored = old["clientId"].as_str();
            let client = match stored.map(trim) {
                Some("") if (self.on)("client") => env("CHUTES_CLIENT_ID"),
                Some(stored) => stored.to_owned(),
                None => env("CHUTES_CLIENT_ID"),
            };
            let secret = env("CHUTES_CLIENT_SECRET");
            if !secret.is_empty() {
                body.push(("client_secret", secret));
            }
            ("https://api.chutes.ai/idp/token", client)
        } else {
            let stored = trim(text(&old["clientId"]));
            let own = (self.on)("client") && !stored.is_empty();
            let client = if own { stored } else { QWEN_CLIENT };
            ("https://chat.qwen.ai/api/v1/oauth2/token", client.to_owned())
        };
        if client.is_empty() {
            return Err(Failed);
        }
        let trims = is_chutes && !(self.on)("padding");
        let sent = if trims { trim(refresh) } else { refresh };
        body.push(("client_id", client.clone()));
        body.push(("refresh_token", sent.to_owned()));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(body).finish();
        let reply = self.ask(url, &body);
        if !reply["status"].as_u64().is_some_and(|status| (200..300).contains(&status)) {
            return Err(Failed);
        }
        let reply: Value = serde_json::from_str(text(&reply["body"])).map_err(|_| Failed)?;
        let token = |name: &str, trims: bool| {
            let token = text(&reply[name]);
            if trims { trim(token) } else { token }
        };
        let access = token("access_token", is_chutes || (self.on)("padding"));
        let given = reply["expires_in"].as_f64();
        let lifetime = given.unwrap_or(0.0);
        if access.is_empty() || !is_chutes && lifetime == 0.0 && !(self.on)("rotated token") {
            return Err(Failed);
        }
        let lifetime = if (self.on)("renewal") {
            given.filter(|given| *given > 0.0).unwrap_or(3600.0) * 1000.0
        } else if is_chutes {
            (lifetime.floor().max(0.0) * 1000.0 - 300_000.0).max(30_000.0)
        } else {
            lifetime * 1000.0
        };
        let mut renewed = old.clone();
        renewed["access"] = access.into();
        let rotated = token("refresh_token", trims);
        let kept = if rotated.is_empty() { sent } else { rotated };
        renewed["refresh"] = kept.into();
        let end = self.now() + lifetime;
        #[expect(clippy::cast_possible_truncation, reason = "a time in a case")]
        {
            renewed["expires"] = if end.fract() == 0.0 || (self.on)("renewal") {
                json!(end as i64)
            } else {
                json!(end)
            };
        }
        if is_chutes && !(self.on)("renewal") {
            renewed["clientId"] = client.into();
        }
        Ok(renewed)
    }

    fn result(&self, profile: &Value, key: Option<Value>) -> Value {
        let key = match key {
            Some(Value::String(key)) if (self.on)("padding") => Some(trim(&key).into()),
            key => key,
        };
        let spelled = text(&profile["provider"]);
        let canonical = ProviderId::new(spelled);
        let provider = if (self.on)("project") { canonical.as_str() } else { spelled };
        let is_google = ["google-gemini-cli", "google-antigravity"].contains(&provider);
        let key = if is_google && profile["type"] == "oauth" {
            let mut both = Map::new();
            for (name, value) in [("token", key), ("projectId", profile.get("projectId").cloned())]
            {
                if let Some(value) = value {
                    both.insert(name.to_owned(), value);
                }
            }
            Some(Value::Object(both).to_string().into())
        } else {
            key
        };
        let mut result = Map::new();
        let parts = [
            ("apiKey", key),
            ("provider", profile.get("provider").cloned()),
            ("email", profile.get("email").cloned()),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                result.insert(name.to_owned(), value);
            }
        }
        result.into()
    }
}

/// The target of the refresh token of a login.
fn target(login: &Value) -> Option<RefreshTarget> {
    let providers = Providers::load(None, &|_| None);
    let profiles = json!({ "version": 1, "profiles": { "it": login } });
    let Credential::OAuth(stored) = document(&profiles).ok()?.credential(&"it".into())? else {
        return None;
    };
    let name = ProviderId::new(text(&login["provider"]));
    providers.find(&name)?.refresh_target(&stored).ok()
}

const QWEN_CLIENT: &str = "f0304373b74a44d2b584a3fb70ca9e56";
