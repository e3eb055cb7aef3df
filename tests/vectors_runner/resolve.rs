//! `resolve`: what a profile gives when it is asked for, refreshed through a token endpoint that
//! answers what the case says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_cli::sink::{Flights, TokenSink};
use auth_providers::refresh::{RefreshError, Wanted};
use auth_providers::{HttpError, HttpRequest, HttpResponse, Method, Providers};
use auth_routing::{Config, Pin, Routing, plan};
use auth_store::{Document, ProfileId, StateDirectory, Store};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::routing::{now, text};

pub(crate) fn run(input: &Value) -> Result<Value, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = |agent: &str| folder.path().join(agent).join("auth-profiles.json");
    for agent in AGENTS {
        let directory = folder.path().join(agent);
        std::fs::create_dir(directory).map_err(|error| error.to_string())?;
        if input[agent].is_object() {
            let text = without_margin(&input[agent]).to_string();
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
        patience: Duration::from_secs(1),
        flights: Flights::default(),
    };
    let mut answer = resolved(input, &document, sink)?;
    answer["requests"] = requests.lock().unwrap_or_else(PoisonError::into_inner).clone().into();
    for agent in AGENTS.into_iter().filter(|agent| *agent == "main" || *agent == own) {
        let file = std::fs::read(path(agent)).ok();
        let file = file.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        answer["files"][agent] = file.map_or(Value::Null, |file| without_ours(&file));
    }
    Ok(answer)
}

/// What the profile gives, if routing lets it.
fn resolved(input: &Value, document: &Document, sink: TokenSink) -> Result<Value, String> {
    let id = ProfileId::from(text(&input["profileId"]));
    let nothing = json!({ "result": null });
    let Some(profile) = document.profile(&id) else { return Ok(nothing) };
    let config = Config::from_json(&input["config"]);
    let routing =
        Routing { provider: profile.provider.clone(), stored_order: None, config: &config };
    let profiles: Vec<_> = document.profiles().collect();
    let plan = plan(&profiles, &routing, Some(&Pin::Require(id.clone())), now(input));
    if plan.candidates.is_empty() {
        return Ok(nothing);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    match runtime.block_on(Arc::new(sink).credential(Wanted::now(id))) {
        Ok(credential) => {
            let mut result = json!({
                "apiKey": credential.bearer().expose(),
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

/// A token endpoint that gives the answers of the case, one after the other, and what it was asked.
type Requests = Arc<Mutex<Vec<Value>>>;

fn endpoint(
    input: &Value,
) -> (impl Fn(HttpRequest) -> Result<HttpResponse, HttpError> + Send + Sync + 'static, Requests) {
    let responses = input["responses"].as_array().cloned().unwrap_or_default();
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    let client = move |request: HttpRequest| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let body = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default());
        let method = if request.method == Method::Post { "POST" } else { "GET" };
        seen.push(asked(&request.url, method, &body));
        let unanswered = || HttpError::Unanswered("fetch failed".to_owned());
        let response = responses.get(seen.len() - 1).ok_or_else(unanswered)?;
        if response["networkError"] == true {
            return Err(unanswered());
        }
        Ok(HttpResponse {
            status: response["status"].as_u64().and_then(|it| it.try_into().ok()).unwrap_or(0),
            headers: Vec::new(),
            body: text(&response["body"]).as_bytes().to_vec(),
        })
    };
    (client, requests)
}

/// A request without what has no meaning: the order of its parameters.
fn asked(url: &str, method: &str, body: &str) -> Value {
    let mut body: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    body.sort();
    json!({ "url": url, "method": method, "body": body })
}

/// The recorded answer, without the words of its errors and the order of its parameters.
pub(crate) fn normalised(expected: &Value) -> Value {
    let mut answer = match expected.get("throws") {
        Some(_) => json!({ "throws": true }),
        None => json!({ "result": expected["result"] }),
    };
    let requests = expected["requests"].as_array().into_iter().flatten();
    answer["requests"] = requests
        .map(|it| asked(text(&it["url"]), text(&it["method"]), text(&it["body"])))
        .collect::<Vec<_>>()
        .into();
    for (agent, file) in expected["files"].as_object().into_iter().flatten() {
        answer["files"][agent] = without_ours(file);
    }
    answer
}

/// A store whose logins are renewed at their end, not before: their lifetime is nothing.
fn without_margin(store: &Value) -> Value {
    let mut store = store.clone();
    for (_, profile) in store["profiles"].as_object_mut().into_iter().flatten() {
        if profile["type"] == "oauth" && profile["expires"].is_number() {
            profile["obtainedAt"] = profile["expires"].clone();
        }
    }
    store
}

/// A store without the fields that the original does not have.
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
