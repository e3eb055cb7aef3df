//! Today's OpenClaw keeps its credentials in databases. They are only ever read, and nothing is
//! created beside them.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use auth_store::{Document, Stamp, paths};
use serde_json::{Map, Value, json};

use crate::host::context::Context;
use crate::host::other_tools::foreign::Contents;
use crate::host::other_tools::of_store;
use crate::host::other_tools::sqlite::Database;
use crate::host::paths::usual_state_dirs;
use crate::host::text::printable;

/// The state directory of the OpenClaw of this user, if there is one.
pub(crate) fn state_directory(context: &Context) -> Option<PathBuf> {
    let named = |name: &str| {
        let value = context.env(name).filter(|value| !value.trim().is_empty())?;
        Some(context.user_path(value))
    };
    if let Some(chosen) = named("OPENCLAW_STATE_DIR") {
        return Some(chosen);
    }
    let home = named("OPENCLAW_HOME").unwrap_or_else(|| context.home.clone());
    let [clawdbot, _, openclaw] = usual_state_dirs(&home);
    if openclaw.is_dir() {
        return Some(openclaw);
    }
    // It takes over the directory of an old Clawdbot.
    paths::openclaw_database(&clawdbot).is_file().then_some(clawdbot)
}

/// The credentials that the agent `agent` has there, those that all agents share among them.
///
/// # Errors
/// Why nothing can be read, as the end of a sentence about the path beside it.
pub(crate) fn contents(state: &Path, agent: &str) -> Result<Contents, (PathBuf, String)> {
    let shared_path = paths::openclaw_database(state);
    let of = |path: &Path| {
        let path = path.to_owned();
        move |reason: String| (path.clone(), reason)
    };
    let shared = open(&shared_path, SHARED_SCHEMA).map_err(of(&shared_path))?;
    let stored = match &shared {
        Some(database) => Stored::shared(database).map_err(of(&shared_path))?,
        None => Stored::default(),
    };
    let own = |agent: &str| -> Result<Stored, (PathBuf, String)> {
        let path = paths::openclaw_agent_database(state, agent);
        match open(&path, AGENT_SCHEMA).map_err(of(&path))? {
            Some(database) => Stored::of_agent(&database).map_err(of(&path)),
            None => Ok(Stored::default()),
        }
    };
    let mut all = if stored.is_shared { stored } else { own(MAIN)? };
    all.add(own(agent)?);
    if all.profiles.is_empty() {
        return Ok(Contents::default());
    }
    let config = config(state);
    let mut contents = Contents::default();
    let mut profiles = Map::new();
    let mut usage = Map::new();
    for (id, profile) in &all.profiles {
        match translated(id, profile, &all.profiles, &config) {
            Ok((name, profile)) => {
                if let Some(known) = all.usage.get(id) {
                    usage.insert(name.clone(), known.clone());
                }
                profiles.insert(name, profile);
            }
            Err(reason) => contents.leave_out(id, &reason),
        }
    }
    let store = json!({ "version": 1, "profiles": profiles, "usageStats": usage });
    let bytes = store.to_string().into_bytes();
    let path = paths::openclaw_agent_database(state, agent);
    let path = if path.exists() { path } else { shared_path };
    let mut found = of_store(&path, &bytes, &store).map_err(of(&path))?;
    let document = Document::parse(&bytes).unwrap_or_else(|_| Document::empty());
    for foreign in &mut found.found {
        foreign.tool = "OpenClaw";
        foreign.usage =
            foreign.id.as_deref().map(|id| document.usage(&id.into())).unwrap_or_default();
    }
    contents.found = found.found;
    contents.left_out.append(&mut found.left_out);
    Ok(contents)
}

/// What one or more databases hold.
#[derive(Default)]
struct Stored {
    profiles: Map<String, Value>,
    usage: Map<String, Value>,
    /// Whether it is what all agents share.
    is_shared: bool,
}

impl Stored {
    fn shared(database: &Database) -> Result<Self, String> {
        let rows = database.rows("config_machine_state", &["state_key", "value_json"])?;
        let rows =
            rows.ok_or_else(|| "has no credentials in a form that is known here".to_owned())?;
        let find = |key: &str| {
            let row = rows.iter().find(|row| row[0].text() == Some(key))?;
            Some(row[1].text().unwrap_or_default())
        };
        let place = find("auth.sharedStore").map(document).transpose()?.unwrap_or_default();
        let is_shared = place.get("location") == Some(&Value::from("state-db"));
        Self::read(find("authProfiles.store"), find("authProfiles.state"), is_shared)
    }

    fn of_agent(database: &Database) -> Result<Self, String> {
        let find = |table: &str, key: &str, json: &str| -> Result<Option<String>, String> {
            let rows = database.rows(table, &[key, json])?.unwrap_or_default();
            let row = rows.into_iter().find(|row| row[0].text() == Some("primary"));
            Ok(row.and_then(|row| row[1].text().map(str::to_owned)))
        };
        let store = find("auth_profile_store", "store_key", "store_json")?;
        let state = find("auth_profile_state", "state_key", "state_json")?;
        Self::read(store.as_deref(), state.as_deref(), false)
    }

    fn read(store: Option<&str>, state: Option<&str>, is_shared: bool) -> Result<Self, String> {
        let members = |text: Option<&str>, name: &str| -> Result<Map<String, Value>, String> {
            let mut document = text.map(document).transpose()?.unwrap_or_default();
            match document.remove(name) {
                Some(Value::Object(members)) => Ok(members),
                None | Some(Value::Null) => Ok(Map::new()),
                Some(_) => Err(format!("is damaged: its `{name}` are no object")),
            }
        };
        Ok(Self {
            profiles: members(store, "profiles")?,
            usage: members(state, "usageStats")?,
            is_shared,
        })
    }

    /// Adds what an agent has of its own: its profiles win.
    fn add(&mut self, own: Self) {
        for (id, profile) in own.profiles {
            self.usage.remove(&id);
            self.profiles.insert(id, profile);
        }
        self.usage.extend(own.usage);
    }
}

fn document(text: &str) -> Result<Map<String, Value>, String> {
    let document: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("is damaged: {error}"))?;
    match document.get("version").and_then(Value::as_f64) {
        Some(version) if version > 1.0 => Err(format!(
            "has credentials of a later version ({version}), which this program cannot read"
        )),
        _ => Ok(document),
    }
}

/// The database at `path`, as it was at one moment; `None`: there is none.
fn open(path: &Path, newest: u32) -> Result<Option<Database>, String> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (log, journal) = (beside("-wal"), beside("-journal"));
    let stamp = |path: &Path| path.metadata().ok().and_then(|found| Stamp::from_metadata(&found));
    for _ in 0..ATTEMPTS {
        let before = (stamp(path), stamp(&log));
        let Some(file) = read(path)? else { return Ok(None) };
        let newer = read(&log)?.unwrap_or_default();
        if (stamp(path), stamp(&log)) != before {
            continue;
        }
        if read(&journal)?.is_some_and(|journal| !journal.is_empty()) {
            return Err("was left in the midst of a change: start OpenClaw once".to_owned());
        }
        let database = Database::read(file, &newer)?;
        let version = database.user_version();
        return if version > newest {
            Err(format!("is of a later OpenClaw (schema {version}; up to {newest} is known here)"))
        } else {
            Ok(Some(database))
        };
    }
    Err("is being written all the time; try again".to_owned())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match auth_store::read_regular(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// The config, as OpenClaw writes it; empty where a user wrote more than JSON into it.
fn config(state: &Path) -> Value {
    let text = auth_store::read_regular_text(&paths::openclaw_config(state)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// A profile as a store of ours has it, and its name there.
///
/// # Errors
/// Why it is not imported.
fn translated(
    id: &str,
    profile: &Value,
    all: &Map<String, Value>,
    config: &Value,
) -> Result<(String, Value), String> {
    let mut members = profile.as_object().cloned().ok_or("it is not an object")?;
    if members.contains_key("setup") {
        return Err("it is a sign-in that is not finished".to_owned());
    }
    // Spellings of older versions.
    if !members.contains_key("type")
        && let Some(kind) = members.remove("mode")
    {
        members.insert("type".to_owned(), kind);
    }
    if !members.contains_key("key")
        && let Some(key) = members.remove("apiKey")
    {
        members.insert("key".to_owned(), key);
    }
    let text = |members: &Map<String, Value>, name: &str| {
        members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let kind = match text(&members, "type").as_str() {
        "apiKey" => "api_key".to_owned(),
        kind => kind.to_owned(),
    };
    members.insert("type".to_owned(), kind.as_str().into());
    let mut name = id.to_owned();
    match kind.as_str() {
        "oauth" => {
            fenced(&text(&members, "access"), &text(&members, "refresh"))?;
            if members.contains_key("oauthRef") && !members.contains_key("access") {
                return Err("its tokens are in an encrypted file of an older OpenClaw".to_owned());
            }
            let provider = text(&members, "provider");
            if provider == "github-copilot" {
                // What it calls a login is the one token of GitHub's app.
                let token = members.remove("access").unwrap_or_default();
                members.retain(|name, _| !["refresh", "expires"].contains(&name.as_str()));
                members.insert("token".to_owned(), token);
                members.insert("type".to_owned(), "token".into());
            }
            // It tells a login from a key by its type; here they are two providers.
            let own = RENAMED.iter().find(|(theirs, _)| *theirs == provider);
            if let Some((theirs, ours)) = own {
                members.insert("provider".to_owned(), (*ours).into());
                let renamed = id.strip_prefix(theirs).and_then(|rest| rest.strip_prefix(':'));
                let renamed = renamed.map(|rest| format!("{ours}:{rest}"));
                name = renamed.filter(|name| !all.contains_key(name)).unwrap_or(name);
            }
        }
        "api_key" => {
            if let Some(reference) = reference_in(&members, "key", "keyRef") {
                members.remove("key");
                members.insert("keyRef".to_owned(), own_reference(&reference, config)?);
            }
        }
        "token" => {
            if let Some(reference) = reference_in(&members, "token", "tokenRef") {
                own_reference(&reference, config)?;
                return Err("its token is kept elsewhere, and only keys can be here".to_owned());
            }
        }
        other => return Err(format!("its type `{}` is not known here", printable(other))),
    }
    Ok((name, Value::Object(members)))
}

/// What OpenClaw puts in the place of tokens while it renews them, and when it could not.
fn fenced(access: &str, refresh: &str) -> Result<(), String> {
    let marks = [access, refresh];
    let fences: Vec<_> = marks.iter().filter_map(|mark| mark.strip_prefix(FENCE)).collect();
    if fences.is_empty() {
        return Ok(());
    }
    Err(if fences.iter().any(|fence| fence.contains(":failed:")) {
        "OpenClaw could not renew that login, and it is lost there; log in here".to_owned()
    } else {
        "OpenClaw is renewing that login at this moment; import it again in a minute".to_owned()
    })
}

/// The reference that takes the place of a secret.
fn reference_in(members: &Map<String, Value>, secret: &str, reference: &str) -> Option<Value> {
    let own = members.get(reference).filter(|it| it.is_object());
    own.or_else(|| members.get(secret).filter(|it| it.is_object())).cloned()
}

/// A reference of OpenClaw's in our form.
fn own_reference(reference: &Value, config: &Value) -> Result<Value, String> {
    let text = |name: &str| reference[name].as_str().unwrap_or_default();
    let (id, alias) = (text("id"), text("provider"));
    let provider = &config["secrets"]["providers"][alias];
    match text("source") {
        "env" => Ok(json!({ "source": "env", "id": id })),
        "file" if provider["mode"] == "singleValue" && id == "value" => {
            let path = provider["path"].as_str().filter(|path| Path::new(path).is_absolute());
            let path = path.ok_or("its key is in a file that the config does not name")?;
            Ok(json!({ "source": "file", "path": path }))
        }
        "file" => Err("its key is a member of a file, which is not known here".to_owned()),
        "exec" if provider["command"].as_str().is_some_and(is_ours) => {
            Err("its key is one of ours already".to_owned())
        }
        "exec" => Err(format!(
            "its key comes from the program of `{}`, which answers OpenClaw only; name one that prints it: clawdbot models auth paste-api-key --from-command",
            printable(alias)
        )),
        "store" => Err("its key is in OpenClaw's own store of secrets".to_owned()),
        other => {
            Err(format!("its key is kept in a way that is not known here: `{}`", printable(other)))
        }
    }
}

fn is_ours(command: &str) -> bool {
    let name = Path::new(command).file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.starts_with("clawdbot") || name.starts_with("moltbot")
}

/// Providers whose logins have an id of their own here.
const RENAMED: [(&str, &str); 2] = [("openai", "openai-codex"), ("google", "google-gemini-cli")];

const FENCE: &str = "openclaw-oauth-refresh-fence:";

/// The newest schemas that are known here, of OpenClaw 2026.9.6.
const SHARED_SCHEMA: u32 = 18;
const AGENT_SCHEMA: u32 = 23;

/// The agent whose database was the shared one before there was one of all agents.
const MAIN: &str = "main";

const ATTEMPTS: u32 = 20;
