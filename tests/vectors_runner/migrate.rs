//! `migrate`: the import of legacy files, through a real store in a temporary directory; and
//! Clawdbot's import of them.

use std::path::{Path, PathBuf};

use auth_store::{Document, Kind, LegacyEntries, Store, StoreError, import_legacy};
use serde_json::{Map, Value, json};

use crate::reference::{On, as_number, coerced, is_truthy, merged};
use crate::routing::text;
use crate::store;

pub(crate) fn run(input: &Value) -> Result<Value, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = |file: &str| folder.path().join(file);
    for (name, place) in FILES {
        let Some(text) = input["files"][name].as_str() else { continue };
        let path = path(place);
        let directory = path.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        auth_store::write_atomic(&path, text.as_bytes()).map_err(|error| error.to_string())?;
    }
    let seen = match seen(input, &path) {
        Ok(document) => store::view(&document)?,
        Err(StoreError::Damaged { .. }) => "damaged".into(),
        Err(error) => return Err(error.to_string()),
    };
    let file = |name: &str, place: &str| -> Result<Value, String> {
        let Ok(after) = std::fs::read_to_string(path(place)) else { return Ok(Value::Null) };
        if input["files"][name] == *after {
            return Ok(json!({ "$unchanged": true }));
        }
        let value: Value = serde_json::from_str(&after).map_err(|error| error.to_string())?;
        let laid_out = serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
        if after != laid_out + "\n" {
            return Err("the file is not laid out as JavaScript does it".to_owned());
        }
        Ok(value)
    };
    let [main, sub, main_legacy, sub_legacy, oauth, _] = FILES.map(|(_, place)| place);
    let files = json!({
        "main": file("main", main)?,
        "sub": file("sub", sub)?,
        "mainLegacyExists": path(main_legacy).exists(),
        "subLegacyExists": path(sub_legacy).exists(),
        "oauthExists": path(oauth).exists(),
    });
    Ok(json!({ "store": seen, "files": files }))
}

/// The agent's view of its credentials: after the first command (`ensure`), or, for main, before
/// anything is written (`load`).
fn seen(input: &Value, path: &dyn Fn(&str) -> PathBuf) -> Result<Document, StoreError> {
    let is_sub = input["agent"] == "sub" && input["call"] != "load";
    let agent = if is_sub { "sub" } else { "main" };
    let store = Store::at(path(&format!("{agent}/auth-profiles.json")));
    let legacy = path(&format!("{agent}/auth.json"));
    if input["call"] == "load" {
        let mut document = store.read()?;
        if let (false, Some(text)) = (store.path().exists(), input["files"]["mainLegacy"].as_str())
        {
            LegacyEntries::from_auth_json(text.as_bytes())
                .map_err(|error| StoreError::Damaged { path: legacy, error })?
                .add_to(&mut document);
        }
        return Ok(document);
    }
    let oauth = path("credentials/oauth.json");
    import_legacy(&store, &legacy, (!is_sub).then_some(oauth.as_path()), &path(""))?;
    store.read()
}

const FILES: [(&str, &str); 6] = [
    ("main", "main/auth-profiles.json"),
    ("sub", "sub/auth-profiles.json"),
    ("mainLegacy", "main/auth.json"),
    ("subLegacy", "sub/auth.json"),
    ("oauth", "credentials/oauth.json"),
    ("qwen", ".qwen/oauth_creds.json"),
];

/// Clawdbot's result, with these of our differences.
pub(crate) fn reference(input: &Value, on: On<'_>) -> Value {
    let mut disk = Disk { input, on, saved: [None, None], is_legacy_gone: [false; 2] };
    let seen = disk.seen();
    let seen = match seen {
        None => "damaged".into(),
        Some(store) => {
            let version = store["version"].clone();
            let mut seen = if on("unknown data") { coerced(&store) } else { store };
            seen["version"] = version;
            if let (true, Some(profiles)) = (on("crash"), seen["profiles"].as_object_mut()) {
                profiles.retain(|_, entry| entry["provider"].is_string());
            }
            store::terse(&seen)
        }
    };
    let file = |agent: usize| match (&disk.saved[agent], &input["files"][AGENTS[agent]]) {
        (Some(saved), _) => saved.clone(),
        (None, Value::Null) => Value::Null,
        (None, _) => json!({ "$unchanged": true }),
    };
    let legacy =
        |agent: usize| !input["files"][LEGACY[agent]].is_null() && !disk.is_legacy_gone[agent];
    json!({
        "store": seen,
        "files": {
            "main": file(MAIN),
            "sub": file(SUB),
            "mainLegacyExists": legacy(MAIN),
            "subLegacyExists": legacy(SUB),
            "oauthExists": !input["files"]["oauth"].is_null(),
        },
    })
}

/// The files of a case, and their state.
struct Disk<'a> {
    input: &'a Value,
    on: On<'a>,
    saved: [Option<Value>; 2],
    is_legacy_gone: [bool; 2],
}

impl Disk<'_> {
    /// The store that is returned; `None` if a file is refused.
    fn seen(&mut self) -> Option<Value> {
        if self.input["call"] == "load" {
            return self.load(MAIN, false);
        }
        let is_sub = self.input["agent"] == "sub";
        let own = self.load(if is_sub { SUB } else { MAIN }, true)?;
        if !self.is_inherited() {
            return Some(own);
        }
        let main = self.load(MAIN, true)?;
        Some(merged(&main, &own))
    }

    /// Whether this concerns an agent that also sees, and copies, main's profiles.
    fn is_inherited(&self) -> bool {
        self.input["agent"] == "sub" && self.input["call"] != "load" && !(self.on)("isolation")
    }

    fn load(&mut self, agent: usize, migrates: bool) -> Option<Value> {
        let on = self.on;
        // Profiles that another agent inherits exist only in Clawdbot.
        let refuses = on("damage") && (agent == SUB || !self.is_inherited());
        if let Some(saved) = &self.saved[agent] {
            return Some(saved.clone());
        }
        if !self.input["files"][AGENTS[agent]].is_null() {
            let raw = self.parsed(AGENTS[agent]);
            let profiles = &raw["profiles"];
            if refuses && !(raw.is_object() && (profiles.is_object() || profiles.is_null())) {
                return None;
            }
            if let Some(mut store) = store_of(&raw) {
                if self.sync_qwen(&mut store) {
                    self.saved[agent] = Some(store.clone());
                }
                return Some(store);
            }
            if on("first use") {
                return Some(empty());
            }
        }
        if agent == SUB && self.is_inherited() {
            let main = store_of(&self.parsed("main"));
            let main =
                main.filter(|main| main["profiles"].as_object().is_some_and(|it| !it.is_empty()));
            if let Some(main) = main {
                self.saved[SUB] = Some(main.clone());
                return Some(main);
            }
        }

        let legacy = self.parsed(LEGACY[agent]);
        if refuses && !self.input["files"][LEGACY[agent]].is_null() && !legacy.is_object() {
            return None;
        }
        let mut store = empty();
        let has_legacy = self.add_legacy(&legacy, &mut store);
        let mut writes = has_legacy;
        if migrates {
            if agent == MAIN || !on("isolation") {
                writes |= self.add_logins(&mut store);
            }
            writes |= self.sync_qwen(&mut store);
        } else {
            self.sync_qwen(&mut store);
            writes = false;
        }
        if writes {
            self.saved[agent] = Some(store.clone());
            self.is_legacy_gone[agent] = has_legacy;
        }
        Some(store)
    }

    /// The content of a file; `null` if it is not JSON, or does not exist.
    fn parsed(&self, name: &str) -> Value {
        let raw = text(&self.input["files"][name]);
        let raw = if (self.on)("damage") { raw.trim_start_matches('\u{feff}') } else { raw };
        serde_json::from_str(raw).unwrap_or_default()
    }

    /// Adds the content of an `auth.json`; returns whether it is one.
    fn add_legacy(&self, legacy: &Value, store: &mut Value) -> bool {
        let on = self.on;
        let members = members(legacy);
        let kind = |entry: &Value| Kind::parse(text(&entry["type"])).filter(|_| entry.is_object());
        if members.contains_key("profiles") || !members.values().any(|it| kind(it).is_some()) {
            return false;
        }
        for (name, old) in &members {
            let id = format!("{name}:default");
            let Some(kind) = kind(old) else {
                if on("unknown data") {
                    store["profiles"][id] = old.clone();
                }
                continue;
            };
            let provider = match &old["provider"] {
                Value::String(given) if !(on("import") && given.trim().is_empty()) => given.clone(),
                Value::Number(_) | Value::Bool(_) if !on("import") => old["provider"].to_string(),
                _ => name.clone(),
            };
            let mut entry = json!({ "type": kind.as_str(), "provider": provider });
            let (needed, optional): (&[&str], &[&str]) = match kind {
                Kind::ApiKey => (&["key"], &["email"]),
                Kind::Token => (&["token"], &["expires", "email"]),
                Kind::OAuth => (
                    &["access", "refresh", "expires"],
                    &["enterpriseUrl", "projectId", "accountId", "email"],
                ),
            };
            for field in needed {
                if let Some(value) = old.get(field) {
                    entry[field] = value.clone();
                }
            }
            for field in optional {
                let value = &old[field];
                if if *field == "expires" { value.is_number() } else { is_truthy(value) } {
                    entry[field] = value.clone();
                }
            }
            for (field, value) in old.as_object().into_iter().flatten() {
                let is_known =
                    [needed, optional, &["type", "provider"]].concat().contains(&&**field);
                if on("unknown data") && !is_known {
                    entry[field] = value.clone();
                }
            }
            store["profiles"][id] = entry;
        }
        true
    }

    /// Adds the content of `oauth.json`; returns whether anything was added.
    fn add_logins(&self, store: &mut Value) -> bool {
        let on = self.on;
        let mut added = false;
        for (provider, login) in members(&self.parsed("oauth")) {
            let id = format!("{provider}:default");
            let is_login =
                login.is_object() && (login["access"].is_string() || login["refresh"].is_string());
            let is_taken = if on("unknown data") && !self.is_inherited() {
                is_login && !provider.is_empty()
            } else {
                login.is_object() || login.is_array()
            };
            if !is_taken || !store["profiles"][&id].is_null() {
                continue;
            }
            let mut entry = json!({ "type": "oauth", "provider": provider });
            for (field, value) in members(&login) {
                if !(on("import") && ["type", "provider"].contains(&&*field)) {
                    entry[field] = value;
                }
            }
            store["profiles"][id] = entry;
            added = true;
        }
        added
    }

    /// The login of the Qwen command line, which Clawdbot imports at every load; returns whether
    /// the store changed.
    fn sync_qwen(&self, store: &mut Value) -> bool {
        const ID: &str = "qwen-portal:qwen-cli";
        const NEAR: f64 = 600_000.0;
        let qwen = self.parsed("qwen");
        let is_text = |name: &str| !text(&qwen[name]).is_empty();
        let now = self.input["now"].as_f64().unwrap_or(0.0);
        let old = store["profiles"][ID].clone();
        let is_fresh = ["oauth", "token"].contains(&text(&old["type"]))
            && old["provider"] == "qwen-portal"
            && old["expires"].as_f64().is_none_or(|expires| expires > now + NEAR);
        let is_complete =
            is_text("access_token") && is_text("refresh_token") && qwen["expiry_date"].is_number();
        if (self.on)("import") || is_fresh || !is_complete {
            return false;
        }
        let new = json!({
            "type": "oauth",
            "provider": "qwen-portal",
            "access": qwen["access_token"],
            "refresh": qwen["refresh_token"],
            "expires": qwen["expiry_date"],
        });
        let is_own = old["type"] == "oauth" && old["provider"] == "qwen-portal";
        let expires = |login: &Value| login["expires"].as_f64().unwrap_or(f64::NAN);
        let is_wanted = !is_own || expires(&old) <= now || expires(&new) > expires(&old);
        let compared =
            ["access", "refresh", "expires", "email", "enterpriseUrl", "projectId", "accountId"];
        let is_same = is_own && compared.iter().all(|name| old[name] == new[name]);
        if is_wanted && !is_same {
            store["profiles"][ID] = new;
        }
        is_wanted && !is_same
    }
}

/// Clawdbot's reading of a file; `None` if it is not a store.
fn store_of(raw: &Value) -> Option<Value> {
    if !raw["profiles"].is_object() && !raw["profiles"].is_array() {
        return None;
    }
    let mut store = coerced(raw);
    store["version"] = raw.get("version").map_or(json!(1), as_number);
    Some(store)
}

fn empty() -> Value {
    json!({ "version": 1, "profiles": {} })
}

/// The entries of a JavaScript object; an array is one, too.
fn members(value: &Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members.clone(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(at, entry)| (at.to_string(), entry.clone())).collect()
        }
        _ => Map::new(),
    }
}

const AGENTS: [&str; 2] = ["main", "sub"];
const LEGACY: [&str; 2] = ["mainLegacy", "subLegacy"];
const MAIN: usize = 0;
const SUB: usize = 1;
