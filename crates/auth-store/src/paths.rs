//! The names of files and folders. They are spelled here and nowhere else. All functions are pure.
//!
//! ```text
//! state directory
//! ├── agents/<id>/agent/               agent_directory
//! │   ├── auth-profiles.json           store
//! │   ├── auth-profiles.json.lock      lock: Clawdbot's lock, a directory
//! │   ├── .auth-profiles.flock         flock: the kernel's lock
//! │   ├── .auth-profiles.json.bak      backup
//! │   ├── .auth-refresh.<key>.answer   response_file
//! │   ├── .auth-refresh.<key>.room     reserved_store
//! │   ├── .auth-models.json            model_usage
//! │   ├── .auth-share.json             sharing_note
//! │   └── auth.json                    runtime_cache
//! ├── locks/refresh/<key>              refresh_records
//! ├── locks/endpoint/<key>             endpoint_notes
//! ├── logins/                          pending_logins
//! └── audit.jsonl                      audit_log
//! ```

use std::ffi::OsStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The folder of all agents in a state directory.
pub fn agents(state_directory: &Path) -> PathBuf {
    state_directory.join(AGENTS)
}

/// The folder of one agent in a state directory: credentials, sessions, and files of other programs.
pub fn agent_home(state_directory: &Path, agent: &str) -> PathBuf {
    agents(state_directory).join(agent)
}

/// The directory of an agent's credentials, unless the config names another.
pub fn agent_directory(state_directory: &Path, agent: &str) -> PathBuf {
    agent_home(state_directory, agent).join("agent")
}

/// The agent that a store belongs to, if its path is `…/agents/<id>/agent/auth-profiles.json`.
pub fn agent_of(store: &Path) -> Option<&OsStr> {
    store.ancestors().nth(2).filter(|_| is_below_agents(store))?.file_name()
}

/// Whether a store is in the folder of all agents.
pub(crate) fn is_below_agents(store: &Path) -> bool {
    store.ancestors().nth(3).and_then(Path::file_name).is_some_and(|name| name == AGENTS)
}

/// The folder of the records of refresh tokens, for all agents.
pub fn refresh_records(state_directory: &Path) -> PathBuf {
    state_directory.join("locks").join("refresh")
}

/// The folder of what token endpoints asked for, beside that of the records.
pub(crate) fn endpoint_notes(refresh_records: &Path) -> PathBuf {
    refresh_records.with_file_name("endpoint")
}

/// The folder of logins that begin in one process and end in another.
pub fn pending_logins(state_directory: &Path) -> PathBuf {
    state_directory.join("logins")
}

/// The credentials file of the agent in this directory.
pub fn store(agent_directory: &Path) -> PathBuf {
    agent_directory.join(STORE)
}

/// The directory for what was removed from an agent within the last day.
pub fn removed(agent_directory: &Path) -> PathBuf {
    agent_directory.join(".removed")
}

/// The keys for runtimes inside other programs. An older version used this name for its store.
pub fn runtime_cache(agent_directory: &Path) -> PathBuf {
    agent_directory.join(RUNTIME_CACHE)
}

/// The usage of individual models of profiles.
pub fn model_usage(agent_directory: &Path) -> PathBuf {
    agent_directory.join(MODEL_USAGE)
}

/// The next content of the model usage file. Unlike the name from [`next`], its name has one dot at
/// the start.
pub(crate) fn next_model_usage(agent_directory: &Path) -> PathBuf {
    agent_directory.join(format!("{MODEL_USAGE}{NEXT}"))
}

/// The note that names the agent whose profiles this agent also reads.
pub fn sharing_note(agent_directory: &Path) -> PathBuf {
    agent_directory.join(".auth-share.json")
}

/// The token response for the refresh token with this [key](crate::TokenKey), until it is merged into
/// the store.
pub fn response_file(agent_directory: &Path, key: impl Display) -> PathBuf {
    agent_directory.join(format!("{RESPONSE_START}{key}{RESPONSE_END}"))
}

/// The space that is reserved for the next store while the refresh token with this key is sent.
pub(crate) fn reserved_store(agent_directory: &Path, key: impl Display) -> PathBuf {
    agent_directory.join(format!("{RESPONSE_START}{key}{RESERVED_END}"))
}

/// A token response that could not be read and is kept. An older version does not know this name,
/// so it does not remove the file.
pub fn kept_response(agent_directory: &Path, key: impl Display) -> PathBuf {
    agent_directory.join(format!("{RESPONSE_START}{key}{KEPT_END}"))
}

/// The key in the name of a kept response.
pub(crate) fn key_of_kept_response(name: &str) -> Option<&str> {
    name.strip_prefix(RESPONSE_START)?.strip_suffix(KEPT_END)
}

/// The key in the name of a response file.
pub(crate) fn key_of_response_file(name: &str) -> Option<&str> {
    name.strip_prefix(RESPONSE_START)?.strip_suffix(RESPONSE_END)
}

/// The key in the name of the space that is reserved for the next store.
pub(crate) fn key_of_reserved_store(name: &str) -> Option<&str> {
    name.strip_prefix(RESPONSE_START)?.strip_suffix(RESERVED_END)
}

/// The audit log.
pub fn audit_log(state: &Path) -> PathBuf {
    state.join("audit.jsonl")
}

/// The audit log itself, for the number 0, or an old one: the higher its number, the older it is.
pub(crate) fn old_audit_log(log: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return log.to_owned();
    }
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The clients file of the gateway.
pub fn clients(state: &Path) -> PathBuf {
    state.join("clients.json")
}

/// The lock file of [`clients`].
pub fn clients_lock(clients: &Path) -> PathBuf {
    clients.with_file_name(".clients.flock")
}

/// The gateway on another machine that this one asks, with the token for it.
pub fn remote_sink(state: &Path) -> PathBuf {
    state.join("remote-sink.json")
}

/// The tokens that it gave, until shortly before their end.
pub fn remote_tokens(state: &Path) -> PathBuf {
    state.join("remote-tokens.json")
}

/// The lock of the gateway of a state directory.
pub fn gateway_lock(state: &Path) -> PathBuf {
    state.join(".serve.flock")
}

/// The login file of an older version, imported on first use and left in place.
pub fn legacy_logins(oauth_directory: &Path) -> PathBuf {
    oauth_directory.join("oauth.json")
}

/// The lock of a file, as Clawdbot names it.
pub fn lock(file: &Path) -> PathBuf {
    let mut lock = file.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}

/// The kernel's lock of a store.
pub(crate) fn flock(store: &Path) -> PathBuf {
    let stem = store.file_stem().unwrap_or_default().to_string_lossy();
    store.with_file_name(format!(".{stem}.flock"))
}

/// The backup of a store: the credentials as we last committed them.
pub fn backup(store: &Path) -> PathBuf {
    sibling(store, ".bak")
}

/// A copy of a damaged store.
pub(crate) fn damaged_copy(store: &Path, at: impl Display, random: u32) -> PathBuf {
    let name = store.file_name().unwrap_or_default().to_string_lossy();
    store.with_file_name(format!("{name}{DAMAGED}{at}.{random:08x}"))
}

/// Whether this is the name of a copy of damaged bytes.
pub fn is_damaged_copy(name: &str) -> bool {
    name.contains(DAMAGED)
}

/// Whether this is the name of a copy of a damaged `file`.
pub(crate) fn is_damaged_copy_of(file: &Path, name: &str) -> bool {
    let of = file.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(&*of).is_some_and(|rest| rest.starts_with(DAMAGED))
}

/// The next content of a file, or the next lock, before it replaces the old one. Only the holder of
/// the lock makes one.
pub(crate) fn next(file: &Path) -> PathBuf {
    sibling(file, NEXT)
}

/// The next content of a file that is written while the [next](next()) one is reserved.
pub(crate) fn next_beside_reserved(file: &Path) -> PathBuf {
    sibling(file, ".put")
}

/// A stale lock that was moved out of the way.
pub(crate) fn stale_lock(lock: &Path) -> PathBuf {
    sibling(lock, ".stale")
}

/// A legacy file that is waiting for its import.
pub(crate) fn waiting_for_import(legacy: &Path) -> PathBuf {
    sibling(legacy, ".import")
}

/// A temporary file of a write without a lock.
pub(crate) fn temporary(file: &Path, random: u64) -> PathBuf {
    sibling(file, &format!(".{random:016x}.tmp"))
}

/// Whether a file of this name is a [temporary](temporary()) one.
pub(crate) fn is_temporary(name: &str) -> bool {
    let hidden = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    hidden.and_then(|name| name.rsplit_once('.')).is_some_and(|(_, digits)| {
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Whether this is the name of one of our files in an agent's directory: one with credentials, or
/// one that belongs to them.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(STORE) || name.starts_with(".auth-") || name == RUNTIME_CACHE
}

/// Whether this is the name of an unfinished write in an agent's directory: of a running process, or
/// the stale file of a crashed one.
pub fn is_unfinished(name: &str) -> bool {
    is_ours(name) && name.ends_with(NEXT)
}

/// Whether a file of this name beside the store shows that a later OpenClaw keeps the credentials in
/// a database, or their state in another file: the database or that file itself, or a copy of the
/// store that it made when it imported it.
pub(crate) fn is_sign_of_a_database(name: &str, store: &Path) -> bool {
    let store = store.file_name().unwrap_or_default().to_string_lossy();
    let copy = name.strip_prefix(store.as_ref()).is_some_and(|rest| {
        rest.starts_with(".migrated-")
            || Path::new(rest).extension() == Some(OsStr::new("bak"))
                && [".sqlite-import", ".openai-provider-unification"]
                    .iter()
                    .any(|mark| rest.starts_with(mark))
    });
    name == OPENCLAW_AGENT || name == "auth-state.json" || copy
}

/// The files that show that the state directory of a store is a later OpenClaw's, if the store lies
/// where those of agents do.
pub(crate) fn signs_of_openclaw(store: &Path) -> Vec<PathBuf> {
    let state = store.ancestors().nth(4).filter(|_| is_below_agents(store));
    let signs = state.map(|state| [openclaw_database(state), openclaw_config(state)]);
    signs.into_iter().flatten().collect()
}

/// The database that all agents of a later OpenClaw share.
pub fn openclaw_database(state_directory: &Path) -> PathBuf {
    state_directory.join("state").join("openclaw.sqlite")
}

/// The database of one agent of a later OpenClaw.
pub fn openclaw_agent_database(state_directory: &Path, agent: &str) -> PathBuf {
    agent_directory(state_directory, agent).join(OPENCLAW_AGENT)
}

/// The config of a later OpenClaw.
pub fn openclaw_config(state_directory: &Path) -> PathBuf {
    state_directory.join("openclaw.json")
}

/// The directory of a file; `.` for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The hidden sibling `.name` + `suffix` of a file.
fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{suffix}"))
}

const AGENTS: &str = "agents";
const OPENCLAW_AGENT: &str = "openclaw-agent.sqlite";
const STORE: &str = "auth-profiles.json";
const RUNTIME_CACHE: &str = "auth.json";
const MODEL_USAGE: &str = ".auth-models.json";
const RESPONSE_START: &str = ".auth-refresh.";
const RESPONSE_END: &str = ".answer";
const RESERVED_END: &str = ".room";
const DAMAGED: &str = ".corrupt.";
const KEPT_END: &str = ".unmerged.answer";
const NEXT: &str = ".new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_clawdbot_and_older_versions_know() {
        let state = Path::new("/s");
        let directory = agent_directory(state, "main");
        let store = store(&directory);
        for (path, name) in [
            (store.clone(), "auth-profiles.json"),
            (lock(&store), "auth-profiles.json.lock"),
            (next(&lock(&store)), ".auth-profiles.json.lock.new"),
            (stale_lock(&lock(&store)), ".auth-profiles.json.lock.stale"),
            (flock(&store), ".auth-profiles.flock"),
            (backup(&store), ".auth-profiles.json.bak"),
            (next(&backup(&store)), "..auth-profiles.json.bak.new"),
            (next(&store), ".auth-profiles.json.new"),
            (next_beside_reserved(&store), ".auth-profiles.json.put"),
            (damaged_copy(&store, 7, 0xab), "auth-profiles.json.corrupt.7.000000ab"),
            (temporary(&store, 0xab), ".auth-profiles.json.00000000000000ab.tmp"),
            (response_file(&directory, "0a"), ".auth-refresh.0a.answer"),
            (reserved_store(&directory, "0a"), ".auth-refresh.0a.room"),
            (model_usage(&directory), ".auth-models.json"),
            (next_model_usage(&directory), ".auth-models.json.new"),
            (sharing_note(&directory), ".auth-share.json"),
            (runtime_cache(&directory), "auth.json"),
            (next(&runtime_cache(&directory)), ".auth.json.new"),
            (waiting_for_import(&runtime_cache(&directory)), ".auth.json.import"),
        ] {
            assert_eq!(path, Path::new("/s/agents/main/agent").join(name));
        }
        assert_eq!(refresh_records(state), Path::new("/s/locks/refresh"));
        assert_eq!(endpoint_notes(&refresh_records(state)), Path::new("/s/locks/endpoint"));
        assert_eq!(pending_logins(state), Path::new("/s/logins"));
        assert_eq!(
            legacy_logins(Path::new("/s/credentials")),
            Path::new("/s/credentials/oauth.json")
        );
        assert_eq!(key_of_response_file(".auth-refresh.0a.answer"), Some("0a"));
        assert_eq!(key_of_response_file(".auth-refresh.0a"), None);
    }

    #[test]
    fn a_path_tells_which_agent_it_belongs_to_or_nothing() {
        assert_eq!(
            agent_of(&store(&agent_directory(Path::new("/s"), "work"))),
            Some("work".as_ref())
        );
        for elsewhere in
            ["/s/agents/work/auth-profiles.json", "/work/agent/auth-profiles.json", "x"]
        {
            assert_eq!(agent_of(Path::new(elsewhere)), None, "{elsewhere}");
        }
    }

    #[test]
    fn our_files_are_told_from_those_of_others() {
        for name in
            ["auth-profiles.json", "auth-profiles.json.lock", ".auth-models.json", "auth.json"]
        {
            assert!(is_ours(name) && !is_unfinished(name), "{name}");
        }
        assert!(is_unfinished(".auth-models.json.new") && !is_unfinished("notes.new"));
        assert!(!is_ours("models.json") && !is_ours("auth.json.mine"));
        assert!(
            is_temporary(".x.json.0123456789abcdef.tmp")
                && is_temporary(".a.b.0123456789abcdef.tmp")
        );
        for name in [
            "x.json.0123456789abcdef.tmp",
            ".x.0123456789abcde.tmp",
            ".0123456789abcdef.tmp",
            ".x.0123456789abcdeg.tmp",
        ] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        assert_eq!(directory_of(Path::new("name")), Path::new("."));
        assert_eq!(directory_of(Path::new("a/name")), Path::new("a"));
    }
}
